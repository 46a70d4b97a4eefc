"""Entropy, Renyi entropies, sparsity and varentropy of every attention row, without the n x n matrix.

This is the public face of :mod:`attnlib._rows`, which says what runs: on a CPU sums over tiles of logits, on
CUDA PyTorch's attention kernels with the keys as values. Both rest on H = F - scale q . (sum p k), F the
log-sum-exp of a row, and on F at alpha * scale for the Renyi entropy of order alpha. Claims U1 to U4 and U7
of the book.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from torch import Tensor

from attnlib._implementations import ROW_IMPLS, RowImpl, exact_under_autocast
from attnlib._rows.engine import evaluate, resolve_for
from attnlib._rows.layout import present
from attnlib._types import Scale, SegmentIds, Window
from attnlib._validate import floating_tensor, renyi_orders

__all__ = [
    "AttentionWithStatistics",
    "RowEntropy",
    "RowStatistics",
    "row_entropy",
    "row_statistics",
    "softmax_attention_with_statistics",
]


class RowStatistics(NamedTuple):
    """Statistics of every row p of softmax attention, entropies in nats.

    ``lse`` is log sum exp of the logits, ``entropy`` Shannon's, ``renyi`` maps each requested order to the
    Renyi entropy, ``sparsity`` is S*_{1,2} = sqrt(effective_tokens / keys the row sees), ``effective_tokens``
    1 / sum p^2 = exp(H_2), ``varentropy`` the variance of log p under p, ``max_logit`` the largest logit that
    the row sees, scaled and capped. A row that sees no key has lse and largest logit -inf and otherwise
    counts as concentrated on a single key: entropies 0, effective tokens 1, sparsity 1, varentropy 0.

    ``sink_share`` is the weight of the row's sink, 0 without one. lse is the logarithm of the whole
    denominator, the sink in it; everything else is of the keys alone, whose weights p are then those that
    are left, divided by their sum.

    Shapes: each (..., heads, n).

    Source: U1-U4, U7.

    >>> import torch
    >>> rows = row_statistics(torch.zeros(1, 8), torch.randn(5, 8))  # all keys alike
    >>> rows.effective_tokens.round(), rows.sparsity.round()
    (tensor([5.]), tensor([1.]))
    """

    lse: Tensor
    entropy: Tensor
    renyi: dict[float, Tensor]
    sparsity: Tensor
    effective_tokens: Tensor
    varentropy: Tensor
    max_logit: Tensor
    sink_share: Tensor


class RowEntropy(NamedTuple):
    """Log-sum-exp and Shannon entropy of every row, in nats.

    Shapes: each (..., heads, n).

    Source: U1.

    >>> import torch
    >>> row_entropy(torch.zeros(1, 8), torch.randn(1, 8))
    RowEntropy(lse=tensor([0.]), entropy=tensor([0.]))
    """

    lse: Tensor
    entropy: Tensor


class AttentionWithStatistics(NamedTuple):
    """The output of softmax attention and the :class:`RowStatistics` of its rows, entropies in nats.

    Shapes: output (..., heads, n, dv), each statistic (..., heads, n).

    Source: U1-U4, U7.

    >>> import torch
    >>> q, k, v = torch.randn(3, 4, 16, 8)
    >>> softmax_attention_with_statistics(q, k, v).statistics.sparsity.shape
    torch.Size([4, 16])
    """

    output: Tensor
    statistics: RowStatistics


class Found(Protocol):
    """What an engine, or the merging of parts, has found of every row."""

    @property
    def lse(self) -> Tensor: ...

    @property
    def entropy(self) -> Tensor: ...

    @property
    def varentropy(self) -> Tensor | None: ...

    @property
    def renyi(self) -> dict[float, Tensor]: ...

    @property
    def max_logit(self) -> Tensor | None: ...

    @property
    def sink_share(self) -> Tensor | None: ...


def collect(raw: Found, visible: Tensor, orders: tuple[float, ...]) -> RowStatistics:
    """The public statistics from lse, entropy, varentropy and the Renyi entropies (order 2 among them)."""
    log_visible = visible.clamp(min=1).to(raw.lse.dtype).log().expand_as(raw.lse)
    known = {0: log_visible, 1: raw.entropy, **raw.renyi}
    return RowStatistics(
        raw.lse,
        raw.entropy,
        {order: known[order] for order in orders},
        sparsity=(0.5 * (known[2] - log_visible)).exp(),
        effective_tokens=known[2].exp(),
        varentropy=present(raw.varentropy),
        max_logit=present(raw.max_logit),
        sink_share=present(raw.sink_share),
    )


def convert(rows: RowStatistics, to: Callable[[Tensor], Tensor]) -> RowStatistics:
    """Apply ``to`` to every tensor."""
    renyi = {order: to(value) for order, value in rows.renyi.items()}
    others = {name: to(value) for name, value in rows._asdict().items() if name != "renyi"}
    return RowStatistics(renyi=renyi, **others)


@exact_under_autocast
def row_entropy(
    q: Tensor,
    k: Tensor,
    *,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: Scale = None,
    enable_gqa: bool = False,
    softcap: float | None = None,
    sink: Tensor | None = None,
    window: Window = None,
    segment_ids: SegmentIds = None,
    impl: RowImpl = "fused",
) -> RowEntropy:
    """Log-sum-exp and Shannon entropy of every row of softmax(scale * q k^T), without the matrix.

    The price is that of one attention call: H is lse - scale q . (sum p k): one pass over the logits on a
    CPU, one attention call with V = K on CUDA. Computed in float32 at least, under autocast too.
    Differentiable in every tensor, once; with ``"reference"`` as often as wanted. A row that sees no key has
    lse -inf, entropy 0 and gradient 0. A sink counts in lse; the entropy is that of the keys.

    Values are checked where they can be looked at: not under ``torch.compile``, ``torch.export``, ``vmap`` or
    with fake and meta tensors.

    Args:
        q: queries (..., heads, n, d), floating-point and finite.
        k: keys (..., heads, m, d), in the dtype and on the device of q.
        attn_mask: broadcasts to (..., heads, n, m): boolean, True = visible, or floating-point and added to
            the logits. Entries of -1e4 or less hide their key; others (ALiBi, Swin's -100) are a bias, which
            may require a gradient. A ``CausalBias`` of PyTorch counts as the band that it names. May be
            combined with ``is_causal``.
        is_causal: query i sees keys 0 to i only (top-left aligned).
        scale: None for 1/sqrt(d), a number, a tensor broadcasting to (..., heads, n), or a rule ``(n, d) ->
            lambda`` given the number of keys each row sees, as an int where all rows see all keys and else as
            a tensor broadcasting to (..., heads, n).
        enable_gqa: let k (and v) have fewer heads than q, each serving a group of them.
        softcap: None, or c > 0: logits become c tanh(logits / c), before masks and biases, as in Gemma 2.
        sink: None, or (heads,): a logit of each row without key or value, in the denominator only, as in
            gpt-oss.
        window: None, or how many keys a row sees on either side of its own place: an int, or (left, right).
            May be combined with ``is_causal``.
        segment_ids: None, or integers (..., n): a row sees the keys with its own number only, as of packed
            documents; a pair of tensors gives those of the queries and those of the keys.
        impl: ``"fused"`` passes over tiles of the logits, and on CUDA uses PyTorch's attention kernels where
            they know the call (float32 and below); ``"compiled"`` is a faster kernel for CPUs that is built
            where it is first asked for, by the C++ compiler of this machine; ``"triton"`` is a kernel of this
            library for CUDA (experimental: compared with float64 by Triton's interpreter and on one card, an
            H100); ``"blockwise"`` writes rows out in blocks of bounded size; ``"reference"`` forms the whole
            matrix in float64.

    Returns:
        ``RowEntropy(lse, entropy)``, in nats, in the dtype and on the device of q.

    Raises:
        TypeError: an argument of the wrong type, or a tensor that is not floating-point.
        InvalidArgument: NaN or infinity, shapes that do not fit, another word for ``impl``,
            or logits beyond the range of the dtype that they are computed in.
        EngineNotAvailable: ``"triton"`` without the package triton or without a CUDA device; ``"compiled"``
            without a C++ compiler that builds it, or elsewhere than on a CPU.

    Shapes: both results (..., heads, n).

    Source: U1.

    >>> import torch
    >>> q, k = torch.zeros(2, 3, 8), torch.randn(2, 5, 8)
    >>> bool(torch.allclose(row_entropy(q, k).entropy, torch.full((2, 3), 5.0).log()))
    True
    """
    tensors, geometry = resolve_for(
        impl,
        q,
        k,
        None,
        allowed=ROW_IMPLS,
        attn_mask=attn_mask,
        is_causal=is_causal,
        scale=scale,
        enable_gqa=enable_gqa,
        softcap=softcap,
        sink=sink,
        window=window,
        segment_ids=segment_ids,
    )
    raw = evaluate(tensors, geometry, set(), False, impl)
    return RowEntropy(geometry.rows(raw.lse), geometry.rows(raw.entropy))


@exact_under_autocast
def row_statistics(
    q: Tensor,
    k: Tensor,
    *,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: Scale = None,
    enable_gqa: bool = False,
    softcap: float | None = None,
    sink: Tensor | None = None,
    window: Window = None,
    segment_ids: SegmentIds = None,
    orders: Iterable[float] = (2.0,),
    impl: RowImpl = "fused",
) -> RowStatistics:
    """Entropies, sparsity and varentropy of every row of softmax(scale * q k^T), without the matrix.

    Half precision is computed in float32 and rounded once at the end. float32 carries the rounding of the
    logits, a few eps times the largest once the keys are centred (3e-6 nats of entropy were measured on a CPU
    at 65,536 keys, d = 8); CUDA's kernels add that of their sums, which grows with the number of keys. Pass
    float64 where that is too coarse, or the keys in blocks to :func:`~attnlib.stream_row_statistics`.
    Entropies are clamped at 0 against rounding.

    Rows are written out, in blocks of bounded size, by ``"fused"`` too for orders within 0.25 of 1 or
    infinite, and on CUDA for the gradient of the varentropy, float64, windows, segments, caps and biases.

    Differentiable in every tensor, once; with ``"reference"`` as often as wanted. Values are checked where
    they can be looked at: not under ``torch.compile``, ``torch.export``, ``vmap`` or with fake and meta
    tensors. A row that sees no key has lse -inf, entropies and varentropy 0, effective tokens and sparsity 1,
    and gradient 0.

    Args:
        q: queries (..., heads, n, d), floating-point and finite.
        k: keys (..., heads, m, d), in the dtype and on the device of q.
        attn_mask: broadcasts to (..., heads, n, m): boolean, True = visible, or floating-point and added to
            the logits. Entries of -1e4 or less hide their key; others (ALiBi, Swin's -100) are a bias, which
            may require a gradient. A ``CausalBias`` of PyTorch counts as the band that it names. May be
            combined with ``is_causal``.
        is_causal: query i sees keys 0 to i only (top-left aligned).
        scale: None for 1/sqrt(d), a number, a tensor broadcasting to (..., heads, n), or a rule ``(n, d) ->
            lambda`` given the number of keys each row sees, as an int where all rows see all keys and else as
            a tensor broadcasting to (..., heads, n).
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
            they know the call (float32 and below); ``"compiled"`` is a faster kernel for CPUs that is built
            where it is first asked for, by the C++ compiler of this machine; ``"triton"`` is a kernel of this
            library for CUDA (experimental: compared with float64 by Triton's interpreter and on one card, an
            H100); ``"blockwise"`` writes rows out in blocks of bounded size; ``"reference"`` forms the whole
            matrix in float64.

    Returns:
        :class:`RowStatistics` in the dtype and on the device of q; entropies in nats.

    Raises:
        TypeError: an argument of the wrong type, or a tensor that is not floating-point.
        InvalidArgument: NaN or infinity, a negative order, shapes that do not fit, another word for ``impl``,
            or logits beyond the range of the dtype that they are computed in.
        EngineNotAvailable: ``"triton"`` without the package triton or without a CUDA device; ``"compiled"``
            without a C++ compiler that builds it, or elsewhere than on a CPU.

    Shapes: each result (..., heads, n).

    Source: U1-U4, U7; the derivative of the entropy U2.

    >>> import torch
    >>> q, k = torch.randn(2, 4, 16, 8), torch.randn(2, 4, 16, 8)
    >>> rows = row_statistics(q, k, is_causal=True, orders=(2.0, float("inf")))
    >>> rows.entropy.shape, sorted(rows.renyi)
    (torch.Size([2, 4, 16]), [2.0, inf])
    >>> bool((rows.renyi[float("inf")] <= rows.entropy + 1e-6).all())
    True
    """
    listed = renyi_orders(orders)
    tensors, geometry = resolve_for(
        impl,
        q,
        k,
        None,
        allowed=ROW_IMPLS,
        attn_mask=attn_mask,
        is_causal=is_causal,
        scale=scale,
        enable_gqa=enable_gqa,
        softcap=softcap,
        sink=sink,
        window=window,
        segment_ids=segment_ids,
    )
    raw = evaluate(tensors, geometry, {2.0, *listed} - {0, 1}, True, impl)
    return convert(collect(raw, geometry.visible, listed), geometry.rows)


@exact_under_autocast
def softmax_attention_with_statistics(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: Scale = None,
    enable_gqa: bool = False,
    softcap: float | None = None,
    sink: Tensor | None = None,
    window: Window = None,
    segment_ids: SegmentIds = None,
    orders: Iterable[float] = (2.0,),
    impl: RowImpl = "fused",
) -> AttentionWithStatistics:
    """Softmax attention and the statistics of its rows, in the memory of a fused kernel.

    On CUDA values and keys go through the kernel side by side, so output, lse and entropy take one forward
    and one backward call together; on a CPU output and statistics come from the same tiles of logits, in one
    pass forward and one backward. Computed in float32 at least, under autocast too; ``impl="triton"`` forms
    what it multiplies q, k and v of bfloat16 by from two parts of 16 bits together. Differentiable in every
    tensor, once; with ``"reference"`` as often as wanted. Values are checked where they can be looked at: not
    under ``torch.compile``, ``torch.export``, ``vmap`` or with fake and meta tensors. A row that sees no key
    has output 0, lse -inf, entropies and varentropy 0, effective tokens and sparsity 1, and gradient 0.

    Args:
        q: queries (..., heads, n, d), floating-point and finite.
        k: keys (..., heads, m, d), in the dtype and on the device of q.
        v: values (..., heads, m, dv), in the dtype and on the device of q.
        attn_mask: broadcasts to (..., heads, n, m): boolean, True = visible, or floating-point and added to
            the logits. Entries of -1e4 or less hide their key; others (ALiBi, Swin's -100) are a bias, which
            may require a gradient. A ``CausalBias`` of PyTorch counts as the band that it names. May be
            combined with ``is_causal``.
        is_causal: query i sees keys 0 to i only (top-left aligned).
        scale: None for 1/sqrt(d), a number, a tensor broadcasting to (..., heads, n), or a rule ``(n, d) ->
            lambda`` given the number of keys each row sees, as an int where all rows see all keys and else as
            a tensor broadcasting to (..., heads, n).
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
            they know the call (float32 and below); ``"compiled"`` is a faster kernel for CPUs that is built
            where it is first asked for, by the C++ compiler of this machine; ``"triton"`` is a kernel of this
            library for CUDA (experimental: compared with float64 by Triton's interpreter and on one card, an
            H100); ``"blockwise"`` writes rows out in blocks of bounded size; ``"reference"`` forms the whole
            matrix in float64.

    Returns:
        ``AttentionWithStatistics(output, statistics)`` in the dtype and on the device of q; entropies in
        nats.

    Raises:
        TypeError: an argument of the wrong type, or a tensor that is not floating-point.
        InvalidArgument: NaN or infinity, a negative order, shapes that do not fit, another word for ``impl``,
            or logits beyond the range of the dtype that they are computed in.
        EngineNotAvailable: ``"triton"`` without the package triton or without a CUDA device; ``"compiled"``
            without a C++ compiler that builds it, or elsewhere than on a CPU.

    Shapes: output (..., heads, n, dv), each statistic (..., heads, n).

    Source: U1-U4, U7.

    >>> import torch
    >>> q, k, v = torch.randn(3, 1, 4, 16, 8)
    >>> output, rows = softmax_attention_with_statistics(q, k, v, scale=lambda n, d: n / d)
    >>> output.shape, rows.entropy.shape
    (torch.Size([1, 4, 16, 8]), torch.Size([1, 4, 16]))
    """
    listed = renyi_orders(orders)
    floating_tensor("v", v)
    tensors, geometry = resolve_for(
        impl,
        q,
        k,
        v,
        allowed=ROW_IMPLS,
        attn_mask=attn_mask,
        is_causal=is_causal,
        scale=scale,
        enable_gqa=enable_gqa,
        softcap=softcap,
        sink=sink,
        window=window,
        segment_ids=segment_ids,
    )
    raw = evaluate(tensors, geometry, {2.0, *listed} - {0, 1}, True, impl)
    return AttentionWithStatistics(
        geometry.rows(present(raw.output)), convert(collect(raw, geometry.visible, listed), geometry.rows)
    )
