"""Row statistics of keys sharded over the processes of a ``torch.distributed`` group."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch import distributed as dist

from attnlib.rows import RowStatistics, check_orders, convert
from attnlib.streaming import combine, partial_row_statistics

__all__ = ["sharded_row_statistics"]


@torch.no_grad()
def sharded_row_statistics(
    q: Tensor,
    k: Tensor,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
    enable_gqa: bool = False,
    orders: Iterable[float] = (2.0,),
    impl: str = "fused",
    group: dist.ProcessGroup | None = None,
) -> RowStatistics:
    """Statistics of rows whose keys are spread over the processes of ``group``, the same on each.

    Every process passes the same queries q (..., heads, n, d) and its own keys k (..., heads, m, d), with a
    mask for those; m may differ. Only sums and maxima over (..., heads, n) are exchanged, never keys.
    ``scale`` must be a number: pass ``rule(n, d)`` with the number n of all keys. The results are as
    :func:`attnlib.row_statistics` gives for all keys, in the dtype and on the device of q; not
    differentiable.

    Raises what :func:`attnlib.row_statistics` raises, and ``ValueError`` where no process group was started.

    Source: U1-U4 by the chain rule over groups.

    A group of one process, where a launcher such as ``torchrun`` would start many:

    >>> q, k = torch.zeros(1, 16), torch.randn(1000, 16)
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> float(sharded_row_statistics(q, k).effective_tokens.round())
    1000.0
    >>> dist.destroy_process_group()
    """
    orders = check_orders(orders)
    part = partial_row_statistics(
        q, k, attn_mask=attn_mask, scale=scale, enable_gqa=enable_gqa, orders=orders, impl=impl
    )

    def reduced(x: Tensor, operation) -> Tensor:
        x = x.contiguous().clone()
        dist.all_reduce(x, op=operation, group=group)
        return x

    rows = combine(
        part, lambda x: reduced(x, dist.ReduceOp.SUM), lambda x: reduced(x, dist.ReduceOp.MAX)
    ).statistics()
    rows = rows._replace(renyi={order: rows.renyi[order] for order in orders})
    return convert(rows, lambda x: x.to(q.dtype))
