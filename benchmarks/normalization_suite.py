"""Entropy normalisation on 100,000 mixed problems: reliability, and cost at equal accuracy.

Compares attnlib's bracketed Newton with the iteration of article 8829 and with bisection in log gamma, all
three batched in torch, in float64, on the same problems and in one run. Run it from the repository's root:

    python -m benchmarks.normalization_suite [--problems 100000] [--seed 0]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from attnlib.normalize import normalize_entropy
from attnlib.partition import shannon_entropy

SIZES = (2, 3, 5, 8, 16, 32, 64, 128, 256, 512)
KINDS = ("plain", "zeros", "tied maximum", "ties everywhere")
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


def article(p: Tensor, target: Tensor, iterations: int) -> Tensor:
    """The iteration of 8829, gamma *= 1 - (H* - H)/V, for a fixed number of rounds."""
    log_p, support, gamma = _log_p(p), p > 0, torch.ones_like(target)
    for _ in range(iterations):
        q, h = _power(log_p, support, gamma)
        log_q = torch.where(q > 0, torch.log(torch.where(q > 0, q, 1.0)), 0.0)
        varentropy = (q * log_q.square()).sum(-1) - h.square()
        gamma = gamma * (1 - (target - h) / varentropy)
    return gamma


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    batches = list(problems(arguments.problems, seed=arguments.seed))
    count = sum(len(p) for p, _ in batches)
    # CPU time of the one thread: a busy neighbour does not count.
    seconds = {"attnlib": 0.0, "bisection": 0.0, "article, 20 rounds": 0.0}
    iterations, halvings, residual = [], [], 0.0
    failed = dict.fromkeys(seconds, 0)
    wrong_sign = 0
    for p, target in batches:
        start = time.process_time()
        result = normalize_entropy(p, target)
        seconds["attnlib"] += time.process_time() - start
        start = time.process_time()
        bisected, rounds = bisection(p, target)
        seconds["bisection"] += time.process_time() - start
        start = time.process_time()
        from_article = article(p, target, 20)
        seconds["article, 20 rounds"] += time.process_time() - start

        iterations.append(result.iterations)
        halvings.append(rounds)
        for name, gamma in zip(seconds, (result.gamma, bisected, from_article), strict=True):
            failed[name] += int((~_solved(p, target, gamma)).sum())
        wrong_sign += int((from_article < 0).sum())
        residual = max(residual, ((shannon_entropy(result.p) - target) / target).abs().max().item())

    iterations = torch.cat(iterations)
    print(f"{count} problems, n in {SIZES}, {', '.join(KINDS)}; float64, 1 thread, torch {torch.__version__}")
    print(f"solved means gamma > 0 and a relative residual of at most {ACCURACY:g}")
    print(
        f"attnlib: iterations mean {iterations.double().mean():.2f}, max {iterations.max()}; "
        f"worst relative residual of the result {residual:.1e}"
    )
    print(f"bisection: {min(halvings)} to {max(halvings)} halvings a batch")
    for name, value in seconds.items():
        print(
            f"{name:20} failed {failed[name]:6d} ({failed[name] / count:6.2%})   time / attnlib "
            f"{value / seconds['attnlib']:.2f}"
        )
    print(f"article: {wrong_sign} of its failures ended at a negative power, which reverses the order")


if __name__ == "__main__":
    main()
