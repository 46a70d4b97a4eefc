"""Moments of a normal density cut off at 0: M_k(r), the integral of x^k e^(-(x - r)^2 / 2) over x > 0.

Each is a form in r, e^(-r^2/2) and erf(r / sqrt 2), whose sign cannot be read off: for r < 0 it is a small
difference. But x^k times the density is positive, so M_k > 0. And for whole numbers a < b <= c < d with
a + d = b + c,

    2 (M_a M_d - M_b M_c) = integral over x, y > 0 of
        (x^a y^d + x^d y^a - x^b y^c - x^c y^b) times both densities,

by Fubini, all of it absolutely convergent, and by exchanging x and y. The bracket is
(x y)^a (x^(b-a) - y^(b-a)) (x^(c-a) - y^(c-a)): both differences have the sign of x - y, so it is positive
but for x = y, which has no area. So M_a M_d > M_b M_c.
"""

from __future__ import annotations

from fractions import Fraction

from proofbook.derive.kernel.algebra import Poly, constant, monomial, poly, without_common
from proofbook.derive.kernel.context import POSITIVE, Context, Interval
from proofbook.derive.kernel.forms import exponential, power, tidy
from proofbook.derive.kernel.integrals import gaussian

MOST = 4


def know_moments(ctx: Context, w: Poly) -> None:
    """Add the signs of the moments that erf(w) enters, with w = r / sqrt 2, and of those with -r for r."""
    root = power(ctx, constant(2), Fraction(1, 2), typed=False)
    x = ctx.fresh("var")
    ctx.scalars[x] = Interval(Fraction(0), None)
    for r in (tidy(ctx, root * w), tidy(ctx, -(root * w))):
        distance = poly(x) - r
        density = exponential(ctx, (distance * distance).scaled(Fraction(-1, 2)))
        moment = [gaussian(ctx, x, poly(x, k) * density, constant(0), None) for k in range(MOST + 1)]
        found = list(moment)
        for a in range(MOST):
            for d in range(a + 2, MOST + 1):
                for b in range(a + 1, (a + d) // 2 + 1):
                    found.append(moment[a] * moment[d] - moment[b] * moment[a + d - b])
        # a root of 2 is no common factor once it has met another: both ways to write the form are kept
        for form in [*found, *(form * root for form in found)]:
            outer, core = without_common(tidy(ctx, form))
            if ctx.sign(monomial(outer)) == POSITIVE and (core, POSITIVE) not in ctx.signed:
                ctx.signed.append((core, POSITIVE))
    ctx.forget()
