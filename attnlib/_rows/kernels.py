"""PyTorch's attention operators behind one signature: output and log-sum-exp, and their three gradients.

``q`` (B, H, Lq, d), ``k`` (B, H, Lk, d), ``v`` (B, H, Lk, dv); ``bias`` broadcasts to (B, H, Lq, Lk) or is
None; ``scale > 0``. The log-sum-exp is (B, H, Lq) and without meaning where a row sees no key.

The backward pass takes its output ``out`` as an argument and uses it only through sum(grad_out * out): the
statistics pass columns here that the forward pass never made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnlib._rows.layout import Pattern, Tensors, unit_stride
from attnlib._rows.passes import PASSES, run


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


class CUDAKernels:
    """``aten::_scaled_dot_product_efficient_attention``: float32 and below, head sizes in multiples of 8."""

    @staticmethod
    def _aligned(x: Tensor) -> Tensor:
        return unit_stride(pad(x, (0, -x.shape[-1] % 8)))

    @staticmethod
    def _expand(bias: Tensor | None, q: Tensor, k: Tensor) -> Tensor | None:
        if bias is None:
            return None
        n_k = k.shape[2]
        bias = pad(bias.expand(*bias.shape[:-1], n_k), (0, -n_k % 16))[..., :n_k]
        return bias.expand(q.shape[0], q.shape[1], q.shape[2], n_k)

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, is_causal: bool, scale: float
    ) -> tuple[Tensor, Tensor]:
        out, lse, _, _ = torch.ops.aten._scaled_dot_product_efficient_attention(
            self._aligned(q),
            self._aligned(k),
            self._aligned(v),
            self._expand(bias, q, k),
            True,
            0.0,
            is_causal,
            scale=scale,
        )
        return out[..., : v.shape[-1]], lse[..., : q.shape[2]].contiguous()

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
        lse = pad(lse, (0, -lse.shape[-1] % 32), value=math.inf)
        no_dropout = torch.zeros((), dtype=torch.int64, device=q.device)
        grad_q, grad_k, grad_v, _ = torch.ops.aten._scaled_dot_product_efficient_attention_backward(
            self._aligned(grad_out),
            self._aligned(q),
            self._aligned(k),
            self._aligned(v),
            self._expand(bias, q, k),
            self._aligned(out),
            lse,
            no_dropout,
            no_dropout,
            0.0,
            [True, True, True, False],
            is_causal,
            scale=scale,
        )
        return grad_q[..., : q.shape[-1]], grad_k[..., : k.shape[-1]], grad_v[..., : v.shape[-1]]


KERNELS: dict[str, Kernels] = {"cpu": CPUKernels(), "cuda": CUDAKernels()}


class _Attend:
    """A pass whose result is the output, 0 where a row sees no key; kept for its gradient is the lse."""

    def differentiable(self, numbers: Sequence[float]) -> int:
        return 1

    def shapes(self, tensors: Tensors, pattern: Pattern, numbers: Sequence[float]) -> list[Tensor]:
        q = tensors.q
        return [q.new_empty((*q.shape[:3], tensors.values.shape[-1])), q.new_empty(q.shape[:3])]

    def forward(self, tensors: Tensors, pattern: Pattern, numbers: Sequence[float]) -> list[Tensor]:
        kernels = KERNELS[tensors.q.device.type]
        q, k, v = tensors.q, tensors.k, tensors.values
        out, lse = kernels.forward(q, k, v, tensors.bias, pattern.is_causal, pattern.scale)
        return [tensors.hide_empty(out, 0).contiguous(), tensors.hide_empty(lse, 0)]

    def backward(
        self,
        tensors: Tensors,
        pattern: Pattern,
        numbers: Sequence[float],
        results: list[Tensor],
        grads: list[Tensor | None],
        with_bias: bool,
    ) -> Tensors:
        kernels = KERNELS[tensors.q.device.type]
        out, lse = results
        if grads[0] is None:
            return Tensors(torch.zeros_like(tensors.q), torch.zeros_like(tensors.k))
        return Tensors(
            *kernels.backward(
                tensors.hide_empty(grads[0], 0),
                tensors.q,
                tensors.k,
                tensors.values,
                out,
                lse,
                tensors.bias,
                pattern.is_causal,
                pattern.scale,
            )
        )


PASSES["attend"] = _Attend()


def attend_by_kernels(tensors: Tensors, pattern: Pattern) -> Tensor:
    """Output of softmax attention from the kernels of the device, 0 where a row sees no key."""
    return run("attend", tensors, pattern)[0]
