"""A small checker: it proves equalities and inequalities by rules of its own, or says that it has no proof."""

from proofbook.derive.kernel.equality import prove_equality
from proofbook.derive.kernel.errors import NotProved
from proofbook.derive.kernel.inequality import prove_inequality

__all__ = ["NotProved", "prove_equality", "prove_inequality"]
