"""Which engine answers a call, and what it needs around it: checked arguments, centred keys, other orders."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import logsigmoid, pad, scaled_dot_product_attention

from attnlib._implementations import IMPLS, at_least_float32, check_impl, computing_dtype
from attnlib._rows.blockwise import blockwise
from attnlib._rows.cuda import rows_by_kernels
from attnlib._rows.dense import NEAR_ONE, as_limit, output, statistics
from attnlib._rows.kernels import KERNELS, attend_by_kernels, wide
from attnlib._rows.layout import Geometry, Pattern, Tensors, centred, logits, present, resolve, unit_stride
from attnlib._rows.one_pass import Found
from attnlib._rows.tiles import rows_by_tiles
from attnlib._transforms import forward_mode, found, readable, transformed
from attnlib._validate import floating_tensor
from attnlib.errors import InvalidArgument

Engine: TypeAlias = Literal["tiles", "kernels", "triton", "compiled", "blockwise", "reference"]

_FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]


def engine_for(
    impl: str, device: torch.device, only_hides: bool, dtype: torch.dtype = torch.float32
) -> Engine:
    """What in fact runs for statistics of rows: ``fused`` stands for kernels on CUDA and tiles elsewhere.

    ``only_hides``: whether logits are products of q and k that a mask or causality hides, and nothing more.
    """
    if impl == "reference":
        return "reference"
    if impl == "blockwise":
        return "blockwise"
    if impl == "triton":
        return "triton"
    if impl == "compiled":
        return "compiled"
    if device.type != "cuda":
        return "tiles"
    # Kernels know no float64, and return sum p k, not sum p bias: other rows are written out.
    return "kernels" if only_hides and dtype != torch.float64 else "blockwise"


def _engine(impl: str, tensors: Tensors, geometry: Geometry) -> Engine:
    engine = engine_for(impl, tensors.q.device, _only_hides(tensors, geometry), tensors.q.dtype)
    if engine == "reference":
        return engine
    if engine in ("triton", "compiled"):
        if forward_mode(*tensors):
            raise InvalidArgument(
                f"impl={impl!r} has no forward-mode derivatives: take another impl for them"
            )
        return engine
    # No operator of ours carries forward-mode derivatives along, and no other knows of weights.
    return "blockwise" if tensors.weight is not None or forward_mode(*tensors) else engine


def _only_hides(tensors: Tensors, geometry: Geometry) -> bool:
    return geometry.bias_varies is False and _suits_kernels(tensors, geometry.pattern)


def _suits_kernels(tensors: Tensors, pattern: Pattern) -> bool:
    """Whether PyTorch's kernels know this pattern, and nobody asks for the gradient of the bias."""
    band = not pattern.bounded or pattern.is_causal
    learned = tensors.bias is not None and tensors.bias.requires_grad
    return band and not learned and pattern.softcap is None and tensors.row_segments is None


def resolve_for(
    impl: str,
    q: Tensor,
    k: Tensor,
    v: Tensor | None,
    *,
    allowed: tuple[str, ...] = IMPLS,
    **arguments: Any,
) -> tuple[Tensors, Geometry]:
    """Check the arguments and bring them into the layout and the dtype that ``impl`` computes in."""
    check_impl(impl, allowed)
    dtype = computing_dtype(impl, floating_tensor("q", q).dtype)
    require(impl, q.device)
    return resolve(q, k, v, dtype=dtype, **arguments)


def require(impl: str, device: torch.device) -> None:
    """Raise unless what ``impl`` asks for can run on tensors of this device."""
    if impl == "triton":
        from attnlib._rows import by_triton

        by_triton.require(device)
    elif impl == "compiled":
        from attnlib._rows import compiled

        compiled.require(device)


class Rows(NamedTuple):
    """Results in kernel layout; lse is -inf in rows without keys, None stands for what was not asked for.

    lse and output know of a sink, all else is of the keys alone.
    """

    output: Tensor | None
    lse: Tensor
    entropy: Tensor
    varentropy: Tensor | None
    renyi: dict[float, Tensor]
    max_logit: Tensor | None
    sink_share: Tensor | None = None
    log_total: Tensor | None = None
    """lse minus the largest logit, without gradient, where an engine knows it better than by subtraction."""


def _by_tiles(tensors: Tensors, pattern: Pattern, with_moments: bool, with_largest: bool) -> Rows:
    return _in_one_pass(rows_by_tiles(tensors, pattern, with_moments))


def _by_triton(
    tensors: Tensors,
    pattern: Pattern,
    with_moments: bool,
    with_largest: bool,
    narrow: torch.dtype | None = None,
) -> Rows:
    from attnlib._rows.by_triton import rows_by_triton

    return _in_one_pass(rows_by_triton(tensors, pattern, with_moments, narrow))


def _by_compiled(tensors: Tensors, pattern: Pattern, with_moments: bool, with_largest: bool) -> Rows:
    from attnlib._rows.compiled import rows_by_compiled

    return _in_one_pass(rows_by_compiled(tensors, pattern, with_moments))


def _in_one_pass(found: Found) -> Rows:
    return Rows(
        found.output,
        found.lse,
        found.entropy,
        found.varentropy,
        {} if found.renyi is None else {2.0: found.renyi},
        found.largest,
        log_total=found.log_total,
    )


def _by_kernels(tensors: Tensors, pattern: Pattern, with_moments: bool, with_largest: bool) -> Rows:
    lse, entropy, varentropy, result = rows_by_kernels(tensors, pattern, with_moments)
    if not with_largest:
        return Rows(result, lse, entropy, varentropy, {}, None)
    # No kernel returns it.
    largest, log_total = blockwise("largest", tensors._replace(v=None), pattern)
    return Rows(result, lse, entropy, varentropy, {}, largest, log_total=log_total)


def _together(tensors: Tensors, pattern: Pattern) -> tuple[Tensors, Tensor | None]:
    """With keys centred; heads cut out of wider vectors, which are read many times, lie together."""
    return centred(tensors._replace(q=tensors.q.contiguous(), k=tensors.k.contiguous()), pattern)


def _as_given(tensors: Tensors, pattern: Pattern) -> tuple[Tensors, None]:
    """As they are: the dtype that they came in does not hold centred keys."""
    return tensors, None


def _fused(
    tensors: Tensors,
    geometry: Geometry,
    orders: set[float],
    with_varentropy: bool,
    rows: Callable[[Tensors, Pattern, bool, bool], Rows],
    prepare: Callable[[Tensors, Pattern], tuple[Tensors, Tensor | None]] = _together,
) -> Rows:
    """All that is asked for, given how to get lse and entropy, and with them the moments, at one scale.

    ``prepare``: what is read in place of the tensors, and what that takes from each row's logits.
    """
    pattern, dtype = geometry.pattern, tensors.q.dtype
    tensors, shift = prepare(tensors, pattern)
    written = {o for o in orders if as_limit(o, dtype) == math.inf or abs(o - 1) < NEAR_ONE}
    with_largest = with_varentropy or bool(orders - written)
    found = rows(tensors, pattern, with_varentropy, with_largest)
    renyi = {order: found.renyi[order] for order in orders.intersection(found.renyi)}
    tensors = tensors._replace(v=None)
    if written:
        renyi |= zip(sorted(written), blockwise("renyi", tensors, pattern, sorted(written)))
    for order in orders.difference(renyi):
        bias = None if tensors.bias is None else order * tensors.bias
        other = rows(tensors._replace(bias=bias), pattern.times(order), False, True)
        # Both sums are taken from the row's largest logit, however large: lse itself would cancel.
        totals = [present(x.log_total).detach() for x in (found, other)]
        value = ((totals[1] - order * totals[0]) / (1 - order)).clamp(min=0)
        slope = (other.lse - order * found.lse) / (1 - order)
        renyi[order] = value + (slope - slope.detach())
    return _shifted(found._replace(renyi=renyi), shift)


def _shifted(rows: Rows, shift: Tensor | None) -> Rows:
    """Put back what centring the keys took from the logits."""
    if shift is None:
        return rows
    largest = None if rows.max_logit is None else rows.max_logit + shift
    return rows._replace(lse=rows.lse + shift, max_logit=largest)


def _in_blocks(tensors: Tensors, geometry: Geometry, orders: set[float], with_varentropy: bool) -> Rows:
    tensors, shift = centred(tensors, geometry.pattern)
    listed = sorted(orders)
    results = blockwise("statistics", tensors, geometry.pattern, (float(with_varentropy), *listed))
    return _shifted(_name(results, tensors.v is not None, listed, with_varentropy), shift)


def _reference(tensors: Tensors, geometry: Geometry, orders: set[float], with_varentropy: bool) -> Rows:
    listed = sorted(orders)
    s = logits(tensors, geometry.pattern)
    results = statistics(s, tensors.v, tensors.weight, (float(with_varentropy), *listed))
    return _name(results, tensors.v is not None, listed, with_varentropy)


def _name(results: tuple[Tensor, ...], with_output: bool, orders: list[float], with_varentropy: bool) -> Rows:
    lse, entropy, largest, *rest = results
    output = rest.pop() if with_output else None
    varentropy = rest.pop() if with_varentropy else None
    return Rows(output, lse, entropy, varentropy, dict(zip(orders, rest)), largest)


def evaluate(
    tensors: Tensors, geometry: Geometry, orders: set[float], with_varentropy: bool, impl: str
) -> Rows:
    """lse, entropy and whatever else is asked for of every row of arguments resolved for ``impl``."""
    engine = _engine(impl, tensors, geometry)
    if engine == "tiles":
        rows = _fused(tensors, geometry, orders, with_varentropy, _by_tiles)
    elif engine == "triton":
        by_triton = functools.partial(_by_triton, narrow=geometry.narrow)
        prepare = _together if geometry.narrow is None else _as_given
        rows = _fused(tensors, geometry, orders, with_varentropy, by_triton, prepare)
    elif engine == "compiled":
        from attnlib._rows import compiled

        rows = _fused(tensors, geometry, orders, with_varentropy, _by_compiled, compiled.centred)
    elif engine == "kernels":
        rows = _fused(tensors, geometry, orders, with_varentropy, _by_kernels)
    elif engine == "blockwise":
        rows = _in_blocks(tensors, geometry, orders, with_varentropy)
    else:
        rows = _reference(tensors, geometry, orders, with_varentropy)
    _refuse_overflow(rows, geometry)
    if tensors.empty is not None:
        lse, largest = (
            x if x is None else x.masked_fill(geometry.empty, -math.inf) for x in (rows.lse, rows.max_logit)
        )
        rows = rows._replace(lse=present(lse), max_logit=largest)
    return _with_sink(rows, geometry)


def _refuse_overflow(rows: Rows, geometry: Geometry) -> None:
    values = [x for x in (rows.lse, rows.entropy, rows.max_logit, *rows.renyi.values()) if x is not None]
    if not readable(rows.lse) or all(torch.isfinite(x.detach().sum()) for x in values):
        return
    bad = ~torch.stack([x.detach().isfinite() for x in values]).all(dim=0) & ~geometry.empty
    if bad.any():
        raise InvalidArgument(
            f"q and k give logits beyond the range of {rows.lse.dtype} in {int(bad.sum())} of {bad.numel()} "
            "rows: scale them down, or pass float64"
        )


def _refuse_large_inputs(tensors: Tensors, pattern: Pattern) -> None:
    """Raise where logits overflow, of which an output may show nothing."""
    q, k = tensors.q, tensors.k
    if not readable(q, k) or not q.numel():
        return
    largest = torch.finfo(at_least_float32(q.dtype)).max
    sizes = [max(abs(float(end)) for end in torch.aminmax(x.detach())) for x in (q, k)]
    if q.shape[-1] * sizes[0] * sizes[1] * max(pattern.scale, 1.0) < largest / 4:
        return
    wider = tensors._replace(q=q.to(at_least_float32(q.dtype)), k=k.to(at_least_float32(q.dtype)), v=None)
    ties, spread, _ = blockwise("extremes", wider, replace(pattern, softcap=None))
    (log_total,) = blockwise("renyi", wider, pattern, (math.inf,))
    if not (spread.isfinite() & log_total.isfinite()).all():
        raise InvalidArgument(
            f"q and k give logits beyond the range of {spread.dtype}: scale them down, or pass float64"
        )


def key_share(lse: Tensor, sink: Tensor) -> Tensor:
    """The part of each row's weight that its keys have, the rest being that of the sink; 0 without keys."""
    gone = lse == -math.inf
    return torch.sigmoid(lse.masked_fill(gone, 0) - sink).masked_fill(gone, 0)


def beside_sink(lse: Tensor, sink: Tensor) -> tuple[Tensor, Tensor]:
    """lse of rows with a sink, and its share of their weight, from the lse of their keys."""
    gone = lse == -math.inf
    held = lse.masked_fill(gone, 0)
    whole = torch.where(gone, sink, held - logsigmoid(held - sink))
    return whole, torch.sigmoid(sink - held).masked_fill(gone, 1)


def _with_sink(rows: Rows, geometry: Geometry) -> Rows:
    if geometry.sink is None:
        return rows._replace(sink_share=torch.zeros_like(rows.lse))
    lse, share = beside_sink(rows.lse, geometry.sink)
    result = rows.output
    if result is not None:
        result = result * key_share(rows.lse, geometry.sink)[..., None]
    return rows._replace(lse=lse, output=result, sink_share=share)


def attend(tensors: Tensors, geometry: Geometry, impl: str) -> Tensor:
    """Output of softmax attention without statistics, (B, H, Lq, dv), 0 where a row sees no key.

    ``fused`` is PyTorch's own choice among its fused kernels, on any device, for what these know; other rows
    are written out in blocks.
    """
    _refuse_large_inputs(tensors, geometry.pattern)
    if impl == "reference":
        result, lse = output(logits(tensors, geometry.pattern), tensors.v, tensors.weight, ())
    elif impl == "fused" and geometry.sink is None and tensors.weight is None:
        result, lse = _attend_to_keys(tensors, geometry), None
    else:
        result, lse = _write_output(tensors, geometry.pattern)
    if found(~result.detach().isfinite()):
        raise InvalidArgument(
            f"q, k and v give logits or outputs beyond the range of {result.dtype}: scale them down, or pass "
            "float64"
        )
    return result if geometry.sink is None else result * key_share(present(lse), geometry.sink)[..., None]


def _write_output(tensors: Tensors, pattern: Pattern) -> tuple[Tensor, Tensor]:
    """Output and lse of rows written out block by block, in float32 at least."""
    dtype = at_least_float32(tensors.q.dtype)
    bias = None if tensors.bias is None else tensors.bias.to(dtype)
    q, k, v = tensors.q.to(dtype), tensors.k.to(dtype), tensors.values.to(dtype)
    result, lse = blockwise("output", tensors._replace(q=q, k=k, v=v, bias=bias), pattern)
    return result, lse


def _has_kernels(q: Tensor) -> bool:
    """Whether PyTorch has kernels of the device and the dtype of ``q``: those of CUDA know no float64."""
    return q.device.type in KERNELS and (q.device.type != "cuda" or q.dtype != torch.float64)


def _attend_to_keys(tensors: Tensors, geometry: Geometry) -> Tensor:
    """Output by whichever kernel suits, the sink aside."""
    q, k, v = tensors.q, tensors.k, tensors.values
    pattern, bias = geometry.pattern, tensors.bias
    if not q.numel():
        return q[..., :1] * v[..., :1, :]
    if bias is not None and bias.shape[-1] == 1 and tensors.shape[-1] > 1 and not bias.requires_grad:
        # What is the same for all keys of a row changes no weight; rows that it hides are put right below.
        bias = None
    only_rows_alike = bias is None or bias.shape[-2] == 1
    # Causality has to be written into a bias. One that is the same for all rows would become as large as the
    # matrix, unless it only hides keys: those are told by columns of their own instead.
    by_columns = pattern.is_causal and bias is not None and only_rows_alike
    suits = _suits_kernels(tensors, pattern) and not (by_columns and geometry.bias_varies is not False)
    if not suits or not _has_kernels(q) or forward_mode(*tensors):
        return _write_output(tensors, pattern)[0]
    width = v.shape[-1]
    is_causal = pattern.is_causal
    if by_columns:
        q, k = _with_columns(q, k, present(bias), pattern.scale)
        bias = None
    elif bias is not None and is_causal:
        future = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).triu(1)
        bias, is_causal = bias.masked_fill(future, -math.inf), False
    if transformed(q):
        # What a transform maps over, a kernel called as a pass knows how to take.
        told = tensors._replace(q=q, k=k, v=v, bias=bias)
        return attend_by_kernels(told, Pattern(pattern.scale, None, 0 if is_causal else None))
    if bias is not None:
        bias = unit_stride(bias.expand(*bias.shape[:-2], q.shape[-2], k.shape[-2]))
    # Unequal head sizes would send PyTorch to its n x n implementation.
    full = max(q.shape[-1], v.shape[-1])
    with sdpa_kernel(_FUSED):
        result = scaled_dot_product_attention(
            wide(q, full),
            wide(k, full),
            wide(v, full),
            attn_mask=bias,
            is_causal=is_causal,
            scale=pattern.scale,
        )
    return tensors.hide_empty(result[..., :width], 0)


def _with_columns(q: Tensor, k: Tensor, bias: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """q and k with eight more columns, whose product is 0 for a visible key and far below all for another."""
    largest = torch.finfo(q.dtype).max
    # Products of narrow numbers are formed in float32, where float16's two largest make one large enough.
    of_q, of_k = (largest, largest) if q.dtype == torch.float16 else (1.0, largest / 64 / max(1.0, scale))
    column = (bias == -math.inf).to(k.dtype).mT * -of_k
    columns = column.expand(*k.shape[:-1], 1).expand(*k.shape[:-1], 8)
    return pad(q, (0, 8), value=of_q), torch.cat([k, columns], dim=-1)
