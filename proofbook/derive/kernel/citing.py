"""Proved statements as facts: an instance of one holds wherever its domain is implied.

A proof rests on the facts of its domain and on nothing else: ranges, whole numbers, sizes, relations. So a
proved statement holds at any values at which all these facts hold and its lines have a value. Here they are
proved for the values that it is cited at; then its two ends, with these values in them, are one more fact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp

from proofbook.derive.domain import Domain
from proofbook.derive.kernel.algebra import Atom, Poly, constant, poly
from proofbook.derive.kernel.context import WANTED, Context, Interval
from proofbook.derive.kernel.errors import NotProved
from proofbook.derive.kernel.forms import in_range, substitute
from proofbook.derive.kernel.reading import Reader
from proofbook.derive.kernel.setting import End, Setting, context_of


@dataclass(frozen=True)
class Cited:
    """A proved statement ``lines[0] relation lines[-1]`` and the values it is cited at.

    Args:
        label: the equation it is from.
        steps: the first and the last of its steps, from 1.
        relation: the weakest of the chain.
        lines: all of its lines: where one of them has no value the chain says nothing.
        domain: the values that it was proved for.
        opened: ends of ranges that the proofs left out.
        at: an expression of the citing statement for symbols of the cited one; others stand for themselves.
        within: for an approximation, ``~``, what bounds the first line less the last from below and above.
        assumptions: the numbers of the assumptions that it rests on, or is.
    """

    label: str
    steps: tuple[int, int]
    relation: str
    lines: tuple[sp.Expr, ...]
    domain: Domain
    opened: frozenset[End]
    at: tuple[tuple[sp.Symbol, sp.Expr], ...]
    within: tuple[sp.Expr, sp.Expr] | None = None
    assumptions: tuple[int, ...] = ()


Fact = tuple[Poly, str]


def take_cited(ctx: Context, reader: Reader, domain: Domain, cites: Sequence[Cited]) -> None:
    """Add to the facts what the cited statements say here, each a relation of a polynomial to zero.

    They become facts one by one. So what is cited first may show that the values of the next
    lie in its domain: it holds everywhere here.

    Raises:
        NotProved: a value is not known to lie in the domain of what is cited, or a line may have no value.
    """
    earlier = len(ctx.conditions)
    try:
        for cite in cites:
            facts = _facts(ctx, reader, domain, cite)
            for condition in ctx.conditions[earlier:]:
                if not ctx.sign(condition.value) <= WANTED[condition.relation]:
                    raise NotProved(
                        f"{cite.label}, as cited, may have no value: not shown {condition.value} "
                        f"{condition.relation} 0 ({condition.because})"
                    )
            ctx.hypotheses += tuple(facts)
            ctx.forget()
    finally:
        del ctx.conditions[earlier:]


def _facts(ctx: Context, reader: Reader, domain: Domain, cite: Cited) -> list[Fact]:
    said = (*cite.lines, *(cite.within or ()))
    there, known = context_of(cite.domain, Setting(False, cite.opened), *said)
    values = {symbol: reader.read(value) for symbol, value in cite.at}
    for symbol in known.symbols:
        if symbol not in values and symbol not in reader.symbols:
            raise NotProved(f"{cite.label} speaks of {symbol}: say at what it is cited")
    by_atom = {
        atom: values[symbol] if symbol in values else poly(reader.symbols[symbol])
        for symbol, atom in known.symbols.items()
    }
    _vectors_are_kept(ctx, domain, there, cite)
    for atom, value in by_atom.items():
        _lies_in(ctx, there, atom, value, by_atom, cite)
    for hypothesis, relation in there.hypotheses:
        here = substitute(ctx, hypothesis, {a: v for a, v in by_atom.items() if poly(a) != v})
        if not ctx.sign(here) <= WANTED[relation]:
            raise NotProved(f"{cite.label} is for {hypothesis} {relation} 0 only: not shown here")
    lines = [reader.read(line, values) for line in said]
    if cite.within is None:
        return [(lines[0] - lines[-1], cite.relation)]
    left, right, below, above = lines
    return [(left - right + below, ">="), (left - right - above, "<=")]


def _vectors_are_kept(ctx: Context, domain: Domain, there: Context, cite: Cited) -> None:
    """A vector stands for itself, with entries that the cited ranges allow, and of the same length.

    The entries of a probability vector lie in (0, 1]; that they sum to one is known of no other.
    """
    for base in cite.domain.vectors:
        name = str(base.label)
        if base not in domain.vectors:
            raise NotProved(f"{cite.label} speaks of the vector {name}, which has no range here")
        if name in there.simplex and name not in ctx.simplex:
            raise NotProved(f"{cite.label} is for probability vectors, which {name} is not here")
        if not _within(ctx.entries[name], there.entries[name]):
            raise NotProved(f"{cite.label} is for a smaller range of the entries of {name}")
        for said, known, words in (
            (there.nonzero_entries, ctx.nonzero_entries, "has a zero entry"),
            (there.nonzero, ctx.nonzero, "is zero"),
            (there.distinct, ctx.distinct, "is constant"),
        ):
            if name in said - known:
                raise NotProved(f"{cite.label} leaves out that {name} {words}, which it may be here")
    counted = cite.domain.vectors or cite.domain.each
    if counted and (cite.domain.size != domain.size or cite.domain.size in dict(cite.at)):
        raise NotProved(f"{cite.label} counts entries with {cite.domain.size}, which is another size here")


def _lies_in(
    ctx: Context, there: Context, atom: Atom, value: Poly, by_atom: dict[Atom, Poly], cite: Cited
) -> None:
    """All that the cited proof may have used of a symbol holds of the value in its place."""
    if atom in there.whole and not _is_whole(ctx, value):
        raise NotProved(f"{cite.label} is for a whole number, which {value} is not known to be")
    high = there.inside.get(atom)
    if high is not None and not in_range(ctx, value, by_atom[_atom_of(high)]):
        raise NotProved(f"{cite.label} is for an index in range, which {value} is not known to be")
    bounds = there.interval(atom)
    for end, strict, turn in ((bounds.low, bounds.low_strict, 1), (bounds.high, bounds.high_strict, -1)):
        relation = ">" if strict else ">="
        if end is not None and not ctx.sign((value - constant(end)).scaled(turn)) <= WANTED[relation]:
            words = {1: "above", -1: "below"}[turn] + (" " if strict else " or at ")
            raise NotProved(f"{cite.label} is for values {words}{end}, where {value} is not known to lie")


def _atom_of(high: Poly) -> Atom:
    atom = high.atom
    if atom is None:
        raise NotProved(f"no rule cites for an index up to {high}")
    return atom


def _is_whole(ctx: Context, value: Poly) -> bool:
    """Sums and products of whole numbers are whole."""
    return all(
        c.denominator == 1 and all(_counts(ctx, a) and e.denominator == 1 and e > 0 for a, e in mono)
        for mono, c in value.terms.items()
    )


def _counts(ctx: Context, atom: Atom) -> bool:
    return atom in ctx.whole or atom.kind == "idx"


def _within(inner: Interval, outer: Interval) -> bool:
    """Whether one interval lies in another, ends left out taken into account."""
    if outer.low is not None:
        if inner.low is None or inner.low < outer.low:
            return False
        if inner.low == outer.low and outer.low_strict and not inner.low_strict:
            return False
    if outer.high is not None:
        if inner.high is None or inner.high > outer.high:
            return False
        if inner.high == outer.high and outer.high_strict and not inner.high_strict:
            return False
    return True


def citation_data(cites: Sequence[Cited]) -> list[dict[str, Any]]:
    """What a certificate says of its citations."""
    return [
        {
            "label": cite.label,
            "steps": list(cite.steps),
            "relation": cite.relation,
            "lines": [str(line) for line in cite.lines],
            "within": [str(bound) for bound in cite.within or ()],
            "at": {str(symbol): str(value) for symbol, value in cite.at},
            **({"assumptions": list(cite.assumptions)} if cite.assumptions else {}),
        }
        for cite in cites
    ]


def parts_of(certificate: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A certificate, or those of the two bounds of an approximation."""
    return [certificate[side] for side in ("below", "above") if side in certificate] or [certificate]


def citations_in(certificate: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a proof cites, that of an approximation for either of its bounds."""
    return [citation for part in parts_of(certificate) for citation in part.get("cites", [])]


def assumptions_of(certificate: Mapping[str, Any]) -> tuple[int, ...]:
    """The numbers of the assumptions that a proof rests on, those of what it cites among them."""
    return tuple(
        sorted({k for citation in citations_in(certificate) for k in citation.get("assumptions", ())})
    )
