"""Approximations with a remainder: two inequalities, both proved on the whole domain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sympy as sp

from proofbook.derive.domain import Domain
from proofbook.derive.kernel.citing import Cited
from proofbook.derive.kernel.equality import Certificate
from proofbook.derive.kernel.errors import NotProved
from proofbook.derive.kernel.given import left_out_in
from proofbook.derive.kernel.inequality import prove_inequality


def prove_approximation(
    left: sp.Expr,
    right: sp.Expr,
    below: sp.Expr,
    above: sp.Expr,
    domain: Domain,
    cites: Sequence[Cited] = (),
    without: Iterable[str] = (),
) -> Certificate:
    """A certificate that ``-below <= left - right <= above`` on ``domain``.

    It holds the certificates of both inequalities, ``right - below <= left`` and ``left <= right + above``,
    each proved on its own, without the lemmas named in ``without``.

    Raises:
        NotProved: with the side that has no proof, and why.
    """
    sides = {}
    for side, relation, bound in (
        ("below", ">=", sp.Add(right, sp.Mul(-1, below, evaluate=False), evaluate=False)),
        ("above", "<=", sp.Add(right, above, evaluate=False)),
    ):
        try:
            sides[side] = prove_inequality(relation, left, bound, domain, cites, without)
        except NotProved as error:
            raise NotProved(f"the bound from {side}: {error}") from error
    return {
        "kind": "approximation",
        "rule": " and ".join(dict.fromkeys(certificate["rule"] for certificate in sides.values())),
        "setting": {"least size": domain.least},
        **sides,
        **left_out_in(without),
    }
