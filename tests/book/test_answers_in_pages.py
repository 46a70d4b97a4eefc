"""Every exercise of the book can be answered in its page: its own solution is right there, too."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from proofbook.publish.answering import answerable
from proofbook.publish.book import Book

ROOT = Path(__file__).parents[2]
BOOK = Book(ROOT)
IN_A_PAGE = """
import json, sys
for name in ("flint", "z3", "numpy", "torch"):
    sys.modules[name] = None
from proofbook.in_page import answered
for before, cell in json.load(sys.stdin):
    print(answered(before, cell))
"""


def solutions(cell):
    """The formulas that a cell gives as solutions, by the name of the exercise, names of the cell put in."""
    body = ast.parse(cell).body
    made = {
        one.targets[0].id: one.value
        for one in body
        if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name)
    }

    class PutIn(ast.NodeTransformer):
        def visit_Name(self, node):
            return self.visit(made[node.id]) if node.id in made else node

    calls = [node for one in body for node in ast.walk(one) if isinstance(node, ast.Call)]
    return {
        ast.unparse(call.func.value): ast.unparse(PutIn().visit(call.args[0]))
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr == "solution"
    }


def solved(code, cell):
    """The code of an exercise with the book's own answers in place of the dots."""
    for name, formula in solutions(cell).items():
        code = code.replace(f"{name}.check(...)", f"{name}.check({formula})")
    assert "..." not in code
    return code


def run_in_a_page(cells):
    """What cells show, each after what it rests on, in a process that has no engine."""
    run = subprocess.run(
        [sys.executable, "-c", IN_A_PAGE], input=json.dumps(cells), capture_output=True, text=True, check=True
    )
    return run.stdout.splitlines()


@pytest.mark.parametrize(
    "path", [path for path, nb in BOOK.notebooks.items() if list(answerable(nb))], ids=str
)
def test_its_solutions_are_right_in_a_page(path):
    notebook = BOOK.notebooks[path]
    asked = []
    for one in answerable(notebook):
        assert not one.lacks, one
        if not one.asks:
            asked.append((one.before, one.code))
            continue
        texts = [cell["source"] for cell in notebook["cells"][one.cell + 1 :] if cell["cell_type"] == "code"]
        answer = next(text for text in texts if ".solution(" in text)
        asked.append((one.before, solved(one.code, answer)))
    for (_, code), line in zip(asked, run_in_a_page(asked), strict=True):
        found = json.loads(line)
        if ".check(" in code:
            assert found["verdict"] == "right", (code, found)
        else:
            assert found["verdict"] == "none" and "; proved: " in found["text"], (code, found)


def test_a_changed_proof_is_refuted_in_a_page():
    (one,) = (
        one
        for one in answerable(BOOK.notebooks[Path("book/8829-entropy-normalization.ipynb")])
        if not one.asks
    )
    changed = one.code.replace("third = -W(gamma)", "third = W(gamma)")
    assert changed != one.code
    text = json.loads(run_in_a_page([(one.before, changed)])[0])["text"]
    assert "Refuted: eq-8829-bend, step 1 (differentiate the slope): " in text
