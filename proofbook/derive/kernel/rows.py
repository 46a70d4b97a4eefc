"""Sums that are positive since a row is not zero, or not constant."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from fractions import Fraction
from typing import Protocol

from proofbook.derive.kernel.algebra import (
    Atom,
    Mono,
    Poly,
    as_mono,
    as_poly,
    as_tuple,
    contains,
    poly,
    rename_mono,
)

Sign = frozenset[int]
POSITIVE, NONNEGATIVE, ANY = frozenset({1}), frozenset({0, 1}), frozenset({-1, 0, 1})
INDEX = Atom("bound", 0, 0)  # levels of sums start at 1, so nothing else has this name


class Facts(Protocol):
    """What is asked here of the facts of a domain; ``context.Context`` knows it."""

    @property
    def size(self) -> Atom | None:
        """The number of entries of every vector."""
        ...

    @property
    def nonzero(self) -> AbstractSet[str]:
        """Vectors that are not the zero vector."""
        ...

    @property
    def distinct(self) -> AbstractSet[str]:
        """Vectors that have two entries that differ."""
        ...

    @property
    def simplex(self) -> AbstractSet[str]:
        """Vectors that are probabilities."""
        ...

    @property
    def moving(self) -> AbstractSet[Atom | str]:
        """What a derivative moves off its domain."""
        ...

    def sign_at_points(self, atom: Atom) -> Sign:
        """The signs that a factor may have."""
        ...

    def sign_of_mono(self, mono: Mono) -> Sign:
        """The signs that a product may have."""
        ...

    def sign_of_atom(self, atom: Atom) -> Sign:
        """The signs that an atom may have."""
        ...


def has_a_term(ctx: Facts, atom: Atom) -> bool:
    """Whether one term of a sum is not zero, for a vector that is not the zero vector.

    A product is zero where one of its factors is. Here each factor that may be zero is an entry of such a
    vector, or its modulus, at an index of this very sum, to a positive power. Some entry is not zero, and the
    sum runs over all of them: so the term with that index is not zero. With several indices each has one
    vector, as u_i v_j; in sum_i u_i v_i the two entries that are not zero need not meet.
    """
    highs, body, level = as_tuple(atom.args[0]), as_mono(atom.args[1]), atom.args[2]
    if ctx.size is None or any(high != poly(ctx.size) for high in highs):
        return False
    own = {Atom("bound", level, k) for k in range(len(highs))}
    chosen: dict[Atom, str] = {}
    for factor, e in body:
        if 0 not in ctx.sign_at_points(factor):
            continue
        entry = as_poly(factor.args[0]).atom if factor.kind == "abs" else factor
        if entry is None or entry.kind != "entry" or e < 0:
            return False
        base, index = str(entry.args[0]), as_poly(entry.args[1]).atom
        if index is None or index not in own or base not in ctx.nonzero:
            return False
        if chosen.setdefault(index, base) != base:
            return False
    return bool(chosen)


def sign_of_spread(ctx: Facts, p: Poly) -> Sign:
    """The sign of c (A B - C^2) for sums A of a_i, B of b_i and C of c_i with a_i b_i = c_i^2.

    It is not negative for a, b >= 0 (Cauchy and Schwarz). With weights a = w > 0 and c = w f it is half the
    sum of w_i w_j (f_i - f_j)^2, so it is positive if two values of f differ. They do for a vector with two
    entries that differ, if f is an injective function of its entries and all of them are added up. A may also
    be the number of terms, for w = 1, or the 1 that a probability vector adds up to.
    """
    (one, c), (other, d) = p.terms.items()
    if c != -d:
        return ANY
    if len(one) == 1 and one.powers[0][1] == 2:
        one, other, c = other, one, d
    if len(other) != 1 or other.powers[0][1] != 2 or (mixed := _over_a_row(other.powers[0][0])) is None:
        return ANY
    high, product = mixed
    found = frozenset(ANY)
    for weight, square in _weighted(ctx, one, high):
        if weight.times(square) != product.power(Fraction(2)):
            continue
        if ctx.sign_of_mono(weight) <= NONNEGATIVE and ctx.sign_of_mono(square) <= NONNEGATIVE:
            found &= NONNEGATIVE
        if ctx.sign_of_mono(weight) == POSITIVE and ctx.size is not None and high == poly(ctx.size):
            if _read_off(ctx, product.times(weight.power(Fraction(-1)))) in ctx.distinct:
                found &= POSITIVE
    return found if c > 0 else frozenset(-s for s in found)


def _over_a_row(atom: Atom) -> tuple[Poly, Mono] | None:
    """The end and the summand of a sum over one index, which is called ``INDEX``."""
    if atom.kind != "sum" or len(as_tuple(atom.args[0])) != 1:
        return None
    own = Atom("bound", atom.args[2], 0)
    return as_poly(as_tuple(atom.args[0])[0]), rename_mono(as_mono(atom.args[1]), {own: INDEX})


def _weighted(ctx: Facts, mono: Mono, high: Poly) -> list[tuple[Mono, Mono]]:
    """The summands a and b, in both orders, if a product is one of two such sums up to ``high``."""
    if len(mono) > 2 or any(e != 1 for _, e in mono):
        return []
    summands = []
    for atom, _ in mono:
        over = _over_a_row(atom)
        if over is not None and over[0] == high:
            summands.append(over[1])
        elif poly(atom) == high:
            summands.append(Mono())
        else:
            return []
    if len(summands) == 2:
        return [(summands[0], summands[1]), (summands[1], summands[0])]
    if len(summands) == 1 and ctx.size is not None and high == poly(ctx.size):
        whole = sorted(base for base in ctx.simplex if base not in ctx.moving)
        entries = (Mono([(Atom("entry", base, poly(INDEX)), Fraction(1))]) for base in whole)
        return [(entry, summands[0]) for entry in entries]
    return []


def _read_off(ctx: Facts, f: Mono) -> str | None:
    """The vector whose entry at ``INDEX`` can be told from the value of ``f`` there; None if there is none.

    Factors without the index must not be zero. What is left is one atom: the entry, its logarithm, or e to
    such a thing, to a power that is injective on the values of the atom.
    """
    free = Mono((a, e) for a, e in f if not contains(a, INDEX))
    bound = [(a, e) for a, e in f if contains(a, INDEX)]
    if len(bound) != 1 or 0 in ctx.sign_of_mono(free):
        return None
    ((atom, e),) = bound
    odd = e.denominator == 1 and e > 0 and e.numerator % 2 == 1
    if not odd and ctx.sign_of_atom(atom) != POSITIVE:
        return None
    if atom.kind == "entry":
        return str(atom.args[0]) if as_poly(atom.args[1]).atom == INDEX else None
    if atom.kind == "exp":
        return _read_off(ctx, as_mono(atom.args[0]))
    if atom.kind == "log" and (inner := as_poly(atom.args[0]).atom) is not None:
        return _read_off(ctx, Mono([(inner, Fraction(1))]))
    return None
