"""Train at 64 tokens, test at up to 2048: ``python -m experiments.length_extrapolation --preset cpu``.

Interrupt it at any moment and run the same command again: it goes on where it stopped. Under ``torchrun``
every model is trained data-parallel.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from experiments import command, hooks, results
from experiments.arms import ARMS, TRAININGS
from experiments.corpus import Corpus, load_corpus
from experiments.errors import ExperimentError
from experiments.evaluation import evaluate, trained_entropies
from experiments.pool import run_at_once
from experiments.presets import PRESETS, Preset
from experiments.progress import Progress
from experiments.training import Trained, train, weights_digest

__all__ = ["main", "run"]

MODULE = "experiments.length_extrapolation"
# The other ranks wait in their next training's first exchange while rank 0 tests.
WHILE_ONE_TESTS = timedelta(hours=4)


@dataclass(frozen=True)
class Job:
    """All that a process needs for one training and the arms that share it."""

    training: str
    seed: int
    preset: Preset
    out: Path
    device: str
    store: results.Results

    @property
    def name(self) -> str:
        return f"{self.training}-{self.seed}"


def run_job(job: Job, position: int = 0) -> None:
    """Train one model and test it under every arm that shares it; what is there already is not done again."""
    torch.set_num_threads(1 if job.device == "cpu" else torch.get_num_threads())
    corpus = load_corpus(job.preset.vocabulary)
    training = next(one for one in TRAININGS if one.name == job.training)
    checkpoint = job.out / "checkpoints" / f"{job.name}.pt"
    first = not dist.is_initialized() or dist.get_rank() == 0
    mine = (
        command.alone(checkpoint.with_suffix(".lock"), f"training {job.name} in {job.out}")
        if first
        else nullcontext()
    )
    with mine, Progress(job.name, job.preset.steps, "step", position=position, shown=first) as progress:
        trained = train(
            training,
            job.seed,
            job.preset,
            corpus,
            device=job.device,
            checkpoint=checkpoint,
            configuration=job.store.identity,
            progress=lambda step, loss: progress.at(step, f"loss={loss:.3f}"),
        )
        if first:
            _test(trained, job, corpus, progress)


def _test(trained: Trained, job: Job, corpus: Corpus, progress: Progress) -> None:
    preset, store, weights = job.preset, job.store, weights_digest(trained.model)
    known = store.find(kind="training", training=job.training, seed=job.seed)
    if not known:
        store.add(
            "training",
            training=job.training,
            seed=job.seed,
            losses=[round(loss, results.DIGITS) for loss in trained.losses],
            weights=weights,
            seconds=round(trained.seconds, 1),
        )
    elif known[0]["weights"] != weights:
        # Trained anew after its checkpoint was lost, where that does not give the same bits.
        raise ExperimentError(
            f"{store.path} has results of other weights of {job.name}; choose another --out"
        )
    done = {(entry["arm"], entry["length"]) for entry in store.find(kind="score", seed=job.seed)}
    arms = [arm for arm in ARMS if arm.training.name == job.training]
    missing = [(arm, length) for arm in arms for length in preset.lengths if (arm.name, length) not in done]
    if not missing:
        return
    entropies = trained_entropies(trained.model, arms[0].training.attention(preset.n_train), corpus, preset)
    for arm, length in missing:
        progress.say(f"{arm.name} at {length}")
        attention = arm.attention(preset.n_train, entropies)
        store.add_score(
            arm.name, job.seed, length, evaluate(trained.model, attention, corpus, preset, length)
        )


def _chosen(given: Iterable | None, known: tuple, what: str) -> tuple:
    """What was asked for, each once; all where nothing was."""
    if given is None:
        return known
    for one in given:
        if one not in known:
            raise ExperimentError(f"{what} must be one of {', '.join(map(str, known))}; got {one}")
    return tuple(dict.fromkeys(given))


def run(
    preset_name: str,
    out: Path,
    *,
    device: str = "cpu",
    jobs: int = 1,
    trainings: tuple[str, ...] | None = None,
    seeds: tuple[int, ...] | None = None,
) -> list[dict]:
    """Run what is missing of a preset, ``jobs`` trainings at a time; all results in ``out``.

    ``trainings`` and ``seeds`` choose some of the preset's. Raises ``ExperimentError``.
    """
    preset = PRESETS[preset_name]
    trainings, seeds = _chosen(trainings, preset.trainings, "training"), _chosen(seeds, preset.seeds, "seed")
    processes = dist.get_world_size() if dist.is_initialized() else 1
    store = results.open_results(  # refuses before anything is trained
        out / "results.jsonl",
        MODULE,
        preset_name,
        load_corpus(preset.vocabulary),
        device,
        processes=processes,
    )
    chosen = [Job(training, seed, preset, out, device, store) for seed in seeds for training in trainings]
    run_at_once(run_job, chosen, 1 if dist.is_initialized() else jobs)
    return store.entries()


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.split("\n\n")[0])
    parser.add_argument("--preset", choices=sorted(PRESETS), required=True)
    parser.add_argument(
        "--out", type=Path, help="folder of checkpoints and results (_build/length-extrapolation/PRESET)"
    )
    parser.add_argument("--device", help="cpu or cuda (cuda for the preset gpu, else cpu)")
    parser.add_argument("--jobs", type=int, help="trainings at a time (2 for cpu, 3 for gpu, else 1)")
    parser.add_argument("--training", action="append", help="only this one; may be given again")
    parser.add_argument("--seed", type=int, action="append", help="only this one; may be given again")
    parser.add_argument(
        "--record", type=Path, metavar="FOLDER", help="where to store the results once all are there"
    )
    return parser.parse_args(arguments)


def _run_command(options: argparse.Namespace, out: Path) -> None:
    preset = PRESETS[options.preset]
    device = options.device or command.default_device(options.preset)
    hooks.device_name(device)
    jobs = command.processes(options.jobs, options.preset)
    distributed = "TORCHELASTIC_RUN_ID" in os.environ
    try:
        if distributed:
            if torch.device(device).type == "cuda":
                device = f"cuda:{os.environ['LOCAL_RANK']}"
                hooks.device_name(device)
                torch.cuda.set_device(device)
            backend = "nccl" if torch.device(device).type == "cuda" else "gloo"
            dist.init_process_group(backend, timeout=WHILE_ONE_TESTS)
        entries = run(
            options.preset, out, device=device, jobs=jobs, trainings=options.training, seeds=options.seed
        )
        if distributed and dist.get_rank() != 0:
            return
    finally:
        if distributed and dist.is_initialized():
            dist.destroy_process_group()
    scores = sum(entry["kind"] == "score" for entry in entries)
    wanted = (
        sum(arm.training.name in preset.trainings for arm in ARMS) * len(preset.seeds) * len(preset.lengths)
    )
    print(f"{scores} of {wanted} results in {out / 'results.jsonl'}")
    if options.record is not None:
        if scores < wanted:
            raise ExperimentError("only a whole experiment is recorded")
        recorded = options.record / f"length-extrapolation-{options.preset}.jsonl"
        results.record(recorded, entries)
        print(f"recorded in {recorded}")


def main(arguments: list[str] | None = None) -> int:
    """The command; the exit status. What the user can mend is one line."""
    options = _arguments(arguments)
    out = options.out or command.default_folder(options.preset)
    return command.exit_status(lambda: _run_command(options, out), out)


if __name__ == "__main__":
    sys.exit(main())
