"""Recorded results laid flat: in the order of the configuration, and never with a hole that does not show."""

import numpy as np
import pytest
from scipy import stats

from experiments.errors import ExperimentError
from experiments.tables import Comparison, half_width

SEEDS, LENGTHS = [2, 0, 1], [64, 128]


def entries() -> list[dict]:
    """An arm whose accuracy is seed + length / 1000, shuffled."""
    common = {"configuration": {"seeds": SEEDS, "lengths": LENGTHS}, "environment": {"device": "cpu"}}
    trainings = [
        {
            **common,
            "kind": "training",
            "training": "O",
            "seed": seed,
            "losses": [6.0, 5.0 - seed],
            "weights": f"w{seed}",
            "seconds": 10.0 + seed,
        }
        for seed in sorted(SEEDS)
    ]
    scores = [
        {
            **common,
            "kind": "score",
            "arm": "O",
            "seed": seed,
            "length": n,
            "accuracy": seed + n / 1000,
            "loss": n + seed,
            "inside": {"std": [[seed, n], [1.0, None]]},
        }
        for n in LENGTHS
        for seed in sorted(SEEDS)
    ]
    return [*scores[::-1], *trainings]


def test_fields_lie_in_the_order_of_the_configuration():
    run = Comparison(entries())
    assert (run.seeds, run.lengths, run.environment) == (SEEDS, LENGTHS, {"device": "cpu"})
    assert run.scores("O").tolist() == [[seed + n / 1000 for n in LENGTHS] for seed in SEEDS]
    assert run.scores("O", "loss").tolist() == [[n + seed for n in LENGTHS] for seed in SEEDS]
    assert run.losses("O").tolist() == [[6.0, 5.0 - seed] for seed in SEEDS]
    assert run.seconds("O").tolist() == [12.0, 10.0, 11.0]
    assert run.weights("O", 1) == "w1"


def test_what_could_not_be_measured_is_nan():
    inside = Comparison(entries()).inside("O", "std")
    assert inside.shape == (3, 2, 2, 2) and inside.dtype == float
    assert np.isnan(inside[:, :, 1, 1]).all() and np.isfinite(inside[:, :, 0]).all()
    assert inside[:, 1, 0].tolist() == [[seed, 128] for seed in SEEDS]


def test_what_was_not_recorded_is_refused():
    without = [e for e in entries() if not (e["seed"] == 1 and e.get("length", 128) == 128)]
    run = Comparison(without)
    for ask in (run.scores, lambda name: run.inside(name, "std")):
        with pytest.raises(ExperimentError, match="no result of O with seed 1 at length 128 was recorded"):
            ask("O")
        with pytest.raises(ExperimentError, match="no result of E with seed 2 at length 64 was recorded"):
            ask("E")
    for ask in (run.losses, run.seconds, lambda name: run.weights(name, 1)):
        with pytest.raises(ExperimentError, match="no training O with seed 1 was recorded"):
            ask("O")
    with pytest.raises(ExperimentError, match="no results to compare"):
        Comparison([])


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("count", [2, 3, 10])
def test_half_width_is_that_of_students_interval(count, confidence):
    samples = np.random.default_rng(count).normal(size=(count, 4))
    low, high = stats.t.interval(confidence, count - 1, samples.mean(0), stats.sem(samples))
    np.testing.assert_allclose(half_width(samples, confidence=confidence), (high - low) / 2, rtol=1e-12)


def test_one_seed_has_no_interval():
    with pytest.raises(ExperimentError, match="two seeds or more, got 1"):
        half_width(np.ones((1, 3)))
