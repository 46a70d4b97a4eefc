"""Entropy, Renyi entropies, sparsity and varentropy of every attention row, without the n x n matrix.

On a CPU they are sums over tiles of logits, see ``_tiles``. Elsewhere, with the keys as values, a fused
attention kernel returns the log-sum-exp F of a row and o = sum p k, hence H = F - scale q.o. Its backward
pass with V = K and dO = -scale g q has dS = -g p (s - m), which is exactly the gradient of H; with dO = q it
returns scale Cov(k) q, hence the variance of the logits. F at alpha * scale gives the Renyi entropy of order
alpha. Claims U1 to U4 and U7 of the book.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnlib._blockwise import block_elements, blockwise, differentiable_once
from attnlib._fused import kernels_for
from attnlib._layout import Layout, at_least_float32, resolve
from attnlib._tiles import Attend, TiledRows
from attnlib._validate import floating_tensor, real_number
from attnlib._written import NEAR_ONE, WrittenRows
from attnlib.errors import InvalidArgument

__all__ = [
    "AttentionWithStatistics",
    "RowEntropy",
    "RowStatistics",
    "row_entropy",
    "row_statistics",
    "softmax_attention_with_statistics",
]


class RowStatistics(NamedTuple):
    """Statistics of every row p of softmax attention, each of shape (..., heads, n), entropies in nats.

    ``lse`` is log sum exp of the logits, ``entropy`` Shannon's, ``renyi`` maps each requested order to the
    Renyi entropy, ``sparsity`` is S*_{1,2} = sqrt(effective_tokens / keys the row sees), ``effective_tokens``
    1 / sum p^2 = exp(H_2), ``varentropy`` the variance of log p under p. A row that sees no key has lse -inf
    and otherwise counts as concentrated on a single key: entropies 0, effective tokens 1, sparsity 1,
    varentropy 0.

    Source: U1-U4, U7.

    >>> import torch
    >>> rows = row_statistics(torch.zeros(1, 8), torch.randn(5, 8))  # all keys alike
    >>> rows.effective_tokens.round(), rows.sparsity.round()
    (tensor([5.]), tensor([1.]))
    """

    lse: Tensor
    entropy: Tensor
    renyi: dict[float, Tensor]
    sparsity: Tensor
    effective_tokens: Tensor
    varentropy: Tensor


class RowEntropy(NamedTuple):
    """Log-sum-exp and Shannon entropy (nats) of every row, each of shape (..., heads, n).

    Source: U1.

    >>> import torch
    >>> row_entropy(torch.zeros(1, 8), torch.randn(1, 8))
    RowEntropy(lse=tensor([0.]), entropy=tensor([0.]))
    """

    lse: Tensor
    entropy: Tensor


class AttentionWithStatistics(NamedTuple):
    """The output of softmax attention, (..., heads, n, d), and the statistics of its rows.

    The second is a :class:`RowStatistics`, entropies in nats.

    Source: U1-U4, U7.

    >>> import torch
    >>> q, k, v = torch.randn(3, 4, 16, 8)
    >>> softmax_attention_with_statistics(q, k, v).statistics.sparsity.shape
    torch.Size([4, 16])
    """

    output: Tensor
    statistics: RowStatistics


class _FusedRows(torch.autograd.Function):
    """Output, log-sum-exp, entropy and varentropy of every row from the fused kernels; ``v`` may be None.

    All gradients but that of the varentropy come from one backward call of the kernel, which computes
    dS = P (dO V^T - sum(dO * out)) from whatever columns it is handed:

    ==========  ===========  =================  =========
    gradient    columns V    columns dO         columns out
    ==========  ===========  =================  =========
    of output   v            g                  output
    of entropy  k            -scale g q         sum p k
    of lse      1            g                  0
    ==========  ===========  =================  =========
    """

    @staticmethod
    def forward(ctx, q, k, v, layout: Layout, with_varentropy: bool):
        kernels, how = kernels_for(q.device, q.dtype), (layout.bias, layout.is_causal, layout.scale)
        values = k if v is None else torch.cat([v, k], dim=-1)
        out, lse = kernels.forward(q, k, values, *how)
        if layout.bias is not None:
            out, lse = out.masked_fill(layout.empty[..., None], 0), lse.masked_fill(layout.empty, 0)
        width = 0 if v is None else v.shape[-1]
        output, mean_key = out[..., :width], out[..., width:]
        entropy = (lse - layout.scale * _dot(q, mean_key)).clamp(min=0)
        varentropy = None
        if with_varentropy:
            varentropy = _varentropy(q, k, mean_key, lse, layout)
        ctx.save_for_backward(q, k, v, output, mean_key, lse, entropy, varentropy)
        ctx.layout = layout
        ctx.set_materialize_grads(False)
        return output, lse, entropy, varentropy

    @staticmethod
    @differentiable_once
    def backward(ctx, grad_output, grad_lse, grad_entropy, grad_varentropy):
        q, k, v, output, mean_key, lse, entropy, varentropy = ctx.saved_tensors
        layout = ctx.layout
        if layout.bias is not None:
            grad_output, grad_lse, grad_entropy, grad_varentropy = (
                g if g is None else g.masked_fill(layout.empty[(...,) + (None,) * (g.ndim - 3)], 0)
                for g in (grad_output, grad_lse, grad_entropy, grad_varentropy)
            )
        columns = []
        if grad_output is not None and v is not None:
            columns.append((v, grad_output, output))
        if grad_entropy is not None:
            columns.append((k, -layout.scale * grad_entropy[..., None] * q, mean_key))
        if grad_lse is not None:
            columns.append(
                (k.new_ones(k.shape[:-1] + (1,)), grad_lse[..., None], torch.zeros_like(grad_lse)[..., None])
            )
        grad_q, grad_k, grad_v = torch.zeros_like(q), torch.zeros_like(k), None
        if columns:
            values, grad_out, out = (
                torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0] for parts in zip(*columns)
            )
            grad_q, grad_k, grad_values = kernels_for(q.device, q.dtype).backward(
                grad_out, q, k, values, out, lse, layout.bias, layout.is_causal, layout.scale
            )
            if grad_output is not None and v is not None:
                grad_v = grad_values[..., : v.shape[-1]]
        if grad_varentropy is not None:
            from_q, from_k = _varentropy_gradient(grad_varentropy, q, k, lse, entropy, varentropy, layout)
            grad_q, grad_k = grad_q + from_q, grad_k + from_k
        return grad_q, grad_k, grad_v, None, None


def _dot(x: Tensor, y: Tensor) -> Tensor:
    """Row by row, without the product in between, which would be as large as the kernel's own output."""
    return torch.einsum("...d,...d->...", x, y)


def _varentropy(q, k, mean_key, lse, layout: Layout) -> Tensor:
    """Var_p of the logits: q . dq of one backward call with V = K, dO = q, since dq is then scale Cov_p(k) q.

    The column of ones beside K returns sum p (s - m), zero but for rounding; taking m times it off makes a
    sum over p (s - m) s into one over p (s - m)^2, so that a peaked row does not lose its digits.
    """
    one_column = (0, 1)
    grad_q, _, _ = kernels_for(q.device, q.dtype).backward(
        q,
        pad(q, one_column),
        pad(k, one_column, value=1.0),
        k,
        mean_key,
        lse,
        layout.bias,
        layout.is_causal,
        layout.scale,
    )
    centred = _dot(q, grad_q[..., :-1]) - _dot(q, mean_key) * grad_q[..., -1]
    return (layout.scale * centred).clamp(min=0)


def _varentropy_gradient(grad, q, k, lse, entropy, varentropy, layout: Layout) -> tuple[Tensor, Tensor]:
    """dS = g p ((s - m)^2 + 2 (s - m) - Var): quadratic in the keys, so written out block by block."""
    grad_q, grad_k = torch.empty_like(q), torch.zeros_like(k)
    for block in layout.blocks(block_elements(q)):
        b, h, i = block
        log_p = layout.logits(q[b, h, i], k[b, h], block) - lse[block][..., None]
        deviation = (log_p + entropy[block][..., None]).masked_fill(log_p == -math.inf, 0)
        grad_scores = (
            layout.scale
            * grad[block][..., None]
            * log_p.exp()
            * (deviation.square() + 2 * deviation - varentropy[block][..., None])
        )
        grad_q[block] = grad_scores @ k[b, h]
        grad_k[b, h] += grad_scores.mT @ q[b, h, i]
    return grad_q, grad_k


class _Raw(NamedTuple):
    """Results in kernel layout; lse is -inf in rows without keys, ``output`` None where not asked for."""

    output: Tensor | None
    lse: Tensor
    entropy: Tensor
    varentropy: Tensor | None
    renyi: dict[float, Tensor]


def _rows_by_kernels(layout: Layout, how: Layout, with_moments: bool) -> _Raw:
    output, lse, entropy, varentropy = _FusedRows.apply(layout.q, layout.k, layout.v, how, with_moments)
    return _Raw(output, lse, entropy, varentropy, {})


def _rows_by_tiles(layout: Layout, how: Layout, with_moments: bool) -> _Raw:
    output = None if layout.v is None else Attend.apply(layout.q, layout.k, layout.v, how)
    lse, entropy, varentropy, renyi = TiledRows.apply(layout.q, layout.k, how, with_moments)
    return _Raw(output, lse, entropy, varentropy, {2.0: renyi} if with_moments else {})


_ByOrderOne = Callable[[Layout, Layout, bool], _Raw]


def _fused(layout: Layout, orders: set[float], with_varentropy: bool, rows: _ByOrderOne) -> _Raw:
    """All that is asked for, given how to get lse and entropy, and with them varentropy, of a layout."""
    layout, shift = layout.centred()
    how = layout.detached()
    raw = rows(layout, how, with_varentropy)
    renyi = {order: raw.renyi[order] for order in orders.intersection(raw.renyi)}
    layout = replace(layout, v=None)
    written = sorted(order for order in orders if order == math.inf or abs(order - 1) < NEAR_ONE)
    if written:
        renyi |= zip(written, blockwise(layout, lambda s, _: tuple(map(WrittenRows(s).renyi, written))))
    for order in orders.difference(renyi):
        bias = None if how.bias is None else order * how.bias
        log_sum = rows(layout, replace(how, scale=order * how.scale, bias=bias), False).lse
        value = (log_sum - order * raw.lse) / (1 - order)
        # An entropy is not negative, the rounding of a peaked row's is; the gradient stays as it is.
        renyi[order] = value + (value.clamp(min=0) - value).detach()
    return raw._replace(lse=(raw.lse + shift).masked_fill(layout.empty, -math.inf), renyi=renyi)


def _write_out(
    logits: Tensor, v: Tensor | None, orders: list[float], with_varentropy: bool
) -> tuple[Tensor, ...]:
    rows = WrittenRows(logits)
    output = () if v is None else (rows.p @ v,)
    variance = (rows.varentropy(),) if with_varentropy else ()
    return (rows.lse(), rows.entropy(), *map(rows.renyi, orders), *variance, *output)


def _name(results: tuple[Tensor, ...], with_output: bool, orders: list[float], with_varentropy: bool) -> _Raw:
    lse, entropy, *rest = results
    output = rest.pop() if with_output else None
    varentropy = rest.pop() if with_varentropy else None
    return _Raw(output, lse, entropy, varentropy, dict(zip(orders, rest)))


def _in_blocks(layout: Layout, orders: set[float], with_varentropy: bool) -> _Raw:
    layout, shift = layout.centred()
    listed = sorted(orders)
    results = blockwise(layout, lambda s, v: _write_out(s, v, listed, with_varentropy))
    raw = _name(results, layout.v is not None, listed, with_varentropy)
    return raw._replace(lse=(raw.lse + shift).masked_fill(layout.empty, -math.inf))


def _reference(layout: Layout, orders: set[float], with_varentropy: bool) -> _Raw:
    listed = sorted(orders)
    results = _write_out(layout.logits(layout.q, layout.k), layout.v, listed, with_varentropy)
    return _name(results, layout.v is not None, listed, with_varentropy)


def evaluate(layout: Layout, orders: set[float], with_varentropy: bool, impl: str) -> _Raw:
    """lse, entropy and whatever else is asked for of every row of a layout resolved for ``impl``."""
    if impl == "reference":
        return _reference(layout, orders, with_varentropy)
    on_cpu = layout.q.device.type == "cpu"
    # Kernels return sum p k and not sum p bias: beyond the CPU, rows with a bias that varies are written out.
    if impl == "blockwise" or (layout.bias_varies and not on_cpu):
        return _in_blocks(layout, orders, with_varentropy)
    return _fused(layout, orders, with_varentropy, _rows_by_tiles if on_cpu else _rows_by_kernels)


def resolve_for(
    impl: str,
    q: Tensor,
    k: Tensor,
    v: Tensor | None,
    *,
    attn_mask: Tensor | None,
    is_causal: bool,
    scale,
    enable_gqa: bool,
) -> Layout:
    """Check the arguments and bring them into the layout and the dtype that ``impl`` computes in."""
    if impl not in ("fused", "blockwise", "reference"):
        raise InvalidArgument(f"impl must be 'fused', 'blockwise' or 'reference', got {impl!r}")
    dtype = torch.float64 if impl == "reference" else at_least_float32(q)
    if impl == "fused":
        kernels_for(q.device, dtype)
    layout = resolve(
        q, k, v, attn_mask=attn_mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa, dtype=dtype
    )
    if impl != "reference" and attn_mask is not None and attn_mask.requires_grad:
        raise InvalidArgument(f"attn_mask is differentiated by impl='reference' only, got impl={impl!r}")
    return layout


def collect(raw, visible: Tensor, orders: tuple[float, ...]) -> RowStatistics:
    """The public statistics from lse, entropy, varentropy and the Renyi entropies (order 2 among them)."""
    log_visible = visible.clamp(min=1).to(raw.lse.dtype).expand_as(raw.lse).log()
    known = {0: log_visible, 1: raw.entropy, **raw.renyi}
    return RowStatistics(
        raw.lse,
        raw.entropy,
        {order: known[order] for order in orders},
        sparsity=(0.5 * (known[2] - log_visible)).exp(),
        effective_tokens=known[2].exp(),
        varentropy=raw.varentropy,
    )


def convert(rows: RowStatistics, to: Callable[[Tensor], Tensor]) -> RowStatistics:
    """Apply ``to`` to every tensor."""
    renyi = {order: to(value) for order, value in rows.renyi.items()}
    others = {name: to(value) for name, value in rows._asdict().items() if name != "renyi"}
    return RowStatistics(renyi=renyi, **others)


def check_orders(orders: Iterable[float]) -> tuple[float, ...]:
    if not isinstance(orders, Iterable) or isinstance(orders, (str, Tensor)):
        raise TypeError(f"orders must be an iterable of numbers, got {type(orders).__name__}")
    orders = tuple(orders)
    for order in orders:
        real_number("orders", order, low=0, allow_inf=True)
    return orders


def row_entropy(
    q: Tensor,
    k: Tensor,
    *,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | Callable | None = None,
    enable_gqa: bool = False,
    impl: str = "fused",
) -> RowEntropy:
    """Log-sum-exp and entropy of every row of softmax(scale * q k^T), for the price of one attention call.

    Arguments, errors and dtypes are those of :func:`row_statistics`, of which this is the cheap part: H is
    lse - scale q . (sum p k), from one attention call with V = K, or on a CPU from one pass over the logits.

    Shapes: q (..., heads, n, d), k (..., heads, m, d); both results (..., heads, n), in nats.

    Differentiable in q and k.

    Source: U1.

    >>> import torch
    >>> q, k = torch.zeros(2, 3, 8), torch.randn(2, 5, 8)
    >>> bool(torch.allclose(row_entropy(q, k).entropy, torch.full((2, 3), 5.0).log()))
    True
    """
    layout = resolve_for(
        impl, q, k, None, attn_mask=attn_mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa
    )
    raw = evaluate(layout, set(), False, impl)
    return RowEntropy(layout.rows(raw.lse), layout.rows(raw.entropy))


def row_statistics(
    q: Tensor,
    k: Tensor,
    *,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | Callable | None = None,
    enable_gqa: bool = False,
    orders: Iterable[float] = (2.0,),
    impl: str = "fused",
) -> RowStatistics:
    """Entropies, sparsity and varentropy of every row of softmax(scale * q k^T), without the matrix.

    Shapes: q (..., heads, n, d) and k (..., heads, m, d); each result (..., heads, n), entropies in nats,
    in the dtype and on the device of q. Half precision is computed in float32 and rounded once at the end.
    float32 carries the rounding of the logits, a few eps times the largest once the keys are centred (3e-6
    nats of entropy were measured on a CPU at 65,536 keys, d = 8); CUDA's kernels add that of their sums,
    which grows with the number of keys. Pass float64 where that is too coarse, or the keys in blocks to
    :func:`~attnlib.stream_row_statistics`. Entropies are clamped at 0 against rounding.

    ``attn_mask`` (boolean, True = visible, or added to the logits), ``is_causal`` (top-left aligned; may be
    combined with a mask) and ``enable_gqa`` are those of ``scaled_dot_product_attention``. ``scale`` is None
    for 1/sqrt(d), a number, or a rule ``(n, d) -> lambda`` given the number of keys each row sees, as an int
    where all rows see all keys and as a tensor broadcasting to (..., heads, n) otherwise. ``orders`` are the
    Renyi orders wanted, in [0, inf]; 0, 1 and inf are the limits.

    ``impl='fused'`` passes over tiles of the logits on a CPU, and uses the attention kernels on CUDA (float32
    and below, not yet run on such a machine). It writes rows out, in blocks of bounded size, only for orders
    within 0.25 of 1 or infinite, and on CUDA for the gradient of the varentropy and for masks with finite
    non-zero entries. ``'blockwise'`` does so for everything, on any device; ``'reference'`` forms the whole
    matrix in float64.
    Differentiable once in q and k (with ``'reference'`` as often as wanted, and in a floating ``attn_mask``).

    A row that sees no key has lse -inf, entropies and varentropy 0, effective tokens and sparsity 1, and
    gradient 0.

    Raises ``TypeError`` or :class:`~attnlib.errors.InvalidArgument` naming the argument.

    Source: U1-U4, U7; the derivative of the entropy U2.

    >>> import torch
    >>> q, k = torch.randn(2, 4, 16, 8), torch.randn(2, 4, 16, 8)
    >>> rows = row_statistics(q, k, is_causal=True, orders=(2.0, float("inf")))
    >>> rows.entropy.shape, sorted(rows.renyi)
    (torch.Size([2, 4, 16]), [2.0, inf])
    >>> bool((rows.renyi[float("inf")] <= rows.entropy + 1e-6).all())
    True
    """
    orders = check_orders(orders)
    layout = resolve_for(
        impl, q, k, None, attn_mask=attn_mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa
    )
    raw = evaluate(layout, {2.0, *orders} - {0, 1}, True, impl)
    return convert(collect(raw, layout.visible, orders), layout.rows)


def softmax_attention_with_statistics(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | Callable | None = None,
    enable_gqa: bool = False,
    orders: Iterable[float] = (2.0,),
    impl: str = "fused",
) -> AttentionWithStatistics:
    """Softmax attention and the statistics of its rows, in the memory of the fused kernels.

    Arguments, errors and dtypes are those of :func:`row_statistics`; v is (..., heads, m, dv) and the output
    (..., heads, n, dv). On CUDA values and keys go through the kernel side by side, so output, lse and
    entropy take one forward and one backward call together; on a CPU output and statistics are passes of
    their own, which is less work. A row that sees no key has output 0.

    Source: U1-U4, U7.

    >>> import torch
    >>> q, k, v = torch.randn(3, 1, 4, 16, 8)
    >>> output, rows = softmax_attention_with_statistics(q, k, v, scale=lambda n, d: n / d)
    >>> output.shape, rows.entropy.shape
    (torch.Size([1, 4, 16, 8]), torch.Size([1, 4, 16]))
    """
    orders = check_orders(orders)
    floating_tensor("v", v)
    layout = resolve_for(
        impl, q, k, v, attn_mask=attn_mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa
    )
    raw = evaluate(layout, {2.0, *orders} - {0, 1}, True, impl)
    return AttentionWithStatistics(
        layout.rows(raw.output), convert(collect(raw, layout.visible, orders), layout.rows)
    )
