"""What is asked of every page that is open in a browser."""

import pytest

WIDTHS = (1280, 768, 390, 360)
A4 = 673
"""The width between the margins of a printed page, in CSS pixels."""

UNFOLD = """() => {
  const folds = [...document.querySelectorAll("details:not([open])")];
  const hidden = [...document.querySelectorAll(".toggle-hidden")];
  const fold = (away) => {
    for (const one of folds) one.open = !away;
    for (const one of hidden) one.classList.toggle("toggle-hidden", away);
  };
  fold(false);
  window.foldAgain = () => fold(true);
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
  const add = (shifts) => { for (const shift of shifts) if (!shift.hadRecentInput) sum += shift.value; };
  const observer = new PerformanceObserver((list) => add(list.getEntries()));
  observer.observe({ type: "layout-shift", buffered: true });
  // What moves is seen when it is painted, and a busy machine paints late.
  const painted = (then) => requestAnimationFrame(() => setTimeout(then));
  setTimeout(() => painted(() => painted(() => { add(observer.takeRecords()); done(sum); })), 300);
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

PICTURES_LOST = """() => Promise.all([...document.images].map(async (one) => {
  one.loading = "eager";
  return one.decode().then(() => "", () => one.getAttribute("src"));
})).then((found) => found.filter(Boolean))"""

FIGURES_STILL = """() => [...document.querySelectorAll("figure.draggable")]
  .filter((one) => !one.querySelector("input[type=range]")).map((one) => one.id)"""

STOPS = """() => [
  ...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]"),
].filter((one) => one.tabIndex >= 0 && !one.disabled)
  .filter((one) => one.checkVisibility({ visibilityProperty: true })).length"""


COLOURS = ("color-contrast", "link-in-text-block")
"""The rules of axe that look at colours."""

OF_A_KIND = "data-of-its-kind"

KINDS = """([mark, most]) => {
  const grounds = new Map([[null, ""]]);
  const ground = (at) => {
    if (!grounds.has(at)) {
      const { backgroundColor, backgroundImage, opacity } = getComputedStyle(at);
      const own = `${backgroundColor} ${backgroundImage} ${opacity}`;
      const seen = own !== "rgba(0, 0, 0, 0) none 1";
      grounds.set(at, seen ? `${own} on ${ground(at.parentElement)}` : ground(at.parentElement));
    }
    return grounds.get(at);
  };
  const look = (one) => {
    const { color, fill, fontSize, fontWeight, textDecorationLine } = getComputedStyle(one);
    return [one.tagName, color, fill, fontSize, fontWeight, textDecorationLine, ground(one)].join();
  };
  const seen = new Map();
  for (const one of document.body.querySelectorAll("*")) {
    const says = [...one.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!says || !one.checkVisibility({ visibilityProperty: true })) continue;
    const kind = `${look(one)} in ${look(one.parentElement)}`;
    seen.set(kind, (seen.get(kind) || 0) + 1);
    if (seen.get(kind) <= most) one.setAttribute(mark, "");
  }
}"""

CUT = """(mark) => {
  for (const one of document.querySelectorAll(".katex, pre span")) {
    if (!one.matches(`[${mark}]`) && !one.querySelector(`[${mark}]`)) one.remove();
  }
}"""


def choose(page, most=3):
    """Mark on a page as it was opened what stands for all that looks alike: three texts of each kind.

    A kind has one colour, size, weight, decoration and ground.
    """
    page.evaluate(KINDS, [OF_A_KIND, most])


def grave(page, theme="light"):
    """What axe finds that is serious or critical, on a page of which texts are chosen; it is not whole then.

    Formulas and code, of which most of a page consists, lose what is not chosen, and about colours axe is
    asked for what is: all of it would take a minute on a page with thousands of signs. A theme changes
    nothing of what a page is but its colours: in the dark axe is asked about them alone.
    """
    page.evaluate(CUT, OF_A_KIND)
    page.emulate_media(media="screen")
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})
    only_colours = {"runOnly": {"type": "rule", "values": list(COLOURS)}}
    found = _found(page, only_colours, {"include": [[f"[{OF_A_KIND}]"]]})
    if theme == "light":
        found += _found(page, {"rules": {rule: {"enabled": False} for rule in COLOURS}})
    return found


def _found(page, options, context=None):
    name = "axe_playwright_python.sync_playwright"
    axe = pytest.importorskip(name, reason="axe-playwright-python is missing")
    # Nothing is loaded for axe: it would look for what a stylesheet imports in the wrong place.
    whole = {"resultTypes": ["violations"], "preload": False, **options}
    found = axe.Axe().run(page, context=context, options=whole)
    return [
        f"{one['impact']} {one['id']}: {node['html'][:100]}"
        for one in found.response["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"][:3]
    ]


def problems(page):
    """What is wrong with an open page, at every width and at last on paper; empty where nothing is."""
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
    page.evaluate("foldAgain()")
    return found
