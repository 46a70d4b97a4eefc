"""The ends of every range: what would be NaN or infinite is said or exact; and nothing is n x n."""

import math

import mpmath
import pytest
import torch

import attnlib as al
from attnlib.errors import InvalidArgument

INF = math.inf
IMPLS = ("fused", "blockwise", "reference")


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("impl", ["fused", "blockwise"])
def test_logits_that_overflow_are_said(impl):
    q, k = torch.full((1, 2, 8), 1e20), 1e20 * draw(1, 3, 8, dtype=torch.float32)
    calls = [
        lambda: al.row_statistics(q, k, impl=impl),
        lambda: al.row_entropy(q, k, impl=impl),
        lambda: al.entropy_temperature(q, k, 0.5, impl=impl),
        lambda: al.key_statistics(q, k),
        lambda: al.top_mass(q, k, count=1),
        lambda: al.softmax_attention(q, k, k),
        lambda: al.relu2_attention(q, k, k, normalize=1),
    ]
    for call in calls:
        with pytest.raises(InvalidArgument, match="beyond the range of torch.float32"):
            call()
    rows = al.row_statistics(q.double(), k.double(), impl=impl)
    assert rows.lse.isfinite().all() and (rows.entropy == 0).all()


def test_results_that_a_dtype_cannot_hold_are_said():
    q, k = torch.full((1, 2, 8), 100.0).half(), 1000 * torch.ones(1, 3, 8).half()
    with pytest.raises(InvalidArgument, match="q has dtype torch.float16, which cannot hold a result of 28"):
        al.row_entropy(q, k)
    assert al.row_entropy(q.float(), k.float()).lse.isfinite().all()


def test_numbers_beyond_the_range_of_float32():
    s, q = torch.tensor([1.0, 2.0, 3.0]), torch.zeros(2, 3)
    calls = [
        lambda: al.log_partition(s, 1e39),
        lambda: al.softmax_entropy(s, torch.tensor(1e39, dtype=torch.float64)),
        lambda: al.row_entropy(q, q, scale=1e39),
        lambda: al.row_entropy(q, q, scale=lambda n, d: torch.tensor([1e39, 1.0], dtype=torch.float64)),
        lambda: al.row_entropy(q, q, scale=torch.tensor(1e39, dtype=torch.float64)),
    ]
    for call in calls:
        with pytest.raises(InvalidArgument, match=r"scale.* must be within the range of torch.float32"):
            call()
    with pytest.raises(InvalidArgument, match=r"scale \* scores is beyond the range"):
        al.log_partition(torch.tensor([3e38, 0.0]), 10.0)
    assert al.softmax_renyi_entropy(s, 1e39) == al.softmax_renyi_entropy(s, INF)
    assert al.softmax_renyi_entropy(s, 1e-50) == al.softmax_renyi_entropy(s, 0.0)
    for impl in IMPLS:
        renyi = al.row_statistics(draw(2, 3).float(), draw(5, 3).float(), orders=(1e39, INF), impl=impl).renyi
        assert torch.equal(renyi[1e39], renyi[INF])


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("s", [1e5, 1e6, 1e8, 1e30])
@pytest.mark.parametrize("order", [0.0, 0.5, 1.0, 1.1, 2.0, 3.0, 7.0, 1e6, INF])
def test_renyi_entropies_of_large_logits_do_not_cancel(impl, s, order):
    root = math.sqrt(s)
    q, k = torch.tensor([[[root]]]), torch.tensor([[[root], [root], [0.0]]])
    value = al.row_statistics(q, k, scale=1.0, orders=(order,), impl=impl).renyi[order].item()
    assert value == pytest.approx(math.log(3 if order == 0 else 2), rel=4 * torch.finfo(torch.float32).eps)


def test_gradients_of_renyi_entropies_stay():
    q, k = draw(2, 5, 3).requires_grad_(), draw(2, 7, 3, seed=1).requires_grad_()
    for order in (0.3, 0.6, 4.0):
        assert torch.autograd.gradcheck(
            lambda q, k: al.row_statistics(q, k, orders=(order,)).renyi[order], (q, k)
        )


def test_gaps_that_overflow_still_count():
    scores = torch.tensor([3.4e38, -3.4e38])
    found = al.normalize_entropy_scores(scores, 0.3)
    assert al.shannon_entropy(found.p).item() == pytest.approx(0.3, rel=1e-6) and found.gamma > 0
    assert (
        al.softmax_entropy(scores) == 0 and al.softmax_renyi_entropy(scores, 0.0) == torch.tensor(2.0).log()
    )
    leaf = scores.clone().requires_grad_()
    scale = torch.tensor(1.0, requires_grad=True)
    for gradient in torch.autograd.grad(al.softmax_entropy(leaf, scale), (leaf, scale)):
        assert (gradient == 0).all()
    with pytest.raises(InvalidArgument, match="scores range over more than float64 holds"):
        al.normalize_entropy_scores(torch.tensor([1.7e308, -1.7e308], dtype=torch.float64), 0.3)


@pytest.mark.parametrize("target", [1e-38, 1e-40, 1e-44])
def test_subnormal_targets_in_float32_are_met(target):
    p = torch.tensor([0.1, 0.9])
    found = al.normalize_entropy(p, target)
    exact = torch.tensor(target).double().item()
    ratio = mpmath.mpf(p[1].item()) / p[0].item()

    def excess(g):
        return mpmath.log(mpmath.log1p(ratio**-g) + g * mpmath.log(ratio) / (1 + ratio**g)) - mpmath.log(
            exact
        )

    with mpmath.workdps(60):
        gamma = mpmath.findroot(excess, 40)
    assert found.gamma.item() == pytest.approx(float(gamma), rel=1e-6)
    assert found.p.isfinite().all() and found.p[1] == 1


def test_what_no_gamma_can_be_is_said():
    for call, message in (
        (
            lambda: al.normalize_entropy(torch.tensor([0.1, 0.9], dtype=torch.float64), 1e-310),
            "too small for torch.float64",
        ),
        (
            lambda: al.normalize_entropy_scores(torch.tensor([0.0, -1e-40]), 0.3),
            "beyond the range of torch.float32",
        ),
        (
            lambda: al.normalize_entropy_scores(torch.tensor([0.0, -1e-310], dtype=torch.float64), 0.3),
            "beyond the range of torch.float64",
        ),
        (
            lambda: al.normalize_entropy_scores(torch.tensor([0.0, -6e-8]).half(), 0.3),
            "beyond the range of torch.float16",
        ),
    ):
        with pytest.raises(InvalidArgument, match=message):
            call()


def test_rows_beside_a_hard_one_keep_their_digits():
    ordinary = draw(4, 9, dtype=torch.float32)
    hard = torch.cat([ordinary, 1e-36 * ordinary[:1]])
    alone, together = al.normalize_entropy_scores(ordinary, 1.5), al.normalize_entropy_scores(hard, 1.5)
    assert torch.equal(together.gamma[:4], alone.gamma)
    assert together.gamma[4].item() == pytest.approx(1e36 * alone.gamma[0].item(), rel=1e-5)


@pytest.mark.parametrize("order", [0.005, 0.02, 0.05])
def test_subnormal_probabilities_keep_their_digits(order):
    p = torch.full((2000,), 3e-322, dtype=torch.float64)
    p[0] = 1 - p[1:].sum()
    with mpmath.workdps(40):
        exact = [mpmath.mpf(x) for x in p.tolist()]
        want = mpmath.log(mpmath.fsum(x**order for x in exact)) / (1 - mpmath.mpf(order))
    assert al.renyi_entropy(p, order).item() == pytest.approx(float(want), rel=1e-13, abs=0)


@pytest.mark.parametrize("n", range(1, 40))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gini_of_equal_entries_is_exactly_0(n, dtype):
    assert al.sparsity.gini(torch.full((n,), 0.7, dtype=dtype)) == 0
    assert al.axioms.cloning(al.sparsity.gini, torch.ones(n)) is None


def test_gini_by_its_definition():
    x = draw(50, 11).abs()
    for row, got in zip(x, al.sparsity.gini(x)):
        n, c = len(row), row.sort().values
        k = torch.arange(1, n + 1)
        assert got.item() == pytest.approx(
            (1 - 2 * (c / c.sum() * (n - k + 0.5) / n).sum()).item(), abs=1e-15
        )


EXTREME = [
    # (x, q, p, S*): small orders tend to the geometric mean, high ones to the maximum.
    ([1.0, 2.0, 4.0], 1e-310, INF, 0.5),
    ([1.0, 2.0, 4.0], 1e-50, 1e-310, 1.0),
    ([1.0, 2.0, 4.0], 1e39, 1e300, 1.0),
    ([1.0, 2.0, 4.0], 1.0, 1e300, 7 / 12),
    ([1.0, 0.0, 4.0], 1e-310, 2.0, 0.0),
]


@pytest.mark.parametrize("x, q, p, want", EXTREME)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_orders_of_sparsity(x, q, p, want, dtype):
    assert al.sparsity.s_star(torch.tensor(x, dtype=dtype), q, p).item() == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_orders_of_s(dtype):
    assert al.sparsity.s(torch.tensor([1.0, 2.0], dtype=dtype), 1e-310) == 0
    # A single entry has l_p = 1 whatever p.
    assert al.sparsity.s(torch.tensor([0.0, 2.0, 0.0], dtype=dtype), 1e-310).item() == pytest.approx(1 / 3)
    assert al.sparsity.s(torch.tensor([1.0, 2.0], dtype=dtype), 1e300).item() == pytest.approx(0.75)
    x = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    want = x.mean() * (x**0.01).sum() ** -100
    assert al.sparsity.s(x, 0.01).item() == pytest.approx(want.item(), rel=1e-12)


def test_ratios_that_overflow_are_said():
    with pytest.raises(InvalidArgument, match="q=1.0 and p=1e-310 give a ratio beyond the range"):
        al.sparsity.s_star(torch.tensor([1.0, 0.0, 3.0]), 1, 1e-310)


@pytest.mark.parametrize("top", [1.7e308, 1e-304])
def test_axioms_at_the_ends_of_the_range(top):
    x = top * torch.tensor([1.0, 0.9, 1e-3], dtype=torch.float64)
    assert not any(al.axioms.check(al.sparsity.s_star, x).values())
    assert al.axioms.cloning(al.sparsity.s, x).axiom == "D4"


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("per", ["row", "head"])
@pytest.mark.parametrize(
    "size, dtype", [(1e-160, torch.float64), (1e-30, torch.float32), (1e-17, torch.float32)]
)
def test_temperatures_of_tiny_logits(impl, per, size, dtype):
    q, k = size * draw(2, 3, 4, dtype=dtype), draw(2, 5, 4, seed=1, dtype=dtype)
    found = al.entropy_temperature(q, k, 1.2, per=per, impl=impl)
    plain = al.entropy_temperature(q / size, k, 1.2, per=per, impl=impl)
    torch.testing.assert_close(found.gamma * size, plain.gamma, rtol=1e-4, atol=0)


def test_no_root_is_an_error_of_the_argument():
    q, k = 1e-320 * draw(1, 3, 4), draw(1, 5, 4, seed=1)
    with pytest.raises(InvalidArgument):
        al.entropy_temperature(q, k, 1.2)


Empty = torch.zeros(0, 2, 4, 4)
EMPTY = {
    "row_statistics": lambda e, impl: al.row_statistics(e, e, orders=(0.5, 1.1, 2.0), impl=impl).renyi[0.5],
    "row_entropy": lambda e, impl: al.row_entropy(e, e, is_causal=True, impl=impl).entropy,
    "with output": lambda e, impl: al.softmax_attention_with_statistics(e, e, e, impl=impl).statistics.lse,
    "temperature": lambda e, impl: al.entropy_temperature(e, e, 1.0, impl=impl).gamma,
    "masked": lambda e, impl: al.row_entropy(e, e, attn_mask=torch.arange(4) < 3, impl=impl).lse,
}


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("name", EMPTY)
@pytest.mark.parametrize("shape", [(0, 2, 4, 4), (2, 0, 4, 4), (0, 4, 4)])
def test_an_empty_batch_has_an_empty_result(name, impl, shape):
    e = torch.zeros(shape, requires_grad=True)
    got = EMPTY[name](e, impl)
    assert got.shape == shape[:-1]
    got.sum().backward()


def test_other_functions_of_an_empty_batch():
    e = torch.zeros(0, 2, 4, 4)
    phi = torch.exp
    for got, shape in (
        (al.softmax_attention(e, e, e), (0, 2, 4, 4)),
        (al.softmax_attention(e, e, e, attn_mask=torch.arange(4) < 3, is_causal=True), (0, 2, 4, 4)),
        (al.relu2_attention(e, e, e, normalize="sum"), (0, 2, 4, 4)),
        (al.linear_attention(e, e, e, feature_map=phi, is_causal=True), (0, 2, 4, 4)),
        (al.linear_row_statistics(e, e, feature_map=phi).sparsity, (0, 2, 4)),
        (al.decay_attention(e, 0.5), (0, 2, 4, 4)),
        (al.key_statistics(e, e).received, (0, 2, 4)),
        (al.top_mass(e, e, mass=0.5), (0, 2, 4)),
        (al.softmax_entropy(e), (0, 2, 4)),
        (al.normalize_entropy_scores(e, 1.0).gamma, (0, 2, 4)),
        (al.sparsity.s_star(e), (0, 2, 4)),
        (al.sparsity.gini(e), (0, 2, 4)),
    ):
        assert got.shape == shape


def test_no_keys_is_said():
    q, k = torch.zeros(2, 3, 4), torch.zeros(2, 0, 4)
    for call in (
        lambda: al.row_entropy(q, k),
        lambda: al.softmax_attention(q, k, k),
        lambda: al.key_statistics(q, k),
    ):
        with pytest.raises(InvalidArgument, match="k needs n >= 1"):
            call()


def test_a_head_of_size_one_with_any_stride():
    q, k, v = draw(1, 1, 1, 5).mT, draw(1, 1, 1, 6, seed=1).mT, draw(1, 1, 1, 6, seed=2).mT
    assert q.stride(-1) != 1
    got = al.softmax_attention(q, k, v)
    torch.testing.assert_close(got, torch.softmax(q @ k.mT, -1) @ v, rtol=1e-14, atol=1e-14)
    output = al.softmax_attention_with_statistics(q, k, v, attn_mask=draw(1, 1, 6, 5, seed=4).mT > -1).output
    assert output.isfinite().all()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_nested_tensors_are_named(layout):
    nested = torch.nested.nested_tensor([torch.zeros(3, 4), torch.zeros(2, 4)], layout=layout)
    dense = torch.zeros(2, 3, 4)
    calls = {
        "q": lambda: al.row_statistics(nested, dense),
        "k": lambda: al.softmax_attention(dense, nested, dense),
        "v": lambda: al.decay_attention(nested, 0.5),
        "attn_mask": lambda: al.row_entropy(dense, dense, attn_mask=nested),
        "x": lambda: al.sparsity.gini(nested),
        "scores": lambda: al.softmax_entropy(nested),
        "p": lambda: al.shannon_entropy(nested),
    }
    for name, call in calls.items():
        with pytest.raises(TypeError, match=f"^{name} must be a dense tensor"):
            call()


@pytest.mark.parametrize("shape", ["three", "shared keys", "groups"])
def test_half_precision_gradients_of_other_shapes(shape):
    """What is summed or narrowed on the way is not rounded on the way."""
    heads = (4, 1) if shape == "shared keys" else (4, 2) if shape == "groups" else (4, 4)
    lead = () if shape == "three" else (2,)
    q = draw(*lead, heads[0], 65, 16, dtype=torch.bfloat16)
    k, v = (draw(*lead, heads[1], 65, 16, seed=i, dtype=torch.bfloat16) for i in (1, 2))
    weights = draw(*lead, heads[0], 65, 16, seed=3)
    found = []
    for dtype in (torch.bfloat16, torch.float64):
        leaves = [x.to(dtype).requires_grad_() for x in (q, k, v)]
        output = al.softmax_attention(*leaves, enable_gqa=shape == "groups")
        found.append(torch.autograd.grad((output * weights.to(dtype)).sum(), leaves))
    for got, want in zip(*found):
        # One rounding of the result, and weights that themselves were rounded to eight bits.
        assert ((got - want).abs() <= 2**-8 * (want.abs() + 0.5 * want.abs().max())).all()
        assert (got - want).abs().mean() <= 2**-9 * want.abs().mean() * 1.5


LENGTH = 2048
PADDED = {"attn_mask": torch.arange(LENGTH) > 3, "is_causal": True}
COLUMN = {"attn_mask": (torch.arange(LENGTH) > 3)[:, None], "is_causal": True}
ROW_BIAS = {"attn_mask": draw(LENGTH, dtype=torch.float32), "is_causal": True}
EVERYTHING = {
    "softcap": 3.0,
    "window": 300,
    "segment_ids": torch.arange(LENGTH) // 500,
    "sink": torch.zeros(1),
    "scale": lambda n, d: (n + 1).log(),
    **PADDED,
}
LONG = {
    "softmax_attention": lambda q, k, v: al.softmax_attention(q, k, v, is_causal=True),
    "relu2_attention": lambda q, k, v: al.relu2_attention(q, k, v, normalize="sum", **PADDED),
    "decay_attention": lambda q, k, v: al.decay_attention(v, 0.9),
    "linear_attention": lambda q, k, v: al.linear_attention(q, k, v, feature_map=torch.exp, **PADDED),
    "linear_attention_stream": lambda q, k, v: al.linear_attention_stream(q, k, v, feature_map=torch.exp)[0],
    "linear_row_statistics": lambda q, k, v: al.linear_row_statistics(q, k, feature_map=torch.exp).sparsity,
    "stream_row_statistics": lambda q, k, v: al.stream_row_statistics(q, k.split(300, -2), window=99).entropy,
}
for case, options in {"padded": PADDED, "rows": COLUMN, "bias": ROW_BIAS, "everything": EVERYTHING}.items():
    LONG |= {
        f"softmax_attention {case}": lambda q, k, v, o=options: al.softmax_attention(q, k, v, **o),
        f"key_statistics {case}": lambda q, k, v, o=options: al.key_statistics(q, k, **o).received,
        f"top_mass {case}": lambda q, k, v, o=options: al.top_mass(q, k, count=9, **o),
        f"row_entropy {case}": lambda q, k, v, o=options: al.row_entropy(q, k, **o).entropy,
    }
    for impl in ("fused", "blockwise"):
        LONG[f"statistics {case} {impl}"] = lambda q, k, v, o=options, i=impl: sum(
            al.softmax_attention_with_statistics(
                q, k, v, orders=(0.5, 1.1, INF), impl=i, **o
            ).statistics.renyi.values()
        )
        if case != "bias":
            LONG[f"targeted {case} {impl}"] = lambda q, k, v, o=options, i=impl: (
                al.entropy_targeted_attention(q, k, v, lambda n: 0.8 * n.log(), impl=i, **o).output
            )


@pytest.mark.parametrize("name", LONG)
def test_no_public_function_forms_a_matrix(name, largest_tensor):
    q, k, v = (draw(1, 1, LENGTH, 4, seed=i, dtype=torch.float32).requires_grad_() for i in range(3))
    with largest_tensor as seen:
        LONG[name](q, k, v).sum().backward()
    assert LENGTH <= seen.numel <= LENGTH**2 / 8, seen.numel


def test_a_matrix_would_be_noticed(largest_tensor):
    q = draw(1, 1, LENGTH, 4, dtype=torch.float32)
    with largest_tensor as seen:
        al.softmax_attention(q, q, q, impl="reference")
    assert seen.numel >= LENGTH**2


@pytest.mark.parametrize(
    "mask", [PADDED, {"attn_mask": torch.arange(LENGTH) < LENGTH - 9, "is_causal": True}]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_padding_under_causality_hides_exactly(mask, dtype):
    """Keys that are told apart by columns of their own have no weight, be they as large as they like."""
    q, k, v = (draw(1, 2, 65, 8, seed=i, dtype=dtype) for i in range(3))
    padding = mask["attn_mask"][torch.linspace(0, LENGTH - 1, 65).long()] & (torch.arange(65) > 2)
    k, v = (x.masked_fill(~padding[:, None], 30.0) for x in (k, v))
    got = al.softmax_attention(q, k, v, attn_mask=padding, is_causal=True)
    want = al.softmax_attention(q, k, v, attn_mask=padding, is_causal=True, impl="reference")
    torch.testing.assert_close(got, want, rtol=4 * torch.finfo(dtype).eps, atol=4 * torch.finfo(dtype).eps)
    assert (got[..., :3, :] == 0).all()


def test_a_stream_is_differentiated_through_its_state():
    leaves = [draw(2, 7, 3, seed=i).requires_grad_() for i in range(3)]
    whole = al.linear_attention(*leaves, feature_map=torch.exp, is_causal=True)
    first, state = al.linear_attention_stream(*(x[:, :4] for x in leaves), feature_map=torch.exp)
    last, _ = al.linear_attention_stream(*(x[:, 4:] for x in leaves), feature_map=torch.exp, state=state)
    weights = draw(2, 7, 3, seed=5)
    for got, want in zip(
        torch.autograd.grad((torch.cat([first, last], 1) * weights).sum(), leaves),
        torch.autograd.grad((whole * weights).sum(), leaves),
    ):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


def test_the_reference_is_of_float64_whatever_it_is_given():
    q, k = draw(2, 9, 4, dtype=torch.float32), draw(2, 70, 4, seed=1, dtype=torch.float32)
    narrow = al.row_statistics(q, k, impl="reference")
    wide = al.row_statistics(q.double(), k.double(), impl="reference")
    for name in ("lse", "entropy", "varentropy", "effective_tokens"):
        assert torch.equal(getattr(narrow, name), getattr(wide, name).float())
