"""Entropy, Rényi entropy and varentropy of score vectors and of probability vectors, through F.

Everything is a function of the gaps ``u = scale * (s - s_peak) <= 0`` to the row's own peak, with
``Z_a = sum exp(a u) >= 1`` the partition sum at order ``a``:

    F    = scale * s_peak + log Z_1
    H    = log Z_1 + E_p[-u]
    H_a  = log Z_1 + log(max(Z_1, Z_a) / min(Z_1, Z_a)) / |1 - a|
    V    = Var_p[u]

Each is a sum of non-negative terms, so nothing cancels: not for scores of 1e4, not for rows whose entropy
is 1e-20, and not for orders next to 1, where the logarithm of the ratio is taken from the difference
``|Z_1 - Z_a| = sum exp(min(1, a) u) * -expm1(|1 - a| u)``, again a sum of non-negative terms.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from attnlib._implementations import at_least_float32
from attnlib._transforms import found, readable
from attnlib._types import Real
from attnlib._validate import finite, floating_tensor, no_nan, nonempty_dim, real_number
from attnlib.errors import InvalidArgument

__all__ = [
    "log_partition",
    "renyi_entropy",
    "shannon_entropy",
    "softmax_entropy",
    "softmax_renyi_entropy",
    "softmax_varentropy",
]


class Gaps(NamedTuple):
    """A row of scores seen from its peak; ``peak`` and ``place`` keep the reduced dimension with size 1."""

    u: Tensor
    """scale * (scores - peak score), at most 0; masked entries hold 0 and are told by ``visible``."""
    visible: Tensor | None
    """True where an entry counts; None if all do."""
    peak: Tensor
    """scale * peak score."""
    place: Tensor
    """Position of the peak."""

    def weights(self, order: float = 1.0) -> Tensor:
        """exp(order * u), 0 where masked."""
        w = torch.exp(order * self.u)
        return w if self.visible is None else torch.where(self.visible, w, 0.0)

    def beside_peak(self, values: Tensor, dim: int) -> Tensor:
        """Sum of ``values`` over the row without its peak: Z - 1 without forming Z."""
        return values.scatter(dim, self.place, 0.0).sum(dim)


def gaps(scores: Tensor, scale: Real, dim: int) -> Gaps:
    """Check ``scores`` and ``scale`` and return the gaps to the peak; ``dim`` must be negative."""
    no_nan("scores", scores)
    if found(torch.isposinf(scores)):
        raise InvalidArgument("scores must be below +inf (use -inf for a masked entry), got inf")
    s = scores.to(at_least_float32(scores.dtype))
    scale = _checked_scale(scale, s, dim)
    masked = torch.isneginf(s)
    visible = ~masked if found(masked) or not readable(masked) else None
    if visible is not None:
        s = torch.where(visible, s, 0.0)
    if isinstance(scale, Tensor):
        s = s.expand(torch.broadcast_shapes(s.shape, scale.shape))
        ranked = s.detach() * torch.sign(scale.detach())
    else:
        ranked = s.detach() if scale >= 0 else -s.detach()
    if visible is not None:
        visible = visible.expand(s.shape)
        ranked = torch.where(visible, ranked, -math.inf)
    place = ranked.argmax(dim, keepdim=True)
    peak = s.gather(dim, place)
    # A gap that overflows is as large as there are: it still counts its entry, whose weight is 0.
    largest = torch.finfo(s.dtype).max
    u = (scale * (s - peak).clamp(-largest, largest)).clamp(min=-largest)
    if visible is None:
        return Gaps(u, None, scale * peak, place)
    return Gaps(torch.where(visible, u, 0.0), visible, scale * peak, place)


def _checked_scale(scale: Real, scores: Tensor, dim: int) -> Real:
    largest = torch.finfo(scores.dtype).max
    if not isinstance(scale, Tensor):
        scale = real_number("scale", scale)
        if abs(scale) > largest:
            raise InvalidArgument(f"scale must be within the range of {scores.dtype}, got {scale}")
        return scale
    floating_tensor("scale", scale)
    finite("scale", scale)
    if found(scale.detach().abs() > largest):
        raise InvalidArgument(
            f"scale must be within the range of {scores.dtype}, got {scale.detach().abs().max().item()}"
        )
    try:
        torch.broadcast_shapes(scores.shape, scale.shape)
    except RuntimeError:
        raise InvalidArgument(
            f"scale of shape {tuple(scale.shape)} does not broadcast with scores of shape "
            f"{tuple(scores.shape)}"
        ) from None
    if scale.ndim >= -dim and scale.shape[dim] != 1:
        raise InvalidArgument(
            f"scale must have size 1 along the reduced dimension dim={dim} (one scale a row), "
            f"got shape {tuple(scale.shape)}"
        )
    return scale.to(scores.dtype)


def _checked_scores(scores: Tensor, dim: int) -> int:
    """Check type and shape; return ``dim`` counted from the end, which broadcasting does not move."""
    floating_tensor("scores", scores)
    nonempty_dim("scores", scores, dim)
    return dim if dim < 0 else dim - scores.ndim


def log_partition(scores: Tensor, scale: Real = 1.0, *, dim: int = -1) -> Tensor:
    """Log-partition function ``F(scale) = log sum exp(scale * scores)`` along ``dim``, in nats.

    Args:
        scores: floating-point tensor. ``-inf`` masks an entry whatever the scale, 0 and negative included.
        scale: a number, or a tensor that broadcasts with ``scores`` and has size 1 along ``dim``.
            Differentiable, as often as you like: the derivatives in ``scale`` are the cumulants of the score.
        dim: the dimension of the row.

    Returns:
        Tensor in the dtype of ``scores`` (float16 and bfloat16 are computed in float32). A row that is masked
        throughout gives ``-inf``, with zero gradients.

    Raises:
        TypeError: ``scores`` is not a floating-point tensor, ``scale`` not a number or such a tensor.
        InvalidArgument: NaN or ``+inf`` in ``scores``, a scale that is not finite or does not broadcast, an
            empty or missing ``dim``.

    Shapes: the broadcast shape of ``scores`` and ``scale`` without ``dim``.

    Source: U1, 8823-C6.

    >>> import torch
    >>> round(log_partition(torch.tensor([1e4, 1e4], dtype=torch.float64)).item() - 1e4, 9)
    0.693147181
    """
    dim = _checked_scores(scores, dim)
    row = gaps(scores, scale, dim)
    log_z = torch.log1p(row.beside_peak(row.weights(), dim))
    f = row.peak.squeeze(dim) + log_z
    if row.visible is not None:
        empty = torch.isneginf(scores).all(dim)
        f = torch.where(empty, -math.inf, f)
    result = f.to(scores.dtype)
    if found(~result.detach().isfinite() & ~torch.isneginf(scores).all(dim)):
        raise InvalidArgument(f"scale * scores is beyond the range of {scores.dtype}: pass a wider dtype")
    return result


def softmax_entropy(scores: Tensor, scale: Real = 1.0, *, dim: int = -1) -> Tensor:
    """Shannon entropy of ``softmax(scale * scores)`` along ``dim``, in nats: ``F - scale * F'``.

    Small entropies keep their relative accuracy.

    Args:
        scores: floating-point tensor. ``-inf`` masks an entry whatever the scale, 0 and negative included.
        scale: a number, or a tensor that broadcasts with ``scores`` and has size 1 along ``dim``.
            Differentiable, as often as you like: the derivatives in ``scale`` are the cumulants of the score.
        dim: the dimension of the row.

    Returns:
        Tensor in the dtype of ``scores`` (float16 and bfloat16 are computed in float32). A row that is masked
        throughout has entropy 0.

    Raises:
        TypeError: ``scores`` is not a floating-point tensor, ``scale`` not a number or such a tensor.
        InvalidArgument: NaN or ``+inf`` in ``scores``, a scale that is not finite or does not broadcast, an
            empty or missing ``dim``.

    Shapes: the broadcast shape of ``scores`` and ``scale`` without ``dim``.

    Source: U1, 8823-C6.

    >>> import torch
    >>> softmax_entropy(torch.zeros(8, dtype=torch.float64)).item() / math.log(8)
    1.0
    >>> softmax_entropy(torch.tensor([0.0, -50.0], dtype=torch.float64)).item()   # (1 + 50) e^-50
    9.836...e-21
    """
    dim = _checked_scores(scores, dim)
    row = gaps(scores, scale, dim)
    return _entropy(row, 1.0, dim).to(scores.dtype)


def softmax_renyi_entropy(scores: Tensor, order: float, scale: Real = 1.0, *, dim: int = -1) -> Tensor:
    """Rényi entropy of ``softmax(scale * scores)`` along ``dim``, in nats, of an order in ``[0, inf]``.

    Order 0 is the log of the number of visible entries, 1 the Shannon entropy, ``math.inf`` minus the log of
    the largest probability; each is the limit of its neighbours, and no digit is lost next to 1.

    Args:
        scores: floating-point tensor. ``-inf`` masks an entry whatever the scale, 0 and negative included.
        order: in [0, inf].
        scale: a number, or a tensor that broadcasts with ``scores`` and has size 1 along ``dim``.
            Differentiable, as often as you like: the derivatives in ``scale`` are the cumulants of the score.
        dim: the dimension of the row.

    Returns:
        Tensor in the dtype of ``scores`` (float16 and bfloat16 are computed in float32). A row that is masked
        throughout has entropy 0.

    Raises:
        TypeError: ``scores`` is not a floating-point tensor, ``order`` not a number, ``scale`` not a number
            or such a tensor.
        InvalidArgument: an ``order`` that is negative or NaN, NaN or ``+inf`` in ``scores``, a scale that is
            not finite or does not broadcast, an empty or missing ``dim``.

    Shapes: the broadcast shape of ``scores`` and ``scale`` without ``dim``.

    Source: U3; A. Rényi, On measures of entropy and information, 1961.

    >>> import torch
    >>> s = torch.tensor([3.0, 1.0, 0.0], dtype=torch.float64)
    >>> collision = -torch.softmax(s, -1).square().sum().log()
    >>> torch.allclose(softmax_renyi_entropy(s, 2), collision)
    True
    """
    dim = _checked_scores(scores, dim)
    order = real_number("order", order, low=0.0, allow_inf=True)
    row = gaps(scores, scale, dim)
    if order == 0.0:
        # The number of visible entries is locally constant; 0 * u keeps the result in the graph.
        visible = (~torch.isneginf(scores)).sum(dim, dtype=row.u.dtype)
        h = visible.clamp(min=1).log() + (0.0 * row.u).sum(dim)
    else:
        h = _entropy(row, order, dim)
    return h.to(scores.dtype)


def softmax_varentropy(scores: Tensor, scale: Real = 1.0, *, dim: int = -1) -> Tensor:
    """Variance of ``log p`` for ``p = softmax(scale * scores)`` along ``dim``: ``scale^2 F''``.

    In nats squared. It is minus the slope of the entropy in ``log scale``.

    Args:
        scores: floating-point tensor. ``-inf`` masks an entry whatever the scale, 0 and negative included.
        scale: a number, or a tensor that broadcasts with ``scores`` and has size 1 along ``dim``.
            Differentiable, as often as you like: the derivatives in ``scale`` are the cumulants of the score.
        dim: the dimension of the row.

    Returns:
        Tensor in the dtype of ``scores`` (float16 and bfloat16 are computed in float32). A row that is masked
        throughout has varentropy 0.

    Raises:
        TypeError: ``scores`` is not a floating-point tensor, ``scale`` not a number or such a tensor.
        InvalidArgument: NaN or ``+inf`` in ``scores``, a scale that is not finite or does not broadcast, an
            empty or missing ``dim``.

    Shapes: the broadcast shape of ``scores`` and ``scale`` without ``dim``.

    Source: U2, U9, 8829-C7.

    >>> import torch
    >>> s = torch.tensor([0.0, 1.0, 4.0], dtype=torch.float64)
    >>> log_scale = torch.zeros((), dtype=torch.float64, requires_grad=True)
    >>> slope, = torch.autograd.grad(softmax_entropy(s, log_scale.exp()), log_scale)
    >>> torch.allclose(softmax_varentropy(s), -slope)
    True
    """
    dim = _checked_scores(scores, dim)
    row = gaps(scores, scale, dim)
    w = row.weights()
    z = 1.0 + row.beside_peak(w, dim).unsqueeze(dim)
    mean = (w * row.u).sum(dim, keepdim=True) / z
    # Weight 0 times the square of a gap that overflows would be NaN.
    deviation = torch.where(w > 0, row.u - mean, 0.0)
    return ((w * deviation.square()).sum(dim) / z.squeeze(dim)).to(scores.dtype)


def _entropy(row: Gaps, order: float, dim: int) -> Tensor:
    """Rényi entropy of an order in (0, inf] from the gaps; see the module's docstring."""
    if order > torch.finfo(row.u.dtype).max:
        order = math.inf  # its limit to the last digit
    w = row.weights()
    z1 = row.beside_peak(w, dim)
    log_z1 = torch.log1p(z1)
    if order == math.inf:
        return log_z1
    if order == 1.0:
        return log_z1 - (w * row.u).sum(dim) / (1.0 + z1)
    distance = abs(order - 1.0)
    upper = w if order > 1.0 else row.weights(order)
    lower = 1.0 + (row.beside_peak(row.weights(order), dim) if order > 1.0 else z1)
    difference = -(upper * torch.expm1(distance * row.u)).sum(dim)
    return log_z1 + torch.log1p(difference / lower) / distance


def shannon_entropy(p: Tensor, *, dim: int = -1) -> Tensor:
    """Shannon entropy ``-sum p log p`` of probability vectors along ``dim``, in nats; ``0 log 0 = 0``.

    The entropy is that of ``p / sum(p)``, so a sum that is off by rounding is harmless, and the gradient is
    ``-(log p + H)``, which satisfies ``sum p * grad = 0``. Along the simplex it agrees with the gradient
    ``-log p - 1`` of ``-sum p log p``; they differ by a constant. Where ``p`` is 0 the gradient is 0.

    Args:
        p: floating-point tensor, non-negative, summing to 1 along ``dim`` within the rounding of its dtype.
        dim: the dimension of the vector.

    Returns:
        Tensor in the dtype of ``p`` (float16 and bfloat16 are computed in float32).

    Raises:
        TypeError: ``p`` is not a floating-point tensor.
        InvalidArgument: a negative, NaN or infinite entry, a sum other than 1, an empty or missing ``dim``.

    Shapes: that of ``p`` without ``dim``.

    Source: 8829-C1, 9593-C4.

    >>> import torch
    >>> shannon_entropy(torch.tensor([0.5, 0.25, 0.25, 0.0], dtype=torch.float64)).item() / math.log(2)
    1.5
    """
    return renyi_entropy(p, 1.0, dim=dim)


def renyi_entropy(p: Tensor, order: float, *, dim: int = -1) -> Tensor:
    """Rényi entropy ``log(sum p^order) / (1 - order)`` of probability vectors along ``dim``, in nats.

    Orders 0 (log of the support), 1 (Shannon) and ``math.inf`` (minus log of the largest entry) are the
    limits, and no digit is lost next to 1. The entropy is that of ``p / sum(p)``; where ``p`` is 0 its
    gradient is 0.

    Args:
        p: floating-point tensor, non-negative, summing to 1 along ``dim`` within the rounding of its dtype.
        order: in ``[0, inf]``.
        dim: the dimension of the vector.

    Returns:
        Tensor in the dtype of ``p`` (float16 and bfloat16 are computed in float32).

    Raises:
        TypeError: ``p`` is not a floating-point tensor, ``order`` not a number.
        InvalidArgument: a negative, NaN or infinite entry, a sum other than 1, a negative or NaN ``order``,
            an empty or missing ``dim``.

    Shapes: that of ``p`` without ``dim``.

    Source: U3, 9595-C19, 9595-C21.

    >>> import torch
    >>> p = torch.tensor([0.5, 0.25, 0.25, 0.0], dtype=torch.float64)
    >>> [round(renyi_entropy(p, a).item() / math.log(2), 4) for a in (0, 1, 2, math.inf)]
    [1.585, 1.5, 1.415, 1.0]
    """
    order = real_number("order", order, low=0.0, allow_inf=True)
    log_p = log_weights(p, dim)
    return softmax_renyi_entropy(log_p, order, dim=dim).to(p.dtype)


def log_weights(p: Tensor, dim: int) -> Tensor:
    """Check probability vectors; return ``log(p / max p)``, ``-inf`` with zero gradient where ``p`` is 0."""
    floating_tensor("p", p)
    nonempty_dim("p", p, dim)
    finite("p", p)
    negative = p < 0
    if found(negative):
        raise InvalidArgument(f"p must be non-negative, got {p[negative].flatten()[0].item()}")
    dtype = at_least_float32(p.dtype)
    q = p.to(dtype)
    total = q.detach().sum(dim)
    n = p.shape[dim]
    # Half an ulp of each entry and of a normalising sum kept in p's dtype; a softmax or a sum of n terms in
    # the compute dtype; entries too small for p's dtype.
    own, computed = torch.finfo(p.dtype), torch.finfo(dtype)
    tolerance = 4 * own.eps + (32 + math.sqrt(n)) * computed.eps + n * own.smallest_normal * own.eps
    off = (total - 1).abs() > tolerance
    if found(off):
        raise InvalidArgument(
            f"p must sum to 1 along dim={dim} within {tolerance:.1e}, "
            f"got {total[off].flatten()[0].item():.17g}"
        )
    peak = q.detach().amax(dim, keepdim=True)
    # q - peak is exact for q > peak / 2; the logarithm of a rounded ratio would lose the gap to a near tie.
    near, positive = q > 0.5 * peak, q > 0
    log_near = torch.log1p(torch.where(near, (q - peak) / peak, 0.0))
    far = positive & ~near
    # A quotient below the normal range is rounded to few digits, or to 0; the logarithm of ``q`` is not.
    tiny = far & (q < computed.smallest_normal / computed.eps)
    log_far = torch.log(torch.where(far & ~tiny, q / peak, 1.0))
    log_tiny = torch.log(torch.where(tiny, q, 1.0)) - torch.log(peak)
    log_far = torch.where(tiny, log_tiny, log_far)
    return torch.where(positive, torch.where(near, log_near, log_far), -math.inf)
