"""What chapters share: a seed fixes the samples that their outputs were made from, and errors are errors."""

import contextlib
import io

import numpy as np
import pytest
import torch
from scipy import stats

from experiments import samples
from experiments.samples import (
    cosines,
    error_bars,
    float64,
    mean_and_error,
    needle,
    normal,
    rank_correlation,
    row,
    slope,
    slope_weights,
    uniform,
    z_score,
    zen,
)


@pytest.mark.parametrize(("draw", "by_torch"), [(normal, torch.randn), (uniform, torch.rand)])
def test_a_seed_fixes_the_numbers_and_a_generator_goes_on(draw, by_torch):
    generator = torch.Generator().manual_seed(7)
    expected = [by_torch(3, 5, generator=generator, dtype=torch.float64) for _ in range(2)]
    assert torch.equal(draw(3, 5, seed=7), expected[0])
    running = torch.Generator().manual_seed(7)
    for wanted in expected:
        assert torch.equal(draw(3, 5, seed=running), wanted)
    assert draw(2, seed=1, dtype=torch.float32).dtype == torch.float32


def test_everything_lands_on_the_device_of_the_checks(monkeypatch):
    monkeypatch.setattr(samples, "device", lambda: torch.device("meta"))
    made = [row(1, 2), needle(3), normal(2, seed=0), uniform(2, seed=0), cosines(4, 8, 2, seed=0)]
    assert all(one.device.type == "meta" and one.dtype == torch.float64 for one in made)
    assert torch.empty(1, **float64()).device.type == "meta"


@pytest.mark.parametrize("dimension", [2, 3, 64])
def test_cosines_follow_the_law_of_random_directions(dimension):
    drawn = cosines(2000, dimension, 10, seed=3)
    assert drawn.shape == (10, 2000)
    beta = stats.beta((dimension - 1) / 2, (dimension - 1) / 2, loc=-1, scale=2)
    assert stats.kstest(drawn.flatten().numpy(), beta.cdf).pvalue > 1e-3
    generator = torch.Generator().manual_seed(3)
    vectors = torch.randn(20000, dimension, generator=generator, dtype=torch.float64)
    by_vectors = torch.nn.functional.normalize(vectors, dim=-1)[:, 0]
    assert stats.ks_2samp(drawn.flatten(), by_vectors).pvalue > 1e-3


def test_a_needle_is_one_entry():
    assert needle(5, -2.0).tolist() == [-2.0, 0, 0, 0, 0]


def test_the_zen_is_the_text_that_python_prints():
    zen.cache_clear()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        text = zen()
    assert printed.getvalue() == ""
    assert text.startswith("The Zen of Python, by Tim Peters\n")
    assert text.endswith("let's do more of those!")
    assert len(text.split()) == 144


def test_the_error_of_a_mean_is_that_of_independent_values():
    values = normal(4, 25, seed=5)
    mean, error = mean_and_error(values)
    assert mean == pytest.approx(values.numpy().mean())
    assert error == pytest.approx(stats.sem(values.numpy().ravel()))
    means, bars = error_bars([values, values + 1])
    assert means == pytest.approx([mean, mean + 1]) and bars == pytest.approx([2 * error] * 2)
    assert z_score(values, mean - 3 * error) == pytest.approx(3)
    assert z_score(values, mean + 3 * error) == pytest.approx(3)


def test_slopes_are_those_of_numpy_and_so_is_their_error():
    x = np.array([0.0, 1.0, 4.0, 5.0])
    y = np.random.default_rng(0).standard_normal((4, 3))
    assert slope(x, y) == pytest.approx(np.polyfit(x, y, 1)[0])
    assert slope(x, torch.from_numpy(y)) == pytest.approx(slope(x, y))
    errors = np.array([0.1, 0.2, 0.3, 0.4])
    drawn = y[:, :1] + errors[:, None] * np.random.default_rng(1).standard_normal((4, 20000))
    expected = np.sqrt(slope_weights(x) ** 2 @ errors**2)
    assert slope(x, drawn).std() == pytest.approx(expected, rel=0.03)


def test_rank_correlation_sees_order_alone():
    first = np.random.default_rng(2).random((6, 2))
    assert rank_correlation(first, np.exp(9 * first)) == pytest.approx(1)
    assert rank_correlation(first, torch.from_numpy(-first)) == pytest.approx(-1)
    assert rank_correlation([1, 2, 3], [1, 3, 2]) == pytest.approx(0.5)
