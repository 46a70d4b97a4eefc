"""What a reader can search for: claims, equations, sections and pages of a built site, read off its pages.

What the pages say is indexed, not what they are made from: so a number filled in is found, and a formula as
it is read. Code is apart, since who looks for a word means the sentence about it first.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser

__all__ = ["Entry", "entries", "spoken"]


@dataclass
class Entry:
    """One thing that is found: a page, a section of one, a claim or an equation."""

    kind: str
    url: str
    title: str = ""
    text: str = ""
    code: str = ""
    names: str = ""


_SKIPPED_TAGS = {"script", "style", "svg", "button", "nav", "math", "noscript", "summary", "template"}
_SKIPPED = {"headerlink", "katex-html", "proofbook-object", "copybtn", "section-number", "tooltip"}
_CODE = {"cell_input", "highlight"}
_VOID = {"br", "img", "input", "hr", "meta", "link", "wbr", "col", "source", "area", "embed", "base", "track"}
_BLOCKS = {"p", "div", "li", "td", "th", "dt", "dd", "pre", "summary", "figcaption"}
_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}


@dataclass
class _Open:
    """An element that is not closed yet, and what it begins."""

    tag: str
    entry: Entry | None = None
    skips: bool = False
    code: bool = False
    title: bool = False
    formula: bool = False


@dataclass
class _Reader(HTMLParser):
    """Reads the article of a page into entries."""

    url: str
    found: list[Entry] = field(default_factory=list)
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
        one = _Open(tag)
        name = given.get("id", "")
        if tag == "section" and name and "exercise-content" not in name:
            first = not any(entry.kind in ("page", "section") for entry in self.found)
            one.entry = Entry("page" if first else "section", self.url if first else f"{self.url}#{name}")
        elif "claim" in classes and name.startswith("claim-"):
            one.entry = Entry("claim", f"{self.url}#{name}")
        elif name.startswith("equation-"):
            label = name.removeprefix("equation-")
            one.entry = Entry("equation", f"{self.url}#{name}", title=label, names=label)
        if one.entry:
            self.found.append(one.entry)
        # A formula is read from the LaTeX that stands beside it for who listens.
        one.formula = tag == "annotation" and given.get("encoding") == "application/x-tex"
        one.skips = not one.formula and (tag in _SKIPPED_TAGS or bool(classes & _SKIPPED))
        one.code = bool(classes & _CODE)
        of_claim = any(one.entry and one.entry.kind == "claim" for one in self.open)
        one.title = tag in _HEADINGS or of_claim and "admonition-title" in classes
        self.open.append(one)

    def handle_endtag(self, tag: str) -> None:
        if not self.inside or tag in _VOID or tag not in [one.tag for one in self.open]:
            return
        self._read(" " if tag in _BLOCKS else "")
        while self.open.pop().tag != tag:
            pass
        if tag == "article" and not self.open:
            self.inside = False

    def handle_data(self, data: str) -> None:
        self._read(data)

    def _read(self, data: str) -> None:
        entry = next((one.entry for one in reversed(self.open) if one.entry), None)
        formula = any(one.formula for one in self.open)
        if entry is None or not formula and any(one.skips for one in self.open):
            return
        if formula:
            data = f" {spoken(data)} "
        if any(one.code for one in self.open):
            entry.code += data
        elif self._in_title(entry):
            entry.title += data
        else:
            entry.text += data

    def _in_title(self, entry: Entry) -> bool:
        """Whether what is read is the title of the entry, not that of something within it."""
        for one in reversed(self.open):
            if one.title:
                return entry.kind != "equation"
            if one.entry is entry:
                return False
        return False


_GREEK = {
    "alpha beta gamma delta epsilon zeta eta theta iota kappa": 945,
    "lambda mu nu xi omicron pi rho": 955,
    "sigma tau upsilon phi chi psi omega": 963,
}
_SIGNS = {
    **{name: chr(first + k) for names, first in _GREEK.items() for k, name in enumerate(names.split())},
    **{"le": "≤", "ge": "≥", "ne": "≠", "approx": "≈", "propto": "∝", "to": "→", "in": "∈", "infty": "∞"},
    **{"sum": "∑", "prod": "∏", "int": "∫", "partial": "∂", "sqrt": "√", "cdot": "·", "times": "×"},
    **{"dots": "…", "ldots": "…", "checkmark": "", "circ": "", "quad": "", "qquad": ""},
}
_LAYOUT = re.compile(
    r"\\(?:left|right|middle|[bB]ig[lr]?|text|textsf|math[a-z]+|operatorname|overset|scriptsize|displaystyle"
    r"|begin|end)(?![A-Za-z])|\{aligned\}|\\\\(?:\[[^\]]*\])?|\\[,;:! ]|&"
)
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}")


def spoken(tex: str) -> str:
    r"""A formula in LaTeX as somebody would type it into a search.

    >>> spoken(r"\left(\lambda\,\bar s\right) \le \log n")
    '(λ bar s) ≤ log n'
    """
    text = _FRACTION.sub(r" \1/\2 ", _LAYOUT.sub(" ", tex))
    text = re.sub(r"\\([A-Za-z]+)", lambda found: f" {_SIGNS.get(found[1], found[1])} ", text)
    text = " ".join(re.sub(r"[{}\\]", "", text).split())
    return re.sub(r"([(\[]) | (?=[)\],.])", r"\1", text)


def entries(html: str, url: str, names: Mapping[str, str] | None = None) -> list[Entry]:
    """What can be found on a page.

    Args:
        html: The page as it was built.
        url: Its address from the top of the site.
        names: Further words by which entries go, by their address: the titles of a chapter's source, say.

    Example:
        >>> text = '<section id="a"><h1>Entropy</h1><p>It falls.</p></section>'
        >>> (one,) = entries(f'<article class="bd-article">{text}</article>', "book/a.html")
        >>> one.kind, one.url, one.title, one.text
        ('page', 'book/a.html', 'Entropy', 'It falls.')
    """
    reader = _Reader(url)
    reader.feed(html)
    reader.close()
    for one in reader.found:
        one.names = " ".join(filter(None, [one.names, (names or {}).get(one.url, "")]))
        if one.kind == "claim":
            one.names = " ".join(filter(None, [one.title.split(" ")[0], one.names]))
        one.title, one.text, one.code = (" ".join(text.split()) for text in (one.title, one.text, one.code))
    return [one for one in reader.found if one.title or one.text]
