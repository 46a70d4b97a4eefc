"""One reading of (q, k, v, mask, scale) for every attention function, as tensors and as geometry.

What has a gradient travels as tensors, once; how they are read (masks, causality, scale, shapes) as geometry.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from attnlib._implementations import at_least_float32
from attnlib._masks import causal_offset, hides, with_infinite
from attnlib._rows.products import product
from attnlib._transforms import found, readable, transformed
from attnlib._types import Scale, SegmentIds, Window
from attnlib._validate import dense_tensor, finite, floating_tensor, real_number
from attnlib.errors import InvalidArgument

Block: TypeAlias = tuple[slice, slice, slice]
"""Some batches, some heads, some rows of (B, H, Lq)."""

_EVERYTHING: Block = (slice(None), slice(None), slice(None))
# Comparisons written out at a time while the keys of each row are counted.
_COUNTED_AT_ONCE = 1 << 18


class Tensors(NamedTuple):
    """What a pass over the rows reads, in the computing dtype; None stands for what a call does not have.

    Queries (B, H, Lq, d), keys (B, H, Lk, d) and values (B, H, Lk, dv); ``bias`` broadcasts to
    (B, H, Lq, Lk), with -inf where a key is hidden; segments (., ., Lq) and (., ., Lk); ``empty`` is True in
    rows that see no key, and broadcasts to (B, H, Lq) as does ``weight``, of which each pass says its use. A
    scale that varies from row to row, or is not positive, is already multiplied into ``q``.
    """

    q: Tensor
    k: Tensor
    v: Tensor | None = None
    bias: Tensor | None = None
    row_segments: Tensor | None = None
    key_segments: Tensor | None = None
    empty: Tensor | None = None
    weight: Tensor | None = None

    @property
    def values(self) -> Tensor:
        """``v``, where the caller has passed one."""
        return present(self.v)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, H, Lq, Lk)."""
        return (self.q.shape[0], self.q.shape[1], self.q.shape[2], self.k.shape[2])

    def hide_empty(self, x: Tensor, value: float) -> Tensor:
        """Put ``value`` into the rows of ``x`` (B, H, Lq, ...) that see no key."""
        if self.empty is None:
            return x
        return x.masked_fill(self.empty[(...,) + (None,) * (x.ndim - 3)], value)

    def blocks(self, elements: int) -> Iterator[Block]:
        """Cut (B, H, Lq) into blocks whose logits have about ``elements`` entries, at least one row each."""
        batch, heads, n_q, n_k = self.shape
        rows = min(n_q, max(1, elements // n_k))
        head_step = max(1, min(heads, elements // (n_k * rows)))
        batch_step = max(1, min(batch, elements // (n_k * rows * head_step)))
        for b in range(0, batch, batch_step):
            for h in range(0, heads, head_step):
                for i in range(0, n_q, rows):
                    yield (
                        slice(b, min(b + batch_step, batch)),
                        slice(h, min(h + head_step, heads)),
                        slice(i, min(i + rows, n_q)),
                    )


def part_of(x: Tensor, block: Block) -> Tensor:
    """The part of ``x`` (., ., ., ...) that belongs to a block; dimensions of size 1 stay as they are."""
    return x[tuple(slice(None) if size == 1 else part for part, size in zip(block, x.shape))]


@dataclass(frozen=True)
class Pattern:
    """How logits are made: ``scale q k^T``, capped, plus the bias, where ``low <= key - row <= high``.

    ``softcap`` c turns what is scaled into c tanh(x / c); None leaves out what it stands for.
    """

    scale: float
    low: int | None = None
    high: int | None = None
    softcap: float | None = None

    @property
    def is_causal(self) -> bool:
        """Whether the band is what PyTorch's kernels call causal."""
        return self.low is None and self.high == 0

    @property
    def bounded(self) -> bool:
        """Whether keys may be hidden by their place."""
        return self.low is not None or self.high is not None

    def times(self, factor: float) -> Pattern:
        """Every logit multiplied by ``factor`` > 0, the bias aside."""
        cap = None if self.softcap is None else factor * self.softcap
        return replace(self, scale=factor * self.scale, softcap=cap)

    def capped(self, q: Tensor, k: Tensor) -> Tensor:
        """The logits before masks and biases."""
        if self.softcap is None:
            return self.scale * (q @ k.mT)
        return self.softcap * torch.tanh((self.scale / self.softcap) * (q @ k.mT))

    def outside(self, rows: slice, columns: slice, device: torch.device) -> Tensor | None:
        """True where the band hides a key of these rows and columns; None if it hides none."""
        shortest, longest = columns.start - (rows.stop - 1), columns.stop - 1 - rows.start
        high = self.high if self.high is not None and longest > self.high else None
        low = self.low if self.low is not None and shortest < self.low else None
        if high is None and low is None:
            return None
        row = torch.arange(rows.start, rows.stop, device=device)[:, None]
        distance = torch.arange(columns.start, columns.stop, device=device) - row
        hidden = torch.zeros_like(distance, dtype=torch.bool) if high is None else distance > high
        return hidden if low is None else hidden | (distance < low)


def of_columns(x: Tensor, columns: slice) -> Tensor:
    """Some columns of ``x`` (..., Lk), or all there is of what is the same for every key."""
    return x if x.shape[-1] == 1 else x[..., columns]


def _hidden(tensors: Tensors, pattern: Pattern, block: Block) -> Tensor | None:
    """True where place or segment hides a key of the block; None if neither hides any."""
    b, h, i = block
    rows = slice(*i.indices(tensors.shape[2])[:2])
    hidden = pattern.outside(rows, slice(0, tensors.shape[3]), tensors.q.device)
    if tensors.row_segments is not None and tensors.key_segments is not None:
        own, keys = part_of(tensors.row_segments, block), part_of(tensors.key_segments, (b, h, slice(None)))
        other = own[..., None] != keys[..., None, :]
        hidden = other if hidden is None else hidden | other
    return hidden


def logits(
    tensors: Tensors, pattern: Pattern, block: Block = _EVERYTHING, leaves: dict[str, Tensor] | None = None
) -> Tensor:
    """The masked logits of one block, written out; ``leaves`` may stand in for that block's q, k and bias."""
    b, h, _ = block
    leaves = leaves or {}
    scores = pattern.capped(leaves.get("q", tensors.q[block]), leaves.get("k", tensors.k[b, h]))
    if tensors.bias is not None:
        scores = scores + leaves.get("bias", part_of(tensors.bias, block))
    hidden = _hidden(tensors, pattern, block)
    return scores if hidden is None else scores.masked_fill(hidden, -math.inf)


@dataclass(frozen=True)
class Geometry:
    """Who sees whom, at what scale, and what results go back to.

    ``shape`` is (B, H, Lq, Lk); the bias varies where a visible key has another entry than 0 (None: nobody
    could look); ``visible`` counts the keys each row sees and broadcasts to (B, H, Lq); ``sink`` broadcasts
    to it too. ``lead`` and ``dtype`` are the leading dimensions and the dtype of results. ``narrow`` is the
    half precision that q, k and v came in, if no scale was multiplied into q: it holds them as they are.
    """

    shape: tuple[int, int, int, int]
    pattern: Pattern
    bias_varies: bool | None
    visible: Tensor
    sink: Tensor | None
    lead: tuple[int, ...]
    dtype: torch.dtype
    narrow: torch.dtype | None = None

    @property
    def empty(self) -> Tensor:
        """Rows that see no key at all."""
        return self.visible == 0

    def without_sink(self) -> Geometry:
        """The same rows, of their keys alone."""
        return replace(self, sink=None)

    def unfold(self, x: Tensor) -> Tensor:
        """Give a result of shape (B, H, Lq, ...) its leading dimensions back."""
        return x.reshape(self.lead + x.shape[2:])

    def rows(self, x: Tensor) -> Tensor:
        """The same, in the dtype of the input."""
        wide = self.unfold(x)
        result = wide.to(self.dtype)
        if result.dtype != wide.dtype and found(result.isinf() & wide.isfinite()):
            largest = wide.detach().masked_fill(wide.isinf(), 0).abs().max().item()
            raise InvalidArgument(f"q has dtype {self.dtype}, which cannot hold a result of {largest:.6g}")
        return result

    def refuse_bias(self) -> None:
        """Raise if the mask does more than to hide keys."""
        if self.bias_varies:
            raise InvalidArgument("attn_mask must hide keys only: True/False, or 0/-inf")


def centred(tensors: Tensors, pattern: Pattern) -> tuple[Tensors, Tensor | None]:
    """Keys minus their mean over the keys some row sees, and what this takes from each row's logits.

    Softmax does not change; rounding does, if the keys share a large common part. Where all are seen and no
    head has one, the keys stay as they are, and None says so. Capped logits are no longer shifted by a shift
    of the keys, which then stay too.
    """
    q, k = tensors.q, tensors.k
    _, _, n_q, n_k = tensors.shape
    if pattern.softcap is not None:
        return tensors, None
    seen = None
    if tensors.bias is not None:
        seen = (tensors.bias.detach() > -math.inf).any(dim=-2, keepdim=True)
        seen = seen.expand(*seen.shape[:-1], n_k)
    first = 0 if pattern.low is None else max(0, pattern.low)
    last = n_k if pattern.high is None else n_q + pattern.high
    if first > 0 or last < n_k:
        place = torch.arange(n_k, device=k.device)
        reached = (place >= first) & (place < last)
        seen = reached if seen is None else seen & reached
    if tensors.row_segments is not None and readable(tensors.row_segments, tensors.key_segments):
        held = torch.isin(present(tensors.key_segments), tensors.row_segments)[..., None, :]
        seen = held if seen is None else seen & held
    with torch.no_grad():
        if seen is None:
            mean = k.mean(dim=-2, keepdim=True)
            if readable(k) and not transformed(k):
                common = n_k * torch.linalg.vector_norm(mean, dim=(-2, -1)).square()
                if not (common > torch.linalg.vector_norm(k, dim=(-2, -1)).square() / 4).any():
                    return tensors, None
        else:
            weight = seen.to(k.dtype)
            weight = weight / weight.sum(dim=-1, keepdim=True).clamp(min=1)
            mean = weight.expand(*k.shape[:2], 1, -1) @ k
    return tensors._replace(k=k - mean), pattern.scale * product(q, mean.mT).squeeze(-1)


def present(x: Tensor | None) -> Tensor:
    """A tensor that is there because the caller asked for it."""
    if x is None:
        raise AssertionError("this was not asked for")
    return x


def unit_stride(x: Tensor) -> Tensor:
    """The kernels need the last dimension contiguous; the CPU operator does not check, and goes wrong."""
    if x.stride(-1) == 1:
        return x
    # A tensor with a last dimension of size 1 is contiguous whatever its stride there: a view has a new one.
    return x.contiguous().reshape(-1).view(x.shape)


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
        if readable(x) and x.numel():
            total = x.detach().sum(dtype=at_least_float32(x.dtype))
            if not torch.isfinite(total):
                finite(name, x)  # says which and how many; the sum takes a fiftieth of its time
    if k.shape[-1] != q.shape[-1]:
        raise InvalidArgument(f"k must have the head size of q, {q.shape[-1]}, got {k.shape[-1]}")
    if v is not None and v.shape[-2] != k.shape[-2]:
        raise InvalidArgument(f"v must hold one value for each of the {k.shape[-2]} keys, got {v.shape[-2]}")


def _expand_groups(name: str, x: Tensor, heads: int) -> Tensor:
    if x.ndim < 3 or x.shape[-3] < 1 or heads % x.shape[-3]:
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
    return x.expand(lead[:-1] + own[-1:] + rest).reshape((math.prod(lead[:-1]), own[-1]) + rest)


def _check_mask(attn_mask: object, lead: tuple[int, ...], q: Tensor, k: Tensor) -> Tensor:
    if not isinstance(attn_mask, Tensor):
        raise TypeError(f"attn_mask must be a torch.Tensor or None, got {type(attn_mask).__name__}")
    dense_tensor("attn_mask", attn_mask)
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
        if found(bad):
            value = attn_mask[bad].flatten()[0].item()
            raise InvalidArgument(f"attn_mask must hold finite values or -inf, got {value}")
    return with_infinite(attn_mask).reshape((1,) * (len(full) - attn_mask.ndim) + attn_mask.shape)


def _band(window: Window, is_causal: bool, key_start: int) -> tuple[int | None, int | None]:
    """The lowest and the highest key - row that are visible."""
    low = high = None
    if window is not None:
        sides = window if isinstance(window, (tuple, list)) else (window, window)
        if len(sides) != 2 or any(isinstance(x, bool) or not isinstance(x, int) for x in sides):
            raise TypeError(f"window must be an int or a pair of ints, got {window!r}")
        if min(sides) < 0:
            raise InvalidArgument(f"window must not be negative, got {window!r}")
        low, high = -sides[0] - key_start, sides[1] - key_start
    if is_causal:
        high = -key_start if high is None else min(high, -key_start)
    return low, high


def _segments(
    segment_ids: SegmentIds, lead: tuple[int, ...], q: Tensor, k: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """Segments of queries and of keys, each broadcasting to (*lead, n)."""
    if segment_ids is None:
        return None, None
    pair = segment_ids if isinstance(segment_ids, tuple) else (segment_ids, segment_ids)
    if len(pair) != 2:
        raise InvalidArgument(f"segment_ids must be a tensor or a pair of them, got {len(pair)}")
    results = []
    for ids, n in zip(pair, (q.shape[-2], k.shape[-2])):
        if not isinstance(ids, Tensor):
            raise TypeError(f"segment_ids must be a torch.Tensor or a pair, got {type(ids).__name__}")
        dense_tensor("segment_ids", ids)
        if ids.dtype.is_floating_point or ids.dtype.is_complex or ids.dtype == torch.bool:
            raise TypeError(f"segment_ids must be integers, got {ids.dtype}")
        if ids.device != q.device:
            raise InvalidArgument(f"segment_ids must be on the device of q, {q.device}, got {ids.device}")
        # (..., n) without the heads, as documents are packed; with them where it has as many dimensions.
        shaped = ids.unsqueeze(-2) if 1 < ids.ndim <= len(lead) else ids
        full = lead + (n,)
        try:
            fits = torch.broadcast_shapes(shaped.shape, full) == full and ids.shape[-1] == n
        except RuntimeError:
            fits = False
        if not fits:
            raise InvalidArgument(f"segment_ids of shape {tuple(ids.shape)} do not fit rows of shape {full}")
        results.append(shaped.reshape((1,) * (len(full) - shaped.ndim) + shaped.shape))
    return results[0], results[1]


def _visible_counts(
    allowed: Tensor | None,
    pattern: Pattern,
    segments: tuple[Tensor | None, Tensor | None],
    n_q: int,
    n_k: int,
    device: torch.device,
) -> int | Tensor:
    """Keys each row sees: an int where all rows see all keys, else a tensor broadcasting to (..., Lq)."""
    if allowed is not None:
        allowed = allowed.expand(*allowed.shape[:-1], n_k)
    row = torch.arange(n_q, device=device)
    # The band of each row, from its first key to one after its last.
    first = torch.zeros_like(row) if pattern.low is None else (row + pattern.low).clamp(0, n_k)
    after = torch.full_like(row, n_k) if pattern.high is None else (row + pattern.high + 1).clamp(0, n_k)
    own, keys = segments
    if own is None or keys is None:
        if allowed is None:
            return (after - first).clamp(min=0) if pattern.bounded else n_k
        if not pattern.bounded:
            return allowed.sum(dim=-1)
        if allowed.shape[-2] == 1:
            before = torch.nn.functional.pad(allowed.squeeze(-2).cumsum(dim=-1), (1, 0))
            return (before[..., after] - before[..., first]).clamp(min=0)
    counts = []
    step = max(1, _COUNTED_AT_ONCE // n_k)
    for start in range(0, n_q, step):
        rows = slice(start, min(start + step, n_q))
        outside = pattern.outside(rows, slice(0, n_k), device)
        seen = (
            torch.ones(rows.stop - start, n_k, dtype=torch.bool, device=device)
            if outside is None
            else ~outside
        )
        if own is not None and keys is not None:
            seen = seen & (own[..., rows, None] == keys[..., None, :])
        if allowed is not None:
            seen = seen & (allowed if allowed.shape[-2] == 1 else allowed[..., rows, :])
        counts.append(seen.sum(dim=-1))
    return torch.cat(counts, dim=-1)


def _name_of(scale: Scale) -> str:
    return "scale(n, d)" if callable(scale) and not isinstance(scale, Tensor) else "scale"


def _row_scale(scale: Scale, counts: int | Tensor, d: int, dtype: torch.dtype) -> float | Tensor:
    if scale is None:
        return 1.0 / math.sqrt(d)
    name = _name_of(scale)
    if isinstance(scale, Tensor):
        floating_tensor("scale", scale)
        value: Any = scale
    elif not callable(scale):
        value = real_number("scale", scale)
    else:
        if isinstance(counts, Tensor):
            # A row without keys has no scale of its own; log 0 would only put a NaN into the gradients.
            counts = counts.clamp(min=1).to(dtype)
        value = scale(counts, d)
        if not isinstance(value, Tensor):
            value = real_number(name, value)
    if isinstance(value, Tensor):
        finite(name, value)
        if found(value.detach().abs() > torch.finfo(dtype).max):
            raise InvalidArgument(
                f"{name} must be within the range of {dtype}, got {value.abs().max().item()}"
            )
    elif abs(value) > torch.finfo(dtype).max:
        raise InvalidArgument(f"{name} must be within the range of {dtype}, got {value}")
    return value


def _checked_sink(sink: object, lead: tuple[int, ...], q: Tensor, dtype: torch.dtype) -> Tensor | None:
    if sink is None:
        return None
    sink = floating_tensor("sink", sink)
    if sink.device != q.device:
        raise InvalidArgument(f"sink must be on the device of q, {q.device}, got {sink.device}")
    finite("sink", sink)
    try:
        return _fold(sink.to(dtype).expand(lead if lead else (1,)).reshape(lead), lead, 0)[..., None]
    except RuntimeError:
        raise InvalidArgument(
            f"sink must have one entry a head, of shape {tuple(lead[-1:])}, got {tuple(sink.shape)}"
        ) from None


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
    softcap: float | None = None,
    sink: Tensor | None = None,
    window: Window = None,
    segment_ids: SegmentIds = None,
    key_start: int = 0,
) -> tuple[Tensors, Geometry]:
    """Check the arguments and bring them into kernel layout.

    ``dtype`` is the computing dtype. None stands for that of the input, or float32 where a half-precision
    query would have to be multiplied by the scale (which costs three digits of lse), and where it is not of
    the four dimensions that a kernel takes as they are: gradients that are summed, or narrowed, would be
    rounded on the way. ``key_start`` is the place of the first of the keys.
    """
    _check_inputs(q, k, v)
    given = q.dtype
    # PyTorch's kernels take such inputs by a more exact route, too.
    plain = all(x is None or (x.ndim == 4 and x.shape[:2] == q.shape[:2]) for x in (q, k, v))
    if enable_gqa:
        heads = q.shape[-3] if q.ndim > 2 else 1
        k = _expand_groups("k", k, heads)
        v = None if v is None else _expand_groups("v", v, heads)
    lead = _lead(q, k, v)
    n_q, n_k, d = q.shape[-2], k.shape[-2], q.shape[-1]
    low, high = _band(window, is_causal, key_start)
    offset = causal_offset(attn_mask, n_q, n_k)
    if offset is not None:
        attn_mask, high = None, offset if high is None else min(high, offset)
    mask = allowed = None
    if attn_mask is not None:
        mask = _check_mask(attn_mask, lead, q, k)
        allowed = ~hides(mask.detach())
    if softcap is not None:
        softcap = real_number("softcap", softcap, low=0, low_open=True)
    pattern = Pattern(1.0, low, high, softcap)
    segments = _segments(segment_ids, lead, q, k)
    counts = _visible_counts(allowed, pattern, segments, n_q, n_k, q.device)

    wide = at_least_float32(given) if dtype is None else dtype
    factor = _row_scale(scale, counts, d, wide)
    # The kernels multiply after cutting to -inf, so a factor <= 0 would turn hidden keys into NaN.
    into_q = factor if isinstance(factor, Tensor) or factor <= 0 else None
    compute = given if into_q is None and dtype is None and plain else wide

    def whole(x: Tensor) -> Tensor:
        return x.to(compute).expand(*lead, *x.shape[-2:])

    q, k = whole(q), whole(k)
    if isinstance(into_q, Tensor):
        if into_q.ndim == 0:
            into_q = into_q.to(q.device)
        if into_q.device != q.device:
            raise InvalidArgument(
                f"{_name_of(scale)} must be on the device of q, {q.device}, got {into_q.device}"
            )
        try:
            into_q = into_q.to(compute).expand(*lead, n_q)[..., None]
        except RuntimeError:
            raise InvalidArgument(
                f"{_name_of(scale)} of shape {tuple(into_q.shape)} does not broadcast to {lead + (n_q,)}"
            ) from None
    if into_q is not None:
        q = q * into_q
    may_be_empty = allowed is not None or segments[0] is not None or low is not None
    may_be_empty = may_be_empty or (high is not None and high < 0)
    if not isinstance(counts, Tensor):
        counts = torch.full((1,), counts, device=q.device)
    counts = _fold(counts.expand(*counts.shape[:-1], n_q), lead, 1)
    bias, bias_varies = _bias(mask, lead, compute)
    row_segments, key_segments = (None if x is None else _fold(x, lead, 1) for x in segments)
    tensors = Tensors(
        q=_fold(q, lead, 2),
        k=_fold(k, lead, 2),
        v=None if v is None else _fold(whole(v), lead, 2),
        bias=bias,
        row_segments=row_segments,
        key_segments=key_segments,
        empty=counts == 0 if may_be_empty else None,
    )
    return tensors, Geometry(
        shape=tensors.shape,
        pattern=replace(pattern, scale=1.0 if isinstance(factor, Tensor) or factor <= 0 else factor),
        bias_varies=bias_varies,
        visible=counts,
        sink=_checked_sink(sink, lead, q, wide),
        lead=lead,
        dtype=given,
        narrow=given if into_q is None and given.itemsize == 2 else None,
    )


def _bias(
    mask: Tensor | None, lead: tuple[int, ...], dtype: torch.dtype
) -> tuple[Tensor | None, bool | None]:
    """What the mask adds to the logits, and whether it does more than to hide, or None if nobody may look."""
    if mask is None:
        return None, False
    varies: bool | None = False
    if mask.dtype == torch.bool:
        bias = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, -math.inf)
    else:
        bias = mask.to(dtype)
        if mask.requires_grad:
            varies = True
        else:
            varies = bool(((mask != 0) & (mask > -math.inf)).any()) if readable(mask) else None
    return _fold(bias, lead, 2), varies
