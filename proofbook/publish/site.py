"""Assemble the pages and build the website from them."""

import contextlib
import copy
import errno
import hashlib
import io
import json
import shutil
import sys
import warnings
from collections.abc import Iterable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

from proofbook.files import read_json, write_whole
from proofbook.publish import runs
from proofbook.publish.book import RUNS_FILE, Book
from proofbook.publish.execute import package_folders
from proofbook.publish.notebooks import BookError, Notebook, shown_texts
from proofbook.publish.prose import numbers_named, with_numbers
from proofbook.publish.translation import TranslatedPage, translated, translation_problems

SKIPPED = {".ipynb_checkpoints", "__pycache__"}
FRAME = ("_config.yml", "_toc.yml", "pyproject.toml", "CITATION.cff")
"""Files beside the book's folder that the build reads."""
SHAPING = ("_config.yml", "pyproject.toml", "CITATION.cff", "book/address.yml", "book/proofbook.toml")
"""Files that shape every page."""
READ_BY_SPHINX = (".bib", ".md")
"""Files that Sphinx reads as text, and does not name where they are none."""
TOOLS = (
    "jupyter-book",
    "Sphinx",
    "myst-nb",
    "sphinx-book-theme",
    "pydata-sphinx-theme",
    "sphinx-design",
    "sphinx-exercise",
)


def staged_files(book: Book) -> dict[str, bytes]:
    """Every file the build reads, by path: the book's own, its notebooks with the outputs to show.

    The numbers that prose names are filled in, so that who downloads a notebook reads them, too. Of an
    executed book the outputs are those of the last run, and their durations go along.

    Raises:
        BookError: a notebook was not executed, or has changed since; prose names a number that no cell found;
            a file is not as Sphinx must find it.
    """
    notebooks = book.notebooks  # read also where they go as they are: Sphinx would not name what is none
    _check_frame(book)
    files = {name: (book.root / name).read_bytes() for name in FRAME if (book.root / name).is_file()}
    for path in sorted(book.folder.rglob("*")):
        relative = path.relative_to(book.root)
        if path.is_file() and not SKIPPED.intersection(relative.parts) and relative.as_posix() != RUNS_FILE:
            if path.suffix in READ_BY_SPHINX:
                book.text(path)
            files[relative.as_posix()] = path.read_bytes()
    if book.executed:
        ran = {}
        for path, notebook in notebooks.items():
            record = runs.run_record(book.root, path)
            if record is None:
                raise BookError(f"what the run of {path} left has vanished; execute it again")
            files[path.as_posix()] = written(notebook)
            ran[path.with_suffix("").as_posix()] = {k: record[k] for k in ("seconds", "date", "versions")}
        files[RUNS_FILE] = json.dumps(ran, indent=1).encode()
    for path in book.paths:
        filled = with_numbers_filled_in(book, path)
        if filled is not None:
            files[path.as_posix()] = filled
    for docname, translation in book.translations.items():
        files[f"{docname}{translation.original.suffix}"] = in_translation(book, translation)
    return files


def _check_frame(book: Book) -> None:
    """Read what shapes the build, because Sphinx names no file, or its copy, and that after many lines."""
    config = book.root / "_config.yml"
    if config.is_file() and not isinstance(book.yaml(config), dict):
        raise BookError(f"{config} must hold settings of jupyter-book, by their names")
    _ = book.address
    if (book.root / "CITATION.cff").is_file():
        _ = book.edition


def written(notebook: Notebook) -> bytes:
    """A notebook as the content of a file."""
    return json.dumps(notebook, ensure_ascii=False, indent=1).encode()


def with_numbers_filled_in(book: Book, path: Path) -> bytes | None:
    """A page with the numbers that its prose, captions and alternative texts name; None where it names none.

    Raises:
        BookError: no cell fills in a number that is named.
    """
    named = any(numbers_named(text) for _, text in book.texts(path))
    return _filled_in(book, path, book.source(path)) if named else None


def in_translation(book: Book, translation: TranslatedPage) -> bytes:
    """A page in another language, with the numbers that it names.

    Raises:
        BookError: the translation changes what is the original's, or no cell fills in a number that it names.
    """
    if wrong := list(translation_problems(translation)):
        raise BookError(wrong[0])
    path = translation.original
    page = translated(book.source(path), translation, book.settings.sources)
    return _filled_in(book, path, page)


def _filled_in(book: Book, path: Path, page: Notebook | str) -> bytes:
    """What is to stand in the file of a page, or of its translation, whose original is at `path`."""
    number = partial(book.number, path)
    if isinstance(page, str):
        return with_numbers(page, number).encode()
    notebook = copy.deepcopy(page)
    for holder, key in shown_texts(notebook):
        holder[key] = with_numbers(holder[key], number)
    return written(notebook)


def stage(files: dict[str, bytes], target: Path) -> None:
    """Make `target` hold exactly `files`, touching only what differs, so that Sphinx rereads just that."""
    for path in sorted(target.rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(target).as_posix() not in files:
            path.unlink()
    for name, content in files.items():
        path = target / name
        if not path.is_file() or path.read_bytes() != content:
            write_whole(path, content)


def _digest(files: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
    return digest.hexdigest()


def _frame(book: Book, files: dict[str, bytes]) -> str:
    """What shapes the pages beside their files: configuration, styles, the book's packages and versions.

    The packages, because their docstrings may be pages and they tell current records from stale ones.
    """
    shaping = {
        name: content
        for name, content in files.items()
        if name in SHAPING or name.startswith("book/_static/")
    }
    for name, folder in package_folders(book).items():
        for path in folder.rglob("*"):
            if path.suffix in (".py", ".css", ".js", ".json", ".svg"):
                shaping[f"{name}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    shaping["versions"] = json.dumps({name: version(name) for name in TOOLS}).encode()
    return _digest(shaping)


def _fingerprint(folders: Iterable[Path]) -> str:
    """What tells whether built files are as a build left them: their names, sizes and times."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                stat = path.stat()
                digest.update(f"{path.relative_to(folder)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def build(
    root: Path,
    *,
    executed: bool = True,
    strict: bool = False,
    out: TextIO = sys.stdout,
    book: Book | None = None,
) -> Path:
    """Build the site.

    What an earlier build left is used again as far as it is whole and still answers to the book.

    Args:
        root: The top of the book's repository.
        executed: Show the outputs of the last run, not those stored in the notebooks.
        strict: Build from nothing, apart from the ordinary build; any warning is an error.
        out: Where to say what was built.
        book: The book, if it was read already.

    Returns:
        The front page.

    Raises:
        BookError: it cannot be built.
        OSError: a file cannot be written.
    """
    book = book or Book(root, executed=executed)
    base = root / "_build" / ("strict" if strict else "")
    # jupyter-book puts a folder _build of its own into the one that it is given
    output = base if strict else root
    html = output / "_build" / "html"
    # myst-nb keeps what cells drew in a folder of its own, and never writes a picture that is there again
    left = [html, output / "_build" / ".doctrees", output / "_build" / "jupyter_execute"]
    source, state = base / "source", base / "site.json"
    files = staged_files(book)
    now = {"pages": _digest(files), "frame": _frame(book, files)}
    before = read_json(state)
    before = before if isinstance(before, dict) else {}
    whole = before.get("built") == _fingerprint(left)
    front = html / "index.html"
    if not strict and whole and before == {**now, "built": before["built"]}:
        print(f"the site is up to date: {front}", file=out)
        return front
    # Sphinx cannot see that its own extension or the theme has changed, nor that what it left is torn.
    from_nothing = strict or not whole or before.get("frame") != now["frame"]
    if strict and base.is_dir():
        shutil.rmtree(base)
    state.unlink(missing_ok=True)
    source.mkdir(parents=True, exist_ok=True)
    stage(files, source)
    if from_nothing:
        _remove(*left)
    run_jupyter_book(source, output, strict=strict)
    built = _fingerprint(left)
    write_whole(state, json.dumps({**now, "built": built}).encode())
    print(f"the site is built: {front}", file=out)
    return front


def _remove(*folders: Path) -> None:
    for folder in folders:
        if folder.is_dir():
            shutil.rmtree(folder)
        else:
            folder.unlink(missing_ok=True)


def run_jupyter_book(source: Path, output: Path, *, strict: bool = False) -> None:
    """``jupyter-book build``, in this process.

    Args:
        source: The folder of what is to be built.
        output: The folder in whose folder ``_build`` the site is put.
        strict: Any warning is an error.

    Raises:
        BookError: it fails; what Sphinx says of it is on stderr.
        OSError: a file cannot be read or written, as on a full disk.
    """
    import click
    from jupyter_book.cli.main import main  # type: ignore[import-untyped]  # it carries no types
    from sphinx.util.console import nocolor

    if not sys.stderr.isatty():
        nocolor()
    arguments = ["build", str(source), "--path-output", str(output), "-q"]
    if strict:
        arguments += ["-W", "--keep-going", "-n"]
    said = io.StringIO()
    try:
        with warnings.catch_warnings():
            # It looks at every object in memory and touches deprecated names of whatever is loaded.
            warnings.filterwarnings("ignore", category=FutureWarning, module="sphinx_external_toc")
            # its banners on stdout, its warnings and, for a full disk, a page of traceback on stderr
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
                status = main(arguments, standalone_mode=False)
    except (click.ClickException, RuntimeError, SystemExit) as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _ENVIRONMENT:
            cause.filename = cause.filename or str(output / "_build")  # a full disk does not say where it is
            raise cause from None
        sys.stderr.write(said.getvalue())
        raise BookError(f"the site was not built: {_reason(error)}") from error
    sys.stderr.write(said.getvalue())
    if status:
        raise BookError(f"the site was not built: jupyter-book returned {status}")


_ENVIRONMENT = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO}


def _reason(error: BaseException) -> str:
    """Why jupyter-book gave up, in one line."""
    cause: Any = error.__cause__ or error
    lines = [line.strip(" =") for line in str(cause).splitlines()]
    return next(filter(None, lines), type(cause).__name__)
