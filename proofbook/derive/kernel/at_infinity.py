"""What a form tends to as one of its variables grows beyond all bounds.

Of a product of powers of the variable x, of exponentials e^(c x^k) and of erf(c x^k), with k > 0 and c of a
known sign, all else being the same for all x:

* if its exponentials all decay, it tends to 0, whatever the power of x: e^(-c x^k) x^a does for every a, and
  erf stays between -1 and 1;
* without exponentials it tends to 0 if the power of x is negative, and to what is left if there is none,
  since erf(c x^k) tends to the sign of c.

A power of a sum of powers of x, whose highest one x^d has a coefficient of a known sign, is that power of
x^d times what tends to a number that is not 0: it counts as the power of x^d. A sum tends to the sum of what
its terms tend to. Nothing is said of other products.
"""

from __future__ import annotations

from fractions import Fraction

from proofbook.derive.kernel.algebra import Atom, Mono, Poly, as_mono, as_poly, as_tuple, constant, contains
from proofbook.derive.kernel.context import NEGATIVE, POSITIVE, Context


def limit_at_infinity(ctx: Context, p: Poly, x: Atom) -> Poly | None:
    """The limit of ``p`` as ``x`` grows, a form without it; None where no rule tells."""
    total = constant(0)
    for mono, c in p.terms.items():
        limit = _of_product(ctx, mono, x)
        if limit is None:
            return None
        total = total + limit.scaled(c)
    return total


def _of_product(ctx: Context, mono: Mono, x: Atom) -> Poly | None:
    power, left, moving = _apart(mono, x)
    turn, decays, sums = 1, False, False
    for atom, e in moving:
        if atom.kind == "exp":
            if _sign_of_growth(ctx, as_mono(atom.args[0]), e, x) != -1:
                return None
            decays = True
        elif atom.kind == "fn" and atom.args[0] == "erf" and e.denominator == 1 and e > 0:
            sign = _sign_of_erf(ctx, atom, x)
            if sign is None:
                return None
            turn *= sign ** int(e)
        elif atom.kind == "group":
            degree = _degree(ctx, as_poly(atom.args[0]), x)
            if degree is None:
                return None
            power, sums = power + degree * e, True
        else:
            return None
    if decays or power < 0:
        return constant(0)
    return None if power > 0 or sums else Poly({left: Fraction(turn)})


def _apart(mono: Mono, x: Atom) -> tuple[Fraction, Mono, Mono]:
    """The power of x in a product, what does not hold x, and what else does."""
    rest = [pair for pair in mono if pair[0] != x]
    fixed, moving = (Mono(p for p in rest if contains(p[0], x) is holds) for holds in (False, True))
    return dict(mono.powers).get(x, Fraction(0)), fixed, moving


def _degree(ctx: Context, p: Poly, x: Atom) -> Fraction | None:
    """The highest power of x in a sum of powers of x, if its coefficient has a known sign."""
    by_power: dict[Fraction, Poly] = {}
    for mono, c in p.terms.items():
        e, rest, moving = _apart(mono, x)
        if moving:
            return None
        by_power[e] = by_power.get(e, constant(0)) + Poly({rest: c})
    highest = max(by_power)
    return highest if ctx.sign(by_power[highest]) in (POSITIVE, NEGATIVE) else None


def _sign_of_erf(ctx: Context, atom: Atom, x: Atom) -> int | None:
    """The limit of erf of one product, 1 or -1."""
    if any(as_tuple(atom.args[2])):
        return None  # a derivative of it
    arguments = as_tuple(atom.args[1])
    terms = as_poly(arguments[0]).terms if len(arguments) == 1 else {}
    if len(terms) != 1:
        return None
    ((mono, c),) = terms.items()
    return _sign_of_growth(ctx, mono, c, x)


def _sign_of_growth(ctx: Context, mono: Mono, c: Fraction, x: Atom) -> int | None:
    """1 if c times a product tends to infinity, -1 if to minus infinity; None if it is not c' x^k, k > 0."""
    power, rest, moving = _apart(mono, x)
    sign = ctx.sign(Poly({rest: c}))
    if moving or power <= 0 or sign not in (POSITIVE, NEGATIVE):
        return None
    return 1 if sign == POSITIVE else -1
