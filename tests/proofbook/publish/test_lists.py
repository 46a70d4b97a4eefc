"""The lists of claims and the map: what each row and thing is called, in which order, and where it leads."""

import json
import re
import types
from html import unescape

from built_site import ROOT, read, text

from proofbook.names import VERDICTS
from proofbook.publish import drawing, graph
from proofbook.publish.book import Book
from proofbook.publish.sphinx_ext import Errata, overview
from proofbook.publish.sphinx_ext.objects import place

CHAPTER = "book/8823-attention-scale.html"


def rows(page: str) -> dict[str, str]:
    """The rows of a list of claims, by their names, in order: each with its classes."""
    found = re.findall(r'<tr class="([^"]*)" id="((?:ledger|errata)-[^"]*)">', page)
    return {name: classes for classes, name in found}


def test_each_row_of_the_ledger_has_a_name_and_says_what_a_filter_asks(small_site):
    page = read(small_site, "book/ledger.html")
    found = rows(page)
    assert list(found) == [f"ledger-8823-c{number}" for number in range(1, 7)]
    assert {"verdict-false", "basis-both", "source-8823"} <= set(found["ledger-8823-c5"].split())
    assert "source" in found["ledger-8823-c6"].split()  # of the book itself
    assert "filter.js" in read(small_site, "book/ledger.html") and "filter.js" not in read(
        small_site, CHAPTER
    )


def test_the_errata_begin_with_what_is_false(small_site):
    page = read(small_site, "book/errata.html")
    assert list(rows(page)) == [f"errata-8823-c{number}" for number in (5, 4, 2, 3)]
    headings = re.findall(r"<h2>(.*?)<", page)
    assert headings[-4:] == ["False", "Needs correction", "Holds under", "Approximate"]


def test_the_errata_of_the_book_have_the_same_order():
    directive = Errata.__new__(Errata)
    directive.options = {}
    settings = types.SimpleNamespace(
        env=types.SimpleNamespace(app=types.SimpleNamespace(proofbook_book=Book(ROOT)))
    )
    directive.state = types.SimpleNamespace(document=types.SimpleNamespace(settings=settings))
    verdicts = [claim["verdict"] for _, claims in directive.parts() for claim in claims]
    assert verdicts == sorted(verdicts, key=["false", "needs correction", "holds under", "approximate"].index)
    assert verdicts[0] == "false" and len(verdicts) > 50


def test_the_lists_have_headings_that_lead_to_them(small_site):
    page = read(small_site, "book/ledger.html")
    assert '<section id="ledger-' in page and re.search(
        r'<a class="reference internal nav-link" href="#ledger-', page
    )


def test_a_claim_leads_to_its_rows(small_site):
    page = read(small_site, CHAPTER)
    assert 'href="ledger.html#ledger-8823-c5">In the ledger</a>' in page
    assert 'href="errata.html#errata-8823-c5">In the errata</a>' in page
    assert "errata-8823-c1" not in page and "errata-8823-c6" not in page


def test_everything_is_on_the_map_and_in_its_lists_once(small_site, objects):
    page = read(small_site, "book/map.html")
    keys = [node["id"] for node in objects.graph["nodes"]]
    assert len(keys) > 8
    for key in keys:
        assert page.count(f'<li id="{place("map", key)}"') == 1, key
        assert len(re.findall(rf'<a class="map-node[^"]*" href="#{place("map", key)}"', page)) == 1, key
    for edge in objects.graph["edges"]:
        assert f'data-from="{place("map", edge["from"])}" data-to="{place("map", edge["to"])}"' in page
    names = re.findall(r'\sid="([^"]+)"', page)
    assert len(names) == len(set(names))
    here = set(re.findall(r'href="#(map-[^"]+)"', page))
    assert here <= set(names)


def test_names_on_the_map_of_the_book_are_all_different():
    keys = [node["id"] for node in graph.graph(Book(ROOT))["nodes"]]
    assert len({place("map", key) for key in keys}) == len(keys) > 500


def test_the_map_says_in_words_and_signs_what_its_colours_say(small_site):
    page = unescape(read(small_site, "book/map.html"))
    shown = re.search(r'<a class="([^"]*)" href="#map-8823-c5"[^>]*aria-label="([^"]*)".*?</a>', page, re.S)
    assert "verdict-false" in shown[1] and shown[2] == "claim 8823-C5, false, proof and evidence"
    assert overview.SIGNS["false"] in shown[0]
    listed = re.search(r'<li id="map-8823-c5".*?</li>', page, re.S)
    assert "8823-C5, false" in text(listed[0]) and "rests on:" in text(listed[0])


def test_signs_are_those_of_the_pages():
    css = (ROOT / "proofbook/publish/static/proofbook.css").read_text(encoding="utf-8")
    for verdict in VERDICTS:
        sign = re.search(rf'\.verdict-{verdict.replace(" ", "-")} {{.*?--sign: "(.)"', css)[1]
        assert overview.SIGNS[verdict] == sign


def test_the_keyboard_stops_at_lists_and_once_at_the_map(small_site):
    page = read(small_site, "book/map.html")
    drawn = re.search(r'<div class="map-scroll">.*?</svg></div>', page, re.S)[0]
    assert drawn.count("<a ") == drawn.count('tabindex="-1"') > 8  # map.js makes one of them a stop


def test_the_drawing_is_the_same_each_time_and_nothing_covers_another():
    found = [list(drawing.bands(graph.graph(Book(ROOT)))) for _ in range(2)]
    assert found[0] == found[1]
    places = [at for band in found[0] for at in band.places.values()]
    assert len(places) == len(set(places)) > 500
    for band, after in zip(found[0], found[0][1:]):
        assert all(band.y + drawing.TITLE < y < after.y for _, y in band.places.values())
        assert all(0 < x < drawing.WIDTH for x, _ in band.places.values())


def test_a_page_without_things_is_a_band_without_things():
    page = {"id": "p", "kind": "page", "page": "p", "title": "P"}
    claim = {"id": "C1", "kind": "claim", "page": "q", "verdict": "holds"}
    other = {"id": "q", "kind": "page", "page": "q", "title": "Q"}
    found = list(drawing.bands({"nodes": [page, claim, other], "edges": []}))
    assert [(band.key, list(band.places)) for band in found] == [("p", []), ("q", ["C1"])]
    assert drawing.height(found) > found[1].y > found[0].y and drawing.height([]) == 0


def test_the_graph_lies_beside_the_map(small_site, objects):
    data = json.loads(read(small_site, "proof-graph.json"))
    assert data == json.loads(json.dumps(objects.graph))
