"""What a site needs to stand alone: its book, its address, its styles."""

import json
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from proofbook.names import NUMBERS_MIME, RECORD_MIMES
from proofbook.publish.address import read_address, theme_options
from proofbook.publish.book import Book
from proofbook.publish.notebooks import code_of

STATIC = Path(__file__).parents[1] / "static"
STYLES = "proofbook.css"
# The theme's own script says light or dark only when the page is there, so that colours come in late.
THEME = """{
  const page = document.documentElement.dataset, dark = matchMedia("(prefers-color-scheme: dark)").matches;
  if (page.theme !== "light" && page.theme !== "dark") page.theme = dark ? "dark" : "light";
}"""


def connect(app: Sphinx) -> None:
    """Read the book when a build begins, and put beside its pages what they fetch."""
    app.connect("config-inited", _apply_address, priority=100)
    app.connect("config-inited", _add_styles, priority=100)
    app.add_css_file(STYLES)
    app.add_js_file(None, body=THEME)
    app.connect("builder-inited", _load_book, priority=100)
    app.connect("source-read", _drop_records)


def _load_book(app: Any) -> None:
    app.proofbook_book = Book(Path(app.srcdir))


def _apply_address(app: Sphinx, config: Any) -> None:
    address = read_address(Path(app.srcdir))
    config.html_theme_options = {**config.html_theme_options, **theme_options(address)}
    # Without it the theme's script complains on every page before it asks the reader's system.
    config.html_context = {"default_mode": "auto", **config.html_context}
    config.html_baseurl = f"{address.site}/" if address.site else ""


def _add_styles(app: Any, config: Any) -> None:
    config.html_static_path = [str(STATIC), *config.html_static_path]


def _drop_records(app: Any, docname: str, source: list[str]) -> None:
    """Hide the records, which are not for show, from the page renderer; it would warn of each."""
    if not str(app.env.doc2path(docname)).endswith(".ipynb"):
        return
    notebook = json.loads(source[0])
    for cell in code_of(notebook):
        # Numbers are shown where sentences name them.
        cell["outputs"] = [one for one in cell["outputs"] if NUMBERS_MIME not in one.get("data", {})]
        for output in cell["outputs"]:
            for mime in RECORD_MIMES:
                output.get("data", {}).pop(mime, None)
    source[0] = json.dumps(notebook)
