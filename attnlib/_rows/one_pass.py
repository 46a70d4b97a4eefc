"""What passes share that find output and every statistic of a row in one go over the keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from attnlib._rows.layout import Pattern, Tensors
from attnlib._rows.passes import run


class OnePass:
    """The results, in order: lse, entropy, largest logit, [varentropy, Renyi entropy of order 2], [output].

    ``numbers`` are 1 with the two moments and 0 without, the same of the output, and what else a pass is
    told. After these come, without gradient, the mean logit, with the moments the Renyi entropy before it is
    clamped, and last lse minus the largest logit, of which the difference of the two has lost digits.
    """

    def differentiable(self, numbers: Sequence[float]) -> int:
        return 3 + 2 * int(numbers[0]) + int(numbers[1])

    def shapes(self, tensors: Tensors, pattern: Pattern, numbers: Sequence[float]) -> list[Tensor]:
        q, moments = tensors.q, int(numbers[0])
        results = [q.new_empty(q.shape[:3]) for _ in range(3 + 2 * moments)]
        if numbers[1] == 1:
            results.append(q.new_empty((*q.shape[:3], tensors.values.shape[-1])))
        return [*results, *(q.new_empty(q.shape[:3]) for _ in range(2 + moments))]


class Found(NamedTuple):
    """Results for every row, None for what was not asked for; ``log_total`` has no gradient."""

    output: Tensor | None
    lse: Tensor
    entropy: Tensor
    largest: Tensor
    varentropy: Tensor | None
    renyi: Tensor | None
    log_total: Tensor


def in_one_pass(name: str, tensors: Tensors, pattern: Pattern, with_moments: bool, *more: float) -> Found:
    """What a pass of that name, an :class:`OnePass`, finds; ``more`` is what it is told besides."""
    with_output = tensors.v is not None
    lse, entropy, largest, *rest = run(
        name, tensors, pattern, (float(with_moments), float(with_output), *more)
    )
    varentropy = renyi = None
    if with_moments:
        varentropy, renyi, *rest = rest
    return Found(rest[0] if with_output else None, lse, entropy, largest, varentropy, renyi, rest[-1])


class Coefficients(NamedTuple):
    """a, b, c, e of dS = p (a + b x + c x^2 + e p); None where nothing asks for the term."""

    constant: Tensor | None
    linear: Tensor | None
    square: Tensor | None
    own: Tensor | None


def coefficients(
    grads: Sequence[Tensor | None], varentropy: Tensor | None, renyi: Tensor | None, unit: float = 1.0
) -> Coefficients:
    """From the gradients of lse, entropy, varentropy and Renyi entropy, and the values of the last two.

    x is in units of ``unit`` nats.
    """

    def total(*terms: tuple[float | Tensor, Tensor | None]) -> Tensor | None:
        wanted = [factor * grad for factor, grad in terms if grad is not None]
        return sum(wanted[1:], wanted[0]) if wanted else None

    of_lse, of_entropy, of_varentropy, of_renyi = grads
    constant, own = total((1, of_lse), (2, of_renyi)), None
    if of_varentropy is not None and varentropy is not None:
        constant = total((1, constant), (-varentropy, of_varentropy))
    if of_renyi is not None and renyi is not None:
        own = -2 * renyi.exp() * of_renyi
    linear = total((-unit, of_entropy), (2 * unit, of_varentropy))
    return Coefficients(constant, linear, total((unit**2, of_varentropy)), own)
