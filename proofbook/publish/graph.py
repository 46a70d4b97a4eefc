"""What rests on what: lemmas, equations, assumptions, claims and pages as one graph, drawn or searched."""

import re
from collections.abc import Iterable
from typing import Any

from proofbook.publish import proofs
from proofbook.publish.book import Book

FILE = "proof-graph.json"
"""Its name on the built site."""

_CITED = re.compile(r"\{eq\}`([^`]+)`")
_NAMED = re.compile(r"\{(?:eq|claim)\}`([^`<>]+)`")

PROOFS = ("proof", "remainder")
"""The kinds of evidence that are proofs."""


def graph(book: Book) -> dict[str, Any]:
    """The nodes and the edges; an edge goes from what rests to what it rests on.

    Equations rest on the equations that their proofs cite and on the kernel's lemmas that these were given;
    claims rest on the equations that their evidence names; a page rests on the claims and equations that its
    prose names.

    Args:
        book: with its stored or its executed outputs.

    Returns:
        ``nodes``: each with ``id``, ``kind`` (``equation``, ``definition``, ``assumption``, ``claim``,
        ``lemma`` or ``page``) and, where it is on a page, ``page``; of an equation how many ``steps`` it has
        and how many are ``proved``, of a claim its ``verdict``, of both their ``basis``, of a page its
        ``title``. ``edges``: each with ``from`` and ``to``.
    """
    nodes: dict[str, dict[str, Any]] = {}
    edges: dict[tuple[str, str], None] = {}
    steps = proofs.by_label(book)
    for page in book.pages.values():
        for equation in page.equations:
            label, lines = equation["label"], steps.get(equation["label"], [])
            node = {"id": label, "kind": kind(equation), "page": page.docname}
            if node["kind"] == "equation":
                node |= {"steps": len(lines), "proved": sum(line.proved for line in lines)}
                node["basis"] = basis(line.proved for line in lines)
            nodes[label] = node
            for line in equation["steps"]:
                edges |= {(label, cited): None for cited in line.get("cites", ())}
            edges |= {(label, f"lemma: {lemma}"): None for line in lines for lemma in line.lemmas}
        for claim in page.claims:
            nodes[claim["id"]] = {
                "id": claim["id"],
                "kind": "claim",
                "page": page.docname,
                "verdict": claim["verdict"],
                "basis": basis(evidence["kind"] in PROOFS for evidence in claim["evidence"]),
            }
            text = " ".join(str(evidence["text"]) for evidence in claim["evidence"])
            edges |= {(claim["id"], cited): None for cited in _CITED.findall(text)}
    for _, to in edges:
        if to not in nodes:
            nodes[to] = {"id": to, "kind": "lemma" if to.startswith("lemma: ") else "equation"}
    for path in book.paths:
        docname = path.with_suffix("").as_posix()
        named = [name for name in _NAMED.findall(book.prose(path)) if name in nodes]
        if named or book.page(docname):
            nodes[docname] = {"id": docname, "kind": "page", "page": docname, "title": book.title(path)}
            edges |= {(docname, name): None for name in named}
    return {
        "nodes": list(nodes.values()),
        "edges": [{"from": one, "to": other} for one, other in edges],
    }


def kind(equation: dict[str, Any]) -> str:
    """What an equation is shown as, by its first line."""
    strategy = equation["steps"][0]["strategy"]
    return strategy if strategy in ("definition", "assumption") else "equation"


def basis(proved: Iterable[bool]) -> str:
    """What something rests on, from what is proved among its parts: ``proof``, ``evidence`` or ``both``.

    >>> basis([True, True]), basis([True, False]), basis([])
    ('proof', 'both', 'evidence')
    """
    parts = set(proved)
    if parts == {True}:
        return "proof"
    return "both" if True in parts else "evidence"
