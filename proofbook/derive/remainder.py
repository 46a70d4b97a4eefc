"""The bounds of an approximation's error, and whether they are small enough to be worth stating."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sympy as sp

from proofbook.derive.domain import Domain, Point
from proofbook.derive.errors import WrongRate
from proofbook.derive.latex import latex
from proofbook.derive.numeric import PointEvaluator, describe, random_points, special_points
from proofbook.derive.strategies import Regime

_POINTS = 24
_DIGITS = 20


@dataclass(frozen=True)
class Within:
    """``-below <= error <= above``, where the error is what the line before has more than the new one."""

    below: sp.Expr
    above: sp.Expr

    def lowest(self, expression: sp.Expr) -> sp.Expr:
        """The least that the line before can be; kept as typed, for nothing is to cancel."""
        return sp.Add(expression, sp.Mul(-1, self.below, evaluate=False), evaluate=False)

    def highest(self, expression: sp.Expr) -> sp.Expr:
        """The most that the line before can be."""
        return sp.Add(expression, self.above, evaluate=False)

    def latex(self) -> str:
        """The bound as it stands beside the reason: one for the size of the error, or one for each side."""
        if self.below == self.above:
            return rf"\text{{error at most }}{latex(self.above)}"
        return rf"{latex(-self.below)} \le \text{{error}} \le {latex(self.above)}"

    def __str__(self) -> str:
        if self.below == self.above:
            return f"|error| <= {self.above}"
        return f"{-self.below} <= error <= {self.above}"


def check_size(expression: sp.Expr, within: Within, domain: Domain, regime: Regime | None, seed: str) -> None:
    """Refuse a bound that drowns a term which is shown: somewhere it must be smaller than each of them.

    Somewhere is the end of the regime, if there is one; else one of the points that are tried.

    Raises:
        WrongRate: the bound is not smaller than the smallest term.
    """
    shown = ""
    for n, at, points in _places(domain, regime, seed):
        bounds, terms = (
            [PointEvaluator(part, part, domain, n, at) for part in parts]
            for parts in ((within.below, within.above), sp.Add.make_args(expression))
        )
        for point in points:
            bound, term = _sizes(bounds, point), _sizes(terms, point)
            if bound and term and max(bound) < min(term):
                return
            shown = describe(point, n, at)
    where = f"at the end of the regime, {shown}" if regime is not None else "at any point that was tried"
    raise WrongRate(f"the bound of the error is not smaller than the smallest term that is shown, {where}")


def _places(
    domain: Domain, regime: Regime | None, seed: str
) -> Iterator[tuple[int, dict[sp.Symbol, int], list[Point]]]:
    """Sizes, values of free indices, and points."""
    if regime is not None:
        n, point = regime.point(regime.values[-1], domain)
        yield n, {}, [point]
        return
    for instance in domain.instances():
        n = instance["n"]
        points = special_points(domain, n, _POINTS, seed) + random_points(domain, n, _POINTS, seed)
        yield n, instance["at"], points


def _sizes(evaluators: list[PointEvaluator], point: Point) -> list[Any]:
    """How large some formulas are at a point; nothing where one of them has no value."""
    values = [evaluator.values(point, _DIGITS) for evaluator in evaluators]
    return [abs(value[0]) for value in values if value is not None] if None not in values else []
