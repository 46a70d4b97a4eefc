"""Attention: softmax, squared ReLU, linear and decay, on tensors (..., heads, n, d)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import pad, scaled_dot_product_attention

from attnlib._fused import kernels_for
from attnlib._layout import Layout, resolve
from attnlib._validate import floating_tensor
from attnlib._written import WrittenRows
from attnlib.errors import InvalidArgument

__all__ = ["softmax_attention"]

_FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]


def attend(layout: Layout) -> Tensor:
    """Output of softmax attention by PyTorch's fused kernels, (B, H, Lq, dv), 0 where a row sees no key."""
    q, k, v = layout.q, layout.k, layout.v
    # Unequal head sizes would send PyTorch to its n x n implementation.
    width = max(q.shape[-1], v.shape[-1])
    q, k, wide = (x if x.shape[-1] == width else pad(x, (0, width - x.shape[-1])) for x in (q, k, v))
    bias, is_causal = layout.bias, layout.is_causal
    if bias is not None:
        bias = bias.expand(*bias.shape[:-2], q.shape[-2], k.shape[-2])
        if is_causal:
            future = torch.ones(bias.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
            bias, is_causal = bias.masked_fill(future, -math.inf), False
    with sdpa_kernel(_FUSED):
        output = scaled_dot_product_attention(q, k, wide, attn_mask=bias, is_causal=is_causal,
                                              scale=layout.scale)[..., : v.shape[-1]]
    return output if layout.bias is None else output.masked_fill(layout.empty[..., None], 0)


def softmax_attention(q: Tensor, k: Tensor, v: Tensor, *, attn_mask: Tensor | None = None,
                      is_causal: bool = False, scale: float | Callable | None = None,
                      enable_gqa: bool = False, impl: str = "fused") -> Tensor:
    """softmax(scale * q k^T) v by PyTorch's fused kernels, with a scale that may depend on the visible keys.

    Shapes: q (..., heads, n, d), k (..., heads, m, d), v (..., heads, m, dv); the output is (..., heads, n, dv) in
    the dtype and on the device of q. ``attn_mask`` (boolean, True = visible, or added to the logits), ``is_causal``
    (top-left aligned) and ``enable_gqa`` are those of ``scaled_dot_product_attention``; a mask may be combined with
    ``is_causal``. A row that sees no key has output 0 and gradient 0.

    ``scale`` is None for 1/sqrt(d), a number, or a rule ``(n, d) -> lambda`` given the number of keys each row sees: row
    i of a causal layer gets n = i + 1, a padded or packed row its own count; n is an int where all rows see all keys and a
    tensor broadcasting to (..., heads, n) otherwise. A constant scale goes to the kernel; one that varies from row to row
    is multiplied into q, in float32 at least, and the call then runs in that dtype.

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
