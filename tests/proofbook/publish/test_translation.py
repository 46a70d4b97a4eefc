"""Pages in other languages: what is extracted, what must stay as it is, the page that is built."""

import json
import re
import warnings
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.pofile import read_po, write_po
from built_site import build_here, lay_out, read, text

from proofbook.__main__ import main
from proofbook.names import VERDICTS
from proofbook.publish import editions, lint, site, translation
from proofbook.publish.book import Book
from proofbook.publish.notebooks import BookError, parse
from proofbook.settings import Sources

PAGE = Path("book/8823-attention-scale.ipynb")
ORIGINAL, TRANSLATED = "book/8823-attention-scale.html", "book/zh-CN/8823-attention-scale.html"
PO = Path("book/locale/zh_CN/LC_MESSAGES/8823-attention-scale.po")


LEFT = "- The entropy is"
"""What the translator of the page that is built has left for another day."""


def with_translations(file: Path, translate) -> None:
    """Fill in a file of translations as a translator does, with gettext's own tools."""
    catalog = read_po(BytesIO(file.read_bytes()))
    for message in catalog:
        if message.id:
            message.string = translate(message.id)
            message.flags.discard("fuzzy")
    with file.open("wb") as opened:
        write_po(opened, catalog)


def in_chinese(original: str) -> str:
    return original if original.startswith("`") else f"{original}译文"


@pytest.fixture
def root(tmp_path):
    lay_out(tmp_path)
    assert main(["--root", str(tmp_path), "translate", "8823"]) == 0
    return tmp_path


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = lay_out(tmp_path_factory.mktemp("translated"))
    page = (root / PAGE).read_text(encoding="utf-8")
    (root / PAGE).write_text(
        page.replace("{claim}`8823-C1`", "{claim}`8823-C2`"), encoding="utf-8"
    )  # has a condition
    assert main(["--root", str(root), "translate", "8823"]) == 0
    with_translations(root / PO, lambda text: "" if text.startswith(LEFT) else in_chinese(text))
    return root, build_here(root, strict=True)


def catalog_of(root):
    return read_po(BytesIO((root / PO).read_bytes()))


def test_only_what_was_typed_for_readers_is_extracted(root):
    found = {message.id for message in catalog_of(root) if message.id}
    assert "# 8823: Attention's scale" in found
    assert any(original.startswith("Entropy against $n$") for original in found)  # a caption
    assert "Three broken lines that rise with k" in found  # a text for those who cannot see
    assert {translation.SKILLS, *VERDICTS} <= found
    notebook = parse((root / PAGE).read_bytes(), PAGE)
    code = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    shown = [
        output["data"]["text/markdown"]
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if "text/markdown" in output.get("data", {})
    ]
    assert shown and not any(original in piece for original in found for piece in shown if len(original) > 40)
    assert not any(line and line in found for source in code for line in source.splitlines())
    assert not any("{bibliography}" in original or "{cite-chapter}" in original for original in found)


def test_a_second_run_changes_nothing_and_an_edited_text_keeps_its_translation_to_be_checked(root, capsys):
    with_translations(root / PO, in_chinese)
    assert main(["--root", str(root), "translate", "8823"]) == 0
    before = (root / PO).read_bytes()
    assert "0 to translate, 0 to check" in capsys.readouterr().out
    assert main(["--root", str(root), "translate", "8823"]) == 0
    assert (root / PO).read_bytes() == before
    notebook = json.loads((root / PAGE).read_text(encoding="utf-8"))
    caption = "Three broken lines that rise with k"
    edited = json.dumps(notebook, ensure_ascii=False).replace(caption, "Three broken lines which rise with k")
    (root / PAGE).write_text(edited, encoding="utf-8")
    assert main(["--root", str(root), "translate", "8823"]) == 0
    assert "0 to translate, 1 to check" in capsys.readouterr().out
    message = catalog_of(root).get("Three broken lines which rise with k")
    assert message.fuzzy and message.string == f"{caption}译文"
    (page,) = Book(root).translations.values()
    assert page.text(message.id) == message.id  # the original, until somebody has checked


@pytest.mark.parametrize(
    "original, wrong, said",
    [
        ("of {{rows}} rows", "{{row}} 行", "lacks {{rows}}"),
        ("see {claim}`U1`, {claim}`U2`", "见 {claim}`U1`，{claim}`U3`", "lacks {claim}`U2`"),
        ("by {eq}`eq-a`", "由 {eq}`eq-b`", "lacks {eq}`eq-a`"),
        ("by {eq}`eq-a`", "由 {ref}`eq-a`", "has {ref}`eq-a`, which the original has not"),
        ("by {cite}`su9034`", "由 {cite}`su8823`", "lacks {cite}`su9034`"),
        ("{doc}`the map <map>`", "{doc}`地图 <ledger>`", "lacks {doc}`map`"),
        ("{ref}`U9 <claim-u9>`", "{ref}`U9 <claim-u8>`", "lacks {ref}`claim-u9`"),
        ("where $a<b$", "其中 $a>b$", "lacks $a<b$"),
        ("where $$ a<b $$", "其中", "lacks $$ a<b $$"),
        ("$a$ and $a$", "$a$", "lacks $a$"),
        ("run `make`", "运行 `mke`", "lacks `make`"),
        ("[here](a.md)", "[这里](b.md)", "lacks ](a.md)"),
        ("## Title", "# 标题", "lacks ##"),
        (
            "```{exercise} A\n:label: ex-1\n\nb\n```",
            "```{exercise} 甲\n:label: ex-2\n\n乙\n```",
            "lacks :label: ex-1",
        ),
        ("```{note}\nb\n```", "```{tip}\n乙\n```", "lacks {note}"),
    ],
)
def test_a_translation_that_changes_what_is_the_originals_is_refused(original, wrong, said):
    assert translation.problems(original, original) == []
    assert said in translation.problems(original, wrong)


def test_words_may_stand_in_another_order():
    original = "The rate $a$ of {{n}} rows, {eq}`x`, and {doc}`the map <map>`."
    assert translation.problems(original, "{doc}`地图 <map>`：{eq}`x`，{{n}} 行的 $a$。") == []


def test_a_wrong_translation_is_a_complaint_and_stops_the_build(root, capsys):
    with_translations(root / PO, lambda original: original.replace("{eq}`eq-wide`", "{eq}`eq-entropy`"))
    (complaint, *_) = lint.translations(Book(root))
    assert complaint.endswith("lacks {eq}`eq-wide`")
    assert complaint in lint.check_book(root)
    assert main(["--root", str(root), "translate", "8823"]) == 1
    with pytest.raises(BookError, match="lacks"):
        site.staged_files(Book(root))


def test_a_page_that_nobody_has_begun_is_not_made(root):
    assert Book(root).translations == {}
    assert not any("zh-CN" in name for name in site.staged_files(Book(root)))


def test_a_language_that_is_none_and_a_file_that_is_none_are_named(root):
    settings = root / "book/proofbook.toml"
    settings.write_text(settings.read_text().replace("zh_CN", "xx_YY"))
    with pytest.raises(BookError, match="'xx_YY'"):
        _ = Book(root).languages
    settings.write_text(settings.read_text().replace("xx_YY", "zh_CN"))
    (root / PO).write_text("msgid no\n")
    with pytest.raises(BookError, match="8823-attention-scale.po is no file of translations"):
        _ = Book(root).translations


def test_a_book_without_languages_and_a_name_that_no_page_has_are_refused(root, capsys):
    assert main(["--root", str(root), "translate", "nobody"]) == 1
    settings = root / "book/proofbook.toml"
    settings.write_text(settings.read_text().replace('["zh_CN"]', "[]"))
    assert main(["--root", str(root), "translate"]) == 1
    assert "names no language" in capsys.readouterr().err


def test_labels_get_a_suffix_and_links_lead_from_the_new_place():
    page = translation.TranslatedPage("book/de/a", Path("book/a.md"), "de", {"# A": "# Ä"})
    source = (
        "---\nkept: 1\n---\n(here)=\n# A\n\n"
        "{doc}`b` {doc}`c <sub/c>` [x](d.md) [y](https://e.org) {eq}`f`\n\n"
        "$$ 1 $$ (g)\n\n```{exercise}\n:label: h\n\ni\n```\n\n```{solution} h\nj\n```\n\n`(here)=`\n"
    )
    found = translation.translated(source, page, Sources())
    assert found.startswith("---\nkept: 1\nlang: de\norphan: true\n---\n(here-de)=\n(a-de)=\n# Ä\n\n> ")
    for piece in (
        "{doc}`/book/b` {doc}`c </book/sub/c>` [x](../d.md) [y](https://e.org) {eq}`f`",
        "$$ 1 $$ (g-de)",
        ":label: h-de",
        "{solution} h-de",
        "`(here)=`",
    ):
        assert piece in found


def test_both_pages_say_their_language_and_lead_to_each_other(built):
    _, html = built
    for page, language, other, words in (
        (ORIGINAL, "en", "zh-CN/8823-attention-scale.html", "中文"),
        (TRANSLATED, "zh-CN", "../8823-attention-scale.html", "English"),
    ):
        shown = read(html, page)
        assert re.search(r'<html\b[^>]* lang="([^"]*)"', shown)[1] == language
        (switch,) = re.findall(r'<nav class="languages".*?</nav>', shown)
        assert f'href="{other}"' in switch and f">{words}</a>" in switch and "hreflang=" in switch
        assert re.search(rf'<link rel="alternate" hreflang="[^"]*" href="{other}" />', shown)
    assert '<nav class="languages"' not in read(html, "book/notation.html")


def test_the_translation_has_the_names_the_numbers_and_the_formulas_of_the_original(built):
    _, html = built
    original, shown = read(html, ORIGINAL), read(html, TRANSLATED)

    def found(pattern, page):
        return sorted(re.findall(pattern, page))

    for names in (r' id="((?:claim|equation|fig|ex|sol)-[^"]*)"', r'<section [^>]*\bid="([^"]*)"'):
        assert found(names, shown) == found(names, original) != []
    for pattern in (r'class="eqno">(\([\d.]+\))', r'"caption-number">([^<]*)', r'"section-number">([^<]*)'):
        assert found(pattern, shown) == found(pattern, original) != []
    assert shown.count("<math") == original.count("<math")
    assert "-zh-cn" not in shown
    assert 'href="#equation-eq-wide"' in shown  # a reader stays in the language
    assert "8823: Attention’s scale译文" in text(shown)
    assert re.search(r'class="cell [^"]*" lang="en"', shown)  # what cells show is not translated
    assert re.search(r'<span class="caption-text" lang="zh-CN">', shown)


def test_verdicts_and_the_words_of_a_card_are_in_the_language_of_the_page(built):
    _, html = built
    for page, translated in ((TRANSLATED, True), (ORIGINAL, False)):
        shown = read(html, page)
        verdicts = re.findall(r'<span class="verdict [^"]*">(?:\d+ )?([^<]*)</span>', shown)
        assert {one.removesuffix("译文") for one in verdicts} <= set(VERDICTS)
        assert [one for one in verdicts if one.endswith("译文") == translated] == verdicts != []
        (source,) = re.findall(r'<p class="card-source">(\w+) 8823', shown)
        assert source == ("Article译文" if translated else "Article")
        said = re.search(r'<span class="claim-note"( lang="en")?>', shown)
        assert bool(said[1]) == translated


def test_the_words_of_a_card_keep_what_they_name():
    assert translation.problems(translation.RAN, "{{time}}") == ["lacks {{programs}}"]


def test_what_is_not_translated_yet_stands_there_in_its_own_language(built):
    _, html = built
    (box,) = re.findall(r'(?s)<div class="untranslated [^"]*" lang="en">(.*?)</div>', read(html, TRANSLATED))
    assert text(box).startswith("The entropy is")
    assert "untranslated" not in read(html, ORIGINAL)


def test_permalinks_and_data_know_the_original_alone(built):
    root, html = built
    assert not any("zh" in line for line in lint.permalinks_of(Book(root)))
    assert not any("zh-CN" in complaint for complaint in lint.strays(Book(root)))
    claims = json.loads(read(html, "claims.json"))["claims"]
    assert {claim["page"] for claim in claims} == {"book/8823-attention-scale"}
    assert 'href="../8823-attention-scale.html#claim-8823-c1">Permalink' in read(html, TRANSLATED)


def test_search_finds_the_translated_page_and_each_claim_once(built):
    _, html = built
    data = read(html, "_static/search-data.js")
    index = json.loads(data[data.index("{") : data.rindex(";")])
    mine = [entry for entry in index["entries"] if entry[2].startswith(TRANSLATED)]
    assert {entry[0] for entry in mine} <= {"page", "section"}
    assert any("译文" in entry[5] for entry in mine)
    claims = [entry[3] for entry in index["entries"] if entry[0] == "claim"]
    assert len(claims) == len(set(claims)) > 0


def test_an_edition_for_students_has_no_translated_solutions(built):
    root, _ = built
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the imports
        archive, _, _ = editions.student(Book(root))

    assert not any("zh-CN" in name for name in zipfile.ZipFile(archive).namelist())
