"""What can go wrong with a step of a derivation."""


class DerivationError(Exception):
    """A step that was not established."""


class Refuted(DerivationError):
    """A step that is wrong; ``point`` is where, ``left`` and ``right`` the two values there."""

    def __init__(self, message: str, *, point: dict, left, right):
        super().__init__(message)
        self.point, self.left, self.right = point, left, right


class Undecided(DerivationError):
    """A step that no strategy could settle, which is not the same as a false one."""


class WrongRate(DerivationError):
    """An approximation whose error does not shrink as was stated."""
