"""Linear attention in O(n d^2) against the matrix written out in float64."""

import math

import pytest
import torch
from torch.nn.functional import elu, softmax

from attnlib.errors import InvalidArgument
from attnlib.linear import (
    LinearAttentionState,
    linear_attention,
    linear_attention_stream,
    linear_row_statistics,
)

FEATURES = {
    "elu": lambda x: elu(x) + 1,
    "exp": torch.exp,
    "softmax": lambda x: softmax(x, -1),
    "wider": lambda x: torch.cat([torch.relu(x), torch.relu(-x), torch.ones_like(x[..., :1])], -1),
}


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def inputs(n_q, n_k, d=6, dv=4, heads=2, key_heads=None, dtype=torch.float64):
    key_heads = key_heads or heads
    return (
        draw(2, heads, n_q, d, dtype=dtype),
        draw(2, key_heads, n_k, d, seed=1, dtype=dtype),
        draw(2, key_heads, n_k, dv, seed=2, dtype=dtype),
    )


def weights(q, k, feature_map, allowed=None):
    """The matrix of linear attention by its definition, rows summing to 1."""
    a = feature_map(q.double()) @ feature_map(k.double()).mT
    a = a if allowed is None else a * allowed
    return a / a.sum(-1, keepdim=True)


def causal(n_q, n_k):
    return torch.ones(n_q, n_k).tril()


@pytest.mark.parametrize("impl", ["linear", "reference"])
@pytest.mark.parametrize("feature_map", FEATURES)
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("n_q, n_k", [(63, 63), (111, 301), (301, 111), (1, 129), (257, 257)])
def test_agrees_with_the_matrix(impl, feature_map, is_causal, n_q, n_k):
    q, k, v = inputs(n_q, n_k)
    phi = FEATURES[feature_map]
    p = weights(q, k, phi, causal(n_q, n_k) if is_causal else None)
    got = linear_attention(q, k, v, feature_map=phi, is_causal=is_causal, impl=impl)
    torch.testing.assert_close(got, p @ v, rtol=1e-12, atol=1e-12)
    rows = linear_row_statistics(q, k, feature_map=phi, is_causal=is_causal, impl=impl)
    seen = (p > 0).sum(-1)
    tokens = 1 / p.square().sum(-1)
    torch.testing.assert_close(rows.effective_tokens, tokens, rtol=1e-11, atol=0)
    torch.testing.assert_close(rows.sparsity, (tokens / seen).sqrt(), rtol=1e-11, atol=0)


@pytest.mark.parametrize("impl", ["linear", "reference"])
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("floating", [False, True])
def test_hidden_keys_and_grouped_queries(impl, is_causal, floating):
    q, k, v = inputs(63, 63, heads=4, key_heads=2)
    mask = (torch.arange(63) % 5 != 3) & (torch.arange(63) < torch.tensor([63, 40])[:, None])
    mask = mask[:, None, None]
    given = torch.zeros(mask.shape, dtype=torch.float64).masked_fill(~mask, -math.inf) if floating else mask
    allowed = causal(63, 63) * mask if is_causal else mask
    p = weights(q, k.repeat_interleave(2, 1), torch.exp, allowed)
    got = linear_attention(
        q, k, v, feature_map=torch.exp, attn_mask=given, is_causal=is_causal, enable_gqa=True, impl=impl
    )
    torch.testing.assert_close(got, p @ v.repeat_interleave(2, 1), rtol=1e-12, atol=1e-12)


def test_mask_that_differs_between_rows_is_the_references():
    q, k, v = inputs(9, 9)
    mask = draw(9, 9, seed=5) > -1
    with pytest.raises(InvalidArgument, match="attn_mask must be the same for all rows"):
        linear_attention(q, k, v, feature_map=torch.exp, attn_mask=mask)
    got = linear_attention(q, k, v, feature_map=torch.exp, attn_mask=mask, impl="reference")
    torch.testing.assert_close(got, weights(q, k, torch.exp, mask) @ v, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("impl", ["linear", "reference"])
def test_row_without_weight_has_output_zero(impl):
    q, k, v = inputs(7, 7)
    q = q.clone()
    q[:, :, 2] = -1
    leaves = [x.requires_grad_() for x in (q, k, v)]
    output = linear_attention(
        q, k, v, feature_map=torch.relu, attn_mask=torch.arange(7) > 1, is_causal=True, impl=impl
    )
    assert (output[:, :, :3] == 0).all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(output.sum(), leaves))
    rows = linear_row_statistics(q, k, feature_map=torch.relu, impl=impl)
    assert (rows.effective_tokens[:, :, 2] == 1).all()
    torch.testing.assert_close(rows.sparsity[:, :, 2], torch.full((2, 2), 7**-0.5, dtype=torch.float64))


@pytest.mark.parametrize("impl", ["linear", "reference"])
@pytest.mark.parametrize("is_causal", [False, True])
def test_gradients(impl, is_causal):
    q, k, v = (draw(1, 2, 5, 3, seed=seed).requires_grad_() for seed in range(3))
    assert torch.autograd.gradcheck(
        lambda *x: linear_attention(*x, feature_map=torch.exp, is_causal=is_causal, impl=impl), (q, k, v)
    )
    assert torch.autograd.gradcheck(
        lambda *x: tuple(linear_row_statistics(*x, feature_map=torch.exp, is_causal=is_causal, impl=impl)),
        (q, k),
    )


@pytest.mark.parametrize("pieces", [[1] * 20, [3, 130, 1, 50], [257]])
def test_stream_gives_the_output_of_the_whole(pieces):
    n = sum(pieces)
    q, k, v = inputs(n, n)
    whole = linear_attention(q, k, v, feature_map=torch.exp, is_causal=True)
    state, outputs = None, []
    for cut in zip(*(x.split(pieces, dim=-2) for x in (q, k, v))):
        out, state = linear_attention_stream(*cut, feature_map=torch.exp, state=state)
        outputs.append(out)
    torch.testing.assert_close(torch.cat(outputs, -2), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state.kv, k.exp().mT @ v, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state.z, k.exp().sum(-2), rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(dtype):
    q, k, v = inputs(111, 111, dtype=dtype)
    p = weights(q, k, torch.exp, causal(111, 111))
    want = p @ v.double()
    got = linear_attention(q, k, v, feature_map=torch.exp, is_causal=True)
    assert got.dtype == dtype
    assert ((got - want).abs() <= torch.finfo(dtype).eps / 2 * 1.01 * want.abs() + 1e-5).all()
    tokens = linear_row_statistics(q, k, feature_map=torch.exp, is_causal=True).effective_tokens
    want = 1 / p.square().sum(-1)
    assert ((tokens - want).abs() <= (torch.finfo(dtype).eps / 2 * 1.01 + 1e-5) * want).all()


def test_statistics_do_not_overflow():
    q, k, _ = inputs(5, 9, dtype=torch.float32)
    got = linear_row_statistics(q, k, feature_map=lambda x: 1e25 * x.exp())
    torch.testing.assert_close(got, linear_row_statistics(q, k, feature_map=torch.exp), rtol=1e-5, atol=0)


Q, K, V = torch.zeros(2, 5, 4), torch.zeros(2, 7, 4), torch.zeros(2, 7, 3)
STATE = LinearAttentionState(kv=torch.zeros(2, 4, 9), z=torch.zeros(2, 4))
BAD = {
    "feature_map": (
        lambda: linear_attention(Q, K, V, feature_map=2),
        TypeError,
        "feature_map must be callable, got int",
    ),
    "feature shape": (
        lambda: linear_attention(Q, K, V, feature_map=lambda x: x.sum(-1)),
        InvalidArgument,
        r"feature_map\(q\) must have shape",
    ),
    "feature inf": (
        lambda: linear_attention(Q, K, V, feature_map=lambda x: 1 / x),
        InvalidArgument,
        r"feature_map\(q\) must be finite, got inf",
    ),
    "bias": (
        lambda: linear_attention(Q, K, V, feature_map=torch.exp, attn_mask=torch.ones(7)),
        InvalidArgument,
        "attn_mask must hide keys only",
    ),
    "bias reference": (
        lambda: linear_attention(Q, K, V, feature_map=torch.exp, attn_mask=torch.ones(7), impl="reference"),
        InvalidArgument,
        "attn_mask must hide keys only",
    ),
    "cancelling": (
        lambda: linear_attention(
            torch.ones(1, 1),
            torch.tensor([[1.0], [-1.0]]),
            torch.tensor([[1.0], [2.0]]),
            feature_map=lambda x: x,
        ),
        InvalidArgument,
        "cancel to a sum of 0",
    ),
    "signed": (
        lambda: linear_row_statistics(Q - 1, K, feature_map=lambda x: x),
        InvalidArgument,
        r"feature_map\(q\) must not be negative, got -1.0",
    ),
    "impl": (
        lambda: linear_attention(Q, K, V, feature_map=torch.exp, impl="fast"),
        InvalidArgument,
        "got 'fast'",
    ),
    "rows impl": (
        lambda: linear_row_statistics(Q, K, feature_map=torch.exp, impl="fast"),
        InvalidArgument,
        "got 'fast'",
    ),
    "stream tokens": (
        lambda: linear_attention_stream(Q, K, V, feature_map=torch.exp),
        InvalidArgument,
        "same tokens",
    ),
    "stream state": (
        lambda: linear_attention_stream(K, K, V, feature_map=torch.exp, state=STATE),
        InvalidArgument,
        r"state must have kv of shape \(2, 4, 3\), got \(2, 4, 9\)",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call()
