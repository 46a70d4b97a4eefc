"""Figures to drag: formulas that a proof holds, a picture without script, and JavaScript of the same."""

import json
import re

import pytest
import sympy as sp
from draggable_example import FACTOR, INDEX, SCORES, F, N, figure, rows, tangent
from sympy import Sum, exp, log

from proofbook.derive import Derivation, Domain, eq, integers, ladder, reals
from proofbook.ledger.draggable import (
    Bars,
    Curve,
    Dot,
    Iterates,
    Line,
    Panel,
    Reading,
    Slider,
    _ticks,
    draggable,
)
from proofbook.ledger.formulas import FormulaRefused
from proofbook.ledger.moving import Span, settled_by_ends

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


x, y = sp.symbols("x y", positive=True)


def square(**domain):
    """A figure may draw x + x**2 / y wherever this proves it."""
    kinds = {x: reals(above=0, attack=(1, 2)), y: reals(above=0, at_most=9)}
    where = domain.pop("where", ())
    return Derivation(
        "eq-square", x * (1 + x / y), eq(x + x**2 / y, "expand"), domain=Domain(kinds | domain, where=where)
    )


def moved(derivation, *marks, low=0.1, high=2, axis=(0.5, 3), readings=()):
    return draggable(
        "drag-a",
        Panel(axis, (0, 9), marks),
        sliders=[Slider(y, low, high, 1, "y")],
        caption="c",
        alt="a",
        rests_on=[derivation],
        domain=derivation.domain,
        readings=readings,
    )


def test_a_figure_whose_sliders_and_axes_stay_where_its_formula_is_proved_is_made():
    proof = square()
    assert moved(proof, Curve(proof.last, x), high=9)
    assert moved(proof, Dot(y, y), low=-5, high=5)  # a place is nobody's formula


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"low": 0}, "y = 0 to 2"),
        ({"high": 9.5}, "y = 0.1 to 9.5"),
        ({"axis": (0, 3)}, "x = 0 to 3"),
    ],
    ids=["an end that is left out", "beyond the range", "an axis"],
)
def test_what_leaves_the_domain_is_refused(change, said):
    proof = square()
    with pytest.raises(FormulaRefused, match=f"eq-square has it for every x > 0, .*the figure for {said}"):
        moved(proof, Curve(proof.last, x), **change)


@pytest.mark.parametrize(
    "mark", [lambda law: Dot(1, law), lambda law: Bars([law]), lambda law: Line([(0, 0), (1, law)])]
)
def test_every_mark_is_held_to_the_domain(mark):
    law = y**2
    proof = Derivation(
        "eq-sum", (1 + y) ** 2, eq(1 + 2 * y + law, "expand"), domain=Domain({y: reals(above=1, below=4)})
    )
    assert moved(proof, mark(law), low=1.5, high=3.5)
    with pytest.raises(
        FormulaRefused, match="eq-sum has it for every 1 < y < 4, and the figure for y = 1.5 to 4"
    ):
        moved(proof, mark(law), low=1.5, high=4)
    with pytest.raises(FormulaRefused, match="y = 0.5 to 2"):
        moved(proof, readings=[Reading("law", law)], low=0.5)


def test_a_condition_on_several_symbols_is_kept():
    proof = square(where=(x > y,))
    assert moved(proof, Curve(proof.last, x), axis=(2.5, 3))
    with pytest.raises(FormulaRefused, match=r"the figure for x = 1/2, y = 57/100"):
        moved(proof, Curve(proof.last, x))


def test_a_condition_is_kept_between_the_values_that_are_tried():
    """Five values of x from 0.5 to 3 miss 4/3, and any number of them might."""
    kept = square(where=(sp.Ne(3 * x, 4),))
    assert moved(kept, Curve(kept.last, x), axis=(1.5, 3)) and moved(kept, Curve(kept.last, x), axis=(0.5, 1))
    with pytest.raises(FormulaRefused, match=r"nobody can tell whether Ne\(3\*x, 4\)"):
        moved(kept, Curve(kept.last, x))


def test_a_condition_that_ends_do_not_settle_is_not_believed():
    """x (3 - x) is 5/4 at both ends of 1/2 to 5/2, and 9/4 between them."""
    bent = square(where=(x * (3 - x) <= 9,))
    with pytest.raises(FormulaRefused, match="nobody can tell whether"):
        moved(bent, Curve(bent.last, x), axis=(0.5, 2.5))
    span = [(x, Span(0.5, 2.5))]
    assert settled_by_ends(x < 9, span) and not settled_by_ends(sp.Or(x < 9, x > 10), span)


def test_a_range_without_zero_is_not_crossed():
    real = sp.Symbol("r", real=True)
    proof = Derivation(
        "eq-odd",
        real + 1 / real,
        eq((real**2 + 1) / real, "sum"),
        domain=Domain({real: reals(nonzero=True, attack=(1, 2))}),
    )
    assert moved(proof, Curve(proof.last, real), axis=(-3, -1))
    with pytest.raises(FormulaRefused, match="every real r != 0, and the figure for r = -1 to 1"):
        moved(proof, Curve(proof.last, real), axis=(-1, 1))


def test_a_whole_number_moves_by_whole_steps():
    count = sp.Symbol("k", integer=True)
    proof = Derivation(
        "eq-k",
        (count + 1) ** 2,
        eq(count**2 + 2 * count + 1, "expand"),
        domain=Domain({count: integers(0, 5)}),
    )

    def stepped(**ends):
        slider = Slider(count, start=1, label="k", **ends)
        dot = Panel((0, 1), (0, 9), [Dot(1, proof.last)])
        return draggable(
            "drag-a", dot, sliders=[slider], caption="c", alt="a", rests_on=[proof], domain=proof.domain
        )

    assert stepped(low=0, high=5, step=1)
    for ends in (
        {"low": 0, "high": 5, "step": 0.5},
        {"low": 0, "high": 6, "step": 1},
        {"low": -1, "high": 5, "step": 1},
    ):
        with pytest.raises(FormulaRefused, match="eq-k has it for every whole 0 <= k <= 5"):
            stepped(**ends)


def test_given_rows_are_rows_of_the_domain():
    tied = Domain(
        {SCORES: reals(attack=(-2, 2)), FACTOR: reals(attack=(-3, 3)), N: ladder(2, 3, least=2)},
        distinct=(SCORES,),
    )
    proof = Derivation(
        "eq-twice",
        2 * F(FACTOR),
        eq(log(Sum(exp(FACTOR * SCORES[INDEX]), (INDEX, 1, N)) ** 2), "twice"),
        domain=tied,
    )
    assert drawn(Curve(2 * F(FACTOR), FACTOR), rests_on=[proof], domain=tied)
    with pytest.raises(FormulaRefused, match=r"the figure for s = \(1, 1\)"):
        drawn(Curve(2 * F(FACTOR), FACTOR), rests_on=[proof], domain=tied, given={SCORES: (1, 1)})


def newton(**gamma):
    """Newton's step for the square root of y, proved where it is told."""
    proof = Derivation(
        "eq-newton",
        x - (x**2 - y) / (2 * x),
        eq((x + y / x) / 2, "Newton's step"),
        domain=Domain({x: reals(**gamma), y: reals(above=0, attack=(1, 2))}),
    )
    return moved(proof, Iterates(x, 1, proof.last, x, 4), low=0.1, high=8)


def test_where_a_step_leads_it_is_proved():
    assert newton(above=0, attack=(1, 2))
    with pytest.raises(FormulaRefused, match="eq-newton has it for every 0 < x < 4, .* x = 4.5"):
        newton(above=0, below=4)
