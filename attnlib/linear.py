"""Linear attention phi(q).phi(k) in O(n d^2): whole, causal, streaming, and the sparsity of its rows."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnlib._implementations import (
    LINEAR_IMPLS,
    LinearImpl,
    check_impl,
    computing_dtype,
    exact_under_autocast,
)
from attnlib._rows.layout import Geometry, Tensors, resolve
from attnlib._rows.products import product
from attnlib._transforms import found
from attnlib._types import FeatureMap
from attnlib._validate import finite, floating_tensor
from attnlib.errors import InvalidArgument

__all__ = [
    "LinearAttentionState",
    "LinearRowStatistics",
    "linear_attention",
    "linear_attention_stream",
    "linear_row_statistics",
]

_CHUNK = 128


class LinearAttentionState(NamedTuple):
    """What causal linear attention keeps of the past: ``kv`` = sum phi(k) v^T, ``z`` = sum phi(k).

    Its size does not grow with n; float32 at least.

    Shapes: (..., heads, r, dv) and (..., heads, r) for features of size r.

    Source: 9889-C16.

    >>> import torch
    >>> q, k, v = torch.randn(3, 4, 1000, 8)
    >>> _, state = linear_attention_stream(q, k, v, feature_map=torch.exp)
    >>> state.kv.shape, state.z.shape
    (torch.Size([4, 8, 8]), torch.Size([4, 8]))
    """

    kv: Tensor
    z: Tensor


class LinearRowStatistics(NamedTuple):
    """S*_{1,2} and effective tokens 1 / sum p^2 of every row of linear attention.

    Shapes: each (..., heads, n).

    Source: U5, U7; 9889-C10.

    >>> import torch
    >>> rows = linear_row_statistics(torch.ones(1, 4), torch.eye(4)[:2], feature_map=torch.relu)
    >>> rows.effective_tokens
    tensor([2.])
    """

    sparsity: Tensor
    effective_tokens: Tensor


def _features(feature_map: FeatureMap, name: str, x: Tensor) -> Tensor:
    if not callable(feature_map):
        raise TypeError(f"feature_map must be callable, got {type(feature_map).__name__}")
    out = feature_map(x)
    if not isinstance(out, Tensor) or out.shape[:-1] != x.shape[:-1]:
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise InvalidArgument(
            f"feature_map({name}) must have shape {tuple(x.shape[:-1])} + (r,), got {shape}"
        )
    finite(f"feature_map({name})", out)
    return out


def _weights_over_keys(bias: Tensor | None, geometry: Geometry) -> Tensor | None:
    """1 where a key is visible and 0 where not, (B, H, Lk, 1), for a mask that is the same for all rows."""
    if bias is None:
        return None
    if bias.shape[-2] != 1:
        raise InvalidArgument(
            "attn_mask must be the same for all rows, of shape (..., 1, m), for "
            "impl='linear'; name impl='reference' for other masks"
        )
    geometry.refuse_bias()
    return (bias > -math.inf).to(bias.dtype).mT


def _ratio(total: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums over their weight; a row of zero weight throughout is 0, any other is an error."""
    nothing = weight == 0
    if found(nothing[..., None] & (total != 0)):
        raise InvalidArgument(
            "feature_map gives a row whose weights cancel to a sum of 0, by which it cannot be normalised"
        )
    return total / weight.masked_fill(nothing, 1)[..., None]


def _chunked(x: Tensor) -> Tensor:
    return pad(x, (0, 0, 0, -x.shape[-2] % _CHUNK)).unflatten(-2, (-1, _CHUNK))


def _causal_sum(q: Tensor, k: Tensor, v: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """sum_{j <= i} (q_i.k_j) v_j after a past ``start`` = sum k v^T, and the past it leaves behind."""
    n = q.shape[-2]
    q, k, v = _chunked(q), _chunked(k), _chunked(v)
    inside = product(product(q, k.mT).tril(), v)
    # past[c] is the state before chunk c; one more entry holds the final state.
    past = torch.cat([start.unsqueeze(-3), product(k.mT, v)], dim=-3).cumsum(dim=-3)
    output = inside + product(q, past[..., :-1, :, :])
    return output.flatten(-3, -2)[..., :n, :], past[..., -1, :, :]


def _with_ones(v: Tensor) -> Tensor:
    """Values with a last column of ones, whose weighted sum is the normaliser."""
    return torch.cat([v, v.new_ones(v.shape[:-1] + (1,))], dim=-1)


@exact_under_autocast
def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    feature_map: FeatureMap,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    enable_gqa: bool = False,
    impl: LinearImpl = "linear",
) -> Tensor:
    """Linear attention, sum_j phi(q).phi(k_j) v_j / sum_j phi(q).phi(k_j), in O(n d^2).

    Computed in float32 at least, under autocast too; ``is_causal`` works in chunks. A row all of whose
    weights are zero, as of one that sees no key, has output 0.

    Args:
        q: queries (..., heads, n, d), floating-point and finite.
        k: keys (..., heads, m, d), in the dtype and on the device of q.
        v: values (..., heads, m, dv), in the dtype and on the device of q.
        feature_map: phi, applied to q and to k: takes (..., d) to (..., r).
        attn_mask: hides keys from all rows alike: boolean, or 0 and -1e4 or less, shape (..., 1, m). Masks
            that differ from row to row need ``impl="reference"``.
        is_causal: query i sees keys 0 to i only (top-left aligned).
        enable_gqa: let k (and v) have fewer heads than q, each serving a group of them.
        impl: ``"linear"`` never forms the matrix; ``"reference"`` does, in float64.

    Returns:
        The output, in the dtype and on the device of q.

    Raises:
        TypeError: an argument of the wrong type, or a tensor that is not floating-point.
        InvalidArgument: NaN or infinity, shapes that do not fit, a mask that does more than to hide keys,
            another word for ``impl``, or a row whose weights cancel to the sum 0, which features of both
            signs can bring about.

    Shapes: the output is (..., heads, n, dv).

    Source: 9889-C9, 9889-C10.

    >>> import torch
    >>> q, k, v = torch.randn(3, 1, 4, 300, 8)
    >>> phi = lambda x: torch.nn.functional.elu(x) + 1
    >>> fast = linear_attention(q, k, v, feature_map=phi, is_causal=True)
    >>> full = linear_attention(q, k, v, feature_map=phi, is_causal=True, impl="reference")
    >>> bool(torch.allclose(fast, full, atol=1e-5))
    True
    """
    check_impl(impl, LINEAR_IMPLS)
    tensors, geometry = _resolve(q, k, v, attn_mask, is_causal, enable_gqa, impl)
    if impl == "linear" and geometry.pattern.bounded and not geometry.pattern.is_causal:
        raise InvalidArgument(
            "attn_mask must be the same for all rows for impl='linear', and a CausalBias aligned to the last "
            "key is not; name impl='reference'"
        )
    phi_q, phi_k = _features(feature_map, "q", tensors.q), _features(feature_map, "k", tensors.k)
    values = _with_ones(tensors.values)
    if impl == "reference":
        total = product(_dense_weights(tensors.bias, geometry, phi_q, phi_k), values)
    else:
        visible = _weights_over_keys(tensors.bias, geometry)
        if visible is not None:
            phi_k = phi_k * visible
        if geometry.pattern.bounded:
            total = _prefix(phi_q, phi_k, values)
        else:
            total = product(phi_q, product(phi_k.mT, values))
    return geometry.rows(_ratio(total[..., :-1], total[..., -1]))


def _resolve(
    q: Tensor,
    k: Tensor,
    v: Tensor | None,
    attn_mask: Tensor | None,
    is_causal: bool,
    enable_gqa: bool,
    impl: LinearImpl,
) -> tuple[Tensors, Geometry]:
    if v is not None:
        floating_tensor("v", v)
    return resolve(
        q,
        k,
        v,
        attn_mask=attn_mask,
        is_causal=is_causal,
        scale=1.0,
        enable_gqa=enable_gqa,
        dtype=computing_dtype(impl, floating_tensor("q", q).dtype),
    )


def _prefix(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal sums for any two lengths: rows beyond the last key see all keys, keys beyond the rows none."""
    n_q, n_k = q.shape[-2], k.shape[-2]
    k, v = (pad(x[..., :n_q, :], (0, 0, 0, max(0, n_q - n_k))) for x in (k, v))
    start = k.new_zeros(k.shape[:-2] + (k.shape[-1], v.shape[-1]))
    return _causal_sum(q, k, v, start)[0]


def _dense_weights(bias: Tensor | None, geometry: Geometry, phi_q: Tensor, phi_k: Tensor) -> Tensor:
    weights = product(phi_q, phi_k.mT)
    if bias is not None:
        geometry.refuse_bias()
        weights = weights * (bias > -math.inf)
    return weights if geometry.pattern.high is None else weights.tril(geometry.pattern.high)


@exact_under_autocast
def linear_attention_stream(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    feature_map: FeatureMap,
    state: LinearAttentionState | None = None,
) -> tuple[Tensor, LinearAttentionState]:
    """Causal linear attention over the next tokens of a sequence, with the state it keeps of the past.

    Cutting a sequence into pieces of any lengths gives the output of the whole up to rounding.

    Args:
        q: queries (..., heads, n, d) of n new tokens, one or many; floating-point and finite.
        k: their keys (..., heads, n, d).
        v: their values (..., heads, n, dv).
        feature_map: phi, applied to q and to k: takes (..., d) to (..., r).
        state: what the call before returned; None at the start of the sequence.

    Returns:
        The output, in the dtype and on the device of q, and the new :class:`LinearAttentionState`.

    Raises:
        TypeError: an argument of the wrong type, or a tensor that is not floating-point.
        InvalidArgument: NaN or infinity, shapes that do not fit, a state of another shape, or a row whose
            weights cancel to the sum 0.

    Shapes: the output is (..., heads, n, dv).

    Source: 9889-C16.

    >>> import torch
    >>> q, k, v = torch.randn(3, 1, 4, 10, 8)
    >>> whole = linear_attention(q, k, v, feature_map=torch.exp, is_causal=True)
    >>> past, new = ([x[..., :7, :] for x in (q, k, v)], [x[..., 7:, :] for x in (q, k, v)])
    >>> first, state = linear_attention_stream(*past, feature_map=torch.exp)
    >>> last, state = linear_attention_stream(*new, feature_map=torch.exp, state=state)
    >>> bool(torch.allclose(torch.cat([first, last], -2), whole, atol=1e-5))
    True
    """
    tensors, geometry = _resolve(q, k, v, None, True, False, "linear")
    _, _, n_q, n_k = geometry.shape
    if n_q != n_k:
        raise InvalidArgument(f"q and k must hold the same tokens, got {n_q} and {n_k}")
    phi_q, phi_k = _features(feature_map, "q", tensors.q), _features(feature_map, "k", tensors.k)
    values = _with_ones(tensors.values)
    shape = phi_k.shape[:-2] + (phi_k.shape[-1], values.shape[-1])
    if state is None:
        start = phi_k.new_zeros(shape)
    else:
        expected = geometry.lead + shape[2:]
        joined = torch.cat([state.kv, state.z[..., None]], dim=-1)
        if joined.shape != expected:
            raise InvalidArgument(
                f"state must have kv of shape {(*expected[:-1], expected[-1] - 1)}, "
                f"got {tuple(state.kv.shape)}"
            )
        start = joined.to(phi_k).reshape(shape)
    total, end = _causal_sum(phi_q, phi_k, values, start)
    end = end.reshape(geometry.lead + end.shape[2:])
    output = geometry.rows(_ratio(total[..., :-1], total[..., -1]))
    return output, LinearAttentionState(kv=end[..., :-1], z=end[..., -1])


@exact_under_autocast
def linear_row_statistics(
    q: Tensor,
    k: Tensor,
    *,
    feature_map: FeatureMap,
    is_causal: bool = False,
    enable_gqa: bool = False,
    impl: LinearImpl = "linear",
) -> LinearRowStatistics:
    """Sparsity and effective tokens of the rows of linear attention, exact in O(n d^2).

    With weights a_j = phi(q).phi(k_j) >= 0, sum a^2 = phi(q)^T (sum phi(k) phi(k)^T) phi(q); effective tokens
    are (sum a)^2 / sum a^2 and S*_{1,2} is the root of their share among the keys the row sees. Features must
    not be negative: of weights of both signs the l1 norm is not a sum over keys. A row without any weight
    counts as a single key. Computed in float32 at least.

    Args:
        q: queries (..., heads, n, d), floating-point and finite.
        k: keys (..., heads, m, d), in the dtype and on the device of q.
        feature_map: phi, applied to q and to k: takes (..., d) to (..., r). Not negative.
        is_causal: query i sees keys 0 to i only (top-left aligned).
        enable_gqa: let k (and v) have fewer heads than q, each serving a group of them.
        impl: ``"linear"`` never forms the matrix; ``"reference"`` does, in float64.

    Returns:
        ``LinearRowStatistics(sparsity, effective_tokens)``, dimensionless, in the dtype and on the device of
        q.

    Raises:
        TypeError: an argument of the wrong type, or a tensor that is not floating-point.
        InvalidArgument: NaN or infinity, shapes that do not fit, a negative feature, or another word for
            ``impl``.

    Shapes: both results (..., heads, n).

    Source: 9889-C10.

    >>> import torch
    >>> k = torch.eye(4)
    >>> linear_row_statistics(torch.ones(1, 4), k, feature_map=torch.relu)
    LinearRowStatistics(sparsity=tensor([1.]), effective_tokens=tensor([4.]))
    """
    check_impl(impl, LINEAR_IMPLS)
    tensors, geometry = _resolve(q, k, None, None, is_causal, enable_gqa, impl)
    phi_q, phi_k = _features(feature_map, "q", tensors.q), _features(feature_map, "k", tensors.k)
    for name, phi in (("q", phi_q), ("k", phi_k)):
        if found(phi < 0):
            raise InvalidArgument(f"feature_map({name}) must not be negative, got {phi.min().item()}")
    if impl == "reference":
        weights = _dense_weights(None, geometry, phi_q, phi_k)
        first, second = weights.sum(dim=-1), weights.square().sum(dim=-1)
    else:
        # Both statistics are homogeneous in phi(q) and in all phi(k) together, so that neither need overflow.
        phi_q = phi_q / _largest(phi_q, (-1,))
        phi_k = phi_k / _largest(phi_k, (-2, -1))
        ones = phi_k.new_ones(phi_k.shape[:-1] + (1,))
        if is_causal:
            first, second = _causal_moments(phi_q, phi_k, ones)
        else:
            first = product(phi_q, phi_k.sum(dim=-2)[..., None]).squeeze(-1)
            second = (phi_q * product(phi_q, product(phi_k.mT, phi_k))).sum(dim=-1)
    nothing = second == 0
    effective = (first.square() / second.masked_fill(nothing, 1)).masked_fill(nothing, 1)
    return LinearRowStatistics(
        sparsity=geometry.rows((effective / geometry.visible).sqrt()),
        effective_tokens=geometry.rows(effective),
    )


def _largest(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    top = x.detach().amax(dim=dims, keepdim=True)
    return top.masked_fill(top == 0, 1)


def _causal_moments(phi_q: Tensor, phi_k: Tensor, ones: Tensor) -> tuple[Tensor, Tensor]:
    first = _prefix(phi_q, phi_k, ones).squeeze(-1)
    # sum_j a_j phi(k_j) for j <= i, once more against phi(q_i), is sum a^2.
    second = (phi_q * _prefix(phi_q, phi_k, phi_k)).sum(dim=-1)
    return first, second
