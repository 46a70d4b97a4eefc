"""The code that pages show: cells that fit a screen, and names a reader need not wonder about."""

import ast
from pathlib import Path

import pytest

from proofbook.publish.book import Book
from proofbook.publish.notebooks import load

ROOT = Path(__file__).parents[2]
NOTEBOOKS = Book(ROOT).notebook_paths
LONGEST = 40  # lines


def code_cells(path: Path) -> list[tuple[str, str]]:
    cells = load(ROOT / path)["cells"]
    return [(cell["id"], cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_cell_is_longer_than_a_screen(path):
    lengths = {name: len(source.splitlines()) for name, source in code_cells(path)}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_name_dodges_another_with_an_underscore(path):
    dodging = set()
    for cell, source in code_cells(path):
        for node in ast.walk(ast.parse(source)):
            name = getattr(node, "id", getattr(node, "arg", None))
            if isinstance(name, str) and name.strip("_") and name.endswith("_"):
                dodging.add((cell, name))
    assert dodging == set()
