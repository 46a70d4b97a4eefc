"""Row statistics: every implementation against oracles that share no code with it."""

import itertools
import math

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlib._rows import engine, tiles
from attnlib._rows.engine import engine_for
from attnlib.errors import InvalidArgument
from attnlib.rows import row_entropy, row_statistics, softmax_attention_with_statistics

INF = math.inf
ORDERS = (0.0, 0.5, 1 - 1e-3, 1.0, 1 + 1e-9, 1.2, 2.0, 7.0, INF)
IMPLS = ("fused", "blockwise", "reference")
EPS32, EPS64 = torch.finfo(torch.float32).eps, torch.finfo(torch.float64).eps


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def inputs(n_q=63, n_k=63, d=8, heads=2, key_heads=None, batch=2, dtype=torch.float64, seed=0):
    return (
        draw(batch, heads, n_q, d, seed=seed, dtype=dtype),
        draw(batch, key_heads or heads, n_k, d, seed=seed + 1, dtype=dtype),
    )


def fields(rows):
    """All tensors of a RowStatistics by name."""
    named = {name: value for name, value in rows._asdict().items() if name != "renyi"}
    return named | {f"renyi {order}": value for order, value in rows.renyi.items()}


def close(got, want, tolerance):
    for name, value in fields(got).items():
        torch.testing.assert_close(
            value.double(),
            fields(want)[name].double(),
            rtol=tolerance,
            atol=tolerance,
            msg=lambda m, name=name: f"{name}: {m}",
        )


def dense(q, k, allowed=None, scale=None, orders=(2.0,)):
    """An oracle by loops over rows and their visible keys, in float64 and straight from the definitions."""
    q, k = q.double(), k.double()
    scale = torch.as_tensor(1 / math.sqrt(q.shape[-1]) if scale is None else scale, dtype=torch.float64)
    logits = (q @ k.mT) * scale[..., None]
    allowed = torch.ones(logits.shape, dtype=torch.bool) if allowed is None else allowed.expand(logits.shape)
    names = ("lse", "entropy", "sparsity", "effective_tokens", "varentropy", "max_logit", "sink_share")
    columns = {name: [] for name in (*names, *orders)}
    for row, seen in zip(logits.flatten(0, -2), allowed.flatten(0, -2)):
        s = row[seen]
        if not len(s):
            values = dict.fromkeys(columns, 0.0) | {"lse": -INF, "sparsity": 1.0, "effective_tokens": 1.0}
            values["max_logit"] = -INF
        else:
            p = torch.softmax(s, 0)
            log_p = torch.log_softmax(s, 0)
            entropy = -(p * log_p).sum()
            values = {
                "lse": torch.logsumexp(s, 0),
                "entropy": entropy,
                "sparsity": p.sum() / p.norm() / math.sqrt(len(s)),
                "effective_tokens": 1 / p.square().sum(),
                "varentropy": (p * (log_p + entropy) ** 2).sum(),
                "max_logit": s.max(),
                "sink_share": 0.0,
            }
            for order in orders:
                values[order] = torch.logsumexp(order * log_p, 0) / (1 - order)
        for name, value in values.items():
            columns[name].append(torch.as_tensor(value, dtype=torch.float64))
    stacked = {name: torch.stack(values).reshape(logits.shape[:-1]) for name, values in columns.items()}
    return type(row_statistics(q, k))(renyi={order: stacked.pop(order) for order in orders}, **stacked)


def cut_tiles(monkeypatch, side):
    """Tiles of that many keys, and of about as many rows."""
    monkeypatch.setattr(tiles, "_KEYS", side)
    monkeypatch.setattr(tiles, "_CACHE", 16 * side**2)


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles of 16 by 16, so that short rows span several, the last of them cut."""
    cut_tiles(monkeypatch, 16)


@pytest.mark.parametrize("impl", IMPLS)
def test_against_fifty_digits(impl):
    q, k = inputs(n_q=3, n_k=63, d=7, heads=1, batch=1)
    q = 4 * q
    rows = row_statistics(q, k, orders=ORDERS, impl=impl)
    with mpmath.workdps(50):
        for i in range(3):
            s = [
                mpmath.fsum(mpmath.mpf(a) * mpmath.mpf(b) for a, b in zip(q[0, 0, i].tolist(), key))
                / mpmath.sqrt(7)
                for key in k[0, 0].tolist()
            ]
            lse = mpmath.log(mpmath.fsum(map(mpmath.exp, s)))
            p = [mpmath.exp(x - lse) for x in s]
            entropy = -mpmath.fsum(x * mpmath.log(x) for x in p)
            squares = mpmath.fsum(x * x for x in p)
            want = {
                "lse": lse,
                "entropy": entropy,
                "effective_tokens": 1 / squares,
                "sparsity": 1 / mpmath.sqrt(63 * squares),
                "varentropy": mpmath.fsum(x * (mpmath.log(x) + entropy) ** 2 for x in p),
                "max_logit": max(s),
                "sink_share": 0,
            }
            for order in ORDERS:
                if order == 1:
                    value = entropy
                elif order == INF:
                    value = -mpmath.log(max(p))
                else:
                    value = mpmath.log(mpmath.fsum(x ** mpmath.mpf(order) for x in p)) / (
                        1 - mpmath.mpf(order)
                    )
                want[f"renyi {order}"] = value
            # Rounding of the logits (|s| < 20 here, a few for the sums), at most nine times in an order.
            for name, value in fields(rows).items():
                assert abs(value[0, 0, i].item() - want[name]) < 9 * 20 * 4 * EPS64 * max(
                    1, abs(want[name])
                ), name


MASKS = {
    "none": lambda n_q, n_k: None,
    "padding": lambda n_q, n_k: (torch.arange(n_k) >= torch.tensor([5, n_k // 2])[:, None])[:, None, None],
    "documents": lambda n_q, n_k: torch.arange(n_q)[:, None] // 20 == torch.arange(n_k) // 20,
    "per head": lambda n_q, n_k: draw(2, 2, n_q, n_k, seed=7) > 1.0,
    "column": lambda n_q, n_k: (torch.arange(n_q) % 3 > 0)[:, None],
}


def allowed_keys(mask, is_causal, n_q, n_k):
    allowed = torch.ones(n_q, n_k, dtype=torch.bool)
    allowed = allowed.tril() if is_causal else allowed
    return allowed if mask is None else allowed & mask


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("n_q, n_k", [(63, 63), (21, 111), (111, 63)])
def test_masks_and_odd_lengths(is_causal, mask, n_q, n_k):
    q, k = inputs(n_q, n_k)
    mask = MASKS[mask](n_q, n_k)
    want = dense(q, k, allowed_keys(mask, is_causal, n_q, n_k), orders=(2.0, 0.5))
    for impl in IMPLS:
        close(
            row_statistics(q, k, attn_mask=mask, is_causal=is_causal, orders=(2.0, 0.5), impl=impl),
            want,
            1e-12,
        )
        if mask is not None:
            floating = torch.zeros(mask.shape, dtype=torch.float64).masked_fill(~mask, -INF)
            got = row_entropy(q, k, attn_mask=floating, is_causal=is_causal, impl=impl)
            torch.testing.assert_close(got.lse, want.lse, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(got.entropy, want.entropy, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("is_causal", [False, True])
def test_additive_bias_counts_as_logit(impl, is_causal):
    q, k = inputs(23, 31, d=8)
    bias = draw(2, 23, 31, seed=5).masked_fill(draw(2, 23, 31, seed=6) > 1, -INF)
    # The same logits without a mask: one more coordinate per key, one-hot keys against the bias as query.
    root = math.sqrt(8)
    wide_q = torch.cat([q, root * bias.clamp(min=-9).expand(2, 2, 23, 31)], -1)
    wide_k = torch.cat([k, torch.eye(31, dtype=torch.float64).expand(2, 2, 31, 31)], -1)
    want = dense(
        wide_q, wide_k, allowed_keys(bias > -INF, is_causal, 23, 31), scale=1 / root, orders=(2.0, 3.0)
    )
    close(
        row_statistics(q, k, attn_mask=bias, is_causal=is_causal, orders=(2.0, 3.0), impl=impl), want, 1e-12
    )


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("is_causal", [False, True])
def test_grouped_queries(impl, is_causal):
    q, k = inputs(heads=6, key_heads=2)
    want = dense(q, k.repeat_interleave(3, 1), allowed_keys(None, is_causal, 63, 63))
    close(row_statistics(q, k, is_causal=is_causal, enable_gqa=True, impl=impl), want, 1e-12)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (2, 1, 3)])
def test_leading_dimensions(impl, lead):
    q, k = draw(*lead, 9, 4), draw(*lead[1:], 13, 4, seed=1)
    mask = draw(9, 13, seed=3) > -1
    got = row_statistics(q, k, attn_mask=mask, impl=impl)
    close(got, dense(q, k.expand(*lead, 13, 4), mask), 1e-12)
    assert got.entropy.shape == (*lead, 9)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("scale", [0.7, 0.0, -0.7])
@pytest.mark.parametrize("is_causal", [False, True])
def test_constant_scale_of_any_sign(impl, scale, is_causal):
    q, k = inputs(31, 31)
    want = dense(q, k, allowed_keys(None, is_causal, 31, 31), scale=scale)
    close(row_statistics(q, k, scale=scale, is_causal=is_causal, impl=impl), want, 1e-12)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("mask", MASKS)
def test_rule_gets_the_keys_each_row_sees(is_causal, mask):
    q, k = inputs(41, 37)
    mask = MASKS[mask](41, 37)
    allowed = allowed_keys(mask, is_causal, 41, 37)
    count = allowed.sum(-1)

    def rule(n, d):
        assert d == 8
        return (torch.log(n) if isinstance(n, torch.Tensor) else math.log(n)) / d

    want = dense(q, k, allowed, scale=count.clamp(min=1).double().log().expand(2, 2, 41) / 8)
    for impl in IMPLS:
        close(row_statistics(q, k, attn_mask=mask, is_causal=is_causal, scale=rule, impl=impl), want, 1e-12)


def test_rule_may_be_learned():
    q, k = inputs(11, 11)
    temperature = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    for impl in IMPLS:
        rows = row_statistics(q, k, is_causal=True, scale=lambda n, d: temperature * n.log(), impl=impl)
        (gradient,) = torch.autograd.grad(rows.entropy.sum(), temperature)
        # U2: dH/dlambda = -lambda F'' = -varentropy / lambda, and lambda is proportional to the temperature.
        torch.testing.assert_close(gradient, -rows.varentropy.sum() / 0.3, rtol=1e-11, atol=1e-11)


GRADIENT_CASES = {
    "plain": {},
    "causal": {"is_causal": True},
    "padding": {"attn_mask": torch.arange(5) > 1, "is_causal": True},
    "empty row": {
        "attn_mask": torch.tensor(
            [[1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 1], [1, 0, 1, 0, 1]]
        ).bool()
    },
    "rule": {"is_causal": True, "scale": lambda n, d: n.log()},
    "negative": {"is_causal": True, "scale": -0.4},
    "gqa": {"enable_gqa": True},
}


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("case", GRADIENT_CASES)
def test_gradients(impl, case):
    q, k = inputs(5, 5, d=2, heads=2, key_heads=1 if case == "gqa" else 2, batch=1)

    def every_field(q, k):
        rows = fields(row_statistics(q, k, orders=(1.1, 2.0, INF), impl=impl, **GRADIENT_CASES[case]))
        return tuple(x.masked_fill(x == -INF, 0) for x in rows.values() if x.requires_grad)

    assert torch.autograd.gradcheck(every_field, (q.requires_grad_(), k.requires_grad_()))


@pytest.mark.parametrize("case", ["plain", "empty row", "gqa"])
def test_gradients_with_output(case):
    key_heads = 1 if case == "gqa" else 2
    q, k = inputs(5, 5, d=2, heads=2, key_heads=key_heads, batch=1)
    v = draw(1, key_heads, 5, 3, seed=9)

    def mixed(q, k, v):
        output, rows = softmax_attention_with_statistics(q, k, v, **GRADIENT_CASES[case])
        return output, rows.lse.masked_fill(rows.lse == -INF, 0), rows.entropy, rows.sparsity

    assert torch.autograd.gradcheck(mixed, tuple(x.requires_grad_() for x in (q, k, v)))


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("shape", [(5, 5), (1, 2, 5, 5), (2, 1, 1, 5), (2, 5, 1)])
def test_gradient_of_a_learned_bias(small_tiles, impl, shape):
    q, k = inputs(5, 5, d=3)
    bias = draw(*shape, seed=4).requires_grad_()

    def every_field(q, k, bias):
        rows = row_statistics(q, k, attn_mask=bias, is_causal=True, orders=(0.5, 1.1, INF), impl=impl)
        return tuple(x for x in fields(rows).values() if x.requires_grad)

    assert torch.autograd.gradcheck(every_field, (q.requires_grad_(), k.requires_grad_(), bias))


@pytest.mark.parametrize("impl", IMPLS)
def test_row_without_keys(impl):
    q, k = inputs(6, 9, d=4)
    v = draw(2, 2, 9, 4, seed=3)
    mask = torch.ones(6, 9, dtype=torch.bool)
    mask[2] = False
    for x in (q, k, v):
        x.requires_grad_()
    output, rows = softmax_attention_with_statistics(q, k, v, attn_mask=mask, orders=ORDERS, impl=impl)
    for name, value in fields(rows).items():
        want = {"lse": -INF, "max_logit": -INF, "sparsity": 1.0, "effective_tokens": 1.0}.get(name, 0.0)
        assert (value[..., 2] == want).all(), name
    assert (output[..., 2, :] == 0).all()
    total = output[..., 2, :].sum() + sum(value[..., 2].sum() for name, value in fields(rows).items())
    for gradient in torch.autograd.grad(total, (q, k, v)):
        assert (gradient == 0).all()


def test_left_padding_and_causal_leave_rows_empty():
    q, k = inputs(9, 9, d=4)
    q.requires_grad_()
    rows = row_statistics(q, k, attn_mask=torch.arange(9) >= 3, is_causal=True)
    assert (rows.lse[..., :3] == -INF).all() and rows.lse[..., 3:].isfinite().all()
    (gradient,) = torch.autograd.grad(rows.entropy.sum() + rows.varentropy.sum(), q)
    assert (gradient[..., :3, :] == 0).all() and gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("is_causal", [False, True])
def test_half_precision_is_rounded_once(dtype, is_causal):
    q, k = inputs(111, 111, d=16, dtype=dtype)
    want = dense(q, k, allowed_keys(None, is_causal, 111, 111))
    got = row_statistics(q, k, is_causal=is_causal)
    for name, value in fields(got).items():
        assert value.dtype == dtype
        # Half a unit in the last place of the result, and float32's own rounding of the logits before it.
        error = (value.double() - fields(want)[name]).abs()
        assert (error <= torch.finfo(dtype).eps / 2 * fields(want)[name].abs() * 1.01 + 1e-5).all(), name


def naive_entropy(q, k):
    logits = q @ k.mT / math.sqrt(q.shape[-1])
    log_p = torch.log_softmax(logits, -1)
    return -(log_p.exp() * log_p).sum(-1)


@pytest.mark.parametrize("spread", [1.0, 20.0, 60.0])
def test_float32_error_is_the_rounding_of_the_logits(spread):
    q, k = inputs(256, 256, d=64, dtype=torch.float32)
    q = spread * q
    want = dense(q, k)
    largest = (q.double() @ k.double().mT / 8).abs().max().item()
    # lse - m: each is rounded to eps |s|, so is sum p k before it meets q; 4 covers the sums over d.
    budget = 4 * EPS32 * (largest + math.log(256))
    got = row_statistics(q, k)
    for name in ("lse", "entropy", "renyi 2.0", "varentropy"):
        scale = fields(want)[name].abs().clamp(min=1) if name == "varentropy" else 1
        worst = ((fields(got)[name] - fields(want)[name]).abs() / scale).max().item()
        assert worst <= budget * (3 if name == "renyi 2.0" else 1), (name, worst, budget)
    assert (got.entropy >= 0).all() and (got.renyi[2.0] >= 0).all() and (got.varentropy >= 0).all()


@pytest.mark.parametrize("hidden", [False, True])
def test_common_part_of_the_keys_does_not_cost_digits(hidden):
    q, k = inputs(64, 64, d=32, dtype=torch.float32)
    k = (k + 10000 * draw(32, seed=8)).to(torch.float32)
    mask = None
    if hidden:
        # Padding may hold anything; it must not shift the centre.
        k[..., 40:, :] = 1e30
        mask = torch.arange(64) < 40
    want = dense(q, k, mask)
    got = row_statistics(q, k, attn_mask=mask)
    for name in ("entropy", "renyi 2.0", "varentropy"):
        torch.testing.assert_close(fields(got)[name].double(), fields(want)[name], rtol=0, atol=1e-5)
    if not hidden:
        assert (naive_entropy(q, k) - want.entropy).abs().max() > 20 * (
            got.entropy - want.entropy
        ).abs().max()


@pytest.mark.parametrize("is_causal", [False, True])
def test_never_n_by_n(is_causal, largest_tensor):
    n, d = 2000, 4
    q, k = inputs(n, n, d=d, heads=1, batch=1, dtype=torch.float32)
    v = draw(1, 1, n, d, seed=2, dtype=torch.float32)
    padding = torch.arange(n) > 3
    for x in (q, k, v):
        x.requires_grad_()
    with largest_tensor as seen:
        output, rows = softmax_attention_with_statistics(
            q, k, v, attn_mask=padding, is_causal=is_causal, scale=lambda n, d: n.log(), orders=(2.0, INF)
        )
        (output.sum() + sum(x.masked_fill(x == -INF, 0).sum() for x in fields(rows).values())).backward()
    assert n * d <= seen.numel < n * n / 10


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.integers(1, 17), st.integers(1, 9), st.floats(0.01, 30), st.integers(0, 10**6))
def test_properties(n_k, d, spread, seed):
    q, k = spread * draw(2, 5, d, seed=seed), draw(2, n_k, d, seed=seed + 1)
    orders = (0.0, 0.3, 0.9, 1.0, 1.1, 2.0, 5.0, INF)
    rows = row_statistics(q, k, orders=orders)
    slack = 1e-12 * (1 + spread * d)
    assert (rows.entropy >= 0).all() and (rows.entropy <= math.log(n_k) + slack).all()
    for low, high in itertools.pairwise(orders):
        assert (rows.renyi[high] <= rows.renyi[low] + slack).all()
    assert (rows.effective_tokens <= n_k * (1 + slack)).all()
    # U7, and the order of the keys or a common shift of them are nothing to a softmax.
    torch.testing.assert_close(rows.sparsity, (rows.effective_tokens / n_k).sqrt(), rtol=1e-12, atol=0)
    permuted = k[:, torch.randperm(n_k, generator=torch.Generator().manual_seed(seed))] + draw(
        d, seed=seed + 2
    )
    moved = row_statistics(q, permuted, orders=orders)
    for name in ("entropy", "varentropy", "renyi 0.3", "renyi 1.1", "renyi inf"):
        torch.testing.assert_close(
            fields(moved)[name], fields(rows)[name], rtol=100 * slack, atol=100 * slack
        )


Q, K = torch.zeros(2, 5, 4), torch.zeros(2, 7, 4)
BAD = {
    "q list": ({"q": [1.0]}, TypeError, "q must be a torch.Tensor"),
    "q integer": ({"q": Q.long()}, TypeError, "q must have a floating-point dtype"),
    "k dtype": ({"k": K.double()}, TypeError, "k must have the dtype of q"),
    "q vector": (
        {"q": torch.zeros(4)},
        InvalidArgument,
        r"q must have shape \(\.\.\., heads, n, d\), got \(4,\)",
    ),
    "no keys": ({"k": torch.zeros(2, 0, 4)}, InvalidArgument, "k needs n >= 1"),
    "head size": ({"k": torch.zeros(2, 7, 3)}, InvalidArgument, "k must have the head size of q, 4, got 3"),
    "heads": ({"k": torch.zeros(3, 7, 4)}, InvalidArgument, "do not broadcast"),
    "groups": ({"k": torch.zeros(3, 7, 4), "enable_gqa": True}, InvalidArgument, "multiple of those of k"),
    "nan": ({"q": Q + math.nan}, InvalidArgument, "q must be finite, got nan"),
    "inf": ({"k": K + INF}, InvalidArgument, "k must be finite, got inf"),
    "mask type": ({"attn_mask": True}, TypeError, "attn_mask must be a torch.Tensor"),
    "mask integer": (
        {"attn_mask": torch.ones(5, 7).long()},
        TypeError,
        "attn_mask must be boolean or floating",
    ),
    "mask shape": ({"attn_mask": torch.ones(7, 5).bool()}, InvalidArgument, r"attn_mask of shape \(7, 5\)"),
    "mask too big": ({"attn_mask": torch.ones(3, 2, 5, 7).bool()}, InvalidArgument, "does not broadcast"),
    "mask nan": (
        {"attn_mask": torch.full((5, 7), math.nan)},
        InvalidArgument,
        "attn_mask must hold .* got nan",
    ),
    "mask inf": ({"attn_mask": torch.full((5, 7), INF)}, InvalidArgument, "attn_mask must hold .* got inf"),
    "scale text": ({"scale": "log"}, TypeError, "scale must be a real number"),
    "scale nan": ({"scale": math.nan}, InvalidArgument, "scale must be finite, got nan"),
    "rule nan": ({"scale": lambda n, d: n * math.nan}, InvalidArgument, r"scale\(n, d\) must be finite"),
    "rule inf": (
        {"scale": lambda n, d: n * INF, "is_causal": True},
        InvalidArgument,
        r"scale\(n, d\) must be finite",
    ),
    "rule shape": ({"scale": lambda n, d: torch.ones(3)}, InvalidArgument, r"scale\(n, d\) of shape \(3,\)"),
    "order negative": ({"orders": (2.0, -1.0)}, InvalidArgument, "orders must lie in .* got -1.0"),
    "order nan": ({"orders": (math.nan,)}, InvalidArgument, "orders must be a number, got nan"),
    "orders number": ({"orders": 2.0}, TypeError, "orders must be an iterable of numbers, got float"),
    "orders text": ({"orders": ("2",)}, TypeError, "orders must be a real number, got str"),
    "impl": ({"impl": "flash"}, InvalidArgument, "impl must be .* got 'flash'"),
    "device": ({"k": K.to("meta")}, InvalidArgument, "k must be on the device of q, cpu, got meta"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    arguments, error, message = BAD[case]
    arguments = {"q": Q, "k": K} | arguments
    with pytest.raises(error, match=message):
        row_statistics(arguments.pop("q"), arguments.pop("k"), **arguments)


def test_float64_has_no_kernel_on_cuda_and_is_written_out():
    assert engine_for("fused", torch.device("cuda"), True, torch.float64) == "blockwise"


def test_second_derivatives_are_refused():
    q, k = inputs(5, 5, d=3)
    q.requires_grad_()
    (gradient,) = torch.autograd.grad(row_entropy(q, k).entropy.sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="once"):
        gradient.sum().backward()


@pytest.mark.parametrize("impl", IMPLS)
def test_memory_layout_does_not_matter(impl):
    q, k = inputs(33, 41)
    v = draw(2, 2, 41, 8, seed=2)
    mask = draw(33, 41, seed=3) > -1
    strided = [x.mT.contiguous().mT for x in (q, k, v)]
    assert all(x.stride(-1) != 1 for x in strided)
    got = softmax_attention_with_statistics(
        *(x.requires_grad_() for x in strided), attn_mask=mask.mT.contiguous().mT, impl=impl
    )
    want = softmax_attention_with_statistics(
        *(x.requires_grad_() for x in (q, k, v)), attn_mask=mask, impl=impl
    )
    torch.testing.assert_close(got.output, want.output, rtol=1e-12, atol=1e-12)
    close(got.statistics, dense(q, k, mask), 1e-12)
    weights = draw(2, 2, 33, 8, seed=4)
    for x, y in zip(
        *(
            torch.autograd.grad(
                (r.output * weights).sum() + (r.statistics.entropy * weights[..., 0]).sum(), leaves
            )
            for r, leaves in ((got, strided), (want, (q, k, v)))
        )
    ):
        torch.testing.assert_close(x, y, rtol=1e-11, atol=1e-11)


def weighted_sum(rows):
    """A number that every field of every row enters with a weight of its own."""
    return sum(
        (draw(*x.shape, seed=i) * x.masked_fill(x == -INF, 0)).sum()
        for i, (_, x) in enumerate(sorted(fields(rows).items()))
    )


def compare_with_reference(q, k, **arguments):
    q, k = q.requires_grad_(), k.requires_grad_()
    got, want = (
        row_statistics(q, k, orders=(2.0, 0.5, 3.0), impl=impl, **arguments)
        for impl in ("fused", "reference")
    )
    close(got, want, 1e-12)
    for x, y in zip(*(torch.autograd.grad(weighted_sum(rows), (q, k)) for rows in (got, want))):
        torch.testing.assert_close(x, y, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("n_q, n_k", [(63, 63), (21, 111), (111, 63), (64, 48)])
def test_tiles_that_do_not_divide_the_rows(small_tiles, is_causal, mask, n_q, n_k):
    q, k = inputs(n_q, n_k)
    compare_with_reference(q, k, attn_mask=MASKS[mask](n_q, n_k), is_causal=is_causal)


@pytest.mark.parametrize("is_causal", [False, True])
def test_bias_in_tiles(small_tiles, is_causal):
    q, k = inputs(21, 35)
    bias = draw(2, 21, 35, seed=5).masked_fill(draw(2, 21, 35, seed=6) > 1, -INF)
    compare_with_reference(q, k, attn_mask=bias, is_causal=is_causal)


@pytest.mark.parametrize("shape", [(7, 3, 5, 9), (7, 1, 5, 9), (1, 3, 5, 9), (7, 1, 1, 9), (5, 1)])
@pytest.mark.parametrize("batch, heads", [(7, 3), (7, 31)])
def test_tiles_of_several_heads(small_tiles, shape, batch, heads):
    q, k = inputs(5, 9, d=4, heads=heads, batch=batch)
    mask = draw(*(heads if size == 3 else size for size in shape), seed=3) > -0.5
    compare_with_reference(q, k, attn_mask=mask)


def test_lengths_beyond_one_tile():
    q, k = inputs(530, 1030, d=4, heads=1, batch=1)
    for is_causal in (False, True):
        compare_with_reference(q, k, is_causal=is_causal)


@pytest.mark.parametrize("case", GRADIENT_CASES)
def test_gradients_across_tiles(monkeypatch, case):
    cut_tiles(monkeypatch, 2)
    test_gradients("fused", case)


@pytest.mark.parametrize("field", ["lse", "entropy", "varentropy", "effective_tokens"])
def test_gradient_of_each_statistic_alone(field):
    """Terms of the gradient that nobody asks for are left out of it."""
    q, k = inputs(5, 7, d=2, heads=1, batch=1)
    assert torch.autograd.gradcheck(
        lambda q, k: getattr(row_statistics(q, k), field), (q.requires_grad_(), k.requires_grad_())
    )


def test_many_keys_do_not_cost_digits():
    q, k = inputs(4, 65536, d=8, heads=1, batch=1, dtype=torch.float32)
    q = 4 * q
    want = row_statistics(q.double(), k.double())
    # The rounding of the logits, |s| < 64 here; nothing that grows with the number of keys.
    budget = 4 * EPS32 * (q.norm(dim=-1).max() * k.norm(dim=-1).max() / math.sqrt(8)).item()
    assert budget < 4 * EPS32 * 64
    got = row_statistics(q, k)
    for name in ("lse", "entropy", "effective_tokens", "varentropy"):
        error = (fields(got)[name].double() / fields(want)[name] - 1).abs().max().item()
        assert error <= budget, (name, error, budget)


def test_rows_of_huge_logits_are_concentrated():
    q, k = inputs(9, 40, d=4, dtype=torch.float32)
    q, k = (1e15 * q).requires_grad_(), (1e15 * k).requires_grad_()
    rows = row_statistics(q, k)
    assert (rows.entropy == 0).all() and (rows.varentropy == 0).all() and (rows.effective_tokens == 1).all()
    for gradient in torch.autograd.grad(
        rows.entropy.sum() + rows.varentropy.sum() + rows.sparsity.sum(), (q, k)
    ):
        assert (gradient == 0).all()


@pytest.fixture
def by_kernels(monkeypatch):
    """The way of the devices other than the CPU, with the CPU's kernels."""
    monkeypatch.setattr(engine, "_by_tiles", engine._by_kernels)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("is_causal", [False, True])
def test_statistics_by_kernels(by_kernels, mask, is_causal):
    q, k = inputs(21, 35)
    compare_with_reference(q, k, attn_mask=MASKS[mask](21, 35), is_causal=is_causal)


@pytest.mark.parametrize("case", ["plain", "empty row", "gqa"])
def test_gradients_with_output_by_kernels(by_kernels, case):
    test_gradients_with_output(case)


def test_second_derivatives_are_refused_by_kernels(by_kernels):
    test_second_derivatives_are_refused()


def test_what_runs_is_named():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    for device in ("cpu", "meta", "mps"):
        for only_hides in (False, True):
            assert engine_for("fused", torch.device(device), only_hides) == "tiles"
    assert engine_for("fused", cuda, True) == "kernels" and engine_for("fused", cuda, False) == "blockwise"
    for impl in ("blockwise", "reference"):
        assert engine_for(impl, cpu, False) == engine_for(impl, cuda, True) == impl


@pytest.mark.parametrize("bias", [False, True])
def test_fused_runs_tiles_on_a_cpu(monkeypatch, bias):
    seen, tiled = [], engine._by_tiles
    monkeypatch.setattr(engine, "_by_tiles", lambda *given: seen.append("tiles") or tiled(*given))
    q, k = inputs(5, 7)
    row_entropy(q, k, attn_mask=draw(5, 7, seed=3) if bias else None)
    assert seen == ["tiles"]
