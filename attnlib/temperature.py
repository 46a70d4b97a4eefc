"""Attention at a given entropy: the temperature of each row, or each head, without the n x n matrix.

Multiplying a row's logits by gamma lowers its entropy H from log k (k visible keys) towards log m (m of them
tied at the maximum), with dH / d log gamma = -V, the varentropy. Both come from the row statistics, so that a
step of Newton's method on log gamma costs about one attention call on the CPU and never the n x n matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, NoReturn, TypeAlias, get_args

import torch
from torch import Tensor

from attnlib._implementations import IMPLS, Impl, exact_under_autocast
from attnlib._newton import Residual, falling_root
from attnlib._rows.blockwise import blockwise
from attnlib._rows.engine import attend, evaluate, resolve_for
from attnlib._rows.layout import Geometry, Pattern, Tensors, centred, present
from attnlib._rows.passes import PASSES, run
from attnlib._transforms import forward_mode, readable
from attnlib._types import Scale, SegmentIds, Window
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
    iterations: int | Tensor


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
    iterations: int | Tensor


class _Groups:
    """Rows that share a temperature: each its own (``per='row'``), or all of a head (``per='head'``)."""

    def __init__(self, by_head: bool, empty: Tensor, like: Tensor):
        self.by_head = by_head
        self.counted = (~empty).to(like.dtype).expand(like.shape[:3])

    def mean(self, x: Tensor) -> Tensor:
        """The mean over the rows of a group that see a key; of a group without such rows, 0."""
        if not self.by_head:
            return x * self.counted
        return (x * self.counted).sum(dim=-1) / self.counted.sum(dim=-1).clamp(min=1)

    def largest(self, x: Tensor) -> Tensor:
        """The largest x >= 0 of a group."""
        return x.amax(dim=-1) if self.by_head else x

    def rows(self, x: Tensor) -> Tensor:
        """Give each row the value of its group."""
        return x[..., None].expand(self.counted.shape) if self.by_head else x


class _Range(NamedTuple):
    """Of each group: infimum and supremum of its entropy, and the root mean square range of its logits.

    The ``square`` of this width is 0 where it is out of the dtype's range.
    """

    low: Tensor
    high: Tensor
    square: Tensor
    width: Tensor

    @property
    def constant(self) -> Tensor:
        """Groups of rows whose visible keys all score alike: no temperature changes them."""
        return self.width == 0


def _range(ties: Tensor, spread: Tensor, visible: Tensor, groups: _Groups) -> _Range:
    square = groups.mean(spread.square())
    # Squares of ranges of 1e-160 vanish: a power of two brings them near 1 first, at no cost in digits.
    _, exponent = torch.frexp(groups.largest(spread))
    near = torch.ldexp(spread, -groups.rows(exponent))
    width = torch.ldexp(groups.mean(near.square()).sqrt(), exponent)
    plain = (square >= torch.finfo(square.dtype).smallest_normal) & square.isfinite()
    width = torch.where(plain, square.sqrt(), width)
    log_visible = visible.clamp(min=1).to(ties.dtype).log()
    return _Range(groups.mean(ties.log()), groups.mean(log_visible), square.masked_fill(~plain, 0), width)


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


def _check_reachable(goal: Tensor, reach: _Range, groups: _Groups, lead: tuple[int, ...]) -> None:
    near_high = (goal - reach.high).abs() <= 2 * torch.finfo(goal.dtype).eps * reach.high
    inside = near_high | ((goal > reach.low) & (goal < reach.high) & ~reach.constant)
    # A group without keys has no entropy to set.
    fails = ~inside & (groups.mean(torch.ones_like(groups.counted)) > 0)
    if not fails.any():
        return
    first = int(fails.flatten().nonzero()[0])
    lower, upper, value = (x.flatten()[first].item() for x in (reach.low, reach.high, goal))
    public = lead + fails.shape[2:]
    if math.prod(public) != fails.numel():
        public = fails.shape
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


class _Temperatures:
    """A pass of results log gamma of each group, where no temperature matters, and the steps it took.

    ``weight`` holds the target of each row; ``numbers`` are 1 for heads or 0 for rows, the place of the
    implementation among all, and the leading dimensions that errors count in.
    """

    def differentiable(self, numbers: Sequence[float]) -> int:
        return 0

    def shapes(self, tensors: Tensors, pattern: Pattern, numbers: Sequence[float]) -> list[Tensor]:
        shape = tensors.q.shape[: 2 if numbers[0] == 1 else 3]
        dtypes = (tensors.q.dtype, torch.bool, torch.int64)
        return [tensors.q.new_empty(shape, dtype=dtype) for dtype in dtypes]

    def forward(self, tensors: Tensors, pattern: Pattern, numbers: Sequence[float]) -> list[Tensor]:
        by_head, impl = numbers[0] == 1, IMPLS[int(numbers[1])]
        goal = present(tensors.weight)
        tensors = tensors._replace(weight=None)
        ties, spread, visible = blockwise("extremes", centred(tensors, pattern)[0], pattern)
        if not spread.isfinite().all():
            raise InvalidArgument(f"q and k give logits beyond the range of {spread.dtype}")
        groups = _Groups(by_head, visible == 0, tensors.q)
        goal = goal.expand(visible.shape)[..., 0] if by_head else goal.expand(visible.shape)
        reach = _range(ties, spread, visible, groups)
        _check_reachable(goal, reach, groups, tuple(int(size) for size in numbers[2:]))
        if not goal.numel():
            return [x.zero_() for x in self.shapes(tensors, pattern, numbers)]
        geometry = Geometry(
            shape=tensors.shape,
            pattern=pattern,
            bias_varies=False,
            visible=visible,
            sink=None,
            lead=tensors.q.shape[:2],
            dtype=tensors.q.dtype,
        )
        try:
            x, iterations = _solve(tensors, geometry, goal, reach, groups, impl)
        except ArithmeticError as error:
            raise InvalidArgument(
                f"target cannot be met in {goal.dtype} by logits that range over "
                f"{reach.width[reach.width > 0].min().item():.3g} to {reach.width.max().item():.3g}: {error}"
            ) from None
        return [x, reach.constant, iterations]

    def backward(self, *given: Any) -> NoReturn:
        raise AssertionError("the temperatures are differentiated by the implicit function")


PASSES["temperature"] = _Temperatures()


def _solve(
    tensors: Tensors, geometry: Geometry, goal: Tensor, reach: _Range, groups: _Groups, impl: str
) -> tuple[Tensor, Tensor]:
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
        return Residual(error, step, 4 * eps * (reach.high + x.exp() * reach.width))

    # H >= high - gamma^2 range^2 / 8; the resolution of H stands in for a deficit of 0.
    deficit = torch.maximum(reach.high - goal, eps * reach.high).masked_fill(reach.constant, 1)
    by_square = 0.5 * (8 * deficit / reach.square.masked_fill(reach.square == 0, 1)).log()
    by_width = 0.5 * (8 * deficit).log() - reach.width.masked_fill(reach.constant, 1).log()
    left = torch.where((reach.square == 0) & ~reach.constant, by_width, by_square)
    start = left.clamp(min=0).masked_fill(reach.constant, 0)
    root = falling_root(residual, left, torch.full_like(left, math.inf), start, reach.constant)
    return root.x + root.correction, root.iterations


def _at(tensors: Tensors, geometry: Geometry, gamma: Tensor) -> tuple[Tensors, Geometry]:
    """The same attention with the logits of each row multiplied by its ``gamma``."""
    if geometry.pattern.softcap is not None:
        # What is capped must be multiplied after it is.
        return tensors._replace(weight=gamma), geometry
    return tensors._replace(q=tensors.q * gamma[..., None]), geometry


def _temperature(
    tensors: Tensors, geometry: Geometry, target: Target, per: str, impl: str
) -> tuple[Tensor, int | Tensor, _Groups]:
    """gamma of each group, with the gradient of the implicit function H(gamma, q, k) = target."""
    one_of("per", per, get_args(Per))
    geometry.refuse_bias()
    tensors = tensors._replace(v=None)
    by_head = per == "head"
    groups = _Groups(by_head, geometry.empty, tensors.q)
    goal = _goal(target, geometry, groups)
    told = (float(by_head), IMPLS.index(impl), *geometry.lead)
    x, constant, iterations = run(
        "temperature",
        tensors._replace(weight=goal[..., None] if by_head else goal),
        geometry.pattern,
        told,
        fixed=True,
    )
    if (
        not readable(tensors.q)
        or any(t.requires_grad for t in (tensors.q, tensors.k, goal))
        or forward_mode(*tensors, goal)
    ):
        rows = evaluate(*_at(tensors, geometry, groups.rows(x.exp())), set(), True, impl)
        varentropy = groups.mean(present(rows.varentropy).detach())
        fixed = constant | (varentropy == 0)
        newton = ((groups.mean(rows.entropy) - goal) / varentropy.masked_fill(fixed, 1)).masked_fill(fixed, 0)
        x = x + (newton - newton.detach())
    slowest = iterations.max() if iterations.numel() else iterations.new_zeros(())
    return x.exp(), int(slowest) if readable(slowest) else slowest, groups


@exact_under_autocast
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
    softcap: float | None = None,
    sink: Tensor | None = None,
    window: Window = None,
    segment_ids: SegmentIds = None,
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
        scale: None for 1/sqrt(d), a number, a tensor broadcasting to (..., heads, n), or a rule ``(n, d) ->
            lambda`` given the number of keys each row sees, as an int where all rows see all keys and else as
            a tensor broadcasting to (..., heads, n).
        enable_gqa: let k (and v) have fewer heads than q, each serving a group of them.
        softcap: None, or c > 0: logits become c tanh(logits / c), before masks and biases, as in Gemma 2.
        sink: None, or (heads,): a logit of each row without key or value, in the denominator only, as in
            gpt-oss.
        window: None, or how many keys a row sees on either side of its own place: an int, or (left, right).
            May be combined with ``is_causal``.
        segment_ids: None, or integers (..., n): a row sees the keys with its own number only, as of packed
            documents; a pair of tensors gives those of the queries and those of the keys.
        impl: ``"fused"`` passes over tiles of the logits, and on CUDA uses PyTorch's attention kernels where
            they know the call (float32 and below); ``"blockwise"`` writes rows out in blocks of bounded size;
            ``"reference"`` forms the whole matrix in float64.

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
        impl,
        q,
        k,
        None,
        attn_mask=attn_mask,
        is_causal=is_causal,
        scale=scale,
        enable_gqa=enable_gqa,
        softcap=softcap,
        sink=sink,
        window=window,
        segment_ids=segment_ids,
    )
    gamma, iterations, groups = _temperature(tensors, geometry, target, per, impl)
    entropy = evaluate(*_at(tensors, geometry, groups.rows(gamma)), set(), False, impl).entropy
    return EntropyTemperature(geometry.rows(gamma), geometry.rows(entropy), iterations)


@exact_under_autocast
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
    softcap: float | None = None,
    sink: Tensor | None = None,
    window: Window = None,
    segment_ids: SegmentIds = None,
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
        scale: None for 1/sqrt(d), a number, a tensor broadcasting to (..., heads, n), or a rule ``(n, d) ->
            lambda`` given the number of keys each row sees, as an int where all rows see all keys and else as
            a tensor broadcasting to (..., heads, n).
        enable_gqa: let k (and v) have fewer heads than q, each serving a group of them.
        softcap: None, or c > 0: logits become c tanh(logits / c), before masks and biases, as in Gemma 2.
        sink: None, or (heads,): a logit of each row without key or value, in the denominator only, as in
            gpt-oss.
        window: None, or how many keys a row sees on either side of its own place: an int, or (left, right).
            May be combined with ``is_causal``.
        segment_ids: None, or integers (..., n): a row sees the keys with its own number only, as of packed
            documents; a pair of tensors gives those of the queries and those of the keys.
        impl: ``"fused"`` passes over tiles of the logits, and on CUDA uses PyTorch's attention kernels where
            they know the call (float32 and below); ``"blockwise"`` writes rows out in blocks of bounded size;
            ``"reference"`` forms the whole matrix in float64.

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
        impl,
        q,
        k,
        v,
        attn_mask=attn_mask,
        is_causal=is_causal,
        scale=scale,
        enable_gqa=enable_gqa,
        softcap=softcap,
        sink=sink,
        window=window,
        segment_ids=segment_ids,
    )
    gamma, iterations, groups = _temperature(tensors, geometry, target, per, impl)
    output = attend(*_at(tensors, geometry, groups.rows(gamma)), impl)
    return TargetedAttention(geometry.rows(output), geometry.rows(gamma), iterations)
