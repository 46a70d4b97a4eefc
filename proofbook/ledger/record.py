"""Run the chapters' own checks on a device, without Jupyter; record what was measured and with what."""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import linecache
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from proofbook.ledger import hooks, provenance, run, schema, sums
from proofbook.ledger.settings import BadSettings, Settings
from proofbook.ledger.sources import Packages, code_cells

__all__ = ["SCHEMA", "PresentCode", "chapter_digest", "main", "packages", "record", "validate"]

SCHEMA = 2


def packages(book: Path, settings: Settings) -> Packages:
    """The packages whose code can make a number of the book, installed or beside the book's folder."""
    return Packages.found(*settings.packages, beside=book.resolve().parent, ignore=settings.ignore)


def chapter_digest(notebook: Path, sources: Packages) -> str:
    """A digest of what makes a chapter's numbers: its own code and what it reaches of the packages.

    Text, comments, docstrings, layout and outputs leave it as it is.
    """
    return sources.digest_of(_code(notebook))


class PresentCode:
    """The code of a book as it is now: what was recorded with another digest of it is stale.

    Args:
        book: The folder of the notebooks, with its settings.
    """

    def __init__(self, book: Path):
        self._book = book
        self._packages = packages(book, Settings.read(book))

    @functools.cache
    def chapter(self, name: str) -> str | None:
        """The digest of the chapter of that name; None where the book has none."""
        notebook = self._book / f"{name}.ipynb"
        return chapter_digest(notebook, self._packages) if notebook.is_file() else None

    @functools.cache
    def module(self, name: str) -> str | None:
        """The digest of the code that a module reaches, named in full; None where some of it is gone."""
        try:
            return self._packages.digest(name)
        except ModuleNotFoundError:
            return None


def _code(notebook: Path) -> str:
    return "\n".join(code_cells(notebook))


def record(
    notebooks: list[Path],
    device: str,
    *,
    settings: Settings | None = None,
    seed: int = 0,
    progress: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Run every code cell of ``notebooks`` on ``device``.

    A chapter that needs a package this machine lacks is left out, and ``progress`` is told.

    Args:
        notebooks: The chapters, of one folder.
        device: The name of the device, as the book's hooks know it.
        settings: What counts; by default what the folder's ``proofbook.toml`` says.
        seed: Handed to the hooks before each chapter.
        progress: Told a line a chapter.

    Returns:
        The record, which ``validate`` accepts.

    Raises:
        NoSuchDevice: there is no such device.
        Exception: the first failure of a cell, as it was raised.
    """
    folder = notebooks[0].parent
    if settings is None:
        settings = Settings.read(folder)
    book_hooks, sources = hooks.load(settings.hooks), packages(folder, settings)
    # Before the run: sources edited while it lasts are not what it ran.
    reached = {path: sources.reached_from(_code(path)) for path in notebooks}
    digests = {path: chapter_digest(path, sources) for path in notebooks}
    made_with = provenance.environment(
        device,
        book_hooks,
        folder=folder,
        paths={*notebooks, *(file for files in reached.values() for file in files.values())},
    )
    chapters = []
    for path in notebooks:
        started = time.perf_counter()
        book_hooks.seed(seed)
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
            {
                "chapter": path.stem,
                "digest": digests[path],
                "seconds": round(seconds, 2),
                "claims": claims,
                "checks": notes,
            }
        )
        progress(f"{path.stem}: {len(claims)} claims, {len(notes)} checks, {seconds:.1f} s")
    return {"schema": SCHEMA, "environment": made_with, "seed": seed, "chapters": chapters}


def validate(data: object) -> None:
    """Raise ``ValueError`` if a record is not of the form that ``record`` writes, or holds a failed check."""
    schema.check(data, schema.read("record"), "record")
    assert isinstance(data, dict)
    provenance.validate_environment(data["environment"])
    for chapter in data["chapters"]:
        for check in chapter["checks"]:
            if problem := _failure(check):
                raise ValueError(f"{chapter['chapter']}: {check['check']} is {check['value']}, {problem}")


def _failure(check: dict[str, Any]) -> str | None:
    """What is wrong with a recorded number; None where it kept the bounds recorded with it."""
    value = check["value"]
    if "below" in check and not value < check["below"]:
        return f"not below {check['below']}"
    if "above" in check and not value > check["above"]:
        return f"not above {check['above']}"
    if "low" in check and not check["low"] <= value <= check["high"]:
        return f"not in [{check['low']}, {check['high']}]"
    return None


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
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
            lines = code.splitlines(keepends=True)
            linecache.cache[name] = (len(code), None, lines, name)  # for the traceback
            exec(compile(code, name, "exec"), namespace)
    finally:
        os.chdir(folder)
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close("all")


def _cannot_keep(out: Path) -> str | None:
    """Why a file cannot be written, asked before the run that it is to hold; None where nothing is known."""
    there = next(folder for folder in out.absolute().parents if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            return None
    except OSError as error:
        return f"{there}: {error.strerror}"


def main(arguments: argparse.Namespace) -> int:
    """The command ``python -m proofbook.ledger record``.

    Returns:
        The exit status: 1 for a check that failed or a record that cannot be kept, 2 for a book that cannot
        be read, 3 for a device that is not there.
    """
    book = Path(arguments.book)
    notebooks = sorted(book.glob("*.ipynb"))
    if not notebooks:
        print(f"no notebooks in {book}", file=sys.stderr)
        return 2
    out = Path(arguments.out or book / "recorded") / f"{arguments.device.split(':')[0]}.json"
    if problem := _cannot_keep(out):
        print(f"error: {problem}: nothing was recorded", file=sys.stderr)
        return 1
    try:
        data = record(notebooks, arguments.device, seed=arguments.seed)
    except (BadSettings, hooks.BadHooks) as error:
        print(f"{error}: nothing was recorded", file=sys.stderr)
        return 2
    except hooks.NoSuchDevice as error:
        print(f"{error}: nothing was recorded", file=sys.stderr)
        return 3
    except Exception:
        traceback.print_exc()
        print("a check failed: nothing was recorded", file=sys.stderr)
        return 1
    try:
        validate(data)
    except ModuleNotFoundError as error:  # of jsonschema, which a machine with a device need not have
        print(f"the form of the record was not checked here: {error}")
    try:
        sums.keep(out, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n")
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    checks = sum(len(chapter["checks"]) for chapter in data["chapters"])
    print(
        f"recorded {checks} checks of {len(data['chapters'])} chapters "
        f"on {data['environment']['device_name']} in {out}"
    )
    return 0
