"""The values of ``impl=`` and the rules that go with them, in one place for every public function.

``impl`` says how a result is asked for; which engine then runs may depend on the device, and
:func:`attnlib._rows.engine.engine_for` names it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, TypeVar, get_args

import torch
from torch import Tensor

from attnlib._validate import one_of

Function = TypeVar("Function", bound=Callable[..., Any])

Impl: TypeAlias = Literal["fused", "blockwise", "reference"]
"""Statistics of the rows of softmax attention, and what rests on them."""
RowImpl: TypeAlias = Literal["fused", "compiled", "triton", "blockwise", "reference"]
"""The same of rows that are whole, which kernels of this package know too."""
RecordImpl: TypeAlias = Literal["fused", "compiled", "blockwise", "reference"]
"""The same of the rows that a model has."""
OutputImpl: TypeAlias = Literal["fused", "reference"]
"""Softmax attention's output alone, which a fused kernel always returns."""
WrittenImpl: TypeAlias = Literal["blockwise", "reference"]
"""Weights that no fused kernel knows."""
LinearImpl: TypeAlias = Literal["linear", "reference"]
"""Linear attention, whose cost is linear in n."""
DecayImpl: TypeAlias = Literal["chunked", "reference"]
"""Fixed decay."""

IMPLS: tuple[str, ...] = get_args(Impl)
ROW_IMPLS: tuple[str, ...] = get_args(RowImpl)
RECORD_IMPLS: tuple[str, ...] = get_args(RecordImpl)
OUTPUT_IMPLS: tuple[str, ...] = get_args(OutputImpl)
WRITTEN_IMPLS: tuple[str, ...] = get_args(WrittenImpl)
LINEAR_IMPLS: tuple[str, ...] = get_args(LinearImpl)
DECAY_IMPLS: tuple[str, ...] = get_args(DecayImpl)


def check_impl(impl: str, allowed: tuple[str, ...] = IMPLS) -> None:
    """Raise unless ``impl`` is one of the values allowed."""
    one_of("impl", impl, allowed)


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """The dtype that sums are formed in: float64 stays, everything narrower is computed in float32."""
    return torch.promote_types(dtype, torch.float32)


def computing_dtype(impl: str, dtype: torch.dtype) -> torch.dtype:
    """The dtype to compute in for input of ``dtype``: float64 for the reference, float32 at least else."""
    return torch.float64 if impl == "reference" else at_least_float32(dtype)


def _promoted(args: list[Any], places: tuple[int, ...]) -> list[Any]:
    """Bring the tensors at these places to the widest of their dtypes, as autocast mixes them freely."""
    given = [args[i] for i in places if i < len(args)]
    if not all(isinstance(x, Tensor) and x.dtype.is_floating_point for x in given) or not given:
        return args
    dtype = functools.reduce(torch.promote_types, (x.dtype for x in given))
    return [x.to(dtype) if i in places else x for i, x in enumerate(args)]


def exact_under_autocast(function: Function) -> Function:
    """Run a public function with autocast off, which would form its products in half precision.

    Inside of autocast q, k and v may have different dtypes; all then count as of the widest.
    """
    names = list(inspect.signature(function).parameters)
    places = tuple(names.index(name) for name in ("q", "k", "v") if name in names)

    @functools.wraps(function)
    def exact(*args: Any, **kwargs: Any) -> Any:
        device = next((x.device.type for x in args if isinstance(x, Tensor)), "meta")
        if device == "meta" or not torch.is_autocast_enabled(device):
            return function(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            return function(*_promoted(list(args), places), **kwargs)

    return exact  # type: ignore[return-value]  # it is called as the function is
