"""Inequalities in one real variable, all others fixed: a base point, and the sign of the slope on both sides.

Let p be continuous from the base point b to x and differentiable strictly between them. If p' >= 0 there and
x > b, or p' <= 0 there and x < b, then p(x) >= p(b), by the mean value theorem; if the slope has its sign
strictly, p(x) > p(b). So p >= 0 on an interval that holds b if p(b) >= 0 and the slope has these signs on
either side of it, as far as the interval goes; and b may lie beyond the interval's ends, if all of this is
shown from b on.

Where p has no value at b: let p be differentiable on (b, x] with p' >= 0, and p(y) >= -c (y - b) for y near
b. Then p(x) >= p(y) for all y between them, and p(y) is as little below 0 as one likes: p(x) >= 0. The same
on the left, with signs turned.

The facts used on the way are those of the whole interval between the base point and the end of the range;
relations that tie the variable are dropped, since they need not hold on the way.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction
from typing import Protocol

from proofbook.derive.kernel.algebra import Atom, Mono, Poly, as_tuple, constant, contains, poly, walk
from proofbook.derive.kernel.calculus import differentiate
from proofbook.derive.kernel.context import POSITIVE, WANTED, Context, Interval
from proofbook.derive.kernel.errors import NotProved
from proofbook.derive.kernel.forms import open_sum, substitute

DEEPEST_SLOPE = 3
NEAR = Fraction(1, 2)  # how far from the base point a limit is looked at
STEEPEST = (Fraction(1), Fraction(4))  # the constants c that are tried
ENTIRE = ("erf", "sin", "cos")  # functions that are smooth on the whole line


class Search(Protocol):
    """The search for a proof that asks for a move here; ``inequality.Search`` is one."""

    trail: list[tuple[str, str]]
    sloping: bool
    whole: Poly | None

    def shown(self, ctx: Context, p: Poly, strict: bool, depth: int) -> bool:
        """Whether ``p >= 0`` (``> 0`` if strict) is proved."""
        ...


def by_slope(search: Search, ctx: Context, p: Poly, strict: bool, depth: int) -> bool:
    """p >= 0 (p > 0 if strict) from a base point on, in one of the symbols.

    Base points inside the range, and a goal with its denominators, are tried for the statement itself and for
    the slopes that it leads to; after other moves only a base point at or below the range is.
    """
    if depth > DEEPEST_SLOPE:
        return False
    wide = depth == 1 or search.sloping
    forms = [search.whole, p] if wide and search.whole not in (None, p) else [p]
    symbols = sorted({a for a in walk(p) if a.kind == "sym" and a not in ctx.whole}, key=lambda a: a.key)
    before = search.sloping
    try:
        for symbol in symbols:
            known = ctx.interval(symbol)
            ends = (known.low, known.high) if wide else (known.low,)
            for form, base in itertools.product(forms, dict.fromkeys((Fraction(0), Fraction(1), *ends))):
                if form is None or base is None or not wide and (known.low is None or base > known.low):
                    continue
                mark, search.sloping = len(search.trail), wide
                try:
                    if _from_base(search, ctx, form, symbol, base, strict, depth):
                        return True
                except NotProved:
                    pass
                del search.trail[mark:]
    finally:
        search.sloping = before
    return False


def _from_base(
    search: Search, ctx: Context, p: Poly, symbol: Atom, base: Fraction, strict: bool, depth: int
) -> bool:
    known = ctx.interval(symbol)
    sides = []
    if known.high is None or known.high > base:
        sides.append((Interval(base, known.high, False, known.high_strict), 1))
    if known.low is None or known.low < base:
        sides.append((Interval(known.low, base, known.low_strict, False), -1))
    return bool(sides) and all(
        _one_side(search, ctx, p, symbol, base, interval, turn, strict, depth) for interval, turn in sides
    )


def _one_side(
    search: Search,
    ctx: Context,
    p: Poly,
    symbol: Atom,
    base: Fraction,
    interval: Interval,
    turn: int,
    strict: bool,
    depth: int,
) -> bool:
    """p on one side of the base point, to the right for ``turn`` 1 and to the left for -1."""
    inner = _along(ctx, symbol, _without_base(interval, turn))
    if not _defined(inner, p, symbol):
        return False
    moving = inner.fresh("var")
    inner.scalars[moving] = inner.scalars[symbol]
    slope = differentiate(inner, substitute(inner, p, {symbol: poly(moving)}), moving)
    slope = substitute(inner, slope, {moving: poly(symbol)}).scaled(turn)
    if not all_shown(inner):
        return False
    closed = _along(ctx, symbol, interval)
    beyond = not _holds_point(ctx.interval(symbol), base)
    if _defined(closed, p, symbol):
        start = substitute(closed, p, {symbol: constant(base)})
        if not all_shown(closed):
            return False
        if search.shown(closed, start, strict, depth + 1) and search.shown(inner, slope, False, depth + 1):
            return True
        # beyond the range, only the limit of p is needed at the base point
        return (
            strict
            and beyond
            and search.shown(closed, start, False, depth + 1)
            and search.shown(inner, slope, True, depth + 1)
        )
    if not (beyond and search.sloping and search.shown(inner, slope, strict, depth + 1)):
        return False
    near = _along(ctx, symbol, _without_base(_shortened(interval, base, turn), turn))
    distance = (poly(symbol) - constant(base)).scaled(turn)
    return any(search.shown(near, p + distance.scaled(c), False, depth + 1) for c in STEEPEST)


def _along(ctx: Context, symbol: Atom, interval: Interval) -> Context:
    """The facts that hold while one symbol runs through an interval and all others stay."""
    free = tuple(h for h in ctx.hypotheses if not contains(h[0], symbol))
    return ctx.variant(scalars={**ctx.scalars, symbol: interval}, hypotheses=free, signed=[])


def _without_base(interval: Interval, turn: int) -> Interval:
    return replace(interval, low_strict=True) if turn > 0 else replace(interval, high_strict=True)


def _shortened(interval: Interval, base: Fraction, turn: int) -> Interval:
    if turn > 0:
        if interval.high is not None and interval.high < base + NEAR:
            return interval
        return replace(interval, high=base + NEAR, high_strict=False)
    if interval.low is not None and interval.low > base - NEAR:
        return interval
    return replace(interval, low=base - NEAR, low_strict=False)


def _holds_point(interval: Interval, at: Fraction) -> bool:
    above = interval.low is None or at > interval.low or at == interval.low and not interval.low_strict
    below = interval.high is None or at < interval.high or at == interval.high and not interval.high_strict
    return above and below


def all_shown(ctx: Context, earlier: int = 0) -> bool:
    """Whether every condition met since ``earlier`` holds."""
    return all(ctx.sign(c.value) <= WANTED[c.relation] for c in ctx.conditions[earlier:])


def _defined(ctx: Context, p: Poly, symbol: Atom) -> bool:
    """Whether all that holds ``symbol`` in a normal form has a value, and is continuous, in this context.

    What does not hold it is the same at all points on the way, and had a value where the goal was met.
    """
    for mono in p.terms:
        for atom, e in mono:
            if not contains(atom, symbol):
                continue
            base = atom.args[0] if atom.kind == "group" else poly(atom)
            assert isinstance(base, Poly)
            sign = ctx.sign(base)
            if e < 0 and 0 in sign or e.denominator > 1 and -1 in sign:
                return False
            if not _defined_atom(ctx, atom, symbol):
                return False
    return True


def _defined_atom(ctx: Context, atom: Atom, symbol: Atom) -> bool:
    kind, args = atom.kind, atom.args
    if kind == "sym":
        return True
    if kind == "exp":
        assert isinstance(args[0], Mono)
        return _defined(ctx, Poly({args[0]: Fraction(1)}), symbol)
    if kind == "sum":
        # finitely many terms, as many at all points
        ends, body = open_sum(ctx, atom)
        return not any(contains(high, symbol) for _, high in ends) and _defined(ctx, body, symbol)
    if kind == "fn" and args[0] in ENTIRE:
        return all(isinstance(a, Poly) and _defined(ctx, a, symbol) for a in as_tuple(args[1]))
    if kind in ("log", "group"):
        assert isinstance(args[0], Poly)
        if kind == "log" and ctx.sign(args[0]) != POSITIVE:
            return False
        return _defined(ctx, args[0], symbol)
    return False
