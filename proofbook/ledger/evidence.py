"""Evidence for a claim. Making a piece of evidence is checking it: one that fails raises ``EvidenceFailed``.

What a page prints is a verdict and a bound. The number measured goes to the run's record only, because the
last digits of a measurement differ from machine to machine.

Where numbers come in, they may be a number of any kind, an array or tensor of any library, wherever it lies
and whether or not gradients are taken of it, or lists of those.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sympy.logic.boolalg import BooleanFalse, BooleanTrue

from proofbook.derive.derivation import Derivation
from proofbook.ledger import run

SUPPORTING = ("proof", "remainder", "algebra", "ladder", "digits", "bound", "checked", "measured")
KINDS = SUPPORTING + ("asymptotic", "counterexample", "source")

_KIND_OF_STRATEGY = {
    "proved": "proof",
    "symbolic": "algebra",
    "n-ladder": "ladder",
    "digits": "digits",
    "bound": "bound",
    "asymptotic": "asymptotic",
}


class EvidenceFailed(AssertionError):
    """A check that did not come out as was stated."""


@dataclass(frozen=True)
class Evidence:
    """One checked fact: its kind, what was checked in words, and for a proof the derivation."""

    kind: str
    text: str
    derivation: Derivation | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {self.kind!r}")


def proved(derivation: Derivation, text: str | None = None) -> Evidence:
    """A derivation that verified itself. It counts as what its weakest step rests on.

    One that is proved and holds an approximation counts as a ``remainder``: a proved bound of an error.
    """
    if not isinstance(derivation, Derivation):
        raise TypeError(
            f"derivation must be a Derivation, which proves itself, got {type(derivation).__name__}"
        )
    kind = _KIND_OF_STRATEGY[derivation.strategy]
    if kind == "proof" and any(step.relation == "~" for step in derivation.steps):
        kind = "remainder"
    given = "".join(f", from Assumption {one.count}" for one in derivation.given)
    last = derivation.verified[-1]
    how = (last.in_markdown or last.detail) if len(derivation.verified) == 1 else f"weakest step: {kind}"
    return Evidence(kind, f"{text or 'derived'}: {{eq}}`{derivation.label}`, {how}{given}", derivation)


LOOSEST = 100
"""A bound is at most so many times what was measured: a wider one says little, and says why it does."""


def measured(
    text: str,
    error: Any,
    *,
    below: float,
    scale: float = 1.0,
    loose: str | None = None,
    of: tuple[str, str] | None = None,
) -> Evidence:
    """A measured error and its bound; prints ``error < bound``. The largest entry of an array counts.

    Args:
        text: What was measured, in words.
        error: The error, a number or an array.
        below: The bound. It is refused if it is more than ``LOOSEST`` times the error, or of what float64
            can tell of a quantity of that ``scale``.
        scale: The size of the quantity that the error is an error of.
        loose: Why the bound is wider than that; shown beside it.
        of: Where the two computations come from whose difference it is, ``("numpy", "the formula")`` say;
            shown beside it. The lint holds the code to it (`proofbook.publish.sides`).

    Raises:
        EvidenceFailed: the error is not below its bound, or the bound says too little.
        ValueError: two origins that are the same, or none.
    """
    _finite_bounds(below=below, scale=scale)
    origins = f" ({against(of)})" if of is not None else ""
    value = _largest(error)
    run.note(text, value, below=below)
    if not value < below:
        raise EvidenceFailed(f"{text}: {value:.6g} is not below {below:g}")
    least = max(value, float(np.finfo(np.float64).eps) * abs(scale))
    _tight(text, below > LOOSEST * least, loose, f"{below:g} is more than {LOOSEST} times {least:.2g}")
    return Evidence("measured", f"{text}{origins}: error < {below:g}{_because(loose)}")


def against(of: tuple[str, str]) -> str:
    """Two origins in words; computations of the same origin agree whatever they are.

    >>> against(("numpy", "the formula"))
    'numpy against the formula'
    """
    one, other = (" ".join(origin.split()) for origin in of)
    if not one or not other or one.casefold() == other.casefold():
        raise ValueError(f"two computations that agree have two origins, got {of}")
    return f"{one} against {other}"


def between(text: str, value: Any, low: float, high: float, *, loose: str | None = None) -> Evidence:
    """A measured quantity, shown as the interval that it must fall in.

    Args:
        text: What was measured, in words.
        value: The quantity.
        low: The lower end.
        high: The upper end. The interval may be as wide as the quantity is large, and no wider.
        loose: Why it is wider all the same; shown beside it.

    Raises:
        EvidenceFailed: the quantity is outside, or the interval says too little.
    """
    _finite_bounds(low=low, high=high)
    value = _number(value)
    run.note(text, value, low=low, high=high)
    if not low <= value <= high:
        raise EvidenceFailed(f"{text}: {value:.6g} is not in [{low:g}, {high:g}]")
    wide = high - low > abs(value)
    _tight(text, wide, loose, f"[{low:g}, {high:g}] is wider than {abs(value):.3g} is large")
    return Evidence("measured", f"{text}: in [{low:g}, {high:g}]{_because(loose)}")


def _tight(text: str, wide: bool, loose: str | None, problem: str) -> None:
    if loose is not None and not loose.strip():
        raise ValueError("loose says why a bound is wide")
    if wide and loose is None:
        raise EvidenceFailed(f"{text}: the bound says little, {problem}; tighten it, or say loose='why'")


def _because(loose: str | None) -> str:
    return f" ({loose})" if loose else ""


def checked(text: str, holds: Any) -> Evidence:
    """A yes-or-no check; an array of booleans must be true everywhere.

    >>> checked("squares are not negative", np.array([-1.0, 2.0])**2 >= 0).kind
    'checked'
    """
    outcome = _truth(holds)
    run.note(text, float(outcome))
    if not outcome:
        raise EvidenceFailed(f"{text}: does not hold")
    return Evidence("checked", text)


def attacked(text: str, margin: Any, *, trials: int | None = None) -> Evidence:
    """A bound that was attacked: ``margin`` is what is left of it at each trial, and is never negative.

    The trials are counted: one for each margin. Who types their number as well is held to it, since a number
    that nothing checks would claim more than was done.
    """
    margins = _floats(margin)
    if margins.size < 1:
        raise ValueError("an attack has at least one trial")
    if trials is not None and trials != margins.size:
        raise ValueError(f"{text}: trials={trials} was typed, but there are {margins.size} margins")
    trials = margins.size
    smallest = float(margins.min())
    if not math.isfinite(smallest):
        raise EvidenceFailed(f"{text}: a margin must be a number, got {smallest}")
    if not smallest >= 0:
        raise EvidenceFailed(f"{text}: violated by {-smallest:.6g}")
    run.note(text, smallest, trials=trials)
    return Evidence("bound", f"{text} (no violation in {trials} trials)")


def counterexample(text: str, *, stated: Any, found: Any, apart: float) -> Evidence:
    """Where a claim fails: what it says and what is the case, further apart than ``apart``."""
    stated, found = _number(stated), _number(found)
    gap = abs(stated - found)
    if not apart > 0:
        raise ValueError(f"apart must be positive, got {apart}")
    run.note(text, gap, above=apart)
    if not gap > apart:
        raise EvidenceFailed(f"{text}: stated {stated:.6g} and found {found:.6g} are within {apart:g}")
    return Evidence("counterexample", f"{text}: stated and found differ by more than {apart:g}")


def violates(text: str, holds: Any) -> Evidence:
    """A single case in which a yes-or-no claim does not hold."""
    if _truth(holds):
        raise EvidenceFailed(f"{text}: the claim holds here, so this is no counterexample")
    run.note(text, 0.0)
    return Evidence("counterexample", text)


def source(key: str, text: str) -> Evidence:
    """Something that a publication reports, which we did not measure; ``key`` is its bibliography entry."""
    return Evidence("source", f"{text} {{cite}}`{key}`")


def _truth(holds: Any) -> bool:
    """Whether every entry is true; a number is no truth value, since NaN would count as true."""
    outcome = _array(bool(holds) if isinstance(holds, (BooleanTrue, BooleanFalse)) else holds)
    if outcome.dtype != np.bool_:
        raise TypeError(f"holds must be true or false, got {outcome.dtype}")
    if outcome.size < 1:
        raise ValueError("holds has no entries: nothing was checked")
    return bool(outcome.all())


def _finite_bounds(**bounds: float) -> None:
    for name, bound in bounds.items():
        if not math.isfinite(bound):
            raise ValueError(f"{name} must be finite, got {bound}")


def _number(x: Any) -> float:
    values = _floats(x)
    if values.size != 1:
        raise ValueError(f"a measured value must be one number, got {values.size}")
    value = float(values.item())
    if not math.isfinite(value):
        raise EvidenceFailed(f"a measured value must be finite, got {value}")
    return value


def _largest(error: Any) -> float:
    values = np.abs(_floats(error))
    if values.size < 1 or not np.isfinite(values).all():
        raise EvidenceFailed("a measured error must be finite and there must be one")
    return float(values.max())


def _floats(x: Any) -> np.ndarray:
    """The numbers in ``x`` in float64."""
    values = _array(x)
    if values.dtype.kind not in "biufO":
        raise TypeError(f"a measured value must be a real number or an array of them, got {values.dtype}")
    if values.dtype.kind == "O":  # exact or long numbers, each of which knows its float
        return np.array([float(one) for one in values.flat])
    return values.astype(np.float64)


def _array(x: Any) -> np.ndarray:
    """A number, an array of any library or lists of those as a numpy array, of its type if numpy has it."""
    if isinstance(x, (str, bytes, Mapping)):
        raise TypeError(f"a measured value must be a number or an array, got {type(x).__name__}")
    if hasattr(x, "detach") and hasattr(x, "cpu"):  # a tensor with gradients, or on another device
        x = x.detach().cpu()
    if hasattr(x, "__array__"):
        try:
            return np.asarray(x)
        except TypeError:  # of a type that numpy lacks, such as bfloat16
            return np.asarray(x.tolist())
    if isinstance(x, Iterable):
        return np.asarray([_array(one) for one in x])
    return np.asarray(x)
