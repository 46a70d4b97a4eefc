"""A reader's answer is right, wrong with a hint, or none; the book's own solution must be right."""

import pytest
import sympy as sp

from proofbook.derive import Domain, Exercise, WrongSolution, indices, ladder, size, vector

x, y = sp.symbols("x y", real=True)
BOTH = Domain({x: (-2, 2), y: (-2, 2)})


def exercise():
    return Exercise((x + y) ** 2 - (x - y) ** 2, BOTH, mistakes=[(2 * x * y, "There are two of them.")])


@pytest.mark.parametrize(
    "answer, shown",
    [
        (..., "No answer yet: put your formula in place of the dots"),
        (4 * x * y, "Right: proved"),
        (2 * x * y, "Not yet: There are two of them."),
        (x * y + y * x, "Not yet: There are two of them."),
        ((x + y) ** 2 - (x - y) ** 2, "Not yet: that is the question itself"),
        (5 * x * y, "Not yet: "),
        (sp.Symbol("z"), "Not yet: the answer speaks of z, which the question does not"),
        (True, "Not yet: an answer is a formula"),
        (None, "Not yet: an answer is a formula"),
        ("4*x*", "Not yet: an answer is a formula"),
        ([x], "Not yet: an answer is a formula"),
        (sp.nan, "Not yet: "),
    ],
)
def test_answers(answer, shown):
    assert repr(exercise().check(answer)).startswith(shown)


def test_a_refusal_does_not_tell_the_answer():
    assert "4" not in repr(exercise().check(sp.Symbol("z"))) and "x*y" not in repr(
        exercise().check(2 * x * y)
    )


@pytest.mark.parametrize("wrong", [..., 2 * x * y, (x + y) ** 2 - (x - y) ** 2, None])
def test_a_solution_must_be_right(wrong):
    with pytest.raises(WrongSolution):
        exercise().solution(wrong)
    assert exercise().solution(4 * x * y).right


def test_a_mistake_must_be_one():
    with pytest.raises(WrongSolution, match="is named as a mistake"):
        Exercise((x + y) ** 2 - (x - y) ** 2, BOTH, mistakes=[(4 * x * y, "no")])


def test_an_answer_may_be_confined_to_some_symbols():
    error = sp.log((sp.exp(x) + sp.exp(y)) / 2) - (x + y) / 2
    d = x - y
    asked = Exercise(error, BOTH)
    assert asked.check(sp.log(sp.cosh(d / 2))).right
    narrow = Exercise((x + y) ** 2 - y * (2 * x + y), BOTH, only=[x])
    assert narrow.check(x**2).right
    assert "speaks of y" in narrow.check(x * (x + y) - x * y).why


def test_answers_with_entries():
    n, (i,), p = size("n"), indices("i"), vector("p")
    asked = Exercise(sp.Sum((p[i] - 1) ** 2, (i, 1, n)), Domain({p: (-1, 1), n: ladder(2, 3)}))
    assert asked.check(sp.Sum(p[i] ** 2, (i, 1, n)) - 2 * sp.Sum(p[i], (i, 1, n)) + n).right
    assert not asked.check(sp.Sum(p[i] ** 2, (i, 1, n)) - 2 * sp.Sum(p[i], (i, 1, n)) + 1).right
    assert "speaks of q" in asked.check(sp.Sum(vector("q")[i], (i, 1, n))).why


def test_an_answer_may_solve_an_equation():
    positive = sp.Symbol("t", positive=True)
    asked = Exercise(
        lambda answer: (sp.exp(2 * answer), positive),
        Domain({positive: (1, 5)}),
        mistakes=[(sp.log(positive), "And the two?")],
    )
    assert repr(asked.check(sp.log(positive) / 2)) == "Right: it solves the equation"
    assert repr(asked.check(sp.log(positive))) == "Not yet: And the two?"
    assert repr(asked.check(positive / 2)) == "Not yet: it does not solve the equation"
    with pytest.raises(WrongSolution):
        asked.solution(sp.log(2 * positive))
    with pytest.raises(WrongSolution, match="named as a mistake"):
        Exercise(lambda answer: (2 * answer, 1), Domain({}), mistakes=[(sp.Rational(1, 2), "no")])


def test_one_of_two_solutions_may_be_asked_for():
    t = sp.Symbol("t", positive=True)
    smaller = Exercise(
        lambda answer: [(answer**2 - 2 * answer, t**2 - 1), (sp.Abs(1 - answer), 1 - answer)],
        Domain({t: (sp.Rational(1, 4), 4)}),
        mistakes=[(1 + t, "The other one.")],
    )
    assert smaller.check(1 - t).right
    assert smaller.check(1 + t).why == "The other one."


def test_a_number_may_be_asked_for():
    asked = Exercise(100 * sp.Rational(9, 10), Domain({}), mistakes=[(100, "Only the total is bound.")])
    assert repr(asked.check(90)) == "Right: it is the number"
    assert repr(asked.check(100)) == "Not yet: Only the total is bound."
    assert not asked.check(91).right
