"""Data written beside the built pages: the graph of what rests on what, and the record of every equation."""

import json
import shutil
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from proofbook.files import write_whole
from proofbook.publish import graph
from proofbook.publish.objects import CERTIFICATES
from proofbook.publish.sphinx_ext.base import book_of


def connect(app: Sphinx) -> None:
    """Write them when the pages are built."""
    app.connect("build-finished", _write)


def _write(app: Any, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    site, book = Path(app.outdir), book_of(app)
    as_json(site / graph.FILE, graph.graph(book))
    shutil.rmtree(site / CERTIFICATES, ignore_errors=True)
    for page in book.pages.values():
        for equation in page.equations:
            as_json(site / CERTIFICATES / f"{equation['label']}.json", equation)


def as_json(path: Path, data: Any) -> None:
    """Write plain data as JSON, for machines and for readers."""
    write_whole(path, json.dumps(data, ensure_ascii=False, indent=1).encode())
