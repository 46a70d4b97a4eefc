"""Row statistics and their gradient from tiles of logits that fit a core's cache: the CPU's way to them.

Every statistic of a row is a sum over its logits s, and every gradient is elementwise in them: with
m = sum p s and x = s - m,

    dlse = sum p ds,                      dH = -sum p x ds,
    dVar = sum p (x^2 + 2 x - Var) ds,    dH_2 = sum 2 p (1 - p / sum p^2) ds.

So one product (q k^T) gives all statistics, and three (that one again, dS k and dS^T q) all gradients, where
an attention kernel needs two and five, and a backward call for each moment. Logits are kept in bits: exp2
takes less than half the time of exp. Claims U1, U2 and U7 of the book.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from attnlib._rows.blockwise import differentiable_once
from attnlib._rows.layout import Block, Geometry, Tensors

# A tile is at most this many rows by as many keys: what a core's cache holds of float32. It takes further
# heads where rows or keys are fewer, and where several threads share its work; then within a bound on memory.
_SIDE = 512
_MOST_THREADS = 4
_LN2 = math.log(2)
# 2^-1100 is 0 in every dtype, and 0 times it is 0: what stands in for the -inf of a hidden key.
_NOTHING = -1100.0


class _Tiles:
    """All logits, in bits, tile by tile in one buffer, heads and batches folded into one.

    Small problems put several heads into a tile. Keys that no row of a tile sees, being in its future, are
    not visited.
    """

    def __init__(self, geometry: Geometry, q: Tensor, k: Tensor):
        self.geometry = geometry
        self.batch, self.heads, self.n_q, _ = q.shape
        self.n_k = k.shape[-2]
        self.q, self.k = q.flatten(0, 1), k.flatten(0, 1)
        one_head = min(self.n_q, _SIDE) * min(self.n_k, _SIDE)
        together = min(torch.get_num_threads(), _MOST_THREADS) * _SIDE**2 // one_head
        self.head_step = min(self.heads, together)
        self.batch_step = min(self.batch, max(1, together // self.heads))
        self.size = self.head_step * self.batch_step * one_head
        self.scores = self.buffer()
        if geometry.is_causal:
            side = min(_SIDE, self.n_q)
            self.future = self.q.new_full((side, side), -math.inf).triu_(1)

    def buffer(self) -> Tensor:
        return self.q.new_empty(self.size)

    def rows(self) -> Iterator[tuple[Block, tuple[slice, slice]]]:
        """(batches, heads, rows) of each tile, and the same with the first two folded."""
        for b in range(0, self.batch, self.batch_step):
            b_end = min(b + self.batch_step, self.batch)
            for h in range(0, self.heads, self.head_step):
                h_end = min(h + self.head_step, self.heads)
                for i in range(0, self.n_q, _SIDE):
                    rows = slice(i, min(i + _SIDE, self.n_q))
                    folded = slice(b * self.heads + h, (b_end - 1) * self.heads + h_end)
                    yield (slice(b, b_end), slice(h, h_end), rows), (folded, rows)

    def columns(self, rows: slice) -> Iterator[slice]:
        end = min(self.n_k, rows.stop) if self.geometry.is_causal else self.n_k
        for j in range(0, end, _SIDE):
            yield slice(j, min(j + _SIDE, end))

    def logits(self, block: Block, folded: slice, columns: slice) -> Tensor:
        """(folded, rows, columns), valid until the next call; -inf where a key is hidden."""
        b, h, rows = block
        q, k = self.q[folded, rows], self.k[folded, columns]
        scores = _shaped(self.scores, (q.shape[0], q.shape[1], k.shape[1]))
        torch.baddbmm(scores, q, k.mT, beta=0, alpha=self.geometry.scale / _LN2, out=scores)
        bias = self.geometry.bias_of(block)
        if bias is not None:
            unfolded = scores.view(b.stop - b.start, h.stop - h.start, *scores.shape[1:])
            unfolded.add_(bias[..., columns], alpha=1 / _LN2)
        if self._on_diagonal(rows, columns):
            scores.add_(self.future[: scores.shape[1], : scores.shape[2]])
        return scores

    def _on_diagonal(self, rows: slice, columns: slice) -> bool:
        return self.geometry.is_causal and columns.start == rows.start

    def hides(self, rows: slice, columns: slice) -> bool:
        """Whether a key of the tile may be hidden; elsewhere no pass over it has to look for -inf."""
        return self.geometry.bias is not None or self._on_diagonal(rows, columns)


def _shaped(buffer: Tensor, shape: Sequence[int]) -> Tensor:
    return buffer[: math.prod(shape)].view(*shape)


def _below(scores: Tensor, level: Tensor, clamp: bool) -> Tensor:
    """Logits minus a level of their row, in place; ``clamp`` where some are -inf or products may overflow."""
    distance = scores.sub_(level)
    return distance.clamp_(min=_NOTHING) if clamp else distance


def _sums(scores: Tensor, weight: Tensor, product: Tensor | None, hides: bool) -> list[Tensor]:
    """Of each row of a tile: largest logit, sum of w = 2^(logit - largest), mean, [variance, sum of w^2].

    A row that sees nothing has 0 for its sums; any other has at least its largest logit, of weight 1.
    """
    top = scores.amax(dim=-1, keepdim=True).clamp_(min=torch.finfo(scores.dtype).min)
    below = _below(scores, top, hides)
    torch.exp2(below, out=weight)
    total = weight.sum(dim=-1, keepdim=True)
    first = torch.mul(weight, below, out=below if product is None else product)
    mean = first.sum(dim=-1, keepdim=True) / total.clamp(min=1)
    if product is None:
        return [top, total, mean]
    centred = below.sub_(mean)
    square = torch.mul(weight, centred, out=product).mul_(centred).sum(dim=-1, keepdim=True)
    return [top, total, mean, square / total.clamp(min=1), weight.mul_(weight).sum(dim=-1, keepdim=True)]


def _merge(parts: list[list[Tensor]]) -> tuple[Tensor, ...]:
    """The same sums of whole rows, without subtracting large ones: each difference is of means alone."""
    tops, totals, means, *moments = (torch.cat(part, dim=-1) for part in zip(*parts))
    top = tops.amax(dim=-1)
    fall = (tops - top[..., None]).clamp_(min=_NOTHING)
    share = fall.exp2() * totals
    total = share.sum(dim=-1).clamp_(min=1)
    share /= total[..., None]
    centres = fall + means
    mean = (share * centres).sum(dim=-1)
    if not moments:
        return top, total, mean
    variances, squares = moments
    variance = (share * (variances + (centres - mean[..., None]).square())).sum(dim=-1)
    return top, total, mean, variance, ((2 * fall).exp2() * squares).sum(dim=-1).clamp_(min=1)


class TiledRows(torch.autograd.Function):
    """lse, entropy, and if wanted varentropy and Renyi entropy of order 2 of every row (else None).

    All 0 in a row that sees no key.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, geometry: Geometry, with_moments: bool
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        tiles = _Tiles(geometry, q, k)
        weights, products = tiles.buffer(), tiles.buffer() if with_moments else None
        sums = tuple(tiles.q.new_empty(tiles.q.shape[:2]) for _ in range(5 if with_moments else 3))
        for block, (folded, rows) in tiles.rows():
            parts = []
            for columns in tiles.columns(rows):
                scores = tiles.logits(block, folded, columns)
                weight = _shaped(weights, scores.shape)
                product = None if products is None else _shaped(products, scores.shape)
                parts.append(_sums(scores, weight, product, tiles.hides(rows, columns)))
            for whole, merged in zip(sums, _merge(parts)):
                whole[folded, rows] = merged
        top, total, mean, *moments = (x.view(q.shape[:3]) for x in sums)
        log_total = total.log()
        lse, entropy = _LN2 * top + log_total, log_total - _LN2 * mean
        lse = geometry.hide_empty(lse, 0)
        varentropy = renyi = None
        if with_moments:
            varentropy, renyi = _LN2**2 * moments[0], 2 * log_total - moments[1].log()
        ctx.save_for_backward(q, k, top + mean, entropy / _LN2, varentropy, renyi)
        ctx.geometry = geometry
        ctx.set_materialize_grads(False)
        return lse, entropy, varentropy, None if renyi is None else renyi.clamp(min=0)

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        q, k, mean, bits, varentropy, renyi = ctx.saved_tensors
        terms = _coefficients(grads, varentropy, renyi)
        # p = share w, where w = 2^x is at most n since no p exceeds 1. What multiplies a whole row is left to
        # the rows of q and dq, so that of the entropy's dS = share b w x the tiles form w x alone.
        share = (-bits).exp2()
        row_weight = ctx.geometry.scale * share
        entropy_alone = terms.linear is not None and terms.constant is terms.square is terms.own is None
        if entropy_alone:
            row_weight = row_weight * terms.linear
        mean, row_weight = _by_row(mean), _by_row(row_weight)
        constant, linear, square, own = (
            None if x is None else _by_row(x)
            for x in terms._replace(own=None if terms.own is None else terms.own * share)
        )
        tiles = _Tiles(ctx.geometry, q, k)
        weights, products = tiles.buffer(), None if square is None else tiles.buffer()
        grad_q = tiles.q.new_empty(tiles.q.shape)
        # A batched product is fast only into memory without gaps: dk has a tensor for every tile of keys, dq
        # for every tile of rows. Rows of dk^T lie along the rows of w: a sixth faster than dk itself.
        grad_k = [part.new_zeros(part.mT.shape) for part in tiles.k.split(_SIDE, dim=1)]
        for block, at in tiles.rows():
            folded, rows = at
            weighted_q = tiles.q[at] * row_weight[at]
            sum_q = weighted_q.new_zeros(weighted_q.shape)
            for columns in tiles.columns(rows):
                # Far below the mean w is 0 and so is w x; the other factors might overflow were x not cut.
                clamp = tiles.hides(rows, columns) or not entropy_alone
                x = _below(tiles.logits(block, folded, columns), mean[at], clamp)
                w = _shaped(weights, x.shape)
                torch.exp2(x, out=w)
                if entropy_alone:
                    factor = x
                elif linear is None:
                    factor = x.zero_()
                elif square is None or products is None:
                    factor = x.mul_(linear[at])
                else:
                    factor = torch.mul(x, square[at], out=_shaped(products, x.shape)).add_(linear[at]).mul_(x)
                if constant is not None:
                    factor.add_(constant[at])
                if own is not None:
                    factor.addcmul_(w, own[at])
                w.mul_(factor)
                sum_q.baddbmm_(w, tiles.k[folded, columns])
                grad_k[columns.start // _SIDE][folded, :, : w.shape[2]].baddbmm_(weighted_q.mT, w)
            torch.mul(sum_q, row_weight[at], out=grad_q[at])
        return grad_q.view(q.shape), torch.cat([part.mT for part in grad_k], dim=1).view(k.shape), None, None


def _by_row(x: Tensor) -> Tensor:
    """A number a row (B, H, Lq) as a column (B H, Lq, 1)."""
    return x.flatten(0, 1)[..., None]


class _Coefficients(NamedTuple):
    """a, b, c, e of dS = p (a + b x + c x^2 + e p), x in bits; None where nothing asks for the term."""

    constant: Tensor | None
    linear: Tensor | None
    square: Tensor | None
    own: Tensor | None


def _coefficients(
    grads: Sequence[Tensor | None], varentropy: Tensor | None, renyi: Tensor | None
) -> _Coefficients:
    """From the gradients of lse, entropy, varentropy and Renyi entropy, and the values of the last two."""

    def total(*terms: tuple[float | Tensor, Tensor | None]) -> Tensor | None:
        wanted = [factor * grad for factor, grad in terms if grad is not None]
        return sum(wanted[1:], wanted[0]) if wanted else None

    of_lse, of_entropy, of_varentropy, of_renyi = grads
    constant, own = total((1, of_lse), (2, of_renyi)), None
    if of_varentropy is not None and varentropy is not None:
        constant = total((1, constant), (-varentropy, of_varentropy))
    if of_renyi is not None and renyi is not None:
        own = -2 * renyi.exp() * of_renyi
    linear = total((-_LN2, of_entropy), (2 * _LN2, of_varentropy))
    return _Coefficients(constant, linear, total((_LN2**2, of_varentropy)), own)


def rows_by_tiles(
    tensors: Tensors, geometry: Geometry, with_moments: bool
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """lse, entropy and, if wanted, varentropy and Renyi entropy of order 2 of every row."""
    rows: tuple[Tensor, Tensor, Tensor | None, Tensor | None] = TiledRows.apply(
        tensors.q, tensors.k, geometry, with_moments
    )
    return rows
