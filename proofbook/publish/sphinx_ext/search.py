"""The search of the site: an index that is a script, so that it works from the file system too."""

import json
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from proofbook.files import write_whole
from proofbook.publish.npm import package
from proofbook.publish.search import entries
from proofbook.publish.sphinx_ext.base import book_of

DATA = "search-data.js"
ENGINE = "minisearch.js"
TEMPLATES = Path(__file__).parents[1] / "templates"


def connect(app: Sphinx) -> None:
    """Take the place of Sphinx's own page of results, and write the index when all pages are there."""
    app.connect("config-inited", _use_template, priority=100)
    app.connect("html-page-context", _add_scripts)
    app.connect("build-finished", _write_index)


def _use_template(app: Any, config: Any) -> None:
    config.templates_path = [str(TEMPLATES), *config.templates_path]


def _add_scripts(app: Any, pagename: str, templatename: str, context: Any, doctree: Any) -> None:
    if pagename == "search":
        for script in (ENGINE, DATA, "search.js"):
            app.add_js_file(script, priority=800)
        app.add_css_file("search.css")


def _write_index(app: Any, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    html, book = Path(app.outdir), book_of(app)
    titles, found = [], []
    for docname in [*(path.with_suffix("").as_posix() for path in book.paths), *book.translations]:
        url = app.builder.get_target_uri(docname)
        file = html / url
        if not file.is_file():  # a builder that writes other pages than these
            return
        page = book.page(book.original(docname))
        card = (page.card if page else None) or {}
        sources = book.settings.sources
        words = " ".join(
            str(card.get(key, "")) for key in (sources.one, sources.title, sources.original) if key
        )
        titles.append(app.env.titles[docname].astext())
        found += [
            [one.kind, len(titles) - 1, one.url, one.title, one.names, one.text, one.code]
            for one in entries(file.read_text(encoding="utf-8"), url, {url: words})
            # claims and equations are found once, on the original
            if docname not in book.translations or one.kind in ("page", "section")
        ]
    index = json.dumps({"pages": titles, "entries": found}, ensure_ascii=False, separators=(",", ":"))
    static = html / "_static"
    write_whole(static / DATA, f"window.proofbookSearch = {index};\n".encode())
    write_whole(static / ENGINE, (package("minisearch") / "dist" / "umd" / "index.js").read_bytes())
