"""Names for what comes in: a number or a tensor, a scale or the rule for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor

Real: TypeAlias = float | Tensor
"""A real number or a tensor of real numbers."""

ScaleRule: TypeAlias = Callable[[Any, int], Real]
"""lambda(n, d): n is an int where every row sees every key, else a tensor of the keys each row sees."""

Scale: TypeAlias = float | ScaleRule | None
"""What ``scale=`` takes; None stands for 1 / sqrt(d)."""

FeatureMap: TypeAlias = Callable[[Tensor], Tensor]
"""phi of linear attention, from (..., d) to (..., r)."""
