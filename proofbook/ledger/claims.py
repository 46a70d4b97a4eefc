"""Claims, and the verdicts that their evidence allows."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proofbook.ledger import run
from proofbook.ledger.evidence import SUPPORTING, Evidence
from proofbook.ledger.formulas import FormulaRefused, Said, filled, names, shown
from proofbook.names import CLAIM_MIME, VERDICTS, claim_anchor, verdict_class
from proofbook.settings import Claims, Settings


class VerdictRefused(Exception):
    """A verdict that the evidence given does not allow."""


@dataclass(frozen=True)
class Claim:
    """A claim with its verdict, condition or correction, and the evidence that was checked for it."""

    id: str
    statement: str
    verdict: str
    evidence: tuple[Evidence, ...]
    condition: str | None = None
    correction: str | None = None
    own: bool = False

    @property
    def source(self) -> str:
        """What the claim is taken from, by its ID; an empty string for a claim of the book itself."""
        return "" if self.own else _form().source(self.id)

    @property
    def anchor(self) -> str:
        """The permanent name of the claim on its page."""
        return claim_anchor(self.id)

    def record(self) -> dict[str, object]:
        """The machine-readable form that the ledger page is made from."""
        return {
            "schema": 1,
            "id": self.id,
            "source": self.source,
            "statement": self.statement,
            "verdict": self.verdict,
            "condition": self.condition,
            "correction": self.correction,
            "evidence": [{"kind": e.kind, "text": e.text} for e in self.evidence],
            "anchor": self.anchor,
        }

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {"text/markdown": self._markdown(), "text/plain": self._plain(), CLAIM_MIME: self.record()}

    def _markdown(self) -> str:
        lines = [
            f":::{{admonition}} {self.id} · {'ours · ' if self.own else ''}{self.verdict}",
            f":class: claim {verdict_class(self.verdict)}",
            f":name: {self.anchor}",
            "",
            self.statement,
            "",
        ]
        if self.condition:
            lines += [f"**Condition.** {self.condition}", ""]
        if self.correction:
            lines += [f"**Correction.** {self.correction}", ""]
        lines += [f"- *{e.kind}:* {e.text}" for e in self.evidence]
        return "\n".join([*lines, ":::"])

    def _plain(self) -> str:
        lines = [f"{self.id}{' (ours)' if self.own else ''}: {self.verdict}", f"  {self.statement}"]
        lines += [
            f"  {name}: {text}"
            for name, text in (("condition", self.condition), ("correction", self.correction))
            if text
        ]
        return "\n".join(lines + [f"  [{e.kind}] {e.text}" for e in self.evidence])


def claim(
    claim_id: str,
    verdict: str,
    *evidence: Evidence,
    condition: str | None = None,
    correction: str | None = None,
    formulas: Mapping[str, Any] | None = None,
) -> Claim:
    """Give a claim its verdict. The statement is that of the book's list; the evidence is already checked.

    The list also says which verdict is expected, which equations it rests on, and how its formulas read.
    A cell that comes to another verdict, that proves it by other equations, or whose formulas read otherwise,
    is refused: one of the two places is wrong.

    A verdict must be earned, and a claim that holds cannot come with a counterexample:

    - ``holds``: supporting evidence, no counterexample;
    - ``holds under``: the condition, supporting evidence, and a counterexample without the condition;
    - ``approximate``: an error with a proved bound, measured or asymptotic, and the regime as condition;
    - ``needs correction``: a counterexample, the correction, and supporting evidence for it;
    - ``false``: a counterexample;
    - ``empirical``: a source or a measurement.
    - ``open``: a measurement that does not decide, and no counterexample.

    Statement, condition and correction name their formulas, as in ``{{law}}``, and these are printed from
    ``formulas``: a derivation that is cited, part of one, or what was ``said`` and compared. Numbers are
    named likewise: give the variables that the check used.

    Raises:
        ValueError: an ID or a verdict that is none, or a claim that is not listed.
        FormulaRefused: a formula that nothing checked speaks of, one that no sentence names, one that was
            stated and has two names, or one that the list has otherwise.
        VerdictRefused: a verdict that the evidence does not allow, or that the list does not expect.
    """
    if not _form().fits(claim_id):
        raise ValueError(f"claim_id must look like {_form().like}, got {claim_id!r}")
    if verdict not in VERDICTS:
        raise ValueError(f"verdict must be one of {VERDICTS}, got {verdict!r}")
    entries = listed_claims()
    if claim_id not in entries:
        raise ValueError(
            f"claim_id {claim_id!r} is not listed in the book's claims/ folder: "
            "list it there with its statement"
        )
    entry = entries[claim_id]
    if problem := _unexpected(entry, verdict, evidence):
        raise VerdictRefused(f"{claim_id}: {problem}")
    if problem := _objection(verdict, [e.kind for e in evidence], condition, correction):
        raise VerdictRefused(f"{claim_id} cannot be called {verdict!r}: {problem}")
    given = formulas or {}
    derivations = [e.derivation for e in evidence if e.derivation is not None]
    texts = [text for text in (entry.statement, condition, correction) if text]
    if idle := sorted(set(given).difference(*map(names, texts))):
        raise FormulaRefused(f"{claim_id}: no sentence names {', '.join(idle)}")
    if twice := _stated_twice(given):
        raise FormulaRefused(f"{claim_id}: {twice} print the same formula, so one is the wrong one")
    try:
        statement, condition, correction = (
            text and filled(text, given, derivations) for text in (entry.statement, condition, correction)
        )
        if problem := _reads_otherwise(entry, shown(given, derivations)):
            raise FormulaRefused(problem)
    except FormulaRefused as error:
        raise FormulaRefused(f"{claim_id}: {error}") from error
    run.claimed(claim_id)
    return Claim(claim_id, statement or "", verdict, tuple(evidence), condition, correction, entry.own)


def _stated_twice(formulas: Mapping[str, Any]) -> str | None:
    """Two names of one formula that was stated, as a wrong variable leaves them; else None."""
    stated: dict[int, str] = {}
    for name, value in formulas.items():
        if isinstance(value, Said) and (other := stated.setdefault(id(value), name)) != name:
            return f"{other} and {name}"
    return None


def _objection(
    verdict: str, kinds: Sequence[str], condition: str | None, correction: str | None
) -> str | None:
    """Why the evidence does not allow the verdict; None when it does."""
    supported = any(k in SUPPORTING or k == "asymptotic" for k in kinds)
    refuted = "counterexample" in kinds
    needs = {
        "holds": [
            (supported, "nothing supports it"),
            (not refuted, "there is a counterexample"),
            (condition is None, "a claim with a condition 'holds under' it"),
            (correction is None, "a claim with a correction 'needs correction'"),
            (any(k in SUPPORTING for k in kinds), "an asymptotic statement is 'approximate'"),
        ],
        "holds under": [
            (bool(condition), "no condition is given"),
            (supported, "nothing supports it"),
            (refuted, "no counterexample shows that the condition is needed"),
        ],
        "approximate": [
            (bool(condition), "no regime is given"),
            (bool({"measured", "asymptotic", "remainder"} & {*kinds}), "no error was bounded or measured"),
        ],
        "needs correction": [
            (refuted, "no counterexample is given"),
            (bool(correction), "no correction is given"),
            (supported, "nothing supports the correction"),
        ],
        "false": [(refuted, "no counterexample is given")],
        "empirical": [
            ("source" in kinds or "measured" in kinds, "neither a source nor a measurement is given")
        ],
        "open": [
            ("measured" in kinds, "no measurement is given"),
            (not refuted, "there is a counterexample"),
            (condition is None, "a claim with a condition 'holds under' it"),
            (correction is None, "a claim with a correction 'needs correction'"),
        ],
    }
    return next((problem for met, problem in needs[verdict] if not met), None)


@dataclass(frozen=True)
class Listed:
    """What the book's list says of a claim, before anything is checked."""

    statement: str
    chapter: str
    verdict: str
    rests_on: frozenset[str]
    own: bool = False
    formulas: Mapping[str, str] | None = None


def _unexpected(entry: Listed, verdict: str, evidence: Sequence[Evidence]) -> str | None:
    """How a cell differs from what the list says of its claim; None when it does not."""
    if verdict != entry.verdict:
        return f"the cell says {verdict!r}, the list in claims/ {entry.verdict!r}"
    cited = {e.derivation.label for e in evidence if e.derivation is not None}
    if missing := sorted(entry.rests_on - cited):
        return f"the list in claims/ says that it rests on {', '.join(missing)}, which the cell does not cite"
    if extra := sorted(cited - entry.rests_on):
        return f"the cell cites {', '.join(extra)}, on which it does not rest by the list in claims/"
    return None


def _reads_otherwise(entry: Listed, formulas: Mapping[str, str]) -> str | None:
    """How the formulas that a cell prints differ from those in the list; None when they do not."""
    if entry.formulas is None:
        return None
    for name in sorted({*formulas, *entry.formulas}):
        here, there = formulas.get(name), entry.formulas.get(name)
        if here != there:
            return (
                f"the formula {name} is {here or 'none'!r} in the cell and {there or 'none'!r} "
                "in the list in claims/, [formulas]: one of the two is wrong"
            )
    return None


def listed_claims(folder: str | Path | None = None) -> dict[str, Listed]:
    """The book's claims by ID, from the files in ``claims/``.

    A file names its ``chapter``, and has a table ``[claims]`` of statements, one ``[verdicts]`` of what each
    is expected to come to, and one ``[rests-on]`` of the equations it is proved by, for those that are. A
    table ``[formulas]``, where there is one, has the TeX of every formula that a claim prints, by claim and
    name: ``C1.law = '\\log n'``. Those of its claims that have a source's number and are the book's own stand
    in the list ``own``.

    Raises:
        ValueError: a claim that is listed twice or without a verdict, or a table that speaks of no claim.
    """
    return _listed((Path(folder) if folder else _claims_folder()).resolve())


@functools.lru_cache(maxsize=None)
def _listed(folder: Path) -> dict[str, Listed]:
    listed: dict[str, Listed] = {}
    for path in sorted(folder.glob("*.toml")):
        with path.open("rb") as file:
            content = tomllib.load(file)
        verdicts, rests_on = content.get("verdicts", {}), content.get("rests-on", {})
        own, formulas = content.get("own", []), content.get("formulas")
        for claim_id, statement in content["claims"].items():
            if claim_id in listed:
                raise ValueError(f"{claim_id} is listed twice, the second time in {path.name}")
            if verdicts.get(claim_id) not in VERDICTS:
                raise ValueError(
                    f"{path.name}: [verdicts] must give {claim_id} one of {VERDICTS}, "
                    f"got {verdicts.get(claim_id)!r}"
                )
            equations = frozenset(rests_on.get(claim_id, ()))
            listed[claim_id] = Listed(
                statement,
                content["chapter"],
                verdicts[claim_id],
                equations,
                claim_id in own,
                None if formulas is None else formulas.get(claim_id, {}),
            )
        tables = {"[verdicts]": verdicts, "[rests-on]": rests_on, "own": own, "[formulas]": formulas or {}}
        for name, table in tables.items():
            if strangers := sorted(set(table) - set(content["claims"])):
                raise ValueError(f"{path.name}: {name} speaks of {', '.join(strangers)}, not listed there")
    return listed


def _form() -> Claims:
    """The form that the book gives the IDs of its claims."""
    return _form_in(_claims_folder().resolve().parent)


@functools.lru_cache(maxsize=None)
def _form_in(book: Path) -> Claims:
    return Settings.read(book).claims


def _claims_folder() -> Path:
    """The folder ``claims`` of the book, from inside the book or from the top of the project."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        for candidate in (folder / "claims", folder / "book" / "claims"):
            if candidate.is_dir():
                return candidate
    raise FileNotFoundError(f"no folder 'claims' in {here} or above: run this inside the book")
