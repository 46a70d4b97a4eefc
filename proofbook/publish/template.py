"""A book to begin with: a chapter with a derivation, a claim, a figure, an exercise, and all around it."""

import datetime
import json
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from proofbook.files import write_whole
from proofbook.publish.notebooks import BookError

__all__ = ["write"]

HIDDEN = {"gitignore": ".gitignore"}
"""Files whose name begins with a dot in a book, and not among the template's, where it would hide them."""


def write(folder: Path, *, title: str, author: str) -> None:
    """Write a book into a folder.

    Args:
        folder: Where to; it must not be there, or be empty.
        title: The title of the book.
        author: Who writes it.

    Raises:
        BookError: there is something in the folder already, or title or author is empty.
        OSError: a file cannot be written.
    """
    for name, value in (("title", title), ("author", author)):
        if not value.strip() or "\n" in value:
            raise BookError(f"the {name} of a book is one line of text, got {value!r}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BookError(f"{folder} is there already and not an empty folder: name another")
    # JSON's strings are YAML's too, whatever a title has in it
    values = {"@TITLE@": title, "@AUTHOR@": author, "@DATE@": datetime.date.today().isoformat()}
    quoted = {f'"{name}"': json.dumps(value, ensure_ascii=False) for name, value in values.items()}
    for path, content in _walk(files("proofbook.publish") / "template"):
        for name, value in (quoted | values).items():
            content = content.replace(name.encode(), value.encode())
        write_whole(folder / path, content)


def _walk(folder: Traversable, place: Path = Path()) -> list[tuple[Path, bytes]]:
    found = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            if not entry.name.startswith((".", "__")):
                found += _walk(entry, place / entry.name)
        else:
            found.append((place / HIDDEN.get(entry.name, entry.name), entry.read_bytes()))
    return found
