"""Limits at infinity, and what falls to one: tails of erf, and near misses of each condition."""

import pytest
import sympy as sp
from statements import proves_twice
from sympy import Rational, erf, erfc, exp, log, pi, sin, sqrt

from proofbook.derive import Domain, integers, reals
from proofbook.derive.kernel import inequality, univariate
from proofbook.derive.kernel.at_infinity import limit_at_infinity
from proofbook.derive.kernel.setting import Setting, context_of

y, c = sp.symbols("y c", positive=True)
a, b, x = sp.symbols("a b x", real=True)
R = Rational
ABOVE, ANY = reals(above=0, attack=(R(1, 10), 9)), reals(attack=(-3, 3))
PARAMETERS = Domain({y: ABOVE, c: ABOVE, a: ANY, b: reals(below=0, attack=(-3, -1))})

LIMITS = {
    "an exponential beats a power": (y**9 * exp(-(y**2) / 2) / c, 0),
    "with erf, which stays bounded": (y * erf(y) * exp(-y), 0),
    "a rate above 0": (y**2 * exp(-c * y), 0),
    "a power that falls": (a / sqrt(y), 0),
    "erf": (c * erf(y / sqrt(2)), c),
    "erf of what falls": (erf(-c * y), -1),
    "erf with a factor below 0": (erf(b * y), -1),
    "an even power of that": (erf(-c * y) ** 2, 1),
    "the tail": (erfc(y) / 2 - exp(-(y**2)) * (1 / y - 1 / y**3), 0),
    "over a sum": (exp(-y) * (y**4 + 8) / (y**5 + 10 * y**3 + 15), 0),
    "over a sum that wins": ((y + 1) / (y**2 + c * y + 7), 0),
}
NO_LIMIT = {
    "an exponential that grows": exp(y) / y**9,
    "a rate of unknown sign": exp(a * y),
    "erf of an unknown sign": erf(a * y),
    "erf of a sum": erf(y - y**2),
    "erf near 0": erf(1 / y),
    "a power": y * erf(y),
    "a power of nothing else": sqrt(y),
    "an exponential that ends": exp(1 / y),
    "a wave": sin(y),
    "a logarithm": log(y) / y,
    "over a sum as high": (y**2 + 1) / (y**2 + y + c),
    "over a sum with an unknown end": 1 / (a * y**2 + y + c),
    "an exponential of a sum that grows": exp(y - 1),
}


def limit(form):
    ctx, reader = context_of(PARAMETERS, Setting(False), form)
    return limit_at_infinity(ctx, reader.read(form), reader.symbols[y]), reader


@pytest.mark.parametrize("form, expected", LIMITS.values(), ids=LIMITS)
def test_limits(form, expected):
    found, reader = limit(form)
    assert found == reader.read(sp.sympify(expected))


@pytest.mark.parametrize("form", NO_LIMIT.values(), ids=NO_LIMIT)
def test_nothing_is_said_of_other_forms(form):
    assert limit(form)[0] is None


BEYOND, FROM_ONE = Domain({y: ABOVE}), Domain({y: reals(at_least=1, attack=(1, 9))})
TIMES, SIGNED = Domain({y: ABOVE, c: ABOVE}), Domain({y: ABOVE, a: ANY})
tail, density = erfc(y / sqrt(2)) / 2, exp(-(y**2) / 2) / sqrt(2 * pi)
continued = (y**4 + 9 * y**2 + 8) / (y * (y**4 + 10 * y**2 + 15))

TRUE = {
    "the tail, two terms": (tail, ">=", density * (1 / y - 1 / y**3), BEYOND),
    "three terms, strictly": (tail, "<", density * (1 / y - 1 / y**3 + 3 / y**5), BEYOND),
    "a continued fraction": (tail, "<=", density * continued, BEYOND),
    "with a parameter": (c * tail, ">=", c * density * (1 / y - 1 / y**3), TIMES),
    "an end that belongs": (tail, ">", density * (1 / y - 1 / y**3), FROM_ONE),
}
FALSE = {
    "one term less": (tail, "<=", density * (1 / y - 1 / y**3), BEYOND),
    "a constant too small": (tail, "<=", density * (1 / y - 1 / y**3 + R(29, 10) / y**5), BEYOND),
    "the other side": (tail, ">=", density * continued, BEYOND),
    "a fraction by a hair": (tail, "<=", density * continued * (1 - R(1, 1000)), BEYOND),
    "a limit that is negative": (tail, ">=", R(1, 10**9) + 0 * y, BEYOND),
    "a limit from below": (erf(y), ">=", 1 - exp(-(y**2)) / 10**6, BEYOND),
    "a slope of both signs": (tail, ">=", density * (1 / y - R(1, 2) / y**3), BEYOND),
    "on the other half of the line": (erfc(x) - exp(-(x**2)), "<=", 0, Domain({x: ANY})),
    "strict where nothing falls": (c * erf(y) - c * erf(y), ">", 0, TIMES),
    "a factor of unknown sign": (a * tail, ">=", a * density * (1 / y - 1 / y**3), SIGNED),
    "strict with a factor that may be 0": (
        a * tail,
        ">",
        0,
        Domain({y: ABOVE, a: reals(at_least=0, attack=(0, 1))}),
    ),
    "up to an end, beyond which it rises": (
        (1 - y) * exp(-y),
        ">=",
        0,
        Domain({y: reals(above=0, at_most=R(3, 2))}),
    ),
    "whole numbers only": (
        (m := sp.Symbol("m", integer=True, positive=True)) ** 2 * erfc(m),
        ">=",
        R(1, 2) + 0 * m,
        Domain({m: integers(1, 9)}),
    ),
}


@pytest.mark.parametrize("left, relation, right, domain", TRUE.values(), ids=TRUE)
def test_what_is_true(left, relation, right, domain):
    assert proves_twice(left, relation, right, domain)


@pytest.mark.parametrize("left, relation, right, domain", FALSE.values(), ids=FALSE)
def test_what_is_false(left, relation, right, domain, monkeypatch):
    assert not proves_twice(left, relation, right, domain)
    # the search drops false goals by trying points; the rule must do without
    monkeypatch.setattr(inequality, "_MOVES", (("slope to infinity", inequality._from_infinity),))
    for module in (inequality, univariate):
        monkeypatch.setattr(module, "fails_somewhere", lambda *goal: False)
    assert not proves_twice(left, relation, right, domain)
