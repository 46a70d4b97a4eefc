"""Masked language modelling of one training and seed, resumable at any step, alone or data-parallel."""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from experiments import checkpoints
from experiments.arms import Training
from experiments.configuration import difference
from experiments.corpus import MASK, Corpus
from experiments.errors import ExperimentError
from experiments.models import GatedAttentionUnits, RoFormer
from experiments.presets import Preset

__all__ = ["Trained", "build_model", "hide", "train", "weights_digest"]

# Losses are kept as means over this many steps.
CURVE = 100


@dataclass
class Trained:
    """A trained model, the mean loss of every hundred steps in nats, and the seconds that training took."""

    model: nn.Module
    losses: list[float]
    seconds: float


def generator(*key: object) -> torch.Generator:
    """A random generator that depends on ``key`` alone, so that no state of it has to be stored."""
    seed = int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(seed)


def hide(tokens: Tensor, count: int, window: int, generator: torch.Generator) -> Tensor:
    """A boolean mask shaped as tokens (..., n) with ``count`` True in every ``window`` of the n tokens."""
    blocks = torch.rand(*tokens.shape[:-1], tokens.shape[-1] // window, window, generator=generator)
    hidden = torch.zeros(blocks.shape, dtype=torch.bool)
    return hidden.scatter_(-1, blocks.argsort(-1)[..., :count], True).flatten(-2)


def build_model(training: Training, preset: Preset, seed: int) -> nn.Module:
    """The untrained model; it depends on architecture, size and seed alone."""
    size = {"vocabulary": preset.vocabulary, "width": preset.width, "layers": preset.layers}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if training.model == "gau":
            return GatedAttentionUnits(key_width=preset.key_width, **size)
        return RoFormer(heads=preset.heads, **size)


def weights_digest(model: nn.Module) -> str:
    """A digest of every weight, bit by bit."""
    sha = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        sha.update(name.encode() + b"\0" + weight.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


def autocast(preset: Preset, device: str):
    """The arithmetic of the preset: lower precision inside the layers, where it asks for it."""
    if preset.dtype == "float32":
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, dtype=getattr(torch, preset.dtype))


def _learning_rate(preset: Preset, step: int) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    rise = min(1.0, (step + 1) / preset.warmup)
    return preset.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * step / preset.steps))


def _sum_over_ranks(tensors: list[Tensor]) -> None:
    """Add up each tensor over the ranks, in place, in one message."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


class _Run:
    """One training on one seed: model, optimiser and step, all that a checkpoint holds."""

    def __init__(
        self, training: Training, seed: int, preset: Preset, corpus: Corpus, device: str, configuration: dict
    ):
        self.ranks, self.rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
        if preset.batch % self.ranks:
            raise ExperimentError(f"a batch of {preset.batch} cannot be shared by {self.ranks} processes")
        self.preset, self.seed, self.corpus, self.device = preset, seed, corpus, device
        self.identity = {
            **preset.as_dict(),
            "corpus": corpus.digest,
            "processes": self.ranks,
            **configuration,
            "training": training.name,
            "seed": seed,
        }
        self.model = build_model(training, preset, seed).to(device)
        self.attention = training.attention(preset.n_train)
        self.forward = self.model
        if preset.compile:
            # As one graph, handed to a GPU whole: launched kernel by kernel, such small layers leave it idle.
            self.forward = torch.compile(self.model, dynamic=False, fullgraph=True, mode="reduce-overhead")
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=0.0, betas=(0.9, 0.98), weight_decay=preset.weight_decay, fused=True
        )
        self.step, self.sums, self.seconds = 0, [], 0.0

    def state(self) -> dict:
        return {
            "identity": self.identity,
            "step": self.step,
            "sums": self.sums,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def resume(self, state: dict, path: Path) -> None:
        if differs := difference(state["identity"], self.identity):
            raise ExperimentError(
                f"the checkpoint {path} is of another training: {differs} "
                "(the checkpoint first, this command second)"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.sums, self.seconds = state["step"], state["sums"], state["seconds"]

    def advance(self) -> float:
        """One step; its loss in nats."""
        preset = self.preset
        # A function of seed and step alone, so every rank and every resumed run draws the same batch.
        draw = generator("batch", self.seed, self.step)
        tokens = self.corpus.windows(preset.n_train, preset.batch, draw)
        hidden = hide(tokens, preset.hidden, preset.n_train, draw)
        tokens, hidden = tokens[self.rank :: self.ranks], hidden[self.rank :: self.ranks]
        target = tokens[hidden].to(self.device)
        with autocast(preset, self.device):
            states = self.forward(tokens.masked_fill(hidden, MASK).to(self.device), self.attention)
            scores = self.model.scores(states[hidden.to(self.device)])
        # The mean over the whole batch: a rank contributes its own tokens to it.
        loss = cross_entropy(scores.float(), target, reduction="sum") / (preset.batch * preset.hidden)
        for group in self.optimizer.param_groups:
            group["lr"] = _learning_rate(preset, self.step)
        self.optimizer.zero_grad()
        loss.backward()
        value = loss.detach()
        if self.ranks > 1:
            _sum_over_ranks([value, *(p.grad for p in self.model.parameters())])
        nn.utils.clip_grad_norm_(self.model.parameters(), preset.clip)
        self.optimizer.step()
        if self.step % CURVE == 0:
            self.sums.append(0.0)
        self.sums[-1] += value.item()
        self.step += 1
        return value.item()

    def losses(self) -> list[float]:
        counts = [min(CURVE, self.step - start) for start in range(0, self.step, CURVE)]
        return [total / count for total, count in zip(self.sums, counts, strict=True)]


def train(
    training: Training,
    seed: int,
    preset: Preset,
    corpus: Corpus,
    *,
    device: str = "cpu",
    checkpoint: Path | None = None,
    configuration: dict | None = None,
    progress: Callable[[int, float], None] = lambda step, loss: None,
) -> Trained:
    """Train to the preset's last step, from the checkpoint if there is one, and keep it up to date.

    On a CPU the weights are, bit for bit, those of a run that was never interrupted. Under an initialised
    ``torch.distributed`` every rank takes its part of each batch and the gradients are summed; rank 0 writes.
    ``progress`` is told each step done and its loss. A checkpoint goes on only where preset, corpus, number
    of processes, training and seed are those that it was made with, and all else in the flat
    ``configuration``, such as a digest of the code. Raises ``ExperimentError`` for one that is damaged or of
    another training, or a loss that is not finite.
    """
    run = _Run(training, seed, preset, corpus, device, configuration or {})
    state = checkpoints.load(checkpoint) if checkpoint else None
    if state is not None:
        run.resume(state, checkpoint)
    if run.ranks > 1:
        steps = [None] * run.ranks
        dist.all_gather_object(steps, run.step)
        if len(set(steps)) > 1:
            raise ExperimentError(
                f"the processes start at steps {steps}: they must share one folder of checkpoints"
            )
    started = time.perf_counter() - run.seconds
    while run.step < preset.steps:
        loss = run.advance()
        if not math.isfinite(loss):
            raise ExperimentError(f"{training.name}, seed {seed}: the loss is {loss} at step {run.step}")
        progress(run.step, loss)
        if (
            checkpoint
            and run.rank == 0
            and (run.step % preset.checkpoint_every == 0 or run.step == preset.steps)
        ):
            run.seconds = time.perf_counter() - started
            checkpoints.save(checkpoint, run.state())
    return Trained(run.model.eval(), run.losses(), run.seconds or time.perf_counter() - started)
