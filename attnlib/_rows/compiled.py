"""What ``impl='compiled'`` runs: output and every statistic from one pass over the keys, by kernels for CPUs.

They are C++ (``compiled_kernels.cpp``), which :mod:`attnlib._rows.building` compiles on the user's machine.
They compute in float32 or float64, read any strides, and merge blocks of keys as
:mod:`attnlib._rows.tiles` does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from attnlib._rows.building import library
from attnlib._rows.layout import Pattern, Tensors
from attnlib._rows.passes import PASSES, run
from attnlib._rows.tiles import Found, TiledRows
from attnlib.errors import EngineNotAvailable

_LOG2E = 1.4426950408889634074


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
    ]


class _Launch:
    """What both passes are told of a call; tensors that are made for it live as long as this does."""

    def __init__(self, tensors: Tensors, pattern: Pattern):
        self.call = _Call()
        self.held: list[Tensor] = []
        batch, heads, n_q, n_k = tensors.shape
        self._read("q", "of_q", tensors.q, tensors.q.shape)
        self._read("k", "of_k", tensors.k, tensors.k.shape)
        self._read("v", "of_v", tensors.v, () if tensors.v is None else tensors.v.shape)
        self._read("bias", "of_bias", tensors.bias, tensors.shape)
        for name, of, segments, n in (
            ("row_segments", "of_rows", tensors.row_segments, n_q),
            ("key_segments", "of_keys", tensors.key_segments, n_k),
        ):
            self._read(name, of, None if segments is None else segments.long(), (batch, heads, n))
        cap = pattern.softcap
        sizes = (batch, heads, n_q, n_k, tensors.q.shape[-1], 0 if tensors.v is None else tensors.v.shape[-1])
        for name, value in zip(("batch", "heads", "n_q", "n_k", "width", "value_width"), sizes):
            setattr(self.call, name, value)
        self.call.from_low, self.call.low = pattern.low is not None, pattern.low or 0
        self.call.to_high, self.call.high = pattern.high is not None, pattern.high or 0
        self.call.capped, self.call.cap = cap is not None, (cap or 0) * _LOG2E
        self.call.factor = pattern.scale * _LOG2E if cap is None else pattern.scale / cap
        self.call.threads = torch.get_num_threads()

    def _read(self, name: str, of: str, x: Tensor | None, shape: Sequence[int]) -> None:
        if x is not None:
            wide = x.resolve_neg().expand(shape)
            self.held.append(wide)
            setattr(self.call, name, wide.data_ptr())
            getattr(self.call, of)[:] = wide.stride()

    def point(self, **tensors: Tensor) -> None:
        """Where contiguous tensors lie."""
        for name, x in tensors.items():
            self.held.append(x)
            setattr(self.call, name, x.data_ptr())

    def run(self, name: str, dtype: torch.dtype) -> None:
        kind = {torch.float32: "float", torch.float64: "double"}[dtype]
        if getattr(library(), f"attnlib_{name}_{kind}")(ctypes.byref(self.call)):
            raise MemoryError("impl='compiled' found no memory for its blocks")


class _CompiledRows(TiledRows):
    """A pass of results lse, entropy, largest logit, [varentropy, Renyi entropy of order 2], [output].

    All 0 in a row that sees no key. ``numbers`` are 1 with the two moments and 0 without, and the same of
    the output. Without gradient are the mean logit, the Renyi entropy before it is clamped, and last lse
    minus the largest logit.
    """

    def differentiable(self, numbers: Sequence[float]) -> int:
        return 3 + 2 * int(numbers[0]) + int(numbers[1])

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

    def shapes(self, tensors: Tensors, pattern: Pattern, numbers: Sequence[float]) -> list[Tensor]:
        q = tensors.q
        return [
            q.new_empty((*q.shape[:3], tensors.values.shape[-1]) if name == "output" else q.shape[:3])
            for name in self._names(numbers)
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


PASSES["compiled"] = _CompiledRows()


def rows_by_compiled(tensors: Tensors, pattern: Pattern, with_moments: bool) -> Found:
    """lse, entropy, largest logit, the output of calls that have values, and the moments if wanted."""
    with_output = tensors.v is not None
    numbers = (float(with_moments), float(with_output))
    lse, entropy, largest, *rest = run("compiled", tensors, pattern, numbers)
    varentropy, renyi = rest[:2] if with_moments else (None, None)
    output = rest[2 if with_moments else 0] if with_output else None
    return Found(output, lse, entropy, largest, varentropy, renyi, rest[-1])
