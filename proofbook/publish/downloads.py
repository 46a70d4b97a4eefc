"""The notebooks that a site offers for download: each begins with how to get what it imports."""

from pathlib import Path
from typing import Any

from proofbook.publish.book import Book
from proofbook.publish.notebooks import Notebook

__all__ = ["hosted_cell", "with_install"]


def hosted_cell(book: Book) -> str:
    """The code that a hosted notebook runs first; empty while the book has no address."""
    address = book.address
    if not address.repository:
        return ""
    code = book.settings.run_anywhere.cell.strip()
    return code.replace("{repository}", address.repository).replace("{branch}", address.branch)


def with_install(book: Book, notebook: Notebook, path: Path) -> Notebook:
    """A notebook that begins with how to install what it imports.

    Args:
        book: The book that it is of.
        notebook: The notebook, in the format 4.5 or a later one.
        path: Where it lies in the folder of the book.
    """
    code, lab = hosted_cell(book), book.settings.run_anywhere.here
    words = (
        f"**To run this notebook.** It is of the book *{book.edition.title}* and imports what the book does. "
        f"In the folder of the book, where it is `{path.as_posix()}`, `{lab}` opens it with all it needs."
    )
    if code:
        words += " Anywhere else run the next cell first, once; in the folder of the book leave it out."
    elif book.address.repository:
        words += f" The book is at <{book.address.repository}>."
    cells: list[dict[str, Any]] = [
        {"cell_type": "markdown", "id": "how-to-run", "metadata": {}, "source": words}
    ]
    if code:
        cells.append(
            {
                "cell_type": "code",
                "execution_count": None,
                "id": "install",
                "metadata": {},
                "outputs": [],
                "source": code,
            }
        )
    return {**notebook, "cells": [*cells, *notebook["cells"]]}
