"""Oracle: the threshold and the weight from mpmath's Bessel functions at 50 digits."""

import math

import mpmath as mp
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlib.errors import InvalidArgument
from attnlib.theory import needle


def log_mgf(kappa, d):
    nu = mp.mpf(d) / 2 - 1
    return mp.loggamma(nu + 1) + nu * mp.log(2 / kappa) + mp.log(mp.besseli(nu, kappa))


@pytest.mark.parametrize("d, scale", [(2, 0.3), (64, 0.125), (64, 2.0), (128, 128**-0.5), (4096, 0.1)])
def test_context_and_weight_against_mpmath(d, scale):
    with mp.workdps(50):
        kappa = mp.mpf(scale * d)
        gap = kappa - log_mgf(kappa, d)
        weight = mp.exp(kappa) / (mp.exp(kappa) + 1000 * mp.exp(log_mgf(kappa, d)))
    assert abs(float((mp.mpf(float(needle.log_context(d, scale))) - gap) / gap)) < 1e-14
    # exponentiating turns the relative error of the exponent into gap times it
    assert abs(float(mp.mpf(float(needle.context(d, scale))) / mp.exp(gap) - 1)) < 1e-14 * max(1, float(gap))
    assert abs(float(mp.mpf(float(needle.weight(1000, d, scale))) / weight - 1)) < 1e-13 * max(1, float(gap))


@pytest.mark.parametrize("n", [2, 512, 65536])
@pytest.mark.parametrize("d", [8, 64, 1024])
def test_scale_against_mpmath(n, d):
    with mp.workdps(50):
        kappa = mp.findroot(lambda k: k - log_mgf(k, d) - mp.log(n), float(needle.scale(n, d)) * d)
    assert abs(float(mp.mpf(float(needle.scale(n, d))) * d / kappa - 1)) < 1e-14


def test_published_lengths():
    assert round(float(needle.context(64, 1 / 8))) == 1815
    assert round(float(needle.context(128, 128**-0.5))) == 49792
    kappas = [float(needle.scale(n, 64)) * 64 / math.log(n) for n in (512, 65536)]
    assert [round(k, 3) for k in kappas] == [1.054, 1.104]


def test_log_n_keeps_the_needle_to_thirty_billion_keys():
    def margin(n):
        return float(needle.weight(n, 64, math.log(n) / math.log(512) / 8)) - 0.5

    assert margin(3.03e10) > 0 > margin(3.04e10)


def test_small_log_n_expansion():
    # scale d / log n = 1 + log n / (2 d) + O((log n / d)^2)
    for d in (512, 2048):
        ratio = float(needle.scale(64, d)) * d / math.log(64)
        assert abs(ratio - 1 - math.log(64) / (2 * d)) < 2 * (math.log(64) / d) ** 2


@settings(deadline=None, max_examples=60, derandomize=True)
@given(n=st.floats(1.0, 1e12), d=st.floats(2.0, 5000.0))
def test_scale_makes_the_weight_one_half(n, d):
    weight = float(needle.weight(n, d, needle.scale(n, d)))
    # a relative error e of kappa moves the weight by at most gap' kappa e / 4 <= log n (d - 1) e
    assert abs(weight - 0.5) < 1e-13 * (1 + math.log(n))


@settings(deadline=None, max_examples=40, derandomize=True)
@given(n=st.floats(1.0, 1e12), d=st.floats(2.0, 5000.0), scale=st.floats(0.0, 20.0))
def test_weight_falls_with_n(n, d, scale):
    assert 0 < needle.weight(2 * n, d, scale) <= needle.weight(n, d, scale) <= 1
    assert needle.context(d, scale) >= 1


def test_vectorised_and_monotone():
    n = torch.arange(1, 2000)
    scale = needle.scale(n, 64)
    assert scale.shape == n.shape and scale.dtype == torch.float64
    assert scale[0] == 0 and bool((scale.diff() > 0).all())


def test_overflowing_context_is_infinite_and_its_log_is_not():
    assert needle.context(4096, 1.0) == math.inf
    assert needle.log_context(4096, 1.0) < 4096


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: needle.context(1, 0.1), InvalidArgument, r"d must lie in \[2, inf\], got 1.0"),
        (lambda: needle.context(64, -0.1), InvalidArgument, "scale must lie in"),
        (lambda: needle.context(64, float("nan")), InvalidArgument, "scale must be finite"),
        (lambda: needle.weight(0, 64, 0.1), InvalidArgument, "n must lie in"),
        (lambda: needle.scale(0.5, 64), InvalidArgument, "n must lie in"),
        (lambda: needle.scale([1], 64), TypeError, "n must be a real number or a torch.Tensor, got list"),
        (lambda: needle.scale(1e200, 2), InvalidArgument, "in d=2.0 dimensions"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()
