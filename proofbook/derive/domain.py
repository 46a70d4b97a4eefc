"""Where a statement is claimed to hold: symbols, the values they range over, and random points among them."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import mpmath as mp
import sympy as sp


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


@dataclass(frozen=True)
class Integers:
    """Whole numbers from ``low`` to ``high``, both included."""

    low: int
    high: int


@dataclass(frozen=True)
class Ladder:
    """The sizes at which a statement about every n is checked."""

    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Simplex:
    """Vectors of positive entries that sum to one."""


def integers(low: int, high: int) -> Integers:
    """Whole numbers from ``low`` to ``high``."""
    return Integers(low, high)


def ladder(*sizes: int) -> Ladder:
    """The rungs of an n-ladder: the sizes at which each step is checked."""
    if not sizes or any(k < 1 for k in sizes):
        raise ValueError(f"ladder sizes must be positive, got {sizes}")
    return Ladder(tuple(sizes))


def simplex() -> Simplex:
    """Probability vectors with no zero entry."""
    return Simplex()


Range = tuple[Any, Any] | Integers | Ladder | Simplex

# A value for each symbol, a tuple of entries for each vector.
Point = dict[Any, Any]


@dataclass(frozen=True)
class Domain:
    """The values over which a statement is claimed.

    Inside an interval every formula must have a value. Its two ends belong to it wherever the formulas have a
    value there; where they have none (``log(x)`` at 0) they do not.

    A range may not contradict what its symbol is declared to be: SymPy would simplify by the declaration, and
    the formula would no longer be the one that was typed.

    Args:
        ranges: maps a symbol to ``(low, high)`` (reals), ``integers(low, high)`` or ``ladder(...)`` (sizes),
            and a vector to ``(low, high)`` (each entry) or ``simplex()``.
        where: relations between the scalars.
        size: the symbol that counts the entries of the vectors; without it, the one that has a ladder.
        each: free indices, which run over all of ``1 .. size``.

    Raises:
        ValueError: a range that is none, or contradicts a declaration.

    Example:
        >>> import sympy as sp
        >>> x = sp.Symbol("x", real=True)
        >>> Domain({x: (-1, 1)}).scalars
        (x,)
    """

    ranges: Mapping[Any, Range]
    where: Sequence[Any] = field(default=())
    size: sp.Symbol | None = None
    each: Sequence[sp.Symbol] = field(default=())

    def __post_init__(self) -> None:
        ladders = [key for key, value in self.ranges.items() if isinstance(value, Ladder)]
        if len(ladders) > 1:
            raise ValueError(f"a domain has one ladder, got {ladders}")
        if ladders and self.size is None:
            object.__setattr__(self, "size", ladders[0])
        for key, value in self.ranges.items():
            _check_range(key, value)
        if not ladders and (self.each or self.vectors):
            raise ValueError("vectors and the indices in each= need a size: give its symbol a ladder(...)")
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
        positive = True if base.is_positive or _is_positive(self.ranges[base]) else None
        # brackets in the name, so that no symbol typed in a formula is taken for an entry
        return tuple(sp.Symbol(f"{base.label}[{k}]", real=True, positive=positive) for k in range(1, n + 1))

    def positive_symbols(self) -> dict[sp.Symbol, sp.Dummy]:
        """Positive stand-ins for the scalars that range over positive numbers but are not declared to."""
        return {
            key: sp.Dummy(key.name, positive=True, integer=key.is_integer)
            for key in self.scalars
            if _is_positive(self.ranges[key]) and not key.is_positive
        }

    def holds_at(self, point: Point, n: int) -> bool:
        """Whether every relation in ``where`` holds at a point."""
        return not self.where or bool(self._where(*(point[key] for key in self.scalars), n))

    @cached_property
    def _where(self) -> Callable[..., Any]:
        arguments = [*self.scalars, self.size or sp.Dummy()]
        made: Callable[..., Any] = sp.lambdify(arguments, sp.And(*self.where, evaluate=False), "mpmath")
        return made

    def sample(self, rng: random.Random, n: int) -> Point:
        """One point: every scalar, and for every vector a tuple of ``n`` entries; ``where`` holds there."""
        for _ in range(2000):
            point = {
                key: _draw(value, rng, n, isinstance(key, sp.IndexedBase))
                for key, value in self.ranges.items()
                if key != self.size
            }
            if self.holds_at(point, n):
                return point
        raise ValueError(f"no point of the domain satisfies {list(self.where)} in 2000 draws")

    def special(self, rng: random.Random, n: int, count: int) -> list[Point]:
        """Up to ``count`` points that a random draw would miss and ``where`` allows.

        Ends of intervals, 0 and 1, tied entries, a single peak, a probability vector close to a vertex: all
        combinations when they are few, else a random choice of them, mixed with random values.
        """
        keys = [key for key in self.ranges if key != self.size]
        choices = [_special(self.ranges[key], n, isinstance(key, sp.IndexedBase)) for key in keys]
        if math.prod(map(len, choices)) <= count:
            chosen = list(itertools.product(*choices))
        else:
            diagonal = [tuple(c[min(k, len(c) - 1)] for c in choices) for k in range(3)]
            mixed = [
                tuple(
                    rng.choice(c)
                    if rng.random() < 0.75
                    else _draw(self.ranges[key], rng, n, isinstance(key, sp.IndexedBase))
                    for key, c in zip(keys, choices)
                )
                for _ in range(count - len(diagonal))
            ]
            chosen = diagonal + mixed
        found = [dict(zip(keys, values)) for values in chosen]
        return [point for point in found if self.holds_at(point, n)]


def _check_range(key: Any, value: Any) -> None:
    """Raise unless ``value`` is a range, and one that the declaration of ``key`` allows."""
    if isinstance(value, Simplex):
        if not isinstance(key, sp.IndexedBase):
            raise ValueError(f"only a vector can range over the simplex, not {key}")
        return
    if isinstance(value, Ladder):
        return
    if isinstance(value, Integers):
        low, high = value.low, value.high
        if isinstance(key, sp.IndexedBase) or low > high:
            raise ValueError(f"integers({low}, {high}) is no range for {key}")
    elif isinstance(value, tuple) and len(value) == 2:
        low, high = map(sp.sympify, value)
        if not (low.is_finite and high.is_finite and low < high):
            raise ValueError(f"the range of {key} must be (low, high) with finite low < high, got {value}")
        if key.is_integer:
            raise ValueError(f"{key} is declared an integer: its range is integers(...), not {value}")
    else:
        raise ValueError(
            f"the range of {key} must be (low, high), integers, ladder or simplex, got {value!r}"
        )
    for declared, allowed in ((key.is_nonnegative, low >= 0), (key.is_nonpositive, high <= 0)):
        if declared and not allowed:
            raise ValueError(f"{key} is declared to have one sign, and its range {value} has both")
    if key.is_even is not None and isinstance(value, Integers) and low < high:
        raise ValueError(f"{key} is declared even or odd, and {value} holds both")


def _is_positive(kind: Range) -> bool:
    if isinstance(kind, Simplex):
        return True
    if isinstance(kind, Integers):
        return kind.low > 0
    return isinstance(kind, tuple) and bool(sp.sympify(kind[0]) >= 0)


def _special(kind: Any, n: int, is_vector: bool) -> list[Any]:
    """Values of one range that a random draw would miss; the first three are low, high and middle."""
    if isinstance(kind, Simplex):
        uniform = (mp.mpf(1) / n,) * n
        if n == 1:
            return [uniform]
        rest = [mp.mpf(10) ** -k for k in (1, 3, 9)]
        peaks = [
            tuple(1 - r if k == at else r / (n - 1) for k in range(n)) for r in rest for at in (0, n - 1)
        ]
        pairs = [((1 - r) / 2,) * 2 + (r / (n - 2),) * (n - 2) for r in rest] if n > 2 else []
        return [uniform, *peaks, *pairs]
    low, high = ends(kind)
    if isinstance(kind, Integers):
        return [mp.mpf(k) for k in dict.fromkeys((kind.low, kind.high, (kind.low + kind.high) // 2))]
    middle, edge = (low + high) / 2, (high - low) / 10**4
    inside = [mp.mpf(x) for x in (0, 1, -1) if low < x < high]
    values = [low, high, middle, low + edge, high - edge, *inside]
    if not is_vector:
        return list(dict.fromkeys(values))
    shapes = [(x,) * n for x in values]
    if n > 1:
        shapes += [
            (high, *(low,) * (n - 1)),
            (*(low,) * (n - 1), high),
            (low, *(high,) * (n - 1)),
            (*(middle,) * (n - 1), high),
            (*(high,) * (n // 2), *(low,) * (n - n // 2)),
        ]
    return list(dict.fromkeys(shapes))


def ends(kind: Any) -> tuple[mp.mpf, mp.mpf]:
    """The two ends of an interval or a range of whole numbers."""
    if isinstance(kind, Integers):
        return mp.mpf(kind.low), mp.mpf(kind.high)
    return number(kind[0]), number(kind[1])


def number(x: Any) -> mp.mpf:
    """A number as mpmath has it, at the precision in force."""
    return mp.mpf(x) if isinstance(x, (int, float)) else mp.mpf(sp.sympify(x).evalf(mp.mp.dps + 5)._mpf_)


def _uniform(low: Any, high: Any, rng: random.Random) -> mp.mpf:
    # sixty random decimals, so that no point is special in binary
    fraction = mp.mpf(rng.randrange(1, 10**60)) / mp.mpf(10) ** 60
    return low + (high - low) * fraction


def _draw(kind: Any, rng: random.Random, n: int, is_vector: bool) -> Any:
    if isinstance(kind, Simplex):
        weights = [-mp.log(_uniform(0, 1, rng)) for _ in range(n)]
        total = mp.fsum(weights)
        return tuple(w / total for w in weights)
    if isinstance(kind, Integers):
        return mp.mpf(rng.randint(kind.low, kind.high))
    low, high = ends(kind)
    if is_vector:
        return tuple(_uniform(low, high, rng) for _ in range(n))
    return _uniform(low, high, rng)
