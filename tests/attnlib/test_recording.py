"""Kinds of calls that real models make, and what they ask of a recorder: masks, padding, heads,
transparency."""

import copy
import csv
import io
import json
import math
import pickle
import subprocess
import sys
import threading
import warnings

import pytest
import torch
from torch import nn
from torch.nn.attention.bias import causal_lower_right, causal_upper_left
from torch.nn.functional import scaled_dot_product_attention as sdpa
from torch.utils.checkpoint import checkpoint

from attnlib import AttentionReport, record_attention, record_batches, row_statistics
from attnlib._recording import picture, reading
from attnlib.errors import AttentionWarning, InvalidArgument


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


class Attend(nn.Module):
    def forward(self, q, k, v, **how):
        return sdpa(q, k, v, **how)


class Folds(nn.Module):
    """Attention that says how many heads it has and lays its tensors out in another way."""

    def __init__(self, heads, call):
        super().__init__()
        self.num_heads, self.call = heads, call

    def forward(self, *args):
        return self.call(*args)


class SelfAttention(nn.Module):
    """One sequence in: projections, and SDPA with whatever it is told."""

    def __init__(self, width=16, heads=2, written=False):
        super().__init__()
        self.num_heads, self.written = heads, written
        self.qkv = nn.Linear(width, 3 * width)

    def heads(self, x):
        return self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)

    def forward(self, x, mask=None, is_causal=False):
        q, k, v = self.heads(x)
        if not self.written:
            return x + sdpa(q, k, v, attn_mask=mask, is_causal=is_causal).transpose(1, 2).flatten(-2)
        scores = q @ k.mT / q.shape[-1] ** 0.5
        if mask is not None:
            scores = scores + mask
        weights = torch.softmax(scores, dim=-1)
        weights = nn.functional.dropout(weights, 0.5, self.training)
        return x + (weights @ v).transpose(1, 2).flatten(-2)


class Padded(nn.Module):
    """A model that is told its padding as transformers' are."""

    def __init__(self, written=False):
        super().__init__()
        self.layer = SelfAttention(written=written)

    def forward(self, x, attention_mask=None):
        lowest = torch.finfo(x.dtype).min
        mask = None if attention_mask is None else (1.0 - attention_mask[:, None, None].to(x.dtype)) * lowest
        return self.layer(x, mask)


def record(model, *args, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with record_attention(model, **how) as report:
            model(*args)
    return report


def mean_entropy(q, k, real=None, **how):
    """Of every head over the rows (batch, n) that are real."""
    entropy = row_statistics(q, k, **how).entropy.double().transpose(1, 2)
    return entropy[real].mean(0) if real is not None else entropy.flatten(0, 1).mean(0)


def close(got, want, tolerance=1e-6):
    torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


# Heads


def test_grouped_queries_folded_into_the_length_come_out_as_heads():
    q, k, v = torch.randn(3, 8, 1, 4), torch.randn(3, 2, 9, 4), torch.randn(3, 2, 9, 4)
    mask = torch.rand(3, 1, 1, 9) < 0.7
    mask[..., 0] = True
    packed = Folds(8, lambda q, k, v: sdpa(q.reshape(3, 2, 4, 4), k, v, attn_mask=mask))
    got = record(packed, q, k, v)["(model)"]
    want = mean_entropy(q, k.repeat_interleave(4, 1), attn_mask=mask)
    assert got.rows.tolist() == [3] * 8
    close(got.entropy, want)


def test_heads_folded_into_the_batch_and_before_windows():
    q, k = torch.randn(2, 4, 6, 5), torch.randn(2, 4, 6, 5)
    want = mean_entropy(q, k)
    folded = Folds(4, lambda q, k: sdpa(q.flatten(0, 1), k.flatten(0, 1), k.flatten(0, 1)))
    close(record(folded, q, k)["(model)"].entropy, want)
    first = Folds(4, lambda q, k: sdpa(*(x.transpose(0, 1)[:, None] for x in (q, k, k))))
    got = record(first, q, k)["(model)"]
    close(got.entropy, want) if len(got.entropy) == 4 else pytest.fail(f"{len(got.entropy)} heads")


def test_three_dimensions_are_a_batch_of_any_size():
    model, q = Attend(), torch.randn(5, 7, 8)
    with record_attention(model) as report:
        model(q, q, q)
        model(q[:2], q[:2], q[:2])
    assert report["(model)"].rows.tolist() == [49] and report.layers == ["(model)"]


def test_a_layer_that_changes_its_heads_is_filed_apart():
    model = Attend()
    with record_attention(model) as report:
        for heads in (2, 3, 2):
            q = torch.randn(1, heads, 7, 8)
            model(q, q, q)
    assert {layer: report[layer].calls for layer in report} == {"(model)": 2, "(model) (3 heads)": 1}


# Masks


@pytest.mark.parametrize("n_q, n_k", [(4, 6), (6, 6), (1, 5)])
@pytest.mark.parametrize("make", [causal_lower_right, causal_upper_left])
def test_a_causal_bias_is_read_by_its_name(make, n_q, n_k):
    q, k = torch.randn(1, 2, n_q, 8), torch.randn(1, 2, n_k, 8)
    bias = make(n_q, n_k)
    got = record(Folds(2, lambda q, k: sdpa(q, k, k, attn_mask=bias)), q, k)["(model)"]
    visible = bias._materialize()
    close(got.entropy, mean_entropy(q, k, attn_mask=visible))
    close(got.log_n, visible.sum(-1).double().log().mean().expand(2))


@pytest.mark.parametrize("lowest", [-1e4, -1e9, torch.finfo(torch.float32).min, -math.inf])
def test_finite_masks_hide(lowest):
    q, k = torch.randn(1, 2, 7, 8), torch.randn(1, 2, 5, 8)
    mask = torch.tensor([0, 0, 0, lowest, lowest]).expand(7, 5)
    got = record(Folds(2, lambda q, k: sdpa(q, k, k, attn_mask=mask)), q, k)["(model)"]
    close(got.log_n, torch.full((2,), math.log(3), dtype=torch.float64))
    close(got.entropy, mean_entropy(q, k[..., :3, :]))
    close(got.sparsity, row_statistics(q, k[..., :3, :]).sparsity.double().mean((0, 2)))


def test_a_bias_of_minus_100_hides_nothing():
    q, k = torch.randn(1, 2, 7, 8), torch.randn(1, 2, 5, 8)
    mask = torch.tensor([0, 0, 0, -100.0, -100.0]).expand(7, 5)
    got = record(Folds(2, lambda q, k: sdpa(q, k, k, attn_mask=mask)), q, k)["(model)"]
    close(got.log_n, torch.full((2,), math.log(5), dtype=torch.float64))


def test_a_learned_mask_is_read():
    q, bias = torch.randn(1, 2, 5, 8), nn.Parameter(torch.randn(2, 5, 5))
    got = record(Folds(2, lambda q: sdpa(q, q, q, attn_mask=bias)), q)["(model)"]
    close(got.entropy, mean_entropy(q, q, attn_mask=bias.detach()))


# Padding

REAL = torch.tensor([[True] * 7, [True] * 4 + [False] * 3, [False] * 5 + [True] * 2])


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float32])
def test_rows_of_padding_do_not_count(written, dtype):
    model, x = Padded(written).eval(), torch.randn(3, 7, 16)
    got = record(model, x, REAL.to(dtype))["layer"]
    q, k, _ = model.layer.heads(x).detach()
    assert got.rows.tolist() == [13, 13]
    close(got.entropy, mean_entropy(q, k, REAL, attn_mask=REAL[:, None, None]), 1e-5)
    close(got.log_n, torch.tensor([7.0] * 7 + [4.0] * 4 + [2.0] * 2).double().log().mean().expand(2), 1e-6)


def test_padding_that_only_the_call_knows():
    """A module that attends over its one input, with every key of padding hidden from every row."""
    model, x = SelfAttention(), torch.randn(3, 7, 16)
    got = record(model, x, REAL[:, None, None])["(model)"]
    q, k, _ = model.heads(x).detach()
    assert got.rows.tolist() == [13, 13]
    close(got.entropy, mean_entropy(q, k, REAL, attn_mask=REAL[:, None, None]))
    causal = REAL[:, None, None] & torch.ones(7, 7, dtype=torch.bool).tril()
    assert record(model, x, causal)["(model)"].rows.tolist() == [13, 13]


def test_keys_of_another_sequence_say_nothing_of_the_queries():
    model = nn.MultiheadAttention(16, 2, batch_first=True)
    x, other = torch.randn(3, 7, 16), torch.randn(3, 7, 16)
    with record_attention(model) as report:
        model(x, other, other, key_padding_mask=~REAL)
    assert report["(model)"].rows.tolist() == [21, 21]


class Cross(nn.Module):
    """Attention of one sequence over another of the same length."""

    def forward(self, x, other, mask):
        return sdpa(x[:, None], other[:, None], other[:, None], attn_mask=mask)


def test_hidden_keys_of_another_sequence_hide_no_queries():
    x, other = torch.randn(3, 7, 16), torch.randn(3, 7, 16)
    assert record(Cross(), x, other, REAL[:, None, None])["(model)"].rows.tolist() == [21]
    assert record(Cross(), x, x, REAL[:, None, None])["(model)"].rows.tolist() == [13]


def test_the_padding_of_both_sides_of_a_decoder():
    model = nn.Transformer(16, 2, 1, 1, 32, batch_first=True).eval()
    x = torch.randn(3, 7, 16)
    with record_attention(model) as report:
        model(x, x, src_key_padding_mask=~REAL, memory_key_padding_mask=~REAL)
    rows = {name: report[name].rows[0].item() for name in report}
    assert rows == {
        "encoder.layers.0.self_attn": 13,
        "decoder.layers.0.self_attn": 21,
        "decoder.layers.0.multihead_attn": 21,
    }
    target = REAL.clone()
    target[0, 4:] = False
    with record_attention(model) as report:
        model(x, x, src_key_padding_mask=~REAL, tgt_key_padding_mask=~target)
    assert [report[name].rows[0].item() for name in report] == [13, 10, 10]


class Plainly(nn.Module):
    """A layer over the heads of another, given a mask of ones and zeros that is only called ``mask``."""

    class Attend(nn.Module):
        def forward(self, q, k, v, mask):
            mask = mask.expand(-1, q.shape[1], q.shape[-2], -1)
            return sdpa(q, k, v, attn_mask=mask)

    def __init__(self, written=False):
        super().__init__()
        self.layer, self.attend, self.written = SelfAttention(), self.Attend(), written

    def forward(self, x, mask=None):
        q, k, v = self.layer.heads(x)
        given = torch.ones(len(x), 7, dtype=torch.bool) if mask is None or len(mask) != len(x) else mask
        if self.written:
            s = (q @ k.mT / 8**0.5).masked_fill(~given[:, None, None], -1e9)
            return torch.softmax(s, -1) @ v
        return self.attend(q, k, v, given[:, None, None])


@pytest.mark.parametrize("written", [False, True])
def test_a_mask_that_is_only_called_mask(written):
    model, x = Plainly(written), torch.randn(3, 7, 16)
    q, k, _ = model.layer.heads(x).detach()
    got = record(model, x, REAL)
    (layer,) = got
    assert got[layer].rows.tolist() == [13, 13]
    close(got[layer].entropy, mean_entropy(q, k, REAL, attn_mask=REAL[:, None, None]), 1e-5)


def test_a_mask_of_rows_and_keys_is_no_padding():
    causal = torch.ones(7, 7, dtype=torch.bool).tril()
    report = record(Plainly(written=True), torch.randn(7, 7, 16), causal)
    assert report["(model)"].rows.tolist() == [49, 49]
    report = record(Plainly(written=True), torch.randn(3, 7, 16), causal)
    assert report["(model)"].rows.tolist() == [21, 21]
    padding = torch.arange(7) > torch.arange(7)[:, None] // 3  # as high as wide, and yet of padding
    report = record(Plainly(written=True), torch.randn(7, 7, 16), padding)
    assert report["(model)"].rows.tolist() == [int(padding.sum())] * 2


class Translates(nn.Module):
    """The mask of a source says nothing of the target, though it be as long."""

    def __init__(self):
        super().__init__()
        self.decoder = Plainly(written=True)

    def forward(self, source, target, mask):
        return self.decoder(target) + source.sum()


def test_the_mask_of_another_sequence_says_nothing():
    report = record(Translates(), torch.randn(3, 7, 16), torch.randn(3, 7, 16), REAL)
    assert report["decoder"].rows.tolist() == [21, 21]


def test_a_query_mask_is_the_last_word():
    model, x = Padded(), torch.randn(3, 7, 16)
    mask = torch.zeros(3, 7, dtype=torch.int64)
    mask[0, :2] = 1
    got = record(model, x, REAL.long(), query_mask=mask)["layer"]
    assert got.rows.tolist() == [2, 2]
    for bad, error in ((mask.float(), TypeError), (mask[0], InvalidArgument)):
        with pytest.raises(error, match="query_mask must"), record_attention(model, query_mask=bad):
            pass


# Attention that is written out


@pytest.mark.parametrize("train", [False, True])
def test_written_attention_is_seen(train, monkeypatch):
    monkeypatch.setattr(reading, "_BLOCK", 100)
    model, x = SelfAttention(written=True).train(train), torch.randn(3, 7, 16)
    torch.manual_seed(1)
    want = model(x)
    torch.manual_seed(1)
    with record_attention(model, keep=("rows",)) as report:
        got = model(x)
    assert torch.equal(got, want)
    q, k, _ = model.heads(x).detach()
    rows, exact = report.row_statistics["(model)"][0], row_statistics(q, k, orders=(0.0, 2.0))
    for name in ("lse", "entropy", "sparsity", "effective_tokens", "varentropy"):
        close(getattr(rows, name), getattr(exact, name), 1e-5)
    close(report["(model)"].max_logit, (q @ k.mT / 8**0.5).amax((0, 2, 3)).double(), 1e-5)


def by_einsum(q, k):
    return torch.einsum("b h i j, b h j d -> b h i d", (q @ k.mT).softmax(-1), k)


def by_bmm(q, k):
    weights = nn.Softmax(dim=-1)((q @ k.mT).float()).type_as(q)
    return torch.bmm(weights.view(-1, 6, 6), k.flatten(0, 1))


SINK = torch.full((2, 4, 6, 1), 0.5)


def with_a_sink_behind(q, k):
    logits = torch.cat([q @ k.mT, SINK], -1)
    return torch.softmax(logits - logits.amax(-1, keepdim=True), -1)[..., :-1] @ k


def with_a_sink_before(q, k):
    return torch.softmax(torch.cat([SINK, q @ k.mT], -1), -1)[..., 1:] @ k


def values_first(q, k):
    """As vision models do, whose values are (d, n)."""
    return k.mT @ torch.softmax(q @ k.mT, -1).transpose(-2, -1)


def values_first_by_mt(q, k):
    return k.mT @ torch.softmax(q @ k.mT, -1).contiguous().mT


def values_first_by_einsum(q, k):
    return torch.einsum("bhjd,bhij->bhid", k, torch.softmax(q @ k.mT, -1))


WAYS = (
    by_einsum,
    by_bmm,
    with_a_sink_behind,
    with_a_sink_before,
    values_first,
    values_first_by_mt,
    values_first_by_einsum,
)


@pytest.mark.parametrize("call", WAYS)
def test_the_ways_of_writing_it(call):
    q, k = torch.randn(2, 4, 6, 5), torch.randn(2, 4, 6, 5)
    got = record(Folds(4, call), q, k, keep=("keys",))
    want = torch.softmax((q @ k.mT).double(), -1).mean((0, 2))
    close(
        got["(model)"].entropy, mean_entropy(q, k, scale=1.0), 1e-5
    )  # shares among the keys: a sink is none
    close(got["(model)"].log_n, torch.full((4,), math.log(6), dtype=torch.float64))
    close(got.received("(model)"), want, 1e-5)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("call", WAYS)
def test_the_same_mapped_over(call, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "SINK", SINK[:1])
    q, k = torch.randn(3, 1, 4, 6, 5), torch.randn(3, 1, 4, 6, 5)
    with record_attention(model := Folds(4, call), on_problem="raise") as report:
        torch.vmap(model)(q, k)
    close(report["(model)"].entropy, mean_entropy(q[:, 0], k[:, 0], scale=1.0), 1e-5)


def a_mixture(q, k):
    """Of two sets of weights, as ConViT's of content and of place."""
    one, other = torch.softmax(q @ k.mT, -1), torch.softmax(-2 * (q @ k.mT), -1)
    mixed = (1.0 - torch.tensor(0.3)) * one + torch.tensor(0.3) * other
    mixed /= mixed.sum(-1, keepdim=True)
    return nn.functional.dropout(mixed, 0.5, True) @ k


def one_hot(q, k):
    """The largest alone, with the gradient of all."""
    soft = torch.softmax(q @ k.mT, -1)
    hard = torch.zeros_like(soft).scatter(-1, soft.argmax(-1, keepdim=True), 1.0)
    return (hard + soft - soft.detach()) @ k


def test_what_is_made_of_weights_is_read_if_it_still_is_weights():
    q, k = torch.randn(2, 4, 6, 5), torch.randn(2, 4, 6, 5)
    s = (q @ k.mT).double()
    want = 0.7 * torch.softmax(s, -1) + 0.3 * torch.softmax(-2 * s, -1)
    got = record(Folds(4, a_mixture), q, k)["(model)"]
    close(got.entropy, torch.special.entr(want).sum(-1).mean((0, 2)), 1e-5)
    assert got.max_logit.isnan().all()  # of a mixture there is none
    close(record(Folds(4, one_hot), q, k)["(model)"].entropy, torch.zeros(4, dtype=torch.float64))


def heads_mixed(q, k):
    """Talking heads."""
    mixed = torch.tensor([[1.0, -0.5, 0.2, 0.1]] * 4)
    return nn.functional.conv2d(torch.softmax(q @ k.mT, -1), mixed[..., None, None]) @ k


def halved(q, k):
    return (torch.softmax(q @ k.mT, -1) / 2) @ k


@pytest.mark.parametrize("call", [heads_mixed, halved])
def test_what_is_made_of_weights_and_is_none_is_said(call):
    q = torch.randn(2, 4, 6, 5)
    said = r"\(model\): what is made of its weights is no set of shares: entries from .* sums of rows from"
    with pytest.warns(AttentionWarning, match=said), record_attention(model := Folds(4, call)) as report:
        model(q, q)
    assert not report


def test_a_look_at_weights_takes_nothing_from_them():
    """Other things may be made of weights, such as a loss, before they meet the values."""

    def call(q, k):
        weights = torch.softmax(q @ k.mT, -1)
        entropy = -(weights * weights.log()).sum(-1)
        return weights @ k + 0 * entropy[..., None]

    q, k = torch.randn(2, 4, 6, 5), torch.randn(2, 4, 6, 5)
    close(record(Folds(4, call), q, k)["(model)"].entropy, mean_entropy(q, k, scale=1.0), 1e-5)


def test_sums_over_queries_are_no_attention():
    def call(q, k):
        return torch.softmax(q @ k.mT, -1).mT @ q + sdpa(q, k, k)

    report = record(Folds(4, call), *torch.randn(2, 2, 4, 6, 5))
    assert report["(model)"].calls == 1 and len(report) == 1


def router(q, k):
    """Softmax, and then a choice: no attention."""
    chosen = torch.softmax(q @ k.mT, -1).topk(2).values
    return chosen.sum() * sdpa(q, k, k)


def test_a_softmax_that_meets_no_values_is_no_attention():
    q = torch.randn(2, 4, 6, 5)
    report = record(Folds(4, router), q, q)
    assert report["(model)"].calls == 1 and len(report) == 1


def test_written_weights_that_are_changed_in_place_are_not_read():
    def call(q, k):
        return torch.softmax(q @ k.mT, -1).mul_(0.5) @ k

    q = torch.randn(2, 4, 6, 5)
    with pytest.warns(AttentionWarning, match="changed its weights in place"):
        with record_attention(model := Folds(4, call)):
            model(q, q)


def test_weights_can_be_fed_in():
    q, k = torch.randn(2, 3, 6, 5), torch.randn(2, 3, 6, 5)
    weights = torch.softmax((q @ k.mT).masked_fill(~REAL[:2, None, None, :6], -1e9), -1)
    report = AttentionReport()
    report.add_weights("eager", weights, query_mask=REAL[:2, :6])
    close(
        report["eager"].entropy,
        mean_entropy(q, k, REAL[:2, :6], scale=1.0, attn_mask=REAL[:2, None, None, :6]),
    )
    for bad, error in ((weights[0], InvalidArgument), (-weights, InvalidArgument), ([1], TypeError)):
        with pytest.raises(error, match="weights must"):
            report.add_weights("eager", bad)
    with pytest.raises(InvalidArgument, match="query_mask must have shape"):
        report.add_weights("eager", weights, query_mask=REAL)


# flex attention


@pytest.mark.filterwarnings("ignore:.*flex_attention.*", "ignore:.*torch.compile.*")
def test_flex_attention(monkeypatch):
    flex = pytest.importorskip("torch.nn.attention.flex_attention")
    monkeypatch.setattr(flex, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True, raising=False)
    monkeypatch.setattr(reading, "_MODIFIED", 300)
    q, k = torch.randn(2, 4, 16, 8), torch.randn(2, 2, 16, 8)
    slopes = torch.tensor([0.5, 0.25, 0.125, 0.0])
    mask = flex.create_block_mask(lambda b, h, i, j: (i >= j) & (i - j < 5), 2, None, 16, 16, device="cpu")

    def alibi(score, b, h, i, j):
        return score - slopes[h] * (i - j)

    def call(q, k):
        plain = flex.flex_attention(q, k, k, enable_gqa=True)
        return plain + flex.flex_attention(
            q, k, k, score_mod=alibi, block_mask=mask, scale=0.5, enable_gqa=True
        )

    with torch.autocast("cpu", torch.bfloat16):  # of which the statistics must know nothing
        report = record(Folds(4, call), q, k)
    place = torch.arange(16)
    distance = place[:, None] - place
    allowed = (distance >= 0) & (distance < 5)
    wide = k.repeat_interleave(2, 1)
    bias = (-slopes[:, None, None] * distance).masked_fill(~allowed, -math.inf)
    close(report["(model)"].entropy, mean_entropy(q, wide), 1e-5)
    close(report["(model)[1]"].entropy, mean_entropy(q, wide, attn_mask=bias, scale=0.5), 1e-5)
    close(report["(model)[1]"].log_n, allowed.sum(-1).double().log().mean().expand(4), 1e-6)


# Transparency


def test_copies_and_files_of_the_model_carry_nothing():
    model, x = SelfAttention(), torch.randn(1, 4, 16)
    file = io.BytesIO()
    with record_attention(model) as report:
        model(x)
        copied, pickled = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
        torch.save(model, file)
        copied(x)  # another model: not recorded
    file.seek(0)
    for other in (copied, pickled, torch.load(file, weights_only=False)):
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in other.modules())
        assert torch.equal(other(x), model(x))
    assert report["(model)"].calls == 1


def test_two_threads_record_their_own_models():
    models = [nn.Sequential(*(SelfAttention() for _ in range(4))) for _ in range(3)]
    reports, ready = {}, threading.Barrier(3)

    def run(number):
        x = torch.randn(1, 4 + number, 16)
        with record_attention(models[number]) as report:
            ready.wait()
            for _ in range(20):
                models[number](x)
        reports[number] = report

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    for number in range(3):
        assert reports[number].layers == ["0", "1", "2", "3"]
        assert {reports[number][name].rows[0].item() for name in "0123"} == {20 * (4 + number)}


def test_one_model_in_two_threads_gives_each_thread_its_own_calls():
    model, reports = nn.ModuleList([nn.MultiheadAttention(16, 2, batch_first=True)] * 1), {}

    def run(number):
        x = torch.randn(1, 4 + number, 16)
        with record_attention(model) as report:
            for _ in range(30):
                model[0](x, x, x, need_weights=bool(number))
        reports[number] = report

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    assert [reports[n].to_dict()["0"]["rows"] for n in range(2)] == [[120, 120], [150, 150]]
    assert nn.functional.scaled_dot_product_attention is sdpa


def test_a_checkpoint_does_not_count_twice():
    model, x = SelfAttention(), torch.randn(2, 5, 16, requires_grad=True)
    for reentrant in (False, True):
        with record_attention(model) as report:
            checkpoint(model, x, use_reentrant=reentrant).sum().backward()
        assert report["(model)"].calls == 1


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_under_vmap_and_grad():
    model, x = SelfAttention(), torch.randn(3, 2, 5, 16)
    want = record(model, x.flatten(0, 1))["(model)"].entropy
    plain = torch.vmap(model)(x)
    with record_attention(model) as report:
        got = torch.vmap(model)(x)
        torch.func.grad(lambda y: model(y).sum())(x[0])
        torch.vmap(torch.func.grad(lambda y: model(y).sum()))(x)
    assert torch.equal(got, plain)
    assert report["(model)"].rows.tolist() == [3 * 10 + 10 + 3 * 10] * 2
    with record_attention(model) as report:
        torch.vmap(model, in_dims=1, out_dims=1)(x.transpose(0, 1))
    close(report["(model)"].entropy, want)


@pytest.mark.parametrize("impl", ["fused", "blockwise"])
def test_autocast_takes_nothing_from_the_statistics(impl):
    model, x = SelfAttention(width=128), torch.randn(2, 30, 128)
    with torch.autocast("cpu", torch.bfloat16):
        q, k, _ = model.heads(x)
        got = record(model, x, impl=impl)["(model)"].entropy
    close(got, mean_entropy(q.float().detach(), k.float().detach()), 1e-5)


@pytest.mark.filterwarnings("ignore:.*nested.*")
def test_nested_tensors_are_read_one_by_one():
    rows = [torch.randn(n, 2, 8) for n in (3, 6)]
    nested = torch.nested.nested_tensor(rows, layout=torch.jagged).transpose(1, 2)
    with record_attention(model := Attend()) as report:
        model(nested, nested, nested)
    got = report["(model)"]
    single = [row_statistics(x.transpose(0, 1), x.transpose(0, 1)).entropy for x in rows]
    assert got.rows.tolist() == [9, 9]
    close(got.entropy, torch.cat(single, -1).double().mean(-1))


@pytest.mark.parametrize(
    "how, error, said",
    [
        ({"keep": "rows"}, TypeError, "keep must be a tuple of words, got the string 'rows'"),
        (
            {"keep": ("all",)},
            InvalidArgument,
            "keep must be 'rows', 'positions', 'steps' or 'keys', got 'all'",
        ),
        ({"on_problem": "stop"}, InvalidArgument, "on_problem must be 'warn' or 'raise', got 'stop'"),
        ({"impl": "quick"}, InvalidArgument, "impl must be 'fused'"),
        ({"query_mask": [1]}, TypeError, "query_mask must be a tensor of booleans or integers, got list"),
    ],
)
def test_arguments_are_checked(how, error, said):
    with pytest.raises(error, match=said), record_attention(Attend(), **how):
        pass


# By step and by position


class Decoder(nn.Module):
    """Keeps its keys, as generation does."""

    def __init__(self):
        super().__init__()
        self.layer, self.past = SelfAttention(), None

    def forward(self, x, position_ids=None):
        return self.layer(x)


def test_steps_and_positions():
    model, x = SelfAttention(), torch.randn(2, 6, 16)
    with record_attention(model, keep=("steps", "positions")) as report:
        model(x, None, True)
        model(x[:, :3], None, True)
    q, k, _ = model.heads(x).detach()
    entropy = row_statistics(q, k, is_causal=True).entropy.double()
    steps, places = report.by_step("(model)"), report.by_position("(model)")
    assert steps.rows.tolist() == [[12, 12], [6, 6]] and places.rows[:, 0].tolist() == [4, 4, 4, 2, 2, 2]
    close(steps.entropy, torch.stack([entropy.mean((0, 2)), entropy[..., :3].mean((0, 2))]))
    close(places.entropy, entropy.mean(0).T)
    assert torch.equal(places.log_n[:, 0], torch.arange(1.0, 7).log().double())
    with record_attention(model) as report:
        model(x)
    with pytest.raises(InvalidArgument, match="keep must hold 'steps' when recording"):
        report.by_step("(model)")
    with pytest.raises(InvalidArgument, match="keep must hold 'positions' when recording"):
        report.by_position("(model)")


@pytest.mark.parametrize("written", [False, True])
def test_the_weight_that_keys_receive(written):
    model, x = Padded(written).eval(), torch.randn(3, 7, 16)
    with record_attention(model, keep=("keys",)) as report:
        model(x, REAL.long())
        model(x[:, :4])
    q, k, _ = model.layer.heads(x).detach()
    scores = (q @ k.mT / 8**0.5).double()
    first = torch.softmax(scores.masked_fill(~REAL[:, None, None], -math.inf), -1) * REAL[:, None, :, None]
    second = torch.softmax(scores[..., :4, :4], -1)
    want = first.sum((0, 2)) + nn.functional.pad(second.sum((0, 2)), (0, 3))
    close(report.received("layer"), want / want.sum(-1, keepdim=True), 1e-5)
    with record_attention(model) as report:
        model(x)
    with pytest.raises(InvalidArgument, match="keep must hold 'keys' when recording"):
        report.received("layer")


def test_keys_of_folded_heads():
    q, k = torch.randn(3, 8, 1, 4), torch.randn(3, 2, 9, 4)
    wide = k.repeat_interleave(4, 1)
    want = torch.softmax((q @ wide.mT / 2).double(), -1).mean((0, 2))
    packed = Folds(8, lambda q, k: sdpa(q.reshape(3, 2, 4, 4), k, k))
    close(record(packed, q, k, keep=("keys",)).received("(model)"), want)
    folded = Folds(8, lambda q, k: sdpa(*(x.flatten(0, 1) for x in (q, k, k))))
    close(record(folded, q, wide, keep=("keys",)).received("(model)"), want)


def test_positions_are_those_of_the_model():
    model, x = Decoder(), torch.randn(2, 3, 16)
    with record_attention(model, keep=("positions",)) as report:
        model(x, position_ids=torch.tensor([[4, 5, 6], [0, 1, 2]]))
        model(x[:, :1], position_ids=torch.tensor([[7], [3]]))
    assert report.by_position("layer").rows[:, 0].tolist() == [1] * 8


# The report


@pytest.fixture(scope="module")
def report():
    torch.manual_seed(0)
    model = nn.Sequential(SelfAttention(), SelfAttention(written=True).eval())
    with record_attention(model, keep=("steps", "positions")) as report:
        model(torch.randn(2, 7, 16))
        model(torch.randn(2, 5, 16))
    return report


def test_forms_of_the_report(report, tmp_path):
    assert repr(report) == "<AttentionReport: 2 layers, 4 heads, 96 rows>"
    rows = report.to_rows()
    assert [(row["layer"], row["head"]) for row in rows] == [("0", 0), ("0", 1), ("1", 0), ("1", 1)]
    assert rows[2]["entropy"] == report["1"].entropy[0].item() and rows[2]["calls"] == 2
    assert json.loads(json.dumps(rows)) == rows
    report.to_csv(tmp_path / "report.csv")
    with (tmp_path / "report.csv").open(encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert [float(row["entropy"]) for row in read] == [row["entropy"] for row in rows]
    table = report._repr_html_()
    assert table.count("<tr>") == 5 and f"{rows[3]['entropy']:.3f}</td>" in table


def test_problems_are_in_every_form_of_the_report():
    model = Attend()
    with pytest.warns(AttentionWarning), record_attention(model) as report:
        model(*torch.full((3, 1, 2, 4, 8), math.nan))
    assert "not recorded: (model): q must be finite, got nan" in str(report)
    assert "not recorded: (model): q" in report._repr_html_() and "1 problem" in repr(report)


def test_a_data_frame_or_a_word_about_it(report, monkeypatch):
    class Pandas:
        @staticmethod
        def DataFrame(rows, columns):
            return rows, columns

    monkeypatch.setitem(sys.modules, "pandas", Pandas)
    rows, columns = report.to_pandas()
    assert rows == report.to_rows() and list(rows[0]) == columns
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match="to_pandas.. needs pandas, which is not installed"):
        report.to_pandas()


def test_a_plot_without_matplotlib_says_what_to_do(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match="a plot needs matplotlib, .* pip install"):
        report.plot()


@pytest.mark.parametrize("layers", [2, 6, 32, 96])
def test_labels_are_whole_and_apart(layers):
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    names = [f"model.layers.{i}.self_attn" for i in range(layers)]
    ax = picture.plot_layers(names, [[1.0, 2.0]] * layers, [2.5] * layers, "entropy", None)
    ax.figure.canvas.draw()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    whole = ax.figure.bbox
    assert 2 <= len(boxes) <= 12 and all(whole.x0 <= box.x0 and box.x1 <= whole.x1 for box in boxes)
    assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:]))
    assert ax.get_xlabel() == "model.layers.*.self_attn"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a head", "log n"]
    pyplot.close(ax.figure)


def test_short_names():
    assert picture.short_names(["a.0.x", "a.1.x"]) == (["0", "1"], "a.*.x")
    assert picture.short_names(["enc.0.x", "dec.0.y"]) == (["enc.0.x", "dec.0.y"], "layer")
    assert picture.short_names(["a"]) == (["a"], "layer")
    assert picture.short_names(["a.b", "a.b.c"]) == (["b", "b.c"], "a.*")


@pytest.mark.parametrize("by, length", [("position", 7), ("step", 2)])
def test_lines_along_positions_and_steps(report, by, length):
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    ax = report.plot_along("entropy", by=by)
    told = report.by_position if by == "position" else report.by_step
    assert len(ax.lines) == 2 and len(ax.lines[0].get_ydata()) == length
    assert list(ax.lines[1].get_ydata()) == told("1").entropy.mean(-1).tolist()
    pyplot.close(ax.figure)
    with pytest.raises(InvalidArgument, match="by must be 'position' or 'step', got 'head'"):
        report.plot_along(by="head")


# A corpus


def test_batches_of_every_form_and_their_progress():
    model, seen = Padded().train(), []
    x = torch.randn(3, 7, 16)
    report = record_batches(
        model,
        [x, (x, REAL.long()), {"x": x}],
        progress=lambda done, so_far: seen.append((done, so_far["layer"].calls)),
    )
    assert seen == [(1, 1), (2, 2), (3, 3)] and report["layer"].rows.tolist() == [21 + 13 + 21] * 2
    assert model.training and model.layer.training and not report["layer"].entropy.requires_grad


def test_recording_needs_no_more_than_torch():
    code = (
        "import sys, torch\n"
        "for name in ('matplotlib', 'pandas', 'numpy', 'transformers'): sys.modules[name] = None\n"
        "import attnlib; m = torch.nn.MultiheadAttention(8, 2); x = torch.ones(3, 1, 8)\n"
        "with attnlib.record_attention(m, keep=('rows', 'steps', 'positions')) as r: m(x, x, x)\n"
        "print(len(str(r) + repr(r) + r._repr_html_()) > 0, r.to_rows()[0]['rows'])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True 3\n"
