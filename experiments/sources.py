"""The code that makes this book's numbers, as the book's own settings name it."""

from __future__ import annotations

from pathlib import Path

from proofbook.ledger.record import packages
from proofbook.ledger.settings import Settings
from proofbook.ledger.sources import Packages

__all__ = ["code_digest", "sources"]

BOOK = Path(__file__).parents[1] / "book"


def sources() -> Packages:
    """The packages whose code can make a number."""
    return packages(BOOK, Settings.read(BOOK))


def code_digest(module: str) -> str:
    """A digest of the code that a module reaches, named in full; itself included."""
    return sources().digest(module)
