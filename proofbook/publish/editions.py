"""Editions of a book beside its website: one PDF, a site to unpack and open, and notebooks without solutions.

Each is made by one command, ``python -m proofbook edition KIND``, into ``_build/editions``.
"""

import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from proofbook.files import write_whole
from proofbook.publish import site
from proofbook.publish.book import Book
from proofbook.publish.exercises import Asked, exercises_of, without_solutions
from proofbook.publish.notebooks import BookError, Notebook, parse
from proofbook.publish.translation import FOLDER

__all__ = ["BROWSERS", "offline", "one_page", "pdf", "slug", "student"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
"""Programs that can print a page to PDF, as systems call them; the variable CHROMIUM names another."""

_WHEN = (1980, 1, 1, 0, 0, 0)  # the same files make the same archive


def folder(root: Path) -> Path:
    """Where editions go."""
    return root / "_build" / "editions"


# --- the site to unpack -------------------------------------------------------------------------------------


def offline(root: Path, html: Path, name: str) -> Path:
    """Pack a built site: unpacked, it opens from the file system.

    Args:
        root: The top of the book's repository.
        html: The folder of the built site.
        name: What the archive, and the folder in it, is called.

    Returns:
        The archive.
    """
    words = f"Open {name}/index.html in a browser. Nothing on these pages asks the network for anything.\n"
    files = {f"{name}/README.txt": words.encode()}
    for path in sorted(html.rglob("*")):
        if path.is_file():
            files[f"{name}/{path.relative_to(html).as_posix()}"] = path.read_bytes()
    return _zipped(folder(root) / f"{name}.zip", files)


def _zipped(target: Path, files: dict[str, bytes]) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in sorted(files.items()):
                entry = zipfile.ZipInfo(name, _WHEN)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, content)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


# --- without solutions --------------------------------------------------------------------------------------


def student(book: Book) -> tuple[Path, Path, int]:
    """Build the book without its solutions, and for whoever marks a notebook of all exercises with theirs.

    Args:
        book: The book; its outputs are those that it shows.

    Returns:
        The archive of the site for students, which has its notebooks too; the rubric; and how many exercises
        there are.

    Raises:
        BookError: the site cannot be built, or the book has no exercise.
    """
    found = {path: list(exercises_of(notebook)) for path, notebook in book.notebooks.items()}
    count = sum(map(len, found.values()))
    if not count:
        raise BookError("the book has no exercise")
    # A translated page would bring the solutions with it.
    translations = f"{book.folder.name}/{FOLDER}/"
    files = {
        name: content
        for name, content in site.staged_files(book).items()
        if not name.startswith(translations) and name.rpartition(".")[0] not in book.translations
    }
    for path in book.notebook_paths:
        staged = parse(files[path.as_posix()], path)
        files[path.as_posix()] = site.written(without_solutions(staged))
    html = _built(folder(book.root) / "student", files)
    archive = offline(book.root, html, f"{slug(book)}-student")
    rubric = folder(book.root) / f"{slug(book)}-rubric.ipynb"
    write_whole(rubric, site.written(_rubric(book, found)))
    return archive, rubric, count


def slug(book: Book) -> str:
    """The title of the book as the name of a file."""
    title = str(book.yaml(book.root / "_config.yml").get("title", "book"))
    return "-".join(re.findall(r"[a-z0-9]+", title.lower())) or "book"


def _built(base: Path, files: dict[str, bytes]) -> Path:
    """A site built from nothing of these files."""
    if base.is_dir():
        shutil.rmtree(base)
    source = base / "source"
    source.mkdir(parents=True)
    site.stage(files, source)
    site.run_jupyter_book(source, base)
    return base / "_build" / "html"


POINTS = (
    (4, "the answer: the checker in the exercise's own cell accepts it"),
    (4, "the argument: each step says why it holds"),
    (2, "the domain: for which values it holds, and where it stops"),
)
"""What a rubric suggests for each exercise."""


def _rubric(book: Book, found: dict[Path, list[Asked]]) -> Notebook:
    total = sum(points for points, _ in POINTS)
    rows = "\n".join(f"| {points} | {what} |" for points, what in POINTS)
    texts = [
        f"# Rubric\n\nEvery exercise, with its solution. Suggested, {total} points each:\n\n"
        f"| points | for |\n|---|---|\n{rows}\n"
    ]
    for path, asked in found.items():
        if asked:
            texts.append(f"## {book.pages[path].title}")
        texts += [
            f"### {one.title} ({one.label})\n\n{one.asks}\n\n**Solution.** {one.solution}" for one in asked
        ]
    cells = [
        {"cell_type": "markdown", "id": f"rubric-{number}", "metadata": {}, "source": text}
        for number, text in enumerate(texts)
    ]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


# --- one PDF ------------------------------------------------------------------------------------------------

_ARTICLE = re.compile(r'<article class="bd-article"[^>]*>(.*?)</article>', re.S)
_HEAD = re.compile(r"<head>(.*?)</head>", re.S)


def one_page(html: Path, pages: Iterable[str]) -> str:
    """The pages of a built site as one page, in order; links among them lead to places in it.

    The page belongs into the folder of the first of them, for the sake of its images.

    Args:
        html: The folder of the site.
        pages: Their names, ``book/index`` say, all in one folder.

    Raises:
        BookError: one is not there, or is no page of a book.
    """
    names = list(pages)
    parts = []
    for name in names:
        path = html / f"{name}.html"
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        article = _ARTICLE.search(text)
        if article is None:
            raise BookError(f"{path} is no page of a book that was built")
        inside = _renamed(article[1], PurePosixPath(name), names)
        parts.append(f'<article class="bd-article" id="{_place(name)}">{inside}</article>')
        if len(parts) == 1:
            found = _HEAD.search(text)
            head = re.findall(
                r'<link[^>]*rel="stylesheet"[^>]*>|<style.*?</style>|<title>.*?</title>',
                found[1] if found else "",
                re.S,
            )
            language = re.search(r'<html[^>]*\slang="([^"]*)"', text)
    return (
        f'<!DOCTYPE html><html lang="{language[1] if language else ""}" data-theme="light" data-mode="light">'
        + '<head><meta charset="utf-8">'
        + "".join(head)
        + "<style>@page{size:A4;margin:18mm 16mm;@bottom-center{content:counter(page);font-size:9pt}}"
        + "article.bd-article{break-before:page}article.bd-article:first-of-type{break-before:auto}"
        + ".headerlink,.copybtn,.edition-hidden{display:none!important}</style></head>"
        + f'<body data-edition="print">{"".join(parts)}</body></html>'
    )


def _place(page: str, anchor: str = "") -> str:
    """The name that an anchor of a page has in the whole."""
    return f"{page.rpartition('/')[2]}--{anchor}" if anchor else f"page--{page.rpartition('/')[2]}"


def _renamed(text: str, page: PurePosixPath, pages: list[str]) -> str:
    """The inside of a page with its anchors renamed, and links to any of them turned to places in one."""

    def turned(found: re.Match[str]) -> str:
        address, _, anchor = found[1].partition("#")
        if re.match(r"[a-z]+:", address):
            return found[0]
        target = os.path.normpath(page.parent / address) if address else f"{page}.html"
        name = target.removesuffix(".html")
        return f'href="#{_place(name, anchor)}"' if name in pages else found[0]

    text = re.sub(r'(?<=\s)id="([^"]+)"', lambda found: f'id="{_place(str(page), found[1])}"', text)
    return re.sub(r'(?<=\s)href="([^"]*)"', turned, text)


def pdf(book: Book, html: Path) -> Path:
    """Print a built site as one PDF, with bookmarks and links, by the browser of the system.

    Args:
        book: The book.
        html: The folder of its built site.

    Returns:
        The PDF.

    Raises:
        BookError: there is no browser, or it fails.
    """
    browser = _browser()
    pages = [path.with_suffix("").as_posix() for path in book.paths]
    whole = html / PurePosixPath(pages[0]).parent / "_print.html"
    target = folder(book.root) / f"{slug(book)}.pdf"
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part.pdf")
    write_whole(whole, one_page(html, pages).encode())
    try:
        with tempfile.TemporaryDirectory() as profile:
            command = [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"),
                *(
                    "--no-pdf-header-footer",
                    "--generate-pdf-document-outline",
                    "--run-all-compositor-stages-before-draw",
                ),
                *(f"--print-to-pdf={part}", whole.as_uri()),
            ]
            done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode or not part.is_file():
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise BookError(f"{browser} printed no PDF: {last}")
        part.replace(target)
    except subprocess.TimeoutExpired as error:
        raise BookError(f"{browser} printed no PDF within {error.timeout:g} seconds") from error
    finally:
        part.unlink(missing_ok=True)
        whole.unlink(missing_ok=True)
    return target


def _browser() -> str:
    named = os.environ.get("CHROMIUM")
    for program in [named] if named else BROWSERS:
        if found := shutil.which(program):
            return found
    raise BookError(
        f"{named} is no program that can be run: CHROMIUM names the browser that prints"
        if named
        else "printing takes Chromium: install the system's (Debian: chromium), or name one in CHROMIUM"
    )
