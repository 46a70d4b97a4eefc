"""Pages that are built again though no file they read has changed, and pages that must go."""

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from proofbook.publish.sphinx_ext.base import book_of, files_of


def connect(app: Sphinx) -> None:
    """Look for files that have come or gone before a build, and for pages that are left over after it."""
    app.connect("env-get-outdated", _where_files_came_or_went)
    app.connect("build-finished", _remove_leftovers)


def _where_files_came_or_went(
    app: Any, env: Any, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """The pages that read the book, when a file that they would read was added or removed.

    Sphinx itself looks only at the files that a page has read: it sees neither the first record nor the next.
    """
    book = book_of(app)
    there = sorted(path.relative_to(book.root).as_posix() for path in files_of(book))
    before, env.proofbook_files = getattr(env, "proofbook_files", there), there
    if before == there:
        return []
    return [name for name in env.found_docs if "proofbook" in env.metadata.get(name, {})]


def _remove_leftovers(app: Any, exception: Exception | None) -> None:
    """Remove the built pages, and the sources offered for download, of what is no page any more."""
    if exception is not None or app.builder.format != "html":
        return
    html = Path(app.outdir)
    for folder in {Path(name).parts[0] for name in app.env.found_docs if "/" in name}:
        for path in sorted((html / folder).rglob("*.html")):
            if path.relative_to(html).with_suffix("").as_posix() not in app.env.found_docs:
                path.unlink()
        sources = html / "_sources"
        for path in sorted((sources / folder).rglob("*")):
            name = path.relative_to(sources).as_posix().removesuffix(".txt").rpartition(".")[0]
            if path.is_file() and name not in app.env.found_docs:
                path.unlink()
