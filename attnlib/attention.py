"""Attention by softmax, by squared ReLU and by fixed decay, on tensors (..., heads, n, d)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnlib._implementations import (
    DECAY_IMPLS,
    OUTPUT_IMPLS,
    WRITTEN_IMPLS,
    DecayImpl,
    OutputImpl,
    WrittenImpl,
    check_impl,
    computing_dtype,
    exact_under_autocast,
)
from attnlib._rows.blockwise import blockwise
from attnlib._rows.dense import relu2
from attnlib._rows.engine import attend
from attnlib._rows.layout import logits, resolve
from attnlib._rows.products import product
from attnlib._transforms import found
from attnlib._types import Real, Scale, SegmentIds, Window
from attnlib._validate import finite, floating_tensor, real_number
from attnlib.errors import InvalidArgument

__all__ = ["decay_attention", "relu2_attention", "softmax_attention"]


@exact_under_autocast
def softmax_attention(
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
    impl: OutputImpl = "fused",
) -> Tensor:
    """softmax(scale * q k^T) v by PyTorch's fused kernels, with a scale that may depend on the visible keys.

    Row i of a causal layer has n = i + 1 visible keys, a padded or packed row its own count. A constant scale
    goes to the kernel; one that varies from row to row is multiplied into q, in float32 at least, and the
    call then runs in that dtype. What no kernel of PyTorch knows (caps, sinks, windows, segments, learned
    biases, and a bias for all rows under ``is_causal``) is written out block by block, differentiable once. A
    row that sees no key has output 0 and gradient 0.

    Values are checked where they can be looked at: not under ``torch.compile``, ``torch.export``, ``vmap`` or
    with fake and meta tensors. Under autocast the call runs in the dtype of its tensors.

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
        impl: ``"fused"`` is whichever of its fused kernels PyTorch chooses; ``"reference"`` forms the matrix
            in float64.

    Returns:
        The output, in the dtype and on the device of q.

    Raises:
        TypeError: an argument of the wrong type, or a tensor that is not floating-point.
        InvalidArgument: NaN or infinity, shapes that do not fit, another word for ``impl``, or logits
            or outputs beyond the range of the dtype.

    Shapes: the output is (..., heads, n, dv).

    Source: 8823-C1; rules of scale in :mod:`attnlib.scale`.

    >>> import torch
    >>> q, k, v = torch.randn(3, 1, 4, 16, 8)
    >>> grow = softmax_attention(q, k, v, is_causal=True, scale=lambda n, d: n.log() / d**0.5)
    >>> bool(torch.allclose(grow[..., 0, :], v[..., 0, :]))
    True
    """
    floating_tensor("v", v)
    check_impl(impl, OUTPUT_IMPLS)
    tensors, geometry = resolve(
        q,
        k,
        v,
        attn_mask=attn_mask,
        is_causal=is_causal,
        scale=scale,
        enable_gqa=enable_gqa,
        dtype=computing_dtype(impl, v.dtype) if impl == "reference" else None,
        softcap=softcap,
        sink=sink,
        window=window,
        segment_ids=segment_ids,
    )
    return geometry.rows(attend(tensors, geometry, impl))


@exact_under_autocast
def relu2_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    normalize: str | int,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: Scale = None,
    enable_gqa: bool = False,
    impl: WrittenImpl = "blockwise",
) -> Tensor:
    """Squared-ReLU attention, sum_j relu(scale q.k_j)^2 v_j over a normaliser, without the n x n matrix.

    Computed in float32 at least. A row none of whose scores is positive has no weights: its output is 0 under
    every normaliser, though 0/0 under ``"sum"``, and its gradient 0. So is that of a row that sees no key.

    Args:
        q: queries (..., heads, n, d), floating-point and finite.
        k: keys (..., heads, m, d), in the dtype and on the device of q.
        v: values (..., heads, m, dv), in the dtype and on the device of q.
        normalize: what each row is divided by: ``"length"``, the number of keys it sees; ``"sum"``, the sum
            of its weights (the scale then cancels); or a positive int, the same for every row.
        attn_mask: broadcasts to (..., heads, n, m): boolean, True = visible, or floating-point and added to
            the logits. Entries of -1e4 or less hide their key; others (ALiBi, Swin's -100) are a bias, which
            may require a gradient. A ``CausalBias`` of PyTorch counts as the band that it names. May be
            combined with ``is_causal``.
        is_causal: query i sees keys 0 to i only (top-left aligned).
        scale: None for 1/sqrt(d), a number, a tensor broadcasting to (..., heads, n), or a rule ``(n, d) ->
            lambda`` given the number of keys each row sees, as an int where all rows see all keys and else as
            a tensor broadcasting to (..., heads, n).
        enable_gqa: let k (and v) have fewer heads than q, each serving a group of them.
        impl: ``"blockwise"`` writes out a bounded block of rows at a time, forward and backward,
            differentiable once; ``"reference"`` forms the matrix in float64.

    Returns:
        The output, in the dtype and on the device of q.

    Raises:
        TypeError: an argument of the wrong type, or a tensor that is not floating-point.
        InvalidArgument: NaN or infinity, shapes that do not fit, another word for ``normalize`` or ``impl``,
            or a mask that requires a gradient under another impl than ``"reference"``.

    Shapes: the output is (..., heads, n, dv).

    Source: 9019-C1, 9019-C6.

    >>> import torch
    >>> q, k, v = torch.randn(3, 1, 4, 16, 8)
    >>> small, large = (relu2_attention(q, k, v, normalize="sum", scale=scale) for scale in (0.1, 10.0))
    >>> bool(torch.allclose(small, large, atol=1e-5))
    True
    """
    if isinstance(normalize, bool) or not isinstance(normalize, (str, int)):
        raise TypeError(f"normalize must be 'length', 'sum' or an int, got {type(normalize).__name__}")
    if normalize not in ("length", "sum") and (isinstance(normalize, str) or normalize < 1):
        raise InvalidArgument(f"normalize must be 'length', 'sum' or a positive int, got {normalize!r}")
    check_impl(impl, WRITTEN_IMPLS)
    floating_tensor("v", v)
    tensors, geometry = resolve(
        q,
        k,
        v,
        attn_mask=attn_mask,
        is_causal=is_causal,
        scale=scale,
        enable_gqa=enable_gqa,
        dtype=computing_dtype(impl, floating_tensor("q", q).dtype),
    )
    by_sum = float(normalize == "sum")
    if impl == "reference":
        (output,) = relu2(logits(tensors, geometry.pattern), tensors.v, None, (by_sum,))
    else:
        (output,) = blockwise("relu2", tensors, geometry.pattern, (by_sum,))
    if found(~output.detach().isfinite()):
        raise InvalidArgument(f"q, k and v give scores or outputs beyond the range of {output.dtype}")
    if normalize == "length":
        output = output / geometry.visible.clamp(min=1)[..., None]
    elif isinstance(normalize, int):
        output = output / normalize
    return geometry.rows(output)


_CHUNK = 128


def _powers(decay: Tensor, exponents: Tensor) -> Tensor:
    """decay^exponent for an integer tensor of exponents, 0 where it is negative."""
    exponents = exponents.to(decay.device)
    return (decay[(...,) + (None,) * exponents.ndim] ** exponents.clamp(min=0)) * (exponents >= 0)


def _decayed_sum(v: Tensor, decay: Tensor) -> Tensor:
    """sum_{j <= i} decay^(i-j) v_j in chunks: inside a chunk by a triangular matrix, across by recursion."""
    n = v.shape[-2]
    step = torch.arange(min(n, _CHUNK))
    triangle = _powers(decay, step[:, None] - step)
    if n <= _CHUNK:
        return product(triangle, v)
    chunks = pad(v, (0, 0, 0, -n % _CHUNK)).unflatten(-2, (-1, _CHUNK))
    local = product(triangle[..., None, :, :], chunks)
    # The last row of each chunk is its own sum; these sums obey the same recursion with decay^chunk.
    before = pad(_decayed_sum(local[..., -1, :], decay**_CHUNK)[..., :-1, :], (0, 0, 1, 0))
    fading = _powers(decay, step + 1)[..., None, :, None]
    return (local + fading * before[..., None, :]).flatten(-3, -2)[..., :n, :]


@exact_under_autocast
def decay_attention(v: Tensor, decay: Real, *, impl: DecayImpl = "chunked") -> Tensor:
    """Causal attention with the fixed weights a_j = decay^(i-j), sum_{j <= i} decay^(i-j) v_j, in O(n d).

    The weights are those of a linear recurrence and are not normalised: row i sums to
    (1 - decay^i) / (1 - decay), or to i. Half precision is computed in float32. Differentiable in both
    arguments.

    Args:
        v: values (..., heads, n, d), floating-point and finite.
        decay: in (0, 1], a number or a tensor broadcasting to (..., heads).
        impl: ``"chunked"`` never forms the matrix; ``"reference"`` does, in float64.

    Returns:
        The output, in the dtype and on the device of v.

    Raises:
        TypeError: ``v`` is not a floating-point tensor, ``decay`` not a number or such a tensor.
        InvalidArgument: NaN or infinity, ``decay`` outside (0, 1], shapes that do not fit, or another word
            for ``impl``.

    Shapes: the output is (..., heads, n, d).

    Source: 9889-C15.

    >>> import torch
    >>> decay_attention(torch.ones(3, 1), 0.5).squeeze(-1)
    tensor([1.0000, 1.5000, 1.7500])
    """
    floating_tensor("v", v)
    if v.ndim < 2 or v.shape[-2] < 1 or v.shape[-1] < 1:
        raise InvalidArgument(f"v must have shape (..., heads, n, d) with n, d >= 1, got {tuple(v.shape)}")
    finite("v", v)
    check_impl(impl, DECAY_IMPLS)
    dtype = computing_dtype(impl, v.dtype)
    if isinstance(decay, Tensor):
        floating_tensor("decay", decay)
        bad = ~((decay > 0) & (decay <= 1))
        if found(bad):
            raise InvalidArgument(f"decay must lie in (0, 1], got {decay[bad].flatten()[0].item()}")
        if decay.device != v.device:
            raise InvalidArgument(f"decay must be on the device of v, {v.device}, got {decay.device}")
        try:
            decay = decay.to(dtype).expand(v.shape[:-2])
        except RuntimeError:
            raise InvalidArgument(
                f"decay of shape {tuple(decay.shape)} does not broadcast to the leading "
                f"dimensions of v, {tuple(v.shape[:-2])}"
            ) from None
    else:
        decay = torch.tensor(
            real_number("decay", decay, low=0, high=1, low_open=True), dtype=dtype, device=v.device
        )
    if impl == "reference":
        position = torch.arange(v.shape[-2])
        return product(_powers(decay, position[:, None] - position), v.to(dtype)).to(v.dtype)
    return _decayed_sum(v.to(dtype), decay).to(v.dtype)
