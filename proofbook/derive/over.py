"""Largest and smallest value over an index, which SymPy has no symbol for."""

from __future__ import annotations

import sympy as sp
from sympy.printing.precedence import PRECEDENCE


class Over(sp.Expr):
    """An extremum of ``body`` as ``index`` runs over whole numbers; see ``MaxOver`` and ``MinOver``."""

    is_commutative = True
    is_real = True
    precedence = PRECEDENCE["Mul"]
    reduce = None
    command = ""

    def __new__(cls, body, limits):
        return sp.Expr.__new__(cls, sp.sympify(body), sp.Tuple(*limits))

    @property
    def free_symbols(self):
        body, (index, low, high) = self.args
        return (body.free_symbols - {index}) | low.free_symbols | high.free_symbols

    @property
    def bound_symbols(self) -> list:
        return [self.args[1][0]]

    def _eval_subs(self, old, new):
        body, (index, low, high) = self.args
        if old == index:  # it is bound: only the ends can speak of an outer symbol of that name
            return self.func(body, (index, low.subs(old, new), high.subs(old, new)))
        return None

    def terms(self) -> list[sp.Expr]:
        """The values compared, once both ends of the index are numbers."""
        body, (index, low, high) = self.args
        return [body.subs(index, k) for k in range(int(low), int(high) + 1)]

    def doit(self, **hints):
        body, (index, low, high) = self.args
        if not (low.is_Integer and high.is_Integer):
            return self
        return self.reduce(*[t.doit(**hints) for t in self.terms()])

    def _latex(self, printer):
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
    """The smallest ``body`` over an index."""

    reduce = sp.Min
    command = "min"
