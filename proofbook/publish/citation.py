"""How to cite the book and each of its chapters, from CITATION.cff and the address alone."""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from proofbook.publish.address import Address
from proofbook.publish.notebooks import BookError


@dataclass(frozen=True)
class Edition:
    """What identifies the edition being cited."""

    title: str
    authors: str
    version: str
    date: str
    licenses: tuple[str, ...] = ()
    abstract: str = ""

    @property
    def year(self) -> str:
        return self.date[:4]


def read_edition(root: Path) -> Edition:
    """The edition that CITATION.cff describes; raises `BookError` where it describes none."""
    file = root / "CITATION.cff"
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
        names = [
            author.get("name") or f"{author['given-names']} {author['family-names']}"
            for author in data["authors"]
        ]
        version, released = str(data["version"]), str(data["date-released"])
        licenses = data.get("license") or []
        licenses = [licenses] if isinstance(licenses, str) else licenses
        abstract = " ".join(str(data.get("abstract") or "").split())
        named = tuple(str(one) for one in licenses)
        return Edition(str(data["title"]), " and ".join(names), version, released, named, abstract)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BookError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    except (AttributeError, KeyError, TypeError) as error:
        needed = "title, version, date-released and authors with their names (and may hold licenses by name)"
        raise BookError(f"{file} must hold {needed}: {error}") from error


def plain_text(title: str) -> str:
    """A heading without its MyST and LaTeX markup, for use where neither is read.

    >>> plain_text("*8823*: the scale $\\\\lambda(n)$")
    '8823: the scale lambda(n)'
    """
    return re.sub(r"[*`{}$\\]", "", title).strip()


def chapter_citation(edition: Edition, address: Address, *, docname: str, title: str) -> tuple[str, str]:
    """BibTeX and plain text for one chapter; the URL is there only when the book has an address."""
    return reference(edition, key=docname.rsplit("/", 1)[-1], title=title, url=address.page(docname))


def book_citation(edition: Edition, address: Address) -> tuple[str, str]:
    """BibTeX and plain text for the whole book; the URL is there only when it has an address."""
    key = re.sub(r"[^a-z0-9]+", "-", edition.title.lower()).strip("-")
    fields = {
        "author": f"{{{edition.authors}}}",
        "title": f"{{{plain_text(edition.title)}}}",
        "edition": f"version {edition.version}",
        "year": edition.year,
        "url": address.site,
    }
    body = "".join(f"  {name:<9} = {{{value}}},\n" for name, value in fields.items() if value)
    text = f"{edition.authors}. {edition.title}, version {edition.version}, {edition.year}."
    return f"@book{{{key},\n{body}}}", f"{text} {address.site}".strip()


def reference(edition: Edition, *, key: str, title: str, part: str = "", url: str = "") -> tuple[str, str]:
    """BibTeX and plain text for a chapter, or for a part of it that has a name of its own.

    Args:
        edition: The edition that is cited.
        key: What tells the entry from others of this book.
        title: The chapter's.
        part: The name of the part.
        url: Where it is read; left out where it is empty.
    """
    title = plain_text(title)
    key = re.sub(r"[^a-z0-9]+", "-", f"{edition.title}-{key}".lower()).strip("-")
    fields = {
        "author": f"{{{edition.authors}}}",
        "title": f"{{{title}}}",
        "booktitle": edition.title,
        "edition": f"version {edition.version}",
        "year": edition.year,
        "note": part,
        "url": url,
    }
    body = "".join(f"  {name:<9} = {{{value}}},\n" for name, value in fields.items() if value)
    bibtex = f"@incollection{{{key},\n{body}}}"
    where = f"In {edition.title}, version {edition.version}, {edition.year}."
    text = f"{edition.authors}. {part + ' of ' if part else ''}“{title}.” {where}"
    return bibtex, f"{text} {url}".strip()
