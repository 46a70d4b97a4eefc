"""The book itself: what every lint has to say about it, and whether its recorded runs are well formed."""

import json
from pathlib import Path

import pytest

from experiments import results
from experiments.arms import ARMS
from experiments.known_distances import RULES
from experiments.tables import Comparison
from proofbook.ledger import listed_claims
from proofbook.ledger.record import validate
from proofbook.publish import benchmarks, lint
from proofbook.publish.book import Book

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def book():
    return Book(ROOT)


@pytest.mark.parametrize("check", lint.CHECKS, ids=lambda check: check.__name__)
def test_the_book_passes(book, check):
    assert list(check(book)) == []


def test_every_list_of_claims_says_how_its_formulas_read():
    listed = listed_claims(ROOT / "book/claims")
    assert listed and all(one.formulas is not None for one in listed.values())


def test_the_book_has_chapters():
    assert Book(ROOT).notebook_paths


@pytest.mark.parametrize("path", sorted((ROOT / "book/recorded").glob("*.json")), ids=lambda path: path.name)
def test_what_is_recorded_is_well_formed(path):
    check = benchmarks.validate if path.match(benchmarks.PATTERN) else validate
    check(json.loads(path.read_text(encoding="utf-8")))


RECORDED = sorted((ROOT / "book/recorded").glob("length-extrapolation-*.jsonl"))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_a_recorded_experiment_is_whole(path):
    entries = results.read(path)
    recorded = Comparison(entries)
    trainings = recorded.configuration["trainings"]
    assert path.name == f"length-extrapolation-{recorded.configuration['preset']}.jsonl"
    arms = [arm.name for arm in ARMS if arm.training.name in trainings]
    for name in arms:
        assert recorded.scores(name).shape == (len(recorded.seeds), len(recorded.lengths))
    for training in trainings:
        hundreds = -(-recorded.configuration["steps"] // 100)
        assert recorded.losses(training).shape == (len(recorded.seeds), hundreds)
    assert len(entries) == len(recorded.seeds) * (len(arms) * len(recorded.lengths) + len(trainings))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_a_control_was_run_on_the_models_that_were_trained(path):
    trained = {str(e["seed"]): e["weights"] for e in results.read(path) if e.get("training") == "O"}
    entries = results.read(path.with_name(path.name.replace("length-extrapolation", "known-distances")))
    control = Comparison(entries)
    assert control.configuration["weights"] == trained
    for name in RULES:
        assert control.scores(name).shape == (len(control.seeds), len(control.lengths))
    assert len(entries) == len(RULES) * len(control.seeds) * len(control.lengths)


def test_nothing_else_is_recorded():
    names = {path.name.rsplit("-", 1)[0] for path in (ROOT / "book/recorded").glob("*.jsonl")}
    assert names <= {"length-extrapolation", "known-distances"}
