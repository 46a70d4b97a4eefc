"""An exercise is answered in its page by keyboard: rightly, wrongly, nonsensically, all from this site."""

import re

import pytest
from site_in_browser import SITE

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

PAGE = "book/8829-entropy-normalization.html"
LABEL = "answer-ex-8829-1"  # the entropy of two outcomes as a function of their ratio
RIGHT = "log(1 + r) - r * log(r) / (1 + r)"
MISTAKE = "log(1 + r) + r * log(r) / (1 + r)"
LOADED = re.compile(r"/python/|answer-worker")


def opened(page):
    """The place of the exercise after its button was pressed by keyboard."""
    place = page.locator(f"#{LABEL}")
    button = place.get_by_role("button", name="Answer in this page: Two outcomes")
    button.focus()
    page.keyboard.press("Enter")
    return place


def answer(page, place, typed):
    """Type over what is selected and check; what the page says of it."""
    page.keyboard.type(typed)
    page.keyboard.press("Control+Enter")
    expect(place.get_by_role("button", name="Check")).to_be_enabled()
    said = place.get_by_role("status")
    return said.get_attribute("data-verdict"), said.inner_text()


def start_over(page, place):
    """From the field to the button that brings the three dots back, and back into the field."""
    for _ in range(4):
        page.keyboard.press("Tab")
        if place.get_by_role("button", name="Start over").evaluate("(one) => one === document.activeElement"):
            page.keyboard.press("Enter")
            return
    raise AssertionError("no way by Tab from the field to its buttons")


def test_it_is_answered_rightly_wrongly_and_nonsensically_by_keyboard_offline(reading):
    read = reading(width=390)
    asked = []
    read.context.on("request", lambda request: asked.append(request.url))
    page = read.open(PAGE)
    page.wait_for_timeout(500)
    assert not list(filter(LOADED.search, asked)) and not page.locator(".answer textarea").count()
    place = opened(page)
    expect(page.get_by_label("Two outcomes: put your formula in place of the three dots")).to_be_focused()
    assert answer(page, place, RIGHT) == ("right", "Right: proved for every 0.02 <= r <= 1, by normal form")
    assert list(filter(LOADED.search, asked))
    read.context.route("**/*", lambda route: route.abort())  # from here on without any network
    for typed, verdict, words in [
        (MISTAKE, "wrong", "Not yet: Mind the minus in front of p log p."),
        ("log(2 + r)", "wrong", "Not yet: "),
        ("...", "none", "No answer yet: put your formula in place of the dots"),
        ("'a banana ]['", "wrong", "Not yet: an answer is a formula, not 'a banana ]['"),
        ("sp.Symbol('q')", "wrong", "Not yet: the answer speaks of q, which the question does not"),
        ("banana", "error", "line 12: NameError: name 'banana' is not defined"),
        ("1 +", "error", "line 12: SyntaxError: "),
        (RIGHT, "right", "Right: proved for every 0.02 <= r <= 1, by normal form"),
    ]:
        start_over(page, place)
        found = answer(page, place, typed)
        assert found[0] == verdict and found[1].startswith(words), found
        assert min(page.evaluate(CONTRAST, f"#{LABEL}")) >= 4.5
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    assert not read.problems


def test_a_proof_that_wants_what_a_page_has_not_is_called_none(reading):
    page = reading("dark").open("book/pretrained-model.html")
    place = page.locator("#answer-ex-minilm-2")
    place.get_by_role("button").focus()
    page.keyboard.press("Enter")
    verdict, said = answer(page, place, "w0 / (w0 + (1 - w0) * N / n0)")
    assert verdict == "right" and said.startswith("Right: not proved here, where there is no z3; ")
    assert min(page.evaluate(CONTRAST, "#answer-ex-minilm-2")) >= 4.5


def test_a_proof_is_changed_in_its_page_and_refuted(reading):
    page = reading().open(PAGE)
    button = page.get_by_role("button", name="Change something: A proof")
    place = page.locator(".answer", has=button)
    name = place.get_attribute("id")
    button.focus()
    page.keyboard.press("Enter")
    place = page.locator(f"#{name}")
    page.keyboard.press("Control+Home")
    for _ in range(len("third = ")):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Delete")  # the minus
    verdict, said = answer(page, place, "")
    assert verdict == "error" and "Refuted: eq-8829-bend, step 1 (differentiate the slope): " in said


def test_what_never_ends_is_stopped(reading):
    page = reading().open(PAGE)
    place = opened(page)
    page.keyboard.type("[1 for _ in iter(int, 1)]")
    page.keyboard.press("Control+Enter")
    stop = place.get_by_role("button", name="Stop")
    expect(stop).to_be_enabled()
    stop.focus()
    page.keyboard.press("Enter")
    expect(place.get_by_role("status")).to_have_text("Stopped. The next check loads Python anew.")
    start_over(page, place)
    assert answer(page, place, RIGHT)[0] == "right"


def test_without_its_files_it_says_that_python_cannot_run(reading):
    read = reading()
    read.context.route("**/python/*", lambda route: route.abort())
    page = read.open(PAGE)
    assert answer(page, opened(page), RIGHT)[0] == "error"


def test_from_the_file_system_it_says_how_to_serve_the_folder(reading):
    read = reading(home=SITE.as_uri())
    place = opened(read.open(PAGE))
    expect(place).to_contain_text("python -m http.server")
    assert not place.locator("textarea").count() and not read.problems


CONTRAST = """(root) => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b]
    .map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
  const ground = (at) => {
    for (; at; at = at.parentElement) {
      const found = rgb(getComputedStyle(at).backgroundColor);
      if (found.length < 4 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll(`${root} :is(label, textarea, button:enabled, p, pre)`)].map((one) => {
    const [a, b] = [light(rgb(getComputedStyle(one).color)), light(ground(one))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  });
}"""
