"""Named quantities: one SymPy object that is displayed by its name and verified by its body."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sympy as sp
from sympy.concrete.expr_with_limits import ExprWithLimits
from sympy.core.function import AppliedUndef, UndefinedFunction

_defined: dict[UndefinedFunction, "Definition"] = {}


class Definition:
    """A quantity with a name, arguments and a body. Call it to use it in formulas: ``F(lam)``, ``p(i)``."""

    def __init__(
        self,
        name: str,
        args: Sequence[sp.Symbol],
        body: sp.Expr,
        *,
        latex: Callable[..., str] | None = None,
        label: str | None = None,
    ):
        self.name, self.args, self.label = name, tuple(args), label
        self.body = sp.sympify(body)
        self.latex = latex
        # a serial number keeps two definitions of one name apart: SymPy would take them for the same function
        self.function = UndefinedFunction(f"{name}__{len(_defined):06d}", real=True)
        self._expand = sp.Lambda(self.args, _fresh_bound_symbols(self.body))
        _defined[self.function] = self

    def __call__(self, *args) -> sp.Expr:
        if len(args) != len(self.args):
            raise TypeError(f"{self.name} takes {len(self.args)} arguments, got {len(args)}")
        return self.function(*args)

    @property
    def applied(self) -> sp.Expr:
        """The quantity at its own arguments, the left-hand side of its definition."""
        return self.function(*self.args)

    def _repr_mimebundle_(self, include=None, exclude=None):
        from proofbook.derive.render import definition_bundle

        return definition_bundle(self)


def define(
    name: str,
    args: Sequence[sp.Symbol],
    body: sp.Expr,
    *,
    latex: Callable[..., str] | None = None,
    label: str | None = None,
) -> Definition:
    """Name a quantity. ``latex`` gets the printed arguments and returns the name as it is shown.

    What the body holds besides ``args`` (a vector, a size, a fixed parameter) stays as it is when the quantity is
    called; SymPy's ``diff`` takes it for a constant, so make a symbol an argument to differentiate by it. Two
    definitions may share a name; they stay two quantities.

    >>> import sympy as sp
    >>> x = sp.Symbol("x", real=True)
    >>> square = define("square", (x,), x**2)
    >>> unfold(square(3) + square(x))
    x**2 + 9
    """
    return Definition(name, args, body, latex=latex, label=label)


def definition_of(function: UndefinedFunction) -> Definition | None:
    """The definition behind a function symbol, or None for one that was never defined."""
    return _defined.get(function)


def unfold(expression: sp.Expr) -> sp.Expr:
    """Replace every defined quantity by its body, all the way down, and carry out the derivatives."""
    expression = sp.sympify(expression)
    while True:
        names = {a.func for a in expression.atoms(AppliedUndef)} & set(_defined)
        if not names:
            return expression
        for function in sorted(names, key=str):
            expression = expression.replace(function, _defined[function]._expand)
        # derivatives and substitutions were of the name: now they are of the body
        expression = expression.replace(
            lambda e: isinstance(e, (sp.Derivative, sp.Subs)), lambda e: e.doit(deep=False)
        )


def _fresh_bound_symbols(body: sp.Expr) -> sp.Expr:
    """Rename the symbols bound by sums and integrals so that an argument of the same name cannot be captured."""
    from proofbook.derive.over import Over

    def rename(e):
        return e.xreplace({bound: sp.Dummy(bound.name, **bound.assumptions0) for bound in e.bound_symbols})

    return body.replace(lambda e: isinstance(e, (ExprWithLimits, Over)), rename)
