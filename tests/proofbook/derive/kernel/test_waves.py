"""Bounds of the cosine and the sine, and statements just beyond them."""

import pytest
import sympy as sp
from sympy import Rational, cos, pi, sin

from proofbook.derive import Domain
from proofbook.derive.kernel import NotProved, prove_inequality

x = sp.Symbol("x", real=True)
k, n = sp.symbols("k n", positive=True)
LINE, UP, DOWN = Domain({x: (-9, 9)}), Domain({x: (0, 9)}), Domain({x: (-9, 0)})
CIRCLE = Domain({k: (1, 9), n: (4, 99)})
STEP = k * (1 - cos(2 * pi / n))

TRUE = [
    ("<=", cos(x), 1 - x**2 / 2 + x**4 / 24, LINE),
    (">=", cos(x), 1 - x**2 / 2, LINE),
    ("<=", x**2 * cos(3 * x), x**2, LINE),
    ("<=", sin(x), x, UP),
    (">=", sin(x), x - x**3 / 6, UP),
    (">=", sin(x), x, DOWN),
    ("<=", sin(x), x - x**3 / 6, DOWN),
    ("<=", STEP, 2 * pi**2 * k / n**2, CIRCLE),
    (">=", STEP, 2 * pi**2 * k / n**2 - 2 * pi**4 * k / (3 * n**4), CIRCLE),
]
FALSE = [
    ("<=", cos(x), 1 - x**2 / 2 + x**4 / 25, LINE),
    (">=", cos(x), 1 - x**2 / Rational(21, 10), LINE),
    (">", cos(x), 1 - x**2 / 2, LINE),
    ("<", cos(x), sp.Integer(1), LINE),
    ("<=", sin(x), x, LINE),
    ("<=", sin(x), x, DOWN),
    (">=", sin(x), x - x**3 / 6, LINE),
    (">=", sin(x), x - x**3 / 7, UP),
    (">=", STEP, 2 * pi**2 * k / n**2 - 2 * pi**4 * k / (4 * n**4), CIRCLE),
]


@pytest.mark.parametrize("relation, left, right, domain", TRUE)
def test_true(relation, left, right, domain):
    assert prove_inequality(relation, left, right, domain)["rule"]


@pytest.mark.parametrize("relation, left, right, domain", FALSE)
def test_near_misses_are_refused(relation, left, right, domain):
    with pytest.raises(NotProved):
        prove_inequality(relation, left, right, domain)
