"""Reads statements back from the text that ``statement`` writes.

The reader knows a list of node types, constants and functions and refuses all else; it runs no text as code.
Every node is made as it was, by SymPy's own classes and without evaluation.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sympy as sp
from sympy.core.function import UndefinedFunction
from sympy.functions.elementary.piecewise import ExprCondPair

from proofbook.derive.definition import Definition, define
from proofbook.derive.domain import Domain
from proofbook.derive.statement import (
    CONSTANTS,
    EXTREMA,
    OVER_A_RANGE,
    RANGES,
    UNEVALUATED,
    Unreadable,
    from_template,
)

DEEPEST = 200
_CONDITIONS = {field.name for field in dataclasses.fields(Domain)} - {"ranges", "size"}


def _declarations(text: str) -> dict[str, bool]:
    words = text.split()
    if any(not re.fullmatch(r"!?[a-z_]+", word) for word in words):
        raise Unreadable(f"no declaration: {text!r}")
    return {word.lstrip("!"): not word.startswith("!") for word in words}


def _shown(template: str, apart: Sequence[str]) -> Callable[..., str] | None:
    """How a quantity is shown: by its template, but for the arguments at which it is shown otherwise."""
    if not template:
        return None
    others = {}
    for text in apart:
        *printed, shown = map(str, json.loads(text))
        others[tuple(printed)] = shown
    return lambda *printed: others.get(printed) or from_template(template, printed)


_Tree = Any  # a token, or a list of trees


def _parsed(text: str) -> _Tree:
    """The nesting of a text: lists of tokens and lists."""
    tokens = re.findall(r"[()]|[^\s()]+", text)
    stack: list[list[_Tree]] = [[]]
    for token in tokens:
        if token == "(":
            stack.append([])
            if len(stack) > DEEPEST:
                raise Unreadable(f"nested deeper than {DEEPEST}")
        elif token == ")":
            done = stack.pop()
            if not stack or not done:
                raise Unreadable("parentheses that do not match, or hold nothing")
            stack[-1].append(done)
        else:
            stack[-1].append(token)
    if len(stack) != 1 or len(stack[0]) != 1:
        raise Unreadable("not one formula")
    return stack[0][0]


class Reader:
    """Reads what a ``Writer`` wrote, given the entries of its table of names, each with its key first."""

    def __init__(self, names: Iterable[Sequence[str]]):
        self._table: dict[str, Any] = dict(CONSTANTS)
        for entry in names:
            if len(entry) < 3 or entry[0] in self._table or not all(isinstance(w, str) for w in entry):
                raise Unreadable(f"no entry of a table of names: {entry}")
            self._table[entry[0]] = self._named(*entry[1:])

    def _named(self, kind: str, name: str, *rest: str) -> Any:
        if kind in ("symbol", "dummy", "vector", "function") and len(rest) == 1:
            declared = _declarations(rest[0])
            if kind == "vector":
                return sp.IndexedBase(sp.Symbol(name, **declared), **declared)
            make = {"symbol": sp.Symbol, "dummy": sp.Dummy, "function": sp.Function}[kind]
            return make(name, **declared)
        if kind == "definition" and len(rest) >= 3:
            symbols, body, template, *apart = rest
            arguments = tuple(self._symbol(key) for key in symbols.split())
            return define(name, arguments, self.formula(body), latex=_shown(template, apart))
        raise Unreadable(f"no name is a {kind!r} with {len(rest)} words")

    def _symbol(self, key: _Tree) -> sp.Symbol:
        found = self._table.get(key) if isinstance(key, str) else None
        if not isinstance(found, sp.Symbol):
            raise Unreadable(f"{key!r} is no symbol")
        return found

    def formula(self, text: str) -> Any:
        """The formula, or relation, that a text stands for.

        Raises:
            Unreadable: it stands for none.
        """
        return self._read(_parsed(text))

    def _read(self, tree: _Tree) -> Any:
        if isinstance(tree, str):
            if tree in self._table:
                return self._table[tree]
            if _is_number(tree):
                return sp.Integer(tree)
            if re.fullmatch(r"-?\d+/[1-9]\d*", tree):
                return sp.Rational(*map(int, tree.split("/")))
            raise Unreadable(f"{tree!r} stands for nothing")
        head, *rest = tree
        if head == "Float" and len(rest) == 3 and all(map(_is_number, rest)):
            mantissa, exponent, precision = map(int, rest)
            value = (int(mantissa < 0), abs(mantissa), exponent, abs(mantissa).bit_length())
            return sp.Float(value, precision=precision)
        try:
            return self._made(head, [self._read(part) for part in rest])
        except Unreadable:
            raise
        except Exception as error:  # SymPy's constructors raise what they like
            raise Unreadable(f"no formula: {tree}") from error

    def _made(self, head: str, parts: list[Any]) -> Any:
        if head in UNEVALUATED:
            return UNEVALUATED[head](*parts, evaluate=False)
        if head == "Tuple":
            return sp.Tuple(*parts)
        if head in OVER_A_RANGE and len(parts) > 1 and all(map(_is_limits, parts[1:])):
            # SymPy's own constructor would flatten nested sums
            made = sp.Expr.__new__(OVER_A_RANGE[head], *parts)
            made.is_commutative = parts[0].is_commutative
            return made
        if head in EXTREMA and len(parts) == 2 and _is_limits(parts[1]):
            return EXTREMA[head](*parts)
        if head == "Derivative" and len(parts) > 1 and all(isinstance(p, sp.Tuple) for p in parts[1:]):
            return sp.Expr.__new__(sp.Derivative, *parts)
        if head == "Indexed" and len(parts) > 1 and isinstance(parts[0], sp.IndexedBase):
            return sp.Indexed(*parts)
        if head == "Apply" and isinstance(parts[0], (Definition, UndefinedFunction)):
            return parts[0](*parts[1:])
        if head == "Subs" and len(parts) == 3:
            return sp.Subs(*parts)
        if head == "Limit" and len(parts) == 4:
            return sp.Limit(*parts[:3], {1: "+", -1: "-", 0: "+-"}[int(parts[3])])
        if head == "ExprCondPair" and len(parts) == 2:
            return ExprCondPair(*parts)
        raise Unreadable(f"no node is a {head!r} of {len(parts)}")

    def citation(self, text: str) -> tuple[str, tuple[int, int], dict[sp.Symbol, sp.Expr]]:
        """The label, the first and the last step, and the values that a text cites an equation at.

        Raises:
            Unreadable: it stands for no citation.
        """
        tree = _parsed(text)
        if not isinstance(tree, list) or len(tree) < 3 or not all(map(_is_number, tree[1:3])):
            raise Unreadable(f"no citation: {text}")
        label, first, last, *at = tree
        if not isinstance(label, str) or not all(isinstance(pair, list) and len(pair) == 2 for pair in at):
            raise Unreadable(f"no citation: {text}")
        return label, (int(first), int(last)), {self._symbol(key): self._read(value) for key, value in at}

    def domain(self, text: str) -> Domain:
        """The domain that a text stands for.

        Raises:
            Unreadable: it stands for none.
        """
        tree = _parsed(text)
        if not isinstance(tree, list) or tree[0] != "Domain":
            raise Unreadable("no domain")
        ranges: dict[Any, Any] = {}
        others: dict[str, Any] = {}
        for part in tree[1:]:
            kind, *rest = part if isinstance(part, list) else [part]
            if kind == "range" and len(rest) == 2 and (key := self._read(rest[0])) not in ranges:
                ranges[key] = self._range(rest[1])
            elif kind == "size" and len(rest) == 1:
                others["size"] = self._symbol(rest[0])
            elif kind in _CONDITIONS and kind not in others:
                others[kind] = tuple(map(self._read, rest))
            else:
                raise Unreadable(f"a domain has no {kind!r} of {len(rest)}")
        try:
            return Domain(ranges, **others)
        except (ValueError, TypeError, AttributeError) as error:
            raise Unreadable(str(error)) from error

    def _range(self, tree: _Tree) -> Any:
        head, *rest = tree if isinstance(tree, list) else [tree]
        values = [_plain(self._read(part)) for part in rest]
        if head == "Interval" and len(rest) == 2:
            return tuple(values)
        try:
            return RANGES[head](*values)
        except (KeyError, TypeError) as error:
            raise Unreadable(f"no range: {tree}") from error


def _plain(value: Any) -> Any:
    """A whole number, a truth or several values as Python has them; a formula as it is."""
    if isinstance(value, sp.Tuple):
        return tuple(map(_plain, value))
    if value in (sp.true, sp.false):
        return bool(value)
    return int(value) if isinstance(value, sp.Integer) else value


def _is_number(token: _Tree) -> bool:
    return isinstance(token, str) and bool(re.fullmatch(r"-?\d+", token))


def _is_limits(part: Any) -> bool:
    return isinstance(part, sp.Tuple) and len(part) == 3 and isinstance(part[0], sp.Symbol)
