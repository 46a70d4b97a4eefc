"""Fused attention kernels behind one signature: output and log-sum-exp forward, three gradients backward.

``q`` (B, H, Lq, d), ``k`` (B, H, Lk, d), ``v`` (B, H, Lk, dv); ``bias`` broadcasts to (B, H, Lq, Lk) or is
None; ``scale > 0``. The log-sum-exp is (B, H, Lq) and without meaning where a row sees no key.

The backward pass takes its output ``out`` as an argument and uses it only through sum(grad_out * out): the
statistics pass columns here that the forward pass never made.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnlib.errors import InvalidArgument


class Kernels(Protocol):
    def forward(self, q, k, v, bias, is_causal: bool, scale: float) -> tuple[Tensor, Tensor]: ...

    def backward(
        self, grad_out, q, k, v, out, lse, bias, is_causal: bool, scale: float
    ) -> tuple[Tensor, Tensor, Tensor]: ...


def unit_stride(x: Tensor | None) -> Tensor | None:
    """The kernels need the last dimension contiguous; the CPU operator does not check, and goes wrong."""
    return x if x is None or x.stride(-1) == 1 else x.contiguous()


class _CPU(NamedTuple):
    """``aten::_scaled_dot_product_flash_attention_for_cpu``: wants dv = d."""

    @staticmethod
    def _equal_width(q, k, v):
        width = max(q.shape[-1], v.shape[-1])
        return tuple(
            unit_stride(x if x.shape[-1] == width else pad(x, (0, width - x.shape[-1]))) for x in (q, k, v)
        )

    @staticmethod
    def _expand(bias, q, k):
        return (
            None if bias is None else unit_stride(bias.expand(q.shape[0], q.shape[1], q.shape[2], k.shape[2]))
        )

    def forward(self, q, k, v, bias, is_causal, scale):
        wide_q, wide_k, wide_v = self._equal_width(q, k, v)
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            wide_q, wide_k, wide_v, 0.0, is_causal, attn_mask=self._expand(bias, q, k), scale=scale
        )
        return out[..., : v.shape[-1]], lse.contiguous()

    def backward(self, grad_out, q, k, v, out, lse, bias, is_causal, scale):
        wide_q, wide_k, wide_v = self._equal_width(q, k, v)
        extra = wide_v.shape[-1] - v.shape[-1]
        grad_out, out = (unit_stride(pad(x, (0, extra)) if extra else x) for x in (grad_out, out))
        grads = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
            grad_out,
            wide_q,
            wide_k,
            wide_v,
            out,
            lse,
            0.0,
            is_causal,
            attn_mask=self._expand(bias, q, k),
            scale=scale,
        )
        return tuple(g[..., : x.shape[-1]] for g, x in zip(grads, (q, k, v)))


class _CUDA(NamedTuple):
    """``aten::_scaled_dot_product_efficient_attention``: float32 and below, head sizes in multiples of 8.

    Written from the operator's documented signature; this adapter has not been run on a CUDA machine yet.
    """

    @staticmethod
    def _aligned(x):
        return unit_stride(pad(x, (0, -x.shape[-1] % 8)))

    @staticmethod
    def _expand(bias, q, k):
        if bias is None:
            return None
        n_k = k.shape[2]
        bias = pad(bias, (0, -n_k % 16))[..., :n_k]
        return bias.expand(q.shape[0], q.shape[1], q.shape[2], n_k)

    def forward(self, q, k, v, bias, is_causal, scale):
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

    def backward(self, grad_out, q, k, v, out, lse, bias, is_causal, scale):
        lse = pad(lse, (0, -lse.shape[-1] % 32), value=math.inf)
        no_dropout = torch.zeros((), dtype=torch.int64, device=q.device)
        grads = torch.ops.aten._scaled_dot_product_efficient_attention_backward(
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
        return tuple(g[..., : x.shape[-1]] for g, x in zip(grads, (q, k, v)))


_KERNELS: dict[str, Kernels] = {"cpu": _CPU(), "cuda": _CUDA()}


def kernels_for(device: torch.device, dtype: torch.dtype) -> Kernels:
    """The kernels of a device; raises where there are none, and never falls back."""
    if device.type not in _KERNELS:
        raise InvalidArgument(
            f"impl='fused' has kernels for {' and '.join(_KERNELS)}, but q is on {device}; name another impl"
        )
    if device.type == "cuda" and dtype == torch.float64:
        raise InvalidArgument("impl='fused' has no float64 kernel on cuda, but q needs it; name another impl")
    return _KERNELS[device.type]
