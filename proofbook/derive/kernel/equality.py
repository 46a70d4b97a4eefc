"""Equalities: both sides in normal form, their difference zero, every condition discharged."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from math import lcm
from typing import Any

import sympy as sp

from proofbook.derive.domain import Domain
from proofbook.derive.kernel.algebra import ONE, Atom, Mono, Poly, as_poly, constant, poly, walk
from proofbook.derive.kernel.citing import Cited, citation_data, take_cited
from proofbook.derive.kernel.context import WANTED, Condition, Context
from proofbook.derive.kernel.errors import NotProved
from proofbook.derive.kernel.forms import common, divide, exponential, is_zero, substitute, tidy
from proofbook.derive.kernel.given import left_out, left_out_in
from proofbook.derive.kernel.reading import Reader
from proofbook.derive.kernel.relations import without_related_logs
from proofbook.derive.kernel.setting import End, Excluded, Setting, context_of

Certificate = dict[str, Any]
MOST_OPENINGS = 6


class Undischarged(NotProved):
    """A condition that was not shown to hold, with the context it was met in."""

    def __init__(self, message: str, condition: Condition, ctx: Context):
        super().__init__(message)
        self.condition, self.ctx = condition, ctx


def prove_equality(
    left: sp.Expr,
    right: sp.Expr,
    domain: Domain,
    cites: Sequence[Cited] = (),
    without: Iterable[str] = (),
) -> Certificate:
    """A certificate that ``left = right`` everywhere on ``domain``; raises ``NotProved`` with a reason.

    The lemmas named in ``without`` have no part in the proof.
    """
    named = left_out(without)
    return over_settings(lambda setting: equality_in(left, right, domain, setting, cites, named))


def equality_in(
    left: sp.Expr,
    right: sp.Expr,
    domain: Domain,
    setting: Setting,
    cites: Sequence[Cited],
    without: frozenset[str],
) -> Certificate:
    """The proof in one setting."""
    ctx, reader = context_of(domain, setting, left, right, without=without)
    missing = take_facts(ctx, reader, domain, cites)
    one, other = reader.read(left), reader.read(right)
    if missing is None:
        rule = same(ctx, one - other)
    else:
        discharge(ctx, setting.excluded)  # an end at which nothing is stated may be all that is missing
        raise missing
    try:
        conditions = discharge(ctx, setting.excluded)
    except Undischarged as error:
        if (case := single_case(error)) is None:
            raise
        return _by_cases(left, right, domain, setting, cites, without, *case)
    return {
        "kind": "equality",
        "rule": rule,
        "setting": setting_data(setting, domain),
        "left": one.key,
        "right": other.key,
        "conditions": conditions,
        **cited_in(cites),
        **left_out_in(without),
    }


def single_case(error: Undischarged) -> tuple[Poly, Atom, Fraction] | None:
    """A rule needs ``value != 0`` where ``value`` is linear in one symbol: the value, the symbol, the zero.

    What is typed has a value there; it is the rule that has none, so the case is one of the statement.
    """
    value = error.condition.value
    atoms = value.atoms()
    if error.condition.typed or error.condition.relation != "!=" or len(atoms) != 1:
        return None
    (atom,) = atoms
    slope, constant_term = value.terms.get(Mono([(atom, Fraction(1))])), value.terms.get(ONE, Fraction(0))
    if atom.kind != "sym" or slope is None or value != poly(atom).scaled(slope) + constant(constant_term):
        return None
    return value, atom, -constant_term / slope


def _by_cases(
    left: sp.Expr,
    right: sp.Expr,
    domain: Domain,
    setting: Setting,
    cites: Sequence[Cited],
    without: frozenset[str],
    value: Poly,
    atom: Atom,
    zero: Fraction,
) -> Certificate:
    """The proof where ``value`` is not 0, and the proof at the one value of a symbol where it is.

    There both sides are read with that value in the symbol's place, with nothing cited. The facts of the
    domain still speak of the symbol, which has this value if they hold, and of nothing else.
    """
    apart = replace(setting, excluded=(*setting.excluded, (value, "!=")))
    elsewhere = equality_in(left, right, domain, apart, cites, without)
    ctx, reader = context_of(domain, setting, left, right, without=without)
    (symbol,) = (s for s, a in reader.symbols.items() if a == atom)
    one, other = (reader.read(side, {symbol: constant(zero)}) for side in (left, right))
    at_zero = {
        "kind": "equality",
        "rule": same(ctx, one - other),
        "at": f"{atom} = {zero}",
        "left": one.key,
        "right": other.key,
        "conditions": _at_one_value(ctx, setting.excluded),
    }
    return {
        "kind": "equality",
        "rule": "cases",
        "setting": setting_data(setting, domain),
        "cases": [elsewhere, at_zero],
        **cited_in(cites),
        **left_out_in(without),
    }


def _at_one_value(ctx: Context, excluded: Excluded) -> list[dict[str, str]]:
    """The conditions of one case. An end that it alone leaves out would be left out of the other, too."""
    try:
        return discharge(ctx, excluded)
    except Undischarged as error:
        raise NotProved(str(error)) from error


def take_facts(ctx: Context, reader: Reader, domain: Domain, cites: Sequence[Cited]) -> NotProved | None:
    """Add what is cited to the facts; or the reason why it cannot be cited here."""
    try:
        take_cited(ctx, reader, domain, cites)
    except NotProved as error:
        return error
    return None


def cited_in(cites: Sequence[Cited]) -> Certificate:
    """The entry of a certificate that names what it rests on; there is none if that is nothing."""
    return {"cites": citation_data(cites)} if cites else {}


def same(ctx: Context, difference: Poly) -> str:
    """The rule that shows a difference to be zero: as it stands, or because e to a multiple of it is 1."""
    if is_zero(ctx, difference):
        return "normal form"
    numbers = [
        c for mono, c in difference.terms.items() if len(mono) == 1 and mono.powers[0][0].kind == "log"
    ]
    if numbers:
        whole = lcm(*(c.denominator for c in numbers))
        if is_zero(ctx, exponential(ctx, difference.scaled(whole)) - constant(1)):
            return "exponentials of both sides"
    if _follows(ctx, difference):
        return "equations that are known"
    if is_zero(ctx, tidy(ctx, without_related_logs(ctx, difference))):
        return "relations between logarithms"
    raise NotProved("the two sides have different normal forms")


def _follows(ctx: Context, difference: Poly) -> bool:
    """Whether the numerator of a difference is a combination of quantities that are known to be zero.

    Division is exact: numerator = quotient * h + rest, and h = 0 leaves the rest. The denominators are among
    the conditions, so where the numerator is zero the difference is.
    """
    rest, _ = common(ctx, difference)
    for value, relation in ctx.hypotheses:
        if relation == "=" and rest:
            zero, _ = common(ctx, value)
            if zero:
                _, rest = divide(rest, zero)
    return is_zero(ctx, rest)


def over_settings(attempt: Callable[[Setting], Certificate]) -> Certificate:
    """Try the wide domain, then the typed one, leaving out ends at which a formula has no value."""
    reasons = []
    for wide in (True, False):
        setting = Setting(wide)
        for _ in range(MOST_OPENINGS):
            try:
                return renumbered(attempt(setting))
            except Undischarged as error:
                reasons.append(str(error))
                ends = frozenset(undefined_ends(error.condition, error.ctx, setting))
                kept = setting.excluded
                if not ends:
                    if not undefined_on_the_edge(error.condition, error.ctx):
                        break
                    kept = (*kept, (error.condition.value, error.condition.relation))
                setting = Setting(wide, setting.opened | ends, kept)
            except NotProved as error:
                reasons.append(str(error))
                break
            except RecursionError:
                reasons.append("beyond the budget: nested too deep")
                break
    raise NotProved("; ".join(dict.fromkeys(reasons)))


def renumbered(certificate: Certificate) -> Certificate:
    """The certificate with its indices and variables counted in the order in which they are met.

    How many names were used up before, in attempts that failed, is nothing that a proof shows.
    """
    known: dict[str, dict[str, int]] = {"idx": {}, "var": {}, "free": {}}

    def rename(match: re.Match[str]) -> str:
        numbers = known[match[1]]
        return f"{match[1]}({numbers.setdefault(match[2], len(numbers) + 1)})"

    def walked(data: Any) -> Any:
        if isinstance(data, str):
            return re.sub(r"\b(idx|var|free)\((\d+)\)", rename, data)
        if isinstance(data, list):
            return [walked(part) for part in data]
        return {key: walked(part) for key, part in data.items()} if isinstance(data, dict) else data

    renamed: Certificate = walked(certificate)
    return renamed


def discharge(ctx: Context, excluded: Excluded = ()) -> list[dict[str, str]]:
    """Show every condition met on the way; a condition without a proof ends the attempt."""
    shown: list[dict[str, str]] = []
    known = set(excluded)
    for condition in list(ctx.conditions):
        if (condition.value, condition.relation) in known:
            continue  # it was shown, or where it fails the statement is not made
        known.add((condition.value, condition.relation))
        if not ctx.sign(condition.value) <= WANTED[condition.relation]:
            raise Undischarged(
                f"not shown: {condition.value} {condition.relation} 0 ({condition.because})", condition, ctx
            )
        shown.append(
            {"value": condition.value.key, "relation": condition.relation, "because": condition.because}
        )
    return shown


def undefined_ends(condition: Condition, ctx: Context, setting: Setting) -> Iterator[End]:
    """Closed ends of ranges at which a condition of what is typed fails for all values of the rest.

    There the formula has no value, whatever the other variables are, so the statement does not speak of that
    end. A whole number that ends a range is said to be in it, and is never left out.
    """
    if not condition.typed:
        return
    atoms = {a for a in walk(condition.value) if a.kind in ("sym", "entry")}
    for atom in sorted(atoms, key=lambda a: a.key):
        name = str(atom.args[0])
        if name in ctx.simplex | ctx.exact or atom in ctx.whole or atom == ctx.size:
            continue
        if not _stands_for_all(ctx, atom):
            continue
        bounds = ctx.interval(atom)
        for end, at, strict in (
            ("low", bounds.low, bounds.low_strict),
            ("high", bounds.high, bounds.high_strict),
        ):
            if at is None or strict or (name, end) in setting.opened:
                continue
            earlier = len(ctx.conditions)
            try:
                there = substitute(ctx, condition.value, {atom: constant(at)})
                fails = not ctx.sign(there) & WANTED[condition.relation]
            except NotProved:
                fails = False
            del ctx.conditions[earlier:]
            if fails:
                yield (name, end)


def _stands_for_all(ctx: Context, atom: Atom) -> bool:
    """Whether an entry is one with the index of a sum over all: a free index leaves the others."""
    if atom.kind != "entry" or ctx.size is None:
        return atom.kind == "sym"
    index = as_poly(atom.args[1]).atom
    return index is not None and index.kind == "idx" and ctx.inside.get(index) == poly(ctx.size)


def undefined_on_the_edge(condition: Condition, ctx: Context) -> bool:
    """Whether a condition of what is typed can fail on the edge of the ranges only.

    A domain holds the ends of its ranges wherever the formulas have a value there. So if the condition is
    proved with all ends left out, the points at which it fails are ends, and no part of the domain.
    """
    if not condition.typed or any(a.kind in ("idx", "var", "free") for a in walk(condition.value)):
        return False
    inner = ctx.interior()
    return inner.sign(condition.value) <= WANTED[condition.relation]


def setting_data(setting: Setting, domain: Domain) -> dict[str, Any]:
    return {
        "domain": "wide" if setting.wide else "typed",
        "open ends": sorted(map(list, setting.opened)),
        "least size": domain.least,
        "only where": [f"{value} {relation} 0" for value, relation in setting.excluded],
    }
