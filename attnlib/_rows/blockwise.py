"""Functions of attention rows that no fused kernel returns: written out block by block, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TypeAlias

import torch
from torch import Tensor

from attnlib._rows.layout import Pattern, Tensors, logits, part_of
from attnlib._rows.passes import PASSES, run
from attnlib._transforms import forward_mode

# Logits written out at a time: within a core's cache on a CPU, enough work for a GPU.
_BLOCK_ELEMENTS = {"cpu": 1 << 18, "cuda": 1 << 24}


def block_elements(x: Tensor) -> int:
    """How many logits to write out at a time on the device of ``x``."""
    return _BLOCK_ELEMENTS.get(x.device.type, _BLOCK_ELEMENTS["cpu"])


RowFunction: TypeAlias = Callable[[Tensor, Tensor | None, Tensor | None, Sequence[float]], tuple[Tensor, ...]]
"""From the logits of some rows, the values, weights of the rows and numbers to results of as many rows."""


class _Written:
    """A pass that writes out the logits of a block of rows, forward and again backward."""

    def __init__(self, function: RowFunction):
        self.function = function

    def differentiable(self, numbers: Sequence[float]) -> int:
        # A slice takes all of them, however many there are.
        return 1 << 30

    def shapes(self, tensors: Tensors, pattern: Pattern, numbers: Sequence[float]) -> list[Tensor]:
        q, weight = tensors.q, tensors.weight
        one_row = q.new_empty((*q.shape[:2], 1, tensors.k.shape[2]))
        cut = None if weight is None else weight.expand(q.shape[:3])[..., :1]
        parts = self.function(one_row, tensors.v, cut, numbers)
        return [part.new_empty(q.shape[:3] + part.shape[3:]) for part in parts]

    def forward(self, tensors: Tensors, pattern: Pattern, numbers: Sequence[float]) -> list[Tensor]:
        results: list[Tensor] = []
        for block in tensors.blocks(block_elements(tensors.q)):
            b, h, _ = block
            v, weight = tensors.v, tensors.weight
            parts = self.function(
                logits(tensors, pattern, block),
                None if v is None else v[b, h],
                None if weight is None else part_of(weight, block),
                numbers,
            )
            if not results:
                results = [part.new_empty(tensors.q.shape[:3] + part.shape[3:]) for part in parts]
            for result, part in zip(results, parts):
                result[block] = part
        return results or self.shapes(tensors, pattern, numbers)

    def backward(
        self,
        tensors: Tensors,
        pattern: Pattern,
        numbers: Sequence[float],
        results: list[Tensor],
        grads: list[Tensor | None],
        with_bias: bool,
    ) -> Tensors:
        wanted = {"q": tensors.q, "k": tensors.k, "v": tensors.v, "weight": tensors.weight}
        wanted["bias"] = tensors.bias if with_bias else None
        inputs = {name: x for name, x in wanted.items() if x is not None}
        totals = {name: torch.zeros_like(x) for name, x in inputs.items()}
        for block in tensors.blocks(block_elements(tensors.q)):
            b, h, _ = block
            parts = {}
            for name, x in inputs.items():
                cut = x[b, h] if name in ("k", "v") else part_of(x, block)
                parts[name] = cut.detach().requires_grad_()
            with torch.enable_grad():
                scores = logits(tensors, pattern, block, parts)
                outputs = self.function(scores, parts.get("v"), parts.get("weight"), numbers)
            asked = [(y, g[block]) for y, g in zip(outputs, grads) if g is not None]
            if not asked:
                continue
            gradients = torch.autograd.grad(
                [y for y, _ in asked], list(parts.values()), [g for _, g in asked], allow_unused=True
            )
            for name, gradient in zip(parts, gradients):
                if gradient is not None:
                    place = totals[name][b, h] if name in ("k", "v") else part_of(totals[name], block)
                    place += gradient
        return Tensors(
            totals["q"], totals["k"], totals.get("v"), bias=totals.get("bias"), weight=totals.get("weight")
        )


_FUNCTIONS: dict[str, RowFunction] = {}
_FIXED: set[str] = set()


def row_function(name: str, *, with_gradient: bool = True) -> Callable[[RowFunction], RowFunction]:
    """Name a function of rows, by which :func:`blockwise` and compiled graphs call it."""

    def named(function: RowFunction) -> RowFunction:
        _FUNCTIONS[name] = function
        PASSES[name] = _Written(function)
        if not with_gradient:
            _FIXED.add(name)
        return function

    return named


def _plainly(name: str, tensors: Tensors, pattern: Pattern, numbers: Sequence[float]) -> tuple[Tensor, ...]:
    """The same by ordinary operations, which carry forward-mode derivatives along."""

    def results_of(block: tuple[slice, slice, slice]) -> tuple[Tensor, ...]:
        b, h, _ = block
        v, weight = tensors.v, tensors.weight
        return _FUNCTIONS[name](
            logits(tensors, pattern, block),
            None if v is None else v[b, h],
            None if weight is None else part_of(weight, block),
            numbers,
        )

    def joined(parts: list[tuple[Tensor, ...]], dim: int) -> tuple[Tensor, ...]:
        return tuple(torch.cat(same, dim=dim) for same in zip(*parts))

    by_batch = []
    for _, of_batch in groupby(tensors.blocks(block_elements(tensors.q)), lambda block: block[0].start):
        by_head = []
        for _, of_head in groupby(of_batch, lambda block: block[1].start):
            by_head.append(joined([results_of(block) for block in of_head], 2))
        by_batch.append(joined(by_head, 1))
    return joined(by_batch, 0)


def blockwise(
    name: str, tensors: Tensors, pattern: Pattern, numbers: Sequence[float] = ()
) -> tuple[Tensor, ...]:
    """Apply the row function of this name block by block, again in the backward pass; (B, H, Lq, *)."""
    if name in _FIXED:
        return run(name, tensors, pattern, numbers, fixed=True)
    if forward_mode(*tensors):
        return _plainly(name, tensors, pattern, numbers)
    return run(name, tensors, pattern, numbers)
