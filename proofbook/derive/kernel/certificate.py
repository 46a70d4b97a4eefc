"""Certificates are plain data, and are checked by finding the proof again: the kernel has no other memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sympy as sp

from proofbook.derive.domain import Domain
from proofbook.derive.kernel.approximation import prove_approximation
from proofbook.derive.kernel.citing import Cited
from proofbook.derive.kernel.equality import Certificate, prove_equality
from proofbook.derive.kernel.errors import NotProved
from proofbook.derive.kernel.inequality import prove_inequality


def prove(
    relation: str,
    left: sp.Expr,
    right: sp.Expr,
    domain: Domain,
    cites: Sequence[Cited] = (),
    without: Iterable[str] = (),
    within: tuple[sp.Expr, sp.Expr] | None = None,
) -> Certificate:
    """A certificate that ``left relation right`` on ``domain``; raises ``NotProved`` with a reason.

    ``within`` bounds the error of an approximation, from below and from above; nothing else has it. The
    lemmas named in ``without`` have no part in the proof.
    """
    if within is not None:
        return prove_approximation(left, right, *within, domain, cites, without)
    if relation == "=":
        return prove_equality(left, right, domain, cites, without)
    return prove_inequality(relation, left, right, domain, cites, without)


def check(
    certificate: Certificate,
    left: sp.Expr,
    right: sp.Expr,
    domain: Domain,
    within: tuple[sp.Expr, sp.Expr] | None = None,
    cites: Sequence[Cited] = (),
) -> None:
    """Raise ``NotProved`` unless ``certificate`` is the one that this statement earns.

    ``within`` is that of ``prove``. For which sizes it is claimed is the statement's to say, not the
    certificate's.

    The normal forms, the conditions and the facts given to z3 are computed anew from the statement; every
    entry of the certificate must be what comes out. So a changed side, relation, domain, condition, citation
    or fact is noticed.
    """
    if (within is not None) != (certificate.get("kind") == "approximation"):
        raise NotProved("an approximation is one by the bounds of its error, and nothing else has them")
    without = certificate.get("without", [])
    if not isinstance(without, list) or not all(isinstance(name, str) for name in without):
        raise NotProved("what is left out of a proof is a list of lemmas' names")
    relations = {"equality": "=", "inequality": str(certificate.get("relation")), "approximation": "~"}
    relation = relations.get(str(certificate.get("kind")))
    if relation is None:
        raise NotProved(f"a certificate of kind {certificate.get('kind')!r} is none of the kernel's")
    again = prove(relation, left, right, domain, cites, without, within)
    for key in sorted({*again, *certificate}):
        if again.get(key) != certificate.get(key):
            raise NotProved(f"the certificate's {key!r} is not what the statement earns")
