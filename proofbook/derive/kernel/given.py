"""The names of the lemmas that proofs are given, and proofs that are given fewer.

A lemma that is proved by being looked up is not proved. So an inequality may be proved *without* some of the
lemmas: no instance of them is handed out, anywhere in the search and in the signs that it asks for. Fewer
facts prove fewer statements and none that more facts would not, so this is sound whatever is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from proofbook.derive.kernel.errors import NotProved

LEMMAS = frozenset(
    {
        "log u <= u - 1",
        "log u >= 1 - 1/u",
        "log x <= x - 1",
        "x log x >= x - 1",
        "e^x >= 1 + x",
        "cos x <= 1",
        "cos x >= -1",
        "sin x <= 1",
        "sin x >= -1",
        "cos x >= 1 - x^2/2",
        "cos x <= 1 - x^2/2 + x^4/24",
        "sin x <= x for x >= 0",
        "sin x >= x - x^3/6 for x >= 0",
        "each term is at most the maximum",
        "the logarithm is increasing",
        "one term is at most the sum",
        "Cauchy-Schwarz",
        "a sum of squares is at most the square of the sum",
        "norms fall with their order",
        "power means rise with their order",
        "Popoviciu",
        "Hölder",
    }
)


def left_out(names: Iterable[str]) -> frozenset[str]:
    """The lemmas with these names.

    Raises:
        NotProved: a name is none of a lemma's.
    """
    found = frozenset(names)
    if unknown := sorted(found - LEMMAS):
        raise NotProved(f"no lemma is called {unknown}")
    return found


def left_out_in(names: Iterable[str]) -> dict[str, Any]:
    """What a certificate says of the lemmas that were left out: nothing, if there are none."""
    found = sorted({*names})
    return {"without": found} if found else {}
