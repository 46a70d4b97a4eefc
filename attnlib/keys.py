"""Attention seen from the keys: what each receives, and how few of them hold a row's weight.

Sums over rows, or over the largest entries of one, are no function of F: both are formed from the weights,
written out block by block, and no n x n matrix.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from attnlib._implementations import (
    WRITTEN_IMPLS,
    WrittenImpl,
    check_impl,
    computing_dtype,
    exact_under_autocast,
)
from attnlib._rows.blockwise import blockwise
from attnlib._rows.columns import key_rows
from attnlib._rows.dense import WrittenRows, keys_for_mass
from attnlib._rows.dense import top_mass as written_top_mass
from attnlib._rows.engine import evaluate, key_share
from attnlib._rows.layout import Geometry, Tensors, logits, resolve
from attnlib._types import Scale, SegmentIds, Window
from attnlib._validate import floating_tensor, real_number
from attnlib.errors import InvalidArgument

__all__ = ["KeyStatistics", "key_statistics", "top_mass"]


class KeyStatistics(NamedTuple):
    """What every key receives from the rows: in sum, from the mean of the rows that see it, and at most.

    A key that no row sees has 0 throughout.

    Shapes: each (..., heads, m).

    Source: the column sums of the weights; 1 for every key where attention is spread evenly, n = m.

    >>> import torch
    >>> keys = key_statistics(torch.zeros(4, 8), torch.randn(4, 8))
    >>> keys.received, keys.max_received
    (tensor([1., 1., 1., 1.]), tensor([0.2500, 0.2500, 0.2500, 0.2500]))
    """

    received: Tensor
    mean_received: Tensor
    max_received: Tensor


def _shares(tensors: Tensors, geometry: Geometry, impl: str) -> Tensor | None:
    """What a sink leaves to the keys of each row; None without one."""
    rows = evaluate(tensors, geometry.without_sink(), set(), False, impl)
    return None if geometry.sink is None else key_share(rows.lse, geometry.sink)


@exact_under_autocast
def key_statistics(
    q: Tensor,
    k: Tensor,
    *,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: Scale = None,
    enable_gqa: bool = False,
    softcap: float | None = None,
    sink: Tensor | None = None,
    window: Window = None,
    segment_ids: SegmentIds = None,
    impl: WrittenImpl = "blockwise",
) -> KeyStatistics:
    """The weight that every key receives from the rows of softmax(scale * q k^T), without the matrix.

    Computed in float32 at least, under autocast too. Differentiable in every tensor. A sink takes its share
    of each row first. Of grouped queries each head is told apart, as is its use of the keys it shares.
    Values are checked where they can be looked at: not under ``torch.compile``, ``torch.export``, ``vmap`` or
    with fake and meta tensors.

    Args:
        q: queries (..., heads, n, d), floating-point and finite.
        k: keys (..., heads, m, d), in the dtype and on the device of q.
        attn_mask: broadcasts to (..., heads, n, m): boolean, True = visible, or floating-point and added to
            the logits. Entries of -1e4 or less hide their key; others (ALiBi, Swin's -100) are a bias, which
            may require a gradient. A ``CausalBias`` of PyTorch counts as the band that it names. May be
            combined with ``is_causal``.
        is_causal: query i sees keys 0 to i only (top-left aligned).
        scale: None for 1/sqrt(d), a number, a tensor broadcasting to (..., heads, n), or a rule ``(n, d) ->
            lambda`` given the number of keys each row sees, as an int where all rows see all keys and else as
            a tensor broadcasting to (..., heads, n).
        enable_gqa: let k (and v) have fewer heads than q, each serving a group of them.
        softcap: None, or c > 0: logits become c tanh(logits / c), before masks and biases, as in Gemma 2.
        sink: None, or (heads,): a logit of each row without key or value, in the denominator only, as in
            gpt-oss.
        window: None, or how many keys a row sees on either side of its own place: an int, or (left, right).
            May be combined with ``is_causal``.
        segment_ids: None, or integers (..., n): a row sees the keys with its own number only, as of packed
            documents; a pair of tensors gives those of the queries and those of the keys.
        impl: ``"blockwise"`` writes out a bounded block of rows at a time, forward and backward,
            differentiable once; ``"reference"`` forms the matrix in float64.

    Returns:
        :class:`KeyStatistics` in the dtype and on the device of q; dimensionless.

    Raises:
        TypeError: an argument of the wrong type, or a tensor that is not floating-point.
        InvalidArgument: NaN or infinity, shapes that do not fit, another word for ``impl``, or logits beyond
            the range of the dtype that they are computed in.

    Shapes: each result (..., heads, m).

    Source: column sums of the weights p, whose row sums are 1.

    >>> import torch
    >>> q, k = torch.randn(2, 4, 16, 8)
    >>> received = key_statistics(q, k, is_causal=True).received
    >>> bool(torch.allclose(received.sum(-1), torch.tensor(16.0)))
    True
    """
    check_impl(impl, WRITTEN_IMPLS)
    tensors, geometry = resolve(
        q,
        k,
        attn_mask=attn_mask,
        is_causal=is_causal,
        scale=scale,
        enable_gqa=enable_gqa,
        softcap=softcap,
        sink=sink,
        window=window,
        segment_ids=segment_ids,
        dtype=computing_dtype(impl, floating_tensor("q", q).dtype),
    )
    share = _shares(tensors, geometry, impl)
    if impl == "reference":
        s = logits(tensors, geometry.pattern)
        p = WrittenRows(s).p
        p = p if share is None else p * share[..., None]
        received, largest, rows = p.sum(dim=-2), p.amax(dim=-2), (s > -torch.inf).sum(dim=-2)
    else:
        received, largest, rows = key_rows(tensors._replace(weight=share), geometry.pattern)
    mean = received / rows.clamp(min=1)
    return KeyStatistics(*(geometry.rows(x) for x in (received, mean, largest)))


@exact_under_autocast
def top_mass(
    q: Tensor,
    k: Tensor,
    *,
    count: int | None = None,
    mass: float | None = None,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: Scale = None,
    enable_gqa: bool = False,
    softcap: float | None = None,
    sink: Tensor | None = None,
    window: Window = None,
    segment_ids: SegmentIds = None,
    impl: WrittenImpl = "blockwise",
) -> Tensor:
    """The weight of the largest keys of every row, or how many of them hold a given weight.

    Exact, by sorting each row once it is written out; never the matrix. Computed in float32 at least, under
    autocast too. The weight is differentiable in every tensor. A sink takes its share of each row first; a
    row whose keys hold less than ``mass`` together counts all that it sees, and one that sees none has
    weight 0 and count 0. Values are checked where they can be looked at: not under ``torch.compile``,
    ``torch.export``, ``vmap`` or with fake and meta tensors.

    Args:
        q: queries (..., heads, n, d), floating-point and finite.
        k: keys (..., heads, m, d), in the dtype and on the device of q.
        count: how many keys, at least 1: the result is their weight.
        mass: a weight in (0, 1]: the result is the least number of keys that hold it. One of the two is
            given.
        attn_mask: broadcasts to (..., heads, n, m): boolean, True = visible, or floating-point and added to
            the logits. Entries of -1e4 or less hide their key; others (ALiBi, Swin's -100) are a bias, which
            may require a gradient. A ``CausalBias`` of PyTorch counts as the band that it names. May be
            combined with ``is_causal``.
        is_causal: query i sees keys 0 to i only (top-left aligned).
        scale: None for 1/sqrt(d), a number, a tensor broadcasting to (..., heads, n), or a rule ``(n, d) ->
            lambda`` given the number of keys each row sees, as an int where all rows see all keys and else as
            a tensor broadcasting to (..., heads, n).
        enable_gqa: let k (and v) have fewer heads than q, each serving a group of them.
        softcap: None, or c > 0: logits become c tanh(logits / c), before masks and biases, as in Gemma 2.
        sink: None, or (heads,): a logit of each row without key or value, in the denominator only, as in
            gpt-oss.
        window: None, or how many keys a row sees on either side of its own place: an int, or (left, right).
            May be combined with ``is_causal``.
        segment_ids: None, or integers (..., n): a row sees the keys with its own number only, as of packed
            documents; a pair of tensors gives those of the queries and those of the keys.
        impl: ``"blockwise"`` writes out a bounded block of rows at a time, forward and backward,
            differentiable once; ``"reference"`` forms the matrix in float64.

    Returns:
        The weight, in the dtype and on the device of q; or the number of keys, int64.

    Raises:
        TypeError: an argument of the wrong type, or a tensor that is not floating-point.
        InvalidArgument: both or neither of ``count`` and ``mass``, or one out of range; NaN or infinity,
            shapes that do not fit, another word for ``impl``, or logits beyond the range of the dtype that
            they are computed in.

    Shapes: the result (..., heads, n).

    Source: the concentration curve of a row, 9595 (its area is the Gini index).

    >>> import torch
    >>> q, k = torch.zeros(1, 8), torch.randn(10, 8)
    >>> top_mass(q, k, count=3), top_mass(q, k, mass=0.75)
    (tensor([0.3000]), tensor([8]))
    """
    check_impl(impl, WRITTEN_IMPLS)
    if (count is None) == (mass is None):
        raise InvalidArgument(f"one of count and mass must be given, got count={count} and mass={mass}")
    if count is not None and (isinstance(count, bool) or not isinstance(count, int)):
        raise TypeError(f"count must be an int, got {type(count).__name__}")
    if count is not None and count < 1:
        raise InvalidArgument(f"count must be at least 1, got {count}")
    if mass is not None:
        mass = real_number("mass", mass, low=0, high=1, low_open=True)
    tensors, geometry = resolve(
        q,
        k,
        attn_mask=attn_mask,
        is_causal=is_causal,
        scale=scale,
        enable_gqa=enable_gqa,
        softcap=softcap,
        sink=sink,
        window=window,
        segment_ids=segment_ids,
        dtype=computing_dtype(impl, floating_tensor("q", q).dtype),
    )
    share = _shares(tensors, geometry, impl)
    if mass is not None:
        tensors = tensors._replace(weight=share)
        if impl == "reference":
            (keys,) = keys_for_mass(logits(tensors, geometry.pattern), None, share, (mass,))
        else:
            (keys,) = blockwise("keys_for_mass", tensors, geometry.pattern, (mass,))
        return geometry.unfold(keys)
    told = (float(count or 1),)
    if impl == "reference":
        (held,) = written_top_mass(logits(tensors, geometry.pattern), None, None, told)
    else:
        (held,) = blockwise("top_mass", tensors, geometry.pattern, told)
    return geometry.rows(held if share is None else held * share)
