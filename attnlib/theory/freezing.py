"""Freezing: n iid Gaussian scores of standard deviation std, the random energy model, n -> infinity.

Below the critical std every row spreads over about exp(H) keys; above it finitely many keys hold the row,
their weights follow the Poisson-Dirichlet law of parameter m = critical_std / std, and the entropy no longer
grows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attnlib._types import Real
from attnlib._validate import real_tensor

# The coefficients zeta(k+1, 2) fall like 2^-k, so 56 of them reach rounding for every m < 1.
_TERMS = 56


def critical_std(n: Real) -> Tensor:
    """Standard deviation of n Gaussian scores at which softmax freezes: ``sqrt(2 log n)``.

    Args:
        n: number of keys, at least 1; number or tensor.

    Returns:
        Dimensionless float64 tensor.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``n < 1`` or not finite.

    Shapes: that of the argument.

    Source: 8823-C14.

    >>> print(f"{float(critical_std(512)):.4f}")
    3.5322
    """
    return torch.sqrt(2 * torch.log(real_tensor("n", n, low=1)))


def frozen_entropy(m: Real) -> Tensor:
    """Mean entropy in the frozen phase, in nats: ``psi(1) - psi(1 - m)``, m = critical / std.

    psi is the digamma function. The limit of long rows; it is no guide where it exceeds log n.

    Args:
        m: in (0, 1), both ends excluded (at 1 the entropy diverges); number or tensor.

    Returns:
        float64 tensor, exact to rounding for small m as well.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``m`` outside (0, 1).

    Shapes: that of the argument.

    Source: 8823-C14.

    >>> print(f"{float(frozen_entropy(2 / 3)):.4f}")
    2.5548
    """
    m = real_tensor("m", m, low=0, high=1, low_open=True, high_open=True)
    # psi(1) - psi(1 - m) = sum_k zeta(k+1) m^k; with the k-sum of m^k taken out all terms stay positive
    # and small
    powers = torch.arange(_TERMS, 0, -1, dtype=torch.float64)
    total = torch.zeros_like(m)
    for coefficient in torch.special.zeta(powers + 1, torch.tensor(2.0, dtype=torch.float64)).tolist():
        total = (total + coefficient) * m
    return m / (1 - m) + total
