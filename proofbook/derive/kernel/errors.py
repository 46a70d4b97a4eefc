"""What the kernel says when it has no proof."""

from proofbook.derive.errors import DerivationError


class NotProved(DerivationError):
    """No rule of the kernel proves the statement. It may be true all the same: this refutes nothing."""
