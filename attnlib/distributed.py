"""Row statistics of keys sharded over the processes of a ``torch.distributed`` group."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from attnlib._implementations import Impl
from attnlib._types import SegmentIds, Window
from attnlib._validate import renyi_orders
from attnlib.rows import RowStatistics, convert
from attnlib.streaming import combine, partial_row_statistics

__all__ = ["sharded_row_statistics"]


class _Total(torch.autograd.Function):
    """The sum over the processes, on each; what any of them does with it counts in the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.group = group
        return _reduced(x, dist.ReduceOp.SUM, group)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _reduced(grad, dist.ReduceOp.SUM, ctx.group), None


class _Largest(torch.autograd.Function):
    """The largest over the processes, on each; those that tie for it share the gradient, as in ``amax``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.group = group
        top = _reduced(x, dist.ReduceOp.MAX, group)
        ctx.save_for_backward(x == top)
        return top

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (mine,) = ctx.saved_tensors
        ties = _reduced(mine.to(grad.dtype), dist.ReduceOp.SUM, ctx.group)
        return _reduced(grad, dist.ReduceOp.SUM, ctx.group) * mine / ties, None


class _Held(torch.autograd.Function):
    """A tensor that every process holds: its gradient is the sum of what they find."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _reduced(grad, dist.ReduceOp.SUM, ctx.group), None


class _Found(torch.autograd.Function):
    """A result that every process has: the one loss they all go on to is counted once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.processes = dist.get_world_size(group)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad / ctx.processes, None


def _reduced(x: Tensor, operation: Any, group: dist.ProcessGroup | None) -> Tensor:
    x = x.contiguous().clone()
    dist.all_reduce(x, op=operation, group=group)
    return x


def sharded_row_statistics(
    q: Tensor,
    k: Tensor,
    *,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | Tensor | None = None,
    enable_gqa: bool = False,
    softcap: float | None = None,
    sink: Tensor | None = None,
    window: Window = None,
    segment_ids: SegmentIds = None,
    key_start: int = 0,
    orders: Iterable[float] = (2.0,),
    impl: Impl = "fused",
    group: dist.ProcessGroup | None = None,
) -> RowStatistics:
    """Statistics of rows whose keys are spread over the processes of ``group``, the same on each.

    Every process passes the same queries and its own keys, whose number may differ. Only sums and maxima over
    (..., heads, n) are exchanged, never keys.

    Differentiable in q and k, if all processes go on to the same loss and call ``backward`` on it: the
    gradient of q is then, on every process, that of all keys together, and the gradient of k that of its own
    keys. What requires a gradient must be the same everywhere, since gradients are exchanged too.

    Args:
        q: queries (..., heads, n, d), the same on every process.
        k: this process's keys (..., heads, m, d), in the dtype and on the device of q.
        attn_mask: for these m keys, broadcasts to (..., heads, n, m): boolean, True = visible, or added to
            the logits; entries of -1e4 or less hide their key, others are a bias.
        is_causal: query i sees keys 0 to i only (top-left aligned), counted among all keys.
        scale: None for 1/sqrt(d), a number, or a tensor broadcasting to (..., heads, n): pass ``rule(n, d)``
            with the number n of all keys.
        enable_gqa: let k (and v) have fewer heads than q, each serving a group of them.
        softcap: None, or c > 0: logits become c tanh(logits / c), before masks and biases, as in Gemma 2.
        sink: None, or (heads,): a logit of each row without key or value, in the denominator only, as in
            gpt-oss.
        window: None, or how many keys a row sees on either side of its own place: an int, or (left, right).
            May be combined with ``is_causal``.
        segment_ids: None, or integers that name the document of each token, of which a row sees its own only:
            a pair, (..., n) for the queries and (..., m) for these keys.
        key_start: the place of the first of these keys among all, for ``is_causal`` and ``window``.
        orders: the Renyi orders wanted, in [0, inf]; 0, 1 and inf are the limits.
        impl: ``"fused"`` passes over tiles of the logits, and on CUDA uses PyTorch's attention kernels where
            they know the call (float32 and below); ``"blockwise"`` writes rows out in blocks of bounded size;
            ``"reference"`` forms the whole matrix in float64.
        group: the processes; None for all.

    Returns:
        :class:`~attnlib.RowStatistics` of all keys, in the dtype and on the device of q; entropies in nats.

    Raises:
        TypeError: a rule as ``scale``, an argument of the wrong type, or a tensor that is not floating-point.
        InvalidArgument: NaN or infinity, a negative order, shapes that do not fit, another word for ``impl``,
            or logits beyond the range of the dtype that they are computed in.
        ValueError: no process group was started.

    Shapes: each result (..., heads, n).

    Source: U1-U4 by the chain rule over groups.

    A group of one process, where a launcher such as ``torchrun`` would start many:

    >>> q, k = torch.zeros(1, 16), torch.randn(1000, 16)
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> float(sharded_row_statistics(q, k).effective_tokens.round())
    1000.0
    >>> dist.destroy_process_group()
    """
    orders = renyi_orders(orders)
    part = partial_row_statistics(
        _Held.apply(q, group) if isinstance(q, Tensor) else q,
        k,
        attn_mask=attn_mask,
        is_causal=is_causal,
        scale=scale,
        enable_gqa=enable_gqa,
        softcap=softcap,
        window=window,
        segment_ids=segment_ids,
        key_start=key_start,
        orders=orders,
        impl=impl,
    )
    held = None if sink is None else _Held.apply(sink, group)
    whole = combine(part, lambda x: _Total.apply(x, group), lambda x: _Largest.apply(x, group))
    rows = whole.statistics(held)
    rows = rows._replace(renyi={order: rows.renyi[order] for order in orders})
    return convert(rows, lambda x: _Found.apply(x.to(q.dtype), group))
