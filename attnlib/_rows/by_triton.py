"""What ``impl='triton'`` runs: output and every statistic from one pass over the keys, by kernels of its own.

Experimental: their arithmetic is tested by Triton's interpreter on a CPU, and on an H100 so far.
Products of float32 and float64 are formed in that dtype, not in a narrower one of the tensor cores. Where q,
k and v came in half precision the kernels read them so: the tensor cores form products of their entries
exactly, and what was computed meets them in parts. The gradients rest on the identities of
:mod:`attnlib._rows.tiles`, with dS = p (dO v^T - sum dO * out) for the output besides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from attnlib._rows.layout import Pattern, Tensors
from attnlib._rows.one_pass import Found, OnePass, coefficients, in_one_pass
from attnlib._rows.passes import PASSES
from attnlib.errors import EngineNotAvailable

_LN2 = math.log(2)
# Rows by keys of a program, by the bytes of a row of q, k or v: the compiler then asks for at most 64 kB of
# shared memory at 512 bytes (d = 128 in float32), as small cards have, and for 96 kB at 1024.
_SIDES = {256: (32, 32), 512: (32, 16)}
# In half precision, and of the backward pass, which holds more of them, for 96 kB at 256 bytes (d = 128). Of
# eight shapes, stages and warps that were tried on an H100 none was a quarter faster.
_NARROW_SIDES = {128: (64, 64), 256: (64, 64), 512: (32, 32)}
_NARROW_SIDES_BACK = {128: (64, 64), 256: (32, 32)}
_LEAST = (16, 16)
# More stages would hold more blocks of keys at once. Triton warns where fusing is not asked for by name.
_OPTIONS = {"num_stages": 1, "enable_fp_fusion": True}
_NARROW_OPTIONS = {"num_stages": 2, "enable_fp_fusion": True}
# What stands for a dtype among the numbers of a pass.
_NARROW = {None: 0.0, torch.bfloat16: 1.0, torch.float16: 2.0}


def _kernels() -> Any:
    """The module of Triton's kernels, imported where they run and nowhere else."""
    try:
        from attnlib._rows import triton_kernels
    except ImportError as error:
        raise EngineNotAvailable(
            f"impl='triton' needs the package triton ({error}): install it, or take impl='fused'"
        ) from error
    return triton_kernels


def require(device: torch.device) -> None:
    """Raise unless Triton's kernels can run on tensors of this device.

    A compiler cannot look at them: what it compiles raises where they are missing as it first runs.
    """
    if torch.compiler.is_compiling():
        return
    interpreted = type(_kernels().forward).__name__ == "InterpretedFunction"
    if device.type != "cuda" and not (interpreted and device.type == "cpu"):
        raise EngineNotAvailable(
            f"impl='triton' needs tensors on a CUDA device, got {device}: move them, or take impl='fused'"
        )


def _strides(x: Tensor | None, shape: tuple[int, ...], stand_in: Tensor) -> list[Any]:
    """What a kernel reads of a tensor that broadcasts to ``shape``; of one that is not there, nothing."""
    if x is None:
        return [stand_in, *(0 for _ in shape)]
    wide = x.expand(shape)
    return [wide, *wide.stride()]


class _Launch:
    """The arguments that all kernels have in common, and a grid for a block of rows or of keys each."""

    def __init__(
        self, tensors: Tensors, pattern: Pattern, narrow: torch.dtype | None = None, back: bool = False
    ):
        q, k, v = tensors.q, tensors.k, tensors.v
        batch, heads, n_q, n_k = tensors.shape
        width = q.shape[-1]
        value_width = 1 if v is None else v.shape[-1]
        columns, value_columns = (max(16, 1 << (n - 1).bit_length()) for n in (width, value_width))
        held = q.dtype if narrow is None else narrow
        longest = max(columns, value_columns) * held.itemsize
        table = _SIDES if narrow is None else _NARROW_SIDES_BACK if back else _NARROW_SIDES
        rows, keys = next((sides for limit, sides in table.items() if longest <= limit), _LEAST)
        cap = pattern.softcap
        settings = (pattern.scale / (_LN2 if cap is None else cap), (cap or 0) / _LN2, pattern.scale)
        lowest = torch.finfo(q.dtype).min
        segmented = tensors.row_segments is not None
        self.read: list[Any] = [
            *_strides(q.to(held), (batch, heads, n_q, width), q),
            *_strides(k.to(held), (batch, heads, n_k, width), q),
            *_strides(v if v is None else v.to(held), (batch, heads, n_k, value_width), q),
            *_strides(tensors.bias, tensors.shape, q),
            *_strides(tensors.row_segments, (batch, heads, n_q), q),
            *_strides(tensors.key_segments, (batch, heads, n_k), q),
            torch.cat([q.new_full((1,), x) for x in (*settings, lowest)]),
        ]
        low, high = pattern.low, pattern.high
        self.sizes = [batch * heads * n_q, heads, n_q, n_k, width, value_width, low or 0, high or 0]
        self.flags: dict[str, Any] = {
            "CAPPED": cap is not None,
            "BIASED": tensors.bias is not None,
            "IN_SEGMENTS": segmented,
            "FROM_LOW": low is not None,
            "TO_HIGH": high is not None,
            "ROWS": rows,
            "KEYS": keys,
            "COLUMNS": columns,
            "VALUE_COLUMNS": value_columns,
            **(_OPTIONS if narrow is None else _NARROW_OPTIONS),
        }
        self.by_rows = (batch * heads * -(-n_q // rows),)
        self.by_keys = (batch * heads * -(-n_k // keys),)


class _TritonRows(OnePass):
    """One pass by Triton's kernels, all 0 in a row that sees no key; the mean logit is in bits.

    ``numbers`` end with what stands for the dtype that q, k and v came in.
    """

    def forward(self, tensors: Tensors, pattern: Pattern, numbers: Sequence[float]) -> list[Tensor]:
        with_moments, with_output = (x == 1 for x in numbers[:2])
        sums, output = _forward(tensors, pattern, numbers)
        top, total, mean, *moments = sums
        log_total = total.clamp(min=1).log()
        results = [
            tensors.hide_empty(_LN2 * top + log_total, 0),
            log_total - _LN2 * mean,
            tensors.hide_empty(_LN2 * top, 0),
        ]
        kept = [top + mean, log_total]
        if with_moments:
            renyi = 2 * log_total - moments[1].clamp(min=1).log()
            results += [_LN2**2 * moments[0], renyi.clamp(min=0)]
            kept.insert(1, renyi)
        return [*results, *([output] if with_output else []), *kept]

    def backward(
        self,
        tensors: Tensors,
        pattern: Pattern,
        numbers: Sequence[float],
        results: list[Tensor],
        grads: list[Tensor | None],
        with_bias: bool,
    ) -> Tensors:
        q, k, shape = tensors.q, tensors.k, tensors.q.shape[:3]
        entropy, of_lse, of_entropy, of_largest = results[1], *grads[:3]
        varentropy = renyi = of_varentropy = of_renyi = None
        if numbers[0] == 1:
            varentropy, renyi = results[3], results[-2]
            of_varentropy, of_renyi = grads[3:5]
        mean = results[self.differentiable(numbers)]
        terms = coefficients((of_lse, of_entropy, of_varentropy, of_renyi), varentropy, renyi, unit=_LN2)
        of_output = output = None
        if numbers[1] == 1:
            place = self.differentiable(numbers) - 1
            of_output, output = grads[place], results[place]
        constant = terms.constant
        if of_output is not None and output is not None:
            of_output = of_output.contiguous()
            both = (of_output * output).sum(dim=-1)
            constant = -both if constant is None else constant - both
        factors = [q.new_zeros(shape) if x is None else x for x in terms._replace(constant=constant)]
        stacked = torch.stack([mean, (-entropy).exp(), *factors])
        grad_q, grad_k = q.new_zeros(q.shape), k.new_zeros(k.shape)
        grad_v = None if of_output is None else q.new_zeros(tensors.values.shape)
        grad_bias = torch.zeros_like(tensors.bias) if with_bias and tensors.bias is not None else None
        if q.numel():
            launch = _Launch(tensors, pattern, _narrow(numbers), back=True)
            given = [*launch.read, stacked, q if of_output is None else of_output]
            flags = {**launch.flags, "WITH_OUTPUT": of_output is not None}
            with torch.cuda.device_of(q):
                _kernels().backward_of_rows[launch.by_rows](
                    *given,
                    grad_q,
                    *_strides(grad_bias, tensors.shape, q),
                    *launch.sizes,
                    WITH_GRAD_BIAS=grad_bias is not None,
                    **flags,
                )
                _kernels().backward_of_keys[launch.by_keys](
                    *given, grad_k, q if grad_v is None else grad_v, *launch.sizes, **flags
                )
            if of_largest is not None:
                of_largest = tensors.hide_empty(of_largest, 0)
                best = _place_of_largest(tensors, pattern, numbers)
                _add_largest(tensors, pattern, best, of_largest, grad_q, grad_k, grad_bias)
        return Tensors(grad_q, grad_k, grad_v, bias=grad_bias)


def _narrow(numbers: Sequence[float]) -> torch.dtype | None:
    return next(dtype for dtype, number in _NARROW.items() if number == numbers[2])


def _forward(
    tensors: Tensors, pattern: Pattern, numbers: Sequence[float], best: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The sums of all rows and their outputs, as the kernel stores them; into ``best`` the largest's key."""
    with_moments, with_output = (x == 1 for x in numbers[:2])
    q, shape = tensors.q, tensors.q.shape[:3]
    sums = q.new_zeros((5 if with_moments else 3, *shape))
    output = q.new_zeros((*shape, tensors.values.shape[-1] if with_output else 0))
    if q.numel():
        launch = _Launch(tensors, pattern, _narrow(numbers))
        with torch.cuda.device_of(q):
            _kernels().forward[launch.by_rows](
                *launch.read,
                sums,
                q if best is None else best,
                output,
                *launch.sizes,
                WITH_MOMENTS=with_moments,
                WITH_OUTPUT=with_output,
                WITH_PLACE=best is not None,
                **launch.flags,
            )
    return sums, output


def _place_of_largest(tensors: Tensors, pattern: Pattern, numbers: Sequence[float]) -> Tensor:
    """The first key that has the largest logit of each row, for those who ask for that one's gradient."""
    best = torch.zeros(tensors.q.shape[:3], dtype=torch.int64, device=tensors.q.device)
    _forward(tensors._replace(v=None), pattern, (0.0, 0.0, numbers[2]), best)
    return best


def _add_largest(
    tensors: Tensors,
    pattern: Pattern,
    best: Tensor,
    grad: Tensor,
    grad_q: Tensor,
    grad_k: Tensor,
    grad_bias: Tensor | None,
) -> None:
    """Add the gradient of each row's largest logit, which belongs to one key: the first where several tie."""
    at = best[..., None].expand(tensors.q.shape)
    keys = tensors.k.gather(2, at)
    of_product = pattern.scale * grad[..., None]
    if pattern.softcap is not None:
        bent = torch.tanh(pattern.scale / pattern.softcap * (tensors.q * keys).sum(dim=-1, keepdim=True))
        of_product = of_product * (1 - bent.square())
    grad_q += of_product * keys
    grad_k.scatter_add_(2, at, of_product * tensors.q)
    if grad_bias is not None:
        sizes = zip(grad_bias.shape[:3], grad.shape)
        own = [torch.arange(n if m > 1 else 1, device=grad.device) for m, n in sizes]
        places = [x.expand(grad.shape) for x in torch.meshgrid(*own, indexing="ij")]
        key = best if grad_bias.shape[-1] > 1 else torch.zeros_like(best)
        grad_bias.index_put_((*places, key), grad, accumulate=True)


PASSES["triton"] = _TritonRows()


def rows_by_triton(
    tensors: Tensors, pattern: Pattern, with_moments: bool, narrow: torch.dtype | None
) -> Found:
    """lse, entropy, largest logit, the output of calls that have values, and the moments if wanted.

    ``narrow``: the half precision that holds q, k and v as they are, if one does.
    """
    return in_one_pass("triton", tensors, pattern, with_moments, _NARROW[narrow])
