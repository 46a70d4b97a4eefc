"""The graph of what rests on what, written beside the built pages."""

import json
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from proofbook.files import write_whole
from proofbook.publish import graph
from proofbook.publish.sphinx_ext.base import book_of


def connect(app: Sphinx) -> None:
    """Write the graph when the pages are built."""
    app.connect("build-finished", _write)


def _write(app: Any, exception: Exception | None) -> None:
    if exception is None and app.builder.format == "html":
        content = json.dumps(graph.graph(book_of(app)), ensure_ascii=False, indent=1)
        write_whole(Path(app.outdir) / graph.FILE, content.encode())
