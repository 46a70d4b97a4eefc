"""What every key receives: sums and maxima over the rows, block by block, never the matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

from attnlib._rows.blockwise import block_elements
from attnlib._rows.dense import WrittenRows
from attnlib._rows.layout import Pattern, Tensors, logits, part_of
from attnlib._rows.passes import PASSES, run
from attnlib._transforms import forward_mode


def _weights(s: Tensor, weight: Tensor | None) -> Tensor:
    p = WrittenRows(s).p
    return p if weight is None else p * weight[..., None]


class _KeyRows:
    """A pass of results (B, H, Lk): weight received, largest weight; and the rows that see the key.

    ``weight`` multiplies the weights of a row. The row that the largest comes from is kept for its gradient.
    """

    def differentiable(self, numbers: Sequence[float]) -> int:
        return 2

    def shapes(self, tensors: Tensors, pattern: Pattern, numbers: Sequence[float]) -> list[Tensor]:
        shape = (*tensors.q.shape[:2], tensors.k.shape[2])
        values = [tensors.q.new_empty(shape) for _ in range(2)]
        return [*values, *(tensors.q.new_empty(shape, dtype=torch.int64) for _ in range(2))]

    def forward(self, tensors: Tensors, pattern: Pattern, numbers: Sequence[float]) -> list[Tensor]:
        received, largest, rows, source = (
            torch.zeros_like(x) for x in self.shapes(tensors, pattern, numbers)
        )
        for block in tensors.blocks(block_elements(tensors.q)):
            b, h, i = block
            s = logits(tensors, pattern, block)
            weight = None if tensors.weight is None else part_of(tensors.weight, block)
            p = _weights(s, weight)
            received[b, h] += p.sum(dim=-2)
            rows[b, h] += (s > -math.inf).sum(dim=-2)
            top, at = p.max(dim=-2)
            better = top > largest[b, h]
            source[b, h] = torch.where(better, at + i.start, source[b, h])
            largest[b, h] = torch.where(better, top, largest[b, h])
        return [received, largest, rows, source]

    def backward(
        self,
        tensors: Tensors,
        pattern: Pattern,
        numbers: Sequence[float],
        results: list[Tensor],
        grads: list[Tensor | None],
        with_bias: bool,
    ) -> Tensors:
        of_received, of_largest = grads[:2]
        source = results[3]
        wanted = {"q": tensors.q, "k": tensors.k, "weight": tensors.weight}
        wanted["bias"] = tensors.bias if with_bias else None
        inputs = {name: x for name, x in wanted.items() if x is not None}
        totals = {name: torch.zeros_like(x) for name, x in inputs.items()}
        for block in tensors.blocks(block_elements(tensors.q)):
            b, h, i = block
            parts = {}
            for name, x in inputs.items():
                cut = x[b, h] if name == "k" else part_of(x, block)
                parts[name] = cut.detach().requires_grad_()
            with torch.enable_grad():
                p = _weights(logits(tensors, pattern, block, parts), parts.get("weight"))
            grad = torch.zeros_like(p)
            if of_received is not None:
                grad += of_received[b, h, None]
            if of_largest is not None:
                place = torch.arange(i.start, i.stop, device=p.device)[:, None]
                grad += of_largest[b, h, None] * (place == source[b, h, None])
            for name, gradient in zip(parts, torch.autograd.grad(p, list(parts.values()), grad)):
                total = totals[name][b, h] if name == "k" else part_of(totals[name], block)
                total += gradient
        return Tensors(totals["q"], totals["k"], bias=totals.get("bias"), weight=totals.get("weight"))


PASSES["columns"] = _KeyRows()


def _plainly(tensors: Tensors, pattern: Pattern) -> tuple[Tensor, Tensor, Tensor]:
    """The same by ordinary operations, which carry forward-mode derivatives along."""
    by_batch = []
    for _, of_batch in groupby(tensors.blocks(block_elements(tensors.q)), lambda block: block[0].start):
        by_head = []
        for _, of_head in groupby(of_batch, lambda block: block[1].start):
            sums = []
            for block in of_head:
                s = logits(tensors, pattern, block)
                p = _weights(s, None if tensors.weight is None else part_of(tensors.weight, block))
                sums.append((p.sum(dim=-2), p.amax(dim=-2), (s > -math.inf).sum(dim=-2)))
            received, largest, rows = (torch.stack(same) for same in zip(*sums))
            by_head.append((received.sum(dim=0), largest.amax(dim=0), rows.sum(dim=0)))
        by_batch.append(tuple(torch.cat(same, dim=1) for same in zip(*by_head)))
    received, largest, rows = (torch.cat(same, dim=0) for same in zip(*by_batch))
    return received, largest, rows


def key_rows(tensors: Tensors, pattern: Pattern) -> tuple[Tensor, Tensor, Tensor]:
    """Weight that every key receives, the largest that a row gives it, and the rows that see it."""
    if forward_mode(*tensors):
        return _plainly(tensors, pattern)
    received, largest, rows, _ = run("columns", tensors, pattern)
    return received, largest, rows
