"""Whether a reader's formula is right, by the same means as the chapter's own."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from proofbook.derive import proving, strategies
from proofbook.derive.domain import Domain
from proofbook.derive.engines import wanted
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

    A reader need not convince the kernel. Where it wanted an engine that is not here, that is said.

    Raises:
        EmptyStep: they print alike.
        Refuted: they differ at a point.
        Undecided: nothing settles it.
    """
    with wanted() as missing:
        try:
            return proving.settle("=", left, right, domain, evidence=None, seed="answer", digits=50).detail
        except Undecided:
            pass
    detail = strategies.equality(left, right, domain, seed="answer").detail
    return (
        f"not proved here, where there is no {' and no '.join(sorted(missing))}; {detail}"
        if missing
        else detail
    )
