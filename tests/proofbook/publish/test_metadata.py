"""What pages say of themselves to machines and to those who do not see them whole."""

import re
import types
import xml.etree.ElementTree as ET
from collections import Counter
from html import unescape

import pytest
from built_site import ROOT, build_here, lay_out, read, text
from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode

from proofbook.publish.address import Address
from proofbook.publish.citation import Edition, read_edition
from proofbook.publish.notebooks import BookError, Page
from proofbook.publish.sphinx_ext import metadata, reading
from proofbook.settings import Settings

CHAPTER = "book/8823-attention-scale.html"
REPOSITORY, SITE = "https://github.com/nobody/attention", "https://example.org/attention"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = lay_out(tmp_path_factory.mktemp("metadata"))
    (root / "book/chinese.md").write_text(
        "---\nlang: zh-Hans\n---\n\n# 中文简介\n\n本书 is a book.\n", encoding="utf-8"
    )
    toc = root / "_toc.yml"
    toc.write_text(toc.read_text().replace("book/notation", "book/notation\n      - file: book/chinese"))
    return root


@pytest.fixture(scope="module")
def html(root):
    return build_here(root, strict=True)


@pytest.fixture(scope="module")
def addressed(tmp_path_factory):
    """The same book with an address."""
    root = lay_out(tmp_path_factory.mktemp("addressed"))
    (root / "book/address.yml").write_text(f"repository: {REPOSITORY}\nbranch: main\nsite: {SITE}/\n")
    return build_here(root)


def pages_of(html):
    return [path for path in sorted(html.rglob("*.html")) if "_static" not in path.parts]


def meta(page: str) -> dict[str, str]:
    found = re.findall(r'<meta (?:name|property)="([^"]+)" content="([^"]*)" ?/>', page)
    return {name: unescape(value) for name, value in found}


def test_every_page_has_one_description_a_title_to_show_an_icon_and_its_licences(html):
    edition = read_edition(ROOT)
    assert edition.licenses == ("BSD-3-Clause", "CC-BY-4.0")
    pages = [
        page for page in pages_of(html) if page.name not in ("404.html", "index.html") or page.parent != html
    ]
    assert len(pages) > 8
    for path in pages:
        page = path.read_text(encoding="utf-8")
        said = meta(page)
        assert page.count('<meta name="description"') == 1 and 10 < len(said["description"]) <= 201, path
        assert said["og:title"] and said["og:site_name"] == edition.title and "og:url" not in said
        # The book's title stands behind that of the page, and once on the page that has it.
        (shown,) = re.findall(r"(?s)<head>.*?<title>(.*?)</title>", page)
        assert shown.count(edition.title) == 1 and said["og:title"] in unescape(shown)
        assert said["og:description"] == said["description"] and "\\" not in said["description"]
        icon = re.search(r'<link rel="icon" href="([^"]+)"', page)[1]
        assert (path.parent / icon).resolve() == (html / metadata.ICON).resolve() and (
            html / metadata.ICON
        ).is_file()
        footer = text(re.search(r'<p class="licence">.*?</p>', page)[0])
        assert footer.replace(" ,", ",") == "Licences: BSD-3-Clause, CC-BY-4.0"


def test_with_an_address_pages_say_where_they_are_and_a_sitemap_lists_them(addressed):
    assert meta(read(addressed, CHAPTER))["og:url"] == f"{SITE}/{CHAPTER}"
    sitemap = ET.parse(addressed / "sitemap.xml").getroot()
    places = [place.text for place in sitemap.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")]
    assert f"{SITE}/{CHAPTER}" in places and len(places) == len(set(places)) > 8
    for place in places:
        assert (addressed / place.removeprefix(f"{SITE}/")).is_file()


def test_without_an_address_there_is_no_sitemap(html):
    assert not (html / "sitemap.xml").exists()


def test_a_page_for_addresses_that_are_none_stands_alone(html, addressed):
    for site, top in ((html, ""), (addressed, f"{SITE}/")):
        page = read(site, "404.html")
        assert re.findall(r'href="([^"]+)"', page) == [f"{top}index.html", f"{top}search.html"]
        assert "<script" not in page and "src=" not in page and '<html lang="en">' in page


def test_words_of_an_edition_are_no_markup_on_its_pages():
    edition = Edition('<b>"A" & B</b>', "N", "1", "2026", ("<i>",))
    for made in (
        metadata.lost(edition, Address(), "en"),
        metadata.licence(edition),
        metadata.tags(edition, Address(site=SITE), docname="a", title='"x"', words="<script>"),
    ):
        assert "<b>" not in made and "<i>" not in made and "<script>" not in made and '""' not in made


def paragraph(*sentences: str) -> nodes.document:
    document = nodes.section("", nodes.container("", nodes.paragraph("", "In a card.")))
    document += nodes.paragraph("", "Not recorded yet.", classes=["not-recorded"])
    document += nodes.paragraph("", " ".join(sentences))
    return document


@pytest.mark.parametrize(
    "sentences, said",
    [
        (["One thing.", "Another."], "One thing. Another."),
        (["One thing.", r"A \lambda more.", "Another."], "One thing."),
        ([r"A \lambda first.", "Then words."], "A lambda first. Then words."),
        (["word " * 100], "word " * 39 + "word…"),
    ],
)
def test_a_description_is_the_first_words_in_the_text(sentences, said):
    assert metadata.description(paragraph(*sentences)) == said


def test_licences_may_be_one_or_none(tmp_path):
    cff = tmp_path / "CITATION.cff"
    needed = "title: T\nversion: 1\ndate-released: 2026-01-01\nauthors: [{name: A}]\n"
    cff.write_text(needed)
    assert read_edition(tmp_path).licenses == () and metadata.licence(read_edition(tmp_path)) == ""
    cff.write_text(needed + "license: MIT\n")
    assert metadata.licence(read_edition(tmp_path)).startswith('<p class="licence">Licence: <a ')
    cff.write_text(needed + "license: 5\n")
    with pytest.raises(BookError, match="licenses by name"):
        read_edition(tmp_path)


def test_no_id_occurs_twice_on_a_page(html):
    for path in pages_of(html):
        names = Counter(re.findall(r'\sid="([^"]+)"', path.read_text(encoding="utf-8")))
        assert [name for name, number in names.items() if number > 1] == [], path.name


def test_sections_of_one_name_are_told_apart():
    document = nodes.section("", ids=["top"])
    for name in ("one", "two"):
        document += nodes.container("", nodes.section("", ids=["content"]), ids=[name])
    reading.tell_apart(document)
    assert [section["ids"] for section in document.findall(nodes.section)] == [
        ["top"],
        ["content"],
        ["two-content"],
    ]


@pytest.mark.parametrize(
    "card, title, shown",
    [
        ({"article": "8823"}, "Scale", "8823 · Scale"),
        ({"article": "8823"}, "8823: scale", "8823: scale"),
        ({"verdict": "it holds"}, "Scale", "Scale"),
        (None, "Scale", "Scale"),
    ],
)
def test_the_sidebar_has_the_numbers_of_the_articles(card, title, shown):
    toc = nodes.bullet_list("", nodes.list_item("", nodes.paragraph("", "", nodes.reference("", title))))
    book = types.SimpleNamespace(
        page=lambda name: Page(name, title, card), settings=Settings.read(ROOT / "book")
    )
    titles = {"book/scale": nodes.title("", title)}
    env = types.SimpleNamespace(docname="book/scale", tocs={"book/scale": toc}, titles=titles)
    reading._name_in_sidebar(types.SimpleNamespace(env=env, proofbook_book=book), None)
    assert toc.astext() == shown


def test_a_number_in_a_title_is_not_said_twice(html):
    entries = re.findall(r'<li class="toctree-l1[^>]*><a [^>]*>([^<]*)</a>', read(html, "book/ledger.html"))
    assert "1. 8823: Attention’s scale" in entries


def test_chinese_text_says_that_it_is(html):
    assert Settings.read(ROOT / "book").sources.language == "zh"
    for path in pages_of(html):
        head, _, page = path.read_text(encoding="utf-8").partition("<body")
        if '<html lang="zh' in head:  # all of it is Chinese
            continue
        page = re.sub(r'(?s)id="jb-print-docs-body".*?</h1>', ">", page)  # the theme's, for paper alone
        shown = re.sub(r"<[^>]*>", "", re.sub(r'<span[^>]* lang="zh"[^>]*>.*?</span>', "", page))
        assert re.findall(r"[\u4e00-\u9fff]+", shown) == [], path.name
    assert '<span lang="zh">从熵不变性看Attention的Scale操作</span>' in read(html, CHAPTER)
    assert '<span lang="zh">中文简介</span></a></li>' in read(html, CHAPTER)  # in the sidebar


def test_a_page_is_in_the_language_that_its_front_matter_says(html):
    assert re.search(r"<html\b[^>]* lang=\"([^\"]*)\"", read(html, "book/chinese.html"))[1] == "zh-Hans"
    assert re.search(r"<html\b[^>]* lang=\"([^\"]*)\"", read(html, CHAPTER))[1] == "en"


@pytest.mark.parametrize(
    "words, marked",
    [
        ("Jianlin Su (苏剑林) wrote 熵 here", ["苏剑林", "熵"]),
        ("从JL引理看熵不变性Attention", ["从JL引理看熵不变性"]),
        ("如何度量数据的稀疏程度？", ["如何度量数据的稀疏程度？"]),
        ("no such text", []),
    ],
)
def test_languages_are_told_by_their_script(words, marked):
    document = nodes.paragraph("", words)
    reading.mark_language(document, "zh")
    assert [node.astext() for node in document.findall(nodes.inline)] == marked
    assert document.astext() == words


def test_formulas_and_code_are_in_no_language():
    document = nodes.paragraph("", "", nodes.literal("", "熵"), nodes.math("", "熵"))
    reading.mark_language(document, "zh")
    assert not list(document.findall(nodes.inline))


def cell(code: str, *shown: nodes.Node) -> nodes.container:
    fold = HideCodeCellNode(prompt_show="Show code cell source", prompt_hide="Hide code cell source")
    fold += nodes.literal_block("", code)
    return nodes.container("", fold, nodes.container("", *shown))


@pytest.mark.parametrize(
    "code, shown, name",
    [
        ("import a\nfrom b import c\nf()", [], "the imports"),
        ("def f(x):\n    return x", [], "the code of f"),
        ("x = 1", [], "the code"),
        ("not python (", [], "the code"),
        ("x = 1", [nodes.figure()], "the code of the figure"),
        ("x = 1", [nodes.table()], "the code of the table"),
        ("x = 1", [nodes.admonition(ids=["claim-a-c1"], classes=["claim"])], "the check of A-C1"),
        (
            "def f(x):\n    return x",
            [nodes.math_block(ids=[f"equation-eq-{k}"]) for k in range(4)],
            "the derivation of eq-0, eq-1 and 2 more",
        ),
    ],
)
def test_a_fold_says_what_it_hides(code, shown, name):
    made = cell(code, *shown)
    reading.name_folds(made)
    assert (made[0]["prompt_show"], made[0]["prompt_hide"]) == (f"Show {name}", f"Hide {name}")


def test_a_fold_that_an_author_has_named_keeps_its_name():
    made = cell("x = 1")
    made[0]["prompt_show"] = "Look"
    reading.name_folds(made)
    assert made[0]["prompt_show"] == "Look"


def test_no_fold_on_a_page_is_called_like_all_others(html):
    for path in pages_of(html):
        page = path.read_text(encoding="utf-8")
        assert "Toggle hidden content" not in page and "Show code cell source" not in page, path.name


def test_a_list_of_references_has_items(html):
    page = read(html, "book/references.html")
    assert 'role="list"' in page and 'role="listitem"' in page and "doc-biblioentry" not in page
