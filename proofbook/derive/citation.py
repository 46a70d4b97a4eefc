"""Proved equations, cited in the proof of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sympy as sp

from proofbook.derive.domain import Domain
from proofbook.derive.kernel import Certificate, Cited, assumptions_of, parts_of
from proofbook.derive.strategies import PROVED, Verified

if TYPE_CHECKING:
    from proofbook.derive.derivation import Derivation


def cite(derivation: Derivation, at: Mapping[sp.Symbol, Any] | None = None, step: int | None = None) -> Cited:
    """What a proved derivation says, at values of its symbols, for the ``by=`` of a step.

    It says that its first line stands in the weakest relation of the chain to its last. What is cited exists
    before what cites it, so citations never run in a circle.

    Args:
        derivation: the equation; every step that is cited must be proved.
        at: maps symbols of its domain to expressions of the citing statement, which must be known to lie in
            the domain; other symbols stand for themselves. Vectors and their size always do.
        step: one step of it, from 1, instead of the whole chain; an approximation is cited alone.

    Raises:
        ValueError: a step that is not proved, a chain that runs up and down or goes through an approximation,
            a symbol that the equation does not speak of, or other values for one that rests on an assumption.

    >>> import sympy as sp
    >>> from proofbook.derive import Derivation, Domain, eq
    >>> x, y = sp.symbols("x y", real=True)
    >>> step = eq(x**2 + 2*x + 1, "multiply out")
    >>> square = Derivation("eq-square", (x + 1)**2, step, domain=Domain({x: (-9, 9)}))
    >>> cite(square, {x: y}).relation
    '='
    """
    count = len(derivation.steps)
    if step is not None and not 1 <= step <= count:
        raise ValueError(f"{derivation.label} has {count} steps, and no step {step}")
    proved = Proved(
        label=derivation.label,
        lines=(derivation.start, *(s.expression for s in derivation.steps)),
        relations=tuple(s.relation for s in derivation.steps),
        certificates=tuple(_certificate(v) for v in derivation.verified),
        within=tuple((s.within.below, s.within.above) if s.within else None for s in derivation.steps),
        domain=derivation.domain,
    )
    return proved.cited((1, count) if step is None else (step, step), {} if at is None else at)


def _certificate(verified: Verified) -> Certificate | None:
    proved = verified.strategy == PROVED and verified.certificate is not None
    return dict(verified.certificate or {}) if proved else None


@dataclass(frozen=True)
class Proved:
    """A chain of statements with the certificates of those that are proved, None for the others."""

    label: str
    lines: tuple[sp.Expr, ...]
    relations: tuple[str, ...]
    certificates: tuple[Certificate | None, ...]
    within: tuple[tuple[sp.Expr, sp.Expr] | None, ...]
    domain: Domain

    def cited(self, steps: tuple[int, int], at: Mapping[sp.Symbol, Any]) -> Cited:
        """The first to the last of ``steps``, at values of the symbols, as a fact for another proof.

        Raises:
            ValueError: as ``cite``.
        """
        if unknown := set(at) - {*self.domain.ranges, self.domain.size, *self.domain.each}:
            raise ValueError(f"{self.label} does not speak of {sorted(map(str, unknown))}")
        if vectors := [key for key in at if isinstance(key, sp.IndexedBase)]:
            raise ValueError(f"a vector stands for itself where it is cited: leave out {vectors}")
        first, last = steps
        opened, assumptions = set(), set()
        for k in range(first - 1, last):
            certificate = self.certificates[k]
            if certificate is None:
                raise ValueError(f"{self.label}, step {k + 1}, is not proved, so nothing can rest on it")
            assumptions |= {*assumptions_of(certificate)}
            for part in parts_of(certificate):
                opened |= {(str(name), str(end)) for name, end in part["setting"]["open ends"]}
        if assumptions and any(sp.sympify(value) != key for key, value in at.items()):
            # at a point where what is assumed holds, it need not hold at another
            raise ValueError(
                f"{self.label} rests on assumption {sorted(assumptions)}: cite it at its own symbols"
            )
        return Cited(
            label=self.label,
            steps=steps,
            relation=weakest(self.label, self.relations[first - 1 : last]),
            lines=self.lines[first - 1 : last + 1],
            domain=self.domain,
            opened=frozenset(opened),
            at=tuple((key, sp.sympify(value)) for key, value in at.items()),
            within=self.within[first - 1],
            assumptions=tuple(sorted(assumptions)),
        )


def weakest(label: str, relations: Sequence[str]) -> str:
    """The relation of the ends of a chain: strict if a step is.

    Raises:
        ValueError: they have none, as the chain runs up and down or goes on after an approximation.
    """
    kinds = set(relations)
    if list(relations) == ["~"]:
        return "~"
    for strict, weak in (("<", "<="), (">", ">=")):
        if kinds <= {"=", weak, strict}:
            return "=" if kinds == {"="} else strict if strict in kinds else weak
    raise ValueError(f"{label} runs up and down, or goes through an approximation: cite one step of it")
