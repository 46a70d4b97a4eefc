"""Claims, the evidence for them and the verdicts it allows; records of the runs that established them."""

from proofbook.ledger.claims import Claim, VerdictRefused, claim, listed_claims
from proofbook.ledger.evidence import (
    Evidence,
    EvidenceFailed,
    attacked,
    between,
    checked,
    counterexample,
    measured,
    proved,
    source,
    violates,
)
from proofbook.ledger.report import Report, agreement, say, show, table
from proofbook.ledger.run import device
from proofbook.names import VERDICTS

__all__ = [
    "VERDICTS",
    "Claim",
    "Evidence",
    "EvidenceFailed",
    "Report",
    "VerdictRefused",
    "agreement",
    "attacked",
    "between",
    "checked",
    "claim",
    "counterexample",
    "device",
    "listed_claims",
    "measured",
    "proved",
    "say",
    "show",
    "source",
    "table",
    "violates",
]
