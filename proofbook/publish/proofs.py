"""What the displayed steps of a book rest on, counted from the records that its outputs carry."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from proofbook.publish.book import Book


@dataclass(frozen=True)
class DisplayedStep:
    """One displayed line that is no definition: where it stands, and what it rests on."""

    docname: str
    label: str
    number: int
    strategy: str
    detail: str
    evidence: str | None

    @property
    def proved(self) -> bool:
        return self.strategy == "proved"

    @property
    def rule(self) -> str:
        """The rule of the kernel that ended the proof."""
        return self.detail.rsplit(", by ", 1)[-1]


def steps(book: Book) -> list[DisplayedStep]:
    """Every displayed step of the book, in reading order."""
    return [
        DisplayedStep(
            page.docname, equation["label"], number, step["strategy"], step["detail"], step.get("evidence")
        )
        for page in book.pages.values()
        for equation in page.equations
        for number, step in enumerate(equation["steps"], start=1)
        if step["strategy"] != "definition"
    ]


def status(book: Book) -> dict[str, Any]:
    """How many steps are proved and by which rules, and how many rest on evidence of which kind.

    Args:
        book: read with its stored or its executed outputs.

    Returns:
        ``steps``, ``proved``, ``by_rule``, ``evidence`` (by kind) and ``definitions``.
    """
    every = steps(book)
    definitions = sum(
        step["strategy"] == "definition"
        for page in book.pages.values()
        for equation in page.equations
        for step in equation["steps"]
    )
    return {
        "steps": len(every),
        "proved": sum(step.proved for step in every),
        "by_rule": dict(Counter(step.rule for step in every if step.proved).most_common()),
        "evidence": dict(Counter(step.strategy for step in every if not step.proved).most_common()),
        "definitions": definitions,
    }
