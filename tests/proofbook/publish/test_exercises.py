"""Exercises in the cells of a notebook: what is asked, what is solved, what is left without answers."""

import json
from pathlib import Path

import pytest

from proofbook.publish.exercises import exercises_of, without_solutions
from proofbook.publish.notebooks import BookError, parse

CHAPTER = Path("book/a.ipynb")
SOLUTION = "````{solution-start} ex-a\n:label: sol-a\n:class: dropdown\n````\n\nTake logarithms."


def words(text):
    return {"cell_type": "markdown", "id": "w", "metadata": {}, "source": text}


def code(text):
    return {
        "cell_type": "code",
        "id": "c",
        "metadata": {},
        "source": text,
        "outputs": [],
        "execution_count": 1,
    }


def notebook(*cells):
    return parse(
        json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}).encode(), CHAPTER
    )


ASKED = words("```{exercise} A taxi\n:label: ex-a\n\nWhich number?\n```")
CELLS = (
    ASKED,
    code("q.check(...)"),
    words(SOLUTION),
    code("q.solution(1729)"),
    words("````{solution-end}\n````"),
)


def test_what_is_asked_and_solved_is_read_from_the_cells():
    (found,) = exercises_of(notebook(*CELLS, words("## After")))
    assert (found.label, found.title, found.asks) == ("ex-a", "A taxi", "Which number?")
    assert found.solution == "Take logarithms.\n\n```python\nq.solution(1729)\n```"


def test_solutions_and_what_checks_them_go_and_nothing_else():
    left = without_solutions(notebook(*CELLS, words("## After")))
    assert [cell["source"] for cell in left["cells"]] == [ASKED["source"], "q.check(...)", "## After"]
    inside = words("Before.\n\n````{solution} ex-a\n:class: dropdown\nIt is 1729.\n````\n\nAfter.")
    (cell,) = without_solutions(notebook(inside))["cells"]
    assert cell["source"] == "Before.\n\n\nAfter."
    (found,) = exercises_of(notebook(ASKED, inside))
    assert found.solution == "It is 1729."
    tail = words("````{solution-end}\n````\n\n## Next")
    assert without_solutions(notebook(*CELLS[:4], tail))["cells"][-1]["source"] == "## Next"


def test_a_solution_that_does_not_end_is_an_error():
    with pytest.raises(BookError, match="the solution of ex-a begins and does not end"):
        without_solutions(notebook(*CELLS[:4]))
