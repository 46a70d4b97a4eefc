"""What a book says of its records: the ``[record]`` table of ``proofbook.toml`` in the book's folder."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FILE", "BadSettings", "Settings"]

FILE = "proofbook.toml"


class BadSettings(Exception):
    """The ``[record]`` table of a book does not say what it may say."""


@dataclass(frozen=True)
class Settings:
    """What counts in a record, and who knows the device.

    Args:
        packages: The packages whose code can make a number. What a chapter reaches of them by imports is what
            its record depends on, together with its own code.
        ignore: Modules of those packages that make no number, as one of colours.
        hooks: The module whose functions are :class:`proofbook.ledger.hooks.Hooks`; None for the plain ones.
    """

    packages: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    hooks: str | None = None

    @classmethod
    def read(cls, book: Path) -> Settings:
        """The settings in the folder of a book; those of a book that says nothing where there is no file.

        Raises:
            BadSettings: the file is no TOML, or a key of its table is unknown or holds something else.
        """
        path = book / FILE
        if not path.is_file():
            return cls()
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8")).get("record", {})
        except ValueError as error:
            raise BadSettings(f"{path}: {error}") from None
        if not isinstance(table, dict):
            raise BadSettings(f"{path}: record must be a table, got {table!r}")
        if unknown := sorted(set(table) - set(cls.__dataclass_fields__)):
            raise BadSettings(f"{path}: [record] has unknown keys {unknown}")
        for name in ("packages", "ignore"):
            names = table.get(name, [])
            if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
                raise BadSettings(f"{path}: {name} in [record] must be a list of names, got {names!r}")
        if not isinstance(hooks := table.get("hooks", ""), str):
            raise BadSettings(f"{path}: hooks in [record] must be the name of a module, got {hooks!r}")
        return cls(tuple(table.get("packages", ())), tuple(table.get("ignore", ())), hooks or None)
