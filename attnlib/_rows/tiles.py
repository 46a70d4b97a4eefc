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
from typing import NamedTuple

import torch
from torch import Tensor

from attnlib._rows.layout import Block, Pattern, Tensors, of_columns, part_of
from attnlib._rows.passes import PASSES, run

# A tile is at most this many rows by as many keys: what a core's cache holds of float32. It takes further
# heads where rows or keys are fewer, and where several threads share its work; then within a bound on memory.
_SIDE = 512
_MOST_THREADS = 4
_LN2 = math.log(2)
# 2^-1100 is 0 in every dtype, and 0 times it is 0: what stands in for the -inf of a hidden key.
_NOTHING = -1100.0


class _Tiles:
    """All logits, in bits, tile by tile in one buffer, heads and batches folded into one.

    Small problems put several heads into a tile. Keys that no row of a tile sees, being outside of its band,
    are not visited.
    """

    def __init__(self, tensors: Tensors, pattern: Pattern):
        self.tensors, self.pattern = tensors, pattern
        self.batch, self.heads, self.n_q, self.n_k = tensors.shape
        self.q, self.k = tensors.q.flatten(0, 1), tensors.k.flatten(0, 1)
        one_head = min(self.n_q, _SIDE) * min(self.n_k, _SIDE)
        together = min(torch.get_num_threads(), _MOST_THREADS) * _SIDE**2 // one_head
        self.head_step = max(1, min(self.heads, together))
        self.batch_step = max(1, min(self.batch, together // max(1, self.heads)))
        self.size = self.head_step * self.batch_step * one_head
        self.scores = self.buffer()
        self.cut: dict[tuple[bool, int], Tensor] = {}

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
        """The keys that the band shows to some of these rows; where it shows none, a tile that hides all."""
        low, high = self.pattern.low, self.pattern.high
        first = 0 if low is None else max(0, rows.start + low) // _SIDE * _SIDE
        end = self.n_k if high is None else min(self.n_k, rows.stop + high)
        if first >= end:
            first, end = 0, min(self.n_k, _SIDE)
        for j in range(first, end, _SIDE):
            yield slice(j, min(j + _SIDE, end))

    def logits(self, block: Block, folded: slice, columns: slice, slope: Tensor | None = None) -> Tensor:
        """(folded, rows, columns), valid until the next call; -inf where a key is hidden.

        ``slope`` is filled with the derivative of a capped logit in what it was before.
        """
        b, h, rows = block
        q, k = self.q[folded, rows], self.k[folded, columns]
        scores = _shaped(self.scores, (q.shape[0], q.shape[1], k.shape[1]))
        cap = self.pattern.softcap
        unit = _LN2 if cap is None else cap
        torch.baddbmm(scores, q, k.mT, beta=0, alpha=self.pattern.scale / unit, out=scores)
        if cap is not None:
            scores.tanh_()
            if slope is not None:
                torch.mul(scores, scores, out=slope).neg_().add_(1)
            scores.mul_(cap / _LN2)
        unfolded = scores.view(b.stop - b.start, h.stop - h.start, *scores.shape[1:])
        if self.tensors.bias is not None:
            unfolded.add_(of_columns(part_of(self.tensors.bias, block), columns), alpha=1 / _LN2)
        for below, distance in self._edges(rows, columns):
            scores.add_(self._edge(below, distance)[: scores.shape[1], : scores.shape[2]])
        if self.tensors.row_segments is not None and self.tensors.key_segments is not None:
            keys = part_of(self.tensors.key_segments, (b, h, slice(None)))[..., None, columns]
            unfolded.masked_fill_(part_of(self.tensors.row_segments, block)[..., None] != keys, -math.inf)
        return scores

    def _edges(self, rows: slice, columns: slice) -> list[tuple[bool, int]]:
        """The edges of the band that cut this tile: lower or upper, and how far from its diagonal."""
        low, high, start = self.pattern.low, self.pattern.high, rows.start - columns.start
        edges = []
        if high is not None and columns.stop - 1 - rows.start > high:
            edges.append((False, high + start))
        if low is not None and columns.start - (rows.stop - 1) < low:
            edges.append((True, low + start))
        return edges

    def _edge(self, below: bool, distance: int) -> Tensor:
        """-inf beyond an edge of the band, as far as a tile may reach."""
        if (below, distance) not in self.cut:
            full = self.q.new_full((min(_SIDE, self.n_q), min(_SIDE, self.n_k)), -math.inf)
            self.cut[below, distance] = full.tril_(distance - 1) if below else full.triu_(distance + 1)
        return self.cut[below, distance]

    def hides(self, rows: slice, columns: slice) -> bool:
        """Whether a key of the tile may be hidden; elsewhere no pass over it has to look for -inf."""
        masked = self.tensors.bias is not None or self.tensors.row_segments is not None
        return masked or bool(self._edges(rows, columns))


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


class _TiledRows:
    """A pass of results lse, entropy, largest logit, with moments varentropy and Renyi entropy of order 2.

    All 0 in a row that sees no key. ``numbers[0]`` is 1 with moments and 0 without. Without gradient are the
    mean logit in bits and the Renyi entropy before it is clamped, which the backward pass reads, and last
    lse minus the largest logit, of which the difference of the two has lost digits.
    """

    def differentiable(self, numbers: Sequence[float]) -> int:
        return 5 if numbers[0] == 1 else 3

    def shapes(self, tensors: Tensors, pattern: Pattern, numbers: Sequence[float]) -> list[Tensor]:
        count = 8 if numbers[0] == 1 else 5
        return [tensors.q.new_empty(tensors.q.shape[:3]) for _ in range(count)]

    def forward(self, tensors: Tensors, pattern: Pattern, numbers: Sequence[float]) -> list[Tensor]:
        with_moments = numbers[0] == 1
        shape = tensors.q.shape[:3]
        tiles = _Tiles(tensors, pattern)
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
        top, total, mean, *moments = (x.view(shape) for x in sums)
        log_total = total.log()
        lse, entropy = _LN2 * top + log_total, log_total - _LN2 * mean
        lse, largest = tensors.hide_empty(lse, 0), tensors.hide_empty(_LN2 * top, 0)
        if not with_moments:
            return [lse, entropy, largest, top + mean, log_total]
        varentropy, renyi = _LN2**2 * moments[0], 2 * log_total - moments[1].log()
        return [lse, entropy, largest, varentropy, renyi.clamp(min=0), top + mean, renyi, log_total]

    def backward(
        self,
        tensors: Tensors,
        pattern: Pattern,
        numbers: Sequence[float],
        results: list[Tensor],
        grads: list[Tensor | None],
        with_bias: bool,
    ) -> Tensors:
        q, k = tensors.q, tensors.k
        varentropy = renyi = of_varentropy = of_renyi = None
        entropy, of_lse, of_entropy, of_largest = results[1], *grads[:3]
        if numbers[0] == 1:
            _, _, _, varentropy, _, mean, renyi, _ = results
            of_varentropy, of_renyi = grads[3:5]
        else:
            mean = results[3]
        bits = entropy / _LN2
        terms = coefficients((of_lse, of_entropy, of_varentropy, of_renyi), varentropy, renyi)
        # p = share w, where w = 2^x is at most n since no p exceeds 1. What multiplies a whole row is left to
        # the rows of q and dq, so that of the entropy's dS = share b w x the tiles form w x alone.
        share = (-bits).exp2()
        entropy_alone = terms.linear is not None and terms.constant is terms.square is terms.own is None
        of_row, row_weight = share, pattern.scale * share
        if entropy_alone and terms.linear is not None:
            of_row, row_weight = of_row * terms.linear, row_weight * terms.linear
        mean, row_weight, of_row = _by_row(mean), _by_row(row_weight), _by_row(of_row)
        constant, linear, square, own = (
            None if x is None else _by_row(x)
            for x in terms._replace(own=None if terms.own is None else terms.own * share)
        )
        tiles = _Tiles(tensors, pattern)
        weights, products = tiles.buffer(), None if square is None else tiles.buffer()
        slopes = None if pattern.softcap is None else tiles.buffer()
        grad_bias = torch.zeros_like(tensors.bias) if with_bias and tensors.bias is not None else None
        grad_q = tiles.q.new_empty(tiles.q.shape)
        # A batched product is fast only into memory without gaps: dk has a tensor for every tile of keys, dq
        # for every tile of rows. Rows of dk^T lie along the rows of w: a sixth faster than dk itself.
        grad_k = [part.new_zeros(part.mT.shape) for part in tiles.k.split(_SIDE, dim=1)]
        for block, at in tiles.rows():
            folded, rows = at
            weighted_q = tiles.q[at] * row_weight[at]
            sum_q = weighted_q.new_zeros(weighted_q.shape)
            for columns in tiles.columns(rows):
                shape = (weighted_q.shape[0], weighted_q.shape[1], columns.stop - columns.start)
                slope = None if slopes is None else _shaped(slopes, shape)
                # Far below the mean w is 0 and so is w x; the other factors might overflow were x not cut.
                clamp = tiles.hides(rows, columns) or not entropy_alone
                x = _below(tiles.logits(block, folded, columns, slope), mean[at], clamp)
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
                if grad_bias is not None:
                    _add_to(grad_bias, block, columns, w * of_row[at])
                if slope is not None:
                    w.mul_(slope)
                sum_q.baddbmm_(w, tiles.k[folded, columns])
                grad_k[columns.start // _SIDE][folded, :, : w.shape[2]].baddbmm_(weighted_q.mT, w)
            torch.mul(sum_q, row_weight[at], out=grad_q[at])
        whole_k = torch.cat([part.mT for part in grad_k], dim=1)
        if of_largest is not None:
            _add_largest(tiles, tensors.hide_empty(of_largest, 0), grad_q, whole_k, grad_bias)
        return Tensors(grad_q.view(q.shape), whole_k.view(k.shape), bias=grad_bias)


def _add_to(grad_bias: Tensor, block: Block, columns: slice, of_logits: Tensor) -> None:
    """Add the gradient of a tile of logits to that of the bias, summed where the bias is the same for all."""
    place = of_columns(part_of(grad_bias, block), columns)
    b, h, _ = block
    place += of_logits.view(b.stop - b.start, h.stop - h.start, *of_logits.shape[1:]).sum_to_size(place.shape)


def _add_largest(
    tiles: _Tiles, grad: Tensor, grad_q: Tensor, grad_k: Tensor, grad_bias: Tensor | None
) -> None:
    """Add the gradient of each row's largest logit, which belongs to one key: the first where several tie."""
    shape = tiles.q.shape[:2]
    best, place = (
        tiles.q.new_full(shape, -math.inf),
        torch.zeros(shape, dtype=torch.int64, device=grad.device),
    )
    for block, (folded, rows) in tiles.rows():
        for columns in tiles.columns(rows):
            top, at = tiles.logits(block, folded, columns).max(dim=-1)
            better = top > best[folded, rows]
            best[folded, rows] = torch.where(better, top, best[folded, rows])
            place[folded, rows] = torch.where(better, at + columns.start, place[folded, rows])
    index = place[..., None].expand(*shape, tiles.k.shape[-1])
    keys = tiles.k.gather(1, index)
    of_product = grad.flatten(0, 1)[..., None] * tiles.pattern.scale
    if tiles.pattern.softcap is not None:
        product = (tiles.q * keys).sum(dim=-1, keepdim=True)
        of_product = of_product * (
            1 - torch.tanh(tiles.pattern.scale / tiles.pattern.softcap * product).square()
        )
    grad_q += of_product * keys
    grad_k.scatter_add_(1, index, of_product * tiles.q)
    if grad_bias is not None:
        sizes = grad_bias.shape[:3]
        own = [torch.arange(n, device=grad.device) if n > 1 else place.new_zeros(1) for n in sizes]
        b, h, i = (x.expand(grad.shape) for x in torch.meshgrid(*own, indexing="ij"))
        key = place.view(grad.shape) if grad_bias.shape[-1] > 1 else torch.zeros_like(place).view(grad.shape)
        grad_bias.index_put_((b, h, i, key), grad, accumulate=True)


def _by_row(x: Tensor) -> Tensor:
    """A number a row (B, H, Lq) as a column (B H, Lq, 1)."""
    return x.flatten(0, 1)[..., None]


class Coefficients(NamedTuple):
    """a, b, c, e of dS = p (a + b x + c x^2 + e p), x in bits; None where nothing asks for the term."""

    constant: Tensor | None
    linear: Tensor | None
    square: Tensor | None
    own: Tensor | None


def coefficients(
    grads: Sequence[Tensor | None], varentropy: Tensor | None, renyi: Tensor | None
) -> Coefficients:
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
    return Coefficients(constant, linear, total((_LN2**2, of_varentropy)), own)


PASSES["tiles"] = _TiledRows()


class Found(NamedTuple):
    """Results for every row: with moments or None in their place; ``log_total`` has no gradient."""

    lse: Tensor
    entropy: Tensor
    largest: Tensor
    varentropy: Tensor | None
    renyi: Tensor | None
    log_total: Tensor


def rows_by_tiles(tensors: Tensors, pattern: Pattern, with_moments: bool) -> Found:
    """lse, entropy, largest logit and, if wanted, varentropy and Renyi entropy of order 2 of every row."""
    lse, entropy, largest, *rest, log_total = run("tiles", tensors, pattern, (float(with_moments),))
    varentropy, renyi = rest[:2] if with_moments else (None, None)
    return Found(lse, entropy, largest, varentropy, renyi, log_total)
