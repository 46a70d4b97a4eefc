"""A small checker: it proves equalities and inequalities by rules of its own, or says that it has no proof.

``prove_equality`` and ``prove_inequality`` read both sides of a statement node by node (``reading``), put
them into a normal form (``algebra``, ``forms``, ``calculus``) under the facts of the domain (``setting``,
``context``), and return a certificate; ``check`` finds the proof again. ``prove_approximation`` proves two
inequalities. Proved statements may be cited (``citing``). SymPy only holds the trees: none of its simplifiers
is called.
"""

from proofbook.derive.kernel.approximation import prove_approximation
from proofbook.derive.kernel.certificate import check, prove
from proofbook.derive.kernel.citing import Cited, assumptions_of, citations_in, parts_of
from proofbook.derive.kernel.equality import Certificate, prove_equality
from proofbook.derive.kernel.errors import NotProved
from proofbook.derive.kernel.given import LEMMAS
from proofbook.derive.kernel.inequality import prove_inequality

__all__ = [
    "Certificate",
    "Cited",
    "LEMMAS",
    "NotProved",
    "assumptions_of",
    "check",
    "citations_in",
    "parts_of",
    "prove",
    "prove_approximation",
    "prove_equality",
    "prove_inequality",
]
