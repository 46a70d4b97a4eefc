"""Scale rules: the factor lambda before q . k, as a function of the number of visible keys n and the dimension d.

``n`` is a number (at least 1), and the rule returns a float; or a tensor of visible key counts, and the rule
returns a float64 tensor of its shape on its device. A count of 0 is a row whose keys are all masked: every rule
but the constant one gives it 0. So does a count of 1, whose row is one whatever the scale (the needle shares it
equally with a single distractor at scale 0).

Every rule is a callable ``(n, d) -> lambda`` once its own parameters are bound, which is what ``scale=`` takes:

>>> from functools import partial
>>> rule = partial(log_n, base=1024)
>>> print(f"{rule(4096, 64):.4f}")
0.1500
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attnlib import _sphere
from attnlib._validate import real_number, real_tensor
from attnlib.errors import InvalidArgument, UnreachableEntropy

__all__ = ["info", "kappa_log", "log_n", "needle", "sphere", "sqrt_d"]


def _log_count(n) -> Tensor:
    """``log n`` in float64, 0 for an empty row."""
    count = real_tensor("n", n, low=0 if isinstance(n, Tensor) else 1)
    fraction = (count > 0) & (count < 1)
    if fraction.any():
        raise InvalidArgument(f"n must be 0 or at least 1, got {count[fraction].flatten()[0].item()}")
    return torch.log(torch.clamp(count, min=1))


def _as_given(n, scale: Tensor) -> float | Tensor:
    return scale if isinstance(n, Tensor) else scale.item()


def sqrt_d(n, d) -> float | Tensor:
    """The usual ``1 / sqrt(d)``, whatever n: a number, or a tensor of the shape of n.

    Raises ``InvalidArgument`` for ``n < 1`` or ``d < 1``.

    Source: 8823-C1.

    >>> sqrt_d(512, 64)
    0.125
    """
    d = real_number("d", d, low=1)
    return _as_given(n, torch.full_like(_log_count(n), 1 / math.sqrt(d)))


def log_n(n, d, base=512) -> float | Tensor:
    """``log_base(n) / sqrt(d)``: equal to ``1 / sqrt(d)`` at n = base, the length it is calibrated to.

    Args:
        n: visible keys.
        d: head dimension.
        base: a number above 1.

    Raises:
        InvalidArgument: ``base <= 1``, ``n < 1`` or ``d < 1``.

    Source: 8823-C4.

    >>> print(f"{log_n(4096, 64):.4f}")
    0.1667
    """
    d, base = real_number("d", d, low=1), real_number("base", base, low=1, low_open=True)
    return _as_given(n, _log_count(n) / (math.log(base) * math.sqrt(d)))


def kappa_log(n, d, kappa) -> float | Tensor:
    """``kappa log(n) / d``, the law the articles derive before they calibrate it.

    Args:
        n: visible keys, a number or a tensor.
        d: head dimension.
        kappa: dimensionless, finite.

    Raises:
        InvalidArgument: ``n < 1``, ``d < 1`` or a ``kappa`` that is not finite.

    Source: 8823-C4, C11 (kappa = 1 / 0.24), C13 (kappa a little above 1 for the needle).

    >>> print(f"{kappa_log(512, 64, kappa=1.0):.4f}")
    0.0975
    """
    d, kappa = real_number("d", d, low=1), real_number("kappa", kappa)
    return _as_given(n, kappa * _log_count(n) / d)


def sphere(n, d, entropy, *, unreachable="raise") -> float | Tensor:
    """Holds the row entropy at ``entropy`` for random keys of norm sqrt(d), annealed and to leading order.

    ``sqrt(e^{4y} - e^{2y})`` with ``y = (log n - entropy) / d``.

    Args:
        n: visible keys.
        d: head dimension.
        entropy: target in nats, at least 0.
        unreachable: what to do for rows of so few keys that log n < entropy. ``"raise"`` refuses; ``"uniform"``
            gives them scale 0, the uniform row, whose entropy log n is the nearest there is. A causal mask needs
            the latter: its first row sees one key.

    Raises:
        UnreachableEntropy: ``entropy > log n`` for some row and ``unreachable="raise"``; rows without a visible
            key are exempt.
        InvalidArgument: ``entropy < 0``, ``n < 1``, ``d < 1`` or another word for ``unreachable``.

    Source: 8823-C12.

    >>> print(f"{sphere(4096, 64, entropy=2.5):.4f}")
    0.4890
    >>> sphere(torch.tensor([1, 10]), 64, entropy=2.5, unreachable="uniform").tolist()
    [0.0, 0.0]
    """
    d, entropy = real_number("d", d, low=1), real_number("entropy", entropy, low=0)
    if unreachable not in ("raise", "uniform"):
        raise InvalidArgument(f"unreachable must be 'raise' or 'uniform', got {unreachable!r}")
    log_count = _log_count(n)
    short = log_count < entropy
    if unreachable == "raise":
        asked = short & (real_tensor("n", n) != 0)
        if asked.any():
            upper = log_count[asked].flatten()[0].item()
            raise UnreachableEntropy(
                f"entropy must lie in [0, log n] = [0, {upper}] for n={round(math.exp(upper))}, got {entropy} "
                "(unreachable='uniform' gives such rows scale 0)",
                lower=0.0,
                upper=upper,
            )
    y = torch.where(short, 0.0, log_count - entropy) / d
    return _as_given(n, torch.exp(y) * torch.sqrt(torch.expm1(2 * y)))


def needle(n, d) -> float | Tensor:
    """Keeps the weight of one matching key at 1/2 among n random keys of norm sqrt(d).

    Solves ``lambda d - log M_d(lambda d) = log n`` exactly in d (see :mod:`attnlib.theory.needle`); about
    ``(log n / d)(1 + log n / (2 d))``.

    Raises:
        InvalidArgument: ``n < 1``, ``d < 2``, or so many keys in so few dimensions that no float64 scale suffices.

    Source: 8823-C13.

    >>> print(f"{needle(512, 64):.4f}")
    0.1027
    """
    d = real_number("d", d, low=2)
    values, rows = torch.unique(_log_count(n), return_inverse=True)
    kappa = _sphere.kappa_for_gap(values, torch.tensor(d, dtype=torch.float64))
    return _as_given(n, (kappa / d)[rows])


def info(n, d, n_train) -> float | Tensor:
    """InfoScale: ``sqrt((1 - n^{-2/d}) / (1 - n_train^{-2/d})) / sqrt(d)``, 1/sqrt(d) at the training length.

    Args:
        n: visible keys.
        d: head dimension.
        n_train: training length, above 1.

    Raises:
        InvalidArgument: ``n < 1``, ``d < 1`` or ``n_train <= 1``.

    Source: Li et al., arXiv 2501.08570.

    >>> print(f"{info(4096, 64, n_train=64) * 8:.2f}")
    1.37
    """
    d, n_train = real_number("d", d, low=1), real_number("n_train", n_train, low=1, low_open=True)
    trained = -math.expm1(-2 * math.log(n_train) / d)
    return _as_given(n, torch.sqrt(-torch.expm1(-2 * _log_count(n) / d) / trained) / math.sqrt(d))
