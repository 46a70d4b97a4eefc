"""Sentences and tables that carry computed numbers, so that none is typed into the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proofbook.ledger.evidence import against, measured


class Report:
    """Markdown made from computed values; shown by a notebook as text."""

    def __init__(self, markdown: str):
        self.markdown = markdown

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {"text/markdown": self.markdown, "text/plain": self.markdown}


def say(text: str) -> Report:
    """A sentence with computed numbers in it, for the end of a cell: ``say(f"... {x:.3f} nats ...")``."""
    return Report(text)


def table(columns: Sequence[str], rows: Sequence[Sequence], *, caption: str | None = None) -> Report:
    """A table of computed values; format numbers to the digits that are certain.

    >>> print(table(["n", "H"], [[64, "3.69"]]).markdown)
    | n | H |
    |---|---|
    | 64 | 3.69 |
    """
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"a row has {len(row)} cells, the table has {len(columns)} columns: {row}")
    lines = ["| " + " | ".join(map(str, columns)) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return Report("\n".join(([caption, ""] if caption else []) + lines))


def agreement(rows: Sequence[tuple], *, of: tuple[str, str]) -> Report:
    """A table of differences (quantity, difference, bound), each checked against its bound and recorded.

    The largest entry of a difference counts, as in ``measured``; one that is not below its bound raises, so a
    table that is shown is a table that holds.

    Args:
        rows: A fourth entry of one is the scale of the quantity, as ``measured`` takes it.
        of: Where the two computations come from whose differences these are. The lint holds the code to it:
            a package of the settings that is named is used on one side, and no function of it on both.

    >>> print(agreement([("entropy", [1e-15, -2e-15], 1e-13, 6)], of=("numpy", "the formula")).markdown)
    | quantity | largest difference, numpy against the formula |
    |---|---|
    | entropy | < 1e-13 |
    """
    head = f"largest difference, {against(of)}"
    for quantity, difference, bound, *scale in rows:
        measured(quantity, difference, below=bound, scale=scale[0] if scale else 1.0)
    return table(["quantity", head], [[quantity, f"< {bound:g}"] for quantity, _, bound, *_ in rows])


def show(*objects: object) -> None:
    """Show several things in one cell; outside a notebook they are only built."""
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        return
    if get_ipython() is not None:
        display(*objects)
