"""A needle: one key equal to the query among n keys uniform on the sphere of radius sqrt(d).

The match scores ``scale * d``; the others sum to ``n M_d(scale * d)`` on average (annealed). Its weight is
``1 / (1 + n exp(-gap))`` with ``gap = scale d - log M_d(scale d)``, so it is one half where gap = log n.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attnlib._types import Real
from attnlib._validate import one_device, real_tensor
from attnlib.theory import _angle


def log_context(d: Real, scale: Real) -> Tensor:
    """Logarithm of the number of keys at which a matching key's weight falls to 1/2, in nats.

    ``scale d - log M_d(scale d)``, for lengths beyond float64.

    Args:
        d: dimension, at least 2; number or tensor.
        scale: at least 0; number or tensor.

    Returns:
        float64 tensor.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``d < 2``, ``scale < 0`` or a value that is not finite.

    Shapes: those of the arguments, broadcast.

    Source: 8823-C13.

    >>> print(f"{float(log_context(4096, 1.0)):.1f}")
    2550.0
    """
    d, scale = one_device(real_tensor("d", d, low=2), real_tensor("scale", scale, low=0))
    return _angle.statistics(scale * d, d).gap


def context(d: Real, scale: Real) -> Tensor:
    """Number of random keys at which the weight of one matching key falls to 1/2, the scale held fixed.

    Args:
        d: dimension, at least 2; number or tensor.
        scale: at least 0; number or tensor.

    Returns:
        float64 tensor, ``exp(scale d) / M_d(scale d)``; inf where that exceeds float64 (see
        :func:`log_context`).

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``d < 2``, ``scale < 0`` or a value that is not finite.

    Shapes: those of the arguments, broadcast.

    Source: 8823-C13.

    >>> round(float(context(64, 1 / 8)))
    1815
    """
    return torch.exp(log_context(d, scale))


def weight(n: Real, d: Real, scale: Real) -> Tensor:
    """Weight of the matching key among n random ones: ``1 / (1 + n M_d(scale d) exp(-scale d))``.

    Args:
        n: number of random keys, at least 1; number or tensor.
        d: dimension, at least 2; number or tensor.
        scale: at least 0; number or tensor.

    Returns:
        Dimensionless float64 tensor in (0, 1).

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``n < 1``, ``d < 2``, ``scale < 0`` or a value that is not finite.

    Shapes: those of the arguments, broadcast.

    Source: 8823-C13.

    >>> print(f"{float(weight(8192, 64, 1 / 8)):.3f}")
    0.181
    """
    n = real_tensor("n", n, low=1)
    return torch.sigmoid(log_context(d, scale) - torch.log(n))


def scale(n: Real, d: Real) -> Tensor:
    """Smallest scale at which the matching key keeps weight 1/2 among n random keys.

    Solves ``scale d - log M_d(scale d) = log n``; about ``(log n / d)(1 + log n / (2 d))``.

    Args:
        n: number of random keys, at least 1; number or tensor.
        d: dimension, at least 2; number or tensor.

    Returns:
        float64 tensor; 0 for n = 1, where match and distractor share the row at scale 0.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``n < 1``, ``d < 2``, a value that is not finite, or so many keys in so few
            dimensions that no float64 scale suffices.

    Shapes: those of the arguments, broadcast.

    Source: 8823-C13.

    >>> import math
    >>> print(f"{float(scale(512, 64)) * 64 / math.log(512):.3f}")
    1.054
    """
    n, d = one_device(real_tensor("n", n, low=1), real_tensor("d", d, low=2))
    return _angle.kappa_for_gap(torch.log(n), d) / d
