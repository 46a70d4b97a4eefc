"""Evidence for a step that is not proved. Each strategy answers with a ``Verified`` that names it, or raises.

Equality: every step is first attacked at random points and at the ends, ties and peaks of the domain; one
that survives is credited with the strongest strategy that succeeds, in the order symbolic, n-ladder, digits.
What rests on digits alone and has cases in it (a maximum, a modulus) is attacked once more, in the rarer
case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mpmath as mp
import sympy as sp

from proofbook.derive._sympy import carry_out, sympy_may_fail
from proofbook.derive.definition import unfold
from proofbook.derive.domain import Domain, Point
from proofbook.derive.errors import Refuted, Undecided, WrongRate
from proofbook.derive.instantiate import at_size, on_simplex
from proofbook.derive.latex import latex
from proofbook.derive.numeric import (
    POINT_DIGITS,
    PointEvaluator,
    describe,
    distinguish,
    random_points,
    special_points,
)
from proofbook.derive.over import Over
from proofbook.derive.ranges import Integers, Simplex, ends, number

PROVED, SYMBOLIC, LADDER, DIGITS = "proved", "symbolic", "n-ladder", "digits"
BOUND, ASYMPTOTIC = "bound", "asymptotic"
STRENGTH = (PROVED, SYMBOLIC, LADDER, DIGITS, BOUND, ASYMPTOTIC)

_DIGITS = 50
_RANDOM_POINTS = 12
_SPECIAL_POINTS = 12
_ATTACKS = 100
_SWITCHES = 6
# operations; beyond it SymPy's simplify can take minutes, and time must not decide a verdict
_SIMPLIFY_UP_TO = 300


@dataclass(frozen=True)
class Verified:
    """That a step holds, and how this is known. ``mark`` is short, ``detail`` is a sentence.

    ``in_markdown`` is the sentence with its formulas typeset, for the words of a claim.
    A proof comes with its certificate; everything else is evidence.
    """

    strategy: str
    mark: str
    detail: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    certificate: Mapping[str, Any] | None = None
    in_markdown: str = ""


@dataclass(frozen=True)
class Regime:
    """Where an approximation is claimed: along ``values`` the error goes as a power of ``variable``.

    The error must shrink along the values: an approximation with a constant missing is none. Where the error
    itself grows, state the ratio of both sides.

    Args:
        variable: the symbol that runs.
        values: what it runs through, three at least, positive and one way.
        order: the power of ``variable`` with which the error shrinks.
        at: fixes the other symbols of the domain.
        slack: how far the power measured between the last two values may lie from ``order``; the one before
            may lie twice as far.

    Raises:
        ValueError: values, an order or a slack that cannot be.
    """

    variable: sp.Symbol
    values: Sequence[Any]
    order: float
    at: Mapping[Any, Any] = field(default_factory=dict)
    slack: float = 0.25

    def __post_init__(self) -> None:
        if len(self.values) < 3:
            raise ValueError(f"a rate needs at least three values, got {self.values}")
        numbers = [number(v) for v in self.values]
        steps = [after - before for before, after in zip(numbers, numbers[1:])]
        if min(numbers) <= 0 or not (min(steps) > 0 or max(steps) < 0):
            raise ValueError(f"values must be positive and run one way, got {self.values}")
        if not self.order * steps[0] < 0:
            raise ValueError(f"an error of order {self.order} does not shrink along {self.values}")
        if not 0 < self.slack <= abs(self.order) / 2:
            raise ValueError(
                f"slack must be positive and at most half the order {self.order}, got {self.slack}"
            )

    def point(self, value: Any, domain: Domain) -> tuple[int, Point]:
        """The size and the point of ``domain`` at one of the values.

        Raises:
            ValueError: a symbol of the domain is left open.
        """
        rest = [key for key in domain.ranges if key not in self.at and key != self.variable]
        if any(key != domain.size for key in rest):
            raise ValueError(
                f"the regime leaves {[str(k) for k in rest if k != domain.size]} open: fix them with at="
            )
        fixed = {**self.at, self.variable: value}
        n = int(fixed.pop(domain.size)) if domain.size in fixed else 0
        # points keep the domain's own order of symbols
        with mp.workdps(POINT_DIGITS):
            return n, {key: number(fixed[key]) for key in domain.ranges if key != domain.size}


def equality(
    left: sp.Expr,
    right: sp.Expr,
    domain: Domain,
    *,
    seed: str,
    digits: int = _DIGITS,
    skip: Sequence[str] = (),
) -> Verified:
    """Prove ``left == right``.

    Args:
        left: one side.
        right: the other.
        domain: the values for which it is claimed.
        seed: chooses the random points.
        digits: to how many digits both sides are compared.
        skip: strategies not to try.

    Returns:
        The strongest strategy that succeeded.

    Raises:
        Refuted: the sides differ at a point, which the error names.
        Undecided: nothing settles it.
        ValueError: ``skip`` names what cannot be skipped.
    """
    if unknown := set(skip) - {SYMBOLIC, LADDER}:
        raise ValueError(f"skip may name {SYMBOLIC!r} and {LADDER!r}, got {sorted(unknown)}")
    evaluators = [
        PointEvaluator(left, right, domain, instance["n"], instance["at"]) for instance in domain.instances()
    ]
    tried = sum(_agree(evaluator, seed, digits) for evaluator in evaluators)
    if SYMBOLIC not in skip and _vanishes(_over(domain, _difference(left, right))):
        return Verified(SYMBOLIC, "symbolic", "the difference simplifies to zero")
    sizes = [n for n in domain.sizes if n]
    if LADDER not in skip and sizes and _vanishes_on(left, right, domain):
        rungs = ", ".join(map(str, sizes))
        return Verified(LADDER, f"n={rungs}", f"the difference simplifies to zero for n = {rungs}")
    tried += sum(_agree_in_every_case(evaluator, seed, digits) for evaluator in evaluators)
    where = f" for each n in {', '.join(map(str, sizes))}" if sizes else ""
    return Verified(
        DIGITS, f"{digits} digits", f"both sides agree to {digits} digits at {tried} points{where}"
    )


def inequality(relation: str, left: sp.Expr, right: sp.Expr, domain: Domain, *, seed: str) -> Verified:
    """Attack ``left <= right`` (or >=, <, >) at random and special points, and downhill from the tightest.

    Args:
        relation: one of ``<=``, ``>=``, ``<``, ``>``.
        left: one side.
        right: the other.
        domain: the values for which it is claimed.
        seed: chooses the random points.

    Returns:
        That it survived, and how many points it was tried at.

    Raises:
        Refuted: it fails at a point, which the error names.
        Undecided: a side has no value somewhere.
    """
    lower, upper = (left, right) if relation in ("<=", "<") else (right, left)
    tried = 0
    for instance in domain.instances():
        evaluator = PointEvaluator(lower, upper, domain, instance["n"], instance["at"])

        def margin(point: Point, evaluator: PointEvaluator = evaluator) -> Any:
            gap = evaluator.gap(point)
            if gap is not None and (gap < 0 or (gap == 0 and relation in ("<", ">"))):
                raise _violation(relation, evaluator, point)
            return gap

        ranked = []
        for point in random_points(domain, evaluator.n, _ATTACKS, seed):
            gap = margin(point)
            if gap is None:
                raise _no_value(evaluator, point)
            ranked.append((gap, point))
        for point in special_points(domain, evaluator.n, _ATTACKS // 2, seed):
            gap = margin(point)
            if gap is not None:
                ranked.append((gap, point))
            elif domain.is_exact:
                raise _no_value(evaluator, point)
        ranked.sort(key=lambda pair: pair[0])
        tried += len(ranked)
        for gap, point in ranked[:4]:
            tried += sum(1 for _ in _descend(margin, evaluator, gap, point))
    return Verified(
        BOUND, "attacked", f"no counterexample among {tried} points, random, special and by descent"
    )


def approximation(left: sp.Expr, right: sp.Expr, domain: Domain, regime: Regime) -> Verified:
    """Measure the error of ``left ~ right`` along the regime and check the power with which it shrinks.

    Args:
        left: one side.
        right: the other.
        domain: the values for which the formulas are meant.
        regime: along what, and how well, it is claimed to hold.

    Returns:
        The last error and the power measured.

    Raises:
        WrongRate: the error shrinks with another power, or is zero.
        Undecided: a side has no value there.
        ValueError: the regime leaves a symbol of the domain open.
    """
    errors = []
    for value in regime.values:
        n, point = regime.point(value, domain)
        gap = PointEvaluator(left, right, domain, n).gap(point)
        if gap is None:
            raise Undecided(f"the approximation has no value at {regime.variable} = {value}")
        errors.append(gap)
    if 0 in errors:
        raise WrongRate("the error is zero: this is an equality, state it as one")
    xs = [mp.log(number(v)) for v in regime.values]
    sizes = [abs(e) for e in errors]
    early, power = ((mp.log(sizes[k + 1]) - mp.log(sizes[k])) / (xs[k + 1] - xs[k]) for k in (-3, -2))
    if abs(power - regime.order) > regime.slack or abs(early - regime.order) > 2 * regime.slack:
        raise WrongRate(
            f"the error goes as {regime.variable}^{mp.nstr(early, 4)}, then "
            f"{regime.variable}^{mp.nstr(power, 4)}, not as {regime.variable}^{regime.order}; "
            f"errors {[mp.nstr(e, 4) for e in errors]}"
        )
    last, worst = regime.values[-1], float(sizes[-1])
    detail = (
        f"the error is {worst:.1e} at {regime.variable} = {last} and goes as "
        f"{regime.variable}^{float(power):.1f}"
    )
    name = latex(regime.variable)
    in_markdown = (
        f"the error is {worst:.1e} at ${name}={latex(last)}$ and goes as ${name}^{{{float(power):.1f}}}$"
    )
    numbers = {"error": worst, "power": float(power)}
    return Verified(ASYMPTOTIC, f"error {worst:.1e}", detail, numbers, in_markdown=in_markdown)


def _agree(evaluator: PointEvaluator, seed: str, digits: int) -> int:
    """Compare both sides at random points, which must have a value, and at special ones that happen to.

    The special ones must have a value too where the domain says all of its ranges exactly.
    """
    domain, n = evaluator.domain, evaluator.n
    # the special ones first: a failure there is easier to read
    special = special_points(domain, n, _SPECIAL_POINTS, seed)
    tried, must = 0, random_points(domain, n, _RANDOM_POINTS, seed)
    if domain.is_exact:
        must = special + must
    else:
        tried = _agree_where_defined(evaluator, special, digits)
    for point in must:
        if evaluator.values(point, digits) is None:
            raise _no_value(evaluator, point)
        _refute_unless_equal(evaluator, point, digits)
        tried += 1
    return tried


def _agree_where_defined(evaluator: PointEvaluator, points: Sequence[Point], digits: int) -> int:
    tried = 0
    for point in points:
        if evaluator.values(point, digits) is not None:
            _refute_unless_equal(evaluator, point, digits)
            tried += 1
    return tried


def _agree_in_every_case(evaluator: PointEvaluator, seed: str, digits: int) -> int:
    """Where a formula has cases, compare both sides in the cases that random points hardly meet."""
    domain, n = evaluator.domain, evaluator.n
    switches = _switches(evaluator)
    if not switches:
        return 0
    starts = random_points(domain, n, _ATTACKS, seed + "/cases")
    tried = _agree_where_defined(evaluator, starts, digits)
    for switch in switches:
        function = evaluator.function(switch)
        for sign in (1, -1):

            def height(point: Point, function: Callable[..., Any] = function, sign: int = sign) -> Any:
                try:
                    return sign * mp.re(function(*evaluator.numbers(point)))
                except (ZeroDivisionError, ValueError, OverflowError):
                    return None

            ranked = [(h, p) for p in starts if (h := height(p)) is not None]
            if ranked:
                best = min(ranked, key=lambda pair: pair[0])
                path = list(_descend(height, evaluator, *best, improving=True))
                tried += _agree_where_defined(evaluator, path, digits)
    return tried


def _switches(evaluator: PointEvaluator) -> list[sp.Expr]:
    """Expressions whose sign decides which case of a formula applies."""
    found = []
    for e in sorted(
        (evaluator.left - evaluator.right).atoms(sp.Max, sp.Min, sp.Abs, sp.sign, sp.Piecewise),
        key=sp.default_sort_key,
    ):
        if isinstance(e, (sp.Max, sp.Min)):
            arguments = sorted(e.args, key=sp.default_sort_key)
            found += [b - a for a, b in zip(arguments, arguments[1:])]
        elif isinstance(e, sp.Piecewise):
            found += [
                r.lhs - r.rhs for r in sorted(e.atoms(sp.core.relational.Relational), key=sp.default_sort_key)
            ]
        else:
            found.append(e.args[0])
    return list(dict.fromkeys(found))[:_SWITCHES]


def _refute_unless_equal(evaluator: PointEvaluator, point: Point, digits: int) -> None:
    if evaluator.agree(point, digits):
        return
    left, right = evaluator.known(point, 2 * digits)
    shown = distinguish(left, right)
    raise Refuted(
        f"{shown[0]} is not {shown[1]} at {describe(point, evaluator.n, evaluator.at)}",
        point=point,
        left=left,
        right=right,
    )


def _no_value(evaluator: PointEvaluator, point: Point) -> Exception:
    """What to say of a point inside the domain at which a side has no value."""
    left, right = evaluator.sides(point, _DIGITS)
    where = describe(point, evaluator.n, evaluator.at)
    real = [isinstance(side, mp.mpf) for side in (left, right)]
    if not any(real):
        return Undecided(f"neither side has a real, finite value at {where}")
    value = mp.nstr((left if real[0] else right), 12)
    return Refuted(
        f"one side is {value}, the other has no real, finite value at {where}",
        point=point,
        left=mp.nan if left is None else left,
        right=mp.nan if right is None else right,
    )


def _violation(relation: str, evaluator: PointEvaluator, point: Point) -> Refuted:
    lower, upper = evaluator.known(point, 100)
    left, right = (lower, upper) if relation in ("<=", "<") else (upper, lower)
    shown = distinguish(left, right)
    return Refuted(
        f"{shown[0]} {relation} {shown[1]} fails at {describe(point, evaluator.n, evaluator.at)}",
        point=point,
        left=left,
        right=right,
    )


def _over(domain: Domain, expression: sp.Expr) -> sp.Expr:
    """Tell SymPy which symbols are positive on the whole domain: no logarithm need be split by force."""
    return expression.xreplace(domain.positive_symbols())


def _difference(left: sp.Expr, right: sp.Expr) -> sp.Expr:
    """Left minus right, every quantity unfolded and everything carried out but sums of vector entries."""

    def can_be_carried_out(e: Any) -> bool:
        if isinstance(e, (sp.Derivative, sp.Subs)):
            return True
        # SymPy takes seconds to find that a sum of vector entries has no closed form
        return isinstance(e, (sp.Sum, sp.Product, sp.Integral)) and not e.has(sp.Indexed)

    return unfold(left - right).replace(can_be_carried_out, carry_out)


def _vanishes_on(left: sp.Expr, right: sp.Expr, domain: Domain) -> bool:
    for instance in domain.instances():
        difference = at_size(left - right, domain, instance["n"], instance["at"])
        if not _vanishes(_over(domain, on_simplex(difference, domain, instance["n"]))):
            return False
    return True


def _vanishes(difference: sp.Expr) -> bool:
    """Whether a difference simplifies to zero, by ever costlier means; False means only "not shown".

    Nothing here is forced: a logarithm is split only where SymPy knows its factors to be positive.
    """
    with sympy_may_fail("simplify", difference):
        return _simplifies_to_zero(difference)


def _simplifies_to_zero(difference: sp.Expr) -> bool:
    if sp.expand(difference) == 0:
        return True
    if difference.has(sp.Sum, sp.Product, Over):
        # with symbolic ends, SymPy 1.14 rarely gets further, and takes seconds
        return False
    # measured: the first settles nearly everything, in the least time
    ways: list[Callable[[sp.Expr], sp.Expr]] = [
        lambda e: sp.expand(sp.numer(sp.together(e))),
        lambda e: sp.expand(sp.expand_log(_factor_logs(e))),
        lambda e: sp.expand(sp.numer(sp.together(sp.expand_log(sp.factor_terms(e))))),
        lambda e: sp.expand(sp.expand_log(sp.expand(e))),
        lambda e: sp.expand(sp.numer(sp.together(sp.powsimp(sp.expand(e))))),
    ]
    if any(way(difference) == 0 for way in ways):
        return True
    if difference.count_ops() <= _SIMPLIFY_UP_TO:
        return bool(sp.simplify(difference) == 0 or sp.simplify(sp.expand_log(difference)) == 0)
    return False


def _factor_logs(expression: sp.Expr) -> sp.Expr:
    """Factor what stands inside logarithms: a split needs factors, and few fractions have one denominator."""
    return expression.replace(sp.log, lambda argument: sp.log(sp.factor_terms(sp.factor(argument))))


def _descend(
    height: Callable[[Point], Any],
    evaluator: PointEvaluator,
    level: Any,
    point: Point,
    rounds: int = 12,
    *,
    improving: bool = False,
) -> Iterator[Point]:
    """Walk downhill, one coordinate at a time, inside the domain; yields the points visited.

    ``improving`` yields only those that went down.
    """
    domain, step = evaluator.domain, mp.mpf(1) / 4
    with mp.workdps(POINT_DIGITS):
        for _ in range(rounds):
            improved = False
            for key, kind in domain.ranges.items():
                if key == domain.size:
                    continue
                for move in _moves(kind, point[key], step):
                    moved = {**point, key: move(point[key])}
                    if moved[key] == point[key] or not domain.holds_at(moved, evaluator.n):
                        continue
                    value = height(moved)
                    down = value is not None and value < level
                    if down:
                        level, point, improved = value, moved, True
                    if down or not improving:
                        yield moved
            if not improved:
                step /= 3


def _moves(kind: Any, value: Any, step: Any) -> list[Callable[[Any], Any]]:
    """Ways to change one coordinate of a point, each of which stays inside its range."""
    if isinstance(kind, Simplex):

        def scale(k: int, factor: Any) -> Callable[[Any], Any]:
            def move(p: Any) -> Any:
                weights = [w * factor if at == k else w for at, w in enumerate(p)]
                total = mp.fsum(weights)
                return tuple(w / total for w in weights)

            return move

        return [scale(k, mp.exp(sign * 8 * step)) for k in range(len(value)) for sign in (1, -1)]
    low, high = ends(kind)

    def shifted(x: Any, by: Any) -> Any:
        return min(max(x + by, low), high)

    def shift(by: Any) -> Callable[[Any], Any]:
        return lambda x: shifted(x, by)

    def shift_entry(k: int, by: Any) -> Callable[[Any], Any]:
        return lambda p: (*p[:k], shifted(p[k], by), *p[k + 1 :])

    def tie(k: int) -> Callable[[Any], Any]:
        return lambda p: (*p[:k], p[k - 1], *p[k + 1 :])

    if isinstance(kind, Integers):
        by = max(1, int(step * (high - low)))
        return [shift(d) for d in (by, -by, 1, -1)]
    by = step * (high - low)
    if not isinstance(value, tuple):
        return [shift(d) for d in (by, -by)]
    one = [shift_entry(k, d) for k in range(len(value)) for d in (by, -by)]
    # inequalities are often tight, and strict ones fail, where entries are equal
    return one + [tie(k) for k in range(1, len(value))]
