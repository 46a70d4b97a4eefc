"""Keys uniform on the sphere of radius sqrt(d), a query of the same norm: scores scale * d * cos(theta).

Annealed means that the sums over n keys are replaced by n times their expectation. That is right to leading
order while the annealed entropy is positive and wrong beyond (8823-C8): the true mean entropy stays positive.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attnlib._types import Real
from attnlib._validate import one_device, real_tensor
from attnlib.errors import UnreachableEntropy
from attnlib.theory import _angle


def log_mgf(kappa: Real, d: Real) -> Tensor:
    """``log E exp(kappa cos theta)``, theta the angle between random unit vectors in d dimensions; nats.

    Args:
        kappa: any finite value (the function is even); number or tensor.
        d: dimension, at least 2; number or tensor.

    Returns:
        float64 tensor; relative error below 1e-14 for d from 2 to 4096 and kappa up to 1e4.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``kappa`` not finite, or ``d < 2``.

    Shapes: those of the arguments, broadcast.

    Source: 8823-C9.

    >>> print(f"{float(log_mgf(8.0, 64)):.6f}")
    0.496284
    """
    kappa, d = one_device(real_tensor("kappa", kappa), real_tensor("d", d, low=2))
    return _angle.statistics(kappa.abs(), d).log_mgf


def mean_cos(kappa: Real, d: Real) -> Tensor:
    """``<cos theta>`` under the weights ``exp(kappa cos theta)``: I_{d/2}(kappa) / I_{d/2-1}(kappa).

    The derivative of :func:`log_mgf` in ``kappa``.

    Args:
        kappa: any finite value (the function is odd); number or tensor.
        d: dimension, at least 2; number or tensor.

    Returns:
        Dimensionless float64 tensor, relative error below 1e-14.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``kappa`` not finite, or ``d < 2``.

    Shapes: those of the arguments, broadcast.

    Source: 8823-C9.

    >>> print(f"{float(mean_cos(1.0, 3)):.6f}")  # coth 1 - 1
    0.313035
    """
    kappa, d = one_device(real_tensor("kappa", kappa), real_tensor("d", d, low=2))
    return torch.sign(kappa) * _angle.statistics(kappa.abs(), d).mean_cos


def entropy(n: Real, d: Real, scale: Real) -> Tensor:
    """Annealed entropy of a row over n keys, in nats: ``log n + log M_d(kappa) - kappa <cos>``.

    ``kappa = scale * d``. Exact in d. Negative beyond :func:`freezing_scale`, where it no longer describes
    any row.

    Args:
        n: number of keys, at least 1; number or tensor.
        d: dimension, at least 2; number or tensor.
        scale: any finite number or tensor.

    Returns:
        float64 tensor.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``n < 1``, ``d < 2`` or a value that is not finite.

    Shapes: those of the arguments, broadcast.

    Source: 8823-C9.

    >>> print(f"{float(entropy(512, 64, 1 / 8)):.4f}")
    5.7493
    """
    n, d, scale = one_device(
        real_tensor("n", n, low=1), real_tensor("d", d, low=2), real_tensor("scale", scale)
    )
    return torch.log(n) - _angle.statistics((scale * d).abs(), d).loss


def varentropy(d: Real, scale: Real) -> Tensor:
    """Annealed ``Var_p[log p]`` of a row, in nats squared: ``kappa^2 A'(kappa)``, ``kappa = scale * d``.

    Minus the slope of :func:`entropy` in log scale. Its inverse is the local power of the entropy-holding
    law: ``d log scale / d log n = 1 / varentropy``.

    Args:
        d: dimension, at least 2; number or tensor.
        scale: any finite number or tensor.

    Returns:
        float64 tensor.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``d < 2`` or a value that is not finite.

    Shapes: those of the arguments, broadcast.

    Source: U9, 8823-C15.

    >>> print(f"{float(varentropy(64, 1 / 8)):.4f}")
    0.9567
    """
    d, scale = one_device(real_tensor("d", d, low=2), real_tensor("scale", scale))
    return _angle.statistics((scale * d).abs(), d).variance


def sparsity(d: Real, scale: Real) -> Tensor:
    """Annealed ``S = E p / sqrt(E p^2)`` of a row: ``M_d(kappa) / sqrt(M_d(2 kappa))``.

    ``kappa = scale * d``. Exact in d, for n -> infinity; the twin for norm-sqrt(d) keys of
    :func:`attnlib.theory.gaussian.sparsity_exp`.

    Args:
        d: dimension, at least 2; number or tensor.
        scale: any finite number or tensor.

    Returns:
        Dimensionless float64 tensor in (0, 1].

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``d < 2`` or a value that is not finite.

    Shapes: those of the arguments, broadcast.

    Source: 9889-C5.

    >>> print(f"{float(sparsity(64, 1 / 8)):.4f}")
    0.6215
    """
    d, scale = one_device(real_tensor("d", d, low=2), real_tensor("scale", scale))
    kappa = (scale * d).abs()
    return torch.exp(_angle.statistics(kappa, d).log_mgf - _angle.statistics(2 * kappa, d).log_mgf / 2)


def _critical_cos(scale: Tensor) -> Tensor:
    """Where ``exp(scale d c) (1 - c^2)^(d/2)`` peaks: ``(sqrt(1 + 4 scale^2) - 1) / (2 scale)``."""
    return 2 * scale / (1 + torch.hypot(torch.ones_like(scale), 2 * scale))


def rate(scale: Real) -> Tensor:
    """Laplace rate, nats per dimension that a row loses: ``f = -log((sqrt(1 + 4 s^2) - 1) / (2 s^2)) / 2``.

    ``H = log n - d f(scale) + O(1)``. About ``scale^2 / 2`` for small and ``log(scale) / 2`` for large scale.

    Args:
        scale: any finite value (the function is even); number or tensor.

    Returns:
        float64 tensor, exact to rounding at every scale.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: a ``scale`` that is not finite.

    Shapes: that of the argument.

    Source: 8823-C10.

    >>> golden = (1 + 5 ** 0.5) / 2
    >>> import math
    >>> abs(float(rate(1)) - math.log(golden) / 2) < 1e-15
    True
    """
    scale = real_tensor("scale", scale)
    return torch.log1p(scale * _critical_cos(scale)) / 2


def rate_correction(scale: Real) -> Tensor:
    """The next order of Laplace's method, in nats: ``log(1 - c^4) / 2 + 2 c^4 / (1 + c^2)^2``.

    ``H = log n - d rate(scale) - rate_correction(scale) + O(1/d)``, c the cosine at the peak.

    Args:
        scale: any finite value (the function is even); number or tensor.

    Returns:
        float64 tensor.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: a ``scale`` that is not finite.

    Shapes: that of the argument.

    Source: 8823-C10.

    >>> print(f"{float(rate_correction(1)):.6f}")
    0.073934
    """
    scale = real_tensor("scale", scale).abs()
    square = _critical_cos(scale) ** 2
    # 1 - c^2 = c / scale, which keeps its digits where c is near 1
    near_one = torch.log((1 + square) * _critical_cos(scale) / torch.where(scale == 0, 1.0, scale))
    log_term = torch.where(scale < 1, torch.log1p(-square * square), near_one)
    return log_term / 2 + 2 * (square / (1 + square)) ** 2


def laplace_entropy(n: Real, d: Real, scale: Real) -> Tensor:
    """``log n - d rate(scale) - rate_correction(scale)``, in nats: :func:`entropy` up to O(1/d).

    Args:
        n: number of keys, at least 1; number or tensor.
        d: dimension, at least 1; number or tensor.
        scale: any finite number or tensor.

    Returns:
        float64 tensor.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``n < 1``, ``d < 1`` or a value that is not finite.

    Shapes: those of the arguments, broadcast.

    Source: 8823-C10.

    >>> print(f"{float(laplace_entropy(512, 64, 1 / 8) - entropy(512, 64, 1 / 8)):.0e}")
    -9e-06
    """
    n, d = one_device(real_tensor("n", n, low=1), real_tensor("d", d, low=1))
    return torch.log(n) - d * rate(scale) - rate_correction(scale)


def _loss_to(n: Tensor, entropy: Tensor) -> Tensor:
    """``log n - entropy``, after checking that no target exceeds log n."""
    loss = torch.log(n) - entropy
    bad = loss < 0
    if bad.any():
        upper, asked = (torch.broadcast_to(x, bad.shape)[bad][0].item() for x in (torch.log(n), entropy))
        raise UnreachableEntropy(
            f"entropy must lie in [0, log n] = [0, {upper}], got {asked}", lower=0.0, upper=upper
        )
    return loss


def scale_for_entropy(n: Real, d: Real, entropy: Real) -> Tensor:
    """Scale that gives rows over n keys a target entropy, to leading order: ``sqrt(e^{4y} - e^{2y})``.

    ``y = (log n - entropy) / d``; inverts ``log n - d rate(scale) = entropy``.

    Args:
        n: number of keys, at least 1; number or tensor.
        d: dimension, at least 1; number or tensor.
        entropy: target in nats, in [0, log n]; number or tensor.

    Returns:
        float64 tensor, non-negative.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        UnreachableEntropy: the target exceeds log n.
        InvalidArgument: ``n < 1``, ``d < 1``, ``entropy < 0`` or a value that is not finite.

    Shapes: those of the arguments, broadcast.

    Source: 8823-C12.

    >>> print(f"{float(scale_for_entropy(4096, 64, 2.5)):.4f}")
    0.4890
    """
    n, d, entropy = one_device(
        real_tensor("n", n, low=1), real_tensor("d", d, low=1), real_tensor("entropy", entropy, low=0)
    )
    y = _loss_to(n, entropy) / d
    return torch.exp(y) * torch.sqrt(torch.expm1(2 * y))


def exact_scale_for_entropy(n: Real, d: Real, entropy: Real) -> Tensor:
    """Scale at which the annealed entropy equals the target, exact in d (no Laplace estimate).

    Args:
        n: number of keys, at least 1; number or tensor.
        d: dimension, at least 2; number or tensor.
        entropy: target in nats, in [0, log n]; number or tensor.

    Returns:
        float64 tensor, non-negative.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        UnreachableEntropy: the target exceeds log n.
        InvalidArgument: ``n < 1``, ``d < 2``, ``entropy < 0``, a value that is not finite, or so many keys in
            so few dimensions that no float64 scale suffices.

    Shapes: those of the arguments, broadcast.

    Source: 8823-C9, C12.

    >>> scale = exact_scale_for_entropy(4096, 64, 2.5)
    >>> from attnlib.theory import sphere
    >>> print(f"{float(scale):.4f} {float(sphere.entropy(4096, 64, scale)):.4f}")
    0.4876 2.5000
    """
    n, d, entropy = one_device(
        real_tensor("n", n, low=1), real_tensor("d", d, low=2), real_tensor("entropy", entropy, low=0)
    )
    return _angle.kappa_for_loss(_loss_to(n, entropy), d) / d


def freezing_scale(n: Real, d: Real) -> Tensor:
    """Scale at which the annealed entropy is 0 nats, exact in d: beyond it a few keys hold the row.

    Args:
        n: number of keys, at least 1; number or tensor.
        d: dimension, at least 2; number or tensor.

    Returns:
        float64 tensor; 0 for a single key.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``n < 1``, ``d < 2``, a value that is not finite, or so many keys in so few
            dimensions that no float64 scale suffices.

    Shapes: those of the arguments, broadcast.

    Source: 8823-C8, C11.

    >>> print(f"{float(freezing_scale(512, 64)):.4f}")
    0.5099
    """
    return exact_scale_for_entropy(n, d, 0.0)
