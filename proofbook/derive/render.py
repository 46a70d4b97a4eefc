"""What a derivation looks like: numbered, aligned LaTeX with each step's reason and mark."""

from __future__ import annotations

from proofbook.derive.latex import latex
from proofbook.names import EQUATION_MIME

_SYMBOL = {"=": "=", "<=": r"\le", ">=": r"\ge", "<": "<", ">": ">", "~": r"\approx", ":=": ":="}


def _text(words: str) -> str:
    """Words inside a formula; ``$...$`` in them stays mathematics (a nested dollar would end the display)."""
    parts = words.split("$")
    if len(parts) % 2 == 0:
        raise ValueError(f"unbalanced $ in {words!r}")
    if any(part.count("{") != part.count("}") for part in parts):
        raise ValueError(f"unbalanced braces in {words!r}")
    shown = [r"\text{%s}" % part if k % 2 == 0 else part for k, part in enumerate(parts) if part]
    return "".join(shown)


def _aligned(start: str, rows: list[dict]) -> str:
    lines = []
    for k, row in enumerate(rows):
        left = start if k == 0 else ""
        mark = rf"\;{{\scriptsize\checkmark\,\textsf{{{row['mark']}}}}}" if row["mark"] else ""
        lines.append(rf"{left} &{_SYMBOL[row['relation']]} {row['latex']} && {_text(row['reason'])}{mark}")
    body = " \\\\[4pt]\n".join(lines)
    return "\\begin{aligned}\n" + body + "\n\\end{aligned}"


def _bundle(label: str, start: str, rows: list[dict], plain: str) -> dict:
    body = _aligned(start, rows)
    record = {
        "schema": 1,
        "label": label,
        "latex": body,
        "steps": [
            {key: row[key] for key in ("relation", "latex", "reason", "strategy", "detail")} for row in rows
        ],
    }
    return {
        "text/markdown": f"$$\n{body}\n$$ ({label})",
        "text/latex": f"$$\n{body}\n$$",
        "text/plain": plain,
        EQUATION_MIME: record,
    }


def derivation_bundle(derivation) -> dict:
    """The representations of a derivation: Markdown for the page, LaTeX, plain text, and a record of the proof."""
    rows = [
        {
            "relation": step.relation,
            "latex": latex(step.expression),
            "reason": step.because,
            "strategy": verified.strategy,
            "mark": verified.mark,
            "detail": verified.detail,
        }
        for step, verified in zip(derivation.steps, derivation.verified)
    ]
    plain = [f"{derivation.label}: {derivation.start}"]
    plain += [
        f"  {row['relation']} {step.expression}   [{row['reason']}; {row['strategy']}: {row['detail']}]"
        for row, step in zip(rows, derivation.steps)
    ]
    return _bundle(derivation.label, latex(derivation.start), rows, _readable("\n".join(plain)))


def definition_bundle(definition) -> dict:
    """The representations of a definition, which has nothing to prove: it is what other lines unfold to."""
    if definition.label is None:
        raise ValueError(f"{definition.name} has no label: give define() one to show it")
    row = {
        "relation": ":=",
        "latex": latex(definition.body),
        "reason": "definition",
        "strategy": "definition",
        "mark": "",
        "detail": "a definition, unfolded wherever the quantity is used",
    }
    plain = _readable(f"{definition.label}: {definition.applied} := {definition.body}")
    return _bundle(definition.label, latex(definition.applied), [row], plain)


def _readable(text: str) -> str:
    """Drop the serial numbers that keep definitions of one name apart."""
    import re

    return re.sub(r"__\d+", "", text)
