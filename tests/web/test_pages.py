"""Every page in a browser, in both themes, at four widths, served and from the file system."""

import gzip

import pytest
from site_in_browser import SITE, pages

WIDTHS = (1280, 768, 390, 360)

UNFOLD = """() => {
  for (const fold of document.querySelectorAll("details")) fold.open = true;
  for (const hidden of document.querySelectorAll(".toggle-hidden")) hidden.classList.remove("toggle-hidden");
}"""

CLIPPED = """() => {
  const found = [];
  for (const formula of document.querySelectorAll("article .katex, article .math")) {
    const box = formula.getBoundingClientRect();
    if (!box.width || formula.parentElement.closest(".katex, .math")) continue;
    if (box.right > window.innerWidth + 1 || box.left < -1) found.push(formula);
    for (let at = formula.parentElement; at && at.tagName !== "ARTICLE"; at = at.parentElement) {
      if (getComputedStyle(at).overflowX === "visible") continue;
      const room = at.getBoundingClientRect();
      if (box.right > room.right + 1 || box.left < room.left - 1) { found.push(formula); break; }
    }
  }
  return found.map((one) => one.textContent.trim().slice(0, 60));
}"""

CLIPPED_CODE = """() => [...document.querySelectorAll("article pre")]
  .filter((one) => one.clientWidth && one.scrollWidth > one.clientWidth + 1)
  .map((one) => one.textContent.trim().slice(0, 60))"""

OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"

TWICE = """() => {
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  return [...new Set(ids.filter((id, k) => ids.indexOf(id) !== k))];
}"""

LOST = """() => [...document.querySelectorAll('a[href^="#"]')]
  .map((link) => decodeURIComponent(link.getAttribute("href").slice(1)))
  .filter((name) => name && !document.getElementById(name))"""

SHIFT = """() => new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => {
    for (const shift of list.getEntries()) if (!shift.hadRecentInput) sum += shift.value;
  }).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(sum), 300);
})"""

RAW = r"""() => {
  const top = document.querySelector("article") || document.body;
  const walk = document.createTreeWalker(top, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walk.nextNode()) {
    const text = walk.currentNode.textContent;
    const code = walk.currentNode.parentElement.closest("pre, code, math, script, .tex");
    if (!code && /\\\(|\\\[|\$\$|\\begin\{/.test(text)) found.push(text.trim().slice(0, 60));
  }
  return found;
}"""

STOPS = """() => [
  ...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]"),
].filter((one) => one.tabIndex >= 0 && !one.disabled && one.getClientRects().length).length"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", pages())
def test_a_page_is_whole(reading, name, theme):
    read = reading(theme)
    page = read.open(name)
    shift = page.evaluate(SHIFT)
    found = {"layout shift": shift} if shift > 0.02 else {}
    for what, script in (("ids given twice", TWICE), ("links that lead nowhere", LOST), ("raw TeX", RAW)):
        if problems := page.evaluate(script):
            found[what] = problems
    page.evaluate(UNFOLD)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        if (over := page.evaluate(OVERFLOW)) > 1:
            found[f"wider than {width} by"] = over
        if clipped := page.evaluate(CLIPPED):
            found[f"formulas clipped at {width}"] = clipped
        if width == WIDTHS[0] and (clipped := page.evaluate(CLIPPED_CODE)):
            found["code clipped"] = clipped
    assert read.problems == [] and found == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", pages())
def test_everyone_can_read_it(reading, name, theme):
    page = reading(theme).open(name)
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is missing"
    )
    result = axe.Axe().run(page).response
    grave = [
        f"{one['impact']} {one['id']}: {node['html'][:100]}"
        for one in result["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"][:3]
    ]
    assert grave == []


@pytest.mark.parametrize("name", pages())
def test_it_opens_from_the_file_system(reading, name):
    read = reading(home=SITE.resolve().as_uri())
    page = read.open(name)
    assert page.title() and read.problems == []


CHAPTERS = [name for name in pages() if name.startswith("book/") and name[5:6].isdigit()]


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_way_through_a_chapter_by_keyboard_is_short(reading, name):
    assert reading().open(name).evaluate(STOPS) < 150


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_page_and_what_it_shares_with_others_are_small(reading, name):
    read, shared = reading(), {}
    read.page.on(
        "response",
        lambda answer: shared.update({answer.url: answer.body()}) if "/_static/" in answer.url else None,
    )
    read.open(name)
    read.page.wait_for_load_state("networkidle")
    assert (SITE / name).stat().st_size < 1_500_000
    assert sum(len(gzip.compress(body)) for body in shared.values()) < 600_000
