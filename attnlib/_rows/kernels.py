"""PyTorch's attention operators behind one signature: output and log-sum-exp, and their three gradients.

``q`` (B, H, Lq, d), ``k`` (B, H, Lk, d), ``v`` (B, H, Lk, dv); ``bias`` broadcasts to (B, H, Lq, Lk) or is
None; ``scale > 0``. The log-sum-exp is (B, H, Lq) and without meaning where a row sees no key.

The backward pass takes its output ``out`` as an argument and uses it only through sum(grad_out * out): the
statistics pass columns here that the forward pass never made.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnlib._rows.blockwise import differentiable_once
from attnlib._rows.layout import Geometry, unit_stride


class Kernels(Protocol):
    """One operator, forward and backward."""

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, is_causal: bool, scale: float
    ) -> tuple[Tensor, Tensor]: ...

    def backward(
        self,
        grad_out: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        out: Tensor,
        lse: Tensor,
        bias: Tensor | None,
        is_causal: bool,
        scale: float,
    ) -> tuple[Tensor, Tensor, Tensor]: ...


class CPUKernels:
    """``aten::_scaled_dot_product_flash_attention_for_cpu``: wants dv = d."""

    @staticmethod
    def _equal_width(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        width = max(q.shape[-1], v.shape[-1])
        return wide(q, width), wide(k, width), wide(v, width)

    @staticmethod
    def _expand(bias: Tensor | None, q: Tensor, k: Tensor) -> Tensor | None:
        if bias is None:
            return None
        return unit_stride(bias.expand(q.shape[0], q.shape[1], q.shape[2], k.shape[2]))

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, is_causal: bool, scale: float
    ) -> tuple[Tensor, Tensor]:
        wide_q, wide_k, wide_v = self._equal_width(q, k, v)
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            wide_q, wide_k, wide_v, 0.0, is_causal, attn_mask=self._expand(bias, q, k), scale=scale
        )
        return out[..., : v.shape[-1]], lse.contiguous()

    def backward(
        self,
        grad_out: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        out: Tensor,
        lse: Tensor,
        bias: Tensor | None,
        is_causal: bool,
        scale: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        wide_q, wide_k, wide_v = self._equal_width(q, k, v)
        grad_q, grad_k, grad_v = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
            wide(grad_out, wide_v.shape[-1]),
            wide_q,
            wide_k,
            wide_v,
            wide(out, wide_v.shape[-1]),
            lse,
            0.0,
            is_causal,
            attn_mask=self._expand(bias, q, k),
            scale=scale,
        )
        return grad_q[..., : q.shape[-1]], grad_k[..., : k.shape[-1]], grad_v[..., : v.shape[-1]]


def wide(x: Tensor, width: int) -> Tensor:
    """``x`` with zeros up to ``width`` columns, which change no product; last dimension contiguous."""
    return unit_stride(x) if x.shape[-1] == width else pad(x, (0, width - x.shape[-1]))


class Attend(torch.autograd.Function):
    """Output of softmax attention from given kernels, 0 where a row sees no key."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, geometry: Geometry, kernels: Kernels) -> Tensor:
        out, lse = kernels.forward(q, k, v, geometry.bias, geometry.is_causal, geometry.scale)
        out, lse = geometry.hide_empty(out, 0), geometry.hide_empty(lse, 0)
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.geometry, ctx.kernels = geometry, kernels
        return out

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, lse = ctx.saved_tensors
        geometry: Geometry = ctx.geometry
        grads = ctx.kernels.backward(
            geometry.hide_empty(grad, 0),
            q,
            k,
            v,
            out,
            lse,
            geometry.bias,
            geometry.is_causal,
            geometry.scale,
        )
        return *grads, None, None
