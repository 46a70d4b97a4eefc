"""Functions beyond the elementary ones: what is known of them here, each with its reason.

The digamma function is the derivative of log Gamma, so Gamma'(x) = Gamma(x) digamma(x) for x > 0; taking
logarithms in Gamma(x) = (x - 1) Gamma(x - 1) and differentiating gives
digamma(x) = digamma(x - 1) + 1/(x - 1) for x > 1.
"""

from __future__ import annotations

from fractions import Fraction

from proofbook.derive.kernel.algebra import Poly, constant
from proofbook.derive.kernel.context import POSITIVE, Context
from proofbook.derive.kernel.forms import function, power

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
