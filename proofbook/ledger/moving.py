"""Where the sliders of a figure lead: nowhere that a formula which it draws is not proved.

A reader sees an equation wherever the sliders go, so they have to stay in the domain of a derivation that
holds it. A quantity alone needs no proof: it is what its definition says.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp
from sympy.core.relational import Relational

from proofbook.derive import Derivation, Domain
from proofbook.derive.ranges import Integers, Ladder, Reals, Simplex, exact
from proofbook.derive.reach import reach, spoken_of
from proofbook.ledger.formulas import FormulaRefused, holders, is_defined_in

__all__ = ["Proofs", "Span", "settled_by_ends"]

TRIED = 5
"""At how many values of each symbol, its ends among them, a condition is tried before it is settled."""


@dataclass(frozen=True)
class Span:
    """The values that a symbol takes: from ``low`` to ``high``, in steps, or all of them without a step."""

    low: Any
    high: Any
    step: Any = 0

    @classmethod
    def at(cls, value: Any) -> Span:
        """One value."""
        return cls(value, value)

    def __str__(self) -> str:
        return f"{self.low}" if self.low == self.high else f"{self.low} to {self.high}"

    def is_within(self, kind: Any) -> bool:
        """Whether all of it lies in a range of a domain."""
        low, high, step = map(exact, (self.low, self.high, self.step))
        if isinstance(kind, Reals):
            return low in kind and high in kind and not (kind.nonzero and low <= 0 <= high)
        if isinstance(kind, (Integers, Ladder)):
            least, most = (kind.low, kind.high) if isinstance(kind, Integers) else (kind.least, sp.oo)
            whole = low.is_integer and (low == high or bool(step) and step.is_integer)
            return bool(whole and least <= low and high <= most)
        return bool(exact(kind[0]) <= low and high <= exact(kind[1]))

    def values(self, count: int) -> list[sp.Expr]:
        """Its ends, and values between them that its step reaches.

        >>> Span(1, 2, 1).values(5), Span(0, 1).values(3)
        ([1, 2], [0, 1/2, 1])
        """
        low, high, step = map(exact, (self.low, self.high, self.step))
        even = [low + (high - low) * sp.Rational(k, count - 1) for k in range(count - 1)]
        reached = [low + sp.floor((one - low) / step) * step for one in even] if step else even
        return list(dict.fromkeys([*reached, high]))


class Proofs:
    """Where a formula is proved: in the domains of the derivations that hold it.

    Args:
        formula: A number, a symbol, or a formula that the derivations speak of.
        derivations: What the figure rests on.
        given: The entries of vectors, and the values of symbols that nothing moves.
    """

    def __init__(self, formula: Any, derivations: Sequence[Derivation], given: Mapping[Any, Any]):
        self.formula = sp.sympify(formula)
        self._rows = {key: tuple(map(exact, value)) for key, value in given.items() if _is_row(key)}
        self._still = {key: Span.at(value) for key, value in given.items() if not _is_row(key)}
        plain = self.formula.is_number or isinstance(self.formula, sp.Symbol)
        free = plain or is_defined_in(self.formula, derivations)
        found = [] if free else holders(self.formula, derivations)
        self._holders = [(one, spoken_of(one.domain, [self.formula])) for one in found]

    def check(self, spans: Mapping[sp.Symbol, Span]) -> None:
        """Raise `FormulaRefused` unless one derivation proves the formula wherever its symbols go."""
        refusals = []
        for derivation, spoken in self._holders:
            left = next(self._left(derivation.domain, spoken, {**self._still, **spans}), None)
            if left is None:
                return
            proved = reach(derivation.domain, [self.formula])
            refusals.append(f"{derivation.label} has it for {proved}, and the figure for {left}")
        if refusals:
            raise FormulaRefused(f"{self.formula} is drawn where it is not proved: {'; '.join(refusals)}")

    def _left(self, domain: Domain, spoken: set[Any], spans: Mapping[Any, Span]) -> Iterator[str]:
        """What leaves a domain, in words."""
        for key, kind in domain.ranges.items():
            if key not in spoken:
                continue
            if _is_row(key):
                if not _is_row_of(self._rows.get(key, ()), key, domain):
                    yield f"{key} = {self._rows.get(key, ())}"
            elif key in spans and not spans[key].is_within(kind):
                yield f"{key} = {spans[key]}"
        for relation in domain.where:
            symbols = sorted(relation.free_symbols, key=str)
            if spoken.issuperset(symbols) and all(symbol in spans for symbol in symbols):
                for values in itertools.product(*(spans[symbol].values(TRIED) for symbol in symbols)):
                    if relation.subs(dict(zip(symbols, values))) is not sp.true:
                        yield ", ".join(f"{key} = {one}" for key, one in zip(symbols, values))
                if not settled_by_ends(relation, [(symbol, spans[symbol]) for symbol in symbols]):
                    yield f"values at which nobody can tell whether {relation}"


def settled_by_ends(relation: Any, spans: Sequence[tuple[sp.Symbol, Span]]) -> bool:
    """Whether a condition that holds where all symbols are at an end of theirs holds between, too.

    It does where the two sides differ by what is linear in each symbol, which is largest and smallest at such
    ends; ``!=`` needs the difference to have one sign at all of them.
    """
    if not isinstance(relation, Relational):
        return False
    moving = [symbol for symbol, span in spans if span.low != span.high]
    still = {symbol: exact(span.low) for symbol, span in spans if span.low == span.high}
    difference = sp.expand((relation.lhs - relation.rhs).subs(still))
    if not moving:
        return True
    polynomial = difference.as_poly(*moving)
    if polynomial is None or any(polynomial.degree(symbol) > 1 for symbol in moving):
        return False
    if not isinstance(relation, sp.Ne):
        return True
    ends = [[exact(end) for end in (span.low, span.high)] for symbol, span in spans if symbol in moving]
    signs = {sp.sign(difference.subs(dict(zip(moving, values)))) for values in itertools.product(*ends)}
    return signs in ({sp.Integer(1)}, {sp.Integer(-1)})


def _is_row(key: Any) -> bool:
    return isinstance(key, sp.IndexedBase)


def _is_row_of(entries: Sequence[sp.Expr], key: sp.IndexedBase, domain: Domain) -> bool:
    """Whether these entries make a vector that a domain has."""
    kind = domain.ranges[key]
    if isinstance(kind, Simplex):
        inside = all(one > 0 for one in entries) and sum(entries) == 1
    else:
        inside = all(Span.at(one).is_within(kind) for one in entries)
    return (
        inside
        and len(entries) >= domain.least
        and (key not in domain.nonzero or any(entries))
        and (key not in domain.distinct or len(set(entries)) > 1)
    )
