"""Step functions: step(p) is 1 where p > 0 and 0 elsewhere.

With a number h for the value at 0, Heaviside's function is (1 - h) step(x) + h (1 - step(-x)): for x > 0 it
is 1 - h + h, for x < 0 it is 0 + 0, and at 0 it is 0 + h. An atom ``step`` is 0 or 1, so its positive powers
are itself. It is not continuous: nothing differentiates it.
"""

from __future__ import annotations

from fractions import Fraction

from proofbook.derive.kernel.algebra import Atom, Poly, constant, poly
from proofbook.derive.kernel.context import NONPOSITIVE, POSITIVE, Context


def step(ctx: Context, p: Poly) -> Poly:
    """1 where ``p`` is positive, 0 elsewhere; a constant where the sign is known."""
    sign = ctx.sign(p)
    if sign == POSITIVE:
        return constant(1)
    if sign <= NONPOSITIVE:
        return constant(0)
    return poly(Atom("step", p))


def heaviside(ctx: Context, p: Poly, at_zero: Fraction) -> Poly:
    """Heaviside's function with the value ``at_zero`` at 0."""
    below = constant(1) - step(ctx, -p)
    return step(ctx, p).scaled(1 - at_zero) + below.scaled(at_zero)
