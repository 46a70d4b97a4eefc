"""The errors attnlib raises for bad input. Each names the argument and the offending value."""

from __future__ import annotations

from typing import Any


class InvalidArgument(ValueError):
    """An argument has a value for which the function is not defined."""


class UnreachableEntropy(InvalidArgument):
    """No temperature gives this row the entropy asked for.

    ``lower`` and ``upper`` bound the attainable range ``(lower, upper]`` in nats.
    """

    def __init__(self, message: str, *, lower: float, upper: float):
        super().__init__(message)
        self.lower = lower
        self.upper = upper

    def __reduce__(self) -> tuple[Any, ...]:
        """An error crosses from a worker process to its parent pickled; alone it would lose its bounds."""
        return _unreachable, (str(self), self.lower, self.upper)


def _unreachable(message: str, lower: float, upper: float) -> UnreachableEntropy:
    return UnreachableEntropy(message, lower=lower, upper=upper)


class EngineNotAvailable(RuntimeError):
    """What ``impl`` asks for cannot run here: a package or a device is missing."""


class NothingRecorded(RuntimeError):
    """A model was not called, or nothing of its attention could be recorded."""


class AttentionNotRecorded(RuntimeError):
    """Some of a model's attention was recorded and some was not, under ``on_problem="raise"``."""


class AttentionWarning(UserWarning):
    """Some of a model's attention was not recorded; the report's ``problems`` say which and why."""
