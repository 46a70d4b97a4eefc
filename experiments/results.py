"""Results as JSON lines, one a result: appended whole or not at all, never of two configurations in one file."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import torch
from filelock import FileLock

from experiments.checkpoints import write_whole
from experiments.configuration import configuration_of, difference
from experiments.corpus import Corpus
from experiments.errors import ExperimentError
from experiments.evaluation import Score
from experiments.presets import PRESETS
from proofbook.ledger import provenance

__all__ = ["Results", "open_results", "read", "record", "validate"]

SCHEMA = 1
DIGITS = 6  # of losses and of what is measured inside


def _is_number(x: object) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x)


def _is_count(x: object) -> bool:
    return isinstance(x, int) and not isinstance(x, bool) and x >= 0


def _is_text(x: object) -> bool:
    return isinstance(x, str)


def _is_object(x: object) -> bool:
    return isinstance(x, dict)


def _are_losses(x: object) -> bool:
    return isinstance(x, list) and all(map(_is_number, x))


def _is_inside(x: object) -> bool:
    """Quantities by name, a number for every layer and head, null where no row has any weight to speak of."""
    return isinstance(x, dict) and all(
        isinstance(layers, list)
        and all(
            isinstance(layer, list) and all(value is None or _is_number(value) for value in layer)
            for layer in layers
        )
        for layers in x.values()
    )


_COMMON = {
    "schema": _is_count,
    "kind": _is_text,
    "seed": _is_count,
    "configuration": _is_object,
    "environment": _is_object,
}
FIELDS = {
    "training": _COMMON
    | {
        "training": _is_text,
        "losses": _are_losses,
        "weights": _is_text,
        "seconds": lambda x: _is_number(x) and x >= 0,
    },
    "score": _COMMON
    | {
        "arm": _is_text,
        "length": lambda x: _is_count(x) and x > 0,
        "accuracy": lambda x: _is_number(x) and 0 <= x <= 1,
        "loss": lambda x: _is_number(x) and x >= 0,
        "tokens": lambda x: _is_count(x) and x > 0,
        "inside": _is_inside,
    },
}
"""The fields of each kind of result, and what each must be."""


def read(path: Path) -> list[dict]:
    """The results in a file, checked; a last line that a kill cut short is not one. Raises ``ExperimentError``."""
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


def validate(entry: dict) -> None:
    """Raise ``ValueError`` unless the entry has the form of a result."""
    kind = entry.get("kind") if isinstance(entry, dict) else None
    fields = FIELDS.get(kind) if isinstance(kind, str) else None
    if fields is None:
        raise ValueError("not a result")
    if entry.get("schema") != SCHEMA:
        raise ValueError(f"schema must be {SCHEMA}, got {entry.get('schema')!r}")
    if set(entry) != set(fields):
        raise ValueError(f"fields missing or unknown: {sorted(set(entry) ^ set(fields))}")
    for name, fits in fields.items():
        if not fits(entry[name]):
            shown = repr(entry[name])
            raise ValueError(f"{name} cannot be {shown if len(shown) < 80 else shown[:80] + ' ...'}")
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


class Results:
    """The results file of one configuration; several processes may add to it at once.

    ``identity`` is all of the configuration and environment that its results must share, flat.
    """

    def __init__(self, path: Path, configuration: dict, environment: dict):
        self.path, self.configuration, self.environment = path, configuration, environment
        self.identity = configuration_of({"configuration": configuration, "environment": environment})
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
        """Append how one arm did at one length; what could not be measured inside is null."""
        self.add(
            "score",
            arm=arm,
            seed=seed,
            length=length,
            accuracy=score.accuracy,
            loss=score.loss,
            tokens=score.tokens,
            inside={
                name: [
                    [None if math.isnan(x) else round(x, DIGITS) for x in layer] for layer in values.tolist()
                ]
                for name, values in score.inside.items()
            },
        )

    def add(self, kind: str, **values) -> None:
        """Append one result in one write; what a kill left of an earlier line is removed first.

        ``ExperimentError`` if it is none, as with a loss that is not finite, or if another command has meanwhile begun
        the file with another configuration.
        """
        entry = {
            "schema": SCHEMA,
            "kind": kind,
            **values,
            "configuration": self.configuration,
            "environment": self.environment,
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
    environment = provenance.environment(
        device,
        provenance.reachable_sources(module),
        folder=Path(__file__).parent,
        pathspecs=[":(top)attnlib"],
    )
    # Which of several cards of one name it is makes no difference; data-parallel ranks have one each.
    environment["device"] = torch.device(device).type
    configuration = {
        "preset": preset_name,
        **PRESETS[preset_name].as_dict(),
        "corpus": corpus.digest,
        **settings,
    }
    return Results(path, configuration, environment)


def record(path: Path, entries: list[dict]) -> None:
    """Write a finished experiment in a fixed order, so that two records can be compared."""
    write_whole(path, b"".join(_line(entry) for entry in sorted(entries, key=_place)))
