"""Normal forms in ball arithmetic: rigorous enclosures by Arb (python-flint), and covers of intervals.

A ball holds every value that a form takes on the box it was given. What may have no value somewhere on the
box (the logarithm of a ball that holds 0, a root of one that holds negative numbers) becomes a ball that is
not finite, which decides nothing. So what is certain of a finite ball is true of the form.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from proofbook.derive.engines import flint, lacking
from proofbook.derive.kernel.algebra import Atom, Mono, Poly, as_mono, as_poly, as_tuple, walk

BITS = 128
MOST_BOXES = 1500  # of one cover
MOST_ROOT = 2**32
VARIABLES = ("sym", "var", "free", "idx", "bound", "entry")

Box = Mapping[Atom, "flint.arb"]


def number(value: Fraction) -> flint.arb:
    """A ball that holds a rational number."""
    return flint.arb(flint.fmpq(value.numerator, value.denominator))


def between(low: Fraction, high: Fraction) -> flint.arb:
    """A ball that holds every number from ``low`` to ``high``: it holds both ends, and a ball has no gaps."""
    return number(low).union(number(high))


def enclosure(p: Poly, box: Box) -> flint.arb:
    """A ball that holds all values of ``p`` on ``box``; without finite ends where no rule gives one."""
    return _Evaluation(box).poly(p)


def positive(ball: flint.arb) -> bool:
    """Whether every number in a ball is positive, and finite."""
    return bool(ball.is_finite() and ball > 0)


def sign_of_constant(p: Poly) -> int | None:
    """The sign of a form without variables; None if it is too close to zero to tell, or has no rule."""
    if any(a.kind in VARIABLES for a in walk(p)):
        return None
    if lacking("python-flint"):
        return None
    before, flint.ctx.prec = flint.ctx.prec, BITS
    try:
        value = enclosure(p, {})
    finally:
        flint.ctx.prec = before
    if value.is_zero():
        return 0  # the ball holds nothing else
    return 1 if positive(value) else -1 if positive(-value) else None


def positive_on(p: Poly, slope: Poly | None, variable: Atom, low: Fraction, high: Fraction) -> int | None:
    """How many boxes show that ``p > 0`` for ``low <= variable <= high``; None if the budget does not.

    The interval is halved until every part is settled, so the parts cover it by construction. On a part X
    with a point m in it, p lies in the ball of p over X, and, if p is differentiable between the ends of X
    with derivative ``slope``, in p(m) + slope(X) (X - m) (mean value theorem). Either may show that it is
    positive.
    """
    if lacking("python-flint"):
        return None
    before, flint.ctx.prec = flint.ctx.prec, BITS
    try:
        return _cover(p, slope, variable, low, high)
    finally:
        flint.ctx.prec = before


def _cover(p: Poly, slope: Poly | None, variable: Atom, low: Fraction, high: Fraction) -> int | None:
    todo, boxes = [(low, high)], 0
    while todo:
        boxes += 1
        a, b = todo.pop()
        if boxes + len(todo) > MOST_BOXES:
            return None
        part, middle = between(a, b), (a + b) / 2
        if positive(enclosure(p, {variable: part})):
            continue
        centre = enclosure(p, {variable: number(middle)})
        if not positive(centre):
            return None  # at the middle it is not positive, or too close to zero to tell
        if slope is not None:
            turn = enclosure(slope, {variable: part}) * (part - number(middle))
            if positive(centre + turn):
                continue
        todo += [(middle, b), (a, middle)]
    return boxes


class _Evaluation:
    """Balls for the atoms of a form, each computed once."""

    def __init__(self, box: Box):
        self.known = dict(box)

    def poly(self, p: Poly) -> flint.arb:
        total = flint.arb(0)
        for mono, c in p.terms.items():
            total += self.mono(mono) * number(c)
        return total

    def mono(self, mono: Mono) -> flint.arb:
        product = flint.arb(1)
        for atom, e in mono:
            product *= _power(self.atom(atom), e)
        return product

    def atom(self, atom: Atom) -> flint.arb:
        if atom not in self.known:
            self.known[atom] = self._value(atom)
        return self.known[atom]

    def _value(self, atom: Atom) -> flint.arb:
        kind, args = atom.kind, atom.args
        if kind == "exp":
            return self.mono(as_mono(args[0])).exp()
        if kind == "prime":
            return flint.arb(int(str(args[0])))
        if kind == "const" and args[0] == "pi":
            return flint.arb.pi()
        if kind == "fn" and not any(as_tuple(args[2])):
            inner = [self.poly(as_poly(a)) for a in as_tuple(args[1])]
            if args[0] in _FUNCTIONS and len(inner) == 1:
                value: flint.arb = getattr(inner[0], str(args[0]))()
                return value
        if kind in ("log", "group", "abs"):
            inside = self.poly(as_poly(args[0]))
            return inside if kind == "group" else inside.log() if kind == "log" else abs(inside)
        return flint.arb.nan()


# names of the kernel's functions that Arb has by the same name, each real and continuous on the whole line
_FUNCTIONS = ("sin", "cos", "erf")


def _power(base: flint.arb, exponent: Fraction) -> flint.arb:
    """A rational power: of any base if it is whole, of one that is not negative otherwise."""
    if exponent.denominator == 1:
        return base ** int(exponent)
    if exponent.denominator > MOST_ROOT:
        return flint.arb.nan()  # beyond what Arb takes
    return base.root(exponent.denominator) ** exponent.numerator if base >= 0 else flint.arb.nan()
