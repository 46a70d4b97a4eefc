"""Which engine answers a call, and what it needs around it: checked arguments, centred keys, other orders."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from attnlib._implementations import check_impl, computing_dtype, refuse_mask_gradient
from attnlib._rows.blockwise import blockwise
from attnlib._rows.cuda import CUDAKernels, rows_by_kernels
from attnlib._rows.dense import NEAR_ONE, WrittenRows
from attnlib._rows.kernels import Attend, CPUKernels, Kernels, wide
from attnlib._rows.layout import Geometry, Tensors, centred, present, resolve, unit_stride
from attnlib._rows.tiles import rows_by_tiles
from attnlib._types import Scale
from attnlib._validate import floating_tensor
from attnlib.errors import InvalidArgument

Engine: TypeAlias = Literal["tiles", "kernels", "blockwise", "reference"]

_KERNELS: dict[str, Kernels] = {"cpu": CPUKernels(), "cuda": CUDAKernels()}
_FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]


def engine_for(impl: str, device: torch.device, bias_varies: bool) -> Engine:
    """What in fact runs for statistics of rows: ``fused`` stands for tiles on a CPU, kernels elsewhere."""
    if impl == "reference":
        return "reference"
    if impl == "blockwise":
        return "blockwise"
    if device.type == "cpu":
        return "tiles"
    # Kernels return sum p k and not sum p bias: there, rows with a bias that varies are written out.
    return "blockwise" if bias_varies else "kernels"


def kernels_for(device: torch.device, dtype: torch.dtype) -> Kernels:
    """The kernels of a device; raises where there are none, and never falls back."""
    if device.type not in _KERNELS:
        raise InvalidArgument(
            f"impl='fused' has kernels for {' and '.join(_KERNELS)}, but q is on {device}; name another impl"
        )
    if device.type == "cuda" and dtype == torch.float64:
        raise InvalidArgument("impl='fused' has no float64 kernel on cuda, but q needs it; name another impl")
    return _KERNELS[device.type]


def resolve_for(
    impl: str,
    q: Tensor,
    k: Tensor,
    v: Tensor | None,
    *,
    attn_mask: Tensor | None,
    is_causal: bool,
    scale: Scale,
    enable_gqa: bool,
) -> tuple[Tensors, Geometry]:
    """Check the arguments and bring them into the layout and the dtype that ``impl`` computes in."""
    check_impl(impl)
    dtype = computing_dtype(impl, floating_tensor("q", q).dtype)
    if impl == "fused":
        kernels_for(q.device, dtype)
    resolved = resolve(
        q, k, v, attn_mask=attn_mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa, dtype=dtype
    )
    refuse_mask_gradient(attn_mask, impl)
    return resolved


class Rows(NamedTuple):
    """Results in kernel layout; lse is -inf in rows without keys, None stands for what was not asked for."""

    output: Tensor | None
    lse: Tensor
    entropy: Tensor
    varentropy: Tensor | None
    renyi: dict[float, Tensor]


def _by_tiles(tensors: Tensors, geometry: Geometry, with_moments: bool) -> Rows:
    output = None
    if tensors.v is not None:
        kernels = kernels_for(tensors.q.device, tensors.q.dtype)
        output = Attend.apply(*tensors, geometry, kernels)
    lse, entropy, varentropy, renyi = rows_by_tiles(tensors, geometry, with_moments)
    return Rows(output, lse, entropy, varentropy, {} if renyi is None else {2.0: renyi})


def _by_kernels(tensors: Tensors, geometry: Geometry, with_moments: bool) -> Rows:
    kernels = kernels_for(tensors.q.device, tensors.q.dtype)
    output, lse, entropy, varentropy = rows_by_kernels(tensors, geometry, kernels, with_moments)
    return Rows(None if tensors.v is None else output, lse, entropy, varentropy, {})


def _fused(
    tensors: Tensors,
    geometry: Geometry,
    orders: set[float],
    with_varentropy: bool,
    rows: Callable[[Tensors, Geometry, bool], Rows],
) -> Rows:
    """All that is asked for, given how to get lse and entropy, and with them the moments, at one scale."""
    tensors, shift = centred(tensors, geometry)
    found = rows(tensors, geometry, with_varentropy)
    renyi = {order: found.renyi[order] for order in orders.intersection(found.renyi)}
    tensors = tensors._replace(v=None)
    written = sorted(order for order in orders if order == math.inf or abs(order - 1) < NEAR_ONE)
    if written:
        values = blockwise(tensors, geometry, lambda s, _: tuple(map(WrittenRows(s).renyi, written)))
        renyi |= zip(written, values)
    for order in orders.difference(renyi):
        log_sum = rows(tensors, geometry.times(order), False).lse
        value = (log_sum - order * found.lse) / (1 - order)
        # An entropy is not negative, the rounding of a peaked row's is; the gradient stays as it is.
        renyi[order] = value + (value.clamp(min=0) - value).detach()
    lse = (found.lse + shift).masked_fill(geometry.empty, -math.inf)
    return found._replace(lse=lse, renyi=renyi)


def _write_out(
    logits: Tensor, v: Tensor | None, orders: list[float], with_varentropy: bool
) -> tuple[Tensor, ...]:
    rows = WrittenRows(logits)
    output = () if v is None else (rows.p @ v,)
    variance = (rows.varentropy(),) if with_varentropy else ()
    return (rows.lse(), rows.entropy(), *map(rows.renyi, orders), *variance, *output)


def _name(results: tuple[Tensor, ...], with_output: bool, orders: list[float], with_varentropy: bool) -> Rows:
    lse, entropy, *rest = results
    output = rest.pop() if with_output else None
    varentropy = rest.pop() if with_varentropy else None
    return Rows(output, lse, entropy, varentropy, dict(zip(orders, rest)))


def _in_blocks(tensors: Tensors, geometry: Geometry, orders: set[float], with_varentropy: bool) -> Rows:
    tensors, shift = centred(tensors, geometry)
    listed = sorted(orders)
    results = blockwise(tensors, geometry, lambda s, v: _write_out(s, v, listed, with_varentropy))
    found = _name(results, tensors.v is not None, listed, with_varentropy)
    return found._replace(lse=(found.lse + shift).masked_fill(geometry.empty, -math.inf))


def _reference(tensors: Tensors, geometry: Geometry, orders: set[float], with_varentropy: bool) -> Rows:
    listed = sorted(orders)
    results = _write_out(geometry.logits(tensors.q, tensors.k), tensors.v, listed, with_varentropy)
    return _name(results, tensors.v is not None, listed, with_varentropy)


def evaluate(
    tensors: Tensors, geometry: Geometry, orders: set[float], with_varentropy: bool, impl: str
) -> Rows:
    """lse, entropy and whatever else is asked for of every row of arguments resolved for ``impl``."""
    engine = engine_for(impl, tensors.q.device, geometry.bias_varies)
    if engine == "tiles":
        return _fused(tensors, geometry, orders, with_varentropy, _by_tiles)
    if engine == "kernels":
        return _fused(tensors, geometry, orders, with_varentropy, _by_kernels)
    written = _in_blocks if engine == "blockwise" else _reference
    return written(tensors, geometry, orders, with_varentropy)


def attend(tensors: Tensors, geometry: Geometry, impl: str) -> Tensor:
    """Output of softmax attention without statistics, (B, H, Lq, dv), 0 where a row sees no key.

    ``fused`` is PyTorch's own choice among its fused kernels, on any device.
    """
    if impl == "reference":
        return WrittenRows(geometry.logits(tensors.q, tensors.k)).p @ tensors.values
    if impl == "blockwise":
        return blockwise(tensors, geometry, lambda s, v: (WrittenRows(s).p @ present(v),))[0]
    q, k, v = tensors.q, tensors.k, tensors.values
    bias, is_causal = geometry.bias, geometry.is_causal
    if bias is not None:
        bias = unit_stride(bias.expand(*bias.shape[:-2], q.shape[-2], k.shape[-2]))
        if is_causal:
            future = torch.ones(bias.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
            bias, is_causal = bias.masked_fill(future, -math.inf), False
    # Unequal head sizes would send PyTorch to its n x n implementation.
    width = max(q.shape[-1], v.shape[-1])
    with sdpa_kernel(_FUSED):
        output = scaled_dot_product_attention(
            wide(q, width),
            wide(k, width),
            wide(v, width),
            attn_mask=bias,
            is_causal=is_causal,
            scale=geometry.scale,
        )
    return geometry.hide_empty(output[..., : v.shape[-1]], 0)
