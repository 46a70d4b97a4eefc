"""Results as JSON lines, one a result: appended whole or not at all, of one configuration a file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from filelock import FileLock

from experiments import hooks
from experiments.configuration import configuration_of, difference
from experiments.corpus import Corpus
from experiments.errors import ExperimentError
from experiments.evaluation import Score
from experiments.presets import PRESETS
from experiments.sources import code_digest, sources
from proofbook.ledger import provenance, schema, sums

__all__ = ["Results", "open_results", "read", "record", "validate"]

SCHEMA = 2
DIGITS = 6  # of losses and of what is measured inside
# What a head has no value of where all its rows are without weight, as ``Inside`` says.
SHARES = ("entropy", "effective_tokens", "near", "needle")


def read(path: Path) -> list[dict]:
    """The results in a file, checked; a last line cut short by a kill is none. Raises ``ExperimentError``."""
    try:
        stored = path.read_bytes()
    except FileNotFoundError:
        return []
    lines = stored.split(b"\n")[:-1]
    entries, places = [], {}
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            validate(entry)
        except (ValueError, OverflowError, RecursionError) as error:
            raise ExperimentError(f"{path}, line {number}, is damaged: {error}") from None
        if (first := places.setdefault(_place(entry), number)) != number:
            raise ExperimentError(f"{path}, line {number}, is the result of line {first} again")
        entries.append(entry)
    for entry in entries[1:]:
        if differs := difference(configuration_of(entries[0]), configuration_of(entry)):
            raise ExperimentError(f"{path} mixes results of two configurations: {differs}")
    return entries


def validate(entry: object) -> None:
    """Raise ``ValueError`` unless the entry has the form of a result."""
    schema.check(entry, schema.read("results", "experiments"), "result")
    assert isinstance(entry, dict)
    provenance.validate_environment(entry["environment"])


def _place(entry: dict) -> tuple:
    """Where a result belongs in a record, trainings first; no two results of one experiment share it."""
    return (
        entry["kind"] != "training",
        entry.get("training", entry.get("arm")),
        entry["seed"],
        entry.get("length", 0),
    )


def _line(entry: dict) -> bytes:
    return json.dumps(entry, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _inside(score: Score) -> dict[str, list[list[float | None]]]:
    """What was measured inside, rounded; null for the shares of a head that has no weight in any row.

    Any other NaN stays one, and is refused with the result.
    """
    total = score.inside.get("total")
    stored: dict[str, list[list[float | None]]] = {}
    for name, values in score.inside.items():
        without = name in SHARES and total is not None
        absent = (values.isnan() & (total == 0)).tolist() if without else torch.zeros_like(values).tolist()
        stored[name] = [
            [None if none else round(x, DIGITS) for x, none in zip(*heads, strict=True)]
            for heads in zip(values.tolist(), absent, strict=True)
        ]
    return stored


class Results:
    """The results file of one configuration; several processes may add to it at once.

    ``identity`` is all of configuration, environment and code that its results must share, flat.
    """

    def __init__(self, path: Path, configuration: dict, environment: dict, module: str, digest: str):
        self.path = path
        self._made_with = {
            "configuration": configuration,
            "environment": environment,
            "module": module,
            "digest": digest,
        }
        self.identity = configuration_of(self._made_with)
        self._refuse_others(self.entries()[:1])

    def _refuse_others(self, entries: list[dict]) -> None:
        for entry in entries:
            if differs := difference(configuration_of(entry), self.identity):
                raise ExperimentError(
                    f"{self.path} holds results of another configuration: {differs} "
                    "(that file first, this command second); choose another --out"
                )

    def entries(self) -> list[dict]:
        return read(self.path)

    def find(self, **values) -> list[dict]:
        """The results with these values."""
        return [
            one for one in self.entries() if all(one.get(name) == value for name, value in values.items())
        ]

    def add_score(self, arm: str, seed: int, length: int, score: Score) -> None:
        """Append how one arm did at one length; null stands inside for a share of weights where none are.

        ``ExperimentError`` if any other number inside is not finite.
        """
        self.add(
            "score",
            arm=arm,
            seed=seed,
            length=length,
            accuracy=score.accuracy,
            loss=score.loss,
            tokens=score.tokens,
            inside=_inside(score),
        )

    def add(self, kind: str, **values) -> None:
        """Append one result in one write; what a kill left of an earlier line is removed first.

        ``ExperimentError`` if it is none, as with a loss that is not finite, or if another command has
        meanwhile begun the file with another configuration.
        """
        entry = {
            "schema": SCHEMA,
            "kind": kind,
            **values,
            **self._made_with,
        }
        try:
            validate(entry)
        except ValueError as error:
            raise ExperimentError(f"this is no result, and was not stored: {error}") from None
        line = _line(entry)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(self.path.name + ".lock")), open(self.path, "a+b") as file:
            file.seek(0)
            stored = file.read()
            whole = stored.rfind(b"\n") + 1
            if whole:
                self._refuse_others([json.loads(stored[: stored.index(b"\n")])])
            file.truncate(whole)
            try:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                file.truncate(whole)
                raise


def open_results(
    path: Path, module: str, preset_name: str, corpus: Corpus, device: str, **settings
) -> Results:
    """The results at ``path`` of a preset run by ``module`` on ``device``, with ``settings`` of its own."""
    reached = sources().reached(module)
    environment = provenance.environment(device, hooks, folder=Path(__file__).parent, paths=reached.values())
    # Which of several cards of one name it is makes no difference; data-parallel ranks have one each.
    environment["device"] = torch.device(device).type
    configuration = {
        "preset": preset_name,
        **PRESETS[preset_name].as_dict(),
        "corpus": corpus.digest,
        **settings,
    }
    return Results(path, configuration, environment, module, code_digest(module))


def record(path: Path, entries: list[dict]) -> None:
    """Write a finished experiment in a fixed order, so that two records can be compared."""
    sums.keep(path, b"".join(_line(entry) for entry in sorted(entries, key=_place)))
