"""What can go wrong with a step of a derivation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class DerivationError(Exception):
    """A step that was not established."""


class Refuted(DerivationError):
    """A step that is wrong; ``point`` is where, ``left`` and ``right`` the two values there."""

    def __init__(self, message: str, *, point: Mapping[Any, Any], left: Any, right: Any):
        super().__init__(message)
        self.point, self.left, self.right = point, left, right


class Undecided(DerivationError):
    """A step that no strategy could settle, which is not the same as a false one."""


class WrongRate(DerivationError):
    """An approximation whose error does not shrink as was stated, or drowns a term that is shown."""


class EmptyStep(DerivationError):
    """A line that says what the line before it says, letter for letter."""
