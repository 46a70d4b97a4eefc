"""A formula of arrays, computed with its sums along axes instead of written out entry by entry.

A sum of 16,384 terms that SymPy writes out takes seconds to build; along an axis it is one operation. An
index that is bound becomes an axis behind those that the arguments have.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

import sympy as sp

from proofbook.derive.over import MaxOver, MinOver, Over

Limit: TypeAlias = tuple[sp.Symbol, int, int]
"""An index, and the first and the last of its values."""

# What array libraries call the operations over an index; the first of the names that a library has is taken.
REDUCTIONS: dict[type, tuple[str, ...]] = {
    sp.Sum: ("sum",),
    sp.Product: ("prod",),
    MaxOver: ("amax", "max"),
    MinOver: ("amin", "min"),
}


def over_axes(expression: sp.Expr, arguments: Collection[Any], n: int, known: Collection[type]) -> bool:
    """Whether ``expression`` has sums, products or extrema, all of which can be taken along axes.

    They can if their ends are numbers, their indices only number entries of vectors of length ``n``, and all
    else is arithmetic of ``arguments`` or a ``known`` function. A formula that names an entry that is not
    there cannot: whoever writes it out says what is wrong.
    """
    return expression.has(sp.Sum, sp.Product, Over) and _suits(expression, {}, frozenset(arguments), n, known)


def _suits(
    e: sp.Basic,
    open_ends: Mapping[Any, tuple[int, int]],
    arguments: Collection[Any],
    n: int,
    known: Collection[type],
) -> bool:
    if type(e) in REDUCTIONS:
        if type(e) not in known or e.is_number:
            return False
        body, *limits = e.args
        ends = {}
        for index, *range_ in limits:
            if len(range_) != 2 or not all(end.is_Integer for end in range_):
                return False
            low, high = map(int, range_)
            if not 1 <= low <= high or index in open_ends or index in ends:
                return False
            ends[index] = (low, high)
        return _suits(body, {**open_ends, **ends}, arguments, n, known)
    if isinstance(e, sp.Indexed):
        if e.base not in arguments or len(e.indices) != 1:
            return False
        (k,) = e.indices
        low, high = (int(k), int(k)) if k.is_Integer else open_ends.get(k, (0, 0))
        return 1 <= low <= high <= n
    if isinstance(e, sp.Symbol):
        return e in arguments and e not in open_ends
    if e.is_number:
        return not e.has(*REDUCTIONS)
    return (isinstance(e, (sp.Add, sp.Mul, sp.Pow)) or e.func in known) and all(
        _suits(part, open_ends, arguments, n, known) for part in e.args
    )


class Evaluation:
    """The value of a formula, given those of its symbols and vectors.

    Args:
        values: of symbols, arrays that broadcast; of vectors, arrays with the entries along the last axis.
        functions: of arrays, by the SymPy class that they stand for; those of ``REDUCTIONS`` take ``axis=``.
    """

    def __init__(self, values: Mapping[Any, Any], functions: Mapping[type, Callable[..., Any]]):
        self.values, self.functions = values, functions
        self._found: dict[tuple[sp.Basic, tuple[Limit, ...]], Any] = {}

    def of(self, e: sp.Expr, axes: tuple[Limit, ...] = ()) -> Any:
        """The value of ``e``, with an axis at the end for each of ``axes``; a number where it is one."""
        free = e.free_symbols
        used = tuple(limit for limit in axes if limit[0] in free)
        if (e, used) not in self._found:
            self._found[e, used] = self._computed(e, used)
        found = self._found[e, used]
        if used == axes or not hasattr(found, "dtype"):
            return found
        return found[(..., *(slice(None) if limit in used else None for limit in axes))]

    def _computed(self, e: sp.Expr, axes: tuple[Limit, ...]) -> Any:
        if isinstance(e, sp.Indexed):
            return self._entries(e, axes)
        if e in self.values:
            return self.values[e]
        if e.is_number:
            return int(e) if e.is_Integer else float(e)
        if type(e) in REDUCTIONS:
            return self._reduced(e, axes)
        arguments = [self.of(part, axes) for part in e.args]
        if isinstance(e, sp.Add):
            return functools.reduce(lambda a, b: a + b, arguments)
        if isinstance(e, sp.Mul):
            return functools.reduce(lambda a, b: a * b, arguments)
        return self.functions[e.func](*arguments)

    def _entries(self, e: sp.Indexed, axes: tuple[Limit, ...]) -> Any:
        vector, (k,) = self.values[e.base], e.indices
        if not axes:
            return vector[..., int(k) - 1]
        ((_, low, high),) = axes
        return vector[..., low - 1 : high]

    def _reduced(self, e: sp.Expr, axes: tuple[Limit, ...]) -> Any:
        """Over an index that the body does not have, equal terms: they are counted."""
        body, *limits = e.args
        free = body.free_symbols
        along = [(index, int(low), int(high)) for index, low, high in limits if index in free]
        found = self.of(body, (*axes, *along))
        for _ in along:
            found = self.functions[type(e)](found, axis=-1)
        for index, low, high in limits:
            count = 1 if index in free else int(high) - int(low) + 1
            if isinstance(e, sp.Sum):
                found = count * found
            elif isinstance(e, sp.Product):
                found = found**count
        return found
