"""What is known where a statement is claimed: ranges, hypotheses, and the signs that follow from them.

A sign is the set of those of -1, 0, 1 that a quantity may have somewhere in the domain; the answer may be too
large a set, never too small. Facts are kept with their strictness: 0 is left out only where a bound is
strict.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from proofbook.derive.kernel import algebra, rows
from proofbook.derive.kernel.algebra import (
    Atom,
    Mono,
    Poly,
    constant,
    log_of_term,
    monomial,
    primitive,
    rename_mono,
)
from proofbook.derive.kernel.balls import sign_of_constant
from proofbook.derive.kernel.errors import NotProved

Sign = frozenset[int]
POSITIVE, NEGATIVE, ZERO = frozenset({1}), frozenset({-1}), frozenset({0})
NONNEGATIVE, NONPOSITIVE, NONZERO, ANY = (frozenset(s) for s in ({0, 1}, {-1, 0}, {-1, 1}, {-1, 0, 1}))
WANTED = {">": POSITIVE, ">=": NONNEGATIVE, "!=": NONZERO, "<": NEGATIVE, "<=": NONPOSITIVE, "=": ZERO}


@dataclass(frozen=True)
class Interval:
    """Bounds of a real quantity; None is no bound."""

    low: Fraction | None = None
    high: Fraction | None = None
    low_strict: bool = False
    high_strict: bool = False

    def sign(self) -> Sign:
        found = set(ANY)
        if self.low is not None and self.low >= 0:
            found.discard(-1)
            if self.low > 0 or self.low_strict:
                found.discard(0)
        if self.high is not None and self.high <= 0:
            found.discard(1)
            if self.high < 0 or self.high_strict:
                found.discard(0)
        return frozenset(found)

    def opened(self) -> "Interval":
        return Interval(self.low, self.high, True, True)

    def times(self, factor: Fraction) -> "Interval":
        if factor >= 0:
            return Interval(
                None if self.low is None else self.low * factor,
                None if self.high is None else self.high * factor,
                self.low_strict,
                self.high_strict,
            )
        return Interval(
            None if self.high is None else self.high * factor,
            None if self.low is None else self.low * factor,
            self.high_strict,
            self.low_strict,
        )

    def plus(self, other: "Interval") -> "Interval":
        low = None if self.low is None or other.low is None else self.low + other.low
        high = None if self.high is None or other.high is None else self.high + other.high
        return Interval(low, high, self.low_strict or other.low_strict, self.high_strict or other.high_strict)


UNBOUNDED = Interval()


@dataclass(frozen=True)
class Condition:
    """``value relation 0``, needed for the reason given; ``typed`` if a formula has no value otherwise."""

    value: Poly
    relation: str
    because: str
    typed: bool = True


@dataclass
class Context:
    """The facts of a domain, in the kernel's own terms, and the conditions met on the way.

    ``scalars`` bounds each symbol; ``entries`` bounds each entry of a vector; ``simplex`` names the vectors
    whose entries 1 .. size sum to one. ``hypotheses`` are relations of polynomials to zero. ``inside`` says
    which index runs over 1 .. size: the free ones, and those opened on the way. ``moving`` are the variables
    of the derivatives being taken: fresh atoms, or the names of vectors. ``signed`` are sums as they were
    typed whose terms have one sign, which expanding them may hide. ``exact`` names what has a range whose
    ends are meant as they are said. Of the vectors, ``nonzero_entries`` have no entry that is zero,
    ``nonzero`` have one that is not, and ``distinct`` have two that differ. ``without`` names the
    lemmas of which no instance is a fact here.
    """

    scalars: dict[Atom, Interval] = field(default_factory=dict)
    entries: dict[str, Interval] = field(default_factory=dict)
    simplex: frozenset[str] = frozenset()
    exact: frozenset[str] = frozenset()
    nonzero_entries: frozenset[str] = frozenset()
    nonzero: frozenset[str] = frozenset()
    distinct: frozenset[str] = frozenset()
    whole: frozenset[Atom] = frozenset()
    size: Atom | None = None
    hypotheses: tuple[tuple[Poly, str], ...] = ()
    inside: dict[Atom, Poly] = field(default_factory=dict)
    conditions: list[Condition] = field(default_factory=list)
    signed: list[tuple[Poly, Sign]] = field(default_factory=list)
    moving: frozenset[Atom | str] = frozenset()
    without: frozenset[str] = frozenset()
    oracle: bool = True
    ask: Callable[["Context", Poly, Sign], Sign] | None = None
    _signs: dict[str, Sign] = field(default_factory=dict)
    _names: Iterator[int] = field(default_factory=lambda: itertools.count(1))  # shared by variants
    _deciding: int = 0
    _comparing: int = 0

    def interior(self) -> "Context":
        """The same facts with every end left out that may be.

        A probability vector has no ends, and those of a range of whole numbers belong to it.
        """
        kept = self.simplex | self.exact
        scalars = {
            a: i if a in self.whole or a == self.size or str(a.args[0]) in kept else i.opened()
            for a, i in self.scalars.items()
        }
        entries = {b: i if b in kept else i.opened() for b, i in self.entries.items()}
        return self.variant(scalars=scalars, entries=entries)

    def variant(self, **changed: Any) -> "Context":
        """The same facts but for some, with nothing concluded yet and no name given twice."""
        mine = {"scalars": dict(self.scalars), "inside": dict(self.inside), "conditions": [], "_signs": {}}
        mine["signed"] = list(self.signed)
        return replace(self, **{**mine, **changed})

    def forget(self) -> None:
        """Drop what was concluded, after facts were added."""
        self._signs.clear()

    def fresh(self, kind: str = "free") -> Atom:
        """A name that nothing else has."""
        return Atom(kind, next(self._names))

    def index(self, high: Poly) -> Atom:
        """A fresh index that runs over 1 .. high."""
        atom = self.fresh("idx")
        self.inside[atom] = high
        return atom

    def need(self, value: Poly, relation: str, because: str, typed: bool = True) -> None:
        """Leave a condition behind, unless its sign settles it at once."""
        number = value.number
        if number is not None:
            if holds(number, relation):
                return
            raise NotProved(f"{because}: {number} {relation} 0 is false")
        condition = Condition(value, relation, because, typed)
        if condition not in self.conditions:
            self.conditions.append(condition)

    def interval(self, atom: Atom) -> Interval:
        """Bounds of an atom by its kind."""
        if atom.kind in ("sym", "var"):
            return self.scalars.get(atom, UNBOUNDED)
        if atom.kind == "entry":
            base = str(atom.args[0])
            return self.entries.get(base, UNBOUNDED)
        if atom.kind == "idx":
            return Interval(Fraction(1))
        if atom.kind == "const":
            return Interval(*PI, True, True) if atom.args[0] == "pi" else UNBOUNDED
        if atom.kind == "exp":
            return self._interval_of_exp(atom)
        if atom.kind in ("delta", "step"):
            return Interval(Fraction(0), Fraction(1))
        if atom.kind == "fn" and atom.args[0] in ("sin", "cos", "erf") and not any(_orders(atom)):
            return Interval(Fraction(-1), Fraction(1))
        return UNBOUNDED

    def _interval_of_exp(self, atom: Atom) -> Interval:
        """e is known to three digits; e^m is above or below 1 as m is above or below 0."""
        mono = atom.args[0]
        assert isinstance(mono, Mono)
        if not mono.powers:
            return Interval(*E, True, True)
        sign, one = self._sign_of_mono(mono), Fraction(1)
        if sign <= NONNEGATIVE:
            return Interval(one, None, sign == POSITIVE)
        return Interval(Fraction(0), one if sign <= NONPOSITIVE else None, True, sign == NEGATIVE)

    def sign_of_atom(self, atom: Atom) -> Sign:
        """The signs an atom may have."""
        return self._strict(atom, self._sign_of_atom(atom))

    def sign_of_mono(self, mono: Mono) -> Sign:
        """The signs a monomial may have."""
        return self._strict(mono, self._sign_of_mono(mono))

    def sign(self, p: Poly) -> Sign:
        """The signs ``p`` may have: term by term, by intervals, then by z3."""
        return self._strict(p, self._sign_at(p))

    def _strict(self, part: algebra.Part, sign: Sign) -> Sign:
        """Inside a derivative, what is known of a moving quantity must hold around the point, not only at it.

        A strict sign does, since what stands here is continuous; "not negative" need not.
        """
        if 0 in sign and self.moving and any(self._moves(a) for a in algebra.walk(part)):
            return ANY
        return sign

    def _moves(self, atom: Atom) -> bool:
        return atom in self.moving or atom.kind == "entry" and str(atom.args[0]) in self.moving

    def all_positive(self, mono: Mono) -> bool:
        """Whether every atom of a monomial is positive at every point of the domain."""
        return all(self.sign_at_points(a) == POSITIVE for a, _ in mono)

    def sign_at_points(self, atom: Atom) -> Sign:
        """The signs an atom has at points of the domain, also while a derivative is taken."""
        return self._sign_of_atom(atom)

    def _sign_of_atom(self, atom: Atom) -> Sign:
        sign = self._sign_by_kind(atom)
        if len(sign) > 1:
            for value, relation in self.hypotheses:
                if value.atom == atom:
                    sign &= WANTED[relation]
        return sign

    def _sign_by_kind(self, atom: Atom) -> Sign:
        kind = atom.kind
        if kind in ("exp", "prime"):
            return POSITIVE
        if kind == "sum":
            return self._sign_of_sum(atom)
        if kind == "extremum":
            # the largest value is one of the values
            return self._sign_at(_as_poly(atom.args[1]))
        if kind == "max":
            signs = [self._sign_at(_as_poly(a)) for a in atom.args]
            found = frozenset().union(*signs)
            if any(-1 not in s for s in signs):
                found -= NEGATIVE
            if any(s == POSITIVE for s in signs):
                found -= ZERO
            return found
        if kind == "abs":
            inner = self._sign_at(_as_poly(atom.args[0]))
            return POSITIVE if 0 not in inner else NONNEGATIVE
        if kind == "group":
            return self._sign_at(_as_poly(atom.args[0]))
        if kind == "log":
            # log u has the sign of u - 1 wherever it is defined
            return self._sign_at(_as_poly(atom.args[0]) - constant(1))
        if kind == "fn" and atom.args[0] in POSITIVE_FUNCTIONS:
            return POSITIVE
        if kind == "fn" and atom.args[0] == "erf" and not any(_orders(atom)):
            # odd and increasing
            arguments = atom.args[1]
            assert isinstance(arguments, tuple)
            return self._sign_at(_as_poly(arguments[0]))
        sign = self.interval(atom).sign()
        return sign - ZERO if kind == "entry" and atom.args[0] in self.nonzero_entries else sign

    def _sign_of_sum(self, atom: Atom) -> Sign:
        """A sum of positive terms over a range that is not empty is positive; an empty one is 0.

        So is one of terms that are not negative of which one is not zero.
        """
        highs, body, _ = atom.args
        assert isinstance(highs, tuple) and isinstance(body, Mono)
        inner = self._sign_of_mono(body)
        if inner in (POSITIVE, NEGATIVE) and all(
            self._sign_at(_as_poly(h) - constant(1)) <= NONNEGATIVE for h in highs
        ):
            return inner
        for one_sign in (NONNEGATIVE, NONPOSITIVE):
            if inner <= one_sign:
                return one_sign - ZERO if rows.has_a_term(self, atom) else one_sign
        return ANY

    def _sign_of_mono(self, mono: Mono) -> Sign:
        sign = POSITIVE
        for atom, e in mono:
            sign = _product(sign, _power(self._sign_of_atom(atom), e))
        return sign

    def _sign_at(self, p: Poly) -> Sign:
        """The signs ``p`` may have at points of the domain."""
        number = p.number
        if number is not None:
            return frozenset({(number > 0) - (number < 0)})
        key = p.key
        if key not in self._signs:
            self._signs[key] = ANY  # a question that comes back to itself has no answer
            try:
                self._signs[key] = self._sign(p)
            except NotProved:
                pass
        return self._signs[key]

    def _sign(self, p: Poly) -> Sign:
        sign = ZERO
        for mono, c in p.terms.items():
            term = self._sign_of_mono(mono)
            sign = _sum(sign, term if c > 0 else frozenset(-s for s in term))
        if len(sign) > 1 and (of_constant := sign_of_constant(p)) is not None:
            return frozenset({of_constant})
        if len(sign) == 1 or len(p.terms) == 1:
            return sign
        sign &= self._bounds(p).sign()
        for value, known in [*((h, WANTED[relation]) for h, relation in self.hypotheses), *self.signed]:
            if value.terms.keys() == p.terms.keys():
                sign &= self._as_multiple(p, value, known)
        if len(sign) > 1 and any(a.kind == "fn" and a.args[0] == "erf" for a in p.atoms()):
            outer, core = algebra.without_common(p)
            for value, known in self.signed:
                if value.terms.keys() == core.terms.keys():
                    inner = self._as_multiple(core, value, known)
                    sign &= _product(self._sign_of_mono(outer), inner)
        if len(sign) > 1:
            sign &= self._by_factors(p)
        if len(sign) > 1 and len(p.terms) == 2 and self._comparing < 4:
            sign &= self._by_comparison(p)
        if len(sign) > 1 and len(p.terms) == 2:
            sign &= rows.sign_of_spread(self, p)
        if len(sign) > 1 and self.ask is not None and self.oracle and self._deciding < 2:
            self._deciding += 1
            try:
                sign = self.ask(self, p, sign)
            finally:
                self._deciding -= 1
        return sign

    def _bounds(self, p: Poly) -> Interval:
        """Interval arithmetic, for terms that are constants or multiples of one atom."""
        total = Interval(Fraction(0), Fraction(0))
        for mono, c in p.terms.items():
            if not mono.powers:
                part = Interval(c, c)
            elif len(mono) == 1 and mono.powers[0][1] == 1:
                part = self.interval(mono.powers[0][0]).times(c)
            else:
                sign = self._sign_of_mono(mono)
                part = UNBOUNDED
                if sign <= NONNEGATIVE:
                    part = Interval(Fraction(0), None, sign == POSITIVE).times(c)
                elif sign <= NONPOSITIVE:
                    part = Interval(None, Fraction(0), False, sign == NEGATIVE).times(c)
            total = total.plus(part)
        return total

    def _by_comparison(self, p: Poly) -> Sign:
        """log a - log b has the sign of a - b, and a - b, for positive a and b, that of log a - log b."""

        (one, c), (other, d) = sorted(p.terms.items(), key=lambda t: -t[1])
        if not c > 0 > d:
            return ANY
        if c == -d and self._is_sum_and_term(one, other):
            return POSITIVE
        self._comparing += 1
        try:
            if c == -d and all(len(m) == 1 and m.powers[0][1] == 1 for m in (one, other)):
                a, b = one.powers[0][0], other.powers[0][0]
                if a.kind == "log" and b.kind == "log":
                    return self._sign_at(_as_poly(a.args[0]) - _as_poly(b.args[0]))
            if c == -d and self.all_positive(one) and self.all_positive(other):
                if any(a.kind == "exp" for m in (one, other) for a, _ in m):
                    return self._sign_at(log_of_term(one) - log_of_term(other))
            return ANY
        finally:
            self._comparing -= 1

    def _is_sum_and_term(self, one: Mono, other: Mono) -> bool:
        """Whether ``one`` is a sum of positive terms, two or more, and ``other`` is one of them."""

        if len(one) != 1 or one.powers[0][0].kind != "sum" or one.powers[0][1] != 1:
            return False
        highs, body, level = one.powers[0][0].args
        assert isinstance(highs, tuple) and isinstance(body, Mono)
        if len(highs) != 1 or self._sign_of_mono(body) != POSITIVE:
            return False
        high = _as_poly(highs[0])
        if not self._sign_at(high - constant(2)) <= NONNEGATIVE:
            return False
        own = Atom("bound", level, 0)
        return any(
            end == high and rename_mono(body, {own: index}) == other for index, end in self.inside.items()
        )

    def _as_multiple(self, p: Poly, value: Poly, sign: Sign) -> Sign:
        """The sign of a multiple of something whose sign is known."""
        (mono, c), *_ = p.terms.items()
        factor = c / value.terms[mono]
        if value.scaled(factor) != p:
            return ANY
        return sign if factor > 0 else frozenset(-s for s in sign)

    def _by_factors(self, p: Poly) -> Sign:
        """The sign of a product is the product of signs; a square is not negative."""
        if len(p.terms) > 60:
            return ANY
        c, mono, rest = algebra.factors(p)
        if not mono.powers and len(rest) == 1 and rest[0][1] == 1:
            return ANY  # nothing came apart
        sign = _product(self._sign_of_mono(mono), POSITIVE if c > 0 else NEGATIVE)
        unknown: dict[str, int] = {}
        for factor, e in rest:
            here = self._sign_at(factor)
            if len(here) > 2 and e % 2:
                # two factors that always have the same sign have a product that is not negative
                turn, standard = self._standard(factor)
                unknown[standard.key] = unknown.get(standard.key, 0) + 1
                sign = _product(sign, frozenset({turn}))
            else:
                sign = _product(sign, _power(here, Fraction(e)))
        for count in unknown.values():
            sign = _product(sign, NONNEGATIVE if count % 2 == 0 else ANY)
        return sign

    def _standard(self, p: Poly) -> tuple[int, Poly]:
        """A sign and a polynomial whose product always has the sign of ``p``.

        c (log a - log b) has the sign of c (a - b), and a - b, for positive a and b, that of log a - log b.
        """

        content, p = primitive(p)
        turn = 1 if content > 0 else -1
        if any(a.kind == "group" for a in p.atoms()):
            inside = constant(0)  # what the groups stand for
            for mono, c in p.terms.items():
                inside = inside + monomial(mono, c)
            if inside and inside != p:
                again, standard = self._standard(inside)
                return turn * again, standard
        if len(p.terms) != 2:
            return turn, p
        (one, c), (other, d) = sorted(p.terms.items(), key=lambda t: -t[1])
        if c != -d:
            return turn, p
        logs = [m.powers[0][0] for m in (one, other) if len(m) == 1 and m.powers[0][1] == 1]
        if len(logs) == 2 and all(a.kind == "log" for a in logs):
            a, b = (_as_poly(log.args[0]) for log in logs)
            again, standard = self._standard(a - b)
            return turn * again, standard
        if self.all_positive(one) and self.all_positive(other):
            if any(a.kind == "exp" for m in (one, other) for a, _ in m):
                coefficient, mono, rest = algebra.factors(log_of_term(one) - log_of_term(other))
                signs = [self._sign_of_mono(mono), POSITIVE if coefficient > 0 else NEGATIVE]
                left = []
                for factor, e in rest:
                    here = _power(self._sign_at(factor), Fraction(e))
                    if here in (POSITIVE, NEGATIVE):
                        signs.append(here)
                    else:
                        left.append((factor, e))
                if len(left) == 1 and left[0][1] == 1 and all(s in (POSITIVE, NEGATIVE) for s in signs):
                    again, standard = self._standard(left[0][0])
                    for s in signs:
                        again *= next(iter(s))
                    return turn * again, standard
        return turn, p


# on the arguments for which reading.py lets them stand: Gamma(x) for x > 0, I_v(x) for x > 0 and v >= 0
POSITIVE_FUNCTIONS = ("gamma", "besseli")
E = (Fraction(2718, 1000), Fraction(2719, 1000))
PI = (Fraction(333, 106), Fraction(355, 113))  # both convergents; pi lies strictly between


def holds(number: Fraction, relation: str) -> bool:
    return ((number > 0) - (number < 0)) in WANTED[relation]


def _orders(atom: Atom) -> tuple[algebra.Part, ...]:
    """How often a function is differentiated by each of its arguments."""
    return algebra.as_tuple(atom.args[2])


def _as_poly(part: algebra.Part) -> Poly:
    assert isinstance(part, Poly)
    return part


def _product(a: Sign, b: Sign) -> Sign:
    return frozenset(x * y for x in a for y in b)


def _sum(a: Sign, b: Sign) -> Sign:
    found: set[int] = set()
    for x in a:
        for y in b:
            found |= {x or y} if x * y >= 0 else ANY
    return frozenset(found)


def _power(sign: Sign, e: Fraction) -> Sign:
    """The sign of a power: of a base that is not 0 if e < 0, and not negative if e is broken."""
    if e < 0:
        sign -= ZERO
    if e.denominator > 1:
        return sign - NEGATIVE
    if e.numerator % 2 == 0:
        return frozenset(abs(s) for s in sign)
    return sign
