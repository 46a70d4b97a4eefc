"""Softmax, relu^2 and decay attention against PyTorch's own operator and against dense float64."""

import math

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from attnlib.attention import decay_attention, relu2_attention, softmax_attention
from attnlib.errors import InvalidArgument

INF = math.inf


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def inputs(n_q=63, n_k=63, d=8, dv=8, heads=4, key_heads=None, dtype=torch.float64):
    key_heads = key_heads or heads
    return (
        draw(2, heads, n_q, d, dtype=dtype),
        draw(2, key_heads, n_k, d, seed=1, dtype=dtype),
        draw(2, key_heads, n_k, dv, seed=2, dtype=dtype),
    )


def dense(q, k, v, allowed=None, scale=None):
    """Float64 attention from the definition; ``scale`` may hold one value a row."""
    q, k, v = (x.double() for x in (q, k, v))
    scale = torch.as_tensor(q.shape[-1] ** -0.5 if scale is None else scale, dtype=torch.float64)
    weight = ((q @ k.mT) * scale[..., None]).exp()
    if allowed is not None:
        weight = weight * allowed
    total = weight.sum(-1, keepdim=True)
    return (weight / total.masked_fill(total == 0, 1)) @ v


@pytest.mark.parametrize("impl", ["fused", "reference"])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"is_causal": True},
        {"scale": 0.3},
        {"attn_mask": draw(63, 111, seed=5) > -1},
        {"attn_mask": draw(2, 1, 63, 111, seed=5)},
    ],
    ids=lambda a: "+".join(a) or "plain",
)
def test_agrees_with_pytorch(impl, arguments):
    q, k, v = inputs(63, 111)
    got = softmax_attention(q, k, v, impl=impl, **arguments)
    torch.testing.assert_close(
        got, scaled_dot_product_attention(q, k, v, **arguments), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("impl", ["fused", "reference"])
@pytest.mark.parametrize("dv", [5, 8, 13])
@pytest.mark.parametrize("is_causal", [False, True])
def test_values_of_another_width_and_grouped_queries(impl, dv, is_causal):
    q, k, v = inputs(63, 63, dv=dv, heads=6, key_heads=2)
    allowed = torch.ones(63, 63).tril() if is_causal else None
    want = dense(q, k.repeat_interleave(3, 1), v.repeat_interleave(3, 1), allowed)
    got = softmax_attention(q, k, v, is_causal=is_causal, enable_gqa=True, impl=impl)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("impl", ["fused", "reference"])
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_rule_scales_each_row_by_the_keys_it_sees(impl, is_causal, padded):
    q, k, v = inputs(63, 63)
    allowed = torch.ones(63, 63).tril() if is_causal else torch.ones(63, 63)
    mask = None
    if padded:
        mask = (torch.arange(63) >= torch.tensor([4, 40])[:, None])[:, None, None]
        allowed = (allowed * mask).expand(2, 4, 63, 63)
    seen = []

    def rule(n, d):
        seen.append(n)
        return (n if isinstance(n, torch.Tensor) else torch.tensor(float(n))).log() / d

    got = softmax_attention(q, k, v, attn_mask=mask, is_causal=is_causal, scale=rule, impl=impl)
    want = dense(q, k, v, allowed, allowed.sum(-1).double().clamp(min=1).log() / 8)
    # The rule's own logarithm of an int is float32 here.
    tolerance = 1e-12 if is_causal or padded else 1e-6
    torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)
    assert len(seen) == 1 and isinstance(seen[0], torch.Tensor if is_causal or padded else int)


@pytest.mark.parametrize("impl", ["fused", "reference"])
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("scale", [0.0, -0.5])
def test_scale_of_any_sign(impl, is_causal, scale):
    q, k, v = inputs(31, 31)
    want = dense(q, k, v, torch.ones(31, 31).tril() if is_causal else None, scale)
    got = softmax_attention(q, k, v, is_causal=is_causal, scale=scale, impl=impl)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("impl", ["fused", "reference"])
@pytest.mark.parametrize("is_causal", [False, True])
def test_row_without_keys(impl, is_causal):
    q, k, v = inputs(7, 7)
    mask = (
        torch.arange(7) >= 2
        if is_causal
        else torch.ones(7, 7).bool().index_fill(0, torch.tensor([0, 1]), False)
    )
    for x in (q, k, v):
        x.requires_grad_()
    output = softmax_attention(q, k, v, attn_mask=mask, is_causal=is_causal, impl=impl)
    assert (output[..., :2, :] == 0).all() and (output[..., 2:, :] != 0).all()
    for gradient in torch.autograd.grad(output[..., :2, :].sum(), (q, k, v), retain_graph=True):
        assert (gradient == 0).all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(output.sum(), (q, k, v)))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"is_causal": True, "scale": lambda n, d: n.log()},
        {"attn_mask": torch.arange(5) > 1, "is_causal": True},
        {"attn_mask": draw(5, 5, seed=4), "scale": -0.3},
    ],
    ids=["plain", "rule", "left padding", "bias"],
)
@pytest.mark.parametrize("impl", ["fused", "reference"])
def test_gradients(impl, arguments):
    q, k, v = (
        x.requires_grad_() for x in (draw(1, 2, 5, 3), draw(1, 2, 5, 3, seed=1), draw(1, 2, 5, 2, seed=2))
    )
    assert torch.autograd.gradcheck(lambda *x: softmax_attention(*x, impl=impl, **arguments), (q, k, v))


def test_memory_layout_does_not_matter():
    tensors = inputs(63, 41)
    strided = [x.mT.contiguous().mT for x in tensors]
    mask = draw(63, 41, seed=5)
    torch.testing.assert_close(
        softmax_attention(*strided, attn_mask=mask.mT.contiguous().mT),
        softmax_attention(*tensors, attn_mask=mask),
        rtol=1e-12,
        atol=1e-12,
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("arguments", [{}, {"is_causal": True}], ids=["plain", "causal"])
def test_error_within_twice_that_of_the_same_dtype_written_out(dtype, arguments):
    q, k, v = inputs(111, 111, d=16, dv=16, dtype=dtype)
    allowed = torch.ones(111, 111).tril() if arguments else torch.ones(111, 111)
    want = dense(q, k, v, allowed)
    logits = (q @ k.mT) * 0.25
    naive = torch.softmax(logits.masked_fill(allowed == 0, -INF), -1) @ v
    got = softmax_attention(q, k, v, **arguments)
    assert got.dtype == dtype
    assert (got - want).abs().max() <= 2 * (naive - want).abs().max() + 1e-6


def test_half_precision_rule_is_applied_in_float32():
    q, k, v = inputs(111, 111, d=16, dv=16, dtype=torch.bfloat16)
    want = dense(q, k, v, torch.ones(111, 111).tril(), torch.arange(1.0, 112).log())
    got = softmax_attention(4 * q, k, v, is_causal=True, scale=lambda n, d: n.log() / 4)
    # One rounding to bfloat16 at the end, nothing before it.
    assert ((got - want).abs() <= torch.finfo(torch.bfloat16).eps / 2 * 1.01 * want.abs() + 1e-5).all()


Q, K, V = torch.zeros(2, 5, 4), torch.zeros(2, 7, 4), torch.zeros(2, 7, 3)
BAD = {
    "v missing keys": (
        {"v": torch.zeros(2, 6, 3)},
        InvalidArgument,
        "v must hold one value for each of the 7 keys",
    ),
    "v dtype": ({"v": V.double()}, TypeError, "v must have the dtype of q"),
    "v type": ({"v": None}, TypeError, "v must be a torch.Tensor, got NoneType"),
    "v nan": ({"v": V * math.nan}, InvalidArgument, "v must be finite, got nan"),
    "q integer": ({"q": Q.int()}, TypeError, "q must have a floating-point dtype"),
    "impl": ({"impl": "blockwise"}, InvalidArgument, "impl must be 'fused' or 'reference', got 'blockwise'"),
    "device": ({"k": K.to("meta")}, InvalidArgument, "k must be on the device of q, cpu, got meta"),
    "scale bool": ({"scale": True}, TypeError, "scale must be a real number, got bool"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    arguments, error, message = BAD[case]
    arguments = {"q": Q, "k": K, "v": V} | arguments
    with pytest.raises(error, match=message):
        softmax_attention(arguments.pop("q"), arguments.pop("k"), arguments.pop("v"), **arguments)


def relu2_by_rows(q, k, v, normalize, allowed, scale):
    """relu^2 attention from its definition, one row at a time."""
    q, k, v = q.double(), k.double(), v.double()
    weight = torch.relu(scale * (q @ k.mT)) ** 2 * allowed
    total = torch.zeros(weight.shape[:-1], dtype=torch.float64)
    if normalize == "sum":
        total = weight.sum(-1)
    else:
        total += allowed.expand(weight.shape).sum(-1) if normalize == "length" else normalize
    return (weight / total.masked_fill(total == 0, 1)[..., None]) @ v


@pytest.mark.parametrize("impl", ["blockwise", "reference"])
@pytest.mark.parametrize("normalize", ["length", "sum", 512])
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("n_q, n_k", [(63, 63), (63, 111), (111, 63)])
def test_relu2(impl, normalize, is_causal, n_q, n_k):
    q, k, v = inputs(n_q, n_k, heads=4, key_heads=2, dv=5)
    mask = draw(2, 1, 1, n_k, seed=6) > -1
    allowed = torch.ones(n_q, n_k).tril() if is_causal else torch.ones(n_q, n_k)
    wide_k, wide_v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
    got = relu2_attention(
        q, k, v, normalize=normalize, attn_mask=mask, is_causal=is_causal, enable_gqa=True, impl=impl
    )
    want = relu2_by_rows(q, wide_k, wide_v, normalize, allowed * mask, 8**-0.5)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("impl", ["blockwise", "reference"])
@pytest.mark.parametrize("normalize", ["length", "sum", 3])
def test_relu2_row_without_positive_score_is_zero(impl, normalize):
    # The first two rows score every key negative, the third sees none.
    q = torch.tensor([[-1.0], [-2.0], [1.0], [1.0]], dtype=torch.float64, requires_grad=True)
    k = torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64, requires_grad=True)
    v = draw(3, 2).requires_grad_()
    mask = torch.ones(4, 3, dtype=torch.bool)
    mask[2] = False
    output = relu2_attention(q, k, v, normalize=normalize, attn_mask=mask, impl=impl)
    assert (output[:3] == 0).all() and (output[3] != 0).all()
    for gradient in torch.autograd.grad(output[:3].sum(), (q, k, v)):
        assert (gradient == 0).all()


@pytest.mark.parametrize("impl", ["blockwise", "reference"])
@pytest.mark.parametrize("normalize", ["length", "sum", 3])
def test_relu2_gradients(impl, normalize):
    q, k, v = (draw(1, 2, 5, 3, seed=seed).requires_grad_() for seed in range(3))
    assert torch.autograd.gradcheck(
        lambda *x: relu2_attention(*x, normalize=normalize, is_causal=True, impl=impl), (q, k, v)
    )


def test_relu2_sum_survives_scores_whose_squares_vanish_or_overflow():
    q, k, v = inputs(9, 9, dtype=torch.float32)
    want = relu2_attention(q, k, v, normalize="sum", scale=1.0)
    for scale in (1e-30, 1e30):
        got = relu2_attention(q, k, v, normalize="sum", scale=scale)
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "operator",
    [lambda q, k, v: relu2_attention(q, k, v, normalize="sum"), lambda q, k, v: decay_attention(v, 0.9)],
    ids=["relu2", "decay"],
)
def test_half_precision_is_rounded_once(dtype, operator):
    q, k, v = inputs(111, 111, dtype=dtype)
    want = operator(q.double(), k.double(), v.double())
    got = operator(q, k, v)
    assert got.dtype == dtype
    assert ((got - want).abs() <= torch.finfo(dtype).eps / 2 * 1.01 * want.abs() + 1e-5).all()


@pytest.mark.parametrize("impl", ["chunked", "reference"])
@pytest.mark.parametrize("n", [1, 2, 63, 128, 129, 301])
@pytest.mark.parametrize("decay", [1, 0.97, 0.3, 1e-300])
def test_decay(impl, n, decay):
    v = draw(2, 3, n, 2)
    want, running = [], torch.zeros(2, 3, 2, dtype=torch.float64)
    for i in range(n):
        running = decay * running + v[..., i, :]
        want.append(running)
    got = decay_attention(v, decay, impl=impl)
    torch.testing.assert_close(got, torch.stack(want, -2), rtol=1e-12, atol=1e-12)


def test_decay_crosses_chunks_of_chunks():
    v = draw(20000, 1)
    exact = torch.cumsum(v, 0)
    torch.testing.assert_close(decay_attention(v, 1.0), exact, rtol=1e-11, atol=1e-10)
    slow = decay_attention(v, 0.9999)
    torch.testing.assert_close(slow[1:], 0.9999 * slow[:-1] + v[1:], rtol=1e-11, atol=1e-10)


@pytest.mark.parametrize("impl", ["chunked", "reference"])
def test_decay_gradients_and_one_decay_a_head(impl):
    v, decay = draw(2, 3, 5, 2).requires_grad_(), torch.tensor([0.2, 0.9, 1.0]).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: decay_attention(v, decay.detach(), impl=impl), v)
    assert torch.autograd.gradcheck(lambda d: decay_attention(v.detach(), 0.9 * d, impl=impl), decay)
    got = decay_attention(v, decay, impl=impl)
    torch.testing.assert_close(got[:, 1], decay_attention(v[:, 1], 0.9))


MORE_BAD = {
    "normalize text": (lambda: relu2_attention(Q, K, V, normalize="max"), InvalidArgument, "got 'max'"),
    "normalize zero": (lambda: relu2_attention(Q, K, V, normalize=0), InvalidArgument, "got 0"),
    "normalize bool": (lambda: relu2_attention(Q, K, V, normalize=True), TypeError, "got bool"),
    "normalize float": (lambda: relu2_attention(Q, K, V, normalize=2.0), TypeError, "got float"),
    "relu2 impl": (
        lambda: relu2_attention(Q, K, V, normalize=1, impl="fused"),
        InvalidArgument,
        "got 'fused'",
    ),
    "decay zero": (lambda: decay_attention(V, 0.0), InvalidArgument, r"decay must lie in \(0.* got 0.0"),
    "decay above 1": (lambda: decay_attention(V, 1.5), InvalidArgument, "decay must lie in .* got 1.5"),
    "decay nan": (
        lambda: decay_attention(V, torch.tensor(math.nan)),
        InvalidArgument,
        "decay must lie in .* got nan",
    ),
    "decay text": (lambda: decay_attention(V, "slow"), TypeError, "decay must be a real number"),
    "decay shape": (lambda: decay_attention(V, torch.ones(3)), InvalidArgument, r"decay of shape \(3,\)"),
    "decay v": (lambda: decay_attention(V[0, 0], 0.5), InvalidArgument, "v must have shape"),
    "decay v inf": (lambda: decay_attention(V + INF, 0.5), InvalidArgument, "v must be finite, got inf"),
    "decay impl": (lambda: decay_attention(V, 0.5, impl="scan"), InvalidArgument, "got 'scan'"),
}


@pytest.mark.parametrize("case", MORE_BAD)
def test_bad_input_of_relu2_and_decay(case):
    call, error, message = MORE_BAD[case]
    with pytest.raises(error, match=message):
        call()
