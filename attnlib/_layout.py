"""One reading of (q, k, v, mask, scale) for every attention function: shapes, visible keys, scale."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attnlib._validate import finite, floating_tensor, real_number
from attnlib.errors import InvalidArgument

_EVERYTHING = (slice(None),) * 3


@dataclass(frozen=True)
class Layout:
    """Checked arguments in kernel layout. Logits are ``scale * q k^T + bias``, the future cut off if causal.

    ``q`` (B, H, Lq, d), ``k`` (B, H, Lk, d) and ``v`` (B, H, Lk, dv) have the computing dtype; a scale that
    varies from row to row, or is not positive, is already multiplied into ``q`` and ``scale`` is 1 then.
    ``bias`` broadcasts to (B, H, Lq, Lk), with -inf where a key is hidden; ``visible`` counts the keys each
    row sees and broadcasts to (B, H, Lq).
    """

    q: Tensor
    k: Tensor
    v: Tensor | None
    bias: Tensor | None
    bias_varies: bool
    is_causal: bool
    scale: float
    visible: Tensor
    lead: tuple[int, ...]
    dtype: torch.dtype

    @property
    def empty(self) -> Tensor:
        """Rows that see no key at all."""
        return self.visible == 0

    def unfold(self, x: Tensor) -> Tensor:
        """Give a result of shape (B, H, Lq, ...) its leading dimensions back."""
        return x.reshape(self.lead + x.shape[2:])

    def rows(self, x: Tensor) -> Tensor:
        """The same, in the dtype of the input."""
        return self.unfold(x).to(self.dtype)

    def centred(self) -> tuple[Layout, Tensor]:
        """Keys minus their mean over the keys some row sees, and what this takes from each row's logits.

        Softmax does not change; rounding does, if the keys share a large common part.
        """
        seen = None
        if self.bias is not None:
            seen = (self.bias > -math.inf).any(dim=-2, keepdim=True)
        if self.is_causal and self.q.shape[-2] < self.k.shape[-2]:
            reached = torch.arange(self.k.shape[-2], device=self.k.device) < self.q.shape[-2]
            seen = reached if seen is None else seen & reached
        with torch.no_grad():
            if seen is None:
                mean = self.k.mean(dim=-2, keepdim=True)
            else:
                weight = seen.to(self.k.dtype)
                weight = weight / weight.sum(dim=-1, keepdim=True).clamp(min=1)
                mean = weight.expand(*self.k.shape[:2], 1, -1) @ self.k
        return replace(self, k=self.k - mean), self.scale * (self.q @ mean.mT).squeeze(-1)

    def detached(self) -> Layout:
        """What a backward pass may keep: no graph behind it, no values."""
        return replace(self, q=self.q.detach(), k=self.k.detach(), v=None)

    def blocks(self, elements: int) -> Iterator[tuple[slice, slice, slice]]:
        """Cut (B, H, Lq) into blocks whose logits have about ``elements`` entries, at least one row each."""
        batch, heads, n_q, _ = self.q.shape
        rows = min(n_q, max(1, elements // self.k.shape[-2]))
        head_step = min(heads, max(1, elements // (self.k.shape[-2] * rows)))
        batch_step = min(batch, max(1, elements // (self.k.shape[-2] * rows * head_step)))
        for b in range(0, batch, batch_step):
            for h in range(0, heads, head_step):
                for i in range(0, n_q, rows):
                    yield slice(b, b + batch_step), slice(h, h + head_step), slice(i, i + rows)

    def logits(self, q: Tensor, k: Tensor, block: tuple[slice, slice, slice] = _EVERYTHING) -> Tensor:
        """The masked logits of one block, written out; ``q`` and ``k`` are that block's own."""
        scores = self.scale * (q @ k.mT)
        if self.bias is not None:
            part = (
                every if size == 1 else cut for every, cut, size in zip(_EVERYTHING, block, self.bias.shape)
            )
            scores = scores + self.bias[tuple(part)]
        if self.is_causal:
            first = block[2].start or 0
            row = torch.arange(first, first + q.shape[-2], device=q.device)
            future = torch.arange(k.shape[-2], device=q.device) > row[:, None]
            scores = scores.masked_fill(future, -math.inf)
        return scores


def at_least_float32(x: Tensor) -> torch.dtype:
    """The dtype to compute in: that of ``x``, float32 for half precision."""
    return torch.promote_types(floating_tensor("q", x).dtype, torch.float32)


def _check_inputs(q: Tensor, k: Tensor, v: Tensor | None) -> None:
    named = {"q": q, "k": k} if v is None else {"q": q, "k": k, "v": v}
    for name, x in named.items():
        floating_tensor(name, x)
        if x.ndim < 2:
            raise InvalidArgument(f"{name} must have shape (..., heads, n, d), got {tuple(x.shape)}")
        if x.shape[-2] < 1 or x.shape[-1] < 1:
            raise InvalidArgument(f"{name} needs n >= 1 and d >= 1, got shape {tuple(x.shape)}")
        if x.dtype != q.dtype:
            raise TypeError(f"{name} must have the dtype of q, {q.dtype}, got {x.dtype}")
        if x.device != q.device:
            raise InvalidArgument(f"{name} must be on the device of q, {q.device}, got {x.device}")
        low, high = torch.aminmax(x.detach())
        if not (torch.isfinite(low) & torch.isfinite(high)):
            finite(name, x)  # says which and how many; the extremes are found in a twentieth of its time
    if k.shape[-1] != q.shape[-1]:
        raise InvalidArgument(f"k must have the head size of q, {q.shape[-1]}, got {k.shape[-1]}")
    if v is not None and v.shape[-2] != k.shape[-2]:
        raise InvalidArgument(f"v must hold one value for each of the {k.shape[-2]} keys, got {v.shape[-2]}")


def _expand_groups(name: str, x: Tensor, heads: int) -> Tensor:
    if x.ndim < 3 or heads % x.shape[-3]:
        raise InvalidArgument(
            f"enable_gqa needs the {heads} heads of q to be a multiple of those of {name}, "
            f"got {name} of shape {tuple(x.shape)}"
        )
    return x.repeat_interleave(heads // x.shape[-3], dim=-3)


def _lead(q: Tensor, k: Tensor, v: Tensor | None) -> tuple[int, ...]:
    shapes = [x.shape[:-2] for x in (q, k, v) if x is not None]
    try:
        return tuple(torch.broadcast_shapes(*shapes))
    except RuntimeError:
        listed = ", ".join(str(tuple(x.shape)) for x in (q, k, v) if x is not None)
        raise InvalidArgument(f"the leading dimensions of q, k, v do not broadcast: {listed}") from None


def _fold(x: Tensor, lead: tuple[int, ...], trailing: int) -> Tensor:
    """View ``x`` as (B, H, ...), ``trailing`` dimensions kept; leading ones of size 1 stay unexpanded."""
    x = x.reshape((1,) * (len(lead) + trailing - x.ndim) + x.shape)
    own, rest = x.shape[: len(lead)], x.shape[len(lead) :]
    if len(lead) <= 2:
        return x.reshape((1,) * (2 - len(lead)) + x.shape)
    if all(size == 1 for size in own[:-1]):
        return x.reshape((1, own[-1]) + rest)
    return x.expand(lead[:-1] + own[-1:] + rest).reshape((-1, own[-1]) + rest)


def _check_mask(attn_mask, lead: tuple[int, ...], q: Tensor, k: Tensor) -> Tensor:
    if not isinstance(attn_mask, Tensor):
        raise TypeError(f"attn_mask must be a torch.Tensor or None, got {type(attn_mask).__name__}")
    if attn_mask.dtype != torch.bool and not attn_mask.dtype.is_floating_point:
        raise TypeError(f"attn_mask must be boolean or floating-point, got {attn_mask.dtype}")
    if attn_mask.device != q.device:
        raise InvalidArgument(f"attn_mask must be on the device of q, {q.device}, got {attn_mask.device}")
    full = lead + (q.shape[-2], k.shape[-2])
    try:
        fits = torch.broadcast_shapes(attn_mask.shape, full) == full
    except RuntimeError:
        fits = False
    if not fits:
        raise InvalidArgument(f"attn_mask of shape {tuple(attn_mask.shape)} does not broadcast to {full}")
    if attn_mask.dtype.is_floating_point:
        bad = torch.isnan(attn_mask) | (attn_mask == math.inf)
        if bad.any():
            value = attn_mask[bad].flatten()[0].item()
            raise InvalidArgument(f"attn_mask must hold finite values or -inf, got {value}")
    return attn_mask.reshape((1,) * (len(full) - attn_mask.ndim) + attn_mask.shape)


def _visible_counts(allowed: Tensor | None, is_causal: bool, n_q: int, n_k: int, device) -> int | Tensor:
    """Keys each row sees: an int where all rows see all keys, else a tensor broadcasting to (..., Lq)."""
    last = torch.arange(n_q, device=device).clamp(max=n_k - 1)
    if allowed is None:
        return last + 1 if is_causal else n_k
    allowed = allowed.expand(*allowed.shape[:-1], n_k)
    if not is_causal:
        return allowed.sum(dim=-1)
    if allowed.shape[-2] == 1:
        return allowed.squeeze(-2).cumsum(dim=-1)[..., last]
    return allowed.tril().sum(dim=-1)


def _row_scale(scale, counts: int | Tensor, d: int, dtype: torch.dtype) -> float | Tensor:
    if scale is None:
        return 1.0 / math.sqrt(d)
    if not callable(scale):
        return real_number("scale", scale)
    if isinstance(counts, Tensor):
        # A row without keys has no scale of its own; log 0 would only put a NaN into the gradients.
        counts = counts.clamp(min=1).to(dtype)
    value = scale(counts, d)
    if not isinstance(value, Tensor):
        return real_number("scale(n, d)", value)
    finite("scale(n, d)", value)
    return value


def resolve(
    q: Tensor,
    k: Tensor,
    v: Tensor | None = None,
    *,
    attn_mask: Tensor | None,
    is_causal: bool,
    scale,
    enable_gqa: bool,
    dtype: torch.dtype | None = None,
) -> Layout:
    """Check the arguments and bring them into kernel layout.

    ``dtype`` is the computing dtype; by default that of the input, or float32 where a half-precision query
    would have to be multiplied by the scale (which costs three digits of lse).
    """
    _check_inputs(q, k, v)
    given = q.dtype
    if enable_gqa:
        heads = q.shape[-3] if q.ndim > 2 else 1
        k = _expand_groups("k", k, heads)
        v = None if v is None else _expand_groups("v", v, heads)
    lead = _lead(q, k, v)
    n_q, n_k, d = q.shape[-2], k.shape[-2], q.shape[-1]
    mask = None if attn_mask is None else _check_mask(attn_mask, lead, q, k)
    allowed = None
    if mask is not None:
        allowed = mask if mask.dtype == torch.bool else mask > -math.inf
    counts = _visible_counts(allowed, is_causal, n_q, n_k, q.device)

    wide = at_least_float32(q) if dtype is None else dtype
    factor = _row_scale(scale, counts, d, wide)
    folded = isinstance(factor, Tensor) or factor <= 0
    compute = wide if folded or dtype is not None else given

    q, k, v = (None if x is None else x.to(compute).expand(*lead, *x.shape[-2:]) for x in (q, k, v))
    if isinstance(factor, Tensor):
        try:
            factor = factor.to(compute).expand(*lead, n_q)
        except RuntimeError:
            raise InvalidArgument(
                f"scale(n, d) of shape {tuple(factor.shape)} does not broadcast to {lead + (n_q,)}"
            ) from None
        q = q * factor[..., None]
    elif folded:
        # The kernels multiply after cutting to -inf, so a factor <= 0 would turn hidden keys into NaN.
        q = q * factor
    bias, bias_varies = None, False
    if mask is not None:
        if mask.dtype == torch.bool:
            bias = torch.zeros(mask.shape, dtype=compute, device=mask.device).masked_fill(~mask, -math.inf)
        else:
            bias_varies = bool(((mask != 0) & allowed).any())
            bias = mask.to(compute)
        bias = _fold(bias.expand(*bias.shape[:-1], n_k), lead, 2)
    if not isinstance(counts, Tensor):
        counts = torch.full((1,), counts, device=q.device)
    counts = counts.expand(*counts.shape[:-1], n_q)
    return Layout(
        q=_fold(q, lead, 2),
        k=_fold(k, lead, 2),
        v=None if v is None else _fold(v, lead, 2),
        bias=bias,
        bias_varies=bias_varies,
        is_causal=is_causal,
        scale=1.0 if folded else factor,
        visible=_fold(counts, lead, 1),
        lead=lead,
        dtype=given,
    )
