"""What a reader does: search, drag a figure, copy code, walk by keyboard, read without a script, print."""

import json
import re

import pytest
from page_checks import choose, grave
from site_in_browser import SITE, pages

CLIPBOARD = ["clipboard-read", "clipboard-write"]
LONGEST = max(
    (name for name in pages() if name.startswith("book/") and name[5:6].isdigit()),
    key=lambda name: (SITE / name).read_text(encoding="utf-8").count('class="eqno"'),
    default=None,
)

pytestmark = pytest.mark.skipif(LONGEST is None, reason="no site is built")


@pytest.fixture(params=["http", "file"])
def home(request):
    return SITE.resolve().as_uri() if request.param == "file" else None


def first_hit(page):
    page.locator("#search-found li").first.wait_for()
    hit = page.locator("#search-found li").first
    return hit.locator("a").get_attribute("href"), hit.locator("p").inner_text()


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("golden ratio", r"book/8823-attention-scale\.html#equation-eq-8823-golden"),
        ("entropy normalisation", r"book/8829-entropy-normalization\.html"),
        ("entropy normalization", r"book/8829-entropy-normalization\.html"),
        ("8823-C10", r"book/8823-attention-scale\.html#claim-8823-c10"),
        ("eq-9034-bound", r"book/9034-quick-derivation\.html#equation-eq-9034-bound"),
        ("熵", r"book/(zh-CN/)?(8823|8829|9034|9588|9889)-[a-z-]+\.html"),
        ("log-sum-exp", r"book/[a-z0-9-]+\.html.*"),
    ],
)
def test_a_search_finds_first_what_was_meant(reading, home, asked, found):
    read = reading("dark", home=home)
    page = read.open(f"search.html?q={asked}")
    link, excerpt = first_hit(page)
    assert re.fullmatch(found, link)
    assert (SITE / link.partition("#")[0]).is_file()
    # An excerpt is a sentence that somebody can read: no TeX, nothing that belongs to the page's controls.
    assert len(excerpt) > 20 and not re.search(r"\\[a-z]+|Permalink|\$", excerpt)
    assert read.problems == []


def test_ctrl_k_leads_to_a_search_that_can_be_changed(reading, home):
    read = reading(home=home)
    page = read.open(LONGEST)
    page.keyboard.press("Control+k")
    page.keyboard.type("golden ratio")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=golden*")
    assert "golden" in first_hit(page)[0]
    field = page.locator(".bd-search-container input[type=search]")
    field.fill("qqqqqq zzzzzz")
    assert page.locator("#search-count").inner_text() == "Nothing found."
    field.fill("8823-C10")
    assert first_hit(page)[0].endswith("#claim-8823-c10")
    page.locator("#search-found a").first.click()
    page.wait_for_url("**/8823-attention-scale.html#claim-8823-c10")
    assert page.locator("#claim-8823-c10").is_visible()
    assert read.problems == []


def test_the_search_can_be_used_by_everyone(reading):
    for theme in ("light", "dark"):
        page = reading(theme, 390).open("search.html?q=entropy")
        first_hit(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        choose(page)
        assert grave(page) == []


def test_a_figure_is_dragged_and_moved_by_keyboard(reading, home):
    read = reading("dark", 390, home=home)
    page = read.open("book/index.html")
    figure = page.locator("figure.draggable").first
    slider = figure.locator("input[type=range]").first
    drawn = "(one) => [...one.querySelectorAll('path')].map((path) => path.getAttribute('d')).join()"
    before, said = figure.evaluate(drawn), figure.locator("output").first.inner_text()
    slider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    moved = figure.evaluate(drawn)
    assert moved != before and figure.locator("output").first.inner_text() != said
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 8, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    assert figure.evaluate(drawn) != moved
    assert read.problems == []


def test_code_is_copied(reading, home):
    read = reading(home=home)
    read.context.grant_permissions(CLIPBOARD)
    page = read.open(LONGEST)
    button = page.locator("article .copybtn:visible").first
    button.focus()
    page.keyboard.press("Enter")
    code = button.evaluate("(one) => one.parentElement.querySelector('pre').textContent")
    page.wait_for_function("navigator.clipboard.readText().then((text) => text.length > 0)")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.split() and copied.split() == code.split()


def test_an_exercise_keeps_its_solution_until_it_is_asked_for(reading, home):
    read = reading("light", 390, home=home)
    page = read.open(LONGEST)
    solution = page.locator(".solution.toggle").first
    button = solution.locator("button.toggle-button")
    assert not solution.locator("p:not(.admonition-title)").first.is_visible()
    assert button.get_attribute("aria-label").startswith("Solution to")
    button.focus()
    page.keyboard.press("Enter")
    assert solution.locator("p:not(.admonition-title)").first.is_visible()
    assert read.problems == []


def test_tab_goes_through_the_longest_chapter_and_arrows_to_what_it_passes(reading):
    read = reading()
    page = read.open(LONGEST)
    stops, kinds = 0, set()
    while stops < 400:
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        stops += 1
        kinds.add(page.evaluate("document.activeElement.className || document.activeElement.tagName"))
    assert 50 < stops < 150
    # All permalinks are reached from the one that is a stop.
    links = page.locator("article a.headerlink:visible")
    reached = set()
    page.locator("article a.headerlink[tabindex='0']").focus()
    page.keyboard.press("Home")
    for _ in range(links.count()):
        reached.add(page.evaluate("document.activeElement.getAttribute('href')"))
        page.keyboard.press("ArrowDown")
    assert len(reached) > 30
    assert reached == set(links.evaluate_all("(all) => all.map((one) => one.getAttribute('href'))"))
    page.keyboard.press("Home")
    assert page.evaluate("document.activeElement.getAttribute('href')") in reached
    # So are the sections of the page, beside it.
    sections = page.locator(".page-toc a")
    assert page.locator(".page-toc a[tabindex='0']").count() == 1
    page.locator(".page-toc a[tabindex='0']").focus()
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.getAttribute('href')") == sections.last.get_attribute("href")
    page.keyboard.press("Enter")
    assert page.url.endswith(sections.last.get_attribute("href"))


def test_formulas_need_no_script_and_stand_in_the_first_paint(new_context, served):
    page = new_context(java_script_enabled=False).new_page()
    page.goto(f"{served}/{LONGEST}", wait_until="commit")
    page.locator("article .katex").first.wait_for()
    html = (SITE / LONGEST).read_text(encoding="utf-8")
    page.wait_for_load_state()
    assert html.count('<span class="katex">') == page.locator("span.katex").count() > 100
    assert page.locator("div.math .katex:visible").count() > 50


def test_the_address_of_the_site_leads_to_its_front_page(reading, home):
    read = reading(home=home)
    read.open("index.html")
    read.page.wait_for_url("**/book/index.html")
    assert "Attention" in read.page.title() and read.problems == []


def test_a_chapter_is_printed_with_all_its_formulas(reading):
    page = reading().open(LONGEST)
    shown = page.locator("div.math .eqno").count()
    pdf = page.pdf(format="A4")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")  # opens what is folded
    assert page.locator("div.math .eqno:visible").count() == shown > 30
    assert pdf.startswith(b"%PDF") and len(pdf) < 2_000_000
    assert b"/DCTDecode" not in pdf  # a printer's pictures of shadows; the figures are no JPEG


def test_the_index_of_the_search_is_whole():
    text = (SITE / "_static/search-data.js").read_text(encoding="utf-8")
    data = json.loads(text[text.index("{") : text.rindex("}") + 1])
    kinds = {entry[0] for entry in data["entries"]}
    assert kinds == {"page", "section", "claim", "equation"}
    assert all((SITE / entry[2].partition("#")[0]).is_file() for entry in data["entries"])
