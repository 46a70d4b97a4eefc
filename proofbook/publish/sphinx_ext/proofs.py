"""Directives about proofs: how many steps are proved, and which rest on evidence."""

from docutils import nodes

from proofbook.publish import followed, proofs
from proofbook.publish.sphinx_ext.base import BookDirective, Cell


class ProofCounts(BookDirective):
    """How many displayed steps are proved, in one line."""

    def run(self) -> list[nodes.Node]:
        self.depend()
        found = proofs.status(self.book)
        rest = found["steps"] - found["proved"]
        words = (
            f"{found['proved']} of {found['steps']} displayed steps are proved for every value of their "
            f"domains; {rest} are shown as evidence."
        )
        return [nodes.paragraph("", words, classes=["proof-counts"])]


class EvidenceList(BookDirective):
    """Every step that is shown as evidence, with the reason that was given for it."""

    def run(self) -> list[nodes.Node]:
        self.depend()
        rows: list[list[Cell]] = [
            [
                self.inline(f"{{eq}}`{step.label}`, step {step.number}"),
                step.detail,
                step.evidence or "",
            ]
            for step in proofs.steps(self.book)
            if not step.proved
        ]
        if not rows:
            return [nodes.paragraph("", "Every displayed step is proved.")]
        return [self.table(["Step", "What speaks for it", "Why there is no proof"], rows, "evidence")]


class AssumptionList(BookDirective):
    """Every assumption, why it is made, and how many steps are proved from it."""

    def run(self) -> list[nodes.Node]:
        self.depend()
        rows: list[list[Cell]] = [
            [
                self.inline(f"Assumption {one.number}, {{eq}}`{one.label}`"),
                self.inline(one.because),
                str(one.steps),
            ]
            for one in proofs.assumptions(self.book)
        ]
        if not rows:
            return [nodes.paragraph("", "The book proves nothing from an assumption.")]
        return [self.table(["Assumption", "Why", "Steps from it"], rows, "assumptions")]


class ProofTable(BookDirective):
    """What became of each step that an earlier edition displayed."""

    def run(self) -> list[nodes.Node]:
        self.depend()
        found = followed.followed(self.book)
        rows: list[list[Cell]] = [
            [
                f"{row['label']}.{row['step']}",
                row["was"],
                row["is"],
                self.inline("{eq}`%s`, step %s" % tuple(row["where"].rsplit(".", 1))) if row["where"] else "",
                row["how"],
            ]
            for row in found
        ]
        short = followed.in_short(found)
        words = (
            f"Of {short['steps']} steps, {short['proved then']} of which were called symbolic, "
            f"{short['proved']} are proved by now, {short['as they stood']} of them with the line "
            f"as it stood; {short['evidence']} are shown as evidence."
        )
        headings = ["Step", "Rested on", "Is", "Now at", "Line"]
        return [nodes.paragraph("", words), self.table(headings, rows, "proof-table", stacks=False)]
