"""Statistics of rows whose logits are written out: the oracle, and what no fused kernel returns."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# (alpha F(1) - F(alpha)) / (alpha - 1) loses (alpha + 1) / |alpha - 1| times the rounding of F: at most nine
# times outside this distance from 1. Nearer, the sum is taken row by row, where nothing cancels.
NEAR_ONE = 0.25


def power_excess(weight: Tensor, log_weight: Tensor, exponent: Tensor) -> Tensor:
    """weight (e^exponent - 1) without cancellation where the exponent is small, or overflow elsewhere."""
    small = exponent.abs() < 1
    return torch.where(
        small, weight * torch.expm1(exponent.masked_fill(~small, 0)), (log_weight + exponent).exp() - weight
    )


class WrittenRows:
    """Statistics of rows whose logits are written out; -inf hides a key. Differentiable by autograd."""

    def __init__(self, logits: Tensor):
        self.shown = logits > -math.inf
        self.empty = ~self.shown.any(dim=-1)
        self.top = logits.amax(dim=-1).masked_fill(self.empty, 0)
        below = logits - self.top.detach()[..., None]
        weight = below.exp()
        total = weight.sum(dim=-1).masked_fill(self.empty, 1)
        self.log_total = total.log()
        # log p where a key is visible; a hidden key has weight 0 and must not turn 0 * -inf into NaN.
        self.log_p = (below - self.log_total[..., None]).masked_fill(~self.shown, 0)
        self.p = weight / total[..., None]

    def lse(self) -> Tensor:
        return (self.top.detach() + self.log_total).masked_fill(self.empty, -math.inf)

    def entropy(self) -> Tensor:
        return -(self.p * self.log_p).sum(dim=-1)

    def varentropy(self) -> Tensor:
        deviation = self.log_p + self.entropy()[..., None]
        return (self.p * deviation.square()).sum(dim=-1)

    def renyi(self, order: float) -> Tensor:
        if order == 1:
            return self.entropy()
        if order == math.inf:
            return self.log_total - (self.top - self.top.detach())
        if abs(order - 1) < NEAR_ONE:
            excess = power_excess(self.p, self.log_p, (order - 1) * self.log_p).sum(dim=-1)
            return torch.log1p(excess) / (1 - order)
        powers = (order * self.log_p).masked_fill(~self.shown, -math.inf)
        total = powers.masked_fill(self.empty[..., None], 0).logsumexp(dim=-1)
        return (total / (1 - order)).masked_fill(self.empty, 0)
