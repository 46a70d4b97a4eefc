"""From the tensors of one attention call to the statistics of its rows, each (batch, heads, rows)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch as functorch

from attnlib._implementations import RecordImpl, at_least_float32
from attnlib._masks import HIDES_FROM, hides
from attnlib.errors import InvalidArgument
from attnlib.keys import key_statistics
from attnlib.rows import RowStatistics, convert, row_statistics

_ORDERS = (0.0, 2.0)
# Entries of weights that a model wrote out to be looked at at a time: within a core's cache on a CPU.
_BLOCK = 1 << 18
# Entries of scores that are written out to be modified at a time; each block calls the functions anew.
_MODIFIED = 1 << 22


def join(parts: list[RowStatistics], dim: int) -> RowStatistics:
    """The rows of several readings, one after the other."""
    if len(parts) == 1:
        return parts[0]
    lse = torch.cat([part.lse for part in parts], dim)
    others = {
        name: torch.cat([getattr(part, name) for part in parts], dim)
        for name in RowStatistics._fields
        if name not in ("lse", "renyi")
    }
    renyi = {order: torch.cat([part.renyi[order] for part in parts], dim) for order in _ORDERS}
    return RowStatistics(lse=lse, renyi=renyi, **others)


def fold(statistics: RowStatistics, heads: int | None) -> RowStatistics:
    """Bring rows of any leading shape to (batch, heads, rows), by the number of heads the module says it
    has."""
    return convert(statistics, lambda x: _fold(x, heads))


def _fold(x: Tensor, heads: int | None) -> Tensor:
    *lead, n = x.shape
    if not lead:
        return x.reshape(1, 1, n)
    if len(lead) == 1:
        # (batch * heads, n) of a module with heads, and else a batch of sequences with one head.
        folded = heads is not None and lead[0] % heads == 0
        return x.reshape(-1, heads if folded and heads else 1, n)
    if heads is not None and lead[-1] != heads:
        if lead[-1] * n == heads:  # grouped queries of one token, laid along the length of the keys' heads
            return x.reshape(-1, heads, 1)
        if len(lead) > 2 and lead.count(heads) == 1:  # heads before windows or blocks
            return x.movedim(lead.index(heads), -2).reshape(-1, heads, n)
    return x.reshape(-1, lead[-1], n)


def _row_blocks(n_q: int, row: int, elements: int) -> Iterator[slice]:
    """Cut ``n_q`` rows of ``row`` entries each into blocks of about ``elements`` entries."""
    step = max(1, elements // max(row, 1))
    for first in range(0, n_q, step):
        yield slice(first, min(first + step, n_q))


@contextmanager
def plain_mode(device: torch.device) -> Iterator[None]:
    """Without gradients, autocast and transforms, whatever the model runs under."""
    with ExitStack() as stack:
        if functorch.peek_interpreter_stack() is not None:
            # Loads a compiler; whoever is inside of a transform has loaded it before.
            from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack

            stack.enter_context(temporarily_clear_interpreter_stack())
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.autocast(device.type, enabled=False))
        yield


def bare(x: Any) -> Any:
    """A tensor without the wrappers of vmap and grad; what vmap maps over comes first."""
    while isinstance(x, Tensor):
        if functorch.is_batchedtensor(x):
            place = functorch.maybe_get_bdim(x)
            x = functorch.get_unwrapped(x).movedim(place, 0)
        elif functorch.is_gradtrackingtensor(x):
            x = functorch.get_unwrapped(x)
        else:
            break
    return x


def read_scores(
    query: Tensor,
    key: Tensor,
    attn_mask: Tensor | None,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
    impl: RecordImpl,
) -> RowStatistics:
    """Statistics of every row of a call of scaled_dot_product_attention, in float32 at least."""
    if query.is_nested or key.is_nested:
        return _read_nested(query, key, attn_mask, is_causal, scale, enable_gqa, impl)
    for name, x in (("query", query), ("key", key)):
        if not x.numel():
            raise InvalidArgument(f"{name} is empty, shape {tuple(x.shape)}")
    wide = at_least_float32(torch.promote_types(query.dtype, key.dtype))
    q, k = query.detach().to(wide), key.detach().to(wide)
    return row_statistics(
        q,
        k,
        attn_mask=attn_mask,
        is_causal=is_causal,
        scale=scale,
        enable_gqa=enable_gqa,
        orders=_ORDERS,
        impl=impl,
    )


def _read_nested(
    query: Tensor,
    key: Tensor,
    attn_mask: Tensor | None,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
    impl: RecordImpl,
) -> RowStatistics:
    """Sequences of several lengths in one tensor: each on its own, their rows one after the other."""
    if attn_mask is not None or not (query.is_nested and key.is_nested):
        raise InvalidArgument("query and key must be both nested, without attn_mask, or neither")
    return join(
        [
            read_scores(q[None], k[None], None, is_causal, scale, enable_gqa, impl)
            for q, k in zip(query.unbind(), key.unbind(), strict=True)
        ],
        dim=-1,
    )


def read_written(
    weights: Tensor, max_logit: Tensor | None, visible: Tensor, lse: Tensor | None
) -> RowStatistics:
    """Statistics of rows of weights (..., n, m) that a model has written out, a block of rows at a time.

    What they lack to 1 has gone to a sink, which is no key: shares are taken among the keys.
    """
    parts = []
    for rows in _row_blocks(weights.shape[-2], weights[..., 0, :].numel(), _BLOCK):
        p = weights[..., rows, :].detach()
        p = p.to(at_least_float32(p.dtype))
        total = p.sum(-1, keepdim=True)
        p = p / total.masked_fill(total == 0, 1)
        log_p = p.clamp(min=torch.finfo(p.dtype).tiny).log()
        weighted = p * log_p
        entropy = -weighted.sum(-1)
        varentropy = weighted.mul_(log_p).sum(-1) - entropy**2
        tokens = 1 / p.square().sum(-1).clamp(min=torch.finfo(p.dtype).tiny)
        seen = visible[..., rows]
        alone = seen == 0
        log_n = seen.clamp(min=1).to(p.dtype).log()
        tokens = tokens.masked_fill(alone, 1)
        found: dict[str, Any] = {
            "lse": total.squeeze(-1).log() if lse is None else lse[..., rows],
            "entropy": entropy.clamp(min=0).masked_fill(alone, 0),
            "renyi": {0.0: log_n, 2.0: tokens.log()},
            "sparsity": (tokens / seen.clamp(min=1)).sqrt(),
            "effective_tokens": tokens,
            "varentropy": varentropy.clamp(min=0).masked_fill(alone, 0),
            "max_logit": total.squeeze(-1) * math.nan if max_logit is None else max_logit[..., rows],
            "sink_share": (1 - total.squeeze(-1)).clamp(min=0),
        }
        found["lse"] = found["lse"].masked_fill(alone, -math.inf)
        parts.append(RowStatistics(**{name: found[name] for name in RowStatistics._fields}))
    return join(parts, dim=-1)


def read_met(weights: Tensor, logits: tuple[Tensor, Tensor, Tensor] | None, columns: slice) -> RowStatistics:
    """The same of weights (..., n, m) that meet the values of the keys of ``columns``.

    A column that meets no value is a learned logit, which is no key: where there is one, those of the keys
    are not known by themselves. Weights without logits are held to being weights.
    """
    if weights.isnan().any():
        bad = int(weights.isnan().sum())
        raise InvalidArgument(f"weights contain NaN ({bad} of {weights.numel()} entries)")
    p = weights[..., columns]
    if logits is None:
        _refuse_other_than_shares(p)
        return read_written(p, None, (p > 0).sum(-1), None)
    top, lse, visible = logits
    sinks = weights.shape[-1] - p.shape[-1]
    if sinks:
        top = lse = top * math.nan
        visible = (visible - sinks).clamp(min=0)
    return read_written(p, top, visible, lse)


def _refuse_other_than_shares(p: Tensor) -> None:
    total = p.sum(-1, dtype=at_least_float32(p.dtype))
    # Entries are rounded, and so was what they were made of; sums of many add to that.
    slack = max(4 * torch.finfo(p.dtype).eps, 1e-5)
    if p.min() < 0 or bool(((total - 1).abs() > slack)[total != 0].any()):
        raise InvalidArgument(
            f"what is made of its weights is no set of shares: entries from {p.min().item():.4g} to "
            f"{p.max().item():.4g}, with sums of rows from {total.min().item():.4g} to "
            f"{total.max().item():.4g}"
        )


def look_at_logits(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Largest logit, log-sum-exp and number of visible keys of every row of logits with their mask added.

    A key is hidden that lies thousands below the largest of its row, as a finite mask puts it; in a row that
    is hidden whole, all of them.
    """
    gap = HIDES_FROM / 2
    found = []
    for rows in _row_blocks(logits.shape[-2], logits[..., 0, :].numel(), _BLOCK):
        s = logits[..., rows, :].detach()
        s = s.to(at_least_float32(s.dtype))
        top = s.amax(-1)
        lse = torch.logsumexp(s, -1)
        visible = ((s > top[..., None] + gap) & (top[..., None] > gap)).sum(-1)
        found.append((top.masked_fill(visible == 0, -math.inf), lse, visible))
    top, lse, visible = (torch.cat(part, -1) for part in zip(*found))
    return top, lse, visible


def read_keys(
    query: Tensor,
    key: Tensor,
    attn_mask: Tensor | None,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
    real: Tensor | None,
    heads: int | None,
) -> Tensor:
    """Weight (batch, heads, m) that every key receives from the rows that are ``real`` (batch, n)."""
    if query.is_nested or query.ndim not in (3, 4):
        raise InvalidArgument("the weight that keys receive is recorded of queries (batch, heads, n, d) only")
    wide = at_least_float32(torch.promote_types(query.dtype, key.dtype))
    q, k = query.detach().to(wide), key.detach().to(wide)
    if q.ndim == 3:
        folded = heads if heads is not None and len(q) % heads == 0 else 1
        q, k = (x.unflatten(0, (-1, folded)) for x in (q, k))
        if attn_mask is not None and attn_mask.ndim == 3 and len(attn_mask) > 1:
            attn_mask = attn_mask.unflatten(0, (-1, folded))
    elif heads is not None and heads != q.shape[1] and q.shape[1] * q.shape[2] == heads:
        k = k.repeat_interleave(q.shape[2], dim=1)
        if attn_mask is not None and attn_mask.ndim == 4 and attn_mask.shape[1] > 1:
            attn_mask = attn_mask.reshape(len(attn_mask), heads, 1, -1)
        q = q.reshape(len(q), heads, 1, -1)
    # A row of padding is a document of its own, to which no key belongs.
    documents = None
    if real is not None:
        of_keys = torch.zeros(1, 1, k.shape[-2], dtype=torch.int64, device=q.device)
        documents = (real.to(q.device).long() - 1)[:, None], of_keys
    return key_statistics(
        q,
        k,
        attn_mask=attn_mask,
        is_causal=is_causal,
        scale=scale,
        enable_gqa=enable_gqa,
        segment_ids=documents,
    ).received


def received_from(weights: Tensor, real: Tensor | None) -> Tensor:
    """The same of weights (batch, heads, n, m) that a model has written out."""
    total = weights.new_zeros(*weights.shape[:-2], weights.shape[-1], dtype=at_least_float32(weights.dtype))
    for rows in _row_blocks(weights.shape[-2], weights[..., 0, :].numel(), _BLOCK):
        p = weights[..., rows, :].detach().to(total.dtype)
        p = p / p.sum(-1, keepdim=True)
        if real is not None:
            p = p.masked_fill(~real[:, None, rows, None].to(p.device), 0)
        total += p.sum(-2)
    return total


def read_modified(
    query: Tensor,
    key: Tensor,
    score_mod: Callable[..., Tensor] | None,
    block_mask: Any,
    scale: float | None,
) -> RowStatistics:
    """Statistics of every row of a call of flex_attention, whose scores and mask are functions of the
    places."""
    for name, x in (("query", query), ("key", key)):
        if not x.numel():
            raise InvalidArgument(f"{name} is empty, shape {tuple(x.shape)}")
    wide = at_least_float32(query.dtype)
    q, k = query.detach().to(wide), key.detach().to(wide)
    batch, heads, n_q, d = q.shape
    n_k = k.shape[-2]
    k = k.repeat_interleave(heads // k.shape[1], dim=1)
    factor = 1 / math.sqrt(d) if scale is None else scale
    mask_mod = getattr(block_mask, "mask_mod", None)
    b, h, place = (torch.arange(size, device=q.device) for size in (batch, heads, n_k))
    parts = []
    for rows in _row_blocks(n_q, batch * heads * n_k, _MODIFIED):
        i = torch.arange(rows.start, rows.stop, device=q.device)
        scores = factor * (q[:, :, rows] @ k.mT)
        if score_mod is not None:
            scores = _everywhere(score_mod, (0, None, None, None, 0), with_score=True)(scores, b, h, i, place)
        if mask_mod is not None:
            allowed = _everywhere(mask_mod, (None, None, None, 0), with_score=False)(b, h, i, place)
            scores = scores.masked_fill(~allowed, -math.inf)
        top, lse, visible = look_at_logits(scores)
        weights = torch.softmax(scores, -1).masked_fill((visible == 0)[..., None], 0)
        parts.append(read_written(weights, top, visible, lse))
    return join(parts, dim=-1)


def _everywhere(
    function: Callable[..., Any], innermost: tuple[Any, ...], with_score: bool
) -> Callable[..., Any]:
    """``function`` of single numbers (score,) b, h, i, j as one of whole tensors of them."""
    score = (0,) if with_score else ()
    for which in (3, 2, 1, 0):
        places = tuple(0 if at == which else None for at in range(4))
        function = torch.vmap(function, in_dims=(*score, *places))
    return function


def hidden_everywhere(attn_mask: Tensor, n_k: int) -> Tensor | None:
    """True (batch, m) at keys that a mask (batch, heads or 1, n or 1, m) hides from every row of every head;
    None if it cannot."""
    if attn_mask.ndim != 4 or attn_mask.shape[-1] != n_k:
        return None
    for dim in (1, 2):  # what is the same for all heads or rows is looked at once
        if attn_mask.stride(dim) == 0:
            attn_mask = attn_mask.narrow(dim, 0, 1)
    return hides(attn_mask.detach()).all(dim=-2).all(dim=1)
