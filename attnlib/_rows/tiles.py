"""Row statistics, output and their gradient from tiles of logits that fit a core's cache: the CPU's way.

Every statistic of a row is a sum over its logits s, and every gradient is elementwise in them: with
m = sum p s, x = s - m, output o = sum p v and its gradient g,

    dlse = sum p ds,    dH = -sum p x ds,    dVar = sum p (x^2 + 2 x - Var) ds,
    dH_2 = sum 2 p (1 - p / sum p^2) ds,     g do = sum p (g v - g o) ds + p g dv.

So one product (q k^T) gives all statistics, and three (that one again, dS k and dS^T q) all gradients, where
an attention kernel needs two and five, and a backward call for each moment. The output takes the second
product of an attention kernel and shares all else with the statistics. Claims U1, U2 and U7 of the book.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain

import torch
from torch import Tensor

from attnlib._rows.layout import Block, Pattern, Tensors, of_columns, part_of
from attnlib._rows.one_pass import Found, OnePass, coefficients, in_one_pass
from attnlib._rows.passes import PASSES

# The logits of a tile and what is made of them lie in so much of a core's cache, for each thread that shares
# the work: so many keys by as many rows as there is room for, then further heads, within a bound on memory.
_CACHE = 3 << 18
_KEYS = 512
_MOST_THREADS = 8
# Sums of tiles to hold before they are merged into those of their rows.
_HELD = 1 << 18
# e^-800 is 0 in every dtype, and 0 times it is 0: what stands in for the -inf of a hidden key.
_NOTHING = -800.0


class _Tiles:
    """All logits, tile by tile in one buffer, heads and batches folded into one.

    Keys that no row of a tile sees, being outside of its band, are not visited.
    """

    def __init__(self, tensors: Tensors, pattern: Pattern, buffers: int):
        """``buffers``: how many of the size of a tile the caller works in, that of the logits among them."""
        self.tensors, self.pattern = tensors, pattern
        self.batch, self.heads, self.n_q, self.n_k = tensors.shape
        self.q, self.k = tensors.q.flatten(0, 1), tensors.k.flatten(0, 1)
        keys = min(self.n_k, _KEYS)
        threads = min(torch.get_num_threads(), _MOST_THREADS)
        room = max(1, _CACHE // (keys * buffers * self.q.element_size()))
        room = 1 << (room.bit_length() - 1)  # of 2^n rows, so that few lengths leave a rest
        row_step = min(self.n_q, room)
        self.head_step = max(1, min(self.heads, threads * room // row_step))
        self.batch_step = max(1, min(self.batch, threads * room // (row_step * max(1, self.heads))))
        # Threads that find no head of their own share rows.
        self.row_step = max(row_step, min(self.n_q, threads * room // (self.head_step * self.batch_step)))
        self.size = self.head_step * self.batch_step * self.row_step * keys
        self.scores = self.buffer()
        self.cut: dict[tuple[bool, int], Tensor] = {}
        self._keys: dict[tuple[int, int, int], Tensor] = {}

    def buffer(self) -> _Buffer:
        return _Buffer(self.q, self.size)

    def of_heads(self) -> Iterator[tuple[slice, slice, slice]]:
        """Batches and heads of some tiles, and the same folded into one."""
        for b in range(0, self.batch, self.batch_step):
            b_end = min(b + self.batch_step, self.batch)
            for h in range(0, self.heads, self.head_step):
                h_end = min(h + self.head_step, self.heads)
                yield (
                    slice(b, b_end),
                    slice(h, h_end),
                    slice(b * self.heads + h, (b_end - 1) * self.heads + h_end),
                )

    def of_rows(self) -> Iterator[slice]:
        """The rows of some tiles."""
        for i in range(0, self.n_q, self.row_step):
            yield slice(i, min(i + self.row_step, self.n_q))

    def rows(self) -> Iterator[tuple[Block, tuple[slice, slice]]]:
        """(batches, heads, rows) of some tiles, and the same with the first two folded."""
        for b, h, folded in self.of_heads():
            for rows in self.of_rows():
                yield (b, h, rows), (folded, rows)

    def columns(self, rows: slice) -> Iterator[slice]:
        """The keys that the band shows to some of these rows; where it shows none, a tile that hides all."""
        low, high = self.pattern.low, self.pattern.high
        first = 0 if low is None else max(0, rows.start + low) // _KEYS * _KEYS
        end = self.n_k if high is None else min(self.n_k, rows.stop + high)
        if first >= end:
            first, end = 0, min(self.n_k, _KEYS)
        for j in range(first, end, _KEYS):
            yield slice(j, min(j + _KEYS, end))

    def logits(self, block: Block, folded: slice, columns: slice, slope: Tensor | None = None) -> Tensor:
        """(folded, rows, columns), valid until the next call; -inf where a key is hidden.

        ``slope`` is filled with the derivative of a capped logit in what it was before.
        """
        b, h, rows = block
        q = self.q[folded, rows]
        scores = self.scores.shaped(q.shape[0], q.shape[1], columns.stop - columns.start)
        cap = self.pattern.softcap
        alpha = self.pattern.scale / (1 if cap is None else cap)
        torch.baddbmm(scores, q, self.keys(folded, columns), beta=0, alpha=alpha, out=scores)
        if cap is not None:
            scores.tanh_()
            if slope is not None:
                torch.mul(scores, scores, out=slope).neg_().add_(1)
            scores.mul_(cap)
        if self.tensors.bias is not None:
            _unfolded(scores, block).add_(of_columns(part_of(self.tensors.bias, block), columns))
        for below, distance in self._edges(rows, columns):
            scores.add_(self._edge(below, distance)[: scores.shape[1], : scores.shape[2]])
        if self.tensors.row_segments is not None and self.tensors.key_segments is not None:
            keys = part_of(self.tensors.key_segments, (b, h, slice(None)))[..., None, columns]
            others = part_of(self.tensors.row_segments, block)[..., None] != keys
            _unfolded(scores, block).masked_fill_(others, -math.inf)
        return scores

    def keys(self, folded: slice, columns: slice) -> Tensor:
        """The keys of a tile, (folded, d, columns); rows after the first find them cut."""
        place = (folded.start, columns.start, columns.stop)
        if place not in self._keys:
            self._keys[place] = self.k[folded, columns].mT
        return self._keys[place]

    def _edges(self, rows: slice, columns: slice) -> list[tuple[bool, int]]:
        """The edges of the band that cut this tile: lower or upper, and how far from its diagonal."""
        edges: list[tuple[bool, int]] = []
        if not self.pattern.bounded:
            return edges
        low, high, start = self.pattern.low, self.pattern.high, rows.start - columns.start
        if high is not None and columns.stop - 1 - rows.start > high:
            edges.append((False, high + start))
        if low is not None and columns.start - (rows.stop - 1) < low:
            edges.append((True, low + start))
        return edges

    def _edge(self, below: bool, distance: int) -> Tensor:
        """-inf beyond an edge of the band, as far as a tile may reach."""
        if (below, distance) not in self.cut:
            full = self.q.new_full((self.row_step, min(_KEYS, self.n_k)), -math.inf)
            self.cut[below, distance] = full.tril_(distance - 1) if below else full.triu_(distance + 1)
        return self.cut[below, distance]

    def hides(self, rows: slice, columns: slice) -> bool:
        """Whether a key of the tile may be hidden; elsewhere no pass over it has to look for -inf."""
        masked = self.tensors.bias is not None or self.tensors.row_segments is not None
        return masked or bool(self._edges(rows, columns))


class _Buffer:
    """Memory for a tile of any shape, one tile at a time."""

    def __init__(self, like: Tensor, size: int):
        self._whole = like.new_empty(size)
        self._views: dict[tuple[int, ...], Tensor] = {}

    def shaped(self, *shape: int) -> Tensor:
        if shape not in self._views:
            self._views[shape] = self._whole[: math.prod(shape)].view(shape)
        return self._views[shape]


def _unfolded(x: Tensor, block: Block) -> Tensor:
    """(folded, ...) as (batches, heads, ...)."""
    b, h, _ = block
    return x.view(b.stop - b.start, h.stop - h.start, *x.shape[1:])


def _below(scores: Tensor, level: Tensor, clamp: bool) -> Tensor:
    """Logits minus a level of their row, in place; ``clamp`` where some are -inf or products may overflow."""
    distance = scores.sub_(level)
    return distance.clamp_(min=_NOTHING) if clamp else distance


def _sums(
    scores: Tensor, weight: Tensor, product: Tensor | None, hides: bool, least: Tensor | None
) -> list[Tensor]:
    """Of each row of a tile, with w = e^x: level, sum w, sum w x, [sum w (x - mean)^2, norm of w].

    x is the logit minus the level, which is the largest logit, or ``least`` where that is larger. A row that
    sees nothing has 0 for its sums. Scores are used up, weights stay.
    """
    level = scores.amax(dim=-1, keepdim=True)
    if hides:
        level.clamp_(min=torch.finfo(scores.dtype).min)
    if least is not None:
        torch.maximum(level, least, out=level)
    below = _below(scores, level, hides)
    torch.exp(below, out=weight)
    total = weight.sum(dim=-1, keepdim=True)
    first = torch.mul(weight, below, out=below if product is None else product).sum(dim=-1, keepdim=True)
    if product is None:
        return [level, total, first]
    mean = _mean(first, total) if hides or least is not None else first / total
    centred = below.sub_(mean)
    square = torch.mul(weight, centred, out=product).mul_(centred).sum(dim=-1, keepdim=True)
    return [level, total, first, square, torch.linalg.vector_norm(weight, dim=-1, keepdim=True)]


def _mean(first: Tensor, total: Tensor) -> Tensor:
    """Of the logits below their level; 0 in a row that sees nothing."""
    return first / total.clamp(min=torch.finfo(total.dtype).tiny)


def _after_each_other(parts: list[list[Tensor]]) -> list[Tensor]:
    """Sums of some rows after those of others."""
    return parts[0] if len(parts) == 1 else [torch.cat(same, dim=1) for same in zip(*parts)]


def _merge(tiles: list[list[list[Tensor]]]) -> list[Tensor]:
    """The same sums of whole rows from those of their tiles, blocks of as many rows after each other.

    Nothing large is subtracted: each difference is of means alone. Levels become largest logits.
    """
    most = max(map(len, tiles))
    if most == 1:
        return _after_each_other([of_rows[0] for of_rows in tiles])
    for of_rows in tiles:
        level, *others = of_rows[0]
        of_rows.extend([[level, *map(torch.zeros_like, others)]] * (most - len(of_rows)))
    # (heads, blocks of rows, tiles, rows of a block): sums over tiles run along memory.
    heads, rows, _ = tiles[0][0][0].shape
    levels, totals, firsts, *moments = (
        torch.cat(same, dim=1).view(heads, len(tiles), most, rows) for same in zip(*chain(*tiles))
    )
    level = levels.amax(dim=2, keepdim=True)
    fall = (levels - level).clamp_(min=_NOTHING)
    share = fall.exp()
    weights = share * totals
    total = weights.sum(dim=2, keepdim=True)
    centres = fall + _mean(firsts, totals)
    merged = [level, total, (weights * centres).sum(dim=2, keepdim=True)]
    if moments:
        squares, norms = moments
        mean = _mean(merged[2], total)
        merged.append((share * squares + weights * (centres - mean).square()).sum(dim=2))
        merged.append(torch.linalg.vector_norm(share * norms, dim=2))
    return [x.reshape(heads, -1, 1) for x in merged]


class _Work:
    """What the forward pass makes of tiles: sums of their rows and, of calls with values, the output."""

    def __init__(self, tiles: _Tiles, values: Tensor | None, with_moments: bool):
        self.tiles = tiles
        self.values = None if values is None else values.flatten(0, 1)
        self.weights = tiles.buffer()
        self.products = tiles.buffer() if with_moments else None

    def rows(self, block: Block, folded: slice) -> tuple[list[list[Tensor]], Tensor | None]:
        """Sums of every tile of some rows, and sum w v of the rows, w at the level of the last tile."""
        parts: list[list[Tensor]] = []
        output = before = None
        for columns in self.tiles.columns(block[2]):
            scores = self.tiles.logits(block, folded, columns)
            weight = self.weights.shaped(*scores.shape)
            product = None if self.products is None else self.products.shaped(*scores.shape)
            parts.append(_sums(scores, weight, product, self.tiles.hides(block[2], columns), before))
            if self.values is None:
                continue
            level, values = parts[-1][0], self.values[folded, columns]
            if output is None or before is None:
                output = torch.bmm(weight, values)
            else:
                output.mul_((before - level).exp_()).baddbmm_(weight, values)
            before = level
        return parts, output


class _TiledRows(OnePass):
    """One pass by operators of PyTorch, all 0 in a row that sees no key."""

    def forward(self, tensors: Tensors, pattern: Pattern, numbers: Sequence[float]) -> list[Tensor]:
        with_moments, with_output = (x == 1 for x in numbers)
        if not tensors.q.numel():
            return [x.zero_() for x in self.shapes(tensors, pattern, numbers)]
        shape = tensors.q.shape[:3]
        tiles = _Tiles(tensors, pattern, buffers=3 if with_moments else 2)
        work = _Work(tiles, tensors.v if with_output else None, with_moments)
        output = tensors.q.new_empty((*tiles.q.shape[:2], tensors.values.shape[-1])) if with_output else None
        found = []
        for b, h, folded in tiles.of_heads():
            merged: list[list[Tensor]] = []
            held: list[list[list[Tensor]]] = []
            for rows in tiles.of_rows():
                if held and rows.stop - rows.start < tiles.row_step:
                    merged.append(_merge(held))
                    held = []
                parts, of_rows = work.rows((b, h, rows), folded)
                if output is not None and of_rows is not None:
                    output[folded, rows] = of_rows
                held.append(parts)
                if rows.stop == tiles.n_q or len(held) * len(parts) * parts[0][0].numel() > _HELD:
                    merged.append(_merge(held))
                    held = []
            found.append(_after_each_other(merged))
        top, total, first, *moments = (torch.cat(same).view(shape) for same in zip(*found))
        total.clamp_(min=1)
        mean = first / total
        log_total = total.log()
        results = [
            tensors.hide_empty(top + log_total, 0),
            log_total - mean,
            tensors.hide_empty(top, 0),
        ]
        kept = [top + mean, log_total]
        if with_moments:
            square, norm = moments
            renyi = 2 * (log_total - norm.clamp_(min=1).log())
            results += [square / total, renyi.clamp(min=0)]
            kept.insert(1, renyi)
        if output is not None:
            results.append(output.view(*shape, -1).div_(total[..., None]))
        return [*results, *kept]

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
        entropy, of_lse, of_entropy, of_largest = results[1], *grads[:3]
        varentropy = renyi = of_varentropy = of_renyi = of_output = None
        if numbers[0] == 1:
            varentropy, renyi = results[3], results[-2]
            of_varentropy, of_renyi = grads[3:5]
        mean = results[self.differentiable(numbers)]
        terms = coefficients((of_lse, of_entropy, of_varentropy, of_renyi), varentropy, renyi)
        if numbers[1] == 1:
            place = self.differentiable(numbers) - 1
            of_output = grads[place]
            if of_output is not None:
                of_output = tensors.hide_empty(of_output, 0)
                both = (of_output * results[place]).sum(dim=-1)
                terms = terms._replace(constant=-both if terms.constant is None else terms.constant - both)
        # p = share w, where w = e^x is at most n since no p exceeds 1. What multiplies a whole row is left to
        # the rows of q and dq, so that of the entropy's dS = share b w x the tiles form w x alone.
        share = (-entropy).exp()
        entropy_alone = terms.linear is not None and terms.constant is terms.square is terms.own is None
        of_row, row_weight = share, pattern.scale * share
        if entropy_alone and terms.linear is not None:
            of_row, row_weight = of_row * terms.linear, row_weight * terms.linear
        mean, row_weight, of_row = _by_row(mean), _by_row(row_weight), _by_row(of_row)
        constant, linear, square, own = (
            None if x is None else _by_row(x)
            for x in terms._replace(own=None if terms.own is None else terms.own * share)
        )
        further = (square is not None, pattern.softcap is not None)
        tiles = _Tiles(tensors, pattern, buffers=2 + sum(further))
        weights = tiles.buffer()
        products, slopes = (tiles.buffer() if wanted else None for wanted in further)
        grad_bias = torch.zeros_like(tensors.bias) if with_bias and tensors.bias is not None else None
        grad_q = tiles.q.new_empty(tiles.q.shape)
        # A batched product is fast only into memory without gaps: dk has a tensor for every tile of keys, dq
        # for every tile of rows. Rows of dk^T lie along the rows of w: a sixth faster than dk itself.
        grad_k = _of_tiles(tiles.k)
        values = grad_v = None
        if of_output is not None:
            values, of_output = tensors.values.flatten(0, 1), of_output.flatten(0, 1)
            grad_v = _of_tiles(values)
        for block, at in tiles.rows():
            folded, rows = at
            weighted_q = tiles.q[at] * row_weight[at]
            sum_q = weighted_q.new_zeros(weighted_q.shape)
            weighted_grad = None if of_output is None else of_output[at] * of_row[at]
            for columns in tiles.columns(rows):
                shape = (weighted_q.shape[0], weighted_q.shape[1], columns.stop - columns.start)
                slope = None if slopes is None else slopes.shaped(*shape)
                # Far below the mean w is 0 and so is w x; the other factors might overflow were x not cut.
                clamp = tiles.hides(rows, columns) or not entropy_alone
                x = _below(tiles.logits(block, folded, columns, slope), mean[at], clamp)
                w = weights.shaped(*x.shape)
                torch.exp(x, out=w)
                if entropy_alone:
                    factor = x
                elif linear is None:
                    factor = x.zero_()
                elif square is None or products is None:
                    factor = x.mul_(linear[at])
                else:
                    factor = torch.mul(x, square[at], out=products.shaped(*x.shape)).add_(linear[at]).mul_(x)
                if constant is not None:
                    factor.add_(constant[at])
                if own is not None:
                    factor.addcmul_(w, own[at])
                tile = columns.start // _KEYS
                if of_output is not None and weighted_grad is not None and values is not None and grad_v:
                    factor.baddbmm_(of_output[at], values[folded, columns].mT)
                    grad_v[tile][folded, :, : w.shape[2]].baddbmm_(weighted_grad.mT, w)
                w.mul_(factor)
                if grad_bias is not None:
                    _add_to(grad_bias, block, columns, w * of_row[at])
                if slope is not None:
                    w.mul_(slope)
                sum_q.baddbmm_(w, tiles.k[folded, columns])
                grad_k[tile][folded, :, : w.shape[2]].baddbmm_(weighted_q.mT, w)
            torch.mul(sum_q, row_weight[at], out=grad_q[at])
        whole_k = _whole(grad_k)
        if of_largest is not None:
            _add_largest(tiles, tensors.hide_empty(of_largest, 0), grad_q, whole_k, grad_bias)
        whole_v = None if grad_v is None else _whole(grad_v).view(tensors.values.shape)
        return Tensors(grad_q.view(q.shape), whole_k.view(k.shape), whole_v, bias=grad_bias)


def _of_tiles(x: Tensor) -> list[Tensor]:
    """Zeros for the gradient of keys or values (heads, Lk, d): (heads, d, keys) of every tile."""
    return [part.new_zeros(part.mT.shape) for part in x.split(_KEYS, dim=1)]


def _whole(parts: list[Tensor]) -> Tensor:
    """The gradient of all keys or values from that of every tile."""
    return torch.cat([part.mT for part in parts], dim=1)


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


def add_largest(tensors: Tensors, pattern: Pattern, grad: Tensor, grads: Tensors) -> None:
    """Add the gradient of each row's largest logit to those of q, k and the bias."""
    grad_q, grad_k = grads.q.flatten(0, 1), grads.k.flatten(0, 1)
    _add_largest(_Tiles(tensors, pattern, buffers=1), tensors.hide_empty(grad, 0), grad_q, grad_k, grads.bias)


def _by_row(x: Tensor) -> Tensor:
    """A number a row (B, H, Lq) as a column (B H, Lq, 1)."""
    return x.flatten(0, 1)[..., None]


PASSES["tiles"] = _TiledRows()


def rows_by_tiles(tensors: Tensors, pattern: Pattern, with_moments: bool) -> Found:
    """lse, entropy, largest logit, the output of calls that have values, and the moments if wanted."""
    return in_one_pass("tiles", tensors, pattern, with_moments)
