"""Where a statement is claimed to hold: symbols, the values they range over, and random points among them."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import sympy as sp

from proofbook.derive.ranges import (
    Ladder,
    Range,
    allows,
    check_range,
    draw,
    is_positive,
    special,
)


def size(name: str = "n") -> sp.Symbol:
    """A symbol for a number of entries: a positive integer."""
    return sp.Symbol(name, integer=True, positive=True)


def indices(names: str) -> tuple[sp.Symbol, ...]:
    """Symbols that index the entries of a vector, from 1."""
    return tuple(sp.symbols(names, integer=True, positive=True, seq=True))


def vector(name: str, *, positive: bool = False) -> sp.IndexedBase:
    """A vector with entries ``name[1], name[2], ...``; ``positive`` when every entry is above zero."""
    return sp.IndexedBase(
        sp.Symbol(name, real=True, positive=positive or None), real=True, positive=positive or None
    )


# A value for each symbol, a tuple of entries for each vector.
Point = dict[Any, Any]


@dataclass(frozen=True)
class Domain:
    """The values over which a statement is claimed.

    Inside a range every formula must have a value. A range that is said exactly (``reals(...)``) is
    meant as it is said. The two ends of a plain ``(low, high)`` belong to it wherever the formulas have a
    value there; where they have none (``log(x)`` at 0) they do not.

    A range may not contradict what its symbol is declared to be: SymPy would simplify by the declaration, and
    the formula would no longer be the one that was typed.

    Args:
        ranges: maps a symbol to ``(low, high)`` or ``reals(...)``, ``integers(low, high)`` or ``ladder(...)``
            (sizes), and a vector to what its entries range over or to ``simplex()``.
        where: relations between the scalars.
        size: the symbol that counts the entries of the vectors; without it, the one that has a ladder.
        each: free indices, which run over all of ``1 .. size``.
        nonzero: vectors with an entry that is not zero.
        distinct: vectors with two entries that differ, so that the least size is 2.

    Raises:
        ValueError: a range that is none, or contradicts a declaration; a condition on what has no range.

    >>> import sympy as sp
    >>> x = sp.Symbol("x", real=True)
    >>> Domain({x: (-1, 1)}).scalars
    (x,)
    """

    ranges: Mapping[Any, Range]
    where: Sequence[Any] = field(default=())
    size: sp.Symbol | None = None
    each: Sequence[sp.Symbol] = field(default=())
    nonzero: Sequence[sp.IndexedBase] = field(default=())
    distinct: Sequence[sp.IndexedBase] = field(default=())

    def __post_init__(self) -> None:
        ladders = [key for key, value in self.ranges.items() if isinstance(value, Ladder)]
        if len(ladders) > 1:
            raise ValueError(f"a domain has one ladder, got {ladders}")
        if ladders and self.size is None:
            object.__setattr__(self, "size", ladders[0])
        for key, value in self.ranges.items():
            check_range(key, value)
        if not ladders and (self.each or self.vectors):
            raise ValueError("vectors and the indices in each= need a size: give its symbol a ladder(...)")
        if unknown := {*self.nonzero, *self.distinct} - {*self.vectors}:
            raise ValueError(f"{sorted(map(str, unknown))} are no vectors of this domain")
        if self.distinct and self.least < 2:
            raise ValueError("entries that differ are two or more: say ladder(..., least=2)")
        known = {*self.scalars, self.size}
        for relation in self.where:
            if not isinstance(relation, (sp.core.relational.Relational, sp.logic.boolalg.BooleanFunction)):
                raise ValueError(f"where must hold relations, got {relation!r}")
            if unknown := relation.free_symbols - known:
                raise ValueError(f"where speaks of {sorted(map(str, unknown))}, which have no range")

    @property
    def sizes(self) -> tuple[int, ...]:
        """The rungs of the ladder; ``(0,)`` when nothing is counted."""
        rungs = self.ranges.get(self.size)
        return rungs.sizes if isinstance(rungs, Ladder) else (0,)

    @property
    def least(self) -> int:
        """The least size that the statement is made for; 1 when nothing is counted."""
        rungs = self.ranges.get(self.size)
        return rungs.least if isinstance(rungs, Ladder) else 1

    @property
    def is_exact(self) -> bool:
        """Whether no range is a plain ``(low, high)``, the ends of which need not belong to it."""
        return not any(isinstance(kind, tuple) for kind in self.ranges.values())

    @property
    def vectors(self) -> tuple[sp.IndexedBase, ...]:
        """What has entries, in the order given."""
        return tuple(key for key in self.ranges if isinstance(key, sp.IndexedBase))

    @property
    def scalars(self) -> tuple[sp.Symbol, ...]:
        """What is one number, the size apart, in the order given."""
        return tuple(key for key in self.ranges if not isinstance(key, sp.IndexedBase) and key != self.size)

    def instances(self) -> list[dict[str, Any]]:
        """Every size of the ladder with every value of the free indices."""
        return [
            {"n": n, "at": dict(zip(self.each, chosen))}
            for n in self.sizes
            for chosen in itertools.product(range(1, n + 1), repeat=len(self.each))
        ]

    def entries(self, base: sp.IndexedBase, n: int) -> tuple[sp.Symbol, ...]:
        """Plain symbols standing for ``base[1] .. base[n]``."""
        positive = True if base.is_positive or is_positive(self.ranges[base]) else None
        # brackets in the name, so that no symbol typed in a formula is taken for an entry
        return tuple(sp.Symbol(f"{base.label}[{k}]", real=True, positive=positive) for k in range(1, n + 1))

    def positive_symbols(self) -> dict[sp.Symbol, sp.Dummy]:
        """Positive stand-ins for the scalars that range over positive numbers but are not declared to."""
        return {
            key: sp.Dummy(key.name, positive=True, integer=key.is_integer)
            for key in self.scalars
            if is_positive(self.ranges[key]) and not key.is_positive
        }

    def holds_at(self, point: Point, n: int) -> bool:
        """Whether a point lies in all ranges that are said exactly, and satisfies every condition."""
        return (
            all(allows(kind, point[key]) for key, kind in self.ranges.items() if key != self.size)
            and all(any(point[base]) for base in self.nonzero)
            and all(len(set(point[base])) > 1 for base in self.distinct)
            and (not self.where or bool(self._where(*(point[key] for key in self.scalars), n)))
        )

    @cached_property
    def _where(self) -> Callable[..., Any]:
        arguments = [*self.scalars, self.size or sp.Dummy()]
        made: Callable[..., Any] = sp.lambdify(arguments, sp.And(*self.where, evaluate=False), "mpmath")
        return made

    def sample(self, rng: random.Random, n: int) -> Point:
        """One point: every scalar, for every vector a tuple of ``n`` entries; all conditions hold there."""
        for _ in range(2000):
            point = {
                key: draw(value, rng, n, isinstance(key, sp.IndexedBase))
                for key, value in self.ranges.items()
                if key != self.size
            }
            if self.holds_at(point, n):
                return point
        raise ValueError(f"no point of the domain satisfies its conditions in 2000 draws: {list(self.where)}")

    def special(self, rng: random.Random, n: int, count: int) -> list[Point]:
        """Up to ``count`` points that a random draw would miss and the conditions allow.

        Ends of intervals, 0 and 1, tied entries, a single peak, a probability vector close to a vertex: all
        combinations when they are few, else a random choice of them, mixed with random values.
        """
        keys = [key for key in self.ranges if key != self.size]
        choices = [special(self.ranges[key], n, isinstance(key, sp.IndexedBase)) for key in keys]
        if math.prod(map(len, choices)) <= count:
            chosen = list(itertools.product(*choices))
        else:
            diagonal = [tuple(c[min(k, len(c) - 1)] for c in choices) for k in range(3)]
            mixed = [
                tuple(
                    rng.choice(c)
                    if rng.random() < 0.75
                    else draw(self.ranges[key], rng, n, isinstance(key, sp.IndexedBase))
                    for key, c in zip(keys, choices)
                )
                for _ in range(count - len(diagonal))
            ]
            chosen = diagonal + mixed
        found = [dict(zip(keys, values)) for values in chosen]
        return [point for point in found if self.holds_at(point, n)]
