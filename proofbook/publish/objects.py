"""Claims and equations as things of their own: where each stands, what it rests on, how to cite it.

`Objects.claims` and `Objects.equations` are what ``claims.json`` and ``equations.json`` on the built site
hold, for others to use; ``schemas/claims.json`` and ``schemas/equations.json`` say what each key is. Claims
go by their IDs, equations by their labels: these stay in all editions, the number of an equation may not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode, urlsplit

from proofbook.names import claim_anchor
from proofbook.publish import graph
from proofbook.publish.address import Address
from proofbook.publish.book import Book
from proofbook.publish.citation import Edition, plain_text, reference

CLAIMS, EQUATIONS = "claims.json", "equations.json"
"""Their names on the built site; each has its schema beside it, as ``claims.schema.json``."""
CERTIFICATES = "certificates"
"""The folder of the site in which each equation has its statement, its certificates and its digest."""
ERRATA_VERDICTS = ("false", "needs correction", "holds under", "approximate")
"""The verdicts of what the errata list, the worst first."""


@dataclass(frozen=True)
class Object:
    """A claim or an equation: its key, where it stands, and how it came out.

    ``kind`` is that of the graph's node; ``state`` is a claim's verdict, or for an equation what it is shown
    as. ``record`` is what its cell left.
    """

    key: str
    kind: str
    page: str
    title: str
    anchor: str
    state: str
    basis: str
    record: dict[str, Any]

    @property
    def link(self) -> str:
        """Its place on the site."""
        return f"{self.page}.html#{self.anchor}"

    @property
    def tex(self) -> str:
        """Its formula, or for a claim its words with their formulas, as typed in LaTeX or Markdown."""
        if self.kind != "claim":
            return str(self.record["latex"])
        parts = [self.record["statement"]]
        parts += [
            f"{word.capitalize()}. {self.record[word]}"
            for word in ("condition", "correction")
            if self.record.get(word)
        ]
        return "\n\n".join(parts)


class Objects:
    """The claims and equations of a book, by key, and the graph they stand in."""

    def __init__(self, book: Book):
        self.book = book
        self.graph = graph.graph(book)
        self.nodes: dict[str, dict[str, Any]] = {node["id"]: node for node in self.graph["nodes"]}
        self.rests_on: dict[str, list[str]] = {}
        self.rest_on_it: dict[str, list[str]] = {}
        for edge in self.graph["edges"]:
            self.rests_on.setdefault(edge["from"], []).append(edge["to"])
            self.rest_on_it.setdefault(edge["to"], []).append(edge["from"])

    @cached_property
    def all(self) -> dict[str, Object]:
        """Every claim and equation, in reading order."""
        found: dict[str, Object] = {}
        for page in self.book.pages.values():
            title = plain_text(page.title)
            for equation in page.equations:
                key = equation["label"]
                node = self.nodes[key]
                basis = node.get("basis", node["kind"])
                state = {"proof": "proved", "both": "partly proved"}.get(basis, basis)
                anchor = f"equation-{key}"
                found[key] = Object(key, node["kind"], page.docname, title, anchor, state, basis, equation)
            for claim in page.claims:
                key, anchor = claim["id"], claim_anchor(claim["id"])
                basis = self.nodes[key]["basis"]
                found[key] = Object(key, "claim", page.docname, title, anchor, claim["verdict"], basis, claim)
        return found

    def claims(self) -> dict[str, Any]:
        """What ``claims.json`` holds."""
        entries = [
            {
                "id": one.key,
                "source": self.book.source_of(one.record),
                "statement": one.record["statement"],
                "verdict": one.record["verdict"],
                "condition": one.record.get("condition"),
                "correction": one.record.get("correction"),
                "basis": one.basis,
                "evidence": one.record["evidence"],
                **self._place(one),
            }
            for one in self.all.values()
            if one.kind == "claim"
        ]
        return {"schema": 1, "book": self._edition(), "claims": entries}

    def equations(self, numbers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What ``equations.json`` holds.

        Args:
            numbers: the number of each equation on its page, where the pages are known.
        """
        entries = [
            {
                "label": one.key,
                "kind": one.kind,
                "number": (numbers or {}).get(one.key),
                "latex": one.record["latex"],
                "basis": one.basis,
                "steps": [
                    {
                        "relation": step["relation"],
                        "latex": step["latex"],
                        "reason": step["reason"],
                        "strategy": step["strategy"],
                        "evidence": step.get("evidence"),
                    }
                    for step in one.record["steps"]
                ],
                "certificate": f"{CERTIFICATES}/{one.key}.json",
                "digest": one.record["digest"],
                **self._place(one),
            }
            for one in self.all.values()
            if one.kind != "claim"
        ]
        return {"schema": 1, "book": self._edition(), "equations": entries}

    def _place(self, one: Object) -> dict[str, Any]:
        site = self.book.address.site
        return {
            "page": one.page,
            "link": one.link,
            "url": f"{site}/{one.link}" if site else None,
            "rests_on": self.rests_on.get(one.key, []),
            "rest_on_it": self.rest_on_it.get(one.key, []),
        }

    def _edition(self) -> dict[str, Any]:
        edition = self.book.edition
        return {
            "title": edition.title,
            "authors": edition.authors,
            "version": edition.version,
            "date": edition.date,
            "licenses": list(edition.licenses),
        }


def citation(edition: Edition, address: Address, one: Object) -> tuple[str, str]:
    """BibTeX and plain text for one claim or equation, by its permanent name."""
    name = f"Claim {one.key}" if one.kind == "claim" else f"Equation {one.key}"
    url = f"{address.site}/{one.link}" if address.site else ""
    return reference(edition, key=one.key, title=one.title, part=name, url=url)


def report(edition: Edition, address: Address, one: Object) -> str:
    """The address of a new issue about a claim or an equation, filled in; empty without a repository."""
    if not address.repository:
        return ""
    where = f"{address.site}/{one.link}" if address.site else one.link
    title = f"{one.key}: "
    body = f"{where}\nVersion {edition.version} says: {one.state}.\n\nWhat is wrong, and how do you know?\n"
    if "gitlab" in (urlsplit(address.repository).hostname or ""):
        query = urlencode({"issue[title]": title, "issue[description]": body})
        return f"{address.repository}/-/issues/new?{query}"
    return f"{address.repository}/issues/new?{urlencode({'title': title, 'body': body})}"
