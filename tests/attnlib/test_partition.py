"""Score and probability functions against mpmath at 80 digits, SciPy, entmax, and their own identities."""

import math

import entmax
import mpmath as mp
import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

import attnlib as al
from attnlib.errors import InvalidArgument

INF = math.inf
EPS = torch.finfo(torch.float64).eps
ORDERS = [0.0, 1e-9, 0.01, 0.5, 0.9, 1.0, 1.5, 2.0, 3.0, 50.0, 1e5, INF]


def rows(generator):
    def normal(n):
        return torch.randn(n, generator=generator, dtype=torch.float64)

    return {
        "ordinary, 63": 3 * normal(63),
        "scores of 1e4, 111": 1e4 * normal(111),
        "peaked": torch.tensor([0.0, -50.0, -60.0], dtype=torch.float64),
        "nearly uniform": 1e-6 * normal(7),
        "masked and tied": torch.tensor([2.0, -INF, 2.0, -1.0, -INF], dtype=torch.float64),
        "one entry": torch.tensor([-3.0], dtype=torch.float64),
    }


def mp_partition(scores, scale):
    terms = [mp.mpf(scale) * mp.mpf(s) for s in scores.tolist() if s != -INF]
    top = max(terms)
    return top + mp.log(sum(mp.exp(t - top) for t in terms))


def mp_log_p(scores, scale):
    f = mp_partition(scores, scale)
    return [mp.mpf(scale) * mp.mpf(s) - f for s in scores.tolist() if s != -INF]


def mp_renyi(scores, order, scale):
    log_p = mp_log_p(scores, scale)
    if order == INF:
        return -max(log_p)
    if order == 1:
        return -sum(mp.exp(x) * x for x in log_p)
    return mp.log(sum(mp.exp(mp.mpf(order) * x) for x in log_p)) / (1 - mp.mpf(order))


def mp_varentropy(scores, scale):
    log_p = mp_log_p(scores, scale)
    mean = sum(mp.exp(x) * x for x in log_p)
    return sum(mp.exp(x) * (x - mean) ** 2 for x in log_p)


def budget(scores, order, scale):
    """Relative error a result may have.

    exp(a u) has the relative error |a u| eps, and only terms within e^-40 of the largest one below the peak
    matter; 4 for the handful of operations behind each.
    """
    visible = scores[scores > -INF]
    key = visible * math.copysign(1, scale)
    gaps = (key.max() - key)[key < key.max()] * abs(scale)
    reach = 0.0 if len(gaps) == 0 else min(745.0, min(max(1.0, order), 1e9) * gaps.min().item())
    return 4 * EPS * (40 + reach)


def agrees(actual, expected, tolerance):
    # 1e-60 is what the oracle itself, with 80 digits and divisions by |1 - order| = 1e-15, can tell from 0.
    return abs(mp.mpf(actual) - expected) <= tolerance * abs(expected) + mp.mpf(10) ** -60


@pytest.fixture(autouse=True)
def digits():
    with mp.workdps(80):
        yield


@pytest.mark.parametrize("scale", [1.0, -0.7, 0.0, 0.03, 30.0])
def test_against_mpmath(generator, scale):
    for name, s in rows(generator).items():
        got = al.log_partition(s, scale).item()
        expected = mp_partition(s, scale)
        assert abs(got - expected) <= 4 * EPS * (40 + abs(expected)), name
        for order in ORDERS:
            got = al.softmax_renyi_entropy(s, order, scale).item()
            assert agrees(got, mp_renyi(s, order, scale), budget(s, order, scale)), (name, order)
        assert agrees(al.softmax_entropy(s, scale).item(), mp_renyi(s, 1, scale), budget(s, 1, scale)), name
        assert agrees(al.softmax_varentropy(s, scale).item(), mp_varentropy(s, scale), budget(s, 1, scale)), (
            name
        )


@pytest.mark.parametrize("sign", [1, -1])
def test_renyi_loses_no_digit_next_to_order_one(generator, sign):
    for name, s in rows(generator).items():
        p = torch.softmax(s, -1)
        log_p = torch.log(p)
        for k in range(1, 16):
            order = 1.0 + sign * 10.0**-k
            expected = mp_renyi(s, order, 1.0)
            assert agrees(al.softmax_renyi_entropy(s, order).item(), expected, budget(s, 1, 1.0)), (
                name,
                order,
            )
            # The entropy of the stored p, whatever softmax made of it.
            expected = mp_renyi(log_p, order, 1.0)
            # log p is stored with an absolute error of |log p| eps, which its own gaps inherit.
            slack = 4 * EPS * (40 + 2 * p[p > 0].log().abs().max().item())
            assert agrees(al.renyi_entropy(p, order).item(), expected, slack), (name, order)


def test_slope_in_order_at_one_is_minus_half_the_varentropy():
    # H_(1+d) = H - d V/2 + O(d^2); central differences remove the second order.
    s = torch.tensor([0.3, -1.0, 2.0, 0.7], dtype=torch.float64)
    d = 1e-5
    slope = (al.softmax_renyi_entropy(s, 1 + d) - al.softmax_renyi_entropy(s, 1 - d)) / (2 * d)
    assert slope.item() == pytest.approx(-al.softmax_varentropy(s).item() / 2, rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ten_million_entries(dtype):
    n = 10_000_000
    s = torch.zeros(n, dtype=dtype)
    s[::2] = 1.0  # two levels: F = log(n/2) + log(1 + e)
    a = 1 / (1 + math.exp(-1))
    entropy = math.log(n / 2) - a * math.log(a) - (1 - a) * math.log(1 - a)
    tolerance = 16 * torch.finfo(dtype).eps
    assert al.log_partition(s).item() == pytest.approx(math.log(n / 2) + math.log1p(math.e), rel=tolerance)
    assert al.softmax_entropy(s).item() == pytest.approx(entropy, rel=tolerance)
    collision = math.log(n / 2) - math.log(a**2 + (1 - a) ** 2)
    assert al.softmax_renyi_entropy(s, 2.0).item() == pytest.approx(collision, rel=tolerance)


def test_finfo_min_as_mask_gives_no_nan():
    s = torch.tensor([1.0, 0.0, torch.finfo(torch.float32).min], requires_grad=True)
    visible = s.detach()[:2]
    for scale in (1.0, 10.0):
        for f in (al.log_partition, al.softmax_entropy, al.softmax_varentropy):
            value = f(s, scale)
            (grad,) = torch.autograd.grad(value, s)
            assert value.item() == pytest.approx(f(visible, scale).item(), rel=1e-6)
            assert torch.isfinite(grad).all() and grad[2] == 0


FUNCTIONS = {
    "log_partition": al.log_partition,
    "entropy": al.softmax_entropy,
    "varentropy": al.softmax_varentropy,
    **{
        f"renyi {a}": (lambda s, scale=1.0, *, dim=-1, a=a: al.softmax_renyi_entropy(s, a, scale, dim=dim))
        for a in (0.0, 0.5, 1 - 1e-7, 1.0, 1 + 1e-7, 2.0, 7.5, INF)
    },
}


@pytest.mark.parametrize("name", FUNCTIONS)
class TestEveryScoreFunction:
    def test_gradcheck(self, name, generator):
        f = FUNCTIONS[name]
        s = torch.randn(3, 5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
        scale = torch.tensor([[[0.5]], [[-2.0]], [[3.0]]], dtype=torch.float64, requires_grad=True)
        for dim in (-1, 1):
            assert gradcheck(lambda s, c: f(s, c, dim=dim), (s, scale))  # noqa: B023
        assert gradgradcheck(lambda s, c: f(s, c), (s[:, :2].detach().requires_grad_(), scale))

    def test_gradcheck_masked(self, name, generator):
        f = FUNCTIONS[name]
        s = torch.randn(4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
        mask = torch.tensor(
            [[0, 0, 0, 0, 0], [0, 1, 0, 1, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]], dtype=torch.bool
        )
        assert gradcheck(lambda s: f(s.masked_fill(mask, -INF), 1.5)[:3], s)
        leaf = s.detach().masked_fill(mask, -INF).requires_grad_()
        scale = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
        value = f(leaf, scale)
        grad, scale_grad = torch.autograd.grad(value[3], (leaf, scale), retain_graph=True)
        assert value[3] == (-INF if name == "log_partition" else 0.0)
        assert (grad == 0).all() and scale_grad == 0
        (grad,) = torch.autograd.grad(value[:3].sum(), leaf)
        assert (grad[mask] == 0).all() and torch.isfinite(grad).all()

    @pytest.mark.parametrize("scale", [2.0, 0.0, -1.0])
    def test_mask_is_removal(self, name, scale, generator):
        s = torch.randn(6, generator=generator, dtype=torch.float64)
        masked = torch.cat(
            [torch.tensor([-INF], dtype=torch.float64), s, torch.tensor([-INF], dtype=torch.float64)]
        )
        torch.testing.assert_close(
            FUNCTIONS[name](masked, scale), FUNCTIONS[name](s, scale), rtol=4 * EPS, atol=0
        )

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_dtype_and_shape(self, name, dtype):
        f = FUNCTIONS[name]
        s = torch.zeros(2, 3, 4, dtype=dtype)
        assert f(s).dtype == dtype and f(s).shape == (2, 3)
        assert f(s, dim=0).shape == (3, 4)
        assert f(s[0], torch.ones(5, 1, 1, dtype=dtype)).shape == (5, 3)
        assert f(s[0], torch.ones(5, 1, 1, dtype=dtype), dim=1).shape == (5, 3)

    def test_one_entry(self, name):
        s = torch.tensor([7.0], dtype=torch.float64, requires_grad=True)
        value = FUNCTIONS[name](s, 3.0)
        (grad,) = torch.autograd.grad(value, s)
        assert (value.item(), grad.item()) == ((21.0, 3.0) if name == "log_partition" else (0.0, 0.0))

    def test_tensor_scale_is_that_many_floats(self, name, generator):
        s = torch.randn(63, generator=generator, dtype=torch.float64)
        scales = torch.tensor([-3.0, 0.0, 0.25, 8.0], dtype=torch.float64)
        swept = FUNCTIONS[name](s, scales.unsqueeze(-1))
        single = torch.stack([FUNCTIONS[name](s, c) for c in scales.tolist()])
        torch.testing.assert_close(swept, single, rtol=4 * EPS, atol=0)


def test_scale_derivatives_of_log_partition_are_cumulants():
    s = torch.tensor([0.0, 1.0, 4.0, -2.0], dtype=torch.float64)
    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(al.log_partition(s, scale), scale, create_graph=True)
    (second,) = torch.autograd.grad(first, scale, create_graph=True)
    (third,) = torch.autograd.grad(second, scale)
    p = torch.softmax(0.7 * s, -1)
    mean = (p * s).sum()
    torch.testing.assert_close(first.detach(), mean, rtol=1e-13, atol=0)
    torch.testing.assert_close(second.detach(), (p * (s - mean) ** 2).sum(), rtol=1e-13, atol=0)
    torch.testing.assert_close(third, (p * (s - mean) ** 3).sum(), rtol=1e-13, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("n", [63, 111])
def test_half_precision_is_within_twice_the_naive_error(dtype, n, generator):
    s = (3 * torch.randn(16, n, generator=generator)).to(dtype)
    exact = al.softmax_entropy(s.double())
    log_p = torch.log_softmax(s, -1)
    naive = -(log_p.exp() * log_p).sum(-1)
    # float32 inside: what is left is the rounding of the result, half an ulp.
    atol = 0.5 * torch.finfo(dtype).eps * exact.max().item()
    error = (al.softmax_entropy(s).double() - exact).abs().max().item()
    assert error <= 2 * (naive.double() - exact).abs().max().item() + atol
    assert error <= 2 * atol


def test_scipy_agrees(generator):
    s = 2 * torch.randn(8, 63, generator=generator, dtype=torch.float64)
    p = torch.softmax(s, -1)
    np.testing.assert_allclose(
        al.log_partition(s).numpy(), scipy.special.logsumexp(s.numpy(), axis=-1), rtol=1e-14
    )
    np.testing.assert_allclose(
        al.softmax_entropy(s).numpy(), scipy.stats.entropy(p.numpy(), axis=-1), rtol=1e-14
    )
    np.testing.assert_allclose(
        al.shannon_entropy(p).numpy(), scipy.stats.entropy(p.numpy(), axis=-1), rtol=1e-14
    )


def test_gibbs_inequality_with_entmax(generator):
    """F(s) >= p.s + H(p), with equality for softmax only; entmax gives the p with exact zeros."""
    s = 2 * torch.randn(16, 31, generator=generator, dtype=torch.float64)
    f = al.log_partition(s)
    for transform, gap_is_zero in [
        (torch.softmax, True),
        (entmax.sparsemax, False),
        (entmax.entmax15, False),
    ]:
        p = transform(s, dim=-1)
        p = p / p.sum(-1, keepdim=True)
        gap = f - (p * s).sum(-1) - al.shannon_entropy(p)
        assert (gap.abs() < 1e-13).all() if gap_is_zero else (gap > 1e-3).all()
        support = al.renyi_entropy(p, 0)
        torch.testing.assert_close(support, (p > 0).sum(-1).double().log(), rtol=4 * EPS, atol=0)


class TestProbabilityVectors:
    def test_gradient_on_the_simplex(self, generator):
        p = torch.softmax(torch.randn(5, 7, generator=generator, dtype=torch.float64), -1).requires_grad_()
        h = al.shannon_entropy(p)
        (grad,) = torch.autograd.grad(h.sum(), p)
        torch.testing.assert_close(grad, (-p.log() - h.unsqueeze(-1)).detach(), rtol=1e-12, atol=1e-14)
        # What softmax hands on does not depend on the constant by which this differs from -log p - 1.
        for order in (0.5, 1.0, 2.0, INF):
            x = torch.randn(3, 6, generator=generator, dtype=torch.float64, requires_grad=True)
            assert gradcheck(lambda x: al.renyi_entropy(torch.softmax(x, -1), order), x)  # noqa: B023

    @pytest.mark.parametrize("order", [0.0, 0.3, 1 - 1e-9, 1.0, 1 + 1e-9, 2.0, INF])
    def test_zeros_contribute_nothing(self, order):
        p = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
        with_zeros = torch.tensor([0.0, 0.7, 0.2, 0.0, 0.1], dtype=torch.float64, requires_grad=True)
        value = al.renyi_entropy(with_zeros, order)
        torch.testing.assert_close(value.detach(), al.renyi_entropy(p, order), rtol=4 * EPS, atol=0)
        (grad,) = torch.autograd.grad(value, with_zeros)
        assert (grad[[0, 3]] == 0).all() and torch.isfinite(grad).all()

    def test_one_hot_has_no_entropy(self):
        p = torch.tensor([0.0, 1.0, 0.0], requires_grad=True)
        for order in (0.0, 0.5, 1.0, 2.0, INF):
            value = al.renyi_entropy(p, order)
            (grad,) = torch.autograd.grad(value, p)
            assert value == 0 and (grad == 0).all()

    def test_gradient_is_continuous_through_order_one(self):
        p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64, requires_grad=True)
        (at_one,) = torch.autograd.grad(al.renyi_entropy(p, 1.0), p)
        for delta in (1e-9, -1e-9):
            (near,) = torch.autograd.grad(al.renyi_entropy(p, 1.0 + delta), p)
            torch.testing.assert_close(near, at_one, rtol=0, atol=1e-8)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_softmax_of_every_dtype_is_accepted(self, dtype, generator):
        for n in (1, 63, 4096):
            s = torch.randn(32, n, generator=generator).to(dtype)
            h = al.shannon_entropy(torch.softmax(s, -1))
            assert h.dtype == dtype
            exact = al.softmax_entropy(s.double())
            # Relative error eps/2 of every p moves H by at most eps/2 * E|log p + H|, then H is rounded.
            torch.testing.assert_close(h.double(), exact, rtol=4 * torch.finfo(dtype).eps, atol=0)

    def test_dim(self, generator):
        p = torch.softmax(torch.randn(4, 5, 6, generator=generator, dtype=torch.float64), 1)
        torch.testing.assert_close(al.shannon_entropy(p, dim=1), al.shannon_entropy(p.movedim(1, -1)))
        torch.testing.assert_close(al.shannon_entropy(p, dim=-2), al.shannon_entropy(p, dim=1))


scores_lists = st.lists(st.floats(-50, 50), min_size=1, max_size=12)
orders = st.one_of(st.floats(0, 20), st.just(INF))


class TestProperties:
    @given(scores_lists, orders, st.floats(-5, 5))
    def test_range(self, s, order, scale):
        h = al.softmax_renyi_entropy(torch.tensor(s, dtype=torch.float64), order, scale).item()
        assert 0 <= h <= math.log(len(s)) * (1 + 4 * EPS)

    @given(scores_lists, orders, orders)
    def test_decreasing_in_order(self, s, a, b):
        s = torch.tensor(s, dtype=torch.float64)
        low, high = sorted((a, b))
        h_low, h_high = al.softmax_renyi_entropy(s, low), al.softmax_renyi_entropy(s, high)
        assert h_high <= h_low * (1 + budget(s, 20, 1.0))

    @given(scores_lists, st.integers(-1000, 1000), st.randoms(use_true_random=False), orders)
    def test_shift_and_permutation(self, s, shift, random, order):
        # Scores on a grid of 1/64, so that adding an integer is exact.
        s = [round(64 * v) / 64 for v in s]
        moved = [v + shift for v in s]
        random.shuffle(moved)
        a = al.softmax_renyi_entropy(torch.tensor(s, dtype=torch.float64), order)
        b = al.softmax_renyi_entropy(torch.tensor(moved, dtype=torch.float64), order)
        torch.testing.assert_close(a, b, rtol=16 * EPS, atol=1e-300)

    @given(scores_lists, st.floats(0.1, 5), st.floats(-3, 3))
    def test_scale_multiplies_scores(self, s, scale, other):
        s = torch.tensor(s, dtype=torch.float64)
        for f in (al.log_partition, al.softmax_entropy, al.softmax_varentropy):
            torch.testing.assert_close(f(s, scale * other), f(other * s, scale), rtol=1e-12, atol=1e-12)

    @given(scores_lists, scores_lists)
    def test_chain_rule_over_groups(self, left, right):
        """H of the whole = H of the group masses + mean H within the groups."""
        left, right = (torch.tensor(v, dtype=torch.float64) for v in (left, right))
        groups = torch.stack([al.log_partition(left), al.log_partition(right)])
        weight = torch.softmax(groups, -1)
        within = weight[0] * al.softmax_entropy(left) + weight[1] * al.softmax_entropy(right)
        whole = al.softmax_entropy(torch.cat([left, right]))
        # The groups' F, up to 50, carry an absolute error of 50 eps each into the entropy of the masses.
        torch.testing.assert_close(whole, al.softmax_entropy(groups) + within, rtol=1e-12, atol=200 * EPS)

    @given(scores_lists)
    def test_slope_in_log_scale_is_minus_varentropy(self, s):
        s = torch.tensor(s, dtype=torch.float64)
        log_scale = torch.zeros((), dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(al.softmax_entropy(s, log_scale.exp()), log_scale)
        torch.testing.assert_close(-slope, al.softmax_varentropy(s), rtol=1e-11, atol=1e-11)


X = torch.zeros(2, 3)
BAD_INPUTS = [
    (lambda: al.log_partition([0.0, 1.0]), TypeError, "scores must be a torch.Tensor, got list"),
    (
        lambda: al.softmax_entropy(torch.tensor([1, 2])),
        TypeError,
        "scores .* floating-point dtype, got torch.int64",
    ),
    (
        lambda: al.log_partition(torch.tensor([0.0, math.nan])),
        InvalidArgument,
        r"scores contains NaN \(1 of 2",
    ),
    (lambda: al.softmax_varentropy(torch.tensor([0.0, INF])), InvalidArgument, r"scores must be below \+inf"),
    (
        lambda: al.log_partition(torch.zeros(2, 0)),
        InvalidArgument,
        "scores must have at least one entry along dim=-1",
    ),
    (lambda: al.log_partition(X, dim=2), InvalidArgument, "dim=2 is out of range for scores"),
    (lambda: al.log_partition(torch.tensor(1.0)), InvalidArgument, "dim=-1 is out of range for scores"),
    (lambda: al.softmax_entropy(X, "1"), TypeError, "scale must be a real number, got str"),
    (lambda: al.softmax_entropy(X, math.nan), InvalidArgument, "scale must be finite, got nan"),
    (
        lambda: al.softmax_entropy(X, torch.tensor([[INF], [1.0]])),
        InvalidArgument,
        "scale must be finite, got inf",
    ),
    (lambda: al.softmax_entropy(X, torch.tensor([[1], [2]])), TypeError, "scale .* floating-point dtype"),
    (
        lambda: al.softmax_entropy(X, torch.ones(4, 1)),
        InvalidArgument,
        r"scale of shape \(4, 1\) does not broadcast",
    ),
    (lambda: al.softmax_entropy(X, torch.ones(3)), InvalidArgument, "scale must have size 1 along .* dim=-1"),
    (lambda: al.softmax_renyi_entropy(X, -0.5), InvalidArgument, r"order must lie in \[0.0, inf\], got -0.5"),
    (lambda: al.softmax_renyi_entropy(X, math.nan), InvalidArgument, "order must be a number, got nan"),
    (lambda: al.softmax_renyi_entropy(X, "2"), TypeError, "order must be a real number, got str"),
    (lambda: al.renyi_entropy(torch.tensor([0.5, 0.5]), -1), InvalidArgument, "order must lie in"),
    (lambda: al.shannon_entropy([0.5, 0.5]), TypeError, "p must be a torch.Tensor"),
    (
        lambda: al.shannon_entropy(torch.tensor([1.5, -0.5])),
        InvalidArgument,
        "p must be non-negative, got -0.5",
    ),
    (lambda: al.shannon_entropy(torch.tensor([0.5, math.nan])), InvalidArgument, "p must be finite, got nan"),
    (lambda: al.shannon_entropy(torch.tensor([0.5, 0.25])), InvalidArgument, "p must sum to 1 .* got 0.75"),
    (
        lambda: al.shannon_entropy(torch.tensor([0.5, 0.5 + 1e-5])),
        InvalidArgument,
        "p must sum to 1 .* got 1.00001",
    ),
    (lambda: al.shannon_entropy(torch.zeros(3)), InvalidArgument, "p must sum to 1 .* got 0"),
    (lambda: al.shannon_entropy(torch.zeros(0)), InvalidArgument, "p must have at least one entry"),
]


@pytest.mark.parametrize("call, error, message", BAD_INPUTS)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
