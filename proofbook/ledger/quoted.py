"""Tables taken from a source: data in a file with its source and a digest, not numbers typed into a cell."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proofbook.ledger.evidence import Evidence, source
from proofbook.ledger.sums import problem_of

__all__ = ["QuotedTable", "quoted"]


@dataclass(frozen=True)
class QuotedTable:
    """A table as its source has it: what it is, whose, and its columns by name.

    >>> table = QuotedTable("accuracy", "su", "Table 1", {"length": (64, 128), "percent": (43, 39)})
    >>> table["percent"][table["length"].index(128)]
    39
    """

    title: str
    key: str
    where: str
    columns: dict[str, tuple[Any, ...]]

    def __getitem__(self, column: str) -> tuple[Any, ...]:
        return self.columns[column]

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """The rows, each with its entries in the order of the columns."""
        return list(zip(*self.columns.values(), strict=True))

    def evidence(self, text: str) -> Evidence:
        """What the table reports, in words, as evidence that cites its source."""
        return source(self.key, f"{text} ({self.where})")


def quoted(name: str, folder: str | Path | None = None) -> QuotedTable:
    """The table ``data/<name>.toml`` of the book, whose content is as ``data/SHA256SUMS`` says.

    The file gives ``title``, ``source`` (a key of the bibliography), ``where`` (the place of the table in the
    source) and ``[columns]``, each a list of the same length.

    Args:
        name: The file without its suffix.
        folder: Where it lies; without it the folder ``data`` of the book, from inside the book or above.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the digest is another or missing, or the file has not what it must have.
    """
    path = (Path(folder) if folder else _data_folder()) / f"{name}.toml"
    content = path.read_bytes()
    if problem := problem_of(path):
        raise ValueError(problem)
    table = tomllib.loads(content.decode())
    columns = table.get("columns")
    texts = [table.get(key) for key in ("title", "source", "where")]
    if set(table) != {"title", "source", "where", "columns"} or not all(
        isinstance(t, str) and t for t in texts
    ):
        raise ValueError(
            f"{path}: a quoted table gives title, source, where and [columns], got {sorted(table)}"
        )
    if not isinstance(columns, dict) or not columns or not all(isinstance(c, list) for c in columns.values()):
        raise ValueError(f"{path}: [columns] must be lists by name")
    lengths = {key: len(column) for key, column in columns.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(f"{path}: the columns must be as long as each other, got {lengths}")
    title, source_key, where = map(str, texts)
    return QuotedTable(title, source_key, where, {key: tuple(column) for key, column in columns.items()})


def _data_folder() -> Path:
    here = Path.cwd()
    places: Sequence[Path] = [
        place for at in (here, *here.parents) for place in (at / "data", at / "book" / "data")
    ]
    for place in places:
        if place.is_dir():
            return place
    raise FileNotFoundError(f"no folder 'data' in {here} or above: run this inside the book")
