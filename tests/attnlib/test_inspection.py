"""What is recorded of a running model: every call, by the name of its layer, with its own rows' numbers."""

import json
import math
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.functional import scaled_dot_product_attention as imported_by_name

from attnlib import record_attention, row_statistics
from attnlib._recording import place, reading
from attnlib.errors import AttentionNotRecorded, AttentionWarning, InvalidArgument, NothingRecorded

MEASURES = ("entropy", "effective_tokens", "sparsity")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


class Attend(nn.Module):
    """Attention that keeps what it was called with."""

    def __init__(self, attend=functional.scaled_dot_product_attention):
        super().__init__()
        self.attend, self.seen = attend, []

    def forward(self, q, k, v, **how):
        self.seen.append((q.detach(), k.detach(), how))
        return self.attend(q, k, v, **how)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = Attend(), Attend()

    def forward(self, q, k, v, **how):
        return self.second(self.first(q, k, v, **how), k, v, **how)


def qkv(*lead, n=7, m=7, d=8, kv_heads=None, dtype=torch.float32):
    kv = lead if kv_heads is None else (*lead[:-1], kv_heads)
    return (
        torch.randn(*lead, n, d, dtype=dtype),
        torch.randn(*kv, m, d, dtype=dtype),
        torch.randn(*kv, m, d, dtype=dtype),
    )


def by_hand(q, k, real=None, **how):
    """Means over batch and rows of a head; every row sees a key, rows that are not real are left out."""
    rows = row_statistics(q, k, orders=(0.0, 2.0), **how)
    real = torch.ones(q.shape[:-3].numel(), q.shape[-2], dtype=torch.bool) if real is None else real
    fold = lambda x: x.double().reshape(-1, *x.shape[-2:]).transpose(1, 2)[real].mean(0)  # noqa: E731
    return {name: fold(getattr(rows, name)) for name in MEASURES} | {"log_n": fold(rows.renyi[0.0])}


def agree(heads, want, tolerance=1e-6):
    """Means of the same float32 rows; only the order of the sums and the kernel's threads may differ."""
    for name, value in want.items():
        torch.testing.assert_close(getattr(heads, name), value, rtol=tolerance, atol=tolerance)


HIDE_SOME = torch.tensor([[True] * 5 + [False] * 2])
MASKS = {
    "none": {},
    "causal": {"is_causal": True},
    "scale": {"scale": 0.9},
    "boolean mask": {"attn_mask": HIDE_SOME.expand(7, 7)},
    "mask per sequence": {"attn_mask": torch.stack([HIDE_SOME, ~HIDE_SOME])[:, None]},
    "additive mask": {"attn_mask": torch.zeros(7, 7).masked_fill(~HIDE_SOME, -math.inf)},
    "bias": {"attn_mask": torch.linspace(-2, 2, 49).reshape(7, 7)},
}


@pytest.mark.parametrize("how", MASKS.values(), ids=MASKS)
def test_the_numbers_are_those_of_row_statistics(how):
    model, (q, k, v) = Two(), qkv(2, 4)
    with record_attention(model) as report:
        output = model(q, k, v, **how)
    assert torch.equal(output, model(q, k, v, **how))
    assert report.layers == list(report) == ["first", "second"] and len(report) == 2
    for name in report:
        seen_q, seen_k, _ = model.get_submodule(name).seen[0]
        agree(report[name], by_hand(seen_q, seen_k, **how))
        assert report[name].rows.tolist() == [14] * 4 and report[name].calls == 1
    assert not torch.allclose(report["first"].entropy, report["second"].entropy)


def test_grouped_queries():
    model, (q, k, v) = Attend(), qkv(2, 6, kv_heads=3)
    with record_attention(model) as report:
        model(q, k, v, enable_gqa=True)
    agree(report["(model)"], by_hand(q, k, enable_gqa=True))
    assert report["(model)"].entropy.shape == (6,)


@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (2, 2, 3)], ids=str)
def test_any_leading_dimensions(lead):
    model, (q, k, v) = Attend(), qkv(*lead, m=5)
    with record_attention(model) as report:
        model(q, k, v)
    heads = lead[-1] if len(lead) > 1 else 1  # three dimensions are a batch of sequences
    agree(report["(model)"], by_hand(q.reshape(-1, heads, 7, 8), k.reshape(-1, heads, 5, 8)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_half_precision_is_not_rounded_again(dtype):
    model, (q, k, v) = Attend(), qkv(1, 2, dtype=dtype)
    with record_attention(model, keep=("rows",)) as report:
        model(q, k, v)
    agree(report["(model)"], by_hand(q.double(), k.double()))
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    assert report.row_statistics["(model)"][0].entropy.dtype == wide


def test_a_function_imported_by_name_is_caught_too():
    model = Attend(imported_by_name)
    with record_attention(model) as report:
        model(*qkv(1, 2))
    assert report.layers == ["(model)"]


def projections(attention, x):
    """Queries and keys of a self-attending nn.MultiheadAttention, batch first."""
    q, k, _ = (x @ attention.in_proj_weight.mT + attention.in_proj_bias).chunk(3, dim=-1)
    split = lambda t: t.unflatten(-1, (attention.num_heads, -1)).transpose(-3, -2)  # noqa: E731
    return split(q), split(k)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("train", [True, False])
def test_multihead_attention(need_weights, grad, train):
    model = nn.MultiheadAttention(32, 4, dropout=0.5, batch_first=True).train(train)
    x = torch.randn(2, 9, 32)
    with torch.set_grad_enabled(grad):
        torch.manual_seed(1)
        want, weights = model(x, x, x, need_weights=need_weights)
        torch.manual_seed(1)
        with record_attention(model) as report:
            got, got_weights = model(x, x, x, need_weights=need_weights)
    # torch's fast path rounds otherwise: sums of 32 and 9 float32 terms of size 1
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)
    assert (got_weights is None) == (weights is None)
    with torch.no_grad():
        agree(report["(model)"], by_hand(*projections(model, x)), 1e-5)
    assert report["(model)"].calls == 1


def test_multihead_attention_merges_its_masks():
    model = nn.MultiheadAttention(32, 4, batch_first=True).eval()
    x = torch.randn(2, 9, 32)
    hidden = torch.zeros(2, 9, dtype=torch.bool)
    hidden[1, 6:] = True
    causal = nn.Transformer.generate_square_subsequent_mask(9)
    for need_weights in (True, False):
        with record_attention(model) as report:
            _, weights = model(
                x,
                x,
                x,
                key_padding_mask=hidden,
                attn_mask=causal.isinf(),
                need_weights=need_weights,
                average_attn_weights=False,
            )
        with torch.no_grad():
            visible = ~hidden[:, None, None] & (causal == 0)
            agree(report["(model)"], by_hand(*projections(model, x), real=~hidden, attn_mask=visible), 1e-5)
        assert report["(model)"].rows.tolist() == [15] * 4
        if need_weights:
            entropy = torch.special.entr(weights.double()).sum(-1).transpose(1, 2)[~hidden].mean(0)
            torch.testing.assert_close(report["(model)"].entropy, entropy, rtol=1e-5, atol=1e-6)


# torch's own warning about the nested tensors of its fast path, which the model takes when unobserved
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("grad", [True, False])
def test_a_transformer_encoder_with_and_without_its_fast_path(grad):
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    model = nn.TransformerEncoder(layer, 3).eval()
    x, padding = torch.randn(2, 9, 32), torch.zeros(2, 9, dtype=torch.bool)
    padding[1, 6:] = True
    with torch.set_grad_enabled(grad):
        want = model(x, src_key_padding_mask=padding)
        with record_attention(model) as report:
            got = model(x, src_key_padding_mask=padding)
    assert report.layers == [f"layers.{i}.self_attn" for i in range(3)]
    torch.testing.assert_close(got[~padding], want[~padding], rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        q, k = projections(model.layers[0].self_attn, x)
        rows = by_hand(q, k, real=~padding, attn_mask=~padding[:, None, None])
        agree(report["layers.0.self_attn"], rows, 1e-5)
    assert report["layers.0.self_attn"].rows.tolist() == [15] * 4


def test_encoder_and_decoder_with_cross_attention():
    model = nn.Transformer(16, 2, 1, 1, 32, batch_first=True).eval()
    with record_attention(model) as report:
        model(torch.randn(1, 6, 16), torch.randn(1, 4, 16))
    names = ["encoder.layers.0.self_attn", "decoder.layers.0.self_attn", "decoder.layers.0.multihead_attn"]
    assert report.layers == names
    sizes = [(report[name].rows[0].item(), report[name].log_n[0].exp().round().item()) for name in names]
    assert sizes == [(6, 6), (4, 4), (4, 6)]


def test_gradients_stay_as_they_are():
    model, (q, k, v) = Two(), qkv(2, 3)
    q.requires_grad_()
    (want,) = torch.autograd.grad(model(q, k, v).square().sum(), q)
    with record_attention(model) as report:
        (got,) = torch.autograd.grad(model(q, k, v).square().sum(), q)
    assert torch.equal(got, want) and not report["first"].entropy.requires_grad


def test_repeated_calls_are_averaged_by_their_rows():
    model, (q, k, v) = Attend(), qkv(2, 3)
    q2, k2, v2 = qkv(5, 3, n=4, m=11)
    with record_attention(model) as report:
        model(q, k, v)
        model(q2, k2, v2)
    few, many = by_hand(q, k), by_hand(q2, k2)
    agree(report["(model)"], {name: (14 * few[name] + 20 * many[name]) / 34 for name in few})
    assert report["(model)"].calls == 2 and report["(model)"].rows.tolist() == [34] * 3


def test_a_module_that_attends_twice_gives_two_layers():
    class Twice(nn.Module):
        def forward(self, q, k, v):
            return functional.scaled_dot_product_attention(q, k, v) + imported_by_name(q, 2 * k, v)

    model, (q, k, v) = nn.ModuleDict({"block": Twice()}), qkv(1, 2)
    with record_attention(model) as report:
        with pytest.raises(NotImplementedError):  # a ModuleDict does not run; its block called alone does
            model(q, k, v)
        model["block"](q, k, v)
        model["block"](q, k, v)
    assert report.layers == ["block", "block[1]"]
    assert [report[name].calls for name in report] == [2, 2]
    agree(report["block[1]"], by_hand(q, 2 * k))


@pytest.mark.parametrize("lowest", [torch.finfo(torch.float32).min, -math.inf], ids=["finfo.min", "-inf"])
def test_masks_with_the_lowest_number_hide(lowest):
    model, (q, k, v) = Attend(), qkv(1, 2)
    mask = torch.zeros(7, 7).masked_fill(~HIDE_SOME, lowest)
    mask[0] = lowest  # a padding query: its row sees nothing and counts for nothing
    with record_attention(model) as report:
        model(q, k, v, attn_mask=mask)
    agree(report["(model)"], by_hand(q[..., 1:, :], k[..., :5, :]))
    assert report["(model)"].rows.tolist() == [6, 6]


def test_a_head_that_sees_nothing_has_no_mean():
    model, (q, k, v) = Attend(), qkv(1, 2)
    mask = torch.tensor([True, False])[:, None, None].expand(2, 7, 7)
    with record_attention(model) as report:
        model(q, k, v, attn_mask=mask)
    assert report["(model)"].rows.tolist() == [7, 0]
    assert report["(model)"].entropy.isnan().tolist() == [False, True]


def test_rows_are_kept_on_request_only():
    model, (q, k, v) = Attend(), qkv(1, 2)
    with record_attention(model, keep=("rows",), impl="reference") as report:
        model(q, k, v, is_causal=True)
        model(q, k, v)
    causal, full = report.row_statistics["(model)"]
    want = row_statistics(q, k, is_causal=True, orders=(0.0, 2.0), impl="reference")
    assert torch.equal(causal.entropy, want.entropy) and full.lse.shape == (1, 2, 7)
    with record_attention(model) as report:
        model(q, k, v)
    assert report.row_statistics == {}


class Broken(Two):
    def forward(self, q, k, v):
        self.first(q, k, v)
        raise RuntimeError("out of order")


def hooks(model):
    """All that was left anywhere: on modules, on all modules, in torch's own functions."""
    everywhere = (
        torch.nn.modules.module._global_forward_pre_hooks,
        torch.nn.modules.module._global_forward_hooks,
    )
    return [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()] + [
        *map(len, everywhere)
    ]


def test_an_error_in_the_model_is_passed_on_and_everything_is_put_back():
    model, (q, k, v) = Broken(), qkv(1, 2)
    before = functional.scaled_dot_product_attention
    with pytest.raises(RuntimeError, match="out of order"):
        with record_attention(model) as report:
            model(q, k, v)
    assert report.layers == ["first"] and not any(hooks(model))
    assert functional.scaled_dot_product_attention is before
    model.second(q, k, v)
    assert report.layers == ["first"]


def test_no_error_of_finding_the_place_reaches_the_model(monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("lost")

    monkeypatch.setattr(place.Whereabouts, "find", fail)
    model, (q, k, v) = Attend(), qkv(1, 2)
    with pytest.warns(AttentionWarning, match="lost"), record_attention(model):
        assert torch.equal(model(q, k, v), functional.scaled_dot_product_attention(q, k, v))


@pytest.mark.parametrize("need_weights", [True, False])
def test_an_error_of_ours_is_no_error_of_the_model(monkeypatch, need_weights):
    def fail(*args, **kwargs):
        raise RuntimeError("no statistics")

    monkeypatch.setattr(reading, "row_statistics", fail)
    x, model = torch.randn(1, 4, 8), nn.MultiheadAttention(8, 2, batch_first=True)
    want, _ = model(x, x, x, need_weights=need_weights)
    with pytest.warns(AttentionWarning, match="no statistics"), record_attention(model) as report:
        got, _ = model(x, x, x, need_weights=need_weights)
    assert torch.equal(got, want) and not report and not any(hooks(model))


def test_an_error_that_the_caller_catches_leaves_the_names_in_order():
    model, (q, k, v) = Broken(), qkv(1, 2)
    with record_attention(model) as report:
        with pytest.raises(RuntimeError, match="out of order"):
            model(q, k, v)
        model.second(q, k, v)
        functional.scaled_dot_product_attention(q, k, v)  # of no module
    assert report.layers == ["first", "second"]


def test_other_models_are_not_recorded():
    model, other, (q, k, v) = Attend(), Attend(), qkv(1, 2)
    with record_attention(model) as report:
        other(q, k, v)
        model(q, k, v)
    assert report["(model)"].calls == 1


def test_two_recorders_at_once():
    model, (q, k, v) = Two(), qkv(1, 2)
    with record_attention(model) as whole, record_attention(model.second) as part:
        model(q, k, v)
    assert whole.layers == ["first", "second"] and part.layers == ["(model)"]
    assert torch.equal(whole["second"].entropy, part["(model)"].entropy)


class Elsewhere(nn.Module):
    """Attention by a route that nothing can see."""

    def forward(self, q, k, v):
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v)[0]


def test_a_model_that_was_not_called_is_an_error():
    model = Elsewhere()
    with pytest.raises(NothingRecorded, match="Elsewhere was not called inside of the block"):
        with record_attention(model):
            pass
    with pytest.raises(KeyError, match="mine"):  # an error of the block itself is not replaced
        with record_attention(model):
            raise KeyError("mine")


def test_nothing_seen_is_said():
    model = Elsewhere()
    said = "Elsewhere ran, and nothing of its attention was seen: scaled_dot_product_attention"
    with pytest.warns(AttentionWarning, match=said), record_attention(model) as report:
        model(*qkv(1, 2))
    assert not report and len(report.problems) == 1
    with pytest.raises(NothingRecorded, match=said), record_attention(model, on_problem="raise"):
        model(*qkv(1, 2))


class HiddenAttention(Elsewhere):
    """Named for what it is."""


class HalfSeen(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = Attend(), HiddenAttention(), HiddenAttention()

    def forward(self, q, k, v):
        return self.two(self.one(q, k, v), k, v)


def test_a_layer_that_was_not_seen_is_named():
    model = HalfSeen()
    said = r"1 attention layers ran and were not seen \(two\): .* fed in by report.add_weights"
    with pytest.warns(AttentionWarning, match=said), record_attention(model) as report:
        model(*qkv(1, 2))
    assert report.layers == ["one"]  # and `three`, which did not run, is not missed
    with pytest.raises(AttentionNotRecorded, match=said):
        with record_attention(model, on_problem="raise"):
            model(*qkv(1, 2))


@pytest.mark.parametrize("sdpa, way", [(True, "'sdpa'"), (False, "'eager'")])
def test_the_advice_is_what_the_class_can_do(sdpa, way):
    model = HalfSeen()
    model._supports_sdpa, model.set_attn_implementation = sdpa, lambda name: None
    with pytest.warns(AttentionWarning, match=rf"call model.set_attn_implementation\({way}\)"):
        with record_attention(model):
            model(*qkv(1, 2))


def has_nan(model):
    q, k, v = qkv(1, 2)
    return model(q, k * math.nan, v)


def has_no_batch(model):
    return model(*qkv(0, 2))


def has_no_keys(model):
    return model(*qkv(1, 2, m=0))


@pytest.mark.parametrize(
    "run, said",
    [
        (has_nan, r"\(model\): k must be finite, got nan"),
        (has_no_batch, r"\(model\): query is empty, shape \(0, 2, 7, 8\)"),
        (has_no_keys, r"\(model\): key is empty, shape \(1, 2, 0, 8\)"),
    ],
)
def test_what_cannot_be_read_is_said_once_and_stops_nothing(run, said):
    model = Attend()
    with pytest.warns(AttentionWarning, match=said + r".* \(2 times\)") as caught:
        with record_attention(model) as report:
            got = run(model)
            run(model)
            model(*qkv(1, 2))
    torch.manual_seed(0)
    torch.testing.assert_close(got, run(model), equal_nan=True)
    assert len(caught) == 1 and report["(model)"].calls == 1 and not any(hooks(model))


def test_training_goes_on_with_nan():
    model = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    with pytest.warns(AttentionWarning, match="self_attn: .*must be finite"), record_attention(model):
        model(torch.full((1, 4, 16), math.nan)).sum().backward()
    assert model.linear1.weight.grad is not None


@pytest.mark.parametrize("model", [None, nn.MultiheadAttention, functional.scaled_dot_product_attention])
def test_a_model_must_be_a_module(model):
    with pytest.raises(TypeError, match="model must be a torch.nn.Module, got"):
        with record_attention(model):
            pass


@pytest.mark.filterwarnings("ignore:.torch.jit.*. is deprecated")
@pytest.mark.parametrize("part, name", [(None, "model"), (Two(), "second")])
def test_scripted_models_are_refused(part, name):
    scripted = torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2))
    if part is None:
        part = scripted
    else:
        part.second = scripted
    with pytest.raises(TypeError, match=f"{name} is scripted: record the module it was made from"):
        with record_attention(part):
            pass
    assert not any(hooks(part))


@pytest.fixture(scope="module")
def report():
    torch.manual_seed(0)
    model = Two()
    with record_attention(model) as report:
        model(*qkv(1, 2))
    return report


def test_the_table_has_a_line_for_each_head(report):
    lines = str(report).splitlines()
    assert lines[0].split("  ")[0] == "layer" and len(lines) == 5 and len(set(map(len, lines))) == 1
    assert lines[4].split() == [
        "second",
        "1",
        f"{report['second'].entropy[1]:.3f}",
        f"{math.log(7):.3f}",
        f"{report['second'].effective_tokens[1]:.1f}",
        f"{report['second'].sparsity[1]:.3f}",
        f"{report['second'].max_logit[1]:.2f}",
        "7",
    ]


def test_the_dictionary_is_plain_data(report):
    data = report.to_dict()
    assert json.loads(json.dumps(data)) == data
    assert data["first"]["entropy"] == report["first"].entropy.tolist()
    assert data["first"]["rows"] == [7, 7] and data["first"]["calls"] == 1


@pytest.mark.parametrize("quantity", MEASURES)
def test_the_plot_shows_every_head(report, quantity):
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, ax = pyplot.subplots()
    assert report.plot(quantity, ax=ax) is ax
    heads = [line.get_ydata() for line in ax.lines if line.get_marker() == "o"]
    assert [list(y) for y in heads] == [getattr(report[name], quantity).tolist() for name in report]
    even = [line.get_ydata()[0] for line in ax.lines if line.get_marker() != "o"]
    assert even == ([pytest.approx(math.log(7))] * 2 if quantity == "entropy" else [])
    assert [label.get_text() for label in ax.get_xticklabels()] == report.layers
    pyplot.close(figure)
    own = report.plot(quantity)
    assert own is not ax
    pyplot.close(own.figure)


def test_an_unknown_quantity_is_refused(report):
    with pytest.raises(InvalidArgument, match="quantity must be 'entropy', .*, got 'heat'"):
        report.plot("heat")


def test_recording_needs_no_matplotlib():
    code = (
        "import sys, torch, attnlib; m = torch.nn.MultiheadAttention(8, 2); x = torch.ones(3, 1, 8)\n"
        "with attnlib.record_attention(m) as r: m(x, x, x)\n"
        "str(r); print('matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
