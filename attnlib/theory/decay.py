"""Exponential decay: the row (decay^{n-1}, ..., decay, 1), normalised, as a linear recurrence attends with.

With ``decay = e^{-l}`` every quantity is a hyperbolic function of l and n l, regular at decay = 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attnlib._types import Real
from attnlib._validate import one_device, real_tensor


def _rate_and_length(decay: Real, n: Real | None) -> list[Tensor]:
    """``-log decay`` and n, the latter inf for None."""
    rate = -torch.log(real_tensor("decay", decay, low=0, high=1, low_open=True))
    return one_device(rate, torch.full_like(rate, math.inf) if n is None else real_tensor("n", n, low=1))


def effective_window(decay: Real, n: Real | None = None) -> Tensor:
    """Effective number of tokens, ``1 / sum p^2 = e^{H_2}``: ``tanh(n l / 2) / tanh(l / 2)``.

    ``l = -log decay``.

    Args:
        decay: in (0, 1]; number or tensor.
        n: length, at least 1, number or tensor; None for n -> infinity, where the window is
            ``(1 + decay) / (1 - decay)`` (inf at decay = 1).

    Returns:
        float64 tensor, in tokens.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``decay`` outside (0, 1], ``n < 1`` or a value that is not finite.

    Shapes: those of the arguments, broadcast.

    Source: 9889-C15.

    >>> print(f"{float(effective_window(0.9)):.1f}")
    19.0
    """
    rate, n = _rate_and_length(decay, n)
    flat = rate == 0
    half = torch.where(flat, 1.0, rate / 2)
    return torch.where(flat, n, torch.tanh(n * half) / torch.tanh(half))


def sparsity(decay: Real, n: Real) -> Tensor:
    """S of (decay^{n-1}, ..., decay, 1): ``sqrt((1 - decay^n)(1 + decay) / (n (1 - decay)(1 + decay^n)))``.

    Args:
        decay: in (0, 1]; number or tensor.
        n: length, at least 1; number or tensor.

    Returns:
        Dimensionless float64 tensor in (0, 1]; 1 for decay 1.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``decay`` outside (0, 1], ``n < 1`` or a value that is not finite.

    Shapes: those of the arguments, broadcast.

    Source: 9889-C15.

    >>> print(f"{float(sparsity(0.9, 1024)):.4f}")
    0.1362
    """
    n = real_tensor("n", n, low=1)
    return torch.sqrt(effective_window(decay, n) / n)


def sparsity_limit(c: Real) -> Tensor:
    """S as n -> infinity with ``decay = 1 - c / n``: ``sqrt(2 tanh(c / 2) / c)``, 1 at c = 0.

    Args:
        c: at least 0; number or tensor.

    Returns:
        Dimensionless float64 tensor in (0, 1].

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``c`` negative or not finite.

    Shapes: that of the argument.

    Source: 9889-C15.

    >>> print(f"{float(sparsity_limit(4.0)):.4f}")
    0.6943
    """
    half = real_tensor("c", c, low=0) / 2
    flat = half == 0
    half = torch.where(flat, 1.0, half)
    return torch.where(flat, 1.0, torch.sqrt(torch.tanh(half) / half))


def _mean_cost(x: Tensor) -> Tensor:
    """``x / (e^x - 1)`` for x > 0, 0 at infinity."""
    cost = x * torch.exp(-x) / -torch.expm1(-x)
    return torch.where(x.isinf(), 0.0, cost)


def entropy(decay: Real, n: Real | None = None) -> Tensor:
    """Entropy of the row in nats: ``log((1 - decay^n) / (1 - decay)) + l / (e^l - 1) - n l / (e^{n l} - 1)``.

    For n -> infinity that is ``(-decay log decay - (1 - decay) log(1 - decay)) / (1 - decay)``: a constant.

    Args:
        decay: in (0, 1]; number or tensor.
        n: length, at least 1, number or tensor; None for n -> infinity (inf at decay = 1).

    Returns:
        float64 tensor.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``decay`` outside (0, 1], ``n < 1`` or a value that is not finite.

    Shapes: those of the arguments, broadcast.

    Source: 9889-C15.

    >>> print(f"{float(entropy(0.9)):.4f}")
    3.2508
    """
    rate, n = _rate_and_length(decay, n)
    flat = rate == 0
    rate = torch.where(flat, 1.0, rate)
    # log(1 - decay^n) - log(1 - decay), whose parts are large and nearly equal for slow decay, tiny for fast
    mass = torch.where(
        rate < math.log(2),
        torch.log(torch.expm1(-n * rate) / torch.expm1(-rate)),
        torch.log1p(-torch.exp(-n * rate)) - torch.log1p(-torch.exp(-rate)),
    )
    return torch.where(flat, torch.log(n), mass + _mean_cost(rate) - _mean_cost(n * rate))
