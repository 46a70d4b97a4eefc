"""A base point and the sign of the slope on both sides: near misses beside true statements of the kind."""

import pytest
import sympy as sp
from sympy import Abs, Max, Rational, Sum, erf, exp, log, pi, sqrt

from proofbook.derive import Domain, MaxOver, MinOver, indices, ladder, size, vector
from proofbook.derive.kernel import NotProved, prove_inequality

n = size("n")
i, j = indices("i j")
s = vector("s")
lam = sp.Symbol("lambda", real=True)
x, y = sp.symbols("x y", real=True)
u, L, t = sp.symbols("u L t", positive=True)

LINE = Domain({x: (-4, 4)})
PLANE = Domain({x: (-4, 4), y: (-4, 4)})
ABOVE = Domain({L: (Rational(1, 100), 30)})
PAIRS = Domain({u: (Rational(1, 100), 3), t: (Rational(1, 100), 3)}, where=(u > t,))
ROW = Domain({lam: (0, 3), s: (-2, 2), n: ladder(2, 3)})
BOTH = Domain({lam: (-3, 3), s: (-2, 2), n: ladder(2, 3)})

phi = exp(-(x**2) / 2) / sqrt(2 * pi)
folded = (2 * phi + x * erf(x / sqrt(2))) / sqrt(1 + x**2)
span = L / (1 - exp(-L))
deficit = span - 1 - log(span)

total = Sum(exp(lam * s[j]), (j, 1, n))
weight = exp(lam * s[i]) / total
entropy = -Sum(weight * log(weight), (i, 1, n))
width = MaxOver(s[i], (i, 1, n)) - MinOver(s[i], (i, 1, n))

FALSE = {
    # from the base point to the right only
    "a line": (x, ">=", 0, LINE),
    "the left side falls below": (exp(x) - 1, ">=", 0, LINE),
    "a cube": (x**3 + x, ">=", 0, LINE),
    "the wrong side": (folded, "<=", sqrt(2 / pi), LINE),
    "a base value too high": (folded, ">=", sqrt(2 / pi) + Rational(1, 10**6), LINE),
    "an error function above its slope": (erf(x), "<=", 2 * x / sqrt(pi), LINE),
    # a base point without a value
    "no value at the base point": (deficit, "<=", L**2 / 8 - Rational(1, 100), ABOVE),
    "a constant too small": (deficit, "<=", L**2 / 9, ABOVE),
    "it comes from below": (log(L / (exp(L) - 1)), ">=", -L / 3, ABOVE),
    "it comes from minus infinity": (log(L), ">=", 0, ABOVE),
    "a slope that is positive, from minus infinity": (-1 / L, ">=", 0, ABOVE),
    "a limit of -1": (-exp(-1 / L) - 1 + L, ">=", 0, ABOVE),
    # other facts do not hold on the way
    "a relation ties the variable": (u - t - Rational(1, 100), ">=", 0, PAIRS),
    "a modulus has two slopes": (Abs(x) - x, ">", 0, LINE),
    "a maximum has two slopes": (Max(x, 0), "<=", x, LINE),
    "a maximum over the row moves with the scale": (
        MaxOver(lam * s[i], (i, 1, n)),
        ">=",
        0,
        ROW,
    ),
    # sums
    "the bound by the range, a constant too small": (
        entropy,
        ">=",
        log(n) - lam**2 * width**2 / 9,
        ROW,
    ),
    "the bound by the range, without the base value": (
        entropy,
        ">=",
        log(n) + Rational(1, 100) - lam**2 * width**2 / 8,
        ROW,
    ),
    "the bound by the range is no upper bound": (
        entropy,
        "<=",
        log(n) - lam**2 * width**2 / 8,
        ROW,
    ),
    "linear in the scale": (entropy, ">=", log(n) - lam * width**2 / 8, ROW),
}

TRUE = {
    "both sides of 0": (exp(x) - 1 - x, ">=", 0, LINE),
    "both sides of 1": (x**4 - 4 * x + 3, ">=", 0, LINE),
    "the folded normal": (folded, ">=", sqrt(2 / pi), LINE),
    "an error function below its slope": (erf(u), "<=", 2 * u / sqrt(pi), PAIRS),
    "no value at the base point": (deficit, "<=", L**2 / 8, ABOVE),
    "strictly, beyond the base point": (exp(L), ">", 1 + L, ABOVE),
    "the bound by the range": (entropy, ">=", log(n) - lam**2 * width**2 / 8, ROW),
    "the bound by the range, on both sides": (
        entropy,
        ">=",
        log(n) - lam**2 * width**2 / 8,
        BOTH,
    ),
    "the sign of the error function": (u * erf(u), ">=", 0, PAIRS),
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
