"""A control for the length experiment: far keys at a distance that training knew.

A sequence longer than those of training brings two new things at once: more keys, and distances that no
rotation was trained for. Here the models that were trained with 1/sqrt(d) are tested with every distance
beyond the largest of training replaced by that one, so that only the number of keys is new.

``python -m experiments.known_distances --preset cpu`` reads the checkpoints of the length experiment.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from attnlib.partition import shannon_entropy, softmax_entropy, softmax_varentropy
from experiments import checkpoints, command, hooks, results
from experiments.arms import arm
from experiments.attention import NEIGHBOURS, HeldEntropy, Inside, Softmax, in_full
from experiments.corpus import Corpus, load_corpus
from experiments.errors import ExperimentError
from experiments.evaluation import evaluate, trained_entropies
from experiments.models import rotate
from experiments.pool import run_at_once
from experiments.presets import PRESETS, Preset
from experiments.progress import Progress
from experiments.training import build_model, weights_digest

__all__ = ["RULES", "KnownDistances", "held_at", "main", "run", "scores"]

MODULE = "experiments.known_distances"

RULES = ("O", "E-normalised", "infoscale", "sphere", "sharper", "entropy-head")
"""The arms of the length experiment whose rules of scale are tested here."""


def _turned_back(x: Tensor) -> Tensor:
    """Undo ``rotate``: with every second entry negated, turning forward is turning back."""
    sign = torch.ones(x.shape[-1], dtype=x.dtype, device=x.device)
    sign[1::2] = -1
    return rotate(x * sign) * sign


def _turn(places: int, d: int, like: Tensor) -> Tensor:
    """The matrix (d, d) that turns a row vector as ``rotate`` turns what stands at ``places``."""
    basis = torch.eye(d, dtype=like.dtype, device=like.device)
    return rotate(basis[:, None].expand(d, places + 1, d))[:, -1]


def scores(q: Tensor, k: Tensor, reach: int) -> Tensor:
    """q . k of rotated q and k (..., n, d) with every distance beyond ``reach`` replaced by it, (..., n, n).

    >>> q, k = torch.randn(2, 5, 8)
    >>> bool(torch.allclose(scores(rotate(q), rotate(k), 4), rotate(q) @ rotate(k).mT, atol=1e-5))
    True
    """
    n, d = q.shape[-2:]
    turn = _turn(reach, d, q)
    bare_q, bare_k = _turned_back(q), _turned_back(k)
    place = torch.arange(n, device=q.device)
    distance = place[:, None] - place  # of query over key
    after, before = (bare_q @ turn) @ bare_k.mT, (bare_q @ turn.mT) @ bare_k.mT
    return torch.where(distance > reach, after, torch.where(distance < -reach, before, q @ k.mT))


def held_at(logits: Tensor, target: Tensor) -> Tensor:
    """The factor on the logits that gives the rows of every head a mean entropy, to 1e-4 nats.

    ``logits`` are (batch, heads, n, n), ``target`` is (heads,), the factor (batch, heads, 1, 1). It is found
    by Newton's method in its logarithm.

    Single rows can not always be given it: hidden tokens beyond reach are one and the same key, and where
    some tie for the largest score, no factor takes the entropy below the logarithm of their number.
    """
    log_factor = torch.zeros_like(logits[:, :, :1, :1])
    for _ in range(50):
        factor = log_factor.exp()
        excess = softmax_entropy(factor * logits).mean(-1)[..., None, None] - target[:, None, None]
        if excess.abs().max() < 1e-4:
            return factor
        slope = softmax_varentropy(factor * logits).mean(-1)[..., None, None]
        log_factor = log_factor + (excess / slope).clamp(-1, 1)
    raise ExperimentError(
        f"no factor gives the rows of a head the entropy asked for; {excess.abs().max():.3g} nats remain"
    )


@dataclass(frozen=True)
class KnownDistances:
    """Softmax attention that knows no distance beyond ``reach``, on rotated queries and keys.

    With a rule (n, d) -> lambda, or with ``targets`` (layers, heads) in nats, the mean entropy that the rows
    of a head are given in every sequence. It writes out the n x n matrix.
    """

    reach: int
    rule: Callable | None = None
    targets: Tensor | None = None

    @classmethod
    def like(cls, attention: Softmax | HeldEntropy, reach: int) -> KnownDistances:
        """The same rule of scale; entropy is held per head, as ``held_at`` says."""
        if isinstance(attention, HeldEntropy):
            return cls(reach, targets=attention.targets)
        return cls(reach, attention.scale)

    def _logits(self, layer: int, q: Tensor, k: Tensor) -> Tensor:
        logits = scores(q, k, self.reach)
        if self.rule is not None:
            return self.rule(*q.shape[-2:]) * logits
        logits = logits * q.shape[-1] ** -0.5
        return held_at(logits, self.targets[layer].to(logits.device, logits.dtype)) * logits

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return in_full(lambda q, k, v: self._logits(layer, q, k).softmax(-1) @ v, q, k, v)

    def inside(self, layer: int, q: Tensor, k: Tensor) -> Inside:
        logits = self._logits(layer, q, k)
        p = logits.softmax(-1)
        place = torch.arange(q.shape[-2], device=q.device)
        near = p * ((place[:, None] - place).abs() < NEIGHBOURS)
        rows = (
            shannon_entropy(p),
            1 / p.square().sum(-1),
            logits.std(-1, correction=0),
            near.sum(-1),
            near.amax(-1),
            p.sum(-1),
        )
        return Inside(*(row.double().mean(dim=(0, 2)) for row in rows))


def _model(preset: Preset, seed: int, trained: Path, corpus: Corpus) -> torch.nn.Module:
    """The model trained with 1/sqrt(d), from the checkpoint that the length experiment left."""
    path = trained / "checkpoints" / f"O-{seed}.pt"
    state = checkpoints.load(path)
    if state is None:
        raise ExperimentError(f"no checkpoint {path}: run experiments.length_extrapolation first")
    wanted = {**preset.as_dict(), "corpus": corpus.digest, "training": "O", "seed": seed}
    if not wanted.items() <= state["identity"].items() or state["step"] != preset.steps:
        raise ExperimentError(
            f"the checkpoint {path} is of another experiment, or its training has not ended"
        )
    model = build_model(arm("O").training, preset, seed)
    model.load_state_dict(state["model"])
    return model.eval()


@dataclass(frozen=True)
class Job:
    """All that a process needs to test one seed's model."""

    seed: int
    preset: Preset
    trained: Path
    device: str
    store: results.Results


def run_job(job: Job, position: int = 0) -> None:
    """Test one seed's model under every rule; what is there already is not done again."""
    torch.set_num_threads(1 if job.device == "cpu" else torch.get_num_threads())
    preset, name = job.preset, f"known-distances-{job.seed}"
    corpus = load_corpus(preset.vocabulary)
    tests = [(rule, length) for rule in RULES for length in preset.lengths]
    with (
        command.alone(job.trained / "checkpoints" / f"{name}.lock", f"testing {name} in {job.trained}"),
        Progress(name, len(tests), "test", position=position) as progress,
    ):
        done = {(entry["arm"], entry["length"]) for entry in job.store.find(seed=job.seed)}
        model = _model(preset, job.seed, job.trained, corpus).to(job.device)
        entropies = trained_entropies(model, arm("O").training.attention(preset.n_train), corpus, preset)
        for number, (rule, length) in enumerate(tests, start=1):
            if (rule, length) not in done:
                attention = KnownDistances.like(
                    arm(rule).attention(preset.n_train, entropies), preset.n_train - 1
                )
                job.store.add_score(
                    rule, job.seed, length, evaluate(model, attention, corpus, preset, length)
                )
            progress.at(number, f"{rule} at {length}")


def run(preset_name: str, trained: Path, *, device: str = "cpu", jobs: int = 1) -> list[dict]:
    """Test every seed's model under every rule, ``jobs`` seeds at a time.

    ``trained`` is the folder of the length experiment; the results go there too. The weights that were tested
    are part of the configuration.

    Returns:
        All results.

    Raises:
        ExperimentError: a model is missing, or the results there are of another configuration.
    """
    preset = PRESETS[preset_name]
    corpus = load_corpus(preset.vocabulary)
    weights = {str(seed): weights_digest(_model(preset, seed, trained, corpus)) for seed in preset.seeds}
    store = results.open_results(  # refuses before anything is tested
        trained / "known-distances.jsonl", MODULE, preset_name, corpus, device, weights=weights
    )
    run_at_once(run_job, [Job(seed, preset, trained, device, store) for seed in preset.seeds], jobs)
    return store.entries()


def _run_command(options: argparse.Namespace, trained: Path) -> None:
    device = options.device or command.default_device(options.preset)
    hooks.device_name(device)
    entries = run(
        options.preset, trained, device=device, jobs=command.processes(options.jobs, options.preset)
    )
    print(f"{len(entries)} results in {trained / 'known-distances.jsonl'}")
    if options.record is not None:
        recorded = options.record / f"known-distances-{options.preset}.jsonl"
        results.record(recorded, entries)
        print(f"recorded in {recorded}")


def main(arguments: list[str] | None = None) -> int:
    """The command; the exit status. What the user can mend is one line."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.split("\n\n")[0])
    parser.add_argument("--preset", choices=sorted(PRESETS), required=True)
    parser.add_argument(
        "--trained", type=Path, help="folder of the length experiment (_build/length-extrapolation/PRESET)"
    )
    parser.add_argument("--device", help="cpu or cuda (cuda for the preset gpu, else cpu)")
    parser.add_argument("--jobs", type=int, help="seeds at a time (2 for cpu, 3 for gpu, else 1)")
    parser.add_argument("--record", type=Path, metavar="FOLDER", help="where to store the results")
    options = parser.parse_args(arguments)
    trained = options.trained or command.default_folder(options.preset)
    return command.exit_status(lambda: _run_command(options, trained), trained)


if __name__ == "__main__":
    sys.exit(main())
