"""More statements, for the kinds of error that ``statements`` has few of; true twins stand beside the false.

The kinds are those of a tired author (a factor dropped, a range off by one, a bound that is strict too much)
and those of a computer algebra system that is trusted too far (branches, ends, divergence, assumptions).
"""

from __future__ import annotations

from typing import Any

import sympy as sp
from statements import (
    COUNTS,
    LAW,
    LAW_LONG,
    LONG,
    ROWS,
    Statement,
    Z,
    a,
    b,
    i,
    j,
    k,
    lam,
    mean,
    mu,
    n,
    p,
    r,
    real,
    s,
    tiny,
    total,
    u,
    v,
    weight,
    x,
    y,
)
from sympy import (
    Abs,
    Derivative,
    Heaviside,
    Integral,
    KroneckerDelta,
    Limit,
    Max,
    Min,
    Piecewise,
    Product,
    Rational,
    Subs,
    Sum,
    atan,
    besseli,
    cos,
    cosh,
    erf,
    erfc,
    exp,
    factorial,
    gamma,
    log,
    oo,
    pi,
    sign,
    sin,
    sinh,
    sqrt,
    tanh,
)

from proofbook.derive import Domain, MaxOver, MinOver, indices, integers, ladder, simplex

(q,) = indices("q,")
minus, plus = sp.Symbol("w", extended_negative=True), sp.Symbol("z", positive=True)
EACH = Domain({n: ladder(1, 2, 3), s: (-2, 2), lam: (Rational(1, 2), 2)}, each=(q,))
ENTRIES = Domain({n: ladder(1, 2, 3, 5), y: (Rational(1, 4), 3)})
SHARE = Domain({n: ladder(1, 2, 3), p: simplex()}, each=(q,))
POINT = real(u=(0, 1))
HALF = Rational(1, 2)


def held(function: Any) -> Any:
    """An expression as it is typed, where SymPy would change it."""
    with sp.evaluate(False):
        return function()


# One left side, what it is equal to, and what it is not: (kind, left, right or None, wrong ones, domain).
EQUAL: list[tuple[str, Any, Any, list[Any], Domain]] = [
    # signs, factors, dropped terms
    (
        "a third central moment",
        total(p[i] * (s[i] - mean) ** 3),
        total(p[i] * s[i] ** 3) - 3 * mean * total(p[i] * s[i] ** 2) + 2 * mean**3,
        [
            total(p[i] * s[i] ** 3) - 3 * mean * total(p[i] * s[i] ** 2) + 3 * mean**3,
            total(p[i] * s[i] ** 3) - 3 * mean * total(p[i] * s[i] ** 2) - 2 * mean**3,
        ],
        LAW_LONG,
    ),
    (
        "a covariance",
        total(p[i] * (s[i] - mean) * log(p[i])),
        total(p[i] * s[i] * log(p[i])) - mean * total(p[i] * log(p[i])),
        [
            total(p[i] * s[i] * log(p[i])) + mean * total(p[i] * log(p[i])),
            total(p[i] * s[i] * log(p[i])) - mean,
        ],
        LAW_LONG,
    ),
    (
        "a second derivative",
        Derivative(log(Z), (lam, 2)),
        total(weight * s[i] ** 2) - total(weight * s[i]) ** 2,
        [total(weight * s[i] ** 2) + total(weight * s[i]) ** 2, total(weight * s[i] ** 2)],
        LONG,
    ),
    (
        "a gradient",
        Derivative(log(Z), s[q]),
        lam * exp(lam * s[q]) / Z,
        [exp(lam * s[q]) / Z, lam * exp(lam * s[q]), lam / Z],
        EACH,
    ),
    (
        "a Jacobian",
        Derivative(exp(s[q]) / total(exp(s[i])), s[q]),
        exp(s[q]) / total(exp(s[i])) * (1 - exp(s[q]) / total(exp(s[i]))),
        [exp(s[q]) / total(exp(s[i])) * (1 + exp(s[q]) / total(exp(s[i]))), exp(s[q]) / total(exp(s[i]))],
        EACH,
    ),
    (
        "a relative entropy",
        total(weight * log(n * weight)),
        log(n) - log(Z) + lam * total(weight * s[i]),
        [log(n) + log(Z) + lam * total(weight * s[i]), -log(n) - log(Z) + lam * total(weight * s[i])],
        LONG,
    ),
    (
        "an escort of two",
        exp(x) / (exp(x) + exp(u)),
        1 / (1 + exp(u - x)),
        [1 / (1 + exp(x - u)), 1 / (1 - exp(u - x))],
        real(x=(-2, 2), u=(-2, 2)),
    ),
    (
        "a Tsallis entropy",
        (1 - total(p[i] ** a)) / (a - 1),
        total((p[i] - p[i] ** a) / (a - 1)),
        [total((p[i] + p[i] ** a) / (a - 1)), total((1 - p[i] ** a) / (a - 1))],
        Domain({n: ladder(2, 3), p: simplex(), a: (Rational(3, 2), 4)}, where=(a > 1,)),
    ),
    (
        "a mean of logarithms",
        exp(total(log(y[i])) / n) ** n,
        Product(y[i], (i, 1, n)),
        [Product(y[i], (i, 1, n)) ** n, total(y[i])],
        ENTRIES,
    ),
    # off by one
    ("a sum from 2", Sum(s[i], (i, 2, n)), total(s[i]) - s[1], [total(s[i]), total(s[i]) + s[1]], ROWS),
    ("a sum from 0", Sum(k, (k, 0, n)), n * (n + 1) / 2, [n * (n - 1) / 2, n * (n + 1) / 2 + 1], COUNTS),
    ("odd numbers", total(2 * i - 1), n**2, [n * (n + 1), n**2 - 1, (n + 1) ** 2], COUNTS),
    ("pairs of two", total(total(1 - KroneckerDelta(i, j), j)), n * (n - 1), [n**2, n * (n + 1)], COUNTS),
    ("powers of two", Sum(2**k, (k, 0, n)), 2 ** (n + 1) - 1, [2**n - 1, 2 ** (n + 1)], COUNTS),
    ("a telescoping sum", total(1 / (i * (i + 1))), 1 - 1 / (n + 1), [1 - 1 / n, 1 + 1 / (n + 1)], COUNTS),
    (
        "a sum of powers from 1",
        total(r**i),
        r * (1 - r**n) / (1 - r),
        [(1 - r**n) / (1 - r), r * (1 - r ** (n + 1)) / (1 - r)],
        Domain({n: ladder(1, 2, 3, 4), r: (Rational(1, 4), Rational(3, 4))}),
    ),
    ("what is left of one share", total(p[i]) - p[q], 1 - p[q], [sp.Integer(1), n - p[q]], SHARE),
    # one sign only
    ("an absolute value", held(lambda: Abs(mu) ** 2), mu**2, [Abs(mu), -(mu**2)], Domain({mu: (-1, 1)})),
    (
        "a minimum",
        MinOver(-lam * s[i], (i, 1, n)),
        -lam * MaxOver(s[i], (i, 1, n)),
        [-lam * MinOver(s[i], (i, 1, n)), lam * MaxOver(s[i], (i, 1, n))],
        LONG,
    ),
    (
        "a maximum of two",
        Max(x, u),
        (x + u + Abs(x - u)) / 2,
        [(x + u - Abs(x - u)) / 2, x + u],
        real(x=(-2, 2), u=(-2, 2)),
    ),
    ("a minimum of two", Min(x, u) + Max(x, u), x + u, [x - u, 2 * Max(x, u)], real(x=(-2, 2), u=(-2, 2))),
    # differing below fifty digits
    (
        "a difference of e^-300",
        exp(x),
        held(lambda: exp(2 * x) * exp(-x)),
        [exp(x) + exp(-300), exp(x + exp(-200))],
        real(x=(1, 2)),
    ),
    ("a hyperbolic tail", tanh(x), 1 - 2 / (exp(2 * x) + 1), [1 - 2 * exp(-2 * x)], real(x=(100, 200))),
    ("a Gaussian tail", erf(x) + erfc(x), sp.Integer(1), [erf(x)], real(x=(15, 20))),
    (
        "a small term of a sum",
        total(s[i]),
        total(s[j], j),
        [total(s[i] + tiny), total(s[i]) * (1 + tiny)],
        ROWS,
    ),
    # near-integers: no right one is known in closed form
    ("a near-integer", (exp(pi * sqrt(sp.Integer(43)))), None, [sp.Integer(960) ** 3 + 744], POINT),
    ("a near-integer", cos(sp.Integer(22)), None, [sp.Integer(-1)], POINT),
    ("a near-integer", Rational(163) / log(sp.Integer(163)), None, [sp.Integer(32)], POINT),
    ("a near-integer", (pi**9) / exp(8), None, [sp.Integer(10)], POINT),
    ("a near-integer", 2 ** Rational(1, 3) + sqrt(sp.Integer(3)), None, [Rational(299197, 100000)], POINT),
    (
        "a near-integer",
        ((1 + sqrt(5)) / 2) ** 60 + ((1 - sqrt(5)) / 2) ** 60,
        sp.lucas(60),
        [((1 + sqrt(5)) / 2) ** 60],
        POINT,
    ),
    # Borwein integrals
    ("a Borwein integral", Integral(sin(x) / x * sin(x / 3) / (x / 3), (x, 0, oo)), None, [pi / 3], POINT),
    # branch cuts and roots
    (
        "a root of a product",
        sqrt(x * u),
        sqrt(x) * sqrt(u),
        [sqrt(x) + sqrt(u), x * sqrt(u)],
        real(x=(1, 2), u=(1, 2)),
    ),
    ("a logarithm of a square", log(x**2), 2 * log(Abs(x)), [log(Abs(x))], real(x=(1, 2))),
    (
        "a logarithm of a square",
        held(lambda: log(x**2)),
        2 * log(-x),
        [2 * log(x), log(-x)],
        real(x=(-2, -1)),
    ),
    ("a power of a power", held(lambda: (x**4) ** Rational(1, 4)), Abs(x), [x, -x], real(x=(-2, 2))),
    (
        "a power of a power",
        held(lambda: (x**b) ** u),
        x ** (b * u),
        [x ** (b + u), x ** (b**u)],
        real(x=(1, 2), b=(1, 2), u=(1, 3)),
    ),
    ("a cube root", held(lambda: ((x - 3) ** 3) ** Rational(1, 3)), None, [x - 3], real(x=(1, 2))),
    ("an arctangent", atan(x) + atan(1 / x), None, [pi / 2], real(x=(-2, 2))),
    # 0/0
    ("no value somewhere", (x**3 - 1) / (x - 1), None, [x**2 + x + 1], real(x=(0, 2))),
    ("no value somewhere", sin(x) / x, None, [1 - x**2 / 6], real(x=(-1, 1))),
    ("no value somewhere", held(lambda: x / x), None, [held(lambda: u / u)], real(x=(-1, 1), u=(-1, 1))),
    ("no value somewhere", total(held(lambda: (s[i] - s[q]) / (s[i] - s[q]))), None, [n], EACH),
    ("no value somewhere", held(lambda: (1 - p[q]) ** 2 / (1 - p[q])), None, [1 - p[q]], SHARE),
    ("no value somewhere", Piecewise((1, x > 0), (-1, x < 0)), None, [sign(x)], real(x=(-1, 1))),
    # series and their order
    (
        "a geometric series",
        Sum(r**k, (k, 0, oo)),
        1 / (1 - r),
        [1 / (1 + r), r / (1 - r)],
        real(r=(Rational(1, 4), HALF)),
    ),
    (
        "the exponential series",
        Sum(x**k / factorial(k), (k, 0, oo)),
        exp(x),
        [exp(x) - 1, exp(-x)],
        real(x=(1, 2)),
    ),
    (
        "conditional convergence",
        Sum((-1) ** (k + 1) / (k + 1), (k, 0, oo)),
        None,
        [log(2), -log(3) / 2],
        POINT,
    ),
    ("conditional convergence", Sum(sin(k) / (k + 1), (k, 0, oo)), None, [sp.Integer(0)], POINT),
    ("a divergent series", Sum(2**k, (k, 0, oo)), None, [sp.Integer(-1)], POINT),
    ("a divergent series", Sum(1 / (k + 1), (k, 0, oo)), None, [sp.EulerGamma], POINT),
    ("a divergent integral", Integral(cos(x), (x, 0, oo)), None, [sp.Integer(0)], POINT),
    ("a divergent integral", Integral(exp(x), (x, 0, oo)), None, [sp.Integer(-1)], POINT),
    ("a divergent integral", Integral(1 / (x - 1) ** 2, (x, 0, 2)), None, [sp.Integer(-2)], POINT),
    ("a divergent integral", Integral(x / (1 + x**2), (x, -oo, oo)), None, [sp.Integer(0)], POINT),
    # rates of approximation, as limits
    ("a rate", Limit((log(1 + x) - x) / x**2, x, 0), -HALF, [HALF, Rational(-1, 3)], POINT),
    ("a rate", Limit((exp(x) - 1 - x) / x**2, x, 0), HALF, [sp.Integer(1), Rational(1, 6)], POINT),
    ("a rate", Limit((tanh(x) - x) / x**3, x, 0), Rational(-1, 3), [Rational(1, 3), Rational(-1, 6)], POINT),
    ("a rate", Limit(log(x) / x ** Rational(1, 10), x, oo), None, [sp.Integer(1)], POINT),
    # integrals
    (
        "a Gaussian integral",
        Integral(exp(-a * x**2), (x, -oo, oo)),
        sqrt(pi / a),
        [sqrt(pi / a) / 2, sqrt(pi * a), sqrt(pi) / a],
        real(a=(1, 2)),
    ),
    (
        "a Gaussian moment",
        Integral(x**2 * exp(-(x**2) / 2), (x, -oo, oo)),
        sqrt(2 * pi),
        [sqrt(pi), 2 * sqrt(2 * pi), sqrt(2 * pi) / 2],
        POINT,
    ),
    (
        "a Gaussian transform",
        Integral(exp(b * x - x**2 / 2), (x, -oo, oo)),
        sqrt(2 * pi) * exp(b**2 / 2),
        [sqrt(2 * pi) * exp(b**2), sqrt(2 * pi) * exp(-(b**2) / 2)],
        real(b=(1, 2)),
    ),
    (
        "a Gaussian transform",
        Integral(exp(x + b * x**2), (x, -oo, oo)),
        None,
        [sqrt(-pi / b) * exp(-1 / (4 * b))],
        real(b=(1, 2)),
    ),
    (
        "a Gamma integral",
        Integral(x ** (a - 1) * exp(-b * x), (x, 0, oo)),
        gamma(a) / b**a,
        [gamma(a) * b**a, gamma(a + 1) / b**a, gamma(a) / b],
        real(a=(1, 2), b=(1, 2)),
    ),
    (
        "an exponential moment",
        Integral(x**3 * exp(-x), (x, 0, oo)),
        sp.Integer(6),
        [sp.Integer(3), sp.Integer(24)],
        POINT,
    ),
    (
        "a half-line from a point",
        Integral(exp(-(x**2)), (x, a, oo)),
        sqrt(pi) / 2 * (1 - erf(a)),
        [sqrt(pi) / 2 * (1 + erf(a)), sqrt(pi) * (1 - erf(a))],
        real(a=(1, 2)),
    ),
    (
        "an integral with a kink",
        Integral(Abs(x - HALF), (x, 0, 1)),
        Rational(1, 4),
        [sp.Integer(0), HALF],
        POINT,
    ),
    # derivatives
    (
        "a derivative of a power",
        Derivative(a**b, b),
        a**b * log(a),
        [b * a ** (b - 1), a**b],
        real(a=(1, 2), b=(1, 2)),
    ),
    (
        "a derivative of a power",
        Derivative(a**b, a),
        b * a ** (b - 1),
        [a ** (b - 1), b * a**b],
        real(a=(1, 2), b=(1, 2)),
    ),
    (
        "a derivative at a point",
        Subs(Derivative(x**3, x), x, 2 * u),
        12 * u**2,
        [3 * u**2, 24 * u**2],
        real(u=(1, 2)),
    ),
    ("a derivative at an end", Derivative(sqrt(x), x), 1 / (2 * sqrt(x)), [2 / sqrt(x)], real(x=(0, 1))),
    ("a derivative at a kink", Derivative(Abs(x), x), None, [sign(x)], real(x=(-1, 1))),
    ("a derivative at a kink", Derivative(Max(x, 0) ** 2, x), None, [2 * x], real(x=(-1, 1))),
    ("a derivative at a step", Derivative(Heaviside(x), x), None, [sp.Integer(0)], real(x=(-1, 1))),
    ("a derivative on the simplex", Derivative(total(p[i]), p[q]), None, [sp.Integer(0)], SHARE),
    ("a hyperbolic derivative", Derivative(log(cosh(x)), x), tanh(x), [-tanh(x), sinh(x)], real(x=(-2, 2))),
    (
        "a Bessel recurrence",
        besseli(0, a) - besseli(2, a),
        2 * besseli(1, a) / a,
        [2 * besseli(1, a), besseli(1, a) / a],
        real(a=(1, 2)),
    ),
    # what SymPy's assumptions would say
    (
        "one of very many integers",
        KroneckerDelta(k, 400) + 0,
        None,
        [sp.Integer(0)],
        Domain({k: integers(0, 900)}),
    ),
    ("one of very many integers", sign(k - 1), None, [sp.Integer(1)], Domain({k: integers(0, 500)})),
    ("a power of zero", held(lambda: sp.Pow(0, u)), None, [sp.Integer(0)], real(u=(0, 1))),
]

TRUE = [
    Statement(kind, "=", left, right, domain) for kind, left, right, _, domain in EQUAL if right is not None
]
FALSE = [
    Statement(kind, "=", left, wrong, domain) for kind, left, _, slips, domain in EQUAL for wrong in slips
]

# Bounds that hold, and next to each the sharper ones that do not: (kind, relation, left, right, wrong ones).
BOUNDS: list[tuple[str, str, Any, Any, list[Any], Domain]] = [
    (
        "two terms of a series",
        ">=",
        exp(a),
        1 + a + a**2 / 2,
        [1 + a + a**2, 1 + a + a**2 / 2 + a**3 / 5],
        real(a=(Rational(1, 8), 3)),
    ),
    (
        "two terms of a series",
        ">=",
        log(1 + a),
        a - a**2 / 2,
        [a - a**2 / 3, a - a**2 / 2 + a**3 / 3],
        real(a=(Rational(1, 8), 3)),
    ),
    (
        "two terms of a series",
        "<=",
        log(1 + a),
        a - a**2 / 2 + a**3 / 3,
        [a - a**2 / 2, a - a**2 / 2 + a**3 / 4],
        real(a=(Rational(1, 8), 1)),
    ),
    (
        "a quotient below a logarithm",
        ">=",
        log(1 + a),
        a / (1 + a),
        [a / (1 + a / 3), 2 * a / (1 + a)],
        real(a=(Rational(1, 8), 3)),
    ),
    (
        "a tangent of a power",
        ">=",
        a**3,
        3 * a - 2,
        [3 * a - Rational(19, 10), 4 * a - 3],
        real(a=(Rational(1, 4), 2)),
    ),
    (
        "a mean of two",
        ">=",
        (a + b) / 2,
        sqrt(a * b),
        [sqrt(a * b) + Rational(1, 1000), sqrt((a**2 + b**2) / 2)],
        real(a=(1, 4), b=(1, 4)),
    ),
    (
        "a harmonic mean",
        "<=",
        2 * a * b / (a + b),
        sqrt(a * b),
        [a * b / (a + b), 2 * sqrt(a * b) - a],
        real(a=(1, 4), b=(1, 4)),
    ),
    (
        "a variance and a range",
        "<=",
        total(p[i] * s[i] ** 2) - mean**2,
        (MaxOver(s[i], (i, 1, n)) - MinOver(s[i], (i, 1, n))) ** 2 / 4,
        [(MaxOver(s[i], (i, 1, n)) - MinOver(s[i], (i, 1, n))) ** 2 / 5],
        LAW_LONG,
    ),
    (
        "a collision probability and a maximum",
        "<=",
        total(p[i] ** 2),
        MaxOver(p[i], (i, 1, n)),
        [MaxOver(p[i], (i, 1, n)) ** 2, MinOver(p[i], (i, 1, n))],
        LAW,
    ),
    (
        "an entropy and a collision",
        ">=",
        -total(p[i] * log(p[i])),
        -log(total(p[i] ** 2)),
        [-2 * log(total(p[i] ** 2)), 1 - log(total(p[i] ** 2))],
        LAW_LONG,
    ),
    (
        "powers of shares",
        "<=",
        total(p[i] ** 3),
        total(p[i] ** 2),
        [total(p[i] ** 4), total(p[i] ** 2) ** 2 - Rational(1, 1000)],
        LAW_LONG,
    ),
    ("a weight", "<=", exp(lam * s[q]) / Z, sp.Integer(1), [1 / n, HALF], EACH),
    (
        "log-sum-exp and a term",
        ">=",
        log(Z),
        lam * s[q],
        [lam * s[q] + log(n), lam * s[q] + Rational(1, 100)],
        EACH,
    ),
    ("a maximum and a term", ">=", MaxOver(s[i], (i, 1, n)), s[q], [s[q] + Rational(1, 100), -s[q]], EACH),
    (
        "a sum of moduli",
        ">=",
        total(Abs(s[i])),
        Abs(total(s[i])),
        [n * Abs(total(s[i])), Abs(total(s[i])) + Rational(1, 100)],
        LONG,
    ),
    (
        "a norm and a mean",
        "<=",
        total(y[i]) ** 2,
        n * total(y[i] ** 2),
        [(n - 1) * total(y[i] ** 2), total(y[i] ** 2)],
        Domain({n: ladder(2, 3, 5), y: (Rational(1, 4), 3)}),
    ),
    (
        "a ramp",
        "<=",
        Max(x + u, 0),
        Max(x, 0) + Max(u, 0),
        [Max(x, u, 0), Max(x, 0) + u],
        real(x=(-2, 2), u=(-2, 2)),
    ),
    (
        "a modulus and a square",
        "<=",
        2 * Abs(x),
        1 + x**2,
        [x**2 + Rational(99, 100), 1 + x**2 / 2],
        real(x=(-2, 2)),
    ),
    ("saturation", "<", tanh(x), sp.Integer(1), [Rational(99, 100)], real(x=(-4, 4))),
    ("a hyperbola", ">=", cosh(x), sp.Integer(1), [1 + x**2, Rational(101, 100)], real(x=(-2, 2))),
    (
        "a softplus",
        ">=",
        log(1 + exp(x)),
        Max(x, 0),
        [Max(x, 0) + Rational(1, 100), x + log(2)],
        real(x=(-8, 8)),
    ),
    ("numbers of pairs", "<=", n * (n - 1) / 2, n**2 / 2, [n**2 / 3, 4 * n], COUNTS),
    (
        "an arithmetic mean of numbers",
        ">=",
        (n + 1) / 2,
        sp.Integer(1),
        [sqrt(n) + Rational(1, 100), n / 2 + 1],
        COUNTS,
    ),
    ("a power of a size", ">=", 2**n, 1 + n, [n**2, 2 + n], COUNTS),
    (
        "at large n",
        "<=",
        log(n),
        n - 1,
        [log(1000), 2 * sqrt(n) - 2 + (sqrt(n) - 1) / 1000 - (n - 1) / 10**5],
        COUNTS,
    ),
    (
        "in two variables",
        ">=",
        x**2 + u**2,
        2 * x * u,
        [2 * x * u + tiny, Rational(21, 10) * x * u],
        real(x=(-2, 2), u=(-2, 2)),
    ),
    (
        "in three variables",
        ">=",
        x**2 + u**2 + v**2,
        x * u + u * v + v * x,
        [x * u + u * v + v * x + Rational(1, 10**6), x * u + u * v + 2 * v * x],
        real(x=(-2, 2), u=(-2, 2), v=(-2, 2)),
    ),
    (
        "a polynomial of degree four",
        ">=",
        x**4 + 1,
        x**3 + x,
        [x**3 + x + Rational(1, 10**7), 2 * x**3],
        real(x=(-2, 2)),
    ),
    (
        "a thin region",
        ">=",
        (a * b - 2) ** 2,
        sp.Integer(0),
        [Rational(1, 10**9), (a * b - 2) ** 4 + Rational(1, 10**9)],
        real(a=(1, 2), b=(1, 2)),
    ),
    (
        "far-spread scores",
        ">=",
        log(Z) - lam * MaxOver(s[i], (i, 1, n)),
        sp.Integer(0),
        [Rational(1, 10**6), log(n) / 10**3],
        Domain({n: ladder(2, 3), s: (-20, 20), lam: (1, 200)}),
    ),
    (
        "far-spread scores",
        ">",
        exp(lam * s[q]) / Z,
        sp.Integer(0),
        [Rational(1, 10**30)],
        Domain({n: ladder(2, 3), s: (-20, 20), lam: (1, 9)}, each=(q,)),
    ),
    (
        "a hypothesis",
        "<=",
        exp(-b),
        exp(-a),
        [exp(-a) / 2, exp(-2 * a)],
        Domain({a: (1, 2), b: (1, 2)}, where=(a <= b,)),
    ),
    (
        "a hypothesis",
        ">",
        a - b,
        sp.Integer(0),
        [Rational(1, 10**6)],
        Domain({a: (1, 2), b: (1, 2)}, where=(a > b,)),
    ),
    (
        "a hypothesis with ties",
        ">=",
        a - b,
        sp.Integer(0),
        [(a - b) ** 2 + Rational(1, 10)],
        Domain({a: (1, 2), b: (1, 2)}, where=(a >= b,)),
    ),
]
TRUE += [Statement(kind, rel, left, right, domain) for kind, rel, left, right, _, domain in BOUNDS]
FALSE += [
    Statement(kind, rel, left, wrong, domain)
    for kind, rel, left, _, slips, domain in BOUNDS
    for wrong in slips
]

# Where a hypothesis holds nowhere, anything would follow.
_NOWHERE = [
    Domain({x: (1, 2), u: (0, 1)}, where=(x > 3,)),
    Domain({x: (-1, 1), u: (0, 1)}, where=(x > 0, x < 0)),
    Domain({x: (-1, 1), u: (-1, 1)}, where=(x > u, u > x)),
    Domain({x: (-1, 1), u: (-1, 1)}, where=(x**2 + u**2 < x * u - 1,)),
    Domain({x: (-1, 1), u: (0, 1)}, where=(sp.Ne(x, x, evaluate=False),)),
]
FALSE += [
    Statement("a vacuous domain", relation, left, right, domain)
    for domain in _NOWHERE
    for relation, left, right in ((">", x, sp.Integer(7)), ("=", Abs(x - u), u - x), ("<", x**3, -3 + 0 * x))
]
FALSE += [
    Statement("a vacuous domain", "<", a, sp.Integer(0), Domain({a: (1, 2)}, where=(exp(a) < 1,))),
    Statement("a declaration and a range", "<", minus, sp.Integer(0), Domain({minus: (1, 2)})),
    Statement("a declaration and a range", "=", sqrt(plus**2), plus + 1, Domain({plus: (1, 2)})),
]
