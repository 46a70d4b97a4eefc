"""Several pieces of work at once, each in a process that shows its progress and ends with the command."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any

from experiments.corpus import need
from experiments.errors import ExperimentError

__all__ = ["run_at_once"]


def run_at_once(work: Callable[[Any, int], Any], pieces: Iterable, processes: int) -> None:
    """Call ``work(piece, position)`` for every piece, at most ``processes`` at a time.

    ``position`` is the line of the terminal that is the process's own. One process is this one. The first
    error ends all at once, in the middle of their work; ``ExperimentError`` if a process was killed.
    """
    need("tqdm")  # said here if it is missing: a worker that cannot start is only found dead
    if processes == 1:
        for piece in pieces:
            work(piece, 0)
        return
    context = multiprocessing.get_context("spawn")
    positions = context.Queue()
    for position in range(processes):
        positions.put(position)
    ended, alive = context.Pipe(duplex=False)
    with ProcessPoolExecutor(processes, context, _start, (context.RLock(), positions, ended)) as pool:
        waiting = [pool.submit(_in_place, work, piece) for piece in pieces]
        try:
            for done in as_completed(waiting):
                done.result()
        except BrokenProcessPool:
            raise ExperimentError("a process was killed; run the same command again to go on") from None
        finally:
            alive.close()


def _start(lock, positions, ended: Connection) -> None:
    """In a fresh process: share the terminal with the others, take a line of it, end with the command."""
    global _position
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # Ctrl-C reaches every process; one traceback would be too many
    threading.Thread(target=_end_with_command, args=(ended,), daemon=True).start()
    need("tqdm").tqdm.set_lock(lock)
    _position = positions.get()


def _end_with_command(ended: Connection) -> None:
    """End when the other end of the pipe is closed, by the command or by its death.

    Left alone, a pool waits for work for ever if the command that owns it is killed, and does all that is
    waiting after an error. What is stored is whole at any moment.
    """
    ended.poll(None)
    os._exit(1)


def _in_place(work: Callable, piece):
    try:
        return work(piece, _position)
    except Exception as error:
        try:
            pickle.dumps(error)
        except Exception:  # a compiler's errors hold what cannot travel: then what they say does
            raise ExperimentError(f"{type(error).__name__}: {error}") from None
        raise
