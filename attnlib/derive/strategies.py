"""How a step is established. Each strategy answers with a ``Verified`` that names it, or raises.

Equality: every step is first attacked at random points; one that survives is credited with the strongest
strategy that succeeds, in the order symbolic, n-ladder, digits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import mpmath as mp
import sympy as sp

from attnlib.derive.domain import Domain
from attnlib.derive.errors import Refuted, Undecided, WrongRate
from attnlib.derive.instantiate import NotConcrete, at_size, on_simplex
from attnlib.derive.numeric import PointEvaluator, describe, points
from attnlib.derive.over import Over

SYMBOLIC, LADDER, DIGITS, BOUND, ASYMPTOTIC = "symbolic", "n-ladder", "digits", "bound", "asymptotic"
STRENGTH = (SYMBOLIC, LADDER, DIGITS, BOUND, ASYMPTOTIC)

_DIGITS = 50
_POINTS = 12
_SIMPLIFY_UP_TO = 300  # operations; beyond it SymPy's simplify can take minutes, and time must not decide a verdict


@dataclass(frozen=True)
class Verified:
    """That a step holds, and how this is known. ``mark`` is short, ``detail`` is a sentence."""

    strategy: str
    mark: str
    detail: str
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Regime:
    """Where an approximation is claimed: ``variable`` runs through ``values`` and the error goes as its power ``order``.

    ``at`` fixes the other symbols of the domain. The measured power must lie within ``slack`` of ``order``.
    """

    variable: sp.Symbol
    values: Sequence
    order: float
    at: Mapping = field(default_factory=dict)
    slack: float = 0.25

    def __post_init__(self):
        if len(self.values) < 3:
            raise ValueError(f"a rate needs at least three values, got {self.values}")


def equality(left: sp.Expr, right: sp.Expr, domain: Domain, *, seed: str, digits: int = _DIGITS,
             skip: Sequence[str] = ()) -> Verified:
    """Prove ``left == right``, or raise ``Refuted`` with a point, or ``Undecided``."""
    tried = _agree(left, right, domain, seed, digits)
    if SYMBOLIC not in skip and _vanishes(_difference(left, right)):
        return Verified(SYMBOLIC, "symbolic", "the difference simplifies to zero")
    sizes = [n for n in domain.sizes if n]
    if LADDER not in skip and sizes and _vanishes_on(left, right, domain):
        rungs = ", ".join(map(str, sizes))
        return Verified(LADDER, f"n={rungs}", f"the difference simplifies to zero for n = {rungs}")
    where = f" for each n in {', '.join(map(str, sizes))}" if sizes else ""
    return Verified(DIGITS, f"{digits} digits", f"both sides agree to {digits} digits at {tried} points{where}")


def inequality(relation: str, left: sp.Expr, right: sp.Expr, domain: Domain, *, seed: str) -> Verified:
    """Attack ``left <= right`` (or >=, <, >) at random points and downhill from the tightest ones."""
    lower, upper = (left, right) if relation in ("<=", "<") else (right, left)
    strict = relation in ("<", ">")
    tried = 0
    for instance in domain.instances():
        n, at = instance["n"], instance["at"]
        evaluator = PointEvaluator(lower, upper, domain, n, at)
        ranked = []
        for point in points(domain, n, 150, seed):
            gap = _gap(evaluator, point)
            if gap is None:
                continue
            _refute_if_violated(gap, strict, evaluator, point, relation)
            ranked.append((gap, point))
            tried += 1
        if len(ranked) < 20:
            raise Undecided(f"only {len(ranked)} points of the domain give the inequality a value")
        ranked.sort(key=lambda pair: pair[0])
        for gap, point in ranked[:4]:
            tried += _descend(evaluator, domain, gap, point, strict, relation)
    return Verified(BOUND, "attacked", f"no counterexample among {tried} points, random and by descent")


def approximation(left: sp.Expr, right: sp.Expr, domain: Domain, regime: Regime, *, seed: str) -> Verified:
    """Measure the error of ``left ~ right`` along the regime and check the power with which it shrinks."""
    rest = {key: value for key, value in domain.ranges.items() if key not in regime.at and key != regime.variable}
    if any(key != domain.size for key in rest):
        raise ValueError(f"the regime leaves {[str(k) for k in rest if k != domain.size]} open: fix them with at=")
    errors = []
    for value in regime.values:
        fixed = {**regime.at, regime.variable: value}
        n = int(fixed.pop(domain.size)) if domain.size in fixed else 0
        point = {key: _as_number(v) for key, v in fixed.items()}
        # points keep the domain's own order of symbols
        evaluator = PointEvaluator(left, right, domain, n)
        both = evaluator.values({key: point[key] for key in domain.ranges if key != domain.size}, 30)
        if both is None:
            raise Undecided(f"the approximation has no value at {regime.variable} = {value}")
        errors.append(abs(both[0] - both[1]))
    if min(errors) < mp.mpf(10) ** -25:
        raise WrongRate("the error is zero: this is an equality, state it as one")
    xs = [mp.log(_as_number(v)) for v in regime.values]
    power = (mp.log(errors[-1]) - mp.log(errors[-2])) / (xs[-1] - xs[-2])
    if abs(power - regime.order) > regime.slack:
        raise WrongRate(f"the error goes as {regime.variable}^{mp.nstr(power, 4)}, "
                        f"not as {regime.variable}^{regime.order}; errors {[mp.nstr(e, 4) for e in errors]}")
    last, worst = regime.values[-1], float(errors[-1])
    detail = (f"the error is {worst:.1e} at {regime.variable} = {last} and goes as "
              f"{regime.variable}^{float(power):.1f}")
    return Verified(ASYMPTOTIC, f"error {worst:.1e}", detail, {"error": worst, "power": float(power)})


def _agree(left, right, domain: Domain, seed: str, digits: int) -> int:
    """Compare both sides at every size; the number of points at which they could be compared."""
    tried = 0
    for instance in domain.instances():
        n, at = instance["n"], instance["at"]
        evaluator = PointEvaluator(left, right, domain, n, at)
        here = 0
        for point in points(domain, n, _POINTS, seed):
            both = evaluator.values(point, digits)
            if both is None:
                continue
            here += 1
            if not _same(*both, digits) and not _same(*evaluator.values(point, 2 * digits), digits):
                raise Refuted(f"{mp.nstr(both[0], 12)} is not {mp.nstr(both[1], 12)} at {describe(point, n, at)}",
                              point=point, left=both[0], right=both[1])
        if here < _POINTS // 2:
            raise Undecided(f"both sides have a value at only {here} of the points tried"
                            + (f" for n = {n}" if n else ""))
        tried += here
    return tried


def _same(a, b, digits: int) -> bool:
    scale = max(abs(a), abs(b))
    # below this size a value is zero up to the rounding of the digits carried
    return scale < mp.mpf(10) ** (-digits - 30) or abs(a - b) <= mp.mpf(10) ** -digits * scale


def _difference(left, right) -> sp.Expr:
    from attnlib.derive.definition import unfold

    return unfold(left - right).doit()


def _vanishes_on(left, right, domain: Domain) -> bool:
    for instance in domain.instances():
        try:
            difference = at_size(left - right, domain, instance["n"], instance["at"])
        except NotConcrete:
            return False
        if not _vanishes(on_simplex(difference, domain, instance["n"])):
            return False
    return True


def _vanishes(difference: sp.Expr) -> bool:
    """Whether a difference simplifies to zero, by ever costlier means; False means only "not shown"."""
    ways: list[Callable] = [
        sp.expand,
        lambda e: sp.expand(sp.expand_log(sp.expand(e))),
        lambda e: sp.expand(sp.numer(sp.together(sp.powsimp(sp.expand(e))))),
        lambda e: sp.expand(sp.numer(sp.together(sp.expand_log(sp.factor_terms(e), force=True)))),
    ]
    for way in ways:
        if way(difference) == 0:
            return True
    # SymPy 1.14's simplify raises StopIteration on some sums with symbolic ends
    if difference.count_ops() <= _SIMPLIFY_UP_TO and not difference.has(sp.Sum, sp.Product, Over):
        return sp.simplify(difference) == 0 or sp.simplify(sp.expand_log(difference, force=True)) == 0
    return False


def _gap(evaluator: PointEvaluator, point: dict):
    both = evaluator.values(point, 20)
    return None if both is None else both[1] - both[0]


def _refute_if_violated(gap, strict: bool, evaluator: PointEvaluator, point: dict, relation: str) -> None:
    lower, upper = evaluator.values(point, 20)
    rounding = mp.mpf(10) ** -40 * max(1, abs(lower), abs(upper))
    if gap < -rounding or (strict and gap <= rounding):
        left, right = (lower, upper) if relation in ("<=", "<") else (upper, lower)
        raise Refuted(f"{mp.nstr(left, 12)} {relation} {mp.nstr(right, 12)} fails at "
                      f"{describe(point, evaluator.n, evaluator.at)}", point=point, left=left, right=right)


def _descend(evaluator, domain: Domain, gap, point: dict, strict: bool, relation: str, rounds: int = 12) -> int:
    """Walk from a tight point towards a violation, one coordinate at a time, inside the domain."""
    from attnlib.derive.domain import Integers, Simplex, _number, _satisfied

    step, tried = mp.mpf(1) / 4, 0
    for _ in range(rounds):
        improved = False
        for key, kind in domain.ranges.items():
            if key == domain.size or isinstance(kind, (Integers, Simplex)):
                continue
            low, high = map(_number, kind)
            slots = range(len(point[key])) if isinstance(point[key], tuple) else [None]
            for slot in slots:
                for sign in (1, -1):
                    old = point[key] if slot is None else point[key][slot]
                    new = min(max(old + sign * step * (high - low), low), high)
                    moved = dict(point)
                    moved[key] = new if slot is None else point[key][:slot] + (new,) + point[key][slot + 1:]
                    if not all(_satisfied(r, moved) for r in domain.where):
                        continue
                    value = _gap(evaluator, moved)
                    tried += 1
                    if value is None:
                        continue
                    _refute_if_violated(value, strict, evaluator, moved, relation)
                    if value < gap:
                        gap, point, improved = value, moved, True
        if not improved:
            step /= 3
    return tried


def _as_number(value):
    return mp.mpf(value) if isinstance(value, (int, float)) else mp.mpf(sp.sympify(value).evalf(60)._mpf_)
