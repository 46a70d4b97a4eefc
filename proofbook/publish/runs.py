"""What the last run of each notebook left under ``_build/executed``: its outputs, and what they belong to."""

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proofbook.files import read_json, write_whole
from proofbook.publish.notebooks import BookError, Notebook, code_of, load, parse

__all__ = ["SourceChanged", "executed_path", "forget", "keep", "merged", "run_record", "with_outputs"]


class SourceChanged(BookError):
    """The notebook is not the one that was run: what the run left belongs to another source."""


def executed_path(root: Path, path: Path) -> Path:
    """Where the executed copy of a notebook is kept."""
    return root / "_build" / "executed" / path


def _record_path(root: Path, path: Path) -> Path:
    return executed_path(root, path).with_suffix(".run.json")


def run_record(root: Path, path: Path) -> dict[str, Any] | None:
    """Key, versions and duration of the last successful run of a notebook.

    Returns:
        The record; None where there is none, where it cannot be read, or where the executed copy is not the
        one it was written for, as after a full disk.
    """
    record = read_json(_record_path(root, path))
    if not isinstance(record, dict) or not {"key", "outputs", "seconds", "date", "versions"} <= set(record):
        return None
    try:
        content = executed_path(root, path).read_bytes()
    except OSError:
        return None
    return record if hashlib.sha256(content).hexdigest() == record["outputs"] else None


def forget(root: Path, path: Path) -> None:
    """Let nothing be taken for the result of a run that is about to start."""
    _record_path(root, path).unlink(missing_ok=True)


def keep(
    root: Path, path: Path, content: bytes, *, key: str, seconds: float, versions: Mapping[str, str]
) -> None:
    """Keep the executed copy of a notebook, and then the record that vouches for it.

    Args:
        root: The top of the book's repository.
        path: The notebook, relative to it.
        content: The executed copy.
        key: What the outputs depend on, as it was when the run began.
        seconds: How long it ran.
        versions: What it ran with.
    """
    write_whole(executed_path(root, path), content)
    record = {
        "key": key,
        "outputs": hashlib.sha256(content).hexdigest(),
        "seconds": round(seconds, 2),
        "versions": dict(versions),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    write_whole(_record_path(root, path), json.dumps(record, indent=1).encode())


def merged(source: Notebook, executed: Notebook, path: Path) -> Notebook:
    """`source`, with its present prose and metadata, and the outputs of `executed`.

    Raises:
        SourceChanged: their code is not the same, cell by cell, so that the outputs belong to another source.
    """
    cells, ran = code_of(source), code_of(executed)
    if [cell["source"] for cell in cells] != [cell["source"] for cell in ran]:
        raise SourceChanged(f"{path} has changed since it was executed; execute it again")
    for cell, twin in zip(cells, ran, strict=True):
        cell["outputs"], cell["execution_count"] = twin["outputs"], twin["execution_count"]
    return source


def with_outputs(root: Path, path: Path) -> Notebook:
    """The notebook as it stands now, with the outputs of its last run.

    Raises:
        BookError: it was never executed.
        SourceChanged: it has changed since.
    """
    if run_record(root, path) is None:
        raise BookError(f"{path} has not been executed; run `python -m proofbook execute` first")
    executed = executed_path(root, path)
    return merged(load(root / path), parse(executed.read_bytes(), executed), path)
