"""Integrals between two finite ends, by the fundamental theorem of calculus.

The integrand is read for every y of the closed interval between the ends, so what it needs (a denominator
that is not zero, a positive base) is proved there, ends included: it is continuous, and has no singularity
between them. A function F is proposed term by term, its derivative is taken by the rules of ``calculus.py``
and must be the integrand. Then the integral is F(high) - F(low), whichever end is the larger one.

y^k with k != -1 comes from y^(k+1) / (k+1), and 1/y from log y. A k for which k + 1 may be 0 is no case of
the first, so k + 1 != 0 is a condition, to be proved; ``equality.py`` treats the case k + 1 = 0 apart.
"""

from __future__ import annotations

from fractions import Fraction

from proofbook.derive.kernel.algebra import Atom, Mono, Poly, constant, monomial, poly
from proofbook.derive.kernel.calculus import differentiate
from proofbook.derive.kernel.context import NONNEGATIVE, NONPOSITIVE, POSITIVE, UNBOUNDED, Context, Interval
from proofbook.derive.kernel.errors import NotProved
from proofbook.derive.kernel.forms import is_zero, logarithm, power, real_power, substitute, tidy
from proofbook.derive.kernel.integrals import taken_apart, without_log


def between(ctx: Context, low: Poly, high: Poly) -> Interval:
    """Bounds of everything from ``low`` to ``high`` or from ``high`` to ``low``, both included."""
    a, b = low.number, high.number
    if a is not None and b is not None:
        return Interval(min(a, b), max(a, b))
    signs = ctx.sign(low) | ctx.sign(high)
    if signs <= NONNEGATIVE:
        return Interval(Fraction(0), None, signs == POSITIVE)
    return Interval(None, Fraction(0), False, 0 not in signs) if signs <= NONPOSITIVE else UNBOUNDED


def integral(ctx: Context, y: Atom, integrand: Poly, low: Poly, high: Poly) -> Poly:
    """The integral of a sum of powers of ``y``, which has the bounds above, from ``low`` to ``high``."""
    total = constant(0)
    for mono, c in tidy(ctx, integrand).terms.items():
        primitive = _primitive(ctx, y, mono)
        if not is_zero(ctx, differentiate(ctx, primitive, y) - Poly({mono: Fraction(1)})):
            raise NotProved("the derivative of what was proposed is not the integrand")
        ends = substitute(ctx, primitive, {y: high}) - substitute(ctx, primitive, {y: low})
        total = total + ends.scaled(c)
    return total


def _primitive(ctx: Context, y: Atom, mono: Mono) -> Poly:
    """A function whose derivative should be ``mono``."""
    free, k, exponent = taken_apart(mono, y)
    degree = constant(k)
    for m, d in exponent.terms.items():
        factor = without_log(m, y)
        if factor is None:
            raise NotProved("no rule integrates this over a bounded interval")
        degree = degree + Poly({factor: d})
    next_degree = tidy(ctx, degree + constant(1))
    if not next_degree:
        return monomial(free) * logarithm(ctx, poly(y), typed=False)
    ctx.need(next_degree, "!=", "the power is not the one that integrates to a logarithm", typed=False)
    raised = real_power(ctx, poly(y), next_degree)
    return monomial(free) * raised * power(ctx, next_degree, Fraction(-1), typed=False)
