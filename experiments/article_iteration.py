"""The iteration of article 8829, which the book judges and a benchmark competes with."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["article_iteration"]


def article_iteration(p: Tensor, target: Tensor | float, steps: int, *, on_logs: bool = True) -> Tensor:
    """Powers that the article's iteration reaches, its start at 1 included.

    Each step raises the weights to the power ``g = 1 - (target - H)/V`` and normalises them, where H is their
    entropy and V their varentropy. Nothing is guarded: the powers may turn negative, diverge or become NaN.

    Args:
        p: Distributions.
        target: The entropy wanted, in nats, one for all rows or one a row.
        steps: How many steps to take.
        on_logs: Work on log p, so that nothing underflows and only the iteration itself is judged, and leave
            entries of zero out; otherwise take powers and logarithms of the weights themselves, as the
            article's code does.

    Shapes:
        p (..., n), target broadcast to (...), result (steps + 1, ...).

    Source: Su Jianlin, https://kexue.fm/archives/8829 (2021-12-24); 8829-C8, 8829-C9, 8829-C10.

    >>> p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    >>> [round(power, 4) for power in article_iteration(p, 0.8, 4).tolist()]
    [1.0, 2.7272, 2.2533, 2.2562, 2.2562]
    """
    support, log_p = p > 0, _log_over_largest(p)
    power = torch.ones_like(p[..., 0])
    q, powers = p, [power]
    for _ in range(steps):
        if on_logs:
            scaled = torch.where(support, power.unsqueeze(-1) * log_p, -math.inf)
            log_q = torch.where(support, torch.log_softmax(scaled, -1), 0.0)
            q = torch.where(support, torch.exp(log_q), 0.0)
        else:
            log_q = torch.log(q)
        entropy = -(q * log_q).sum(-1)
        factor = 1 + (target - entropy) / (entropy**2 - (q * log_q**2).sum(-1))
        power = power * factor
        powers.append(power)
        if not on_logs:
            q = q ** factor.unsqueeze(-1)
            q = q / q.sum(-1, keepdim=True)
    return torch.stack(powers)


def _log_over_largest(p: Tensor) -> Tensor:
    """log(p / max p): next to a tie, powers of 1e8 turn the rounding of log p into an error."""
    largest = p.amax(-1, keepdim=True)
    far = torch.log(torch.where(p > 0, p / largest, 1.0))
    return torch.where(p > largest / 2, torch.log1p((p - largest) / largest), far)
