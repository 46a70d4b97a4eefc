"""The claims: counted, listed with their evidence, quoted one by one, and what is wrong among them."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives

from proofbook.names import VERDICTS
from proofbook.publish.sphinx_ext.base import BookDirective, Cell, badge

ERRATA_VERDICTS = ("needs correction", "false", "holds under", "approximate")


def counted(claims: Iterable[dict[str, Any]]) -> list[tuple[str, int]]:
    """Verdicts that occur and how often, in the order of `VERDICTS`."""
    number = Counter(claim["verdict"] for claim in claims)
    return [(verdict, number[verdict]) for verdict in VERDICTS if number[verdict]]


def tally(claims: Iterable[dict[str, Any]]) -> list[nodes.Node]:
    """Verdicts that occur, each with its number, in one line."""
    line: list[nodes.Node] = []
    for verdict, number in counted(claims):
        line += [badge(verdict, f"{number} {verdict}"), nodes.Text(" ")]
    return line


class ClaimCounts(BookDirective):
    """How all claims came out, in one line."""

    def run(self) -> list[nodes.Node]:
        self.depend()
        derivations = sum(
            any(step["strategy"] != "definition" for step in equation["steps"])
            for page in self.book.pages.values()
            for equation in page.equations
        )
        claims = self.book.claims
        words = nodes.Text(f"{derivations} derivations verified, {len(claims)} claims checked: ")
        taken = [claim for claim in claims if self.book.source_of(claim)]
        own = [claim for claim in claims if not self.book.source_of(claim)]
        if not (taken and own):
            counts = tally(claims)
        else:
            one = self.book.settings.sources.one
            counts = [nodes.Text(f"{len(taken)} from the {one}s: "), *tally(taken)]
            counts += [nodes.Text(f"{len(own)} of our own: "), *tally(own)]
        return [nodes.paragraph("", "", words, *counts, classes=["claim-counts"])]


class ClaimList(BookDirective):
    """The claims of the book, or of one source, each linked to the cell that checks it."""

    option_spec = {"source": directives.unchanged}
    verdicts: tuple[str, ...] = VERDICTS
    none = "No claims have been checked yet."

    def run(self) -> list[nodes.Node]:
        self.depend()
        found: list[nodes.Node] = []
        for page in self.book.pages.values():
            claims = [claim for claim in page.claims if self.wanted(claim)]
            if not claims:
                continue
            if "source" not in self.options:
                found.append(nodes.rubric("", "", self.link_to_page(page.docname, page.title)))
            rows = [self.row(claim) for claim in claims]
            found.append(self.table(["Claim", "Statement", "Evidence"], rows, "ledger"))
        return found or [nodes.paragraph("", self.none)]

    def row(self, claim: dict[str, Any]) -> list[Cell]:
        """What the list says of a claim."""
        return [self.heading(claim), self.statement(claim), self.evidence(claim)]

    def wanted(self, claim: dict[str, Any]) -> bool:
        """Whether the list has this claim."""
        source = self.options.get("source")
        return claim["verdict"] in self.verdicts and source in (None, self.book.source_of(claim))

    def heading(self, claim: dict[str, Any]) -> list[nodes.Node]:
        """The claim's ID, which leads to its check, and its verdict."""
        ours = [nodes.Text(" (ours)")] if claim["id"] in self.book.own_claims else []
        return [
            nodes.paragraph("", "", self.link_to_claim(claim), *ours),
            nodes.paragraph("", "", badge(claim["verdict"])),
        ]

    def evidence(self, claim: dict[str, Any]) -> nodes.Node:
        """What was checked for the claim."""
        listed = nodes.bullet_list(classes=["evidence"])
        for item in claim["evidence"]:
            if self.shows(claim, item):
                words = [nodes.emphasis("", item["kind"]), nodes.Text(": "), *self.inline(item["text"])]
                listed += nodes.list_item("", nodes.paragraph("", "", *words))
        return listed

    def shows(self, claim: dict[str, Any], evidence: dict[str, str]) -> bool:
        """Whether the list has this piece of evidence."""
        return True

    def statement(self, claim: dict[str, Any]) -> list[nodes.Node]:
        """The claim in words, with its condition and its correction."""
        blocks = self.markdown(claim["statement"])
        for word in ("condition", "correction"):
            if claim.get(word):
                blocks += self.markdown(f"**{word.capitalize()}.** {claim[word]}")
        return blocks


class QuotedClaims(ClaimList):
    """Claims named one by one, as far as they have been checked."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        self.depend()
        checked = {claim["id"]: claim for claim in self.book.claims}
        quoted = [checked[name] for name in self.arguments[0].split() if name in checked]
        rows = [[self.heading(claim), self.statement(claim)] for claim in quoted]
        return [self.table(["Claim", "What was found"], rows, "quoted")] if rows else []


class Errata(ClaimList):
    """The sources' claims that cannot stand as they were written, with what to read instead.

    A hypothesis of the book's own that failed is a result, not an erratum.
    """

    verdicts = ERRATA_VERDICTS
    none = "No claim checked so far needs a correction or a condition."

    def wanted(self, claim: dict[str, Any]) -> bool:
        """Whether the claim is of a source, and not as it was written."""
        return super().wanted(claim) and bool(self.book.source_of(claim))

    def shows(self, claim: dict[str, Any], evidence: dict[str, str]) -> bool:
        """What speaks against the claim as it was written: a counterexample, or the size of its error."""
        errors = {"measured", "asymptotic", "remainder"}
        return evidence["kind"] in (errors if claim["verdict"] == "approximate" else {"counterexample"})


class VerdictLegend(BookDirective):
    """What each verdict means."""

    meanings = {
        "holds": "True as stated, with a proof, a computation to many digits or an attack that failed.",
        "holds under": "True under the condition given; a counterexample shows that the condition is needed.",
        "approximate": "True up to an error that is bounded by a proof or was measured, in the regime given.",
        "needs correction": "Not true as stated; the correction given is, and both are shown.",
        "false": "Not true; the counterexample is shown.",
        "empirical": "An experiment says so; it is cited or repeated, not derived.",
        "open": "Measured, and not decided by it: what was found is shown with its uncertainty.",
    }

    def run(self) -> list[nodes.Node]:
        rows: list[list[Cell]] = [[badge(verdict), self.meanings[verdict]] for verdict in VERDICTS]
        return [self.table(["Verdict", "Meaning"], rows, "legend")]
