"""Figures to drag: their script and styles, and one of them on another page than that of its notebook."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from proofbook.publish.sphinx_ext.base import BookDirective
from proofbook.publish.sphinx_ext.html import HtmlOnly

logger = logging.getLogger(__name__)


def connect(app: Sphinx) -> None:
    """Put the script and the styles on every page: they are small, and do nothing where no figure is."""
    app.add_css_file("draggable.css")
    app.add_js_file("draggable.js", loading_method="defer")


class DraggableFigure(BookDirective):
    """A figure to drag that a notebook shows, by its name, on another page: ``{draggable} drag-hero``.

    A figure that no notebook shows is a warning, which stops a strict build.
    """

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        self.depend()
        for _, _, cell in self.book.code_cells():
            for output in cell.get("outputs", []):
                html: Any = output.get("data", {}).get("text/html", "")
                if html.startswith(f'<figure class="draggable" id="{name}">'):
                    return [HtmlOnly(html=html)]
        logger.warning("no notebook shows the figure %s", name, location=self.get_location())
        return []
