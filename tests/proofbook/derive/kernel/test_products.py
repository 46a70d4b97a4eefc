"""A product against the rest, orders such as p/(p - 1), and the strict tangent of log."""

import pytest
import sympy as sp
from sympy import E, Rational, Sum, exp, log, sqrt

from proofbook.derive import Domain, indices, ladder, size, vector
from proofbook.derive.kernel import NotProved, prove_inequality
from proofbook.derive.kernel.context import Context
from proofbook.derive.kernel.forms import is_zero
from proofbook.derive.kernel.lemmas import fraction_of
from proofbook.derive.kernel.products import log_gaps
from proofbook.derive.kernel.setting import Setting, context_of

n = size("n")
(i,) = indices("i")
x = vector("x", positive=True)
lam, m, p, y = sp.symbols("lambda m p y", positive=True)
a = sp.Symbol("a", real=True)


def moment(order):
    return Sum(x[i] ** order, (i, 1, n))


def mean(order):
    return (moment(order) / n) ** (1 / order)


SHARE = Domain({lam: (Rational(1, 9), Rational(8, 9)), m: (1, 200)}, where=(lam < 1,))
ROW = Domain({p: (Rational(11, 10), 4), x: (Rational(1, 10), 3), n: ladder(2, 3)})
LOW = Domain({p: (Rational(1, 10), Rational(9, 10)), x: (Rational(1, 10), 3), n: ladder(2, 3)})
COUNT = Domain({m: (1, 200)})
TOP = m**m / (m + 1) ** (m + 1)

TRUE = {
    "the largest of lambda^m (1 - lambda)": ("<=", (1 - lam) * lam**m, TOP, SHARE),
    "Euler's bound is never met": ("<", TOP, 1 / (E * m), COUNT),
    "moments in a row": (">=", mean(p) * mean(p) ** (p - 1), mean(1) * mean(p - 1) ** (p - 1), ROW),
    "a root against two terms": (
        "<=",
        sqrt((1 - exp(-y)) / (1 + y)),
        sqrt((1 - exp(-y)) / (1 + y / 2)) * (1 + y),
        Domain({y: (1, 9)}),
    ),
    "Chebyshev": (">=", n * moment(p), moment(1) * moment(p - 1), ROW),
}
FALSE = {
    "it is reached": ("<", (1 - lam) * lam**m, TOP, SHARE),
    "at another place": ("<=", (1 - lam) * lam**m, m**m / (m + 2) ** (m + 1), SHARE),
    "with lambda beyond 1": (">=", (1 - lam) * lam**m, -TOP, Domain({lam: (1, 3), m: (1, 9)})),
    "the tangent where it touches": ("<", log(y), y - 1, Domain({y: (Rational(1, 2), 2)})),
    "a root that is larger": (
        "<=",
        sqrt((1 - exp(-y)) / (1 + y)) * (1 + 3 * y),
        sqrt((1 - exp(-y)) / (1 + y / 2)) * (1 + y),
        Domain({y: (1, 9)}),
    ),
    "moments the other way": ("<=", n * moment(p), moment(1) * moment(p - 1), ROW),
    "orders below one": (">=", n * moment(p), moment(1) * moment(p - 1), LOW),
    "moments of one entry": (">", n * moment(p), moment(1) * moment(p - 1), ROW),
}


@pytest.mark.parametrize("name", TRUE)
def test_true(name):
    relation, left, right, domain = TRUE[name]
    assert prove_inequality(relation, left, right, domain)["kind"] == "inequality"


@pytest.mark.parametrize("name", FALSE)
def test_near_misses_are_refused(name):
    relation, left, right, domain = FALSE[name]
    with pytest.raises(NotProved):
        prove_inequality(relation, left, right, domain)


def read(expression, domain):
    ctx, reader = context_of(domain, Setting(False), expression)
    return ctx, reader.read(expression)


def test_logarithms_are_compared_only_of_what_is_positive():
    ctx, difference = read((1 - lam) * lam**m - TOP, SHARE)
    assert list(log_gaps(ctx, difference))
    wide = Domain({a: (-2, 2), m: (1, 9)})
    for changing in ((1 - a) * exp(a * m) - 2, exp(a) + a * exp(a) - 1, exp(a) * a**2 + exp(a) - a):
        ctx, difference = read(changing, wide)
        assert not list(log_gaps(ctx, difference))


def test_a_quotient_of_orders_has_no_zero_below():
    ctx, above = read(p * log(y), Domain({p: (2, 4), y: (1, 9)}))
    below = read((p - 1) * log(y), Domain({p: (2, 4), y: (1, 9)}))[1]
    ratio = fraction_of(ctx, above, below)
    assert ratio is not None and "p" in ratio.key
    crossing = read(p, Domain({p: (Rational(1, 2), 4)}))[0]
    assert isinstance(crossing, Context) and fraction_of(crossing, above, below) is None
    other = read((p - 1) * sqrt(y), Domain({p: (2, 4), y: (1, 9)}))[1]
    fraction = fraction_of(ctx, above, other)
    assert fraction is not None and is_zero(ctx, fraction * other - above)
