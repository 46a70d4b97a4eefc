"""Where a statement is claimed to hold: symbols, the values they range over, and random points among them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
    return sp.IndexedBase(sp.Symbol(name, real=True, positive=positive or None), real=True, positive=positive or None)


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


Range = tuple | Integers | Ladder | Simplex


@dataclass(frozen=True)
class Domain:
    """The values over which a statement is claimed.

    ``ranges`` maps a symbol to ``(low, high)`` (reals), ``integers(low, high)`` or ``ladder(...)`` (sizes),
    and a vector to ``(low, high)`` (each entry) or ``simplex()``. ``where`` holds relations between them.
    ``size`` is the symbol that counts the entries of the vectors; ``each`` lists free indices, which run over
    all of ``1 .. size``.

    >>> import sympy as sp
    >>> x = sp.Symbol("x", real=True)
    >>> Domain({x: (-1, 1)}).free([x**2])
    (x,)
    """

    ranges: Mapping
    where: Sequence = field(default=())
    size: sp.Symbol | None = None
    each: Sequence[sp.Symbol] = field(default=())

    def __post_init__(self):
        ladders = [key for key, value in self.ranges.items() if isinstance(value, Ladder)]
        if len(ladders) > 1:
            raise ValueError(f"a domain has one ladder, got {ladders}")
        if ladders and self.size is None:
            object.__setattr__(self, "size", ladders[0])
        for key, value in self.ranges.items():
            if isinstance(value, tuple) and not (len(value) == 2 and sp.sympify(value[0]) < sp.sympify(value[1])):
                raise ValueError(f"the range of {key} must be (low, high) with low < high, got {value}")

    @property
    def sizes(self) -> tuple[int, ...]:
        """The rungs of the ladder; ``(0,)`` when nothing is counted."""
        rungs = self.ranges.get(self.size)
        return rungs.sizes if isinstance(rungs, Ladder) else (0,)

    @property
    def vectors(self) -> tuple[sp.IndexedBase, ...]:
        return tuple(key for key in self.ranges if isinstance(key, sp.IndexedBase))

    @property
    def scalars(self) -> tuple[sp.Symbol, ...]:
        return tuple(key for key in self.ranges if not isinstance(key, sp.IndexedBase) and key != self.size)

    def instances(self) -> list[dict]:
        """Every size of the ladder with every value of the free indices."""
        return [{"n": n, "at": dict(zip(self.each, chosen))}
                for n in self.sizes for chosen in itertools.product(range(1, n + 1), repeat=len(self.each))]

    def free(self, expressions: Sequence[sp.Expr]) -> tuple[sp.Symbol, ...]:
        """Scalars of the domain that occur in ``expressions``, in the domain's own order."""
        used = set().union(*(e.free_symbols for e in expressions))
        return tuple(key for key in self.scalars if key in used)

    def entries(self, base: sp.IndexedBase, n: int) -> tuple[sp.Symbol, ...]:
        """Plain symbols standing for ``base[1] .. base[n]``."""
        positive = True if isinstance(self.ranges[base], Simplex) or base.is_positive else None
        return tuple(sp.Symbol(f"{base.label}_{k}", real=True, positive=positive) for k in range(1, n + 1))

    def sample(self, rng: random.Random, n: int) -> dict:
        """One point: every scalar, and for every vector a tuple of ``n`` entries; ``where`` holds there."""
        for _ in range(2000):
            point = {key: _draw(value, rng, n, isinstance(key, sp.IndexedBase))
                     for key, value in self.ranges.items() if key != self.size}
            if all(_satisfied(relation, point) for relation in self.where):
                return point
        raise ValueError(f"no point of the domain satisfies {list(self.where)} in 2000 draws")

    def corners(self, n: int) -> list[dict]:
        """Points a random draw would miss: interval ends and tied entries (those that satisfy ``where``)."""
        found = []
        for pick in ("low", "high", "middle"):
            point = {}
            for key, value in self.ranges.items():
                if key == self.size:
                    continue
                if isinstance(value, Simplex):
                    point[key] = tuple(mp.mpf(1) / n for _ in range(n))
                    continue
                low, high = (value.low, value.high) if isinstance(value, Integers) else map(_number, value)
                x = {"low": low, "high": high, "middle": (low + high) / 2}[pick]
                if isinstance(value, Integers):
                    x = mp.mpf(int(x))
                point[key] = (mp.mpf(x),) * n if isinstance(key, sp.IndexedBase) else mp.mpf(x)
            if all(_satisfied(relation, point) for relation in self.where):
                found.append(point)
        return found


def _number(x) -> mp.mpf:
    return mp.mpf(sp.sympify(x).evalf(60)._mpf_) if not isinstance(x, (int, float)) else mp.mpf(x)


def _uniform(low, high, rng: random.Random) -> mp.mpf:
    # sixty random decimals, so that no point is special in binary
    fraction = mp.mpf(rng.randrange(1, 10**60)) / mp.mpf(10) ** 60
    low, high = _number(low), _number(high)
    return low + (high - low) * fraction


def _draw(value, rng: random.Random, n: int, is_vector: bool):
    if isinstance(value, Simplex):
        weights = [-mp.log(_uniform(0, 1, rng)) for _ in range(n)]
        total = mp.fsum(weights)
        return tuple(w / total for w in weights)
    if isinstance(value, Integers):
        return mp.mpf(rng.randint(value.low, value.high))
    if is_vector:
        return tuple(_uniform(*value, rng) for _ in range(n))
    return _uniform(*value, rng)


def _satisfied(relation, point: dict) -> bool:
    values = {key: sp.Float(str(value), 60) for key, value in point.items() if not isinstance(key, sp.IndexedBase)}
    return bool(relation.subs(values))
