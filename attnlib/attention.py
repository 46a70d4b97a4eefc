"""Attention by softmax, by squared ReLU and by fixed decay, on tensors (..., heads, n, d)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import pad, scaled_dot_product_attention

from attnlib._blockwise import blockwise
from attnlib._fused import kernels_for, unit_stride
from attnlib._layout import Layout, at_least_float32, resolve
from attnlib._validate import finite, floating_tensor, real_number
from attnlib._written import WrittenRows
from attnlib.errors import InvalidArgument

__all__ = ["decay_attention", "relu2_attention", "softmax_attention"]

_FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]


def attend(layout: Layout) -> Tensor:
    """Output of softmax attention by PyTorch's fused kernels, (B, H, Lq, dv), 0 where a row sees no key."""
    q, k, v = layout.q, layout.k, layout.v
    # Unequal head sizes would send PyTorch to its n x n implementation.
    width = max(q.shape[-1], v.shape[-1])
    q, k, wide = (
        unit_stride(x) if x.shape[-1] == width else pad(x, (0, width - x.shape[-1])) for x in (q, k, v)
    )
    bias, is_causal = layout.bias, layout.is_causal
    if bias is not None:
        bias = unit_stride(bias.expand(*bias.shape[:-2], q.shape[-2], k.shape[-2]))
        if is_causal:
            future = torch.ones(bias.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
            bias, is_causal = bias.masked_fill(future, -math.inf), False
    with sdpa_kernel(_FUSED):
        output = scaled_dot_product_attention(
            q, k, wide, attn_mask=bias, is_causal=is_causal, scale=layout.scale
        )[..., : v.shape[-1]]
    return output if layout.bias is None else output.masked_fill(layout.empty[..., None], 0)


def softmax_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | Callable | None = None,
    enable_gqa: bool = False,
    impl: str = "fused",
) -> Tensor:
    """softmax(scale * q k^T) v by PyTorch's fused kernels, with a scale that may depend on the visible keys.

    Shapes: q (..., heads, n, d), k (..., heads, m, d), v (..., heads, m, dv); the output is (..., heads, n,
    dv) in the dtype and on the device of q. ``attn_mask`` (boolean, True = visible, or added to the
    logits), ``is_causal`` (top-left aligned) and ``enable_gqa`` are those of
    ``scaled_dot_product_attention``; a mask may be combined with ``is_causal``. A row that sees no key has
    output 0 and gradient 0.

    ``scale`` is None for 1/sqrt(d), a number, or a rule ``(n, d) -> lambda`` given the number of keys each
    row sees: row i of a causal layer gets n = i + 1, a padded or packed row its own count; n is an int
    where all rows see all keys and a tensor broadcasting to (..., heads, n) otherwise. A constant scale
    goes to the kernel; one that varies from row to row is multiplied into q, in float32 at least, and the
    call then runs in that dtype.

    ``impl='reference'`` forms the matrix in float64. Raises ``TypeError`` or
    :class:`~attnlib.errors.InvalidArgument` naming the argument.

    Source: 8823-C1; rules of scale in :mod:`attnlib.scale`.

    >>> import torch
    >>> q, k, v = torch.randn(3, 1, 4, 16, 8)
    >>> grow = softmax_attention(q, k, v, is_causal=True, scale=lambda n, d: n.log() / d**0.5)
    >>> bool(torch.allclose(grow[..., 0, :], v[..., 0, :]))
    True
    """
    floating_tensor("v", v)
    how = {"attn_mask": attn_mask, "is_causal": is_causal, "scale": scale, "enable_gqa": enable_gqa}
    if impl == "reference":
        layout = resolve(q, k, v, dtype=torch.float64, **how)
        return layout.rows(WrittenRows(layout.logits(layout.q, layout.k)).p @ layout.v)
    if impl != "fused":
        raise InvalidArgument(f"impl must be 'fused' or 'reference', got {impl!r}")
    kernels_for(floating_tensor("q", q).device, q.dtype)
    layout = resolve(q, k, v, **how)
    if attn_mask is not None and attn_mask.requires_grad:
        raise InvalidArgument("attn_mask is differentiated by impl='reference' only, got impl='fused'")
    return layout.rows(attend(layout))


def _relu2_rows(logits: Tensor, v: Tensor, by_sum: bool) -> Tensor:
    positive = logits.clamp(min=0)
    if not by_sum:
        return positive.square() @ v
    # Only ratios matter, so the largest score may be 1: squares neither overflow nor vanish together.
    largest = positive.detach().amax(dim=-1, keepdim=True)
    weight = (positive / largest.masked_fill(largest == 0, 1)).square()
    total = weight.sum(dim=-1, keepdim=True)
    return (weight @ v) / total.masked_fill(total == 0, 1)


def relu2_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    normalize: str | int,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | Callable | None = None,
    enable_gqa: bool = False,
    impl: str = "blockwise",
) -> Tensor:
    """Squared-ReLU attention, sum_j relu(scale q.k_j)^2 v_j over a normaliser, without the n x n matrix.

    Shapes: q (..., heads, n, d), k (..., heads, m, d), v (..., heads, m, dv); the output is (..., heads, n,
    dv) in the dtype and on the device of q, computed in float32 at least. Masks, ``is_causal``, ``scale``
    and ``enable_gqa`` are those of :func:`softmax_attention`.

    ``normalize`` is what each row is divided by: ``"length"``, the number of keys it sees; ``"sum"``, the sum
    of its weights (the scale then cancels); or a positive int, the same for every row. A row none of whose
    scores is positive has no weights: its output is 0 under every normaliser, though 0/0 under ``"sum"``, and
    its gradient 0. So is that of a row that sees no key.

    ``impl='blockwise'`` writes out a bounded block of rows at a time, forward and backward, differentiable
    once; ``'reference'`` forms the matrix in float64. Raises ``TypeError`` or
    :class:`~attnlib.errors.InvalidArgument` naming the argument.

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
    if impl not in ("blockwise", "reference"):
        raise InvalidArgument(f"impl must be 'blockwise' or 'reference', got {impl!r}")
    floating_tensor("v", v)
    layout = resolve(
        q,
        k,
        v,
        attn_mask=attn_mask,
        is_causal=is_causal,
        scale=scale,
        enable_gqa=enable_gqa,
        dtype=torch.float64 if impl == "reference" else at_least_float32(q),
    )
    by_sum = normalize == "sum"
    if impl == "reference":
        output = _relu2_rows(layout.logits(layout.q, layout.k), layout.v, by_sum)
    else:
        if attn_mask is not None and attn_mask.requires_grad:
            raise InvalidArgument(
                "attn_mask is differentiated by impl='reference' only, got impl='blockwise'"
            )
        (output,) = blockwise(layout, lambda s, v: (_relu2_rows(s, v, by_sum),))
    if normalize == "length":
        output = output / layout.visible.clamp(min=1)[..., None]
    elif not by_sum:
        output = output / normalize
    return layout.rows(output)


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
        return triangle @ v
    chunks = pad(v, (0, 0, 0, -n % _CHUNK)).unflatten(-2, (-1, _CHUNK))
    local = triangle[..., None, :, :] @ chunks
    # The last row of each chunk is its own sum; these sums obey the same recursion with decay^chunk.
    before = pad(_decayed_sum(local[..., -1, :], decay**_CHUNK)[..., :-1, :], (0, 0, 1, 0))
    fading = _powers(decay, step + 1)[..., None, :, None]
    return (local + fading * before[..., None, :]).flatten(-3, -2)[..., :n, :]


def decay_attention(v: Tensor, decay: float | Tensor, *, impl: str = "chunked") -> Tensor:
    """Causal attention with the fixed weights a_j = decay^(i-j), sum_{j <= i} decay^(i-j) v_j, in O(n d).

    Shapes: v (..., heads, n, d); ``decay`` in (0, 1] is a number or a tensor broadcasting to (..., heads).
    The output has the shape, dtype and device of v; half precision is computed in float32. The weights are
    those of a linear recurrence and are not normalised: row i sums to (1 - decay^i) / (1 - decay), or to i.

    ``impl='chunked'`` never forms the matrix; ``'reference'`` does, in float64. Differentiable in both
    arguments. Raises ``TypeError`` or :class:`~attnlib.errors.InvalidArgument` naming the argument.

    Source: 9889-C15.

    >>> import torch
    >>> decay_attention(torch.ones(3, 1), 0.5).squeeze(-1)
    tensor([1.0000, 1.5000, 1.7500])
    """
    floating_tensor("v", v)
    if v.ndim < 2 or v.shape[-2] < 1 or v.shape[-1] < 1:
        raise InvalidArgument(f"v must have shape (..., heads, n, d) with n, d >= 1, got {tuple(v.shape)}")
    finite("v", v)
    if impl not in ("chunked", "reference"):
        raise InvalidArgument(f"impl must be 'chunked' or 'reference', got {impl!r}")
    dtype = torch.float64 if impl == "reference" else at_least_float32(v)
    if isinstance(decay, Tensor):
        floating_tensor("decay", decay)
        bad = ~((decay > 0) & (decay <= 1))
        if bad.any():
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
        return (_powers(decay, position[:, None] - position) @ v.to(dtype)).to(v.dtype)
    return _decayed_sum(v.to(dtype), decay).to(v.dtype)
