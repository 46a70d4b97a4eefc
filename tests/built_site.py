"""A small book in the real one's frame, and what is read off its built pages."""

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
FIXTURE = ROOT / "tests/book/fixtures/mini"


def lay_out(root: Path) -> Path:
    """The fixture's chapter in the real book's frame."""
    for name in ("_config.yml", "CITATION.cff", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    shutil.copytree(ROOT / "book" / "_static", root / "book" / "_static")
    for path in (ROOT / "book").iterdir():
        if path.suffix in (".md", ".yml", ".bib", ".toml") and path.name != "handwritten-formulas.yml":
            shutil.copy(path, root / "book")
    shutil.copytree(FIXTURE, root, dirs_exist_ok=True)
    return root


def read(html: Path, page: str) -> str:
    return (html / page).read_text(encoding="utf-8")


def text(html: str) -> str:
    """What a page says, without its markup."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())
