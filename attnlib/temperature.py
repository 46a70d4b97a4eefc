"""Attention at a given entropy: the temperature of each row, or each head, without the n x n matrix.

Multiplying a row's logits by gamma lowers its entropy H from log k (k visible keys) towards log m (m of them
tied at the maximum), with dH / d log gamma = -V, the varentropy. Both come from the row statistics, so that a
step of Newton's method on log gamma costs about one attention call on the CPU and never the n x n matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor

from attnlib._implementations import Impl
from attnlib._newton import Residual, falling_root
from attnlib._rows.blockwise import blockwise
from attnlib._rows.engine import attend, evaluate, resolve_for
from attnlib._rows.layout import Geometry, Tensors, centred, present
from attnlib._types import Scale
from attnlib._validate import finite, floating_tensor, one_of, real_number
from attnlib.errors import InvalidArgument, UnreachableEntropy

__all__ = ["EntropyTemperature", "TargetedAttention", "entropy_targeted_attention", "entropy_temperature"]

Target: TypeAlias = float | Tensor | Callable[[Tensor], Tensor]


Per: TypeAlias = Literal["row", "head"]


class EntropyTemperature(NamedTuple):
    """The factors ``gamma`` on the logits, and the ``entropy`` of every row they lead to, in nats.

    ``iterations`` is the number of Newton steps that the slowest of them took.

    Shapes: ``gamma`` (..., heads, n) for rows or (..., heads) for heads, ``entropy`` (..., heads, n).

    Source: U2, U9; 8823-C7.

    >>> import torch
    >>> q, k = torch.randn(2, 2, 16, 8)
    >>> found = entropy_temperature(q, k, 2.0, per="head")
    >>> found.gamma.shape, found.entropy.shape
    (torch.Size([2]), torch.Size([2, 16]))
    """

    gamma: Tensor
    entropy: Tensor
    iterations: int


class TargetedAttention(NamedTuple):
    """The output of attention and the factor ``gamma`` on the logits that gives the target entropy.

    The target was given in nats. ``iterations`` is the number of Newton steps that the slowest of them took.

    Shapes: output (..., heads, n, dv), ``gamma`` (..., heads, n) for rows or (..., heads) for heads.

    Source: U2, U9; 8823-C7.

    >>> import torch
    >>> q, k, v = torch.randn(3, 2, 16, 8)
    >>> entropy_targeted_attention(q, k, v, 2.0).gamma.shape
    torch.Size([2, 16])
    """

    output: Tensor
    gamma: Tensor
    iterations: int


class _Groups:
    """Rows that share a temperature: each its own (``per='row'``), or all of a head (``per='head'``)."""

    def __init__(self, per: str, geometry: Geometry, dtype: torch.dtype):
        one_of("per", per, get_args(Per))
        self.by_head = per == "head"
        self.counted = (~geometry.empty).to(dtype).expand(geometry.shape[:3])

    def mean(self, x: Tensor) -> Tensor:
        """The mean over the rows of a group that see a key; of a group without such rows, 0."""
        if not self.by_head:
            return x * self.counted
        return (x * self.counted).sum(dim=-1) / self.counted.sum(dim=-1).clamp(min=1)

    def rows(self, x: Tensor) -> Tensor:
        """Give each row the value of its group."""
        return x[..., None].expand(self.counted.shape) if self.by_head else x


class _Range(NamedTuple):
    """Of each group: infimum and supremum of its entropy, and the mean square of the range of its logits."""

    low: Tensor
    high: Tensor
    square: Tensor

    @property
    def constant(self) -> Tensor:
        """Groups of rows whose visible keys all score alike: no temperature changes them."""
        return self.square == 0


def _range(tensors: Tensors, geometry: Geometry, groups: _Groups) -> _Range:
    def extremes(logits: Tensor, _: Tensor | None) -> tuple[Tensor, ...]:
        hidden = logits == -math.inf
        top = logits.amax(dim=-1)
        ties = ((logits == top[..., None]) & ~hidden).sum(dim=-1).clamp(min=1).to(logits.dtype)
        spread = top - logits.masked_fill(hidden, math.inf).amin(dim=-1)
        return ties, spread.masked_fill(hidden.all(dim=-1), 0)

    ties, spread = blockwise(centred(tensors, geometry)[0], geometry, extremes)
    visible = geometry.visible.clamp(min=1).to(ties.dtype).expand(ties.shape)
    return _Range(groups.mean(ties.log()), groups.mean(visible.log()), groups.mean(spread.square()))


def _goal(target: Target, geometry: Geometry, groups: _Groups) -> Tensor:
    """The target entropy of each group."""
    if callable(target):
        visible = geometry.visible.clamp(min=1).to(groups.counted.dtype).expand(groups.counted.shape)
        value = floating_tensor("target(n)", target(geometry.unfold(visible)))
        finite("target(n)", value)
        try:
            value = value.to(visible.dtype).expand(geometry.lead + visible.shape[-1:])
        except RuntimeError:
            raise InvalidArgument(
                f"target(n) must have the shape {tuple(geometry.lead + visible.shape[-1:])} "
                f"of the rows, got {tuple(value.shape)}"
            ) from None
        return groups.mean(value.reshape(visible.shape))
    shape = groups.counted.shape[:2] if groups.by_head else groups.counted.shape
    if not isinstance(target, Tensor):
        return groups.counted.new_full(shape, real_number("target", target))
    floating_tensor("target", target)
    finite("target", target)
    public = geometry.lead + shape[2:]
    try:
        return target.to(groups.counted).expand(public).reshape(shape)
    except RuntimeError:
        raise InvalidArgument(
            f"target of shape {tuple(target.shape)} does not broadcast to {tuple(public)}"
        ) from None


def _check_reachable(goal: Tensor, reach: _Range, groups: _Groups, geometry: Geometry) -> None:
    near_high = (goal - reach.high).abs() <= 2 * torch.finfo(goal.dtype).eps * reach.high
    inside = near_high | ((goal > reach.low) & (goal < reach.high) & ~reach.constant)
    # A group without keys has no entropy to set.
    fails = ~inside & (groups.mean(torch.ones_like(groups.counted)) > 0)
    if not fails.any():
        return
    first = int(fails.flatten().nonzero()[0])
    lower, upper, value = (x.flatten()[first].item() for x in (reach.low, reach.high, goal))
    public = geometry.lead + fails.shape[2:]
    index = tuple(int(i) for i in torch.unravel_index(torch.tensor(first), public)) if public else ()
    group = "head" if groups.by_head else "row"
    range_ = (
        f"it is {upper} at every temperature"
        if reach.constant.flatten()[first]
        else (f"its entropies lie in ({lower}, {upper}]")
    )
    raise UnreachableEntropy(
        f"target={value} is out of reach for {group} {index}: {range_}", lower=lower, upper=upper
    )


def _solve(
    tensors: Tensors, geometry: Geometry, goal: Tensor, reach: _Range, groups: _Groups, impl: str
) -> tuple[Tensor, int]:
    """log gamma of each group, by Newton steps on the logit of (H - low) / (high - low)."""
    eps = torch.finfo(goal.dtype).eps
    goal = torch.minimum(goal, reach.high)

    def residual(x: Tensor, _: Tensor) -> Residual:
        rows = evaluate(*_at(tensors, geometry, groups.rows(x.exp())), set(), True, impl)
        entropy, varentropy = groups.mean(rows.entropy), groups.mean(present(rows.varentropy))
        error = entropy - goal
        above, below = entropy - reach.low, reach.high - entropy
        logit = (above / (goal - reach.low)).log() - (below / (reach.high - goal)).log()
        curved = logit / (varentropy * (1 / above + 1 / below))
        step = torch.where(curved.isfinite(), curved, error / varentropy)
        # The entropy is known to the rounding of its logits, of which the range tells the size.
        return Residual(error, step, 4 * eps * (reach.high + x.exp() * reach.square.sqrt()))

    # H >= high - gamma^2 range^2 / 8; the resolution of H stands in for a deficit of 0.
    deficit = torch.maximum(reach.high - goal, eps * reach.high).masked_fill(reach.constant, 1)
    left = 0.5 * (8 * deficit / reach.square.masked_fill(reach.constant, 1)).log()
    start = left.clamp(min=0).masked_fill(reach.constant, 0)
    root = falling_root(residual, left, torch.full_like(left, math.inf), start, reach.constant)
    return root.x + root.correction, int(root.iterations.max()) if root.iterations.numel() else 0


def _at(tensors: Tensors, geometry: Geometry, gamma: Tensor) -> tuple[Tensors, Geometry]:
    """The same attention with the logits of each row multiplied by its ``gamma``."""
    return tensors._replace(q=tensors.q * gamma[..., None]), geometry


def _temperature(
    tensors: Tensors, geometry: Geometry, target: Target, per: str, impl: str
) -> tuple[Tensor, int, _Groups]:
    """gamma of each group, with the gradient of the implicit function H(gamma, q, k) = target."""
    geometry.refuse_bias()
    tensors = tensors._replace(v=None)
    groups = _Groups(per, geometry, tensors.q.dtype)
    goal = _goal(target, geometry, groups)
    with torch.no_grad():
        reach = _range(tensors, geometry, groups)
        _check_reachable(goal, reach, groups, geometry)
        x, iterations = _solve(tensors, geometry, goal, reach, groups, impl)
    if torch.is_grad_enabled() and any(t.requires_grad for t in (tensors.q, tensors.k, goal)):
        rows = evaluate(*_at(tensors, geometry, groups.rows(x.exp())), set(), True, impl)
        varentropy = groups.mean(present(rows.varentropy).detach())
        fixed = reach.constant | (varentropy == 0)
        newton = ((groups.mean(rows.entropy) - goal) / varentropy.masked_fill(fixed, 1)).masked_fill(fixed, 0)
        x = x + (newton - newton.detach())
    return x.exp(), iterations, groups


def entropy_temperature(
    q: Tensor,
    k: Tensor,
    target: Target,
    *,
    per: Per = "row",
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: Scale = None,
    enable_gqa: bool = False,
    impl: Impl = "fused",
) -> EntropyTemperature:
    """The factor gamma > 0 on the logits at which every row, or every head on average, has a given entropy.

    A row whose visible keys all score alike has gamma 1, and so has a row without keys, whatever the target.
    The entropy is met to the resolution of the logits at gamma, a few eps times gamma times their range:
    about 1e-6 nats in moderate float32 rows, but far less exactly where nearly tied keys call for a large
    gamma. ``entropy`` tells; pass float64 then. gamma is differentiable in q, k and target by the implicit
    function theorem.

    Args:
        q: queries (..., heads, n, d), floating-point and finite.
        k: keys (..., heads, m, d), in the dtype and on the device of q.
        target: entropy in nats: a number, a tensor broadcasting to (..., heads, n) or (..., heads), or a rule
            given the tensor (..., heads, n) of visible keys. ``lambda n: 0.5 * n.log()`` is the natural
            choice under ``is_causal``, where early rows have no room for more.
        per: ``"row"`` gives every row the target; ``"head"`` gives one gamma to all rows of a head, whose
            mean entropy, over rows that see a key, is then the target.
        attn_mask: broadcasts to (..., heads, n, m) and may only hide keys: boolean, True = visible, or
            0/-inf. May be combined with ``is_causal``.
        is_causal: query i sees keys 0 to i only (top-left aligned).
        scale: None for 1/sqrt(d), a number, or a rule ``(n, d) -> lambda`` given the number of keys each row
            sees, as an int where all rows see all keys and else as a tensor broadcasting to (..., heads, n).
        enable_gqa: let k (and v) have fewer heads than q, each serving a group of them.
        impl: ``"fused"`` passes over tiles of the logits on a CPU, and on CUDA uses PyTorch's attention
            kernels (float32 and below, never yet run on such a machine); ``"blockwise"`` writes rows out in
            blocks of bounded size, on any device; ``"reference"`` forms the whole matrix in float64.

    Returns:
        ``EntropyTemperature(gamma, entropy, iterations)`` in the dtype and on the device of q; the entropies
        reached in nats.

    Raises:
        UnreachableEntropy: a target outside of the attainable range (log m, log k] of k visible keys with m
            tied at the maximum, which the error carries.
        TypeError: an argument of the wrong type, or a tensor that is not floating-point.
        InvalidArgument: NaN or infinity, shapes that do not fit, a mask that does more than to hide keys, or
            another word for ``per`` or ``impl``.

    Shapes: gamma (..., heads, n) or (..., heads), entropy (..., heads, n).

    Source: U2, U9; 8823-C7.

    >>> import torch
    >>> q, k = torch.randn(2, 2, 16, 8, dtype=torch.float64)
    >>> bool(torch.allclose(entropy_temperature(q, k, 1.5).entropy, torch.tensor(1.5, dtype=torch.float64)))
    True
    """
    tensors, geometry = resolve_for(
        impl, q, k, None, attn_mask=attn_mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa
    )
    gamma, iterations, groups = _temperature(tensors, geometry, target, per, impl)
    entropy = evaluate(*_at(tensors, geometry, groups.rows(gamma)), set(), False, impl).entropy
    return EntropyTemperature(geometry.rows(gamma), geometry.rows(entropy), iterations)


def entropy_targeted_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    target: Target,
    *,
    per: Per = "row",
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: Scale = None,
    enable_gqa: bool = False,
    impl: Impl = "fused",
) -> TargetedAttention:
    """Softmax attention whose rows have a given entropy, each or on the average of a head.

    The temperatures are found as :func:`entropy_temperature` finds them. Differentiable in q, k, v and
    target, through the temperatures too.

    Args:
        q: queries (..., heads, n, d), floating-point and finite.
        k: keys (..., heads, m, d), in the dtype and on the device of q.
        v: values (..., heads, m, dv), in the dtype and on the device of q.
        target: entropy in nats: a number, a tensor broadcasting to (..., heads, n) or (..., heads), or a rule
            given the tensor (..., heads, n) of visible keys. ``lambda n: 0.5 * n.log()`` is the natural
            choice under ``is_causal``, where early rows have no room for more.
        per: ``"row"`` gives every row the target; ``"head"`` gives one gamma to all rows of a head, whose
            mean entropy, over rows that see a key, is then the target.
        attn_mask: broadcasts to (..., heads, n, m) and may only hide keys: boolean, True = visible, or
            0/-inf. May be combined with ``is_causal``.
        is_causal: query i sees keys 0 to i only (top-left aligned).
        scale: None for 1/sqrt(d), a number, or a rule ``(n, d) -> lambda`` given the number of keys each row
            sees, as an int where all rows see all keys and else as a tensor broadcasting to (..., heads, n).
        enable_gqa: let k (and v) have fewer heads than q, each serving a group of them.
        impl: ``"fused"`` passes over tiles of the logits on a CPU, and on CUDA uses PyTorch's attention
            kernels (float32 and below, never yet run on such a machine); ``"blockwise"`` writes rows out in
            blocks of bounded size, on any device; ``"reference"`` forms the whole matrix in float64.

    Returns:
        ``TargetedAttention(output, gamma, iterations)`` in the dtype and on the device of q.

    Raises:
        UnreachableEntropy: a target outside of the attainable range (log m, log k] of k visible keys with m
            tied at the maximum, which the error carries.
        TypeError: an argument of the wrong type, or a tensor that is not floating-point.
        InvalidArgument: NaN or infinity, shapes that do not fit, a mask that does more than to hide keys, or
            another word for ``per`` or ``impl``.

    Shapes: output (..., heads, n, dv), gamma (..., heads, n) or (..., heads).

    Source: U2, U9; 8823-C7.

    >>> import torch
    >>> q, k, v = torch.randn(3, 2, 16, 8)
    >>> entropy_targeted_attention(q, k, v, lambda n: 0.5 * n.log(), is_causal=True).output.shape
    torch.Size([2, 16, 8])
    """
    floating_tensor("v", v)
    tensors, geometry = resolve_for(
        impl, q, k, v, attn_mask=attn_mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa
    )
    gamma, iterations, groups = _temperature(tensors, geometry, target, per, impl)
    output = attend(*_at(tensors, geometry, groups.rows(gamma)), impl)
    return TargetedAttention(geometry.rows(output), geometry.rows(gamma), iterations)
