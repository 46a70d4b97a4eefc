"""What of a notebook an exercise needs, so that a page can run it: the lines that its names come from."""

import ast
import functools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from proofbook.publish.exercises import beginnings
from proofbook.publish.flow import Names
from proofbook.publish.notebooks import Notebook

__all__ = ["Answerable", "answerable", "awaits_answer"]

IN_A_PAGE = ("mpmath", "proofbook.derive", "sympy")
"""What a page can import, beside Python's own library."""

SHOW = ("proofbook.ledger", "show")
"""What shows several results in a notebook: in a page another function of that name does."""

CHANGE = "change-something"
"""The tag of a cell that a reader may change in the page, to see what holds then."""

USUAL = "from sympy import Abs, Rational, Sum, cosh, exp, log, oo, pi, sinh, sqrt, tanh"
"""What every answer can use; what the notebook calls by one of these names comes after it."""


@dataclass(frozen=True)
class Answerable:
    """An exercise, or a cell to change, as a page runs it.

    Args:
        label: The exercise, or the ID of the cell.
        cell: The number of its cell in the notebook.
        code: What a reader sees of that cell, three dots and all.
        before: The code that makes the names in it, and those that the book's own answer has.
        lacks: The modules that it needs and a page does not have.
        asks: Whether it is an exercise.
    """

    label: str
    cell: int
    code: str
    before: str
    lacks: tuple[str, ...]
    asks: bool = True


def answerable(notebook: Notebook) -> Iterator[Answerable]:
    """The exercises whose cells check an answer, by ``.check(...)`` with dots, and the cells to change."""
    earlier: list[ast.stmt] = []
    asked = ""  # the exercise that waits for its cell
    for number, cell in enumerate(notebook["cells"]):
        text = cell["source"]
        if cell["cell_type"] == "markdown":
            for kind, label in beginnings(text):
                asked = label if kind == "exercise" else ""
        elif cell["cell_type"] == "code":
            try:
                here = ast.parse(text).body
            except SyntaxError:  # a line for IPython alone
                continue
            if asked and any(map(_checks, here)):
                yield _cut(asked, number, text, here, earlier, _solved(notebook["cells"][number + 1 :]))
                asked = ""
            elif CHANGE in cell.get("metadata", {}).get("tags", []):
                yield _to_change(cell["id"], number, text, here, earlier)
            earlier += _singly(here)


def awaits_answer(code: str) -> bool:
    """Whether a cell has the three dots that a reader replaces."""
    try:
        nodes = list(ast.walk(ast.parse(code)))
    except SyntaxError:
        return False
    return any(isinstance(node, ast.Constant) and node.value is ... for node in nodes)


def _checks(one: ast.stmt) -> bool:
    calls = (node for node in ast.walk(one) if isinstance(node, ast.Call))
    return any(
        isinstance(call.func, ast.Attribute)
        and call.func.attr == "check"
        and any(isinstance(given, ast.Constant) and given.value is ... for given in call.args)
        for call in calls
    )


def _solved(cells: Sequence[dict[str, Any]]) -> set[str]:
    """The names that the first cell that checks a solution has from before it."""
    texts = (cell["source"] for cell in cells if cell["cell_type"] == "code")
    text = next((text for text in texts if ".solution(" in text), "")
    return _open(ast.parse(text).body)


def _cut(
    label: str,
    number: int,
    text: str,
    here: list[ast.stmt],
    earlier: list[ast.stmt],
    solved: set[str],
) -> Answerable:
    # What else the book does in such a cell, filling a number into a sentence say, is not for the reader.
    asking = [one for one in here if _checks(one)]
    kept = [one for one in here if one in asking or one in _needed(asking, here)]
    speaks = [ast.parse(name).body[0] for name in sorted(solved)]
    known = [one for one in speaks if not _lacking(_needed([one], [*earlier, *kept]))]
    before = _needed([*kept, *known], earlier)
    return Answerable(
        label=label,
        cell=number,
        code=_without(text, [one for one in here if one not in kept]),
        before="\n".join([USUAL, *map(ast.unparse, before)]),
        lacks=_lacking([*before, *kept]),
    )


def _to_change(
    label: str, number: int, text: str, here: list[ast.stmt], earlier: list[ast.stmt]
) -> Answerable:
    before = _needed(here, earlier)
    code = "\n".join([USUAL, *map(ast.unparse, before)])
    return Answerable(label, number, text, code, _lacking([*before, *here]), asks=False)


def _needed(wanting: Sequence[ast.stmt], earlier: Sequence[ast.stmt]) -> list[ast.stmt]:
    """The statements that the names in some come from, in order."""
    wanted = _open(wanting)
    found: list[ast.stmt] = []
    for one in reversed(earlier):
        names = _names(one)
        if not isinstance(one, ast.Expr) and names.made & wanted:
            found.append(one)
            wanted = (wanted - names.surely_made) | names.used
    return found[::-1]


@functools.lru_cache(maxsize=4096)
def _names(one: ast.stmt) -> Names:
    """Read once, though every exercise of a chapter looks through all statements before it."""
    return Names(one)


def _open(statements: Sequence[ast.stmt]) -> set[str]:
    """The names that statements have from before them."""
    wanted: set[str] = set()
    for one in reversed(statements):
        names = _names(one)
        wanted = (wanted - names.surely_made) | names.used
    return wanted


def _singly(here: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements with an import for each name; the page itself has what shows results."""
    for one in here:
        if isinstance(one, ast.Import):
            yield from (ast.Import([alias]) for alias in one.names)
        elif isinstance(one, ast.ImportFrom):
            names = [alias for alias in one.names if (one.module, alias.name) != SHOW]
            yield from (ast.ImportFrom(one.module, [alias], one.level) for alias in names)
        else:
            yield one


def _lacking(statements: Sequence[ast.stmt]) -> tuple[str, ...]:
    """The modules that statements import and a page does not have."""
    modules: set[str] = set()
    for one in statements:
        if isinstance(one, ast.Import):
            modules |= {alias.name for alias in one.names}
        elif isinstance(one, ast.ImportFrom):
            modules.add(one.module or ".")
    return tuple(sorted(module for module in modules if not _in_a_page(module)))


def _in_a_page(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names or any(
        f"{module}.".startswith(f"{known}.") for known in IN_A_PAGE
    )


def _without(text: str, dropped: Sequence[ast.stmt]) -> str:
    gone = {line for one in dropped for line in range(one.lineno, (one.end_lineno or one.lineno) + 1)}
    lines = [line for number, line in enumerate(text.split("\n"), 1) if number not in gone]
    return "\n".join(lines).strip("\n")
