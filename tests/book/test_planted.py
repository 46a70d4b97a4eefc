"""The count of planted errors that are refused counts right, on cells some of which refuse."""

import random

import planted
import planted_files
import pytest
from built_site import lay_out

from proofbook.publish.book import Book

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
    check = "claim('A1', 'holds', checked('a', law(1) == two), formulas={'law': law})"
    cells = [
        SAID,
        "rows, keys, two = 3, 4, 2",
        "law = said(2)",
        "other = said(3)",
        "fill_in(rows=rows)",
        check,
    ]
    for lint, refused in ((planted.of_the_lint(planted.ROOT), True), (lambda cells: (), False)):
        found = planted.outcomes(cells, random.Random(0), 9, lint, kinds)
        assert [(one.planted.kind, one.refused is not None) for one in found] == [
            (kind, refused) for kind in kinds
        ]


def test_a_side_that_is_put_in_place_of_the_other_is_planted():
    source = "agreement([('a', al.entropy(x) - formula(x), 1e-9)], of=('attnlib', 'the formula'))"
    (one,) = planted.planted(source, random.Random(0))
    assert one.kind == "the same on both sides" and "al.entropy(x) - (al.entropy(x))" in one.source
    head = "import attnlib as al"
    lint = planted.of_the_lint(planted.ROOT)
    assert not list(lint([head, source]))
    assert any("both sides use attnlib" in line for line in lint([head, one.source]))


def found(source, **around):
    return list(planted.planted(source, random.Random(0), planted.Around(**around)))


def test_a_bound_that_may_be_wide_is_not_widened():
    assert [one.kind for one in found("measured('a', x, below=1e-9)")] == ["bound", "evidence"]
    assert [one.kind for one in found("measured('a', x, below=1e-300)")] == ["evidence"]
    assert [one.kind for one in found("between('a', x, 1, 2, loose='its sign counts')")] == ["evidence"]


def test_what_shows_the_same_is_no_error():
    cells = ["def fill_in(**numbers):\n    pass", "parts = [3.01, 3.02, 9]"]
    assert kinds(*cells, "fill_in(first=f'{parts[0]:.1f}')") == []
    assert kinds(*cells, "fill_in(second=f'{parts[1]:.1f}')") == [("number or curve shown", False)]


def test_the_words_of_a_claim_are_planted_where_they_stand(tmp_path):
    lists = tmp_path / "one.toml"
    lists.write_text(
        "chapter = 'one'\n[claims]\nA1 = '''It is at most {{law}}.'''\n"
        '[verdicts]\nA1 = "holds"\n[rests-on]\nA1 = ["eq-a", "eq-b"]\n'
    )
    cell = "claim('A1', 'holds', x, condition='{{rest}} is positive', formulas={'law': law, 'rest': rest})"
    plants = found(cell, lists=lists)
    assert {one.kind for one in plants} == {
        *("verdict", "formulas swapped", "condition", "condition, a word turned", "statement"),
        *("statement, a word turned", "verdict in the list", "equations in the list", "formula in words"),
    }
    for one in plants:
        with planted.in_place(one):
            changed = lists.read_text()
        assert (one.source != cell) != (changed != lists.read_text())
    assert any("{'law': rest, 'rest': law}" in one.source for one in plants)
    assert any(one.elsewhere and "at least {{law}}" in one.elsewhere[1] for one in plants)


@pytest.fixture
def copied(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    return planted.copied(lay_out(small), tmp_path / "copy")


@pytest.mark.parametrize("kind", [*planted_files.KINDS])
def test_each_kind_of_error_in_a_file_is_planted_in_a_book(copied, kind):
    """The second book may lack what the kind is about; what is there is changed, and put back."""
    book = Book(copied)
    for plant in planted_files.KINDS[kind]:
        try:
            file, what, text = plant(book, random.Random(1))
        except (LookupError, IndexError):
            continue
        before = (copied / file).read_text(encoding="utf-8")
        assert text != before and what
        one = planted.Planted(kind, what, "", elsewhere=(copied / file, text))
        with planted.in_place(one):
            assert (copied / file).read_text(encoding="utf-8") == text
        assert (copied / file).read_text(encoding="utf-8") == before
