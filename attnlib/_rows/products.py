"""Matrix products whose gradients autocast leaves alone."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` of matrices, differentiable as often as wanted, exact to its dtype wherever that happens.

    PyTorch's own would be differentiated in half precision where a backward pass runs under autocast, though
    the product itself did not.
    """
    if torch.compiler.is_compiling():
        return a @ b
    result: Tensor = _Product.apply(a, b)
    return result


def exactly(device: torch.device) -> AbstractContextManager[Any]:
    """Autocast, which would run products in half precision, is off inside."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


class _Product(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        with exactly(a.device):
            return a @ b

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        of_a, of_b = ctx.needs_input_grad
        return (
            product(grad, b.mT).sum_to_size(a.shape) if of_a else None,
            product(a.mT, grad).sum_to_size(b.shape) if of_b else None,
        )

    @staticmethod
    def jvp(ctx: Any, of_a: Tensor | None, of_b: Tensor | None) -> Tensor | None:
        a, b = ctx.saved_tensors
        terms = [product(x, y) for x, y in ((of_a, b), (a, of_b)) if x is not None and y is not None]
        return sum(terms[1:], terms[0]) if terms else None
