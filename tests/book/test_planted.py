"""The count of planted errors that are refused counts right, on cells some of which refuse."""

import importlib.util
import random
import sys
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("planted", Path(__file__).with_name("planted.py"))
planted = importlib.util.module_from_spec(spec)
sys.modules["planted"] = planted
spec.loader.exec_module(planted)

SETUP = """
def measured(text, value, below):
    assert value < below <= 100 * max(value, 1e-16), text
def between(text, value, low, high):
    pass
class Exercise:
    def solution(self, answer):
        assert answer == 3
"""


def kinds(*cells):
    return [
        (one.planted.kind, one.refused is not None)
        for one in planted.outcomes([*cells], random.Random(0), each=9)
    ]


def test_a_check_that_bites_refuses_and_one_that_does_not_is_told():
    assert kinds(SETUP, "x = 1e-9\nmeasured('ä', x, below=1e-8)") == [("bound", True), ("evidence", True)]
    assert kinds(SETUP, "between('a', 3.0, 1, 4)") == [("bound", False), ("evidence", False)]
    assert kinds(SETUP, "Exercise().solution(1 + 2)") == [("answer", True)]


def test_a_planted_error_leaves_nothing_behind():
    cells = [SETUP, "found = []", "found.append(1)\nmeasured('a', 1e-9, below=1e-8)", "assert found == [1]"]
    assert all(refused for _, refused in kinds(*cells))


def test_a_chapter_that_fails_as_it_stands_is_an_error():
    with pytest.raises(RuntimeError, match="cell 0 fails as it stands"):
        kinds("raise ValueError('no')")


def test_what_is_changed_is_the_place_that_is_named():
    source = "claim('A1', 'holds', x)  # ä\nsaid(n + 1)"
    found = list(planted.planted(source, random.Random(1)))
    assert [one.kind for one in found] == ["verdict", "formula in words"]
    assert all(one.source != source and one.source.count("\n") == 1 for one in found)
    assert found[1].source in (source.replace("1)", "(1 + 1))"), source.replace("n + 1", "(n - (1))"))


def test_what_a_later_cell_refuses_is_refused():
    cells = [
        SETUP,
        "def said(x):\n    return x",
        "law = said(2)",
        "measured('a', abs(law - 2) + 1e-9, below=1e-8)",
    ]
    assert sorted(kinds(*cells)) == [("bound", True), ("evidence", True), ("formula in words", True)]


SAID = """
class Said:
    def __init__(self, factor):
        self.factor = factor
    def __call__(self, x):
        return self.factor * x
def said(factor):
    return Said(factor)
def fill_in(**numbers):
    pass
def claim(name, verdict, *evidence, formulas):
    pass
def checked(text, holds):
    assert holds
"""


def test_what_the_lint_refuses_is_refused():
    kinds = ["another variable", "another formula"]
    check = "claim('A1', 'holds', checked('a', law(1) == 2), formulas={'law': law})"
    cells = [SAID, "rows, keys = 3, 4", "law = said(2)", "other = said(3)", "fill_in(rows=rows)", check]
    for lint, refused in ((planted.of_the_lint([]), True), (lambda cells: (), False)):
        found = planted.outcomes(cells, random.Random(0), 9, lint, kinds)
        assert [(one.planted.kind, one.refused is not None) for one in found] == [
            (kind, refused) for kind in kinds
        ]


def test_a_side_that_is_put_in_place_of_the_other_is_planted():
    source = "agreement([('a', al.entropy(x) - formula(x), 1e-9)], of=('attnlib', 'the formula'))"
    (one,) = planted.planted(source, random.Random(0))
    assert one.kind == "the same on both sides" and "al.entropy(x) - (al.entropy(x))" in one.source
    head = "import attnlib as al"
    assert not list(planted.of_the_lint(["attnlib"])([head, source]))
    assert any(
        "both sides use attnlib" in line for line in planted.of_the_lint(["attnlib"])([head, one.source])
    )
