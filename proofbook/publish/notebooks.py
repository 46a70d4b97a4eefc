"""Read the book: its table of contents, its notebooks, and the records their outputs carry.

Everything here is plain JSON and YAML, so that asking what the book contains needs neither Jupyter nor torch.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

CLAIM_MIME = "application/vnd.proofbook.claim+json"
EQUATION_MIME = "application/vnd.proofbook.equation+json"
VERDICTS = ("holds", "holds under", "approximate", "needs correction", "false", "empirical", "open")


class BookError(Exception):
    """Something in the book's files is not as it must be; the message says which file and what."""


def pages(root: Path) -> list[Path]:
    """Every page of ``_toc.yml``, in reading order, as paths relative to `root`.

    An entry that names no file, or a file twice, raises: a chapter that silently drops out is worse than a
    failed build.
    """
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    names: list[str] = []

    def collect(node):
        if isinstance(node, dict):
            for key, value in node.items():
                if key in ("root", "file"):
                    names.append(value)
                elif isinstance(value, list):
                    collect(value)
        elif isinstance(node, list):
            for item in node:
                collect(item)

    collect(toc)
    found = []
    for name in names:
        if names.count(name) > 1:
            raise BookError(f"_toc.yml lists {name} twice")
        for suffix in ("", ".ipynb", ".md"):
            path = root / f"{name}{suffix}"
            if path.is_file():
                found.append(path.relative_to(root))
                break
        else:
            raise BookError(f"_toc.yml lists {name}, but there is no {name}.ipynb and no {name}.md")
    return found


def notebook_paths(root: Path) -> list[Path]:
    """The notebooks of ``_toc.yml`` in reading order, relative to `root`."""
    return [page for page in pages(root) if page.suffix == ".ipynb"]


def load(path: Path) -> dict:
    """One notebook as plain data, with every multi-line string joined."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise BookError(f"{path} is not a notebook: {error}") from error
    for cell in notebook.get("cells", []):
        cell["source"] = _joined(cell["source"])
        for output in cell.get("outputs", []):
            if "text" in output:
                output["text"] = _joined(output["text"])
            for mime, value in output.get("data", {}).items():
                if not mime.endswith("+json"):
                    output["data"][mime] = _joined(value)
    return notebook


def _joined(text):
    return "".join(text) if isinstance(text, list) else text


@dataclass
class Page:
    """What one chapter holds: its card, and the records its code cells left in their outputs."""

    docname: str
    title: str
    card: dict | None
    claims: list[dict] = field(default_factory=list)
    equations: list[dict] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)


def read_page(path: Path, docname: str) -> Page:
    """Card and records of one notebook."""
    notebook = load(path)
    markdown = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    page = Page(docname, _title(markdown) or docname, _card(markdown, path))
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        name = cell.get("metadata", {}).get("mystnb", {}).get("figure", {}).get("name")
        if name:
            page.figures.append(name)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if CLAIM_MIME in data:
                page.claims.append(data[CLAIM_MIME])
            if EQUATION_MIME in data:
                page.equations.append(data[EQUATION_MIME])
    return page


_CARD = re.compile(
    r"^(?P<fence>`{3,}|:{3,})\{chapter-card\}[ \t]*\n(?P<body>.*?)^(?P=fence)\s*$", re.M | re.S
)


def _card(markdown: list[str], path: Path) -> dict | None:
    for source in markdown:
        match = _CARD.search(source)
        if match:
            return parse_card(match["body"], str(path))
    return None


CARD_KEYS = {"article", "title_zh", "title_en", "date", "link", "verdict", "can"}


def parse_card(body: str, where: str) -> dict:
    """The YAML of a ``{chapter-card}``, checked: every key known, the ones a reader needs present.

    >>> parse_card("verdict: One F explains all.\\ncan: [read entropy off F]", "spine")["can"]
    ['read entropy off F']
    """
    try:
        card = yaml.safe_load(body)
    except yaml.YAMLError as error:
        raise BookError(f"{where}: the chapter card is not YAML: {error}") from error
    if not isinstance(card, dict):
        raise BookError(f"{where}: the chapter card is not a mapping")
    unknown = set(card) - CARD_KEYS
    if unknown:
        raise BookError(f"{where}: the chapter card has unknown keys {sorted(unknown)}")
    required = ["verdict", "can"] + (["title_zh", "title_en", "date", "link"] if card.get("article") else [])
    missing = [key for key in required if not card.get(key)]
    if missing:
        raise BookError(f"{where}: the chapter card lacks {missing}")
    if not isinstance(card["can"], list):
        raise BookError(f"{where}: 'can' in the chapter card must be a list")
    return {key: str(value) if key != "can" else [str(v) for v in value] for key, value in card.items()}


def _title(markdown: list[str]) -> str | None:
    for source in markdown:
        for line in source.splitlines():
            if line.startswith("# "):
                return line[2:].strip()
    return None
