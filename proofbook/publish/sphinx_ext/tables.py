"""Cells that know their column's heading, which a narrow page shows beside them (see proofbook.css)."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator


def connect(app: Sphinx) -> None:
    """Give every cell of a table its column's heading."""
    app.add_node(nodes.entry, override=True, html=(_visit_entry, HTML5Translator.depart_entry))


def headings(table: nodes.Element) -> list[str]:
    """The headings of a table's columns, as text; one that spans columns stands for each of them."""
    found: list[str] = []
    for head in table.findall(nodes.thead):
        for entry in head.findall(nodes.entry):
            found += [" ".join(entry.astext().split())] * (entry.get("morecols", 0) + 1)
        break
    return found


def _visit_entry(self: Any, node: nodes.entry) -> None:
    begin = len(self.body)
    HTML5Translator.visit_entry(self, node)
    label = _label(node)
    if label:
        cell = self.body[begin]
        self.body[begin] = cell.replace("<td", f'<td data-label="{self.attval(label)}"', 1)


def _label(node: nodes.entry) -> str:
    """The heading of a cell's column; none for a heading, or for a cell that spans columns."""
    row: Any = node.parent
    if not isinstance(row.parent, nodes.tbody) or node.get("morecols"):
        return ""
    column = 0
    for entry in row.findall(nodes.entry):
        if entry is node:
            break
        column += entry.get("morecols", 0) + 1
    named = headings(row.parent.parent.parent)
    return named[column] if column < len(named) else ""
