"""torch's own attention modules, recorded on every way through them, against weights written out by hand."""

import contextlib
import copy
import inspect
import math

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from attnlib import record_attention

pytestmark = [
    # torch's own words about its fast path
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors"),
    pytest.mark.filterwarnings("ignore:enable_nested_tensor is True"),
    # of the compiler, when it is loaded first
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]
TOLERANCE = 1e-5
N, WIDTH, HEADS = 9, 32, 4
CAUSAL = torch.ones(N, N, dtype=torch.bool).triu(1)
RIGHT = torch.arange(N) >= torch.tensor([[N], [6], [4]])
LEFT = RIGHT.flip(1)
PADDINGS = {"no padding": None, "right": RIGHT, "left": LEFT}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def additive(hidden, low=-math.inf, dtype=torch.float32):
    return torch.zeros(hidden.shape, dtype=dtype).masked_fill(hidden, low)


def draw(*shape, dtype=torch.float32):
    return torch.randn(*shape).to(dtype)


def sharpen(model, dtype):
    """Weights so large that heads differ, and no dropout: by it the copy would go another way."""
    for module in model.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(0.4 * torch.randn_like(parameter))
    return model.to(dtype)


def projections(layer, query, key):
    """Queries and keys (batch, heads, n, d) of nn.MultiheadAttention, batch first."""
    width, bias = layer.embed_dim, layer.in_proj_bias
    of_q, of_k = (bias[:width], bias[width : 2 * width]) if bias is not None else (None, None)
    if layer._qkv_same_embed_dim:
        w_q, w_k = layer.in_proj_weight[:width], layer.in_proj_weight[width : 2 * width]
    else:
        w_q, w_k = layer.q_proj_weight, layer.k_proj_weight
    q, k = functional.linear(query, w_q, of_q), functional.linear(key, w_k, of_k)
    if layer.bias_k is not None:
        k = torch.cat([k, layer.bias_k.expand(len(k), 1, -1)], 1)
    q, k = (x.unflatten(-1, (layer.num_heads, -1)).transpose(1, 2).double() for x in (q, k))
    if layer.add_zero_attn:
        k = functional.pad(k, (0, 0, 0, 1))
    return q, k


def by_hand(layer, query, key, key_padding_mask, attn_mask):
    """Weights (batch, heads, n, m) in float64."""
    if query.ndim == 2:
        query, key = query[None], key[None]
        key_padding_mask = None if key_padding_mask is None else key_padding_mask[None]
    elif not layer.batch_first:
        query, key = query.transpose(0, 1), key.transpose(0, 1)
    q, k = projections(layer, query, key)
    scores, keys = q @ k.mT / math.sqrt(q.shape[-1]), key.shape[1]
    seen = scores[..., :keys]
    if attn_mask is not None:
        by_head = attn_mask.ndim == 3
        seen += infinite(attn_mask.unflatten(0, (-1, HEADS)) if by_head else attn_mask)
    if key_padding_mask is not None:
        seen += infinite(key_padding_mask)[:, None, None]
    return torch.softmax(scores, -1)


def infinite(mask):
    """A boolean or additive mask as what to add to logits."""
    return additive(mask, dtype=torch.float64) if mask.dtype == torch.bool else mask.double()


FORWARD = inspect.signature(nn.MultiheadAttention.forward)


def written_out(model, args, how):
    """Weights of every attention module in the order of their calls, by hooks on a copy of the model."""
    model, found = copy.deepcopy(model), []

    def look(layer, args, how):
        given = FORWARD.bind(layer, *args, **how).arguments
        found.append(by_hand(*(given.get(name) for name in ("self", "query", "key", *MASKS))))

    for layer in model.modules():
        if isinstance(layer, nn.MultiheadAttention):
            layer.register_forward_pre_hook(look, with_kwargs=True)
    model(*args, **how)  # with gradients, which keep torch from its fast path
    return [weights.detach() for weights in found]


MASKS = ("key_padding_mask", "attn_mask")


def check(report, weights, padding):
    """``padding``: for each layer, True at rows that do not count, or None."""
    assert len(report) == len(weights)
    for layer, p, hidden in zip(report, weights, padding):
        rows = torch.special.entr(p).sum(-1).transpose(1, 2)
        rows = rows.flatten(0, 1) if hidden is None else rows[~hidden]
        torch.testing.assert_close(report[layer].entropy, rows.mean(0), rtol=0, atol=TOLERANCE)
        assert report[layer].rows.tolist() == [len(rows)] * HEADS
        # Heads that spread evenly, or all alike, would make this easy.
        assert (report[layer].log_n - report[layer].entropy).max() > 0.2 and report[
            layer
        ].entropy.std() > 0.01


def record(model, args, how, hidden=None):
    """What is recorded, of a model that goes on as it does alone, up to the rounding of torch's fast path."""
    with torch.no_grad():
        plain = model(*args, **how)
        with record_attention(model, on_problem="raise") as report:
            got = model(*args, **how)
    got, plain = (x[0] if isinstance(x, tuple) else x for x in (got, plain))
    if hidden is not None:  # rows of padding are what they are
        by_row = getattr(model, "batch_first", True)
        got, plain = (x[~hidden] if by_row else x.transpose(0, 1)[~hidden] for x in (got, plain))
    assert (got - plain).norm() <= (1e-5 if got.dtype == torch.float32 else 0.05) * plain.norm()
    return report


ATTENTION = {
    "plain": ({}, {}),
    "without weights": ({}, {"need_weights": False}),
    "causal": ({}, {"attn_mask": CAUSAL, "is_causal": True}),
    "causal without weights": ({}, {"attn_mask": CAUSAL, "is_causal": True, "need_weights": False}),
    "added causal": ({}, {"attn_mask": additive(CAUSAL), "need_weights": False}),
    "a mask for each head": ({}, {"attn_mask": CAUSAL.expand(3 * HEADS, N, N)}),
    "one more key and a zero": ({"add_bias_kv": True, "add_zero_attn": True}, {}),
    "without bias": ({"bias": False}, {"need_weights": False}),
    "the sequence first": ({"batch_first": False}, {}),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("side", PADDINGS)
@pytest.mark.parametrize("case", ATTENTION)
def test_multihead_attention(case, side, train, dtype):
    settings, how = ATTENTION[case]
    model = nn.MultiheadAttention(WIDTH, HEADS, **({"batch_first": True} | settings))
    model, padding = sharpen(model, dtype).train(train), PADDINGS[side]
    x = draw(3, N, WIDTH, dtype=dtype)
    x = x if model.batch_first else x.transpose(0, 1).contiguous()
    if "attn_mask" in how and how["attn_mask"].is_floating_point():
        how = how | {"attn_mask": how["attn_mask"].to(dtype)}
        padding = None if padding is None else additive(padding, dtype=dtype)
    if padding is not None:
        how = how | {"key_padding_mask": padding}
    report = record(model, (x, x, x), how, PADDINGS[side])
    check(report, written_out(model, (x, x, x), how), [PADDINGS[side]])


def test_other_sizes_of_keys_and_values():
    model = sharpen(nn.MultiheadAttention(WIDTH, HEADS, kdim=8, vdim=12, batch_first=True), torch.float32)
    args = draw(3, N, WIDTH), draw(3, 5, 8), draw(3, 5, 12)
    hidden = torch.arange(5) >= torch.tensor([[5], [4], [3]])
    how = {"key_padding_mask": hidden}
    check(record(model, args, how), written_out(model, args, how), [None])


def test_a_sequence_without_a_batch():
    model, x = sharpen(nn.MultiheadAttention(WIDTH, HEADS), torch.float32), draw(N, WIDTH)
    how = {"key_padding_mask": RIGHT[1]}
    check(record(model, (x, x, x), how), written_out(model, (x, x, x), how), [RIGHT[1:2]])


def encoder(layers=2, nested=True, **settings):
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 48, **({"batch_first": True} | settings))
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=nested)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("side", PADDINGS)
@pytest.mark.parametrize("settings", [{}, {"norm_first": True}, {"batch_first": False}], ids=str)
def test_an_encoder(settings, side, train, dtype):
    """In eval mode alone it takes torch's fast path, with padding to the right by nested tensors."""
    model = sharpen(encoder(**settings), dtype).train(train)
    first = settings.get("batch_first", True)
    model.batch_first = first
    x = draw(3, N, WIDTH, dtype=dtype) if first else draw(N, 3, WIDTH, dtype=dtype)
    how = {"src_key_padding_mask": PADDINGS[side]}
    check(record(model, (x,), how, PADDINGS[side]), written_out(model, (x,), how), [PADDINGS[side]] * 2)


@pytest.mark.parametrize("low", [-math.inf, -1e9])
def test_a_causal_encoder_with_masks_that_are_added(low):
    model, x = sharpen(encoder(), torch.float32).eval(), draw(3, N, WIDTH)
    how = {"mask": additive(CAUSAL, low), "src_key_padding_mask": additive(RIGHT, low), "is_causal": True}
    check(record(model, (x,), how, RIGHT), written_out(model, (x,), how), [RIGHT] * 2)


NESTED = {
    "MultiheadAttention": (lambda: nn.MultiheadAttention(WIDTH, HEADS, batch_first=True), 3),
    "TransformerEncoderLayer": (lambda: encoder(1).layers[0], 1),
    "TransformerEncoder": (encoder, 1),
}


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("recorders", [1, 2])
@pytest.mark.parametrize("kind", NESTED)
def test_nested_tensors(kind, recorders, by_name):
    """torch takes them on its fast path alone, from which nothing can be seen."""
    build, times = NESTED[kind]
    model = sharpen(build(), torch.float32).eval()
    rows = [draw(n, WIDTH) for n in (N, 6, 4)]
    nested, padded = torch.nested.nested_tensor(rows), nn.utils.rnn.pad_sequence(rows, batch_first=True)
    name = "key_padding_mask" if times == 3 else "src_key_padding_mask"
    weights = written_out(model, (padded,) * times, {name: RIGHT})
    args, how = (nested,) * times, {"need_weights": False} if times == 3 else {}
    if by_name:
        args, how = (), how | dict(zip(("query", "key", "value") if times == 3 else ("src",), args))
    with torch.no_grad(), contextlib.ExitStack() as stack:
        plain = model(*args, **how)
        reports = [stack.enter_context(record_attention(model, on_problem="raise")) for _ in range(recorders)]
        got = model(*args, **how)
        model(*args, **how)
    for x, y in zip(*((o[0] if times == 3 else o for o in (got, plain))), strict=True):
        assert torch.equal(x, y)
    for report in reports:
        assert {report[layer].calls for layer in report} == {2}
        check(halved(report), weights, [RIGHT] * len(weights))


def halved(report):
    """A recording of two equal calls as one of one."""
    return {layer: report[layer]._replace(rows=report[layer].rows // 2) for layer in report}


def test_an_error_within_a_module_of_nested_tensors_leaves_nothing_behind():
    model, nested = encoder(1).eval(), torch.nested.nested_tensor([draw(3, 8)])
    x = draw(2, 5, WIDTH)
    with torch.no_grad(), record_attention(model, on_problem="raise") as report:
        with pytest.raises(RuntimeError):  # 8 features where 32 are wanted
            model(nested)
        model(x)
    assert report["layers.0.self_attn"].calls == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("side", ["no padding", "right"])
def test_a_decoder(side, train, dtype):
    layer = nn.TransformerDecoderLayer(WIDTH, HEADS, 48, batch_first=True)
    model = sharpen(nn.TransformerDecoder(layer, 2), dtype).train(train)
    args = draw(3, N, WIDTH, dtype=dtype), draw(3, 5, WIDTH, dtype=dtype)
    hidden, memory = PADDINGS[side], torch.arange(5) >= torch.tensor([[5], [4], [3]])
    how = {"tgt_mask": CAUSAL, "tgt_key_padding_mask": hidden, "memory_key_padding_mask": memory}
    how |= {"tgt_is_causal": True}
    check(record(model, args, how, hidden), written_out(model, args, how), [hidden] * 4)


@pytest.mark.parametrize("batch_first", [True, False])
def test_a_whole_transformer(batch_first):
    model = nn.Transformer(WIDTH, HEADS, 1, 1, 48, batch_first=batch_first)
    model = sharpen(model, torch.float32).eval()
    x, y = draw(3, N, WIDTH), draw(3, N, WIDTH)
    args = (x, y) if batch_first else (x.transpose(0, 1), y.transpose(0, 1))
    how = {"src_key_padding_mask": RIGHT, "memory_key_padding_mask": RIGHT, "tgt_mask": CAUSAL}
    # The rows of a target that says nothing of padding all count, whatever is hidden of the source.
    check(record(model, args, how), written_out(model, args, how), [RIGHT, None, None])


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_checkpoints_count_once_and_gradients_stay(dtype, reentrant):
    model = sharpen(encoder(), dtype).train()
    x = draw(3, N, WIDTH, dtype=dtype).requires_grad_()

    def run():
        out = x
        for layer in model.layers:
            out = checkpoint(layer, out, None, RIGHT, use_reentrant=reentrant)
        x.grad = None
        out[~RIGHT].square().sum().backward()
        return x.grad

    want = run()
    with record_attention(model, on_problem="raise") as report:
        got = run()
    assert torch.equal(got, want) and {report[layer].calls for layer in report} == {1}
    check(report, written_out(model, (x,), {"src_key_padding_mask": RIGHT}), [RIGHT] * 2)


def compiled_whole(model):
    return torch.compile(model, backend="eager")


def compiled_in_place(model):
    model.compile(backend="eager")
    return model


def compiled_in_part(model):
    model.layers[1] = torch.compile(model.layers[1], backend="eager")
    return model


@pytest.mark.filterwarnings("ignore:.*TorchFunctionMode.*")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("how", [compiled_whole, compiled_in_place, compiled_in_part])
def test_what_is_compiled_runs_as_it_was_written(how, train, dtype):
    # torch's compiler ends the process at a nested tensor.
    model, x = sharpen(encoder(nested=False), dtype).train(train), draw(3, N, WIDTH, dtype=dtype)
    padding = {"src_key_padding_mask": RIGHT}
    weights = written_out(model, (x,), padding)
    plain, model = model, how(model)
    with torch.no_grad():
        model(x, **padding)  # compiles it
    report = record(model, (x,), padding, RIGHT)
    assert report.layers == ["layers.0.self_attn", "layers.1.self_attn"]
    check(report, weights, [RIGHT] * 2)
    frames = torch._dynamo.utils.counters["frames"]["total"]
    with torch.no_grad():
        model(x, **padding)
    assert torch._dynamo.utils.counters["frames"]["total"] == frames  # and is still compiled afterwards
    assert plain is model or plain in model.modules()
