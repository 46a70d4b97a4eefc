"""Certificates are plain data, and are checked by finding the proof again: the kernel has no other memory."""

from __future__ import annotations

import sympy as sp

from proofbook.derive.domain import Domain
from proofbook.derive.kernel.equality import Certificate, prove_equality
from proofbook.derive.kernel.errors import NotProved
from proofbook.derive.kernel.inequality import prove_inequality


def check(certificate: Certificate, left: sp.Expr, right: sp.Expr, domain: Domain) -> None:
    """Raise ``NotProved`` unless ``certificate`` is the one that this statement earns.

    The normal forms, the conditions and the facts given to z3 are computed anew from the statement; every
    entry of the certificate must be what comes out. So a changed side, relation, domain, condition or fact is
    noticed.
    """
    setting = certificate.get("setting")
    least = setting.get("least size", 1) if isinstance(setting, dict) else 1
    if certificate.get("kind") == "equality":
        again = prove_equality(left, right, domain, least)
    elif certificate.get("kind") == "inequality":
        again = prove_inequality(str(certificate.get("relation")), left, right, domain, least)
    else:
        raise NotProved(f"a certificate of kind {certificate.get('kind')!r} is none of the kernel's")
    for key in sorted({*again, *certificate}):
        if again.get(key) != certificate.get(key):
            raise NotProved(f"the certificate's {key!r} is not what the statement earns")
