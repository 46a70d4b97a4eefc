"""The normal form: how logarithms, powers, sums and maxima become polynomials in atoms.

Every function here returns a ``Poly`` that is equal to what it was asked for at every point of the domain at
which the conditions it leaves with the context hold. Which of several equal forms is returned matters for
finding proofs, not for their soundness.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from fractions import Fraction

from proofbook.derive.kernel import algebra
from proofbook.derive.kernel.algebra import (
    ONE,
    Atom,
    Mono,
    Part,
    Poly,
    Ring,
    as_mono,
    as_poly,
    as_tuple,
    constant,
    contains,
    log_of_number,
    log_of_positive,
    monomial,
    poly,
    primes,
    primitive,
    rename,
    rename_mono,
    to_whole,
    unexpanded,
    walk,
)
from proofbook.derive.kernel.context import NEGATIVE, NONNEGATIVE, NONPOSITIVE, NONZERO, POSITIVE, Context
from proofbook.derive.kernel.errors import NotProved
from proofbook.derive.kernel.steps import step

MOST_POWER = 12  # a whole power of a polynomial with several terms is multiplied out up to here
MOST_FACTORED = 400  # terms of a polynomial that is factored
MOST_ORDER = 12  # of a Bessel function: bringing it down takes Fibonacci's numbers of steps
MOST_DEGREE = 10_000  # of a polynomial that is divided: x^(10^8) by x - 1 would never end


# --- fractions


def common(ctx: Context, p: Poly) -> tuple[Poly, dict[Atom, int]]:
    """Write ``p`` as numerator over groups, in lowest terms as far as whole groups cancel.

    A group is a polynomial P that is known not to be zero, written as an atom so that it can stand below a
    fraction line. Its exponent e is split into a whole part, which is multiplied out or goes below the line,
    and a part in [0, 1) that stays: P^e = P^floor(e) P^(e - floor(e)).
    """
    floors: dict[Atom, int] = {}
    for mono in p.terms:
        for atom, e in mono:
            if atom.kind == "group":
                floors[atom] = min(floors.get(atom, 0), e.numerator // e.denominator)
    if not floors:
        return p, {}
    below = {a: -k for a, k in floors.items() if k < 0}
    total = constant(0)
    for mono, c in p.terms.items():
        kept, whole = [], dict(below)
        for atom, e in mono:
            if atom in floors:
                floor = e.numerator // e.denominator
                whole[atom] = whole.get(atom, 0) + floor
                kept.append((atom, e - floor))
            else:
                kept.append((atom, e))
        term = Poly({Mono(kept): c})
        for atom, k in whole.items():
            term = term * as_poly(atom.args[0]).raised(k)
        total = total + term
    for atom in sorted(below, key=lambda a: a.key):
        while below[atom] and total:
            quotient, rest = divide(total, as_poly(atom.args[0]))
            if rest:
                break
            total, below[atom] = quotient, below[atom] - 1
    return total, {a: k for a, k in below.items() if k and total}


def divide(p: Poly, by: Poly, first: Callable[[Atom], bool] = lambda atom: False) -> tuple[Poly, Poly]:
    """Quotient and remainder, with p = quotient * by + remainder exactly."""
    ring = Ring([p, by], first)
    low, low_by = ring.lowest(p), ring.lowest(by)
    shift, shift_by = low.power(Fraction(-1)), low_by.power(Fraction(-1))
    whole, divisor = ring.into(unexpanded(p, shift)), ring.into(unexpanded(by, shift_by))
    if whole.total_degree() > MOST_DEGREE:
        raise NotProved(f"beyond the budget: a polynomial of degree {whole.total_degree()} is divided")
    quotient, rest = divmod(whole, divisor)
    return unexpanded(ring.back(quotient), low.times(shift_by)), unexpanded(ring.back(rest), low)


def tidy(ctx: Context, p: Poly, first: Callable[[Atom], bool] = lambda atom: False) -> Poly:
    """The same quantity over a common denominator, in lowest terms; over one group, in partial fractions.

    N/P = q + r/P where N = qP + r: so x/(x + r) becomes 1 - r/(x + r), and a sum over it splits.
    """
    numerator, below = common(ctx, p)
    if not below:
        return numerator
    if len(below) > 1:
        return unexpanded(numerator, Mono((a, Fraction(-k)) for a, k in below.items()))
    ((group, k),) = below.items()
    total = constant(0)
    while k and numerator:
        quotient, rest = divide(numerator, as_poly(group.args[0]), first)
        total = total + unexpanded(rest, Mono([(group, Fraction(-k))]))
        numerator, k = quotient, k - 1
    return total + numerator


def is_zero(ctx: Context, p: Poly) -> bool:
    """Whether ``p`` vanishes as a polynomial in its atoms, groups multiplied out. False says nothing."""
    numerator = p
    for _ in range(6):
        if not numerator:
            return True
        again, below = common(ctx, numerator)
        if not below and again == numerator:
            return False
        numerator = again
    return not numerator


# --- products


def split(ctx: Context, p: Poly) -> tuple[Fraction, list[tuple[Poly, Fraction]]]:
    """Write ``p`` as a coefficient times powers of atoms and of irreducible polynomials.

    A factor whose sign is known is turned so that it is positive, and the coefficient takes the sign.
    """
    numerator, below = common(ctx, p)
    if len(numerator.terms) == 1:
        ((mono, c),) = numerator.terms.items()
        rest: list[tuple[Poly, int]] = []
    elif len(numerator.terms) <= MOST_FACTORED:
        c, mono, rest = algebra.factors(numerator)
    else:
        c, mono, rest = Fraction(1), ONE, [(numerator, 1)]
    found: list[tuple[Poly, Fraction]] = []
    for atom, e in mono:
        base = as_poly(atom.args[0]) if atom.kind == "group" else poly(atom)
        found.append((base, e))
    found += [(f, Fraction(e)) for f, e in rest]
    found += [(as_poly(a.args[0]), Fraction(-k)) for a, k in below.items()]
    oriented = []
    for base, e in found:
        if e.denominator == 1:
            content, turned = primitive(base)
            if ctx.sign(turned) <= NONPOSITIVE:
                content, turned = -content, -turned
            c, base = c * to_whole(content, int(e)), turned
        oriented.append((base, e))
    return c, oriented


def number_power(value: Fraction, exponent: Fraction) -> Poly:
    """A rational power of a positive rational number."""
    result = constant(1)
    for number, sign in ((value.numerator, 1), (value.denominator, -1)):
        for p, k in primes(number).items():
            result = result * poly(Atom("prime", p), exponent * k * sign)
    return result


def power(ctx: Context, p: Poly, exponent: Fraction, typed: bool = True) -> Poly:
    """``p`` to a constant rational power.

    A negative power needs p != 0, a broken one p >= 0. A broken power of a product is split only over factors
    that are proved not negative, since (ab)^e = a^e b^e needs it; an even power below a root gives a modulus.
    What is left must not be negative either. It is not, if what was taken out is positive; where a factor is
    0 the rest may be anything, and then it has no root: so such a factor is taken out only if the rest is
    shown not to be negative.
    """
    if exponent == 0:
        return constant(1)
    if exponent == 1:
        return p
    if exponent.denominator == 1 and exponent > 0:
        if len(p.terms) > 1 and exponent > MOST_POWER:
            raise NotProved(f"beyond the budget: power {exponent} of a polynomial")
        return p.raised(int(exponent))
    if not p:
        if exponent < 0:
            raise NotProved("a division by zero")
        return p
    if exponent.denominator == 1:
        ctx.need(p, "!=", "a denominator is not zero", typed)
    else:
        ctx.need(p, ">" if exponent < 0 else ">=", "what is below a root is not negative", typed)
    number = p.number
    if number is not None:
        if exponent.denominator == 1:
            return constant(to_whole(number, int(exponent)))
        return number_power(number, exponent)
    c, parts = split(ctx, p)
    if exponent.denominator == 1:
        result = constant(to_whole(c, int(exponent)))
        for base, e in parts:
            result = result * base_power(base, e * exponent)
        return result
    result, unknown = number_power(abs(c), exponent), constant(1 if c > 0 else -1)
    vanishing = []
    for base, e in parts:
        sign = ctx.sign(base)
        if sign == POSITIVE:
            result = result * base_power(base, e * exponent)
        elif sign <= NONNEGATIVE or e.denominator == 1 and e % 2 == 0:
            vanishing.append((base, e))
        else:
            unknown = unknown * base_power(base, e)
    apart = not vanishing or unknown.number is not None or ctx.sign(unknown) <= NONNEGATIVE
    for base, e in vanishing:
        if not apart:
            unknown = unknown * base_power(base, e)
        elif ctx.sign(base) <= NONNEGATIVE:
            result = result * base_power(base, e * exponent)
        else:
            result = result * power(ctx, absolute(ctx, base), e * exponent, typed=False)
    if unknown.number is None:
        result = result * poly(Atom("group", unknown), exponent)
    elif unknown.number < 0:
        raise NotProved("a root of a negative number")
    return result


def base_power(base: Poly, exponent: Fraction) -> Poly:
    """A power of an atom or of an irreducible polynomial, whose conditions are known to hold."""
    if base.number is not None:
        if exponent.denominator == 1:
            return constant(to_whole(base.number, int(exponent)))
        return number_power(base.number, exponent)
    atom = base.atom
    if atom is not None:
        return poly(atom, exponent)
    if exponent.denominator == 1 and len((-base).terms) == 1 and (-base).atom is not None:
        return poly((-base).atom or Atom("sym", "?"), exponent).scaled((-1) ** abs(int(exponent)))
    if exponent.denominator == 1 and exponent >= 0:
        return base.raised(int(exponent))
    return poly(Atom("group", base), exponent)


def logarithm(ctx: Context, p: Poly, typed: bool = True) -> Poly:
    """log p, which needs p > 0.

    The logarithm of a product is split only over factors that are proved positive. What is left of the
    product is then positive with the whole, and keeps one logarithm of its own.
    """
    ctx.need(p, ">", "the argument of a logarithm is positive", typed)
    if not p:
        raise NotProved("the logarithm of zero")
    c, parts = split(ctx, p)
    total, unknown = log_of_number(abs(c)), constant(1 if c > 0 else -1)
    for base, e in parts:
        if ctx.sign(base) == POSITIVE:
            total = total + log_of_positive(base).scaled(e)
        elif e.denominator == 1 and e % 2 == 0:
            # the factor is not zero, since the product is positive
            total = total + log_of_positive(absolute(ctx, base)).scaled(e)
        elif e.denominator > 1:
            # a root is defined, and not zero: what is below it is positive
            total = total + log_of_positive(base).scaled(e)
        else:
            unknown = unknown * base_power(base, e)
    number = unknown.number
    if number is None:
        return total + poly(Atom("log", unknown))
    if number < 0:
        raise NotProved("the logarithm of a negative number")
    return total


def exponential(ctx: Context, p: Poly) -> Poly:
    """e to p: the product of (e^m)^c over the terms c m of p; e^(c log a) is a^c, since a > 0."""
    result, powers = constant(1), []
    for mono, c in tidy(ctx, p).terms.items():
        if len(mono) == 1 and mono.powers[0][1] == 1 and mono.powers[0][0].kind == "log":
            result = result * base_power(as_poly(mono.powers[0][0].args[0]), c)
        else:
            powers.append((Atom("exp", mono), c))
    return result * Poly({Mono(powers): Fraction(1)})


def real_power(ctx: Context, base: Poly, exponent: Poly) -> Poly:
    """base^exponent = e^(exponent log base) for an exponent that is not a constant; the rule needs base > 0.

    The power itself has a value at 0 as well unless the exponent is negative: then, and only then, a base of
    0 is no point of the statement.
    """
    number = exponent.number
    if number is not None:
        return power(ctx, base, number)
    return exponential(ctx, exponent * logarithm(ctx, base, typed=ctx.sign(exponent) == NEGATIVE))


# --- moduli and maxima


def absolute(ctx: Context, p: Poly) -> Poly:
    """|p|, with factors of known sign taken out: |ab| = |a||b|."""
    if not p or ctx.sign(p) <= NONNEGATIVE:
        return p
    if ctx.sign(p) <= NONPOSITIVE:
        return -p
    c, parts = split(ctx, p)
    result = constant(abs(c))
    for base, e in parts:
        if ctx.sign(base) <= NONNEGATIVE or e.denominator > 1:
            result = result * base_power(base, e)
        else:
            result = result * poly(Atom("abs", base), e)
    return result


def maximum(ctx: Context, parts: Iterable[Poly]) -> Poly:
    """The largest of several quantities; those that are never above another are left out."""
    unique = sorted({p.key: p for p in parts}.values(), key=lambda p: p.key)
    kept = [
        p
        for k, p in enumerate(unique)
        if not any(
            ctx.sign(q - p) <= NONNEGATIVE and (j < k or not ctx.sign(p - q) <= NONNEGATIVE)
            for j, q in enumerate(unique)
            if j != k
        )
    ]
    # no comparison is ever in vain, but one may follow from two others unseen: then none is left out
    kept = kept or unique
    return kept[0] if len(kept) == 1 else poly(Atom("max", *kept))


def extremum(ctx: Context, index: Atom, high: Poly, body: Poly, largest: bool) -> Poly:
    """The largest or smallest ``body`` over 1 .. high, which is not empty.

    What does not depend on the index is taken out: max(f + c) = max f + c, and max(c f) = c max f for c >= 0,
    which becomes c min f for c <= 0. Increasing functions pass: max e^f = e^(max f), max f^c = (max f)^c for
    f, c > 0. min f = -max(-f).
    """
    need_range(ctx, high, nonempty=True)
    body = tidy(ctx, body, lambda a: contains(a, index))
    free, bound = constant(0), constant(0)
    for mono, c in body.terms.items():
        if contains(mono, index):
            bound = bound + Poly({mono: c})
        else:
            free = free + Poly({mono: c})
    if not bound:
        return free
    outer = common_factor(bound, index)
    sign = ctx.sign_of_mono(outer)
    known = sign <= NONNEGATIVE or sign <= NONPOSITIVE
    if outer.powers and known and (0 not in sign or all(e > 0 for _, e in outer)):
        # where the factor is 0, so are both sides
        inner = unexpanded(bound, outer.power(Fraction(-1)))
        up = largest if sign <= NONNEGATIVE else not largest
        return free + monomial(outer) * extremum(ctx, index, high, inner, up)
    if len(bound.terms) == 1:
        ((mono, c),) = bound.terms.items()
        if c != 1:
            up = largest if c > 0 else not largest
            return free + extremum(ctx, index, high, Poly({mono: Fraction(1)}), up).scaled(c)
        if all(a.kind == "exp" for a, _ in mono):
            exponent = constant(0)
            for a, e in mono:
                exponent = exponent + monomial(as_mono(a.args[0]), e)
            return free + exponential(ctx, extremum(ctx, index, high, exponent, largest))
        ((atom, e), *more) = mono.powers
        if not more and e != 1 and ctx.sign_of_atom(atom) == POSITIVE:
            up = largest if e > 0 else not largest
            return free + power(ctx, extremum(ctx, index, high, poly(atom), up), e, typed=False)
        if not more and e == 1 and atom.kind == "log":
            return free + logarithm(
                ctx, extremum(ctx, index, high, as_poly(atom.args[0]), largest), typed=False
            )
    level = 1 + height(bound)
    closed = rename(bound if largest else -bound, {index: Atom("bound", level, 0)})
    found = poly(Atom("extremum", high, closed, level))
    return free + found if largest else free - found


def common_factor(p: Poly, index: Atom) -> Mono:
    """The product of powers free of ``index`` that all terms have in common."""
    shared: dict[Atom, Fraction] | None = None
    for mono in p.terms:
        here = {a: e for a, e in mono if not contains(a, index)}
        if shared is None:
            shared = here
        else:
            shared = {a: e for a, e in shared.items() if here.get(a) == e}
    return Mono((shared or {}).items())


# --- sums


def need_range(ctx: Context, high: Poly, nonempty: bool = False) -> None:
    """The upper end of a sum is a natural number: else neither its count nor its terms are what they seem."""
    for mono, c in high.terms.items():
        if c.denominator != 1 or any(a not in ctx.whole or e.denominator != 1 or e < 0 for a, e in mono):
            raise NotProved(f"the upper end {high} of a range is not known to be a whole number")
    low = 1 if nonempty else 0
    if not ctx.sign(high - constant(low)) <= NONNEGATIVE:
        raise NotProved(f"the range up to {high} is not known to have {low} or more elements")


def close_sum(ctx: Context, index: Atom, high: Poly, body: Poly) -> Poly:
    """The sum of ``body`` over index = 1 .. high.

    Linear: term by term, and what does not hold the index goes outside. A term that holds nothing else counts
    the range; Kronecker's delta picks one term; the entries of a probability vector sum to one.
    """
    need_range(ctx, high)
    total = constant(0)
    for mono, c in tidy(ctx, body, lambda a: contains(a, index)).terms.items():
        free = Mono((a, e) for a, e in mono if not contains(a, index))
        bound = Mono((a, e) for a, e in mono if contains(a, index))
        total = total + monomial(free, c) * _sum_of_mono(ctx, [index], [high], bound)
    return total


def _sum_of_mono(ctx: Context, indices: list[Atom], highs: list[Poly], mono: Mono) -> Poly:
    """A sum over several indices of one monomial, each factor of which holds an index."""
    (index, high) = (indices[-1], highs[-1])
    if len(indices) == 1:
        if not mono.powers:
            return high
        for atom, _ in mono:
            if atom.kind == "delta":
                return _pick(ctx, index, high, mono, atom)
        simple = _known_sum(ctx, index, high, mono)
        if simple is not None:
            return simple
    for atom, e in mono:
        # a sum inside a sum runs over the pairs; what does not come apart is one atom with several indices
        if atom.kind == "sum" and e == 1 and len(indices) + len(as_tuple(atom.args[0])) <= 3:
            more, inner = open_sum(ctx, atom)
            if len(inner.terms) == 1:
                ((inside, c),) = inner.terms.items()
                rest = Mono(p for p in mono if p[0] != atom)
                joined = [*indices, *(i for i, _ in more)]
                all_highs = [*highs, *(h for _, h in more)]
                return _sum_of_mono(ctx, joined, all_highs, rest.times(inside)).scaled(c)
    if len(indices) > 1:
        swapped = _inner_first(ctx, indices, highs, mono)
        if swapped is not None:
            return swapped
    candidates = []
    level = 1 + height(mono)
    for order in itertools.permutations(range(len(indices))):
        names = {indices[k]: Atom("bound", level, place) for place, k in enumerate(order)}
        candidates.append(Atom("sum", tuple(highs[k] for k in order), rename_mono(mono, names), level))
    return poly(min(candidates, key=lambda a: a.key))


def _inner_first(ctx: Context, indices: list[Atom], highs: list[Poly], mono: Mono) -> Poly | None:
    """A sum over several indices, if the part that holds one of them can be added up over that one.

    Finite sums commute, since no end of a range depends on another index.
    """
    for k, (index, high) in enumerate(zip(indices, highs)):
        held = Mono(p for p in mono if contains(p[0], index))
        value = _known_sum(ctx, index, high, held)
        if value is None:
            continue
        total = Poly({Mono(p for p in mono if not contains(p[0], index)): Fraction(1)}) * value
        for other, end in zip([*indices[:k], *indices[k + 1 :]], [*highs[:k], *highs[k + 1 :]]):
            total = close_sum(ctx, other, end, total)
        return total
    return None


def _pick(ctx: Context, index: Atom, high: Poly, mono: Mono, delta: Atom) -> Poly:
    """sum_i delta_ik f(i) = f(k), if k lies in the range of i."""
    other = next((as_poly(a) for a in delta.args if not contains(a, index)), None)
    itself = [as_poly(a) for a in delta.args if as_poly(a).atom == index]
    if other is None or not itself:
        raise NotProved("Kronecker's delta of something else than two indices")
    if not in_range(ctx, other, high):
        raise NotProved(f"the index {other} is not known to lie in 1 .. {high}")
    rest = Mono(p for p in mono if p[0] != delta)
    return substitute(ctx, Poly({rest: Fraction(1)}), {index: other})


def in_range(ctx: Context, index: Poly, high: Poly) -> bool:
    """Whether an index is known to be one of 1 .. high, which is a whole number."""
    if index == high:
        return ctx.sign(high - constant(1)) <= NONNEGATIVE
    if index.number is not None:
        return index.number.denominator == 1 and index.number >= 1 and ctx.sign(high - index) <= NONNEGATIVE
    return index.atom is not None and ctx.inside.get(index.atom) == high


def _known_sum(ctx: Context, index: Atom, high: Poly, mono: Mono) -> Poly | None:
    """Sums with a value of their own: sum p = 1 on the simplex, i^k, r^i for r != 1, sign(k - i)."""
    size = None if ctx.size is None else poly(ctx.size)
    if len(mono) == 1:
        ((atom, e),) = mono.powers
        if atom.kind == "entry" and e == 1 and as_poly(atom.args[1]).atom == index:
            base = str(atom.args[0])
            if base in ctx.simplex and base not in ctx.moving and high == size:
                return constant(1)
        if atom == index and e in (1, 2, 3):
            n = high
            faulhaber = {
                1: (n * n + n).scaled(Fraction(1, 2)),
                2: (n.raised(3).scaled(2) + n.raised(2).scaled(3) + n).scaled(Fraction(1, 6)),
                3: (n * n + n).raised(2).scaled(Fraction(1, 4)),
            }
            return faulhaber[int(e)]
        if atom.kind == "sign" and e == 1:
            inner = as_poly(atom.args[0])
            for turn in (1, -1):
                other = inner.scaled(turn) + poly(index)
                if not contains(other, index) and in_range(ctx, other, high):
                    # k - 1 indices lie below k and high - k above
                    return (other.scaled(2) - high - constant(1)).scaled(turn)
    if all(a.kind == "exp" for a, _ in mono):
        exponent = constant(0)
        for a, e in mono:
            exponent = exponent + monomial(as_mono(a.args[0]), e)
        ratio_log = unexpanded(exponent, Mono([(index, Fraction(-1))]))
        if not contains(ratio_log, index):
            ratio = exponential(ctx, ratio_log)
            if ctx.sign(ratio - constant(1)) <= NONZERO:
                last = exponential(ctx, ratio_log * high)
                numerator = ratio * (constant(1) - last)
                return numerator * power(ctx, constant(1) - ratio, Fraction(-1), typed=False)
    return None


def open_sum(ctx: Context, atom: Atom) -> tuple[list[tuple[Atom, Poly]], Poly]:
    """The indices of a sum, freshly named, each with its upper end, and the summand."""
    highs, body = as_tuple(atom.args[0]), as_mono(atom.args[1])
    level = atom.args[2]
    fresh = [(ctx.index(as_poly(h)), as_poly(h)) for h in highs]
    names = {Atom("bound", level, k): index for k, (index, _) in enumerate(fresh)}
    return fresh, Poly({rename_mono(body, names): Fraction(1)})


def open_extremum(ctx: Context, atom: Atom) -> tuple[Atom, Poly, Poly]:
    """The index of a maximum, freshly named, its upper end, and what is compared."""
    high, body = as_poly(atom.args[0]), as_poly(atom.args[1])
    level = atom.args[2]
    index = ctx.index(high)
    return index, high, rename(body, {Atom("bound", level, 0): index})


def height(part: Part) -> int:
    """The highest level of a bound name inside; a new one takes the next, so that none can be captured."""
    return max((_level(a) for a in walk(part) if a.kind == "bound"), default=0)


def _level(atom: Atom) -> int:
    level = atom.args[0]
    assert isinstance(level, int)
    return level


# --- other functions, and substitution


def delta(ctx: Context, a: Poly, b: Poly) -> Poly:
    """Kronecker's delta of two whole numbers."""
    difference = (a - b).number
    if difference is not None:
        return constant(1 if difference == 0 else 0)
    if 0 not in ctx.sign(a - b):
        return constant(0)
    first, second = sorted((a, b), key=lambda p: p.key)
    return poly(Atom("delta", first, second))


def sign_of(ctx: Context, p: Poly) -> Poly:
    """sign(p), as a constant where it is known, and |p|/p where p is known not to be zero."""
    sign = ctx.sign(p)
    if sign == POSITIVE:
        return constant(1)
    if sign == NEGATIVE:
        return constant(-1)
    if sign == NONZERO:
        return absolute(ctx, p) * power(ctx, p, Fraction(-1), typed=False)
    return poly(Atom("sign", p))


def function(name: str, args: tuple[Poly, ...], orders: tuple[int, ...] | None = None) -> Poly:
    """A function of which is known that equal arguments give equal values, or a derivative of it."""
    return poly(Atom("fn", name, args, orders or (0,) * len(args)))


def odd(name: str, x: Poly) -> Poly:
    """An odd function: f(-x) = -f(x), so that the first coefficient can be made positive."""
    if not x:
        return x
    turn = 1 if min(x.terms.items(), key=lambda t: t[0].key)[1] > 0 else -1
    return function(name, (x.scaled(turn),)).scaled(turn)


def bessel(ctx: Context, order: Poly, x: Poly) -> Poly:
    """I_v(x) for x > 0 and v >= 0, orders of 2 and more brought down by I_v = I_(v-2) - 2(v-1)/x I_(v-1).

    That recurrence is DLMF 10.29.1. Orders stay where Bessel functions are positive.
    """
    plain = order.terms.get(ONE, Fraction(0))
    if plain > MOST_ORDER:
        raise NotProved(f"beyond the budget: a Bessel function of order {order}")
    if plain >= 1 and ctx.sign(order - constant(2)) <= NONNEGATIVE:
        lower = order - constant(1)
        inverse = power(ctx, x, Fraction(-1), typed=False)
        return bessel(ctx, order - constant(2), x) - (lower * inverse).scaled(2) * bessel(ctx, lower, x)
    return function("besseli", (order, x))


def substitute(ctx: Context, p: Poly, values: dict[Atom, Poly]) -> Poly:
    """``p`` with values for some atoms, everywhere inside, put into normal form again."""
    total = constant(0)
    for mono, c in p.terms.items():
        if not any(a in values for a in walk(mono)):
            total = total + Poly({mono: c})
            continue
        term = constant(c)
        for atom, e in mono:
            term = term * power(ctx, _substituted(ctx, atom, values), e, typed=False)
        total = total + term
    return total


def _substituted(ctx: Context, atom: Atom, values: dict[Atom, Poly]) -> Poly:
    if atom in values:
        return values[atom]
    if not any(a in values for a in walk(atom)):
        return poly(atom)
    kind, args = atom.kind, atom.args
    if kind == "exp":
        return exponential(ctx, substitute(ctx, Poly({as_mono(args[0]): Fraction(1)}), values))
    if kind == "sum":
        fresh, body = open_sum(ctx, atom)
        body = substitute(ctx, body, values)
        for index, high in reversed(fresh):
            body = close_sum(ctx, index, substitute(ctx, high, values), body)
        return body
    if kind == "extremum":
        index, high, body = open_extremum(ctx, atom)
        return extremum(ctx, index, substitute(ctx, high, values), substitute(ctx, body, values), True)
    if kind == "entry":
        return poly(Atom("entry", args[0], substitute(ctx, as_poly(args[1]), values)))
    if kind == "fn":
        inner = tuple(substitute(ctx, as_poly(a), values) for a in as_tuple(args[1]))
        return poly(Atom("fn", args[0], inner, args[2]))
    new = [substitute(ctx, as_poly(a), values) for a in args]
    if kind == "log":
        return logarithm(ctx, new[0], typed=False)
    if kind == "group":
        return new[0]
    if kind == "max":
        return maximum(ctx, new)
    if kind == "abs":
        return absolute(ctx, new[0])
    if kind == "sign":
        return sign_of(ctx, new[0])
    if kind == "delta":
        return delta(ctx, new[0], new[1])
    if kind == "step":
        return step(ctx, new[0])
    raise NotProved(f"no rule substitutes into {kind}")
