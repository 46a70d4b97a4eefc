"""Check a reader's formula by the same means as the chapter's own."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from proofbook.derive import proving, strategies
from proofbook.derive.domain import Domain
from proofbook.derive.errors import EmptyStep, Refuted, Undecided


@dataclass(frozen=True)
class Answer:
    """Whether an answer is right, and how this is known."""

    right: bool
    why: str
    given: bool = True

    def __repr__(self) -> str:
        verdict = "No answer yet" if not self.given else "Right" if self.right else "Not yet"
        return f"{verdict}: {self.why}"


def check_answer(answer: sp.Expr, target: sp.Expr, domain: Domain) -> Answer:
    """Compare ``answer`` with ``target`` over ``domain``; a wrong one comes with a point where it fails.

    >>> import sympy as sp
    >>> x = sp.Symbol("x", real=True)
    >>> check_answer(x * (x + 1), x**2 + x, Domain({x: (-2, 2)}))
    Right: proved for every value of its domain, by normal form
    >>> check_answer(x**2, x**2 + x, Domain({x: (1, 2)}))
    Not yet: 3.17676799631 is not 4.95911700711 at x = 1.78235
    """
    try:
        return Answer(True, settled(sp.sympify(answer), sp.sympify(target), domain))
    except EmptyStep:
        return Answer(True, "it is the very formula")
    except (Refuted, Undecided) as error:
        return Answer(False, str(error))


def settled(left: sp.Expr, right: sp.Expr, domain: Domain) -> str:
    """How two formulas are known to be equal: by a proof, or else by what evidence there is.

    A reader need not convince the kernel.

    Raises:
        EmptyStep: they print alike.
        Refuted: they differ at a point.
        Undecided: nothing settles it.
    """
    try:
        found = proving.settle("=", left, right, domain, evidence=None, seed="answer", digits=50)
    except Undecided:
        found = strategies.equality(left, right, domain, seed="answer")
    return found.detail
