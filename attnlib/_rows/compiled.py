"""What ``impl='compiled'`` runs: output and every statistic from one pass over the keys, by kernels for CPUs.

They are C++ (``compiled_kernels.cpp``), which :mod:`attnlib._rows.building` compiles on the user's machine.
They compute in float32 or float64, read any strides, and merge blocks of keys as
:mod:`attnlib._rows.tiles` does.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from attnlib._rows import layout
from attnlib._rows.building import library
from attnlib._rows.layout import Pattern, Tensors
from attnlib._rows.one_pass import Found, OnePass, coefficients, in_one_pass
from attnlib._rows.passes import PASSES
from attnlib._rows.tiles import add_largest
from attnlib._transforms import readable, transformed
from attnlib.errors import EngineNotAvailable

_LN2 = math.log(2)
# Shares of the rows that add to gradients of keys of their own, at most: as many tensors of the keys' size.
_MOST_SPLITS = 8


def require(device: torch.device) -> None:
    """Raise unless the kernels can run on tensors of this device; the first call builds them.

    A compiler cannot look at them: what it compiles builds them as it first runs.
    """
    if device.type not in ("cpu", "meta"):
        raise EngineNotAvailable(
            f"impl='compiled' needs tensors on a CPU, got {device}: move them, or take impl='fused'"
        )
    if not torch.compiler.is_compiling() and device.type == "cpu":
        library()


class _Call(ctypes.Structure):
    """``Call`` of the source, field by field."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("q", "k", "v", "bias", "row_segments", "key_segments")),
        *((f"of_{name}", 4 * ctypes.c_int64) for name in ("q", "k", "v", "bias")),
        *((f"of_{name}", 3 * ctypes.c_int64) for name in ("rows", "keys")),
        *((name, ctypes.c_int64) for name in ("batch", "heads", "n_q", "n_k", "width", "value_width")),
        *((name, ctypes.c_int64) for name in ("from_low", "low", "to_high", "high", "capped")),
        *((name, ctypes.c_double) for name in ("factor", "cap")),
        *((name, ctypes.c_int64) for name in ("with_moments", "with_output", "threads")),
        *((name, ctypes.c_void_p) for name in ("lse", "entropy", "largest", "varentropy", "renyi", "output")),
        *((name, ctypes.c_void_p) for name in ("mean", "exact_renyi", "log_total")),
        *((name, ctypes.c_void_p) for name in ("constant", "linear", "square", "own", "grad_output")),
        *((name, ctypes.c_void_p) for name in ("grad_q", "grad_k", "grad_v", "grad_bias")),
        ("of_grad_bias", 4 * ctypes.c_int64),
        *((name, ctypes.c_int64) for name in ("split_of_grad_bias", "splits", "unit_batch", "unit_heads")),
        ("scale", ctypes.c_double),
    ]


class _Launch:
    """What both passes are told of a call; tensors that are made for it live as long as this does."""

    def __init__(self, tensors: Tensors, pattern: Pattern):
        self.call = _Call()
        self.held: list[Tensor] = []
        batch, heads, n_q, n_k = tensors.shape
        self.lay("q", "of_q", tensors.q, tensors.q.shape)
        self.lay("k", "of_k", tensors.k, tensors.k.shape)
        self.lay("v", "of_v", tensors.v, () if tensors.v is None else tensors.v.shape)
        self.lay("bias", "of_bias", tensors.bias, tensors.shape)
        for name, of, segments, n in (
            ("row_segments", "of_rows", tensors.row_segments, n_q),
            ("key_segments", "of_keys", tensors.key_segments, n_k),
        ):
            self.lay(name, of, None if segments is None else segments.long(), (batch, heads, n))
        cap = pattern.softcap
        sizes = (batch, heads, n_q, n_k, tensors.q.shape[-1], 0 if tensors.v is None else tensors.v.shape[-1])
        for name, value in zip(("batch", "heads", "n_q", "n_k", "width", "value_width"), sizes):
            setattr(self.call, name, value)
        self.call.from_low, self.call.low = pattern.low is not None, pattern.low or 0
        self.call.to_high, self.call.high = pattern.high is not None, pattern.high or 0
        self.call.capped, self.call.cap = cap is not None, (cap or 0) / _LN2
        self.call.factor = pattern.scale / _LN2 if cap is None else pattern.scale / cap
        self.call.threads = torch.get_num_threads()

    def lay(self, name: str, of: str, x: Tensor | None, shape: Sequence[int]) -> None:
        """Where a tensor that broadcasts to ``shape`` lies, and how."""
        if x is not None:
            wide = x.resolve_neg().expand(shape)
            self.held.append(wide)
            setattr(self.call, name, wide.data_ptr())
            getattr(self.call, of)[:] = wide.stride()

    def point(self, **tensors: Tensor | None) -> None:
        """Where contiguous tensors lie."""
        for name, x in tensors.items():
            if x is not None:
                self.held.append(x)
                setattr(self.call, name, x.data_ptr())

    def share_out(self, bias: Tensor | None) -> int:
        """Say who adds to which gradients, so that no two threads meet; into how many shares rows are cut.

        Heads and batches with the same entries of a bias that has a gradient are one after the other.
        """
        call, batch, heads = self.call, self.call.batch, self.call.heads
        call.unit_batch = batch if bias is not None and bias.shape[0] == 1 else 1
        call.unit_heads = heads if bias is not None and bias.shape[1] == 1 else 1
        units = batch * heads // max(1, call.unit_batch * call.unit_heads)
        enough = units % call.threads == 0 or units >= 4 * call.threads
        call.splits = 1 if enough else min(call.threads, _MOST_SPLITS)
        return int(call.splits)

    def ask(self, name: str, dtype: torch.dtype) -> bool:
        """What a function of the source answers."""
        kind = {torch.float32: "float", torch.float64: "double"}[dtype]
        return bool(getattr(library(), f"attnlib_{name}_{kind}")(ctypes.byref(self.call)))

    def run(self, name: str, dtype: torch.dtype) -> None:
        if self.ask(name, dtype):
            raise MemoryError("impl='compiled' found no memory for its blocks")


def centred(tensors: Tensors, pattern: Pattern) -> tuple[Tensors, Tensor | None]:
    """:func:`attnlib._rows.layout.centred`, which is spared where all keys are seen and share little."""
    k = tensors.k
    all_seen = not pattern.bounded and tensors.bias is None and tensors.row_segments is None
    if all_seen and k.numel() and pattern.softcap is None and readable(k) and not transformed(k):
        with torch.no_grad():
            if not _Launch(tensors, pattern).ask("shares_much", k.dtype):
                return tensors, None
    return layout.centred(tensors, pattern)


class _CompiledRows(OnePass):
    """One pass by compiled kernels, all 0 in a row that sees no key; the mean logit is in bits."""

    def _names(self, numbers: Sequence[float]) -> list[str]:
        moments, output = (["varentropy", "renyi"], ["exact_renyi"]), ["output"]
        first, last = moments if numbers[0] == 1 else ([], [])
        return [
            "lse",
            "entropy",
            "largest",
            *first,
            *(output if numbers[1] == 1 else []),
            "mean",
            *last,
            "log_total",
        ]

    def forward(self, tensors: Tensors, pattern: Pattern, numbers: Sequence[float]) -> list[Tensor]:
        results = self.shapes(tensors, pattern, numbers)
        if not tensors.q.numel():
            return [x.zero_() for x in results]
        launch = _Launch(tensors, pattern)
        launch.point(**dict(zip(self._names(numbers), results)))
        launch.call.with_moments, launch.call.with_output = (int(x) for x in numbers)
        launch.run("forward", tensors.q.dtype)
        results[0] = tensors.hide_empty(results[0], 0)
        return results

    def backward(
        self,
        tensors: Tensors,
        pattern: Pattern,
        numbers: Sequence[float],
        results: list[Tensor],
        grads: list[Tensor | None],
        with_bias: bool,
    ) -> Tensors:
        q, k, bias = tensors.q, tensors.k, tensors.bias
        found = dict(zip(self._names(numbers), results))
        given = dict(zip(self._names(numbers), grads))
        by_row = (given["lse"], given["entropy"], given.get("varentropy"), given.get("renyi"))
        terms = coefficients(by_row, found.get("varentropy"), found.get("exact_renyi"), unit=_LN2)
        of_output = given.get("output")
        if of_output is not None:
            of_output = tensors.hide_empty(of_output, 0)
            both = (of_output * found["output"]).sum(dim=-1)
            terms = terms._replace(constant=-both if terms.constant is None else terms.constant - both)
        grad_q = q.new_zeros(q.shape)
        launch = _Launch(tensors, pattern)
        splits = launch.share_out(bias if with_bias else None)
        grad_k = k.new_zeros((splits, *k.shape))
        grad_v = None if of_output is None else k.new_zeros((splits, *tensors.values.shape))
        grad_bias = None
        if with_bias and bias is not None:
            # Shares of the rows that meet in the same entries have some of their own.
            grad_bias = bias.new_zeros((splits if bias.shape[2] == 1 else 1, *bias.shape))
            launch.lay("grad_bias", "of_grad_bias", grad_bias[0], tensors.shape)
            launch.call.split_of_grad_bias = grad_bias.stride(0) if len(grad_bias) > 1 else 0
        if q.numel():
            rows = {"mean": found["mean"], "entropy": found["entropy"], **terms._asdict()}
            launch.point(**{name: None if x is None else x.contiguous() for name, x in rows.items()})
            launch.point(grad_output=None if of_output is None else of_output.contiguous())
            launch.point(grad_q=grad_q, grad_k=grad_k, grad_v=grad_v)
            launch.call.scale = pattern.scale
            launch.run("backward", q.dtype)
        whole_v, whole_bias = (None if x is None else _total(x) for x in (grad_v, grad_bias))
        gradients = Tensors(grad_q, _total(grad_k), whole_v, bias=whole_bias)
        if given["largest"] is not None and q.numel():
            add_largest(tensors, pattern, given["largest"], gradients)
        return gradients


def _total(shares: Tensor) -> Tensor:
    return shares[0] if len(shares) == 1 else shares.sum(dim=0)


PASSES["compiled"] = _CompiledRows()


def rows_by_compiled(tensors: Tensors, pattern: Pattern, with_moments: bool) -> Found:
    """lse, entropy, largest logit, the output of calls that have values, and the moments if wanted."""
    return in_one_pass("compiled", tensors, pattern, with_moments)
