"""Statements of the kinds that a book makes, true ones and false ones of the same kinds.

A false one must never be shown as proved; a true one is proved or honestly undecided. ``kind`` says what a
tired author, or a computer algebra system, would have got wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy as sp
from sympy import (
    Abs,
    Integral,
    KroneckerDelta,
    Product,
    Rational,
    Sum,
    binomial,
    exp,
    log,
    oo,
    pi,
    sin,
    sqrt,
    tan,
    tanh,
)

from proofbook.derive import Domain, MaxOver, MinOver, indices, integers, ladder, simplex, size, vector
from proofbook.derive.kernel import NotProved, check, prove


def proves(left: Any, relation: str, right: Any, domain: Domain) -> bool:
    """Whether the kernel alone has a proof of ``left relation right``."""
    left, right = sp.sympify(left), sp.sympify(right)
    try:
        prove(relation, left, right, domain)
    except NotProved:
        return False
    return True


def proves_twice(left: Any, relation: str, right: Any, domain: Domain) -> bool:
    """Whether it has one, which must then be found again from its certificate."""
    left, right = sp.sympify(left), sp.sympify(right)
    try:
        certificate = prove(relation, left, right, domain)
    except NotProved:
        return False
    check(certificate, left, right, domain)
    return True


@dataclass(frozen=True)
class Statement:
    """``left relation right`` for every value of ``domain``."""

    kind: str
    relation: str
    left: Any
    right: Any
    domain: Domain

    def __str__(self) -> str:
        return f"{self.kind}: {self.left} {self.relation} {self.right}"


n = size()
i, j = indices("i j")
s, p, y = vector("s"), vector("p", positive=True), vector("y", positive=True)
x, u, v = sp.symbols("x u v", real=True)
lam = sp.Symbol("lambda", positive=True)
mu = sp.Symbol("mu", real=True)
a, b, r = sp.symbols("a b r", positive=True)
m = sp.Symbol("m", integer=True, nonnegative=True)
k = sp.Symbol("k", integer=True, nonnegative=True)


def total(body: Any, index: Any = i) -> Any:
    return Sum(body, (index, 1, n))


ROWS = Domain({n: ladder(1, 2, 3, 5), s: (-2, 2), lam: (Rational(1, 2), 2)})
LONG = Domain({n: ladder(2, 3, 5), s: (-2, 2), lam: (Rational(1, 2), 2)})
LAW = Domain({n: ladder(1, 2, 3, 5), p: simplex(), s: (-2, 2)})
LAW_LONG = Domain({n: ladder(2, 3, 5), p: simplex(), s: (-2, 2)})
POSITIVE = Domain({n: ladder(1, 2, 3, 5), y: (Rational(1, 4), 3), a: (Rational(1, 2), 2)})
COUNTS = Domain({n: ladder(1, 2, 3, 4, 6)})


def real(**ranges: tuple) -> Domain:
    """Reals by name, each in an interval."""
    return Domain(
        {{"x": x, "u": u, "v": v, "a": a, "b": b, "r": r}[name]: range_ for name, range_ in ranges.items()}
    )


Z = total(exp(lam * s[i]))
weight = exp(lam * s[i]) / Z
mean = total(p[i] * s[i])
plain_mean = total(s[i]) / n

# An identity, its domain, and what it becomes by one slip of the pen.
SLIPS: list[tuple[str, Any, Any, list[Any], Domain]] = [
    ("the simplex", total(p[i]), sp.Integer(1), [sp.Integer(2), n, total(p[i] ** 2)], LAW_LONG),
    ("the simplex", total(p[i] - 1 / n), sp.Integer(0), [sp.Integer(1), 1 - 1 / n, n - 1], LAW_LONG),
    (
        "a constant summed",
        total(s[i] + 1),
        total(s[i]) + n,
        [total(s[i]) + 1, total(s[i]) - n, total(s[i]) + n - 1],
        LONG,
    ),
    (
        "variance",
        total((s[i] - plain_mean) ** 2),
        total(s[i] ** 2) - n * plain_mean**2,
        [
            total(s[i] ** 2) + n * plain_mean**2,
            total(s[i] ** 2) - plain_mean**2,
            total(s[i] ** 2) - n * plain_mean,
        ],
        LONG,
    ),
    (
        "variance",
        total(p[i] * (s[i] - mean) ** 2),
        total(p[i] * s[i] ** 2) - mean**2,
        [
            total(p[i] * s[i] ** 2) + mean**2,
            total(p[i] * s[i] ** 2) - mean,
            total(p[i] * s[i] ** 2) - 2 * mean**2,
        ],
        LAW_LONG,
    ),
    (
        "pairs",
        total(total(p[i] * p[j] * (s[i] - s[j]) ** 2, j)) / 2,
        total(p[i] * s[i] ** 2) - mean**2,
        [
            2 * (total(p[i] * s[i] ** 2) - mean**2),
            total(p[i] * s[i] ** 2) + mean**2,
            total(s[i] ** 2) - mean**2,
        ],
        LAW_LONG,
    ),
    (
        "a product of sums",
        total(s[i]) ** 2,
        total(total(s[i] * s[j], j)),
        [total(s[i] ** 2), n * total(s[i] ** 2), total(total(s[i] + s[j], j))],
        LONG,
    ),
    (
        "a nested sum",
        total(total(s[i] + s[j], j)),
        2 * n * total(s[i]),
        [2 * total(s[i]), n * total(s[i]), 2 * n**2 * total(s[i])],
        LONG,
    ),
    (
        "logarithm of a power",
        total(log(exp(lam * s[i]))),
        lam * total(s[i]),
        [total(s[i]), lam**2 * total(s[i]), lam * total(s[i]) + 1],
        LONG,
    ),
    (
        "a factor of exponentials",
        total(exp(lam * s[i] + 1)),
        exp(1) * Z,
        [exp(n) * Z, exp(-1) * Z, Z + 1],
        LONG,
    ),
    ("weights", total(weight), sp.Integer(1), [sp.Integer(0), n, 1 / Z], LONG),
    (
        "entropy",
        -total(weight * log(weight)),
        log(Z) - lam * total(weight * s[i]),
        [
            log(Z) + lam * total(weight * s[i]),
            log(Z) - total(weight * s[i]),
            log(n * Z) - lam * total(weight * s[i]),
        ],
        LONG,
    ),
    (
        "a derivative",
        sp.Derivative(log(Z), lam),
        total(weight * s[i]),
        [total(weight * s[i]) / lam, -total(weight * s[i]), total(s[i]) / n],
        LONG,
    ),
    (
        "a derivative",
        sp.Derivative(Z, lam),
        total(s[i] * exp(lam * s[i])),
        [lam * total(s[i] * exp(lam * s[i])), total(exp(lam * s[i])), total(s[i] ** 2 * exp(lam * s[i]))],
        LONG,
    ),
    ("a sum of numbers", total(i), n * (n + 1) / 2, [n * (n - 1) / 2, n**2 / 2, (n + 1) ** 2 / 2], COUNTS),
    (
        "a sum of squares",
        total(i**2),
        n * (n + 1) * (2 * n + 1) / 6,
        [n * (n - 1) * (2 * n - 1) / 6, n * (n + 1) * (2 * n - 1) / 6, n * (n + 1) * (2 * n + 1) / 3],
        COUNTS,
    ),
    (
        "a geometric sum",
        Sum(r**k, (k, 0, n)),
        (1 - r ** (n + 1)) / (1 - r),
        [(1 - r**n) / (1 - r), (1 + r ** (n + 1)) / (1 - r), (1 - r ** (n + 1)) / (1 + r)],
        Domain({n: ladder(1, 2, 3, 4), r: (Rational(1, 4), Rational(3, 4))}),
    ),
    ("binomials", Sum(binomial(n, k), (k, 0, n)), 2**n, [2**n - 1, 2 ** (n - 1), 2 ** (n + 1)], COUNTS),
    (
        "a product",
        Product(exp(s[i]), (i, 1, n)),
        exp(total(s[i])),
        [exp(n * total(s[i])), total(exp(s[i])), exp(-total(s[i]))],
        LONG,
    ),
    (
        "powers",
        total(y[i] ** a * y[i]),
        total(y[i] ** (a + 1)),
        [total(y[i] ** a), total(y[i] ** (a - 1)), total(y[i] ** (2 * a))],
        POSITIVE,
    ),
    (
        "a scaled norm",
        total((a * y[i]) ** 2),
        a**2 * total(y[i] ** 2),
        [a * total(y[i] ** 2), a**2 * total(y[i]), total(y[i] ** 2)],
        POSITIVE,
    ),
    (
        "a maximum shifted",
        MaxOver(s[i] + 1, (i, 1, n)),
        MaxOver(s[i], (i, 1, n)) + 1,
        [MaxOver(s[i], (i, 1, n)) + n, MaxOver(s[i], (i, 1, n)) - 1, MinOver(s[i], (i, 1, n)) + 1],
        LONG,
    ),
    (
        "multiplying out",
        (x + u) ** 3,
        x**3 + 3 * x**2 * u + 3 * x * u**2 + u**3,
        [
            x**3 + 3 * x**2 * u - 3 * x * u**2 + u**3,
            x**3 + x**2 * u + x * u**2 + u**3,
            x**3 + 3 * x**2 * u + 3 * x * u**2,
        ],
        real(x=(-2, 2), u=(-2, 2)),
    ),
    (
        "a difference of squares",
        (a**2 - b**2) / (a + b),
        a - b,
        [a + b, b - a, (a - b) ** 2],
        real(a=(1, 2), b=(Rational(1, 4), Rational(1, 2))),
    ),
    (
        "hyperbolic",
        (exp(x) - exp(-x)) / (exp(x) + exp(-x)),
        1 - 2 / (exp(2 * x) + 1),
        [1 + 2 / (exp(2 * x) + 1), 1 - 2 / (exp(x) + 1), 1 - 1 / (exp(2 * x) + 1)],
        real(x=(-2, 2)),
    ),
]

TRUE = [Statement(kind, "=", left, right, domain) for kind, left, right, _, domain in SLIPS]
FALSE = [
    Statement(kind, "=", left, wrong, domain) for kind, left, _, slips, domain in SLIPS for wrong in slips
]

# Inequalities with their reversals and with their strictness lost.
_entropy = -total(p[i] * log(p[i]))
BOUNDS: list[tuple[str, str, Any, Any, Domain]] = [
    ("Cauchy-Schwarz", "<=", total(s[i]) ** 2, n * total(s[i] ** 2), LONG),
    ("an entropy is at most log n", "<=", _entropy, log(n), LAW_LONG),
    ("a collision probability", ">=", total(p[i] ** 2), 1 / n, LAW_LONG),
    ("one term of a sum", "<=", p[i], total(p[j], j), Domain({n: ladder(2, 3, 5), p: simplex()}, each=(i,))),
    ("a mean and a maximum", "<=", mean, MaxOver(s[i], (i, 1, n)), LAW_LONG),
    ("a mean and a minimum", ">=", mean, MinOver(s[i], (i, 1, n)), LAW_LONG),
    ("Jensen", ">=", log(Z / n), lam * plain_mean, LONG),
    ("log-sum-exp above the maximum", ">=", log(Z), lam * MaxOver(s[i], (i, 1, n)), LONG),
    ("log-sum-exp", "<=", log(Z), lam * MaxOver(s[i], (i, 1, n)) + log(n), LONG),
    ("the tangent of exp", ">=", exp(x), 1 + x, real(x=(-3, 3))),
    ("the tangent of log", "<=", log(a), a - 1, real(a=(Rational(1, 4), 4))),
    ("a product at most a mean of squares", "<=", x * u, (x**2 + u**2) / 2, real(x=(-2, 2), u=(-2, 2))),
    ("the triangle inequality", "<=", Abs(x + u), Abs(x) + Abs(u), real(x=(-2, 2), u=(-2, 2))),
    (
        "a norm and a sum",
        "<=",
        total(y[i] ** 2),
        total(y[i]) ** 2,
        Domain({n: ladder(2, 3, 5), y: (Rational(1, 4), 3)}),
    ),
    ("saturation", "<=", tanh(x), x, real(x=(0, 4))),
    (
        "a quotient below one",
        "<",
        a / (a + b),
        sp.Integer(1),
        real(a=(Rational(1, 2), 4), b=(Rational(1, 2), 4)),
    ),
    ("a decaying power", "<=", exp(-a), 1 / (1 + a), real(a=(Rational(1, 8), 6))),
    ("a mean of squares", ">=", total(p[i] * s[i] ** 2), mean**2, LAW_LONG),
]
_REVERSED = {"<=": ">", ">=": "<", "<": ">=", ">": "<="}
TRUE += [Statement(*bound) for bound in BOUNDS]
FALSE += [
    Statement(f"{kind}, reversed", _REVERSED[rel], left, right, domain)
    for kind, rel, left, right, domain in BOUNDS
]

_STRICT: list[tuple[Any, str, Any, Domain]] = [
    (x**2, ">", sp.Integer(0), real(x=(-1, 1))),
    (exp(x), ">", 1 + x, real(x=(-1, 1))),
    (log(a), "<", a - 1, real(a=(Rational(1, 2), 2))),
    (Abs(x), ">", x, real(x=(-1, 1))),
    ((x - Rational(1, 3)) ** 2, ">", sp.Integer(0), real(x=(0, 1))),
    ((x**2 + u**2) / 2, ">", x * u, real(x=(-1, 1), u=(-1, 1))),
    (total((s[i] - plain_mean) ** 2), ">", sp.Integer(0), ROWS),
    (p[i], "<", sp.Integer(1), Domain({n: ladder(1, 2, 3), p: simplex()}, each=(i,))),
    (n, ">", sp.Integer(1), COUNTS),
    (MaxOver(s[i], (i, 1, n)), ">", MinOver(s[i], (i, 1, n)), ROWS),
    (total(s[i]) ** 2, "<", n * total(s[i] ** 2), ROWS),
    (_entropy, ">", sp.Integer(0), LAW),
]
FALSE += [
    Statement("strict where it only holds with equality allowed", rel, left, right, domain)
    for left, rel, right, domain in _STRICT
]
TRUE += [
    Statement("the same, equality allowed", rel + "=", left, right, domain)
    for left, rel, right, domain in _STRICT
]

tiny = Rational(1, 10**60)
FALSE += [
    Statement("differing below fifty digits", "=", x + tiny, x, real(x=(1, 2))),
    Statement("differing below fifty digits", "=", log(exp(x) + 1), x, real(x=(150, 300))),
    Statement("differing below fifty digits", ">=", exp(x) / (exp(x) + 1), sp.Integer(1), real(x=(150, 300))),
    Statement("differing below fifty digits", "=", tanh(x), sp.Integer(1), real(x=(120, 200))),
    Statement("differing below fifty digits", "=", exp(-exp(x)), sp.Integer(0), real(x=(6, 7))),
    Statement("differing below fifty digits", "=", x * (1 + tiny), x, real(x=(1, 2))),
    Statement("differing below fifty digits", "=", sqrt(x**2 + tiny), x, real(x=(1, 2))),
    Statement("differing below fifty digits", "<=", x + tiny, x, real(x=(1, 2))),
    Statement("differing below fifty digits", "=", total(p[i] + tiny), sp.Integer(1), LAW_LONG),
    Statement(
        "a near-integer", "=", exp(pi * sqrt(sp.Integer(163))), sp.Integer(640320) ** 3 + 744, real(x=(0, 1))
    ),
    Statement("a near-integer", "=", exp(pi) - pi, sp.Integer(20), real(x=(0, 1))),
    Statement(
        "a near-integer", "=", exp(pi * sqrt(sp.Integer(67))), sp.Integer(5280) ** 3 + 744, real(x=(0, 1))
    ),
    Statement("a near-integer", "=", sin(sp.Integer(11)), sp.Integer(-1), real(x=(0, 1))),
    Statement(
        "a ladder's rungs alone",
        "=",
        (n - 2) * (n - 3) * total(s[i]),
        sp.Integer(0),
        Domain({n: ladder(2, 3), s: (-2, 2)}),
    ),
    Statement(
        "a ladder's rungs alone",
        "=",
        (n - 1) * (n - 2) * (n - 3) * total(s[i]),
        sp.Integer(0),
        Domain({n: ladder(1, 2, 3), s: (-2, 2)}),
    ),
    Statement(
        "a ladder's rungs alone",
        "=",
        total(i**3),
        n**4 / 4 + n**3 / 2 + n**2 / 4 + (n - 1) * (n - 2) * (n - 3),
        Domain({n: ladder(1, 2, 3)}),
    ),
    Statement(
        "a ladder's rungs alone",
        "=",
        2**n,
        1 + n + n * (n - 1) / 2 + n * (n - 1) * (n - 2) / 6,
        Domain({n: ladder(1, 2, 3)}),
    ),
    Statement("a ladder's rungs alone", "<=", log(n), sp.Integer(2), Domain({n: ladder(2, 3, 5)})),
    Statement(
        "a ladder's rungs alone",
        "<=",
        total(p[i] ** 0 / n),
        total(1) / 3,
        Domain({n: ladder(3, 4, 5), p: simplex()}),
    ),
    Statement(
        "one of very many integers",
        "=",
        KroneckerDelta(m, 137),
        sp.Integer(0),
        Domain({m: integers(0, 1000)}),
    ),
    Statement(
        "one of very many integers",
        "=",
        KroneckerDelta(m, 977) * x,
        sp.Integer(0),
        Domain({m: integers(0, 5000), x: (1, 2)}),
    ),
    Statement(
        "true for one sign only",
        "=",
        MaxOver(mu * s[i], (i, 1, n)),
        mu * MaxOver(s[i], (i, 1, n)),
        Domain({n: ladder(2, 3, 5), s: (-2, 2), mu: (-1, 1)}),
    ),
    Statement("true for one sign only", "=", Abs(mu * x), mu * Abs(x), Domain({mu: (-1, 1), x: (-2, 2)})),
    Statement("true for one sign only", "=", sqrt(x**2), x, real(x=(-1, 1))),
    Statement(
        "true for one sign only",
        ">=",
        log(total(exp(mu * s[i]))),
        mu * MaxOver(s[i], (i, 1, n)) + log(n),
        Domain({n: ladder(2, 3, 5), s: (-2, 2), mu: (-1, 1)}),
    ),
    Statement("true for one sign only", "<=", mu * x, Abs(mu) * x, Domain({mu: (-1, 1), x: (-2, 2)})),
    Statement("a branch cut", "=", sp.atan(tan(x)), x, real(x=(0, 3))),
    Statement("a branch cut", "=", sp.asin(sin(x)), x, real(x=(0, 3))),
    Statement("a branch cut", "=", log((x - 2) ** 2), 2 * log(x - 2), real(x=(0, 1))),
    Statement("a branch cut", "=", sqrt(x * u), sqrt(x) * sqrt(u), real(x=(-2, -1), u=(-2, -1))),
    Statement("a branch cut", "=", (x**3) ** Rational(1, 3), x, real(x=(-2, -1))),
    Statement("no value somewhere", "=", (x**2 - 1) / (x - 1), x + 2, real(x=(0, 2))),
    Statement("no value somewhere", "=", log(x) - log(2 * x), -log(sp.Integer(2)), real(x=(-1, 1))),
    Statement("no value somewhere", ">=", 1 / x, sp.Integer(1), real(x=(-1, 1))),
    Statement("a divergent series", "=", Sum((-1) ** k, (k, 0, oo)), Rational(1, 2), real(x=(0, 1))),
    Statement("a divergent series", "=", Sum(k, (k, 1, oo)), Rational(-1, 12), real(x=(0, 1))),
    Statement("a divergent integral", "=", Integral(sin(x), (x, 0, oo)), sp.Integer(1), real(u=(0, 1))),
    Statement("a divergent integral", "=", Integral(1 / x, (x, -1, 1)), sp.Integer(0), real(u=(0, 1))),
    Statement(
        "a Borwein integral",
        "=",
        Integral(Product(sin(x / (2 * k + 1)) / (x / (2 * k + 1)), (k, 0, 7)), (x, 0, oo)),
        pi / 2,
        real(u=(0, 1)),
    ),
    Statement("a thin region", ">=", (x - Rational(1, 7)) ** 2, Rational(1, 10**8), real(x=(0, 1))),
    Statement(
        "a thin region",
        ">=",
        (x - Rational(1, 7)) ** 2 + (u - Rational(2, 7)) ** 2,
        Rational(1, 10**8),
        real(x=(0, 1), u=(0, 1)),
    ),
    Statement(
        "a thin region",
        ">=",
        x**2 + u**2 + v**2 - 2 * x * u * v,
        Rational(-1, 10**3),
        real(x=(-2, 2), u=(-2, 2), v=(-2, 2)),
    ),
    Statement(
        "a thin region", "<=", exp(-(10**8) * (x - Rational(3, 11)) ** 2), Rational(1, 2), real(x=(0, 1))
    ),
    Statement("only at large n", "<=", log(n), sp.Integer(5), COUNTS),
    Statement("only at large n", ">=", 1 / n, Rational(1, 1000), COUNTS),
    Statement("only at large n", "<=", n * (n - 1), sp.Integer(40), COUNTS),
    Statement(
        "only at far-spread scores",
        "<=",
        log(Z) - lam * plain_mean,
        log(n) + 3,
        Domain({n: ladder(2, 3), s: (-2, 2), lam: (1, 200)}),
    ),
    Statement(
        "only at far-spread scores",
        ">=",
        total(weight**2),
        Rational(1, 10),
        Domain({n: ladder(2, 3, 20), s: (-1, 1), lam: (1, 2)}),
    ),
]
TRUE += [
    Statement("a tiny difference, stated", "<", x, x + tiny, real(x=(1, 2))),
    Statement("a tiny difference, stated", "<", tanh(x), sp.Integer(1), real(x=(60, 100))),
    Statement("a tiny difference, stated", "<", exp(x) / (exp(x) + 1), sp.Integer(1), real(x=(150, 300))),
    Statement("a tiny difference, stated", ">", log(exp(x) + 1), x, real(x=(150, 300))),
    Statement("every n", "=", total(i**3), n**2 * (n + 1) ** 2 / 4, COUNTS),
    Statement("every n", "<=", n, 2**n, COUNTS),
    Statement(
        "a sign that is known", "=", MaxOver(lam * s[i], (i, 1, n)), lam * MaxOver(s[i], (i, 1, n)), LONG
    ),
    Statement("a sign that is known", "=", sqrt(x**2), x, real(x=(1, 2))),
    Statement("a sign that is known", "=", Abs(u * x), u * Abs(x), real(u=(1, 2), x=(-2, 2))),
    Statement("a thin region, from outside", ">=", (x - Rational(1, 7)) ** 2, sp.Integer(0), real(x=(0, 1))),
    Statement("a value everywhere", "=", (x**2 - 1) / (x + 1), x - 1, real(x=(0, 2))),
    Statement("logarithms of positive numbers", "=", log(a * b), log(a) + log(b), real(a=(1, 2), b=(1, 2))),
    Statement(
        "logarithms of positive numbers", "=", log(a**3 / b), 3 * log(a) - log(b), real(a=(1, 2), b=(1, 2))
    ),
]

# The same facts read the other way round, and as the sign of a difference.
_OTHER_WAY = {"<=": ">=", ">=": "<=", "<": ">", ">": "<"}
TRUE += [
    Statement(f"{kind}, from right to left", "=", right, left, domain)
    for kind, left, right, _, domain in SLIPS
]
TRUE += [
    Statement(f"{kind}, turned", _OTHER_WAY[rel], right, left, domain)
    for kind, rel, left, right, domain in BOUNDS
]
TRUE += [
    Statement(f"{kind}, as a sign", rel, left - right, sp.Integer(0), domain)
    for kind, rel, left, right, domain in BOUNDS
]
