"""What search engines and readers who are lost need to know of the pages: descriptions, licence, 404."""

import itertools
import re
from html import escape
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape as xml

from docutils import nodes
from sphinx.application import Sphinx

from proofbook.files import write_whole
from proofbook.publish.address import Address
from proofbook.publish.citation import Edition, plain_text
from proofbook.publish.sphinx_ext.base import book_of

ICON = "_static/proofbook.svg"
LONGEST = 200
"""Characters of a description, of which a list of search results shows about so many."""


def connect(app: Sphinx) -> None:
    """Say of each page what it is, and write what stands beside the pages."""
    app.connect("html-page-context", _describe)
    app.connect("build-finished", _write)


def description(doctree: nodes.document | None) -> str:
    """The first paragraph of a page that stands in its text, cut at a word; empty where there is none.

    It ends before a sentence with a formula, unless that is its first.
    """
    for paragraph in [] if doctree is None else doctree.findall(nodes.paragraph):
        # what a directive has filled in has a class
        if isinstance(paragraph.parent, (nodes.section, nodes.document)) and not paragraph["classes"]:
            first, *more = re.split(r"(?<=[.?!]) ", " ".join(paragraph.astext().split()))
            plain = itertools.takewhile(lambda sentence: "\\" not in sentence, more)
            if words := plain_text(" ".join([first, *plain])):
                return shortened(words)
    return ""


def shortened(words: str, longest: int = LONGEST) -> str:
    """Words, cut where one ends.

    >>> shortened("one two three", 8)
    'one two…'
    """
    if len(words) <= longest:
        return words
    return words[:longest].rsplit(" ", 1)[0].rstrip(",;:.") + "…"


def tags(edition: Edition, address: Address, *, docname: str, title: str, words: str) -> str:
    """The tags of a page: a description, and what others show of a link to it."""
    said = {
        "og:title": title,
        "og:description": words,
        "og:type": "article",
        "og:site_name": edition.title,
        "og:url": address.page(docname),
    }
    found = f'<meta name="description" content="{escape(words)}" />\n' if words else ""
    for name, value in said.items():
        if value:
            found += f'<meta property="{name}" content="{escape(value)}" />\n'
    return found + '<meta name="twitter:card" content="summary" />\n'


def licence(edition: Edition) -> str:
    """The licences of an edition, as its footer says them; SPDX knows each by its name."""
    links = [
        f'<a href="https://spdx.org/licenses/{escape(one)}.html" rel="license">{escape(one)}</a>'
        for one in edition.licenses
    ]
    word = "Licence" if len(links) == 1 else "Licences"
    return f'<p class="licence">{word}: {", ".join(links)}</p>' if links else ""


def _describe(app: Any, docname: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    book = book_of(app)
    words = description(doctree) or shortened(book.edition.abstract)
    title = plain_text(re.sub(r"<[^<>]*>", "", context.get("title") or book.edition.title))
    before = context.get("metatags") or ""
    found = tags(book.edition, book.address, docname=docname, title=title, words=words)
    if 'name="description"' in before:
        found = found.partition("\n")[2]
    context["metatags"] = before + found
    if not context.get("favicon_url"):
        context["favicon_url"] = context["pathto"](ICON, 1)
    footer = context.get("theme_extra_footer") or ""
    context["theme_extra_footer"] = footer + licence(book.edition)


LOST = """<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<title>Not found · {title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1.1rem/1.6 system-ui, sans-serif; margin: 15vh auto; max-width: 34rem; padding: 0 1rem; }}
a {{ color: inherit; }}
</style>
</head>
<body>
<main>
<h1>There is no such page</h1>
<p>Links to claims, equations and figures of {title} do not change between editions. If one led here, it was
cut short or mistyped.</p>
<p><a href="{front}">The front page</a> · <a href="{search}">Search</a></p>
</main>
</body>
</html>
"""


def lost(edition: Edition, address: Address, language: str) -> str:
    """The page for an address that is none. It stands alone: a server shows it at any depth of the site."""
    top = f"{address.site}/" if address.site else ""
    return LOST.format(
        title=escape(edition.title),
        language=escape(language or "en"),
        front=escape(f"{top}index.html"),
        search=escape(f"{top}search.html"),
    )


def sitemap(address: Address, docnames: list[str]) -> str:
    """The pages of the site, for search engines."""
    places = "".join(f"<url><loc>{xml(address.page(docname))}</loc></url>\n" for docname in docnames)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{places}</urlset>\n'
    )


def _write(app: Any, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    site, book = Path(app.outdir), book_of(app)
    write_whole(site / "404.html", lost(book.edition, book.address, app.config.language).encode())
    if book.address.site:
        write_whole(site / "sitemap.xml", sitemap(book.address, sorted(app.env.found_docs)).encode())
    else:
        (site / "sitemap.xml").unlink(missing_ok=True)
