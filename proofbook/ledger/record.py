"""Run the chapters' own checks on a device, without Jupyter, and record what was measured with its provenance."""

from __future__ import annotations

import contextlib
import json
import linecache
import math
import os
import sys
import time
import traceback
from pathlib import Path

import torch

from proofbook.ledger import provenance, run

SCHEMA = 1
KEYS = provenance.KEYS | {"schema", "dtype", "seed", "chapters"}
PATHSPECS = (":(top)attnlib", ":(top)book", ":(top,exclude)book/recorded")


def code_cells(notebook: Path) -> list[str]:
    """The code of a notebook, cell by cell."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]


def record(notebooks: list[Path], device: str, *, seed: int = 0, progress=print) -> dict:
    """Run every code cell of ``notebooks`` on ``device``; the record, or the first failure as it was raised.

    A chapter that needs a package this machine lacks is left out, and ``progress`` is told.
    """
    # Before the run: sources edited while it lasts are not what it ran.
    made_with = provenance.environment(
        device, provenance.package_sources(), folder=notebooks[0].parent, pathspecs=PATHSPECS
    )
    chapters = []
    for path in notebooks:
        started = time.perf_counter()
        torch.manual_seed(seed)
        run.collect()
        try:
            with _environment(PROOFBOOK_DEVICE=device, MPLBACKEND="agg"):
                _execute(path)
        except ModuleNotFoundError as error:
            run.collect()
            progress(f"{path.stem}: left out, {error}")
            continue
        notes, claims = run.collect()
        seconds = time.perf_counter() - started
        chapters.append(
            {"chapter": path.stem, "seconds": round(seconds, 2), "claims": claims, "checks": notes}
        )
        progress(f"{path.stem}: {len(claims)} claims, {len(notes)} checks, {seconds:.1f} s")
    return {"schema": SCHEMA, **made_with, "dtype": "float64", "seed": seed, "chapters": chapters}


def validate(data: dict) -> None:
    """Raise ``ValueError`` if a record does not have the form that ``record`` writes, or holds a failed check."""
    _keys("the record", data, KEYS)
    if data["schema"] != SCHEMA:
        raise ValueError(f"schema must be {SCHEMA}, got {data['schema']}")
    provenance.validate_environment(data)
    for chapter in data["chapters"]:
        _keys("a chapter", chapter, {"chapter", "seconds", "claims", "checks"})
        for check in chapter["checks"]:
            _keys(
                f"a check of {chapter['chapter']}",
                check,
                {"check", "value"},
                {"below", "above", "low", "high", "trials", "claim"},
            )
            if problem := _failure(check):
                raise ValueError(f"{chapter['chapter']}: {check['check']} is {check['value']}, {problem}")


def _keys(what: str, entry: dict, required: set[str], allowed: set[str] = frozenset()) -> None:
    if missing := required - set(entry):
        raise ValueError(f"{what} lacks {sorted(missing)}")
    if unknown := set(entry) - required - allowed:
        raise ValueError(f"{what} has unknown keys {sorted(unknown)}")


def _failure(check: dict) -> str | None:
    """What is wrong with a recorded number; None where it kept the bounds recorded with it."""
    value = check["value"]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return "not a finite number"
    if "below" in check and not value < check["below"]:
        return f"not below {check['below']}"
    if "above" in check and not value > check["above"]:
        return f"not above {check['above']}"
    if "low" in check and not check["low"] <= value <= check["high"]:
        return f"not in [{check['low']}, {check['high']}]"
    return None


@contextlib.contextmanager
def _environment(**variables: str):
    """Set environment variables for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _execute(path: Path) -> None:
    namespace = {"__name__": "__main__"}
    cells = code_cells(path)  # before leaving the folder that a relative path is relative to
    folder = Path.cwd()
    os.chdir(path.parent)
    try:
        for number, code in enumerate(cells, start=1):
            name = f"{path.name}, code cell {number}"
            linecache.cache[name] = (
                len(code),
                None,
                code.splitlines(keepends=True),
                name,
            )  # for the traceback
            exec(compile(code, name, "exec"), namespace)
    finally:
        os.chdir(folder)
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close("all")


def main(arguments) -> int:
    """The command ``python -m proofbook.ledger record``; the exit status."""
    book = Path(arguments.book)
    notebooks = sorted(book.glob("*.ipynb"))
    if not notebooks:
        print(f"no notebooks in {book}", file=sys.stderr)
        return 2
    try:
        data = record(notebooks, arguments.device, seed=arguments.seed)
    except provenance.NoSuchDevice as error:
        print(error, file=sys.stderr)
        return 3
    except Exception:
        traceback.print_exc()
        print("a check failed: nothing was recorded", file=sys.stderr)
        return 1
    validate(data)
    out = Path(arguments.out or book / "recorded") / f"{torch.device(arguments.device).type}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_suffix(".tmp")
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(out)
    print(
        f"recorded {sum(len(c['checks']) for c in data['chapters'])} checks of {len(data['chapters'])} chapters on {data['device_name']} in {out}"
    )
    return 0
