"""Infinite sums of a power of the index times a power of a number between 0 and 1.

For 0 < q < 1 the partial sums of q^j are (q - q^(m+1)) / (1 - q), by telescoping, and m^k q^m tends to 0. So
the series of q^j over j >= 1 is q / (1 - q), and it converges absolutely. A power series may be
differentiated term by term inside its interval of convergence: q times the derivative gives the series of
j q^j, and again those of j^2 q^j and so on, all of them absolutely convergent. Absolutely convergent series
may be added term by term. No other series is read: at q >= 1, and for a summand that does not shrink, there
is no rule.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from proofbook.derive.kernel.algebra import (
    Atom,
    Mono,
    Poly,
    as_mono,
    constant,
    contains,
    monomial,
    poly,
    unexpanded,
)
from proofbook.derive.kernel.context import NEGATIVE, Context
from proofbook.derive.kernel.errors import NotProved
from proofbook.derive.kernel.forms import exponential, power, tidy

# numerators of sum j^k q^j = numerator(q) / (1 - q)^(k + 1), lowest power of q first
_NUMERATORS = {0: (0, 1), 1: (0, 1), 2: (0, 1, 1), 3: (0, 1, 4, 1)}


def endless_sum(ctx: Context, low: int, summand: Callable[[Poly], Poly]) -> Poly:
    """The sum over j = low, low + 1, ... of ``summand(j)``; each of its terms is c j^k q^j with 0 < q < 1.

    Written over j = 1, 2, ... with j - 1 + low for j.
    """
    index = ctx.fresh("idx")  # at least 1, and in no range 1 .. n
    body = tidy(ctx, summand(poly(index) + constant(low - 1)), lambda a: contains(a, index))
    total = constant(0)
    for mono, c in body.terms.items():
        free = Mono((a, e) for a, e in mono if not contains(a, index))
        bound = Mono((a, e) for a, e in mono if contains(a, index))
        total = total + monomial(free, c) * _series(ctx, index, bound)
    return total


def _series(ctx: Context, index: Atom, mono: Mono) -> Poly:
    degree, exponent = Fraction(0), constant(0)
    for atom, e in mono:
        if atom == index:
            degree = e
        elif atom.kind == "exp":
            exponent = exponent + monomial(as_mono(atom.args[0]), e)
        else:
            raise NotProved(f"no rule adds up {atom.kind} without end")
    # every term of the exponent holds the index, so this is its factor if it is linear
    log_ratio = unexpanded(exponent, Mono([(index, Fraction(-1))]))
    if contains(log_ratio, index) or degree not in _NUMERATORS:
        raise NotProved("no rule adds up this series")
    if ctx.sign(log_ratio) != NEGATIVE:
        raise NotProved(f"not shown: {log_ratio} < 0 (the series converges)")
    ratio = exponential(ctx, log_ratio)
    numerator = constant(0)
    for k, c in enumerate(_NUMERATORS[int(degree)]):
        numerator = numerator + ratio.raised(k).scaled(c)
    below = power(ctx, constant(1) - ratio, Fraction(-1 - int(degree)), typed=False)
    return numerator * below
