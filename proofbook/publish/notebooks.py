"""Notebooks as plain JSON: their cells, and the records that their outputs carry.

Asking what a book contains needs neither Jupyter nor what the chapters import.
"""

import importlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from proofbook.names import CLAIM_MIME, EQUATION_MIME, NUMBERS_MIME
from proofbook.settings import Sources

__all__ = [
    "CARD",
    "BookError",
    "Notebook",
    "Page",
    "code_of",
    "first_heading",
    "jupyter_format",
    "load",
    "parse",
    "parse_card",
    "read_page",
    "shown_texts",
]

Notebook = dict[str, Any]


class BookError(Exception):
    """Something in the book's files is not as it must be; the message says which file and what."""


def load(path: Path) -> Notebook:
    """One notebook as plain data, with every multi-line string joined.

    Args:
        path: The file.

    Returns:
        The notebook, of format 4, with its list of cells.

    Raises:
        BookError: the file cannot be read, or is no such notebook; the message names it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BookError(f"{path} cannot be read: {error.strerror}") from error
    return parse(content, path)


def parse(content: bytes, path: Path) -> Notebook:
    """The notebook that a file's `content` is, as `load` gives it; `path` is for messages."""
    try:
        notebook: Notebook = json.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BookError(f"{path} is not a notebook: it is not UTF-8 ({error.reason})") from error
    except json.JSONDecodeError as error:
        raise BookError(f"{path} is not a notebook: {error}") from error
    if problem := _not_a_notebook(notebook):
        raise BookError(f"{path} is not a notebook of format 4: {problem}")
    for cell in notebook["cells"]:
        cell["source"] = _joined(cell["source"])
        for output in cell.get("outputs", []):
            if "text" in output:
                output["text"] = _joined(output["text"])
            for mime, value in output.get("data", {}).items():
                if not mime.endswith("+json"):
                    output["data"][mime] = _joined(value)
    return notebook


def _not_a_notebook(notebook: Any) -> str | None:
    """What keeps JSON from being a notebook that can be run and shown; None where nothing does."""
    if not isinstance(notebook, dict):
        return "it holds no mapping"
    if notebook.get("nbformat") != 4:
        return f"nbformat is {notebook.get('nbformat')!r}"
    cells = notebook.get("cells")
    if not isinstance(cells, list) or not cells:
        return "it has no cells"
    for number, cell in enumerate(cells):
        if not isinstance(cell, dict) or not {"cell_type", "source"} <= set(cell):
            return f"cell {number} has no cell_type or no source"
        if not isinstance(cell["source"], (str, list)):
            return f"the source of cell {number} is no text"
        if not isinstance(cell.get("outputs", []), list) or not isinstance(cell.get("metadata", {}), dict):
            return f"the outputs or the metadata of cell {number} have another form"
    return None


def _joined(text: Any) -> Any:
    return "".join(text) if isinstance(text, list) else text


def jupyter_format() -> Any:
    """Jupyter's own library of the format, for what is run or written: imported when asked for, untyped."""
    return importlib.import_module("nbformat")


def code_of(notebook: Notebook) -> list[dict[str, Any]]:
    """The code cells of a notebook, in order."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def shown_texts(notebook: Notebook) -> Iterator[tuple[dict[str, Any], str]]:
    """Every text of a notebook that was typed for readers: the mapping that holds it, and its key there.

    Markdown, and of the figures the captions and the texts for those who cannot see them.
    """
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            yield cell, "source"
        shown = cell.get("metadata", {}).get("mystnb", {})
        for part, key in (("figure", "caption"), ("image", "alt")):
            if key in shown.get(part, {}):
                yield shown[part], key


@dataclass
class Page:
    """What one chapter holds: its card, and the records its code cells left in their outputs."""

    docname: str
    title: str
    card: dict[str, Any] | None
    claims: list[dict[str, Any]] = field(default_factory=list)
    equations: list[dict[str, Any]] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)
    numbers: dict[str, str] = field(default_factory=dict)

    @property
    def anchors(self) -> list[str]:
        """The names on the page that a reader may link to."""
        return (
            [claim["anchor"] for claim in self.claims]
            + [f"equation-{equation['label']}" for equation in self.equations]
            + self.figures
        )


def read_page(notebook: Notebook, docname: str, sources: Sources | None = None) -> Page:
    """Card and records of one notebook, which is the page `docname` of a book with such `sources`."""
    markdown = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    page = Page(
        docname, first_heading("\n".join(markdown)) or docname, _card(markdown, docname, sources or Sources())
    )
    for cell in code_of(notebook):
        name = cell.get("metadata", {}).get("mystnb", {}).get("figure", {}).get("name")
        if name:
            page.figures.append(name)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if CLAIM_MIME in data:
                page.claims.append(data[CLAIM_MIME])
            if EQUATION_MIME in data:
                page.equations.append(data[EQUATION_MIME])
            if NUMBERS_MIME in data:
                named = data[NUMBERS_MIME]["numbers"]
                if twice := sorted(set(named) & set(page.numbers)):
                    raise BookError(f"{docname}: two cells fill in {', '.join(twice)}")
                page.numbers.update(named)
    return page


CARD = re.compile(r"^(?P<fence>`{3,}|:{3,})\{chapter-card\}[ \t]*\n(?P<body>.*?)^(?P=fence)\s*$", re.M | re.S)


def _card(markdown: list[str], where: str, sources: Sources) -> dict[str, Any] | None:
    for source in markdown:
        match = CARD.search(source)
        if match:
            return parse_card(match["body"], where, sources)
    return None


def parse_card(body: str, where: str, sources: Sources | None = None) -> dict[str, Any]:
    """The YAML of a ``{chapter-card}``, checked: every key known, the ones a reader needs present.

    Args:
        body: The lines of the directive.
        where: The page, for messages.
        sources: What the book calls its sources; the card of a chapter on one names it, and its titles,
            by these keys.

    Returns:
        The card; every value is a text, that of ``can`` a list of texts.

    Raises:
        BookError: it is no mapping, or has other keys than a card may have, or too few.

    >>> parse_card("verdict: One F explains all.\\ncan: [read entropy off F]", "spine")["can"]
    ['read entropy off F']
    """
    sources = sources or Sources()
    try:
        card = yaml.safe_load(body)
    except yaml.YAMLError as error:
        raise BookError(f"{where}: the chapter card is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(card, dict):
        raise BookError(f"{where}: the chapter card is not a mapping")
    of_source = [*filter(None, [sources.original]), sources.title, "date", "link"]
    unknown = set(card) - {sources.one, *of_source, "verdict", "can"}
    if unknown:
        raise BookError(f"{where}: the chapter card has unknown keys {sorted(map(str, unknown))}")
    required = ["verdict", "can"] + (of_source if card.get(sources.one) else [])
    missing = [key for key in required if not card.get(key)]
    if missing:
        raise BookError(f"{where}: the chapter card lacks {missing}")
    if not isinstance(card["can"], list):
        raise BookError(f"{where}: 'can' in the chapter card must be a list")
    return {key: str(value) if key != "can" else [str(v) for v in value] for key, value in card.items()}


def first_heading(markdown: str) -> str | None:
    """The first heading of the highest level in a text, as it was written; None where there is none."""
    return next((line[2:].strip() for line in markdown.splitlines() if line.startswith("# ")), None)
