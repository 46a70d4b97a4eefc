"""Check a reader's formula with the same strategies that proved the chapter's own."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from proofbook.derive.domain import Domain
from proofbook.derive.errors import Refuted, Undecided
from proofbook.derive.proving import settle


@dataclass(frozen=True)
class Answer:
    """Whether an answer is right, and how this is known."""

    right: bool
    why: str

    def __repr__(self) -> str:
        return f"{'Right' if self.right else 'Not yet'}: {self.why}"


def check_answer(answer: sp.Expr, target: sp.Expr, domain: Domain) -> Answer:
    """Compare ``answer`` with ``target`` over ``domain``; a wrong one comes with a point where it fails.

    >>> import sympy as sp
    >>> x = sp.Symbol("x", real=True)
    >>> check_answer(x * (x + 1), x**2 + x, Domain({x: (-2, 2)}))
    Right: proved for every value of its domain, by normal form
    >>> check_answer(x**2, x**2 + x, Domain({x: (1, 2)}))
    Not yet: 1.0 is not 2.0 at x = 1.0
    """
    try:
        verified = settle(
            "=", sp.sympify(answer), sp.sympify(target), domain, evidence=None, seed="answer", digits=50
        )
    except (Refuted, Undecided) as error:
        return Answer(False, str(error))
    return Answer(True, verified.detail)
