"""Independent noise on the scores of a row: what it does to the output, to leading order.

For noise eps the weights become ``p_i e^{eps_i} / sum``. Expanding the ratio in its numerator and denominator
(the delta method) leaves one number of the noise, ``E e^{2 eps} / (E e^{eps})^2 - 1``, which for Gaussian
noise is ``e^{std^2} - 1``. The expansion needs many effective keys: over n keys of equal weight it holds
while ``std < sqrt(2 log n / 3)``, where the keys that carry ``E e^{2 eps}`` still leave the sum to the
others, and counts far too much beyond (9593-C2).
"""

from __future__ import annotations

import torch
from torch import Tensor

from attnlib._types import Real
from attnlib._validate import finite, floating_tensor, no_nan, nonempty_dim, real_tensor
from attnlib.errors import InvalidArgument


def gaussian_factor(std: Real) -> Tensor:
    """``E e^{2 eps} / (E e^{eps})^2 - 1 = e^{std^2} - 1`` for Gaussian noise.

    Args:
        std: of the noise, at least 0; number or tensor.

    Returns:
        Dimensionless float64 tensor.

    Raises:
        TypeError: an argument that is no real number or tensor of them.
        InvalidArgument: ``std`` negative or not finite.

    Shapes: that of the argument.

    Source: 9593-C2.

    >>> print(f"{float(gaussian_factor(0.5)):.6f}")
    0.284025
    """
    std = real_tensor("std", std, low=0)
    return torch.expm1(std * std)


def _weights_and_deviations(scores: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """``p`` and ``v - o`` in float64, keys along dim -1 of the first and of the second's leading axes."""
    scores, values = floating_tensor("scores", scores), floating_tensor("values", values)
    nonempty_dim("scores", scores, -1)
    no_nan("scores", scores)
    finite("values", values)
    scores, values = scores.double(), values.double()
    top = scores.amax(-1)
    if not torch.isfinite(top).all():
        raise InvalidArgument(
            f"scores must have a finite maximum in each row, got {top[~top.isfinite()][0].item()}"
        )
    vectors = values.ndim == scores.ndim + 1
    if not vectors:
        values = values.unsqueeze(-1)
    if values.ndim != scores.ndim + 1 or values.shape[-2] != scores.shape[-1]:
        raise InvalidArgument(
            f"values must have shape (..., n) or (..., n, d) for scores of shape "
            f"{tuple(scores.shape)}, got {tuple(values.shape[: None if vectors else -1])}"
        )
    p = torch.softmax(scores, -1).unsqueeze(-1)
    return p, values - (p * values).sum(-2, keepdim=True)


def _noisy(scores: Tensor, values: Tensor, std: Real, power: int) -> Tensor:
    p, deviation = _weights_and_deviations(scores, values)
    moment = (p * p * deviation**power).sum(-2)
    if values.ndim == scores.ndim:
        moment = moment.squeeze(-1)
    return gaussian_factor(std) * moment


def output_variance(scores: Tensor, values: Tensor, std: Real) -> Tensor:
    """Variance of ``sum_j p_j v_j`` under Gaussian noise: ``(e^{std^2} - 1) sum_j p_j^2 (v_j - o)^2``.

    The noise is on the scores, independent from key to key; to leading order.

    Args:
        scores: floating-point tensor (..., n), scaled; -inf masks a key.
        values: floating-point tensor (..., n), or (..., n, d) for vector outputs.
        std: of the noise, at least 0; number or tensor.

    Returns:
        float64 tensor; differentiable in scores and values.

    Raises:
        TypeError: scores or values not floating-point tensors.
        InvalidArgument: NaN, a row without a finite score, ``std < 0``, or shapes that do not fit.

    Shapes: (...), or (..., d) for vector outputs.

    Source: 9593-C2.

    >>> import torch
    >>> values = torch.arange(4, dtype=torch.float64)
    >>> print(f"{float(output_variance(torch.zeros(4), values, 0.1)):.6f}")
    0.003141
    """
    return _noisy(scores, values, std, 2)


def output_bias(scores: Tensor, values: Tensor, std: Real) -> Tensor:
    """Bias of ``sum_j p_j v_j`` under Gaussian noise: ``-(e^{std^2} - 1) sum_j p_j^2 (v_j - o)``.

    The noise is on the scores, independent from key to key; to leading order.

    Args:
        scores: floating-point tensor (..., n), scaled; -inf masks a key.
        values: floating-point tensor (..., n), or (..., n, d) for vector outputs.
        std: of the noise, at least 0; number or tensor.

    Returns:
        float64 tensor; differentiable in scores and values.

    Raises:
        TypeError: scores or values not floating-point tensors.
        InvalidArgument: NaN, a row without a finite score, ``std < 0``, or shapes that do not fit.

    Shapes: (...), or (..., d) for vector outputs.

    Source: 9593-C2.

    >>> import torch
    >>> scores, values = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0])
    >>> print(f"{float(output_bias(scores, values, 0.5)):.6f}")
    -0.025806
    """
    return -_noisy(scores, values, std, 1)
