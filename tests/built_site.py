"""A small book in the real one's frame, and what is read off its built pages."""

import contextlib
import io
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

from proofbook.publish import site
from proofbook.publish.book import Book

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
    here = {claim["id"] for claim in Book(root).claims}
    pages = {path.stem for path in Book(root).paths}
    for path in (root / "book").glob("*.md"):  # the real pages speak of chapters that are not here
        prose = path.read_text(encoding="utf-8")
        prose = re.sub(r"\{claim\}`(.+?)`", lambda found: found[found[1] not in here], prose)
        prose = re.sub(r"\{doc\}`([^`<]+?) *<(.+?)>`", lambda found: found[found[2] not in pages], prose)
        prose = re.sub(r"^```\{(?:draggable|measured)\}.*\n```$", "", prose, flags=re.M)
        path.write_text(prose, encoding="utf-8")
    return root


def build_here(root: Path, **options) -> Path:
    """The site from stored outputs, built in this process; nothing may be said on stderr."""
    error = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stderr(error):
        warnings.simplefilter("ignore")  # of the imports; Sphinx's own warnings are on stderr
        front = site.build(root, executed=False, **options)
    assert error.getvalue() == ""
    return front.parent


def build_by_command(root: Path) -> Path:
    """The site from stored outputs, built strictly as a reader builds it; nothing may be said on stderr."""
    command = [sys.executable, "-m", "proofbook", "--root", str(root), "build", "--stored", "--strict"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and done.stderr == "", done.stdout + done.stderr
    return root / "_build/strict/_build/html"


def read(html: Path, page: str) -> str:
    return (html / page).read_text(encoding="utf-8")


def text(html: str) -> str:
    """What a page says, without its markup."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())
