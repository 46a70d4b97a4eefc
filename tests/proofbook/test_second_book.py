"""A small book on another subject, from the template: executed, linted, built, and built again."""

import contextlib
import io
import json
import re
import shutil
import warnings
from pathlib import Path

import pytest

from proofbook.__main__ import main
from proofbook.ledger.record import PresentCode
from proofbook.publish import checking, lint, site, template
from proofbook.publish.book import Book
from proofbook.publish.notebooks import BookError

CHAPTERS = Path(__file__).parent / "second_book"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The template, two chapters more, and letters that one of them is about; with stored outputs."""
    root = tmp_path_factory.mktemp("second") / "book"
    assert main(["new", str(root), "--title", 'Sums & "swings"', "--author", "A. Nobody"]) == 0
    shutil.copytree(CHAPTERS, root, dirs_exist_ok=True)
    assert main(["--root", str(root), "execute", "--in-place"]) == 0
    return root


def build(root: Path, **options) -> Path:
    """Build the site in this process, where Sphinx is imported only once; nothing may be said on stderr."""
    error = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stderr(error):
        warnings.simplefilter("ignore")  # of the imports; Sphinx's own warnings are on stderr
        front = site.build(root, **options)
    assert error.getvalue() == ""
    return front.parent


def read(html: Path, page: str) -> str:
    return (html / page).read_text(encoding="utf-8")


def test_the_book_has_all_a_book_must_have(root):
    assert lint.check_book(root) == []
    assert lint.check_book(root, executed=True) == []


def test_its_derivations_and_verdicts_are_real(root):
    book = Book(root)
    assert {claim["id"]: claim["verdict"] for claim in book.claims} == {
        "S1": "holds",
        "P1": "holds",
        "P2": "false",
        "galileo-C1": "needs correction",
        "P3": "holds",
    }
    strategies = {
        equation["label"]: [step["strategy"] for step in equation["steps"]]
        for page in book.pages.values()
        for equation in page.equations
    }
    assert len(strategies) == 5 and strategies["eq-cubes"] == ["proved", "proved"]
    again = checking.check(book, jobs=2)
    assert not again.failures and again.proved == str(strategies).count("'proved'")


@pytest.fixture(scope="module")
def html(root):
    return build(root, executed=False, strict=True)


def test_its_pages_are_made_of_its_records(html):
    index, ledger = read(html, "book/index.html"), read(html, "book/ledger.html")
    assert "5 derivations verified, 5 claims checked" in index and "Sums &amp; &#34;swings&#34;" in index
    for page, claim in (("sums", "s1"), ("sums-of-powers", "p2"), ("pendulum", "galileo-c1")):
        assert f'href="{page}.html#claim-{claim}"' in ledger
        assert f'id="claim-{claim}"' in read(html, f"book/{page}.html")
    assert 'href="pendulum.html#equation-eq-period"' in ledger
    assert 'id="fig-period"' in read(html, "book/pendulum.html")


def test_its_settings_name_what_it_works_from(html):
    letters, pendulum = read(html, "book/letters.html"), read(html, "book/pendulum.html")
    assert "<p>Letter</p>" in letters and letters.count("in preparation") == 1
    assert "&lt;b&gt;not yet&lt;/b&gt;" in letters  # a title is data: what looks like HTML in it is shown
    assert letters.count("#claim-galileo-c1") == 1 and "#claim-p2" not in letters  # its own is no erratum
    assert "Letter galileo · 1602-11-29 ·" in pendulum
    assert "Article" not in letters + pendulum
    in_sidebar = re.search(r'<a [^>]*href="pendulum.html">([^<]*)</a>', letters)[1]
    assert "galileo · " in in_sidebar


def test_its_claims_are_on_its_map_and_say_how_to_report(html):
    page, drawn = read(html, "book/sums-of-powers.html"), read(html, "book/map.html")
    assert '<li id="map-p2"' in drawn and 'href="#map-p2"' in drawn and 'href="#map-eq-cubes"' in drawn
    assert 'href="map.html#map-p2">In the map</a>' in page
    assert 'href="ledger.html#report-an-error">Report an error</a>' in page


def test_its_exercises_are_answered_in_their_pages(html):
    page = read(html, "book/pendulum.html")
    assert page.count('<div class="answer"') == 1 and "late.check(...)" in page and "answer.js" in page
    assert "answer.js" not in read(html, "book/index.html")
    assert (html / "_static/python/pyodide.asm.wasm").is_file() and (
        html / "_static/answer-worker.mjs"
    ).is_file()


def test_a_citation_names_this_book(html):
    words = re.sub(r"<[^>]+>", "", read(html, "book/pendulum.html"))
    assert "@incollection{sums-swings-pendulum," in words


def record(root: Path, chapter: str, check: str, name: str = "A processor") -> dict:
    digest = PresentCode(root / "book").chapter("sums")
    checks = [{"check": check, "value": 0.5, "below": 1.0, "claim": "S1"}]
    return {
        "schema": 2,
        "environment": {
            "device": "cpu",
            "device_name": name,
            "driver": None,
            "versions": {"python": "3.11.9"},
            "date": "2026-01-31",
            "commit": None,
            "modified": None,
        },
        "seed": 0,
        "chapters": [
            {"chapter": chapter, "digest": digest, "seconds": 1.0, "claims": ["S1"], "checks": checks}
        ],
    }


SCRIPT = "<script>alert(1)</script>"
HOSTILE = f"{SCRIPT} <img src=x onerror=alert(1)> [x](javascript:alert(1)) $a < b$\n\n"
HOSTILE += f"```{{raw}} html\n{SCRIPT}\n```"


def test_the_site_follows_what_changes_and_forgets_what_is_gone(root, tmp_path):
    """One book, built over and over as an author would; only the first build begins from nothing."""
    book = tmp_path / "book"
    shutil.copytree(root, book)
    (book / "book/records.md").write_text("# Records\n\n```{recorded-runs}\n```\n")
    toc = book / "_toc.yml"
    toc.write_text(toc.read_text() + "      - file: book/records\n")
    html = build(book)
    assert read(html, "book/records.html").count("Not recorded yet.") == 2

    # the first record, with names and words that are not what they should be
    recorded = book / "book/recorded/cpu.json"
    recorded.parent.mkdir()
    recorded.write_text(json.dumps(record(book, SCRIPT, HOSTILE, name=SCRIPT)))
    build(book)
    page = read(html, "book/records.html")
    assert page.count("Not recorded yet.") == 1
    assert "<script>alert" not in page and "<img src=x" not in page and 'href="javascript:' not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4
    assert "Stale: the code of &lt;script&gt;" in page

    # the record gone again, and a page out of the table of contents
    recorded.unlink()
    toc.write_text(toc.read_text().replace("      - file: book/letters\n", ""))
    assert (html / "book/letters.html").is_file()
    build(book)
    assert read(html, "book/records.html").count("Not recorded yet.") == 2
    assert not (html / "book/letters.html").exists() and not list((html / "_sources").rglob("letters*"))
    ledger = read(html, "book/ledger.html")
    assert "letters.html" not in ledger and "The letters" not in ledger

    # everything that was built is torn, as by a full disk
    pictures = {path.name: path.read_bytes() for path in (html / "_images").iterdir()}
    assert pictures
    for path in (book / "_build").rglob("*"):
        if path.is_file() and "executed" not in path.parts:
            path.write_bytes(path.read_bytes()[:20])
    build(book)
    assert "5 derivations verified" in read(html, "book/index.html")
    assert {path.name: path.read_bytes() for path in (html / "_images").iterdir()} == pictures
    before = {path: path.stat().st_mtime_ns for path in html.rglob("*")}
    build(book)
    assert before == {path: path.stat().st_mtime_ns for path in html.rglob("*")}


def test_a_record_of_another_form_fails_the_build_with_its_name(root):
    bad = root / "book/recorded/cpu.json"
    bad.parent.mkdir()
    try:
        bad.write_text('{"schema": 1}')
        with pytest.raises(BookError, match="recorded/cpu.json is no record that can be shown: record"):
            _ = Book(root).recorded
    finally:
        shutil.rmtree(bad.parent)


def test_a_book_is_made_only_where_nothing_is(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["new", str(tmp_path)]) == 1
    assert capsys.readouterr().err.endswith("is there already and not an empty folder: name another\n")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    for title in ("", "two\nlines"):
        with pytest.raises(BookError, match="one line of text"):
            template.write(tmp_path / "new", title=title, author="A")
