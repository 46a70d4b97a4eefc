"""How a trained model does at each length: the same hidden tokens of one text, cut into longer windows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from experiments.attention import QUANTITIES, Measured
from experiments.corpus import MASK, Corpus
from experiments.models import Attention
from experiments.presets import Preset
from experiments.training import generator, hide

__all__ = ["Score", "evaluate", "trained_entropies"]

TOKENS = 8192  # at once


@dataclass(frozen=True)
class Score:
    """Accuracy as a share and mean loss in nats, of ``tokens`` hidden tokens; the quantities of
    :class:`~experiments.attention.Inside` by name, (layers, heads)."""

    accuracy: float
    loss: float
    tokens: int
    inside: dict[str, Tensor]


@torch.no_grad()
def _forward(model: nn.Module, attention: Attention, tokens: Tensor, preset: Preset):
    """The hidden states of windows (count, n), some windows at a time."""
    for part in tokens.split(max(1, TOKENS // tokens.shape[-1])):
        yield model(part, attention)


@torch.no_grad()
def evaluate(model: nn.Module, attention, corpus: Corpus, preset: Preset, length: int) -> Score:
    """Fill in hidden tokens of the held-out text in windows of ``length``.

    Text and hidden tokens depend on the preset alone: what differs between two lengths is how much is around
    them. All is computed in float32, whatever the arithmetic of the training: in bfloat16 the largest scores
    of a row may tie, and no scale takes the entropy of such a row below log 2.
    """
    device = next(model.parameters()).device
    text = corpus.held_out[: preset.held_out_chunks]
    hidden = hide(text, preset.hidden, preset.n_train, generator("evaluation"))
    tokens = text.masked_fill(hidden, MASK).reshape(-1, length).to(device)
    target, where = text.reshape(-1, length).to(device), hidden.reshape(-1, length).to(device)
    right = loss = 0.0
    start = 0
    for states in _forward(model, attention, tokens, preset):
        part = slice(start, start := start + len(states))
        scores, wanted = model.scores(states[where[part]]), target[part][where[part]]
        right += (scores.argmax(-1) == wanted).sum().item()
        loss += cross_entropy(scores, wanted, reduction="sum").item()
    inside = Measured(attention)
    for _ in _forward(model, inside, tokens[: preset.inside_chunks * text.shape[-1] // length], preset):
        pass
    count = int(hidden.sum())
    return Score(right / count, loss / count, count, {name: inside.quantity(name) for name in QUANTITIES})


@torch.no_grad()
def trained_entropies(model: nn.Module, attention, corpus: Corpus, preset: Preset) -> Tensor:
    """The mean row entropy of every layer and head, (layers, heads), at the training length."""
    draw = generator("entropies")
    tokens = corpus.windows(preset.n_train, TOKENS // preset.n_train, draw)
    hidden = hide(tokens, preset.hidden, preset.n_train, draw)
    inside = Measured(attention)
    model(tokens.masked_fill(hidden, MASK).to(next(model.parameters()).device), inside)
    return inside.quantity("entropy")
