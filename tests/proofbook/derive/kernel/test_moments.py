"""Moments of a normal density cut off at 0, positive and log-convex: near misses beside true statements."""

import pytest
import sympy as sp
from sympy import Derivative, Rational, erf, exp, log, pi, sqrt

from proofbook.derive import Domain
from proofbook.derive.kernel import NotProved, prove_equality, prove_inequality

r, x = sp.symbols("r x", real=True)
LINE = Domain({r: (-5, 5)})
phi = exp(-(r**2) / 2) / sqrt(2 * pi)
Phi = (1 + erf(r / sqrt(2))) / 2
M = {
    0: Phi,
    1: r * Phi + phi,
    2: (r**2 + 1) * Phi + r * phi,
    3: (r**3 + 3 * r) * Phi + (r**2 + 2) * phi,
    4: (r**4 + 6 * r**2 + 3) * Phi + (r**3 + 5 * r) * phi,
}
mirrored = {k: m.subs(r, -r) for k, m in M.items()}

FALSE = {
    "a coefficient off": ((r**2 + 1) * Phi + Rational(11, 10) * r * phi, ">", 0, LINE),
    "a sign off": (r * Phi - phi, ">", 0, LINE),
    "the leading term alone": (r * Phi, ">", 0, LINE),
    "a moment less a little": (M[2] - Rational(1, 10**6), ">", 0, LINE),
    "the wrong way round": (M[1] * M[3] - M[2] ** 2, "<", 0, LINE),
    "orders that do not balance": (M[4] - M[2], ">", 0, LINE),
    "the middle above the ends": (M[2] * M[3] - M[1] * M[4], ">=", 0, LINE),
    "another argument of the error function": (r * (1 + erf(r)) / 2 + phi, ">", 0, LINE),
    "moments at two places": (M[1] * mirrored[3] - M[2] * mirrored[2], ">", 0, LINE),
    "times a sign": (r * M[2], ">", 0, LINE),
}

TRUE = {
    **{f"moment {k}": (M[k], ">", 0, LINE) for k in M},
    **{f"moment {k}, on the left": (mirrored[k], ">", 0, LINE) for k in M},
    "scaled": (3 * phi * M[2] / pi, ">", 0, LINE),
    "with the sign of its factor": (r**2 * M[2], ">=", 0, LINE),
    "log-convex": (M[1] * M[3] - M[2] ** 2, ">", 0, LINE),
    "log-convex, further apart": (M[1] * M[4] - M[2] * M[3], ">", 0, LINE),
    "a quotient": (M[1] / M[2] - M[3] / M[4], ">", 0, LINE),
}


@pytest.mark.parametrize("name", FALSE)
def test_a_near_miss_is_not_proved(name):
    left, relation, right, domain = FALSE[name]
    with pytest.raises(NotProved):
        prove_inequality(relation, sp.sympify(left), sp.sympify(right), domain)


@pytest.mark.parametrize("name", TRUE)
def test_a_true_statement_of_the_kind_is_proved(name):
    left, relation, right, domain = TRUE[name]
    prove_inequality(relation, sp.sympify(left), sp.sympify(right), domain)


def test_a_logarithm_of_a_moment_has_a_slope():
    slope = Derivative(log(M[2]) - log(M[4]) / 2, r)
    prove_equality(slope, 2 * M[1] / M[2] - 2 * M[3] / M[4], LINE)
    with pytest.raises(NotProved):
        prove_equality(slope, 2 * M[1] / M[2] - M[3] / M[4], LINE)
