"""Exercises: a question that a formula answers, an empty cell for it, and a solution that must be right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sympy as sp

from proofbook.derive.answers import Answer, settled
from proofbook.derive.domain import Domain
from proofbook.derive.errors import DerivationError, EmptyStep, Refuted, Undecided

__all__ = ["Exercise", "WrongSolution"]

_NONE_YET = "put your formula in place of the dots"


class WrongSolution(DerivationError):
    """The solution of an exercise that is not right, or a mistake named in it that is none."""


class Exercise:
    """A question that a formula answers.

    The cell before the folded solution holds ``exercise.check(...)``, three dots and all: a reader puts a
    formula there. The solution holds ``exercise.solution(formula)``, which stops the book unless it is right.

    Args:
        asks: What an answer must be equal to, as the question puts it: not the answer itself. Or, for an
            unknown that solves an equation, a function of the answer that gives both of its sides; or
            a list of such pairs, where one equation has several solutions.
        domain: The values for which they must be equal.
        only: The symbols that an answer may speak of; by default all that the domain knows.
        mistakes: Wrong answers that are often given, and what to say to each.

    Raises:
        WrongSolution: a mistake that is a right answer.

    >>> import sympy as sp
    >>> x = sp.Symbol("x", real=True)
    >>> missing = [(x**2 + 1, "What of the middle term?")]
    >>> square = Exercise((x + 1)**2, Domain({x: (-2, 2)}), mistakes=missing)
    >>> square.check(...)
    No answer yet: put your formula in place of the dots
    >>> square.check(x**2 + 1)
    Not yet: What of the middle term?
    >>> square.solution(x**2 + 2*x + 1)
    Right: proved for every -2 <= x <= 2, by normal form

    An unknown that solves an equation:

    >>> y = sp.Symbol("y", positive=True)
    >>> root = Exercise(lambda answer: (answer**2, y), Domain({y: (1, 2)}), mistakes=[(y, "Square it.")])
    >>> root.check(y)
    Not yet: Square it.
    >>> root.check(sp.sqrt(y))
    Right: it solves the equation
    """

    def __init__(
        self,
        asks: sp.Expr | Callable[[sp.Expr], Any],
        domain: Domain,
        *,
        only: Sequence[sp.Symbol] | None = None,
        mistakes: Sequence[tuple[Any, str]] = (),
    ):
        self._sides = asks if callable(asks) and not isinstance(asks, sp.Basic) else None
        self._asks, self._domain = None if self._sides else sp.sympify(asks), domain
        self._only = None if only is None else frozenset(only)
        self._mistakes = [(sp.sympify(wrong), hint) for wrong, hint in mistakes]
        for wrong, hint in self._mistakes:
            if self._compared(wrong).right:
                raise WrongSolution(f"{wrong} is named as a mistake ({hint}), and is right")

    def check(self, answer: Any) -> Answer:
        """Whether an answer is right; a hint where it is a mistake that is often made."""
        if answer is ...:
            return Answer(False, _NONE_YET, given=False)
        try:
            formula = sp.sympify(answer)
        except (sp.SympifyError, TypeError, AttributeError):
            formula = None
        if not isinstance(formula, sp.Expr):
            return Answer(False, f"an answer is a formula, not {answer!r}")
        if strangers := self._strangers(formula):
            return Answer(False, f"the answer speaks of {', '.join(strangers)}, which the question does not")
        found = self._compared(formula)
        if not found.right:
            for wrong, hint in self._mistakes:
                if wrong == formula or self._same(wrong, formula):
                    return Answer(False, hint)
        return found

    def solution(self, answer: Any) -> Answer:
        """The answer that the book gives.

        Raises:
            WrongSolution: it is not right.
        """
        found = self.check(answer)
        if not found.right:
            raise WrongSolution(f"the solution {answer} is not right: {found.why}")
        return found

    def _strangers(self, formula: sp.Expr) -> list[str]:
        """Names in an answer that have no place in it."""
        domain = self._domain
        vectors = {base.label for base in domain.vectors}
        named = {s for s in formula.free_symbols if isinstance(s, sp.Symbol)} - vectors
        known = self._only if self._only is not None else {*domain.scalars, *domain.each, domain.size}
        return sorted(map(str, named - known))

    def _compared(self, formula: sp.Expr) -> Answer:
        try:
            if self._sides is None:
                return Answer(True, settled(formula, self._asks, self._domain))
            given = self._sides(formula)
            pairs = given if isinstance(given, list) else [given]
            if all(self._hold(sp.sympify(left), sp.sympify(right)) for left, right in pairs):
                return Answer(True, "it solves the equation")
            return Answer(False, "it does not solve the equation")
        except EmptyStep:
            if self._asks is not None and self._asks.is_Number:
                return Answer(True, "it is the number")
            return Answer(False, "that is the question itself")
        except (Refuted, Undecided) as error:
            return Answer(False, str(error))

    def _hold(self, left: sp.Expr, right: sp.Expr) -> bool:
        """Whether both sides of an equation are equal."""
        if left != right:  # SymPy may see at once that they are
            try:
                settled(left, right, self._domain)
            except Refuted:
                return False
        return True

    def _same(self, one: sp.Expr, other: sp.Expr) -> bool:
        try:
            settled(one, other, self._domain)
        except EmptyStep:
            return True
        except DerivationError:
            return False
        return True
