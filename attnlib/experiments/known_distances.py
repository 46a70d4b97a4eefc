"""A control for the length experiment: far keys at a distance that training knew.

A sequence longer than those of training brings two new things at once: more keys, and distances that no rotation was
trained for. Here the models that were trained with 1/sqrt(d) are tested with every distance beyond the largest of
training replaced by that one, so that only the number of keys is new.

``python -m attnlib.experiments.known_distances --preset cpu`` reads the checkpoints of the length experiment.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from attnlib import _provenance, scale
from attnlib.experiments import checkpoints, results
from attnlib.experiments.arms import arm
from attnlib.experiments.attention import NEIGHBOURS, Inside
from attnlib.experiments.corpus import MissingPackage, load_corpus
from attnlib.experiments.errors import ExperimentError
from attnlib.experiments.evaluation import evaluate, trained_entropies
from attnlib.experiments.models import rotate
from attnlib.experiments.presets import PRESETS, Preset
from attnlib.experiments.training import build_model, weights_digest
from attnlib.partition import shannon_entropy, softmax_entropy, softmax_varentropy

__all__ = ["RULES", "KnownDistances", "held_at", "main", "run", "scores"]

MODULE = "attnlib.experiments.known_distances"
DIGITS = 6

RULES: dict[str, Callable[[int], Callable] | None] = {
    "O": lambda n_train: scale.sqrt_d,
    "E-normalised": lambda n_train: partial(scale.log_n, base=n_train),
    "infoscale": lambda n_train: partial(scale.info, n_train=n_train),
    "sphere": lambda n_train: arm("sphere").attention(n_train, None).scale,
    "sharper": lambda n_train: arm("sharper").attention(n_train, None).scale,
    "entropy-head": None,  # no rule of n and d: every head of every sequence its own
}
"""Rules of scale, named as the arms of the length experiment that use them at the true distances."""


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
    """The factor (batch, heads, 1, 1) on the logits (batch, heads, n, n) that gives the rows of every head the mean
    entropy ``target`` (heads,), to 1e-4 nats, by Newton's method in its logarithm.

    Single rows can not always be given it: hidden tokens beyond reach are one and the same key, and where some tie for
    the largest score, no factor takes the entropy below the logarithm of their number.
    """
    log_factor = torch.zeros_like(logits[:, :, :1, :1])
    for _ in range(50):
        factor = log_factor.exp()
        excess = softmax_entropy(factor * logits).mean(-1)[..., None, None] - target[:, None, None]
        if excess.abs().max() < 1e-4:
            return factor
        slope = softmax_varentropy(factor * logits).mean(-1)[..., None, None]
        log_factor = log_factor + (excess / slope).clamp(-1, 1)
    raise ExperimentError(f"no factor gives the rows of a head the entropy asked for; {excess.abs().max():.3g} nats remain")


@dataclass(frozen=True)
class KnownDistances:
    """Softmax attention that knows no distance beyond ``reach``, on rotated queries and keys.

    With a rule (n, d) -> lambda, or with ``targets`` (layers, heads) in nats, the mean entropy that the rows of a head
    are given in every sequence. It writes out the n x n matrix.
    """

    reach: int
    rule: Callable | None = None
    targets: Tensor | None = None

    def _logits(self, layer: int, q: Tensor, k: Tensor) -> Tensor:
        logits = scores(q, k, self.reach)
        if self.rule is not None:
            return self.rule(*q.shape[-2:]) * logits
        logits = logits * q.shape[-1] ** -0.5
        return held_at(logits, self.targets[layer].to(logits.device, logits.dtype)) * logits

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self._logits(layer, q, k).softmax(-1) @ v

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


def _model(preset: Preset, seed: int, trained: Path) -> torch.nn.Module:
    """The model trained with 1/sqrt(d), from the checkpoint that the length experiment left."""
    path = trained / "checkpoints" / f"O-{seed}.pt"
    state = checkpoints.load(path)
    if state is None:
        raise ExperimentError(f"no checkpoint {path}: run attnlib.experiments.length_extrapolation first")
    if (state["preset"], state["step"]) != (preset.digest(), preset.steps):
        raise ExperimentError(f"the checkpoint {path} is of another experiment, or its training has not ended")
    model = build_model(arm("O").training, preset, seed)
    model.load_state_dict(state["model"])
    return model.eval()


def _store(preset_name: str, trained: Path, device: str) -> results.Results:
    preset = PRESETS[preset_name]
    environment = _provenance.environment(
        device,
        _provenance.reachable_sources(MODULE),
        folder=Path(__file__).parent,
        pathspecs=[":(top)attnlib"],
    )
    configuration = {
        "preset": preset_name,
        **preset.as_dict(),
        "corpus": load_corpus(preset.vocabulary).digest,
        "weights": {str(seed): weights_digest(_model(preset, seed, trained)) for seed in preset.seeds},
    }
    return results.Results(trained / "known-distances.jsonl", configuration, environment)


def _test(preset_name: str, seed: int, trained: Path, device: str) -> None:
    torch.set_num_threads(1)
    preset, store = PRESETS[preset_name], _store(preset_name, trained, device)
    corpus, model = load_corpus(preset.vocabulary), _model(preset, seed, trained).to(device)
    entropies = trained_entropies(model, arm("O").training.attention(preset.n_train), corpus, preset)
    reach = preset.n_train - 1
    for name, rule in RULES.items():
        attention = KnownDistances(reach, rule(preset.n_train)) if rule else KnownDistances(reach, targets=entropies)
        for length in preset.lengths:
            if store.has(arm=name, seed=seed, length=length):
                continue
            score = evaluate(model, attention, corpus, preset, length)
            store.add(
                "score",
                arm=name,
                seed=seed,
                length=length,
                accuracy=score.accuracy,
                loss=score.loss,
                tokens=score.tokens,
                inside={
                    quantity: [[round(x, DIGITS) for x in layer] for layer in values.tolist()]
                    for quantity, values in score.inside.items()
                },
            )


def run(preset_name: str, trained: Path, *, device: str = "cpu", jobs: int = 1) -> list[dict]:
    """Test every seed's model under every rule, ``jobs`` seeds at a time; all results. Raises ``ExperimentError``.

    ``trained`` is the folder of the length experiment; the results go there too. The weights that were tested are
    part of the configuration.
    """
    store = _store(preset_name, trained, device)  # refuses before anything is tested
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        waiting = [pool.submit(_test, preset_name, seed, trained, device) for seed in PRESETS[preset_name].seeds]
        for done in waiting:
            done.result()
    return store.entries()


def main(arguments: list[str] | None = None) -> int:
    """The command; the exit status. What the user can mend is one line."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.split("\n\n")[0])
    parser.add_argument("--preset", choices=sorted(PRESETS), required=True)
    parser.add_argument("--trained", type=Path, help="folder of the length experiment (_build/length-extrapolation/PRESET)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--jobs", type=int, default=1, help="seeds at a time")
    parser.add_argument("--record", type=Path, metavar="FOLDER", help="where to store the results")
    options = parser.parse_args(arguments)
    trained = options.trained or Path("_build") / "length-extrapolation" / options.preset
    try:
        _provenance.device_name(options.device)
        entries = run(options.preset, trained, device=options.device, jobs=options.jobs)
    except (ExperimentError, MissingPackage, _provenance.NoSuchDevice) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{len(entries)} results in {trained / 'known-distances.jsonl'}")
    if options.record is not None:
        name = f"known-distances-{options.preset}.jsonl"
        results.record(options.record / name, entries)
        print(f"recorded in {options.record / name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
