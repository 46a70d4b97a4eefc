"""The reference of a library from its docstrings, in a book that checks what they say."""

from typing import Any

from sphinx.application import Sphinx

from proofbook.publish import api
from proofbook.publish.sphinx_ext.base import book_of


def connect(app: Sphinx) -> None:
    """Let the sources that docstrings name lead to the book's claims."""
    app.setup_extension("sphinx.ext.autodoc")
    app.setup_extension("sphinx.ext.napoleon")
    app.connect("autodoc-process-docstring", _mark_sources)


def _mark_sources(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    book = book_of(app)
    anchors = {claim["anchor"].lower() for claim in book.claims}
    lines[:] = api.mark_sources(lines, anchors, book.settings.claims)
