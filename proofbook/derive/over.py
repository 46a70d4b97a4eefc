"""Largest and smallest value over an index, which SymPy has no symbol for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import sympy as sp
from sympy.printing.precedence import PRECEDENCE


class Over(sp.Expr):  # type: ignore[misc]  # SymPy is not typed
    """An extremum of ``body`` as ``index`` runs over whole numbers; see ``MaxOver`` and ``MinOver``."""

    is_commutative = True
    is_real = True
    precedence = PRECEDENCE["Mul"]
    reduce: ClassVar[Callable[..., sp.Expr]]
    command: ClassVar[str]

    def __new__(cls, body: sp.Expr, limits: Sequence[Any]) -> Over:
        made: Over = sp.Expr.__new__(cls, sp.sympify(body), sp.Tuple(*limits))
        return made

    @property
    def free_symbols(self) -> set[sp.Symbol]:
        """The symbols of the body and of both ends; the index is none of them, except in an end."""
        body, (index, low, high) = self.args
        free: set[sp.Symbol] = (body.free_symbols - {index}) | low.free_symbols | high.free_symbols
        return free

    @property
    def bound_symbols(self) -> list[sp.Symbol]:
        """The index, as SymPy asks for it."""
        return [self.args[1][0]]

    def _eval_subs(self, old: sp.Basic, new: sp.Basic) -> Over | None:
        body, (index, low, high) = self.args
        if old == index:  # it is bound: only the ends can speak of an outer symbol of that name
            return type(self)(body, (index, low.subs(old, new), high.subs(old, new)))
        return None

    def terms(self) -> list[sp.Expr]:
        """The values compared, once both ends of the index are numbers."""
        body, (index, low, high) = self.args
        return [body.subs(index, k) for k in range(int(low), int(high) + 1)]

    def doit(self, **hints: Any) -> sp.Expr:
        """The extremum of the values, once both ends of the index are numbers."""
        _, (_, low, high) = self.args
        if not (low.is_Integer and high.is_Integer):
            return self
        return type(self).reduce(*[t.doit(**hints) for t in self.terms()])

    def _latex(self, printer: Any) -> str:
        body, (index, _, _) = self.args
        inner = printer._print(body)
        if isinstance(body, sp.Add) or body.could_extract_minus_sign():
            inner = rf"\left({inner}\right)"
        return rf"\{self.command}_{{{printer._print(index)}}} {inner}"


class MaxOver(Over):
    """The largest ``body`` over an index.

    >>> import sympy as sp
    >>> i = sp.Symbol("i", integer=True)
    >>> MaxOver(i * (4 - i), (i, 1, 3)).doit()
    4
    """

    reduce = sp.Max
    command = "max"


class MinOver(Over):
    """The smallest ``body`` over an index.

    >>> import sympy as sp
    >>> i = sp.Symbol("i", integer=True)
    >>> MinOver(i * (4 - i), (i, 1, 3)).doit()
    3
    """

    reduce = sp.Min
    command = "min"
