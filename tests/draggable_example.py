"""A figure to drag: the tangent of the log-partition function, which meets the axis at the entropy."""

import sympy as sp
from sympy import Sum, exp, log

from proofbook.derive import Derivation, Domain, define, eq, indices, ladder, reals, size, vector
from proofbook.ledger.draggable import Bars, Curve, Dot, Line, Panel, Reading, Slider, draggable

N, (INDEX, J) = size("n"), indices("i j")
SCORES, FACTOR = vector("s"), sp.Symbol("lambda", real=True)
OVER = sp.Symbol("t", real=True)
ROW = (1.6, 1.1, 0.7, 0.2, -0.1, -0.5, -1.0, -1.7)

F = define("F", (FACTOR,), log(Sum(exp(FACTOR * SCORES[INDEX]), (INDEX, 1, N))), label="eq-f")
a = define(
    "a", (INDEX, FACTOR), exp(FACTOR * SCORES[INDEX]) / Sum(exp(FACTOR * SCORES[J]), (J, 1, N)), label="eq-a"
)
H = define("H", (FACTOR,), -Sum(a(INDEX, FACTOR) * log(a(INDEX, FACTOR)), (INDEX, 1, N)), label="eq-h")


def rows():
    return Domain({FACTOR: reals(attack=(-3, 3)), SCORES: reals(attack=(-2, 2)), N: ladder(2, 3)})


def tangent():
    return Derivation(
        "eq-entropy",
        H(FACTOR),
        eq(F(FACTOR) - FACTOR * F(FACTOR).diff(FACTOR), "the intercept"),
        domain=rows(),
    )


def figure():
    at, entropy = (FACTOR, F(FACTOR)), (0, H(FACTOR))
    line = Line([entropy, at], "tangent", colour=2, dashed=True)
    curves = Panel((-0.5, 3.5), (0, 6), [Curve(F(OVER), OVER, "F(λ)"), line, Dot(*at)], "factor λ", "nats")
    weights = Panel((0, 8), (0, 1), [Bars([a(k, FACTOR) for k in range(1, 9)])], "token", "weight")
    return draggable(
        "drag-tangent",
        curves,
        weights,
        sliders=[Slider(FACTOR, 0.05, 3, 1.5, "λ")],
        caption="Drag the factor.",
        alt="A convex curve",
        rests_on=[tangent()],
        domain=rows(),
        given={SCORES: ROW},
        readings=[Reading("H", H(FACTOR))],
    )
