"""Entropy normalisation: every reachable target is met, by the right root, with the right gradient."""

import math
import pickle

import mpmath as mp
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

import attnlib as al
from attnlib.errors import InvalidArgument, UnreachableEntropy
from benchmarks.normalization_problems import problems

INF = math.inf
EPS = torch.finfo(torch.float64).eps


def test_mixed_suite_never_fails_and_takes_at_most_20_iterations():
    """A fiftieth of benchmarks/normalization_suite.py."""
    solved = 0
    for p, target in problems(2_000, seed=5):
        result = al.normalize_entropy(p, target)
        assert (result.gamma > 0).all() and torch.isfinite(result.gamma).all()
        assert result.iterations.max() <= 20
        # An ulp of gamma is V/H ulps of the entropy; V/H is |log p| of the entries beside the peak, under 10
        # here.
        torch.testing.assert_close(al.shannon_entropy(result.p), target, rtol=20 * EPS, atol=0)
        assert (result.p.gather(-1, p.argsort(-1)).diff() >= 0).all(), "gamma > 0 keeps the order"
        assert (result.p[p == 0] == 0).all()
        solved += len(p)
    assert solved == 2_000


@pytest.mark.parametrize(
    "p, target, gamma",
    [
        # 8829-C9: the article's iteration ends at -0.45493, -0.45973 and -8.47950 on the first three.
        ((0.99, 0.01), 0.5 * math.log(2), 0.45493),
        ((0.97, 0.02, 0.01), 0.8 * math.log(3), None),
        ((0.4, 0.6), 0.2 * math.log(2), 8.47950),
        ((0.26, 0.25, 0.25, 0.24), 0.5, None),
        ((0.99, 0.01), 0.474081, None),
        ((0.4, 0.4, 0.1, 0.1, 0.0), math.log(2) + 1e-3, None),
        # Nearly tied: gamma is 1e12, and the gap must be that of p as stored.
        ((0.5 + 2.0**-40, 0.5 - 2.0**-40), 0.3, None),
        ((0.25 + 3 * 2.0**-44, 0.25 - 2.0**-44, 0.25 - 2.0**-44, 0.25 - 2.0**-44), 1.2, None),
    ],
)
def test_against_mpmath(p, target, gamma):
    result = al.normalize_entropy(torch.tensor(p, dtype=torch.float64), target)

    def entropy(g):
        weights = [mp.mpf(v) ** g for v in p if v > 0]
        total = sum(weights)
        return -sum(w / total * mp.log(w / total) for w in weights)

    with mp.workdps(50):
        # H falls in gamma > 0, so the sign change is the root.
        found = mp.mpf(result.gamma.item())
        assert entropy(found * (1 - mp.mpf(2e-13))) > target > entropy(found * (1 + mp.mpf(2e-13)))
    if gamma is not None:
        assert result.gamma.item() == pytest.approx(gamma, abs=5e-6)


PLATEAUS = [
    (0, -1, -100),
    (0, -1, -100, -1e4, -1e6),
    (0, -1e-6, -1, -1e6),
    (0, -1e-12, -1e12),
    (0, -1e-12, -1e-6, -1, -1e6, -1e12),
]


def test_the_guards_bound_the_iterations(generator):
    """Gaps over many decades, and a row with a shoulder on which unguarded Newton steps grow long."""
    flat = torch.linspace(4.048, 4.052, 300, dtype=torch.float64)
    s = -torch.cat([torch.tensor([0.0, 0.0244, 0.149, 0.754, 89.95], dtype=torch.float64), flat])
    shoulder = al.normalize_entropy_scores(s, torch.linspace(0.1, 5.7, 200, dtype=torch.float64))
    assert shoulder.iterations.max() <= 12
    for decades, most in [(6, 20), (60, 20), (300, 24)]:
        for flat in (0, 300):
            exponent = torch.rand(400, 6, generator=generator, dtype=torch.float64) * decades
            gaps = 10 ** (exponent - exponent.mean(-1, keepdim=True))
            level = 1 + 1e-3 * torch.rand(400, flat, generator=generator, dtype=torch.float64)
            s = -torch.cat([torch.zeros_like(gaps[:, :1]), gaps, gaps[:, -1:] * level], -1)
            share = 0.01 + 0.98 * torch.rand(400, generator=generator, dtype=torch.float64)
            target = share * math.log(s.shape[-1])
            result = al.normalize_entropy_scores(s, target)
            assert result.iterations.max() <= most
            reached = al.softmax_entropy(s, result.gamma.unsqueeze(-1))
            torch.testing.assert_close(reached, target, rtol=40 * EPS, atol=0)


@pytest.mark.parametrize("scores", PLATEAUS)
def test_plateaus_and_extreme_targets(scores):
    """Gaps on several scales: H has flat stretches on which plain Newton is lost."""
    s = torch.tensor(scores, dtype=torch.float64)
    share = torch.cat(
        [torch.logspace(-300, -2, 150), torch.linspace(0.01, 0.99, 300), 1 - torch.logspace(-12, -2, 100)]
    )
    target = share.double().clamp(min=1e-37) * math.log(len(s))
    result = al.normalize_entropy_scores(s, target)
    assert result.iterations.max() <= 20
    # A target of 1e-37 is met where |u| = 90, and there an ulp of gamma is 90 ulps of the entropy.
    torch.testing.assert_close(
        al.softmax_entropy(s, result.gamma.unsqueeze(-1)), target, rtol=400 * EPS, atol=0
    )


def test_long_float32_row():
    """A row whose varentropy float32 can hardly tell from 0: one entry above 10^6 equal ones."""
    s = torch.zeros(1_000_001)
    s[0] = 1e-3
    target = torch.tensor([0.1, 7.0, 13.0, 13.8])
    result = al.normalize_entropy_scores(s, target)
    assert result.iterations.max() <= 20
    torch.testing.assert_close(
        al.softmax_entropy(s, result.gamma.unsqueeze(-1)),
        target,
        rtol=32 * torch.finfo(torch.float32).eps,
        atol=0,
    )


def test_finfo_min_as_mask():
    """A finite score so low that gamma times its gap overflows has no weight, and no gradient."""
    lowest = torch.finfo(torch.float32).min
    s = torch.tensor([0.0, -1e-3, -2e-3, lowest], requires_grad=True)
    p, gamma, _ = al.normalize_entropy_scores(s, 0.8)
    without = al.normalize_entropy_scores(s.detach()[:3], 0.8)
    torch.testing.assert_close((p[:3], gamma), (without.p, without.gamma), rtol=1e-5, atol=0)
    (grad,) = torch.autograd.grad(p[0] + gamma, s)
    assert p[3] == 0 and grad[3] == 0 and torch.isfinite(grad).all()


def test_float32_plateaus():
    s = torch.tensor([0.0, -1.0, -100.0, -1e4])
    target = torch.linspace(0.01, 0.99, 500) * math.log(4)
    result = al.normalize_entropy_scores(s, target)
    assert result.iterations.max() <= 20
    torch.testing.assert_close(
        al.softmax_entropy(s, result.gamma.unsqueeze(-1)),
        target,
        rtol=40 * torch.finfo(torch.float32).eps,
        atol=0,
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_dtypes(dtype, generator):
    p = torch.softmax(2 * torch.randn(64, 63, generator=generator), -1).to(dtype)
    target = torch.linspace(0.5, 4.0, 64)
    result = al.normalize_entropy(p, target)
    assert result.p.dtype == result.gamma.dtype == dtype
    exact = al.normalize_entropy(p.double() / p.double().sum(-1, keepdim=True), target.double())
    eps = torch.finfo(dtype).eps
    # float32 inside: H is off by some ulps, gamma by H/V times as many; H/V is at most 20 here.
    inside = 20 * 4 * torch.finfo(torch.float32).eps
    torch.testing.assert_close(result.gamma.double(), exact.gamma, rtol=eps / 2 + inside, atol=0)
    subnormal = torch.finfo(dtype).smallest_normal * eps
    # The smallest p hold gamma |log p| times the error of gamma; p below 1e-14 is left to the rounding of
    # zero.
    torch.testing.assert_close(result.p.double(), exact.p, rtol=eps / 2 + 32 * inside, atol=subnormal + 1e-14)


def test_target_stored_in_bfloat16_may_round_above_log_k():
    target = torch.tensor(math.log(100), dtype=torch.bfloat16)
    target = torch.nextafter(target, torch.tensor(INF, dtype=torch.bfloat16))
    p = torch.softmax(torch.linspace(0, 1, 100), -1).to(torch.bfloat16)
    result = al.normalize_entropy(p, target)
    assert 0 < result.gamma < 1e-2
    with pytest.raises(UnreachableEntropy):
        al.normalize_entropy(p, target.double().item())


class TestUpperEnd:
    def test_log_k_is_met_to_rounding_by_a_positive_power(self):
        p = torch.tensor([0.7, 0.2, 0.1, 0.0], dtype=torch.float64)
        result = al.normalize_entropy(p, math.log(3))
        assert 0 < result.gamma < 1e-6
        assert al.shannon_entropy(result.p).item() == pytest.approx(math.log(3), rel=4 * EPS)
        assert result.p[3] == 0

    @pytest.mark.parametrize("p", [[1.0], [0.0, 1.0], [0.25] * 4, [0.5, 0.0, 0.5]])
    def test_row_uniform_on_its_support_is_left_alone(self, p):
        p = torch.tensor(p, dtype=torch.float64, requires_grad=True)
        target = al.renyi_entropy(p.detach(), 0).requires_grad_()
        result = al.normalize_entropy(p, target)
        assert torch.equal(result.p.detach(), p.detach()) and result.gamma == 1 and result.iterations == 0
        weight = torch.arange(1.0, len(p) + 1, dtype=torch.float64)
        grad_p, grad_target = torch.autograd.grad((result.p * weight).sum() + result.gamma, (p, target))
        assert grad_target == 0 and torch.isfinite(grad_p).all()
        with pytest.raises(UnreachableEntropy, match="uniform on its support"):
            al.normalize_entropy(p, target.detach() + 0.1)


class TestGradients:
    def outputs(self, result):
        return result.p, result.gamma

    def test_probabilities_and_target(self, generator):
        x = torch.randn(3, 5, generator=generator, dtype=torch.float64, requires_grad=True)
        target = torch.tensor([0.3, 0.9, 1.5], dtype=torch.float64, requires_grad=True)

        def f(x, t):
            return self.outputs(al.normalize_entropy(torch.softmax(x, -1), t))

        assert gradcheck(f, (x, target))
        assert gradgradcheck(f, (x[:2].detach().requires_grad_(), target[:2].detach().requires_grad_()))

    def test_scores_masks_and_dims(self, generator):
        s = torch.randn(4, 3, 2, generator=generator, dtype=torch.float64, requires_grad=True)
        target = torch.tensor([[0.3, 0.5], [0.6, 0.2], [0.4, 0.65]], dtype=torch.float64, requires_grad=True)
        mask = torch.zeros(4, 3, 2, dtype=torch.bool)
        mask[1, 1], mask[0, 2, 1], mask[3, 2, 1] = True, True, True

        def f(s, t):
            return self.outputs(al.normalize_entropy_scores(s.masked_fill(mask, -INF), t, dim=0))

        assert gradcheck(f, (s, target))
        leaf = s.detach().masked_fill(mask, -INF).requires_grad_()
        p, gamma, _ = al.normalize_entropy_scores(leaf, target, dim=0)
        assert p.shape == (4, 3, 2) and gamma.shape == (3, 2)
        (grad,) = torch.autograd.grad((p.square().sum() + gamma.sum()), leaf)
        assert (grad[mask] == 0).all() and torch.isfinite(grad).all()

    def test_ties(self, generator):
        s = torch.tensor([1.0, 1.0, 0.0, -0.5], dtype=torch.float64)
        x = torch.tensor([0.3, -1.0], dtype=torch.float64, requires_grad=True)

        def f(x):
            # The tied pair moves together, so that the ties persist.
            return self.outputs(al.normalize_entropy_scores(torch.cat([x[:1], x[:1], x[1:], s[3:] - 2]), 0.9))

        assert gradcheck(f, x)

    def test_target_alone_is_the_inverse_of_entropy(self):
        s = torch.tensor([0.5, 0.0, -2.0], dtype=torch.float64)
        target = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
        gamma = al.normalize_entropy_scores(s, target).gamma
        (slope,) = torch.autograd.grad(gamma, target)
        g = gamma.detach().requires_grad_()
        (forward,) = torch.autograd.grad(al.softmax_entropy(s, g), g)
        assert slope.item() == pytest.approx(1 / forward.item(), rel=1e-12)

    def test_zeros_of_p_get_no_gradient(self):
        p = torch.tensor([0.6, 0.0, 0.3, 0.1], dtype=torch.float64, requires_grad=True)
        result = al.normalize_entropy(p, 0.5)
        (grad,) = torch.autograd.grad(result.p[0] + result.gamma, p)
        assert grad[1] == 0 and torch.isfinite(grad).all()
        assert abs((p * grad).sum().item()) < 1e-14


def test_target_broadcasts_over_and_beyond_the_rows(generator):
    p = torch.softmax(torch.randn(3, 7, generator=generator, dtype=torch.float64), -1)
    one = al.normalize_entropy(p, 1.0)
    targets = torch.tensor([[0.5], [1.0]], dtype=torch.float64)
    many = al.normalize_entropy(p, targets)
    assert many.p.shape == (2, 3, 7) and many.gamma.shape == many.iterations.shape == (2, 3)
    torch.testing.assert_close(many.p[1], one.p)
    columns = al.normalize_entropy(p.T, targets, dim=0)
    assert columns.p.shape == (2, 7, 3)
    torch.testing.assert_close(columns.p, many.p.mT)
    single = al.normalize_entropy(p[0], 0.5)
    assert single.gamma.shape == () and single.iterations.dtype == torch.int64


def test_fully_masked_row_has_entropy_zero_only():
    s = torch.tensor([[-INF, -INF], [0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    result = al.normalize_entropy_scores(s, torch.tensor([0.0, 0.3], dtype=torch.float64))
    assert (result.p[0] == 0).all() and result.gamma[0] == 1
    (grad,) = torch.autograd.grad(result.p.square().sum() + result.gamma.sum(), s)
    assert (grad[0] == 0).all() and torch.isfinite(grad).all()
    with pytest.raises(UnreachableEntropy):
        al.normalize_entropy_scores(s, 0.3)


grid = st.integers(-30_000, 30_000).map(lambda i: i / 1000)


@given(st.lists(grid, min_size=2, max_size=10, unique=True), st.floats(0.01, 0.99), st.floats(0.1, 10))
def test_gamma_is_inverse_to_the_spread_of_scores(scores, share, factor):
    s = torch.tensor(scores, dtype=torch.float64)
    target = share * math.log(len(s))
    a = al.normalize_entropy_scores(s, target)
    b = al.normalize_entropy_scores(factor * s, target)
    assert al.softmax_entropy(s, a.gamma).item() == pytest.approx(target, rel=100 * EPS)
    # Scores up to 30 are stored to 4e-15, which is 4e-12 of the smallest gap there can be; e^(gamma gap) of
    # weights above 1e-15 turns that into 35 times as much.
    torch.testing.assert_close(b.p, a.p, rtol=2e-10, atol=1e-15)
    torch.testing.assert_close(al.power_transform(torch.softmax(s, -1), a.gamma), a.p, rtol=1e-9, atol=1e-15)


class TestPowerTransform:
    def test_signs_and_zeros(self):
        p = torch.tensor([0.5, 0.25, 0.25, 0.0], dtype=torch.float64)
        for gamma, expected in [
            (0.0, [1 / 3, 1 / 3, 1 / 3, 0]),
            (1.0, p.tolist()),
            (2.0, [2 / 3, 1 / 6, 1 / 6, 0]),
            (-1.0, [0.2, 0.4, 0.4, 0]),
            (1e6, [1, 0, 0, 0]),
        ]:
            torch.testing.assert_close(
                al.power_transform(p, gamma),
                torch.tensor(expected, dtype=torch.float64),
                rtol=4 * EPS,
                atol=1e-300,
            )

    def test_gradcheck(self, generator):
        x = torch.randn(2, 4, generator=generator, dtype=torch.float64, requires_grad=True)
        gamma = torch.tensor([1.5, -0.5], dtype=torch.float64, requires_grad=True)
        assert gradcheck(lambda x, g: al.power_transform(torch.softmax(x, -1), g), (x, gamma))
        assert gradcheck(lambda x, g: al.power_transform(torch.softmax(x, 0), g[0], dim=0), (x, gamma))

    def test_is_softmax_of_scaled_scores(self, generator):
        s = torch.randn(63, generator=generator, dtype=torch.float64)
        torch.testing.assert_close(
            al.power_transform(torch.softmax(s, -1), 2.5), torch.softmax(2.5 * s, -1), rtol=1e-13, atol=0
        )


P = torch.tensor([[0.5, 0.5, 0.0], [0.7, 0.2, 0.1]])
BAD_INPUTS = [
    (lambda: al.normalize_entropy([1.0], 0.1), TypeError, "p must be a torch.Tensor"),
    (lambda: al.normalize_entropy(P, "1"), TypeError, "target must be a real number, got str"),
    (
        lambda: al.normalize_entropy(P, torch.tensor([1, 1])),
        TypeError,
        "target must have a floating-point dtype",
    ),
    (lambda: al.normalize_entropy(P, math.nan), InvalidArgument, "target must be finite, got nan"),
    (
        lambda: al.normalize_entropy(P, torch.tensor([0.1, INF])),
        InvalidArgument,
        "target must be finite, got inf",
    ),
    (
        lambda: al.normalize_entropy(P, torch.ones(3)),
        InvalidArgument,
        r"target of shape \(3,\) does not broadcast",
    ),
    (lambda: al.normalize_entropy(2 * P, 0.1), InvalidArgument, "p must sum to 1"),
    (lambda: al.normalize_entropy(-P, 0.1), InvalidArgument, "p must be non-negative"),
    (lambda: al.normalize_entropy(P, 0.1, dim=2), InvalidArgument, "dim=2 is out of range"),
    (
        lambda: al.normalize_entropy_scores(torch.tensor([0.0, math.nan]), 0.1),
        InvalidArgument,
        "scores contains NaN",
    ),
    (
        lambda: al.normalize_entropy_scores(torch.tensor([0.0, INF]), 0.1),
        InvalidArgument,
        r"scores must be below \+inf",
    ),
    (lambda: al.normalize_entropy_scores(torch.zeros(0), 0.1), InvalidArgument, "at least one entry"),
    (lambda: al.power_transform(P, INF), InvalidArgument, "gamma must be finite, got inf"),
    (
        lambda: al.power_transform(P, torch.ones(2, 3)),
        InvalidArgument,
        "gamma of shape .* does not broadcast",
    ),
    (lambda: al.power_transform(torch.ones(2), 1.0), InvalidArgument, "p must sum to 1"),
]


@pytest.mark.parametrize("call, error, message", BAD_INPUTS)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    "p, target",
    [
        ((0.7, 0.2, 0.1), 0.0),
        ((0.7, 0.2, 0.1), -1.0),
        ((0.7, 0.2, 0.1), 1.0987),
        ((0.4, 0.4, 0.2), math.log(2)),
        ((0.4, 0.4, 0.2, 0.0), 1.2),
        ((0.5, 0.5), 0.6),
    ],
)
def test_unreachable_target_names_range_and_row(p, target):
    p = torch.tensor(p, dtype=torch.float64)
    m, k = (p == p.max()).sum().item(), (p > 0).sum().item()
    with pytest.raises(UnreachableEntropy, match="out of reach") as caught:
        al.normalize_entropy(p, target)
    assert caught.value.lower == pytest.approx(math.log(m)) and caught.value.upper == pytest.approx(
        math.log(k)
    )
    rows = torch.stack([torch.softmax(torch.arange(len(p), dtype=torch.float64), -1)] * 2 + [p])
    reachable = 0.65 if len(p) > 2 else 0.3
    with pytest.raises(UnreachableEntropy, match=r"in row \(2,\)"):
        al.normalize_entropy(rows, torch.tensor([reachable, reachable, target], dtype=torch.float64))


def test_an_unreachable_target_crosses_processes():
    error = pickle.loads(pickle.dumps(UnreachableEntropy("out of reach", lower=0.5, upper=1.5)))
    assert type(error) is UnreachableEntropy and str(error) == "out of reach"
    assert (error.lower, error.upper) == (0.5, 1.5)
