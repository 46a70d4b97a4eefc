"""From a formula about every n to the same formula at one n, in plain symbols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy as sp

from proofbook.derive._sympy import carry_out
from proofbook.derive.definition import unfold
from proofbook.derive.domain import Domain
from proofbook.derive.over import Over
from proofbook.derive.ranges import Simplex


class NotConcrete(Exception):
    """A formula still holds something that has no value at a point, such as a function nobody defined."""


def at_size(
    expression: sp.Expr,
    domain: Domain,
    n: int,
    at: Mapping[sp.Symbol, int] | None = None,
    *,
    operations: bool = True,
) -> sp.Expr:
    """``expression`` at one size: definitions unfolded, sums written out, vectors as symbols.

    Args:
        expression: a formula about every n.
        domain: says which symbol is the size, and what the vectors are.
        n: the size; 0 where nothing is counted, and then sums and vectors stay as they are.
        at: values of the free indices.
        operations: whether SymPy carries out integrals, limits and derivatives; otherwise they stay as typed.

    Raises:
        NotConcrete: an index has no value, or one outside its vector.
        Undecided: SymPy fails to carry out an integral, a limit or a derivative.
    """
    expression = unfold(expression, derivatives=operations).subs(at or {})
    if n:
        if domain.size is not None:
            expression = expression.subs(domain.size, n)
        expression = _write_out(expression)
        for base in domain.vectors:
            symbols = domain.entries(base, n)
            entries = {a: _entry(a, symbols) for a in expression.atoms(sp.Indexed) if a.base == base}
            expression = expression.xreplace(entries)
    return expression.replace(_is_operation, carry_out) if operations else expression


def _is_operation(e: Any) -> bool:
    """Whether SymPy has to carry this out.

    A finite sum is added up at each point, whatever its closed form may be.
    """
    if isinstance(e, (sp.Sum, sp.Product)):
        return any(end.is_infinite for _, *ends in e.limits for end in ends)
    return isinstance(e, (sp.Derivative, sp.Subs, sp.Integral, sp.Limit, Over))


def on_simplex(expression: sp.Expr, domain: Domain, n: int) -> sp.Expr:
    """Use that a probability vector sums to one: its last entry is one minus the others."""
    for base, kind in domain.ranges.items():
        if isinstance(kind, Simplex) and n:
            symbols = domain.entries(base, n)
            expression = expression.subs(symbols[-1], 1 - sum(symbols[:-1]))
    return expression


def _entry(indexed: sp.Indexed, symbols: tuple[sp.Symbol, ...]) -> sp.Expr:
    (k,) = indexed.indices
    if not k.is_Integer:
        raise NotConcrete(f"{indexed} has an index with no value")
    if not 1 <= k <= len(symbols):
        raise NotConcrete(f"{indexed} lies outside a vector of {len(symbols)} entries")
    return symbols[int(k) - 1]


def _write_out(expression: sp.Expr) -> sp.Expr:
    """Expand sums, products and extrema whose ends are numbers, innermost first."""

    def is_range(e: Any) -> bool:
        return isinstance(e, (sp.Sum, sp.Product, Over))

    def expand(e: Any) -> Any:
        body, *limits = e.args
        values = [body]
        for index, low, high in limits:
            if not (low.is_Integer and high.is_Integer):
                return e
            if index.is_positive and low < 1:
                # SymPy has simplified the body as if the index never were 0
                raise NotConcrete(f"{index} is declared positive and runs from {low}")
            values = [v.subs(index, k) for v in values for k in range(int(low), int(high) + 1)]
        if isinstance(e, sp.Sum):
            return sp.Add(*values)
        if isinstance(e, sp.Product):
            return sp.Mul(*values)
        return e.reduce(*values)

    while (written := expression.replace(is_range, expand)) != expression:
        expression = written
    return expression
