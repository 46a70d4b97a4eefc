"""Claims and equations as things of their own: what is attached to them, and the data beside the pages."""

import json
import re
import types
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from built_site import ROOT, build_here, lay_out, read, text

from proofbook.ledger import schema
from proofbook.publish import graph
from proofbook.publish.address import Address
from proofbook.publish.book import Book
from proofbook.publish.citation import read_edition
from proofbook.publish.objects import Objects, citation, report
from proofbook.publish.sphinx_ext import previews
from proofbook.publish.sphinx_ext.objects import Shown
from proofbook.publish.sphinx_ext.objects import panel as attached

CHAPTER = "book/8823-attention-scale.html"
REPOSITORY, SITE = "https://github.com/nobody/attention", "https://example.org/attention"


def panel(page: str, anchor: str) -> str:
    found = re.search(rf'<div class="object-panel" data-anchor="{anchor}".*?</div>', page, re.S)
    assert found, anchor
    return found[0]


def test_every_claim_and_equation_has_its_panel_once_and_a_permalink(small_site, objects):
    page = read(small_site, CHAPTER)
    assert len(objects.all) > 7
    for one in objects.all.values():
        assert page.count(f'data-anchor="{one.anchor}"') == 1
        assert page.count(f'class="headerlink" href="#{one.anchor}"') == 1
        inside = panel(page, one.anchor)
        assert one.key in inside and f'href="#{one.anchor}"' in inside
        bibtex, words = citation(objects.book.edition, objects.book.address, one)
        assert bibtex in unescape(inside) and words in unescape(inside)
        assert one.tex in unescape(inside)


def test_what_something_rests_on_and_what_rests_on_it_are_links(small_site):
    page = read(small_site, CHAPTER)
    claim, equation = panel(page, "claim-8823-c1"), panel(page, "equation-eq-entropy")
    assert re.search(r'<b>Rests on</b> <a href="#equation-eq-entropy">\(1\.1\)</a>', claim)
    assert 'href="../certificates/eq-entropy.json">(1.1)</a>' in claim
    assert re.search(
        r'<b>What rests on it:</b> .*<a class="verdict-mark verdict-holds" href="#claim-8823-c1">', equation
    )
    assert (small_site / "certificates/eq-entropy.json").is_file()


def test_nobody_has_to_tab_through_what_is_closed(small_site):
    css = (small_site / "_static/objects.css").read_text(encoding="utf-8")
    assert ".object-panel { display: none; }" in css
    assert "tabindex" not in "".join(
        re.findall(r'<div class="object-panel".*?</div>', read(small_site, CHAPTER), re.S)
    )


def test_no_search_finds_what_is_attached(small_site):
    index = read(small_site, "_static/search-data.js").partition("=")[2].strip().rstrip(";")
    claims = [text for kind, _, _, _, _, text, _ in json.loads(index)["entries"] if kind == "claim"]
    assert any("entropy" in text for text in claims)
    assert not any("@incollection" in text or "permalink" in text.lower() for text in claims)


def test_claims_and_equations_are_data_with_a_schema(small_site, objects):
    for name, entries, key in (("claims", 6, "id"), ("equations", len(objects.all) - 6, "label")):
        data = json.loads(read(small_site, f"{name}.json"))
        published = read(small_site, f"{name}.schema.json")
        schema.check(data, published, name)
        assert json.loads(published) == json.loads(schema.read(name, "proofbook.publish"))
        keys = [entry[key] for entry in data[name]]
        assert len(keys) == len(set(keys)) == entries
        for entry in data[name]:
            page, _, anchor = entry["link"].partition("#")
            assert f'id="{anchor}"' in read(small_site, page)
    equation = next(e for e in data["equations"] if e["label"] == "eq-entropy")
    assert equation["number"] == "1.1" and equation["basis"] == "proof" and equation["url"] is None
    assert (small_site / equation["certificate"]).is_file()


@pytest.mark.parametrize(
    "name, change, complaint",
    [
        ("claims", {"verdict": "nearly"}, "verdict"),
        ("claims", {"link": "somewhere"}, "link"),
        ("claims", {"basis": None}, "basis"),
        ("equations", {"kind": "claim"}, "kind"),
        ("equations", {"digest": "abc"}, "digest"),
        ("equations", {"more": 1}, "more"),
    ],
)
def test_the_schemas_refuse_what_does_not_fit(objects, name, change, complaint):
    data = json.loads(json.dumps(getattr(objects, name)()))
    text = schema.read(name, "proofbook.publish")
    schema.check(data, text, name)
    data[name][0] |= change
    with pytest.raises(ValueError, match=complaint):
        schema.check(data, text, name)


@pytest.mark.parametrize(
    "kinds, basis",
    [(["proof", "remainder"], "proof"), (["measured"], "evidence"), (["proof", "digits"], "both")],
)
def test_a_basis_says_what_is_proved(small_book, kinds, basis):
    book = Book(small_book)
    book.claims[0]["evidence"] = [{"kind": kind, "text": "something"} for kind in kinds]
    assert Objects(book).all[book.claims[0]["id"]].basis == basis


def test_an_equation_is_proved_where_all_its_steps_are(small_book):
    book = Book(small_book)
    equation = next(iter(book.pages.values())).equations[0]
    assert Objects(book).all[equation["label"]].state == "proved"
    equation["steps"][0] |= {"strategy": "bound", "evidence": "none was found"}
    assert Objects(book).all[equation["label"]].state == "evidence"


def test_pages_rest_on_what_their_prose_names(small_book):
    found = graph.graph(Book(small_book))
    pages = {node["id"] for node in found["nodes"] if node["kind"] == "page"}
    assert "book/8823-attention-scale" in pages
    named = {(edge["from"], edge["to"]) for edge in found["edges"] if edge["from"] in pages}
    assert ("book/8823-attention-scale", "8823-C1") in named


def test_a_report_is_an_issue_that_is_filled_in(objects):
    edition, one = read_edition(ROOT), objects.all["8823-C4"]
    assert report(edition, Address(site=SITE), one) == ""
    url = urlsplit(report(edition, Address(repository=REPOSITORY, site=SITE), one))
    asked = parse_qs(url.query)
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{REPOSITORY}/issues/new"
    assert asked["title"] == ["8823-C4: "]
    assert f"{SITE}/{CHAPTER}#claim-8823-c4" in asked["body"][0] and "needs correction" in asked["body"][0]
    other = urlsplit(report(edition, Address(repository="https://gitlab.com/nobody/attention"), one))
    assert other.path == "/nobody/attention/-/issues/new" and "issue[title]" in parse_qs(other.query)


def test_without_a_repository_the_page_that_says_how_to_report_is_linked(small_site):
    page = read(small_site, CHAPTER)
    assert 'href="how-to-read.html#report-an-error">Report an error</a>' in panel(page, "claim-8823-c1")
    assert 'id="report-an-error"' in read(small_site, "book/how-to-read.html")


def test_a_citation_of_a_claim_names_it_and_its_address(objects):
    bibtex, words = citation(read_edition(ROOT), Address(site=SITE), objects.all["8823-C4"])
    assert (
        bibtex.startswith("@incollection{attention-derived-8823-c4,")
        and "note      = {Claim 8823-C4}" in bibtex
    )
    assert bibtex.count("{") == bibtex.count("}")
    assert "Claim 8823-C4 of “" in words and words.endswith(f"{SITE}/{CHAPTER}#claim-8823-c4")


def test_what_comes_from_data_is_no_markup_in_a_panel(small_book):
    book = Book(small_book)
    hostile = "</pre><script>alert(1)</script>"
    book.claims[0]["statement"] = hostile
    next(iter(book.pages.values())).title = hostile
    std = types.SimpleNamespace(anonlabels={})
    env = types.SimpleNamespace(found_docs={"a"}, metadata={}, titles={}, get_domain=lambda name: std)
    shown = Shown.__new__(Shown)
    shown.app, shown.env, shown.docname = types.SimpleNamespace(env=env), env, "book/8823-attention-scale"
    shown.objects = Objects(book)
    shown.name = lambda key: hostile
    made = attached(shown, shown.objects.all[book.claims[0]["id"]])
    assert "<script" not in made and made.count("</pre>") == 2 and "&lt;script&gt;" in made


def test_previews_are_scripts_that_hold_what_links_lead_to(small_site, objects):
    script = read(small_site, "_static/previews/book/8823-attention-scale.js")
    name, pieces = re.fullmatch(r'proofbookPreviews\("([^"]+)",(.*)\);\n', script, re.S).groups()
    pieces = json.loads(pieces.replace("<\\/", "</"))
    assert name == "book/8823-attention-scale"
    assert set(pieces) == {one.anchor for one in objects.all.values()}
    for anchor, piece in pieces.items():
        assert piece.startswith("<div") and piece.endswith("</div>") and f'id="{anchor}"' in piece
        assert piece.count("<div") == piece.count("</div>")
        assert "object-panel" not in piece and "headerlink" not in piece
    assert "false" in text(pieces["claim-8823-c5"])
    assert "</" not in script


def test_a_piece_ends_where_its_element_ends():
    page = '<div id="a"><div>1</div><div class="object-panel"><div>2</div></div></div><div id="b">3</div>'
    assert previews.piece(page, "a") == '<div id="a"><div>1</div></div>'
    assert previews.piece(page, "b") == '<div id="b">3</div>' and previews.piece(page, "c") is None
    named = '<a href="#" data-id="c" title="id=&quot;c">id="c"</a><i\nid="c" class="x">4</i>'
    assert previews.piece(named, "c") == '<i\nid="c" class="x">4</i>'


def test_a_page_follows_what_rests_on_its_claims(tmp_path):
    root = lay_out(tmp_path)
    html = build_here(root)
    before = panel(read(html, CHAPTER), "claim-8823-c5")
    notation = root / "book/notation.md"
    notation.write_text(notation.read_text(encoding="utf-8") + "\nSee {claim}`8823-C5`.\n", encoding="utf-8")
    build_here(root)
    assert 'href="notation.html">Notation</a>' not in before
    assert 'href="notation.html">Notation</a>' in panel(read(html, CHAPTER), "claim-8823-c5")

    (root / "book/address.yml").write_text(f"repository: {REPOSITORY}\nbranch: main\nsite: {SITE}/\n")
    build_here(root)
    inside = panel(read(html, CHAPTER), "equation-eq-entropy")
    assert f'href="{REPOSITORY}/issues/new?title=eq-entropy' in inside
    assert f"{SITE}/{CHAPTER}#equation-eq-entropy" in inside
