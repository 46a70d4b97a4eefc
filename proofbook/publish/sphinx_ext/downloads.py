"""Puts how to install before what a site offers for download; the pages themselves stay as they are."""

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from proofbook.files import write_whole
from proofbook.publish import downloads
from proofbook.publish.notebooks import parse
from proofbook.publish.site import written
from proofbook.publish.sphinx_ext.base import book_of


def connect(app: Sphinx) -> None:
    """Change the copies beside the pages, after the build has made them."""
    app.connect("build-finished", _begin_with_install)


def _begin_with_install(app: Any, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    book = book_of(app)
    for docname in sorted(app.env.found_docs):
        original, copy = Path(app.env.doc2path(docname)), Path(app.outdir, "_sources", f"{docname}.ipynb")
        if original.suffix != ".ipynb" or not copy.is_file():
            continue
        path = original.relative_to(app.srcdir)
        content = written(downloads.with_install(book, parse(original.read_bytes(), path), path))
        if copy.read_bytes() != content:
            write_whole(copy, content)
