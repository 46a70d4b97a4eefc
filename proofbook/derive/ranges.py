"""What a symbol or the entries of a vector may range over, and values drawn from it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import sympy as sp


@dataclass(frozen=True)
class Integers:
    """Whole numbers from ``low`` to ``high``, both included."""

    low: int
    high: int


@dataclass(frozen=True)
class Ladder:
    """The sizes at which a statement about every n from ``least`` on is attacked."""

    sizes: tuple[int, ...]
    least: int = 1

    def __post_init__(self) -> None:
        if not self.sizes or self.least < 1 or any(k < self.least for k in self.sizes):
            raise ValueError(
                f"ladder sizes must be at least {max(self.least, 1)}, got {self.sizes}, least={self.least}"
            )


@dataclass(frozen=True)
class Simplex:
    """Vectors of positive entries that sum to one."""


@dataclass(frozen=True)
class Reals:
    """Real numbers between two ends, exactly as they are said; ``attack`` is the box that is sampled.

    An end belongs to the range unless it is open or infinite. With ``nonzero``, 0 is left out.
    """

    low: Any
    high: Any
    low_open: bool
    high_open: bool
    attack: tuple[Any, Any]
    nonzero: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", exact(self.low))
        object.__setattr__(self, "high", exact(self.high))
        left, right = map(exact, self.attack)
        if not (left.is_finite and right.is_finite and self.low <= left < right <= self.high):
            raise ValueError(
                f"attack must be a bounded box inside the range {self.low} .. {self.high}, got {self.attack}"
            )
        object.__setattr__(self, "attack", (left, right))

    def __contains__(self, x: Any) -> bool:
        low, high = number(self.low), number(self.high)
        above = x > low if self.low_open else x >= low
        below = x < high if self.high_open else x <= high
        return bool(above and below and not (self.nonzero and x == 0))

    @property
    def is_positive(self) -> bool:
        """Whether every number of the range is above zero."""
        return bool(self.low > 0 or self.low == 0 and (self.low_open or self.nonzero))

    @property
    def is_negative(self) -> bool:
        """Whether every number of the range is below zero."""
        return bool(self.high < 0 or self.high == 0 and (self.high_open or self.nonzero))


Range = tuple[Any, Any] | Reals | Integers | Ladder | Simplex


def integers(low: int, high: int) -> Integers:
    """Whole numbers from ``low`` to ``high``."""
    return Integers(low, high)


def ladder(*sizes: int, least: int = 1) -> Ladder:
    """Every size from ``least`` on; ``sizes`` are the rungs at which each step is attacked."""
    return Ladder(tuple(sizes), least)


def simplex() -> Simplex:
    """Probability vectors with no zero entry."""
    return Simplex()


def reals(
    *,
    above: Any = None,
    at_least: Any = None,
    below: Any = None,
    at_most: Any = None,
    nonzero: bool = False,
    attack: tuple[Any, Any] | None = None,
) -> Reals:
    """Every real number between two ends, where an end that is not said is infinite.

    What is proved holds on exactly this range. What is sampled is ``attack``.

    Args:
        above: the lower end, which does not belong to the range.
        at_least: the lower end, which does.
        below: the upper end, which does not belong to the range.
        at_most: the upper end, which does.
        nonzero: leave out 0.
        attack: the box in which points are drawn; without it the whole range, which must then be bounded.

    >>> reals(above=0, at_most=1).attack, reals(at_least=0, attack=(0, 3)).high
    ((0, 1), oo)
    """
    if above is not None and at_least is not None or below is not None and at_most is not None:
        raise ValueError("a range has one lower and one upper end")
    low = next((x for x in (above, at_least) if x is not None), -sp.oo)
    high = next((x for x in (below, at_most) if x is not None), sp.oo)
    box = (low, high) if attack is None else attack
    return Reals(low, high, at_least is None, at_most is None, box, nonzero)


def exact(x: Any) -> sp.Expr:
    """A number of SymPy's; a decimal is the number it is written as."""
    return sp.Rational(str(x)) if isinstance(x, (float, sp.Float)) else sp.sympify(x)


def check_range(key: Any, value: Any) -> None:
    """Raise unless ``value`` is a range, and one that the declaration of ``key`` allows."""
    if isinstance(value, Simplex):
        if not isinstance(key, sp.IndexedBase):
            raise ValueError(f"only a vector can range over the simplex, not {key}")
        return
    if isinstance(value, Ladder):
        return
    if isinstance(value, Reals):
        _check_declared(key, value)
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
            f"the range of {key} must be (low, high), reals, integers,  ladder or simplex, got {value!r}"
        )
    for declared, allowed in ((key.is_nonnegative, low >= 0), (key.is_nonpositive, high <= 0)):
        if declared and not allowed:
            raise ValueError(f"{key} is declared to have one sign, and its range {value} has both")
    if key.is_even is not None and isinstance(value, Integers) and low < high:
        raise ValueError(f"{key} is declared even or odd, and {value} holds both")


def _check_declared(key: Any, value: Reals) -> None:
    """What a symbol is declared to be must follow from a range that is said exactly, its ends included."""
    if key.is_integer:
        raise ValueError(f"{key} is declared an integer: its range is integers(...)")
    zero_out = value.nonzero or value.is_positive or value.is_negative
    for declared, implied in (
        (key.is_positive, value.is_positive),
        (key.is_negative, value.is_negative),
        (key.is_nonnegative, value.is_positive or value.low >= 0),
        (key.is_nonpositive, value.is_negative or value.high <= 0),
        (key.is_zero is False, zero_out),
    ):
        if declared and not implied:
            raise ValueError(f"{key} is declared to be what its range does not imply: {value}")


def is_positive(kind: Range) -> bool:
    """Whether what ranges there is above zero, but for an end of a plain ``(low, high)``."""
    if isinstance(kind, Simplex):
        return True
    if isinstance(kind, Integers):
        return kind.low > 0
    if isinstance(kind, Reals):
        return kind.is_positive
    return isinstance(kind, tuple) and bool(sp.sympify(kind[0]) >= 0)


def ends(kind: Any) -> tuple[mp.mpf, mp.mpf]:
    """The two ends of what is sampled: an interval, a box, or a range of whole numbers."""
    if isinstance(kind, Integers):
        return mp.mpf(kind.low), mp.mpf(kind.high)
    low, high = kind.attack if isinstance(kind, Reals) else kind
    return number(low), number(high)


def number(x: Any) -> mp.mpf:
    """A number as mpmath has it, at the precision in force."""
    if isinstance(x, (int, float)):
        return mp.mpf(x)
    x = sp.sympify(x)
    if x.is_Rational:
        return mp.mpf(int(x.p)) / int(x.q)
    return mp.mpf(int(sp.sign(x))) * mp.inf if x.is_infinite else mp.mpf(x.evalf(mp.mp.dps + 5)._mpf_)


def allows(kind: Range, value: Any) -> bool:
    """Whether a value, or every entry of a tuple of them, lies in a range that is said exactly."""
    if not isinstance(kind, Reals):
        return True
    return all(x in kind for x in (value if isinstance(value, tuple) else (value,)))


def special(kind: Any, n: int, is_vector: bool) -> list[Any]:
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
    # where an end is left out, its neighbour stands for it
    low, high = (x if allows(kind, x) else inner for x, inner in ((low, low + edge), (high, high - edge)))
    inside = [mp.mpf(x) for x in (0, 1, -1) if low < x < high]
    values = [x for x in (low, high, middle, low + edge, high - edge, *inside) if allows(kind, x)]
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


def draw(kind: Any, rng: random.Random, n: int, is_vector: bool) -> Any:
    """A random value of one range; a tuple of ``n`` for a vector."""
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


def _uniform(low: Any, high: Any, rng: random.Random) -> mp.mpf:
    # sixty random decimals, so that no point is special in binary
    fraction = mp.mpf(rng.randrange(1, 10**60)) / mp.mpf(10) ** 60
    return low + (high - low) * fraction
