"""The claims: counted, listed with their evidence, quoted one by one, and what is wrong among them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives

from proofbook.names import VERDICTS, verdict_class
from proofbook.publish import graph
from proofbook.publish.objects import ERRATA_VERDICTS
from proofbook.publish.sphinx_ext.base import BookDirective, Cell, badge
from proofbook.publish.sphinx_ext.html import HtmlOnly
from proofbook.publish.sphinx_ext.objects import declare, place


def counted(claims: Iterable[dict[str, Any]]) -> list[tuple[str, int]]:
    """Verdicts that occur and how often, in the order of `VERDICTS`."""
    number = Counter(claim["verdict"] for claim in claims)
    return [(verdict, number[verdict]) for verdict in VERDICTS if number[verdict]]


def tally(env: Any, claims: Iterable[dict[str, Any]]) -> list[nodes.Node]:
    """Verdicts that occur, each with its number, in one line."""
    line: list[nodes.Node] = []
    for verdict, number in counted(claims):
        line += [badge(env, verdict, number), nodes.Text(" ")]
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
            counts = tally(self.env, claims)
        else:
            one = self.book.settings.sources.one
            counts = [nodes.Text(f"{len(taken)} from the {one}s: "), *tally(self.env, taken)]
            counts += [nodes.Text(f"{len(own)} of our own: "), *tally(self.env, own)]
        return [nodes.paragraph("", "", words, *counts, classes=["claim-counts"])]


class ClaimList(BookDirective):
    """The claims of the book, or of one source, each linked to the cell that checks it.

    Each row has a permanent name; static/filter.js lets a reader ask for some of them.
    """

    option_spec = {"source": directives.unchanged}
    kind = "ledger"
    verdicts: tuple[str, ...] = VERDICTS
    none = "No claims have been checked yet."

    def run(self) -> list[nodes.Node]:
        self.depend()
        parts = [(name, claims) for name, claims in self.parts() if claims]
        if not parts:
            return [nodes.paragraph("", self.none)]
        if "source" in self.options:
            return [self.rows(claims) for _, claims in parts]
        declare(self.env, self.kind)
        one = escape(self.book.settings.sources.one)
        found: list[nodes.Node] = [HtmlOnly(html=f'<div class="claim-filter" data-one="{one}"></div>\n')]
        for name, claims in parts:
            title = nodes.title("", "", *self.inline(name))
            anchor = nodes.make_id(f"{self.kind}-{name}")
            found.append(
                nodes.section("", title, self.rows(claims, named=True), ids=[anchor], names=[anchor])
            )
        return found

    def parts(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """The claims of the list by what they stand under: the page that checks them."""
        for page in self.book.pages.values():
            yield page.title, [claim for claim in page.claims if self.wanted(claim)]

    def rows(self, claims: list[dict[str, Any]], *, named: bool = False) -> nodes.Node:
        """A table of claims; each row says in its classes what a filter asks for, and may have a name."""
        table = self.table(
            ["Claim", "Statement", "Evidence"], [self.row(claim) for claim in claims], "ledger"
        )
        _, *rows = table.findall(nodes.row)
        for row, claim in zip(rows, claims):
            basis = graph.basis(evidence["kind"] in graph.PROOFS for evidence in claim["evidence"])
            source = nodes.make_id(f"source-{self.book.source_of(claim)}")
            row["classes"] += [verdict_class(claim["verdict"]), f"basis-{basis}", source]
            if named:
                row["ids"].append(place(self.kind, claim["id"]))
        return table

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
            nodes.paragraph("", "", badge(self.env, claim["verdict"])),
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

    kind = "errata"
    verdicts = ERRATA_VERDICTS
    none = "No claim checked so far needs a correction or a condition."

    def parts(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """What is false first, then what needs another wording, then what needs a condition or an error."""
        for verdict in self.verdicts:
            claims = [claim for claim in self.book.claims if claim["verdict"] == verdict]
            yield verdict.capitalize(), [claim for claim in claims if self.wanted(claim)]

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
        rows: list[list[Cell]] = [[badge(self.env, verdict), self.meanings[verdict]] for verdict in VERDICTS]
        return [self.table(["Verdict", "Meaning"], rows, "legend")]
