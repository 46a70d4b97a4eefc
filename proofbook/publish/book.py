"""A book as it lies on disk: its settings, its pages in order, its notebooks and what their outputs say."""

import json
import tomllib
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from proofbook.files import read_json
from proofbook.publish import benchmarks, runs
from proofbook.publish.address import Address, read_address
from proofbook.publish.citation import Edition, read_edition
from proofbook.publish.flow import Flow
from proofbook.publish.notebooks import (
    BookError,
    Notebook,
    Page,
    first_heading,
    load,
    read_page,
    shown_texts,
)
from proofbook.publish.translation import TranslatedPage, name_of
from proofbook.settings import BadSettings, Settings

if TYPE_CHECKING:
    from proofbook.ledger.record import PresentCode

__all__ = ["RUNS_FILE", "Book"]

RUNS_FILE = "book/_runs.json"
"""Where the pages of a build find how long each notebook ran, and with what."""


class Book:
    """The book in the repository `root`: every part is read when it is first asked for, and once.

    What was read stays as it was, so that what is checked of a `Book` is what is built of it, whatever an
    editor saves meanwhile.

    Args:
        root: The folder of ``_toc.yml`` and ``_config.yml``; pages and data lie in its folder ``book``.
        executed: Show the outputs of the last run, not those stored in the notebooks.

    Raises:
        BookError: every part, when it is read, for a file that is not as it must be.
    """

    def __init__(self, root: Path, *, executed: bool = False):
        self.root = root
        self.executed = executed
        self.folder = root / "book"
        self._prose: dict[Path, str] = {}

    @cached_property
    def settings(self) -> Settings:
        """What the book says of itself in ``proofbook.toml``."""
        try:
            return Settings.read(self.folder)
        except BadSettings as error:
            raise BookError(str(error)) from error

    @cached_property
    def paths(self) -> list[Path]:
        """Every page of ``_toc.yml``, in reading order, relative to the root.

        An entry that names no file, or a file twice, raises: a chapter that silently drops out is worse
        than a failed build.
        """
        found = []
        names = list(_names(self.yaml(self.root / "_toc.yml")))
        for name in names:
            if names.count(name) > 1:
                raise BookError(f"_toc.yml lists {name} twice")
            for suffix in ("", ".ipynb", ".md"):
                path = self.root / f"{name}{suffix}"
                if path.is_file():
                    found.append(path.relative_to(self.root))
                    break
            else:
                raise BookError(f"_toc.yml lists {name}, but there is no {name}.ipynb and no {name}.md")
        return found

    @cached_property
    def notebook_paths(self) -> list[Path]:
        """The notebooks among the pages."""
        return [path for path in self.paths if path.suffix == ".ipynb"]

    @cached_property
    def notebooks(self) -> dict[Path, Notebook]:
        """The notebooks, with the outputs that are to be shown."""
        if self.executed:
            return {path: runs.with_outputs(self.root, path) for path in self.notebook_paths}
        return {path: load(self.root / path) for path in self.notebook_paths}

    @cached_property
    def pages(self) -> dict[Path, Page]:
        """What each notebook holds: its card and the records in its outputs."""
        sources = self.settings.sources
        return {
            path: read_page(notebook, path.with_suffix("").as_posix(), sources)
            for path, notebook in self.notebooks.items()
        }

    def number(self, path: Path, page: str | None, name: str) -> str:
        """What a cell fills in where the page `path` names a number, of its own or of another page.

        Raises:
            BookError: no cell of that page fills it in.
        """
        stem = page or path.stem
        home = next((one for other, one in self.pages.items() if other.stem == stem), None)
        if home is None or name not in home.numbers:
            named = f"{page}:{name}" if page else name
            raise BookError(f"{path} names the number {{{{{named}}}}}, which no cell of {stem} fills in")
        return home.numbers[name]

    def page(self, docname: str) -> Page | None:
        """The page of that name; None where no notebook is."""
        return next((page for page in self.pages.values() if page.docname == docname), None)

    @cached_property
    def translations(self) -> dict[str, TranslatedPage]:
        """The pages in other languages that somebody has begun, by their names."""
        read = [TranslatedPage.read(self.folder, one, path) for one in self.languages for path in self.paths]
        return {one.docname: one for one in read if one}

    @cached_property
    def languages(self) -> dict[str, str]:
        """The languages that pages are translated into, each with what it calls itself."""
        return {language: name_of(language) for language in self.settings.translation.languages}

    def original(self, docname: str) -> str:
        """The page of that name, or, where it is a translation, the one that it translates."""
        one = self.translations.get(docname)
        return one.original.with_suffix("").as_posix() if one else docname

    @cached_property
    def claims(self) -> list[dict[str, Any]]:
        """The records of all claims that were checked, in reading order."""
        return [claim for page in self.pages.values() for claim in page.claims]

    def source_of(self, claim: dict[str, Any]) -> str:
        """The source that a claim is taken from, or an empty string for a claim of the book itself."""
        return "" if claim["id"] in self.own_claims else self.settings.claims.source(claim["id"])

    @property
    def listed_claims(self) -> dict[str, str]:
        """The chapter that each claim is listed for in ``claims/``."""
        return self._claim_lists[0]

    @property
    def own_claims(self) -> frozenset[str]:
        """The claims that have the number of a source and are the book's own, by the lists in ``claims/``."""
        return self._claim_lists[1]

    @cached_property
    def _claim_lists(self) -> tuple[dict[str, str], frozenset[str]]:
        listed: dict[str, str] = {}
        own: set[str] = set()
        for content in self._claim_tables.values():
            listed |= dict.fromkeys(content["claims"], content["chapter"])
            own.update(content.get("own", []))
        return listed, frozenset(own)

    @cached_property
    def claim_statements(self) -> dict[Path, dict[str, str]]:
        """By list, relative to the root, the statement of each claim as it is typed there."""
        return {
            file.relative_to(self.root): {claim: str(text) for claim, text in content["claims"].items()}
            for file, content in self._claim_tables.items()
        }

    @cached_property
    def _claim_tables(self) -> dict[Path, dict[str, Any]]:
        found = {}
        for file in self.claim_files:
            try:
                content = tomllib.loads(self.text(file))
                if not isinstance(content["chapter"], str) or not isinstance(content["claims"], dict):
                    raise ValueError("it needs the name of a chapter and a table of claims")
            except (ValueError, KeyError) as error:
                raise BookError(f"{file} is no list of claims: {error}") from error
            found[file] = content
        return found

    @cached_property
    def flows(self) -> dict[Path, Flow]:
        """By notebook, where the values in its code come from."""
        return {path: Flow(notebook) for path, notebook in self.notebooks.items()}

    @property
    def claim_files(self) -> list[Path]:
        """The lists of claims."""
        return sorted((self.folder / "claims").glob("*.toml"))

    @cached_property
    def sources(self) -> list[dict[str, Any]]:
        """What the claims are taken from: the entries of the file that the settings name, if there is one."""
        settings = self.settings.sources
        entries = self.data(settings.file) or []
        needed = {"id", settings.title, "date", "link", *filter(None, [settings.original])}
        for entry in entries:
            if not isinstance(entry, dict) or needed - set(entry):
                raise BookError(f"book/{settings.file}: an entry needs {sorted(needed)}, got {entry!r}")
        return [{key: str(value) for key, value in entry.items()} for entry in entries]

    @cached_property
    def address(self) -> Address:
        """Where the book and its repository live."""
        return read_address(self.root)

    @cached_property
    def edition(self) -> Edition:
        """What identifies the present edition."""
        return read_edition(self.root)

    @cached_property
    def runs(self) -> dict[str, dict[str, Any]]:
        """By page, when and how long its notebook ran and with what, for the site that is being built."""
        return read_json(self.root / RUNS_FILE) or {}

    @cached_property
    def recorded(self) -> list[dict[str, Any]]:
        """The recorded runs of the chapters' checks."""
        from proofbook.ledger.record import validate

        paths = [path for path in self.record_files if not path.match(benchmarks.PATTERN)]
        return [self._record(path, validate) for path in paths]

    @cached_property
    def benchmarks(self) -> list[dict[str, Any]]:
        """The recorded benchmarks."""
        paths = [path for path in self.record_files if path.match(benchmarks.PATTERN)]
        return [self._record(path, benchmarks.validate) for path in paths]

    @cached_property
    def record_files(self) -> list[Path]:
        """The files of recorded runs and benchmarks."""
        return sorted((self.folder / "recorded").glob("*.json"))

    @cached_property
    def data_files(self) -> list[Path]:
        """Every file in the folders of data that the settings name."""
        folders = [self.folder / name for name in self.settings.outputs.data]
        return [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]

    @cached_property
    def present_code(self) -> "PresentCode":
        """Digests of the code as it is, which tell a record of other code."""
        from proofbook.ledger.record import PresentCode  # with it comes SymPy, which most uses do without

        return PresentCode(self.folder)

    def source(self, path: Path) -> Notebook | str:
        """A page as it is written: a notebook with the outputs that are to be shown, or Markdown."""
        return self.notebooks[path] if path in self.notebooks else self.prose(path)

    def texts(self, path: Path) -> Iterator[tuple[str, str]]:
        """Every text of a page that was typed for readers: what it is, ``caption`` say, and the text.

        A piece of Markdown is called ``source``.
        """
        if path not in self.notebooks:
            yield "source", self.prose(path)
            return
        for holder, key in shown_texts(self.notebooks[path]):
            yield key, holder[key]

    def prose(self, path: Path) -> str:
        """All hand-written Markdown of a page, code included."""
        if path not in self._prose:
            if path in self.notebooks:
                cells = self.notebooks[path]["cells"]
                text = "\n\n".join(cell["source"] for cell in cells if cell["cell_type"] == "markdown")
            else:
                text = self.text(self.root / path)
            self._prose[path] = text
        return self._prose[path]

    def title(self, path: Path) -> str:
        """The first heading of a page, as it was written; its name where it has none."""
        return first_heading(self.prose(path)) or path.stem

    def code_cells(self) -> Iterator[tuple[Path, int, dict[str, Any]]]:
        """Every code cell of the book: its notebook, its place there, the cell."""
        for path, notebook in self.notebooks.items():
            for index, cell in enumerate(notebook["cells"]):
                if cell["cell_type"] == "code":
                    yield path, index, cell

    def data(self, name: str) -> Any:
        """A YAML file in the book's folder, or None where there is none."""
        file = self.folder / name
        return self.yaml(file) if file.is_file() else None

    def text(self, path: Path) -> str:
        """A text file; raises `BookError` where it cannot be read."""
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BookError(f"{path} cannot be read: {error}") from error

    def yaml(self, path: Path) -> Any:
        """What a YAML file holds; raises `BookError` where it cannot be read or is none."""
        try:
            return yaml.safe_load(self.text(path))
        except yaml.YAMLError as error:
            raise BookError(f"{path} is not YAML: {' '.join(str(error).split())}") from error

    def _record(self, path: Path, validate: Callable[[object], None]) -> dict[str, Any]:
        """What a record holds, validated."""
        try:
            record: dict[str, Any] = json.loads(path.read_bytes())
            validate(record)
        except (OSError, ValueError) as error:
            raise BookError(f"{path} is no record that can be shown: {error}") from error
        return record


def _names(toc: Any) -> Iterator[str]:
    """The names of the pages in a table of contents, in reading order."""
    if isinstance(toc, dict):
        for key, value in toc.items():
            if key in ("root", "file"):
                yield str(value)
            else:
                yield from _names(value)
    elif isinstance(toc, list):
        for item in toc:
            yield from _names(item)
