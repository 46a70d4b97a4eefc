"""A formula as a function of one of its symbols, written out once as a list of operations on real numbers.

A quadrature computes its integrand at hundreds of nodes, and walking the tree of a formula at each of them
takes longer than the arithmetic. A tape has the numbers of that walk, to the last bit: the same operations of
mpmath, in the same order and at the same precision. What does not hold the symbol is computed once for each
precision, and what occurs twice is computed once. A number that is not real, and whatever raises, is none of
a tape's business: the walk tells then what becomes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mpmath as mp
import sympy as sp
from mpmath import libmp

Raw = Any  # a real number as mpmath keeps it
Operation = Callable[[list[Raw], int], Raw]


class NotReal(Exception):
    """A number on the way that a tape does not carry."""


def raw(number: Any) -> Raw:
    """What mpmath keeps of a real number.

    Raises:
        NotReal: it is none of mpmath's real numbers.
    """
    if not isinstance(number, mp.mpf):
        raise NotReal
    return number._mpf_


def _sum(terms: list[Raw], precision: int) -> Raw:
    return libmp.mpf_sum(terms, precision, libmp.round_nearest)


def _product(factors: list[Raw], precision: int) -> Raw:
    product = libmp.fone
    for factor in factors:
        product = libmp.mpf_mul(product, factor, precision, libmp.round_nearest)
    return product


def _power(both: list[Raw], precision: int) -> Raw:
    return libmp.mpf_pow(*both, precision, libmp.round_nearest)


def _whole_power(exponent: int) -> Operation:
    def operation(base: list[Raw], precision: int) -> Raw:
        return libmp.mpf_pow_int(base[0], exponent, precision, libmp.round_nearest)

    return operation


def _of_one(function: Callable[[Raw, int, str], Raw]) -> Operation:
    def operation(argument: list[Raw], precision: int) -> Raw:
        return function(argument[0], precision, libmp.round_nearest)

    return operation


def _of_numbers(function: Callable[..., Any]) -> Operation:
    """A function of numbers of mpmath; the precision is the one in force."""

    def operation(arguments: list[Raw], precision: int) -> Raw:
        return raw(function(*map(mp.mp.make_mpf, arguments)))

    return operation


_EXP, _ROOT = _of_one(libmp.mpf_exp), _of_one(libmp.mpf_sqrt)
# what the functions of mpmath with these names do to a real number
_SHORT: dict[Any, Operation] = {
    sp.exp: _EXP,
    sp.log: _of_one(libmp.mpf_log),
    sp.sin: _of_one(libmp.mpf_sin),
    sp.cos: _of_one(libmp.mpf_cos),
}


class Tape:
    """The values of an expression where one symbol moves.

    Args:
        expression: the expression.
        symbol: what moves.
        functions: for SymPy's functions, those of mpmath.
        walk: the value of any expression, at a number for the symbol, or at None where it has no part in it.
    """

    def __init__(
        self,
        expression: sp.Expr,
        symbol: sp.Symbol,
        functions: Mapping[Any, Callable[..., Any]],
        walk: Callable[[sp.Expr, Any], Any],
    ):
        self._symbol, self._functions, self._walk = symbol, functions, walk
        self._fixed: dict[sp.Expr, None] = {}  # what is computed once for each precision
        moving: dict[sp.Expr, tuple[Operation, Sequence[sp.Expr]]] = {}
        self._write(expression, moving)
        # values lie in the order symbol, fixed, moving
        place = {e: k for k, e in enumerate([symbol, *self._fixed, *moving])}
        self._steps = [(operation, [place[part] for part in parts]) for operation, parts in moving.values()]
        self._last = place[expression]
        self._known: dict[int, list[Raw]] = {}

    def __call__(self, number: Any) -> Any:
        """The value where the symbol is ``number``.

        Raises:
            NotReal: something on the way is no real number.
        """
        precision = mp.mp.prec
        if precision not in self._known:
            self._known[precision] = [raw(self._walk(e, None)) for e in self._fixed]
        values = [raw(number), *self._known[precision]]
        for operation, places in self._steps:
            values.append(operation([values[k] for k in places], precision))
        return mp.mp.make_mpf(values[self._last])

    def _write(self, e: sp.Expr, moving: dict[sp.Expr, tuple[Operation, Sequence[sp.Expr]]]) -> None:
        """Note what makes ``e``, after what makes its parts."""
        if e == self._symbol or e in self._fixed or e in moving:
            return
        if self._symbol not in e.free_symbols:
            self._fixed[e] = None
            return
        operation, parts = self._step(e)
        for part in parts:
            self._write(part, moving)
        moving[e] = operation, parts

    def _step(self, e: sp.Expr) -> tuple[Operation, Sequence[sp.Expr]]:
        """The operation that makes ``e``, as the walk would carry it out, and of what."""
        if isinstance(e, sp.Add):
            return _sum, e.args
        if isinstance(e, sp.Mul):
            return _product, e.args
        if isinstance(e, sp.Pow):
            base, exponent = e.args
            if base is sp.E:
                return _EXP, [exponent]
            if isinstance(exponent, sp.Integer):
                return _whole_power(int(exponent)), [base]
            if exponent == sp.Rational(1, 2):
                return _ROOT, [base]
            return _power, e.args
        if e.func in _SHORT and len(e.args) == 1:
            return _SHORT[e.func], e.args
        if e.func in self._functions:
            return _of_numbers(self._functions[e.func]), e.args
        # cases, ranges, integrals: one step, which is a walk
        return _of_numbers(lambda number: self._walk(e, number)), [self._symbol]
