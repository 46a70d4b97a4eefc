"""What ``impl='fused'`` runs on CUDA: PyTorch's memory-efficient kernel, asked for statistics.

The adapter of the operator is written from its documented signature, and has run on an H100; the statistics
around it are tested on a CPU, with the CPU's kernels in its place.

With the keys as values an attention kernel returns the log-sum-exp F of a row and o = sum p k, hence
H = F - scale q.o. Its backward pass with V = K and dO = -scale g q has dS = -g p (s - m), which is exactly
the gradient of H; with dO = q it returns scale Cov(k) q, hence the variance of the logits. Claims U1, U2 and
U7 of the book.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnlib._rows.blockwise import block_elements
from attnlib._rows.kernels import KERNELS, Kernels
from attnlib._rows.layout import Pattern, Tensors, logits
from attnlib._rows.passes import PASSES, run


class _KernelRows:
    """A pass of results lse, entropy, [varentropy], [output] from attention kernels.

    ``numbers[0]`` is 1 with the varentropy and 0 without; sum p k is kept for the backward pass. All
    gradients but that of the varentropy come from one backward call of the kernel, which computes
    dS = P (dO V^T - sum(dO * out)) from whatever columns it is handed:

    ==========  ===========  =================  =========
    gradient    columns V    columns dO         columns out
    ==========  ===========  =================  =========
    of output   v            g                  output
    of entropy  k            -scale g q         sum p k
    of lse      1            g                  0
    ==========  ===========  =================  =========
    """

    def differentiable(self, numbers: Sequence[float]) -> int:
        return -1

    def shapes(self, tensors: Tensors, pattern: Pattern, numbers: Sequence[float]) -> list[Tensor]:
        q, v = tensors.q, tensors.v
        rows = [q.new_empty(q.shape[:3]) for _ in range(3 if numbers[0] == 1 else 2)]
        output = [] if v is None else [q.new_empty((*q.shape[:3], v.shape[-1]))]
        return [*rows, *output, torch.empty_like(q, memory_format=torch.contiguous_format)]

    def forward(self, tensors: Tensors, pattern: Pattern, numbers: Sequence[float]) -> list[Tensor]:
        q, k, v = tensors.q, tensors.k, tensors.v
        kernels = KERNELS[q.device.type]
        values = k if v is None else torch.cat([v, k], dim=-1)
        out, lse = kernels.forward(q, k, values, tensors.bias, pattern.is_causal, pattern.scale)
        out, lse = tensors.hide_empty(out, 0), tensors.hide_empty(lse, 0)
        width = 0 if v is None else v.shape[-1]
        mean_key = out[..., width:].contiguous()
        entropy = (lse - pattern.scale * _dot(q, mean_key)).clamp(min=0)
        rows = [lse, entropy]
        if numbers[0] == 1:
            rows.append(_varentropy(tensors, pattern, mean_key, lse, kernels))
        return [*rows, *([] if v is None else [out[..., :width].contiguous()]), mean_key]

    def backward(
        self,
        tensors: Tensors,
        pattern: Pattern,
        numbers: Sequence[float],
        results: list[Tensor],
        grads: list[Tensor | None],
        with_bias: bool,
    ) -> Tensors:
        q, k, v = tensors.q, tensors.k, tensors.v
        lse, entropy, *rest, mean_key = results
        grad_lse, grad_entropy, *others = (
            g if g is None else tensors.hide_empty(g, 0) for g in grads[: len(results) - 1]
        )
        grad_varentropy = others.pop(0) if numbers[0] == 1 else None
        grad_output = None if v is None else others.pop(0)
        columns = []
        if grad_output is not None and v is not None:
            columns.append((v, grad_output, rest[-1]))
        if grad_entropy is not None:
            columns.append((k, -pattern.scale * grad_entropy[..., None] * q, mean_key))
        if grad_lse is not None:
            columns.append(
                (k.new_ones(k.shape[:-1] + (1,)), grad_lse[..., None], torch.zeros_like(grad_lse)[..., None])
            )
        grad_q, grad_k, grad_v = torch.zeros_like(q), torch.zeros_like(k), None
        if columns:
            values, grad_out, out = (
                torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0] for parts in zip(*columns)
            )
            grad_q, grad_k, grad_values = KERNELS[q.device.type].backward(
                grad_out, q, k, values, out, lse, tensors.bias, pattern.is_causal, pattern.scale
            )
            if grad_output is not None and v is not None:
                grad_v = grad_values[..., : v.shape[-1]]
        if grad_varentropy is not None:
            from_q, from_k = _varentropy_gradient(grad_varentropy, tensors, pattern, lse, entropy, rest[0])
            grad_q, grad_k = grad_q + from_q, grad_k + from_k
        return Tensors(grad_q, grad_k, grad_v)


PASSES["kernels"] = _KernelRows()


def _dot(x: Tensor, y: Tensor) -> Tensor:
    """Row by row, without the product in between, which would be as large as the kernel's own output."""
    return torch.einsum("...d,...d->...", x, y)


def _varentropy(
    tensors: Tensors, pattern: Pattern, mean_key: Tensor, lse: Tensor, kernels: Kernels
) -> Tensor:
    """Var_p of the logits: q . dq of one backward call with V = K, dO = q, since dq is then scale Cov_p(k) q.

    The column of ones beside K returns sum p (s - m), zero but for rounding; taking m times it off makes a
    sum over p (s - m) s into one over p (s - m)^2, so that a peaked row does not lose its digits.
    """
    q, k = tensors.q, tensors.k
    one_column = (0, 1)
    grad_q, _, _ = kernels.backward(
        q,
        pad(q, one_column),
        pad(k, one_column, value=1.0),
        k,
        mean_key,
        lse,
        tensors.bias,
        pattern.is_causal,
        pattern.scale,
    )
    deviations = _dot(q, grad_q[..., :-1]) - _dot(q, mean_key) * grad_q[..., -1]
    return (pattern.scale * deviations).clamp(min=0)


def _varentropy_gradient(
    grad: Tensor, tensors: Tensors, pattern: Pattern, lse: Tensor, entropy: Tensor, varentropy: Tensor
) -> tuple[Tensor, Tensor]:
    """dS = g p ((s - m)^2 + 2 (s - m) - Var): quadratic in the keys, so written out block by block."""
    q, k = tensors.q, tensors.k
    grad_q, grad_k = torch.empty_like(q), torch.zeros_like(k)
    for block in tensors.blocks(block_elements(q)):
        b, h, i = block
        log_p = logits(tensors, pattern, block) - lse[block][..., None]
        deviation = (log_p + entropy[block][..., None]).masked_fill(log_p == -math.inf, 0)
        grad_scores = (
            pattern.scale
            * grad[block][..., None]
            * log_p.exp()
            * (deviation.square() + 2 * deviation - varentropy[block][..., None])
        )
        grad_q[block] = grad_scores @ k[b, h]
        grad_k[b, h] += grad_scores.mT @ q[b, h, i]
    return grad_q, grad_k


def rows_by_kernels(
    tensors: Tensors, pattern: Pattern, with_varentropy: bool
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """lse, entropy, varentropy and output of every row, the latter two None if not wanted.

    lse is 0 in a row that sees no key; the mask may only hide, since kernels return sum p k and not sum p
    bias.
    """
    lse, entropy, *rest, _ = run("kernels", tensors, pattern, (float(with_varentropy),))
    varentropy = rest[0] if with_varentropy else None
    return lse, entropy, varentropy, None if tensors.v is None else rest[-1]
