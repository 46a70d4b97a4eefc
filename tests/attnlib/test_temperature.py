"""Entropy-targeted attention against the normalisation of written-out scores, and its implicit gradient."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlib.attention import softmax_attention
from attnlib.errors import InvalidArgument, UnreachableEntropy
from attnlib.normalize import normalize_entropy_scores
from attnlib.rows import row_statistics
from attnlib.temperature import entropy_targeted_attention, entropy_temperature

IMPLS = ("fused", "blockwise", "reference")


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def half_of_log(n):
    return 0.5 * n.log()


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("is_causal", [False, True])
def test_rows_agree_with_normalised_scores(impl, is_causal):
    q, k = draw(2, 4, 63, 8), draw(2, 2, 63, 8, seed=1)
    mask = (torch.arange(63) >= torch.tensor([0, 7])[:, None])[:, None, None]
    got = entropy_temperature(
        q, k, half_of_log, attn_mask=mask, is_causal=is_causal, enable_gqa=True, impl=impl
    )
    allowed = mask & torch.ones(63, 63, dtype=torch.bool).tril() if is_causal else mask.expand(2, 1, 63, 63)
    scores = (q @ k.repeat_interleave(2, 1).mT / math.sqrt(8)).masked_fill(~allowed, -math.inf)
    target = half_of_log(allowed.sum(-1).clamp(min=1).double()).expand(2, 4, 63)
    want = normalize_entropy_scores(scores, target)
    torch.testing.assert_close(got.gamma, want.gamma, rtol=1e-9, atol=0)
    torch.testing.assert_close(got.entropy, target, rtol=1e-12, atol=1e-12)
    assert got.iterations <= 12


@pytest.mark.parametrize("impl", IMPLS)
def test_heads_meet_the_target_on_average(impl):
    q, k = draw(2, 3, 40, 8), draw(2, 3, 50, 8, seed=1)
    mask = torch.ones(40, 50, dtype=torch.bool)
    mask[5] = False
    target = torch.tensor([1.0, 2.0, 3.5], dtype=torch.float64)
    got = entropy_temperature(q, k, target, per="head", attn_mask=mask, impl=impl)
    assert got.gamma.shape == (2, 3)
    rows = row_statistics(q * got.gamma[..., None, None], k, attn_mask=mask, impl="reference")
    seeing = torch.arange(40) != 5
    torch.testing.assert_close(
        rows.entropy[..., seeing].mean(-1), target.expand(2, 3), rtol=1e-12, atol=1e-12
    )


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.integers(2, 20), st.floats(0.01, 0.99), st.floats(1e-3, 100), st.integers(0, 10**6))
def test_every_reachable_target_is_reached(n, share, spread, seed):
    q, k = spread * draw(6, 3, seed=seed), draw(n, 3, seed=seed + 1)
    target = share * math.log(n)
    got = entropy_temperature(q, k, target)
    assert (got.gamma > 0).all()
    torch.testing.assert_close(
        got.entropy, torch.full((6,), target, dtype=torch.float64), rtol=1e-10, atol=1e-10
    )


def test_tied_keys_bound_the_range_from_below():
    k = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    q = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    just_above = entropy_temperature(q, k, math.log(2) + 1e-3)
    assert abs(just_above.entropy.item() - math.log(2) - 1e-3) < 1e-12
    for target in (math.log(2), 0.1, 1.2):
        with pytest.raises(UnreachableEntropy, match=r"out of reach for row \(0,\)") as caught:
            entropy_temperature(q, k, target)
        assert caught.value.lower == pytest.approx(math.log(2)) and caught.value.upper == pytest.approx(
            math.log(3)
        )


def test_log_k_is_met_to_rounding_and_constant_rows_keep_their_scale():
    q, k = draw(3, 4), draw(7, 4, seed=1)
    got = entropy_temperature(q, k, math.log(7))
    assert (got.gamma > 0).all() and (got.entropy - math.log(7)).abs().max() < 1e-14
    flat = entropy_temperature(0 * q, k, math.log(7))
    assert (flat.gamma == 1).all()
    with pytest.raises(UnreachableEntropy, match=r"row \(1,\): it is 1\.9459\d+ at every temperature"):
        entropy_temperature(q * torch.tensor([[1.0], [0.0], [1.0]]), k, 1.0)
    with pytest.raises(UnreachableEntropy, match=r"target=2\.0 is out of reach for row \(0,\): it is 0\.0"):
        entropy_temperature(q, k, 2.0, is_causal=True)


def test_row_without_keys_is_left_alone():
    q, k, v = draw(5, 4), draw(7, 4, seed=1), draw(7, 4, seed=2)
    mask = torch.ones(5, 7, dtype=torch.bool)
    mask[3] = False
    q.requires_grad_()
    got = entropy_targeted_attention(q, k, v, 1.0, attn_mask=mask)
    assert got.gamma[3] == 1 and (got.output[3] == 0).all()
    (gradient,) = torch.autograd.grad(got.output.sum() + got.gamma.sum(), q)
    assert gradient.isfinite().all() and (gradient[3] == 0).all()


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("per", ["row", "head"])
def test_implicit_gradient(impl, per):
    q, k, v = (draw(1, 2, 3, 2, seed=seed).requires_grad_() for seed in range(3))
    target = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)

    def attend(q, k, v, target):
        output, gamma, _ = entropy_targeted_attention(q, k, v, target, per=per, impl=impl)
        return output, gamma

    # gamma is exact to about 1e-9 relative at worst; the tolerances of gradcheck are far wider.
    assert torch.autograd.gradcheck(attend, (q, k, v, target))


def test_entropy_at_the_temperature_has_no_gradient_but_in_the_target():
    q, k = draw(1, 4, 2).requires_grad_(), draw(1, 5, 2, seed=1).requires_grad_()
    target = torch.tensor(1.2, dtype=torch.float64, requires_grad=True)
    entropy = entropy_temperature(q, k, target).entropy
    from_q, from_k, from_target = torch.autograd.grad(entropy.sum(), (q, k, target))
    assert from_q.abs().max() < 1e-8 and from_k.abs().max() < 1e-8 and abs(from_target - 4) < 1e-8


@pytest.mark.parametrize("impl", IMPLS)
def test_output_is_that_of_attention_at_the_temperature(impl):
    q, k, v = draw(2, 9, 4), draw(2, 11, 4, seed=1), draw(2, 11, 5, seed=2)
    got = entropy_targeted_attention(q, k, v, 1.3, scale=lambda n, d: 0.7, impl=impl)
    want = softmax_attention(q * got.gamma[..., None], k, v, scale=0.7)
    torch.testing.assert_close(got.output, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision(dtype):
    q, k = draw(2, 111, 16, dtype=dtype), (draw(2, 111, 16, seed=1) + 50 * draw(16, seed=2)).to(dtype)
    got = entropy_temperature(q, k, 2.0)
    assert got.gamma.dtype == dtype
    exact = entropy_temperature(q.double(), k.double(), 2.0)
    # gamma moves by dH / V; H is resolved to a few eps of the logits, gamma rounded once to its dtype.
    spread = row_statistics(q.double() * exact.gamma[..., None], k.double()).varentropy
    budget = torch.finfo(dtype).eps / 2 * 1.01 + 64 * torch.finfo(torch.float32).eps / spread
    assert ((got.gamma - exact.gamma).abs() <= budget * exact.gamma).all()


Q, K = draw(2, 5, 4), draw(2, 7, 4, seed=1)
BAD = {
    "target nan": ({"target": math.nan}, InvalidArgument, "target must be finite, got nan"),
    "target text": ({"target": "low"}, TypeError, "target must be a real number"),
    "target shape": (
        {"target": torch.ones(3)},
        InvalidArgument,
        r"target of shape \(3,\) does not broadcast to \(2, 5\)",
    ),
    "head target": (
        {"target": torch.ones(5), "per": "head"},
        InvalidArgument,
        r"does not broadcast to \(2,\)",
    ),
    "rule type": ({"target": lambda n: 1.0}, TypeError, r"target\(n\) must be a torch.Tensor"),
    "rule nan": ({"target": lambda n: n * math.nan}, InvalidArgument, r"target\(n\) must be finite"),
    "rule shape": (
        {"target": lambda n: torch.ones(3)},
        InvalidArgument,
        r"target\(n\) must have the shape \(2, 5\)",
    ),
    "negative": ({"target": -0.5}, UnreachableEntropy, "target=-0.5 is out of reach"),
    "too high": (
        {"target": 2.0, "per": "head"},
        UnreachableEntropy,
        r"head \(0,\): its entropies lie in \(0.0, 1.9459",
    ),
    "per": ({"target": 1.0, "per": "layer"}, InvalidArgument, "per must be 'row' or 'head', got 'layer'"),
    "bias": (
        {"target": 1.0, "attn_mask": torch.ones(5, 7)},
        InvalidArgument,
        "attn_mask must hide keys only",
    ),
    "impl": ({"target": 1.0, "impl": "newton"}, InvalidArgument, "got 'newton'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    arguments, error, message = BAD[case]
    with pytest.raises(error, match=message):
        entropy_temperature(Q, K, **arguments)
