"""Wrong results of SymPy that were publicly reported, as statements: what SymPy said, and what is so.

Each is cited by its number among the issues of sympy/sympy. Some are mended in the version that is pinned
here, many are not; a book whose proofs rest on its own second route refuses them all alike. ``right`` is None
where no real value exists (a divergent integral, a limit that is infinite or differs from its two sides).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sympy as sp
from sympy import (
    Abs,
    Derivative,
    E,
    Integral,
    LambertW,
    Limit,
    Min,
    Ne,
    Piecewise,
    Pow,
    Product,
    Rational,
    Subs,
    Sum,
    acos,
    atan,
    atanh,
    binomial,
    cos,
    erf,
    exp,
    factorial,
    floor,
    log,
    oo,
    pi,
    sin,
    sinh,
    sqrt,
    tan,
    tanh,
)

x, y, t = sp.symbols("x y t", real=True)
a, w, c = sp.symbols("a w c", positive=True)
b = sp.Symbol("b", real=True)
k = sp.Symbol("k", integer=True, nonnegative=True)
n = sp.Symbol("n", integer=True, positive=True)


@dataclass(frozen=True)
class Report:
    """One report: ``typed = wrong`` was SymPy's word, ``typed = right`` is so."""

    number: int
    typed: Any
    wrong: Any
    right: Any
    ranges: dict = field(default_factory=dict)

    def __str__(self) -> str:
        return f"sympy#{self.number}"


def _integral(f: Any, *limits: Any) -> Any:
    return Integral(f, *limits)


_wave = Abs(sin(x) * cos(x))

REPORTS = [
    Report(
        2975,
        Integral((y**2 + c) ** Rational(-3, 2), (y, -w / 2, w / 2)),
        0,
        w / (c * sqrt(c + w**2 / 4)),
        {c: (1, 2), w: (1, 2)},
    ),
    Report(
        5907,
        Integral((x**2 + a**2) ** -2, (x, 0, 1)),
        1 / (2 * a**4 + 2 * a**2),
        1 / (2 * a**4 + 2 * a**2) + atan(1 / a) / (2 * a**3),
        {a: (1, 2)},
    ),
    Report(6278, Integral(1 / (cos(x) + 2), (x, 0, 2 * pi)), 0, 2 * pi / sqrt(3)),
    Report(6369, Integral(x * sqrt(1 + 2 * x), (x, 0, 1)), 6 * sqrt(3) / 15, (6 * sqrt(3) + 1) / 15),
    Report(7130, Integral(cos(pi * x / 2) ** 2, (x, 0, 2)), 0, 1),
    Report(7337, Integral(x * sqrt(2 * x + 3), (x, -1, 1)), Rational(-2, 5), Rational(2, 5)),
    Report(8440, Integral(1 / (x + 1), (x, -2, 3)), log(4), None),
    Report(9270, Integral(x**-2, (x, -1, oo)), -1, None),
    Report(11165, Integral(1 / (2 + sin(x)), (x, 0, 2 * pi)), 0, 2 * sqrt(3) * pi / 3),
    Report(13112, Integral(sin(t) ** 2 / (5 - 4 * cos(t)), (t, 0, 2 * pi)), 5 * pi / 8, pi / 4),
    Report(
        13816,
        Integral(2 * sqrt(1 - x**2) * (4 * sqrt(2) * x**2 - sqrt(3)), (x, -1, 1)),
        0,
        (sqrt(2) - sqrt(3)) * pi,
    ),
    Report(14400, Integral(1 / (1 - x**2), (x, 0, 3)), log(2) / 2, None),
    Report(
        15457,
        Integral(exp(Abs(x - 2)), (x, a, w)),
        exp(w - 2) - exp(a - 2),
        exp(2 - a) + exp(w - 2) - 2,
        {a: (1, Rational(3, 2)), w: (Rational(5, 2), 3)},
    ),
    Report(15810, Integral(1 / (Pow(2, 2 * t / 3) + 1), (t, 0, oo)), Rational(1, 2), Rational(3, 2)),
    Report(18384, Integral(_wave, (x, pi, 2 * pi)), 0, 1),
    Report(
        20370,
        Integral(1 / (1 + a * cos(x)), (x, 0, 2 * pi)),
        0,
        2 * pi / sqrt(1 - a**2),
        {a: (Rational(1, 4), Rational(3, 4))},
    ),
    Report(20898, Integral(atan(tan(x)), (x, 0, 1)), ((1 - pi) ** 2 - pi**2) / 2, Rational(1, 2)),
    Report(21166, Integral(sin(x / sqrt(Abs(x))), (x, -1, 1)), 4 * sin(1) - 4 * cos(1), 0),
    Report(21387, Integral(Abs(cos(t)) * sin(t), (t, -pi, pi)), 1, 0),
    Report(
        21665,
        Integral(-4 * (1 - x**2) ** Rational(3, 2) / 3 + 2 * sqrt(1 - x**2) * (2 - 2 * x**2), (x, -1, 1)),
        -pi / 2,
        pi,
    ),
    Report(21721, Integral(1 / (pi * (1 + (x - b) ** 2)), (x, -oo, oo)), 0, 1, {b: (-1, 1)}),
    Report(25052, Integral(Abs(cos(x)), (x, -pi / 2, 0)), -1, 1),
    Report(25066, Integral(Abs(cos(x)), (x, -1, 0)), -sin(1), sin(1)),
    Report(25066, Integral(Abs(sin(x)), (x, -2 * pi, 0)), 0, 4),
    Report(
        25786,
        Integral(exp(-4 * x**2 / 5), (x, -3, Rational(-1, 5))),
        -sqrt(5 * pi) / 4 * (erf(6 / sqrt(5)) - erf(2 / (5 * sqrt(5)))),
        sqrt(5 * pi) / 4 * (erf(6 / sqrt(5)) - erf(2 / (5 * sqrt(5)))),
    ),
    Report(
        27050,
        Integral(sqrt(cos(x) ** 2) * cos(x) / (sin(x) ** 2 + 1), (x, -pi / 2, pi / 2)),
        0,
        (sqrt(2) - 1) * pi,
    ),
    Report(27379, Integral(sqrt(cos(x) ** 2), (x, -pi / 2, 0)), -1, 1),
    Report(
        28657,
        Integral(400 * pi**2 * x**2 / (1600 * pi**4 * x**4 - 796 * pi**2 * x**2 + 100), (x, 0, oo)),
        5,
        Rational(5, 2),
    ),
    Report(29072, Integral(_wave, (x, 0, 2 * pi)), 1, 2),
    Report(29792, Integral(sqrt(2 - x) * sqrt(1 / (2 - x)), (x, 0, 1)), -1, 1),
    Report(30319, Integral(Abs(sin(2 * x)), (x, 0, 2 * pi)), 2, 4),
    Report(30319, Integral(Abs(sin(3 * x)), (x, 0, 3 * pi)), Rational(2, 3), 6),
    Report(30319, Integral(sin(4 * x) / sin(x), (x, 0, pi / 2)), Rational(4, 3) - 2 * pi, Rational(4, 3)),
    Report(30404, Integral(sqrt(1 - x) * log(1 - x), (x, 0, 1)), 0, Rational(-4, 9)),
    Report(30448, Integral(2 * cos(x) + 1, (x, 0, 2 * pi)), 0, 2 * pi),
    Report(
        30484,
        Integral(-sqrt(1 / (x + 1)) / (x * sqrt(1 - x)), (x, Rational(1, 5), Rational(1, 2))),
        sp.S.Zero,
        atanh(sqrt(3) / 2) - atanh(sqrt(Rational(24, 25))),
    ),
    Report(9075, Limit((Pow(6, x + 1) + x + 1) / (Pow(6, x) + x), x, oo), 1, 6),
    Report(10058, Limit(2 / sqrt(tanh(1 / x) ** 2 - 1), x, 0), 2, None),
    Report(13382, Limit(y * (((y + 1) ** 2 + 1) / (y**2 + 1) - 1), y, oo), 0, 2),
    Report(13403, Limit(x * (-1 + (x + log(x + 1) + 1) / (x + log(x))), x, oo), 0, 1),
    Report(
        13416,
        Limit(
            (-(x**3) * log(x) ** 3 + (x - 1) * (x + 1) ** 2 * log(x + 1) ** 3) / (x**2 * log(x) ** 3), x, oo
        ),
        -1,
        1,
    ),
    Report(14355, Limit(floor(sin(x) / x), x, 0, "+"), 1, 0),
    Report(14355, Limit(floor(-tan(x) / x), x, 0, "-"), -1, -2),
    Report(15055, Limit(x**3 * ((-x - 1) * sin(1 / x) + (x + 2) * sin(1 / (x + 1))) / (1 - x), x, oo), 0, 1),
    Report(17380, Limit(x * (((x + 1) ** 2 + 1) / (x**2 + 1) - 1), x, oo), 0, 2),
    Report(17792, Limit(factorial(x) / sqrt(x) * (E / x) ** x, x, oo), 0, sqrt(2 * pi)),
    Report(18378, Limit(log(exp(3 * x) + x) / log(exp(x) + x**100), x, oo), 9, 3),
    Report(18399, Limit((1 - x / 2) ** (3 * x), x, oo), 0, None),
    Report(18969, Limit(LambertW(x), x, b), b, LambertW(b), {b: (1, 2)}),
    Report(20365, Limit(((x + 1) ** (1 / x) - E) / x, x, 0), 0, -E / 2),
    Report(21530, Limit(sinh(x + 1) / sinh(x), x, oo), 1, E),
    Report(21724, Limit(x * (1 + 1 / x) ** x - E * x, x, oo), 0, -E / 2),
    Report(22982, Limit((log(E + 1 / x) - 1) ** (1 - sqrt(E + 1 / x)), x, oo), 0, None),
    Report(23836, Limit(Piecewise((x**3, x < 3), (-(x**2), x > 3), (2, True)), x, 3, "-"), 2, 27),
    Report(23836, Limit(Piecewise((x**3, x < 3), (-(x**2), x > 3), (2, True)), x, 3, "+"), 2, -9),
    Report(25885, Limit((1 + 1 / x) ** (x**2) / exp(x), x, oo), 1, exp(Rational(-1, 2))),
    Report(26313, Limit(Piecewise((x**2, x <= 2), (5 * x - 7, x > 2)), x, 2, "+"), 4, 3),
    Report(26513, Limit(Abs((-x / (x + 1)) ** x), x, oo), 0, exp(-1)),
    Report(27236, Limit(Piecewise((1, x < 0), (-1, True)), x, 0, "-"), -1, 1),
    Report(27236, Limit(Piecewise((1, x < 0), (-1, True)), x, 0, "+-"), -1, None),
    Report(28327, Limit((1 + 1 / x) ** (x**2) * exp(-x), x, oo), 1, exp(Rational(-1, 2))),
    Report(29835, Limit(Piecewise((0, y <= 0), (-6 / y**2, True)), y, 0, "+"), 0, None),
    Report(30249, Limit(Piecewise((0, Ne(a, 0)), (x, True)), x, a, "+"), a, 0, {a: (1, 2)}),
    Report(8016, Sum(binomial(3, k) * binomial(3, 2 - k) * (-1) ** k, (k, 0, 2)), 0, -3),
    Report(13902, Sum(binomial(2, k) * k**2, (k, 0, 1)), -4, 2),
    Report(
        14129,
        Sum(k * x**k, (k, 0, 3)),
        (4 * x**5 - 4 * x**4 - x**5 + x) / (x - 1) ** 2,
        x + 2 * x**2 + 3 * x**3,
        {x: (1, 2)},
    ),
    Report(24227, Sum(Pow(0, 1 - k) * binomial(3, 2 * k + 1), (k, 0, 1)), 0, 1),
    Report(13546, Product(2 + Rational(1, 2) ** k, (k, 0, 1)), Rational(9, 2), Rational(15, 2)),
    Report(14036, Product(1 - a**2 / (n * pi) ** 2, (n, 1, oo)), 0, sin(a) / a, {a: (1, 2)}),
    Report(
        11402,
        Subs(Derivative(Piecewise((sin(x) / x, Ne(x, 0)), (1, True)), (x, 2)), x, 0),
        0,
        Rational(-1, 3),
    ),
    Report(20881, Subs(Derivative(Min(x, Rational(1, 2)), x), x, Rational(1, 2)), Rational(1, 2), None),
    Report(
        20430,
        cos(x / 2) * sin(x / 2) * cos(x) * cos(y) ** 2 * sin(y),
        (cos(2 * x - 2 * y) - cos(2 * x + 2 * y)) / 16,
        cos(y) * (cos(2 * x - 2 * y) - cos(2 * x + 2 * y)) / 16,
        {x: (0, 1), y: (1, 2)},
    ),
    Report(
        23086, 180 * acos(Rational(7823207, 7823209)) / pi, 0, 180 * acos(Rational(7823207, 7823209)) / pi
    ),
]
