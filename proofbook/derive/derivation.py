"""A derivation: a chain of formulas that is proved when it is built, and shown only then."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import sympy as sp

from proofbook.derive import strategies
from proofbook.derive.domain import Domain
from proofbook.derive.errors import DerivationError
from proofbook.derive.strategies import Regime, Verified

RELATIONS = ("=", "<=", ">=", "<", ">", "~")


@dataclass(frozen=True)
class Step:
    """One line: how the new expression relates to the line before it, and why."""

    relation: str
    expression: sp.Expr
    because: str
    regime: Regime | None = None
    skip: tuple[str, ...] = field(default=())

    def __post_init__(self):
        object.__setattr__(self, "expression", sp.sympify(self.expression))
        if self.relation not in RELATIONS:
            raise ValueError(f"relation must be one of {RELATIONS}, got {self.relation!r}")
        if (self.relation == "~") != (self.regime is not None):
            raise ValueError("an approximation needs a regime, and only an approximation has one")
        if not self.because.strip():
            raise ValueError("every step says its reason")


def eq(expression, because: str, *, skip: Sequence[str] = ()) -> Step:
    """The line before equals ``expression``. ``skip`` names strategies not to try (they are costly here)."""
    return Step("=", expression, because, skip=tuple(skip))


def le(expression, because: str) -> Step:
    """The line before is at most ``expression``; ``because`` is the argument, the machine looks for exceptions."""
    return Step("<=", expression, because)


def ge(expression, because: str) -> Step:
    """The line before is at least ``expression``."""
    return Step(">=", expression, because)


def lt(expression, because: str) -> Step:
    """The line before is strictly below ``expression``."""
    return Step("<", expression, because)


def gt(expression, because: str) -> Step:
    """The line before is strictly above ``expression``."""
    return Step(">", expression, because)


def approx(expression, because: str, *, regime: Regime) -> Step:
    """The line before approaches ``expression`` in ``regime``, at the rate stated there."""
    return Step("~", expression, because, regime=regime)


class Derivation:
    """A chain that starts at ``start`` and has been verified line by line over ``domain``.

    ``label`` is the permanent name of the equation on the page. Building it raises ``Refuted`` with a point
    when a step is false, ``Undecided`` when nothing settles it, ``WrongRate`` for an approximation that is not.
    ``verified`` says of every step how it was established, and ``strategy`` what the whole chain rests on. An
    equality has no digits to spare: it is compared to ``digits`` digits, 15 at least.

    >>> import sympy as sp
    >>> x = sp.Symbol("x", real=True)
    >>> d = Derivation("eq-square", (x + 1)**2, eq(x**2 + 2*x + 1, "multiply out"), domain=Domain({x: (-3, 3)}))
    >>> d.verified[0].strategy
    'symbolic'
    >>> Derivation("eq-wrong", (x + 1)**2, eq(x**2 + x + 1, "multiply out"), domain=Domain({x: (1, 3)}))
    Traceback (most recent call last):
    ...
    proofbook.derive.errors.Refuted: eq-wrong, step 1 (multiply out): 4.0 is not 3.0 at x = 1.0
    """

    def __init__(self, label: str, start: sp.Expr, *steps: Step, domain: Domain, digits: int = 50):
        if not re.fullmatch(r"eq(-[a-zA-Z0-9]+)+", label):
            raise ValueError(f"the label of an equation is 'eq-' and words joined by hyphens, got {label!r}")
        if digits < 15:
            raise ValueError(f"digits must be at least 15, got {digits}")
        if not steps:
            raise ValueError("a derivation has at least one step")
        self.label, self.start, self.steps, self.domain = label, sp.sympify(start), steps, domain
        self.digits = digits
        self.verified: tuple[Verified, ...] = tuple(self._verify(k) for k in range(len(steps)))

    def _verify(self, k: int) -> Verified:
        step = self.steps[k]
        before = self.steps[k - 1].expression if k else self.start
        seed = f"{self.label}/{k}"
        try:
            if step.relation == "=":
                return strategies.equality(
                    before, step.expression, self.domain, seed=seed, digits=self.digits, skip=step.skip
                )
            if step.relation == "~":
                return strategies.approximation(before, step.expression, self.domain, step.regime, seed=seed)
            return strategies.inequality(step.relation, before, step.expression, self.domain, seed=seed)
        except DerivationError as error:
            error.args = (f"{self.label}, step {k + 1} ({step.because}): {error.args[0]}",)
            raise

    @property
    def last(self) -> sp.Expr:
        """The expression the chain ends in."""
        return self.steps[-1].expression

    @property
    def strategy(self) -> str:
        """The weakest strategy of the chain: what the whole of it rests on."""
        return max((v.strategy for v in self.verified), key=strategies.STRENGTH.index)

    def lambdify(self, arguments: Sequence, backend: str = "numpy"):
        """The last line as a function of ``arguments``, in that order; see ``proofbook.derive.lambdify``."""
        from proofbook.derive.lambdify import lambdify

        return lambdify(self.last, arguments, self.domain, backend)

    def _repr_mimebundle_(self, include=None, exclude=None):
        from proofbook.derive.render import derivation_bundle

        return derivation_bundle(self)
