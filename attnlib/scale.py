"""Scale rules: the factor lambda before q . k, as a function of the visible keys n and the dimension d.

``n`` is a number (at least 1), and the rule returns a float; or a tensor of visible key counts, and the rule
returns a float64 tensor of its shape on its device. A count of 0 is a row whose keys are all masked: every
rule but the constant one gives it 0. So does a count of 1, whose row is one whatever the scale (the needle
shares it equally with a single distractor at scale 0). The rules of a model are those of
:mod:`attnlib.theory`.

Every rule is a callable ``(n, d) -> lambda`` once its own parameters are bound, which is what ``scale=``
takes:

>>> from functools import partial
>>> rule = partial(log_n, base=1024)
>>> print(f"{rule(4096, 64):.4f}")
0.1500
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from attnlib._transforms import found, readable
from attnlib._types import Real
from attnlib._validate import one_of, real_number, real_tensor
from attnlib.errors import InvalidArgument, UnreachableEntropy
from attnlib.theory import needle as needle_theory
from attnlib.theory import sphere as sphere_theory

__all__ = ["info", "kappa_log", "log_n", "needle", "sphere", "sqrt_d"]


def _count(n: Real) -> Tensor:
    """``n`` in float64, 1 for an empty row: there both give scale 0."""
    count = real_tensor("n", n, low=0 if isinstance(n, Tensor) else 1)
    fraction = (count > 0) & (count < 1)
    if found(fraction):
        raise InvalidArgument(f"n must be 0 or at least 1, got {count[fraction].flatten()[0].item()}")
    return torch.clamp(count, min=1)


def _log_count(n: Real) -> Tensor:
    return torch.log(_count(n))


def _as_given(n: Real, scale: Tensor) -> Real:
    """A number for a number, but where a compiler lets nobody look: there a tensor of no dimension."""
    return scale if isinstance(n, Tensor) or not readable(scale) else scale.item()


def sqrt_d(n: Real, d: float) -> Real:
    """The usual ``1 / sqrt(d)``, whatever n.

    Args:
        n: visible keys, a number or a tensor.
        d: head dimension, at least 1.

    Returns:
        A float, or a float64 tensor.

    Raises:
        TypeError: an argument that is no number, or ``n`` no number or tensor of them.
        InvalidArgument: ``n < 1`` or ``d < 1``.

    Shapes: that of ``n``.

    Source: 8823-C1.

    >>> sqrt_d(512, 64)
    0.125
    """
    d = real_number("d", d, low=1)
    return _as_given(n, torch.full_like(_log_count(n), 1 / math.sqrt(d)))


def log_n(n: Real, d: float, base: float = 512) -> Real:
    """``log_base(n) / sqrt(d)``: equal to ``1 / sqrt(d)`` at n = base, the length it is calibrated to.

    Args:
        n: visible keys, a number or a tensor.
        d: head dimension, at least 1.
        base: a number above 1.

    Returns:
        A float, or a float64 tensor.

    Raises:
        TypeError: an argument that is no number, or ``n`` no number or tensor of them.
        InvalidArgument: ``base <= 1``, ``n < 1`` or ``d < 1``.

    Shapes: that of ``n``.

    Source: 8823-C4.

    >>> print(f"{log_n(4096, 64):.4f}")
    0.1667
    """
    d, base = real_number("d", d, low=1), real_number("base", base, low=1, low_open=True)
    return _as_given(n, _log_count(n) / (math.log(base) * math.sqrt(d)))


def kappa_log(n: Real, d: float, kappa: float) -> Real:
    """``kappa log(n) / d``, the law the articles derive before they calibrate it.

    Args:
        n: visible keys, a number or a tensor.
        d: head dimension, at least 1.
        kappa: dimensionless, finite.

    Returns:
        A float, or a float64 tensor.

    Raises:
        TypeError: an argument that is no number, or ``n`` no number or tensor of them.
        InvalidArgument: ``n < 1``, ``d < 1`` or a ``kappa`` that is not finite.

    Shapes: that of ``n``.

    Source: 8823-C4, C11 (kappa = 1 / 0.24), C13 (kappa a little above 1 for the needle).

    >>> print(f"{kappa_log(512, 64, kappa=1.0):.4f}")
    0.0975
    """
    d, kappa = real_number("d", d, low=1), real_number("kappa", kappa)
    return _as_given(n, kappa * _log_count(n) / d)


def sphere(n: Real, d: float, entropy: float, *, unreachable: Literal["raise", "uniform"] = "raise") -> Real:
    """Holds the row entropy at ``entropy`` for random keys of norm sqrt(d), annealed and to leading order.

    ``sqrt(e^{4y} - e^{2y})`` with ``y = (log n - entropy) / d``, which is
    :func:`attnlib.theory.sphere.scale_for_entropy`. Near freezing the entropy of actual rows lies above the
    target, by up to a nat for 2.5 nats in 64 dimensions.

    Args:
        n: visible keys, a number or a tensor.
        d: head dimension, at least 1.
        entropy: target in nats, at least 0.
        unreachable: what to do for rows of so few keys that log n < entropy. ``"raise"`` refuses;
            ``"uniform"`` gives them scale 0, the uniform row, whose entropy log n is the nearest there is. A
            causal mask needs the latter: its first row sees one key.

    Returns:
        A float, or a float64 tensor.

    Raises:
        TypeError: an argument that is no number, or ``n`` no number or tensor of them.
        UnreachableEntropy: ``entropy > log n`` for some row and ``unreachable="raise"``; rows without a
            visible key are exempt.
        InvalidArgument: ``entropy < 0``, ``n < 1``, ``d < 1`` or another word for ``unreachable``.

    Shapes: that of ``n``.

    Source: 8823-C12.

    >>> print(f"{sphere(4096, 64, entropy=2.5):.4f}")
    0.4890
    >>> sphere(torch.tensor([1, 10]), 64, entropy=2.5, unreachable="uniform").tolist()
    [0.0, 0.0]
    """
    d, entropy = real_number("d", d, low=1), real_number("entropy", entropy, low=0)
    one_of("unreachable", unreachable, ("raise", "uniform"))
    count = _count(n)
    target = torch.full_like(count, entropy)
    # A row that sees no key is exempt; its target is what a single key has.
    lenient = (
        torch.ones_like(count, dtype=torch.bool) if unreachable == "uniform" else real_tensor("n", n) == 0
    )
    target = torch.where(lenient, torch.minimum(target, torch.log(count)), target)
    try:
        return _as_given(n, sphere_theory.scale_for_entropy(count, d, target))
    except UnreachableEntropy as error:
        raise UnreachableEntropy(
            f"entropy must lie in [0, log n] = [0, {error.upper}] for n={round(math.exp(error.upper))}, "
            f"got {entropy} (unreachable='uniform' gives such rows scale 0)",
            lower=error.lower,
            upper=error.upper,
        ) from None


def needle(n: Real, d: float) -> Real:
    """Keeps the weight of one matching key at 1/2 among n random keys of norm sqrt(d).

    Solves ``lambda d - log M_d(lambda d) = log n`` exactly in d, by :func:`attnlib.theory.needle.scale`;
    about ``(log n / d)(1 + log n / (2 d))``.

    Args:
        n: visible keys, a number or a tensor.
        d: head dimension, at least 2.

    Returns:
        A float, or a float64 tensor.

    Raises:
        TypeError: an argument that is no number, or ``n`` no number or tensor of them.
        InvalidArgument: ``n < 1``, ``d < 2``, or so many keys in so few dimensions that no float64 scale
            suffices.

    Shapes: that of ``n``.

    Source: 8823-C13.

    >>> print(f"{needle(512, 64):.4f}")
    0.1027
    """
    d = real_number("d", d, low=2)
    counts, rows = torch.unique(_count(n), return_inverse=True)
    return _as_given(n, needle_theory.scale(counts, d)[rows])


def info(n: Real, d: float, n_train: float) -> Real:
    """InfoScale: ``sqrt((1 - n^{-2/d}) / (1 - n_train^{-2/d})) / sqrt(d)``, 1/sqrt(d) at the training length.

    Args:
        n: visible keys, a number or a tensor.
        d: head dimension, at least 1.
        n_train: training length, above 1.

    Returns:
        A float, or a float64 tensor.

    Raises:
        TypeError: an argument that is no number, or ``n`` no number or tensor of them.
        InvalidArgument: ``n < 1``, ``d < 1`` or ``n_train <= 1``.

    Shapes: that of ``n``.

    Source: Li et al., arXiv 2501.08570.

    >>> print(f"{info(4096, 64, n_train=64) * 8:.2f}")
    1.37
    """
    d, n_train = real_number("d", d, low=1), real_number("n_train", n_train, low=1, low_open=True)
    trained = -math.expm1(-2 * math.log(n_train) / d)
    return _as_given(n, torch.sqrt(-torch.expm1(-2 * _log_count(n) / d) / trained) / math.sqrt(d))
