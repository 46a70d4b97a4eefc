"""Results as JSON lines, one a result: appended whole or not at all, never of two configurations in one file."""

from __future__ import annotations

import json
import os
from pathlib import Path

from filelock import FileLock

from attnlib import _provenance
from attnlib.experiments.checkpoints import write_whole
from attnlib.experiments.errors import ExperimentError

__all__ = ["Results", "configuration_of", "read", "validate"]

SCHEMA = 1
FIELDS = {
    "training": {"schema", "kind", "training", "seed", "losses", "weights", "seconds", "configuration", "environment"},
    "score": {"schema", "kind", "arm", "seed", "length", "accuracy", "loss", "tokens", "inside", "configuration",
              "environment"},
}
# What of the environment may differ between the lines of one file: when a resumed run went on, and from which commit
# if its code is the same.
FREE = {"date", "commit", "modified"}


def read(path: Path) -> list[dict]:
    """The results in a file, checked; a last line that a kill cut short is not one. Raises ``ExperimentError``."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except UnicodeDecodeError:
        raise ExperimentError(f"{path} is damaged: it is not text") from None
    lines = text.split("\n")[:-1]
    entries = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            validate(entry)
        except ValueError as error:
            raise ExperimentError(f"{path}, line {number}, is damaged: {error}") from None
        entries.append(entry)
    for entry in entries[1:]:
        if difference := _difference(configuration_of(entries[0]), configuration_of(entry)):
            raise ExperimentError(f"{path} mixes results of two configurations: {difference}")
    return entries


def validate(entry: dict) -> None:
    """Raise ``ValueError`` unless the entry has the form of a result."""
    if not isinstance(entry, dict) or entry.get("kind") not in FIELDS:
        raise ValueError("not a result")
    if entry.get("schema") != SCHEMA:
        raise ValueError(f"schema must be {SCHEMA}, got {entry.get('schema')!r}")
    if set(entry) != FIELDS[entry["kind"]]:
        raise ValueError(f"fields missing or unknown: {sorted(set(entry) ^ FIELDS[entry['kind']])}")
    if entry["kind"] == "score" and not (0 <= entry["accuracy"] <= 1 and entry["loss"] >= 0 and entry["tokens"] > 0):
        raise ValueError(f"accuracy {entry['accuracy']}, loss {entry['loss']}, tokens {entry['tokens']}")
    _provenance.validate_environment(entry["environment"])


def configuration_of(entry: dict) -> dict:
    """All that must agree between two results for them to stand in one table, flat."""
    environment = {name: value for name, value in entry["environment"].items() if name not in FREE}
    return {**entry["configuration"], **environment}


def _difference(one: dict, other: dict) -> str | None:
    """The first setting in which two configurations differ, in words."""
    for name in sorted(set(one) | set(other)):
        if one.get(name) != other.get(name):
            return f"{name} is {one.get(name)!r} in one and {other.get(name)!r} in the other"
    return None


class Results:
    """The results file of one configuration; several processes may add to it at once."""

    def __init__(self, path: Path, configuration: dict, environment: dict):
        self.path, self.configuration, self.environment = path, configuration, environment
        self._lock = FileLock(path.with_name(path.name + ".lock"))
        mine = configuration_of({"configuration": configuration, "environment": environment})
        for entry in self.entries()[:1]:
            if difference := _difference(configuration_of(entry), mine):
                raise ExperimentError(
                    f"{path} holds results of another configuration: {difference} "
                    "(that file first, this command second); choose another --out"
                )

    def entries(self) -> list[dict]:
        return read(self.path)

    def has(self, **values) -> bool:
        """Whether a result with these values is there."""
        return any(all(entry.get(name) == value for name, value in values.items()) for entry in self.entries())

    def add(self, kind: str, **values) -> None:
        """Append one result in one write; what a kill left of an earlier line is removed first."""
        entry = {"schema": SCHEMA, "kind": kind, **values, "configuration": self.configuration,
                 "environment": self.environment}
        validate(entry)
        line = json.dumps(entry, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock, open(self.path, "a+b") as file:
            file.seek(0)
            whole = file.read().rfind(b"\n") + 1
            file.truncate(whole)
            try:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                file.truncate(whole)
                raise


def record(path: Path, entries: list[dict]) -> None:
    """Write a finished experiment in a fixed order, trainings first, so that two records can be compared."""
    def place(entry: dict) -> tuple:
        return entry["kind"] != "training", entry.get("training", entry.get("arm")), entry["seed"], entry.get("length", 0)

    lines = [json.dumps(entry, ensure_ascii=False, allow_nan=False) for entry in sorted(entries, key=place)]
    write_whole(path, ("\n".join(lines) + "\n").encode())
