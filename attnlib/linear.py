"""Linear attention phi(q).phi(k) in O(n d^2): whole, causal, streaming, and the sparsity of its rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnlib._layout import Layout, at_least_float32, resolve
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

    Shapes (..., heads, r, dv) and (..., heads, r) for features of size r; the size does not grow with n.

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
    """S*_{1,2} and effective tokens 1 / sum p^2 of every row, each of shape (..., heads, n).

    Source: U5, U7; 9889-C10.

    >>> import torch
    >>> rows = linear_row_statistics(torch.ones(1, 4), torch.eye(4)[:2], feature_map=torch.relu)
    >>> rows.effective_tokens
    tensor([2.])
    """

    sparsity: Tensor
    effective_tokens: Tensor


def _features(feature_map: Callable[[Tensor], Tensor], name: str, x: Tensor) -> Tensor:
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


def _weights_over_keys(layout: Layout) -> Tensor | None:
    """1 where a key is visible and 0 where not, (B, H, Lk, 1), for a mask that is the same for all rows."""
    if layout.bias is None:
        return None
    if layout.bias.shape[-2] != 1:
        raise InvalidArgument(
            "attn_mask must be the same for all rows, of shape (..., 1, m), for "
            "impl='linear'; name impl='reference' for other masks"
        )
    if layout.bias_varies:
        raise InvalidArgument("attn_mask must hide keys only: True/False, or 0/-inf")
    return (layout.bias > -math.inf).to(layout.q.dtype).mT


def _ratio(total: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums over their weight; a row of zero weight throughout is 0, any other is an error."""
    nothing = weight == 0
    if (nothing[..., None] & (total != 0)).any():
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
    inside = (q @ k.mT).tril() @ v
    # past[c] is the state before chunk c; one more entry holds the final state.
    past = torch.cat([start.unsqueeze(-3), k.mT @ v], dim=-3).cumsum(dim=-3)
    output = inside + q @ past[..., :-1, :, :]
    return output.flatten(-3, -2)[..., :n, :], past[..., -1, :, :]


def _with_ones(v: Tensor) -> Tensor:
    """Values with a last column of ones, whose weighted sum is the normaliser."""
    return torch.cat([v, v.new_ones(v.shape[:-1] + (1,))], dim=-1)


def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    feature_map: Callable[[Tensor], Tensor],
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    enable_gqa: bool = False,
    impl: str = "linear",
) -> Tensor:
    """Linear attention, sum_j phi(q).phi(k_j) v_j / sum_j phi(q).phi(k_j), in O(n d^2).

    Shapes: q (..., heads, n, d), k (..., heads, m, d), v (..., heads, m, dv); the output is (..., heads, n,
    dv) in the dtype and on the device of q, computed in float32 at least. ``feature_map`` takes (..., d) to
    (..., r) and is applied to q and to k. ``attn_mask`` may hide keys from all rows alike (shape (..., 1,
    m)); masks that differ from row to row need ``impl='reference'``, which forms the matrix in float64.
    ``is_causal`` is top-left aligned and works in chunks.

    A row all of whose weights are zero, as of one that sees no key, has output 0. A row whose weights cancel
    to the sum 0, which features of both signs can bring about, raises
    :class:`~attnlib.errors.InvalidArgument`, as do arguments of wrong shape or value; ``TypeError`` else.

    Source: 9889-C9, 9889-C10.

    >>> import torch
    >>> q, k, v = torch.randn(3, 1, 4, 300, 8)
    >>> phi = lambda x: torch.nn.functional.elu(x) + 1
    >>> fast = linear_attention(q, k, v, feature_map=phi, is_causal=True)
    >>> full = linear_attention(q, k, v, feature_map=phi, is_causal=True, impl="reference")
    >>> bool(torch.allclose(fast, full, atol=1e-5))
    True
    """
    if impl not in ("linear", "reference"):
        raise InvalidArgument(f"impl must be 'linear' or 'reference', got {impl!r}")
    layout = _resolve(q, k, v, attn_mask, is_causal, enable_gqa, impl)
    phi_q, phi_k = _features(feature_map, "q", layout.q), _features(feature_map, "k", layout.k)
    values = _with_ones(layout.v)
    if impl == "reference":
        total = _dense_weights(layout, phi_q, phi_k) @ values
    else:
        visible = _weights_over_keys(layout)
        if visible is not None:
            phi_k = phi_k * visible
        if is_causal:
            total = _prefix(phi_q, phi_k, values)
        else:
            total = phi_q @ (phi_k.mT @ values)
    return layout.rows(_ratio(total[..., :-1], total[..., -1]))


def _resolve(q, k, v, attn_mask, is_causal, enable_gqa, impl) -> Layout:
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
        dtype=torch.float64 if impl == "reference" else at_least_float32(q),
    )


def _prefix(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal sums for any two lengths: rows beyond the last key see all keys, keys beyond the rows none."""
    n_q, n_k = q.shape[-2], k.shape[-2]
    k, v = (pad(x[..., :n_q, :], (0, 0, 0, max(0, n_q - n_k))) for x in (k, v))
    start = k.new_zeros(k.shape[:-2] + (k.shape[-1], v.shape[-1]))
    return _causal_sum(q, k, v, start)[0]


def _dense_weights(layout: Layout, phi_q: Tensor, phi_k: Tensor) -> Tensor:
    weights = phi_q @ phi_k.mT
    if layout.bias is not None:
        if layout.bias_varies:
            raise InvalidArgument("attn_mask must hide keys only: True/False, or 0/-inf")
        weights = weights * (layout.bias > -math.inf)
    return weights.tril() if layout.is_causal else weights


def linear_attention_stream(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    feature_map: Callable[[Tensor], Tensor],
    state: LinearAttentionState | None = None,
) -> tuple[Tensor, LinearAttentionState]:
    """Causal linear attention over the next tokens of a sequence, with the state it keeps of the past.

    Shapes: q, k (..., heads, n, d), v (..., heads, n, dv) for n new tokens, one or many; the output is
    (..., heads, n, dv). Cutting a sequence into pieces of any lengths gives the output of the whole up to
    rounding. The state is in float32 at least; errors are those of :func:`linear_attention`.

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
    layout = _resolve(q, k, v, None, True, False, "linear")
    if layout.q.shape[-2] != layout.k.shape[-2]:
        raise InvalidArgument(
            f"q and k must hold the same tokens, got {layout.q.shape[-2]} and {layout.k.shape[-2]}"
        )
    phi_q, phi_k = _features(feature_map, "q", layout.q), _features(feature_map, "k", layout.k)
    values = _with_ones(layout.v)
    shape = phi_k.shape[:-2] + (phi_k.shape[-1], values.shape[-1])
    if state is None:
        start = phi_k.new_zeros(shape)
    else:
        expected = layout.lead + shape[2:]
        joined = torch.cat([state.kv, state.z[..., None]], dim=-1)
        if joined.shape != expected:
            raise InvalidArgument(
                f"state must have kv of shape {(*expected[:-1], expected[-1] - 1)}, "
                f"got {tuple(state.kv.shape)}"
            )
        start = joined.to(phi_k).reshape(shape)
    total, end = _causal_sum(phi_q, phi_k, values, start)
    end = end.reshape(layout.lead + end.shape[2:])
    output = layout.rows(_ratio(total[..., :-1], total[..., -1]))
    return output, LinearAttentionState(kv=end[..., :-1], z=end[..., -1])


def linear_row_statistics(
    q: Tensor,
    k: Tensor,
    *,
    feature_map: Callable[[Tensor], Tensor],
    is_causal: bool = False,
    enable_gqa: bool = False,
    impl: str = "linear",
) -> LinearRowStatistics:
    """Sparsity and effective tokens of the rows of linear attention, exact in O(n d^2).

    With weights a_j = phi(q).phi(k_j) >= 0, sum a^2 = phi(q)^T (sum phi(k) phi(k)^T) phi(q); effective tokens
    are (sum a)^2 / sum a^2 and S*_{1,2} is the root of their share among the keys the row sees.

    Shapes: q (..., heads, n, d), k (..., heads, m, d); both results (..., heads, n), in the dtype and on the
    device of q, computed in float32 at least. ``impl='reference'`` forms the matrix in float64.
    Features must not be negative: of weights of both signs the l1 norm is not a sum over keys, and
    :class:`~attnlib.errors.InvalidArgument` is raised. A row without any weight counts as a single key.

    Source: 9889-C10.

    >>> import torch
    >>> k = torch.eye(4)
    >>> linear_row_statistics(torch.ones(1, 4), k, feature_map=torch.relu)
    LinearRowStatistics(sparsity=tensor([1.]), effective_tokens=tensor([4.]))
    """
    if impl not in ("linear", "reference"):
        raise InvalidArgument(f"impl must be 'linear' or 'reference', got {impl!r}")
    layout = _resolve(q, k, None, None, is_causal, enable_gqa, impl)
    phi_q, phi_k = _features(feature_map, "q", layout.q), _features(feature_map, "k", layout.k)
    for name, phi in (("q", phi_q), ("k", phi_k)):
        if (phi < 0).any():
            raise InvalidArgument(f"feature_map({name}) must not be negative, got {phi.min().item()}")
    if impl == "reference":
        weights = _dense_weights(layout, phi_q, phi_k)
        first, second = weights.sum(dim=-1), weights.square().sum(dim=-1)
    else:
        # Both statistics are homogeneous in phi(q) and in all phi(k) together, so that neither need overflow.
        phi_q = phi_q / _largest(phi_q, (-1,))
        phi_k = phi_k / _largest(phi_k, (-2, -1))
        ones = phi_k.new_ones(phi_k.shape[:-1] + (1,))
        if is_causal:
            first, second = _causal_moments(phi_q, phi_k, ones)
        else:
            first = (phi_q @ phi_k.sum(dim=-2)[..., None]).squeeze(-1)
            second = (phi_q * (phi_q @ (phi_k.mT @ phi_k))).sum(dim=-1)
    nothing = second == 0
    effective = (first.square() / second.masked_fill(nothing, 1)).masked_fill(nothing, 1)
    return LinearRowStatistics(
        sparsity=layout.rows((effective / layout.visible).sqrt()), effective_tokens=layout.rows(effective)
    )


def _largest(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    top = x.detach().amax(dim=dims, keepdim=True)
    return top.masked_fill(top == 0, 1)


def _causal_moments(phi_q: Tensor, phi_k: Tensor, ones: Tensor) -> tuple[Tensor, Tensor]:
    first = _prefix(phi_q, phi_k, ones).squeeze(-1)
    # sum_j a_j phi(k_j) for j <= i, once more against phi(q_i), is sum a^2.
    second = (phi_q * _prefix(phi_q, phi_k, phi_k)).sum(dim=-1)
    return first, second
