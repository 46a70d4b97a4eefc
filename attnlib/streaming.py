"""Row statistics of keys that come in parts: the parts of a row merge exactly into the whole.

A part i of the keys holds the share w_i = exp(F_i - F) of a row's weight. By the chain rule over groups H =
sum w_i (H_i - log w_i), the varentropy is the variance within the parts plus that between them, and sum
p^alpha = sum_i w_i exp((alpha - 1)(log w_i - H_alpha,i)). This carries the same information as the sums of
p s and p s^2, without the cancellation of large scores against each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from attnlib._validate import floating_tensor, real_number
from attnlib._written import NEAR_ONE, power_excess
from attnlib.errors import InvalidArgument
from attnlib.rows import RowStatistics, check_orders, collect, convert, evaluate, resolve_for

__all__ = ["PartialRows", "merge_rows", "partial_row_statistics", "stream_row_statistics"]


class PartialRows(NamedTuple):
    """What some of the keys contribute to every row: merge parts with :func:`merge_rows` or :meth:`merge`.

    ``lse``, ``entropy``, ``varentropy`` and ``renyi`` are those of the softmax over these keys alone, each
    (..., heads, n), in nats, float32 at least; ``visible`` counts the keys a row sees among them.

    Source: U1-U3 by the chain rule over groups.

    >>> import torch
    >>> q, k = torch.zeros(1, 8), torch.randn(5, 8)
    >>> both = partial_row_statistics(q, k[:2]).merge(partial_row_statistics(q, k[2:]))
    >>> both.statistics().effective_tokens.round()
    tensor([5.])
    """

    lse: Tensor
    entropy: Tensor
    varentropy: Tensor
    renyi: dict[float, Tensor]
    visible: Tensor

    @property
    def mean_score(self) -> Tensor:
        """sum p s, the mean logit."""
        return (self.lse - self.entropy).masked_fill(self.visible == 0, 0)

    @property
    def mean_square_score(self) -> Tensor:
        """sum p s^2."""
        return self.varentropy + self.mean_score.square()

    @property
    def effective_tokens(self) -> Tensor:
        """1 / sum p^2 = exp(H_2)."""
        return self.renyi[2].exp()

    def merge(self, other: PartialRows) -> PartialRows:
        """The statistics of these keys and those of ``other`` together."""
        return merge_rows([self, other])

    def statistics(self) -> RowStatistics:
        """The statistics of the rows if these keys are all there are."""
        return collect(self, self.visible, tuple(self.renyi))


def combine(
    parts: PartialRows, total: Callable[[Tensor], Tensor], largest: Callable[[Tensor], Tensor]
) -> PartialRows:
    """Merge parts, given how to add and how to take the maximum over them.

    The parts may lie along a dimension of the tensors or on the processes of a group: only ``total`` and
    ``largest`` know. A part in which a row sees no key has weight 0 in that row.
    """
    gone = parts.lse == -math.inf
    top = largest(parts.lse)
    empty = top == -math.inf
    top = top.detach().masked_fill(empty, 0)
    log_sum = top + total((parts.lse - top).exp()).masked_fill(empty, 1).log()
    log_share = (parts.lse - log_sum).masked_fill(gone, 0)
    share = log_share.exp().masked_fill(gone, 0)
    surprise = parts.entropy - log_share
    entropy = total(share * surprise)
    varentropy = total(share * (parts.varentropy + (surprise - entropy).square()))
    renyi = {}
    for order, value in parts.renyi.items():
        if order == 1:
            renyi[order] = entropy
        elif order == math.inf:
            renyi[order] = (-largest((log_share - value).masked_fill(gone, -math.inf))).masked_fill(empty, 0)
        elif abs(order - 1) < NEAR_ONE:
            exponent = (order - 1) * (log_share - value)
            excess = power_excess(share, log_share, exponent).masked_fill(gone, 0)
            renyi[order] = torch.log1p(total(excess)) / (1 - order)
        else:
            power = (log_share + (order - 1) * (log_share - value)).masked_fill(gone, -math.inf)
            highest = largest(power).detach().masked_fill(empty, 0)
            log_power = highest + total((power - highest).exp()).masked_fill(empty, 1).log()
            renyi[order] = log_power.masked_fill(empty, 0) / (1 - order)
    return PartialRows(
        log_sum.masked_fill(empty, -math.inf), entropy, varentropy, renyi, total(parts.visible)
    )


def merge_rows(parts: Iterable[PartialRows]) -> PartialRows:
    """Merge the statistics of disjoint sets of keys into those of their union; differentiable.

    Exact up to rounding, in any order and any grouping. All parts must have the same shape and Renyi orders,
    else :class:`~attnlib.errors.InvalidArgument`.

    Source: U1-U3 by the chain rule over groups.

    >>> import torch
    >>> q, k = torch.randn(2, 5, 8), torch.randn(2, 12, 8)
    >>> whole = merge_rows(partial_row_statistics(q, part) for part in k.split(4, dim=-2))
    >>> bool(torch.allclose(whole.entropy, partial_row_statistics(q, k).entropy, atol=1e-5))
    True
    """
    parts = list(parts)
    if not parts:
        raise InvalidArgument("parts must hold at least one part, got none")
    for part in parts:
        if not isinstance(part, PartialRows):
            raise TypeError(f"parts must be PartialRows, got {type(part).__name__}")
        if part.lse.shape != parts[0].lse.shape or part.renyi.keys() != parts[0].renyi.keys():
            raise InvalidArgument(
                f"parts must agree in shape and orders, got {tuple(part.lse.shape)}, {sorted(part.renyi)} "
                f"after {tuple(parts[0].lse.shape)}, {sorted(parts[0].renyi)}"
            )
    stacked = PartialRows(
        lse=torch.stack([part.lse for part in parts]),
        entropy=torch.stack([part.entropy for part in parts]),
        varentropy=torch.stack([part.varentropy for part in parts]),
        renyi={order: torch.stack([part.renyi[order] for part in parts]) for order in parts[0].renyi},
        visible=torch.stack([part.visible for part in parts]),
    )
    return combine(stacked, lambda x: x.sum(dim=0), lambda x: x.amax(dim=0))


def partial_row_statistics(
    q: Tensor,
    k: Tensor,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
    enable_gqa: bool = False,
    orders: Iterable[float] = (2.0,),
    impl: str = "fused",
) -> PartialRows:
    """The statistics of the rows over some of their keys, ready to be merged with those of the others.

    Arguments are those of :func:`attnlib.row_statistics` for one part of the keys: q (..., heads, n, d),
    k (..., heads, m, d), a mask for these m keys. ``scale`` must be a number, since no part knows how many
    keys there are in all: pass ``rule(n, d)``. Order 2 is always among the Renyi orders kept.

    Raises what :func:`attnlib.row_statistics` raises, and ``TypeError`` for a rule as ``scale``.

    Source: U1-U3.

    >>> import torch
    >>> part = partial_row_statistics(torch.zeros(1, 8), torch.randn(5, 8))
    >>> part.visible, float(part.effective_tokens.round())
    (tensor([5]), 5.0)
    """
    if callable(scale):
        raise TypeError(
            "scale must be a number here, since no part knows the number of all keys: pass rule(n, d)"
        )
    orders = dict.fromkeys((*check_orders(orders), 2.0))
    layout = resolve_for(
        impl, q, k, None, attn_mask=attn_mask, is_causal=False, scale=scale, enable_gqa=enable_gqa
    )
    raw = evaluate(layout, set(orders) - {0, 1}, True, impl)
    rows = convert(collect(raw, layout.visible, tuple(orders)), layout.unfold)
    visible = layout.unfold(layout.visible.expand(raw.lse.shape))
    return PartialRows(rows.lse, rows.entropy, rows.varentropy, rows.renyi, visible)


def stream_row_statistics(
    q: Tensor,
    key_blocks: Iterable[Tensor],
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
    orders: Iterable[float] = (2.0,),
    impl: str = "fused",
) -> RowStatistics:
    """Row statistics over keys that arrive in blocks, such as those of a cache too long to hold at once.

    ``key_blocks`` yields tensors (..., heads, m_i, d); only one is held at a time, and the result is that of
    :func:`attnlib.row_statistics` on all keys, in the dtype of q. ``scale`` must be a number.

    Raises what :func:`attnlib.row_statistics` raises, and ``InvalidArgument`` if there is no block.

    Source: U1-U4 by the chain rule over groups.

    >>> import torch
    >>> q = torch.randn(1, 16)
    >>> blocks = (torch.randn(1000, 16) for _ in range(10))
    >>> float(stream_row_statistics(q, blocks, scale=0.0).effective_tokens.round())
    10000.0
    """
    floating_tensor("q", q)
    if scale is not None and not callable(scale):
        scale = real_number("scale", scale)
    orders = check_orders(orders)
    how = {"scale": scale, "enable_gqa": enable_gqa, "orders": orders, "impl": impl}
    merged = None
    for block in key_blocks:
        part = partial_row_statistics(q, block, **how)
        merged = part if merged is None else merged.merge(part)
    if merged is None:
        raise InvalidArgument("key_blocks must yield at least one block, got none")
    rows = merged.statistics()
    rows = rows._replace(renyi={order: rows.renyi[order] for order in orders})
    return convert(rows, lambda x: x.to(q.dtype))
