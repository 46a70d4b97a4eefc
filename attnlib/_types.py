"""Names for what comes in: a number or a tensor, a scale or the rule for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor

Real: TypeAlias = float | Tensor
"""A real number or a tensor of real numbers."""

ScaleRule: TypeAlias = Callable[[Any, int], Real]
"""lambda(n, d): n is an int where every row sees every key, else a tensor of the keys each row sees."""

Scale: TypeAlias = float | Tensor | ScaleRule | None
"""What ``scale=`` takes; None stands for 1 / sqrt(d)."""

Window: TypeAlias = int | tuple[int, int] | None
"""What ``window=`` takes: as many keys on either side of a row's place, or so many before and after it."""

SegmentIds: TypeAlias = Tensor | tuple[Tensor, Tensor] | None
"""What ``segment_ids=`` takes: the documents of the tokens, or those of the queries and those of the keys."""

FeatureMap: TypeAlias = Callable[[Tensor], Tensor]
"""phi of linear attention, from (..., d) to (..., r)."""
