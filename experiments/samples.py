"""What the chapters' checks share: samples that a seed fixes, and statistics that carry their error."""

from __future__ import annotations

import codecs
import contextlib
import functools
import io
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from proofbook.ledger import device

__all__ = [
    "cosines",
    "error_bars",
    "float64",
    "mean_and_error",
    "needle",
    "normal",
    "rank_correlation",
    "row",
    "slope",
    "slope_weights",
    "uniform",
    "z_score",
    "zen",
]


def float64() -> dict[str, Any]:
    """The keywords that put a new tensor where the checks run, in double precision.

    >>> torch.ones(2, **float64()).dtype
    torch.float64
    """
    return {"dtype": torch.float64, "device": device()}


def row(*entries: float) -> Tensor:
    """One row of numbers, in float64 on the device of the checks.

    >>> row(4, 1, 1, 1).sum().item()
    7.0
    """
    return torch.tensor(entries, **float64())


def needle(length: int, height: float = 1.0) -> Tensor:
    """A row of zeros whose first entry alone has a height.

    >>> needle(4, 2.5).tolist()
    [2.5, 0.0, 0.0, 0.0]
    """
    entries = torch.zeros(length, **float64())
    entries[0] = height
    return entries


def normal(*shape: int, seed: int | torch.Generator, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers, the same ones on every device.

    Args:
        shape: The tensor's shape.
        seed: A seed; or a CPU generator, to go on where an earlier sample stopped.
        dtype: Precision in which they are drawn. Another precision draws other numbers.

    >>> torch.equal(normal(3, seed=1), normal(3, seed=torch.Generator().manual_seed(1)))
    True
    """
    return torch.randn(*shape, generator=_generator(seed), dtype=dtype).to(device())


def uniform(*shape: int, seed: int | torch.Generator, dtype: torch.dtype = torch.float64) -> Tensor:
    """Numbers between zero and one, drawn as :func:`normal` draws them."""
    return torch.rand(*shape, generator=_generator(seed), dtype=dtype).to(device())


def _generator(seed: int | torch.Generator) -> torch.Generator:
    return seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)


def cosines(length: int, dimension: int, rows: int, *, seed: int) -> Tensor:
    """Cosines between a query and keys of independent random directions, (rows, length).

    In d dimensions (1 + cosine) / 2 follows a beta law with parameters (d - 1) / 2, so no vectors are drawn.

    >>> round(cosines(4096, 64, 10, seed=1).std().item(), 3)  # in theory 1 / sqrt(64)
    0.125
    """
    shape = (dimension - 1) / 2
    drawn = np.random.default_rng([seed, length, dimension]).beta(shape, shape, size=(rows, length))
    return torch.from_numpy(2 * drawn - 1).to(device())


@functools.cache
def zen() -> str:
    """The Zen of Python: the one English text that every Python carries.

    >>> zen().splitlines()[2]
    'Beautiful is better than ugly.'
    """
    with contextlib.redirect_stdout(io.StringIO()):  # importing it prints it
        import this
    return codecs.decode(this.s, "rot13")


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Mean of independent values and its standard error.

    >>> mean_and_error(row(1, 3))
    (2.0, 1.0)
    """
    return values.mean().item(), values.std().item() / math.sqrt(values.numel())


def error_bars(samples: Iterable[Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Means of several samples and twice their standard errors, as ``Axes.errorbar`` takes them.

    >>> [bars.tolist() for bars in error_bars([row(1, 3), row(0, 4)])]
    [[2.0, 2.0], [2.0, 4.0]]
    """
    means, errors = np.array([mean_and_error(sample) for sample in samples]).T
    return means, 2 * errors


def z_score(values: Tensor, expected: float) -> float:
    """How many standard errors the mean of independent values lies from what is expected of it.

    >>> z_score(row(1, 3), 5.0)
    3.0
    """
    mean, error = mean_and_error(values)
    return abs(mean - expected) / error


def slope_weights(x: ArrayLike) -> np.ndarray:
    """The weights w for which ``w @ y`` is the least-squares slope of y over x.

    Where the y are independent and have standard errors e, that slope has ``sqrt(w**2 @ e**2)``.

    >>> slope_weights([0, 1, 2]).tolist()
    [-0.5, 0.0, 0.5]
    """
    centred = np.asarray(x, dtype=float)
    centred = centred - centred.mean()
    return centred / np.square(centred).sum()


def slope(x: ArrayLike, y: ArrayLike) -> np.ndarray:
    """Least-squares slope of y over x along y's first axis.

    >>> slope([0, 1, 2], [[5, 1], [7, 1], [9, 1]]).tolist()
    [2.0, 0.0]
    """
    return np.tensordot(slope_weights(x), np.asarray(y, dtype=float), 1)


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's correlation of two samples of one shape, entry by entry.

    >>> round(rank_correlation([[1, 2], [3, 4]], [[1, 10], [100, 90]]), 2)
    0.8
    """
    from scipy.stats import spearmanr

    return float(spearmanr(np.ravel(first), np.ravel(second)).statistic)
