"""LaTeX for formulas: quantities by their names, derivatives with primes, sums with short limits.

A quantity prints itself: SymPy's printers ask an expression for ``_latex``, and this one asks it besides for
``_latex_primes`` when it meets a derivative of it. So this module need not know what a definition is.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import sympy as sp
from sympy.core.alphabets import greeks
from sympy.core.function import AppliedUndef
from sympy.printing.latex import LatexPrinter
from sympy.printing.str import StrPrinter

from proofbook.derive.over import Over

# names that LaTeX spells as commands, when they are used as function names
_CAPITALS = ("Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega")
_COMMANDS = {*greeks, *_CAPITALS}


@lru_cache(maxsize=1024)
def _ordered_terms(expr: sp.Expr) -> tuple[sp.Expr, ...]:
    """The terms of a sum in SymPy's order, for which it computes every number in it, integrals included."""
    return tuple(expr.as_ordered_terms())


class _Ordered:
    """Sorts the terms of a sum once, however often it is printed; a mix-in for SymPy's printers."""

    def _as_ordered_terms(self, expr: Any, order: Any = None) -> list[Any]:
        if order is None and self._settings["order"] is None:  # type: ignore[attr-defined]  # the printer has them
            return list(_ordered_terms(expr))
        return list(super()._as_ordered_terms(expr, order))  # type: ignore[misc]  # the printer is the next class


class BookPrinter(_Ordered, LatexPrinter):  # type: ignore[misc]  # SymPy is not typed
    """SymPy's printer, with the book's conventions."""

    def __init__(self, settings: dict[str, Any] | None = None):
        super().__init__(
            {"mul_symbol": None, "fold_short_frac": False, "ln_notation": False, **(settings or {})}
        )

    def _print_AppliedUndef(self, expr: Any, exp: str | None = None) -> str:
        text = applied(expr.func.__name__, [self._print(a) for a in expr.args])
        return text if exp is None else rf"{text}^{{{exp}}}"

    def _print_Derivative(self, expr: Any) -> str:
        primed = self._primed(expr)
        return primed if primed is not None else str(super()._print_Derivative(expr))

    def _print_Subs(self, expr: Any) -> str:
        derivative, old, new = expr.args
        if isinstance(derivative, sp.Derivative) and len(old) == 1:
            primed = self._primed(derivative, (old[0], new[0]))
            if primed is not None:
                return primed
        return str(super()._print_Subs(expr))

    def _primed(self, derivative: Any, substitution: tuple[Any, Any] | None = None) -> str | None:
        """``F'(x)`` for a quantity of one argument; None when primes would not say it."""
        inner, *variables = derivative.args
        primes = getattr(inner, "_latex_primes", None)
        if primes is None or len(inner.args) != 1 or len(variables) != 1:
            return None
        (variable, order), (argument,) = variables[0], inner.args
        if argument != variable or order > 3:
            return None
        if substitution is not None:
            old, argument = substitution
            if old != variable:
                return None
        text: str | None = primes(int(order), self._print(argument))
        return text

    def _as_ordered_terms(self, expr: Any, order: Any = None) -> list[Any]:
        # a formula reads better when it does not open with a minus sign
        terms = super()._as_ordered_terms(expr, order)
        positive = [t for t in terms if not t.could_extract_minus_sign()]
        return positive + [t for t in terms if t.could_extract_minus_sign()]

    def _range(self, command: str, expr: Any) -> str:
        body, *limits = expr.args
        text = ""
        for index, low, high in reversed(limits):
            text += rf"\{command}_{{{self._print(index)}={self._print(low)}}}^{{{self._print(high)}}} "
        inner = self._print(body)
        loose = isinstance(body, sp.Add) or body.could_extract_minus_sign()
        return text + (rf"\left({inner}\right)" if loose else inner)

    def _print_Sum(self, expr: Any) -> str:
        return self._range("sum", expr)

    def _print_Product(self, expr: Any) -> str:
        return self._range("prod", expr)

    def _print_Indexed(self, expr: Any) -> str:
        base, index = self._print(expr.base), ", ".join(map(self._print, expr.indices))
        return rf"{base}_{{{index}}}"

    def _needs_mul_brackets(self, expr: Any, first: bool = False, last: bool = False) -> bool:
        # a bare log or max would seem to act on the factors after it
        if not last and (isinstance(expr, Over) or (isinstance(expr, sp.log) and _is_bare(expr.args[0]))):
            return True
        return bool(super()._needs_mul_brackets(expr, first=first, last=last))

    def _print_log(self, expr: Any, exp: str | None = None) -> str:
        argument = expr.args[0]
        text = self._print(argument)
        body = rf"\log {text}" if _is_bare(argument) else r"\log" + _parenthesised(text)
        return body if exp is None else rf"\left({body}\right)^{{{exp}}}"


def _is_bare(argument: Any) -> bool:
    """Whether a logarithm needs no parentheses around its argument."""
    return (
        argument.is_Symbol
        or argument.is_Integer
        or isinstance(argument, (sp.Sum, sp.Indexed, AppliedUndef))
        or hasattr(argument, "_latex_primes")
    )


def _parenthesised(text: str) -> str:
    """Parentheses that grow only around what is tall: growing ones set extra space."""
    tall = any(command in text for command in (r"\frac", r"\sum", r"\prod", r"\int", "^"))
    return rf"\left({text}\right)" if tall else f"({text})"


def applied(name: str, arguments: list[str], *, primes: int = 0) -> str:
    """A function's name, as a command where LaTeX has one, with its printed arguments behind it."""
    name = ("\\" + name if name in _COMMANDS else name) + "'" * primes
    return name + _parenthesised(", ".join(arguments)) if arguments else name


class _TextPrinter(_Ordered, StrPrinter):  # type: ignore[misc]  # SymPy is not typed
    """SymPy's printer of plain text."""


def text(expression: sp.Expr) -> str:
    """``expression`` in plain text, as ``str`` has it."""
    return str(_TextPrinter().doprint(expression))


def latex(expression: sp.Expr) -> str:
    """``expression`` as the book prints it.

    >>> import sympy as sp
    >>> latex(sp.log(sp.Symbol("n")))
    '\\\\log n'
    """
    return str(BookPrinter().doprint(expression))
