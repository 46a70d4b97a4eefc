"""What sentences type that a cell should say: each fault planted in the fixture book is named."""

import json
import re
import shutil
from pathlib import Path

import pytest

from proofbook.ledger.numbers import Numbers
from proofbook.publish import site, typed
from proofbook.publish.book import Book
from proofbook.publish.flow import Flow
from proofbook.publish.notebooks import BookError

ROOT = Path(__file__).parents[3]
CHAPTER = Path("book/8823-attention-scale.ipynb")


@pytest.fixture
def root(tmp_path):
    shutil.copytree(ROOT / "tests/book/fixtures/mini", tmp_path, dirs_exist_ok=True)
    for name in re.findall(r"book/([\w-]+)", (tmp_path / "_toc.yml").read_text()):
        page = tmp_path / f"book/{name}.md"
        if not page.exists() and not page.with_suffix(".ipynb").exists():
            page.write_text(f"# {name}\n")
    for name in ("articles.yml", "proofbook.toml"):
        shutil.copy(ROOT / "book" / name, tmp_path / "book")
    return tmp_path


def with_cells(root, *cells):
    """The book with these cells at the end of its chapter."""
    path = root / CHAPTER
    notebook = json.loads(path.read_text())
    notebook["cells"] += cells
    path.write_text(json.dumps(notebook))
    return Book(root)


def words(source):
    return {"cell_type": "markdown", "id": f"w{abs(hash(source))}", "metadata": {}, "source": source}


def code(source, **numbers):
    cell = {"cell_type": "code", "id": f"c{abs(hash(source))}", "metadata": {}, "source": source}
    data = (
        Numbers({name: str(value) for name, value in numbers.items()})._repr_mimebundle_() if numbers else {}
    )
    outputs = [{"output_type": "display_data", "metadata": {}, "data": data}] if numbers else []
    return {**cell, "execution_count": 1, "outputs": outputs}


def figure(caption="A figure.", alt="A line."):
    cell = code("plt.show()")
    cell["metadata"] = {"mystnb": {"figure": {"caption": caption}, "image": {"alt": alt}}}
    return cell


def found(check, book):
    return [line for line in check(book) if line.startswith((str(CHAPTER), typed.LIST))]


def new(check, root, *cells):
    before = found(check, Book(root))
    return [line for line in found(check, with_cells(root, *cells)) if line not in before]


@pytest.mark.parametrize(
    "cell, number",
    [
        (words("The slope is 0.25."), "0.25"),
        (words("Rows of 4096 keys"), "4096"),
        (words("Rows of $n=2{,}000$ keys."), "2,000"),
        (words("It took 2000 draws."), "2000"),
        (words("From 1999 to 2001 rows"), "2001"),
        (words("By {cite}`su` 8.33. We find 8.34."), "8.34"),
        (words(":::{note}\nat length 64\n:::"), "64"),
        (figure(caption="**Mean** of 200 rows."), "200"),
        (figure(alt="A line that falls to 0.4."), "0.4"),
        (code("ax.annotate('slope 0.24', (1, 2))"), "0.24"),
        (code("ax.plot(x, y, label=f'{n} keys of 512')"), "512"),
        (code("claim('8823-C1', 'holds', condition='for $n$ up to 512')"), "512"),
        (code("measured('attnlib against the formula, 200 rows', 0.0, below=1)"), "200"),
        (code("say(f'It is 0.5 for {n}.')"), "0.5"),
        (words("长度512的序列。"), "512"),
        (words("In the formula 0.24λd"), "0.24"),
        (code("draggable('drag-a', panel, sliders=[s], caption='Of 512 keys.', alt='a')"), "512"),
        (code("Panel((0, 3), (0, 1), [Curve(F(t), t, 'slope 0.24')], 'λ', 'nats')"), "0.24"),
        (code("Slider(lam, 0.1, 3, 1.5, 'λ up to 16')"), "16"),
    ],
)
def test_a_typed_number_is_named(root, cell, number):
    assert any(f": {number} is typed" in line for line in new(typed.numbers, root, cell))


@pytest.mark.parametrize(
    "cell",
    [
        words("Rows of {{n}} keys, on {{8829-entropy:slope}} of them, 12 ways."),
        words("Written on 2021-12-21 or 3 May 2022, in 2021, between 2021 and 2023."),
        words("See [it](https://a.b/512) and `n = 512`."),
        words("```python\nn = 512\n```"),
        words("The article finds 8.33 {cite}`su2021scale`."),
        words(
            "在2021年12月21日，2022 年，见 {eq}`eq-8823-32`。长度为 {{n}} 。文章写 8.33 {cite}`su2021scale`。"
        ),
        code("Panel((0, 512), (0, 1), [Line([(0.25, 16)], 'a tangent')], 'λ', 'nats')"),
        words("By {claim}`8823-C10` and {eq}`eq-8823-32`; article 8823 says so."),
        figure(caption="**Rows of {{n}} keys.**", alt="A line that falls to {{low}}."),
        code("n = 512\nax.plot(x[:512], label=f'{n} keys')"),
        code("measured(f'attnlib against the formula, {rows} rows', 0.0, below=1e-12)"),
    ],
)
def test_what_is_filled_in_quoted_or_code_is_not(root, cell):
    assert new(typed.numbers, root, cell) == []


def test_what_a_card_says_of_its_source_is_the_sources_whatever_the_book_calls_it(root):
    for name in (CHAPTER, "book/articles.yml", "book/proofbook.toml"):
        text = (root / name).read_text(encoding="utf-8").replace("title_en", "name")
        text = text.replace("name: Attention's scale", "name: Scale of 512 keys")
        (root / name).write_text(text, encoding="utf-8")
    assert not any("512" in line for line in found(typed.numbers, Book(root)))
    assert any(": 512 is typed" in line for line in new(typed.numbers, root, words("name: 512 keys, say.")))


def test_a_number_that_only_a_translation_types_is_named(root):
    with_cells(root, words("Long rows.\n\nA taxi, 1729."))
    file = root / "book/locale/zh_CN/LC_MESSAGES/8823-attention-scale.po"
    file.parent.mkdir(parents=True)
    texts = {"# Scale": "# 尺度", "Long rows.": "长度为4096的行。", "A taxi, 1729.": "1729 号。"}
    entries = "".join(f'msgid "{one}"\nmsgstr "{other}"\n\n' for one, other in texts.items())
    file.write_text(f'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n\n{entries}', "utf-8")
    listing = f"- {{page: {CHAPTER.with_suffix('')}, number: 1729, why: the number of a taxi}}\n"
    (root / "book" / typed.LIST).write_text(listing)
    now = found(typed.numbers, Book(root))
    assert f"{CHAPTER}, zh-CN: 4096 is typed" in "\n".join(now) and not any("1729" in line for line in now)


def test_a_number_that_must_be_typed_is_listed_with_its_reason(root):
    listing = root / "book" / typed.LIST
    book = with_cells(root, words("A taxi, 1729."))
    complaint = [line for line in found(typed.numbers, book) if "1729" in line]
    listing.write_text(f"- {{page: {CHAPTER.with_suffix('')}, number: 1729, why: the number of a taxi}}\n")
    now = found(typed.numbers, Book(root))
    assert len(complaint) == 1 and not any("1729" in line for line in now)
    listing.write_text(listing.read_text().replace("1729,", "1730,"))
    now = found(typed.numbers, Book(root))
    assert complaint[0] in now and any("lists 1730, which" in line for line in now)
    listing.write_text("- {page: a, number: 1}\n")
    assert any("needs page, number and why" in line for line in found(typed.numbers, Book(root)))


def test_numbers_are_filled_in_where_the_site_reads_them(root):
    cells = (
        words("Rows of {{n}} keys; `{{n}}` in code."),
        figure("Of {{n}}.", "Up to {{n}}."),
        code("...", n=512),
    )
    book = with_cells(root, *cells)
    (root / "book/index.md").write_text(f"# Front\n\nRows of {{{{{CHAPTER.stem}:n}}}}.\n")
    files = site.staged_files(Book(root))
    staged = json.loads(files[str(CHAPTER)])["cells"]
    assert staged[-3]["source"] == "Rows of 512 keys; `{{n}}` in code."
    assert staged[-2]["metadata"]["mystnb"] == {
        "figure": {"caption": "Of 512."},
        "image": {"alt": "Up to 512."},
    }
    assert files["book/index.md"] == b"# Front\n\nRows of 512.\n"
    assert book.notebooks[CHAPTER]["cells"][-3]["source"].startswith("Rows of {{n}}")


@pytest.mark.parametrize("page", ["", "8829-entropy:", f"{CHAPTER.stem}:"])
def test_a_number_that_no_cell_fills_in_stops_the_build(root, page):
    book = with_cells(root, words(f"Rows of {{{{{page}m}}}} keys."), code("...", n=512))
    for check in (site.staged_files, lambda book: list(typed.numbers_filled_in(book))):
        with pytest.raises(BookError, match=r"names the number .*m\}\}, which no cell of .* fills in"):
            check(book)


def test_two_cells_may_not_fill_in_the_same_number(root):
    with pytest.raises(BookError, match="two cells fill in n"):
        with_cells(root, code("fill_in(n=n)", n=1), code("fill_in(n=m)", n=2)).pages


def test_a_number_that_no_sentence_names_is_idle(root):
    assert any(
        "no sentence names n," in line for line in new(typed.numbers_filled_in, root, code("...", n=512))
    )


def bound(source):
    head = "rows, far = 3, 4\nfar_rows = rows * far\n"
    return [problem for _, problem in typed.bound_to_another(Flow({"cells": [code(head + source)]}))]


@pytest.mark.parametrize(
    "source",
    ["fill_in(rows=rows)", "fill_in(rows=len(rows))", "fill_in(many_rows=far_rows)", "say(rows=far)"],
)
def test_a_number_with_the_name_of_a_variable_is_that_variable(source):
    assert bound(source) == []


@pytest.mark.parametrize(
    "value", ["f'{100 * share:.0f}'", "f'{1 / share:.3f}'", "share[2]", "f'{100 * (1 - share)}'"]
)
def test_a_number_that_is_filled_in_may_be_per_cent(value):
    assert list(typed.wrongly_bound(f"fill_in(share={value})")) == []


@pytest.mark.parametrize("value", ["2 * share", "f'{200 * share}'", "f'{(2 * 100) * share}'", "share(1 + 1)"])
def test_what_is_filled_in_is_not_reckoned_there(value):
    (problem,) = typed.wrongly_bound(f"fill_in(share={value})")
    assert "is typed in what fill_in binds share to" in problem


def test_a_number_with_the_name_of_another_variable_is_refused():
    (problem,) = bound("fill_in(rows=far_rows, far=far)")
    assert "fill_in binds rows to far_rows, and the notebook has a variable rows" in problem


@pytest.mark.parametrize(
    "source, name",
    [
        ("fill_in(n=512)", "n"),
        ("fill_in(c='0.24', m=m)", "c"),
        ("claim('8823-C1', 'holds', formulas={'n': 64, 'law': law})", "n"),
        ("claim('8823-C1', 'holds', formulas={'row': (3, 2, 2)})", "row"),
        ("fill_in(c=f'{0.24}')", "c"),
    ],
)
def test_a_number_typed_where_a_cell_names_it_is_refused(root, source, name):
    lines = new(typed.numbers_filled_in, root, code(source))
    assert len(lines) == 1 and f": {name} is typed in" in lines[0]


@pytest.mark.parametrize(
    "source, name",
    [
        ("fill_in(rows=keys)", "rows"),
        ("fill_in(slope=f'{entropy:.2f}')", "slope"),
        ("fill_in(last_rows=keys[-1], n=n)", "last_rows"),
    ],
)
def test_a_number_that_is_bound_to_what_has_another_name_is_named(root, source, name):
    lines = new(typed.numbers_filled_in, root, code(source))
    assert len(lines) == 1 and f": {name} shares no word with what fill_in binds it to" in lines[0]


COMPUTED = ["fill_in(n=n)", "fill_in(c=f'{c:.2f}')", "fill_in(rows=len(row) - 1)", "fill_in(far=at['far'])"]


@pytest.mark.parametrize("source", COMPUTED)
def test_a_number_that_was_computed_is_not(root, source):
    assert new(typed.numbers_filled_in, root, code(source)) == []


@pytest.mark.parametrize(
    "formula",
    [
        r"\log n",
        "n>2",
        r"\lambda=\log n",
        "1/n",
        "x^2",
        r"\sqrt d",
        "0",
        "(1,0)",
        r"a_j s_j",
        "F(2)",
        r"n\to\infty",
    ],
)
def test_a_formula_typed_in_the_words_of_a_claim_is_named(root, formula):
    cell = code(f"claim('8823-C1', 'holds', condition=r'if ${formula}$', correction='{{{{law}}}}')")
    assert [line.partition("the formula ")[2] for line in new(typed.formulas, root, cell)] == [
        f"{formula!r} is typed; name it, and give it in formulas="
    ]
    listing = root / "book/claims/typed.toml"
    listing.write_text(f"chapter = 'a'\n[claims]\nU9 = '''It is ${formula}$.'''\n")
    assert any(f"{formula!r} is typed" in line for line in typed.formulas(Book(root)))


@pytest.mark.parametrize(
    "symbol",
    [
        "n",
        r"\lambda",
        "s_j",
        r"s_{\max}",
        r"F(\lambda)",
        r"H_\alpha",
        "q",
        "n={{n}}",
        r"\lambda^*",
        r"\bar s",
    ],
)
def test_a_symbol_may_be_typed(root, symbol):
    assert new(typed.formulas, root, code(f"claim('8823-C1', 'holds', condition=r'if ${symbol}$')")) == []
