import math
from itertools import product

import mpmath as mp
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlib.errors import InvalidArgument
from attnlib.theory import bounded

EPS = torch.finfo(torch.float64).eps


def deficit(tau):
    span = 2 / mp.mpf(tau)
    u = span / (1 - mp.exp(-span))
    return u - 1 - mp.log(u)


def entropy(scores):
    scores = torch.as_tensor(scores, dtype=torch.float64)
    log_p = torch.log_softmax(scores, -1)
    return float(-(log_p.exp() * log_p).sum())


@pytest.mark.parametrize("tau", [1e-300, 1e-3, 0.01, 0.1, 0.5, 1.0, 1.9, 2.0, 2.1, 5.0, 100.0, 1e6, 1e150])
def test_deficit_and_fraction_against_mpmath(tau):
    with mp.workdps(500):
        expected = deficit(tau)
        span = 2 / mp.mpf(tau)
        fraction = (span / (1 - mp.exp(-span)) - 1) / mp.expm1(span)
    assert abs((float(bounded.entropy_deficit(tau)) - expected) / expected) < 6 * EPS
    got = float(bounded.top_fraction(tau))
    # exp(-L) carries the rounding of L, and is 0 in float64 for L above 745
    assert abs(got - fraction) <= (8 + float(span)) * EPS * fraction if span < 700 else got < 1e-300


def test_published_constants():
    assert abs(float(bounded.entropy_deficit(1.0)) - 0.474474647070526937) < EPS
    assert round(float(bounded.top_fraction(1.0)), 5) == 0.20551
    assert round(float(bounded.min_entropy(512, 1.0)), 9) == 5.763850701
    assert round(math.log(512) - float(bounded.two_valued_entropy(512, 1, 1.0)), 4) == 0.0161
    assert round(512 * (math.log(512) - float(bounded.two_valued_entropy(512, 1, 1.0))), 1) == 8.2
    large = 10**7 * (math.log(10**7) - float(bounded.two_valued_entropy(10**7, 1, 1.0)))
    assert round(large, 3) == 8.389


@pytest.mark.parametrize("n", [1, 2, 3, 7])
@pytest.mark.parametrize("tau", [0.2, 1.0, 3.0])
def test_no_grid_of_scores_goes_lower(n, tau):
    grid = torch.linspace(-1 / tau, 1 / tau, 3 if n == 7 else 7, dtype=torch.float64).tolist()
    least = min(entropy(scores) for scores in product(grid, repeat=n) if list(scores) == sorted(scores))
    assert float(bounded.min_entropy(n, tau)) == pytest.approx(least, abs=1e-13)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(n=st.integers(2, 400), tau=st.floats(0.05, 20.0), seed=st.integers(0, 1000))
def test_min_entropy_is_best_over_all_counts_and_above_the_bound(n, tau, seed):
    counts = torch.arange(1, n)
    every = bounded.two_valued_entropy(n, counts, tau)
    least = float(bounded.min_entropy(n, tau))
    assert least == pytest.approx(float(every.min()), abs=1e-13)
    assert least >= math.log(n) - float(bounded.entropy_deficit(tau)) - 1e-13
    scores = (2 * torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1) / tau
    assert entropy(scores) >= least - 1e-12


@pytest.mark.parametrize("n, m, tau", [(5, 2, 1.0), (64, 1, 0.05), (9, 0, 1.0), (9, 9, 1.0), (1, 1, 0.5)])
def test_two_valued_entropy_is_that_of_the_row(n, m, tau):
    scores = [1 / tau] * m + [-1 / tau] * (n - m)
    assert float(bounded.two_valued_entropy(n, m, tau)) == pytest.approx(entropy(scores), abs=1e-14)


def test_bound_is_sharp_as_n_grows():
    # a whole m misses the best fraction by at most 1 / (2 n), where the curvature is ((e^L - 1) / u)^2, L = 4
    curvature = ((math.exp(4) - 1) * (1 - math.exp(-4)) / 4) ** 2
    for n in (500, 5000, 50000):
        gap = float(bounded.entropy_deficit(0.5) - (math.log(n) - bounded.min_entropy(n, 0.5)))
        assert -1e-14 <= gap <= 1.1 * curvature / (8 * n * n) + 1e-14


def test_vectorised():
    tau = torch.tensor([[0.5], [1.0]])
    out = bounded.min_entropy(torch.tensor([2, 63, 512]), tau)
    assert out.shape == (2, 3) and out.dtype == torch.float64
    assert float(out[1, 2]) == pytest.approx(float(bounded.min_entropy(512, 1.0)), abs=1e-14)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: bounded.entropy_deficit(0), InvalidArgument, r"tau must lie in \(0, inf\], got 0.0"),
        (lambda: bounded.entropy_deficit(-1.0), InvalidArgument, "tau must lie in"),
        (lambda: bounded.entropy_deficit(math.nan), InvalidArgument, "tau must be finite"),
        (lambda: bounded.entropy_deficit(5e-324), InvalidArgument, "2 / tau must be finite, got inf"),
        (lambda: bounded.min_entropy(0, 1.0), InvalidArgument, "n must lie in"),
        (lambda: bounded.min_entropy(2.5, 1.0), InvalidArgument, "n must be a whole number, got 2.5"),
        (
            lambda: bounded.two_valued_entropy(4, 5, 1.0),
            InvalidArgument,
            r"m must lie in \[0, n\], got 5.0 for n=4.0",
        ),
        (lambda: bounded.top_fraction(None), TypeError, "tau must be a real number"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()
