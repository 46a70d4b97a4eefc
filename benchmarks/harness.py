"""How benchmarks measure: peers in turn in one run, ratios round by round, provenance of the numbers."""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

import attnlib
from attnlib.errors import EngineNotAvailable
from experiments import hooks
from experiments.sources import sources
from proofbook.ledger.provenance import environment

Case = Callable[[], object]


def provenance(device: str, names: Iterable[str]) -> dict:
    """Where and with what the numbers of the benchmarks ``names`` are made."""
    paths = sources().reached(*(f"benchmarks.{name}" for name in names)).values()
    return environment(device, hooks, folder=Path(__file__).parent, paths=paths)


def compiled_here(device: str) -> bool:
    """Whether ``impl="compiled"`` runs here, built by then; why not is printed."""
    x = torch.zeros(1, 1, 1, device=device)
    try:
        attnlib.row_entropy(x, x, impl="compiled")
    except EngineNotAvailable as error:
        print(f"impl='compiled' is left out: {error}", flush=True)
        return False
    return True


def normal(shape: tuple[int, ...], device: str, *, requires_grad: bool = False) -> list[torch.Tensor]:
    """Queries, keys and values of this shape (batch, heads, n, d), the same on every device."""
    generator = torch.Generator().manual_seed(shape[-2])
    return [
        torch.randn(*shape, generator=generator).to(device).requires_grad_(requires_grad) for _ in range(3)
    ]


def synchronize(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def compare(cases: dict[str, Case], *, against: str, device: str = "cpu", rounds: int = 7) -> dict[str, dict]:
    """Time the cases in turn, ``rounds`` times after one warm-up; medians, of the times and of the ratios.

    A ratio is taken within a round, so that a neighbour who slows the machine for a while slows both sides.
    """
    times: dict[str, list[float]] = {name: [] for name in cases}
    for round_ in range(rounds + 1):
        for name, case in cases.items():
            synchronize(device)
            start = time.perf_counter()
            case()
            synchronize(device)
            if round_:
                times[name].append(time.perf_counter() - start)
    return {
        name: {
            "ms": 1e3 * statistics.median(own),
            f"ratio to {against}": statistics.median(a / b for a, b in zip(own, times[against], strict=True)),
        }
        for name, own in times.items()
    }


def _resident(field: str) -> int:
    """A memory field of this process in bytes, from /proc."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return 1024 * int(line.split()[1])
    raise LookupError(field)


def _grow(pipe, prepare: Callable[..., Case], arguments: dict) -> None:
    """In a process of its own: how far the resident set grows beyond its inputs while the case runs."""
    torch.set_num_threads(1)
    prepare(**arguments | {"n": 64})()
    case = prepare(**arguments)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts again from here
    before = _resident("VmRSS")
    case()
    pipe.send(_resident("VmHWM") - before)


def peak_bytes(prepare: Callable[..., Case], arguments: dict, device: str = "cpu") -> int | None:
    """Memory that ``prepare(**arguments)()`` needs beyond its inputs, at the peak; None where not known.

    On a CPU it is the peak of the resident set of a fresh process, which Linux alone can reset.
    """
    if torch.device(device).type == "cuda":
        case = prepare(**arguments)
        synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        case()
        return torch.cuda.max_memory_allocated(device) - before
    if sys.platform != "linux":
        return None
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_grow, args=(theirs, prepare, arguments))
    process.start()
    theirs.close()
    try:
        return mine.recv()
    finally:
        process.join()


def bar(name: str, value: float, *, at_most: float | None = None, at_least: float | None = None) -> dict:
    """A bar of the project and whether this run met it."""
    limit = {"at_most": at_most} if at_most is not None else {"at_least": at_least}
    met = value <= at_most if at_most is not None else value >= at_least
    print(
        f"  bar: {name}: {value:.3g}, {'at most' if at_most is not None else 'at least'} "
        f"{next(iter(limit.values())):g}: {'met' if met else 'MISSED'}",
        flush=True,
    )
    return {"name": name, "value": value, **limit, "met": met}


def show(title: str, results: dict[str, dict]) -> None:
    """Print one comparison."""
    print(title, flush=True)
    for name, numbers in results.items():
        print(f"  {name:34}" + "   ".join(f"{key} {value:.3g}" for key, value in numbers.items()), flush=True)
