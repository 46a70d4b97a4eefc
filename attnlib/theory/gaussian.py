"""Gaussian scores and keys: sparsity and entropy of a row as n -> infinity.

With keys from N(mu, sigma^2) a query sees scores of mean ``beta = q . mu`` and standard deviation
``gamma = sigma |q|``. For weights f(score) the row's sparsity is ``S = E|f| / sqrt(E f^2)``, in (0, 1];
smaller means sparser. Annealed: n must be large enough for the sample to reach where the means come from
(9889-C6).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attnlib._types import Real
from attnlib._validate import one_device, real_tensor
from attnlib.theory.freezing import critical_std

# Steps of the continued fraction below; for t >= 1 the last one moves the result by less than a rounding.
_FRACTION_STEPS = 250
# exp(-t^2 / 4) is 0 in float64 from t = 55 on.
_TAIL_END = 1e3


def sparsity_exp(gamma: Real) -> Tensor:
    """Softmax weights: ``exp(-gamma^2 / 2)``, for any mean.

    Right for ``gamma < sqrt(log(n) / 2)``; beyond, see :func:`sparsity_exp_finite`.

    Args:
        gamma: standard deviation of the scores, at least 0; number or tensor.

    Returns:
        Dimensionless float64 tensor.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``gamma`` negative or not finite.

    Shapes: that of the argument.

    Source: 9889-C5, U14.

    >>> print(f"{float(sparsity_exp(1.0)):.6f}")
    0.606531
    """
    gamma = real_tensor("gamma", gamma, low=0)
    return torch.exp(-gamma * gamma / 2)


def sparsity_exp_finite(gamma: Real, n: Real) -> Tensor:
    """Softmax weights over n keys, to leading exponential order: three phases of log S.

    With ``c = sqrt(2 log n)``, log S is ``-gamma^2 / 2`` up to ``c / 2``, then
    ``(gamma - c)^2 / 2 - log(n) / 2`` up to c, and ``-log(n) / 2`` (one key) beyond.

    Args:
        gamma: standard deviation of the scores, at least 0; number or tensor.
        n: number of keys, at least 1; number or tensor.

    Returns:
        Dimensionless float64 tensor, at least ``1 / sqrt(n)``; log S is off by o(log n).

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``gamma`` negative, ``n < 1`` or a value that is not finite.

    Shapes: those of the arguments, broadcast.

    Source: 9889-C6.

    >>> print(f"{float(sparsity_exp_finite(10.0, 4096)):.6f}")  # 1 / sqrt(n)
    0.015625
    """
    gamma, n = one_device(real_tensor("gamma", gamma, low=0), real_tensor("n", n, low=1))
    length = torch.log(n)
    critical = critical_std(n)
    return torch.exp(
        torch.where(
            gamma < critical / 2,
            -gamma * gamma / 2,
            torch.clamp(critical - gamma, min=0) ** 2 / 2 - length / 2,
        )
    )


def sparsity_identity(beta: Real, gamma: Real) -> Tensor:
    """Weights equal to the scores: ``(sqrt(2/pi) e^{-r^2/2} + r erf(r / sqrt 2)) / sqrt(1 + r^2)``.

    ``r = beta / gamma``.

    Args:
        beta: mean of the scores; number or tensor.
        gamma: standard deviation of the scores, above 0; number or tensor.

    Returns:
        Dimensionless float64 tensor, even in beta, never below ``sqrt(2/pi)``; accurate to a few roundings.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``gamma <= 0`` or a value that is not finite.

    Shapes: those of the arguments, broadcast.

    Source: 9889-C8.

    >>> print(f"{float(sparsity_identity(0.0, 1.0)):.6f}")
    0.797885
    """
    beta, gamma = one_device(real_tensor("beta", beta), real_tensor("gamma", gamma, low=0, low_open=True))
    r = torch.clamp((beta / gamma).abs(), max=torch.finfo(torch.float64).max)
    norm = torch.hypot(torch.ones_like(r), r)
    return math.sqrt(2 / math.pi) * torch.exp(-r * r / 2) / norm + r / norm * torch.erf(r / math.sqrt(2))


def sparsity_relu2(beta: Real, gamma: Real) -> Tensor:
    """Weights relu(score)^2: ``((r^2+1) Phi + r phi) / sqrt((r^4+6r^2+3) Phi + (r^3+5r) phi)``.

    ``r = beta / gamma``. Below r = -1 the terms of that form cancel, so the ratios of the repeated integrals
    of phi take over.

    Args:
        beta: mean of the scores; number or tensor.
        gamma: standard deviation of the scores, above 0; number or tensor.

    Returns:
        Dimensionless float64 tensor, increasing in r from 0 to 1; relative error about 1e-15 (1 + r^2) for r
        < 0.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``gamma <= 0`` or a value that is not finite.

    Shapes: those of the arguments, broadcast.

    Source: 9889-C7.

    >>> print(f"{float(sparsity_relu2(0.0, 1.0)):.6f}")  # 1 / sqrt(6)
    0.408248
    >>> print(f"{float(sparsity_relu2(-30.0, 1.0)):.6e}")
    9.063015e-100
    """
    beta, gamma = one_device(real_tensor("beta", beta), real_tensor("gamma", gamma, low=0, low_open=True))
    r = beta / gamma
    return torch.where(
        r < -1, _relu2_tail(torch.clamp(-r, min=1, max=_TAIL_END)), _relu2_bulk(torch.clamp(r, min=-1))
    )


def _relu2_bulk(r: Tensor) -> Tensor:
    # powers of 1/r for large r, so that nothing overflows
    unit = torch.clamp(r, min=1)
    u, s = 1 / unit, torch.clamp(r, max=1)
    pdf = torch.exp(-r * r / 2) / math.sqrt(2 * math.pi)
    cdf = torch.special.ndtr(r)
    first = (s * s + u * u) * cdf + s * u * pdf
    second = (s**4 + 6 * (s * u) ** 2 + 3 * u**4) * cdf + (s**3 * u + 5 * s * u**3) * pdf
    return first / torch.sqrt(second)


def _relu2_tail(t: Tensor) -> Tensor:
    # I_k = int_t^inf I_{k-1}, I_{-1} = phi, obey k I_k = I_{k-2} - t I_{k-1}; run downward, their ratios
    # rho_k = I_k / I_{k-1} = 1 / (t + (k+1) rho_{k+1}) add only positive terms. E relu^k = k! I_k, so
    # S^2 = (2 I_2)^2 / (24 I_4) = phi rho_0 rho_1 rho_2 / (6 rho_3 rho_4).
    rho = 2 / (t + torch.sqrt(t * t + 4 * _FRACTION_STEPS))
    product = torch.full_like(t, 1 / 6)
    for k in range(_FRACTION_STEPS, 0, -1):
        rho = 1 / (t + k * rho)  # now rho_{k-1}
        if k - 1 in (3, 4):
            product = product / rho
        elif k - 1 in (0, 1, 2):
            product = product * rho
    return torch.exp(-t * t / 4) * torch.sqrt(product / math.sqrt(2 * math.pi))


def entropy(n: Real, std: Real, order: Real = 1.0) -> Tensor:
    """Annealed Rényi entropy of softmax over n Gaussian scores, in nats: ``log n - order * std^2 / 2``.

    Describes a row only while ``max(1, order) std < sqrt(2 log n)``, and only to leading order in log n: in
    nats, rows of finite length leave it well before.

    Args:
        n: number of keys, at least 1; number or tensor.
        std: standard deviation of the scores, at least 0; number or tensor.
        order: at least 0; 1 is Shannon's. Number or tensor.

    Returns:
        float64 tensor.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``n < 1``, ``std < 0``, ``order < 0`` or a value that is not finite.

    Shapes: those of the arguments, broadcast.

    Source: U14.

    >>> print(f"{float(entropy(512, 1.0)):.4f}")
    5.7383
    """
    n, std, order = one_device(
        real_tensor("n", n, low=1), real_tensor("std", std, low=0), real_tensor("order", order, low=0)
    )
    return torch.log(n) - order * std * std / 2
