"""One reading of (q, k, v, mask, scale) for every attention function, as tensors and as geometry.

What has a gradient travels as tensors, once; how they are read (masks, causality, scale, shapes) as geometry.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from attnlib._implementations import at_least_float32
from attnlib._types import Scale
from attnlib._validate import finite, floating_tensor, real_number
from attnlib.errors import InvalidArgument

Block: TypeAlias = tuple[slice, slice, slice]
"""Some batches, some heads, some rows of (B, H, Lq)."""

_EVERYTHING: Block = (slice(None), slice(None), slice(None))


class Tensors(NamedTuple):
    """Queries (B, H, Lq, d), keys (B, H, Lk, d) and values (B, H, Lk, dv) in the computing dtype.

    A scale that varies from row to row, or is not positive, is already multiplied into ``q``.
    """

    q: Tensor
    k: Tensor
    v: Tensor | None

    @property
    def values(self) -> Tensor:
        """``v``, where the caller has passed one."""
        return present(self.v)


@dataclass(frozen=True)
class Geometry:
    """Who sees whom, at what scale: logits are ``scale * q k^T + bias``, the future cut off if causal.

    It holds no query, key or value, and (the reference aside) no graph, so a backward pass may keep it.
    ``shape`` is (B, H, Lq, Lk); ``bias`` broadcasts to it, with -inf where a key is hidden, and varies where
    a visible key has another entry than 0; ``visible`` counts the keys each row sees and broadcasts to
    (B, H, Lq). ``lead`` and ``dtype`` are the leading dimensions and the dtype that results go back to.
    """

    shape: tuple[int, int, int, int]
    scale: float
    is_causal: bool
    bias: Tensor | None
    bias_varies: bool
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

    def refuse_bias(self) -> None:
        """Raise if the mask does more than to hide keys."""
        if self.bias_varies:
            raise InvalidArgument("attn_mask must hide keys only: True/False, or 0/-inf")

    def times(self, factor: float) -> Geometry:
        """Every logit multiplied by ``factor`` > 0."""
        bias = None if self.bias is None else factor * self.bias
        return replace(self, scale=factor * self.scale, bias=bias)

    def hide_empty(self, x: Tensor, value: float) -> Tensor:
        """Put ``value`` into the rows of ``x`` (B, H, Lq, ...) that see no key; only a mask can do that."""
        if self.bias is None:
            return x
        return x.masked_fill(self.empty[(...,) + (None,) * (x.ndim - 3)], value)

    def blocks(self, elements: int) -> Iterator[Block]:
        """Cut (B, H, Lq) into blocks whose logits have about ``elements`` entries, at least one row each."""
        batch, heads, n_q, n_k = self.shape
        rows = min(n_q, max(1, elements // n_k))
        head_step = min(heads, max(1, elements // (n_k * rows)))
        batch_step = min(batch, max(1, elements // (n_k * rows * head_step)))
        for b in range(0, batch, batch_step):
            for h in range(0, heads, head_step):
                for i in range(0, n_q, rows):
                    yield slice(b, b + batch_step), slice(h, h + head_step), slice(i, i + rows)

    def bias_of(self, block: Block) -> Tensor | None:
        """The part of ``bias`` that belongs to a block; dimensions of size 1 stay as they are."""
        if self.bias is None:
            return None
        cut = (slice(None) if size == 1 else part for part, size in zip(block, self.bias.shape))
        return self.bias[tuple(cut)]

    def logits(self, q: Tensor, k: Tensor, block: Block = _EVERYTHING) -> Tensor:
        """The masked logits of one block, written out; ``q`` and ``k`` are that block's own."""
        scores = self.scale * (q @ k.mT)
        bias = self.bias_of(block)
        if bias is not None:
            scores = scores + bias
        if self.is_causal:
            first = block[2].start or 0
            row = torch.arange(first, first + q.shape[-2], device=q.device)
            future = torch.arange(k.shape[-2], device=q.device) > row[:, None]
            scores = scores.masked_fill(future, -math.inf)
        return scores


def centred(tensors: Tensors, geometry: Geometry) -> tuple[Tensors, Tensor]:
    """Keys minus their mean over the keys some row sees, and what this takes from each row's logits.

    Softmax does not change; rounding does, if the keys share a large common part.
    """
    q, k, _ = tensors
    _, _, n_q, n_k = geometry.shape
    seen = None
    if geometry.bias is not None:
        seen = (geometry.bias > -math.inf).any(dim=-2, keepdim=True)
    if geometry.is_causal and n_q < n_k:
        reached = torch.arange(n_k, device=k.device) < n_q
        seen = reached if seen is None else seen & reached
    with torch.no_grad():
        if seen is None:
            mean = k.mean(dim=-2, keepdim=True)
        else:
            weight = seen.to(k.dtype)
            weight = weight / weight.sum(dim=-1, keepdim=True).clamp(min=1)
            mean = weight.expand(*k.shape[:2], 1, -1) @ k
    return tensors._replace(k=k - mean), geometry.scale * (q @ mean.mT).squeeze(-1)


def present(x: Tensor | None) -> Tensor:
    """A tensor that is there because the caller asked for it."""
    if x is None:
        raise AssertionError("this was not asked for")
    return x


def unit_stride(x: Tensor) -> Tensor:
    """The kernels need the last dimension contiguous; the CPU operator does not check, and goes wrong."""
    return x if x.stride(-1) == 1 else x.contiguous()


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


def _check_mask(attn_mask: object, lead: tuple[int, ...], q: Tensor, k: Tensor) -> Tensor:
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


def _visible_counts(
    allowed: Tensor | None, is_causal: bool, n_q: int, n_k: int, device: torch.device
) -> int | Tensor:
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


def _row_scale(scale: Scale, counts: int | Tensor, d: int, dtype: torch.dtype) -> float | Tensor:
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
    scale: Scale,
    enable_gqa: bool,
    dtype: torch.dtype | None,
) -> tuple[Tensors, Geometry]:
    """Check the arguments and bring them into kernel layout.

    ``dtype`` is the computing dtype. None stands for that of the input, or float32 where a half-precision
    query would have to be multiplied by the scale (which costs three digits of lse).
    """
    _check_inputs(q, k, v)
    given = q.dtype
    if enable_gqa:
        heads = q.shape[-3] if q.ndim > 2 else 1
        k = _expand_groups("k", k, heads)
        v = None if v is None else _expand_groups("v", v, heads)
    lead = _lead(q, k, v)
    n_q, n_k, d = q.shape[-2], k.shape[-2], q.shape[-1]
    mask = allowed = None
    if attn_mask is not None:
        mask = _check_mask(attn_mask, lead, q, k)
        allowed = mask if mask.dtype == torch.bool else mask > -math.inf
    counts = _visible_counts(allowed, is_causal, n_q, n_k, q.device)

    wide = at_least_float32(given) if dtype is None else dtype
    factor = _row_scale(scale, counts, d, wide)
    # The kernels multiply after cutting to -inf, so a factor <= 0 would turn hidden keys into NaN.
    into_q = factor if isinstance(factor, Tensor) or factor <= 0 else None
    compute = given if into_q is None and dtype is None else wide

    def whole(x: Tensor) -> Tensor:
        return x.to(compute).expand(*lead, *x.shape[-2:])

    q, k = whole(q), whole(k)
    if isinstance(into_q, Tensor):
        try:
            into_q = into_q.to(compute).expand(*lead, n_q)[..., None]
        except RuntimeError:
            raise InvalidArgument(
                f"scale(n, d) of shape {tuple(into_q.shape)} does not broadcast to {lead + (n_q,)}"
            ) from None
    if into_q is not None:
        q = q * into_q
    if not isinstance(counts, Tensor):
        counts = torch.full((1,), counts, device=q.device)
    counts = counts.expand(*counts.shape[:-1], n_q)
    tensors = Tensors(
        q=_fold(q, lead, 2), k=_fold(k, lead, 2), v=None if v is None else _fold(whole(v), lead, 2)
    )
    bias, bias_varies = _bias(mask, lead, n_k, compute)
    return tensors, Geometry(
        shape=(*tensors.q.shape[:3], n_k),
        scale=1.0 if isinstance(factor, Tensor) or factor <= 0 else factor,
        is_causal=is_causal,
        bias=bias,
        bias_varies=bias_varies,
        visible=_fold(counts, lead, 1),
        lead=lead,
        dtype=given,
    )


def _bias(
    mask: Tensor | None, lead: tuple[int, ...], n_k: int, dtype: torch.dtype
) -> tuple[Tensor | None, bool]:
    """What the mask adds to the logits, and whether it does more than to hide."""
    if mask is None:
        return None, False
    if mask.dtype == torch.bool:
        bias, varies = (
            torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, -math.inf),
            False,
        )
    else:
        bias, varies = mask.to(dtype), bool(((mask != 0) & (mask > -math.inf)).any())
    return _fold(bias.expand(*bias.shape[:-1], n_k), lead, 2), varies
