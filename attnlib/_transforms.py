"""Whether the values of tensors may be looked at, or a compiler or a transform stands in between.

Checks of values need numbers; under ``torch.compile``, ``torch.export``, ``vmap``, fake and meta tensors
there are none, and those checks are left out.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor
from torch.autograd import forward_ad


def _interpreters() -> list[str]:
    """The transforms of ``torch.func`` that the present call runs under, by name."""
    if torch._C._functorch.peek_interpreter_stack() is None:
        return []
    stack = torch._C._functorch.get_interpreter_stack() or []
    return [interpreter.key().name for interpreter in stack]


def _has_values(x: Tensor) -> bool:
    fake = sys.modules.get("torch._subclasses.fake_tensor")
    return not (x.is_meta or (fake is not None and isinstance(x, fake.FakeTensor)))


def readable(*tensors: Tensor | None) -> bool:
    """Whether Python may branch on the values of these tensors."""
    if torch.compiler.is_compiling() or "Vmap" in _interpreters():
        return False
    return all(x is None or _has_values(x) for x in tensors)


def transformed(*tensors: Tensor) -> bool:
    """Whether a transform of ``torch.func``, or tensors without values, ask for passes as operators."""
    if torch.compiler.is_compiling():
        return False
    return bool(_interpreters()) or not all(map(_has_values, tensors))


def found(bad: Tensor) -> bool:
    """Whether an entry is True; False where values cannot be looked at."""
    return readable(bad) and bool(bad.any())


def forward_mode(*tensors: Tensor | None) -> bool:
    """Whether derivatives are carried along (``jvp``, dual tensors), as no operator of ours can."""
    if torch.compiler.is_compiling():
        return False
    if "Jvp" in _interpreters():
        return True
    if forward_ad._current_level < 0:
        return False
    return any(x is not None and forward_ad.unpack_dual(x).tangent is not None for x in tensors)
