"""What the experiments' commands share: devices, the lock on a piece of work, one clear line for an error."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from attnlib.errors import InvalidArgument
from experiments.corpus import MissingPackage
from experiments.errors import ExperimentError
from proofbook.ledger.hooks import NoSuchDevice

__all__ = ["alone", "default_device", "default_folder", "exit_status", "processes"]


def default_folder(preset_name: str) -> Path:
    """Where the checkpoints and results of a preset are, unless the user says otherwise."""
    return Path("_build") / "length-extrapolation" / preset_name


def default_device(preset_name: str) -> str:
    return "cuda" if preset_name == "gpu" else "cpu"


def processes(asked: int | None, preset_name: str) -> int:
    """How many pieces of work to do at once; ``ExperimentError`` unless it is one or more."""
    if asked is None:
        return {"cpu": 2, "gpu": 3}.get(preset_name, 1)
    if asked < 1:
        raise ExperimentError(f"--jobs must be at least 1, got {asked}")
    return asked


@contextmanager
def alone(path: Path, doing: str) -> Iterator[None]:
    """Hold the lock at ``path``; ``ExperimentError`` if another process is ``doing`` it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ExperimentError(f"another process is {doing}") from None
    try:
        yield
    finally:
        lock.release()


def exit_status(body: Callable[[], None], folder: Path) -> int:
    """Run the body of a command that writes into ``folder``; what the user can mend is one line."""
    try:
        body()
    except (ExperimentError, MissingPackage, InvalidArgument, NoSuchDevice) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        what = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        print(f"error: {what} ({error.filename or folder}); what was stored before is whole", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        return 130
    return 0
