"""Statistics of rows whose logits are written out: the oracle, and what no fused kernel returns."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from attnlib._rows.blockwise import row_function
from attnlib._rows.layout import present

# (alpha F(1) - F(alpha)) / (alpha - 1) loses (alpha + 1) / |alpha - 1| times the rounding of F: at most nine
# times outside this distance from 1. Nearer, the sum is taken row by row, where nothing cancels.
NEAR_ONE = 0.25


def as_limit(order: float, dtype: torch.dtype) -> float:
    """Infinity for an order so high that its entropy has the same digits."""
    return math.inf if order > 2 / torch.finfo(dtype).eps ** 2 else order


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

    def max_logit(self) -> Tensor:
        return self.top.masked_fill(self.empty, -math.inf)

    def entropy(self) -> Tensor:
        return -(self.p * self.log_p).sum(dim=-1)

    def varentropy(self) -> Tensor:
        deviation = self.log_p + self.entropy()[..., None]
        return (self.p * deviation.square()).sum(dim=-1)

    def renyi(self, order: float) -> Tensor:
        order = as_limit(order, self.p.dtype)
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


@row_function("statistics")
def statistics(
    s: Tensor, v: Tensor | None, weight: Tensor | None, numbers: Sequence[float]
) -> tuple[Tensor, ...]:
    """lse, entropy, largest logit, Renyi entropies, [varentropy], [output].

    ``numbers`` are 1 or 0, with the varentropy or without, and the orders; ``weight`` multiplies the logits
    of a row.
    """
    rows = WrittenRows(s if weight is None else _times(s, weight))
    output = () if v is None else (rows.p @ v,)
    variance = (rows.varentropy(),) if numbers[0] == 1 else ()
    return (rows.lse(), rows.entropy(), rows.max_logit(), *map(rows.renyi, numbers[1:]), *variance, *output)


def _times(s: Tensor, factor: Tensor) -> Tensor:
    """Logits times a factor a row, which leaves hidden keys hidden."""
    hidden = s == -math.inf
    return (s.masked_fill(hidden, 0) * factor[..., None]).masked_fill(hidden, -math.inf)


@row_function("renyi")
def renyi(s: Tensor, v: Tensor | None, weight: Tensor | None, numbers: Sequence[float]) -> tuple[Tensor, ...]:
    """Renyi entropies of the orders in ``numbers``."""
    return tuple(map(WrittenRows(s).renyi, numbers))


@row_function("largest")
def largest(
    s: Tensor, v: Tensor | None, weight: Tensor | None, numbers: Sequence[float]
) -> tuple[Tensor, ...]:
    """The largest logit, and the entropy of infinite order, without gradient; 0 and 0 without keys."""
    top = s.amax(dim=-1)
    top = top.masked_fill(top == -math.inf, 0)
    total = (s.detach() - top.detach()[..., None]).exp_().sum(dim=-1)
    return top, total.clamp(min=1).log()


@row_function("output")
def output(
    s: Tensor, v: Tensor | None, weight: Tensor | None, numbers: Sequence[float]
) -> tuple[Tensor, ...]:
    """Output and lse; ``weight`` multiplies the logits of a row."""
    rows = WrittenRows(s if weight is None else _times(s, weight))
    return rows.p @ present(v), rows.lse()


@row_function("extremes", with_gradient=False)
def extremes(
    s: Tensor, v: Tensor | None, weight: Tensor | None, numbers: Sequence[float]
) -> tuple[Tensor, ...]:
    """How many keys tie for the largest logit, how far below it the smallest lies, and how many there are."""
    hidden = s == -math.inf
    top = s.amax(dim=-1)
    ties = ((s == top[..., None]) & ~hidden).sum(dim=-1).clamp(min=1).to(s.dtype)
    spread = top - s.masked_fill(hidden, math.inf).amin(dim=-1)
    return ties, spread.masked_fill(hidden.all(dim=-1), 0), (~hidden).sum(dim=-1)


@row_function("top_mass")
def top_mass(
    s: Tensor, v: Tensor | None, weight: Tensor | None, numbers: Sequence[float]
) -> tuple[Tensor, ...]:
    """Weight of the keys that weigh most, so many as the first of ``numbers`` says."""
    return (WrittenRows(s).p.topk(min(int(numbers[0]), s.shape[-1]), dim=-1).values.sum(dim=-1),)


@row_function("keys_for_mass", with_gradient=False)
def keys_for_mass(
    s: Tensor, v: Tensor | None, weight: Tensor | None, numbers: Sequence[float]
) -> tuple[Tensor, ...]:
    """How many keys hold the mass ``numbers[0]``, of rows whose keys hold ``weight`` together."""
    rows = WrittenRows(s)
    held = rows.p.sort(dim=-1, descending=True).values.cumsum(dim=-1)
    if weight is not None:
        held = held * weight[..., None]
    short = (held < numbers[0]).sum(dim=-1)
    # Rounding, and what a sink takes, may leave a row short of the mass for good: then it takes all its keys.
    return (torch.minimum(short + 1, rows.shown.sum(dim=-1)),)


@row_function("relu2")
def relu2(s: Tensor, v: Tensor | None, weight: Tensor | None, numbers: Sequence[float]) -> tuple[Tensor, ...]:
    """sum relu(s)^2 v, divided by sum relu(s)^2 if ``numbers[0]`` is 1."""
    positive = s.clamp(min=0)
    if numbers[0] != 1:
        return (positive.square() @ present(v),)
    # Only ratios matter, so the largest score may be 1: squares neither overflow nor vanish together.
    largest = positive.detach().amax(dim=-1, keepdim=True)
    weights = (positive / largest.masked_fill(largest == 0, 1)).square()
    total = weights.sum(dim=-1, keepdim=True)
    return ((weights @ present(v)) / total.masked_fill(total == 0, 1),)
