"""Functions beyond the elementary ones: what is known of them here, each with its reason.

The digamma function is the derivative of log Gamma, so Gamma'(x) = Gamma(x) digamma(x) for x > 0; taking
logarithms in Gamma(x) = (x - 1) Gamma(x - 1) and differentiating gives
digamma(x) = digamma(x - 1) + 1/(x - 1) for x > 1.
"""

from __future__ import annotations

from fractions import Fraction

from proofbook.derive.kernel.algebra import Atom, Poly, constant, poly
from proofbook.derive.kernel.context import POSITIVE, Context
from proofbook.derive.kernel.forms import bessel, function, power, real_power, tidy
from proofbook.derive.kernel.integrals import gamma

MOST_LOWERED = 20


def digamma(ctx: Context, x: Poly) -> Poly:
    """The digamma function at x > 0, by its recurrence at an argument that is as small as is known."""
    total = constant(0)
    for _ in range(MOST_LOWERED):
        lower = x - constant(1)
        if ctx.sign(lower) != POSITIVE:
            break
        total, x = total + power(ctx, lower, Fraction(-1), typed=False), lower
    return total + function("digamma", (x,))


def poisson_integral(ctx: Context, scale: Poly, degree: Poly) -> Poly:
    """The integral of e^(x cos t) sin(t)^m over t from 0 to pi, for x > 0 and m >= 0 (DLMF 10.32.2).

    It is sqrt(pi) Gamma(v + 1/2) (2/x)^v I_v(x) with v = m/2. For e^(x cos t) is the sum of
    x^k cos(t)^k / k!, uniformly in t, so the integral may be taken term by term. Odd k give 0, by t to
    pi - t. For k = 2j the integral of cos^(2j) sin^m is Beta(j + 1/2, v + 1/2), which is
    Gamma(j + 1/2) Gamma(v + 1/2) / Gamma(j + v + 1), and Gamma(j + 1/2) / (2j)! = sqrt(pi) / (4^j j!).
    What is left is the series of I_v: the sum of (x/2)^(2j + v) / (j! Gamma(j + v + 1)).
    """
    ctx.need(scale, ">", "the argument of a Bessel function is positive", typed=False)
    ctx.need(degree, ">=", "the sine is to a power that is not negative", typed=False)
    order = tidy(ctx, degree.scaled(Fraction(1, 2)))
    root = power(ctx, poly(Atom("const", "pi")), Fraction(1, 2), typed=False)
    front = real_power(ctx, power(ctx, scale, Fraction(-1), typed=False).scaled(2), order)
    return root * gamma(ctx, order + constant(Fraction(1, 2))) * front * bessel(ctx, order, scale)
