"""What a site needs to stand alone: its book, its address, and the script that sets formulas."""

import json
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from proofbook.files import write_whole
from proofbook.names import NUMBERS_MIME, RECORD_MIMES
from proofbook.publish.address import read_address, theme_options
from proofbook.publish.book import Book
from proofbook.publish.notebooks import code_of

STATIC = Path(__file__).parents[1] / "static"
STYLES = "proofbook.css"
MATHJAX_PARTS = ("tex-mml-chtml.js", "output/chtml/fonts/woff-v2")


def connect(app: Sphinx) -> None:
    """Read the book when a build begins, and put beside its pages what they fetch."""
    app.connect("config-inited", _apply_address, priority=100)
    app.connect("config-inited", _add_styles, priority=100)
    app.add_css_file(STYLES)
    app.connect("builder-inited", _load_book, priority=100)
    app.connect("builder-inited", _copy_mathjax)
    app.connect("source-read", _drop_records)


def _load_book(app: Any) -> None:
    app.proofbook_book = Book(Path(app.srcdir))


def _apply_address(app: Sphinx, config: Any) -> None:
    address = read_address(Path(app.srcdir))
    config.html_theme_options = {**config.html_theme_options, **theme_options(address)}
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


def _copy_mathjax(app: Any) -> None:
    """Put MathJax and its fonts beside the pages, from the wheel that carries them."""
    if app.builder.format != "html":
        return
    source = Path(str(package_files("mathjax"))) / "static" / "mathjax" / "es5"
    target = Path(app.outdir) / "_static" / "mathjax"
    for part in MATHJAX_PARTS:
        folder = source / part
        for file in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
            copy = target / file.relative_to(source)
            if file.is_file() and not (copy.is_file() and copy.stat().st_size == file.stat().st_size):
                write_whole(copy, file.read_bytes())
