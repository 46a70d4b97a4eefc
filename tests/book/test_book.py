"""The book itself: what every lint has to say about it, and whether its recorded runs are well formed."""

import json
from pathlib import Path

import pytest

from attnlib.experiments import results
from attnlib.experiments.arms import ARMS
from attnlib.experiments.tables import Comparison
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


@pytest.mark.parametrize("path", sorted((ROOT / "book/recorded").glob("*.jsonl")), ids=lambda path: path.name)
def test_a_recorded_experiment_is_whole(path):
    entries = results.read(path)
    recorded = Comparison(entries)
    assert path.name == f"length-extrapolation-{recorded.configuration['preset']}.jsonl"
    arms = [arm.name for arm in ARMS if arm.training.name in recorded.configuration["trainings"]]
    for name in arms:
        assert recorded.scores(name).shape == (len(recorded.seeds), len(recorded.lengths))
    for training in recorded.configuration["trainings"]:
        hundreds = -(-recorded.configuration["steps"] // 100)
        assert recorded.losses(training).shape == (len(recorded.seeds), hundreds)
    cells = len(recorded.seeds) * len(recorded.lengths)
    assert len(entries) == len(arms) * cells + len(recorded.configuration["trainings"]) * len(recorded.seeds)
