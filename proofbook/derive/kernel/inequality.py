"""Inequalities: a difference is shown not to be negative, by its sign, by lemmas and z3, or by a simpler one.

Every move replaces a goal ``p >= 0`` (or ``p > 0``) by one that implies it. Which moves are tried, and in
which order, is a search; it is bounded by depth and by the number of goals.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import sympy as sp

from proofbook.derive.domain import Domain
from proofbook.derive.kernel.algebra import (
    Atom,
    Mono,
    Poly,
    as_poly,
    as_tuple,
    constant,
    contains,
    monomial,
    poly,
    unexpanded,
    walk,
)
from proofbook.derive.kernel.calculus import differentiate
from proofbook.derive.kernel.citing import Cited
from proofbook.derive.kernel.context import (
    NEGATIVE,
    NONNEGATIVE,
    POSITIVE,
    WANTED,
    Context,
)
from proofbook.derive.kernel.equality import (
    Certificate,
    cited_in,
    discharge,
    over_settings,
    setting_data,
    take_facts,
)
from proofbook.derive.kernel.errors import NotProved
from proofbook.derive.kernel.forms import (
    close_sum,
    exponential,
    is_zero,
    logarithm,
    open_extremum,
    open_sum,
    power,
    substitute,
    tidy,
)
from proofbook.derive.kernel.given import left_out, left_out_in
from proofbook.derive.kernel.lemmas import instances, sums_of
from proofbook.derive.kernel.products import log_gaps
from proofbook.derive.kernel.sampling import Point, fails_somewhere, points
from proofbook.derive.kernel.satisfiability import Question, cleared, gather
from proofbook.derive.kernel.setting import Setting, context_of
from proofbook.derive.kernel.slopes import all_shown, by_slope
from proofbook.derive.kernel.univariate import from_infinity, in_one_variable

DEEPEST = 6
MOST_GOALS = 60


def prove_inequality(
    relation: str,
    left: sp.Expr,
    right: sp.Expr,
    domain: Domain,
    cites: Sequence[Cited] = (),
    without: Iterable[str] = (),
) -> Certificate:
    """A certificate that ``left relation right`` on ``domain``; raises ``NotProved`` with a reason.

    The lemmas named in ``without`` have no part in the proof.
    """
    named = left_out(without)
    if relation not in ("<=", "<", ">=", ">"):
        raise ValueError(f"relation must be one of <=, <, >=, >, got {relation!r}")
    lower, upper = (left, right) if relation in ("<=", "<") else (right, left)
    strict = relation in ("<", ">")
    return over_settings(
        lambda setting: _inequality_in(relation, lower, upper, strict, domain, setting, cites, named)
    )


def _inequality_in(
    relation: str,
    lower: sp.Expr,
    upper: sp.Expr,
    strict: bool,
    domain: Domain,
    setting: Setting,
    cites: Sequence[Cited],
    without: frozenset[str],
) -> Certificate:
    ctx, reader = context_of(domain, setting, lower, upper, without=without)
    missing = take_facts(ctx, reader, domain, cites)
    below, above = reader.read(lower), reader.read(upper)
    difference = above - below
    if isinstance(lower, sp.Sum) and isinstance(upper, sp.Sum) and lower.limits == upper.limits:
        # term by term, as they are typed: the two sums apart may hide the sign of what they add up
        terms = sp.Add(upper.function, sp.Mul(-1, lower.function, evaluate=False), evaluate=False)
        joined = reader.read(sp.Sum(terms, *upper.limits))
        if ctx.sign(joined) <= (POSITIVE if strict else NONNEGATIVE):
            difference = joined
    conditions = discharge(ctx, setting.excluded)
    if missing is not None:
        raise missing
    search = Search()
    ctx.oracle = False  # from here on z3 is asked about whole goals only
    if not _shown_by_cases(search, ctx, difference, strict):
        raise NotProved("no chain of moves leads to a lemma")
    return {
        "kind": "inequality",
        "rule": search.trail[-1][0] if search.trail else "sign",
        "relation": relation,
        "setting": setting_data(setting, domain),
        "lower": below.key,
        "upper": above.key,
        "conditions": conditions,
        "moves": [list(step) for step in reversed(search.trail)],
        **cited_in(cites),
        **left_out_in(without),
    }


def _shown_by_cases(search: Search, ctx: Context, p: Poly, strict: bool) -> bool:
    """The goal itself, or the goal for both signs of a denominator, which is known not to be zero."""
    groups = {a for m in tidy(ctx, p).terms for a, e in m if e < 0 and len(ctx.sign_of_atom(a)) > 1}
    if len(groups) != 1:
        return search.shown(ctx, p, strict, 0)
    (group,) = groups
    base = as_poly(group.args[0]) if group.kind == "group" else poly(group)
    for relation in (">", "<"):
        branch = ctx.variant(hypotheses=(*ctx.hypotheses, (base, relation)))
        branch.oracle = True  # the sign of the denominator follows from the case
        if branch.sign(base) != WANTED[relation]:
            return False
        branch.oracle = False
        if not search.shown(branch, p, strict, 0):
            return False
        search.trail.append(("case", f"{base} {relation} 0"))
    return True


@dataclass
class Search:
    """Goals tried so far, and the moves that led to the proof, last one first."""

    tried: set[tuple[str, bool]] = field(default_factory=set)
    goals: int = 0
    trail: list[tuple[str, str]] = field(default_factory=list)
    sloping: bool = False  # whether the goal is a slope, or a start, of one that is shown by its slope
    whole: Poly | None = None  # the goal of the move that is made, before it was stripped
    samples: dict[int, tuple[Context, list[Point]]] = field(default_factory=dict)

    def shown(self, ctx: Context, p: Poly, strict: bool, depth: int, simple: bool = False) -> bool:
        """Whether ``p >= 0`` (``> 0`` if strict) is proved; ``simple`` goals try the cheap moves only."""
        if ctx.sign(p) <= (POSITIVE if strict else NONNEGATIVE):
            return self._by("sign", p)
        try:
            whole = tidy(ctx, p)
            p = _stripped(ctx, whole, strict)
        except NotProved:
            return False
        if is_zero(ctx, p):
            return not strict and self._by("zero", p)
        if ctx.sign(p) <= (POSITIVE if strict else NONNEGATIVE):
            return self._by("sign", p)
        key = (p.key + f"|{len(ctx.hypotheses)}|{simple}", strict)
        if depth > DEEPEST or key in self.tried or self.goals >= MOST_GOALS:
            return False
        self.tried.add(key)
        if fails_somewhere(self._points(ctx), p, strict):
            return False
        self.goals += 1
        for name, move in _MOVES[:SIMPLE] if simple else _MOVES:
            mark, self.whole = len(self.trail), whole
            try:
                if move(self, ctx, p, strict, depth + 1):
                    return self._by(name, p)
            except NotProved:
                pass
            del self.trail[mark:]
        return False

    def simplified(self, ctx: Context, p: Poly, strict: bool) -> Poly:
        """A form that need only be positive, or not negative, for ``p`` to be so."""
        return _stripped(ctx, tidy(ctx, p), strict)

    def by_lemmas(self, ctx: Context, p: Poly, strict: bool) -> bool:
        """Whether ``p`` is positive, or not negative, by one question to z3."""
        try:
            return _by_lemmas(self, ctx, p, strict, 0)
        except NotProved:
            return False

    def _points(self, ctx: Context) -> list[Point]:
        if id(ctx) not in self.samples:
            self.samples[id(ctx)] = (ctx, points(ctx))
        return self.samples[id(ctx)][1]

    def _by(self, name: str, p: Poly) -> bool:
        self.trail.append((name, p.key))
        return True


def _stripped(ctx: Context, p: Poly, strict: bool) -> Poly:
    """p times a positive quantity, or without a factor of all terms, so that what is left implies the goal.

    A positive factor is always left out. One that is not negative is left out of ``p >= 0`` only, and so is
    an even power.
    """
    q = cleared(ctx, p)
    if not q:
        return q
    shared: Mono | None = None
    for mono in q.terms:
        here = dict(mono.powers)
        shared = mono if shared is None else Mono((a, min(e, here[a])) for a, e in shared if a in here)
    factors = []
    for atom, e in shared or Mono():
        sign = ctx.sign_of_atom(atom)
        if sign == POSITIVE or (sign <= NONNEGATIVE and not strict):
            factors.append((atom, e))
        elif e.denominator == 1 and e >= 2 and not strict:
            factors.append((atom, e - e % 2))
    return unexpanded(q, Mono((a, -e) for a, e in factors))


def _by_lemmas(search: Search, ctx: Context, p: Poly, strict: bool, depth: int) -> bool:
    """z3 finds no point at which the facts and the instances of lemmas hold and the goal fails."""
    goal, found = p, []
    earlier = len(ctx.conditions)
    for value, relation, why in itertools.islice(instances(ctx, p), 60):
        fact = cleared(ctx, value)
        if fact:
            found.append((fact, relation, why))
    del ctx.conditions[earlier:]
    question = Question(ctx)
    question.prepare([goal, *(f for f, _, _ in found)])
    gather(question, goal)
    known = set(question.variables)
    for fact, relation, why in sorted(found, key=lambda f: len(f[0].atoms() - known)):
        if len({*question.variables, *fact.atoms()}) <= 12:
            question.say(fact, relation, why)
    for atom in sorted(set(question.variables) - known, key=lambda a: a.key):
        sign = ctx.sign_of_atom(atom)
        for mark in (">", "<", ">=", "<="):
            if sign <= WANTED[mark]:
                question.say(poly(atom), mark, "sign")
                break
    if not question.refuted(goal, "<=" if strict else "<"):
        return False
    search.trail += [("fact", said) for said in question.said]
    return True


def _compare_logarithms(search: Search, ctx: Context, p: Poly, strict: bool, depth: int) -> bool:
    """A >= B for positive A and B if log A >= log B: for a difference with one term on one of its sides."""
    plus = Poly({m: c for m, c in p.terms.items() if c > 0})
    minus = Poly({m: -c for m, c in p.terms.items() if c < 0})
    if not plus or not minus or min(len(plus.terms), len(minus.terms)) != 1:
        return False
    if ctx.sign(plus) != POSITIVE or ctx.sign(minus) != POSITIVE:
        return False
    sums = len(plus.terms) == len(minus.terms) == 1 and sum(a.kind == "sum" for a in p.atoms()) > 1
    if not sums and not any(a.kind in ("exp", "group") or e.denominator > 1 for m in p.terms for a, e in m):
        return False
    return search.shown(ctx, logarithm(ctx, plus, False) - logarithm(ctx, minus, False), strict, depth)


def _compare_products(search: Search, ctx: Context, p: Poly, strict: bool, depth: int) -> bool:
    """A >= B for positive A and B if log A >= log B: A or B is what shares one exponential."""
    return any(search.shown(ctx, gap, strict, depth) for gap in log_gaps(ctx, p))


def _compare_powers(search: Search, ctx: Context, p: Poly, strict: bool, depth: int) -> bool:
    """c (log A - log B) and the like: e to a multiple of it is at least 1."""
    if not p.terms or any(len(m) != 1 or m.powers[0][0].kind != "log" for m in p.terms if m.powers):
        return False
    scale = Fraction(1)
    for c in p.terms.values():
        scale = max(scale, Fraction(c.denominator))
    u = exponential(ctx, p.scaled(scale))
    return search.shown(ctx, u - constant(1), strict, depth)


def _isolate_by_facts(search: Search, ctx: Context, p: Poly, strict: bool, depth: int) -> bool:
    """A logarithm is bounded if its argument is, by what is cited: tried before anything is searched for."""
    return bool(ctx.hypotheses) and _isolate_logarithm(search, ctx, p, strict, depth, simple=True)


def _isolate_logarithm(
    search: Search, ctx: Context, p: Poly, strict: bool, depth: int, simple: bool = False
) -> bool:
    """c log u + r >= 0 with c > 0 if u >= e^(-r/c); with c < 0 if u <= e^(-r/c)."""
    logs = sorted((a for a in p.atoms() if a.kind == "log"), key=lambda a: a.key)
    for log in logs:
        inner = as_poly(log.args[0])
        if inner.atom is not None and inner.atom.kind != "sum":
            continue
        c, rest, linear = constant(0), constant(0), True
        for mono, k in p.terms.items():
            powers = dict(mono.powers)
            if log not in powers:
                rest = rest + Poly({mono: k})
                linear = linear and not contains(Poly({mono: k}), log)
            else:
                other = Mono(x for x in mono if x[0] != log)
                linear = linear and powers[log] == 1 and not contains(other, log)
                c = c + Poly({other: k})
        sign = ctx.sign(c)
        if not linear or sign not in (POSITIVE, NEGATIVE):
            continue
        bound = exponential(ctx, -(rest * power(ctx, c, Fraction(-1), typed=False)))
        turn = 1 if sign == POSITIVE else -1
        if search.shown(ctx, (inner - bound).scaled(turn), strict, depth, simple):
            return True
    return False


def _attained(search: Search, ctx: Context, p: Poly, strict: bool, depth: int) -> bool:
    """A maximum is one of the values compared: what holds with each of them in its place holds with it."""
    extrema = sorted({a for a in walk(p) if a.kind == "extremum"}, key=lambda a: a.key)
    for atom in extrema:
        if any(a.kind == "bound" for a in walk(as_poly(atom.args[0]))):
            continue
        index, high, body = open_extremum(ctx, atom)
        if any(a.kind == "bound" and a.args[0] != 0 and _outer(atom, a) for a in walk(body)):
            continue
        q = substitute(ctx, p, {atom: body})
        if search.shown(ctx, q, strict, depth):
            return True
    return False


def _mean_for_maximum(search: Search, ctx: Context, p: Poly, strict: bool, depth: int) -> bool:
    """A weighted mean is at most the maximum: it may stand for it where its factor is not negative."""
    for atom in sorted((a for a in p.atoms() if a.kind == "extremum"), key=lambda a: a.key):
        factor, rest = constant(0), constant(0)
        for mono, c in p.terms.items():
            if (atom, Fraction(1)) in mono.powers:
                factor = factor + Poly({Mono(x for x in mono if x[0] != atom): c})
            else:
                rest = rest + Poly({mono: c})
        if contains(rest, atom) or contains(factor, atom) or not ctx.sign(factor) <= NONNEGATIVE:
            continue
        index, high, body = open_extremum(ctx, atom)
        for weight in _weights(ctx, p, index, high):
            if not ctx.sign(weight) <= NONNEGATIVE:
                continue
            mean = close_sum(ctx, index, high, weight * body)
            if search.shown(ctx, rest + factor * mean, strict, depth):
                return True
    return False


def _outer(atom: Atom, name: Atom) -> bool:
    """Whether a bound name inside an extremum is bound outside of it: then it cannot be taken out."""
    level, own = name.args[0], atom.args[2]
    assert isinstance(level, int) and isinstance(own, int)
    return level > own


def _termwise(search: Search, ctx: Context, p: Poly, strict: bool, depth: int) -> bool:
    """A sum of terms that are not negative is not negative.

    All sums are written over one index. What stands outside of them is spread over the terms by weights that
    add up to one (1/n, a probability vector, f / sum f), and differences of two weights, which add up to
    zero, may be added. With ``strict`` every term is positive and there is one.
    """
    return any(_termwise_over(search, ctx, p, strict, depth, last) for last in (False, True))


def _termwise_over(search: Search, ctx: Context, p: Poly, strict: bool, depth: int, last: bool) -> bool:
    split = _over_one_index(ctx, p, last)
    if split is None:
        return False
    index, high, inside, outside = split
    weights = _weights(ctx, p, index, high)
    rest = sorted(outside.terms.items(), key=lambda t: t[0].key)
    if len(weights) ** len(rest) > 27:
        choices = [(w,) * len(rest) for w in weights]
    else:
        choices = list(itertools.product(weights, repeat=len(rest)))
    zero = [constant(0)]
    for scale in _scales(ctx, p):
        zero += [(a - b) * scale for a, b in itertools.permutations(weights, 2)]
    bodies = []
    for chosen in choices:
        body = inside
        for (mono, c), weight in zip(rest, chosen):
            body = body + Poly({mono: c}) * weight
        bodies.append(body)
    for extra in zero:
        for body in bodies:
            if search.shown(ctx, body + extra, strict, depth + 1, simple=True):
                return True
    return _tangent(search, ctx, bodies[0], index, high, strict, depth) if bodies else False


def _scales(ctx: Context, p: Poly) -> list[Poly]:
    """What stands before the logarithms of a goal: multiples of a zero sum are zero as well."""
    found = {"1": constant(1)}
    for mono, c in sorted(p.terms.items(), key=lambda t: t[0].key):
        if any(a.kind == "log" for a, _ in mono):
            rest = Poly({Mono(x for x in mono if x[0].kind != "log"): abs(c)})
            found.setdefault(rest.key, rest)
    return list(found.values())[:3]


def _over_one_index(ctx: Context, p: Poly, last: bool) -> tuple[Atom, Poly, Poly, Poly] | None:
    """Write p as the sum over one fresh index of ``inside``, plus ``outside``."""
    highs = {as_poly(as_tuple(a.args[0])[0]) for a in p.atoms() if a.kind == "sum"}
    if not highs:
        highs = {poly(ctx.size)} if ctx.size is not None else set()
    if len(highs) != 1:
        return None
    (high,) = highs
    if not ctx.sign(high) == POSITIVE:
        return None
    index = ctx.index(high)
    inside, outside = constant(0), constant(0)
    for mono, c in p.terms.items():
        sums = [a for a, e in mono if a.kind == "sum" and e == 1 and len(as_tuple(a.args[0])) == 1]
        if not sums:
            outside = outside + Poly({mono: c})
            continue
        atom = sorted(sums, key=lambda a: a.key)[-1 if last else 0]
        ((own, _),), body = open_sum(ctx, atom)
        rest = Mono(x for x in mono if x[0] != atom)
        inside = inside + monomial(rest, c) * substitute(ctx, body, {own: poly(index)})
    return index, high, inside, outside


def _weights(ctx: Context, p: Poly, index: Atom, high: Poly) -> list[Poly]:
    """Terms that add up to one over the range."""
    found = [power(ctx, high, Fraction(-1), typed=False)]
    if ctx.size is not None and high == poly(ctx.size):
        found += [poly(Atom("entry", base, poly(index))) for base in sorted(ctx.simplex)]
    for atom in sums_of(p):
        if ctx.sign_of_atom(atom) != POSITIVE or len(found) >= 4:
            continue
        ((own, own_high),), body = open_sum(ctx, atom)
        if own_high == high:
            found.append(substitute(ctx, body, {own: poly(index)}) * poly(atom, -1))
    return found


def _tangent(
    search: Search, ctx: Context, body: Poly, index: Atom, high: Poly, strict: bool, depth: int
) -> bool:
    """Jensen: sum f(x_i) >= 0 if f(x) - f'(m)(x - m) >= 0 for the mean m: the x_i - m add up to zero."""
    entries = {a for a in walk(body) if a.kind == "entry" and contains(a, index)}
    if len(entries) != 1:
        return False
    (entry,) = entries
    earlier = len(ctx.conditions)
    mean = close_sum(ctx, index, high, poly(entry)) * power(ctx, high, Fraction(-1), typed=False)
    moving = ctx.fresh("var")
    ctx.scalars[moving] = ctx.interval(entry)
    slope = differentiate(ctx, substitute(ctx, body, {entry: poly(moving)}), moving)
    slope = substitute(ctx, slope, {moving: mean})
    # any slope will do that has a value and is the same for all terms
    if contains(slope, index) or not all_shown(ctx, earlier):
        return False
    return search.shown(ctx, body - slope * (poly(entry) - mean), strict, depth + 1, simple=True)


def _calculus(search: Search, ctx: Context, p: Poly, strict: bool, depth: int) -> bool:
    """p >= 0 by calculus in one variable; see ``univariate``."""
    return depth == 1 and in_one_variable(search, ctx, p, strict, parts=False)


def _calculus_in_parts(search: Search, ctx: Context, p: Poly, strict: bool, depth: int) -> bool:
    """The same with the line cut into parts, which is the longest search of all and so comes last but one."""
    return depth == 1 and in_one_variable(search, ctx, p, strict, parts=True)


def _tail_from_infinity(search: Search, ctx: Context, p: Poly, strict: bool, depth: int) -> bool:
    """A tail of erf, whose limit tells more than any value: it comes before the long searches."""
    return _has_erf(p) and _from_infinity(search, ctx, p, strict, depth)


def _from_infinity(search: Search, ctx: Context, p: Poly, strict: bool, depth: int) -> bool:
    """p >= 0 from its limit, as it stands: what was stripped off may be what makes it fall."""
    return depth == 1 and from_infinity(search, ctx, search.whole or p, strict)


def _has_erf(p: Poly) -> bool:
    return any(a.kind == "fn" and a.args[0] == "erf" for a in walk(p))


def _parts(search: Search, ctx: Context, p: Poly, strict: bool, depth: int) -> bool:
    """p = a + b with a >= 0 and b >= 0, split by which terms hold one atom."""
    if len(p.terms) < 4:
        return False
    for atom in sorted(p.atoms(), key=lambda a: a.key)[:8]:
        with_it = Poly({m: c for m, c in p.terms.items() if atom in dict(m.powers)})
        rest = p - with_it
        if len(with_it.terms) > 1 and len(rest.terms) > 1:
            if search.shown(ctx, with_it, False, depth + 1) and search.shown(ctx, rest, strict, depth + 1):
                return True
    return False


_MOVES = (
    ("lemmas", _by_lemmas),
    ("logarithms", _compare_logarithms),
    ("exponentials", _compare_powers),
    ("products", _compare_products),
    ("isolated logarithm", _isolate_by_facts),
    ("slope to infinity", _tail_from_infinity),
    ("calculus", _calculus),
    ("attained", _attained),
    ("a mean for the maximum", _mean_for_maximum),
    ("isolated logarithm", _isolate_logarithm),
    ("termwise", _termwise),
    ("slope", by_slope),
    ("calculus", _calculus_in_parts),
    ("parts", _parts),
    ("slope to infinity", _from_infinity),
)
SIMPLE = 3  # the first moves, which make no sums and no cases
