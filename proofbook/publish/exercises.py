"""The exercises of a notebook: where they and their solutions are, what they ask, a copy without answers."""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from proofbook.publish.notebooks import BookError, Notebook

__all__ = ["EXERCISE", "SOLUTION", "Asked", "beginnings", "exercises_of", "without_solutions"]

EXERCISE = re.compile(r"^[`:]{3,}\{exercise(?:-start)?\}[^\n]*\n(?:\s*\n)*:label: *(?P<label>\S+)", re.M)
"""Where an exercise begins."""

SOLUTION = re.compile(
    r"^[`:]{3,}\{solution(?:-start)?\} *(?P<label>\S+)[^\n]*\n?(?P<options>(?:\s*:\w+:[^\n]*\n)*)", re.M
)
"""Where the solution of an exercise begins, with its options."""

_WHOLE_EXERCISE = re.compile(
    r"^(?P<fence>[`:]{3,})\{exercise\}[ \t]*(?P<title>[^\n]*)\n(?:\s*\n)*:label: *(?P<label>\S+)[^\n]*\n"
    r"(?P<asks>.*?)^(?P=fence)[ \t]*$",
    re.M | re.S,
)
_WHOLE_SOLUTION = re.compile(
    r"^(?P<fence>[`:]{3,})\{solution\} *(?P<label>\S+)[^\n]*\n(?P<body>.*?)^(?P=fence)[ \t]*\n?", re.M | re.S
)
_START = re.compile(r"^[`:]{3,}\{solution-start\} *(\S+)", re.M)
_END = re.compile(r"^[`:]{3,}\{solution-end\}[^\n]*(?:\n[`:]{3,}[ \t]*$)?\n?", re.M)
_OPTIONS = re.compile(r"\A(?:\s*:\w+:[^\n]*\n)*", re.M)


def beginnings(text: str) -> list[tuple[str, str]]:
    r"""What begins in a piece of Markdown, in order: exercises and solutions, each with the exercise's label.

    >>> beginnings("```{solution} ex-a\n```\n```{exercise}\n:label: ex-b\n```")
    [('solution', 'ex-a'), ('exercise', 'ex-b')]
    """
    found = [(match.start(), "exercise", match["label"]) for match in EXERCISE.finditer(text)]
    found += [(match.start(), "solution", match["label"]) for match in SOLUTION.finditer(text)]
    return [(kind, label) for _, kind, label in sorted(found)]


@dataclass(frozen=True)
class Asked:
    """An exercise: its label, title and question, and its solution as Markdown."""

    label: str
    title: str
    asks: str
    solution: str


def without_solutions(notebook: Notebook) -> Notebook:
    """A copy of a notebook without its solutions and the cells that check them.

    Raises:
        BookError: a solution begins and does not end.
    """
    kept: list[dict[str, Any]] = []
    open_at: str | None = None
    for cell in copy.deepcopy(notebook["cells"]):
        text = cell["source"]
        if cell["cell_type"] == "markdown":
            if start := _START.search(text):
                open_at = start[1]
            if end := _END.search(text):
                open_at = None
                cell["source"] = text[end.end() :].lstrip("\n")
            elif open_at is None:
                cell["source"] = _WHOLE_SOLUTION.sub("", text)
        if open_at is None and (cell["source"].strip() or not text.strip()):
            kept.append(cell)
    if open_at is not None:
        raise BookError(f"the solution of {open_at} begins and does not end")
    return {**notebook, "cells": kept}


def exercises_of(notebook: Notebook) -> Iterator[Asked]:
    """The exercises of a notebook, each with its solution, code included."""
    asked: dict[str, re.Match[str]] = {}
    solved: dict[str, list[str]] = {}
    open_at: str | None = None
    for cell in notebook["cells"]:
        text = cell["source"]
        if cell["cell_type"] == "code":
            if open_at is not None:
                solved[open_at].append(f"```python\n{text}\n```")
            continue
        for match in _WHOLE_EXERCISE.finditer(text):
            asked[match["label"]] = match
        for match in _WHOLE_SOLUTION.finditer(text):
            solved[match["label"]] = [_OPTIONS.sub("", match["body"]).strip()]
        if start := _START.search(text):
            open_at = start[1]
            solved[open_at] = []
            text = re.sub(
                r"\A(?:\s*:\w+:[^\n]*\n)*[`:]{3,}[ \t]*\n?", "", text[text.find("\n", start.start()) + 1 :]
            )
        if open_at is not None:
            end = _END.search(text)
            if words := (text[: end.start()] if end else text).strip():
                solved[open_at].append(words)
            if end:
                open_at = None
    for label, match in asked.items():
        yield Asked(label, match["title"].strip(), match["asks"].strip(), "\n\n".join(solved.get(label, [])))
