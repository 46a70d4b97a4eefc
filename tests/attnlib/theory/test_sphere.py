"""Oracle: mpmath's Bessel functions, with 30 digits beyond the 50 asked for, since kappa - log M cancels."""

import math

import mpmath as mp
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlib.errors import InvalidArgument, UnreachableEntropy
from attnlib.theory import _angle, sphere

DIMENSIONS = (2, 2.5, 3, 8, 41, 42, 43, 64, 128, 1000, 4096)
KAPPAS = (1e-8, 1e-3, 0.3, 1.0, 2.0, 5.0, 12.0, 30.0, 80.0, 500.0, 1e4)
EPS = torch.finfo(torch.float64).eps


def oracle(kappa, d):
    """log M, kappa - log M, kappa A - log M, A, 1 - A and kappa^2 A' at 80 digits."""
    with mp.workdps(80):
        kappa, nu = mp.mpf(kappa), mp.mpf(d) / 2 - 1
        bessel = mp.besseli(nu, kappa)
        mean = mp.besseli(nu + 1, kappa) / bessel
        log_mgf = mp.loggamma(nu + 1) + nu * mp.log(2 / kappa) + mp.log(bessel)
        return (
            log_mgf,
            kappa - log_mgf,
            kappa * mean - log_mgf,
            mean,
            1 - mean,
            kappa**2 * (1 - mean**2 - (d - 1) * mean / kappa),
        )


def relative_error(got, expected):
    return float(abs((mp.mpf(float(got)) - expected) / expected))


@pytest.mark.parametrize("d", DIMENSIONS)
def test_bessel_quantities_against_mpmath(d):
    got = _angle.statistics(
        torch.tensor(KAPPAS, dtype=torch.float64), torch.tensor(float(d), dtype=torch.float64)
    )
    # A comes down a contracting recurrence: a few roundings. gap and loss add up to 20 logarithms as large as
    # log kappa ~ 10; 1 - A and the variance each gain, in up to 20 steps, an absolute error of a rounding of
    # 2 (nu + j) where they end at nu + 1/2, that is about 20 * 40 roundings for d = 2
    bounds = {
        "log_mgf": 8 * EPS,
        "gap": 200 * EPS,
        "loss": 200 * EPS,
        "mean_cos": 8 * EPS,
        "one_minus_cos": 800 * EPS,
        "variance": 800 * EPS,
    }
    for i, kappa in enumerate(KAPPAS):
        for (name, bound), expected in zip(bounds.items(), oracle(kappa, d), strict=True):
            assert relative_error(getattr(got, name)[i], expected) <= bound, (name, kappa)


@pytest.mark.parametrize("d, kappa", [(3, 2.0), (10, 7.5), (64, 8.0)])
def test_log_mgf_is_the_expectation_over_the_angle(d, kappa):
    def density(c):
        return (1 - c * c) ** (mp.mpf(d - 3) / 2)

    expected = mp.log(
        mp.quad(lambda c: mp.exp(kappa * c) * density(c), [-1, 0, 1]) / mp.quad(density, [-1, 0, 1])
    )
    assert relative_error(sphere.log_mgf(kappa, d), expected) < 1e-13


def test_three_dimensions_in_closed_form():
    kappa = torch.tensor([0.1, 1.0, 10.0, 100.0], dtype=torch.float64)
    torch.testing.assert_close(
        sphere.mean_cos(kappa, 3), 1 / torch.tanh(kappa) - 1 / kappa, rtol=1e-13, atol=0
    )


def test_huge_concentration_keeps_the_small_differences():
    got = _angle.statistics(torch.tensor(1e11, dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64))
    _, gap, loss, _, rest, variance = oracle(1e11, 2)
    assert relative_error(got.gap, gap) < 1e-13
    assert relative_error(got.loss, loss) < 1e-13
    assert relative_error(got.one_minus_cos, rest) < 1e-12
    assert relative_error(got.variance, variance) < 1e-12


def test_varentropy_is_minus_the_slope_of_the_entropy_in_log_scale():
    scale = torch.tensor([1e-4, 0.02, 0.8, 50.0], dtype=torch.float64)
    h = 1e-5
    slope = (sphere.entropy(100, 64, scale * math.exp(h)) - sphere.entropy(100, 64, scale * math.exp(-h))) / (
        2 * h
    )
    # central difference: h^2 / 6 of the third derivative, and rounding of the entropy over 2 h
    torch.testing.assert_close(sphere.varentropy(64, scale), -slope, rtol=1e-8, atol=1e-9)


def test_zero_and_symmetry():
    assert sphere.log_mgf(0, 64) == 0 and sphere.mean_cos(0, 64) == 0
    assert sphere.log_mgf(-3, 64) == sphere.log_mgf(3, 64)
    assert sphere.mean_cos(-3, 64) == -sphere.mean_cos(3, 64)
    assert sphere.entropy(100, 64, 0) == math.log(100)


def test_shapes_broadcast_and_come_out_in_float64():
    kappa = torch.tensor([[1.0], [2.0]], dtype=torch.float32)
    out = sphere.log_mgf(kappa, torch.tensor([2, 64, 4096]))
    assert out.shape == (2, 3) and out.dtype == torch.float64
    for i in range(2):
        for j, d in enumerate((2, 64, 4096)):
            torch.testing.assert_close(out[i, j], sphere.log_mgf(i + 1, d), rtol=8 * EPS, atol=0)
    assert sphere.log_mgf(torch.zeros(0), 3).shape == (0,)


def test_rate_against_mpmath_at_every_scale():
    for scale in (1e-12, 1e-4, 0.1, 1.0, 1.3116, 10.0, 1e6, 1e200):
        with mp.workdps(450):
            s = mp.mpf(scale)
            root = mp.sqrt(1 + 4 * s * s)
            rate = -mp.log((root - 1) / (2 * s * s)) / 2
            c = (root - 1) / (2 * s)
            correction = mp.log(1 - c**4) / 2 + 2 * c**4 / (1 + c * c) ** 2
        assert relative_error(sphere.rate(scale), rate) < 4 * EPS
        # the two terms of the correction are equal and opposite in their leading signs: below 1/3 remains
        assert relative_error(sphere.rate_correction(scale), correction) < 20 * EPS
    assert sphere.rate(0) == 0 and sphere.rate_correction(0) == 0
    assert sphere.rate(-2) == sphere.rate(2)


def test_rate_at_one_is_half_the_log_of_the_golden_ratio():
    assert abs(float(sphere.rate(1)) - math.log((1 + math.sqrt(5)) / 2) / 2) < EPS


def test_linear_bound_on_the_rate():
    # f(s)/s is stationary where s f' = f
    best = mp.findroot(
        lambda s: mp.diff(lambda t: -mp.log((mp.sqrt(1 + 4 * t * t) - 1) / (2 * t * t)) / (2 * t), s), 1.3
    )
    assert abs(best - 1.3116) < 5e-5
    slope = float(sphere.rate(float(best)) / float(best))
    assert abs(slope - 0.2454195) < 5e-8
    scales = torch.logspace(-6, 6, 2001, dtype=torch.float64)
    assert bool((sphere.rate(scales) <= slope * scales * (1 + 4 * EPS)).all())


@pytest.mark.parametrize("scale", [0.1, 0.5, 1.0, 3.0])
def test_laplace_error_falls_like_one_over_d(scale):
    d = torch.tensor([256, 512, 1024, 2048])
    error = (sphere.laplace_entropy(2, d, scale) - sphere.entropy(2, d, scale)).abs()
    ratios = error[:-1] / error[1:]
    assert bool(((ratios > 1.9) & (ratios < 2.1)).all()), ratios
    without = (math.log(2) - d * sphere.rate(scale) - sphere.entropy(2, d, scale)).abs()
    assert bool((error < without / 10).all())


def test_drop_at_the_usual_scale_is_half_a_nat_in_every_dimension():
    d = torch.tensor([64.0, 256.0, 1024.0, 4096.0], dtype=torch.float64)
    drop = math.log(1000) - sphere.entropy(1000, d, d.rsqrt())
    assert bool(((drop - 0.5).abs() < 1 / d).all())
    assert abs(float(drop[0]) - 0.4890) < 5e-5


@settings(deadline=None, max_examples=60, derandomize=True)
@given(n=st.floats(1.0, 1e9), d=st.floats(2.0, 5000.0), fraction=st.floats(0.0, 1.0))
def test_exact_scale_gives_the_entropy_back(n, d, fraction):
    target = fraction * math.log(n)
    scale = sphere.exact_scale_for_entropy(n, d, target)
    # forward error: the loss to rounding, plus its slope (at most (d - 1)/2, or log n) times the rounding of
    # kappa
    assert abs(float(sphere.entropy(n, d, scale)) - target) <= 1e-13 * (1 + d + math.log(n))


@settings(deadline=None, max_examples=60, derandomize=True)
@given(n=st.floats(1.0, 1e9), d=st.floats(1.0, 5000.0), fraction=st.floats(0.0, 1.0))
def test_closed_form_inverts_the_rate(n, d, fraction):
    target = fraction * math.log(n)
    scale = sphere.scale_for_entropy(n, d, target)
    back = math.log(n) - d * float(sphere.rate(scale))
    assert abs(back - target) <= 1e-14 * (1 + math.log(n))


@settings(deadline=None, max_examples=60, derandomize=True)
@given(d=st.floats(2.0, 5000.0), a=st.floats(0.0, 5.0), b=st.floats(0.0, 5.0))
def test_entropy_falls_with_the_scale_and_jensen_holds(d, a, b):
    low, high = sorted((a, b))
    assert sphere.entropy(512, d, low) >= sphere.entropy(512, d, high) - 1e-11
    assert sphere.entropy(512, d, high) <= math.log(512)
    assert 0 <= sphere.log_mgf(high * d, d) <= high * d * (1 + EPS)
    assert 0 <= sphere.sparsity(d, high) <= 1


def test_freezing_scale_is_where_the_annealed_entropy_vanishes():
    n = torch.tensor([2, 512, 10**7])
    for d in (2, 64, 4096):
        scale = sphere.freezing_scale(n, d)
        assert bool((sphere.entropy(n, d, scale).abs() < 1e-11).all())
    assert sphere.freezing_scale(1, 64) == 0
    # in two dimensions the entropy falls only like log kappa / 2
    assert abs(float(sphere.entropy(1e120, 2, sphere.freezing_scale(1e120, 2)))) < 1e-10
    with mp.workdps(40):
        expected = mp.findroot(lambda k: mp.log(512) - oracle(k, 64)[2], 32) / 64
    assert relative_error(sphere.freezing_scale(512, 64), expected) < 1e-14


def test_sparsity_tends_to_the_gaussian_form():
    # scores of variance scale^2 d = 1: e^{-1/2}, with an error of order 1/d
    for d in (100, 400, 1600):
        assert abs(float(sphere.sparsity(d, d**-0.5)) - math.exp(-0.5)) < 2 / d


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: sphere.log_mgf(float("nan"), 64), InvalidArgument, "kappa must be finite, got nan"),
        (lambda: sphere.log_mgf(float("inf"), 64), InvalidArgument, "kappa must be finite, got inf"),
        (lambda: sphere.log_mgf(1.0, 1), InvalidArgument, r"d must lie in \[2, inf\], got 1.0"),
        (lambda: sphere.log_mgf("1", 64), TypeError, "kappa must be a real number"),
        (lambda: sphere.log_mgf(True, 64), TypeError, "kappa must be a real number"),
        (lambda: sphere.log_mgf(torch.ones(2, dtype=torch.complex64), 64), TypeError, "kappa must be real"),
        (lambda: sphere.entropy(0, 64, 1.0), InvalidArgument, r"n must lie in \[1, inf\], got 0.0"),
        (lambda: sphere.entropy(torch.tensor([3, -1]), 64, 1.0), InvalidArgument, "got -1.0"),
        (lambda: sphere.scale_for_entropy(8, 64, -0.1), InvalidArgument, "entropy must lie in"),
        (lambda: sphere.scale_for_entropy(8, 64, 2.1), UnreachableEntropy, r"2.079\d+\], got 2.1"),
        (
            lambda: sphere.exact_scale_for_entropy(torch.tensor([100, 8]), 64, 2.1),
            UnreachableEntropy,
            "got 2.1",
        ),
        (lambda: sphere.freezing_scale(float("1e300"), 2), InvalidArgument, "no float64 scale reaches"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_unreachable_entropy_carries_the_range():
    with pytest.raises(UnreachableEntropy) as caught:
        sphere.scale_for_entropy(8, 64, 2.1)
    assert caught.value.lower == 0 and caught.value.upper == pytest.approx(math.log(8))
