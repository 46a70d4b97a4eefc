"""Oracle: the explicit row of weights at 50 digits."""

import math

import mpmath as mp
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlib.errors import InvalidArgument
from attnlib.theory import decay

EPS = torch.finfo(torch.float64).eps
DECAYS = (1e-300, 1e-10, 0.1, 0.5, 0.9, 0.999, 1 - 1e-9, 1 - 2.0**-53, 1.0)


@pytest.mark.parametrize("n", [1, 2, 63, 111])
@pytest.mark.parametrize("value", DECAYS)
def test_against_the_explicit_row(value, n):
    with mp.workdps(50):
        weights = [mp.mpf(value) ** k for k in range(n)]
        total, square = mp.fsum(weights), mp.fsum(w * w for w in weights)
        sparsity = total / mp.sqrt(n * square)
        window = total**2 / square
        entropy = mp.log(total) - mp.fsum(w * mp.log(w) for w in weights) / total
    assert abs(float(decay.sparsity(value, n)) / float(sparsity) - 1) < 4 * EPS
    assert abs(float(decay.effective_window(value, n)) / float(window) - 1) < 4 * EPS
    # a sum of terms of size at most 1 and log n
    assert abs(float(decay.entropy(value, n)) - float(entropy)) < 4 * EPS * (1 + math.log(n))


@pytest.mark.parametrize("value", DECAYS[:-1])
def test_infinite_length(value):
    with mp.workdps(700):
        x = mp.mpf(value)
        window = (1 + x) / (1 - x)
        entropy = (-x * mp.log(x) - (1 - x) * mp.log(1 - x)) / (1 - x)
    assert abs(float(decay.effective_window(value)) / float(window) - 1) < 4 * EPS
    # relative, even where the entropy is small; e^{log decay} carries the rounding of its exponent
    assert abs(float(decay.entropy(value)) / float(entropy) - 1) < EPS * (4 - math.log(value))


def test_no_decay():
    assert decay.sparsity(1, 512) == 1 and decay.effective_window(1, 512) == 512
    assert float(decay.entropy(1, 512)) == math.log(512)
    assert decay.effective_window(1) == math.inf and decay.entropy(1) == math.inf


def test_constant_window_and_scaling_limit():
    window = [float(decay.sparsity(0.9, n)) ** 2 * n for n in (10**3, 10**6)]
    assert window == pytest.approx([19.0, 19.0], rel=1e-13)
    assert round(float(decay.sparsity_limit(4)), 4) == 0.6943
    assert decay.sparsity_limit(0) == 1
    errors = [abs(float(decay.sparsity(1 - 4 / n, n) - decay.sparsity_limit(4))) for n in (10**3, 10**4)]
    assert 9 < errors[0] / errors[1] < 11  # 1/n


@settings(deadline=None, max_examples=80, derandomize=True)
@given(value=st.floats(1e-6, 1.0), n=st.integers(1, 10**6))
def test_bounds(value, n):
    entropy, window = float(decay.entropy(value, n)), float(decay.effective_window(value, n))
    assert 1 / math.sqrt(n) * (1 - 4 * EPS) <= float(decay.sparsity(value, n)) <= 1 + 4 * EPS
    assert math.log(window) <= entropy + 1e-14 <= math.log(n) + 2e-14  # H_2 <= H_1 <= log n
    assert entropy <= float(decay.entropy(value)) + 1e-14


def test_vectorised():
    out = decay.sparsity(torch.tensor([0.5, 1.0]), torch.tensor([[1], [63]]))
    assert out.shape == (2, 2) and out.dtype == torch.float64
    assert float(out[1, 0]) == pytest.approx(float(decay.sparsity(0.5, 63)), rel=1e-15)
    assert decay.entropy(torch.tensor([0.5, 1.0]), torch.tensor([[1], [63]])).shape == (2, 2)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: decay.sparsity(0, 4), InvalidArgument, r"decay must lie in \(0, 1\], got 0.0"),
        (lambda: decay.sparsity(1.1, 4), InvalidArgument, "decay must lie in"),
        (lambda: decay.sparsity(0.5, 0), InvalidArgument, r"n must lie in \[1, inf\], got 0.0"),
        (lambda: decay.entropy(math.nan), InvalidArgument, "decay must be finite"),
        (lambda: decay.effective_window(torch.tensor([0.5, -0.5])), InvalidArgument, "got -0.5"),
        (lambda: decay.sparsity_limit(-1), InvalidArgument, "c must lie in"),
        (lambda: decay.entropy("0.5"), TypeError, "decay must be a real number"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()
