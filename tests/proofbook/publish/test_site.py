"""The website, built from the fixture book with every warning an error, and what it never asks for."""

import json
import re
import types
from html.parser import HTMLParser
from pathlib import Path

import pytest
from built_site import ROOT, build_by_command, lay_out, read, text
from docutils import nodes
from docutils.utils import new_document

from proofbook.display import Row, sign
from proofbook.names import EQUATION_MIME
from proofbook.publish import site
from proofbook.publish.address import Address, read_address, theme_options
from proofbook.publish.book import Book
from proofbook.publish.checking import outputs
from proofbook.publish.citation import book_citation, chapter_citation, read_edition
from proofbook.publish.notebooks import BookError
from proofbook.publish.sphinx_ext import Errata, MeasuredRatio, RecordedRuns
from proofbook.publish.sphinx_ext.dragging import DraggableFigure
from proofbook.publish.sphinx_ext.formulas import Derivations, mark
from proofbook.publish.typeset import STYLES, Typesetter

CHAPTER = "book/8823-attention-scale.html"
REPOSITORY, SITE = "https://github.com/nobody/attention", "https://example.org/attention"


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    root = lay_out(tmp_path_factory.mktemp("site"))
    with (root / "book/notation.md").open("a", encoding="utf-8") as page:
        page.write("\nSee {claim}`8823-C1`, {claim}`8823-C2` and {claim}`8823-C4`.\n")
    return build_by_command(root)


@pytest.fixture(scope="module")
def addressed(tmp_path_factory):
    """The same book with an address."""
    root = lay_out(tmp_path_factory.mktemp("addressed"))
    (root / "book/address.yml").write_text(f"repository: {REPOSITORY}\nbranch: main\nsite: {SITE}/\n")
    return build_by_command(root)


def test_equations_are_numbered_and_reached_from_other_pages(html):
    page, ledger = read(html, CHAPTER), read(html, "book/ledger.html")
    assert 'id="equation-eq-entropy"' in page and 'href="#equation-eq-entropy"' in page
    assert re.search(r'<span class="eqno">\(1\.1\)', page) or re.search(r'<span class="eqno">\(1\)', page)
    assert 'href="8823-attention-scale.html#equation-eq-entropy"' in ledger


def test_what_rests_on_what_lies_beside_the_pages(html):
    graph = json.loads((html / "proof-graph.json").read_text(encoding="utf-8"))
    nodes = {node["id"]: node for node in graph["nodes"]}
    assert nodes["eq-wide"] == {
        "id": "eq-wide",
        "kind": "equation",
        "page": "book/8823-attention-scale",
        "steps": 1,
        "proved": 1,
        "basis": "proof",
    }
    assert nodes["8823-C1"]["verdict"] == "holds"
    record = json.loads((html / "certificates/eq-wide.json").read_text(encoding="utf-8"))
    assert record["steps"][0]["certificate"] and record["digest"]
    assert {"from": "8823-C1", "to": "eq-entropy"} in graph["edges"]
    assert {edge[end] for edge in graph["edges"] for end in edge} <= nodes.keys()


@pytest.mark.parametrize(
    "number, verdict",
    list(
        enumerate(["holds", "holds-under", "approximate", "needs-correction", "false", "empirical"], start=1)
    ),
)
def test_claims_have_their_anchor_and_verdict_and_the_ledger_links_to_them(html, number, verdict):
    page, ledger = read(html, CHAPTER), read(html, "book/ledger.html")
    assert re.search(
        rf'class="[^"]*claim verdict-{verdict}[^"]*admonition[^"]*" id="claim-8823-c{number}"', page
    ) or re.search(rf'class="[^"]*admonition claim verdict-{verdict}[^"]*" id="claim-8823-c{number}"', page)
    assert f'href="8823-attention-scale.html#claim-8823-c{number}"' in ledger
    assert f'class="verdict verdict-{verdict}"' in ledger


def test_a_sentence_names_a_claim_with_its_verdict_and_what_it_needs(html):
    page = read(html, "book/notation.html")
    for number, verdict in [(1, "holds"), (2, "holds under"), (4, "needs correction")]:
        found = re.search(
            rf'<span class="named-claim"><a [^>]*href="8823-attention-scale.html#claim-8823-c{number}">'
            rf'<span class="[^"]*">8823-C{number}</span></a> '
            rf'<span class="verdict verdict-{verdict.replace(" ", "-")}">{verdict}</span>',
            page,
        )
        assert found, number
    noted = [text(note) for note in re.findall(r'<span class="claim-note">(.*?\))</span></span>', page)]
    assert [shown.split(",")[0].split("H =")[0] for shown in noted] == [
        "(Condition: below freezing",
        "(Correction: ",
    ]


def test_a_sentence_in_a_chapter_names_a_claim_too(html):
    assert '<span class="named-claim"><a class="reference internal" href="#claim-8823-c1">' in read(
        html, CHAPTER
    )


def test_the_errata_leave_out_what_stands(html):
    errata = read(html, "book/errata.html")
    listed = set(re.findall(r"#claim-8823-c(\d)", errata))
    assert listed == {"2", "3", "4", "5"}
    assert "Correction." in errata and "Condition." in errata


def of_the_book(directive):
    """A directive of the real book, without a page around it."""
    made = directive.__new__(directive)
    made.options = {}
    app = types.SimpleNamespace(proofbook_book=Book(ROOT))
    made.state = types.SimpleNamespace(
        document=types.SimpleNamespace(settings=types.SimpleNamespace(env=types.SimpleNamespace(app=app)))
    )
    return made


@pytest.mark.parametrize("article, listed", [("8823", True), ("", False)])
def test_a_hypothesis_of_the_book_that_failed_is_no_erratum(article, listed):
    directive = of_the_book(Errata)
    claim_id = f"{article}-C1" if article else "U1"
    assert directive.wanted({"verdict": "false", "id": claim_id}) is listed


def test_the_landing_page_counts_from_the_records(html):
    index = read(html, "book/index.html")
    assert "2 derivations verified, 6 claims checked" in index
    assert index.count("in preparation") == 7
    assert 'href="8823-attention-scale.html"' in index


def test_what_is_ours_is_not_counted_as_the_articles(html):
    counts = re.search(r'<p class="claim-counts">(.*?)</p>', read(html, "book/index.html"), re.S)
    shown = text(counts[1])
    assert "6 claims checked: 5 from the articles: 1 holds" in shown
    assert shown.endswith("1 of our own: 1 empirical")
    row = re.search(r"<tr[^>]*>(?:(?!</tr>).)*1 false.*?</tr>", read(html, "book/index.html"), re.S)
    assert "1 approximate" in row[0] and "empirical" not in row[0]
    assert "ours: 1 empirical C6" in text(read(html, CHAPTER)) and "ours: 1 holds" not in read(html, CHAPTER)
    assert "8823-C6 (ours)" in text(read(html, "book/ledger.html"))


def test_a_claim_of_ours_with_the_number_of_a_source_is_no_erratum(tmp_path):
    root = lay_out(tmp_path)
    claims = root / "book/claims/8823-attention-scale.toml"
    claims.write_text(claims.read_text().replace('own = ["8823-C6"]', 'own = ["8823-C4"]'))
    book = Book(root)
    assert [book.source_of(claim) for claim in book.claims] == ["8823"] * 3 + [""] + ["8823"] * 2


def test_the_card_shows_the_article_the_skills_and_the_claims(html):
    page = read(html, CHAPTER)
    assert "从熵不变性看Attention的Scale操作" in page and "https://kexue.fm/archives/8823" in page
    assert "say where the constant comes from and where it fails." in page
    assert "1 needs correction" in page and 'href="#claim-8823-c4"' in page


def test_figures_have_alt_text_caption_and_permalink(html):
    page = read(html, CHAPTER)
    assert 'alt="Three broken lines that rise with k"' in page
    assert 'id="fig-line"' in page and 'href="#fig-line"' in page


def test_what_is_not_recorded_is_said_to_be(html):
    assert (
        read(html, "book/recorded-runs.html").count("Not recorded yet.") == 4
    )  # checks and experiment, by device


def test_notebooks_can_be_downloaded_from_the_site_itself(html):
    assert 'href="../_sources/book/8823-attention-scale.ipynb"' in read(html, CHAPTER)
    assert (html / "_sources/book/8823-attention-scale.ipynb").is_file()


def downloaded(site):
    return json.loads(read(site, "_sources/book/8823-attention-scale.ipynb"))["cells"]


def test_a_downloaded_notebook_begins_with_how_to_install(html, addressed):
    first, second = downloaded(html)[:2]
    assert first["source"].startswith("**To run this notebook.**") and "`make lab`" in first["source"]
    assert "next cell" not in first["source"] and "chapter-card" in second["source"]
    first, install, third = downloaded(addressed)[:3]
    assert "run the next cell first" in first["source"] and "chapter-card" in third["source"]
    assert f"git clone --quiet --depth 1 --branch main {REPOSITORY} the-book" in install["source"]
    assert install["cell_type"] == "code" and "{" not in install["source"]
    for built in (html, addressed):
        assert "To run this notebook" not in read(built, CHAPTER)
        assert len({cell["id"] for cell in downloaded(built)}) == len(downloaded(built))


def pages_of(html: Path) -> list[Path]:
    return [path for path in sorted(html.rglob("*.html")) if "_static" not in path.parts]


class Loads(HTMLParser):
    """Every address that a browser fetches by itself when it opens a page."""

    FETCHED = {
        "script": "src",
        "img": "src",
        "iframe": "src",
        "source": "src",
        "video": "src",
        "embed": "src",
        "object": "data",
        "link": "href",
    }
    RELATIONS = {
        "stylesheet",
        "preload",
        "prefetch",
        "preconnect",
        "dns-prefetch",
        "modulepreload",
        "icon",
        "shortcut",
        "manifest",
    }

    def __init__(self, text):
        super().__init__()
        self.found, self.inline = [], []
        self.script = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        address = attributes.get(self.FETCHED.get(tag, ""))
        self.script = tag == "script" and not attributes.get("src")
        if tag == "link" and not self.RELATIONS & set((attributes.get("rel") or "").split()):
            return
        if address:
            self.found.append(address)

    def handle_endtag(self, tag):
        self.script = False

    def handle_data(self, data):
        if self.script:
            self.inline.append(data)


def external(addresses):
    return [address for address in addresses if re.match(r"(https?:)?//", address)]


@pytest.mark.parametrize("which", ["html", "addressed"])
def test_no_page_fetches_anything_from_elsewhere(which, request):
    html = request.getfixturevalue(which)
    assert len(pages_of(html)) > 8
    for path in pages_of(html):
        loads = Loads(path.read_text(encoding="utf-8"))
        assert external(loads.found) == [], path.name
        assert not re.search(r"https?://", "".join(loads.inline)), path.name
    for path in html.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        assert external(re.findall(r"""(?:url\(|@import\s)\s*["']?([^"')\s]+)""", text)) == [], path.name


def test_what_a_page_fetches_is_there(html):
    for path in pages_of(html):
        for address in Loads(path.read_text(encoding="utf-8")).found:
            if not address.startswith("data:"):
                assert (path.parent / re.split("[?#]", address)[0]).exists(), (path.name, address)
    styles = html / "_static" / STYLES
    fonts = re.findall(r"url\((fonts/[^)]*)\)", styles.read_text(encoding="utf-8"))
    assert len(fonts) > 10 and [font for font in fonts if not (styles.parent / font).is_file()] == []


def test_a_page_shows_every_line_of_its_derivations_as_its_record_has_it(html):
    book = Book(html.parents[3])
    shown = [(page, data[EQUATION_MIME]) for page, data in outputs(book)]
    assert len(shown) > 1
    typesetter = Typesetter()
    for page, record in shown:
        start = read(html, f"book/{page}.html").split(f'id="equation-{record["label"]}"')[1]
        lefts = [record["start"]["latex"]]
        *lines, last = start.split('<div class="line">')[1 : len(record["steps"]) + 1]
        for step, line in zip(record["steps"], [*lines, last.split("</div></div></div>")[0]], strict=True):
            row = Row.from_record(step)
            for left in lefts:
                assert f'<div class="left">{typesetter.set(left, display=True).html}</div>' in line
            right = typesetter.set(row.latex, relation=sign(row), display=True)
            assert f'<div class="right">{right.html}</div>' in line
            why = text(line.split('<div class="why">')[1])
            parts = [*row.reason.split("$")[::2], *mark(row).split("$")[::2]]
            assert [part for part in parts if " ".join(part.split()) not in why] == []
            lefts = []
    typesetter.close()


def test_a_display_that_is_not_its_records_is_said_to_be(caplog):
    record = {"label": "eq-a", "latex": "a &= b", "start": {"latex": "a"}, "steps": []}
    block = nodes.math_block("a &= c", "a &= c", label="eq-a")
    document = new_document("page")
    document += block
    app = types.SimpleNamespace(proofbook_equations={"eq-a": record})
    document.settings.env = types.SimpleNamespace(docname="page", app=app)
    transform = Derivations(document)
    with caplog.at_level("WARNING", logger="sphinx"):
        transform.run()
    assert "eq-a is not what its record says" in caplog.text and block.astext() == "a &= c"


def test_formulas_need_no_script_and_are_read_aloud(html):
    page = read(html, CHAPTER)
    formulas = re.findall(r'<(?:div|span) class="math [^>]*>', page)
    assert len(formulas) > 3 and page.count("<math>") >= len(formulas)
    assert page.count('class="katex-html" aria-hidden="true"') == page.count("<math>")
    assert "_static/mathjax" not in page and "tabindex" not in "".join(re.findall(r"<math.*?</math>", page))


def test_icons_are_drawings_in_a_stylesheet_not_a_script(html):
    page, icons = read(html, CHAPTER), (html / "_static/icons.css").read_text(encoding="utf-8")
    assert "fontawesome" not in page and not (html / "_static/scripts/fontawesome.js").exists()
    named = set(re.findall(r"fa-[a-z-]+", page)) - {"fa-solid", "fa-lg"}
    assert len(named) > 5 and {name for name in named if f".{name} {{ --drawing: url(" not in icons} == set()


def test_paper_is_light_in_the_dark_too(html):
    assert re.search(r'<link [^>]*media="print"[^>]*print\.css', read(html, CHAPTER))
    styles = (html / "_static/print.css").read_text(encoding="utf-8")
    assert 'html[data-theme="dark"] { --holds: #00664a;' in styles and "--pst-color-background:#fff" in styles


def test_a_cell_says_which_column_it_is_in(html):
    ledger = read(html, "book/ledger.html")
    assert '<td data-label="Statement">' in ledger and '<th class="head" data-label' not in ledger


def test_the_detector_of_outside_requests_can_see_them():
    page = (
        '<script src="https://a.b/x.js"></script><link rel="stylesheet" href="//a.b/y.css">'
        '<a href="https://c.d">'
    )
    assert external(Loads(page).found) == ["https://a.b/x.js", "//a.b/y.css"]
    assert external(Loads('<link rel="canonical" href="https://a.b/">').found) == []


def test_without_an_address_nothing_points_to_one(html):
    page = read(html, CHAPTER)
    assert "colab" not in page and "mybinder" not in page and 'rel="canonical"' not in page
    assert "repository-button" not in page
    assert "url       =" not in page and "pip install" not in read(html, "book/how-to-read.html")


def test_with_an_address_buttons_canonical_link_and_citation_point_to_it(addressed):
    page = read(addressed, CHAPTER)
    assert f"{REPOSITORY}" in page and "8823-attention-scale.ipynb" in page
    assert (
        "colab.research.google.com/github/nobody/attention/blob/main/book/8823-attention-scale.ipynb" in page
    )
    assert "mybinder.org/v2/gh/nobody/attention/main" in page
    assert f'<link rel="canonical" href="{SITE}/{CHAPTER}"' in page
    assert f"{SITE}/{CHAPTER}" in re.sub(r"<[^>]+>", "", page)
    assert f"{REPOSITORY} the-book" in read(addressed, "book/how-to-read.html")


def test_search_is_offered_once(html):
    page = read(html, CHAPTER)
    assert page.count("search-button-field") == 1
    assert "navbar-persistent--mobile" not in page


def test_an_address_must_be_one(tmp_path):
    (tmp_path / "book").mkdir()
    for words, complaint in [
        ("site: example.org", "site must start with https://"),
        ("home: x", "unknown keys"),
    ]:
        (tmp_path / "book/address.yml").write_text(words)
        with pytest.raises(BookError, match=complaint):
            read_address(tmp_path)


def test_theme_options_are_empty_without_a_repository():
    assert theme_options(Address()) == {} and theme_options(Address(site=SITE)) == {}


def test_a_citation_names_edition_and_address():
    edition = read_edition(ROOT)
    bibtex, text = chapter_citation(
        edition, Address(site=SITE), docname="book/x-y", title="*X* and $\\lambda$"
    )
    assert bibtex.startswith("@incollection{attention-derived-x-y,\n") and bibtex.endswith("\n}")
    assert bibtex.count("{") == bibtex.count("}")
    assert f"version {edition.version}" in bibtex and f"version {edition.version}" in text
    assert text.endswith(f"{SITE}/book/x-y.html") and "“X and lambda.”" in text
    assert "url" not in chapter_citation(edition, Address(), docname="book/x-y", title="X")[0]


def test_staging_touches_only_what_differs(tmp_path):
    site.stage({"a.md": b"1", "book/b.md": b"2", "c.md": b"3"}, tmp_path)
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in ("a.md", "book/b.md")}
    site.stage({"a.md": b"1", "book/b.md": b"changed"}, tmp_path)
    assert (tmp_path / "a.md").stat().st_mtime_ns == before["a.md"]
    assert (tmp_path / "book/b.md").read_bytes() == b"changed"
    assert not (tmp_path / "c.md").exists()


def test_a_warning_fails_the_strict_build(tmp_path):
    root = lay_out(tmp_path)
    (root / "_toc.yml").write_text("format: jb-book\nroot: book/notation\n")
    (root / "book/notation.md").write_text("# Notation\n\n{eq}`eq-that-is-not-there`\n")
    with pytest.raises(AssertionError, match="eq-that-is-not-there"):
        build_by_command(root)


def test_a_claim_that_is_not_there_fails_the_strict_build(tmp_path):
    root = lay_out(tmp_path)
    (root / "_toc.yml").write_text("format: jb-book\nroot: book/notation\n")
    (root / "book/notation.md").write_text("# Notation\n\nSee {claim}`8823-C99`.\n")
    with pytest.raises(AssertionError, match="8823-C99` names a claim that no cell of the book checks"):
        build_by_command(root)


def test_a_book_that_was_not_executed_is_not_built(tmp_path):
    with pytest.raises(BookError, match="has not been executed"):
        site.staged_files(Book(lay_out(tmp_path), executed=True))


@pytest.mark.parametrize(
    "options, shown", [({"chapter": "one"}, ["one"]), ({"chapter": "none"}, []), ({}, ["one", "two"])]
)
def test_recorded_runs_show_the_chapter_that_is_asked_for(options, shown):
    directive = RecordedRuns.__new__(RecordedRuns)
    directive.options = options
    run = {"chapters": [{"chapter": "one"}, {"chapter": "two"}]}
    assert [chapter["chapter"] for chapter in directive.wanted(run)] == shown


def directive(kind, argument, **book):
    """A directive as Sphinx would run it, on a page of such a book."""

    class OnAPage(kind):
        arguments = [argument]
        env = types.SimpleNamespace(app=None)

        def __init__(self):
            pass

        def depend(self, docname=None):
            pass

        def get_location(self):
            return "page"

    OnAPage.book = types.SimpleNamespace(**book)
    return OnAPage().run()


MEASURED = {
    "environment": {"device_name": "A processor", "date": "2026-11-26"},
    "threads": 2,
    "benchmarks": {
        "rows": {"results": {"4096": {"forward": {"entropy": {"ms": 3.0, "ratio to output only": 0.751}}}}}
    },
}


def test_a_ratio_on_record_is_a_sentence_with_its_peer_and_its_machine():
    (found,) = directive(MeasuredRatio, "rows / 4096 / forward / entropy", benchmarks=[MEASURED])
    said = "entropy takes 0.751 times as long as output only, n = 4,096, forward: A processor, 2 threads, "
    assert found.astext() == f"{said}2026-11-26."


@pytest.mark.parametrize(
    "path", ["rows / 4096 / forward / gini", "columns / 4096", "rows / 4096 / forward / entropy / ms"]
)
def test_a_ratio_that_is_not_on_record_is_a_warning(path, caplog):
    assert directive(MeasuredRatio, path, benchmarks=[MEASURED]) == []
    assert "no record has the ratio" in caplog.text


def test_a_figure_to_drag_is_shown_on_another_page_and_a_missing_one_is_a_warning(caplog):
    html = '<figure class="draggable" id="drag-a"></figure>'
    cell = {"outputs": [{"data": {"text/html": html}}]}
    book = {"code_cells": lambda: [(None, 0, cell)]}
    (found,) = directive(DraggableFigure, "drag-a", **book)
    assert found["html"] == html
    assert directive(DraggableFigure, "drag-b", **book) == [] and "no notebook shows" in caplog.text


def test_a_page_of_words_is_cited_as_the_book():
    edition = read_edition(ROOT)
    bibtex, said = book_citation(edition, Address(site="https://a.b"))
    assert bibtex.startswith("@book{attention-derived,") and "url       = {https://a.b}" in bibtex
    assert edition.title in said and "booktitle" not in bibtex
