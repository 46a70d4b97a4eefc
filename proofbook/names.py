"""The names that derivations, claims and pages agree on: verdicts, and the types of records in outputs."""

CLAIM_MIME = "application/vnd.proofbook.claim+json"
EQUATION_MIME = "application/vnd.proofbook.equation+json"
NUMBERS_MIME = "application/vnd.proofbook.numbers+json"
RECORD_MIMES = (CLAIM_MIME, EQUATION_MIME)
"""Records that stand beside what a page shows of a claim or an equation."""

VERDICTS = ("holds", "holds under", "approximate", "needs correction", "false", "empirical", "open")
"""Every verdict that a claim can have, in the order in which they are listed and counted."""


def claim_anchor(claim_id: str) -> str:
    """The permanent name of a claim on its page.

    >>> claim_anchor("8823-C4")
    'claim-8823-c4'
    """
    return f"claim-{claim_id.lower()}"


def verdict_class(verdict: str) -> str:
    """The CSS class of a verdict.

    >>> verdict_class("holds under")
    'verdict-holds-under'
    """
    return f"verdict-{verdict.replace(' ', '-')}"
