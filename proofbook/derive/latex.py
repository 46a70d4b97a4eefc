"""LaTeX for formulas: quantities by their names, derivatives with primes, sums with short limits."""

from __future__ import annotations

import sympy as sp
from sympy.core.alphabets import greeks
from sympy.printing.latex import LatexPrinter

from proofbook.derive.definition import definition_of
from proofbook.derive.over import Over

# names that LaTeX spells as commands, when they are used as function names
_CAPITALS = ("Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega")
_COMMANDS = {*greeks, *_CAPITALS}


class BookPrinter(LatexPrinter):
    """SymPy's printer, with the book's conventions."""

    def __init__(self, settings=None):
        super().__init__(
            {"mul_symbol": None, "fold_short_frac": False, "ln_notation": False, **(settings or {})}
        )

    def _name(self, function, args: list[str]) -> str:
        definition = definition_of(function)
        if definition is None:
            name = function.__name__
        elif definition.latex is not None:
            return definition.latex(*args)
        else:
            name = definition.name
        name = "\\" + name if name in _COMMANDS else name
        return name + _parenthesised(", ".join(args)) if args else name

    def _print_AppliedUndef(self, expr, exp=None):
        text = self._name(expr.func, [self._print(a) for a in expr.args])
        if exp is None:
            return text
        definition = definition_of(expr.func)
        if definition is not None and definition.latex is not None and ("^" in text or " " in text):
            # a name of the author's own making may have a superscript already, or end in what it acts on
            text = rf"\left({text}\right)"
        return rf"{text}^{{{exp}}}"

    def _print_Function(self, expr, exp=None):
        if definition_of(expr.func) is not None:
            return self._print_AppliedUndef(expr, exp)
        return super()._print_Function(expr, exp)

    def _print_Derivative(self, expr):
        primed = self._primed(expr, None)
        return primed if primed is not None else super()._print_Derivative(expr)

    def _print_Subs(self, expr):
        derivative, (old,), (new,) = expr.args
        if isinstance(derivative, sp.Derivative):
            primed = self._primed(derivative, (old, new))
            if primed is not None:
                return primed
        return super()._print_Subs(expr)

    def _primed(self, derivative, substitution) -> str | None:
        """``F'(x)`` for a defined quantity of one argument; None when primes would not say it."""
        inner, *variables = derivative.args
        definition = definition_of(inner.func) if isinstance(inner, sp.core.function.AppliedUndef) else None
        if definition is None or len(inner.args) != 1 or len(variables) != 1:
            return None
        (variable, order), (argument,) = variables[0], inner.args
        if argument != variable or order > 3 or definition.latex is not None:
            return None
        if substitution is not None:
            old, argument = substitution
            if old != variable:
                return None
        name = "\\" + definition.name if definition.name in _COMMANDS else definition.name
        return name + "'" * int(order) + _parenthesised(self._print(argument))

    def _as_ordered_terms(self, expr, order=None):
        # a formula reads better when it does not open with a minus sign
        terms = super()._as_ordered_terms(expr, order)
        positive = [t for t in terms if not t.could_extract_minus_sign()]
        return positive + [t for t in terms if t.could_extract_minus_sign()]

    def _range(self, command: str, expr) -> str:
        body, *limits = expr.args
        text = ""
        for index, low, high in reversed(limits):
            text += rf"\{command}_{{{self._print(index)}={self._print(low)}}}^{{{self._print(high)}}} "
        inner = self._print(body)
        loose = isinstance(body, sp.Add) or body.could_extract_minus_sign()
        return text + (rf"\left({inner}\right)" if loose else inner)

    def _print_Sum(self, expr):
        return self._range("sum", expr)

    def _print_Product(self, expr):
        return self._range("prod", expr)

    def _print_Indexed(self, expr):
        base, index = self._print(expr.base), ", ".join(map(self._print, expr.indices))
        return rf"{base}_{{{index}}}"

    def _needs_mul_brackets(self, expr, first=False, last=False):
        # a bare log or max would seem to act on the factors after it
        if not last and (isinstance(expr, Over) or (isinstance(expr, sp.log) and _is_bare(expr.args[0]))):
            return True
        return super()._needs_mul_brackets(expr, first=first, last=last)

    def _print_log(self, expr, exp=None):
        argument = expr.args[0]
        text = self._print(argument)
        body = rf"\log {text}" if _is_bare(argument) else r"\log" + _parenthesised(text)
        return body if exp is None else rf"\left({body}\right)^{{{exp}}}"


def _is_bare(argument: sp.Expr) -> bool:
    """Whether a logarithm needs no parentheses around its argument."""
    return (
        argument.is_Symbol
        or argument.is_Integer
        or isinstance(argument, (sp.Sum, sp.Indexed, sp.core.function.AppliedUndef))
    )


def _parenthesised(text: str) -> str:
    """Parentheses that grow only around what is tall: growing ones set extra space."""
    tall = any(command in text for command in (r"\frac", r"\sum", r"\prod", r"\int", "^"))
    return rf"\left({text}\right)" if tall else f"({text})"


def latex(expression: sp.Expr) -> str:
    """``expression`` as the book prints it.

    >>> import sympy as sp
    >>> latex(sp.log(sp.Symbol("n")))
    '\\\\log n'
    """
    return BookPrinter().doprint(expression)
