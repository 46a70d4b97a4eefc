"""Whether a reader's formula is right, by the same means as the chapter's own."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from proofbook.derive import proving, strategies
from proofbook.derive.domain import Domain
from proofbook.derive.errors import Undecided


@dataclass(frozen=True)
class Answer:
    """Whether an answer is right, and how this is known."""

    right: bool
    why: str
    given: bool = True

    def __repr__(self) -> str:
        verdict = "No answer yet" if not self.given else "Right" if self.right else "Not yet"
        return f"{verdict}: {self.why}"


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
