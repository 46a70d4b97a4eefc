"""Train at 64 tokens, test at up to 2048: ``python -m attnlib.experiments.length_extrapolation --preset cpu``.

Interrupt it at any moment and run the same command again: it goes on where it stopped. Under ``torchrun`` every
model is trained data-parallel.
"""

from __future__ import annotations

import argparse
import errno
import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from filelock import FileLock, Timeout

from attnlib import _provenance
from attnlib.errors import InvalidArgument
from attnlib.experiments import results
from attnlib.experiments.arms import ARMS, TRAININGS
from attnlib.experiments.corpus import MissingPackage, load_corpus, need
from attnlib.experiments.errors import ExperimentError
from attnlib.experiments.evaluation import evaluate, trained_entropies
from attnlib.experiments.presets import PRESETS, Preset
from attnlib.experiments.training import Trained, train, weights_digest

__all__ = ["main", "run"]

MODULE = "attnlib.experiments.length_extrapolation"
DIGITS = 6  # of what is measured inside


@dataclass(frozen=True)
class Job:
    """All that a process needs for one training and the arms that share it."""

    training: str
    seed: int
    preset_name: str
    preset: Preset
    out: Path
    device: str


def _results(preset: Preset, preset_name: str, out: Path, device: str) -> results.Results:
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
        "processes": dist.get_world_size() if dist.is_initialized() else 1,
    }
    return results.Results(out / "results.jsonl", configuration, environment)


def run_job(job: Job, position: int = 0) -> str:
    """Train one model and test it under every arm that shares it; what is there already is not done again."""
    torch.set_num_threads(1 if job.device == "cpu" else torch.get_num_threads())
    preset, corpus = job.preset, load_corpus(job.preset.vocabulary)
    store = _results(preset, job.preset_name, job.out, job.device)
    training = next(one for one in TRAININGS if one.name == job.training)
    name = f"{training.name}-{job.seed}"
    first = not dist.is_initialized() or dist.get_rank() == 0
    checkpoint = job.out / "checkpoints" / f"{name}.pt"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(checkpoint.with_suffix(".lock"))
    if first:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ExperimentError(f"another process is training {name} in {job.out}") from None
    try:
        with _Progress(name, preset.steps, position, shown=first) as progress:
            trained = train(
                training, job.seed, preset, corpus, device=job.device, checkpoint=checkpoint, progress=progress
            )
            if first:
                _test(trained, training.name, job, store, progress)
    finally:
        lock.release()
    return name


def _test(trained: Trained, training: str, job: Job, store: results.Results, progress: _Progress) -> None:
    preset, corpus = job.preset, load_corpus(job.preset.vocabulary)
    if not store.has(kind="training", training=training, seed=job.seed):
        store.add(
            "training",
            training=training,
            seed=job.seed,
            losses=[round(loss, DIGITS) for loss in trained.losses],
            weights=weights_digest(trained.model),
            seconds=round(trained.seconds, 1),
        )
    entropies = None
    for arm in ARMS:
        if arm.training.name != training:
            continue
        if entropies is None:
            as_trained = arm.training.attention(preset.n_train)
            entropies = trained_entropies(trained.model, as_trained, corpus, preset)
        for length in preset.lengths:
            if store.has(kind="score", arm=arm.name, seed=job.seed, length=length):
                continue
            progress.say(f"{arm.name} at {length}")
            attention = arm.attention(preset.n_train, entropies)
            score = evaluate(trained.model, attention, corpus, preset, length)
            store.add(
                "score",
                arm=arm.name,
                seed=job.seed,
                length=length,
                accuracy=score.accuracy,
                loss=score.loss,
                tokens=score.tokens,
                inside={
                    name: [[round(x, DIGITS) for x in layer] for layer in values.tolist()]
                    for name, values in score.inside.items()
                },
            )


class _Progress:
    """A bar with loss and time to go; on a stream that is no terminal, a line now and then."""

    def __init__(self, name: str, steps: int, position: int, *, shown: bool):
        terminal = sys.stderr.isatty()
        self._bar = need("tqdm").tqdm(
            total=steps,
            desc=name,
            unit="step",
            position=position if terminal else 0,
            mininterval=0.5 if terminal else 30,
            leave=not terminal,
            disable=not shown,
        )

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error) -> None:
        self._bar.close()

    def __call__(self, step: int, loss: float) -> None:
        if self._bar.n == 0:  # steps done before a resumption say nothing of the speed now
            self._bar.initial = self._bar.n = step - 1
        self._bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        self._bar.update()

    def say(self, what: str) -> None:
        self._bar.set_postfix_str(what)


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
    for given, known, what in ((trainings, preset.trainings, "training"), (seeds, preset.seeds, "seed")):
        if given is not None and (wrong := [one for one in given if one not in known]):
            raise ExperimentError(f"{what} must be one of {', '.join(map(str, known))}; got {wrong[0]}")
    chosen = [
        Job(training, seed, preset_name, preset, out, device)
        for seed in (seeds or preset.seeds)
        for training in (trainings or preset.trainings)
    ]
    store = _results(preset, preset_name, out, device)  # refuses before anything is trained
    if jobs == 1 or dist.is_initialized():
        for job in chosen:
            run_job(job)
    else:
        _run_at_once(chosen, jobs)
    return store.entries()


def _start(lock, positions) -> None:
    """In a fresh process: share the terminal with the others, take a line of it, and end with the command itself."""
    global _position
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches every process; one traceback would be too many
    threading.Thread(target=_end_with_parent, daemon=True).start()
    need("tqdm").tqdm.set_lock(lock)
    _position = positions.get()


def _end_with_parent() -> None:
    """A pool waits for work for ever if the command that owns it is killed; what is stored is whole at any moment."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _run_in_place(job: Job) -> str:
    return run_job(job, _position)


def _run_at_once(chosen: list[Job], jobs: int) -> None:
    context = multiprocessing.get_context("spawn")
    positions = context.Queue()
    for position in range(jobs):
        positions.put(position)
    with ProcessPoolExecutor(jobs, context, _start, (context.RLock(), positions)) as pool:
        waiting = [pool.submit(_run_in_place, job) for job in chosen]
        try:
            for done in as_completed(waiting):
                done.result()
        except BrokenProcessPool:
            raise ExperimentError("a process was killed; run the same command again to go on") from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.split("\n\n")[0])
    parser.add_argument("--preset", choices=sorted(PRESETS), required=True)
    parser.add_argument("--out", type=Path, help="folder of checkpoints and results (_build/length-extrapolation/PRESET)")
    parser.add_argument("--device", help="cpu or cuda (cuda for the preset gpu, else cpu)")
    parser.add_argument("--jobs", type=int, help="trainings at a time (2 for cpu, 3 for gpu, else 1)")
    parser.add_argument("--training", action="append", help="only this one; may be given again")
    parser.add_argument("--seed", type=int, action="append", help="only this one; may be given again")
    parser.add_argument("--record", type=Path, metavar="FOLDER", help="where to store the results once all are there")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """The command; the exit status. What the user can mend is one line."""
    options = _arguments(arguments)
    preset = PRESETS[options.preset]
    out = options.out or Path("_build") / "length-extrapolation" / options.preset
    device = options.device or ("cuda" if options.preset == "gpu" else "cpu")
    jobs = options.jobs or {"cpu": 2, "gpu": 3}.get(options.preset, 1)
    distributed = "TORCHELASTIC_RUN_ID" in os.environ
    try:
        _provenance.device_name(device)
        if jobs < 1:
            raise ExperimentError(f"--jobs must be at least 1, got {jobs}")
        if distributed:
            if torch.device(device).type == "cuda":
                device = f"cuda:{os.environ['LOCAL_RANK']}"
                torch.cuda.set_device(device)
            dist.init_process_group("nccl" if torch.device(device).type == "cuda" else "gloo")
        entries = run(
            options.preset,
            out,
            device=device,
            jobs=jobs,
            trainings=tuple(options.training) if options.training else None,
            seeds=tuple(options.seed) if options.seed else None,
        )
        if distributed and dist.get_rank() != 0:
            return 0
        scores = sum(entry["kind"] == "score" for entry in entries)
        wanted = sum(arm.training.name in preset.trainings for arm in ARMS) * len(preset.seeds) * len(preset.lengths)
        print(f"{scores} of {wanted} results in {out / 'results.jsonl'}")
        if options.record is not None:
            if scores < wanted:
                raise ExperimentError("only a whole experiment is recorded")
            name = f"length-extrapolation-{options.preset}.jsonl"
            results.record(options.record / name, entries)
            print(f"recorded in {options.record / name}")
        return 0
    except (ExperimentError, MissingPackage, InvalidArgument, _provenance.NoSuchDevice) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        what = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        print(f"error: {what} ({error.filename or out}); what was stored before is whole", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        return 130
    finally:
        if distributed and dist.is_initialized():
            dist.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
