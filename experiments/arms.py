"""The arms of the length experiment: how each is trained, and with which attention it is tested."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from attnlib import scale
from attnlib.errors import InvalidArgument
from experiments.attention import HeldEntropy, Relu2, Softmax

__all__ = ["ARMS", "TRAININGS", "Arm", "Training", "arm"]

KAPPA = 1 / 0.24  # 8823-C11


@dataclass(frozen=True)
class Training:
    """What a model is trained as: its architecture and its attention, given the training length."""

    name: str
    model: str  # "roformer" or "gau"
    attention: Callable[[int], Softmax | Relu2]


@dataclass(frozen=True)
class Arm:
    """A training, and the attention to test it with, given the training length and the entropies of the
    trained model (layers, heads) there.

    An arm whose rule is that of another one at the training length is the same training: sequences of that
    length alone are trained on, so both would compute the same numbers. ``title`` and ``claim`` are for
    readers.
    """

    name: str
    training: Training
    attention: Callable[[int, Tensor], Softmax | HeldEntropy | Relu2]
    title: str


def _log_from(n_train: int) -> Callable:
    return partial(scale.log_n, base=n_train)


def _kappa(n_train: int) -> Softmax:
    return Softmax(partial(scale.kappa_log, kappa=KAPPA))


def _sphere(n_train: int) -> Softmax:
    """Holds the entropy of random keys (8823-C12) at what it is under 1/sqrt(d) at the training length."""

    def rule(n, d):
        # lambda^2 = w^2 - w with w = exp(2 (log n - H) / d): at n_train lambda is 1/sqrt(d).
        w = (1 + math.sqrt(1 + 4 / d)) / 2
        entropy = math.log(n_train) - d * math.log(w) / 2
        return scale.sphere(n, d, entropy, unreachable="uniform")

    return Softmax(rule)


def _softmax(rule: Callable) -> Callable[[int], Softmax]:
    return lambda n_train: Softmax(rule)


def _relu2(normalize: str) -> Callable[[int], Relu2]:
    return lambda n_train: Relu2(normalize)


_O = Training("O", "roformer", _softmax(scale.sqrt_d))
_E = Training("E", "roformer", _softmax(scale.log_n))
_K = Training("kappa", "roformer", _kappa)
_GAU_LENGTH = Training("gau-relu2-n", "gau", _relu2("length"))
_GAU_SUM = Training("gau-relu2-sum", "gau", _relu2("sum"))
_GAU_SOFTMAX = Training("gau-softmax", "gau", _softmax(scale.sqrt_d))
TRAININGS = (_O, _E, _GAU_LENGTH, _GAU_SOFTMAX, _K, _GAU_SUM)


def _as_trained(training: Training, title: str) -> Arm:
    return Arm(training.name, training, lambda n_train, entropies: training.attention(n_train), title)


ARMS = (
    _as_trained(_O, "1/√d"),
    _as_trained(_E, "log₅₁₂ n / √d"),
    Arm(
        "E-normalised",
        _O,
        lambda n_train, _: Softmax(_log_from(n_train)),
        "log n / √d, 1/√d at the training length",
    ),
    _as_trained(_K, "κ log n / d, κ = 1/0.24"),
    Arm("sphere", _O, lambda n_train, _: _sphere(n_train), "entropy of random keys held"),
    Arm("infoscale", _O, lambda n_train, _: Softmax(partial(scale.info, n_train=n_train)), "InfoScale"),
    Arm(
        "entropy-row", _O, lambda _, entropies: HeldEntropy(entropies, per="row"), "entropy of every row held"
    ),
    Arm(
        "entropy-head",
        _O,
        lambda _, entropies: HeldEntropy(entropies, per="head"),
        "mean entropy of a head held",
    ),
    Arm(
        "sharper",
        _O,
        lambda n_train, _: Softmax(lambda n, d: 1.5 * scale.sqrt_d(n, d)),
        "1.5/√d at every length",
    ),
    Arm("window", _O, lambda n_train, _: Softmax(scale.sqrt_d, window=n_train // 2), "1/√d, near keys only"),
    _as_trained(_GAU_LENGTH, "GAU, relu²/n"),
    Arm("gau-relu2-train", _GAU_LENGTH, lambda n_train, _: Relu2(n_train), "GAU, relu² / training length"),
    _as_trained(_GAU_SUM, "GAU, relu² / its sum"),
    _as_trained(_GAU_SOFTMAX, "GAU, softmax"),
    Arm(
        "gau-softmax-log",
        _GAU_SOFTMAX,
        lambda n_train, _: Softmax(_log_from(n_train)),
        "GAU, softmax, log n / √d",
    ),
)


def arm(name: str) -> Arm:
    """The arm of that name."""
    for one in ARMS:
        if one.name == name:
            return one
    raise InvalidArgument(f"arm must be one of {', '.join(one.name for one in ARMS)}; got {name!r}")
