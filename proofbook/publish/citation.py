"""How to cite the book and each of its chapters, from CITATION.cff and the address alone."""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from proofbook.publish.address import Address


@dataclass(frozen=True)
class Edition:
    """What identifies the edition being cited."""

    title: str
    authors: str
    version: str
    date: str

    @property
    def year(self) -> str:
        return self.date[:4]


def read_edition(root: Path) -> Edition:
    """The edition that CITATION.cff describes."""
    data = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    names = [
        author.get("name") or f"{author['given-names']} {author['family-names']}"
        for author in data["authors"]
    ]
    return Edition(data["title"], " and ".join(names), str(data["version"]), str(data["date-released"]))


def plain_text(title: str) -> str:
    """A heading without its MyST and LaTeX markup, for use where neither is read.

    >>> plain_text("*8823*: the scale $\\\\lambda(n)$")
    '8823: the scale lambda(n)'
    """
    return re.sub(r"[*`{}$\\]", "", title).strip()


def chapter_citation(edition: Edition, address: Address, *, docname: str, title: str) -> tuple[str, str]:
    """BibTeX and plain text for one chapter; the URL is there only when the book has an address."""
    title = plain_text(title)
    key = re.sub(r"[^a-z0-9]+", "-", f"attention-derived-{docname.rsplit('/', 1)[-1]}".lower())
    url = address.page(docname)
    fields = {
        "author": f"{{{edition.authors}}}",
        "title": f"{{{title}}}",
        "booktitle": edition.title,
        "edition": f"version {edition.version}",
        "year": edition.year,
        "url": url,
    }
    body = "".join(f"  {name:<9} = {{{value}}},\n" for name, value in fields.items() if value)
    bibtex = f"@incollection{{{key},\n{body}}}"
    text = f"{edition.authors}. “{title}.” In {edition.title}, version {edition.version}, {edition.year}."
    return bibtex, f"{text} {url}".strip()
