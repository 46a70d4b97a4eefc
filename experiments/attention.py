"""The kinds of attention that the experiment puts into a model, and what is measured inside each of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from attnlib.attention import relu2_attention, softmax_attention
from attnlib.partition import shannon_entropy
from attnlib.rows import row_statistics
from attnlib.temperature import entropy_targeted_attention, entropy_temperature

__all__ = ["HeldEntropy", "Inside", "Measured", "Relu2", "Softmax", "in_full"]

NEIGHBOURS = 32  # a key is near a query if it is less than this many places away

QUANTITIES = ("entropy", "effective_tokens", "std", "near", "needle", "total")


@dataclass(frozen=True)
class Inside:
    """What the rows of one layer look like; each field is (heads,), the mean over rows.

    ``entropy`` in nats and ``effective_tokens`` = 1 / sum p^2, of the weights as shares of their sum;
    ``std``, over the keys that a row sees, of the scores times their scale; ``near``, the share of the keys
    less than 32 places away; ``needle``, the share of the strongest of those; ``total``, the sum of the
    weights as they are used. Rows whose weights are all 0 count for ``std`` and ``total`` alone; NaN where a
    head has no others.
    """

    entropy: Tensor
    effective_tokens: Tensor
    std: Tensor
    near: Tensor
    needle: Tensor
    total: Tensor


def in_full(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """``function`` of the tensors in float32 at least, whatever ``torch.autocast`` is around it.

    The result has the dtype of the last of them.

    An entropy held to 1e-4 nats cannot be told in bfloat16, whose steps at 3 nats are 0.016.
    """
    wide = torch.promote_types(tensors[-1].dtype, torch.float32)
    with torch.autocast(tensors[-1].device.type, enabled=False):
        return function(*(x.to(wide) for x in tensors)).to(tensors[-1].dtype)


def _band(n: int, reach: int, device) -> Tensor:
    """True where query and key are less than ``reach`` places apart, (n, n)."""
    place = torch.arange(n, device=device)
    return (place[:, None] - place).abs() < reach


def _mean(x: Tensor) -> Tensor:
    """(batch, heads, n) to (heads,), summed in float64."""
    return x.double().mean(dim=(0, 2))


def _score_std(q: Tensor, k: Tensor, mask: Tensor | None = None) -> Tensor:
    """The standard deviation of q . k over the keys that a row sees: those of ``mask``, or all."""
    if mask is not None:
        scores = (q @ k.mT).double().masked_fill(~mask, 0)
        seen = mask.sum(-1)
        deviation = (scores - (scores.sum(-1) / seen)[..., None]).masked_fill(~mask, 0)
        return (deviation.square().sum(-1) / seen).sqrt()
    # Without the n x n matrix: sqrt(q' Cov(k) q).
    centred = (k - k.mean(dim=-2, keepdim=True)).double()
    covariance = centred.mT @ centred / k.shape[-2]
    return ((q.double() @ covariance) * q).sum(-1).clamp(min=0).sqrt()


def _softmax_inside(q: Tensor, k: Tensor, scale: float, mask: Tensor | None = None) -> Inside:
    rows = row_statistics(q, k, scale=scale, attn_mask=mask)
    band = _band(k.shape[-2], NEIGHBOURS, q.device)
    if mask is not None:
        band &= mask
    near = row_statistics(q, k, scale=scale, attn_mask=band, orders=(math.inf,))
    share = (near.lse - rows.lse).exp()
    return Inside(
        entropy=_mean(rows.entropy),
        effective_tokens=_mean(rows.effective_tokens),
        std=_mean(scale * _score_std(q, k, mask)),
        near=_mean(share),
        needle=_mean(share * (-near.renyi[math.inf]).exp()),  # H_inf = -log of the largest share
        total=torch.ones(q.shape[1], dtype=torch.float64),
    )


class Softmax:
    """Softmax attention with a scale (a number or a rule (n, d) -> lambda), perhaps only within a window."""

    def __init__(self, scale: float | Callable, *, window: int | None = None):
        self.scale, self.window = scale, window

    def _mask(self, q: Tensor) -> Tensor | None:
        return None if self.window is None else _band(q.shape[-2], self.window, q.device)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return softmax_attention(q, k, v, scale=self.scale, attn_mask=self._mask(q))

    def inside(self, layer: int, q: Tensor, k: Tensor) -> Inside:
        scale = self.scale(k.shape[-2], q.shape[-1]) if callable(self.scale) else self.scale
        return _softmax_inside(q, k, scale, self._mask(q))


class HeldEntropy:
    """Softmax attention whose rows, each or on the average of a head, have the entropy given for them.

    ``targets`` is (layers, heads), in nats.
    """

    def __init__(self, targets: Tensor, *, per: str):
        self.targets, self.per = targets, per

    def _target(self, layer: int, q: Tensor) -> Tensor:
        target = self.targets[layer].to(q.device, q.dtype)
        return target[:, None] if self.per == "row" else target

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        def held(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return entropy_targeted_attention(q, k, v, self._target(layer, q), per=self.per).output

        return in_full(held, q, k, v)

    def inside(self, layer: int, q: Tensor, k: Tensor) -> Inside:
        gamma = entropy_temperature(q, k, self._target(layer, q), per=self.per).gamma
        gamma = gamma[..., None] if self.per == "row" else gamma[..., None, None]
        return _softmax_inside(gamma * q, k, q.shape[-1] ** -0.5)


class Relu2:
    """Squared-ReLU attention at scale 1/sqrt(d), divided by the length, by its sum, or by a fixed number."""

    def __init__(self, normalize: str | int):
        self.normalize = normalize

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return relu2_attention(q, k, v, normalize=self.normalize)

    def inside(self, layer: int, q: Tensor, k: Tensor) -> Inside:
        n, scale = k.shape[-2], q.shape[-1] ** -0.5
        weights = (scale * (q @ k.mT)).clamp(min=0).square()
        total = weights.sum(-1)
        # A row without a positive score has no weights; it is left out of the shares, not of the total.
        empty = total == 0
        p = (weights / total.masked_fill(empty, 1)[..., None]).masked_fill(empty[..., None], 1 / n)
        near = p * _band(n, NEIGHBOURS, q.device)
        divisor = {"length": n, "sum": total.masked_fill(empty, 1)}.get(self.normalize, self.normalize)
        seen = (~empty).double()

        def mean(x: Tensor) -> Tensor:
            return (x.double() * seen).sum(dim=(0, 2)) / seen.sum(dim=(0, 2))

        return Inside(
            entropy=mean(shannon_entropy(p)),
            effective_tokens=mean(1 / p.square().sum(-1)),
            std=_mean(scale * _score_std(q, k)),
            near=mean(near.sum(-1)),
            needle=mean(near.amax(-1)),
            total=_mean(total / divisor),
        )


class Measured:
    """An attention that also keeps what it sees inside, by layer, averaged over calls that saw anything."""

    def __init__(self, attention: Softmax | HeldEntropy | Relu2):
        self.attention = attention
        self._seen: dict[int, list[Inside]] = {}

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        self._seen.setdefault(layer, []).append(self.attention.inside(layer, q, k))
        return self.attention(layer, q, k, v)

    def quantity(self, name: str) -> Tensor:
        """One field of ``Inside`` as (layers, heads), in float64 on the CPU."""
        return torch.stack(
            [
                torch.stack([getattr(inside, name).cpu() for inside in calls]).nanmean(0)
                for _, calls in sorted(self._seen.items())
            ]
        )
