"""What records hold, as it was when they were made: a digest of every file of a folder, in ``SHA256SUMS``.

A number that is changed by hand in a record afterwards no longer has the digest that was written with it. The
file has the form that ``sha256sum`` writes and ``sha256sum -c`` reads; for data typed from a source, which no
command records, that is how to make it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from proofbook.files import write_whole

__all__ = ["NAME", "keep", "problem_of", "problems"]

NAME = "SHA256SUMS"


def keep(record: Path, content: bytes) -> None:
    """Write a record and its digest.

    Args:
        record: The file.
        content: All that it is to hold.

    Raises:
        OSError: one of the two cannot be written.
    """
    sums = _read(record.parent)
    sums[record.name] = _digest(content)
    write_whole(record, content)
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    write_whole(record.with_name(NAME), lines.encode())


def problems(folder: Path) -> list[str]:
    """What is wrong with the records in a folder, a line each: changed, without a digest, or gone."""
    if not folder.is_dir():
        return []
    sums = _read(folder)
    records = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name != NAME]
    found = [problem for problem in map(problem_of, records) if problem]
    present = {path.name for path in records}
    return found + [
        f"{folder / name} has a digest in {NAME}, and is gone" for name in sorted(set(sums) - present)
    ]


def problem_of(record: Path) -> str | None:
    """What is wrong with one record: changed or without a digest; None where nothing is."""
    sums = _read(record.parent)
    if record.name not in sums:
        return (
            f"{record} has no digest in {NAME}: no command that records wrote it, and nobody vouched for it"
        )
    if _digest(record.read_bytes()) != sums[record.name]:
        return f"{record} is not what was recorded: its digest in {NAME} is another"
    return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read(folder: Path) -> dict[str, str]:
    """The digests by file; a line that is none counts as not there, and so makes its record one without."""
    try:
        lines = (folder / NAME).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    parts = [line.split("  ", 1) for line in lines]
    return {part[1]: part[0] for part in parts if len(part) == 2}
