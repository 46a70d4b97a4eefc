"""Functions of attention rows that no fused kernel returns: written out block by block, in bounded memory."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

import torch
from torch import Tensor

from attnlib._rows.layout import Geometry, Tensors

# Logits written out at a time: within a core's cache on a CPU, enough work for a GPU.
_BLOCK_ELEMENTS = {"cpu": 1 << 18, "cuda": 1 << 26}


def block_elements(x: Tensor) -> int:
    """How many logits to write out at a time on the device of ``x``."""
    return _BLOCK_ELEMENTS.get(x.device.type, _BLOCK_ELEMENTS["cpu"])


Backward: TypeAlias = Callable[..., tuple[Tensor | None, ...]]


class _Refuse(torch.autograd.Function):
    """Identity in ``gradient`` that hangs on the inputs it came from, and cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *inputs: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> NoReturn:
        raise NotImplementedError("this is differentiable once; for second derivatives use impl='reference'")


def differentiable_once(backward: Backward) -> Backward:
    """For backward passes without a graph: under ``create_graph`` a second derivative raises, not reads 0.

    ``torch.autograd.function.once_differentiable`` notices only gradients that arrive with a graph of their
    own.
    """

    @functools.wraps(backward)
    def wrapped(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        with torch.no_grad():
            results = backward(ctx, *grads)
        if not torch.is_grad_enabled():
            return results
        inputs = [x for x in (*ctx.saved_tensors, *grads) if x is not None and x.requires_grad]
        return tuple(r if r is None else _Refuse.apply(r, *inputs) for r in results)

    return wrapped


RowFunction: TypeAlias = Callable[[Tensor, Tensor | None], tuple[Tensor, ...]]
"""From the logits of some rows, and the values, to results of as many rows."""


class _Blockwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor | None, geometry: Geometry, function: RowFunction
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(q, k, v)
        ctx.geometry, ctx.function = geometry, function
        results: tuple[Tensor, ...] = ()
        for block in geometry.blocks(block_elements(q)):
            b, h, i = block
            parts = function(geometry.logits(q[b, h, i], k[b, h], block), None if v is None else v[b, h])
            if not results:
                results = tuple(part.new_empty(q.shape[:3] + part.shape[3:]) for part in parts)
            for result, part in zip(results, parts):
                result[block] = part
        return results

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        geometry: Geometry = ctx.geometry
        inputs = [x for x in ctx.saved_tensors if x is not None]
        totals = [torch.zeros_like(x) for x in inputs]
        for block in geometry.blocks(block_elements(inputs[0])):
            b, h, _i = block
            cuts = [block, (b, h), (b, h)][: len(inputs)]
            with torch.enable_grad():
                parts = [x[cut].detach().requires_grad_() for x, cut in zip(inputs, cuts)]
                q, k, *v = parts
                results = ctx.function(geometry.logits(q, k, block), v[0] if v else None)
            gradients = torch.autograd.grad(results, parts, [g[block] for g in grads])
            for total, cut, gradient in zip(totals, cuts, gradients):
                total[cut] += gradient
        q_k_v = [*totals, None][:3]
        return *q_k_v, None, None


def blockwise(tensors: Tensors, geometry: Geometry, function: RowFunction) -> tuple[Tensor, ...]:
    """Apply ``function(logits, v)`` block by block, again in the backward pass; results (..., rows, *)."""
    results: tuple[Tensor, ...] = _Blockwise.apply(*tensors, geometry, function)
    return results
