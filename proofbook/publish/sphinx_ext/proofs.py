"""Directives about proofs: how many steps are proved, and which rest on evidence."""

from docutils import nodes

from proofbook.publish import proofs
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
