"""What equations look like: numbered, aligned LaTeX with each line's reason and mark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from proofbook.names import EQUATION_MIME

_SYMBOL = {"=": "=", "<=": r"\le", ">=": r"\ge", "<": "<", ">": ">", "~": r"\approx", ":=": ":="}


@dataclass(frozen=True)
class Row:
    """One line of a display: a relation to the line before, a formula in LaTeX, and why it holds.

    ``mark`` is printed behind the reason; ``strategy`` and ``detail`` go to the record only, as does
    ``evidence``, which says why a line is not proved. Such a line has a relation sign of its own. ``within``
    is the bound of an approximation's error, in LaTeX; it is printed with the reason. ``cites`` are the
    labels of the equations that the proof uses.
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

    def record(self) -> dict[str, Any]:
        """What the record of the equation says of the line."""
        said = asdict(self)
        del said["mark"]
        if self.within is None:
            del said["within"]
        return said


def bundle(label: str, start: str, rows: Sequence[Row], plain: str) -> dict[str, Any]:
    """What Jupyter shows of an equation: Markdown for the page, LaTeX, plain text, and a record of the proof.

    Args:
        label: the permanent name of the equation on the page.
        start: the left-hand side of the first line, in LaTeX.
        rows: the lines.
        plain: the whole as plain text.

    Returns:
        The representations by MIME type.

    Raises:
        ValueError: a reason whose dollars or braces do not balance would break the display.
    """
    body = _aligned(start, rows)
    steps = [row.record() for row in rows]
    return {
        "text/markdown": f"$$\n{body}\n$$ ({label})",
        "text/latex": f"$$\n{body}\n$$",
        "text/plain": plain,
        EQUATION_MIME: {"schema": 1, "label": label, "latex": body, "steps": steps},
    }


def _aligned(start: str, rows: Sequence[Row]) -> str:
    lines = []
    for k, row in enumerate(rows):
        left = start if k == 0 else ""
        sign, tick = _SYMBOL[row.relation], r"\checkmark\,"
        if row.evidence is not None:
            sign, tick = rf"\overset{{\circ}}{{{sign}}}", r"\circ\,\textsf{evidence: }"
        mark = rf"\;{{\scriptsize{tick}\textsf{{{row.mark}}}}}" if row.mark else ""
        bound = "" if row.within is None else rf"\text{{; }}{row.within}"
        lines.append(rf"{left} &{sign} {row.latex} && {_text(row.reason)}{bound}{_cited(row.cites)}{mark}")
    body = " \\\\[4pt]\n".join(lines)
    return "\\begin{aligned}\n" + body + "\n\\end{aligned}"


def _cited(labels: Sequence[str]) -> str:
    return rf"\text{{, by {', '.join(labels)}}}" if labels else ""


def _text(words: str) -> str:
    """Words inside a formula; ``$...$`` in them stays mathematics (a nested dollar would end the display)."""
    parts = words.split("$")
    if len(parts) % 2 == 0:
        raise ValueError(f"unbalanced $ in {words!r}")
    if any(part.count("{") != part.count("}") for part in parts):
        raise ValueError(f"unbalanced braces in {words!r}")
    shown = [r"\text{%s}" % part if k % 2 == 0 else part for k, part in enumerate(parts) if part]
    return "".join(shown)
