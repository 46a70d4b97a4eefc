"""Statements written as text that another process reads back: formulas, domains, and what they speak of.

A formula is written as nested parentheses, ``(Add x (Pow lam 2))``, node by node as SymPy holds it, so that
nothing is evaluated on either way. Names (symbols, vectors, functions, definitions) stand in a table beside
the formulas. ``readback`` reads it again: the node types, constants and functions listed here, and no others.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, get_args

import sympy as sp
from sympy.core.function import Application, AppliedUndef, UndefinedFunction
from sympy.functions.elementary.piecewise import ExprCondPair

from proofbook.derive.domain import Domain
from proofbook.derive.latex import latex
from proofbook.derive.over import MaxOver, MinOver
from proofbook.derive.ranges import Range

Names = dict[str, list[str]]

CONSTANTS = {
    "pi": sp.pi,
    "E": sp.E,
    "I": sp.I,
    "oo": sp.oo,
    "-oo": sp.S.NegativeInfinity,
    "EulerGamma": sp.EulerGamma,
    "Catalan": sp.Catalan,
    "True": sp.true,
    "False": sp.false,
}
FUNCTIONS = {
    name: kind
    for name, kind in vars(sp.functions).items()
    if isinstance(kind, type) and issubclass(kind, Application)
}
RELATIONS = (
    sp.StrictGreaterThan,
    sp.GreaterThan,
    sp.StrictLessThan,
    sp.LessThan,
    sp.Unequality,
    sp.Equality,
    sp.And,
    sp.Or,
    sp.Not,
)
UNEVALUATED = {**FUNCTIONS, **{kind.__name__: kind for kind in (sp.Add, sp.Mul, sp.Pow, *RELATIONS)}}
OVER_A_RANGE = {kind.__name__: kind for kind in (sp.Sum, sp.Product, sp.Integral)}
EXTREMA = {kind.__name__: kind for kind in (MaxOver, MinOver)}
_OTHERS = (sp.Tuple, sp.Indexed, sp.Derivative, sp.Subs, sp.Limit, ExprCondPair)
KINDS = {**UNEVALUATED, **OVER_A_RANGE, **EXTREMA, **{kind.__name__: kind for kind in _OTHERS}}


RANGES: dict[str, Callable[..., Any]] = {
    kind.__name__: kind
    for kind in get_args(Range)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind)
}


class Unreadable(ValueError):
    """A text that is no statement, or a formula that no text stands for."""


class Writer:
    """Writes formulas; ``names`` fills with what they speak of, in the order in which it is met."""

    def __init__(self) -> None:
        self.names: Names = {}
        self._keys: dict[Any, str] = {}

    def formula(self, e: Any) -> str:
        """The text of a formula or of a relation.

        Raises:
            Unreadable: it holds what the reader does not know.
        """
        if isinstance(e, sp.Rational):
            return str(e)
        if isinstance(e, sp.Float):
            sign, mantissa, exponent, _ = e._mpf_
            return f"(Float {(-1) ** sign * int(mantissa)} {exponent} {e._prec})"
        for name, constant in CONSTANTS.items():
            if e is constant:
                return name
        if isinstance(e, (sp.Symbol, sp.IndexedBase)):
            return self._name(e)
        if isinstance(e, AppliedUndef) or hasattr(type(e), "written"):
            key = self._name(e.func)
            if hasattr(e.func, "written"):
                self._shown_apart(self.names[key], e)
            return self._node("Apply", [key, *map(self.formula, e.args)])
        return self._node(self._head(e), map(self.formula, self._arguments(e)))

    def _head(self, e: Any) -> str:
        kinds = {
            **UNEVALUATED,
            **OVER_A_RANGE,
            **EXTREMA,
            **{kind.__name__: kind for kind in (sp.Tuple, sp.Indexed, sp.Derivative, sp.Subs, sp.Limit)},
            **{
                kind.__name__: kind for kind in (sp.Piecewise, sp.functions.elementary.piecewise.ExprCondPair)
            },
        }
        name = type(e).__name__
        if kinds.get(name) is not type(e):
            raise Unreadable(f"{name} cannot be written: no reader knows it")
        return name

    @staticmethod
    def _shown_apart(entry: list[str], e: Any) -> None:
        """Note how a quantity is shown at these arguments, where the template would show it otherwise."""
        printed = [latex(argument) for argument in e.args]
        text = e.func.shown_as(*printed)
        if text is not None and text != from_template(entry[4], printed):
            apart = json.dumps([*printed, text])
            if apart not in entry:
                entry.append(apart)

    @staticmethod
    def _arguments(e: Any) -> Sequence[Any]:
        if isinstance(e, sp.Limit):
            return (*e.args[:3], {"+": sp.S.One, "-": sp.S.NegativeOne, "+-": sp.S.Zero}[str(e.args[3])])
        return tuple(e.args)

    @staticmethod
    def _node(head: str, arguments: Iterable[str]) -> str:
        return f"({' '.join([head, *arguments])})"

    def _name(self, named: Any) -> str:
        """The key of a name, which is entered in the table when it is met first."""
        if named not in self._keys:
            entry = self._entry(named)
            own = named.label if isinstance(named, sp.IndexedBase) else named
            wanted = re.sub(r"\W+", "_", str(getattr(own, "name", own))) or "x"
            key, taken = wanted, {*self.names, *CONSTANTS}
            while key in taken or key[0].isdigit() or key.startswith("-"):
                key = f"_{key}" if key[0].isdigit() else f"{wanted}_{len(self.names)}"
            self._keys[named] = key
            self.names[key] = entry
        return self._keys[named]

    def _entry(self, named: Any) -> list[str]:
        if isinstance(named, sp.IndexedBase):
            if not isinstance(named.label, sp.Symbol) or len(named.args) != 1:
                raise Unreadable(f"the vector {named} has more to it than a name")
            return ["vector", named.label.name, _declared(named.label._assumptions_orig)]
        if isinstance(named, sp.Symbol):
            kind = {sp.Symbol: "symbol", sp.Dummy: "dummy"}.get(type(named))
            if kind is None:
                raise Unreadable(f"{named} is a {type(named).__name__}")
            return [kind, named.name, _declared(named._assumptions_orig)]
        if hasattr(named, "written"):
            written: list[str] = named.written(self)
            return written
        if type(named) is UndefinedFunction:
            return ["function", named.__name__, _declared(named._kwargs)]
        raise Unreadable(f"{named!r} is no name")

    def citation(self, label: str, steps: tuple[int, int], at: Iterable[tuple[Any, Any]]) -> str:
        """The text of a citation: from which to which step of which equation, and at which values."""
        values = [f"({self.formula(symbol)} {self.formula(value)})" for symbol, value in at]
        return self._node(label, [*map(str, steps), *values])

    def domain(self, domain: Domain) -> str:
        """The text of a domain."""
        parts = []
        for field in dataclasses.fields(domain):
            value = getattr(domain, field.name)
            if field.name == "ranges":
                parts += [f"(range {self.formula(key)} {self._range(kind)})" for key, kind in value.items()]
            elif isinstance(value, sp.Basic):
                parts.append(self._node(field.name, [self.formula(value)]))
            elif value:
                parts.append(self._node(field.name, map(self.formula, value)))
        return self._node("Domain", parts)

    def _range(self, kind: Any) -> str:
        if isinstance(kind, tuple):
            return self._node("Interval", map(self._value, kind))
        values = [getattr(kind, field.name) for field in dataclasses.fields(kind)]
        return self._node(type(kind).__name__, map(self._value, values))

    def _value(self, value: Any) -> str:
        """An end of a range, or what else it is made by; a decimal is the number it is written as."""
        if isinstance(value, tuple):
            return self._node("Tuple", map(self._value, value))
        exact = sp.Rational(str(value)) if isinstance(value, (float, sp.Float)) else sp.sympify(value)
        return self.formula(exact)


def from_template(template: str, printed: Sequence[str]) -> str:
    """A quantity's own name in LaTeX, with its printed arguments for ``#1``, ``#2`` and so on."""
    return re.sub(r"#(\d)", lambda match: printed[int(match[1]) - 1], template)


def _declared(assumptions: Mapping[str, Any]) -> str:
    """What a name is declared to be, as words; ``!`` before what it is declared not to be."""
    known = {key: value for key, value in assumptions.items() if value is not None}
    return " ".join(("" if value else "!") + key for key, value in sorted(known.items()))
