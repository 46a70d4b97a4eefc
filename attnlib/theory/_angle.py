"""The angle between random unit vectors in d dimensions, tilted by exp(kappa cos theta); float64.

Keys on a sphere are governed by the ratio A = I_{nu+1}(kappa) / I_nu(kappa), nu = d/2 - 1, and by
M_d(kappa) = Gamma(nu+1) (2/kappa)^nu I_nu(kappa) = 0F1(; nu+1; kappa^2/4). Library Bessel functions overflow,
underflow, or lose kappa - log M to rounding well inside kappa <= 1e4. Here the order is raised to where
Debye's uniform expansion (DLMF 10.41) has converged and brought down again by A_nu = 1 / (2(nu+1)/kappa +
A_{nu+1}), which contracts errors. Whatever is small somewhere (1 - A, kappa - log M, kappa A - log M) is
carried down on its own and never formed as a difference of large numbers. For any kappa and any d >= 2;
autograd is not supported.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from attnlib._newton import Residual, falling_root
from attnlib._validate import one_device
from attnlib.errors import InvalidArgument

# Together these leave at most a few ulp of truncation error at every argument
# (tests/attnlib/theory/test_sphere.py).
_LOWEST_DEBYE_ORDER = 20.0
_DEBYE_TERMS = 14
# For kappa^2 < 4 (nu+1) log M is summed as a power series: positive terms, the last one below 1 / 24!.
_SERIES_TERMS = 24


class Sphere(NamedTuple):
    """The law of cos(theta) at one concentration kappa >= 0."""

    log_mgf: Tensor  # log M = log E exp(kappa cos theta)
    gap: Tensor  # kappa - log M, what one aligned vector gains over the average one
    loss: Tensor  # kappa A - log M, the divergence of the tilted law from the uniform one
    mean_cos: Tensor  # A = d log M / d kappa
    one_minus_cos: Tensor  # 1 - A
    variance: Tensor  # kappa^2 A' = Var(kappa cos theta), the slope of the loss in log kappa


@lru_cache(maxsize=1)
def _debye_coefficients() -> tuple[list[list[float]], list[list[float]]]:
    """``P_k`` and ``Q_k`` with ``U_k(p) = p^k P_k(p^2)`` and ``p U_k' = p^k Q_k(p^2)``."""
    u = [Fraction(1)]
    ps, qs = [], []
    for k in range(_DEBYE_TERMS):
        ps.append([float(c) for c in u[k::2]])
        qs.append([float(i * c) for i, c in enumerate(u)][k::2])
        # DLMF 10.41.9: U_{k+1} = p^2 (1 - p^2) U_k' / 2 + int_0^p (1 - 5 t^2) U_k dt / 8
        following = [Fraction(0)] * (len(u) + 3)
        for i, c in enumerate(u):
            following[i + 1] += c * i / 2 + c / (8 * (i + 1))
            following[i + 3] -= c * i / 2 + 5 * c / (8 * (i + 3))
        u = following
    return ps, qs


def _horner(coefficients: list[float], x: Tensor) -> Tensor:
    total = torch.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = total * x + c
    return total


def _debye_sums(p: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """``u = sum_{k>=1} U_k / order^k`` and ``v = (order / p) sum_{k>=1} p U_k' / order^k / (1 + u)``."""
    ps, qs = _debye_coefficients()
    x, square = p / order, p * p
    u, v = torch.zeros_like(x), torch.zeros_like(x)
    for p_k, q_k in zip(reversed(ps[1:]), reversed(qs[1:])):
        u = (u + _horner(p_k, square)) * x
        v = v * x + _horner(q_k, square)
    return u, v / (1 + u)


def _stirling(x: Tensor) -> Tensor:
    """``log Gamma(x + 1) - (x log x - x + log(2 pi x) / 2)`` for x >= 20: five terms give all digits."""
    y = 1 / (x * x)
    return (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y * (1 / 1680 - y / 1188)))) / x


def _log_mgf_series(kappa: Tensor, nu: Tensor) -> Tensor:
    x = kappa * kappa / 4
    term, total = torch.ones_like(kappa), torch.zeros_like(kappa)
    for k in range(1, _SERIES_TERMS):
        term = term * x / (k * (nu + k))
        total = total + term
    return torch.log1p(total)


def statistics(kappa: Tensor, d: Tensor) -> Sphere:
    """Everything about ``cos(theta)`` at ``kappa >= 0`` in ``d >= 2`` dimensions; float64 in, float64 out."""
    kappa, d = torch.broadcast_tensors(*one_device(kappa, d))
    nu = d / 2 - 1
    steps = max(0, math.ceil(_LOWEST_DEBYE_ORDER - float(nu.min()))) if nu.numel() else 0
    at_zero = kappa == 0
    k = torch.where(at_zero, 1.0, kappa)

    order = nu + steps
    z = k / order
    root = torch.hypot(torch.ones_like(z), z)
    leading = z / (1 + root)  # A to leading order; also (root - 1) / z
    half = z * leading / 2  # (root - 1) / 2
    p = 1 / root
    u, v = _debye_sums(p, order)
    # I'/I by DLMF 10.41.5 over 10.41.3: A = leading - (z p^2 / order) omega, the leading 1s taken out by hand
    omega = 0.5 + p / order * v
    shift = z / root * (omega / (order * root))
    mean = leading - shift
    rest = (1 + 1 / (root + z)) / (1 + root) + shift
    # kappa^2 (1 - A^2 - (2 order + 1) A / kappa), after the terms that cancel for large z are taken out
    tail = (z / root) ** 2
    variance = tail * (2 * v + order / (1 + p) + omega - tail * omega * omega)
    remainder = torch.log1p(u) + _stirling(order) - torch.log(root) / 2
    log_mgf = order * (2 * half - torch.log1p(half)) + remainder
    gap = order * (1 - 1 / (root + z) + torch.log1p(half)) - remainder
    for j in range(steps, 0, -1):
        twice = 2 * (nu + j) / k
        below = 1 / (twice + mean)
        rest = (twice - rest) * below
        variance = below * below * (2 * (nu + j) - variance)
        product = below * mean  # 1 - product = twice * below, each form exact where the other rounds
        step = torch.where(product < 0.5, torch.log1p(-product), torch.log(twice * below))
        log_mgf, gap, mean = log_mgf - step, gap + step, below

    small = k * k < 4 * (nu + 1)
    log_mgf = torch.where(small, _log_mgf_series(torch.where(small, k, 0.0), nu), log_mgf)
    gap = torch.where(small, k - log_mgf, gap)
    loss = torch.where(mean < 0.5, k * mean - log_mgf, gap - k * rest)
    limits = (0.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    return Sphere(
        *(
            torch.where(at_zero, limit, x)
            for limit, x in zip(limits, (log_mgf, gap, loss, mean, rest, variance))
        )
    )


def _solve(
    target: Tensor,
    d: Tensor,
    start: Callable[[Tensor, Tensor], Tensor],
    value_and_slope: Callable[[Sphere, Tensor], tuple[Tensor, Tensor]],
) -> Tensor:
    """The kappa at which a statistic that rises, never above kappa, reaches ``target``; in log kappa."""
    target, d = torch.broadcast_tensors(*one_device(target, d))
    # both statistics grow at least like (d - 1)/2 log kappa, so this bounds the root away from overflow
    far = 2 * target > 600 * (d - 1)
    if far.any():
        raise InvalidArgument(
            f"no float64 scale reaches {target[far].flatten()[0].item()} nats "
            f"in d={d[far].flatten()[0].item()} dimensions"
        )
    at_zero = target == 0
    goal = torch.where(at_zero, 1.0, target)

    def residual(x: Tensor, _: Tensor) -> Residual:
        kappa = x.exp()
        value, slope = value_and_slope(statistics(kappa, d), kappa)
        return Residual(goal - value, (goal - value) / slope, torch.zeros_like(value))

    root = falling_root(residual, goal.log(), torch.full_like(goal, math.inf), start(goal, d).log(), at_zero)
    return torch.where(at_zero, 0.0, root.x.exp() * root.correction.exp())


def kappa_for_gap(target: Tensor, d: Tensor) -> Tensor:
    """Solve ``kappa - log M_d(kappa) = target`` for ``target >= 0``."""
    return _solve(
        target, d, lambda t, d: t * (1 + t / (2 * d)), lambda s, kappa: (s.gap, kappa * s.one_minus_cos)
    )


def kappa_for_loss(target: Tensor, d: Tensor) -> Tensor:
    """Solve ``kappa A - log M_d(kappa) = target`` for ``target >= 0``."""
    return _solve(
        target,
        d,
        lambda t, d: d * torch.exp(t / d) * torch.sqrt(torch.expm1(2 * t / d)),
        lambda s, kappa: (s.loss, s.variance),
    )
