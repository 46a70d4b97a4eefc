"""From a ``Domain`` to the facts the kernel may use.

The box of a domain is where a statement is sampled; what is proved should be said for more. So a statement is
tried first on the widest domain with the same signs ("wide": a range above zero becomes all positive numbers,
one with both signs all real numbers) and then on the box as it is typed, ends included. A range that is said
exactly (``reals(...)``) is neither widened nor cut: it is the one on which a statement is proved. The
relations in ``where`` always hold.

A ladder stands for every size from its ``least`` on, and never for fewer.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from fractions import Fraction

import sympy as sp

from proofbook.derive.domain import Domain
from proofbook.derive.kernel.algebra import Atom, Poly, poly
from proofbook.derive.kernel.context import UNBOUNDED, Context, Interval
from proofbook.derive.kernel.errors import NotProved
from proofbook.derive.kernel.names import check_apart
from proofbook.derive.kernel.reading import Reader
from proofbook.derive.kernel.satisfiability import sign_by_z3
from proofbook.derive.ranges import Integers, Ladder, Reals, Simplex, exact

_DRAWS = 12  # points, to find one at which hypotheses hold clearly
_ROOM = sp.Rational(1, 10**15)
End = tuple[str, str]  # a scalar or vector, and "low" or "high"
Excluded = tuple[tuple[Poly, str], ...]  # relations to zero; where one fails a formula has no value
_RELATIONS = {
    sp.StrictGreaterThan: ">",
    sp.GreaterThan: ">=",
    sp.StrictLessThan: "<",
    sp.LessThan: "<=",
    sp.Unequality: "!=",
    sp.Equality: "=",
}


@dataclass(frozen=True)
class Setting:
    """How a domain is taken: wide or as typed, and with which ends left out."""

    wide: bool
    opened: frozenset[End] = frozenset()
    excluded: Excluded = ()


def context_of(
    domain: Domain, setting: Setting, *expressions: sp.Expr, without: frozenset[str] = frozenset()
) -> tuple[Context, Reader]:
    """The facts of a domain, and a reader for the expressions that speak of it; some lemmas are left out."""
    _check_names(domain, expressions)
    _inhabited(domain)
    ctx = Context(ask=sign_by_z3, without=without)
    symbols: dict[sp.Symbol, Atom] = {}
    whole = set()
    size = domain.size
    ladder = domain.ranges.get(size)
    if size is not None:
        symbols[size] = Atom("sym", str(size))
        if isinstance(ladder, Ladder):
            whole.add(symbols[size])
            ctx.size = symbols[size]
            ctx.scalars[symbols[size]] = Interval(Fraction(domain.least))
    for key in domain.scalars:
        kind = domain.ranges[key]
        symbols[key] = Atom("sym", str(key))
        if isinstance(kind, Integers):
            whole.add(symbols[key])
        ctx.scalars[symbols[key]] = _interval(str(key), kind, setting)
    simplex = set()
    for base in domain.vectors:
        kind, name = domain.ranges[base], str(base.label)
        if isinstance(kind, Simplex):
            simplex.add(name)
            # an entry of 1 leaves nothing for a second one
            alone = domain.least < 2
            ctx.entries[name] = Interval(Fraction(0), Fraction(1), low_strict=True, high_strict=not alone)
        else:
            ctx.entries[name] = _interval(name, kind, setting)
    for index in domain.each:
        symbols[index] = Atom("sym", str(index))
        whole.add(symbols[index])
        ctx.scalars[symbols[index]] = Interval(Fraction(1))
        if ctx.size is not None:
            ctx.inside[symbols[index]] = poly(ctx.size)
    ctx.whole, ctx.simplex = frozenset(whole), frozenset(simplex)
    said = {key: kind for key, kind in domain.ranges.items() if isinstance(kind, Reals)}
    ctx.exact = frozenset(map(_name, said))
    without_zero = [key for key, kind in said.items() if kind.nonzero]
    ctx.nonzero_entries = frozenset(_name(key) for key in without_zero if key in domain.vectors)
    ctx.nonzero_entries |= {name for name, interval in ctx.entries.items() if 0 not in interval.sign()}
    ctx.distinct = frozenset(map(_name, domain.distinct))
    # entries that differ are not all zero, and there is one entry at least
    ctx.nonzero = frozenset(map(_name, domain.nonzero)) | ctx.distinct | ctx.nonzero_entries
    reader = Reader(ctx, symbols, frozenset(domain.vectors))
    ctx.hypotheses = (
        *(h for relation in domain.where for h in _hypotheses(reader, relation)),
        *((poly(symbols[key]), "!=") for key in without_zero if key in symbols),
        *setting.excluded,
    )
    ctx.forget()
    return ctx, reader


def _name(key: sp.Basic) -> str:
    """What the kernel calls a scalar or a vector."""
    return str(key.label if isinstance(key, sp.IndexedBase) else key)


def _interval(name: str, kind: object, setting: Setting) -> Interval:
    if isinstance(kind, Reals):
        # an end that is infinite, or no fraction, is no bound: more than is claimed, never less
        a, b = (Fraction(int(x.p), int(x.q)) if x.is_Rational else None for x in (kind.low, kind.high))
        return Interval(a, b, kind.low_open, kind.high_open)
    if isinstance(kind, Integers):
        low, high = sp.Integer(kind.low), sp.Integer(kind.high)
    elif isinstance(kind, tuple):
        low, high = map(exact, kind)
    else:
        raise NotProved(f"no rule takes {kind} for a range")
    if not (low.is_Rational and high.is_Rational):
        return UNBOUNDED  # more than is claimed, never less
    a, b = (Fraction(int(x.p), int(x.q)) for x in (low, high))
    below, above = (name, "low") in setting.opened, (name, "high") in setting.opened
    if not setting.wide:
        return Interval(a, b, below, above)
    zero = Fraction(0)
    if a >= 0:
        return Interval(zero, None, a > 0 or below)
    return Interval(None, zero, False, b < 0 or above) if b <= 0 else UNBOUNDED


def _hypotheses(reader: Reader, relation: object) -> list[tuple[Poly, str]]:
    if isinstance(relation, sp.And):
        return [h for part in relation.args for h in _hypotheses(reader, part)]
    for kind, sign in _RELATIONS.items():
        if isinstance(relation, kind):
            earlier = len(reader.ctx.conditions)
            value = reader.read(relation.lhs) - reader.read(relation.rhs)
            if len(reader.ctx.conditions) > earlier:
                raise NotProved(f"{relation} is not defined everywhere")
            return [(value, sign)]
    raise NotProved(f"no rule takes {relation} for a hypothesis")


def _inhabited(domain: Domain) -> None:
    """Refuse hypotheses that hold nowhere: from them anything would follow.

    A point is drawn at which all of them hold with room to spare, so that rounding cannot be what makes them
    hold, and so that they also hold at points that are no ends.
    """
    if not domain.where:
        return
    rng = random.Random(1)
    for n in domain.sizes:
        for _ in range(_DRAWS):
            try:
                point = domain.sample(rng, n)
            except ValueError:
                break
            values = {**{key: point[key] for key in domain.scalars}, domain.size: n}
            if all(_clearly(relation, values) for relation in domain.where):
                return
    raise NotProved(f"no point was found at which all of {list(domain.where)} hold clearly")


def _clearly(relation: sp.Basic, values: dict[sp.Symbol, object]) -> bool:
    """Whether a relation that holds at a point holds around it, as far as thirty digits can tell."""
    if isinstance(relation, sp.And):
        return all(_clearly(part, values) for part in relation.args)
    if not isinstance(relation, sp.core.relational.Relational):
        return False
    gap = sp.Add(relation.lhs, -relation.rhs).evalf(30, subs=values)
    return bool(gap.is_Float and abs(gap) > _ROOM)


def _check_names(domain: Domain, expressions: tuple[sp.Expr, ...]) -> None:
    """Refuse names that print alike, and declarations that the domain does not imply."""
    keys = [k.label if isinstance(k, sp.IndexedBase) else k for k in domain.ranges]
    if domain.size is not None:
        keys.append(domain.size)
    # the kernel itself goes by the plain name
    named: dict[str, sp.Basic] = {}
    for symbol in [*keys, *domain.each]:
        if named.setdefault(str(symbol), symbol) != symbol:
            raise NotProved(f"two different symbols are called {symbol}")
    check_apart((*keys, *domain.each), expressions)
    labels = [k.label for k in domain.ranges if isinstance(k, sp.IndexedBase)]
    if clash := {str(label) for label in labels if keys.count(label) > 1}:
        raise NotProved(f"a vector and a number are both called {clash}")
    for e in expressions:
        for symbol in e.free_symbols:
            if isinstance(symbol, sp.Indexed):
                continue
            if named.setdefault(str(symbol), symbol) != symbol:
                raise NotProved(f"two different symbols are called {symbol}")
    for key, kind in domain.ranges.items():
        _check_declared(key, kind)
    for index in domain.each:
        if index.is_even is not None or index.is_prime is not None or index.is_zero:
            raise NotProved(f"{index} is declared to be more than an index")


def _check_declared(key: sp.Basic, kind: object) -> None:
    """SymPy has simplified by what a symbol is declared to be, so the domain must imply it."""
    symbols = [key.label, key[sp.Symbol("_", integer=True)]] if isinstance(key, sp.IndexedBase) else [key]
    for symbol in symbols:
        whole = isinstance(kind, (Integers, Ladder))
        wrong = [
            symbol.is_commutative is False,
            symbol.is_extended_real is False,
            symbol.is_infinite,
            symbol.is_even is not None and not isinstance(symbol, sp.Indexed),
            symbol.is_prime,
            symbol.is_composite,
            symbol.is_zero,
            symbol.is_zero is False and _holds_zero_inside(kind),
            not whole and symbol.is_integer,
            not whole and (symbol.is_rational or symbol.is_irrational),
            not whole and (symbol.is_algebraic or symbol.is_transcendental),
            whole and symbol.is_integer is False,
        ]
        low, high = (1, None) if isinstance(kind, (Ladder, Simplex)) else _ends(kind)
        if low is not None and low < 0:
            wrong += [symbol.is_extended_positive, symbol.is_extended_nonnegative]
        if high is None or high > 0:
            wrong += [symbol.is_extended_negative, symbol.is_extended_nonpositive]
        if any(wrong):
            raise NotProved(f"{symbol} is declared to be what its range does not imply")


def _holds_zero_inside(kind: object) -> bool:
    """Whether 0 lies in a range, and is no end of a plain one: that belongs to it only where it can."""
    if isinstance(kind, (Ladder, Simplex)) or isinstance(kind, Reals) and kind.nonzero:
        return False
    low, high = _ends(kind)
    return bool(low < 0 < high) or isinstance(kind, Reals) and not (kind.is_positive or kind.is_negative)


def _ends(kind: object) -> tuple[sp.Expr, sp.Expr]:
    if isinstance(kind, Reals):
        return kind.low, kind.high
    if isinstance(kind, Integers):
        return sp.Integer(kind.low), sp.Integer(kind.high)
    assert isinstance(kind, tuple)
    return sp.sympify(kind[0]), sp.sympify(kind[1])
