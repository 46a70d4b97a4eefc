"""The values of ``impl=`` and the rules that go with them, in one place for every public function.

``impl`` says how a result is asked for; which engine then runs may depend on the device, and
:func:`attnlib._rows.engine.engine_for` names it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from attnlib._validate import one_of
from attnlib.errors import InvalidArgument

Impl: TypeAlias = Literal["fused", "blockwise", "reference"]
"""Statistics of the rows of softmax attention, and what rests on them."""
OutputImpl: TypeAlias = Literal["fused", "reference"]
"""Softmax attention's output alone, which a fused kernel always returns."""
WrittenImpl: TypeAlias = Literal["blockwise", "reference"]
"""Weights that no fused kernel knows."""
LinearImpl: TypeAlias = Literal["linear", "reference"]
"""Linear attention, whose cost is linear in n."""
DecayImpl: TypeAlias = Literal["chunked", "reference"]
"""Fixed decay."""

IMPLS: tuple[str, ...] = get_args(Impl)
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


def refuse_mask_gradient(attn_mask: Tensor | None, impl: str) -> None:
    """Raise where a gradient of the mask would be lost: only the reference's graph leads to it."""
    if impl != "reference" and attn_mask is not None and attn_mask.requires_grad:
        raise InvalidArgument(f"attn_mask is differentiated by impl='reference' only, got impl={impl!r}")
