"""What a book must have, checked over its files."""

from pathlib import Path


def check_book(root: Path, *, executed: bool = False) -> list[str]:
    """Everything that is missing or wrong, one line each."""
    return []
