"""What is asked of every page that is open in a browser."""

import pytest

WIDTHS = (1280, 768, 390, 360)
A4 = 673
"""The width between the margins of a printed page, in CSS pixels."""

UNFOLD = """() => {
  for (const fold of document.querySelectorAll("details")) fold.open = true;
  for (const hidden of document.querySelectorAll(".toggle-hidden")) hidden.classList.remove("toggle-hidden");
}"""

CLIPPED = """() => {
  const found = [];
  for (const formula of document.querySelectorAll("article .katex, article .math")) {
    const box = formula.getBoundingClientRect();
    // The note of a named claim is there for who listens, and on paper.
    if (!box.width || formula.parentElement.closest(".katex, .math, .claim-note")) continue;
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
].filter((one) => one.tabIndex >= 0 && !one.disabled)
  .filter((one) => one.checkVisibility({ visibilityProperty: true })).length"""


COLOURS = ("color-contrast", "link-in-text-block")


def grave(page, rules=()):
    """What axe finds on a page that is serious or critical, by all its rules or by these."""
    name = "axe_playwright_python.sync_playwright"
    axe = pytest.importorskip(name, reason="axe-playwright-python is missing")
    options = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": list(rules)}
    return [
        f"{one['impact']} {one['id']}: {node['html'][:100]}"
        for one in axe.Axe().run(page, options=options).response["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"][:3]
    ]


def problems(page):
    """What is wrong with an open page, at every width and on paper; empty where nothing is."""
    shift = page.evaluate(SHIFT)
    found = {"layout shift": shift} if shift > 0.02 else {}
    for what, script in (("ids given twice", TWICE), ("links that lead nowhere", LOST), ("raw TeX", RAW)):
        if seen := page.evaluate(script):
            found[what] = seen
    page.evaluate(UNFOLD)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        if (over := page.evaluate(OVERFLOW)) > 1:
            found[f"wider than {width} by"] = over
        if clipped := page.evaluate(CLIPPED):
            found[f"formulas clipped at {width}"] = clipped
        if width == WIDTHS[0] and (clipped := page.evaluate(CLIPPED_CODE)):
            found["code clipped"] = clipped
    page.emulate_media(media="print")
    page.set_viewport_size({"width": A4, "height": 1000})
    if clipped := page.evaluate(CLIPPED):
        found["formulas clipped on A4"] = clipped
    return found
