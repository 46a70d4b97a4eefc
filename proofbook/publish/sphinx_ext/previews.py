"""What links to claims and equations lead to, as a script for each page: it loads from a file system too."""

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from proofbook.files import write_whole
from proofbook.publish.sphinx_ext.base import book_of
from proofbook.publish.sphinx_ext.objects import objects_of

FOLDER = "_static/previews"


def connect(app: Sphinx) -> None:
    """Cut the pieces out of the built pages, after all else has changed them."""
    app.connect("build-finished", _write, priority=900)


def element(html: str, anchor: str) -> str | None:
    """The element of that ID in a page, with all that is in it; None where there is none.

    >>> element('<p><div id="a">x<div>y</div></div></p>', "a")
    '<div id="a">x<div>y</div></div>'
    """
    tag = re.compile(rf'<(\w+)\b[^<>]*\sid="{re.escape(anchor)}"[^<>]*>')
    at = -1
    # a page is a million characters: first where the ID is, then the tag that it is in
    while (at := html.find(f'id="{anchor}"', at + 1)) >= 0:
        if start := tag.match(html, max(0, html.rfind("<", 0, at))):
            return _whole(html, start)
    return None


def _whole(html: str, start: re.Match[str]) -> str:
    """The element that a start tag begins."""
    depth = 0
    for tag in re.compile(rf"<(/?){start[1]}\b[^<>]*>").finditer(html, start.start()):
        depth += -1 if tag[1] else 1
        if depth == 0:
            return html[start.start() : tag.end()]
    return html[start.start() :]


def piece(html: str, anchor: str) -> str | None:
    """What a preview shows of a claim or an equation: the element without what is attached to it."""
    found = element(html, anchor)
    if found is None:
        return None
    while attached := re.search(r'<(div) class="object-panel"[^<>]*>', found):
        found = found.replace(_whole(found, attached), "")
    return re.sub(r'<a class="headerlink".*?</a>', "", found).strip()


def script(docname: str, html: str, anchors: Iterable[str]) -> str:
    """The script of a page: a call with the pieces by anchor (see static/objects.js)."""
    pieces = {anchor: found for anchor in anchors if (found := piece(html, anchor))}
    data = json.dumps(pieces, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    return f"proofbookPreviews({json.dumps(docname)},{data});\n"


def _write(app: Any, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    site = Path(app.outdir)
    shutil.rmtree(site / FOLDER, ignore_errors=True)
    anchors: dict[str, list[str]] = {}
    for one in objects_of(app).all.values():
        anchors.setdefault(one.page, []).append(one.anchor)
    book = book_of(app)
    anchors |= {name: anchors.get(book.original(name), []) for name in book.translations}
    for docname, names in anchors.items():
        page = site / f"{docname}.html"
        if page.is_file():
            text = script(docname, page.read_text(encoding="utf-8"), names)
            write_whole(site / FOLDER / f"{docname}.js", text.encode())
