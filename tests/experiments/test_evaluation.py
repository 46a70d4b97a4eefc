"""Evaluation of a trained model: the same hidden tokens at every length, scored as written out here."""

import math
from dataclasses import replace

import pytest
import torch
from experiments_corpus import TINY, made_up_corpus

from attnlib.scale import sqrt_d
from experiments import evaluation
from experiments.arms import ARMS, TRAININGS
from experiments.attention import QUANTITIES, Softmax
from experiments.corpus import MASK
from experiments.evaluation import evaluate, trained_entropies
from experiments.training import build_model, generator, hide

CORPUS = made_up_corpus()
PRESET = replace(TINY, layers=2)
BY_NAME = {one.name: one for one in TRAININGS}
LENGTHS = [64, 128, 512]
COUNT = 2 * 512 // 64 * 10  # ten of every 64 tokens of two chunks


def model_of(training: str) -> torch.nn.Module:
    """A model with noise on every weight, in float64: an untrained one knows too little to tell mistakes."""
    model = build_model(BY_NAME[training], PRESET, 0).double().eval()
    noise = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=noise, dtype=torch.float64)
    return model


def nothing(layer, q, k, v):
    """Attention to nothing: every place knows its own token only."""
    return torch.zeros_like(v)


nothing.inside = Softmax(0.0).inside


class Stub(torch.nn.Module):
    """A model that is told nothing and says ``scores`` of every token; it keeps what it is given."""

    def __init__(self, scores: torch.Tensor):
        super().__init__()
        self.said, self.given = torch.nn.Parameter(scores), []

    def forward(self, tokens, attention):
        self.given.append(tokens)
        x = torch.zeros(len(tokens), 1, tokens.shape[1], 2)
        attention(0, x, x, x)
        return torch.zeros(*tokens.shape, 3)

    def scores(self, states):
        assert states.shape[1:] == (3,)
        return self.said.expand(len(states), -1)


def test_scores_by_hand():
    text = CORPUS.held_out[:2]
    hidden = hide(text, 10, 64, generator("evaluation"))
    said = torch.linspace(0, 2, PRESET.vocabulary).roll(8)  # token 7 scores best
    score = evaluate(Stub(said), Softmax(1.0), CORPUS, PRESET, 128)
    log_p = said.double().log_softmax(0)
    assert score.tokens == COUNT == int(hidden.sum())
    assert score.accuracy == int((text[hidden] == 7).sum()) / COUNT > 0
    assert score.loss == pytest.approx(-log_p[text[hidden]].mean().item(), rel=1e-5)
    assert evaluate(Stub(0 * said), Softmax(1.0), CORPUS, PRESET, 64).loss == pytest.approx(
        math.log(80), rel=1e-6
    )


@pytest.mark.parametrize("training", ["O", "gau-softmax"])
@pytest.mark.parametrize("length", LENGTHS)
def test_evaluate_is_the_formula(training, length):
    """In float64 up to the last states, which are rounded to float32: losses to 1e-5."""
    model, attention = model_of(training), BY_NAME[training].attention(64)
    text = CORPUS.held_out[:2]
    hidden = hide(text, 10, 64, generator("evaluation"))
    right, losses = 0, []
    with torch.no_grad():
        for chunk, covered in zip(text, hidden, strict=True):
            for start in range(0, 512, length):
                ids, where = chunk[start : start + length], covered[start : start + length]
                states = model(torch.where(where, MASK, ids)[None], attention)[0]
                log_p = (states @ model.embedding.weight.T + model.bias).log_softmax(-1)
                right += int((log_p[where].argmax(-1) == ids[where]).sum())
                losses += (-log_p[where].gather(-1, ids[where][:, None])).flatten().tolist()
    score = evaluate(model.float(), attention, CORPUS, PRESET, length)
    assert score.tokens == len(losses) == COUNT
    assert score.accuracy == right / COUNT
    assert score.loss == pytest.approx(math.fsum(losses) / COUNT, abs=1e-5)


def test_the_same_text_with_the_same_tokens_hidden_at_every_length():
    text = CORPUS.held_out[:2]
    first = None
    for length in LENGTHS:
        stub = Stub(torch.zeros(80))
        evaluate(stub, Softmax(1.0), CORPUS, PRESET, length)
        assert all(tokens.shape[1] == length for tokens in stub.given)
        given = torch.cat([tokens.flatten() for tokens in stub.given])[: text.numel()]
        first = given if first is None else first
        assert torch.equal(given, first)
    hidden = first != text.flatten()
    assert int(hidden.sum()) == COUNT and (first[hidden] == MASK).all()
    assert (hidden.view(-1, 64).sum(1) == 10).all()


@pytest.mark.parametrize("training", ["O", "gau-softmax"])
def test_without_attention_length_does_not_matter(training):
    """The states differ by roundings of float32 only; no token may change its mind: accuracies are equal."""
    model = model_of(training).float()
    short, *longer = (evaluate(model, nothing, CORPUS, PRESET, length) for length in LENGTHS)
    for score in longer:
        assert score.accuracy == short.accuracy and score.loss == pytest.approx(short.loss, rel=1e-6)


def test_in_parts_or_at_once(monkeypatch):
    model = model_of("O").float()
    at_once = evaluate(model, Softmax(sqrt_d), CORPUS, PRESET, 128)
    monkeypatch.setattr(evaluation, "TOKENS", 256)
    in_parts = evaluate(model, Softmax(sqrt_d), CORPUS, PRESET, 128)
    assert in_parts.accuracy == at_once.accuracy
    assert in_parts.loss == pytest.approx(at_once.loss, rel=1e-6)
    for name in QUANTITIES:
        torch.testing.assert_close(in_parts.inside[name], at_once.inside[name], rtol=1e-5, atol=1e-6)


def test_inside_is_measured_on_the_first_chunks():
    """Entropy of every layer and head at length 128, from the queries and keys themselves."""
    model = model_of("O").float()
    text = CORPUS.held_out[:2]
    hidden = hide(text, 10, 64, generator("evaluation"))
    tokens = text.masked_fill(hidden, MASK)[:1].reshape(-1, 128)  # one chunk of the two
    entropies = []

    def attention(layer, q, k, v):
        p = (q.double() @ k.double().mT / 4).softmax(-1)
        entropies.append(torch.special.entr(p).sum(-1).mean((0, 2)))
        return Softmax(sqrt_d)(layer, q, k, v)

    with torch.no_grad():
        model(tokens, attention)
    score = evaluate(model, Softmax(sqrt_d), CORPUS, PRESET, 128)
    assert set(score.inside) == set(QUANTITIES)
    torch.testing.assert_close(score.inside["entropy"], torch.stack(entropies), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("training", ["O", "gau-softmax"])
def test_every_arm_of_a_training_can_be_evaluated(training):
    model = model_of(training).float()
    entropies = trained_entropies(model, BY_NAME[training].attention(64), CORPUS, PRESET)
    layers, heads = (2, 2) if training == "O" else (4, 1)
    for arm in ARMS:
        if arm.training.name == training:
            score = evaluate(model, arm.attention(64, entropies), CORPUS, PRESET, 128)
            assert all(score.inside[name].shape == (layers, heads) for name in QUANTITIES)
            assert all(values.isfinite().all() for values in score.inside.values())
            if arm.name.startswith("entropy-"):  # in float32, to 1e-4 of its 64-token value
                torch.testing.assert_close(score.inside["entropy"], entropies, rtol=1e-4, atol=0)


def test_trained_entropies_are_those_of_training_text_at_the_training_length():
    model = model_of("O").float()
    draw = generator("entropies")
    tokens = CORPUS.windows(64, 128, draw)  # 8192 tokens
    tokens = tokens.masked_fill(hide(tokens, 10, 64, draw), MASK)
    expected = []

    def attention(layer, q, k, v):
        p = (q.double() @ k.double().mT / 4).softmax(-1)
        expected.append(torch.special.entr(p).sum(-1).mean((0, 2)))
        return p.float() @ v

    with torch.no_grad():
        model(tokens, attention)
    state = torch.get_rng_state()
    found = trained_entropies(model, Softmax(sqrt_d), CORPUS, PRESET)
    assert found.shape == (2, 2) and torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-5, atol=1e-5)
