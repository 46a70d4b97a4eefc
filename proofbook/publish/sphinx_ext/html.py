"""Pieces of a page that are made as HTML, and are no part of its text: no search finds them."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx


class HtmlOnly(nodes.Element):
    """HTML that was made for one place of one page, in ``html``; other builders leave it out."""


def connect(app: Sphinx) -> None:
    """Let every writer know the node."""
    app.add_node(
        HtmlOnly,
        html=(_visit, _depart),
        latex=(_skip, None),
        text=(_skip, None),
        man=(_skip, None),
        texinfo=(_skip, None),
    )


def _visit(self: Any, node: HtmlOnly) -> None:
    self.body.append(node["html"])


def _depart(self: Any, node: HtmlOnly) -> None:
    pass


def _skip(self: Any, node: HtmlOnly) -> None:
    raise nodes.SkipNode
