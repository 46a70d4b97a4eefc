"""One safeguarded Newton iteration for every equation f(x) = target of this library, many at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

MOST_STEPS = 200
# How far to go at once while no upper end of the bracket is known: from a plateau Newton leaps past any x at
# which f can be resolved. The unknown is the logarithm of a scale wherever the bracket starts open.
_LONGEST_STEP = math.log(16)


class Residual(NamedTuple):
    """f(x) - target, Newton's step from there (NaN or infinite where it has none), and the rounding of f."""

    error: Tensor
    step: Tensor
    resolution: Tensor


class Root(NamedTuple):
    """The roots are ``x + correction``, kept apart because the sum would round off digits of exp(x).

    ``iterations`` counts the evaluations of f that each took, int64.
    """

    x: Tensor
    correction: Tensor
    iterations: Tensor


def falling_root(
    residual: Callable[[Tensor, Tensor], Residual],
    left: Tensor,
    right: Tensor,
    start: Tensor,
    done: Tensor | None = None,
) -> Root:
    """Roots of falling functions, one an entry, each inside its bracket [left, right]; right may be infinite.

    A step that would leave the bracket, or that is not half as long as the one before, gives way to
    bisection, or to growth while no upper end is known: plateaus cost a few halvings and Newton's rate is
    kept elsewhere. An entry is finished when its step is so small that the next one would be of the order of
    its square, when its error is within the resolution of f, or when its bracket is exhausted.

    Args:
        residual: called with x and with the entries that are finished, whose residuals are not looked at.
        left: where f is still above its target.
        right: where f is below, or infinity.
        start: where to begin.
        done: entries to leave at their start.

    Raises:
        ArithmeticError: an entry is not finished after MOST_STEPS evaluations.
    """
    eps = torch.finfo(start.dtype).eps
    x, last = start, right - left
    correction = torch.zeros_like(x)
    iterations = torch.zeros(x.shape, dtype=torch.int64, device=x.device)
    done = torch.zeros_like(x, dtype=torch.bool) if done is None else done
    for _ in range(MOST_STEPS):
        if done.all():
            return Root(x, correction, iterations)
        error, step, resolution = residual(x, done)
        iterations = iterations + ~done
        left, right = torch.where(error > 0, x, left), torch.where(error > 0, right, x)
        unbounded = right.isinf()
        step = torch.where(unbounded, step.clamp(max=_LONGEST_STEP), step)
        proposal = x + step
        inside = (proposal >= left) & (proposal <= right)
        safe = torch.where(unbounded, x + _LONGEST_STEP, 0.5 * (left + right))
        settled = inside & (step.abs() <= 0.25 * math.sqrt(eps))
        met = error.abs() <= resolution
        exhausted = right - left <= 2 * eps * (1 + x.abs())
        finished = ~done & (settled | met | exhausted)
        final = torch.where(settled, step, torch.where(met, 0.0, safe - x))
        correction = torch.where(finished, final, correction)
        done = done | finished
        following = torch.where(inside & (2 * step.abs() <= last), proposal, safe)
        last = (following - x).abs()
        x = torch.where(done, x, following)
    if done.all():
        return Root(x, correction, iterations)
    raise ArithmeticError(f"no root found in {MOST_STEPS} steps for {int((~done).sum())} of {done.numel()}")
