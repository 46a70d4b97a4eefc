"""Scalar lemmas and lemmas about sums and maxima, as instances over the atoms of one inequality.

Each is a true statement about real numbers wherever its hypotheses hold, and these are checked here before
the instance is handed out. An instance is a polynomial and its relation to zero, kept as weak as it was
proved: ``>=`` never becomes ``>``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction

from proofbook.derive.kernel.algebra import (
    Atom,
    Mono,
    Poly,
    as_poly,
    as_tuple,
    constant,
    contains,
    factors,
    log_of_positive,
    log_of_term,
    monomial,
    poly,
)
from proofbook.derive.kernel.context import NONNEGATIVE, NONZERO, POSITIVE, Context
from proofbook.derive.kernel.errors import NotProved
from proofbook.derive.kernel.forms import close_sum, is_zero, logarithm, open_extremum, open_sum, substitute
from proofbook.derive.kernel.waves import wave_bounds

Instance = tuple[Poly, str, str]  # value, its relation to zero, the lemma


def instances(ctx: Context, goal: Poly) -> Iterator[Instance]:
    """Lemmas that speak of the atoms of ``goal``."""
    yield from _tangents(ctx, goal)
    yield from wave_bounds(ctx, goal)
    atoms = sorted(goal.atoms(), key=lambda a: a.key)
    indices = [i for i in sorted(ctx.inside, key=lambda a: a.key) if contains(goal, i)]
    extrema = [a for a in atoms if a.kind == "extremum"]
    for log in atoms:
        if log.kind == "log" and (inner := as_poly(log.args[0]).atom) and inner.kind == "extremum":
            extrema.append(inner)
    for atom in extrema:
        yield from _extrema(ctx, goal, atom, indices)
    sums = sums_of(goal)
    for atom in sums:
        yield from _one_term(ctx, atom, indices)
    yield from _squares(ctx, sums)
    index, known = _power_sums(ctx, sums)
    yield from _power_means(ctx, index, known)
    yield from _popoviciu(ctx, sums, extrema)
    yield from _hoelder(ctx, index, known)


def sums_of(goal: Poly) -> list[Atom]:
    """The sums over one index in a form or in a logarithm in it."""
    found = [a for a in goal.atoms() if a.kind == "sum"]
    for log in goal.atoms():
        if log.kind == "log" and (inner := as_poly(log.args[0]).atom) and inner.kind == "sum":
            found.append(inner)
    return sorted({a for a in found if len(as_tuple(a.args[0])) == 1}, key=lambda a: a.key)


def _tangents(ctx: Context, goal: Poly) -> Iterator[Instance]:
    """log u <= u - 1 for positive terms of the goal and for the products its logarithms add up to."""
    products: dict[str, Mono] = {}
    for mono in goal.terms:
        if mono.powers and ctx.all_positive(mono) and any(a.kind == "exp" for a, _ in mono):
            products[mono.key] = mono
    exps = sorted(products.values(), key=lambda m: m.key)
    for one, other in itertools.permutations(exps[:4], 2):
        ratio = one.times(other.power(Fraction(-1)))
        products.setdefault(ratio.key, ratio)
    logs = {a for a in goal.atoms() if a.kind == "log"}
    linear: dict[Mono, list[tuple[Atom, Fraction]]] = {}
    for mono, c in goal.terms.items():
        inside = [a for a, e in mono if a in logs]
        if len(inside) == 1 and dict(mono.powers)[inside[0]] == 1:
            rest = Mono(p for p in mono if p[0] != inside[0])
            linear.setdefault(rest, []).append((inside[0], c))
    for rest, found in linear.items():
        scale = abs(found[0][1])
        product = Mono()
        for log, c in found:
            inner = as_poly(log.args[0])
            base = inner.atom or (None if inner.number is not None else Atom("group", inner))
            if base is None:
                number = int(inner.number or 1)
                base = Atom("prime", number)
            product = product.times(Mono([(base, c / scale)]))
        products.setdefault(product.key, product)
        # scaled so that u stands over the cofactor as another term of the goal does
        for mono in goal.terms:
            if ctx.all_positive(mono) and ctx.all_positive(rest) and mono != rest:
                ratio = mono.times(rest.power(Fraction(-1)))
                if ratio.powers and any(a in dict(ratio.powers) for a, _ in product):
                    products.setdefault(ratio.key, ratio)
    for product in list(products.values())[:16]:
        try:
            u, log_u = monomial(product), log_of_term(product)
            # the tangent at 1 is met there only
            relation = ">" if ctx.sign(u - constant(1)) <= NONZERO else ">="
            yield u - constant(1) - log_u, relation, "log u <= u - 1"
            inverse = monomial(product.power(Fraction(-1)))
            yield inverse - constant(1) + log_u, relation, "log u >= 1 - 1/u"
        except NotProved:
            continue


def _extrema(ctx: Context, goal: Poly, atom: Atom, indices: list[Atom]) -> Iterator[Instance]:
    """Each of the values compared is at most the largest; so are their logarithms, if they are positive."""
    index, high, body = open_extremum(ctx, atom)
    for other in indices:
        if ctx.inside[other] == high:
            value = substitute(ctx, body, {index: poly(other)})
            yield poly(atom) - value, ">=", "each term is at most the maximum"
            beside = Poly(
                {
                    Mono(x for x in m if x[0] != atom): c
                    for m, c in goal.terms.items()
                    if (atom, Fraction(1)) in m.powers
                }
            )
            if len(beside.terms) == 1 and ctx.sign(beside) <= NONNEGATIVE:
                yield beside * (poly(atom) - value), ">=", "each term is at most the maximum"
            if ctx.sign(body) == POSITIVE:
                larger, smaller = logarithm(ctx, poly(atom), False), logarithm(ctx, value, False)
                yield larger - smaller, ">=", "the logarithm is increasing"


def _one_term(ctx: Context, atom: Atom, indices: list[Atom]) -> Iterator[Instance]:
    """One term is at most a sum of terms that are not negative."""
    ((index, high),), body = open_sum(ctx, atom)
    if ctx.sign(body) <= NONNEGATIVE:
        for other in indices:
            if ctx.inside[other] == high:
                value = substitute(ctx, body, {index: poly(other)})
                yield poly(atom) - value, ">=", "one term is at most the sum"


def _squares(ctx: Context, sums: list[Atom]) -> Iterator[Instance]:
    """sum f^2 <= (sum f)^2 for f >= 0, and (sum f)^2 <= n sum f^2 (Cauchy and Schwarz)."""
    for one in sums:
        ((index, high),), body = open_sum(ctx, one)
        squared = close_sum(ctx, index, high, body * body)
        if squared.atom in sums or squared.number is not None:
            total = poly(one)
            yield high * squared - total * total, ">=", "Cauchy-Schwarz"
            if ctx.sign(body) <= NONNEGATIVE:
                yield total * total - squared, ">=", "a sum of squares is at most the square of the sum"


_PowerSum = tuple[Poly, Poly, Poly]  # log of a sum, log of its summand, the end of its range


def _power_sums(ctx: Context, sums: list[Atom]) -> tuple[Atom | None, list[_PowerSum]]:
    """The sums of positive terms, and those of probability vectors, with their summands over one index."""
    known: list[_PowerSum] = []
    index = None
    for atom in sums:
        ((own, high),), body = open_sum(ctx, atom)
        ((mono, _),) = body.terms.items()
        if not ctx.all_positive(mono):
            continue
        index = index or own
        known.append(
            (log_of_positive(poly(atom)), substitute(ctx, log_of_term(mono), {own: poly(index)}), high)
        )
    if index is None or ctx.size is None:
        return None, []
    for base in sorted(ctx.simplex - {str(m) for m in ctx.moving}):
        entry = Atom("entry", base, poly(index))
        known.append((constant(0), log_of_positive(poly(entry)), poly(ctx.size)))
    return index, list({(a.key, b.key): (a, b, h) for a, b, h in known}.values())


def _power_means(ctx: Context, index: Atom | None, known: list[_PowerSum]) -> Iterator[Instance]:
    """For positive f and r >= 1: log sum f^r <= r log sum f, and log(sum f^r / n) >= r log(sum f / n).

    The first: with y = f / sum f <= 1, y^r <= y. The second is Jensen's inequality for the r-th power. For r
    <= 1 both turn round.
    """
    for k, (log_sum, log_body, high) in enumerate(known):
        for j, (other_sum, other_body, other_high) in enumerate(known):
            if j == k or high != other_high:
                continue
            ratio = ratio_of(other_body, log_body) or fraction_of(ctx, other_body, log_body)
            if ratio is None or index is None or contains(ratio, index):
                continue
            above = ctx.sign(ratio - constant(1))
            turn = 1 if above <= NONNEGATIVE else -1
            if turn < 0 and not (
                ctx.sign(constant(1) - ratio) <= NONNEGATIVE and ctx.sign(ratio) <= NONNEGATIVE
            ):
                continue
            log_n = logarithm(ctx, high, False)
            yield (ratio * log_sum - other_sum).scaled(turn), ">=", "norms fall with their order"
            means = other_sum - log_n - ratio * (log_sum - log_n)
            yield means.scaled(turn), ">=", "power means rise with their order"


def _hoelder(ctx: Context, index: Atom | None, known: list[_PowerSum]) -> Iterator[Instance]:
    """For positive f, g and t in [0, 1]: log sum f^t g^(1 - t) <= t log sum f + (1 - t) log sum g.

    With F = sum f and G = sum g, the means of two numbers give (f/F)^t (g/G)^(1 - t) <= t f/F + (1 - t) g/G;
    the right sides add up to 1. So the logarithm of a sum of powers is convex in their order, with any
    weights: Lyapunov's inequality. The three summands are compared by their logarithms, as polynomials.
    """
    for (one_sum, one, end), (other_sum, other, other_end) in itertools.combinations(known, 2):
        span = one - other
        if end != other_end or is_zero(ctx, span):
            continue
        for between_sum, between, between_end in known:
            if between_end != end or between.key in (one.key, other.key):
                continue
            parts = [_share(ctx, part, span) for part in (between - other, one - between)]
            if index is None or any(part is None or contains(part, index) for part in parts):
                continue
            t, rest = (part for part in parts if part is not None)
            if (
                ctx.sign(t) <= NONNEGATIVE
                and ctx.sign(rest) <= NONNEGATIVE
                and is_zero(ctx, t + rest - constant(1))
            ):
                yield t * one_sum + rest * other_sum - between_sum, ">=", "Hölder"


def _share(ctx: Context, part: Poly, whole: Poly) -> Poly | None:
    if not part.terms:
        return None
    return ratio_of(part, whole) or fraction_of(ctx, part, whole)


def ratio_of(a: Poly, b: Poly) -> Poly | None:
    """a / b, if it is a monomial: the terms of ``a`` are those of ``b`` times one factor."""
    first, c = min(a.terms.items(), key=_by_name)
    for mono, e in b.terms.items():
        factor = first.times(mono.power(Fraction(-1)))
        candidate = Poly({factor: c / e})
        if candidate * b == a:
            return candidate
    return None


def fraction_of(ctx: Context, a: Poly, b: Poly) -> Poly | None:
    """r with r b = a, if it is a quotient of factors of both and the ones below the line are never zero.

    For orders such as p/(p - 1). That r b is a, as a polynomial, is checked.
    """
    if max(len(a.terms), len(b.terms)) > 8:
        return None
    (c, mono, above), (d, other, below) = factors(a), factors(b)
    ratio = monomial(mono.times(other.power(Fraction(-1))), c / d)
    for factor, e in above:
        if (factor, e) not in below:
            ratio = ratio * factor.raised(e)
    for factor, e in below:
        if (factor, e) not in above:
            if not ctx.sign(factor) <= NONZERO:
                return None
            ratio = ratio * poly(Atom("group", factor), -e)
    if any(e < 0 and not ctx.sign_of_atom(a) <= NONZERO for m in ratio.terms for a, e in m):
        return None
    return ratio if is_zero(ctx, ratio * b - a) else None


def _by_name(term: tuple[Mono, Fraction]) -> str:
    return term[0].key


def _popoviciu(ctx: Context, sums: list[Atom], extrema: list[Atom]) -> Iterator[Instance]:
    """W sum w f^2 - (sum w f)^2 <= W^2 (M - m)^2 / 4 for w >= 0 with sum W, and m <= f <= M.

    With c = (M + m)/2: (f - c)^2 <= (M - m)^2/4, and W sum w (f - c)^2 = W sum w f^2 - (sum w f)^2 + (sum w f
    - c W)^2.
    """
    for above in extrema:
        index, high, f = open_extremum(ctx, above)
        below = [
            e for e in extrema if e.args[0] == above.args[0] and as_poly(e.args[1]) == -as_poly(above.args[1])
        ]
        for weight in sums:
            ((own, own_high),), w = open_sum(ctx, weight)
            if not below or own_high != high or not ctx.sign(w) <= NONNEGATIVE:
                continue
            value = substitute(ctx, f, {index: poly(own)})
            first, second = (close_sum(ctx, own, high, w * value.raised(k)) for k in (1, 2))
            width, total = poly(above) + poly(below[0]), poly(weight)
            bound = (total * total * width * width).scaled(Fraction(1, 4))
            yield bound - total * second + first * first, ">=", "Popoviciu"
