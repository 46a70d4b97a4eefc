"""What rests on what: lemmas, equations, assumptions and claims as one graph, to be drawn or searched."""

import re
from typing import Any

from proofbook.publish import proofs
from proofbook.publish.book import Book

FILE = "proof-graph.json"
"""Its name on the built site."""

_CITED = re.compile(r"\{eq\}`([^`]+)`")


def graph(book: Book) -> dict[str, Any]:
    """The nodes and the edges; an edge goes from what rests to what it rests on.

    Equations rest on the equations that their proofs cite and on the kernel's lemmas that these were given;
    claims rest on the equations that their evidence names.

    Args:
        book: with its stored or its executed outputs.

    Returns:
        ``nodes``: each with ``id``, ``kind`` (``equation``, ``definition``, ``assumption``, ``claim`` or
        ``lemma``) and, where it is on a page, ``page``; of an equation how many ``steps`` it has and how many
        are ``proved``, of a claim its ``verdict``. ``edges``: each with ``from`` and ``to``.
    """
    nodes: dict[str, dict[str, Any]] = {}
    edges: dict[tuple[str, str], None] = {}
    steps = proofs.by_label(book)
    for page in book.pages.values():
        for equation in page.equations:
            label, lines = equation["label"], steps.get(equation["label"], [])
            node = {"id": label, "kind": _kind(equation), "page": page.docname}
            if node["kind"] == "equation":
                node |= {"steps": len(lines), "proved": sum(line.proved for line in lines)}
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
            }
            text = " ".join(str(evidence["text"]) for evidence in claim["evidence"])
            edges |= {(claim["id"], cited): None for cited in _CITED.findall(text)}
    for _, to in edges:
        if to not in nodes:
            nodes[to] = {"id": to, "kind": "lemma" if to.startswith("lemma: ") else "equation"}
    return {
        "nodes": list(nodes.values()),
        "edges": [{"from": one, "to": other} for one, other in edges],
    }


def _kind(equation: dict[str, Any]) -> str:
    """What an equation is shown as, by its first line."""
    strategy = equation["steps"][0]["strategy"]
    return strategy if strategy in ("definition", "assumption") else "equation"
