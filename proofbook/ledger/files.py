"""Files that are whole whenever they are seen, whoever writes at once."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a kill or a full disk leaves either the old one or the new one, never a part.

    It is written aside, under a name of its own, so that two processes that write ``path`` at once do not
    write into one another: the later one to end wins, whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    except OSError as error:
        error.filename = str(path)
        raise
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(aside, _mode(path))
        os.replace(aside, path)
    except BaseException as error:
        Path(aside).unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)
        raise


def _mode(path: Path) -> int:
    """The permissions of the file that is replaced, or of any new one: ``mkstemp`` would make it private."""
    try:
        return path.stat().st_mode & 0o7777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
