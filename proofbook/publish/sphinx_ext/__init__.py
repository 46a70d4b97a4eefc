"""The Sphinx side of the book: what is filled from the notebooks' records, and a site that stands alone.

The directives (`DIRECTIVES`) and roles (`ROLES`) print nothing that was typed for them: what they show is
read, at build time, from the outputs the notebooks carry, from the recorded runs, from CITATION.cff and from
the book's address.
"""

from typing import Any

from docutils.parsers.rst import Directive
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole

from proofbook.publish.sphinx_ext import (
    answers,
    assets,
    dependencies,
    downloads,
    dragging,
    formulas,
    freshness,
    html,
    languages,
    lean,
    metadata,
    objects,
    overview,
    paper,
    previews,
    reading,
    reference,
    search,
    tables,
)
from proofbook.publish.sphinx_ext.cards import ChapterCard, SourceList
from proofbook.publish.sphinx_ext.citing import CiteChapter, RunAnywhere, RunOn
from proofbook.publish.sphinx_ext.claims import ClaimCounts, ClaimList, Errata, QuotedClaims, VerdictLegend
from proofbook.publish.sphinx_ext.naming import NamedClaim
from proofbook.publish.sphinx_ext.proofs import AssumptionList, EvidenceList, ProofCounts, ProofTable
from proofbook.publish.sphinx_ext.records import Benchmarks, MeasuredRatio, RecordedRuns

__all__ = ["DIRECTIVES", "ROLES", "setup"]

DIRECTIVES: dict[str, type[Directive]] = {
    "chapter-card": ChapterCard,
    "sources": SourceList,
    "claim-counts": ClaimCounts,
    "ledger": ClaimList,
    "errata": Errata,
    "map": overview.Map,
    "draggable": dragging.DraggableFigure,
    "quoted-claims": QuotedClaims,
    "verdict-legend": VerdictLegend,
    "proof-counts": ProofCounts,
    "evidence": EvidenceList,
    "assumptions": AssumptionList,
    "proof-table": ProofTable,
    "recorded-runs": RecordedRuns,
    "benchmarks": Benchmarks,
    "measured": MeasuredRatio,
    "cite-chapter": CiteChapter,
    "run-anywhere": RunAnywhere,
    "run-on": RunOn,
}

ROLES: dict[str, type[SphinxRole]] = {"claim": NamedClaim}


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives, the roles, and what gets the site ready."""
    for name, directive in DIRECTIVES.items():
        app.add_directive(name, directive)
    for name, role in ROLES.items():
        app.add_role(name, role())
    assets.connect(app)
    formulas.connect(app)
    lean.connect(app)
    paper.connect(app)
    tables.connect(app)
    freshness.connect(app)
    dependencies.connect(app)
    html.connect(app)
    languages.connect(app)
    overview.connect(app)
    objects.connect(app)
    previews.connect(app)
    reading.connect(app)
    metadata.connect(app)
    dragging.connect(app)
    answers.connect(app)
    downloads.connect(app)
    search.connect(app)
    reference.connect(app)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
