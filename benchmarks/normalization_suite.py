"""Entropy normalisation on 100,000 mixed problems: reliability, and cost at equal accuracy.

Compares attnlib's bracketed Newton with the iteration of article 8829 and with bisection in log gamma, all
three batched in torch, in float64, on the same problems and in one run.
"""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from attnlib.normalize import normalize_entropy
from benchmarks.harness import bar, show, synchronize
from benchmarks.normalization_problems import KINDS, SIZES, problems

PEER = "bisection"
ACCURACY = 1e-11
"""Relative residual of the entropy that counts as solved, for every method."""


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
