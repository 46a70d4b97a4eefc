"""Keys uniform on the sphere of radius sqrt(d), a query of the same norm: scores scale * d * cos(theta).

Annealed means that the sums over n keys are replaced by n times their expectation. That is right to leading order
while the annealed entropy is positive and wrong beyond (8823-C8): the true mean entropy stays positive.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attnlib import _sphere
from attnlib._validate import one_device, real_tensor
from attnlib.errors import UnreachableEntropy


def log_mgf(kappa, d) -> Tensor:
    """``log E exp(kappa cos theta)``, theta the angle between random unit vectors in d dimensions.

    Args:
        kappa: number or tensor, any finite value (the function is even).
        d: number or tensor, at least 2; broadcasts with ``kappa``.

    Returns:
        float64 tensor, in nats; relative error below 1e-14 for d from 2 to 4096 and kappa up to 1e4.

    Raises:
        InvalidArgument: ``kappa`` not finite, or ``d < 2``.
        TypeError: an argument is not a real number or tensor.

    Source: 8823-C9.

    >>> print(f"{float(log_mgf(8.0, 64)):.6f}")
    0.496284
    """
    kappa, d = one_device(real_tensor("kappa", kappa), real_tensor("d", d, low=2))
    return _sphere.statistics(kappa.abs(), d).log_mgf


def mean_cos(kappa, d) -> Tensor:
    """``<cos theta>`` under the weights ``exp(kappa cos theta)``: I_{d/2}(kappa) / I_{d/2-1}(kappa).

    Arguments and errors as :func:`log_mgf`, of which this is the derivative; odd in ``kappa``. Dimensionless
    float64, relative error below 1e-14. Source: 8823-C9.

    >>> print(f"{float(mean_cos(1.0, 3)):.6f}")  # coth 1 - 1
    0.313035
    """
    kappa, d = one_device(real_tensor("kappa", kappa), real_tensor("d", d, low=2))
    return torch.sign(kappa) * _sphere.statistics(kappa.abs(), d).mean_cos


def entropy(n, d, scale) -> Tensor:
    """Annealed entropy of a row over n keys: ``log n + log M_d(kappa) - kappa <cos>``, ``kappa = scale * d``.

    Exact in d. Negative beyond :func:`freezing_scale`, where it no longer describes any row.

    Args:
        n: number of keys, at least 1.
        d: dimension, at least 2.
        scale: any finite number. Each a number or
            a tensor; they broadcast.

    Returns:
        float64 tensor, in nats.

    Raises:
        InvalidArgument: ``n < 1``, ``d < 2`` or a value that is not finite.

    Source: 8823-C9.

    >>> print(f"{float(entropy(512, 64, 1 / 8)):.4f}")
    5.7493
    """
    n, d, scale = one_device(
        real_tensor("n", n, low=1), real_tensor("d", d, low=2), real_tensor("scale", scale)
    )
    return torch.log(n) - _sphere.statistics((scale * d).abs(), d).loss


def varentropy(d, scale) -> Tensor:
    """Annealed ``Var_p[log p]`` of a row: ``kappa^2 A'(kappa)``, minus the slope of :func:`entropy` in log scale.

    Its inverse is the local power of the entropy-holding law: ``d log scale / d log n = 1 / varentropy``.
    Arguments and errors as :func:`entropy`. float64, nats squared. Source: U9, 8823-C15.

    >>> print(f"{float(varentropy(64, 1 / 8)):.4f}")
    0.9567
    """
    d, scale = one_device(real_tensor("d", d, low=2), real_tensor("scale", scale))
    return _sphere.statistics((scale * d).abs(), d).variance


def sparsity(d, scale) -> Tensor:
    """Annealed ``S = E p / sqrt(E p^2)`` of a row: ``M_d(kappa) / sqrt(M_d(2 kappa))``, ``kappa = scale * d``.

    Exact in d, for n -> infinity; the twin for norm-sqrt(d) keys of :func:`attnlib.theory.gaussian.sparsity_exp`.
    Arguments and errors as :func:`entropy`. Source: 9889-C5.

    >>> print(f"{float(sparsity(64, 1 / 8)):.4f}")
    0.6215
    """
    d, scale = one_device(real_tensor("d", d, low=2), real_tensor("scale", scale))
    kappa = (scale * d).abs()
    return torch.exp(_sphere.statistics(kappa, d).log_mgf - _sphere.statistics(2 * kappa, d).log_mgf / 2)


def _critical_cos(scale: Tensor) -> Tensor:
    """Where ``exp(scale d c) (1 - c^2)^(d/2)`` peaks: ``(sqrt(1 + 4 scale^2) - 1) / (2 scale)``."""
    return 2 * scale / (1 + torch.hypot(torch.ones_like(scale), 2 * scale))


def rate(scale) -> Tensor:
    """Laplace rate: the entropy a row loses per dimension, ``f = -log((sqrt(1 + 4 s^2) - 1) / (2 s^2)) / 2``.

    ``H = log n - d f(scale) + O(1)``. About ``scale^2 / 2`` for small and ``log(scale) / 2`` for large scale.

    Args:
        scale: number or tensor, any finite value (the function is even).

    Returns:
        float64 tensor, nats per dimension, exact to rounding at every scale.

    Raises:
        InvalidArgument: a ``scale`` that is not finite.

    Source: 8823-C10.

    >>> golden = (1 + 5 ** 0.5) / 2
    >>> import math
    >>> abs(float(rate(1)) - math.log(golden) / 2) < 1e-15
    True
    """
    scale = real_tensor("scale", scale)
    return torch.log1p(scale * _critical_cos(scale)) / 2


def rate_correction(scale) -> Tensor:
    """The next order of Laplace's method: ``H = log n - d f(scale) - rate_correction(scale) + O(1/d)``.

    ``log(1 - c^4) / 2 + 2 c^4 / (1 + c^2)^2`` with c the cosine at the peak. float64, nats, even in ``scale``.
    Argument and errors as :func:`rate`. Source: 8823-C10.

    >>> print(f"{float(rate_correction(1)):.6f}")
    0.073934
    """
    scale = real_tensor("scale", scale).abs()
    square = _critical_cos(scale) ** 2
    # 1 - c^2 = c / scale, which keeps its digits where c is near 1
    near_one = torch.log((1 + square) * _critical_cos(scale) / torch.where(scale == 0, 1.0, scale))
    log_term = torch.where(scale < 1, torch.log1p(-square * square), near_one)
    return log_term / 2 + 2 * (square / (1 + square)) ** 2


def laplace_entropy(n, d, scale) -> Tensor:
    """``log n - d rate(scale) - rate_correction(scale)``: :func:`entropy` up to O(1/d).

    Arguments and errors as :func:`entropy`, but any ``d >= 1``. Source: 8823-C10.

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


def scale_for_entropy(n, d, entropy) -> Tensor:
    """Scale that gives rows over n keys a target entropy, to leading order: ``sqrt(e^{4y} - e^{2y})``.

    ``y = (log n - entropy) / d``; inverts ``log n - d rate(scale) = entropy``.

    Args:
        n: number of keys, at least 1.
        d: dimension, at least 1.
        entropy: target in nats, in [0, log n].

    Returns:
        float64 tensor, non-negative.

    Raises:
        UnreachableEntropy: the target exceeds log n.
        InvalidArgument: ``n < 1``, ``d < 1``, ``entropy < 0`` or a value that is not finite.

    Source: 8823-C12.

    >>> print(f"{float(scale_for_entropy(4096, 64, 2.5)):.4f}")
    0.4890
    """
    n, d, entropy = one_device(
        real_tensor("n", n, low=1), real_tensor("d", d, low=1), real_tensor("entropy", entropy, low=0)
    )
    y = _loss_to(n, entropy) / d
    return torch.exp(y) * torch.sqrt(torch.expm1(2 * y))


def exact_scale_for_entropy(n, d, entropy) -> Tensor:
    """Scale at which the annealed entropy equals the target, exact in d (no Laplace estimate).

    Arguments, returns and errors as :func:`scale_for_entropy`, but ``d >= 2``. Source: 8823-C9, C12.

    >>> scale = exact_scale_for_entropy(4096, 64, 2.5)
    >>> from attnlib.theory import sphere
    >>> print(f"{float(scale):.4f} {float(sphere.entropy(4096, 64, scale)):.4f}")
    0.4876 2.5000
    """
    n, d, entropy = one_device(
        real_tensor("n", n, low=1), real_tensor("d", d, low=2), real_tensor("entropy", entropy, low=0)
    )
    return _sphere.kappa_for_loss(_loss_to(n, entropy), d) / d


def freezing_scale(n, d) -> Tensor:
    """Scale at which the annealed entropy is 0 nats, exact in d: beyond it a few keys hold the row.

    Args:
        n: number of keys, at least 1.
        d: dimension, at least 2.

    Returns:
        float64 tensor; 0 for a single key.

    Raises:
        InvalidArgument: ``n < 1``, ``d < 2`` or a value that is not finite.

    Source: 8823-C8, C11.

    >>> print(f"{float(freezing_scale(512, 64)):.4f}")
    0.5099
    """
    return exact_scale_for_entropy(n, d, 0.0)
