"""Scores confined to [-1, 1] / tau: how far the entropy of a row can fall below log n.

The least entropy has only the two extreme scores, ``m`` keys at ``1 / tau`` and ``n - m`` at ``-1 / tau``:
between them the entropy first rises, then falls in each score, so no interior score is a minimum.
``L = 2 / tau``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attnlib._types import Real
from attnlib._validate import finite, one_device, real_tensor
from attnlib.errors import InvalidArgument


def _span(tau: Real) -> Tensor:
    span = 2 / real_tensor("tau", tau, low=0, low_open=True)
    finite("2 / tau", span)
    return span


def _excess(span: Tensor) -> Tensor:
    """``u - 1 = L / (1 - e^{-L}) - 1``, whose numerator needs its series where L is small."""
    small = torch.clamp(span, max=1)
    term, series = small * small / 2, torch.zeros_like(span)
    for k in range(3, 22):
        series = series + term
        term = -term * small / k
    numerator = torch.where(span < 1, series, span + torch.expm1(-span))
    return numerator / -torch.expm1(-span)


def entropy_deficit(tau: Real) -> Tensor:
    """``log n - inf H`` in nats, over all n and all scores in [-1, 1] / tau: ``u - 1 - log u``.

    ``u = L / (1 - e^{-L})``, ``L = 2 / tau``. An upper bound on ``log n - H`` for every n, approached as n
    grows. ``L^2 / 8`` for large tau and ``L - 1 - log L`` for small.

    Args:
        tau: temperature, above 0; number or tensor.

    Returns:
        float64 tensor; relative error of a few roundings at every tau.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``tau <= 0``, not finite, or so small that 2 / tau overflows.

    Shapes: that of the argument.

    Source: 9593-C5.

    >>> print(f"{float(entropy_deficit(1.0)):.12f}")
    0.474474647071
    """
    x = _excess(_span(tau))
    # x - log(1 + x) = x v - 2 (v^3/3 + v^5/5 + ...), v = x / (2 + x): for x < 1 no digits cancel
    small = torch.clamp(x, max=1)
    v = small / (2 + small)
    square = v * v
    series = torch.zeros_like(x)
    for k in range(35, 1, -2):
        series = (series + 2 / k) * square
    return torch.where(x < 1, v * (small - series), x - torch.log1p(x))


def top_fraction(tau: Real) -> Tensor:
    """Share of keys at the upper score in the row of least entropy, n -> infinity.

    ``(u - 1) / (e^L - 1)``, ``u = L / (1 - e^{-L})``, ``L = 2 / tau``.

    Args:
        tau: temperature, above 0; number or tensor.

    Returns:
        Dimensionless float64 tensor.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``tau <= 0``, not finite, or so small that 2 / tau overflows.

    Shapes: that of the argument.

    Source: 9593-C5.

    >>> print(f"{float(top_fraction(1.0)):.5f}")
    0.20551
    """
    span = _span(tau)
    return _excess(span) * torch.exp(-span) / -torch.expm1(-span)


def two_valued_entropy(n: Real, m: Real, tau: Real) -> Tensor:
    """Entropy of a row with m scores at ``1 / tau`` and n - m at ``-1 / tau``, in nats.

    m = 1 is one positive among n.

    Args:
        n: number of keys, at least 1; number or tensor.
        m: number at the upper score, from 0 to n; number or tensor.
        tau: temperature, above 0; number or tensor.

    Returns:
        float64 tensor.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``n < 1``, ``m`` outside [0, n], ``tau <= 0``.

    Shapes: those of the arguments, broadcast.

    Source: 9593-C5.

    >>> print(f"{float(two_valued_entropy(512, 105, 1.0)):.9f}")
    5.763850701
    """
    given = one_device(real_tensor("n", n, low=1), real_tensor("m", m, low=0), _span(tau))
    count, upper, span = torch.broadcast_tensors(*given)
    over = upper > count
    if over.any():
        raise InvalidArgument(
            f"m must lie in [0, n], got {upper[over][0].item()} for n={count[over][0].item()}"
        )
    low = count - upper
    mixed = (upper > 0) & (low > 0)
    log_m = torch.log(torch.where(upper > 0, upper, 1.0))
    log_low = torch.log(torch.where(low > 0, low, 1.0))
    # binary entropy of the group, then the entropy within each: only positive terms
    logit = span + log_m - log_low
    weight_up, weight_low = torch.sigmoid(logit), torch.sigmoid(-logit)
    size = logit.abs()
    groups = torch.nn.functional.softplus(-size) + size * torch.sigmoid(-size)
    return torch.where(mixed, groups + weight_up * log_m + weight_low * log_low, torch.log(count))


def min_entropy(n: Real, tau: Real) -> Tensor:
    """Least entropy of n scores in [-1, 1] / tau, in nats, exact at finite n.

    The entropy falls and then rises in m, so the best integer is beside ``n * top_fraction(tau)``.

    Args:
        n: number of keys, a whole number, at least 1; number or tensor.
        tau: temperature, above 0; number or tensor.

    Returns:
        float64 tensor; at least ``log n - entropy_deficit(tau)``.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``n`` below 1 or not whole, ``tau <= 0``.

    Shapes: those of the arguments, broadcast.

    Source: 9593-C5, C6.

    >>> print(f"{float(min_entropy(512, 1.0)):.9f}")
    5.763850701
    """
    count = real_tensor("n", n, low=1)
    broken = count != torch.floor(count)
    if broken.any():
        raise InvalidArgument(f"n must be a whole number, got {count[broken].flatten()[0].item()}")
    best = count * top_fraction(tau)
    below = torch.minimum(torch.clamp(torch.floor(best), min=1), count)
    above = torch.minimum(below + 1, count)
    return torch.minimum(two_valued_entropy(count, below, tau), two_valued_entropy(count, above, tau))
