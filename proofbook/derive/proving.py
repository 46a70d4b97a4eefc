"""What a step rests on: a proof by the kernel or, where it was asked for by name, evidence.

Every step is attacked first, at points of its domain and as it was typed: nothing is taken from what SymPy
makes of an integral, a sum, a limit or a derivative. Then the kernel tries to prove it for the whole domain.
What it cannot prove is undecided, and stops the book, unless the author says ``evidence(step, because=...)``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import mpmath as mp
import sympy as sp

from proofbook.derive import strategies
from proofbook.derive.domain import Domain, Point
from proofbook.derive.errors import EmptyStep, Refuted, Undecided
from proofbook.derive.instantiate import NotConcrete, at_size
from proofbook.derive.kernel import (
    Certificate,
    Cited,
    NotProved,
    assumptions_of,
    parts_of,
    prove,
    prove_approximation,
)
from proofbook.derive.latex import latex
from proofbook.derive.numeric import POINT_DIGITS, describe, distinguish
from proofbook.derive.ranges import Simplex
from proofbook.derive.reach import reach, reach_in_short
from proofbook.derive.remainder import Within, check_size
from proofbook.derive.second_route import NoValue, Value, compare, needed, value
from proofbook.derive.strategies import DIGITS, PROVED, Regime, Verified

Where = Callable[[int, Point], bool]

_POINTS = 3  # of each size, for the attack on what was typed
_ROUTE_DIGITS = 9  # what ``second_route.compare`` asks for


def settle(
    relation: str,
    left: sp.Expr,
    right: sp.Expr,
    domain: Domain,
    *,
    regime: Regime | None = None,
    within: Within | None = None,
    evidence: str | None = None,
    seed: str,
    digits: int,
    skip: Sequence[str] = (),
    cites: Sequence[Cited] = (),
    where: Where | None = None,
    without: Sequence[str] = (),
) -> Verified:
    """What ``left relation right`` rests on.

    Args:
        relation: one of ``=``, ``<=``, ``>=``, ``<``, ``>``, ``~``.
        left: one side, as typed.
        right: the other.
        domain: the values for which it is claimed.
        regime: for ``~``, along what it is claimed or illustrated.
        within: for ``~``, the bounds of the error that are claimed on the whole domain.
        evidence: why evidence is to do instead of a proof; None where it is not.
        seed: chooses the random points.
        digits: to how many digits evidence compares two sides.
        skip: kinds of evidence not to try.
        cites: proved statements that the proof may use.
        where: tells the points at which it is claimed, where assumptions are among what is cited.
        without: lemmas of the kernel that the proof may not be given.

    Returns:
        A proof, or the evidence that was asked for.

    Raises:
        EmptyStep: both sides print alike.
        Refuted: it fails at a point, which the error names.
        Undecided: there is no proof, and no evidence was asked for or none was found.
        ValueError: evidence was asked for an equality that the kernel proves.
    """
    if latex(left) == latex(right):
        raise EmptyStep("both lines print alike: show what the step does, or leave it out")
    if within is not None:
        return _bounded(left, right, within, domain, regime, seed, digits, cites, where, without)
    told = 0
    if regime is None:
        told = _attack(relation, left, right, domain, seed, where)
        if evidence is not None and relation != "=":
            # the search for an inequality's proof may be long, and it has been in vain before
            why, found = "", None
        else:
            why, found = _proof(relation, left, right, domain, cites, without)
        if found is not None:
            if evidence is not None:
                raise ValueError("evidence is asked for a step that is proved: state it without")
            return found
    else:
        why = "an approximation is proved by a bound of its error: state it by within="
    speaks = _evidence(relation, left, right, domain, regime, seed, digits, skip, told)
    if evidence is None:
        raise Undecided(
            f"not proved ({why}). What speaks for it: {speaks.detail}; "
            "to show it as evidence, say evidence(step, because=...)"
        )
    return speaks


def _proof(
    relation: str,
    left: sp.Expr,
    right: sp.Expr,
    domain: Domain,
    cites: Sequence[Cited],
    without: Sequence[str],
) -> tuple[str, Verified | None]:
    """A proof by the kernel, or why there is none."""
    try:
        certificate = prove(relation, left, right, domain, cites, without)
    except NotProved as error:
        return str(error), None
    sides = (left, right)
    return "", _proved(domain, certificate, sides)


def _proved(domain: Domain, certificate: Certificate, sides: Sequence[sp.Expr]) -> Verified:
    mark, detail = proved_mark(domain, certificate, sides), proved_for(domain, certificate, sides)
    typeset = proved_for(domain, certificate, sides, typeset=True)
    return Verified(PROVED, mark, detail, certificate=certificate, in_markdown=typeset)


def proved_mark(domain: Domain, certificate: Certificate, sides: Sequence[sp.Expr]) -> str:
    """What is printed beside a proof: for which values it is one, in few words, and what it assumes."""
    values = reach_in_short(domain, sides, _left_out(certificate))
    where = " where defined" if values and _has_gaps(certificate) else ""
    return f"{PROVED}{_from_assumptions(certificate)} {values}{where}".rstrip()


def _left_out(certificate: Certificate) -> frozenset[tuple[str, str]]:
    """The ends of ranges at which a formula has no value, so that nothing is said of them."""
    return frozenset(
        (name, end) for part in parts_of(certificate) for name, end in part["setting"]["open ends"]
    )


def _has_gaps(certificate: Certificate) -> bool:
    """Whether a formula has no value at some points of the edge of the domain, which no range names."""
    return any(part["setting"]["only where"] for part in parts_of(certificate))


def _from_assumptions(certificate: Certificate) -> str:
    numbers = assumptions_of(certificate)
    return f" from Assumption {' and '.join(map(str, numbers))}" if numbers else ""


def proved_for(
    domain: Domain, certificate: Certificate, sides: Sequence[sp.Expr], *, typeset: bool = False
) -> str:
    """For what a proof is, value by value, and by which rule, which comes last; plain, or as Markdown."""
    assuming = _from_assumptions(certificate)
    fewer = ""
    if without := certificate.get("without"):
        fewer = f" without {'a lemma' if len(without) == 1 else f'{len(without)} lemmas'} of the kernel"
    values = reach(domain, sides, _left_out(certificate), typeset=typeset)
    gaps = ", wherever both sides are defined" if values and _has_gaps(certificate) else ""
    reached = f" for {values}{gaps}" if values else ", with nothing free"
    return f"proved{assuming}{fewer}{reached}, by {certificate['rule']}"


def _bounded(
    left: sp.Expr,
    right: sp.Expr,
    within: Within,
    domain: Domain,
    regime: Regime | None,
    seed: str,
    digits: int,
    cites: Sequence[Cited],
    where: Where | None,
    without: Sequence[str],
) -> Verified:
    """A proof that ``left`` is at least ``right - below`` and at most ``right + above``.

    In a regime the error is measured besides.

    Raises:
        Refuted: a bound fails at a point.
        Undecided: a bound is not proved.
        WrongRate: the rate of the regime is not met, or the bound is not smaller than what it stands beside.
    """
    sides = ((">=", within.lowest(right)), ("<=", within.highest(right)))
    told = [_attack(relation, left, side, domain, seed, where) for relation, side in sides]
    check_size(right, within, domain, regime, seed)
    measured = None if regime is None else strategies.approximation(left, right, domain, regime)
    try:
        certificate = prove_approximation(left, right, within.below, within.above, domain, cites, without)
    except NotProved as error:
        for (relation, side), seen in zip(sides, told):
            _evidence(relation, left, side, domain, None, seed, digits, (), seen)
        raise Undecided(
            f"the bound of the error is not proved ({error}); no counterexample was found"
        ) from error
    stated = (left, right, within.below, within.above)
    found = _proved(domain, certificate, stated)
    if measured is None:
        return found
    return replace(
        found,
        detail=f"{measured.detail}; {found.detail}",
        numbers=measured.numbers,
        in_markdown=f"{measured.in_markdown}; {found.in_markdown}",
    )


def _evidence(
    relation: str,
    left: sp.Expr,
    right: sp.Expr,
    domain: Domain,
    regime: Regime | None,
    seed: str,
    digits: int,
    skip: Sequence[str],
    told: int,
) -> Verified:
    if regime is not None:
        return strategies.approximation(left, right, domain, regime)
    if any(needed(at_least_named(side, domain)) for side in (left, right)):
        if not told:
            raise Undecided("no second route has a value for what is typed, at any point that was tried")
        mark = f"{_ROUTE_DIGITS} digits" if relation == "=" else "attacked"
        return Verified(
            DIGITS if relation == "=" else strategies.BOUND,
            mark,
            f"as typed, without SymPy, it holds to {_ROUTE_DIGITS} digits at {told} points",
        )
    if relation == "=":
        return strategies.equality(left, right, domain, seed=seed, digits=digits, skip=skip)
    return strategies.inequality(relation, left, right, domain, seed=seed)


def at_least_named(side: sp.Expr, domain: Domain) -> sp.Expr:
    """A side with its quantities unfolded and its operations as they were typed."""
    return at_size(side, domain, 0, operations=False)


def _attack(
    relation: str, left: sp.Expr, right: sp.Expr, domain: Domain, seed: str, where: Where | None
) -> int:
    """Compare both sides as they were typed at a few points of every size; how many could tell.

    Raises:
        Refuted: the sides differ, or the inequality fails, beyond what rounding and quadrature can do.
    """
    told = 0
    for n, at, sides, point in _places(left, right, domain, seed):
        if where is not None and not where(n, point):
            continue
        try:
            here = _numbers(domain, point, n)
            one, other = (value(side, here) for side in sides)
        except NoValue:
            continue
        told += 1
        if not _holds(relation, one, other):
            shown = distinguish(one.number, other.number)
            verb = f"is not {shown[1]}" if relation == "=" else f"{relation} {shown[1]} fails"
            raise Refuted(
                f"{shown[0]} {verb} at {describe(point, n, at)}",
                point=point,
                left=one.number,
                right=other.number,
            )
    return told


def _holds(relation: str, one: Value, other: Value) -> bool:
    """Whether a relation may hold between two values, given how well each is known."""
    if relation == "=":
        return compare(one, other) is not False
    with mp.workdps(50):
        gap = other.number - one.number if relation in ("<", "<=") else one.number - other.number
        blur = 1000 * (one.spread + other.spread) + mp.mpf(10) ** -30 * max(
            1, abs(one.number), abs(other.number)
        )
        return bool(gap >= -blur)


def _places(
    left: sp.Expr, right: sp.Expr, domain: Domain, seed: str
) -> Iterator[tuple[int, dict[Any, Any], tuple[sp.Expr, ...], Point]]:
    """Sizes, values of free indices, both sides there, and random points."""
    for instance in domain.instances():
        n, at = instance["n"], instance["at"]
        try:
            sides = tuple(at_size(side, domain, n, at, operations=False) for side in (left, right))
        except NotConcrete as error:
            raise Undecided(str(error)) from error
        rng = random.Random(f"{seed}/{n}/typed")
        for _ in range(_POINTS):
            with mp.workdps(POINT_DIGITS):
                yield n, at, sides, domain.sample(rng, n)


def _numbers(domain: Domain, point: Point, n: int) -> dict[Any, Any]:
    """A number for every plain symbol, the last entry of a probability vector what is left of one."""
    numbers = {symbol: point[symbol] for symbol in domain.scalars}
    for base in domain.vectors:
        entries = list(point[base])
        if isinstance(domain.ranges[base], Simplex):
            with mp.workdps(POINT_DIGITS):
                entries[-1] = 1 - mp.fsum(entries[:-1])
        numbers.update(zip(domain.entries(base, n), entries, strict=True))
    return numbers
