"""Relations between the logarithms in one form: log(sqrt 5 - 1) + log(sqrt 5 + 1) is 2 log 2.

If whole numbers c_k are such that e^(sum of c_k log u_k) is 1, by its own normal form, then the sum of
c_k log u_k is 0, since e^x = 1 for real x at x = 0 only; all u_k are positive where the form has a value.
Floating point proposes the numbers, and proves nothing.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from proofbook.derive.kernel.algebra import Atom, Poly, constant, contains, poly, walk
from proofbook.derive.kernel.context import Context
from proofbook.derive.kernel.forms import exponential, is_zero, substitute
from proofbook.derive.kernel.sampling import NoValue, Point

MOST_LOGS = 4
FACTORS = (0, 1, -1, 2, -2)


def without_related_logs(ctx: Context, p: Poly) -> Poly:
    """``p`` with logarithms of constants written by others, as far as relations between them are found."""
    for _ in range(MOST_LOGS):
        for log, others in _relations(ctx, p):
            p = substitute(ctx, p, {log: others})
            break
        else:
            break
    return p


def _relations(ctx: Context, p: Poly) -> Iterator[tuple[Atom, Poly]]:
    """A logarithm in ``p`` and what it is equal to."""
    logs = sorted({a for a in walk(p) if a.kind == "log" and _is_constant(a)}, key=lambda a: a.key)
    if not 2 <= len(logs) <= MOST_LOGS:
        return
    point = Point(ctx, random.Random(1), 0)
    try:
        values = [point.atom(log, {}) for log in logs]
    except (NoValue, OverflowError, ValueError, ZeroDivisionError):
        return
    for factors in itertools.product(FACTORS, repeat=len(logs)):
        if sum(map(bool, factors)) < 2 or abs(sum(c * v for c, v in zip(factors, values))) > 1e-9:
            continue
        total = constant(0)
        for c, log in zip(factors, logs):
            total = total + poly(log).scaled(c)
        if not is_zero(ctx, exponential(ctx, total) - constant(1)):
            continue
        for c, log in zip(factors, logs):
            others = poly(log) - total.scaled(c)
            if abs(c) == 1 and not contains(others, log):
                yield log, others


def _is_constant(atom: Atom) -> bool:
    return all(a.kind in ("log", "prime", "group", "exp", "const") for a in walk(atom))
