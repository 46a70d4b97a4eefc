"""Records of experiments, carried over to code that has changed since: ``python -m experiments.carry_over``.

A record is of the code that made it. Where that has changed in form alone, hours of training need not be done
again: a record is carried over if every module that it reached has, at the commit it was made at, the same
syntax tree as now up to names of modules, imports, docstrings and layout. Where a tree differs, both codes
are run. The record is carried over only if, with its first seed,

- every training has in its first ``BRIEF`` steps the same losses by both codes, to ``TOLERANCE``;
- the first training of each model has over its first hundred steps, by both codes, a mean loss of the very
  digits that were recorded;
- one score of every arm, on the weights that the older code reached by then, is the same to ``TOLERANCE``.

It then has the digest of the present code, and keeps in ``carried_from`` the commit and digest it was made
with, and how this was established. Otherwise it is left as it is, which pages show as stale.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import math
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from experiments import results
from experiments.arms import TRAININGS
from experiments.errors import ExperimentError
from experiments.presets import PRESETS
from experiments.sources import code_digest, sources
from experiments.training import CURVE
from proofbook.ledger.sources import Packages, tree_digest

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
REPLAY = Path(__file__).with_name("replay.py")

TOLERANCE = 1e-6
"""How far apart two numbers may be, of their size or of one if that is larger. Six digits are recorded."""

BRIEF = 10
"""Steps of a training that is not replayed for longer, as another one of the same model is."""

RENAMED = {"attnlib.experiments": "experiments"}
"""Packages that records were made with under another name."""


def renamed(name: str) -> str:
    """The present name of what an older tree calls ``name``.

    >>> renamed("attnlib.experiments.training"), renamed("attnlib.rows")
    ('experiments.training', 'attnlib.rows')
    """
    for old, new in RENAMED.items():
        if name == old or name.startswith(old + "."):
            return new + name[len(old) :]
    return name


class _Bare(ast.NodeTransformer):
    """Syntax without imports, and with the present names of modules in its texts."""

    def visit_Import(self, node: ast.Import) -> None:
        return None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        return None

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return ast.Constant(renamed(node.value)) if isinstance(node.value, str) else node


def trees(reached: dict[str, Path]) -> dict[str, str]:
    """A digest of each module's syntax up to names, imports, docstrings and layout, by its present name."""
    return {
        renamed(name): tree_digest(_Bare().visit(ast.parse(path.read_bytes())))
        for name, path in reached.items()
    }


class OlderCode:
    """The project's packages as they were at a commit, unpacked into a folder."""

    def __init__(self, commit: str, folder: Path):
        self.commit, self.folder = commit, folder
        there = self._git("ls-tree", "--name-only", commit).decode().split()
        wanted = [name for name in ("attnlib", "experiments", "proofbook", "book") if name in there]
        with tarfile.open(fileobj=io.BytesIO(self._git("archive", commit, *wanted))) as archive:
            # Debian 12's Python knows no filters; what git packs needs none
            archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
            archive.extractall(folder)
        apart = (folder / "experiments").is_dir()
        self.package = "experiments" if apart else "attnlib.experiments"
        names = ("attnlib", "experiments") if apart else ("attnlib",)
        self.packages = Packages({name: folder / name for name in names}, ignore=["experiments.figures"])

    def _git(self, *arguments: str) -> bytes:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().split("\n")[-1]
            raise ExperimentError(f"the code of commit {self.commit[:12]} cannot be had: {said}")
        return done.stdout

    def module(self, name: str) -> str:
        """The older name of an experiment's module."""
        return f"{self.package}.{name.rpartition('.')[2]}"

    def digest(self, module: str) -> str:
        """The digest that this code itself has for what a module reaches."""
        code = "from experiments.sources import code_digest as digest\nprint(digest(sys.argv[1]))"
        if self.package != "experiments":
            code = "from attnlib import _provenance as p\nprint(p.digest(p.reachable_sources(sys.argv[1])))"
        return _run(self.folder, "-c", f"import sys\n{code}", self.module(module)).strip()


def _run(tree: Path, *arguments: str, given: str = "") -> str:
    """What Python prints with the packages of ``tree`` before all others on its path."""
    path = os.pathsep.join(filter(None, [str(tree), os.environ.get("PYTHONPATH")]))
    where = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", *arguments]
    done = subprocess.run(command, input=given, capture_output=True, text=True, env=where, cwd=tree)
    if done.returncode:
        said = done.stderr.strip().split("\n")[-1]
        raise ExperimentError(f"the code in {tree} does not run: {said}")
    return done.stdout


def steps_of(names: list[str], all_steps: int) -> dict[str, int]:
    """How many steps of each training are replayed: a point of the loss curve for the first of each model."""
    trainings = [one for one in TRAININGS if one.name in names]
    firsts = {one.model: one.name for one in reversed(trainings)}.values()
    return {one.name: min(CURVE if one.name in firsts else BRIEF, all_steps) for one in trainings}


def replayed(
    older: OlderCode, configuration: dict[str, Any], seed: int, folder: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the older and the present code find in the first steps of an experiment's trainings."""
    steps = steps_of(configuration["trainings"], PRESETS[configuration["preset"]].steps)
    asked = {"preset_name": configuration["preset"], "seed": seed, "steps": steps}
    found, before = [], None
    for which, tree, package in (
        ("older", older.folder, older.package),
        ("present", ROOT, "experiments"),
    ):
        own = folder / which  # each its own: a checkpoint of the other would be gone on from
        request = {"package": package, "own": str(own), "weights": before, **asked}
        answer = json.loads(_run(tree, str(REPLAY), given=json.dumps(request)))
        if not Path(answer["code"]).is_relative_to(tree.resolve()):
            raise ExperimentError(f"{answer['code']} was run instead of the code in {tree}")
        found.append(answer)
        before = str(own)
    return found[0], found[1]


def training_differs(older: dict, present: dict, recorded: dict[str, list[float]], point: int) -> str | None:
    """The first training that begins differently by the codes or in the record, in words; None if none does.

    Args:
        older: What the older code found.
        present: What the present code found.
        recorded: The recorded losses of each training with the seed that was replayed.
        point: Of how many steps the first of them is the mean.
    """
    for name in older["trainings"]:
        one, other = (found["trainings"][name]["losses"] for found in (older, present))
        for step, (x, y) in enumerate(zip(one[:BRIEF], other[:BRIEF], strict=True)):
            if not _close(x, y):
                return f"the loss of {name} at step {step} is {x} by the older and {y} by the present code"
        for code, losses in (("older", one), ("present", other)):
            mean = round(sum(losses) / len(losses), results.DIGITS)
            if name in recorded and len(losses) == point and mean != recorded[name][0]:
                return f"{name} begins with a mean loss of {mean} by the {code} code, not {recorded[name][0]}"
    return None


def score_differs(older: dict, present: dict) -> str | None:
    """The first score in which two codes differ by more than ``TOLERANCE``, in words; None if none does."""
    if older.keys() != present.keys():
        return f"the arms are {sorted(older)} and {sorted(present)}"
    for arm in older:
        for name in older[arm]:
            one, other = (list(_numbers(scores[arm][name])) for scores in (older, present))
            for x, y in zip(one, other, strict=True):
                if not _close(x, y):
                    return f"{name} of {arm} is {x} by the older and {y} by the present code"
    return None


def _close(x: float, y: float) -> bool:
    return math.isclose(x, y, rel_tol=TOLERANCE, abs_tol=TOLERANCE) or (math.isnan(x) and math.isnan(y))


def _numbers(values: Any) -> Iterator[float]:
    for value in values if isinstance(values, list) else [values]:
        if isinstance(value, list):
            yield from _numbers(value)
        else:
            yield value


def in_present_form(entry: dict[str, Any], module: str) -> dict[str, Any]:
    """A result in the form that results have now; what it says is as it was."""
    if entry["schema"] != 1:
        return entry
    environment = dict(entry["environment"])
    versions = {name: environment.pop(name) for name in ("python", "torch")}
    digest = environment.pop("digest")
    environment = {
        name: value
        for key, given in environment.items()
        for name, value in ({"versions": versions, key: given} if key == "date" else {key: given}).items()
    }
    return entry | {"schema": results.SCHEMA, "environment": environment, "module": module, "digest": digest}


class Record:
    """The file of a recorded experiment."""

    def __init__(self, path: Path):
        self.path = path
        self.module = "experiments." + path.stem.rpartition("-")[0].replace("-", "_")
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
            self.entries = [in_present_form(json.loads(line), self.module) for line in lines]
            for entry in self.entries:
                results.validate(entry)
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise ExperimentError(f"{path} is no record: {error!r}") from None
        if not self.entries:
            raise ExperimentError(f"{path} is empty")
        first = self.entries[0]
        self.configuration, self.environment = first["configuration"], first["environment"]
        self.made_at: str | None = self.environment["commit"]
        self.made_with: str = first.get("carried_from", first)["digest"]

    def is_current(self) -> bool:
        return self.entries[0]["digest"] == code_digest(self.module)

    def losses(self, seed: int) -> dict[str, list[float]]:
        """The recorded losses of each training with a seed."""
        trained = [one for one in self.entries if one["kind"] == "training" and one["seed"] == seed]
        return {one["training"]: one["losses"] for one in trained}

    def carry_over(self, how: str) -> None:
        """Give it the digest of the present code, and keep what it was made with."""
        carried = {
            "commit": self.made_at,
            "digest": self.made_with,
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "how": how,
        }
        new = {"digest": code_digest(self.module), "carried_from": carried}
        self.entries = [entry | new for entry in self.entries]

    def write(self) -> None:
        results.record(self.path, self.entries)


def changed(record: Record, older: OlderCode) -> tuple[list[str], int]:
    """The modules whose syntax differs from the older code's, and how many there are.

    Raises:
        ExperimentError: the commit is not the code that made the record.
    """
    if (digest := older.digest(record.module)) != record.made_with:
        raise ExperimentError(
            f"commit {older.commit[:12]} is not the code that made it: "
            f"its digest is {digest[:12]}, not {record.made_with[:12]}"
        )
    now = trees(sources().reached(record.module))
    before = trees(older.packages.reached(older.module(record.module)))
    return [name for name in now if before.get(name) != now[name]], len(now)


def carry_over(records: list[Record], older: OlderCode, folder: Path) -> Iterator[str]:
    """Carry over the records of one commit, as far as that can be established; a line for each."""
    replays: dict[tuple[str, int], tuple[dict, dict]] = {}
    for record in records:
        try:
            differing, count = changed(record, older)
            same = count - len(differing)
            how = (
                f"{same} of {count} modules have the same syntax up to names, imports, docstrings and layout"
            )
            if differing:
                preset, seed = record.configuration["preset"], record.configuration["seeds"][0]
                if (preset, seed) not in replays:
                    aside = folder / f"{preset}-{seed}"
                    replays[preset, seed] = replayed(older, record.configuration, seed, aside)
                of_preset = [one for one in records if one.configuration["preset"] == preset]
                trained = {name: losses for one in of_preset for name, losses in one.losses(seed).items()}
                how += established(replays[preset, seed], record, trained, seed, len(differing))
            record.carry_over(how)
            yield f"{record.path}: carried over; {how}"
        except ExperimentError as error:
            yield f"{record.path}: stays stale; {error}"


def of_commit(records: list[Record], folder: Path) -> Iterator[str]:
    """Carry over what can be of the records of one commit; a line for each."""
    commit = records[0].made_at
    replayable = [record for record in records if record.environment["device"] == "cpu"]
    for record in records:
        if commit is None:
            yield f"{record.path}: stays stale; the commit that made it is not known"
        elif record not in replayable:
            device = record.environment["device"]
            yield f"{record.path}: stays stale; it was made on {device}, and only what a CPU made is replayed"
    if commit is not None and replayable:
        yield from carry_over(replayable, OlderCode(commit, folder / "code"), folder)


def established(
    both: tuple[dict, dict], record: Record, trained: dict[str, list[float]], seed: int, differing: int
) -> str:
    """What the replays by the older and the present code have shown, in words.

    Raises:
        ExperimentError: the codes do not do the same, or not what was recorded.
    """
    part = "known distances" if record.module.endswith("known_distances") else "scores"
    point = min(CURVE, record.configuration["steps"])
    scores = [found[part] for found in both]
    if problem := training_differs(*both, trained, point) or score_differs(*scores):
        raise ExperimentError(problem)
    weights = [{name: one["weights"] for name, one in found["trainings"].items()} for found in both]
    reached = "the same weights bit by bit" if weights[0] == weights[1] else "weights that differ by rounding"
    begun = ", ".join(f"{len(one['losses'])} of {name}" for name, one in both[0]["trainings"].items())
    recorded = f", for {point} steps the recorded mean loss to {results.DIGITS} digits" if trained else ""
    return (
        f"; as {differing} {'differs' if differing == 1 else 'differ'}, both codes were run: "
        f"the first steps with seed {seed} ({begun}) give the same losses{recorded}, and {reached}; "
        f"one score of each of {len(scores[0])} arms is the same within {TOLERANCE:g}"
    )


def main(arguments: list[str] | None = None) -> int:
    """The command.

    Returns:
        The exit status: 0 where every record is of the present code at the end, 1 where one stays stale.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.carry_over",
        description="Carry recorded experiments over to the present code, as far as it does the same.",
    )
    parser.add_argument("--recorded", type=Path, default=ROOT / "book" / "recorded", metavar="FOLDER")
    folder = parser.parse_args(arguments).recorded
    try:
        records = [Record(path) for path in sorted(folder.glob("*.jsonl"))]
        stale = [record for record in records if not record.is_current()]
        for commit in sorted({record.made_at or "" for record in stale}):
            with tempfile.TemporaryDirectory() as aside:
                for line in of_commit([one for one in stale if (one.made_at or "") == commit], Path(aside)):
                    print(line, flush=True)
        for record in records:
            record.write()
    except (ExperimentError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    left = [record for record in records if not record.is_current()]
    print(f"{len(records) - len(left)} of {len(records)} records in {folder} are of the present code")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
