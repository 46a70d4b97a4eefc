"""The six axioms of a sparsity measure (Hurley and Rickard), as searches for a counterexample.

An :class:`Axiom` is a name, a statement, the moves it speaks of and the sign of the change that it asks for;
called with a measure, a callable that maps ``(..., n)`` to ``(...)`` as those of :mod:`attnlib.sparsity` do,
it returns ``None`` or the first :class:`Counterexample` it finds. ``None`` is not a proof: it says that none
of the moves tried breaks the axiom. ``AXIOMS`` holds all six, and :func:`check` tries them in turn.

For non-negative vectors, and S smaller = sparser:

========  ===============  =====================================================================
name      axiom            what it asks
========  ===============  =====================================================================
D1        robin_hood       taking less than half the difference from a larger entry and giving it
                           to a smaller one raises S
D2        scaling          S(c x) = S(x) for c > 0
D3        rising_tide      adding the same positive amount to every entry raises S
D4        cloning          S of several copies of x, joined, is S(x)
P1        bill_gates       once an entry is large enough, making it larger lowers S
P2        babies           appending a zero lowers S
========  ===============  =====================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import cleandoc
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from attnlib._validate import finite, floating_tensor, nonempty_dim, real_number
from attnlib.errors import InvalidArgument

__all__ = [
    "Axiom",
    "Counterexample",
    "babies",
    "bill_gates",
    "check",
    "cloning",
    "rising_tide",
    "robin_hood",
    "scaling",
]

Measure: TypeAlias = Callable[[Tensor], Tensor]
Moves: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]

MOST_VALUES = 32
"""Distinct values of a vector whose entries are moved; those of longer vectors are thinned evenly by rank."""


class Counterexample(NamedTuple):
    """A move that breaks an axiom: the vectors before and after it and what the measure says of each.

    Shapes: ``before`` (n,) and ``after`` (n,), or (2n,) and (n + 1,) where the axiom makes the vector longer;
    float64 tensors on the CPU. ``axiom`` is its name, the values are numbers.

    Source: 9595-C15.

    >>> import torch
    >>> robin_hood(lambda x: -x.amax(-1) / x.sum(-1), torch.tensor([3.0, 1.0], dtype=torch.float64)) is None
    True
    >>> robin_hood(lambda x: x.amax(-1) / x.sum(-1), torch.tensor([3.0, 1.0], dtype=torch.float64)).axiom
    'D1'
    """

    axiom: str
    before: Tensor
    after: Tensor
    value_before: float
    value_after: float


@dataclass(frozen=True, eq=False, repr=False)
class Axiom:
    """One axiom as data; called, it searches for a vector and a move that break it.

    ``name`` is D1 to D4, P1 or P2 and ``statement`` says what it asks. ``moves`` maps a vector to the vectors
    before and after each move, the former a single row if all start from the same; ``expected`` is the sign
    of the change of S that is asked for: +1 up, -1 down, 0 none.

    Args:
        measure: callable, ``(..., n)`` to ``(...)``, called on float64 tensors of shape ``(moves, n)``.
        x: the vector to move, or several of shape ``(m, n)``, non-negative; without it, ``trials`` random
            ones are tried, half of them log-normal with 2 to 32 entries, half a few spikes on a flat floor of
            up to 2048 entries.
        generator: source of the random vectors; without it a fresh one, seeded 0.
        trials: number of random vectors.
        larger_is_sparser: the measure grows with sparsity, as the Gini index does.
        strict: count a value that stays the same as a violation too, where a change is asked for; off, only a
            change in the wrong direction counts. A change below ``rtol`` cannot be told from none, so
            ``strict`` skips moves smaller than a thousandth of the largest entry; look at what it finds for a
            measure that hardly sees small entries.
        rtol: relative change of the measure below which two values count as equal; float64 rounding by
            default.

    Returns:
        ``None`` or a :class:`Counterexample`.

    Raises:
        TypeError: ``measure`` is not callable or returns no tensor, ``x`` is not a floating-point tensor.
        InvalidArgument: ``x`` negative, not finite, all zero, empty or of more than two dimensions; a measure
            whose result has the wrong shape or a NaN; ``trials`` below 1; ``rtol`` negative.

    Shapes: ``x`` (n,) or (m, n).

    Source: 9595; N. Hurley and S. Rickard, Comparing measures of sparsity, 2009.

    >>> from attnlib import sparsity
    >>> [axiom.name for axiom in AXIOMS if axiom(sparsity.s, trials=5)]
    ['D4']
    """

    name: str
    statement: str
    moves: Moves
    expected: Literal[-1, 0, 1]
    source: str
    example: str

    def __post_init__(self) -> None:
        # The instances are what a reader looks up: each gets a docstring of its own, whole.
        example = cleandoc(self.example)
        text = (
            f"{self.name}: {cleandoc(self.statement)}\n\n{_CALLED}\n\nSource: {self.source}.\n\n{example}\n"
        )
        object.__setattr__(self, "__doc__", text)

    def __repr__(self) -> str:
        return f"<axiom {self.name}>"

    def __call__(
        self,
        measure: Measure,
        x: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        trials: int = 100,
        larger_is_sparser: bool = False,
        strict: bool = False,
        rtol: float = 1e-12,
    ) -> Counterexample | None:
        if not callable(measure):
            raise TypeError(f"measure must be callable, got {type(measure).__name__}")
        rtol = real_number("rtol", rtol, low=0.0)
        for vector in _vectors(x, generator, trials):
            before, after = self.moves(vector)
            # Moves out of float64's range, at either end, are none.
            possible = _in_range(after) & _in_range(before).expand(len(after))
            before, after = before if len(before) == 1 else before[possible], after[possible]
            if len(after) == 0:
                continue
            value_before = _values(measure, before).expand(len(after))
            value_after = _values(measure, after)
            change = value_after - value_before
            if larger_is_sparser:
                change = -change
            resolution = rtol * torch.maximum(value_before.abs(), value_after.abs())
            if self.expected == 0:
                broken = change.abs() > resolution
            elif strict:
                broken = (self.expected * change <= resolution) & _sizeable(before, after)
            else:
                broken = self.expected * change < -resolution
            if broken.any():
                i = int(torch.nonzero(broken)[0])
                moved = before.expand(len(after), -1)[i].clone(), after[i].clone()
                return Counterexample(self.name, *moved, value_before[i].item(), value_after[i].item())
        return None


_CALLED = cleandoc(
    """Called as ``axiom(measure, x=None, *, generator=None, trials=100, larger_is_sparser=False,
    strict=False, rtol=1e-12)``.

    """
    + (Axiom.__doc__ or "").partition("asked for: +1 up, -1 down, 0 none.")[2].partition("Source:")[0]
)


def _transfers(x: Tensor) -> tuple[Tensor, Tensor]:
    """Robin Hood moves between pairs of distinct values, by shares of the largest move allowed."""
    values, first = _distinct(x)
    rich, poor = torch.triu_indices(len(values), len(values), offset=1).flip(0)
    rich, poor = first[rich], first[poor]
    share = torch.tensor([1 / 3, 1 / 100, 2 / 3, 99 / 100], dtype=x.dtype)
    amount = share[:, None] * (x[rich] - x[poor]) / 2
    moved = x.repeat(len(share), len(rich), 1)
    moved.scatter_add_(2, rich.expand(len(share), -1).unsqueeze(2), -amount.unsqueeze(2))
    moved.scatter_add_(2, poor.expand(len(share), -1).unsqueeze(2), amount.unsqueeze(2))
    # Moves of integers between integers are the ones to show: they come first.
    if (x == x.round()).all() and len(rich):
        whole = x[rich] - x[poor] > 2
        unit = x.repeat(int(whole.sum()), 1)
        unit.scatter_add_(1, rich[whole].unsqueeze(1), -torch.ones_like(unit[:, :1]))
        unit.scatter_add_(1, poor[whole].unsqueeze(1), torch.ones_like(unit[:, :1]))
        return x.unsqueeze(0), torch.cat([unit, moved.flatten(0, 1)])
    return x.unsqueeze(0), moved.flatten(0, 1)


def _distinct(x: Tensor) -> tuple[Tensor, Tensor]:
    """At most MOST_VALUES of the distinct values, rising, and the position of one entry with each."""
    values, inverse = torch.unique(x, return_inverse=True)
    position = torch.empty(len(values), dtype=torch.int64)
    position[inverse] = torch.arange(len(x))
    if len(values) <= MOST_VALUES:
        return values, position
    kept = torch.linspace(0, len(values) - 1, MOST_VALUES, dtype=torch.float64).round().long()
    return values[kept], position[kept]


def _multiples(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.unsqueeze(0), torch.tensor([1 / 3, 7.0, 1e-6, 1e6], dtype=x.dtype)[:, None] * x


def _tides(x: Tensor) -> tuple[Tensor, Tensor]:
    if (x == x[0]).all():
        return x.unsqueeze(0), x.new_empty(0, len(x))
    return x.unsqueeze(0), x + torch.tensor([1.0, 0.1, 10.0], dtype=x.dtype)[:, None] * x.mean()


def _clones(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.unsqueeze(0), x.repeat(2).unsqueeze(0)


def _riches(x: Tensor) -> tuple[Tensor, Tensor]:
    _, position = _distinct(x)
    grown = x.new_zeros(len(position), len(x)).scatter_(1, position.unsqueeze(1), x.sum().item())
    return x + 16 * grown, x + 64 * grown


def _births(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.unsqueeze(0), torch.cat([x, x.new_zeros(1)]).unsqueeze(0)


def _in_range(x: Tensor) -> Tensor:
    tiny = (x > 0) & (x < torch.finfo(x.dtype).smallest_normal)
    return (x.isfinite() & ~tiny).all(-1)


def _sizeable(before: Tensor, after: Tensor) -> Tensor:
    if before.shape[-1] != after.shape[-1]:
        return torch.ones(len(after), dtype=torch.bool)
    return (after - before).abs().amax(-1) >= 1e-3 * before.amax(-1)


def _values(measure: Measure, x: Tensor) -> Tensor:
    values = measure(x)
    if not isinstance(values, Tensor):
        raise TypeError(f"measure must return a torch.Tensor, got {type(values).__name__}")
    if values.shape != x.shape[:-1]:
        raise InvalidArgument(
            f"measure must map shape {tuple(x.shape)} to {tuple(x.shape[:-1])}, got {tuple(values.shape)}"
        )
    if torch.isnan(values).any():
        raise InvalidArgument(f"measure returned NaN for {x[torch.isnan(values)][0].tolist()}")
    return values.detach()


def _vectors(x: Tensor | None, generator: torch.Generator | None, trials: int) -> Iterator[Tensor]:
    if x is None:
        if isinstance(trials, bool) or not isinstance(trials, int):
            raise TypeError(f"trials must be an int, got {type(trials).__name__}")
        if trials < 1:
            raise InvalidArgument(f"trials must be at least 1, got {trials}")
        if generator is None:
            generator = torch.Generator().manual_seed(0)
        yield from (_random_vector(generator, i) for i in range(trials))
        return
    floating_tensor("x", x)
    if x.ndim not in (1, 2):
        raise InvalidArgument(f"x must be a vector (n,) or vectors (m, n), got shape {tuple(x.shape)}")
    nonempty_dim("x", x, -1)
    finite("x", x)
    if (x < 0).any():
        raise InvalidArgument(f"x must be non-negative, got {x[x < 0][0].item()}")
    rows = x.detach().to("cpu", torch.float64).reshape(-1, x.shape[-1])
    if (rows.amax(-1) == 0).any():
        raise InvalidArgument("x must have a non-zero entry, got a vector that is all 0")
    yield from rows


def _random_vector(generator: torch.Generator, i: int) -> Tensor:
    """Log-normal entries for even ``i``, up to four spikes on a flat floor for odd ``i``.

    The second kind is where measures built from powers below 1 fail: the spikes must be high enough for the
    orders to differ and the floor wide enough to outweigh them.
    """
    if i % 2 == 0:
        n = int(torch.randint(2, 33, (), generator=generator))
        spread = math.exp(0.7 * (i // 2 % 5 - 2))
        return torch.exp(spread * torch.randn(n, generator=generator, dtype=torch.float64))
    width, height = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
    spikes = int(torch.randint(2, 5, (), generator=generator))
    floor = torch.ones(int(2 ** (11 * width)), dtype=torch.float64)
    peaks = math.exp(6 * height) * (1 + torch.rand(spikes, generator=generator, dtype=torch.float64))
    return torch.cat([peaks, floor])


robin_hood = Axiom(
    "D1",
    """moving less than half of ``x_i - x_j`` from a larger entry to a smaller one raises S.

    Tried for all pairs of distinct values (of 32 values at most, spread over the ranks).""",
    _transfers,
    +1,
    "9595-C15, D1",
    """
    >>> import torch
    >>> from attnlib import sparsity
    >>> found = robin_hood(lambda x: sparsity.s_star(x, 2, 3), torch.tensor([4.0, 3.0, 0.0]))
    >>> found.after.tolist(), found.value_after < found.value_before
    ([4.0, 2.0, 1.0], True)
    >>> robin_hood(sparsity.s_star, trials=5) is None
    True
    """,
)
scaling = Axiom(
    "D2",
    "``S(c x) = S(x)`` for every c > 0.",
    _multiples,
    0,
    "9595-C1, D2",
    """
    >>> scaling(lambda x: x.mean(-1), trials=1).axiom
    'D2'
    """,
)
rising_tide = Axiom(
    "D3",
    "adding the same positive amount to every entry raises S, unless all entries are equal.",
    _tides,
    +1,
    "9595-C6, 9595-C9, D3",
    """
    >>> from attnlib import sparsity
    >>> rising_tide(sparsity.s_star, trials=5) is None
    True
    """,
)
cloning = Axiom(
    "D4",
    "several copies of x, joined, have the S of x.",
    _clones,
    0,
    "9595-C8, 9595-C11, D4",
    """
    >>> from attnlib import sparsity
    >>> found = cloning(sparsity.s, trials=1)
    >>> round(found.value_after / found.value_before, 4)   # 2^(-1/2)
    0.7071
    """,
)
bill_gates = Axiom(
    "P1",
    """from some amount on, more in one entry lowers S.

    Tried for an entry of each value (of 32 values at most), at 16 and 64 times the sum of the vector added to
    it: by then S must fall. With ``strict``, a vector with a single non-zero entry refutes every scale-free
    measure.""",
    _riches,
    -1,
    "9595-C10, P1",
    """
    >>> import torch
    >>> from attnlib import sparsity
    >>> bill_gates(sparsity.s_star, trials=5) is None
    True
    >>> bill_gates(sparsity.s_star, torch.tensor([0.0, 1.0]), strict=True).after
    tensor([ 0., 65.], dtype=torch.float64)
    """,
)
babies = Axiom(
    "P2",
    "appending a zero lowers S.",
    _births,
    -1,
    "9595-C11, P2",
    """
    >>> from attnlib import sparsity
    >>> babies(sparsity.gini, trials=5, larger_is_sparser=True, strict=True) is None
    True
    """,
)

AXIOMS: tuple[Axiom, ...] = (robin_hood, scaling, rising_tide, cloning, bill_gates, babies)
"""All six, in the order in which :func:`check` tries them.

Source: 9595; N. Hurley and S. Rickard, Comparing measures of sparsity, 2009.
"""

# Doctest looks for examples in functions and classes only.
__test__ = {axiom.name: axiom.__doc__ for axiom in AXIOMS}


def check(
    measure: Measure,
    x: Tensor | None = None,
    *,
    generator: torch.Generator | None = None,
    trials: int = 100,
    larger_is_sparser: bool = False,
    strict: bool = False,
    rtol: float = 1e-12,
) -> dict[str, Counterexample | None]:
    """Try all six axioms on one measure.

    Args:
        measure: callable, ``(..., n)`` to ``(...)``, called on float64 tensors of shape ``(moves, n)``.
        x: the vector to move, or several of shape ``(m, n)``, non-negative; without it random ones are tried.
        generator: source of the random vectors, which feeds the six in turn; without it one seeded 0.
        trials: number of random vectors for each axiom.
        larger_is_sparser: the measure grows with sparsity, as the Gini index does.
        strict: count a value that stays the same as a violation too, where a change is asked for.
        rtol: relative change of the measure below which two values count as equal.

    Returns:
        ``{"D1": ..., ..., "P2": ...}``, each ``None`` or a :class:`Counterexample`.

    Raises:
        TypeError: ``measure`` is not callable or returns no tensor, ``x`` is not a floating-point tensor.
        InvalidArgument: ``x`` negative, not finite, all zero, empty or of more than two dimensions; a measure
            whose result has the wrong shape or a NaN; ``trials`` below 1; ``rtol`` negative.

    Shapes: ``x`` (n,) or (m, n).

    Source: 9595; N. Hurley and S. Rickard, Comparing measures of sparsity, 2009.

    >>> from attnlib import sparsity
    >>> [axiom for axiom, found in check(sparsity.s, trials=5).items() if found]
    ['D4']
    """
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    return {
        axiom.name: axiom(
            measure,
            x,
            generator=generator,
            trials=trials,
            larger_is_sparser=larger_is_sparser,
            strict=strict,
            rtol=rtol,
        )
        for axiom in AXIOMS
    }
