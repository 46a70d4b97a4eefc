"""What would never end is refused by counting degrees, digits and orders; holes that were found beside."""

import pytest
import sympy as sp
from statements import proves
from sympy import Derivative, Rational, Sum, besseli, cosh, exp, gamma, log, sqrt

from proofbook.derive import Domain, define, indices, ladder, size, vector

n = size()
i, k = indices("i k")
s = vector("s")
x, u = sp.symbols("x u", real=True)
UP = Domain({x: (3, 4), u: (1, 2)})
SQUARE = Domain({x: (0, 1), u: (0, 1)})


def held(function):
    with sp.evaluate(False):
        return function()


ENDLESS = {
    "a narrow bell": (exp(-(10**8) * (x - Rational(36, 11)) ** 2), "<=", Rational(1, 2)),
    "a power of two": (held(lambda: sp.Integer(2) ** (10**10)), "=", 0),
    "e to a logarithm": (held(lambda: exp(10**9 * log(2))), "=", 2),
    "a power of a sum": ((x + u) ** (10**9), "=", 2),
    "a power below a fraction line": ((x + u) ** (-(10**9)), "=", 2),
    "a root of a power": ((x + u) ** Rational(10**9, 3), "=", 2),
    "a logarithm of a polynomial": (log(x ** (10**9) - u), "=", 2),
    "a denominator": (1 / (x ** (10**9) - u), "=", 2),
    "a Gamma function": (gamma(x + 10**9), "=", 2),
    "a Bessel function": (besseli(x + 60, u), "=", 2),
    "a range that begins late": (Sum(x + i, (i, 10**8, 10**9)), "=", 2),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_would_never_end_is_refused(name):
    assert not proves(*ENDLESS[name], UP)


@pytest.mark.parametrize(
    "root",
    [(x**2 + u**2) ** Rational(3, 4), sqrt(x**4 + u**4), cosh(sqrt(x)) + u, x ** Rational(3, 2)],
    ids=str,
)
def test_a_derivative_that_exists_where_its_root_is_zero_is_part_of_the_statement(root):
    """At the origin these derivatives have values, so a strict inequality that fails there is false."""
    slope = Derivative(root, x)
    assert not proves(x**2 + slope, ">", slope, SQUARE)
    assert not proves(x + u + slope, ">", slope, SQUARE)


def test_a_derivative_that_does_not_exist_at_an_end_is_no_part_of_it():
    slope = Derivative(sqrt(x), x)
    assert proves(x + slope, ">", slope, SQUARE)
    assert proves(slope, "=", 1 / (2 * sqrt(x)), SQUARE)
    # where u = 0 nothing moves, and the derivative is 0
    slope = Derivative(u * sqrt(x), x)
    assert not proves(x + slope, ">", slope, SQUARE)


def test_a_vector_and_a_number_of_one_name_are_refused():
    """An end left out of the range of one would be left out of the other's."""
    number = sp.Symbol("s", real=True)
    both = Domain({number: (0, 1), s: (0, 1), n: ladder(2)}, each=(k,))
    assert not proves(log(number) + s[k], ">", log(number), both)


@pytest.mark.parametrize(
    "where",
    [
        (x > 0, x < 0),
        (x > u, u > x),
        (x**2 + u**2 < x * u - 1,),
        (sp.sin(x) ** 2 + sp.cos(x) ** 2 > 1,),
        (x <= -1, x >= -1),
    ],
    ids=str,
)
def test_from_hypotheses_that_hold_nowhere_nothing_follows(where):
    nowhere = Domain({x: (-1, 1), u: (-1, 1)}, where=where)
    assert not proves(x, ">", 7, nowhere)
    assert not proves(sp.Abs(x - u), "=", u - x, nowhere)
    assert not proves((x - u) ** 3, ">", 0, nowhere)


def test_from_hypotheses_that_hold_somewhere_it_does():
    assert proves((x - u) ** 3, ">", 0, Domain({x: (-1, 1), u: (-1, 1)}, where=(x > u,)))
    sizes = Domain({x: (1, 3), n: ladder(1, 2, 5)}, where=(n > x,))
    assert proves(n * x - x**2, ">", 0, sizes)


def test_an_end_without_a_value_in_one_case_belongs_to_the_others():
    """At k = -1 there is no value for u = 0; for every other k there is."""
    k, t = sp.symbols("k t", real=True)
    domain = Domain({k: (-2, 1), x: (1, 2), u: (0, 1)})
    left, right = (k + 1) * sp.Integral(t**k, (t, 1, x)), x ** (k + 1) - 1
    assert proves(left, "=", right, domain)
    assert not proves(left + 1 / (u + (k + 1) ** 2), "=", right + 1 / (u + (k + 1) ** 2), domain)


def test_a_definition_does_not_smuggle_the_variable_of_an_integral_out():
    """g(x) speaks of t; below an integral over t it is no constant."""
    t = sp.Symbol("t", real=True)
    g = define("g", (x,), x * t)
    domain = Domain({x: (1, 2), t: (1, 2)})

    def mean(scale):
        return sp.Integral(exp(scale * sp.cos(t)) * sp.sin(t) ** 2, (t, 0, sp.pi))

    def value(scale):
        # gamma(3/2), which SymPy would carry out
        return 2 * sqrt(sp.pi) * gamma(Rational(3, 2), evaluate=False) * besseli(1, scale) / scale

    assert proves(mean(x), "=", value(x), domain)
    assert not proves(mean(g(x)), "=", value(x * t), domain)
