"""Claims and equations in a browser: permalinks copy, panels open and close, previews, filters, the map."""

import json

import pytest
from site_in_browser import SITE


def of_the_site(name):
    path = SITE / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))[name] if path.is_file() else []


CLAIMS, EQUATIONS = of_the_site("claims"), of_the_site("equations")
CITED = next((one for one in CLAIMS if one["rests_on"] and not one["rests_on"][0].startswith("lemma")), None)
HOMES = ["http", "file"]

pytestmark = pytest.mark.skipif(
    CITED is None, reason="no site is built, or none of its claims cites an equation"
)


@pytest.fixture(params=HOMES)
def read(request, reading):
    return reading("dark", 390, home=SITE.resolve().as_uri() if request.param == "file" else None)


def test_a_permalink_copies_and_opens_what_escape_closes(read):
    read.context.grant_permissions(["clipboard-read", "clipboard-write"])
    name, _, anchor = CITED["link"].partition("#")
    page = read.open(name)
    panel = page.locator(f'.object-panel[data-anchor="{anchor}"]')
    assert panel.is_hidden()
    page.locator(f'a.headerlink[href="#{anchor}"]').click()
    page.wait_for_function("document.querySelector('.object-said').textContent === 'Link copied'")
    assert panel.is_visible() and page.url.endswith(f"#{anchor}")
    assert page.evaluate("navigator.clipboard.readText()").endswith(CITED["link"])
    panel.locator("summary").first.click()
    panel.locator(".object-copy").click()
    page.wait_for_function("document.querySelector('.object-said').textContent === 'Copied'")
    assert page.evaluate("navigator.clipboard.readText()").startswith("@incollection{")
    page.keyboard.press("Escape")
    assert panel.is_hidden()
    assert page.evaluate("document.activeElement.getAttribute('href')") == f"#{anchor}"
    assert read.problems == []


def test_without_a_script_a_permalink_is_a_link_that_opens_too(new_context, served):
    page = new_context(java_script_enabled=False).new_page()
    page.goto(f"{served}/{CITED['link']}")
    assert page.locator(".object-panel:visible").count() == 1


@pytest.mark.parametrize("how", ["keyboard", "pointer"])
def test_a_link_to_a_claim_on_another_page_shows_it(read, how):
    page = read.open("book/ledger.html")
    link = page.locator(f'tr a[href$="#{CITED["link"].partition("#")[2]}"]').first
    link.scroll_into_view_if_needed()
    if how == "pointer":
        link.hover()
    else:
        page.keyboard.press("Shift")  # so that what is focused next was focused by keyboard
        link.focus()
    preview = page.locator(".object-preview")
    preview.wait_for(state="visible")
    assert CITED["id"] in preview.inner_text()
    assert link.get_attribute("aria-describedby") == "object-preview"
    box = preview.bounding_box()
    assert 0 <= box["x"] and box["x"] + box["width"] <= 390 and box["width"] > 300
    page.keyboard.press("Escape")
    assert preview.is_hidden() and link.get_attribute("aria-describedby") is None
    assert read.problems == []


def test_the_ledger_shows_what_is_asked_for(read):
    page = read.open("book/ledger.html")
    wanted = [one["id"] for one in CLAIMS if one["verdict"] == CITED["verdict"]]
    page.select_option("select[name=verdict]", CITED["verdict"].replace(" ", "-"))
    assert page.locator("table.ledger tbody tr:visible").count() == len(wanted) < len(CLAIMS)
    page.fill("input[name=text]", CITED["id"])
    assert 1 <= page.locator("table.ledger tbody tr:visible").count() < len(wanted)
    other = next(one for one in CLAIMS if one["verdict"] != CITED["verdict"])
    row = f"ledger-{other['id'].lower()}"
    page.evaluate(f"location.hash = '#{row}'")
    page.locator(f"#{row}").wait_for(state="visible")  # a row that is linked to is shown
    assert read.problems == []


def test_the_map_is_walked_by_keyboard_and_has_an_address(read):
    key = f"map-{CITED['id'].lower()}"
    page = read.open(f"book/map.html#{key}")
    about = page.locator(".map-about")
    assert CITED["id"] in about.inner_text() and "Rests on" in about.inner_text()
    assert page.locator(".map-scroll a.above").count() >= len(CITED["rests_on"])
    assert page.locator('.map-scroll a[tabindex="0"]').count() == 1
    page.locator(f'.map-scroll a[href="#{key}"]').focus()
    page.keyboard.press("ArrowLeft" if CLAIMS[0]["id"] != CITED["id"] else "ArrowRight")
    reached = page.evaluate("document.activeElement.getAttribute('href')")
    assert reached != f"#{key}"
    page.keyboard.press("Enter")
    assert page.url.endswith(reached)
    page.keyboard.press("Escape")
    assert "#" not in page.url and about.inner_text() == ""
    assert read.problems == []
