"""Functions of attention rows that no fused kernel returns: written out block by block, in bounded memory."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from attnlib._layout import Layout

# Logits written out at a time: within a core's cache on a CPU, enough work for a GPU.
_BLOCK_ELEMENTS = {"cpu": 1 << 18, "cuda": 1 << 26}


def block_elements(x: Tensor) -> int:
    """How many logits to write out at a time on the device of ``x``."""
    return _BLOCK_ELEMENTS.get(x.device.type, _BLOCK_ELEMENTS["cpu"])


class _Refuse(torch.autograd.Function):
    """Identity in ``gradient`` that hangs on the inputs it came from, and cannot be differentiated."""

    @staticmethod
    def forward(ctx, gradient, *inputs):
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx, *grads):
        raise NotImplementedError("this is differentiable once; for second derivatives use impl='reference'")


def differentiable_once(backward):
    """For backward passes without a graph: under ``create_graph`` a second derivative raises, not reads 0.

    ``torch.autograd.function.once_differentiable`` notices only gradients that arrive with a graph of their
    own.
    """

    @functools.wraps(backward)
    def wrapped(ctx, *grads):
        with torch.no_grad():
            results = backward(ctx, *grads)
        if not torch.is_grad_enabled():
            return results
        inputs = [x for x in (*ctx.saved_tensors, *grads) if x is not None and x.requires_grad]
        return tuple(r if r is None else _Refuse.apply(r, *inputs) for r in results)

    return wrapped


RowFunction = Callable[[Tensor, Tensor | None], tuple[Tensor, ...]]


class _Blockwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, layout: Layout, function: RowFunction):
        ctx.save_for_backward(q, k, v)
        ctx.layout, ctx.function = layout, function
        results = None
        for block in layout.blocks(block_elements(q)):
            b, h, i = block
            parts = function(layout.logits(q[b, h, i], k[b, h], block), None if v is None else v[b, h])
            if results is None:
                results = tuple(part.new_empty(q.shape[:3] + part.shape[3:]) for part in parts)
            for result, part in zip(results, parts):
                result[block] = part
        return results

    @staticmethod
    @differentiable_once
    def backward(ctx, *grads):
        q, k, v = ctx.saved_tensors
        totals = [None if x is None else torch.zeros_like(x) for x in (q, k, v)]
        for block in ctx.layout.blocks(block_elements(q)):
            b, h, _i = block
            cuts = [block, (b, h), (b, h)]
            with torch.enable_grad():
                parts = [
                    None if x is None else x[cut].detach().requires_grad_() for x, cut in zip((q, k, v), cuts)
                ]
                results = ctx.function(ctx.layout.logits(*parts[:2], block), parts[2])
            present = [j for j, part in enumerate(parts) if part is not None]
            gradients = torch.autograd.grad(results, [parts[j] for j in present], [g[block] for g in grads])
            for j, gradient in zip(present, gradients):
                totals[j][cuts[j]] += gradient
        return *totals, None, None


def blockwise(layout: Layout, function: RowFunction) -> tuple[Tensor, ...]:
    """Apply ``function(logits, v)`` block by block, again in the backward pass; results (..., rows, *)."""
    return _Blockwise.apply(layout.q, layout.k, layout.v, layout.detached(), function)
