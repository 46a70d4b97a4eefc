"""Derivatives of normal forms, by the rules of calculus and no others.

A derivative is taken in a variable about which only open facts are known: strict bounds of the domain hold in
a neighbourhood of every point, closed ends do not. So every condition met is open as well (a logarithm's
argument is positive, a denominator is not zero), and where it holds at a point it holds around it: the rules
apply there.
"""

from __future__ import annotations

from fractions import Fraction

from proofbook.derive.kernel.algebra import (
    Atom,
    Mono,
    Poly,
    as_mono,
    as_poly,
    as_tuple,
    constant,
    contains,
    monomial,
    poly,
    walk,
)
from proofbook.derive.kernel.context import Context
from proofbook.derive.kernel.errors import NotProved
from proofbook.derive.kernel.forms import bessel, close_sum, delta, exponential, function, open_sum, power
from proofbook.derive.kernel.special import digamma


def differentiate(ctx: Context, p: Poly, by: Atom, typed: bool = False) -> Poly:
    """The derivative of ``p`` by a variable or by an entry of a vector, all others fixed.

    ``typed`` says that it is the derivative of ``p`` that was typed, and not one that is needed on the way.
    """
    total = constant(0)
    for mono, c in p.terms.items():
        for k, (atom, e) in enumerate(mono.powers):
            inner = _derivative_of(ctx, atom, by)
            if inner:
                # the product rule, and (u^e)' = e u^(e-1) u'
                rest = Mono([*mono.powers[:k], *mono.powers[k + 1 :]])
                if e.denominator > 1 and atom.kind != "exp":
                    alone = typed and _stands_alone(ctx, p, rest, by) and e < 1 and 0 not in ctx.sign(inner)
                    because = "a root is differentiable where its argument is positive"
                    ctx.need(_base(atom), ">", because, typed=alone)
                    lowered = power(ctx, _base(atom), e - 1, typed=alone)
                else:
                    lowered = power(ctx, _base(atom), e - 1) if e != 1 else constant(1)
                total = total + monomial(rest, c * e) * lowered * inner
    return total


def _stands_alone(ctx: Context, p: Poly, rest: Mono, by: Atom) -> bool:
    """Whether all of ``p`` that moves is u^e, times ``rest``, which is not zero and does not move.

    Then where u = 0, with u' != 0 and e < 1, the derivative of ``p`` has no value: the quotient of
    differences grows beyond all bounds. Otherwise it may have one, as those of sqrt(x^4 + y^4) and of
    cosh(sqrt(x)) have at 0: such a point is not left out, and u > 0 must be shown there.
    """
    if 0 in ctx.sign_of_mono(rest) or any(_may_depend(a, by) for a, _ in rest):
        return False
    return sum(any(_may_depend(a, by) for a, _ in mono) for mono in p.terms) == 1


def _base(atom: Atom) -> Poly:
    return as_poly(atom.args[0]) if atom.kind == "group" else poly(atom)


def _derivative_of(ctx: Context, atom: Atom, by: Atom) -> Poly:
    if atom == by:
        return constant(1)
    kind, args = atom.kind, atom.args
    if kind == "entry" and by.kind == "entry":
        if args[0] != by.args[0]:
            return constant(0)
        # d s_i / d s_k is Kronecker's delta of the two indices
        return delta(ctx, as_poly(args[1]), as_poly(by.args[1]))
    if not _may_depend(atom, by):
        return constant(0)
    if kind == "exp":
        mono = as_mono(args[0])
        return differentiate(ctx, Poly({mono: Fraction(1)}), by) * poly(atom)
    if kind == "log":
        inner = as_poly(args[0])
        return differentiate(ctx, inner, by) * power(ctx, inner, Fraction(-1))
    if kind == "group":
        return differentiate(ctx, as_poly(args[0]), by)
    if kind == "sum":
        # a finite sum, the ends of which do not depend on the variable
        fresh, body = open_sum(ctx, atom)
        if any(contains(high, by) for _, high in fresh):
            raise NotProved("the end of a sum depends on the variable of a derivative")
        inner = differentiate(ctx, body, by)
        for index, high in reversed(fresh):
            inner = close_sum(ctx, index, high, inner)
        return inner
    if kind == "fn":
        name, arguments, orders = str(args[0]), as_tuple(args[1]), as_tuple(args[2])
        if name in _KNOWN:
            return _KNOWN[name](ctx, as_poly(arguments[0])) * differentiate(ctx, as_poly(arguments[0]), by)
        if name == "gamma" and not any(as_tuple(orders)):
            x = as_poly(arguments[0])
            return poly(atom) * digamma(ctx, x) * differentiate(ctx, x, by)
        if name == "besseli":
            # I_v' = I_(v+1) + v/x I_v (DLMF 10.29.2), in the argument only
            order, x = as_poly(arguments[0]), as_poly(arguments[1])
            if differentiate(ctx, order, by):
                raise NotProved("no rule differentiates a Bessel function by its order")
            same = order * power(ctx, x, Fraction(-1)) * poly(atom)
            return (bessel(ctx, order + constant(1), x) + same) * differentiate(ctx, x, by)
        if name.startswith("abstract "):
            # the chain rule for a function that is smooth by assumption
            total = constant(0)
            for k, argument in enumerate(arguments):
                counts = [_int(o) for o in orders]
                counts[k] += 1
                partial = function(name, tuple(as_poly(a) for a in arguments), tuple(counts))
                total = total + partial * differentiate(ctx, as_poly(argument), by)
            return total
    raise NotProved(f"no rule differentiates {kind}")


def _may_depend(atom: Atom, by: Atom) -> bool:
    """Whether the variable occurs in an atom; an entry occurs wherever an entry of its vector does."""
    if by.kind == "entry":
        return any(a.kind == "entry" and a.args[0] == by.args[0] for a in walk(atom))
    return contains(atom, by)


def _erf(ctx: Context, x: Poly) -> Poly:
    root = power(ctx, poly(Atom("const", "pi")), Fraction(-1, 2))
    return exponential(ctx, -(x * x)) * root.scaled(2)


def _sin(ctx: Context, x: Poly) -> Poly:
    return function("cos", (x,))


def _cos(ctx: Context, x: Poly) -> Poly:
    return -function("sin", (x,))


_KNOWN = {"erf": _erf, "sin": _sin, "cos": _cos}


def _int(part: object) -> int:
    assert isinstance(part, int)
    return part
