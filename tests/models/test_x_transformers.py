"""Recordings of x-transformers, flash and written out, against the weights that it gives."""

import importlib
from typing import Any, NamedTuple

import model_zoo as zoo
import pytest
import torch
from torch import Tensor, nn

from attnlib import record_attention
from attnlib.errors import AttentionWarning

pytestmark = pytest.mark.filterwarnings("ignore:.*(deprecated|rotary|should not be instantiated).*")
# Entropies are means of float32 rows; two implementations round their logits of size up to 10 apart.
TOLERANCE = 1e-5
SMALL = dict(dim=32, depth=2, heads=4, attn_dim_head=8)


class Kind(NamedTuple):
    """Settings of a stack, whether its rows see the past alone, and whether it can do with flash=True."""

    settings: dict[str, Any]
    causal: bool = True
    flash: bool = True


KINDS = {
    "encoder": Kind({}, causal=False),
    "decoder": Kind({}),
    "alibi": Kind(dict(alibi_pos_bias=True, alibi_num_heads=2)),
    "rotary": Kind(dict(rotary_pos_emb=True, attn_dim_head=32)),
    "T5's positions": Kind(dict(rel_pos_bias=True), flash=False),
    "grouped queries": Kind(dict(attn_kv_heads=2)),
    "one head of keys": Kind(dict(attn_one_kv_head=True)),
    "keys kept in memory": Kind(dict(attn_num_mem_kv=3)),
    "a key of zeros": Kind(dict(attn_add_zero_kv=True), causal=False),
    "queries and keys normed": Kind(dict(attn_qk_norm=True), causal=False),
    "a learned sink": Kind(dict(attn_head_learned_sink=True), causal=False, flash=False),
    "soft-capped": Kind(
        dict(attn_softclamp_logits=True, attn_logit_softclamp_value=2.0), causal=False, flash=False
    ),
    "the largest alone": Kind(dict(attn_sparse_topk=3), flash=False),
    "heads mixed before the softmax": Kind(dict(attn_pre_talking_heads=True), causal=False, flash=False),
    "distances": Kind(dict(attn_l2_distance=True)),
    "selective": Kind(dict(attn_selective=True), flash=False),
    "latent": Kind(
        dict(attn_use_latent_q=True, attn_dim_latent_q=16, attn_use_latent_kv=True, attn_dim_latent_kv=16),
        causal=False,
    ),
}


def build(name: str, flash: bool, **more: Any) -> nn.Module:
    library = importlib.import_module("x_transformers")
    kind = KINDS[name]
    torch.manual_seed(0)
    stack = (library.Decoder if kind.causal else library.Encoder)(
        **(SMALL | kind.settings | more), attn_flash=flash
    )
    model = library.TransformerWrapper(num_tokens=zoo.VOCABULARY, max_seq_len=64, attn_layers=stack)
    return zoo.sharpen(model.requires_grad_(False)).eval()


def weights_of(model: nn.Module, *args: Any, which: str = "post_softmax_attn", **how: Any) -> list[Tensor]:
    """What every layer gives as its weights, without those of a sink, which stands before the keys."""
    found = []

    def look(module, given, result):
        weights = getattr(result[1], which)
        assert weights is not None  # with flash=True it gives none
        found.append(weights[..., 1:] if module.head_learned_sink else weights)

    attend = importlib.import_module("x_transformers.attend").Attend
    handles = [m.register_forward_hook(look) for m in model.modules() if isinstance(m, attend)]
    with torch.no_grad():
        model(*args, **how)
    for handle in handles:
        handle.remove()
    return found


def check(report, weights: list[Tensor], real: list[Tensor | None]) -> None:
    assert len(report) == len(weights)
    for layer, p, rows in zip(report, weights, real, strict=True):
        p = p.double() / p.double().sum(-1, keepdim=True)
        entropy = torch.special.entr(p).sum(-1).transpose(1, 2)
        entropy = entropy.flatten(0, 1) if rows is None else entropy[rows]
        torch.testing.assert_close(report[layer].entropy, entropy.mean(0), rtol=0, atol=TOLERANCE)
        assert report[layer].rows.tolist() == [len(entropy)] * 4
    assert max(float((report[x].log_n - report[x].entropy).max()) for x in report) > 0.1
    assert all(float(report[x].entropy.std()) > 1e-3 for x in report)


def tokens(side: str) -> tuple[Tensor, Tensor]:
    """Numbers of tokens (3, 11) and True at the real ones."""
    inputs = zoo.INPUTS["text"](side)
    return inputs["input_ids"], inputs["attention_mask"].bool()


CASES = [
    pytest.param(name, flash, side, id=f"{name}-{'flash' if flash else 'written'}-{side}")
    for name, kind in KINDS.items()
    for flash in ((True, False) if kind.flash else (False,))
    for side in ("right", "none", "left")
]


@torch.no_grad()
@pytest.mark.parametrize("name, flash, side", CASES)
def test_entropies_are_those_of_its_weights(name, flash, side):
    ids, real = tokens(side)
    how = {} if side == "none" else {"mask": real}
    weights = weights_of(build(name, flash=False), ids, **how)
    model = build(name, flash)
    plain = model(ids, **how)
    with record_attention(model, on_problem="raise") as report:
        recorded = model(ids, **how)
    assert torch.equal(recorded, plain)
    check(report, weights, [real] * 2)


@pytest.mark.parametrize("flash", [True, False])
def test_in_training_its_dropout_is_not_seen(flash):
    """The first layer alone: behind its dropout two runs go two ways."""
    ids, real = tokens("right")
    weights = weights_of(build("decoder", flash=False, depth=1), ids, mask=real)
    model = build("decoder", flash, depth=1, attn_dropout=0.5).requires_grad_(True).train()
    with record_attention(model, on_problem="raise") as report:
        model(ids, mask=real).sum().backward()
    check(report, weights, [real])


@torch.no_grad()
@pytest.mark.parametrize("name", ["encoder", "grouped queries"])
def test_under_autocast_weights_are_those_before_they_are_rounded(name):
    """It takes the softmax in float32 and rounds its result."""
    ids, real = tokens("right")
    model = build(name, flash=False)
    with torch.autocast("cpu", torch.bfloat16):
        logits = weights_of(model, ids, which="pre_softmax_attn", mask=real)
        with record_attention(model, on_problem="raise") as report:
            model(ids, mask=real)
    weights = [torch.softmax(x.double(), -1) for x in logits]
    check(report, weights, [real] * 2)


@torch.no_grad()
@pytest.mark.parametrize("flash", [True, False])
@pytest.mark.parametrize("side", ["right", "none"])
def test_an_encoder_and_a_decoder(side, flash):
    library = importlib.import_module("x_transformers")

    def make(flash):
        stacks = {
            f"{part}_{setting}": value
            for part in ("enc", "dec")
            for setting, value in dict(
                num_tokens=zoo.VOCABULARY, depth=2, heads=4, attn_dim_head=8, max_seq_len=64, attn_flash=flash
            ).items()
        }
        torch.manual_seed(0)
        return zoo.sharpen(library.XTransformer(dim=32, **stacks).requires_grad_(False)).eval()

    # As many tokens on either side: the mask of the source must not be taken for that of the target.
    ids, real = tokens(side)
    target = ids.flip(0)
    target = torch.cat([target, target[:, :1]], 1)  # the last of which it only predicts
    weights = weights_of(make(False), ids, target, mask=real)
    model = make(flash)
    with record_attention(model, on_problem="raise") as report:
        model(ids, target, mask=real)
    assert len(report) == 6
    check(report, weights, [real] * 2 + [None] * 4)


@torch.no_grad()
@pytest.mark.parametrize("flash", [True, False])
def test_generation(flash):
    library = importlib.import_module("x_transformers")
    ids, _ = tokens("none")
    model = library.AutoregressiveWrapper(build("grouped queries", flash))
    with record_attention(model, keep=("steps",), on_problem="raise") as report:
        made = model.generate(ids, 4, temperature=0.0)
    whole = torch.cat([ids, made], 1)[:, :-1]
    check(report, weights_of(build("grouped queries", flash=False), whole), [None] * 2)
    assert report.by_step(report.layers[0]).rows[:, 0].tolist() == [33, 3, 3, 3]


@torch.no_grad()
def test_what_is_compiled_runs_as_it_was_written():
    ids, real = tokens("right")
    weights = weights_of(build("decoder", flash=False), ids, mask=real)
    model = build("decoder", flash=True)
    model.attn_layers.compile(backend="eager")
    model(ids, mask=real)
    with record_attention(model, on_problem="raise") as report:
        model(ids, mask=real)
    check(report, weights, [real] * 2)


NO_WEIGHTS = {
    "mixed heads": (dict(attn_post_talking_heads=True), "what is made of its weights is no set of shares"),
    "sigmoid": (dict(attn_sigmoid=True), "2 attention layers ran and were not seen"),
}


@torch.no_grad()
@pytest.mark.parametrize("what", NO_WEIGHTS)
def test_what_is_no_softmax_is_named(what):
    settings, said = NO_WEIGHTS[what]
    ids, _ = tokens("none")
    model = build("encoder", flash=False, **settings)
    with pytest.warns(AttentionWarning, match=said), record_attention(model) as report:
        model(ids)
    assert not report
