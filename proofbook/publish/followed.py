"""What became of the steps that an earlier edition displayed, one by one, in a table that cannot go stale.

``book/proof-table.json`` lists the steps of that edition: label, number, relation and line, and what each
rested on. The rest of a row is read from the book's outputs.
"""

import json
from typing import Any

from proofbook.files import write_whole
from proofbook.publish.book import Book
from proofbook.publish.notebooks import BookError
from proofbook.publish.proofs import DisplayedStep, by_label

FILE = "proof-table.json"
THEN = ("label", "step", "relation", "line", "was")
NOW = ("how", "where", "is")


def listed(book: Book) -> list[dict[str, Any]]:
    """The rows of the table as it is stored; none where the book has no table.

    Raises:
        BookError: the file holds something else.
    """
    file = book.folder / FILE
    if not file.is_file():
        return []
    try:
        rows = json.loads(book.text(file))
        if not all({*THEN} <= {*row} <= {*THEN, *NOW, "instead"} for row in rows):
            raise ValueError(f"a row has {THEN}, perhaps 'instead', and what the command adds")
    except (ValueError, TypeError) as error:
        raise BookError(f"{file} is no table of steps: {error}") from error
    return list(rows)


def followed(book: Book) -> list[dict[str, Any]]:
    """The rows of the table as they ought to be, given the outputs of the book.

    A step is followed to the one with the same line in the equation of its label, else to the one with its
    number there (the last, if there are fewer), or to the step that its row names with ``instead``, such as
    ``eq-other.2``.
    """
    known = by_label(book)
    return [_followed(row, known) for row in listed(book)]


def _followed(row: dict[str, Any], known: dict[str, list[DisplayedStep]]) -> dict[str, Any]:
    then = {key: row[key] for key in (*THEN, "instead") if key in row}
    if "instead" in row:
        label, _, number = row["instead"].rpartition(".")
        how, steps = "replaced", [step for step in known.get(label, []) if str(step.number) == number]
    else:
        steps = known.get(row["label"], [])
        same = [step for step in steps if (step.relation, step.line) == (row["relation"], row["line"])]
        how = "same line" if same else "restated"
        steps = same or steps[row["step"] - 1 : row["step"]] or steps[-1:]
    if not steps:
        return then | {"how": "gone", "where": None, "is": "not in the book"}
    found = steps[0]
    rests = f"proved by {found.rule}" if found.proved else f"evidence: {found.strategy}"
    return then | {"how": how, "where": f"{found.label}.{found.number}", "is": rests}


def as_text(rows: list[dict[str, Any]]) -> str:
    """The table as its file holds it, one row on a line."""
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return f"[\n{lines}\n]\n"


def write(book: Book) -> bool:
    """Write the table anew; say whether that changed it."""
    file = book.folder / FILE
    content = as_text(followed(book)).encode()
    if not file.is_file() or file.read_bytes() == content:
        return False
    write_whole(file, content)
    return True


def in_short(rows: list[dict[str, Any]]) -> dict[str, int]:
    """How many steps there are in the table, and what became of them."""
    proved = [row for row in rows if row["is"].startswith("proved")]
    return {
        "steps": len(rows),
        "proved then": sum(row["was"] == "symbolic" for row in rows),
        "proved": len(proved),
        "as they stood": sum(row["how"] == "same line" for row in proved),
        "evidence": sum(row["is"].startswith("evidence") for row in rows),
        "gone": sum(row["how"] == "gone" for row in rows),
    }
