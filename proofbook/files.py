"""Files that are whole whenever they are seen, and runs that do not meet in one folder."""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

__all__ = ["alone", "read_json", "write_whole"]


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a kill or a full disk leaves either the old one or the new one, never a part.

    It is written aside, under a name of its own, so that two processes that write `path` at once do not write
    into one another: the later one to end wins, whole.

    Args:
        path: The file; its folder is made if need be.
        content: All that it is to hold.

    Raises:
        OSError: it cannot be written; the error names `path`, not the file aside.
    """
    aside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(aside, _mode(path))
        os.replace(aside, path)
    except BaseException as error:
        if aside is not None:
            Path(aside).unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None
        raise


def _mode(path: Path) -> int:
    """The permissions of the file that is replaced, or those of any new one: `mkstemp` makes it private."""
    try:
        return path.stat().st_mode & 0o7777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def read_json(path: Path) -> Any:
    """What a JSON file that a program left holds; None where it is not there or cannot be read.

    A file that was torn by a full disk or a kill counts as not there: what it held is made again.
    """
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


@contextlib.contextmanager
def alone(lock: Path, *, out: TextIO = sys.stderr) -> Iterator[None]:
    """Let one process at a time do what follows; another one says so on `out` and waits for its turn.

    The lock goes with its process, however that ends.

    Args:
        lock: The file to lock, which stays.
        out: Where to say that another process is at work.

    Raises:
        OSError: the file cannot be made.
    """
    from filelock import FileLock, Timeout

    lock.parent.mkdir(parents=True, exist_ok=True)
    guard = FileLock(lock)
    try:
        guard.acquire(timeout=0)
    except Timeout:
        print(f"another run is at work in {lock.parent}; waiting until it is done", file=out, flush=True)
        guard.acquire()
    try:
        yield
    finally:
        guard.release()
