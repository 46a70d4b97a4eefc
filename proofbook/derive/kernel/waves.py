"""Taylor's bounds of the cosine and the sine, as instances over the atoms of one inequality."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from proofbook.derive.kernel.algebra import Poly, as_poly, as_tuple, constant, poly
from proofbook.derive.kernel.context import NONNEGATIVE, NONPOSITIVE, Context


def wave_bounds(ctx: Context, goal: Poly) -> Iterator[tuple[Poly, str, str]]:
    """1 - x^2/2 <= cos x <= 1 - x^2/2 + x^4/24 for real x, and x - x^3/6 <= sin x <= x for x >= 0.

    From cos t <= 1: integrated from 0 to x >= 0, sin x <= x; again, 1 - cos x <= x^2/2; again, x - sin x <=
    x^3/6; again, x^2/2 - 1 + cos x <= x^4/24. The cosine is even and the sine odd, so for x <= 0 the bounds
    of the cosine are the same and those of the sine change places. That both lie in [-1, 1] is known, too.
    """
    for atom in sorted((a for a in goal.atoms() if a.kind == "fn"), key=lambda a: a.key):
        name, orders = atom.args[0], as_tuple(atom.args[2])
        if name not in ("cos", "sin") or any(orders):
            continue
        value, x = poly(atom), as_poly(as_tuple(atom.args[1])[0])
        yield constant(1) - value, ">=", f"{name} x <= 1"
        yield constant(1) + value, ">=", f"{name} x >= -1"
        square = x * x
        if name == "cos":
            second = constant(1) - square.scaled(Fraction(1, 2))
            yield value - second, ">=", "cos x >= 1 - x^2/2"
            yield (
                second + (square * square).scaled(Fraction(1, 24)) - value,
                ">=",
                "cos x <= 1 - x^2/2 + x^4/24",
            )
            continue
        sign = ctx.sign(x)
        for turn, known in ((1, NONNEGATIVE), (-1, NONPOSITIVE)):
            if sign <= known:
                yield (x - value).scaled(turn), ">=", "sin x <= x for x >= 0"
                third = x - (square * x).scaled(Fraction(1, 6))
                yield (value - third).scaled(turn), ">=", "sin x >= x - x^3/6 for x >= 0"
