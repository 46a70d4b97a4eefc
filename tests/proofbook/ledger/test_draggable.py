"""Figures to drag: formulas that a proof holds, a picture without script, and JavaScript of the same."""

import json
import re

import pytest
import sympy as sp
from draggable_example import FACTOR, SCORES, figure, rows, tangent
from sympy import log

from proofbook.ledger.draggable import Bars, Curve, Dot, Iterates, Panel, Slider, _ticks, draggable
from proofbook.ledger.formulas import FormulaRefused

t = sp.Symbol("t", real=True)


def drawn(*marks, **more):
    given = {"given": {SCORES: (1.0, 0.0)}, "rests_on": [tangent()], "domain": rows()} | more
    sliders = [Slider(FACTOR, 0.1, 3, 1.5, "λ")]
    return draggable("drag-a", Panel((0, 3), (0, 6), marks), sliders=sliders, caption="c", alt="a", **given)


def test_without_script_there_is_a_picture_and_its_words():
    html = figure()._repr_mimebundle_()["text/html"]
    assert html.count("<svg") == 4 and 'role="img" aria-label="A convex curve"' in html
    assert "<figcaption>Drag the factor.</figcaption>" in html and "H = <output>1.40</output>" in html
    assert "nan" not in html and 'id="drag-tangent"' in html


def test_the_picture_is_the_same_each_time():
    assert figure()._repr_mimebundle_() == figure()._repr_mimebundle_()


def test_the_formulas_go_along_as_javascript():
    html = figure()._repr_mimebundle_()["text/html"]
    data = json.loads(
        re.search(r'<script type="application/json">(.*?)</script>', html)[1].replace("<\\/", "</")
    )
    assert data["panels"][0]["marks"][0]["js"].startswith("Math.log(")
    assert f'viewBox="0 0 {data["frame"]["width"]} {data["frame"]["height"]}"' in html
    assert data["sliders"][0] == {
        "name": "x0",
        "label": "λ",
        "low": 0.05,
        "high": 3,
        "start": 1.5,
        "step": 0.01,
    }


@pytest.mark.parametrize(
    "mark",
    [
        Curve(log(t) + 1, t),
        Dot(FACTOR, FACTOR**2),
        Bars([FACTOR / 2]),
        Iterates(t, 1, t / 2, t, 3),
    ],
    ids=lambda mark: type(mark).__name__,
)
def test_a_formula_that_no_proof_holds_is_refused(mark):
    with pytest.raises(FormulaRefused, match="stands in no derivation"):
        drawn(mark)


def test_a_symbol_that_nothing_moves_is_refused():
    other = sp.Symbol("other", real=True)
    with pytest.raises(FormulaRefused, match=r"\['other'\], which nothing moves"):
        drawn(Dot(FACTOR, other))
    assert drawn(Dot(FACTOR, other), given={SCORES: (1.0, 0.0), other: 2}).data["panels"][0]["marks"]


def test_what_has_no_javascript_is_refused():
    zeta = sp.Symbol("z", real=True)
    with pytest.raises(FormulaRefused):
        drawn(Curve(sp.zeta(zeta), zeta))


def test_a_name_has_its_form():
    with pytest.raises(ValueError, match="drag-"):
        draggable("tangent", sliders=[], caption="", alt="", rests_on=[], domain=rows())


def test_text_that_could_end_the_script_does_not():
    html = draggable(
        "drag-a",
        sliders=[Slider(FACTOR, 0, 1, 0.5, "</script><b>")],
        caption="<i>",
        alt='"',
        rests_on=[],
        domain=rows(),
    )._repr_mimebundle_()["text/html"]
    assert html.count("</script>") == 1 and "<i>" not in html and 'aria-label="&quot;"' in html


@pytest.mark.parametrize("ends", [(0, 3), (-0.5, 3.5), (0, 1), (0, 0.02), (5, 5000), (-7, 9)])
def test_ticks_are_few_round_and_inside(ends):
    ticks = _ticks(*ends)
    assert 3 <= len(ticks) <= 9 and all(ends[0] <= tick <= ends[1] for tick in ticks)
