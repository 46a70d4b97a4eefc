"""Every lint passes the fixture book and fails the one fault made for it."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest

from proofbook.publish import lint
from proofbook.publish.book import Book
from proofbook.publish.notebooks import BookError, load, parse_card, read_page
from proofbook.settings import Settings

ROOT = Path(__file__).parents[3]
FIXTURE = ROOT / "tests/book/fixtures/mini"
CHAPTER = "book/8823-attention-scale.ipynb"
SOURCES = Settings.read(ROOT / "book").sources
FRONT = (
    "index",
    "how-to-read",
    "notation",
    "map",
    "proofs",
    "ledger",
    "errata",
    "recorded-runs",
    "references",
)


@pytest.fixture
def root(tmp_path):
    shutil.copytree(FIXTURE, tmp_path, dirs_exist_ok=True)
    for name in FRONT:
        shutil.copy(ROOT / f"book/{name}.md", tmp_path / "book")
    for name in ("articles.yml", "proofbook.toml", "typed-numbers.yml"):
        shutil.copy(ROOT / "book" / name, tmp_path / "book")
    return tmp_path


def edit(root, change):
    path = root / CHAPTER
    notebook = json.loads(path.read_text())
    change(notebook)
    path.write_text(json.dumps(notebook))


def replace(old, new):
    """A change that replaces text in the first Markdown cell that has it."""

    def change(notebook):
        for cell in notebook["cells"]:
            text = "".join(cell["source"])
            if cell["cell_type"] == "markdown" and old in text:
                cell["source"] = text.replace(old, new)
                return
        raise AssertionError(f"the fixture has no {old!r}")

    return change


def code_cell(notebook, part):
    return next(
        cell for cell in notebook["cells"] if cell["cell_type"] == "code" and part in "".join(cell["source"])
    )


def in_cell(part, change):
    return lambda notebook: change(code_cell(notebook, part))


def record_of(cell):
    return next(
        output["data"][mime]
        for output in cell["outputs"]
        for mime in output["data"]
        if "vnd.proofbook" in mime
    )


def test_the_fixture_book_has_all_a_book_must_have(root):
    assert lint.check_book(root) == []


def test_a_guide_needs_no_card_and_may_not_have_one(root):
    settings = root / "book/proofbook.toml"
    guides = 'guides = ["8823-attention-scale"]'
    settings.write_text(re.sub(r"guides = .*", guides, settings.read_text()))
    complaint = f"{CHAPTER}: a guide has a card, a claim or a derivation; those belong in a chapter"
    assert list(lint.chapter_parts(Book(root))) == [complaint]

    def make_a_guide(notebook):
        keep = [{"cell_type": "markdown", "metadata": {}, "id": "title", "source": "# A guide"}]
        notebook["cells"] = keep

    edit(root, make_a_guide)
    assert list(lint.chapter_parts(Book(root))) == []


def test_a_supplement_may_derive_and_may_not_claim(root):
    settings = root / "book/proofbook.toml"
    supplements = 'supplements = ["8823-attention-scale"]'
    settings.write_text(settings.read_text().replace('supplements = ["lemmas"]', supplements))
    complaint = f"{CHAPTER}: a supplement has a card or a claim; those belong in a chapter"
    assert list(lint.chapter_parts(Book(root))) == [complaint]

    def make_a_supplement(notebook):
        cells = notebook["cells"]
        keep = [
            c for c in cells if any("equation" in m for o in c.get("outputs", []) for m in o.get("data", {}))
        ]
        assert keep
        notebook["cells"] = keep

    edit(root, make_a_supplement)
    assert list(lint.chapter_parts(Book(root))) == [] and Book(root).pages


FAULTS = {
    "a formula in dollars": (
        replace("## A figure", "## A figure\n\n$$ H = F $$"),
        "a display formula is typed by hand: 'H = F'",
    ),
    "a formula in brackets": (replace("## A figure", "## A figure\n\n\\[ H = F \\]"), "'H = F'"),
    "a formula in a directive": (replace("## A figure", "```{math}\n:label: eq-x\nH = F\n```"), "'H = F'"),
    "a formula in a tip": (replace("## A figure", "```{tip}\n$$ H = F $$\n```"), "'H = F'"),
    "an amsmath environment": (replace("## A figure", "\\begin{align}\nH &= F\n\\end{align}"), "'H &= F'"),
    "an output of raw LaTeX": (
        in_cell(
            'equation("eq-entropy',
            lambda cell: cell["outputs"][0]["data"].pop("application/vnd.proofbook.equation+json"),
        ),
        "shows a display formula that nothing checked",
    ),
    "a verdict typed by hand": (
        replace("## A figure", ":::{admonition} C9 · holds\n:class: verdict-holds\n:::"),
        "typed by hand: 'verdict-holds'",
    ),
    "no card": (replace("{chapter-card}", "{note}"), "the chapter has no {chapter-card}"),
    "another date in the card": (
        replace("date: 2021-12-21", "date: 2021-12-22"),
        "the card's date is '2021-12-22'",
    ),
    "no takeaways": (replace("## Takeaways", "## Summary"), "no section '## Takeaways'"),
    "a takeaway that rests on nothing": (
        replace("{claim}`8823-C1`", "proved"),
        'the takeaway "The entropy is $F - \\\\lambda F\'$, proved." names no claim',
    ),
    "a takeaway on a claim that is not there": (
        replace("{claim}`8823-C1`", "{claim}`8823-C7`"),
        "names 8823-C7, which the book does not have",
    ),
    "a takeaway on an equation that is not there": (
        replace("{claim}`8823-C1`", "{eq}`eq-lost`"),
        "names eq-lost, which the book does not have",
    ),
    "a takeaway with a measured number": (
        replace("The entropy is", "At scale 0.5 the entropy is"),
        "has 0.5 typed",
    ),
    "a takeaway with a large number": (
        replace("The entropy is", "At 1,024 the entropy is"),
        "has 1,024 typed",
    ),
    "takeaways in a paragraph": (replace("- The entropy is", "The entropy is"), "the takeaways are no list"),
    "no references": (replace("## References", "### References"), "no section '## References'"),
    "no citation": (replace("{cite-chapter}", "{note}"), "needs the directive {cite-chapter}"),
    "an exercise too few": (
        replace("```{exercise} Prove 4\n:label: ex-8823-4", "```{note} Prove 4"),
        "3 labelled exercises",
    ),
    "an exercise without a solution": (
        replace("{solution-start} ex-8823-2", "{note} a"),
        "exercise ex-8823-2 has no solution",
    ),
    "a solution in the open": (
        replace("ex-8823-2\n:label: sol-8823-2\n:class: dropdown", "ex-8823-2\n:label: sol-8823-2"),
        "the solution of ex-8823-2 is not folded",
    ),
    "an answer cell that is filled": (
        in_cell("answer = ...", lambda cell: cell.update(source="answer = 2")),
        "exercise ex-8823-1 has no empty cell for an answer before its solution",
    ),
    "a solution that nothing checks": (
        in_cell("assert 2", lambda cell: cell.update(cell_type="markdown")),
        "the solution of ex-8823-2 has no cell that checks it",
    ),
    "no alt text": (
        in_cell("plt.show", lambda cell: cell["metadata"]["mystnb"].pop("image")),
        "has no alt text",
    ),
    "no caption": (
        in_cell("plt.show", lambda cell: cell["metadata"]["mystnb"]["figure"].pop("caption")),
        "has no caption",
    ),
    "a nameless figure": (
        in_cell("plt.show", lambda cell: cell["metadata"]["mystnb"]["figure"].update(name="line")),
        "name must be fig-..., not 'line'",
    ),
    "an unchecked claim": (
        in_cell("claim(3", lambda cell: cell["outputs"].clear()),
        "8823-C3 is listed for 8823-attention-scale, but no cell there checks it",
    ),
    "an unlisted claim": (
        in_cell("claim(3", lambda cell: record_of(cell).update(id="8823-C99")),
        "8823-C99 is checked in 8823-attention-scale and not listed",
    ),
    "two claims of one name": (
        in_cell("claim(3", lambda cell: record_of(cell).update(anchor="claim-8823-c4")),
        "the name claim-8823-c4 is given twice",
    ),
    "two equations of one name": (
        in_cell("eq-wide", lambda cell: record_of(cell).update(label="eq-entropy")),
        "the name equation-eq-entropy is given twice",
    ),
    "an ignored output without a reason": (
        in_cell("log(512)", lambda cell: cell.update(source="# NBVAL_IGNORE_OUTPUT\nlog(512)")),
        "NBVAL_IGNORE_OUTPUT needs its reason",
    ),
    "an ignored output by tag": (
        in_cell("log(512)", lambda cell: cell["metadata"].update(tags=["nbval-skip"])),
        "nbval is steered by a tag",
    ),
    "a cell that was never run": (
        in_cell("log(512)", lambda cell: cell.update(execution_count=None)),
        "not those of one whole run",
    ),
    "a cell run twice": (
        in_cell("log(512)", lambda cell: cell.update(execution_count=40)),
        "not those of one whole run",
    ),
    "an editor's traces": (
        in_cell("log(512)", lambda cell: cell["metadata"].update(collapsed=True)),
        "holds an editor's traces",
    ),
    "a stored error": (
        in_cell(
            "log(512)",
            lambda cell: cell["outputs"].append(
                {"output_type": "error", "ename": "ValueError", "evalue": "", "traceback": []}
            ),
        ),
        "an error: ValueError",
    ),
    "a warning": (
        in_cell(
            "log(512)",
            lambda cell: cell["outputs"].append(
                {"output_type": "stream", "name": "stderr", "text": ["UserWarning: hm\n"]}
            ),
        ),
        "stderr: UserWarning: hm",
    ),
}


@pytest.mark.parametrize("change, complaint", FAULTS.values(), ids=FAULTS.keys())
def test_each_fault_is_found(root, change, complaint):
    edit(root, change)
    assert any(complaint in problem for problem in lint.check_book(root)), lint.check_book(root)


LEFT_OVER = 'spare = define("G", (lam,), lam**2, label="eq-spare", latex=lambda at: at)\n'


@pytest.mark.parametrize(
    "use, complains",
    [
        ("show(spare)", True),
        ("spare", True),
        ("show(spare, log(512))", True),
        ("other = define('K', (lam,), spare(lam) + 1, label='eq-other')\nshow(spare, other)", True),
        ("figure = spare.lambdify()", False),
        ("show(spare(2))", False),
        ("Derivation('eq-made', spare(lam), eq(lam**2, 'unfold'), domain=domain)", False),
        ("other = define('K', (lam,), spare(lam) + 1, label='eq-other')\nclaim(3, other)", False),
    ],
)
def test_a_definition_that_is_only_shown_is_found(root, use, complains):
    edit(root, in_cell("log(512)", lambda cell: cell.update(source=LEFT_OVER + use)))
    found = [line for line in lint.complaints(Book(root)) if "nothing uses it" in line]
    assert bool(found) == complains
    assert all("the definition spare " in line or "the definition other " in line for line in found)


def test_a_listed_formula_may_stand_and_an_unused_entry_may_not(root):
    edit(root, replace("## A figure", "## A figure\n\n$$\nH  =\nF\n$$ (eq-quoted)"))
    listing = root / "book/handwritten-formulas.yml"
    entry = "- {page: book/8823-attention-scale, formula: 'H = F', why: the article's own words}\n"
    listing.write_text(entry)
    assert lint.check_book(root) == []
    listing.write_text(entry + entry.replace("H = F", "H = G"))
    assert lint.check_book(root) == [
        "handwritten-formulas.yml lists a formula that book/8823-attention-scale does not have: 'H = G'"
    ]
    listing.write_text(entry.replace("the article's own words", "''"))
    assert any("needs page, formula and why" in problem for problem in lint.check_book(root))


def test_formulas_in_code_are_not_display_formulas(root):
    edit(root, replace("## A figure", "## A figure\n\n```\n$$ H = F $$\n```\n\nand `$$ H $$` and $H$"))
    assert lint.check_book(root) == []


def test_a_takeaway_rests_on_its_own_chapter(root):
    edit(root, replace("{claim}`8823-C1`", "{claim}`U9`"))
    book = Book(root)
    elsewhere = Path("book/another.ipynb")
    page = next(iter(book.pages.values()))
    book.pages[elsewhere] = dataclasses.replace(page, claims=[{"id": "U9"}], equations=[])
    book._prose[elsewhere] = ""
    (line,) = lint.takeaways(book)
    assert line.endswith("names nothing of its own chapter, only U9")


def test_what_counts_in_a_takeaway_and_what_stands_in_mathematics_may_stand(root):
    words = "Of 12 sums, {eq}`eq-wide` at $x=0.5$ and $n=1024$ is one:"
    edit(root, replace("- The entropy is", f"- {words}\n  the entropy is"))
    assert list(lint.takeaways(Book(root))) == []


def test_an_ignored_output_with_its_reason_may_stand(root):
    source = "# NBVAL_IGNORE_OUTPUT\n# the time it takes differs from run to run\nlog(512)"
    edit(root, in_cell("log(512)", lambda cell: cell.update(source=source)))
    assert lint.check_book(root) == []


def test_a_published_permalink_may_not_vanish(root):
    added = lint.publish_permalinks(root)
    assert "book/8823-attention-scale#claim-8823-c4" in added
    assert "book/8823-attention-scale#equation-eq-wide" in added
    assert "book/8823-attention-scale#fig-line" in added
    assert lint.publish_permalinks(root) == [] and lint.check_book(root) == []
    edit(
        root, in_cell("plt.show", lambda cell: cell["metadata"]["mystnb"]["figure"].update(name="fig-lines"))
    )
    assert lint.check_book(root) == [
        "the published permalink book/8823-attention-scale#fig-line has vanished"
    ]


def test_a_page_listed_twice_is_found(root):
    toc = root / "_toc.yml"
    toc.write_text(toc.read_text() + "      - file: book/ledger\n")
    assert lint.check_book(root) == ["_toc.yml lists book/ledger twice"]


def test_a_page_outside_the_table_of_contents_is_found(root):
    (root / "book/stray.md").write_text("# Stray")
    assert lint.check_book(root) == ["book/stray.md is not in _toc.yml"]


def test_an_entry_of_the_table_of_contents_without_a_page_is_found(root):
    (root / "book/ledger.md").unlink()
    assert lint.check_book(root) == [
        "_toc.yml lists book/ledger, but there is no book/ledger.ipynb and no book/ledger.md"
    ]
    with pytest.raises(BookError):
        Book(root).paths


@pytest.mark.parametrize(
    "body, complaint",
    [
        ("verdict: it holds", r"lacks \['can'\]"),
        ("verdict: it holds\ncan: [x]\ntitel: y", r"unknown keys \['titel'\]"),
        ("verdict: it holds\ncan: x", "'can' in the chapter card must be a list"),
        ("article: 8823\nverdict: it holds\ncan: [x]", r"lacks \['title_zh', 'title_en', 'date', 'link'\]"),
        ("just words", "not a mapping"),
        ("a: [", "not YAML"),
    ],
)
def test_a_broken_card_is_refused(body, complaint):
    with pytest.raises(BookError, match=complaint):
        parse_card(body, "here", SOURCES)


def test_a_page_gives_up_its_records():
    page = read_page(load(FIXTURE / CHAPTER), "book/8823-attention-scale", SOURCES)
    assert page.title == "8823: Attention's scale" and page.card["article"] == "8823"
    assert [claim["verdict"] for claim in page.claims] == [
        "holds",
        "holds under",
        "approximate",
        "needs correction",
        "false",
        "empirical",
    ]
    assert [equation["label"] for equation in page.equations] == ["eq-entropy", "eq-wide"]
    assert page.figures == ["fig-line"]
