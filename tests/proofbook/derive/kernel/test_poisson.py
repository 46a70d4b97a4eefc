"""Poisson's integral for a Bessel function: near misses beside the true statement."""

import pytest
import sympy as sp
from sympy import Integral, Rational, besseli, cos, exp, gamma, pi, sin, sqrt

from proofbook.derive import Domain, integers
from proofbook.derive.kernel import NotProved, prove_equality

d, kappa = sp.symbols("d kappa", positive=True)
x, t = sp.symbols("x theta", real=True)
SPHERE = Domain({d: integers(2, 9), kappa: (Rational(1, 10), 12)})
LOW = Domain({d: (0, 9), kappa: (Rational(1, 10), 12)})
BOTH = Domain({d: integers(2, 9), x: (-3, 3)})


def mean(scale, degree, low=0, high=pi):
    surface = gamma(d / 2) / (sqrt(pi) * gamma((d - 1) / 2))
    return surface * Integral(exp(scale * cos(t)) * sin(t) ** degree, (t, low, high))


def closed(scale):
    return gamma(d / 2) * (2 / scale) ** (d / 2 - 1) * besseli(d / 2 - 1, scale)


FALSE = {
    "one power of the sine too many": (mean(kappa, d - 1), closed(kappa), SPHERE),
    "half the scale": (mean(kappa / 2, d - 2), closed(kappa), SPHERE),
    "the whole circle": (mean(kappa, d - 2, 0, 2 * pi), closed(kappa), SPHERE),
    "half of it": (mean(kappa, d - 2, 0, pi / 2), closed(kappa), SPHERE),
    "from below": (mean(kappa, d - 2, -pi, 0), closed(kappa), SPHERE),
    "a power that may be negative": (mean(kappa, d - 2), closed(kappa), LOW),
    "a scale of either sign": (mean(x, d - 2), closed(x), BOTH),
    "a scale that moves": (mean(kappa * t, d - 2), closed(kappa), SPHERE),
    "a power that moves": (mean(kappa, t), closed(kappa), SPHERE),
    "another factor": (
        mean(kappa, d - 2) + Integral(t * exp(kappa * cos(t)) * sin(t) ** d, (t, 0, pi)),
        closed(kappa),
        SPHERE,
    ),
}


@pytest.mark.parametrize("name", FALSE)
def test_a_near_miss_is_not_proved(name):
    with pytest.raises(NotProved):
        prove_equality(*FALSE[name])


def test_the_mean_over_angles_is_proved():
    prove_equality(mean(kappa, d - 2), closed(kappa), SPHERE)
    prove_equality(mean(2 * kappa, d - 2), closed(2 * kappa), SPHERE)
