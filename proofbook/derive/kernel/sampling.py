"""Values of normal forms at random points, to drop false goals before any work is spent on them.

Nothing is proved here: a goal that fails at a point is not pursued, one that passes has still to be proved.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from proofbook.derive.kernel.algebra import Atom, Mono, Poly, as_mono, as_poly, as_tuple, walk
from proofbook.derive.kernel.context import WANTED, Context, Interval

POINTS = 20
SIZES = (2, 1, 3, 5)
FAR = 3  # of ranges without an end, how much wider every third point is drawn


class NoValue(Exception):
    """A form has no value that floating point can give."""


@dataclass
class Point:
    """One point of a domain; what is not drawn yet is drawn when it is asked for.

    Some are ``far`` out or at the ends of their ranges, and some have vectors with ``tied`` entries: false
    goals often hold everywhere else.
    """

    ctx: Context
    rng: random.Random
    size: int
    far: bool = False
    tied: bool = False
    values: dict[Atom, float] = field(default_factory=dict)
    rows: dict[str, list[float]] = field(default_factory=dict)

    def poly(self, p: Poly, bound: dict[Atom, int]) -> float:
        return math.fsum(float(c) * self.mono(m, bound) for m, c in p.terms.items())

    def mono(self, mono: Mono, bound: dict[Atom, int]) -> float:
        product = 1.0
        for atom, e in mono:
            value = self.atom(atom, bound)
            if e.denominator > 1 and value < 0 or e < 0 and value == 0:
                raise NoValue
            product *= value ** (int(e) if e.denominator == 1 else float(e))
        return product

    def atom(self, atom: Atom, bound: dict[Atom, int]) -> float:
        kind, args = atom.kind, atom.args
        if atom in bound:
            return bound[atom]
        if kind in ("sym", "var", "idx"):
            if atom not in self.values:
                self.values[atom] = self._draw(atom)
            return self.values[atom]
        if kind == "entry":
            place = round(self.poly(as_poly(args[1]), bound))
            if not 1 <= place <= self.size:
                raise NoValue
            return self._row(str(args[0]))[place - 1]
        if kind == "exp":
            return math.exp(self.mono(as_mono(args[0]), bound))
        if kind in ("sum", "extremum"):
            return self._over(atom, bound)
        if kind == "prime":
            return float(str(args[0]))
        if kind == "const":
            return math.pi
        if kind == "max":
            return max(self.poly(as_poly(a), bound) for a in args)
        if kind == "fn" and args[0] in ("erf", "sin", "cos"):
            function: Callable[[float], float] = getattr(math, str(args[0]))
            return function(self.poly(as_poly(as_tuple(args[1])[0]), bound))
        if kind in ("log", "group", "abs", "sign", "step"):
            inner = self.poly(as_poly(args[0]), bound)
            if kind == "log":
                if inner <= 0:
                    raise NoValue
                return math.log(inner)
            signum = math.copysign(1.0, inner)
            return {"group": inner, "abs": abs(inner), "sign": signum, "step": float(inner > 0)}[kind]
        raise NoValue

    def _over(self, atom: Atom, bound: dict[Atom, int]) -> float:
        level = atom.args[2]
        highs = as_tuple(atom.args[0]) if atom.kind == "sum" else (atom.args[0],)
        ends = [round(self.poly(as_poly(h), bound)) for h in highs]
        if math.prod(ends) > 200:
            raise NoValue
        values, places = [], [1] * len(ends)
        for count in range(math.prod(ends)):
            for k, end in enumerate(ends):
                places[k], count = count % end + 1, count // end
            inner = {**bound, **{Atom("bound", level, k): place for k, place in enumerate(places)}}
            body = atom.args[1]
            values.append(
                self.mono(body, inner) if isinstance(body, Mono) else self.poly(as_poly(body), inner)
            )
        return math.fsum(values) if atom.kind == "sum" else max(values)

    def _draw(self, atom: Atom) -> float:
        if atom == self.ctx.size:
            return self.size
        if atom in self.ctx.inside:
            return self.rng.randint(1, self.size)
        value = self._between(self.ctx.interval(atom))
        return float(round(value)) if atom in self.ctx.whole else value

    def _row(self, base: str) -> list[float]:
        if base not in self.rows:
            bounds = self.ctx.entries.get(base, Interval())
            row = [self._between(bounds) for _ in range(self.size)]
            if base in self.ctx.simplex:
                row = [-math.log(self.rng.random()) for _ in range(self.size)]
                row = [w / math.fsum(row) for w in row]
            if self.tied:
                row = [math.fsum(row) / self.size] * self.size
            self.rows[base] = row
        return self.rows[base]

    def _between(self, bounds: Interval) -> float:
        low, high, wide = bounds.low, bounds.high, FAR if self.far else 1
        if low is not None and high is not None:
            share = self.rng.random()
            if self.far:
                # an end that belongs to the range, or close to one that does not
                share = float(share > 0.5)
                share += 1e-3 * bounds.low_strict * (1 - share) - 1e-3 * bounds.high_strict * share
            return float(low) + share * (float(high) - float(low))
        if low is not None:
            return float(low) + math.exp(self.rng.gauss(0, wide))
        if high is not None:
            return float(high) - math.exp(self.rng.gauss(0, wide))
        return self.rng.gauss(0, 1.5 * wide)


def points(ctx: Context) -> list[Point]:
    """Random points at which the hypotheses hold, always the same ones for the same facts."""
    rng, found = random.Random(1), []
    for k in range(40 * POINTS):
        size = SIZES[(k // 3) % len(SIZES)] if ctx.size is not None else 0
        point = Point(ctx, rng, size, far=k % 3 == 2, tied=k % 5 == 4)
        if ctx.size is not None:
            low = ctx.interval(ctx.size).low
            point.size = max(point.size, math.ceil(low) if low is not None else 1)
        try:
            if all(_holds(point.poly(h, {}), r) for h, r in ctx.hypotheses):
                found.append(point)
        except (NoValue, OverflowError, ValueError, ZeroDivisionError):
            continue
        if len(found) == POINTS:
            break
    return found


def _holds(value: float, relation: str) -> bool:
    return ((value > 0) - (value < 0)) in WANTED[relation]


def fails_somewhere(sample: list[Point], p: Poly, strict: bool = False) -> bool:
    """Whether ``p`` is clearly negative at one of the points; if it is to be positive, whether it is zero.

    Zeros are looked for where entries are tied or there is one entry only: there most bounds are met.
    """
    if any(a.kind == "free" for a in walk(p)):
        return False
    for point in sample:
        try:
            value = point.poly(p, {})
            scale = math.fsum(abs(float(c) * point.mono(m, {})) for m, c in p.terms.items())
        except (NoValue, OverflowError, ValueError, ZeroDivisionError):
            continue
        met = strict and point.ctx.size is not None and (point.tied or point.size == 1)
        if value < -1e-9 * scale or met and value <= 1e-12 * scale:
            return True
    return False
