"""What a page runs of an exercise: the lines that its names come from, and no more."""

import json
import subprocess
import sys
import zipfile
from io import BytesIO

import pytest

from proofbook.in_page import answered
from proofbook.publish.answering import answerable
from proofbook.publish.python_for_pages import bring, checker, libraries
from proofbook.publish.sphinx_ext.answers import placed

ASKED = "```{exercise} Twice\n:label: ex-twice\n\nWhat is twice x?\n```"
SOLVED = "````{solution-start} ex-twice\n:label: sol-twice\n````\nIt is."
IMPORTS = """import numpy as np
import sympy as sp
from sympy import log, Symbol
from proofbook.derive import Domain, Exercise, define
from proofbook.ledger import fill_in, show
"""
CELL = "question = Exercise(x + x, Domain({x: (1, 2)}))\nquestion.check(...)"


def notebook(*cells):
    kinds = ["markdown" if text.startswith("`") else "code" for text in cells]
    return {"cells": [{"cell_type": kind, "source": text} for kind, text in zip(kinds, cells)]}


def only(*cells):
    (found,) = answerable(notebook(IMPORTS, *cells))
    return found


def last_lines(found, count):
    return found.before.splitlines()[-count:]


def test_it_is_cut_to_what_its_names_come_from():
    found = only(
        "x = Symbol('x')\ny = Symbol('y')\nprint(x)", ASKED, CELL, SOLVED, "question.solution(2 * x)"
    )
    assert found.label == "ex-twice" and found.cell == 3 and found.code == CELL and not found.lacks
    assert sorted(last_lines(found, 4)) == [
        "from proofbook.derive import Domain",
        "from proofbook.derive import Exercise",
        "from sympy import Symbol",
        "x = Symbol('x')",
    ]


def test_the_last_of_a_name_is_taken_and_what_functions_speak_of():
    found = only(
        "x = 1\nz = 3",
        "x = Symbol('x')\ndef twice(a):\n    return a * z",
        ASKED,
        CELL.replace("x + x", "twice(x)"),
    )
    assert "x = 1" not in found.before and "z = 3" in found.before and "def twice" in found.before


def test_a_name_that_a_comprehension_or_a_function_has_for_itself_is_not_the_same():
    found = only(
        "x = Symbol('x')", "squares = [x for x in np.arange(3)]\ndef f(x):\n    return x", ASKED, CELL
    )
    assert not found.lacks and last_lines(found, 1) == ["x = Symbol('x')"]


def test_the_names_of_the_answer_come_along_and_the_answer_does_not():
    found = only("x = Symbol('x')\nc = 2", ASKED, CELL, SOLVED, "answer = c * x\nquestion.solution(answer)")
    assert "c = 2" in found.before and "answer" not in found.before


def test_what_else_the_cell_does_for_the_book_is_left_out():
    found = only("x = Symbol('x')", ASKED, f"{CELL}\ncount = np.prod(3)\nfill_in(n=count)")
    assert found.code == CELL and not found.lacks


def test_what_a_page_does_not_have_is_named():
    found = only("x = np.float64(1)", ASKED, CELL)
    assert found.lacks == ("numpy",)
    assert "<code>numpy</code>" in placed(found, "Twice") and "script" not in placed(found, "Twice")


def test_show_is_of_the_page():
    found = only("x = Symbol('x')", ASKED, CELL.replace("question.check(...)", "show(question.check(...))"))
    assert not found.lacks and json.loads(answered(found.before, found.code))["verdict"] == "none"


@pytest.mark.parametrize("cell", ["answer = ...", "question.check(1)", "%time question.check(...)"])
def test_a_cell_that_checks_nothing_is_none_to_answer(cell):
    assert not list(answerable(notebook(IMPORTS, ASKED, cell)))


def test_a_cell_to_change_is_whole_and_comes_with_what_it_needs():
    book = notebook(IMPORTS, "x = Symbol('x')", "fill_in(n=3)\nlog(x)")
    book["cells"][2] |= {"id": "cell-3", "metadata": {"tags": ["change-something"]}}
    (found,) = answerable(book)
    assert found.lacks == ("proofbook.ledger",)
    book["cells"][2]["source"] = "log(x)  # of x"
    (found,) = answerable(book)
    assert (found.label, found.code, found.asks) == ("cell-3", "log(x)  # of x", False)
    assert "Change something" in placed(found, "A proof") and not found.lacks
    assert json.loads(answered(found.before, found.code)) == {"text": "log(x)", "verdict": "none"}


def test_after_its_solution_an_exercise_waits_no_more():
    assert not list(answerable(notebook(IMPORTS, ASKED, SOLVED, CELL)))


def test_code_cannot_end_the_script_that_holds_it():
    found = only("x = Symbol('x')\ny = '</script><b>'", ASKED, CELL.replace("x + x", "x + len(y)"))
    html = placed(found, "</script>")
    assert html.count("</script>") == 1
    held = html[html.index("{") : html.rindex("}") + 1]
    assert json.loads(held)["before"] == found.before and json.loads(held)["title"] == "</script>"


BEFORE = """from proofbook.derive import *
from sympy import Symbol
x = Symbol('x')
square = Exercise((x + 1) ** 2 - 1, Domain({x: (1, 2)}))"""


@pytest.mark.parametrize(
    "cell, verdict, text",
    [
        ("square.check(x**2 + 2 * x)", "right", "Right: proved"),
        ("square.check(x)", "wrong", "Not yet: "),
        ("square.check(...)", "none", "No answer yet"),
        ("show(square.check(x**2 + 2 * x), square.check(...))", "wrong", "Right: proved"),
        ("print('here')\n2 + 3", "none", "here\n5"),
        ("x = 1\nboom", "error", "line 2: NameError: name 'boom' is not defined"),
        ("x = 1\n1 +", "error", "line 2: SyntaxError: "),
        ("", "none", ""),
    ],
)
def test_what_a_cell_shows(cell, verdict, text):
    found = json.loads(answered(BEFORE, cell))
    assert found["verdict"] == verdict and found["text"].startswith(text)


def test_one_answer_does_not_change_the_next():
    answered(BEFORE, "x = Symbol('y')")
    assert json.loads(answered(BEFORE, "square.check(x**2 + 2 * x)"))["verdict"] == "right"


def test_what_is_packed_runs_alone_without_engines(tmp_path):
    for name, packed in (("proofbook", checker()), ("sympy", libraries())):
        zipfile.ZipFile(BytesIO(packed)).extractall(tmp_path)
        assert not [part for part in zipfile.ZipFile(BytesIO(packed)).namelist() if "/tests/" in part], name
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from proofbook.in_page import answered
print(answered({BEFORE!r}, "square.check(x**2 + 2 * x)"))
print(sorted({{"flint", "z3", "numpy"}} & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert '"right"' in run.stdout and run.stdout.endswith("[]\n")


def test_a_site_gets_python_once_and_what_is_torn_anew(tmp_path):
    bring(tmp_path)
    assert "Mozilla Public License" in (tmp_path / "NOTICE.txt").read_text()
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()}
    bring(tmp_path)
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()} == before
    for name in ("pyodide.mjs", "sympy.zip", "proofbook.zip", "NOTICE.txt"):
        (tmp_path / name).write_text("torn")
        bring(tmp_path)
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == {
            path: content for path, (_, content) in before.items()
        }
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 25e6
