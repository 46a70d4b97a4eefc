"""Editions: an archive that opens, a student's book without a solution in it, a PDF with everything in it."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from built_site import ROOT, lay_out

from proofbook.publish import editions
from proofbook.publish.book import Book
from proofbook.publish.notebooks import BookError

CHAPTER = Path("book/8823-attention-scale.ipynb")


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    return Book(lay_out(tmp_path_factory.mktemp("editions")))


def test_the_students_book_has_no_solution_and_the_rubric_has_all(book):
    command = [sys.executable, "-m", "proofbook", "--root", str(book.root), "edition", "student", "--stored"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and done.stderr == ""
    (archive,) = editions.folder(book.root).glob("*-student.zip")
    (rubric,) = editions.folder(book.root).glob("*-rubric.ipynb")
    with zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
        everything = b"\n".join(
            opened.read(name) for name in names if name.endswith((".html", ".ipynb", ".js"))
        )
    folder = archive.name.removesuffix(".zip")
    assert f"{folder}/index.html" in names and f"{folder}/_sources/{CHAPTER}" in names
    assert b"solution-start" not in everything and b"sol-" not in everything and b"ex-" in everything
    text = json.dumps(json.loads(rubric.read_text()), ensure_ascii=False)
    count = text.count("**Solution.**")
    assert count == len(re.findall(r"\(ex-[\w-]+\)", text)) > 3 and f"all {count} exercises" in done.stdout


def test_an_archive_is_the_same_each_time_and_says_how_to_open_it(tmp_path):
    html = tmp_path / "html"
    (html / "book").mkdir(parents=True)
    (html / "index.html").write_text("front")
    (html / "book/a.html").write_text("a")
    first = editions.offline(tmp_path, html, "site").read_bytes()
    archive = editions.offline(tmp_path, html, "site")
    assert archive.read_bytes() == first
    with zipfile.ZipFile(archive) as opened:
        assert sorted(opened.namelist()) == ["site/README.txt", "site/book/a.html", "site/index.html"]
        assert b"site/index.html" in opened.read("site/README.txt")


def page(inside):
    head = '<head><title>A book</title><link href="../_static/a.css" rel="stylesheet"></head>'
    head = f'<html lang="fr">{head}'
    return f'{head}<body><nav id="n"></nav><article class="bd-article">{inside}</article></body></html>'


def test_pages_become_one_and_their_links_lead_to_places_in_it(tmp_path):
    (tmp_path / "book").mkdir()
    links = '<a href="b.html#x">b</a> <a href="#x">here</a> <a href="b.html">b</a>'
    out = '<a href="https://a.b/c#x">out</a> <a href="../genindex.html">index</a>'
    (tmp_path / "book/a.html").write_text(page(f'<p id="x">A</p>{links}{out}<img src="../_images/i.png">'))
    (tmp_path / "book/b.html").write_text(page('<p class="y" id="x">B</p>'))
    whole = editions.one_page(tmp_path, ["book/a", "book/b"])
    assert '<p id="a--x">A</p>' in whole and '<p class="y" id="b--x">B</p>' in whole
    assert '<a href="#b--x">b</a> <a href="#a--x">here</a> <a href="#page--b">b</a>' in whole
    assert 'id="page--b"' in whole and out in whole and 'src="../_images/i.png"' in whole
    assert 'href="../_static/a.css"' in whole and "<nav" not in whole
    assert whole.count("<title>A book</title>") == 1 and '<html lang="fr"' in whole
    with pytest.raises(BookError, match=r"c\.html is no page"):
        editions.one_page(tmp_path, ["book/a", "book/c"])


def test_without_a_browser_it_says_what_to_install(book, monkeypatch, tmp_path):
    monkeypatch.setattr(editions, "one_page", lambda *_: "")
    (tmp_path / "book").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    with pytest.raises(BookError, match="Debian: chromium"):
        editions.pdf(book, tmp_path)
    monkeypatch.setenv("CHROMIUM", "nothing-of-the-kind")
    with pytest.raises(BookError, match="CHROMIUM names the browser"):
        editions.pdf(book, tmp_path)


@pytest.mark.skipif(not any(map(shutil.which, editions.BROWSERS)), reason="no Chromium here to print with")
def test_a_pdf_is_printed_and_nothing_is_left_in_the_site(book, tmp_path):
    first = next(iter(book.paths)).with_suffix("")
    for path in book.paths:
        file = tmp_path / path.with_suffix(".html")
        file.parent.mkdir(exist_ok=True)
        file.write_text(page(f"<h1 id='t'>{path.stem}</h1><section id='s'><h2>Of it</h2></section>"))
    printed = editions.pdf(book, tmp_path).read_bytes()
    assert printed.startswith(b"%PDF") and b"/Outlines" in printed
    assert re.search(rb"/MediaBox \[0 0 59[45]", printed)  # A4
    # Its title, and a bookmark to each page and each section of it.
    bookmarks = [line.decode() for line in re.findall(rb"/Title \(([^\n]*)\)", printed)]
    wanted = [name for path in book.paths for name in (path.stem, "Of it")]
    assert sorted(bookmarks) == sorted(["A book", *wanted])
    assert len(re.findall(rb"/Title .*\n/Dest \[", printed)) == len(wanted)
    assert not list((tmp_path / first.parent).glob("_print*"))
