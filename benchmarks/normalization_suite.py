"""Entropy normalisation on 100,000 mixed problems: reliability, and cost at equal accuracy.

Compares attnlib's bracketed Newton with the iteration of article 8829 and with bisection in log gamma, all
three batched in torch, in float64, on the same problems and in one run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from attnlib.normalize import normalize_entropy
from benchmarks.harness import bar, show, synchronize

SIZES = (2, 3, 5, 8, 16, 32, 64, 128, 256, 512)
KINDS = ("plain", "zeros", "tied maximum", "ties everywhere")
PEER = "bisection"
ACCURACY = 1e-11
"""Relative residual of the entropy that counts as solved, for every method."""


def problems(count: int, *, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches ``(p, target)`` that hold ``count`` problems in all, of every size and kind.

    p is Dirichlet with concentration 10^U(-2, 2), the target log m + U(.01, .99) (log k - log m).
    """
    generator = torch.Generator().manual_seed(seed)
    cells = [(n, kind) for n in SIZES for kind in KINDS if n > 3 or kind in KINDS[:2]]
    for i, (n, kind) in enumerate(cells):
        size = count // len(cells) + (i < count % len(cells))
        p = torch.cat([_draw(n, kind, generator) for _ in range(size)])
        low = (p == p.amax(-1, keepdim=True)).sum(-1).double().log()
        high = (p > 0).sum(-1).double().log()
        share = 0.01 + 0.98 * torch.rand(size, generator=generator, dtype=torch.float64)
        yield p, low + share * (high - low)


def _draw(n: int, kind: str, generator: torch.Generator) -> Tensor:
    """One vector (1, n); drawn again while it is uniform on its support and so leaves nothing to solve."""
    while True:
        concentration = 10 ** (4 * torch.rand(1, 1, generator=generator, dtype=torch.float64) - 2)
        p = torch._standard_gamma(concentration.expand(1, n), generator=generator)
        if kind == "zeros":
            p = torch.where(torch.rand(1, n, generator=generator) < 0.3, 0.0, p)
        elif kind == "tied maximum":
            p[:, :2] = p.amax()
        elif kind == "ties everywhere":
            p = torch.round(p * (2 * n / p.sum()))
        total = p.sum()
        if total > 0:
            p = p / total
            if (p == p.max()).sum() < (p > 0).sum():
                return p


def _log_p(p: Tensor) -> Tensor:
    """log(p / max p), 0 where p is: next to a tie, powers of 1e8 turn the rounding of log p into an error."""
    peak = p.amax(-1, keepdim=True)
    far = torch.log(torch.where(p > 0, p / peak, 1.0))
    return torch.where(p > peak / 2, torch.log1p((p - peak) / peak), far)


def _power(log_p: Tensor, support: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor]:
    """Powers of the rows and their entropies; on logs, so that no method loses by overflow."""
    scaled = torch.where(support, gamma.unsqueeze(-1) * log_p, -math.inf)
    q = torch.softmax(scaled, -1)
    return q, -torch.special.xlogy(q, q).sum(-1)


def bisection(p: Tensor, target: Tensor) -> tuple[Tensor, int]:
    """Bisection in log gamma from a bracket that holds every root here, until all rows are accurate."""
    log_p, support = _log_p(p), p > 0
    low, high = torch.full_like(target, -40.0), torch.full_like(target, 45.0)
    rounds = 0
    while True:
        rounds += 1
        x = 0.5 * (low + high)
        _, h = _power(log_p, support, x.exp())
        if ((h - target).abs() <= ACCURACY * target).all() or rounds == 80:
            return x.exp(), rounds
        low, high = torch.where(h > target, x, low), torch.where(h > target, high, x)


def _solved(p: Tensor, target: Tensor, gamma: Tensor) -> Tensor:
    _, h = _power(_log_p(p), p > 0, gamma)
    return (gamma > 0) & ((h - target).abs() <= ACCURACY * target)


def run(device: str, quick: bool) -> dict:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        results = measure(5_000 if quick else 100_000, device=device)
    finally:
        torch.set_num_threads(threads)
    count = int(results["attnlib"]["problems"])
    show(
        f"{count} problems, n in {SIZES}, {', '.join(KINDS)}; float64, 1 thread; solved means gamma > 0 and "
        f"a relative residual of at most {ACCURACY:g}",
        results,
    )
    return {
        "results": results,
        "bars": [
            bar("problems that attnlib fails", results["attnlib"]["failed"], at_most=0),
            bar("iterations attnlib takes at most", results["attnlib"]["iterations, most"], at_most=20),
        ],
    }


def measure(count: int, *, device: str = "cpu", seed: int = 0) -> dict[str, dict]:
    """Failures, rounds and time of every method on the same problems."""
    # here, since attnlib's tests draw these problems and do without the experiments
    from experiments.article_iteration import article_iteration

    solvers = {
        "attnlib": _attnlib,
        PEER: bisection,
        "article, 20 rounds": lambda p, target: (article_iteration(p, target, 20)[-1], 20),
    }
    seconds, failed, wrong_sign = (dict.fromkeys(solvers, 0) for _ in range(3))
    rounds: dict[str, list[float]] = {name: [] for name in solvers}
    for p, target in problems(count, seed=seed):
        p, target = p.to(device), target.to(device)
        for name, solve in solvers.items():
            start = _clock(device)
            gamma, taken = solve(p, target)
            seconds[name] += _clock(device) - start
            failed[name] += int((~_solved(p, target, gamma)).sum())
            wrong_sign[name] += int((gamma < 0).sum())
            rounds[name] += torch.as_tensor(taken).expand(len(p)).tolist()
    return {
        name: {
            "problems": count,
            "failed": failed[name],
            "power below 0": wrong_sign[name],
            "iterations, mean": sum(rounds[name]) / count,
            "iterations, most": max(rounds[name]),
            "ms": 1e3 * seconds[name],
            f"ratio to {PEER}": seconds[name] / seconds[PEER],
        }
        for name in solvers
    }


def _attnlib(p: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    result = normalize_entropy(p, target)
    return result.gamma, result.iterations


def _clock(device: str) -> float:
    """Seconds: of CPU time on a CPU, where a busy neighbour should not count."""
    synchronize(device)
    return time.process_time() if torch.device(device).type == "cpu" else time.perf_counter()
