"""The whole book checked again from what its outputs store: statements, what is shown of them, and proofs."""

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from proofbook.names import EQUATION_MIME
from proofbook.publish.book import Book

Shown = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """How many steps were proved again, how many are evidence, and what does not stand, one line each."""

    proved: int = 0
    evidence: int = 0
    definitions: int = 0
    assumptions: int = 0
    failures: list[str] = field(default_factory=list)


def outputs(book: Book) -> Iterator[tuple[str, Shown]]:
    """Every output that shows an equation, with the name of its page: representations by MIME type."""
    for path, _, cell in book.code_cells():
        for output in cell.get("outputs", []):
            if EQUATION_MIME in output.get("data", {}):
                yield path.stem, output["data"]


def shown_otherwise(book: Book) -> Iterator[str]:
    """What pages show of equations that does not belong to the statements behind them; nothing is proved."""
    found = list(outputs(book))
    if not found:
        return
    # SymPy is needed here alone, and takes its time to load
    from proofbook.derive.recheck import read_again

    for page, data in found:
        for problem in read_again(data):
            yield f"{page}, {data[EQUATION_MIME].get('label')}: {problem}"


def check(book: Book, jobs: int | None = None) -> Report:
    """Read every statement of the book again, compare it with what is shown, and prove it again.

    Args:
        book: with its stored or its executed outputs.
        jobs: how many processes work at a time (default: one a core).
    """
    by_label: dict[str, Shown] = {}
    failures = []
    for page, data in outputs(book):
        label = str(data[EQUATION_MIME].get("label"))
        if label in by_label:
            failures.append(f"{label}: shown twice, the second time in {page}")
        by_label[label] = data
    if circle := _circle(by_label):
        failures.append(f"{circle[0]}: cited in a circle, {' from '.join(circle)}")
        return Report(failures=failures)
    counts: Counter[str] = Counter()
    for label, lines in _settled(by_label, jobs):
        for number, said, problem in lines:
            if problem is not None:
                failures.append(f"{label}, step {number}: {problem}" if number else f"{label}: {problem}")
            else:
                counts[said if said in ("proved", "definition", "assumption") else "evidence"] += 1
    return Report(
        proved=counts["proved"],
        evidence=counts["evidence"],
        definitions=counts["definition"],
        assumptions=counts["assumption"],
        failures=failures,
    )


def _circle(book: Mapping[str, Shown]) -> list[str] | None:
    """Equations each of which cites the next one, the last of them the first."""
    graph = {
        label: {cited for step in data[EQUATION_MIME].get("steps", []) for cited in step.get("cites", [])}
        for label, data in book.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return None


Line = tuple[int, str, str | None]
_book: Mapping[str, Shown] = {}


def _begin(book: Mapping[str, Shown]) -> None:
    """Give a process the whole book once, for what its equations cite."""
    global _book
    _book = book


def _begin_beside(book: Mapping[str, Shown]) -> None:
    """Begin in a process of its own, which Ctrl-C reaches too: it ends when who started it says so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _begin(book)


def _one(label: str) -> tuple[str, list[Line]]:
    from proofbook.derive.recheck import recheck

    return label, [(line.number, line.said, line.problem) for line in recheck(label, _book)]


def _settled(book: Mapping[str, Shown], jobs: int | None) -> Iterator[tuple[str, list[Line]]]:
    jobs = min(jobs or os.cpu_count() or 1, len(book))
    if jobs <= 1:
        _begin(book)
        yield from map(_one, book)
        return
    pool = ProcessPoolExecutor(jobs, initializer=_begin_beside, initargs=(book,))
    try:
        yield from pool.map(_one, book, chunksize=4)
    except BaseException:
        # a proof takes its time, and whoever interrupts does not wait for it
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.kill()
        raise
    pool.shutdown()
