"""Recordings of transformers' models, small and with random weights, against the weights of their eager
twins."""

import model_zoo as zoo
import pytest
import torch
from torch import Tensor

from attnlib import record_attention
from attnlib.errors import AttentionWarning

pytestmark = pytest.mark.filterwarnings("ignore:.*(deprecated|torch_dtype|GenerationMixin).*")
# Entropies are means of float32 rows; two implementations round their logits of size up to 10 apart.
TOLERANCE = 1e-5
# Classes with no scaled_dot_product_attention; what they write out is seen.
EAGER_ONLY = {"mpnet", "deberta", "deberta_v2", "gptj", "gpt_neo", "bloom", "gemma2", "gpt_oss"}
# Layers whose weights transformers does not give.
NOT_GIVEN = {"swin": "blocks.0.attention", "siglip_vision": "head.attention"}
PADDED = {"text", "pairs", "mel"}


def mean_entropy(weights: Tensor, real: Tensor | None) -> Tensor:
    """Of written weights (batch, heads, n, m), over rows of real tokens; a sink's share is no key's."""
    p = weights.double()
    p = p / p.sum(-1, keepdim=True)
    by_row = torch.special.entr(p).sum(-1).transpose(1, 2)
    return by_row.flatten(0, 1).mean(0) if real is None else by_row[real.bool()].mean(0)


def expected(output, inputs) -> list[Tensor]:
    """Mean entropies of every layer, in the order in which the layers are called."""
    real, target = inputs.get("attention_mask"), inputs.get("decoder_attention_mask")
    if target is None:
        return [mean_entropy(weights, real) for weights in output.attentions]
    found = [mean_entropy(weights, real) for weights in output.encoder_attentions]
    for own, cross in zip(output.decoder_attentions, output.cross_attentions, strict=True):
        found += [mean_entropy(own, target), mean_entropy(cross, target)]
    return found


CASES = [
    pytest.param(name, implementation, side, id=f"{name}-{implementation}-{side}")
    for name, kind in zoo.KINDS.items()
    for implementation in ("sdpa", "eager")
    for side in (("none", "right", "left") if kind.inputs in PADDED else ("none",))
    if not (implementation == "sdpa" and name in EAGER_ONLY)
]


@pytest.mark.parametrize("name, implementation, side", CASES)
def test_entropies_are_those_of_the_eager_weights(name, implementation, side):
    inputs = zoo.INPUTS[zoo.KINDS[name].inputs](side)
    wanted = expected(zoo.build(name, "eager")(**inputs, output_attentions=True), inputs)
    model = zoo.build(name, implementation)
    plain = model(**inputs).last_hidden_state
    with record_attention(model, on_problem="raise") as report:
        recorded = model(**inputs).last_hidden_state
    assert torch.equal(recorded, plain)
    layers = [layer for layer in report if not layer.endswith(NOT_GIVEN.get(name, "nothing"))]
    if name == "swin":  # it gives the weights of the last block of each stage
        assert len(report) == 4
    for layer, want in zip(layers, wanted, strict=True):
        torch.testing.assert_close(report[layer].entropy, want, rtol=0, atol=TOLERANCE)
    # Heads that spread evenly, or all alike, would make this easy.
    assert max((report[x].log_n - report[x].entropy).max() for x in layers) > 0.2
    assert all(report[x].entropy.std() > 1e-3 for x in layers)


def test_there_are_enough_classes():
    assert len(zoo.KINDS) >= 25 and {kind.inputs for kind in zoo.KINDS.values()} == set(zoo.INPUTS)


def full_forward(name: str, ids: Tensor, mask: Tensor):
    """The eager weights of a whole sequence at once, each row as generation had it."""
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    model = zoo.build(name, "eager", causal=True)
    output = model(input_ids=ids, attention_mask=mask, position_ids=positions, output_attentions=True)
    return [mean_entropy(weights, mask) for weights in output.attentions]


@pytest.mark.parametrize("side", ["none", "left"])
@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("name", ["llama", "mistral", "gemma3", "qwen2", "gpt2", "deepseek_v3", "gpt_oss"])
def test_generation(name, cache, side):
    """Grouped queries, sliding windows, padding and caches that hold room for keys to come."""
    implementation = "eager" if name in EAGER_ONLY else "sdpa"
    model, inputs = zoo.build(name, implementation, causal=True), zoo.INPUTS["text"](side)
    how = dict(max_new_tokens=6, min_new_tokens=6, do_sample=False, cache_implementation=cache)
    with record_attention(model, keep=("steps",), on_problem="raise") as report:
        ids = model.generate(**inputs, **how, pad_token_id=0)
    assert ids.shape == (3, 17)
    # The last token is never fed back.
    mask = torch.cat([inputs["attention_mask"], torch.ones(3, 5, dtype=torch.int64)], 1)
    for layer, want in zip(report, full_forward(name, ids[:, :-1], mask), strict=True):
        torch.testing.assert_close(report[layer].entropy, want, rtol=0, atol=TOLERANCE)
        assert report[layer].rows.tolist() == [int(mask.sum())] * 4
        steps = report.by_step(layer)
        assert steps.rows[:, 0].tolist() == [int(inputs["attention_mask"].sum()), 3, 3, 3, 3, 3]


@pytest.mark.parametrize("name", ["llama", "mistral", "bart", "t5"])
def test_generation_with_beams(name):
    model = zoo.build(name, "sdpa", causal=True)
    inputs = {key: x for key, x in zoo.INPUTS["text"]("left").items()}
    with record_attention(model, keep=("steps",), on_problem="raise") as report:
        model.generate(**inputs, num_beams=3, max_new_tokens=4, min_new_tokens=4, do_sample=False)
    decoder = [layer for layer in report if "encoder" not in layer.partition(".layers")[0]]
    assert decoder and all(len(report[layer].rows) == 4 for layer in report)
    for layer in decoder:
        assert report.by_step(layer).rows[-1, 0] == 9  # three beams of three texts, a token each
        assert report[layer].entropy.isfinite().all()


def test_what_is_not_seen_is_named_with_advice():
    config = zoo.SMALL | dict(attention_window=[4, 4])
    from transformers import LongformerConfig, LongformerModel

    model = LongformerModel(LongformerConfig(**config)).eval()
    said = r"2 attention layers ran and were not seen .*set_attn_implementation"
    with pytest.warns(AttentionWarning, match=said):
        with record_attention(model) as report, torch.no_grad():
            model(torch.randint(3, 60, (2, 8)))
    assert not report


def test_one_eager_tower_and_one_sdpa():
    """A model of two parts, each with an implementation of its own: both are seen."""
    towers = torch.nn.ModuleList([zoo.build("bert", "sdpa"), zoo.build("bert", "eager")])
    inputs = zoo.INPUTS["text"]("right")
    with record_attention(towers, on_problem="raise") as report:
        for tower in towers:
            tower(**inputs)
    assert len(report) == 4
    for one, other in zip(report.layers[:2], report.layers[2:]):
        torch.testing.assert_close(report[one].entropy, report[other].entropy, rtol=0, atol=TOLERANCE)


def test_a_shared_layer_is_one_layer():
    from transformers import AlbertConfig, AlbertModel

    model = AlbertModel(AlbertConfig(**zoo.SMALL, embedding_size=16)).eval()
    with record_attention(model, on_problem="raise") as report:
        model(torch.randint(3, 60, (2, 8)))
    (layer,) = report
    assert report[layer].calls == 2 and report[layer].rows.tolist() == [32] * 4


def test_training_with_checkpoints():
    model = zoo.build("llama", "sdpa").requires_grad_(True).train()
    model.gradient_checkpointing_enable()
    inputs = zoo.INPUTS["text"]("none")
    with record_attention(model, on_problem="raise") as report:
        model(**inputs, use_cache=False).last_hidden_state.sum().backward()
    assert [report[layer].calls for layer in report] == [1, 1]
