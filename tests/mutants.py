"""Near misses: a statement with one sign, constant, factor, exponent, index, function or relation changed.

Whether a near miss is false is asked of the second route, which evaluates what stands there as it is typed;
what it cannot show to be false at some point of the domain counts for nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import mpmath as mp
import sympy as sp

from proofbook.derive import Domain, MaxOver, MinOver
from proofbook.derive.definition import Quantity, unfold
from proofbook.derive.instantiate import NotConcrete, at_size
from proofbook.derive.ranges import Simplex
from proofbook.derive.second_route import NoValue, Value, _Evaluator, value

OTHER = {
    "=": ("=",),
    "<=": ("<", ">=", ">"),
    ">=": (">", "<=", "<"),
    "<": (">", ">="),
    ">": ("<", "<="),
}
SIZES = (1, 2, 3, 5)
_MANY = 600  # digits
Path = tuple[int, ...]
Mutant = tuple[str, str, sp.Expr, sp.Expr]  # what was changed, the relation, both sides


def mutant(relation: str, left: sp.Expr, right: sp.Expr, domain: Domain, rng: random.Random) -> Mutant | None:
    """One random change of a statement; None where it changes nothing."""
    if relation != "=" and rng.random() < 0.15:
        other = rng.choice(OTHER[relation])
        return f"{relation} became {other}", other, left, right
    sides = [left, right]
    k = rng.randrange(2)
    places = list(_places(sides[k], ()))
    path, node = rng.choice(places)
    made = list(_changes(node, domain))
    if not made:
        return None
    change = rng.choice(made)
    try:
        sides[k] = _put(sides[k], path, change)
    except (TypeError, ValueError, AttributeError):
        return None
    if (
        sides[k] == (left, right)[k]
        or not isinstance(sides[k], sp.Expr)
        or sides[k].has(sp.nan, sp.zoo, sp.I)
    ):
        return None
    return f"{node} became {change}", relation, sides[0], sides[1]


def _places(e: sp.Basic, path: Path) -> Iterator[tuple[Path, sp.Basic]]:
    """Every place in a formula that may change: not the variables of derivatives, integrals and sums."""
    yield path, e
    if isinstance(e, (sp.Symbol, sp.Indexed)):
        return
    for k, part in enumerate(e.args):
        bound = isinstance(e, (sp.Derivative, sp.Subs)) and k > 0
        if isinstance(part, sp.Tuple) and len(part) == 3 and not bound:
            yield (*path, k, 2), part[2]
            yield (*path, k, 1), part[1]
        elif isinstance(part, sp.Expr) and not bound:
            yield from _places(part, (*path, k))


def _put(e: sp.Basic, path: Path, new: sp.Basic) -> sp.Basic:
    if not path:
        return new
    parts = list(e.args)
    parts[path[0]] = _put(parts[path[0]], path[1:], new)
    return e.func(*parts)


def _changes(node: sp.Basic, domain: Domain) -> Iterator[sp.Basic]:
    """What may stand in the place of a part of a formula."""
    if isinstance(node, sp.Indexed):
        yield from (2 * node, -node, node**2)
        for base in domain.vectors:
            yield base[node.indices[0]]
        for index in domain.each:
            yield node.base[index]
        return
    if isinstance(node, sp.Rational):
        yield from (node + 1, node - 1, 2 * node, -node, node + sp.Rational(1, 2))
        return
    yield from (-node, node + 1, 2 * node, node / 2, node**2)
    if isinstance(node, sp.Symbol):
        yield from (s for s in domain.scalars if s != node)
        yield from (node - 1, node + 2)
    if isinstance(node, sp.Add):
        for part in node.args:
            yield from (node - part, node - 2 * part)
    if isinstance(node, sp.Mul):
        yield from (node / part for part in node.args)
    if isinstance(node, sp.Pow):
        yield from (node.base, node.base ** (node.exp + 1), node.base**-node.exp, node.base ** (node.exp / 2))
    if isinstance(node, (sp.exp, sp.log, sp.Abs, sp.sign, sp.cos, sp.sin, sp.tanh)):
        yield from (node.args[0], node.func(2 * node.args[0]), node.func(-node.args[0]))
    if isinstance(node, sp.Max):
        yield sp.Min(*node.args)
    if isinstance(node, sp.Min):
        yield sp.Max(*node.args)
    if isinstance(node, MaxOver):
        yield MinOver(*node.args)
    if isinstance(node, MinOver):
        yield MaxOver(*node.args)
    if isinstance(node, sp.Derivative):
        yield node.args[0]
    if isinstance(node, Quantity):
        yield unfold(node)


def failure(
    relation: str, left: sp.Expr, right: sp.Expr, domain: Domain, rng: random.Random, points: int = 4
) -> str:
    """Where a statement is shown to fail, in words; empty where that is not shown."""
    counted = domain.size is not None and domain.sizes != (0,)
    sizes = [n for n in SIZES if n >= domain.least] if counted else [0]
    for n in sizes:
        for index in range(max(1, n)):
            if index and (not domain.each or index == n - 1 > 1):
                continue
            at = {symbol: 1 + (index + k) % n for k, symbol in enumerate(domain.each)}
            try:
                sides = [at_size(side, domain, n, at, operations=False) for side in (left, right)]
            except (NotConcrete, ValueError):
                continue
            for place in _points(domain, n, rng, points):
                try:
                    one, other = (value(side, place) for side in sides)
                except (NoValue, ValueError, TypeError, KeyError):
                    continue
                if _fails(relation, one, other) or _meet(relation, sides, place):
                    there = {str(s): mp.nstr(v, 8) for s, v in place.items()}
                    return f"n = {n}, {at}, {there}: {mp.nstr(one.number, 12)}, {mp.nstr(other.number, 12)}"
    return ""


def _points(domain: Domain, n: int, rng: random.Random, count: int) -> Iterator[dict[Any, Any]]:
    """Numbers for every plain symbol at random and at special points of a domain."""
    with mp.workdps(_MANY):
        try:
            found = [domain.sample(rng, n) for _ in range(count)] + domain.special(rng, n, 2 * count)
        except ValueError:
            return
        for point in found:
            numbers = {symbol: point[symbol] for symbol in domain.scalars}
            for base in domain.vectors:
                entries = list(point[base])
                if isinstance(domain.ranges[base], Simplex):
                    entries[-1] = 1 - mp.fsum(entries[:-1])
                numbers.update(zip(domain.entries(base, n), entries, strict=True))
            yield numbers


def _fails(relation: str, one: Value, other: Value) -> bool:
    """Whether two values tell that a relation does not hold: by more than their spreads."""
    with mp.workdps(50):
        gap = one.number - other.number
        scale = max(abs(one.number), abs(other.number))
        blur = 10**4 * (one.spread + other.spread) + max(scale, mp.mpf(10) ** -12) * mp.mpf(10) ** -18
        if relation == "=":
            return bool(abs(gap) > blur)
        return bool((gap if relation in ("<", "<=") else -gap) > blur)


def _meet(relation: str, sides: list[sp.Expr], place: dict[Any, Any]) -> bool:
    """Whether two sides of a strict inequality are equal, to hundreds of digits."""
    if relation not in ("<", ">") or any(side.has(sp.Integral, sp.Limit, sp.Derivative) for side in sides):
        return False
    with mp.workdps(_MANY):
        try:
            one, other = (_Evaluator(_MANY).of(side, place) for side in sides)
        except NoValue:
            return False
        return bool(abs(one - other) <= mp.mpf(10) ** (20 - _MANY) * max(abs(one), abs(other)))
