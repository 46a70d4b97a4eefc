"""Attention at a given entropy: the temperature of each row, or each head, without the n x n matrix.

Multiplying a row's logits by gamma lowers its entropy H from log k (k visible keys) towards log m (m of them
tied at the maximum), with dH / d log gamma = -V, the varentropy. Both come from the fused statistics, so that
a step of Newton's method on log gamma costs about one attention call on the CPU and never the n x n matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from attnlib._blockwise import blockwise
from attnlib._layout import Layout
from attnlib._validate import finite, floating_tensor, real_number
from attnlib._written import WrittenRows
from attnlib.attention import attend
from attnlib.errors import InvalidArgument, UnreachableEntropy
from attnlib.rows import evaluate, resolve_for

__all__ = ["EntropyTemperature", "TargetedAttention", "entropy_targeted_attention", "entropy_temperature"]

Target = float | Tensor | Callable[[Tensor], Tensor]


class EntropyTemperature(NamedTuple):
    """``gamma`` of every row (..., heads, n) or head (..., heads), ``entropy`` of every row, in nats.

    ``iterations`` is the number of Newton steps that the slowest of them took.

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
    """The output (..., heads, n, dv) and the factor ``gamma`` on the logits that gives the target entropy.

    The target was given in nats. ``gamma`` has the shape (..., heads, n) of the rows or (..., heads) of the
    heads; ``iterations`` is the number of Newton steps that the slowest of them took.

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

    def __init__(self, per: str, layout: Layout):
        if per not in ("row", "head"):
            raise InvalidArgument(f"per must be 'row' or 'head', got {per!r}")
        self.by_head = per == "head"
        self.counted = (~layout.empty).to(layout.q.dtype).expand(layout.q.shape[:3])

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


def _range(layout: Layout, groups: _Groups) -> _Range:
    def extremes(logits: Tensor, _) -> tuple[Tensor, ...]:
        hidden = logits == -math.inf
        top = logits.amax(dim=-1)
        ties = ((logits == top[..., None]) & ~hidden).sum(dim=-1).clamp(min=1).to(logits.dtype)
        spread = top - logits.masked_fill(hidden, math.inf).amin(dim=-1)
        return ties, spread.masked_fill(hidden.all(dim=-1), 0)

    ties, spread = blockwise(layout, extremes)
    visible = layout.visible.clamp(min=1).to(ties.dtype).expand(ties.shape)
    return _Range(groups.mean(ties.log()), groups.mean(visible.log()), groups.mean(spread.square()))


def _goal(target: Target, layout: Layout, groups: _Groups) -> Tensor:
    """The target entropy of each group."""
    if callable(target):
        visible = layout.visible.clamp(min=1).to(layout.q.dtype).expand(layout.q.shape[:3])
        value = floating_tensor("target(n)", target(layout.unfold(visible)))
        finite("target(n)", value)
        try:
            value = value.to(visible.dtype).expand(layout.lead + visible.shape[-1:])
        except RuntimeError:
            raise InvalidArgument(
                f"target(n) must have the shape {tuple(layout.lead + visible.shape[-1:])} "
                f"of the rows, got {tuple(value.shape)}"
            ) from None
        return groups.mean(value.reshape(visible.shape))
    shape = layout.q.shape[:2] if groups.by_head else layout.q.shape[:3]
    if not isinstance(target, Tensor):
        return torch.full(shape, real_number("target", target), dtype=layout.q.dtype, device=layout.q.device)
    floating_tensor("target", target)
    finite("target", target)
    public = layout.lead + shape[2:]
    try:
        return target.to(layout.q).expand(public).reshape(shape)
    except RuntimeError:
        raise InvalidArgument(
            f"target of shape {tuple(target.shape)} does not broadcast to {tuple(public)}"
        ) from None


def _check_reachable(goal: Tensor, reach: _Range, groups: _Groups, layout: Layout) -> None:
    near_high = (goal - reach.high).abs() <= 2 * torch.finfo(goal.dtype).eps * reach.high
    inside = near_high | ((goal > reach.low) & (goal < reach.high) & ~reach.constant)
    # A group without keys has no entropy to set.
    fails = ~inside & (groups.mean(torch.ones_like(groups.counted)) > 0)
    if not fails.any():
        return
    first = int(fails.flatten().nonzero()[0])
    lower, upper, value = (x.flatten()[first].item() for x in (reach.low, reach.high, goal))
    public = layout.lead + fails.shape[2:]
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


_MOST_STEPS = 200
_LONGEST_STEP = math.log(16)


def _solve(layout: Layout, goal: Tensor, reach: _Range, groups: _Groups, impl: str) -> tuple[Tensor, int]:
    """log gamma of each group by safeguarded Newton steps on the logit of (H - low) / (high - low).

    A step that would leave the bracket, or that is not half as long as the one before, gives way to
    bisection, or to growth while no upper end is known.
    """
    eps = torch.finfo(goal.dtype).eps
    done = reach.constant.clone()
    goal = torch.minimum(goal, reach.high)
    # H >= high - gamma^2 range^2 / 8; the resolution of H stands in for a deficit of 0.
    deficit = torch.maximum(reach.high - goal, eps * reach.high).masked_fill(done, 1)
    left = 0.5 * (8 * deficit / reach.square.masked_fill(done, 1)).log()
    right = torch.full_like(left, math.inf)
    x = left.clamp(min=0).masked_fill(done, 0)
    last = torch.full_like(x, math.inf)
    for iteration in range(_MOST_STEPS):
        if done.all():
            return x, iteration
        gamma = groups.rows(x.exp())
        raw = evaluate(replace(layout, q=layout.q * gamma[..., None]), set(), True, impl)
        entropy, varentropy = groups.mean(raw.entropy), groups.mean(raw.varentropy)
        error = entropy - goal
        left, right = torch.where(error > 0, x, left), torch.where(error > 0, right, x)
        above, below = entropy - reach.low, reach.high - entropy
        logit = (above / (goal - reach.low)).log() - (below / (reach.high - goal)).log()
        curved = logit / (varentropy * (1 / above + 1 / below))
        step = torch.where(curved.isfinite(), curved, error / varentropy)
        # From a plateau (two keys nearly tied) Newton leaps past any scale at which H can be resolved.
        step = torch.where(right.isinf(), step.clamp(max=_LONGEST_STEP), step)
        # The entropy is known to the rounding of its logits, of which the range tells the size.
        resolution = 4 * eps * (reach.high + x.exp() * reach.square.sqrt())
        inside = (x + step >= left) & (x + step <= right)
        settled = inside & (step.abs() <= 0.25 * math.sqrt(eps))
        met = (error.abs() <= resolution) | (right - left <= 2 * eps * (1 + x.abs()))
        newton = inside & (2 * step.abs() <= last)
        safe = torch.where(right.isinf(), x + _LONGEST_STEP, 0.5 * (left + right))
        proposal = torch.where(newton | settled, x + step, safe)
        proposal = torch.where(done | (met & ~settled), x, proposal)
        last = (proposal - x).abs()
        x, done = proposal, done | settled | met
    raise ArithmeticError(
        f"no temperature found in {_MOST_STEPS} steps for {int((~done).sum())} of {done.numel()}"
    )


def _temperature(layout: Layout, target: Target, per: str, impl: str) -> tuple[Tensor, int, _Groups]:
    """gamma of each group, with the gradient of the implicit function H(gamma, q, k) = target."""
    if layout.bias_varies:
        raise InvalidArgument("attn_mask must hide keys only: True/False, or 0/-inf")
    layout = replace(layout, v=None)
    groups = _Groups(per, layout)
    goal = _goal(target, layout, groups)
    with torch.no_grad():
        reach = _range(layout.centred()[0], groups)
        _check_reachable(goal, reach, groups, layout)
        x, iterations = _solve(layout, goal, reach, groups, impl)
    if torch.is_grad_enabled() and any(t.requires_grad for t in (layout.q, layout.k, goal)):
        raw = evaluate(replace(layout, q=layout.q * groups.rows(x.exp())[..., None]), set(), True, impl)
        varentropy = groups.mean(raw.varentropy.detach())
        fixed = reach.constant | (varentropy == 0)
        newton = ((groups.mean(raw.entropy) - goal) / varentropy.masked_fill(fixed, 1)).masked_fill(fixed, 0)
        x = x + (newton - newton.detach())
    return x.exp(), iterations, groups


def entropy_temperature(
    q: Tensor,
    k: Tensor,
    target: Target,
    *,
    per: str = "row",
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale=None,
    enable_gqa: bool = False,
    impl: str = "fused",
) -> EntropyTemperature:
    """The factor gamma > 0 on the logits at which every row, or every head on average, has a given entropy.

    With ``per='row'`` each row of softmax(gamma * scale * q k^T) has the entropy ``target`` in nats; with
    ``per='head'`` one gamma serves all rows of a head and ``target`` is the mean of their entropies, over
    rows that see a key. ``target`` is a number, a tensor broadcasting to (..., heads, n) or (..., heads),
    or a rule given the tensor (..., heads, n) of visible keys: ``lambda n: 0.5 * n.log()`` is the natural
    choice under ``is_causal``, where early rows have no room for more.

    Shapes: q (..., heads, n, d), k (..., heads, m, d). Returns ``EntropyTemperature(gamma, entropy,
    iterations)``, gamma (..., heads, n) or (..., heads), the entropies reached (..., heads, n), all in the
    dtype and on the device of q; gamma is differentiable in q, k and target by the implicit function
    theorem. The other arguments are those of :func:`attnlib.row_statistics`; a mask may only hide keys. A
    row whose visible keys all score alike has gamma 1, and so has a row without keys, whatever the target.
    The entropy is met to the resolution of the logits at gamma, a few eps times gamma times their range:
    about 1e-6 nats in moderate float32 rows, but far less exactly where nearly tied keys call for a large
    gamma. ``entropy`` tells; pass float64 then.

    Raises :class:`~attnlib.errors.UnreachableEntropy`, carrying the attainable range (log m, log k] of k
    visible keys with m tied at the maximum, for a target outside of it; ``TypeError`` or
    :class:`~attnlib.errors.InvalidArgument` for bad arguments.

    Source: U2, U9; 8823-C7.

    >>> import torch
    >>> q, k = torch.randn(2, 2, 16, 8, dtype=torch.float64)
    >>> bool(torch.allclose(entropy_temperature(q, k, 1.5).entropy, torch.tensor(1.5, dtype=torch.float64)))
    True
    """
    layout = resolve_for(
        impl, q, k, None, attn_mask=attn_mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa
    )
    gamma, iterations, groups = _temperature(layout, target, per, impl)
    at_gamma = replace(layout, q=layout.q * groups.rows(gamma)[..., None])
    entropy = evaluate(at_gamma, set(), False, impl).entropy
    return EntropyTemperature(layout.rows(gamma), layout.rows(entropy), iterations)


def entropy_targeted_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    target: Target,
    *,
    per: str = "row",
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale=None,
    enable_gqa: bool = False,
    impl: str = "fused",
) -> TargetedAttention:
    """Softmax attention whose rows have a given entropy, each or on the average of a head.

    The temperatures are those of :func:`entropy_temperature`, with its arguments and errors; v is (...,
    heads, m, dv). Returns ``TargetedAttention(output, gamma, iterations)``; differentiable in q, k, v and
    target, through the temperatures too.

    Source: U2, U9; 8823-C7.

    >>> import torch
    >>> q, k, v = torch.randn(3, 2, 16, 8)
    >>> entropy_targeted_attention(q, k, v, lambda n: 0.5 * n.log(), is_causal=True).output.shape
    torch.Size([2, 16, 8])
    """
    floating_tensor("v", v)
    layout = resolve_for(
        impl, q, k, v, attn_mask=attn_mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa
    )
    gamma, iterations, groups = _temperature(layout, target, per, impl)
    layout_at = replace(layout, q=layout.q * groups.rows(gamma)[..., None])
    # Not by way of ``evaluate``: its output comes with statistics, which nobody asks for here.
    if impl == "fused":
        output = attend(layout_at)
    elif impl == "blockwise":
        (output,) = blockwise(layout_at, lambda s, v: (WrittenRows(s).p @ v,))
    else:
        output = WrittenRows(layout_at.logits(layout_at.q, layout_at.k)).p @ layout_at.v
    return TargetedAttention(layout.rows(output), layout.rows(gamma), iterations)
