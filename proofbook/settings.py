"""What a book says of itself: ``proofbook.toml`` in the book's folder. Every setting has a default.

::

    [record]                    # what makes a number: proofbook.ledger reads the rest of this table
    packages = ["mylib"]        # whose sources, when they change, make outputs out of date

    [claims]
    id = '[A-Z]\\d+'             # the form of a claim's ID; its group "source" tells which source it is of
    like = "A1"                 # an example, for messages

    [sources]                   # what the claims are taken from, where they are taken from anything
    file = "articles.yml"       # a list of mappings with id, title, date, link
    one = "article"             # what one is called, and the key of a chapter's card that names it
    title = "title"             # the keys, in that list and in the cards, of the title
    original = "title_zh"       # and of the title in the source's own language, where that is another
    language = "zh"             # that language, as a page's "lang" has it
    exercises = 4               # how many labelled exercises the chapter of a source must have

    [chapters]
    sections = ["Takeaways", "Exercises"]    # that every chapter must have
    guides = ["how-to"]         # notebooks that claim nothing, and have no card
    supplements = ["lemmas"]    # notebooks that prove formulas, and claim nothing beside them: no card either

    [outputs]
    data = ["recorded", "data"] # folders that notebooks may read: a change there runs them again
    versions = ["numpy"]        # installed packages whose versions the outputs depend on
    show = ["numpy"]            # those of them that pages name

    [translation]
    languages = ["zh_CN"]       # what pages are translated into, as gettext names it

    [agreement]                 # packages and functions that the two sides of an agreement do not share
    apart = ["mylib", "numpy.convolve"]

    [run-anywhere]
    cell = "%pip install mylib@git+{repository}@{branch}"   # what a hosted notebook runs first
    here = "jupyter lab book"   # what opens the notebooks in the book's own folder
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

__all__ = ["FILE", "BadSettings", "Settings"]

FILE = "proofbook.toml"


class BadSettings(Exception):
    """A book's settings are not what they may be; the message names file, table and key."""


@dataclass(frozen=True)
class Claims:
    """The table ``[claims]``: the form of a claim's ID."""

    id: str = r"(?:(?P<source>[A-Za-z0-9]+)-)?[A-Z]\d+[a-z]?"
    like: str = "C1 or euler-C1"

    def fits(self, claim_id: str) -> bool:
        """Whether an ID has the form that this book gives its claims."""
        return re.fullmatch(self.id, claim_id) is not None

    def source(self, claim_id: str) -> str:
        """The source that a claim is taken from, or an empty string for a claim of the book itself.

        >>> Claims().source("8823-C4"), Claims().source("U1")
        ('8823', '')
        """
        match = re.fullmatch(self.id, claim_id)
        return (match.groupdict().get("source") or "") if match else ""


@dataclass(frozen=True)
class Sources:
    """The table ``[sources]``: what claims are taken from, and how the book calls it."""

    file: str = "sources.yml"
    one: str = "source"
    title: str = "title"
    original: str = ""
    language: str = ""
    exercises: int = 0


@dataclass(frozen=True)
class Chapters:
    """The table ``[chapters]``: what every chapter must have."""

    sections: tuple[str, ...] = ("Takeaways", "Exercises", "References", "Cite this chapter")
    guides: tuple[str, ...] = ()
    supplements: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outputs:
    """The table ``[outputs]``: what the outputs of a notebook depend on beside its code."""

    data: tuple[str, ...] = ("recorded", "data")
    versions: tuple[str, ...] = ("sympy", "numpy", "mpmath", "matplotlib")
    show: tuple[str, ...] = ()


@dataclass(frozen=True)
class Translation:
    """The table ``[translation]``: what pages are translated into."""

    languages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Agreement:
    """The table ``[agreement]``: packages and functions that the two sides of an agreement do not share."""

    apart: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunAnywhere:
    """The table ``[run-anywhere]``: how a notebook gets what it imports, hosted and in the book's folder."""

    cell: str = ""
    here: str = "jupyter lab book"


@dataclass(frozen=True)
class Settings:
    """All tables of a book's settings.

    Args:
        packages: ``packages`` of the table ``[record]``, whose other keys are the ledger's.
    """

    claims: Claims = field(default_factory=Claims)
    sources: Sources = field(default_factory=Sources)
    chapters: Chapters = field(default_factory=Chapters)
    outputs: Outputs = field(default_factory=Outputs)
    translation: Translation = field(default_factory=Translation)
    agreement: Agreement = field(default_factory=Agreement)
    run_anywhere: RunAnywhere = field(default_factory=RunAnywhere)
    packages: tuple[str, ...] = ()

    @classmethod
    def read(cls, book: Path) -> "Settings":
        """The settings in the folder of a book; the defaults where there is no file.

        Raises:
            BadSettings: the file cannot be read, or a table or key is unknown or holds something else.
        """
        path = book / FILE
        try:
            given = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError) as error:
            raise BadSettings(f"{path}: {error}") from None
        tables = {
            "claims": Claims,
            "sources": Sources,
            "chapters": Chapters,
            "outputs": Outputs,
            "translation": Translation,
            "agreement": Agreement,
            "run-anywhere": RunAnywhere,
        }
        if unknown := sorted(set(given) - set(tables) - {"record"}):
            raise BadSettings(f"{path}: unknown tables {unknown}; known are {sorted({*tables, 'record'})}")
        read = {name.replace("-", "_"): _table(path, name, kind, given) for name, kind in tables.items()}
        _check_pattern(path, read["claims"])
        packages = _named(path, "record", given).get("packages", [])
        return cls(**read, packages=_names(path, "record", "packages", packages))


def _named(path: Path, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    table = given.get(name, {})
    if not isinstance(table, dict):
        raise BadSettings(f"{path}: {name} must be a table, got {table!r}")
    return table


def _table(path: Path, name: str, kind: type, given: Mapping[str, Any]) -> Any:
    table = _named(path, name, given)
    known = {one.name: one.default for one in fields(kind)}
    if unknown := sorted(set(table) - set(known)):
        raise BadSettings(f"{path}: [{name}] has unknown keys {unknown}; known are {sorted(known)}")
    values = {}
    for key, value in table.items():
        wanted = type(known[key])
        if wanted is tuple:
            value = _names(path, name, key, value)
        elif type(value) is not wanted:
            raise BadSettings(f"{path}: {key} in [{name}] must be {_WORDS[wanted]}, got {value!r}")
        values[key] = value
    return kind(**values)


_WORDS = {str: "a text", int: "a whole number"}


def _names(path: Path, table: str, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise BadSettings(f"{path}: {key} in [{table}] must be a list of texts, got {value!r}")
    return tuple(value)


def _check_pattern(path: Path, claims: Claims) -> None:
    try:
        re.compile(claims.id)
    except re.error as error:
        raise BadSettings(f"{path}: id in [claims] is no pattern: {error}, got {claims.id!r}") from None
