"""What equations look like, and what vouches for them: aligned LaTeX, a record of the proof, its digest.

Nothing here needs SymPy: whoever publishes a page can see whether what it shows belongs to its record.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from proofbook.names import EQUATION_MIME

SCHEMA = 2
PROVED = "proved"
DEFINITION = "definition"
ASSUMPTION = "assumption"
SYMBOL = {"=": "=", "<=": r"\le", ">=": r"\ge", "<": "<", ">": ">", "~": r"\approx", ":=": ":="}


@dataclass(frozen=True)
class Row:
    """One line of a display: a relation to the line before, a formula in LaTeX, and why it holds.

    ``mark`` is printed behind the reason; ``strategy`` and ``detail`` go to the record only, as does
    ``evidence``, which says why a line is not proved. Such a line has a relation sign of its own. ``within``
    is the bound of an approximation's error, in LaTeX; it is printed with the reason. ``cites`` are the
    labels of the equations that the proof uses.

    For whoever checks the line again there are texts that ``derive.readback`` reads: the ``formula``, the
    ``bounds`` of the error from below and above, and ``by``, the citations. And there is the proof's
    ``certificate``.
    """

    relation: str
    latex: str
    reason: str
    strategy: str
    mark: str
    detail: str
    evidence: str | None = None
    within: str | None = None
    cites: tuple[str, ...] = ()
    formula: str = ""
    bounds: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    certificate: dict[str, Any] | None = None

    def record(self) -> dict[str, Any]:
        """What the record of the equation says of the line; the certificate is one line of JSON in it."""
        said = {**asdict(self), "cites": list(self.cites), "bounds": list(self.bounds), "by": list(self.by)}
        if self.certificate is not None:
            said["certificate"] = canonical(self.certificate)
        for empty in ("within", "bounds", "by", "certificate"):
            if not said[empty]:
                del said[empty]
        return said

    @classmethod
    def from_record(cls, said: Mapping[str, Any]) -> Row:
        """The line that a record speaks of.

        Raises:
            TypeError: it has an entry that lines have not, or lacks one.
            ValueError: the certificate is not JSON.
        """
        lists = {key: tuple(said.get(key, ())) for key in ("cites", "bounds", "by")}
        certificate = json.loads(said["certificate"]) if "certificate" in said else None
        return cls(**{**said, **lists, "certificate": certificate})


@dataclass(frozen=True)
class Statement:
    """What the first line is and what all lines speak of, as texts that ``derive.statement`` reads back."""

    start: str
    domain: str
    names: Mapping[str, Sequence[str]]


def bundle(label: str, start: str, rows: Sequence[Row], plain: str, statement: Statement) -> dict[str, Any]:
    """What Jupyter shows of an equation: Markdown for the page, LaTeX, plain text, and a record of the proof.

    Args:
        label: the permanent name of the equation on the page.
        start: the left-hand side of the first line, in LaTeX.
        rows: the lines.
        plain: the whole as plain text.
        statement: what is stated, for whoever checks it again.

    Returns:
        The representations by MIME type.

    Raises:
        ValueError: a reason whose dollars or braces do not balance would break the display.
    """
    record = {
        "schema": SCHEMA,
        "label": label,
        "latex": _aligned(start, rows),
        "start": {"latex": start, "formula": statement.start},
        "domain": statement.domain,
        "names": [canonical([key, *entry]) for key, entry in statement.names.items()],
        "steps": [row.record() for row in rows],
    }
    return _shown({**record, "digest": digest(record, plain)}, plain)


def _shown(record: Mapping[str, Any], plain: str) -> dict[str, Any]:
    return {
        "text/markdown": f"$$\n{record['latex']}\n$$ ({record['label']})",
        "text/latex": f"$$\n{record['latex']}\n$$",
        "text/plain": plain,
        EQUATION_MIME: dict(record),
    }


def canonical(data: Any) -> str:
    """Plain data as one line of JSON, the same for the same data."""
    return json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def digest(record: Mapping[str, Any], plain: str) -> str:
    """The SHA-256 of all that is said: label, statement, domain, marks, certificates, and what is shown."""
    said = {key: value for key, value in record.items() if key != "digest"} | {"plain": plain}
    return hashlib.sha256(canonical(said).encode()).hexdigest()


def faults(data: Mapping[str, Any]) -> Iterator[str]:
    """What an output shows that does not belong to the record it carries; nothing is read or proved here.

    Args:
        data: the representations of an equation by MIME type, as they are stored.
    """
    record = data[EQUATION_MIME]
    if record.get("schema") != SCHEMA:
        yield "the record of what was proved is not of this edition; execute the notebook again"
        return
    try:
        rows = [Row.from_record(step) for step in record["steps"]]
        if record["digest"] != digest(record, data["text/plain"]):
            yield "the record is not the one that its digest was made of"
        if record["latex"] != _aligned(record["start"]["latex"], rows):
            yield "the formula is not made of the lines of its record"
        shown = _shown(record, data["text/plain"])
        if any(data.get(mime) != shown[mime] for mime in shown):
            yield "what is shown is not what the record says"
    except (KeyError, TypeError, ValueError) as error:
        yield f"the record is not one of an equation: {type(error).__name__}: {error}"
        return
    for number, row in enumerate(rows, start=1):
        if (row.strategy == DEFINITION) != (row.relation == ":="):
            yield f"line {number} is a definition in one place and a step in another"
        elif row.strategy == DEFINITION:
            if row.mark or row.certificate or row.evidence:
                yield f"line {number} is a definition and is marked as a step"
        elif row.strategy == ASSUMPTION:
            if row.certificate or row.evidence or row.by or len(rows) > 1:
                yield f"line {number} is an assumption and is marked as a step"
            elif not re.fullmatch(r"Assumption [1-9]\d*", row.mark):
                yield f"line {number} is an assumption with the mark {row.mark!r}"
        elif (row.strategy == PROVED) != (row.evidence is None):
            yield f"line {number} is neither proved nor shown as evidence"
        elif row.strategy == PROVED and row.certificate is None:
            yield f"line {number} is marked as proved and has no certificate"
        elif row.strategy != PROVED and row.certificate is not None:
            yield f"line {number} is evidence and has a certificate"
        elif (row.strategy == PROVED) != row.mark.startswith(PROVED):
            yield f"line {number} has the mark {row.mark!r}, which is not what it rests on"


def plain_text(
    label: str, start: str, rows: Sequence[Row], lines: Sequence[str], bounds: Sequence[str | None] = (None,)
) -> str:
    """A derivation as it is shown where nothing better can be, from its lines and bounds in plain text."""
    shown = [f"{label}: {start}"]
    for row, line, within in zip(rows, lines, bounds):
        bound = "" if within is None else f"{within}; "
        shown.append(f"  {row.relation} {line}   [{row.reason}; {bound}{row.strategy}: {row.detail}]")
    return "\n".join(shown)


def sign(row: Row) -> str:
    """The relation of a line in LaTeX; evidence and assumptions have a sign of their own."""
    shown = SYMBOL[row.relation]
    if row.strategy == ASSUMPTION:
        return rf"\overset{{\mathsf{{A}}}}{{{shown}}}"
    return shown if row.evidence is None else rf"\overset{{\circ}}{{{shown}}}"


def _aligned(start: str, rows: Sequence[Row]) -> str:
    lines = []
    for k, row in enumerate(rows):
        left = start if k == 0 else ""
        tick = r"\checkmark\," if row.evidence is None else r"\circ\,\textsf{evidence: }"
        if row.strategy == ASSUMPTION:
            tick = ""
        mark = rf"\;{{\scriptsize{tick}{_text(row.mark, 'textsf')}}}" if row.mark else ""
        bound = "" if row.within is None else rf"\text{{; }}{row.within}"
        lines.append(
            rf"{left} &{sign(row)} {row.latex} && {_text(row.reason)}{bound}{_cited(row.cites)}{mark}"
        )
    body = " \\\\[4pt]\n".join(lines)
    return "\\begin{aligned}\n" + body + "\n\\end{aligned}"


def _cited(labels: Sequence[str]) -> str:
    return rf"\text{{, by {', '.join(labels)}}}" if labels else ""


def _text(words: str, command: str = "text") -> str:
    """Words inside a formula; ``$...$`` in them stays mathematics (a nested dollar would end the display)."""
    parts = words.split("$")
    if len(parts) % 2 == 0:
        raise ValueError(f"unbalanced $ in {words!r}")
    if any(part.count("{") != part.count("}") for part in parts):
        raise ValueError(f"unbalanced braces in {words!r}")
    shown = [rf"\{command}{{{part}}}" if k % 2 == 0 else part for k, part in enumerate(parts) if part]
    return "".join(shown)
