"""Oracles: the closed forms at 60 digits, and the integrals they come from by quadrature."""

import math

import mpmath as mp
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlib.errors import InvalidArgument
from attnlib.theory import gaussian

EPS = torch.finfo(torch.float64).eps
RATIOS = (
    -50.0,
    -30.0,
    -10.0,
    -6.0,
    -3.0,
    -2.0,
    -1.5,
    -1.1,
    -1.0 - 1e-9,
    -1.0,
    -0.99,
    -0.5,
    0.0,
    0.5,
    1.0,
    2.0,
    10.0,
    1e10,
)


def relu2(r):
    cdf, pdf = mp.ncdf(r), mp.npdf(r)
    return ((r * r + 1) * cdf + r * pdf) / mp.sqrt((r**4 + 6 * r * r + 3) * cdf + (r**3 + 5 * r) * pdf)


def identity(r):
    return (mp.sqrt(2 / mp.pi) * mp.exp(-r * r / 2) + r * mp.erf(r / mp.sqrt(2))) / mp.sqrt(1 + r * r)


@pytest.mark.parametrize(
    "function, oracle", [(gaussian.sparsity_relu2, relu2), (gaussian.sparsity_identity, identity)]
)
def test_closed_forms_against_mpmath(function, oracle):
    got = function(torch.tensor(RATIOS, dtype=torch.float64), 1.0)
    for r, value in zip(RATIOS, got.tolist(), strict=True):
        with mp.workdps(120):
            expected = oracle(mp.mpf(r))
            # the exponent r^2 / 4 is rounded once; up to r = -1 the bulk form cancels by a factor 12
            assert abs((value - expected) / expected) < EPS * (8 + r * r / 4 if r < 0 else 8), r


def test_closed_forms_are_the_integrals():
    for r in (-4, -1.2, 0.7):

        def moment(f, r=r):
            return mp.quad(lambda x: f(x + r) * mp.npdf(x), [-12, -r, 12])

        s = moment(lambda x: max(x, 0) ** 2) / mp.sqrt(moment(lambda x: max(x, 0) ** 4))
        assert abs(float(gaussian.sparsity_relu2(r, 1.0)) / float(s) - 1) < 1e-12
        s = moment(abs) / mp.sqrt(moment(lambda x: x * x))
        assert abs(float(gaussian.sparsity_identity(r, 1.0)) / float(s) - 1) < 1e-12
    s = mp.quad(lambda x: mp.exp(1.3 * x) * mp.npdf(x), [-30, 30]) / mp.exp(1.3**2)
    assert abs(float(gaussian.sparsity_exp(1.3)) / float(s) - 1) < 1e-12


def test_published_constants():
    assert abs(float(gaussian.sparsity_relu2(0, 1)) - 1 / math.sqrt(6)) < EPS
    assert abs(float(gaussian.sparsity_identity(0, 1)) - math.sqrt(2 / math.pi)) < EPS
    # more key variance does not sparsify relu^2: the ratio tends to 0
    assert abs(float(gaussian.sparsity_relu2(-5.0, 1e12)) - 1 / math.sqrt(6)) < 1e-11
    tail = math.sqrt(math.exp(-18) / math.sqrt(2 * math.pi) / 36)  # sqrt(phi(t) / (6 t)), 3 % low at t = 6
    assert round(100 * (1 - tail / float(gaussian.sparsity_relu2(-6, 1)))) == 3


def test_extreme_arguments():
    for beta, relu in ((1e300, 1.0), (-1e300, 0.0)):
        assert gaussian.sparsity_relu2(beta, 1e-300) == relu
        assert gaussian.sparsity_identity(beta, 1e-300) == 1
    assert gaussian.sparsity_exp(1e200) == 0


@settings(deadline=None, max_examples=80, derandomize=True)
@given(r=st.floats(-50, 50), s=st.floats(-50, 50), gamma=st.floats(1e-3, 1e3))
def test_shape_of_the_functions(r, s, gamma):
    low, high = sorted((r, s))
    assert gaussian.sparsity_relu2(low, 1) <= gaussian.sparsity_relu2(high, 1) * (1 + 4 * EPS) <= 1 + 8 * EPS
    value = float(gaussian.sparsity_identity(r, 1))
    assert math.sqrt(2 / math.pi) * (1 - 4 * EPS) <= value <= 1 + 4 * EPS
    assert value == float(gaussian.sparsity_identity(-r, 1))
    assert math.isclose(
        float(gaussian.sparsity_relu2(r * gamma, gamma)),
        float(gaussian.sparsity_relu2(r, 1)),
        rel_tol=EPS * (16 + 2 * r * r),
    )


def test_finite_phases_join_and_respect_the_floor():
    n = 4096
    critical = math.sqrt(2 * math.log(n))
    for joint in (critical / 2, critical):
        below, above = (float(gaussian.sparsity_exp_finite(joint * (1 + s), n)) for s in (-1e-9, 1e-9))
        assert math.isclose(below, above, rel_tol=1e-7)
    gamma = torch.linspace(0, 3 * critical, 200, dtype=torch.float64)
    got = gaussian.sparsity_exp_finite(gamma, n)
    assert bool((got.diff() <= 0).all()) and bool((got >= n**-0.5 * (1 - 4 * EPS)).all())
    assert round(math.log(float(gaussian.sparsity_exp_finite(critical / 2, n))), 2) == -2.08


def test_annealed_entropy_is_sparsity_in_other_words():
    # S = e^{(H_2 - log n) / 2} for a probability vector (9595-C19)
    for std in (0.0, 0.3, 2.0):
        by_entropy = math.exp((float(gaussian.entropy(1000, std, order=2)) - math.log(1000)) / 2)
        assert math.isclose(by_entropy, float(gaussian.sparsity_exp(std)), rel_tol=1e-14)
    assert float(gaussian.entropy(512, 2.0)) == math.log(512) - 2


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: gaussian.sparsity_exp(-1), InvalidArgument, r"gamma must lie in \[0, inf\], got -1.0"),
        (
            lambda: gaussian.sparsity_relu2(1.0, 0.0),
            InvalidArgument,
            r"gamma must lie in \(0, inf\], got 0.0",
        ),
        (lambda: gaussian.sparsity_relu2(math.nan, 1.0), InvalidArgument, "beta must be finite, got nan"),
        (lambda: gaussian.sparsity_identity(1.0, math.inf), InvalidArgument, "gamma must be finite, got inf"),
        (lambda: gaussian.sparsity_exp_finite(1.0, 0), InvalidArgument, "n must lie in"),
        (lambda: gaussian.entropy(10, 1.0, order=-1), InvalidArgument, "order must lie in"),
        (lambda: gaussian.entropy("10", 1.0), TypeError, "n must be a real number"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()
