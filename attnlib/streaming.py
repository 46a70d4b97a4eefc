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

from attnlib._implementations import Impl, exact_under_autocast
from attnlib._rows.dense import NEAR_ONE, power_excess
from attnlib._rows.engine import beside_sink, evaluate, resolve_for
from attnlib._types import SegmentIds, Window
from attnlib._validate import finite, floating_tensor, renyi_orders
from attnlib.errors import InvalidArgument
from attnlib.rows import RowStatistics, collect, convert

__all__ = ["PartialRows", "merge_rows", "partial_row_statistics", "stream_row_statistics"]


class PartialRows(NamedTuple):
    """What some of the keys contribute to every row: merge parts with :func:`merge_rows` or :meth:`merge`.

    ``lse``, ``entropy``, ``varentropy`` and ``renyi`` are those of the softmax over these keys alone, in
    nats, float32 at least; ``visible`` counts the keys a row sees among them, ``max_logit`` is its largest
    logit.

    Shapes: each (..., heads, n).

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
    max_logit: Tensor

    @property
    def sink_share(self) -> Tensor:
        """0: a sink belongs to no part, but to all keys together."""
        return torch.zeros_like(self.lse)

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

    def statistics(self, sink: Tensor | None = None) -> RowStatistics:
        """The statistics of the rows if these keys, and a sink (heads,), are all there is."""
        rows = collect(self, self.visible, tuple(self.renyi))
        if sink is None:
            return rows
        finite("sink", floating_tensor("sink", sink))
        lse, share = beside_sink(self.lse, sink.to(self.lse.dtype)[..., None])
        return rows._replace(lse=lse, sink_share=share)


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
        log_sum.masked_fill(empty, -math.inf),
        entropy,
        varentropy,
        renyi,
        total(parts.visible),
        largest(parts.max_logit),
    )


def merge_rows(parts: Iterable[PartialRows]) -> PartialRows:
    """Merge the statistics of disjoint sets of keys into those of their union; differentiable.

    Exact up to rounding, in any order and any grouping.

    Args:
        parts: at least one :class:`PartialRows`, all of the same shape and Renyi orders.

    Returns:
        :class:`PartialRows` of all keys together, in nats.

    Raises:
        TypeError: a part is no :class:`PartialRows`.
        InvalidArgument: no part, or parts that disagree in shape or orders.

    Shapes: that of the parts, (..., heads, n).

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
        max_logit=torch.stack([part.max_logit for part in parts]),
    )
    return combine(stacked, lambda x: x.sum(dim=0), lambda x: x.amax(dim=0))


@exact_under_autocast
def partial_row_statistics(
    q: Tensor,
    k: Tensor,
    *,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | Tensor | None = None,
    enable_gqa: bool = False,
    softcap: float | None = None,
    window: Window = None,
    segment_ids: SegmentIds = None,
    key_start: int = 0,
    orders: Iterable[float] = (2.0,),
    impl: Impl = "fused",
) -> PartialRows:
    """The statistics of the rows over some of their keys, ready to be merged with those of the others.

    Differentiable in every tensor, once; with ``"reference"`` as often as wanted. A sink belongs to no part:
    :meth:`PartialRows.statistics` takes it.

    Args:
        q: queries (..., heads, n, d), floating-point and finite.
        k: some of the keys (..., heads, m, d), in the dtype and on the device of q.
        attn_mask: for these m keys, broadcasts to (..., heads, n, m): boolean, True = visible, or added to
            the logits; entries of -1e4 or less hide their key, others are a bias.
        is_causal: query i sees keys 0 to i only (top-left aligned), counted among all keys.
        scale: None for 1/sqrt(d), a number, or a tensor broadcasting to (..., heads, n). No part knows how
            many keys there are in all: pass ``rule(n, d)``.
        enable_gqa: let k (and v) have fewer heads than q, each serving a group of them.
        softcap: None, or c > 0: logits become c tanh(logits / c), before masks and biases, as in Gemma 2.
        window: None, or how many keys a row sees on either side of its own place: an int, or (left, right).
            May be combined with ``is_causal``.
        segment_ids: None, or integers that name the document of each token, of which a row sees its own only:
            a pair, (..., n) for the queries and (..., m) for these keys.
        key_start: the place of the first of these keys among all, for ``is_causal`` and ``window``.
        orders: the Renyi orders to keep, in [0, inf]; 2 is always among them.
        impl: ``"fused"`` passes over tiles of the logits, and on CUDA uses PyTorch's attention kernels where
            they know the call (float32 and below); ``"blockwise"`` writes rows out in blocks of bounded size;
            ``"reference"`` forms the whole matrix in float64.

    Returns:
        :class:`PartialRows` in float32 at least, on the device of q; entropies in nats.

    Raises:
        TypeError: a rule as ``scale``, an argument of the wrong type, or a tensor that is not floating-point.
        InvalidArgument: NaN or infinity, a negative order, shapes that do not fit, another word for ``impl``,
            or logits beyond the range of the dtype that they are computed in.

    Shapes: each result (..., heads, n).

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
    listed = dict.fromkeys((*renyi_orders(orders), 2.0))
    tensors, geometry = resolve_for(
        impl,
        q,
        k,
        None,
        attn_mask=attn_mask,
        is_causal=is_causal,
        scale=scale,
        enable_gqa=enable_gqa,
        softcap=softcap,
        window=window,
        segment_ids=segment_ids,
        key_start=key_start,
    )
    raw = evaluate(tensors, geometry, set(listed) - {0, 1}, True, impl)
    rows = convert(collect(raw, geometry.visible, tuple(listed)), geometry.unfold)
    visible = geometry.unfold(geometry.visible.expand(raw.lse.shape))
    return PartialRows(rows.lse, rows.entropy, rows.varentropy, rows.renyi, visible, rows.max_logit)


def _of_block(segment_ids: SegmentIds, start: int, block: Tensor) -> SegmentIds:
    """Segments of the queries, and of a block of the keys."""
    if segment_ids is None:
        return None
    queries, keys = segment_ids if isinstance(segment_ids, tuple) else (segment_ids, segment_ids)
    return queries, keys[..., start : start + block.shape[-2]]


@exact_under_autocast
def stream_row_statistics(
    q: Tensor,
    key_blocks: Iterable[Tensor],
    *,
    is_causal: bool = False,
    scale: float | Tensor | None = None,
    enable_gqa: bool = False,
    softcap: float | None = None,
    sink: Tensor | None = None,
    window: Window = None,
    segment_ids: SegmentIds = None,
    orders: Iterable[float] = (2.0,),
    impl: Impl = "fused",
) -> RowStatistics:
    """Row statistics over keys that arrive in blocks, such as those of a cache too long to hold at once.

    Only one block is held at a time, and the result is that of :func:`attnlib.row_statistics` on all keys.

    Args:
        q: queries (..., heads, n, d), floating-point and finite.
        key_blocks: yields keys (..., heads, m_i, d), in the dtype and on the device of q.
        is_causal: query i sees keys 0 to i only (top-left aligned).
        scale: None for 1/sqrt(d), a number, or a tensor broadcasting to (..., heads, n). No part knows how
            many keys there are in all: pass ``rule(n, d)``.
        enable_gqa: let k (and v) have fewer heads than q, each serving a group of them.
        softcap: None, or c > 0: logits become c tanh(logits / c), before masks and biases, as in Gemma 2.
        sink: None, or (heads,): a logit of each row without key or value, in the denominator only, as in
            gpt-oss.
        window: None, or how many keys a row sees on either side of its own place: an int, or (left, right).
            May be combined with ``is_causal``.
        segment_ids: None, or integers (..., n): a row sees the keys with its own number only, as of packed
            documents; a pair of tensors gives those of the queries and those of the keys.
        orders: the Renyi orders wanted, in [0, inf]; 0, 1 and inf are the limits.
        impl: ``"fused"`` passes over tiles of the logits, and on CUDA uses PyTorch's attention kernels where
            they know the call (float32 and below); ``"blockwise"`` writes rows out in blocks of bounded size;
            ``"reference"`` forms the whole matrix in float64.

    Returns:
        :class:`~attnlib.RowStatistics` of all keys, in the dtype and on the device of q; entropies in nats.

    Raises:
        TypeError: a rule as ``scale``, an argument of the wrong type, or a tensor that is not floating-point.
        InvalidArgument: no block, NaN or infinity, a negative order, shapes that do not fit, another word for
            ``impl``, or logits beyond the range of the dtype that they are computed in.

    Shapes: each result (..., heads, n).

    Source: U1-U4 by the chain rule over groups.

    >>> import torch
    >>> q = torch.randn(1, 16)
    >>> blocks = (torch.randn(1000, 16) for _ in range(10))
    >>> float(stream_row_statistics(q, blocks, scale=0.0).effective_tokens.round())
    10000.0
    """
    floating_tensor("q", q)
    listed = renyi_orders(orders)
    merged: PartialRows | None = None
    start = 0
    for block in key_blocks:
        part = partial_row_statistics(
            q,
            block,
            is_causal=is_causal,
            scale=scale,
            enable_gqa=enable_gqa,
            softcap=softcap,
            window=window,
            segment_ids=_of_block(segment_ids, start, floating_tensor("key_blocks", block)),
            key_start=start,
            orders=listed,
            impl=impl,
        )
        start += block.shape[-2]
        merged = part if merged is None else merged.merge(part)
    if merged is None:
        raise InvalidArgument("key_blocks must yield at least one block, got none")
    rows = merged.statistics(sink)
    rows = rows._replace(renyi={order: rows.renyi[order] for order in listed})
    return convert(rows, lambda x: x.to(q.dtype))
