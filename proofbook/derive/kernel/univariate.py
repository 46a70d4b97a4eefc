"""Inequalities in one real variable, over intervals and half-lines, beside parameters.

A goal ``p >= 0`` on an interval follows from its value at one end and the sign of its slope, over and over;
on a compact interval, from balls that cover it; on any interval, from the same on the parts it is cut into.
Three changes of variable bring a goal into that form: a combination that the variables enter through takes
their place, the line is folded at 0, and infinity comes to 0.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from math import lcm
from typing import Protocol

from proofbook.derive.kernel.algebra import (
    Atom,
    Mono,
    Part,
    Poly,
    as_mono,
    as_poly,
    as_tuple,
    constant,
    contains,
    poly,
    walk,
)
from proofbook.derive.kernel.at_infinity import limit_at_infinity
from proofbook.derive.kernel.balls import VARIABLES, positive_on
from proofbook.derive.kernel.calculus import differentiate
from proofbook.derive.kernel.context import (
    NEGATIVE,
    NONNEGATIVE,
    NONPOSITIVE,
    POSITIVE,
    UNBOUNDED,
    WANTED,
    Context,
    Interval,
)
from proofbook.derive.kernel.errors import NotProved
from proofbook.derive.kernel.forms import logarithm, power, substitute, tidy
from proofbook.derive.kernel.sampling import fails_somewhere, points

MOST_DERIVATIVES = 7
MOST_GOALS = 80  # of one call, whatever their depth
CUTS = tuple(Fraction(2) ** k for k in range(-4, 6))  # distances from a lower end
SHARES = tuple(Fraction(k, 16) for k in (1, 2, 4, 8, 12, 14, 15))  # of a bounded interval
SMOOTH = ("sym", "var", "prime", "const", "exp", "log", "group", "abs", "fn")  # atoms, but for some functions
CONTINUOUS = ("sin", "cos", "erf")  # functions that are smooth on the whole line


class Prover(Protocol):
    """What is asked of the search that a goal comes from."""

    trail: list[tuple[str, str]]

    def simplified(self, ctx: Context, p: Poly, strict: bool) -> Poly:
        """A form that need only be positive, or not negative, for ``p`` to be so."""

    def by_lemmas(self, ctx: Context, p: Poly, strict: bool) -> bool:
        """Whether ``p`` is positive, or not negative, by one question to z3."""


def in_one_variable(prover: Prover, ctx: Context, p: Poly, strict: bool, *, parts: bool) -> bool:
    """Whether ``p >= 0`` (``> 0`` if strict), by calculus in one of its variables.

    With ``parts`` an interval may be cut into parts, which costs more than all the rest together.

    Relations that tie the variable to others are dropped: the goal is shown without them, for more points.
    """
    if any(a.kind not in SMOOTH or a.kind == "fn" and a.args[0] not in CONTINUOUS for a in walk(p)):
        return False
    goals, p = _Goals(prover, parts), _by_conjugates(ctx, p)
    for ready, q, how in _in_fewer_variables(ctx, p, strict):
        for symbol in _real_symbols(ready, q):
            goals.trail = []
            try:
                if goals.on_line(ready, symbol, q, strict):
                    prover.trail += [*goals.trail, *((name, p.key) for name in how)]
                    return True
            except NotProved:
                continue
    return False


def from_infinity(prover: Prover, ctx: Context, p: Poly, strict: bool) -> bool:
    """Whether ``p >= 0`` (``> 0`` if strict), since it falls with a variable to a limit that is >= 0.

    Let p be continuous from x on and its slope <= 0 beyond x. By the mean value theorem p(x) >= p(y) for
    every y > x, so p(x) is at least the limit of p(y); it is more, if the slope is negative throughout.
    """
    for x in _real_symbols(ctx, p):
        known = ctx.interval(x)
        if known.high is not None:
            continue
        along, goals = _with(ctx, x, known), _Goals(prover, parts=False)
        try:
            limit, slope = limit_at_infinity(along, p, x), _slope(along, x, p)
            if limit is None or slope is None or not _continuous(along, p):
                continue
            sign = along.sign(limit)
            inner = _with(ctx, x, known.opened())
            steep = strict and sign != POSITIVE
            if sign <= NONNEGATIVE and goals.on_interval(inner, x, -slope, steep, MOST_DERIVATIVES):
                prover.trail += [*goals.trail, ("slope to infinity", p.key)]
                return True
        except NotProved:
            continue
    return False


class _Goals:
    """The goals of one call, their budget, and the moves that led to the proof."""

    def __init__(self, prover: Prover, parts: bool):
        self.prover, self.parts, self.count = prover, parts, 0
        self.trail: list[tuple[str, str]] = []

    def on_line(self, ctx: Context, x: Atom, p: Poly, strict: bool) -> bool:
        """A goal on whatever the variable ranges over; where that has no lower end, it is folded at 0.

        Every x <= 0 is -t with t >= 0. So the goal holds if it holds for x >= 0 and, with -t written for x,
        for t >= 0; of these only what the range has is needed.
        """
        known = ctx.interval(x)
        if known.low is not None:
            return self.whole(_with(ctx, x, known), x, p, strict)
        beyond = known.high is None or known.high > 0
        if beyond:
            right = Interval(Fraction(0), known.high, False, known.high_strict)
            if not self.whole(_with(ctx, x, right), x, p, strict):
                return False
        nearest = Fraction(0) if beyond or known.high is None else -known.high
        left = _with(ctx, x, Interval(nearest, None, known.high_strict and not beyond))
        folded = _substituted(left, p, {x: -poly(x)})
        return self.whole(left, x, folded, strict) and self._by("folded at zero", p)

    def whole(self, ctx: Context, x: Atom, p: Poly, strict: bool) -> bool:
        """A goal on an interval with a lower end: at once, in parts, or with infinity brought to 0."""
        if self.on_interval(ctx, x, p, strict, MOST_DERIVATIVES):
            return True
        if self.parts and self.in_parts(ctx, x, p, strict):
            return True
        known = ctx.interval(x)
        if (
            known.high is not None
            or known.low is None
            or known.low < 0
            or not (known.low or known.low_strict)
        ):
            return False
        # x = 1/t runs through all that is wanted as t runs through (0, 1/low], or through (0, oo) for low = 0
        high = 1 / known.low if known.low else None
        turned = _with(ctx, x, Interval(Fraction(0), high, True, known.low_strict))
        q = _substituted(turned, p, {x: poly(x, -1)})
        shown = self.on_interval(turned, x, q, strict, MOST_DERIVATIVES)
        shown = shown or self.parts and self.in_parts(turned, x, q, strict)
        return shown and self._by("infinity brought to zero", p)

    def on_interval(self, ctx: Context, x: Atom, p: Poly, strict: bool, fuel: int) -> bool:
        """A goal on an interval, by its sign, balls, or its slope; ``fuel`` derivatives may be taken."""
        if self.count >= MOST_GOALS:
            return False
        self.count += 1
        mark = len(self.trail)
        try:
            wanted = WANTED[">" if strict else ">="]
            if ctx.sign(p) <= wanted:
                return self._by("sign", p)
            p = self.prover.simplified(ctx, p, strict)
            if ctx.sign(p) <= wanted:
                return self._by("sign", p)
            if fails_somewhere(points(ctx), p):
                return False
            if self.by_lemmas(ctx, p, strict):
                return True
            if contains(p, x):
                for q in (p, *_with_one_logarithm_freed(ctx, p)):
                    if self.by_balls(ctx, x, q) or self.by_slope(ctx, x, q, strict, fuel):
                        return True
        except NotProved:
            pass
        del self.trail[mark:]
        return False

    def by_lemmas(self, ctx: Context, p: Poly, strict: bool) -> bool:
        """A goal by one question to z3; the facts that were asked go with it."""
        mark = len(self.prover.trail)
        shown = self.prover.by_lemmas(ctx, p, strict)
        facts = self.prover.trail[mark:]
        del self.prover.trail[mark:]
        if shown:
            self.trail += facts
        return shown and self._by("lemmas", p)

    def by_balls(self, ctx: Context, x: Atom, p: Poly) -> bool:
        """p > 0 on an interval with two ends, both of them included, by a cover of balls."""
        known = ctx.interval(x)
        if known.low is None or known.high is None or {a for a in walk(p) if a.kind in VARIABLES} != {x}:
            return False
        if not _continuous(_with(ctx, x, Interval(known.low, known.high)), p):
            return False
        boxes = positive_on(p, _slope(ctx, x, p), x, known.low, known.high)
        return boxes is not None and self._by(f"{boxes} balls on [{known.low}, {known.high}]", p)

    def by_slope(self, ctx: Context, x: Atom, p: Poly, strict: bool, fuel: int) -> bool:
        """p >= 0 from one end of the interval on, where it is not negative, by the sign of its slope.

        p is continuous with this end included and differentiable between the ends. If it rises from a lower
        end (or falls towards an upper one) it is at least its value there; above it, if the slope is never
        zero. So p > 0 if the value is positive; or if it is not negative, the end is left out of what is
        claimed, and the slope is not zero between the ends.
        """
        known = ctx.interval(x)
        slope = _slope(ctx, x, p) if fuel else None
        if slope is None:
            return False
        inner = _with(ctx, x, known.opened())
        for end, open_end, turn in ((known.low, known.low_strict, 1), (known.high, known.high_strict, -1)):
            if end is None:
                continue
            mark, closed = len(self.trail), _closed(ctx, x, known, turn)
            if _continuous(closed, p):
                value = _substituted(closed, p, {x: constant(end)})
                sign = closed.sign(value)
                steep = strict and sign != POSITIVE
                high_enough = sign <= NONNEGATIVE or self.by_lemmas(closed, value, False)
                if high_enough and (open_end or not steep):
                    if self.on_interval(inner, x, slope.scaled(turn), steep, fuel - 1):
                        return self._by(f"slope from {end}", p)
            del self.trail[mark:]
        return False

    def in_parts(self, ctx: Context, x: Atom, p: Poly, strict: bool) -> bool:
        """A goal on an interval that is cut in two or three: an end, the middle by balls, another end."""
        known = ctx.interval(x)
        if known.low is None or not contains(p, x) or fails_somewhere(points(ctx), p):
            return False
        if known.high is None:
            cuts = [known.low + c for c in CUTS]
        else:
            cuts = [known.low + c * (known.high - known.low) for c in SHARES]
        mark = len(self.trail)
        first = self._end_part(ctx, x, p, strict, list(reversed(cuts)), low=True)
        last = None if first is None else self._end_part(ctx, x, p, strict, cuts, low=False)
        if first is not None and last is not None:
            middle = _with(ctx, x, Interval(first, last))
            try:
                shown = first >= last or self.by_balls(middle, x, self.prover.simplified(middle, p, True))
            except NotProved:
                shown = False
            if shown:
                return self._by("in parts", p)
        del self.trail[mark:]
        return False

    def _end_part(
        self, ctx: Context, x: Atom, p: Poly, strict: bool, cuts: list[Fraction], low: bool
    ) -> Fraction | None:
        """Up to where from the lower end, or from where on up to the upper end, the goal is shown by slopes.

        The end itself, if balls can begin there.
        """
        known = ctx.interval(x)
        end = known.low if low else known.high
        if end is not None and positive_on(p, None, x, end, end) is not None:
            return end
        for cut in cuts:
            part = (
                Interval(known.low, cut, known.low_strict, False)
                if low
                else Interval(cut, known.high, False, known.high_strict)
            )
            if self.on_interval(_with(ctx, x, part), x, p, strict, MOST_DERIVATIVES):
                return cut
        return None

    def _by(self, name: str, p: Poly) -> bool:
        self.trail.append((name, p.key))
        return True


def _by_conjugates(ctx: Context, p: Poly) -> Poly:
    """The same form with log(R + Q) = log(R^2 - Q^2) - log(R - Q), for a square root R.

    R + Q is positive, as it stands in a logarithm; R - Q is shown to be, and so is their product. Where R + Q
    vanishes at an end of the domain, its logarithm now says how.
    """
    values = {}
    for log in sorted((a for a in p.atoms() if a.kind == "log"), key=lambda a: a.key):
        inner = as_poly(log.args[0])
        root = Poly({m: c for m, c in inner.terms.items() if any(_is_root(a, e) for a, e in m)})
        rest = inner - root
        if len(root.terms) == 1 and rest:
            product, other = root * root - rest * rest, root - rest
            if ctx.sign(product) == POSITIVE == ctx.sign(other):
                values[log] = logarithm(ctx, product, False) - logarithm(ctx, other, False)
    return _substituted(ctx, p, values) if values else p


def _is_root(atom: Atom, exponent: Fraction) -> bool:
    return atom.kind in ("group", "prime") and exponent.denominator == 2


def _in_fewer_variables(
    ctx: Context, p: Poly, strict: bool
) -> Iterator[tuple[Context, Poly, tuple[str, ...]]]:
    """The goal with a - b, a b or a / b for a, if b then drops out, as often as that goes; and as it is.

    Whatever a and b are, the new variable is some number in the range that is given to it. A product or
    quotient takes the place of a where b is not 0; where it is, the goal must hold at once.
    """
    ready, q = ctx, p
    how: tuple[str, ...] = ()
    for _ in range(3):
        found = _without_one(ready, q, strict)
        if found is None:
            break
        (ready, q), how = found[:2], (found[2], *how)
    yield ready, q, how
    for symbol in _real_symbols(ready, q):
        rooted = _without_roots(ready, q, symbol)
        if rooted is not None:
            yield *rooted, (f"{symbol} for its root", *how)
    if how:
        yield ctx, p, ()


def _without_one(ctx: Context, p: Poly, strict: bool) -> tuple[Context, Poly, str] | None:
    """The goal without one of its variables, and how."""
    for a, b in itertools.permutations(_real_symbols(ctx, p), 2):
        for name, combined, value in (
            ("difference", _minus(ctx.interval(a), ctx.interval(b)), poly(a) + poly(b)),
            ("product", _times(ctx, a, b), poly(a) * poly(b, -1)),
            ("quotient", _times(ctx, a, b), poly(a) * poly(b)),
        ):
            inner = _with(ctx, a, combined)
            vanishes = name != "difference" and 0 in inner.sign_of_atom(b)
            if vanishes:
                inner = inner.variant(hypotheses=(*inner.hypotheses, (poly(b), "!=")))
            try:
                q = _substituted(inner, p, {a: value})
                if not contains(q, b) and (not vanishes or _at_zero(ctx, p, b, strict)):
                    return inner, q, f"{name} of {a} and {b}"
            except NotProved:
                continue
    return None


def _at_zero(ctx: Context, p: Poly, b: Atom, strict: bool) -> bool:
    """Whether the goal holds where a variable is 0."""
    there = _with(ctx, b, Interval(Fraction(0), Fraction(0)))
    return there.sign(_substituted(there, p, {b: constant(0)})) <= WANTED[">" if strict else ">="]


def _real_symbols(ctx: Context, p: Poly) -> list[Atom]:
    """The real numbers with a name that a form depends on, in a fixed order; whole numbers are none."""
    found = {a for a in walk(p) if a.kind in ("sym", "var") and a not in ctx.whole}
    return sorted(found, key=lambda a: a.key)


def _with(ctx: Context, x: Atom, interval: Interval) -> Context:
    """The facts with another range for a variable, and without what ties it to others."""
    free = tuple(h for h in ctx.hypotheses if not contains(h[0], x))
    return ctx.variant(scalars={**ctx.scalars, x: interval}, hypotheses=free, signed=[])


def _closed(ctx: Context, x: Atom, known: Interval, turn: int) -> Context:
    """The facts with one end of a variable's range included."""
    low_strict, high_strict = known.low_strict and turn < 0, known.high_strict and turn > 0
    return _with(ctx, x, Interval(known.low, known.high, low_strict, high_strict))


def _substituted(ctx: Context, p: Poly, values: dict[Atom, Poly]) -> Poly:
    """``p`` with values for some atoms; what the rules need for it is shown here."""
    earlier = len(ctx.conditions)
    result = substitute(ctx, p, values)
    if not _all_shown(ctx, earlier):
        raise NotProved("a condition of a substitution is not shown")
    return result


def _slope(ctx: Context, x: Atom, p: Poly) -> Poly | None:
    """The derivative between the ends of the range; None where some rule of calculus does not apply."""
    inner = _with(ctx, x, ctx.interval(x).opened())
    if not _continuous(inner, p):
        return None
    try:
        slope = differentiate(inner, p, x)
    except NotProved:
        return None
    return slope if _all_shown(inner) else None


def _all_shown(ctx: Context, earlier: int = 0) -> bool:
    return all(ctx.sign(c.value) <= WANTED[c.relation] for c in ctx.conditions[earlier:])


def _continuous(ctx: Context, p: Poly) -> bool:
    """Whether a form is made of continuous functions, each with a value everywhere on the domain."""
    for mono in p.terms:
        for atom, e in mono:
            base = as_poly(atom.args[0]) if atom.kind == "group" else poly(atom)
            sign = ctx.sign(base)
            if e < 0 and 0 in sign or e.denominator > 1 and -1 in sign:
                return False
            if not _continuous_atom(ctx, atom):
                return False
    return True


def _continuous_atom(ctx: Context, atom: Atom) -> bool:
    kind, args = atom.kind, atom.args
    if kind in ("sym", "var", "prime", "const"):
        return True
    if kind == "exp":
        return _continuous(ctx, Poly({as_mono(args[0]): Fraction(1)}))
    if kind == "log" and ctx.sign(as_poly(args[0])) != POSITIVE:
        return False
    if kind in ("log", "group", "abs"):
        return _continuous(ctx, as_poly(args[0]))
    if kind == "fn" and args[0] in CONTINUOUS:
        return all(_continuous(ctx, as_poly(a)) for a in as_tuple(args[1]))
    return False


def _with_one_logarithm_freed(ctx: Context, p: Poly) -> Iterator[Poly]:
    """p over the factor of one of its logarithms, if that has a known sign: the next slope has it no more."""
    for log in sorted((a for a in p.atoms() if a.kind == "log"), key=lambda a: a.key):
        factor = constant(0)
        for mono, c in p.terms.items():
            if dict(mono.powers).get(log) == 1:
                factor = factor + Poly({Mono(x for x in mono if x[0] != log): c})
        sign = ctx.sign(factor)
        if factor.number is None and sign in (POSITIVE, NEGATIVE):
            turn = 1 if sign == POSITIVE else -1
            yield tidy(ctx, p * power(ctx, factor, Fraction(-1), typed=False)).scaled(turn)


def _without_roots(ctx: Context, p: Poly, x: Atom) -> tuple[Context, Poly] | None:
    """x = t^k for t >= 0, if x >= 0 stands below roots whose orders divide k."""
    whole = lcm(*(e.denominator for e in _exponents(p, x)), 1)
    known = ctx.interval(x)
    if whole == 1 or known.low is None or known.low < 0:
        return None
    # a range with other ends is widened: t >= 0 covers it
    inner = _with(ctx, x, Interval(Fraction(0), None, bool(known.low) or known.low_strict))
    try:
        return inner, _substituted(inner, p, {x: poly(x, whole)})
    except NotProved:
        return None


def _exponents(part: Part, x: Atom) -> Iterator[Fraction]:
    """The exponents with which a variable occurs in a form, at any depth."""
    if isinstance(part, Poly):
        for mono in part.terms:
            yield from _exponents(mono, x)
    elif isinstance(part, Mono):
        for atom, e in part:
            if atom == x:
                yield e
            else:
                yield from _exponents(atom.args, x)
    elif isinstance(part, tuple):
        for inner in part:
            yield from _exponents(inner, x)
    elif isinstance(part, Atom):
        yield from _exponents(part.args, x)


def _minus(a: Interval, b: Interval) -> Interval:
    return a.plus(b.times(Fraction(-1)))


def _times(ctx: Context, a: Atom, b: Atom) -> Interval:
    """A range for the product, and for the quotient, of two variables: what their signs say."""
    sign = ctx.sign_of_mono(Mono([(a, Fraction(1)), (b, Fraction(1))]))
    if sign <= NONNEGATIVE:
        return Interval(Fraction(0), None, sign == POSITIVE)
    return Interval(None, Fraction(0), False, sign == NEGATIVE) if sign <= NONPOSITIVE else UNBOUNDED
