"""Figures to drag, in a browser: their formulas are what mpmath says, and a slider moves them by keyboard."""

import random
import re
from pathlib import Path

import mpmath as mp
import pytest
from draggable_example import FACTOR, OVER, ROW, SCORES, F, H, figure, rows

from proofbook.derive import lambdify

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "proofbook/publish/static"


@pytest.fixture
def page(new_context):
    html = figure()._repr_mimebundle_()["text/html"]
    style, script = ((STATIC / f"draggable.{kind}").read_text() for kind in ("css", "js"))
    opened = new_context(viewport={"width": 390, "height": 900}).new_page()
    opened.set_content(f"<style>{style}</style>{html}<script>{script}</script>")
    return opened


def test_its_formulas_are_what_mpmath_says_at_many_points(page):
    rng = random.Random(0)
    exact = lambdify(F(OVER), [OVER, SCORES], rows(), "mpmath")
    curve = """([x0, x1]) => {
        const { names, panels } = JSON.parse(document.querySelector("figure script").textContent);
        return new Function(...names, `return ${panels[0].marks[0].js};`)(x0, x1);
    }"""
    for _ in range(200):
        factor, over = rng.uniform(0.05, 3), rng.uniform(-3, 40)
        told = page.evaluate(curve, [factor, over])
        with mp.workdps(30):
            found = exact(mp.mpf(over), [mp.mpf(s) for s in ROW])
        assert abs(told - found) <= 1e-14 * max(1, abs(found))


def test_the_picture_before_and_after_the_script_is_the_same(page):
    before = figure()._repr_mimebundle_()["text/html"]
    slider = page.locator("input[type=range]")
    lines = "[...document.querySelectorAll('.draggable-panels > svg > svg > path')]"
    paths = f"() => {lines}.map((line) => line.getAttribute('d'))"
    slider.evaluate("(one) => one.dispatchEvent(new Event('input'))")
    after = page.evaluate(paths)
    drawn = [found for found in re.findall(r'<path class="draggable-[^>]* d="([^"]*)"', before)]
    assert len(after) == len(drawn) == 4
    for one, other in zip(after, drawn, strict=True):
        numbers = [[float(x) for x in re.findall(r"-?[\d.]+", path)] for path in (one, other)]
        # Both round to a tenth of a pixel, and ties to different sides.
        assert all(abs(x - y) < 0.11 for x, y in zip(*numbers, strict=True))


def test_it_is_moved_by_keyboard_and_says_its_numbers(page):
    slider = page.get_by_label("λ")
    slider.focus()
    before = page.locator(".draggable-readings output").inner_text()
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    after = page.locator(".draggable-readings output").inner_text()
    entropy = lambdify(H(FACTOR), [FACTOR, SCORES], rows(), "mpmath")(mp.mpf("1.8"), [mp.mpf(s) for s in ROW])
    assert slider.input_value() == "1.8" and before == "1.40" and after == f"{float(entropy):.2f}"


def test_nothing_is_wider_than_a_phone(page):
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
