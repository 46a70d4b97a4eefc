"""Recorded experiments on the site: made with what, how much they hold, whether of the present code."""

import json

import pytest
from built_site import build_by_command, lay_out, read, text

from experiments import length_extrapolation
from experiments.presets import PRESETS
from experiments.sources import code_digest

ENVIRONMENT = {
    "device": "cpu",
    "device_name": "A processor of two cores",
    "driver": None,
    "versions": {"python": "3.11.7", "torch": "2.13.0"},
    "date": "2026-11-22",
    "commit": "a" * 40,
    "modified": False,
}


def write(path, digest, carried=None, **changes):
    """A record of one training of an hour and a score, made in an environment with ``changes``."""
    preset = PRESETS["cpu"]
    common = {
        "schema": 2,
        "seed": 0,
        "module": length_extrapolation.MODULE,
        "digest": digest,
        **({"carried_from": carried} if carried else {}),
        "configuration": {"preset": "cpu", **preset.as_dict(), "corpus": "b" * 64},
        "environment": ENVIRONMENT | changes,
    }
    entries = [
        {
            **common,
            "kind": "training",
            "training": "O",
            "losses": [1.0],
            "weights": "c" * 64,
            "seconds": 3725.0,
        },
        {
            **common,
            "kind": "score",
            "arm": "O",
            "length": 64,
            "accuracy": 0.5,
            "loss": 1.0,
            "tokens": 10,
            "inside": {},
        },
    ]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    root = lay_out(tmp_path_factory.mktemp("experiment"))
    recorded = root / "book/recorded"
    recorded.mkdir()
    write(
        recorded / "length-extrapolation-cpu.jsonl",
        code_digest(length_extrapolation.MODULE),
        {"commit": "9" * 40, "digest": "8" * 64, "date": "2026-11-26", "how": "the same <b>trees</b>"},
    )
    write(
        recorded / "length-extrapolation-gpu.jsonl",
        "0" * 64,
        device="cuda",
        device_name="A card",
        modified=True,
    )
    return read(build_by_command(root), "book/recorded-runs.html")


def test_an_experiment_names_what_it_was_made_with(shown):
    for fact in (
        "Experiment : length-extrapolation Preset : cpu",
        "Device : A processor of two cores",
        "Scores : 1",
        "Training took : 1 h 2 min",
        f"Models trained : 1, each for {PRESETS['cpu'].steps:,} steps of {PRESETS['cpu'].batch} windows",
        "Text : bbbbbbbbbbbb",
        "Sources : 000000000000",
    ):
        assert fact in text(shown)


def test_an_experiment_made_with_other_sources_is_marked_stale(shown):
    current, stale = shown.split("A card")
    assert 'class="current"' in current and 'class="stale"' in current + stale
    assert "Carried over : 2026-11-26, from 999999999999: the same &lt;b&gt;trees&lt;/b&gt;" in text(current)
    assert "the code of experiments.length_extrapolation has changed since this run" in text(shown)
    assert shown.count('class="current"') == 1 and shown.count('class="stale"') == 1
    assert "with local changes" in stale
