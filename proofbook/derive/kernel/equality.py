"""Equalities: both sides in normal form, their difference zero, every condition discharged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sympy as sp

from proofbook.derive.domain import Domain
from proofbook.derive.kernel.algebra import Atom, constant
from proofbook.derive.kernel.context import WANTED, Condition, Context
from proofbook.derive.kernel.errors import NotProved
from proofbook.derive.kernel.forms import is_zero, substitute
from proofbook.derive.kernel.setting import End, Setting, context_of

Certificate = dict[str, Any]
MOST_OPENINGS = 6


class Undischarged(NotProved):
    """A condition that was not shown to hold, with the context it was met in."""

    def __init__(self, message: str, condition: Condition, ctx: Context):
        super().__init__(message)
        self.condition, self.ctx = condition, ctx


def prove_equality(left: sp.Expr, right: sp.Expr, domain: Domain, least: int = 1) -> Certificate:
    """A certificate that ``left = right`` everywhere on ``domain``; raises ``NotProved`` with a reason."""
    return over_settings(domain, least, lambda setting: equality_in(left, right, domain, setting))


def equality_in(left: sp.Expr, right: sp.Expr, domain: Domain, setting: Setting) -> Certificate:
    """The proof in one setting."""
    ctx, reader = context_of(domain, setting, left, right)
    one, other = reader.read(left), reader.read(right)
    if not is_zero(ctx, one - other):
        raise NotProved("the two sides have different normal forms")
    return {
        "kind": "equality",
        "rule": "normal form",
        "setting": setting_data(setting),
        "left": one.key,
        "right": other.key,
        "conditions": discharge(ctx),
    }


def over_settings(domain: Domain, least: int, attempt) -> Certificate:
    """Try the wide domain, then the typed one, leaving out ends at which a formula has no value."""
    reasons = []
    for wide in (True, False):
        setting = Setting(wide, frozenset(), least)
        for _ in range(MOST_OPENINGS):
            try:
                return attempt(setting)
            except Undischarged as error:
                reasons.append(str(error))
                ends = frozenset(undefined_ends(error.condition, error.ctx, domain, setting))
                if not ends:
                    break
                setting = Setting(wide, setting.opened | ends, least)
            except NotProved as error:
                reasons.append(str(error))
                break
            except RecursionError:
                reasons.append("beyond the budget: nested too deep")
                break
    raise NotProved("; ".join(dict.fromkeys(reasons)))


def discharge(ctx: Context) -> list[dict[str, str]]:
    """Show every condition met on the way; a condition without a proof ends the attempt."""
    shown = []
    for condition in list(ctx.conditions):
        if not ctx.sign(condition.value) <= WANTED[condition.relation]:
            raise Undischarged(
                f"not shown: {condition.value} {condition.relation} 0 ({condition.because})", condition, ctx
            )
        shown.append(
            {"value": condition.value.key, "relation": condition.relation, "because": condition.because}
        )
    return shown


def undefined_ends(condition: Condition, ctx: Context, domain: Domain, setting: Setting) -> Iterator[End]:
    """Closed ends of ranges at which a condition of what is typed fails for all values of the rest.

    There the formula has no value, whatever the other variables are, so the statement does not speak of that end.
    """
    if not condition.typed:
        return
    atoms = {a for m in condition.value.terms for a, _ in m} | _deep(condition)
    for atom in sorted(atoms, key=lambda a: a.key):
        if atom.kind not in ("sym", "entry"):
            continue
        name = str(atom.args[0])
        if name in ctx.simplex or atom == ctx.size:
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


def _deep(condition: Condition) -> set[Atom]:
    from proofbook.derive.kernel.algebra import walk

    return {a for a in walk(condition.value) if a.kind in ("sym", "entry")}


def setting_data(setting: Setting) -> dict[str, Any]:
    return {
        "domain": "wide" if setting.wide else "typed",
        "open ends": sorted(map(list, setting.opened)),
        "least size": setting.least,
    }
