"""Claims, the evidence for them and the verdicts it allows; records of the runs that established them."""

from proofbook.ledger.claims import Claim, Listed, VerdictRefused, claim, listed_claims
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
from proofbook.ledger.formulas import FormulaRefused, Said, said
from proofbook.ledger.report import Report, agreement, say, show, table
from proofbook.ledger.run import device
from proofbook.names import VERDICTS

__all__ = [
    "VERDICTS",
    "Claim",
    "Evidence",
    "EvidenceFailed",
    "FormulaRefused",
    "Listed",
    "Report",
    "Said",
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
    "said",
    "say",
    "show",
    "source",
    "table",
    "violates",
]
