import math
from functools import partial

import mpmath as mp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlib import scale
from attnlib.errors import InvalidArgument, UnreachableEntropy
from attnlib.theory import needle, sphere

RULES = {
    "sqrt_d": scale.sqrt_d,
    "log_n": scale.log_n,
    "kappa_log": partial(scale.kappa_log, kappa=4.0),
    "sphere": partial(scale.sphere, entropy=1.5, unreachable="uniform"),
    "needle": scale.needle,
    "info": partial(scale.info, n_train=64),
}

# straight from the definitions, at 50 digits
ORACLES = {
    "sqrt_d": lambda n, d: 1 / mp.sqrt(d),
    "log_n": lambda n, d: mp.log(n) / mp.log(512) / mp.sqrt(d),
    "kappa_log": lambda n, d: 4 * mp.log(n) / d,
    "sphere": lambda n, d: mp.sqrt(mp.exp(4 * (mp.log(n) - 1.5) / d) - mp.exp(2 * (mp.log(n) - 1.5) / d)),
    "info": lambda n, d: mp.sqrt(
        (1 - mp.mpf(n) ** (mp.mpf(-2) / d)) / (1 - mp.mpf(64) ** (mp.mpf(-2) / d)) / d
    ),
}


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("n, d", [(63, 64), (111, 2), (512, 128), (10**7, 4096)])
def test_against_the_definition(name, n, d):
    with mp.workdps(50):
        expected = ORACLES[name](n, d)
    got = RULES[name](n, d)
    assert isinstance(got, float)
    assert abs(float((got - expected) / expected)) < 1e-14


@pytest.mark.parametrize("name", RULES)
def test_counts_of_visible_keys(name):
    rule = RULES[name]
    counts = torch.tensor([[0, 1, 5], [63, 111, 4096]])
    got = rule(counts, 64)
    assert got.shape == counts.shape and got.dtype == torch.float64
    assert bool(torch.isfinite(got).all())
    for n, value in zip(counts.flatten().tolist()[1:], got.flatten().tolist()[1:]):
        assert value == pytest.approx(rule(n, 64), rel=1e-14, abs=0)
    if name == "sqrt_d":
        assert bool((got == 0.125).all())
    else:
        assert got[0, 0] == 0 and got[0, 1] == 0
        assert bool((got.flatten().diff() >= 0).all())


def test_integer_and_floating_counts_agree():
    counts = torch.tensor([1, 63, 111])
    for rule in RULES.values():
        for dtype in (torch.int32, torch.float32, torch.float64):
            torch.testing.assert_close(rule(counts.to(dtype), 64), rule(counts, 64), rtol=0, atol=0)


def test_calibration():
    assert scale.log_n(512, 64) == pytest.approx(1 / 8, rel=1e-15)
    assert scale.log_n(1024, 64, base=1024) == pytest.approx(1 / 8, rel=1e-15)
    assert scale.log_n(64, 64) * 8 == pytest.approx(2 / 3, rel=1e-14)
    assert scale.info(64, 128, n_train=64) == pytest.approx(128**-0.5, rel=1e-15)
    assert scale.kappa_log(512, 64, kappa=8 / math.log(512)) == pytest.approx(scale.log_n(512, 64), rel=1e-15)


def test_published_factors_relative_to_sixty_four_keys():
    for n, log_n, info in ((256, 1.33, 1.14), (1024, 1.67, 1.26), (4096, 2.00, 1.37)):
        assert round(scale.log_n(n, 64, base=64) * 8, 2) == log_n
        assert round(scale.info(n, 64, n_train=64) * 8, 2) == info


def test_needle_and_sphere_agree_with_the_theory():
    n = torch.tensor([[2, 512], [512, 65536]])
    torch.testing.assert_close(scale.needle(n, 64), needle.scale(n, 64), rtol=1e-14, atol=0)
    assert float(needle.weight(4096, 64, scale.needle(4096, 64))) == pytest.approx(0.5, abs=1e-13)
    assert scale.sphere(4096, 64, 2.5) == float(sphere.scale_for_entropy(4096, 64, 2.5))


@settings(deadline=None, max_examples=60, derandomize=True)
@given(n=st.integers(2, 10**9), d=st.integers(2, 4096), fraction=st.floats(0.0, 1.0))
def test_sphere_rule_inverts_the_rate(n, d, fraction):
    entropy = fraction * math.log(n)
    got = scale.sphere(n, d, entropy)
    assert abs(d * float(sphere.rate(got)) - (math.log(n) - entropy)) <= 1e-14 * (1 + math.log(n))


def test_sphere_rule_never_bends_a_target_unasked():
    causal = torch.arange(1, 64)
    with pytest.raises(UnreachableEntropy, match=r"\[0, log n\] = \[0, 0.0\] for n=1, got 1.5") as caught:
        scale.sphere(causal, 64, entropy=1.5)
    assert caught.value.upper == 0
    got = scale.sphere(causal, 64, entropy=1.5, unreachable="uniform")
    assert bool((got[:4] == 0).all()) and bool((got[4:] > 0).all())  # log 4 < 1.5 < log 5
    assert scale.sphere(torch.tensor([0, 100]), 64, entropy=1.5)[0] == 0
    assert scale.sphere(8, 64, entropy=math.log(8)) == 0


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: scale.sqrt_d(0, 64), InvalidArgument, r"n must lie in \[1, inf\], got 0.0"),
        (lambda: scale.log_n(0.5, 64), InvalidArgument, "got 0.5"),
        (
            lambda: scale.log_n(torch.tensor([3, -1]), 64),
            InvalidArgument,
            r"n must lie in \[0, inf\], got -1.0",
        ),
        (
            lambda: scale.log_n(torch.tensor([3, 0.5]), 64),
            InvalidArgument,
            "n must be 0 or at least 1, got 0.5",
        ),
        (lambda: scale.log_n(torch.tensor([3, math.nan]), 64), InvalidArgument, "n must be finite, got nan"),
        (lambda: scale.log_n(True, 64), TypeError, "n must be a real number"),
        (lambda: scale.log_n(512, 0), InvalidArgument, "d must lie in"),
        (lambda: scale.log_n(512, torch.tensor(64)), TypeError, "d must be a real number, got Tensor"),
        (lambda: scale.log_n(512, 64, base=1), InvalidArgument, r"base must lie in \(1, inf\], got 1.0"),
        (lambda: scale.kappa_log(512, 64, kappa=math.inf), InvalidArgument, "kappa must be finite"),
        (lambda: scale.sphere(512, 64, entropy=-1), InvalidArgument, "entropy must lie in"),
        (lambda: scale.sphere(512, 64, entropy=7), UnreachableEntropy, "for n=512, got 7.0"),
        (lambda: scale.sphere(512, 64, entropy=1, unreachable="clip"), InvalidArgument, "got 'clip'"),
        (lambda: scale.needle(512, 1), InvalidArgument, "d must lie in"),
        (lambda: scale.info(512, 64, n_train=1), InvalidArgument, "n_train must lie in"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("n", [np.int64(512), np.float64(512), np.float32(512)])
def test_numpy_scalars_count_as_numbers(n):
    assert scale.sphere(n, 64, 2.5) == scale.sphere(512, 64, 2.5)
    assert scale.log_n(n, np.int64(64)) == scale.log_n(512, 64)
