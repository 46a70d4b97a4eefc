"""Where each thing of the graph is drawn: computed once, when the site is built, and the same each time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

WIDTH = 1000
CELL = 26
"""The side of the square that one thing takes."""
TITLE = 26
"""The height of a band's title."""
GAP = 14
"""The space between two bands."""


@dataclass(frozen=True)
class Band:
    """What stands under one title: the place of the title, and of each thing by its key."""

    title: str
    key: str
    y: float
    places: dict[str, tuple[float, float]]


def bands(graph: dict[str, Any]) -> Iterator[Band]:
    """The graph as bands, one below the other: the lemmas, then each page with its equations and its claims.

    In a band things stand in the order in which they are read, from left to right: equations, and claims on
    lines of their own below them. A page that shows nothing of its own is a band without things.

    Args:
        graph: as `proofbook.publish.graph.graph` makes it.
    """
    nodes = graph["nodes"]
    y = 0.0
    lemmas = [node["id"] for node in nodes if node["kind"] == "lemma"]
    pages = [(node["title"], node["id"], _of(nodes, node["id"])) for node in nodes if node["kind"] == "page"]
    for title, key, groups in [("Lemmas of the checker", "", [lemmas]), *pages]:
        if not key and not lemmas:
            continue
        places: dict[str, tuple[float, float]] = {}
        below = y + TITLE
        for group in groups:
            for number, name in enumerate(group):
                line, column = divmod(number, WIDTH // CELL)
                places[name] = (CELL * (column + 0.5), below + CELL * (line + 0.5))
            below += CELL * -(-len(group) // (WIDTH // CELL))
        yield Band(title, key, y, places)
        y = below + GAP


def _of(nodes: list[dict[str, Any]], page: str) -> list[list[str]]:
    """The equations and the claims of a page."""
    here = [node for node in nodes if node.get("page") == page and node["kind"] != "page"]
    claims = [node["id"] for node in here if node["kind"] == "claim"]
    return [[node["id"] for node in here if node["kind"] != "claim"], claims]


def height(found: list[Band]) -> float:
    """The height of the whole drawing."""
    if not found:
        return 0.0
    last = found[-1]
    return max([last.y + TITLE, *(y + CELL / 2 for _, y in last.places.values())])


def line(start: tuple[float, float], end: tuple[float, float]) -> str:
    """The path of an edge, as SVG has it: a curve that bends away from what stands between its ends.

    >>> line((0, 0), (0, 100))
    'M0 0Q30 50 0 100'
    """
    (x1, y1), (x2, y2) = start, end
    along = abs(y2 - y1) < 1
    bend = max(-30.0, min(30.0, 30 - 0.1 * abs(x2 - x1)))
    middle = (
        (x1 + x2) / 2 + (0 if along else bend),
        (y1 + y2) / 2 - (min(40, abs(x2 - x1) / 3) if along else 0),
    )
    return f"M{x1:g} {y1:g}Q{middle[0]:g} {middle[1]:g} {x2:g} {y2:g}"
