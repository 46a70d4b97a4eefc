"""Endless sums, bounded integrals, sums over pairs, steps and digamma: near misses beside true statements."""

import pytest
import sympy as sp
from sympy import Derivative, Heaviside, Integral, Rational, Sum, exp, gamma, log, oo, sign, sqrt

from proofbook.derive import Domain, indices, ladder, simplex, size, vector
from proofbook.derive.kernel import NotProved, check, prove_equality, prove_inequality

n = size("n")
i, j, k = indices("i j k")
a, b, t = sp.symbols("a b t", real=True)
r, q, u, v, y, m = sp.symbols("r q u v y m", positive=True)
w = sp.Symbol("w", real=True)
x, s, p = vector("x", positive=True), vector("s"), vector("p", positive=True)
natural = sp.Symbol("j0", integer=True, nonnegative=True)

UNIT = Domain({q: (Rational(1, 10), Rational(9, 10))})
BEYOND = Domain({q: (Rational(1, 10), 2)})
PAIR = Domain({r: (Rational(1, 5), 4), u: (Rational(1, 20), 3), v: (Rational(1, 20), 3)})
LINE = Domain({a: (-3, 3), b: (-3, 3), t: (-3, 3)})
ROW = Domain({s: (-2, 2), n: ladder(2, 3)})
SHARES = Domain({p: simplex(), n: ladder(2, 3)})
SHARE = Domain({m: (Rational(1, 20), Rational(19, 20))})
PAST_ONE = Domain({m: (Rational(3, 2), 4)})
golden = (1 + sqrt(5)) / 2


def signed_pairs(body):
    return Sum(Sum(body, (i, 1, n)), (k, 1, n))


def held(function):
    with sp.evaluate(False):
        return function()


FALSE = {
    "a geometric series from the wrong term": (Sum(q**j, (j, 1, oo)), "=", 1 / (1 - q), UNIT),
    "a geometric series that does not converge": (Sum(q**j, (j, 1, oo)), "=", q / (1 - q), BEYOND),
    "a constant without end": (Sum(q, (j, 1, oo)), "=", q, UNIT),
    "a power without end": (Sum(1 / j, (j, 1, oo)), "=", 1, UNIT),
    "a mean with one power too few": (Sum(j * q**j, (j, 1, oo)), "=", q / (1 - q), UNIT),
    "a second moment as the square of the mean": (
        Sum(j**2 * (1 - q) * q**j, (j, 1, oo)),
        "=",
        q**2 / (1 - q) ** 2,
        UNIT,
    ),
    "a square in the exponent": (Sum(q ** (j**2), (j, 1, oo)), "=", q / (1 - q), UNIT),
    "an endless sum that has no first value": (Sum(q**j / (j - 2), (j, 1, oo)), "=", 0, UNIT),
    "an endless sum over an index that starts too low": (
        Sum(q**j, (j, 0, oo)),
        "=",
        1 / (1 - q),
        UNIT,
    ),
    "a power integral without its factor": (
        Integral(y ** (r - 1), (y, v, u)),
        "=",
        u**r - v**r,
        PAIR,
    ),
    "a power integral the wrong way round": (
        r * Integral(y ** (r - 1), (y, v, u)),
        "=",
        v**r - u**r,
        PAIR,
    ),
    "the case of the logarithm": (
        Integral(y ** (r - 2), (y, v, u)),
        "=",
        (u ** (r - 1) - v ** (r - 1)) / (r - 1) + Rational(1, 7),
        PAIR,
    ),
    "false at one power only": (
        held(lambda: (r - 1) * Integral(y ** (r - 2), (y, v, u)) / (r - 1)),
        "=",
        Integral(y ** (r - 2), (y, v, u)),
        PAIR,
    ),
    "true at all powers but one": (
        r * (r - 1) * Integral(y ** (r - 2), (y, v, u)),
        "=",
        r * (u ** (r - 1) - v ** (r - 1)) + sp.KroneckerDelta(r, 1),
        PAIR,
    ),
    "a singularity between the ends": (Integral(1 / w**2, (w, -1, 1)), "=", -2, LINE),
    "a singularity at an end": (Integral(1 / sqrt(w), (w, 0, 1)), "=", 1, LINE),
    "a pole at the end": (Integral(1 / w, (w, 0, 1)), "=", 0, LINE),
    "a modulus integrated as its argument": (Integral(sp.Abs(w), (w, -1, 1)), "=", 0, LINE),
    "a step integrated as a constant": (Integral(Heaviside(w, 0), (w, -1, 1)), "=", 2, LINE),
    "a variable declared positive that is not": (
        held(lambda: Integral(sqrt(y**2), (y, -1, 1))),
        "=",
        0,
        LINE,
    ),
    "signs counted the wrong way": (
        signed_pairs(sign(k - i) * s[i]),
        "=",
        Sum((2 * k - n - 1) * s[k], (k, 1, n)),
        ROW,
    ),
    "signs of values are not signs of places": (
        signed_pairs(sign(s[k] - s[i]) * s[k]),
        "=",
        Sum((2 * k - n - 1) * s[k], (k, 1, n)),
        ROW,
    ),
    "signs with a weight cannot be counted": (
        signed_pairs(sign(k - i) * s[k] * s[i]),
        "=",
        Sum((2 * k - n - 1) * s[k], (k, 1, n)) * Sum(s[i], (i, 1, n)) / n,
        ROW,
    ),
    "a step at 0": (Heaviside(a, 0), "=", Heaviside(a, 1), LINE),
    "a step reflected": (Heaviside(-a, 0), "=", 1 - Heaviside(a, 0), LINE),
    "a step doubled": (Heaviside(a, 0) ** 2, "=", 2 * Heaviside(a, 0), LINE),
    "a step's value at 0 in a power": (
        Heaviside(a, Rational(1, 2)) ** 2,
        "=",
        Heaviside(a, Rational(1, 2)),
        LINE,
    ),
    "a step is no slope": (Derivative(Heaviside(a, 0), a), "=", 0, LINE),
    "a step above its argument": (Heaviside(a, 0), "<=", a, LINE),
    "Markov without a sign": (t * Heaviside(a - t, 0), "<=", a, Domain({a: (-3, 3), t: (1, 3)})),
    "Markov with a threshold too low": (
        t * Heaviside(y - t / 2, 0),
        "<=",
        y,
        Domain({y: (0, 3), t: (1, 3)}),
    ),
    "the slope of Gamma": (
        Derivative(log(gamma(m)), m),
        "=",
        sp.digamma(m + 1),
        SHARE,
    ),
    "the recurrence of digamma": (sp.digamma(m + 1), "=", sp.digamma(m) + m, SHARE),
    "the recurrence of digamma, one step off": (
        sp.digamma(m),
        "=",
        sp.digamma(m - 1) + 1 / m,
        PAST_ONE,
    ),
    "the golden ratio, a digit off": (1 / log((sqrt(5) - 1) / 2), "=", 1 / log(golden), LINE),
    "logs that are nearly related": (1 / log(2), "=", 1 / log(2 + Rational(1, 10**12)), LINE),
}

TRUE = {
    "a geometric series": (Sum(q**j, (j, 1, oo)), "=", q / (1 - q), UNIT),
    "a geometric series from 0": (Sum(q**natural, (natural, 0, oo)), "=", 1 / (1 - q), UNIT),
    "a geometric series from 3": (Sum(q**j, (j, 3, oo)), "=", q**3 / (1 - q), UNIT),
    "a series of exponentials": (Sum(exp(-r * j), (j, 1, oo)), "=", 1 / (exp(r) - 1), PAIR),
    "a mean": (Sum(j * (1 - q) * q ** (j - 1), (j, 1, oo)), "=", 1 / (1 - q), UNIT),
    "a second moment": (
        Sum(j**2 * (1 - q) * q ** (j - 1), (j, 1, oo)),
        "=",
        (1 + q) / (1 - q) ** 2,
        UNIT,
    ),
    "a third moment": (
        Sum(j**3 * q**j, (j, 1, oo)),
        "=",
        q * (1 + 4 * q + q**2) / (1 - q) ** 4,
        UNIT,
    ),
    "a power integral": (r * Integral(y ** (r - 1), (y, v, u)), "=", u**r - v**r, PAIR),
    "a power integral, the logarithm apart": (
        (r - 1) * Integral(y ** (r - 2), (y, v, u)),
        "=",
        u ** (r - 1) - v ** (r - 1),
        PAIR,
    ),
    "a logarithm": (Integral(1 / y, (y, v, u)), "=", log(u / v), PAIR),
    "a polynomial on both sides of 0": (
        Integral(w**2 - a * w, (w, -1, 2)),
        "=",
        3 - Rational(3, 2) * a,
        LINE,
    ),
    "ends the other way round": (Integral(w, (w, a, b)), "=", -Integral(w, (w, b, a)), LINE),
    "signs over pairs": (
        signed_pairs(sign(k - i) * (s[k] - s[i])) / 2,
        "=",
        Sum((2 * k - n - 1) * s[k], (k, 1, n)),
        ROW,
    ),
    "signs add up to nothing": (signed_pairs(sign(k - i)), "=", 0, ROW),
    "a sign counted within a row of shares": (
        signed_pairs(sign(i - k) * p[k]),
        "=",
        n + 1 - 2 * Sum(k * p[k], (k, 1, n)),
        SHARES,
    ),
    "a step and its mirror image": (Heaviside(-a, 0), "=", 1 - Heaviside(a, 1), LINE),
    "the square of a step": (Heaviside(a, 0) ** 2, "=", Heaviside(a, 0), LINE),
    "Markov": (t * Heaviside(y - t, 0), "<=", y, Domain({y: (0, 3), t: (1, 3)})),
    "a step is at most one": (Heaviside(a, 0), "<=", 1, LINE),
    "the slope of log Gamma": (Derivative(log(gamma(m)), m), "=", sp.digamma(m), SHARE),
    "digamma's recurrence": (sp.digamma(m + 1), "=", sp.digamma(m) + 1 / m, SHARE),
    "digamma two steps on": (
        sp.digamma(m + 2),
        "=",
        sp.digamma(m) + 1 / m + 1 / (m + 1),
        SHARE,
    ),
    "the golden ratio": (-1 / log((sqrt(5) - 1) / 2), "=", 1 / log(golden), LINE),
}


def attempt(left, relation, right, domain):
    left, right = sp.sympify(left), sp.sympify(right)
    if relation == "=":
        return prove_equality(left, right, domain)
    return prove_inequality(relation, left, right, domain)


@pytest.mark.parametrize("name", FALSE)
def test_a_near_miss_is_not_proved(name):
    with pytest.raises(NotProved):
        attempt(*FALSE[name])


@pytest.mark.parametrize("name", TRUE)
def test_a_true_statement_of_the_kind_is_proved(name):
    attempt(*TRUE[name])


def test_a_proof_by_cases_shows_both_and_is_checked():
    left, _, right, domain = TRUE["a power integral, the logarithm apart"]
    certificate = prove_equality(left, right, domain)
    assert certificate["rule"] == "cases"
    apart, at_zero = certificate["cases"]
    assert apart["setting"]["only where"] and at_zero["at"] == "sym(r) = 1"
    check(certificate, left, right, domain)
    with pytest.raises(NotProved):
        check({**certificate, "cases": [apart, apart]}, left, right, domain)
