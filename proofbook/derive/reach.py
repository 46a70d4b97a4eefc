"""For which values a statement is made: a few words for its mark, and all of it for its record.

Only what the statement speaks of is named: a domain that several statements share may range over more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import Any

import sympy as sp

from proofbook.derive.definition import unfold
from proofbook.derive.domain import Domain
from proofbook.derive.kernel.setting import End
from proofbook.derive.latex import latex
from proofbook.derive.ranges import Integers, Reals, Simplex, exact

_NAMED = 3  # symbols that a mark can name and stay short


def reach_in_short(domain: Domain, sides: Iterable[sp.Expr], left_out: AbstractSet[End] = frozenset()) -> str:
    """What a mark says: ``for every $n$``, ``for every real $x$``; empty where nothing runs free.

    The ends that are ``left_out`` are no part of their ranges.
    """
    spoken = spoken_of(domain, sides)
    if domain.size in spoken and domain.sizes != (0,):
        least = rf"\ge{domain.least}" if domain.least > 1 else ""
        return f"for every ${latex(domain.size)}{least}$"
    scalars = [key for key in domain.scalars if key in spoken]
    if not scalars:
        return ""
    shared = {_bounds("?", domain.ranges[key], _ends_of(key, left_out)) for key in scalars}
    if len(shared) > 1 or len(scalars) > _NAMED or _conditions(domain, spoken):
        return "on its whole domain"
    ends = _ends_of(scalars[0], left_out)
    kind, bounds = _bounds(",".join(map(latex, scalars)), domain.ranges[scalars[0]], ends)
    return f"for {'every' if len(scalars) == 1 else 'all'} {kind}${_with_signs(bounds)}$"


def reach(
    domain: Domain,
    sides: Iterable[sp.Expr],
    left_out: AbstractSet[End] = frozenset(),
    *,
    typeset: bool = False,
) -> str:
    """All values for which it is claimed: ``every n >= 2, every real s``; empty if nothing is free.

    The ends that are ``left_out`` are no part of their ranges. It is plain text, or ``typeset``:
    Markdown with formulas in it.
    """
    spoken = spoken_of(domain, sides)
    name = latex if typeset else str

    def formula(text: str) -> str:
        return f"${_with_signs(text)}$" if typeset else text

    said = []
    if domain.size in spoken and domain.sizes != (0,):
        least = f" >= {domain.least}" if domain.least > 1 else ""
        said.append(f"every {formula(name(domain.size) + least)}")
    said += [f"every index {formula(name(index))}" for index in domain.each if index in spoken]
    for key, kind in domain.ranges.items():
        if isinstance(kind, Simplex) and key in spoken:
            said.append(f"every {formula(name(key) + ' > 0')} of sum 1")
        elif key in spoken and key != domain.size:
            number = _typeset_number if typeset else _number
            word, bounds = _bounds(name(key), kind, _ends_of(key, left_out), number)
            said.append(f"every {word}{formula(bounds)}")
    for vectors, what in ((domain.nonzero, "zero"), (domain.distinct, "equal")):
        said += [f"{formula(name(base))} not all {what}" for base in vectors if base in spoken]
    conditions = _conditions(domain, spoken)
    said += [f"where {f'${latex(one)}$' if typeset else _in_words(one)}" for one in conditions]
    return ", ".join(said)


def _with_signs(text: str) -> str:
    """A formula with its relations as LaTeX has them."""
    for sign, printed in ((" <= ", r"\le "), (" >= ", r"\ge "), (" != ", r"\ne ")):
        text = text.replace(sign, printed)
    return text


def spoken_of(domain: Domain, sides: Iterable[sp.Expr]) -> set[Any]:
    """Symbols and vectors that stand free in the sides, and what the domain's conditions tie to these."""
    free: set[Any] = set()
    for side in sides:
        free |= unfold(side, derivatives=False).free_symbols
    # a vector counts as what its label names
    spoken = {key for key in domain.ranges if (key.label if isinstance(key, sp.IndexedBase) else key) in free}
    spoken |= {index for index in domain.each if index in free}
    if any(isinstance(key, sp.IndexedBase) or key in domain.each for key in spoken):
        spoken.add(domain.size)
    for _ in domain.where:
        for relation in domain.where:
            if relation.free_symbols & spoken:
                spoken |= relation.free_symbols
    return spoken


def _conditions(domain: Domain, spoken: set[Any]) -> list[Any]:
    return [relation for relation in domain.where if relation.free_symbols & spoken]


def _in_words(relation: Any) -> str:
    """A condition as a reader would write it."""
    return f"{relation.lhs} != {relation.rhs}" if isinstance(relation, sp.Ne) else str(relation)


def _ends_of(key: Any, left_out: AbstractSet[End]) -> set[str]:
    """Which ends of the range of a scalar or vector are left out."""
    name = str(key.label if isinstance(key, sp.IndexedBase) else key)
    return {end for named, end in left_out if named == name}


def _bounds(
    name: str, kind: Any, left_out: AbstractSet[str], number: Callable[[Any], str] | None = None
) -> tuple[str, str]:
    """Of what kind the numbers of a range are, if that needs a word, and a name between the range's ends."""
    number = number or _number
    low_sign = high_sign = "<="
    if isinstance(kind, Reals):
        low, high = kind.low, kind.high
        low_sign = "<" if kind.low_open or kind.nonzero and low == 0 else "<="
        high_sign = "<" if kind.high_open or kind.nonzero and high == 0 else "<="
    else:
        low, high = (kind.low, kind.high) if isinstance(kind, Integers) else kind
        low_sign, high_sign = ("<" if end in left_out else "<=" for end in ("low", "high"))
    word = "whole " if isinstance(kind, Integers) else ""
    if low == -sp.oo and high == sp.oo:
        word, text = "real ", name
    elif high == sp.oo:
        # the end stands behind the name: x > 0
        text = f"{name} {low_sign.replace('<', '>')} {number(low)}"
    elif low == -sp.oo:
        text = f"{name} {high_sign} {number(high)}"
    else:
        text = f"{number(low)} {low_sign} {name} {high_sign} {number(high)}"
    if isinstance(kind, Reals) and kind.nonzero and not (kind.is_positive or kind.is_negative):
        text += " != 0" if text == name else f", {name} != 0"
    return word, text


def _number(end: Any) -> str:
    """An end as a decimal, if that is what it is."""
    value = exact(end)
    if isinstance(value, sp.Rational) and 10**6 % value.q == 0:
        return f"{float(value):.6f}".rstrip("0").rstrip(".")
    return str(value)


def _typeset_number(end: Any) -> str:
    """An end as LaTeX, a short decimal as what it is."""
    text = _number(end)
    return text if text.lstrip("-").replace(".", "", 1).isdigit() else latex(exact(end))
