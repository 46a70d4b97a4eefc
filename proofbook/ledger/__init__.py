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
from proofbook.ledger.numbers import Numbers, fill_in
from proofbook.ledger.quoted import QuotedTable, quoted
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
    "Numbers",
    "QuotedTable",
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
    "fill_in",
    "listed_claims",
    "measured",
    "proved",
    "quoted",
    "said",
    "say",
    "show",
    "source",
    "table",
    "violates",
]
