"""Entropy normalisation: the power of a distribution, or the factor on its scores, that has a given entropy.

``p^gamma / sum(p^gamma)`` is ``softmax(gamma * log p)``, so both forms are one problem: given the gaps
``u <= 0`` of a row to its peak, find ``gamma > 0`` with ``H(gamma) = target``. H falls strictly from log k
at ``gamma -> 0`` to log m as ``gamma -> inf`` (k entries in the support, m of them tied at the peak), so
there is one root for every target in between, and none outside.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from attnlib._newton import Residual, falling_root
from attnlib._transforms import found
from attnlib._types import Real
from attnlib._validate import finite, floating_tensor, nonempty_dim, real_number
from attnlib.errors import InvalidArgument, UnreachableEntropy
from attnlib.partition import gaps, log_weights

__all__ = ["NormalizedEntropy", "normalize_entropy", "normalize_entropy_scores", "power_transform"]


class NormalizedEntropy(NamedTuple):
    """The distribution ``p`` of the entropy asked for (nats), and the power ``gamma`` that leads to it.

    ``iterations`` counts the evaluations of the entropy that each row took, int64.

    Shapes: ``p`` as the input; ``gamma`` and ``iterations`` that of the rows, without the reduced dimension.

    Source: 8829.

    >>> import torch
    >>> result = normalize_entropy(torch.tensor([0.5, 0.3, 0.2]), 0.5)
    >>> result._fields
    ('p', 'gamma', 'iterations')
    """

    p: Tensor
    """The distribution that has the target entropy."""
    gamma: Tensor
    """The power, always positive."""
    iterations: Tensor
    """Evaluations of the entropy each row took, int64."""


def normalize_entropy(p: Tensor, target: Real, *, dim: int = -1) -> NormalizedEntropy:
    """Raise ``p`` to the power ``gamma > 0`` that gives it the entropy ``target`` (nats), row by row.

    Differentiable in ``p`` and ``target``, through the solution and not through the iteration; the gradient
    in ``p`` satisfies ``sum p * grad = 0`` and is 0 where ``p`` is 0.

    The attainable entropies are those in ``(log m, log k]``, m the multiplicity of the largest entry and k
    the number of non-zero ones. The upper end is the limit ``gamma -> 0`` and no positive power attains it; a
    target within rounding of log k is met to rounding, by a small positive ``gamma``. A row that is uniform
    on its support has the one entropy log k at every power: it is returned unchanged, with ``gamma = 1``,
    zero iterations and zero gradient.

    Args:
        p: floating-point tensor of probability vectors along ``dim``; zeros stay zeros.
        target: entropy in nats, a number or a tensor that broadcasts with the shape of the rows (``p``
            without ``dim``).
        dim: the dimension of the vectors.

    Returns:
        ``NormalizedEntropy(p, gamma, iterations)``; ``p`` and ``gamma`` in the dtype of the input (bfloat16
        and float16 are solved in float32, and what float32 cannot resolve in float64).

    Raises:
        TypeError: ``p`` is not a floating-point tensor, ``target`` not a number or such a tensor.
        UnreachableEntropy: a target outside the attainable range, which the error carries, with the row.
        InvalidArgument: ``p`` is no probability vector, ``target`` not finite or of a shape that does not
            broadcast, an empty or missing ``dim``, a ``gamma`` that the dtype cannot hold.

    Shapes: ``p`` as the input, broadcast with ``target``; ``gamma`` and ``iterations`` without ``dim``.

    Source: 8829-C1, 8829-C9 (the article's own iteration finds wrong or no roots), U8.

    >>> import torch
    >>> p = torch.tensor([0.99, 0.01], dtype=torch.float64)
    >>> result = normalize_entropy(p, 0.5 * math.log(2))
    >>> round(result.gamma.item(), 5)
    0.45493
    """
    u, visible, dim = _rows_of_p(p, dim)
    return _normalize(u, visible, target, p.dtype, dim)


def normalize_entropy_scores(scores: Tensor, target: Real, *, dim: int = -1) -> NormalizedEntropy:
    """Find ``gamma > 0`` such that ``softmax(gamma * scores)`` has the entropy ``target`` (nats), row by row.

    Differentiable in ``scores`` and ``target``, through the solution and not through the iteration.

    The attainable entropies are those in ``(log m, log k]``, m the multiplicity of the largest entry and k
    the number of visible ones. The upper end is the limit ``gamma -> 0`` and no positive power attains it; a
    target within rounding of log k is met to rounding, by a small positive ``gamma``. A row that is uniform
    on its support has the one entropy log k at every power: it is returned unchanged, with ``gamma = 1``,
    zero iterations and zero gradient.
    A row masked throughout has entropy 0 and no other, and gives ``p = 0`` and ``gamma = 1`` for the target
    0.

    Args:
        scores: floating-point tensor; ``-inf`` masks an entry, which then gets probability 0.
        target: entropy in nats, a number or a tensor that broadcasts with the shape of the rows (``scores``
            without ``dim``).
        dim: the dimension of the vectors.

    Returns:
        ``NormalizedEntropy(p, gamma, iterations)``; ``p`` and ``gamma`` in the dtype of the input (bfloat16
        and float16 are solved in float32, and what float32 cannot resolve in float64).

    Raises:
        TypeError: ``scores`` is not a floating-point tensor, ``target`` not a number or such a tensor.
        UnreachableEntropy: a target outside the attainable range, which the error carries, with the row.
        InvalidArgument: NaN or ``+inf`` in ``scores``, ``target`` not finite or of a shape that does not
            broadcast, an empty or missing ``dim``, a ``gamma`` that the dtype cannot hold.

    Shapes: ``p`` as the scores, broadcast with ``target``; ``gamma`` and ``iterations`` without ``dim``.

    Source: U8, U9.

    >>> import torch
    >>> from attnlib.partition import softmax_entropy
    >>> s = torch.tensor([300.0, 100.0, 0.0, -math.inf], dtype=torch.float64)
    >>> gamma = normalize_entropy_scores(s, 1.0).gamma
    >>> round(softmax_entropy(s, gamma).item(), 12)
    1.0
    """
    floating_tensor("scores", scores)
    nonempty_dim("scores", scores, dim)
    dim = dim if dim < 0 else dim - scores.ndim
    row = gaps(scores, 1.0, dim)
    if found(row.u.detach() == -torch.finfo(row.u.dtype).max):
        if row.u.dtype == torch.float64:
            raise InvalidArgument("scores range over more than float64 holds: scale them down")
        row = gaps(scores.double(), 1.0, dim)
    visible = torch.ones_like(row.u, dtype=torch.bool) if row.visible is None else row.visible
    return _normalize(row.u, visible, target, scores.dtype, dim)


def power_transform(p: Tensor, gamma: Real, *, dim: int = -1) -> Tensor:
    """Power transform ``p^gamma / sum(p^gamma)`` of probability vectors along ``dim``.

    Args:
        p: floating-point tensor, non-negative, summing to 1 along ``dim``.
        gamma: finite, of either sign: a number or a tensor that broadcasts with the shape of the rows (``p``
            without ``dim``). 0 gives the uniform distribution on the support, a negative one reverses the
            order.
        dim: the dimension of the vectors.

    Returns:
        Tensor in the dtype of ``p``. Zeros stay zeros, for every ``gamma``.
        Differentiable in ``p`` and ``gamma``.

    Raises:
        TypeError: ``p`` is not a floating-point tensor, ``gamma`` not a number or such a tensor.
        InvalidArgument: ``p`` is no probability vector, ``gamma`` not finite or of a shape that does not
            broadcast, an empty or missing ``dim``.

    Shapes: that of ``p``, broadcast with ``gamma``.

    Source: 8829-C2, 8829-C3, U8.

    >>> import torch
    >>> power_transform(torch.tensor([0.5, 0.25, 0.25, 0.0], dtype=torch.float64), 2.0)
    tensor([0.6667, 0.1667, 0.1667, 0.0000], dtype=torch.float64)
    """
    scores = log_weights(p, dim)
    dim = dim if dim < 0 else dim - p.ndim
    rows = scores.movedim(dim, -1)
    power = _per_row("gamma", gamma, rows)
    row = gaps(rows, power.unsqueeze(-1), -1)
    weights = row.weights()
    return (weights / weights.sum(-1, keepdim=True)).movedim(-1, dim).to(p.dtype)


def _rows_of_p(p: Tensor, dim: int) -> tuple[Tensor, Tensor, int]:
    scores = log_weights(p, dim)
    dim = dim if dim < 0 else dim - p.ndim
    visible = ~torch.isneginf(scores)
    return torch.where(visible, scores, 0.0), visible, dim


def _per_row(name: str, value: Real, rows: Tensor) -> Tensor:
    """Check a per-row argument and return it in the dtype and on the device of ``rows``."""
    if isinstance(value, Tensor):
        floating_tensor(name, value)
        finite(name, value)
        value = value.to(rows.dtype)
    else:
        value = torch.tensor(real_number(name, value), dtype=rows.dtype, device=rows.device)
    try:
        shape = torch.broadcast_shapes(rows.shape[:-1], value.shape)
    except RuntimeError:
        raise InvalidArgument(
            f"{name} of shape {tuple(value.shape)} does not broadcast with rows of shape "
            f"{tuple(rows.shape[:-1])}"
        ) from None
    return value.expand(shape)


def _normalize(u: Tensor, visible: Tensor, target: Real, dtype: torch.dtype, dim: int) -> NormalizedEntropy:
    rows, visible = u.movedim(dim, -1), visible.movedim(dim, -1)
    goal = _per_row("target", target, rows)
    # A target stored in a narrow dtype is known to half an ulp of that dtype only.
    slack = torch.finfo(target.dtype if isinstance(target, Tensor) else rows.dtype).eps
    shape = (*goal.shape, rows.shape[-1])
    rows, visible = rows.expand(shape), visible.expand(shape)
    gamma, iterations = _power(rows, visible, goal, slack)
    weights = torch.where(visible, torch.exp(gamma.unsqueeze(-1) * rows), 0.0)
    total = weights.sum(-1, keepdim=True)
    p = weights / torch.where(total > 0, total, 1.0)
    result = gamma.to(dtype)
    lost = ~(result.detach().isfinite() & (result.detach() > 0))
    if found(lost & gamma.detach().isnan()):
        raise InvalidArgument(
            f"target={goal[lost].flatten()[0].item()} or the gaps of the row are too small for {gamma.dtype}"
        )
    if found(lost):
        raise InvalidArgument(
            f"target={goal[lost].flatten()[0].item()} needs gamma={gamma[lost].flatten()[0].item()}, "
            f"beyond the range of {dtype}"
        )
    return NormalizedEntropy(p.movedim(-1, dim).to(dtype), result, iterations)


_LIBRARY = torch.library.Library("attnlib", "FRAGMENT")
_LIBRARY.define("entropy_power(Tensor u, Tensor visible, Tensor target, float slack) -> (Tensor, Tensor)")


def _entropy_power(u: Tensor, visible: Tensor, target: Tensor, slack: float) -> tuple[Tensor, Tensor]:
    n = u.shape[-1]
    gamma, iterations = _solve(
        u.reshape(-1, n), visible.reshape(-1, n), target.reshape(-1), slack, target.shape
    )
    return gamma.reshape(target.shape), iterations.reshape(target.shape)


def _entropy_power_shapes(u: Tensor, visible: Tensor, target: Tensor, slack: float) -> tuple[Tensor, Tensor]:
    return target.new_empty(target.shape), target.new_empty(target.shape, dtype=torch.int64)


# To compilers and transforms the iteration is one operator: its number of steps depends on the values.
_LIBRARY.impl("entropy_power", _entropy_power, "CompositeExplicitAutograd")
torch.library.register_fake("attnlib::entropy_power", _entropy_power_shapes, lib=_LIBRARY)


def _power(u: Tensor, visible: Tensor, target: Tensor, slack: float) -> tuple[Tensor, Tensor]:
    if not torch.compiler.is_compiling():
        gamma, iterations = _Root.apply(u, visible, target, slack)
        return gamma, iterations
    # A compiler follows no function with derivatives of its own: here they are a term whose value is 0.
    of_rows, of_target = u.detach(), target.detach()
    gamma, iterations = torch.ops.attnlib.entropy_power(of_rows, visible, of_target, slack)
    slope, target_slope = _slopes(of_rows, visible, gamma, torch.ones_like(gamma))
    change = (slope * (u - of_rows)).sum(-1) + target_slope * (target - of_target)
    return gamma + change, iterations


class _Root(torch.autograd.Function):
    """gamma(u, target), differentiated implicitly: H(softmax(gamma u)) = target.

    With ``v = gamma u`` and ``p = softmax(v)``, ``dH/dgamma = -Var_p[v] / gamma`` and
    ``dH/du = -gamma p (v - E_p[v])``.
    """

    @staticmethod
    def forward(u: Tensor, visible: Tensor, target: Tensor, slack: float) -> tuple[Tensor, Tensor]:
        gamma, iterations = torch.ops.attnlib.entropy_power(u, visible, target, slack)
        return gamma, iterations

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        u, visible, _, _ = inputs
        gamma, iterations = output
        ctx.mark_non_differentiable(iterations)
        ctx.save_for_backward(u, visible, gamma)
        ctx.save_for_forward(u, visible, gamma)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        u, visible, gamma = ctx.saved_tensors
        of_u, of_target = _slopes(u, visible, gamma, grad)
        return of_u, None, of_target, None

    @staticmethod
    def jvp(
        ctx: Any, u: Tensor | None, visible: None, target: Tensor | None, slack: None
    ) -> tuple[Tensor, None]:
        rows, seen, gamma = ctx.saved_tensors
        of_u, of_target = _slopes(rows, seen, gamma, torch.ones_like(gamma))
        change = torch.zeros_like(of_target)
        if u is not None:
            change = change + (of_u * u).sum(-1)
        if target is not None:
            change = change + of_target * target
        return change, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        rows = [
            x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)
            for x, dim in zip(args[:3], in_dims)
        ]
        return _Root.apply(*rows, args[3]), (0, 0)


def _slopes(u: Tensor, visible: Tensor, gamma: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives of gamma in u and in the target, times ``grad``."""
    gamma = gamma.unsqueeze(-1)
    # Beyond -10^4 the weight is 0 in any dtype; 0 times infinity would be NaN.
    v = (gamma * u).clamp(min=-1e4)
    weights = torch.where(visible, torch.exp(v), 0.0)
    total = weights.sum(-1, keepdim=True)
    p = weights / torch.where(total > 0, total, 1.0)
    deviation = v - (p * v).sum(-1, keepdim=True)
    varentropy = (p * deviation.square()).sum(-1, keepdim=True)
    # A row without spread keeps its entropy at every gamma; its gamma = 1 is a convention, and constant.
    spread = varentropy > 0
    per_entropy = torch.where(spread, -gamma * grad.unsqueeze(-1) / torch.where(spread, varentropy, 1.0), 0.0)
    return gamma * p * deviation * per_entropy, per_entropy.squeeze(-1)


def _solve(
    u: Tensor, visible: Tensor, target: Tensor, slack: float, shape: torch.Size
) -> tuple[Tensor, Tensor]:
    """Roots of H(gamma) = target for rows ``u`` (rows, n), in log gamma, and the evaluations each took."""
    dtype, device = u.dtype, u.device
    eps = torch.finfo(dtype).eps
    t = -u
    tied = (t == 0) & visible
    m, k = tied.sum(-1, dtype=dtype).clamp(min=1), visible.sum(-1, dtype=dtype).clamp(min=1)
    low, high = m.log(), k.log()
    uniform = m == k
    near_high = (target - high).abs() <= 2 * max(slack, eps) * high
    reachable = torch.where(uniform, near_high, (target > low) & ((target <= high) | near_high))
    if not reachable.all():
        _raise_unreachable(target, low, high, uniform, reachable, shape)

    gamma = torch.ones_like(target)
    iterations = torch.zeros(target.shape, dtype=torch.int64, device=device)
    rows = torch.nonzero(~uniform).squeeze(-1)
    if rows.numel() == 0:
        return gamma, iterations

    given = (t, tied, visible, m, low, high, torch.minimum(target, high), k)
    chosen = tuple(x[rows] for x in given)
    hard = _unresolved(*chosen)
    for wanted, wide in ((~hard, dtype), (hard, torch.float64)):
        own = rows[wanted]
        if own.numel():
            of_dtype = (x[wanted] if x.dtype == torch.bool else x[wanted].to(wide) for x in chosen)
            power, steps = _root(*of_dtype)
            gamma[own], iterations[own] = power.to(dtype), steps
    return gamma, iterations


def _unresolved(
    t: Tensor, tied: Tensor, visible: Tensor, m: Tensor, low: Tensor, high: Tensor, goal: Tensor, k: Tensor
) -> Tensor:
    """Rows whose target or gaps come near the ends of the dtype, where its numbers lose digits."""
    info = torch.finfo(t.dtype)
    tiny = info.smallest_normal / info.eps
    smallest = torch.where(t > 0, t, math.inf).amin(-1)
    return (goal - low < tiny) | (smallest < tiny) | (t.amax(-1) > info.max * info.eps)


def _root(
    t: Tensor, tied: Tensor, visible: Tensor, m: Tensor, low: Tensor, high: Tensor, goal: Tensor, k: Tensor
) -> tuple[Tensor, Tensor]:
    """gamma of rows that have one, and the evaluations it took."""
    eps = torch.finfo(t.dtype).eps
    # H >= log k - gamma^2 range^2 / 8 bounds gamma from below; the resolution of log k stands in for a zero.
    deficit = torch.maximum(high - goal, eps * high)
    left = 0.5 * torch.log(8 * deficit) - t.amax(-1).log()
    # H - log m <= c (1 + a) e^-a for a = gamma * smallest gap >= 1, c = (k - m)/m, bounds it from above.
    smallest = torch.where(t > 0, t, math.inf).amin(-1)
    surplus = torch.log((k - m) / m / (goal - low)).clamp(min=0.0)
    right = torch.log(surplus + 2 * torch.sqrt(surplus + 1)) - smallest.log()
    right = torch.maximum(left, right)
    excess = _Excess(t, (visible & ~tied).to(t.dtype), m, low, high, goal)
    try:
        root = falling_root(excess.residual, left, right, 0.5 * (left + right))
    except ArithmeticError as error:
        raise InvalidArgument(f"target={goal[0].item()} cannot be met in {t.dtype}: {error}") from None
    # exp(x) exp(step), not exp(x + step): the sum would round off the last digits of gamma.
    gamma = root.x.exp() * root.correction.exp()
    return gamma, root.iterations


class _Excess:
    """H - log m of the rows that are not finished, as a function of log gamma.

    Newton runs on the logit of ``(H - log m) / (log k - log m)``, which is straight in log gamma near the
    upper end (``log k - H`` grows like gamma^2) and mild near the lower one, where H - log m decays
    exponentially.
    """

    def __init__(self, t: Tensor, below: Tensor, m: Tensor, low: Tensor, high: Tensor, goal: Tensor):
        self.index = torch.arange(len(t), device=t.device)
        self.rows = (t, below, m, low, high, goal)

    def residual(self, x: Tensor, done: Tensor) -> Residual:
        unfinished = ~done[self.index]
        if not unfinished.all():
            self.index = self.index[unfinished]
            t, below, m, low, high, goal = (value[unfinished] for value in self.rows)
            self.rows = (t, below, m, low, high, goal)
        t, below, m, low, high, goal = self.rows
        excess, varentropy = _excess(t, below, m, x[self.index])
        error = excess - (goal - low)
        step = _newton_step(excess, error, varentropy, goal - low, high - low)
        # An error of rounding size says nothing about where to go.
        step = step.masked_fill(error.abs() <= 2 * torch.finfo(x.dtype).eps * goal, 0)
        everywhere = torch.zeros_like(x)
        return Residual(
            everywhere.index_put((self.index,), error),
            everywhere.index_put((self.index,), step),
            everywhere,
        )


def _excess(t: Tensor, below: Tensor, m: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """H - log m, free of cancellation, and the varentropy, at gamma = e^x."""
    # Beyond 10^4 the weight is 0 in any dtype; 0 times infinity would be NaN.
    energy = (x.exp().unsqueeze(-1) * t).clamp_(max=1e4)
    weights = torch.exp(-energy).mul_(below)
    beside = weights.sum(-1) / m
    z = m * (1 + beside)
    weighted = weights.mul_(energy)
    mean = weighted.sum(-1) / z
    # Cancels little: the energy is 0 at the peak, whose probability is at least 1/k, so Var >= E[energy^2]/k.
    varentropy = weighted.mul_(energy).sum(-1) / z - mean.square()
    return torch.log1p(beside) + mean, varentropy


def _newton_step(excess: Tensor, error: Tensor, varentropy: Tensor, goal: Tensor, span: Tensor) -> Tensor:
    """Newton step in log gamma on the logit of excess / span; NaN or infinite where it is not defined."""
    short = span - excess
    logit = torch.log1p(error / goal) - torch.log1p(-error / (span - goal))
    return torch.where(short > 0, logit / (varentropy * (1 / excess + 1 / short)), error / varentropy)


def _raise_unreachable(
    target: Tensor, low: Tensor, high: Tensor, uniform: Tensor, reachable: Tensor, shape: torch.Size
) -> None:
    row = int(torch.nonzero(~reachable)[0])
    index = tuple(int(i) for i in torch.unravel_index(torch.tensor(row), shape)) if shape else ()
    lower, upper, value = low[row].item(), high[row].item(), target[row].item()
    where = f" in row {index}" if index else ""
    if uniform[row]:
        attainable = f"the row is uniform on its support and has entropy {upper}"
    else:
        attainable = f"a power gives entropies in ({lower}, {upper}]"
    message = f"target={value}{where} is out of reach: {attainable}"
    raise UnreachableEntropy(message, lower=lower, upper=upper)
