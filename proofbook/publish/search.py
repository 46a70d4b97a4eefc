"""What a reader can search for: claims, equations, sections and pages of a built site, read off its pages.

What the pages say is indexed, not what they are made from: so a number filled in is found, and a formula as
it is read. Code is apart, since who looks for a word means the sentence about it first.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser

__all__ = ["Entry", "entries"]


@dataclass
class Entry:
    """One thing that is found: a page, a section of one, a claim or an equation."""

    kind: str
    url: str
    title: str = ""
    text: str = ""
    code: str = ""
    names: str = ""


_SKIPPED_TAGS = {"script", "style", "svg", "button", "nav", "noscript", "summary", "template", "annotation"}
_SKIPPED = {"headerlink", "katex-html", "object-panel", "copybtn", "section-number", "tooltip"}
_CODE = {"cell_input", "highlight"}
_VOID = {"br", "img", "input", "hr", "meta", "link", "wbr", "col", "source", "area", "embed", "base", "track"}
_BLOCKS = {"p", "div", "li", "td", "th", "dt", "dd", "pre", "figcaption"}
_APART = _BLOCKS | {"math", "mspace", "mtr", "mtd"}
_BETWEEN = {"mfrac": "/", "msup": "^", "msub": "_", "munder": "_", "msubsup": "_^", "munderover": "_^"}
"""What somebody would type between the parts of a formula."""
_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}


@dataclass
class _Found:
    """An entry while its page is read: each of its texts in the pieces that were read."""

    kind: str
    url: str
    names: str = ""
    title: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)

    def whole(self) -> Entry:
        title, text, code = (_tidy("".join(pieces)) for pieces in (self.title, self.text, self.code))
        return Entry(self.kind, self.url, title, text, code, self.names)


@dataclass
class _Open:
    """An element that is not closed yet: what holds within it, and with which piece it began."""

    tag: str
    entry: _Found | None = None
    skips: bool = False
    code: bool = False
    title: bool = False
    children: int = 0
    part_from: int | None = None
    """Of a part of a formula: it may need brackets."""

    @property
    def pieces(self) -> list[str] | None:
        """Where what is read here goes: the pieces of one of the texts of the entry; None outside of all."""
        if self.skips or self.entry is None:
            return None
        return self.entry.code if self.code else self.entry.title if self.title else self.entry.text


@dataclass
class _Reader(HTMLParser):
    """Reads the article of a page into entries."""

    url: str
    found: list[_Found] = field(default_factory=list)
    open: list[_Open] = field(default_factory=list)
    inside: bool = False

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        classes = set(given.get("class", "").split())
        if tag == "article" and "bd-article" in classes:
            self.inside = True
        if not self.inside or tag in _VOID:
            self._read(" ")
            return
        outer = self.open[-1] if self.open else _Open("")
        if outer.skips:
            self.open.append(_Open(tag, skips=True))
            return
        self._join(tag)
        entry = self._begun(tag, given.get("id", ""), classes)
        number = "eqno" in classes
        of_claim = outer.entry is not None and outer.entry.kind == "claim"
        title = number or tag in _HEADINGS or of_claim and "admonition-title" in classes
        one = _Open(
            tag,
            entry or outer.entry,
            skips=tag in _SKIPPED_TAGS or bool(classes & _SKIPPED),
            code=outer.code or bool(classes & _CODE),
            title=title or outer.title and entry is None,
        )
        if tag == "msqrt" or outer.tag in _BETWEEN:
            one.part_from = len(outer.pieces or [])
        self.open.append(one)
        self._read(" " if number else "")

    def _begun(self, tag: str, name: str, classes: set[str]) -> _Found | None:
        """The entry that an element begins, if it does."""
        entry = None
        if tag == "section" and name and "exercise-content" not in name:
            first = not any(entry.kind in ("page", "section") for entry in self.found)
            entry = _Found("page" if first else "section", self.url if first else f"{self.url}#{name}")
        elif "claim" in classes and name.startswith("claim-"):
            entry = _Found("claim", f"{self.url}#{name}")
        elif name.startswith("equation-"):
            label = name.removeprefix("equation-")
            entry = _Found("equation", f"{self.url}#{name}", names=label, title=[label])
        if entry:
            self.found.append(entry)
        return entry

    def handle_endtag(self, tag: str) -> None:
        if not self.inside or tag in _VOID or tag not in [one.tag for one in self.open]:
            return
        if not self.open[-1].skips:
            self._read(" " if tag in _APART else "")
            self._bracket()
        while self.open.pop().tag != tag:
            pass
        if tag == "article" and not self.open:
            self.inside = False

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1].tag == "mo":
            data = f" {data} " if data in _SPACED else data.strip(_UNSEEN)
        elif self.open and self.open[-1].tag == "mi" and len(data) > 1:
            data = f" {data} "
        self._read(data)

    def _join(self, tag: str) -> None:
        """Write what tells two parts of a fraction or an index apart, and a blank before a formula."""
        if self.open and (signs := _BETWEEN.get(self.open[-1].tag)):
            self._read(signs[self.open[-1].children - 1] if 0 < self.open[-1].children <= len(signs) else "")
        if self.open:
            self.open[-1].children += 1
        self._read({"math": " ", "msqrt": " √"}.get(tag, ""))

    def _bracket(self) -> None:
        """Put brackets around what stands under a root, in a fraction or at an index, if it has blanks."""
        pieces, start = self.open[-1].pieces, self.open[-1].part_from
        if pieces and start is not None and " " in (part := "".join(pieces[start:]).strip(" ")):
            pieces[start:] = ["(", part, ")"]

    def _read(self, data: str) -> None:
        if data and self.open and (pieces := self.open[-1].pieces) is not None:
            pieces.append(data)


_SPACED = set("=<>≤≥≠≈≡∝→∈+−±·×:∣") | {":="}
_UNSEEN = "\u2061\u2062\u2063\u200b"


def _tidy(text: str) -> str:
    """A text with one blank between its words, and none where a formula has left one before a sign."""
    return re.sub(r"([(\[]) | (?=[)\],.;:]( |$))", r"\1", " ".join(text.split()))


_DRAWN = re.compile(r'<span class="katex-html"')
_SPAN = re.compile(r"<(/?)span\b")


def _without_drawn(html: str) -> str:
    """A page without the formulas as they are drawn: most of its elements, of which nothing is read."""
    kept, at = [], 0
    while drawn := _DRAWN.search(html, at):
        kept.append(html[at : drawn.start()])
        depth, at = 0, len(html)
        for span in _SPAN.finditer(html, drawn.start()):
            depth += -1 if span[1] else 1
            if depth == 0:
                at = html.index(">", span.end()) + 1
                break
    return "".join([*kept, html[at:]])


def entries(html: str, url: str, names: Mapping[str, str] | None = None) -> list[Entry]:
    """What can be found on a page.

    Args:
        html: The page as it was built.
        url: Its address from the top of the site.
        names: Further words by which entries go, by their address: the titles of a chapter's source, say.

    >>> text = '<section id="a"><h1>Entropy</h1><p>It falls.</p></section>'
    >>> (one,) = entries(f'<article class="bd-article">{text}</article>', "book/a.html")
    >>> one.kind, one.url, one.title, one.text
    ('page', 'book/a.html', 'Entropy', 'It falls.')
    """
    reader = _Reader(url)
    reader.feed(_without_drawn(html))
    reader.close()
    found = [one.whole() for one in reader.found]
    for one in found:
        one.names = " ".join(filter(None, [one.names, (names or {}).get(one.url, "")]))
        if one.kind == "claim":
            one.names = " ".join(filter(None, [one.title.split(" ")[0], one.names]))
    return [one for one in found if one.title or one.text]
