"""Caps, sinks, windows, documents, biases and scales of all row functions, by definition in float64."""

import itertools
import math

import pytest
import torch
from torch.nn.attention.bias import causal_lower_right, causal_upper_left

import attnlib as al
from attnlib._rows import blockwise, layout, tiles
from attnlib.errors import InvalidArgument

INF = math.inf
EPS = torch.finfo(torch.float64).eps
IMPLS = ("fused", "blockwise", "reference")
N_Q, N_K = 23, 31


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def cut_tiles(monkeypatch, side):
    """Tiles of that many keys, and of about as many rows."""
    monkeypatch.setattr(tiles, "_KEYS", side)
    monkeypatch.setattr(tiles, "_CACHE", 16 * side**2)


@pytest.fixture(params=[False, True], ids=["whole", "cut"])
def cut(request, monkeypatch):
    """Tiles of 5 by 5 and blocks of two rows, so that every row spans several tiles, and nothing divides."""
    if request.param:
        cut_tiles(monkeypatch, 5)
        monkeypatch.setitem(blockwise._BLOCK_ELEMENTS, "cpu", 2 * N_K)
        monkeypatch.setattr(layout, "_COUNTED_AT_ONCE", 3 * N_K)


def segments(n, seed):
    """Documents of uneven lengths, for two batches."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 3, (2, n), generator=generator).sort(dim=-1).values


SINK = draw(3, seed=8)
OPTIONS = {
    "cap": {"softcap": 1.5},
    "window": {"window": 3},
    "sides": {"window": (7, 2)},
    "sliding": {"window": (6, 0), "is_causal": True},
    "sink": {"sink": SINK},
    "documents": {"segment_ids": (segments(N_Q, 1), segments(N_K, 2))},
    "bias": {"attn_mask": draw(3, N_Q, N_K, seed=5)},
    "upper": {"attn_mask": causal_upper_left(N_Q, N_K)},
    "lower": {"attn_mask": causal_lower_right(N_Q, N_K)},
    "finite mask": {"attn_mask": torch.where(torch.arange(N_K) < 5, -1e9, 0.0)},
    "scale a row": {"scale": draw(3, N_Q, seed=6)},
    "one scale": {"scale": torch.tensor(0.8, dtype=torch.float64)},
    "all": {
        "softcap": 2.0,
        "window": (9, 4),
        "is_causal": True,
        "sink": SINK,
        "segment_ids": (segments(N_Q, 1), segments(N_K, 2)),
        "attn_mask": draw(2, 1, N_Q, N_K, seed=7).masked_fill(draw(N_Q, N_K, seed=9) > 1, -1e4),
        "scale": lambda n, d: (n + 1).log() / d**0.5,
    },
}


def written(q, k, options):
    """Logits with -inf where a key is hidden, row by row and key by key from the definitions."""
    q, k = q.double(), k.double()
    n_q, n_k = q.shape[-2], k.shape[-2]
    place = torch.arange(n_k) - torch.arange(n_q)[:, None]
    seen = torch.ones(2, 3, n_q, n_k, dtype=torch.bool)
    bias = torch.zeros(1, dtype=torch.float64)
    mask = options.get("attn_mask")
    if isinstance(mask, torch.nn.attention.bias.CausalBias):
        seen &= place <= (0 if mask.variant.name == "UPPER_LEFT" else n_k - n_q)
    elif mask is not None:
        seen &= mask > -1e4
        bias = mask.double()
    if options.get("is_causal"):
        seen &= place <= 0
    if "window" in options:
        left, right = options["window"] if isinstance(options["window"], tuple) else [options["window"]] * 2
        seen &= (place >= -left) & (place <= right)
    if "segment_ids" in options:
        own, keys = options["segment_ids"]
        seen &= own[:, None, :, None] == keys[:, None, None, :]
    scale = options.get("scale", 1 / math.sqrt(q.shape[-1]))
    if callable(scale):
        scale = scale(seen.sum(-1).clamp(min=1).double(), q.shape[-1])
    scale = torch.as_tensor(scale, dtype=torch.float64)
    s = (q @ k.mT) * (scale[..., None] if scale.ndim else scale)
    if "softcap" in options:
        s = options["softcap"] * torch.tanh(s / options["softcap"])
    return (s + bias).masked_fill(~seen, -INF), seen


def weights(q, k, options):
    """Weights of the keys, what a sink takes, and the logits."""
    s, seen = written(q, k, options)
    sink = options.get("sink")
    column = torch.full((2, 3, s.shape[-2], 1), -INF, dtype=torch.float64)
    column = column if sink is None else sink[:, None, None].expand_as(column)
    whole = torch.cat([s, column], -1)
    p = torch.softmax(whole, -1).nan_to_num(0.0)
    return p[..., :-1], p[..., -1], s, torch.logsumexp(whole, -1), seen


def inputs(dtype=torch.float64):
    shapes = ((2, 3, N_Q, 8), (2, 3, N_K, 8), (2, 3, N_K, 5))
    return [draw(*shape, seed=i, dtype=dtype) for i, shape in enumerate(shapes)]


def check(got, want, tolerance, name):
    torch.testing.assert_close(
        got.double(), want.double(), rtol=tolerance, atol=tolerance, msg=lambda m: f"{name}: {m}"
    )


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("option", OPTIONS)
def test_rows_by_definition(cut, option, impl):
    q, k, v = inputs()
    options = OPTIONS[option]
    p, sink_share, s, lse, seen = weights(q, k, options)
    output, rows = al.softmax_attention_with_statistics(
        q, k, v, orders=(0.0, 0.5, 1.1, 2.0, 3.0, INF), impl=impl, **options
    )
    # |s| is below 16 here and sums have 31 terms: a few hundred eps.
    tolerance = 512 * EPS
    check(output, p @ v, tolerance, "output")
    check(rows.lse, lse, tolerance, "lse")
    check(rows.sink_share, sink_share, tolerance, "sink share")
    check(rows.max_logit, s.amax(-1), tolerance, "largest logit")
    own = torch.softmax(s, -1).nan_to_num(0.0)
    gone = ~seen.any(-1)
    log_p = torch.log_softmax(s, -1).masked_fill(~seen, 0)
    entropy = -(own * log_p).sum(-1)
    check(rows.entropy, entropy, tolerance, "entropy")
    check(rows.varentropy, (own * (log_p + entropy[..., None]) ** 2).sum(-1), tolerance, "varentropy")
    tokens = (1 / own.square().sum(-1)).masked_fill(gone, 1)
    check(rows.effective_tokens, tokens, tolerance, "tokens")
    check(rows.sparsity, (tokens / seen.sum(-1).clamp(min=1)).sqrt(), tolerance, "sparsity")
    check(rows.renyi[0.0], seen.sum(-1).clamp(min=1).double().log(), tolerance, "order 0")
    for order in (0.5, 1.1, 3.0):
        # Next to 1 the quotient by 1 - order costs the oracle ten times the rounding of its sum.
        value = ((own**order).sum(-1)).masked_fill(gone, 1).log() / (1 - order)
        check(rows.renyi[order], value, 10 * tolerance, f"order {order}")
    check(rows.renyi[INF], -own.amax(-1).masked_fill(gone, 1).log(), tolerance, "order inf")
    found = al.row_entropy(q, k, impl=impl, **options)
    check(found.entropy, entropy, tolerance, "row_entropy")
    check(found.lse, lse, tolerance, "lse of row_entropy")
    if impl != "blockwise":
        check(al.softmax_attention(q, k, v, impl=impl, **options), p @ v, tolerance, "softmax_attention")


@pytest.mark.parametrize("impl", ["blockwise", "reference"])
@pytest.mark.parametrize("option", OPTIONS)
def test_keys_by_definition(cut, option, impl):
    q, k, _ = inputs()
    p, _, _, _, seen = weights(q, k, OPTIONS[option])
    keys = al.key_statistics(q, k, impl=impl, **OPTIONS[option])
    check(keys.received, p.sum(-2), 512 * EPS, "received")
    check(keys.mean_received, p.sum(-2) / seen.sum(-2).clamp(min=1), 512 * EPS, "mean")
    check(keys.max_received, p.amax(-2), 512 * EPS, "largest")
    falling = p.sort(-1, descending=True).values
    for count in (1, 4, N_K, 1000):
        got = al.top_mass(q, k, count=count, impl=impl, **OPTIONS[option])
        check(got, falling[..., :count].sum(-1), 512 * EPS, f"top {count}")
    held = falling.cumsum(-1)
    for mass in (0.1, 0.6, 0.95):
        got = al.top_mass(q, k, mass=mass, impl=impl, **OPTIONS[option])
        want = torch.minimum((held < mass).sum(-1) + 1, seen.sum(-1))
        assert got.dtype == torch.int64 and torch.equal(got, want)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("option", OPTIONS)
def test_half_precision_is_rounded_once(option, dtype):
    q, k, v = inputs(dtype)
    p, _, s, _, _ = weights(q, k, OPTIONS[option])
    output, rows = al.softmax_attention_with_statistics(q, k, v, **OPTIONS[option])
    keys = al.key_statistics(q, k, **OPTIONS[option])
    alone = al.softmax_attention(q, k, v, **OPTIONS[option])
    half = torch.finfo(dtype).eps / 2 * 1.01
    for got, want in ((output, p @ v.double()), (rows.max_logit, s.amax(-1)), (keys.received, p.sum(-2))):
        assert got.dtype == dtype
        finite = want.isfinite()
        assert ((got - want).abs() <= half * want.abs() + 1e-5)[finite].all()
    # Calls that a kernel of PyTorch takes round as that kernel does.
    assert ((alone - p @ v.double()).abs() <= 4 * torch.finfo(dtype).eps * (1 + v.abs().max())).all()


GRADIENTS = {
    "all": {"softcap": 2.0, "window": (3, 1), "segment_ids": torch.tensor([0, 0, 0, 1, 1, 1])},
    "capped": {"softcap": 1.0, "is_causal": True},
    "plain": {},
}


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("case", GRADIENTS)
def test_gradients_in_every_tensor(monkeypatch, impl, case):
    cut_tiles(monkeypatch, 2)
    monkeypatch.setitem(blockwise._BLOCK_ELEMENTS, "cpu", 12)
    q, k, v = (draw(1, 2, 6, 2, seed=i).requires_grad_() for i in range(3))
    bias, sink, scale = (draw(*shape, seed=4).requires_grad_() for shape in ((2, 6, 6), (2,), (2, 6)))

    def everything(q, k, v, bias, sink, scale):
        output, rows = al.softmax_attention_with_statistics(
            q, k, v, attn_mask=bias, sink=sink, scale=scale, orders=(0.5, 2.0), impl=impl, **GRADIENTS[case]
        )
        named = {name: x for name, x in rows._asdict().items() if name != "renyi"}
        return (output, *named.values(), *rows.renyi.values())

    assert torch.autograd.gradcheck(everything, (q, k, v, bias, sink, scale))


@pytest.mark.parametrize("impl", ["blockwise", "reference"])
def test_gradients_of_keys(monkeypatch, impl):
    monkeypatch.setitem(blockwise._BLOCK_ELEMENTS, "cpu", 12)
    q, k = (draw(1, 2, 6, 2, seed=i).requires_grad_() for i in range(2))
    bias, sink = draw(6, 6, seed=4).requires_grad_(), draw(2, seed=5).requires_grad_()

    def everything(q, k, bias, sink):
        options = {"attn_mask": bias, "sink": sink, "softcap": 2.0, "is_causal": True, "impl": impl}
        return (*al.key_statistics(q, k, **options), al.top_mass(q, k, count=2, **options))

    assert torch.autograd.gradcheck(everything, (q, k, bias, sink))


@pytest.mark.parametrize("field", ["lse", "entropy", "max_logit", "varentropy", "effective_tokens"])
@pytest.mark.parametrize("shape", [(2, 6, 6), (1, 1, 6), (1, 2, 6, 1)])
def test_gradient_of_a_bias_from_each_statistic_alone(monkeypatch, field, shape):
    cut_tiles(monkeypatch, 4)
    q, k = draw(2, 6, 3), draw(2, 6, 3, seed=1)
    q, k = q[None], k[None]
    bias = draw(*shape, seed=4).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda b: getattr(al.row_statistics(q, k, attn_mask=b, softcap=2.0), field), bias
    )


def test_parameters_take_gradients():
    q, k, v = (x.float() for x in inputs())
    scale, bias = torch.nn.Parameter(torch.tensor(0.5)), torch.nn.Parameter(draw(N_Q, N_K, seed=3).float())
    al.softmax_attention(q, k, v, scale=scale, attn_mask=bias).sum().backward()
    assert scale.grad is not None and bias.grad is not None and bias.grad.abs().sum() > 0


@pytest.mark.parametrize("option", ["cap", "window", "sliding", "sink", "documents"])
def test_a_stream_is_the_whole(option):
    q, k, _ = inputs()
    options = OPTIONS[option]
    want = al.row_statistics(q, k, orders=(2.0, 0.5), **options)
    got = al.stream_row_statistics(q, k.split(7, -2), orders=(2.0, 0.5), **options)
    for name in ("lse", "entropy", "varentropy", "sparsity", "max_logit", "sink_share"):
        check(getattr(got, name), getattr(want, name), 512 * EPS, name)
    check(got.renyi[0.5], want.renyi[0.5], 512 * EPS, "order 0.5")


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("per", ["row", "head"])
@pytest.mark.parametrize("option", ["cap", "window", "sliding", "sink", "documents", "lower", "scale a row"])
def test_targets_are_met(option, per, impl):
    q, k, v = inputs()
    options = OPTIONS[option]
    found = al.entropy_temperature(q, k, lambda n: 0.6 * n.log(), per=per, impl=impl, **options)
    _, seen = written(q, k, options)
    goal = 0.6 * seen.sum(-1).clamp(min=1).double().log()
    some = seen.any(-1)
    if per == "head":
        count = some.sum(-1)
        goal, reached = (x.mul(some).sum(-1) / count for x in (goal, found.entropy))
        check(reached, goal, 1e-10, "mean entropy")
    else:
        check(found.entropy[some], goal[some], 1e-10, "entropy")
    # The factor multiplies the logits as they are, capped ones after the cap.
    gamma = found.gamma[..., None] if per == "head" else found.gamma
    s, _ = written(q, k, options)
    s = torch.where(seen, s.masked_fill(~seen, 0) * gamma[..., None], -INF)
    p = torch.softmax(torch.cat([s, _column(options, s)], -1), -1).nan_to_num(0.0)[..., :-1]
    output = al.entropy_targeted_attention(q, k, v, lambda n: 0.6 * n.log(), per=per, impl=impl, **options)
    check(output.output, p @ v, 1e-9, "output")


def _column(options, s):
    column = torch.full((*s.shape[:-1], 1), -INF, dtype=s.dtype)
    return options["sink"][:, None, None].expand_as(column) if "sink" in options else column


@pytest.mark.parametrize("option", ["cap", "sink"])
def test_targets_have_gradients(option):
    q, k, v = (draw(1, 3, 4, 2, seed=i).requires_grad_() for i in range(3))
    assert torch.autograd.gradcheck(
        lambda *x: al.entropy_targeted_attention(*x, 0.9, **OPTIONS[option])[:2], (q, k, v)
    )


def test_grouped_queries_keep_their_heads():
    q, k = draw(2, 6, 9, 4), draw(2, 2, 9, 4, seed=1)
    wide = k.repeat_interleave(3, 1)
    sink = draw(6, seed=2)
    got = al.key_statistics(q, k, sink=sink, enable_gqa=True)
    for x, y in zip(got, al.key_statistics(q, wide, sink=sink)):
        assert x.shape == (2, 6, 9) and torch.equal(x, y)


@pytest.mark.parametrize("shape", [(N_K,), (2, N_K), (2, 1, N_K), (2, 3, N_K)])
def test_segments_with_and_without_heads(shape):
    k = draw(2, 3, N_K, 8)
    ids = torch.randint(0, 3, shape, generator=torch.Generator().manual_seed(1))
    full = ids[:, None].expand(2, 3, N_K) if shape == (2, N_K) else ids.expand(2, 3, N_K)
    mask = full[..., None] == full[..., None, :]
    got = al.row_statistics(k, k, segment_ids=ids, scale=lambda n, d: n.log())
    want = al.row_statistics(k, k, attn_mask=mask, scale=lambda n, d: n.log())
    check(got.lse, want.lse, 512 * EPS, "lse")
    check(got.sparsity, want.sparsity, 512 * EPS, "sparsity")


@pytest.mark.parametrize("low", [-3e38, -1e9, -1e4, -INF])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_finite_masks_hide_and_biases_do_not(low, dtype):
    q, k, v = (x.float() for x in inputs())
    hidden = torch.arange(N_K) >= 25
    additive = torch.zeros(N_K, dtype=dtype).masked_fill(hidden, low)
    rule = lambda n, d: torch.as_tensor(n).log() / d  # noqa: E731
    for is_causal in (False, True):
        for function in (
            lambda m: al.softmax_attention(q, k, v, attn_mask=m, scale=rule, is_causal=is_causal),
            lambda m: al.row_statistics(q, k, attn_mask=m, scale=rule, is_causal=is_causal).sparsity,
        ):
            assert torch.equal(function(additive), function(~hidden))
    swin = torch.zeros(N_K).masked_fill(hidden, -100.0)
    assert (al.row_statistics(q, k, attn_mask=swin, orders=(0.0,)).renyi[0.0] == math.log(N_K)).all()


def test_the_order_of_cap_and_mask():
    """A bias beyond the cap stays, and a hidden key stays hidden."""
    q, k = torch.full((1, 4), 100.0), torch.ones(3, 4)
    bias = torch.tensor([[20.0, 0.0, -1e9]])
    rows = al.row_statistics(q, k, attn_mask=bias, softcap=5.0)
    assert rows.max_logit.item() == 25.0 and rows.lse.item() == pytest.approx(25 + math.log1p(math.exp(-20)))


def test_a_row_of_a_sink_alone():
    q, k, v = (draw(2, 3, 4, seed=i).requires_grad_() for i in range(3))
    sink = torch.tensor([0.5, -0.5], dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True] * 3, [False] * 3, [True, False, True]])
    for impl in IMPLS:
        output, rows = al.softmax_attention_with_statistics(q, k, v, attn_mask=mask, sink=sink, impl=impl)
        assert torch.equal(rows.lse[:, 1], sink) and (rows.sink_share[:, 1] == 1).all()
        assert (output[:, 1] == 0).all() and (rows.entropy[:, 1] == 0).all()
        assert (rows.max_logit[:, 1] == -INF).all()
        (gradient,) = torch.autograd.grad(rows.lse[:, 1].sum(), sink)
        assert (gradient == 1).all()


def test_windows_are_not_visited_beyond():
    """Tiles outside of a window cost nothing: their number grows with the rows, not with their square."""
    q = draw(1, 1, 4096, 2).float()
    walk = tiles._Tiles(layout.Tensors(q, q), layout.Pattern(1.0, -100, 0), 2)
    visited = [columns for rows in walk.of_rows() for columns in walk.columns(rows)]
    ends = sum(
        rows.stop // 512 - max(0, rows.start - 100) // 512 + (rows.stop % 512 > 0) for rows in walk.of_rows()
    )
    assert len(visited) == ends < 3 * 4096 // walk.row_step


BAD = {
    "cap": ({"softcap": 0.0}, InvalidArgument, "softcap must lie in"),
    "cap text": ({"softcap": "5"}, TypeError, "softcap must be a real number"),
    "sink shape": (
        {"sink": torch.zeros(5)},
        InvalidArgument,
        r"sink must have one entry a head.* got \(5,\)",
    ),
    "sink nan": ({"sink": torch.full((3,), math.nan)}, InvalidArgument, "sink must be finite"),
    "sink type": ({"sink": [1.0]}, TypeError, "sink must be a torch.Tensor"),
    "sink device": ({"sink": torch.zeros(3, device="meta")}, InvalidArgument, "sink must be on the device"),
    "scale device": (
        {"scale": torch.ones(3, 1, device="meta")},
        InvalidArgument,
        "scale must be on the device",
    ),
    "window": ({"window": -1}, InvalidArgument, "window must not be negative, got -1"),
    "window float": ({"window": 1.5}, TypeError, "window must be an int"),
    "window three": ({"window": (1, 2, 3)}, TypeError, "window must be an int or a pair"),
    "segments": ({"segment_ids": torch.zeros(5).long()}, InvalidArgument, r"segment_ids of shape \(5,\)"),
    "segments float": ({"segment_ids": torch.zeros(N_K)}, TypeError, "segment_ids must be integers"),
    "segments list": ({"segment_ids": [0] * N_K}, TypeError, "segment_ids must be a torch.Tensor"),
    "segments device": (
        {"segment_ids": torch.zeros(N_K, device="meta").long()},
        InvalidArgument,
        "segment_ids must be on the device",
    ),
    "segments three": (
        {"segment_ids": (torch.zeros(N_K).long(),) * 3},
        InvalidArgument,
        "a tensor or a pair of them, got 3",
    ),
    "causal bias": (
        {"attn_mask": causal_lower_right(3, 4)},
        InvalidArgument,
        "CausalBias for 3 queries and 4",
    ),
    "scale shape": ({"scale": torch.zeros(5)}, InvalidArgument, r"scale of shape \(5,\) does not broadcast"),
    "scale nan": ({"scale": torch.tensor(math.nan)}, InvalidArgument, "scale must be finite"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_options(case):
    options, error, message = BAD[case]
    q = torch.zeros(2, 3, N_K, 4)
    calls = (
        lambda: al.row_statistics(q, q, **options),
        lambda: al.softmax_attention(q, q, q, **options),
        lambda: al.key_statistics(q, q, **options),
        lambda: al.entropy_temperature(q, q, 1.0, **options),
    )
    for call in calls:
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({}, InvalidArgument, "one of count and mass"),
        ({"count": 1, "mass": 0.5}, InvalidArgument, "one of count and mass"),
        ({"count": 0}, InvalidArgument, "count must be at least 1, got 0"),
        ({"count": 1.0}, TypeError, "count must be an int, got float"),
        ({"count": True}, TypeError, "count must be an int, got bool"),
        ({"mass": 0.0}, InvalidArgument, "mass must lie in"),
        ({"mass": 1.5}, InvalidArgument, "mass must lie in"),
        ({"count": 1, "impl": "fused"}, InvalidArgument, "impl must be 'blockwise' or 'reference'"),
    ],
)
def test_bad_top_mass(arguments, error, message):
    with pytest.raises(error, match=message):
        al.top_mass(torch.zeros(2, 3), torch.zeros(4, 3), **arguments)


def test_options_are_alike_everywhere():
    """Each function that reads rows takes the same options."""
    import inspect

    wanted = {"softcap", "sink", "window", "segment_ids", "attn_mask", "is_causal", "scale", "enable_gqa"}
    functions = (
        al.softmax_attention,
        al.softmax_attention_with_statistics,
        al.row_entropy,
        al.row_statistics,
        al.key_statistics,
        al.top_mass,
        al.entropy_temperature,
        al.entropy_targeted_attention,
    )
    for function, name in itertools.product(functions, wanted):
        assert inspect.signature(function).parameters[name].kind == inspect.Parameter.KEYWORD_ONLY
