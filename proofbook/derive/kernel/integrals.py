"""Two families of integrals, by their closed forms: Gaussian moments, and Gamma integrals on the half-line.

Everything is proved before a formula is used: the integrand is a sum of terms of the family, and the
constants that make each term converge have the sign that they need. Where one term has no rule the integral
is not read at all.
"""

from __future__ import annotations

from fractions import Fraction
from math import comb

from proofbook.derive.kernel.algebra import (
    Atom,
    Mono,
    Poly,
    as_mono,
    as_poly,
    constant,
    contains,
    monomial,
    poly,
    unexpanded,
)
from proofbook.derive.kernel.context import POSITIVE, Context
from proofbook.derive.kernel.errors import NotProved
from proofbook.derive.kernel.forms import exponential, function, logarithm, odd, power, tidy

MOST_MOMENT = 12


def gaussian(ctx: Context, x: Atom, integrand: Poly, low: Poly | None, high: Poly | None) -> Poly:
    """The integral of polynomials times e^(-A x^2 + B x + C), A > 0; None is an infinite end.

    With w = x - B/2A the exponent is -A w^2 + B^2/4A + C. The moments of e^(-A w^2) follow by parts from the
    first two; over the whole line the odd ones vanish.
    """
    total = constant(0)
    for mono, c in tidy(ctx, integrand).terms.items():
        free, k, exponent = taken_apart(mono, x)
        if k.denominator != 1 or not 0 <= k <= MOST_MOMENT:
            raise NotProved("the integrand is no polynomial times an exponential")
        quadratic = [constant(0), constant(0), constant(0)]
        for m, d in exponent.terms.items():
            degree = dict(m.powers).get(x, Fraction(0))
            rest = Mono(p for p in m if p[0] != x)
            if degree not in (0, 1, 2) or contains(rest, x):
                raise NotProved("the exponent of the integrand is not quadratic")
            quadratic[int(degree)] = quadratic[int(degree)] + Poly({rest: d})
        a, b = tidy(ctx, -quadratic[2]), quadratic[1]
        if ctx.sign(a) != POSITIVE:
            raise NotProved(f"not shown: {a} > 0 (the integral converges)")
        inverse = power(ctx, a, Fraction(-1), typed=False)
        centre = (b * inverse).scaled(Fraction(1, 2))
        front = exponential(ctx, tidy(ctx, quadratic[0] + (b * b * inverse).scaled(Fraction(1, 4))))
        moments = constant(0)
        for j in range(int(k) + 1):
            shifted = centre.raised(int(k) - j).scaled(comb(int(k), j))
            moments = moments + shifted * _moment(ctx, j, a, centre, low, high)
        total = total + monomial(free, c) * front * moments
    return total


def _moment(ctx: Context, j: int, a: Poly, centre: Poly, low: Poly | None, high: Poly | None) -> Poly:
    """The integral of w^j e^(-a w^2) between the ends, which are given for w + centre."""
    if low is None and high is None:
        if j % 2:
            return constant(0)
        half_inverse = power(ctx, a.scaled(2), Fraction(-1), typed=False)
        double_factorial = 1
        for odd_number in range(1, j, 2):
            double_factorial *= odd_number
        return _whole(ctx, a) * half_inverse.raised(j // 2).scaled(double_factorial)
    if low is None:
        return _moment(ctx, j, a, centre, None, None) - _moment(ctx, j, a, centre, high, None)
    if high is not None:
        return _moment(ctx, j, a, centre, low, None) - _moment(ctx, j, a, centre, high, None)
    start = tidy(ctx, low - centre)
    if j == 0:
        root = power(ctx, a, Fraction(1, 2), typed=False)
        return (_whole(ctx, a) * (constant(1) - odd("erf", tidy(ctx, root * start)))).scaled(Fraction(1, 2))
    half_inverse = power(ctx, a.scaled(2), Fraction(-1), typed=False)
    edge = start.raised(j - 1) * exponential(ctx, -(a * start * start)) * half_inverse
    if j == 1:
        return edge
    return edge + half_inverse.scaled(j - 1) * _moment(ctx, j - 2, a, centre, low, None)


def _whole(ctx: Context, a: Poly) -> Poly:
    return power(
        ctx, poly(Atom("const", "pi")) * power(ctx, a, Fraction(-1), typed=False), Fraction(1, 2), typed=False
    )


def gamma_integral(ctx: Context, x: Atom, integrand: Poly) -> Poly:
    """The integral from 0 to infinity of x^(s-1) e^(-a x^b) is Gamma(s/b) / (b a^(s/b)), for a, b, s > 0."""
    total = constant(0)
    for mono, c in tidy(ctx, integrand).terms.items():
        free, k, exponent = taken_apart(mono, x)
        order = constant(k + 1)
        kept, inside = constant(0), constant(0)
        for m, d in exponent.terms.items():
            log_free = without_log(m, x)
            if log_free is not None:
                order = order + Poly({log_free: d})
            elif contains(m, x):
                inside = inside + Poly({m: d})
            else:
                kept = kept + Poly({m: d})
        if len(inside.terms) != 1:
            raise NotProved("the integrand is no power times one exponential")
        ((m, d),) = inside.terms.items()
        outside, degree, power_exponent = taken_apart(m, x)
        b = constant(degree)
        for n, e in power_exponent.terms.items():
            log_free = without_log(n, x)
            if log_free is None:
                raise NotProved("the exponent of the integrand is no power")
            b = b + Poly({log_free: e})
        a, order = monomial(outside, -d), tidy(ctx, order)
        for value in (a, b, order):
            if ctx.sign(value) != POSITIVE:
                raise NotProved(f"not shown: {value} > 0 (the integral converges)")
        s = tidy(ctx, order * power(ctx, b, Fraction(-1), typed=False))
        scale = exponential(ctx, -(s * logarithm(ctx, a, False))) * power(ctx, b, Fraction(-1), typed=False)
        total = total + monomial(free, c) * exponential(ctx, kept) * scale * gamma(ctx, s)
    return total


def gamma(ctx: Context, x: Poly) -> Poly:
    """Gamma(x) for x > 0, with Gamma(x) = (x - 1) Gamma(x - 1) where x > 1, and Gamma(1) = 1."""
    factor = constant(1)
    for _ in range(20):
        lower = x - constant(1)
        if ctx.sign(lower) != POSITIVE:
            break
        factor, x = factor * lower, lower
    return factor if x == constant(1) else factor * function("gamma", (x,))


def taken_apart(mono: Mono, x: Atom) -> tuple[Mono, Fraction, Poly]:
    """A monomial as a part free of x, a power of x, and e to an exponent that holds x."""
    free, k, exponent = [], Fraction(0), constant(0)
    for atom, e in mono:
        if not contains(atom, x):
            free.append((atom, e))
        elif atom == x:
            k = e
        elif atom.kind == "exp":
            exponent = exponent + monomial(as_mono(atom.args[0]), e)
        else:
            raise NotProved(f"no rule integrates {atom.kind}")
    return Mono(free), k, exponent


def without_log(mono: Mono, x: Atom) -> Mono | None:
    """The rest of a monomial that is log x times something free of x; None if it is not."""
    logs = [a for a, e in mono if a.kind == "log" and e == 1 and as_poly(a.args[0]).atom == x]
    if len(logs) != 1:
        return None
    rest = unexpanded(Poly({mono: Fraction(1)}), Mono([(logs[0], Fraction(-1))]))
    ((without, _),) = rest.terms.items()
    return None if contains(without, x) else without
