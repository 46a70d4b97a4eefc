"""Differences of two positive quantities, one of them a product: their logarithms are compared instead.

A normal form is multiplied out, so that x^m (1 - x) is two terms of different signs. Here the terms that
share an exponential, or a root, are taken together again.
"""

from __future__ import annotations

from collections.abc import Iterator

from proofbook.derive.kernel.algebra import Poly, as_mono
from proofbook.derive.kernel.context import NEGATIVE, POSITIVE, Context, Sign
from proofbook.derive.kernel.forms import logarithm


def log_gaps(ctx: Context, p: Poly) -> Iterator[Poly]:
    """Quantities log A - log B for A, B > 0 with p = A - B: where one is positive, or not negative, so is p.

    A or B holds all terms with one exponential (the powers with a variable exponent are such) or one root.
    That both are positive everywhere on the domain is shown here; the logarithm is increasing, so both
    directions and strictness are kept.
    """
    roots = {a for m in p.terms for a, e in m if e.denominator > 1 and a.kind == "group"}
    exponentials = {a for a in p.atoms() if a.kind == "exp" and as_mono(a.args[0]).powers}
    for atom in sorted(roots | exponentials, key=lambda a: a.key):
        part = Poly({m: c for m, c in p.terms.items() if atom in dict(m.powers)})
        rest = p - part
        if not rest or len(part.terms) == 1 and len(rest.terms) == 1:
            continue
        signs = _sign(ctx, part), _sign(ctx, rest)
        if signs == (POSITIVE, NEGATIVE):
            yield logarithm(ctx, part, False) - logarithm(ctx, -rest, False)
        elif signs == (NEGATIVE, POSITIVE):
            yield logarithm(ctx, rest, False) - logarithm(ctx, -part, False)


def _sign(ctx: Context, p: Poly) -> Sign:
    """The sign of one side, by z3 as well."""
    if len(p.terms) > 12:
        return ctx.sign(p)
    asking = ctx.variant()
    asking.oracle = True
    return asking.sign(p)
