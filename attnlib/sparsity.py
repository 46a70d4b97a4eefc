"""Sparsity of real vectors: smaller S = sparser, except for the Gini index, which grows with sparsity.

All measures here depend on the vector through ``|x| / max|x|`` alone, and are computed from it, so entries of
1e300 or 1e-300 neither overflow nor vanish. Whether a measure has the six properties one may ask of it is
checked by :mod:`attnlib.axioms`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attnlib._implementations import at_least_float32
from attnlib._transforms import found
from attnlib._validate import finite, floating_tensor, nonempty_dim, real_number
from attnlib.errors import InvalidArgument

__all__ = ["gini", "s", "s0", "s_star"]


def s0(x: Tensor, *, dim: int = -1) -> Tensor:
    """Mean over maximum, ``S_0 = mean|x| / max|x|``: in ``[1/n, 1]``, small for sparse vectors.

    Args:
        x: floating-point tensor of any signs, finite, not all zero along ``dim``.
        dim: the dimension of the vectors.

    Returns:
        Dimensionless tensor in the dtype of ``x`` (float16 and bfloat16 are computed in float32). Where
        entries tie for the maximum, their gradient is shared among them.

    Raises:
        TypeError: ``x`` is not a floating-point tensor.
        InvalidArgument: an entry that is NaN or infinite, a vector that is all zero, an empty or missing
            ``dim``.

    Shapes: that of ``x`` without ``dim``.

    Source: 9595-C1, U7 (for a probability vector, ``exp(H_inf) / n``).

    >>> import torch
    >>> s0(torch.tensor([4.0, -2.0, 0.0, 0.0], dtype=torch.float64))
    tensor(0.3750, dtype=torch.float64)
    """
    return s_star(x, 1.0, math.inf, dim=dim)


def s(x: Tensor, p: float = 2, *, dim: int = -1) -> Tensor:
    """``S_{1,p} = (l_1 / n) / l_p``, the article's first measure.

    Joining k copies of a vector multiplies it by ``k^(-1/p)``, which :func:`s_star` repairs. It measures
    sparsity for ``p > 1``; at ``math.inf`` it is :func:`s0`.

    Args:
        x: floating-point tensor of any signs, finite, not all zero along ``dim``.
        p: in ``(0, inf]``.
        dim: the dimension of the vectors.

    Returns:
        Dimensionless tensor in the dtype of ``x`` (float16 and bfloat16 are computed in float32).
        Differentiable; the gradient at an entry that is 0 is 0.

    Raises:
        TypeError: ``x`` is not a floating-point tensor, ``p`` not a number.
        InvalidArgument: ``p`` not positive, an entry that is NaN or infinite, a vector that is all zero, an
            empty or missing ``dim``.

    Shapes: that of ``x`` without ``dim``.

    Source: 9595-C5, 9595-C8.

    >>> import torch
    >>> s(torch.tensor([3.0, 4.0], dtype=torch.float64))
    tensor(0.7000, dtype=torch.float64)
    """
    p = real_number("p", p, low=0.0, low_open=True, allow_inf=True)
    a = _relative(x, dim)
    if _ordinary(p, a.dtype) and math.log(x.shape[dim]) / p < 80:
        return (_ratio(a, 1.0, p, dim) * x.shape[dim] ** (-1.0 / p)).to(x.dtype)
    # n^(-1/p) alone would vanish, and the ratio of power means overflow.
    return torch.exp(_log_power_mean(a, 1.0, dim) - _log_norm(a, p, dim)).to(x.dtype)


def s_star(x: Tensor, q: float = 1, p: float = 2, *, dim: int = -1) -> Tensor:
    """``S*_{q,p} = n^(1/p - 1/q) l_q / l_p``, the ratio of the power means of orders q and p.

    For ``p > q`` it lies in ``[n^(1/p - 1/q), 1]`` (1 if all ``|x|`` are equal, the lower end for a single
    non-zero entry) and is small for sparse vectors. All six axioms hold for every n exactly when
    ``q <= 1 <= p``, strictly so unless ``p = inf`` and ``q = 1``; see :mod:`attnlib.axioms`.

    Args:
        x: floating-point tensor of any signs, finite, not all zero along ``dim``.
        q: order of the numerator, in ``(0, inf]``.
        p: order of the denominator, in ``(0, inf]``.
        dim: the dimension of the vectors.

    Returns:
        Dimensionless tensor in the dtype of ``x`` (float16 and bfloat16 are computed in float32).
        Differentiable; the gradient at an entry that is 0 is 0 (a subgradient for order 1, a convention for
        orders below it, whose slope there is infinite).

    Raises:
        TypeError: ``x`` is not a floating-point tensor, ``q`` or ``p`` not a number.
        InvalidArgument: ``q`` or ``p`` not positive, an entry that is NaN or infinite, a vector that is all
            zero, an empty or missing ``dim``.

    Shapes: that of ``x`` without ``dim``.

    Source: 9595-C11 to C15, U5, U6.

    >>> import torch
    >>> x = torch.tensor([4.0, 3.0, 0.0], dtype=torch.float64)
    >>> s_star(x), s_star(1e-300 * x)
    (tensor(0.8083, dtype=torch.float64), tensor(0.8083, dtype=torch.float64))
    """
    q = real_number("q", q, low=0.0, low_open=True, allow_inf=True)
    p = real_number("p", p, low=0.0, low_open=True, allow_inf=True)
    ratio = _ratio(_relative(x, dim), q, p, dim).to(x.dtype)
    if found(~ratio.detach().isfinite()):
        raise InvalidArgument(f"q={q} and p={p} give a ratio beyond the range of {x.dtype}")
    return ratio


def gini(x: Tensor, *, dim: int = -1) -> Tensor:
    """Gini index: 0 if all ``|x|`` are equal, ``1 - 1/n`` for a single non-zero entry; larger = sparser.

    Hurley and Rickard's form, ``1 - 2 sum_k (c_(k) / l_1) (n - k + 1/2) / n`` with ``c = |x|`` sorted to rise
    and k from 1 to n.

    Args:
        x: floating-point tensor of any signs, finite, not all zero along ``dim``.
        dim: the dimension of the vectors.

    Returns:
        Dimensionless tensor in the dtype of ``x`` (float16 and bfloat16 are computed in float32).
        Differentiable where no two ``|x|`` are equal.

    Raises:
        TypeError: ``x`` is not a floating-point tensor.
        InvalidArgument: an entry that is NaN or infinite, a vector that is all zero, an empty or missing
            ``dim``.

    Shapes: that of ``x`` without ``dim``.

    Source: 9595-C6; N. Hurley and S. Rickard, Comparing measures of sparsity, 2009.

    >>> import torch
    >>> gini(torch.tensor([0.0, 0.0, 0.0, 5.0], dtype=torch.float64))
    tensor(0.7500, dtype=torch.float64)
    """
    a = _relative(x, dim).movedim(dim, -1)
    n = a.shape[-1]
    c, _ = torch.sort(a, dim=-1)
    # 1 - 2 (n - k + 1/2)/n = (2k - 1 - n)/n, which is odd about the middle: what is left are the differences
    # of entries as far from either end. None is negative, and equal entries give 0 exactly.
    half = n // 2
    apart = c.flip(-1)[..., :half] - c[..., :half]
    weight = (n + 1 - 2 * torch.arange(1, half + 1, dtype=c.dtype, device=c.device)) / n
    return ((apart * weight).sum(-1) / c.sum(-1)).to(x.dtype)


def _relative(x: Tensor, dim: int) -> Tensor:
    """Check ``x``; return ``|x| / max|x|`` with the maximum held constant, as every measure is scale free."""
    floating_tensor("x", x)
    nonempty_dim("x", x, dim)
    finite("x", x)
    a = x.to(at_least_float32(x.dtype)).abs()
    top = a.detach().amax(dim, keepdim=True)
    if found(top == 0):
        raise InvalidArgument(f"x must have a non-zero entry along dim={dim}, got a vector that is all 0")
    return a / top


def _ratio(a: Tensor, q: float, p: float, dim: int) -> Tensor:
    return torch.exp(_log_power_mean(a, q, dim) - _log_power_mean(a, p, dim))


def _ordinary(order: float, dtype: torch.dtype) -> bool:
    """Whether products with ``order`` and quotients by it keep their digits in ``dtype``."""
    info = torch.finfo(dtype)
    return order == math.inf or info.smallest_normal / info.eps**2 < order < info.max * info.eps


def _log_power_mean(a: Tensor, order: float, dim: int) -> Tensor:
    """log (mean a^order)^(1/order) of entries in [0, 1] whose maximum is 1."""
    if order > 1 and not _ordinary(order, a.dtype):
        order = math.inf  # its limit to the last digit
    if order == math.inf:
        return a.amax(dim).log()
    positive = a > 0
    log_a = torch.log(torch.where(positive, a, 1.0))
    if not _ordinary(order, a.dtype):
        # log mean(a^order) = log(k/n) + order mean(log a) for k entries that are not 0.
        support = positive.sum(dim)
        share = (support.double() / a.shape[dim]).log() / order
        return share.to(a.dtype) + log_a.sum(dim) / support
    # mean(a^order) - 1, accurate also for small orders, whose power means divide its logarithm by the order.
    below_one = torch.where(positive, torch.expm1(order * log_a), -1.0).mean(dim)
    mean = torch.where(positive, torch.exp(order * log_a), 0.0).mean(dim)
    near_one = mean > 0.5
    log_mean = torch.where(near_one, torch.log1p(torch.where(near_one, below_one, 0.0)), torch.log(mean))
    return log_mean / order


def _log_norm(a: Tensor, order: float, dim: int) -> Tensor:
    """log (sum a^order)^(1/order) of entries in [0, 1] whose maximum is 1, for small and for large orders."""
    if order > 1:
        return (
            a.amax(dim).log()
            if not _ordinary(order, a.dtype)
            else _log_power_mean(a, order, dim) + (math.log(a.shape[dim]) / order)
        )
    positive = a > 0
    log_a = torch.log(torch.where(positive, a, 1.0))
    support = positive.sum(dim)
    # sum a^order = k + sum (a^order - 1) over the k entries that are not 0: a single one gives 0 exactly.
    excess = torch.expm1(order * log_a.double()).sum(dim) / support
    return ((support.double().log() + torch.log1p(excess)) / order).to(a.dtype)
