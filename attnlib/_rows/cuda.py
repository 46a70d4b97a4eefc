"""What ``impl='fused'`` runs on CUDA: PyTorch's memory-efficient kernel, asked for statistics.

Never yet run on CUDA. The adapter of the operator is written from its documented signature; the statistics
around it are tested on a CPU, with the CPU's kernels in its place.

With the keys as values an attention kernel returns the log-sum-exp F of a row and o = sum p k, hence
H = F - scale q.o. Its backward pass with V = K and dO = -scale g q has dS = -g p (s - m), which is exactly
the gradient of H; with dO = q it returns scale Cov(k) q, hence the variance of the logits. Claims U1, U2 and
U7 of the book.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnlib._rows.blockwise import block_elements, differentiable_once
from attnlib._rows.kernels import Kernels
from attnlib._rows.layout import Geometry, Tensors, unit_stride


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
        bias = pad(bias, (0, -n_k % 16))[..., :n_k]
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


class _KernelRows(torch.autograd.Function):
    """Output, log-sum-exp, entropy and varentropy of every row from attention kernels; ``v`` may be None.

    All gradients but that of the varentropy come from one backward call of the kernel, which computes
    dS = P (dO V^T - sum(dO * out)) from whatever columns it is handed:

    ==========  ===========  =================  =========
    gradient    columns V    columns dO         columns out
    ==========  ===========  =================  =========
    of output   v            g                  output
    of entropy  k            -scale g q         sum p k
    of lse      1            g                  0
    ==========  ===========  =================  =========
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor | None,
        geometry: Geometry,
        kernels: Kernels,
        with_varentropy: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        values = k if v is None else torch.cat([v, k], dim=-1)
        out, lse = kernels.forward(q, k, values, geometry.bias, geometry.is_causal, geometry.scale)
        out, lse = geometry.hide_empty(out, 0), geometry.hide_empty(lse, 0)
        width = 0 if v is None else v.shape[-1]
        output, mean_key = out[..., :width], out[..., width:]
        entropy = (lse - geometry.scale * _dot(q, mean_key)).clamp(min=0)
        varentropy = _varentropy(q, k, mean_key, lse, geometry, kernels) if with_varentropy else None
        ctx.save_for_backward(q, k, v, output, mean_key, lse, entropy, varentropy)
        ctx.geometry, ctx.kernels = geometry, kernels
        ctx.set_materialize_grads(False)
        return output, lse, entropy, varentropy

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        q, k, v, output, mean_key, lse, entropy, varentropy = ctx.saved_tensors
        geometry: Geometry = ctx.geometry
        grad_output, grad_lse, grad_entropy, grad_varentropy = (
            g if g is None else geometry.hide_empty(g, 0) for g in grads
        )
        columns = []
        if grad_output is not None and v is not None:
            columns.append((v, grad_output, output))
        if grad_entropy is not None:
            columns.append((k, -geometry.scale * grad_entropy[..., None] * q, mean_key))
        if grad_lse is not None:
            columns.append(
                (k.new_ones(k.shape[:-1] + (1,)), grad_lse[..., None], torch.zeros_like(grad_lse)[..., None])
            )
        grad_q, grad_k, grad_v = torch.zeros_like(q), torch.zeros_like(k), None
        if columns:
            values, grad_out, out = (
                torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0] for parts in zip(*columns)
            )
            grad_q, grad_k, grad_values = ctx.kernels.backward(
                grad_out, q, k, values, out, lse, geometry.bias, geometry.is_causal, geometry.scale
            )
            if grad_output is not None and v is not None:
                grad_v = grad_values[..., : v.shape[-1]]
        if grad_varentropy is not None:
            from_q, from_k = _varentropy_gradient(grad_varentropy, q, k, lse, entropy, varentropy, geometry)
            grad_q, grad_k = grad_q + from_q, grad_k + from_k
        return grad_q, grad_k, grad_v, None, None, None


def _dot(x: Tensor, y: Tensor) -> Tensor:
    """Row by row, without the product in between, which would be as large as the kernel's own output."""
    return torch.einsum("...d,...d->...", x, y)


def _varentropy(
    q: Tensor, k: Tensor, mean_key: Tensor, lse: Tensor, geometry: Geometry, kernels: Kernels
) -> Tensor:
    """Var_p of the logits: q . dq of one backward call with V = K, dO = q, since dq is then scale Cov_p(k) q.

    The column of ones beside K returns sum p (s - m), zero but for rounding; taking m times it off makes a
    sum over p (s - m) s into one over p (s - m)^2, so that a peaked row does not lose its digits.
    """
    one_column = (0, 1)
    grad_q, _, _ = kernels.backward(
        q,
        pad(q, one_column),
        pad(k, one_column, value=1.0),
        k,
        mean_key,
        lse,
        geometry.bias,
        geometry.is_causal,
        geometry.scale,
    )
    deviations = _dot(q, grad_q[..., :-1]) - _dot(q, mean_key) * grad_q[..., -1]
    return (geometry.scale * deviations).clamp(min=0)


def _varentropy_gradient(
    grad: Tensor, q: Tensor, k: Tensor, lse: Tensor, entropy: Tensor, varentropy: Tensor, geometry: Geometry
) -> tuple[Tensor, Tensor]:
    """dS = g p ((s - m)^2 + 2 (s - m) - Var): quadratic in the keys, so written out block by block."""
    grad_q, grad_k = torch.empty_like(q), torch.zeros_like(k)
    for block in geometry.blocks(block_elements(q)):
        b, h, i = block
        log_p = geometry.logits(q[b, h, i], k[b, h], block) - lse[block][..., None]
        deviation = (log_p + entropy[block][..., None]).masked_fill(log_p == -math.inf, 0)
        grad_scores = (
            geometry.scale
            * grad[block][..., None]
            * log_p.exp()
            * (deviation.square() + 2 * deviation - varentropy[block][..., None])
        )
        grad_q[block] = grad_scores @ k[b, h]
        grad_k[b, h] += grad_scores.mT @ q[b, h, i]
    return grad_q, grad_k


def rows_by_kernels(
    tensors: Tensors, geometry: Geometry, kernels: Kernels, with_varentropy: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Output (without columns where there are no values), lse, entropy and varentropy of every row.

    The first two are 0 in a row that sees no key; the mask may only hide, since kernels return sum p k and
    not sum p bias.
    """
    rows: tuple[Tensor, Tensor, Tensor, Tensor | None] = _KernelRows.apply(
        *tensors, geometry, kernels, with_varentropy
    )
    return rows
