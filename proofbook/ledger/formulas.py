"""Formulas in the words of a claim: each is an object that a proof holds, or one whose numbers were compared.

A sentence names a formula, as in ``the entropy is {{law}}``, and what stands on the page is printed from the
object. So a sign that is changed is changed in an object that no proof of the claim speaks of: it is refused.
Numbers are named likewise, and come from the variables that the check used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import sympy as sp
from sympy.core.relational import Relational

from proofbook.derive import Definition, Derivation, Domain, lambdify, latex
from proofbook.derive.citation import weakest
from proofbook.derive.ranges import Ladder, Reals
from proofbook.derive.strategies import PROVED
from proofbook.display import SYMBOL
from proofbook.ledger.numbers import printed as printed_number

__all__ = ["FormulaRefused", "Said", "filled", "said", "shown"]

_NAMED = re.compile(r"\{\{([a-z][a-z0-9_]*)\}\}")
_MARKS = {**SYMBOL, "!=": r"\ne"}  # a domain may say that something is not zero


class FormulaRefused(Exception):
    """A formula in the words of a claim that nothing checked speaks of."""


class Said:
    """A formula that somebody states, which need not be so; ``said`` makes one.

    Called with values of its arguments it gives its value, to be compared with what is found. Only then may a
    claim show it.
    """

    def __init__(self, expression: sp.Expr, arguments: Sequence[Any], domain: Domain):
        self.expression = expression
        self.compared = False
        self._value = lambdify(expression, arguments, domain)

    def __call__(self, *values: Any) -> Any:
        """The value of the formula, of numbers or arrays."""
        self.compared = True
        return self._value(*map(np.asarray, values))


def said(expression: Any, *arguments: Any, domain: Domain | None = None) -> Said:
    """What an author states, as a formula whose numbers are to be compared with what is found.

    Args:
        expression: The formula.
        arguments: Its symbols and vectors, in the order in which their values will be given.
        domain: Needed where it has vectors.

    >>> n = sp.Symbol("n", positive=True)
    >>> law = said(sp.log(n) / 2, n)
    >>> round(float(law(4)), 6)
    0.693147
    """
    return Said(sp.sympify(expression), arguments, Domain({}) if domain is None else domain)


def filled(text: str, formulas: Mapping[str, Any], derivations: Sequence[Derivation]) -> str:
    """``text`` with its named formulas printed.

    Args:
        text: Words in which ``{{name}}`` stands for a formula.
        formulas: By name: a derivation, a definition, a relation or an expression of SymPy's, or what was
            ``said``; a whole number, a text of digits, or a tuple of those, as the check used or found them.
        derivations: What the claim cites.

    Raises:
        FormulaRefused: a name without a formula, or a formula that no derivation holds and whose numbers were
            not compared.

    >>> n = sp.Symbol("n", positive=True)
    >>> law = said(sp.log(n), n)
    >>> _ = law(2)
    >>> filled("The law is {{law}} for $n={{n}}$.", {"law": law, "n": 64}, [])
    'The law is $\\\\log n$ for $n=64$.'
    """

    def printed(found: re.Match[str]) -> str:
        if found[1] not in formulas:
            raise FormulaRefused(f"no formula is called {found[1]}")
        value = formulas[found[1]]
        if isinstance(value, (str, Integral)):
            return printed_number(found[1], value)
        return f"${_printed(found[1], value, derivations)}$"

    return _NAMED.sub(printed, text)


def shown(formulas: Mapping[str, Any], derivations: Sequence[Derivation]) -> dict[str, str]:
    """The TeX of formulas by name, as ``filled`` prints them; numbers, which runs change, are left out."""
    return {
        name: _printed(name, value, derivations)
        for name, value in formulas.items()
        if not isinstance(value, (str, Integral, tuple))
    }


def names(text: str) -> set[str]:
    """The names of the formulas in a text.

    >>> sorted(names("from {{a}} to {{b}}"))
    ['a', 'b']
    """
    return set(_NAMED.findall(text))


def _printed(name: str, value: Any, derivations: Sequence[Derivation]) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(printed_number(name, one) for one in value)})"
    if isinstance(value, Said):
        if not value.compared:
            raise FormulaRefused(f"{name} was stated, and its numbers were never compared with anything")
        return latex(value.expression)
    if isinstance(value, Derivation):
        if value not in derivations:
            raise FormulaRefused(f"{name} is {value.label}, which the claim does not cite")
        return f"{latex(value.start)} {_MARKS[_shown(value)]} {latex(value.last)}"
    if isinstance(value, Definition):
        if value not in _definitions(derivations):
            raise FormulaRefused(f"{name} defines {value.name}, of which no derivation cited speaks")
        return f"{latex(value.applied)} = {latex(value.body)}"
    if isinstance(value, Relational):
        mark = "=" if value.rel_op == "==" else value.rel_op
        if not any(_states(derivation, value, mark) for derivation in derivations):
            raise FormulaRefused(f"{name}, {value}, is no relation that a derivation cited shows or assumes")
        return f"{latex(value.lhs)} {_MARKS[mark]} {latex(value.rhs)}"
    formula = sp.sympify(value)
    if not stands_in(formula, derivations):
        raise FormulaRefused(
            f"{name}, {formula}, stands in no derivation cited; if it is stated, say said(...)"
        )
    return latex(formula)


def stands_in(formula: sp.Expr, derivations: Sequence[Derivation]) -> bool:
    """Whether a formula is part of a line of the derivations, or of what a quantity in them is."""
    bodies = [one.body for one in _definitions(derivations)]
    return bool(holders(formula, derivations)) or any(_is_part(formula, body) for body in bodies)


def is_defined_in(formula: sp.Expr, derivations: Sequence[Derivation]) -> bool:
    """Whether a formula is a quantity that the derivations speak of, at any arguments, or part of one."""
    definitions = _definitions(derivations)
    return formula.func in definitions or any(_is_part(formula, one.body) for one in definitions)


def holders(formula: sp.Expr, derivations: Sequence[Derivation]) -> list[Derivation]:
    """The derivations with a line that a formula is part of."""
    return [one for one in derivations if any(_is_part(formula, line) for line in _lines(one))]


def _is_part(formula: sp.Expr, whole: sp.Expr) -> bool:
    return any(formula == part for part in sp.preorder_traversal(whole))


def _lines(derivation: Derivation) -> list[sp.Expr]:
    return [derivation.start, *(step.expression for step in derivation.steps)]


def _definitions(derivations: Sequence[Derivation]) -> list[Definition]:
    """The quantities that derivations speak of, and those that these are made of."""
    found: list[Definition] = []
    waiting = [line for one in derivations for line in _lines(one)]
    while waiting:
        for part in sp.preorder_traversal(waiting.pop()):
            kind = getattr(part, "func", None)
            if isinstance(kind, Definition) and kind not in found:
                found.append(kind)
                waiting.append(kind.body)
    return found


def _ends(domain: Domain) -> Iterator[sp.Basic]:
    """The ends of a domain, as relations: what a condition ``x > 0`` or ``n >= 3`` may say of it."""
    for key, kind in domain.ranges.items():
        if isinstance(kind, Ladder):
            yield sp.Ge(key, kind.least, evaluate=False)
        if isinstance(kind, Reals) and not isinstance(key, sp.IndexedBase):
            low, high = sp.sympify(kind.low), sp.sympify(kind.high)
            yield (sp.Gt if kind.low_open else sp.Ge)(key, low, evaluate=False)
            yield (sp.Lt if kind.high_open else sp.Le)(key, high, evaluate=False)


def _shown(derivation: Derivation, first: int = 0, last: int | None = None) -> str:
    """How a line of a derivation is proved to relate to an earlier one, the start being line 0.

    Raises:
        FormulaRefused: a step between them is shown as evidence, or they stand in no relation.
    """
    if any(verified.strategy != PROVED for verified in derivation.verified[first:last]):
        raise FormulaRefused(
            f"a step of {derivation.label} is shown as evidence: a claim cannot print it as proved"
        )
    try:
        return weakest(derivation.label, [step.relation for step in derivation.steps[first:last]])
    except ValueError as error:
        raise FormulaRefused(str(error)) from error


def _states(derivation: Derivation, relation: Relational, mark: str) -> bool:
    """Whether a derivation shows a relation between two of its lines, or its domain is where it holds."""
    if relation in derivation.domain.where or relation in set(_ends(derivation.domain)):
        return True
    lines = _lines(derivation)
    turned = {"<=": ">=", ">=": "<=", "<": ">", ">": "<"}
    for i in range(len(lines)):
        for j in range(i + 1, len(lines)):
            try:
                shown = _shown(derivation, i, j)
            except FormulaRefused:
                continue
            enough = {shown, "<=" if shown == "<" else ">=" if shown == ">" else shown}
            if (lines[i], lines[j]) == (relation.lhs, relation.rhs) and mark in enough:
                return True
            if (lines[j], lines[i]) == (relation.lhs, relation.rhs) and turned.get(mark, mark) in enough:
                return True
    return False
