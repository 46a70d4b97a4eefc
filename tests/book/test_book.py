"""The book itself: what every lint has to say about it, and whether its recorded runs are well formed."""

import json
from pathlib import Path

import pytest

from attnlib.ledger.record import validate
from attnlib.publish import benchmarks, lint
from attnlib.publish.notebooks import notebook_paths

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shelf():
    return lint.Shelf.read(ROOT)


@pytest.mark.parametrize("check", lint.CHECKS, ids=lambda check: check.__name__)
def test_the_book_passes(shelf, check):
    assert list(check(shelf)) == []


def test_the_book_has_chapters():
    assert notebook_paths(ROOT)


@pytest.mark.parametrize("path", sorted((ROOT / "book/recorded").glob("*.json")), ids=lambda path: path.name)
def test_what_is_recorded_is_well_formed(path):
    check = benchmarks.validate if path.match(benchmarks.PATTERN) else validate
    check(json.loads(path.read_text(encoding="utf-8")))
