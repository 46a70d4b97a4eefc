"""The second route: values of formulas as they were typed, where SymPy was reported to be wrong."""

import functools
import random

import mpmath as mp
import pytest
import sympy as sp
from sympy_reports import REPORTS

from proofbook.derive.second_route import NoValue, Value, _Evaluator, compare, needed, value
from proofbook.derive.tape import Tape

x = sp.Symbol("x", real=True)


def somewhere(report) -> dict:
    """A point of the report's domain that is neither an end nor its middle."""
    with mp.workdps(60):
        return {
            symbol: mp.mpf(sp.Rational(low).p) / sp.Rational(low).q
            + (
                mp.mpf(sp.Rational(high).p) / sp.Rational(high).q
                - mp.mpf(sp.Rational(low).p) / sp.Rational(low).q
            )
            * mp.mpf(3)
            / 7
            for symbol, (low, high) in report.ranges.items()
        }


def test_there_are_sixty_reports_or_more():
    assert len({report.number for report in REPORTS}) >= 60


@functools.cache
def told(k: int) -> Value | None:
    """The value of what was typed in the k-th report, None where the route tells none."""
    try:
        return value(sp.sympify(REPORTS[k].typed), somewhere(REPORTS[k]))
    except NoValue:
        return None


@pytest.mark.parametrize("k", range(len(REPORTS)), ids=[str(report) for report in REPORTS])
def test_no_reported_error_is_a_value(k):
    """Where there is a value, it is the right one; where it cannot be told, nothing is said."""
    report, found = REPORTS[k], told(k)
    if found is None:
        return
    assert report.right is not None, "a value was found where there is none"
    assert compare(found, value(sp.sympify(report.right), somewhere(report))) is True
    if report.number != 14129:  # there the reported form is wrong at one point only
        assert compare(found, value(sp.sympify(report.wrong), somewhere(report))) is False


def test_most_reported_errors_have_a_value():
    """A route that told nothing would never be wrong."""
    have_one = [k for k, report in enumerate(REPORTS) if report.right is not None]
    assert sum(told(k) is not None for k in have_one) >= 0.9 * len(have_one)


@pytest.mark.parametrize(
    "expression, reason",
    [
        (sp.Integral(1 / x, (x, -1, 1)), "settle"),
        (sp.Limit(sp.sin(1 / x), x, 0, "+"), "settle"),
        (sp.Subs(sp.Derivative(sp.Abs(x), x), x, 0), "no derivative"),
        (sp.sqrt(sp.Integer(-2)), "not real"),
        (sp.Function("unknown")(sp.Integer(1)), "nothing here computes"),
        (sp.Integral(sp.exp(x), x), "without ends"),
        (sp.log(sp.Integer(0), evaluate=False), "no"),
    ],
    ids=str,
)
def test_what_has_no_value_says_so(expression, reason):
    with pytest.raises(NoValue, match=reason):
        value(expression, {x: mp.mpf(1)})


def test_two_numbers_that_differ_below_fifty_digits_are_not_called_equal_blindly():
    left, right = Value(mp.mpf(1), mp.mpf(0)), Value(mp.mpf(1) + mp.mpf(10) ** -12, mp.mpf(0))
    assert compare(left, right) is False
    assert compare(left, left) is True
    assert compare(Value(mp.mpf(1), mp.mpf(1)), Value(mp.mpf("1.1"), mp.mpf(1))) is None


def test_only_what_sympy_would_carry_out_needs_the_route():
    k = sp.Symbol("k", integer=True)
    assert needed(sp.Integral(x, (x, 0, 1))) and needed(sp.Sum(1 / k**2, (k, 1, sp.oo)))
    assert not needed(sp.Sum(k, (k, 1, 3)) + sp.exp(x))


y, a = sp.symbols("y a", real=True)
MOVING = [
    sp.exp(-(x**2) / 2) / sp.sqrt(2 * sp.pi) * (x + y) ** 3 * sp.Abs(x),
    sp.log(x + y) * sp.sqrt(x),  # complex at some of the numbers
    sp.erf(x * y) * x**y + sp.sin(x) * sp.Float("0.1"),
    sp.Max(x, y) + sp.Heaviside(x - y),
    sp.Piecewise((x, x > y), (x**2, True)) * sp.tanh(x),
    sp.Integral(sp.exp(-x * a), (a, 0, 1)) + sp.Integral(sp.exp(-y * x), (x, 0, 1)),
    sp.Sum(x**a, (a, 1, 3)) / (x - 1),  # undefined at 1
    x ** sp.Rational(-3, 2) + sp.besseli(2, x),
    sp.I * x,
    x,
    y,
]


@pytest.mark.parametrize("expression", MOVING, ids=str)
def test_an_integrand_on_a_tape_has_the_values_of_the_walk_to_the_last_bit(expression):
    rng, told = random.Random(1), 0
    for digits in (15, 20, 30):
        evaluator = _Evaluator(digits)
        with mp.workdps(digits):
            at = {y: mp.mpf(rng.uniform(-2, 2)), x: mp.mpf(77)}  # an outer x, which the inner one hides
            moving = evaluator._moving(expression, x, at)
            for number in (*(mp.mpf(rng.uniform(-3, 3)) for _ in range(12)), mp.mpf(0), mp.mpf(1)):
                try:
                    walked = evaluator.of(expression, at | {x: number})
                except NoValue as error:
                    with pytest.raises(NoValue) as raised:
                        moving(number)
                    assert str(raised.value) == str(error)
                    continue
                assert repr(moving(number)) == repr(walked)
                told += 1
    assert told >= 30


def test_what_does_not_move_is_computed_once_for_each_precision():
    walked = []

    def walk(e, number):
        walked.append(e)
        return _Evaluator(15).of(e, {y: mp.mpf(2), x: number})

    tape = Tape(x * sp.exp(y) + sp.cos(x) * sp.exp(y), x, {}, walk)
    for digits in (15, 15, 30):
        with mp.workdps(digits):
            values = {mp.nstr(tape(mp.mpf(number)), 12) for number in range(5)}
    assert len(values) == 5 and walked == [sp.exp(y), sp.exp(y)]
