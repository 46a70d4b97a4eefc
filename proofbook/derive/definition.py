"""Named quantities: SymPy functions that are displayed by their name and verified by their body."""

from __future__ import annotations

import copyreg
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import sympy as sp
from sympy.concrete.expr_with_limits import ExprWithLimits
from sympy.core.function import FunctionClass
from sympy.printing.precedence import PRECEDENCE

from proofbook.derive._sympy import carry_out
from proofbook.derive.latex import applied, latex
from proofbook.derive.over import Over
from proofbook.derive.statement import Writer
from proofbook.display import Row, Statement, bundle


class Definition(FunctionClass):  # type: ignore[misc]  # SymPy is not typed
    """A quantity with a name, arguments and a body; ``define`` makes one.

    It is a class of SymPy functions, as ``sympy.exp`` is: call it to use it in formulas, ``F(lam)`` say.
    What ``define`` was told is on the class itself, so there is no list of definitions anywhere.
    """

    _arguments: tuple[sp.Symbol, ...]
    _body: sp.Expr
    _expand: sp.Lambda
    _label: str | None
    _name_in_latex: Callable[..., str] | None
    _identity: sp.Dummy

    @property
    def name(cls) -> str:
        """The name, as it is printed."""
        return str(cls.__name__)

    @property
    def args(cls) -> tuple[sp.Symbol, ...]:
        """The arguments that the body is written in."""
        return cls._arguments

    @property
    def body(cls) -> sp.Expr:
        """What the quantity is at its own arguments."""
        return cls._body

    @property
    def label(cls) -> str | None:
        """The permanent name of the defining equation on the page; None for one that is not shown."""
        return cls._label

    @property
    def applied(cls) -> sp.Expr:
        """The quantity at its own arguments, the left-hand side of its definition."""
        return cls(*cls._arguments)

    def __eq__(cls, other: object) -> bool:
        # a class that came back from pickle is another object, and the same quantity
        return isinstance(other, Definition) and cls._identity == other._identity

    def __hash__(cls) -> int:
        return hash(cls._identity)

    def __repr__(cls) -> str:
        # IPython prefers the repr of a class to the plain text of its bundle
        line = f"{cls.applied} := {cls.body}"
        return f"{cls.label}: {line}" if cls.label else line

    def __str__(cls) -> str:
        return cls.name

    def _repr_mimebundle_(cls, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """A definition is shown as one line, which has nothing to prove: other lines unfold to it."""
        if cls.label is None:
            raise ValueError(f"{cls.name} has no label: give define() one to show it")
        writer = Writer()
        start = writer.formula(cls.applied)
        row = Row(
            relation=":=",
            latex=latex(cls.body),
            reason="definition",
            strategy="definition",
            mark="",
            detail="a definition, unfolded wherever the quantity is used",
            formula=writer.formula(cls.body),
        )
        return bundle(cls.label, latex(cls.applied), [row], repr(cls), Statement(start, "", writer.names))

    def written(cls, writer: Writer) -> list[str]:
        """What the quantity is, for a ``Writer``'s table of names; ``#1`` in its LaTeX is the argument."""
        arguments = [writer.formula(argument) for argument in cls._arguments]
        template = cls.shown_as(*[f"#{k}" for k in range(1, len(arguments) + 1)]) or ""
        return ["definition", cls.name, " ".join(arguments), writer.formula(cls._body), template]

    def shown_as(cls, *printed: str) -> str | None:
        """The author's own LaTeX for the quantity at arguments that are printed so; None without one."""
        return None if cls._name_in_latex is None else cls._name_in_latex(*printed)


class Quantity(sp.Function):  # type: ignore[misc]  # SymPy is not typed
    """A defined quantity at some arguments, such as ``F(2*lam)``: a name until it is unfolded.

    Its derivatives stay unevaluated, and it gets no number from SymPy: both are of the body.
    """

    is_real = True
    is_number = False
    precedence = PRECEDENCE["Func"]

    @classmethod
    def class_key(cls) -> tuple[Any, ...]:
        """Where SymPy sorts it: among functions, by name; of one name, in the order of definition."""
        return 4, 0, cls.__name__, cls._identity.dummy_index

    def _hashable_content(self) -> tuple[Any, ...]:
        # SymPy orders terms by class names and this: without it, equal names would be equal terms to it
        return (type(self)._identity, *self.args)

    @classmethod
    def _should_evalf(cls, argument: sp.Expr) -> int:
        return -1

    def _eval_evalf(self, prec: int) -> None:
        """No value: SymPy would look the name up in mpmath, where ``zeta`` and ``e`` are something else."""

    def doit(self, **hints: Any) -> sp.Expr:
        """The body at these arguments, unfolded all the way down."""
        return unfold(self)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        arguments = [printer._print(a) for a in self.args]
        named = type(self)._name_in_latex
        text = applied(type(self).__name__, arguments) if named is None else named(*arguments)
        if exp is None:
            return text
        if named is not None and ("^" in text or " " in text):
            # a name of the author's own making may have a superscript already, or end in what it acts on
            text = rf"\left({text}\right)"
        return rf"{text}^{{{exp}}}"

    def _latex_primes(self, order: int, argument: str) -> str | None:
        """A derivative with primes; None where the author's own name has no place for them."""
        if type(self)._name_in_latex is not None:
            return None
        return applied(type(self).__name__, [argument], primes=order)

    def _text(self, printer: Any) -> Any:
        # SymPy's printers go by the names of classes: to them, a quantity called Lambda or Sum would be that
        return printer._print_Function(self)

    _sympystr = _sympyrepr = _pretty = _text

    def _code(self, printer: Any) -> str:
        # sympy.lambdify would print the bare name, and call whatever numpy or mpmath has under it
        return str(printer._print(self.doit()))

    _pythoncode = _lambdacode = _numpycode = _mpmathcode = _code


def define(
    name: str,
    args: Sequence[sp.Symbol],
    body: sp.Expr,
    *,
    latex: Callable[..., str] | None = None,
    label: str | None = None,
) -> Definition:
    """Name a quantity.

    What the body holds besides ``args`` (a vector, a size, a fixed parameter) stays as it is when the
    quantity is called; SymPy's ``diff`` takes it for a constant, so make a symbol an argument to
    differentiate by it. Two definitions may share a name; they stay two quantities.

    Args:
        name: how the quantity is printed.
        args: the symbols that stand for its arguments.
        body: what it is, in these symbols.
        latex: gets the printed arguments and returns the name as it is shown; without it, the name and its
            arguments in parentheses.
        label: the permanent name of the defining equation; only a definition with a label can be shown.

    Returns:
        A class of SymPy functions.

    >>> import sympy as sp
    >>> x = sp.Symbol("x", real=True)
    >>> square = define("square", (x,), x**2)
    >>> unfold(square(3) + square(x))
    x**2 + 9
    """
    return _make(name, tuple(args), sp.sympify(body), latex, label, sp.Dummy(name))


def _make(
    name: str,
    args: tuple[sp.Symbol, ...],
    body: sp.Expr,
    latex: Callable[..., str] | None,
    label: str | None,
    identity: sp.Dummy,
) -> Definition:
    """The class of a quantity; ``identity`` tells it from others of its name, as in SymPy's dummies."""
    members = {
        "__module__": __name__,
        "nargs": len(args),
        "_arguments": args,
        "_body": body,
        "_expand": sp.Lambda(args, _fresh_bound_symbols(body)),
        "_label": label,
        "_name_in_latex": None if latex is None else staticmethod(latex),
        "_identity": identity,
    }
    return Definition(name, (Quantity,), members)


def _reduce(made: Definition) -> tuple[Any, ...]:
    parts = (made.name, made.args, made.body, made._name_in_latex, made.label, made._identity)
    return _make, parts


# pickle looks a class up by its name unless the type of the class is registered
copyreg.pickle(Definition, _reduce)


def unfold(expression: sp.Expr, *, derivatives: bool = True) -> sp.Expr:
    """Replace every defined quantity by its body, all the way down.

    Args:
        expression: a formula with names in it.
        derivatives: whether SymPy carries out the derivatives of what was named; if not, they stay as typed.

    Raises:
        Undecided: SymPy fails to carry out a derivative.

    >>> import sympy as sp
    >>> x = sp.Symbol("x", real=True)
    >>> cube = define("cube", (x,), x**3)
    >>> cube(x).diff(x), unfold(cube(x).diff(x))
    (Derivative(cube(x), x), 3*x**2)
    """
    return _unfolded(sp.sympify(expression), derivatives)


@lru_cache(maxsize=512)
def _unfolded(expression: sp.Expr, derivatives: bool) -> sp.Expr:
    """The same, kept: a line is unfolded for every size, and again where it begins the next step."""
    while expression.has(Quantity):
        expression = expression.replace(lambda e: isinstance(e, Quantity), lambda e: type(e)._expand(*e.args))
        if derivatives:
            # derivatives and substitutions were of the name: now they are of the body
            expression = expression.replace(lambda e: isinstance(e, (sp.Derivative, sp.Subs)), carry_out)
    return expression


def _fresh_bound_symbols(body: sp.Expr) -> sp.Expr:
    """Rename what sums and integrals bind, so that an argument of the same name cannot be captured."""

    def rename(e: Any) -> Any:
        return e.xreplace({bound: sp.Dummy(bound.name, **bound.assumptions0) for bound in e.bound_symbols})

    return body.replace(lambda e: isinstance(e, (ExprWithLimits, Over)), rename)
