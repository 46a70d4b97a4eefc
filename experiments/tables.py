"""Recorded results laid flat: by arm, seed and length, with the interval that the seeds allow."""

from __future__ import annotations

import math

import numpy as np

from experiments.errors import ExperimentError

__all__ = ["Comparison", "half_width"]


def half_width(samples: np.ndarray, *, confidence: float = 0.95) -> np.ndarray:
    """Half of Student's confidence interval for the mean of samples (seeds, ...).

    >>> print(half_width(np.array([1.0, 2.0, 3.0])).round(2))
    2.48
    """
    from scipy.special import stdtrit

    count = len(samples)
    if count < 2:
        raise ExperimentError(f"an interval needs two seeds or more, got {count}")
    return stdtrit(count - 1, (1 + confidence) / 2) * samples.std(0, ddof=1) / math.sqrt(count)


class Comparison:
    """The results of one experiment, as read by :func:`experiments.results.read`.

    Seeds and lengths are those of the configuration, in its order; what was not recorded is refused when
    asked for.
    """

    def __init__(self, entries: list[dict]):
        if not entries:
            raise ExperimentError("there are no results to compare")
        self.configuration, self.environment = entries[0]["configuration"], entries[0]["environment"]
        self.seeds, self.lengths = self.configuration["seeds"], self.configuration["lengths"]
        self._scores = {(e["arm"], e["seed"], e["length"]): e for e in entries if e["kind"] == "score"}
        self._trainings = {(e["training"], e["seed"]): e for e in entries if e["kind"] == "training"}

    def scores(self, name: str, field: str = "accuracy") -> np.ndarray:
        """``accuracy`` or ``loss`` of an arm, (seeds, lengths)."""
        return np.array([[self._entry(name, seed, n)[field] for n in self.lengths] for seed in self.seeds])

    def inside(self, name: str, quantity: str) -> np.ndarray:
        """A quantity of :class:`experiments.attention.Inside`, (seeds, lengths, layers, heads)."""
        return np.array(
            [[self._entry(name, seed, n)["inside"][quantity] for n in self.lengths] for seed in self.seeds],
            dtype=float,
        )

    def losses(self, training: str) -> np.ndarray:
        """The mean training loss of every hundred steps in nats, (seeds, hundreds)."""
        return np.array([self._training(training, seed)["losses"] for seed in self.seeds])

    def seconds(self, training: str) -> np.ndarray:
        """How long each seed trained."""
        return np.array([self._training(training, seed)["seconds"] for seed in self.seeds])

    def weights(self, training: str, seed: int) -> str:
        """The digest of the weights that a training ended with."""
        return self._training(training, seed)["weights"]

    def _training(self, name: str, seed: int) -> dict:
        try:
            return self._trainings[name, seed]
        except KeyError:
            raise ExperimentError(f"no training {name} with seed {seed} was recorded") from None

    def _entry(self, name: str, seed: int, length: int) -> dict:
        try:
            return self._scores[name, seed, length]
        except KeyError:
            raise ExperimentError(
                f"no result of {name} with seed {seed} at length {length} was recorded"
            ) from None
