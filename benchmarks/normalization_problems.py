"""Hard problems of entropy normalisation, for the benchmark and for a test; on PyTorch alone."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

SIZES = (2, 3, 5, 8, 16, 32, 64, 128, 256, 512)
KINDS = ("plain", "zeros", "tied maximum", "ties everywhere")


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
