"""What the displayed steps of a book rest on, counted from the records that its outputs carry."""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from proofbook.display import ASSUMPTION, DEFINITION
from proofbook.publish.book import Book


@dataclass(frozen=True)
class DisplayedStep:
    """One displayed line that is no definition: where it stands, and what it rests on."""

    docname: str
    label: str
    number: int
    relation: str
    line: str
    strategy: str
    detail: str
    evidence: str | None
    lemmas: tuple[str, ...] = ()
    assumptions: tuple[int, ...] = ()

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
            docname=page.docname,
            label=equation["label"],
            number=number,
            relation=step["relation"],
            line=step["latex"],
            strategy=step["strategy"],
            detail=step["detail"],
            evidence=step.get("evidence"),
            lemmas=_lemmas(step.get("certificate")),
            assumptions=_assumptions(step.get("certificate")),
        )
        for page in book.pages.values()
        for equation in page.equations
        for number, step in enumerate(equation["steps"], start=1)
        if step["strategy"] not in (DEFINITION, ASSUMPTION)
    ]


@dataclass(frozen=True)
class Assumed:
    """An assumption that the book displays; ``steps`` says how many are proved from it."""

    docname: str
    label: str
    number: int
    because: str
    detail: str
    steps: int


def assumptions(book: Book) -> list[Assumed]:
    """The assumptions of the book, in reading order."""
    used = Counter(number for step in steps(book) for number in step.assumptions)
    return [
        Assumed(
            docname=page.docname,
            label=equation["label"],
            number=(number := int(step["mark"].split()[-1])),
            because=step["reason"],
            detail=step["detail"],
            steps=used[number],
        )
        for page in book.pages.values()
        for equation in page.equations
        for step in equation["steps"]
        if step["strategy"] == ASSUMPTION
    ]


_FACTS = ("sign", "hypothesis", "lower end of its range", "upper end of its range")
"""What a proof is given that is no lemma: facts of the domain."""


def _lemmas(certificate: str | None) -> tuple[str, ...]:
    """The lemmas that a proof was given, by their names in its certificate."""
    facts = [text for part in _parts(certificate) for move, text in part.get("moves", []) if move == "fact"]
    names = [text.rpartition(" 0: ")[2] for text in facts if " 0: " in text]
    return tuple(dict.fromkeys(name for name in names if name not in _FACTS))


def _assumptions(certificate: str | None) -> tuple[int, ...]:
    """The numbers of the assumptions that a proof rests on."""
    cites = [cited for part in _parts(certificate) for cited in part.get("cites", [])]
    return tuple(sorted({number for cited in cites for number in cited.get("assumptions", [])}))


def _parts(certificate: str | None) -> list[dict[str, Any]]:
    """A certificate and, of an approximation's, those of its two bounds."""
    data = {} if certificate is None else json.loads(certificate)
    return [data, *(data[side] for side in ("below", "above") if side in data)]


def by_label(book: Book) -> dict[str, list[DisplayedStep]]:
    """The displayed steps of each equation of the book."""
    found: dict[str, list[DisplayedStep]] = {}
    for step in steps(book):
        found.setdefault(step.label, []).append(step)
    return found


def status(book: Book) -> dict[str, Any]:
    """How many steps are proved and by which rules, and how many rest on evidence of which kind.

    Args:
        book: read with its stored or its executed outputs.

    Returns:
        ``steps``, ``proved``, ``by_rule``, ``evidence`` (by kind), ``assumptions`` (by label, how many steps
        are proved from each), ``lemmas`` (how many proofs were given each) and ``definitions``.
    """
    every = steps(book)
    definitions = sum(
        step["strategy"] == DEFINITION
        for page in book.pages.values()
        for equation in page.equations
        for step in equation["steps"]
    )
    return {
        "steps": len(every),
        "proved": sum(step.proved for step in every),
        "by_rule": dict(Counter(step.rule for step in every if step.proved).most_common()),
        "evidence": dict(Counter(step.strategy for step in every if not step.proved).most_common()),
        "assumptions": {one.label: one.steps for one in assumptions(book)},
        "lemmas": dict(Counter(lemma for step in every for lemma in step.lemmas).most_common()),
        "definitions": definitions,
    }
