"""Sparsity measures against mpmath and against the Rényi entropies they are functions of."""

import math

import mpmath as mp
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

import attnlib as al
from attnlib import sparsity
from attnlib.errors import InvalidArgument

INF = math.inf
EPS = torch.finfo(torch.float64).eps
PAIRS = [
    (1, 2),
    (1, INF),
    (0.5, 2),
    (0.25, 0.5),
    (2, 3),
    (1, 1.001),
    (0.01, 50),
    (0.5, INF),
    (3, 1),
    (1e-6, 1),
]


def mp_norm_mean(x, order):
    values = [abs(mp.mpf(v)) for v in x]
    if order == INF:
        return max(values)
    return (sum(v ** mp.mpf(order) for v in values) / len(values)) ** (1 / mp.mpf(order))


def vectors(generator):
    def normal(n):
        return torch.randn(n, generator=generator, dtype=torch.float64)

    return {
        "signs, 63": normal(63),
        "positive": normal(16).exp(),
        "nearly equal": 1 + 1e-6 * normal(9),
        "zeros": torch.tensor([4.0, -3.0, 0.0, 0.0, 1e-8], dtype=torch.float64),
        "one-sparse": torch.tensor([0.0, -2.5, 0.0], dtype=torch.float64),
        "one entry": torch.tensor([-7.0], dtype=torch.float64),
    }


@pytest.mark.parametrize("q, p", PAIRS)
def test_s_star_against_mpmath(generator, q, p):
    for name, x in vectors(generator).items():
        with mp.workdps(50):
            expected = mp_norm_mean(x.tolist(), q) / mp_norm_mean(x.tolist(), p)
            got = mp.mpf(sparsity.s_star(x, q, p).item())
            # log S* carries an error of some eps times |log M_q| + |log M_p|, and exp hands it on; a power
            # mean of order q is 1/q times the log of a sum known to eps, which the share of zeros limits to
            # log(n)/q.
            spread = sum(abs(mp.log(mp_norm_mean(x.tolist(), o) / max(abs(x)).item())) for o in (q, p))
            assert abs(got - expected) <= 8 * EPS * (4 + spread) * expected + 1e-300, (name, got, expected)


def test_s_and_s0_against_mpmath(generator):
    for name, x in vectors(generator).items():
        n = len(x)
        with mp.workdps(50):
            for p in (1.5, 2, 7, INF):
                norm = mp_norm_mean(x.tolist(), p) * (mp.mpf(n) ** (0 if p == INF else 1 / mp.mpf(p)))
                expected = mp_norm_mean(x.tolist(), 1) / norm
                assert abs(sparsity.s(x, p).item() / expected - 1) < 100 * EPS, name
        direct = x.abs().mean() / x.abs().max()
        torch.testing.assert_close(sparsity.s0(x), direct, rtol=8 * EPS, atol=0)
        torch.testing.assert_close(sparsity.s(x, INF), direct, rtol=8 * EPS, atol=0)


def test_gini_against_the_mean_difference(generator):
    """Gini = sum_ij |x_i - x_j| / (2 n sum x), which is Hurley and Rickard's form written without sorting."""
    for name, x in vectors(generator).items():
        a = x.abs()
        expected = (a[:, None] - a[None, :]).abs().sum() / (2 * len(a) * a.sum())
        torch.testing.assert_close(sparsity.gini(x), expected, rtol=1e-12, atol=4 * EPS, msg=name)


def test_gini_published_form():
    x = torch.tensor([3.0, -1.0, 0.0, 2.0], dtype=torch.float64)
    c, n = [0.0, 1.0, 2.0, 3.0], 4
    expected = 1 - 2 * sum(c[k - 1] / 6 * (n - k + 0.5) / n for k in range(1, n + 1))
    assert sparsity.gini(x).item() == pytest.approx(expected, rel=4 * EPS)


MEASURES = {
    "s0": sparsity.s0,
    "s": sparsity.s,
    "s_star": sparsity.s_star,
    "s_star 1/2, 3": lambda x, dim=-1: sparsity.s_star(x, 0.5, 3, dim=dim),
    "s_star 1/2, inf": lambda x, dim=-1: sparsity.s_star(x, 0.5, INF, dim=dim),
    "gini": sparsity.gini,
}


@pytest.mark.parametrize("name", MEASURES)
class TestEveryMeasure:
    @pytest.mark.parametrize("factor", [1e300, 1e-300, -2.5])
    def test_scale(self, name, factor, generator):
        x = torch.randn(3, 63, generator=generator, dtype=torch.float64)
        torch.testing.assert_close(MEASURES[name](factor * x), MEASURES[name](x), rtol=32 * EPS, atol=0)

    def test_dims(self, name, generator):
        x = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64)
        f = MEASURES[name]
        assert f(x, dim=1).shape == (3, 5)
        torch.testing.assert_close(f(x, dim=1), f(x.movedim(1, -1)), rtol=4 * EPS, atol=0)
        torch.testing.assert_close(f(x, dim=0), f(x, dim=-3), rtol=0, atol=0)

    def test_gradcheck(self, name, generator):
        x = torch.randn(3, 5, generator=generator, dtype=torch.float64, requires_grad=True)
        assert gradcheck(MEASURES[name], x)
        assert gradgradcheck(MEASURES[name], x)

    def test_gradient_is_orthogonal_to_x_and_zero_at_zeros(self, name):
        x = torch.tensor([3.0, -2.0, 0.0, 0.5, 0.0], dtype=torch.float64, requires_grad=True)
        (grad,) = torch.autograd.grad(MEASURES[name](x), x)
        assert torch.isfinite(grad).all() and (grad[[2, 4]] == 0).all()
        # D2, differentiated: the measure does not change along x.
        assert abs((grad * x).sum().item()) < 1e-15
        scaled = (1e200 * x.detach()).requires_grad_()
        (grad_scaled,) = torch.autograd.grad(MEASURES[name](scaled), scaled)
        torch.testing.assert_close(1e200 * grad_scaled, grad, rtol=1e-12, atol=1e-15)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
    def test_narrow_dtypes(self, name, dtype, generator):
        x = torch.randn(8, 111, generator=generator).to(dtype)
        got = MEASURES[name](x)
        assert got.dtype == dtype
        # Computed in float32 from the stored x: the result's own rounding, and some float32 ulps.
        rtol = torch.finfo(dtype).eps / 2 + 32 * torch.finfo(torch.float32).eps
        torch.testing.assert_close(got.double(), MEASURES[name](x.double()), rtol=rtol, atol=0)


nonzero = st.lists(st.one_of(st.just(0.0), st.floats(1e-3, 1e3)), min_size=1, max_size=12).filter(any)


class TestIdentities:
    @given(nonzero, st.floats(0.1, 1), st.floats(0.01, 10))
    def test_range(self, x, q, extra):
        x = torch.tensor(x, dtype=torch.float64)
        n, p = len(x), q + extra
        value = sparsity.s_star(x, q, p).item()
        assert n ** (1 / p - 1 / q) * (1 - 1e-12) <= value <= 1 + 1e-12

    @given(nonzero, st.floats(1.001, 20))
    def test_function_of_the_renyi_entropy(self, x, p):
        x = torch.tensor(x, dtype=torch.float64)
        h = al.renyi_entropy(x / x.sum(), p) - math.log(len(x))
        torch.testing.assert_close(sparsity.s_star(x, 1, p), torch.exp((p - 1) / p * h), rtol=1e-12, atol=0)

    @given(nonzero, st.floats(0.05, 0.95), st.floats(1.05, 20))
    def test_positive_combination_of_two_renyi_entropies(self, x, q, p):
        """U6: for q < 1 < p both coefficients are positive."""
        x = torch.tensor(x, dtype=torch.float64)
        prob, log_n = x / x.sum(), math.log(len(x))
        log_s = (1 - q) / q * (al.renyi_entropy(prob, q) - log_n) + (p - 1) / p * (
            al.renyi_entropy(prob, p) - log_n
        )
        torch.testing.assert_close(sparsity.s_star(x, q, p).log(), log_s, rtol=1e-11, atol=1e-12)

    def test_ends_of_the_orders(self, generator):
        p = torch.softmax(torch.randn(5, 31, generator=generator, dtype=torch.float64), -1)
        torch.testing.assert_close(
            sparsity.s0(p), torch.exp(al.renyi_entropy(p, INF)) / 31, rtol=1e-13, atol=0
        )
        effective = torch.exp(al.renyi_entropy(p, 2))
        torch.testing.assert_close(sparsity.s_star(p), torch.sqrt(effective / 31), rtol=1e-13, atol=0)
        torch.testing.assert_close(sparsity.s_star(p, 1, 1e8), sparsity.s0(p), rtol=1e-6, atol=0)

    def test_cosine_and_coefficient_of_variation(self, generator):
        x = torch.randn(5, 31, generator=generator, dtype=torch.float64)
        cosine = torch.nn.functional.cosine_similarity(x.sign(), x, dim=-1)
        torch.testing.assert_close(sparsity.s_star(x), cosine, rtol=1e-13, atol=0)
        a = x.abs()
        variation = a.var(-1, correction=0) / a.mean(-1).square()
        torch.testing.assert_close(sparsity.s_star(x), 1 / torch.sqrt(1 + variation), rtol=1e-13, atol=0)


X = torch.tensor([1.0, 2.0])
BAD_INPUTS = [
    (lambda f: f([1.0]), TypeError, "x must be a torch.Tensor, got list"),
    (lambda f: f(torch.tensor([1, 2])), TypeError, "x must have a floating-point dtype, got torch.int64"),
    (
        lambda f: f(torch.tensor([[1.0, 0.0], [0.0, 0.0]])),
        InvalidArgument,
        "x must have a non-zero entry along dim=-1",
    ),
    (lambda f: f(torch.tensor([1.0, math.nan])), InvalidArgument, "x must be finite, got nan"),
    (lambda f: f(torch.tensor([1.0, INF])), InvalidArgument, "x must be finite, got inf"),
    (lambda f: f(torch.zeros(2, 0)), InvalidArgument, "x must have at least one entry along dim=-1"),
    (lambda f: f(X, dim=1), InvalidArgument, "dim=1 is out of range for x"),
]


@pytest.mark.parametrize("call, error, message", BAD_INPUTS)
@pytest.mark.parametrize("name", MEASURES)
def test_bad_vectors(name, call, error, message):
    with pytest.raises(error, match=message):
        call(MEASURES[name])


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: sparsity.s(X, 0), InvalidArgument, r"p must lie in \(0.0, inf\], got 0.0"),
        (lambda: sparsity.s(X, "2"), TypeError, "p must be a real number, got str"),
        (lambda: sparsity.s_star(X, 0, 2), InvalidArgument, r"q must lie in \(0.0, inf\], got 0.0"),
        (lambda: sparsity.s_star(X, 1, -2), InvalidArgument, r"p must lie in \(0.0, inf\], got -2.0"),
        (lambda: sparsity.s_star(X, math.nan, 2), InvalidArgument, "q must be a number, got nan"),
    ],
)
def test_bad_orders(call, error, message):
    with pytest.raises(error, match=message):
        call()
