"""The command that checks a whole book again, on the fixture book, and what it and the build refuse."""

import copy
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sympy as sp

from proofbook.derive import Derivation, Domain, assume, eq
from proofbook.names import EQUATION_MIME
from proofbook.publish import checking, commands, graph, lint, proofs
from proofbook.publish.book import Book

ROOT = Path(__file__).parents[3]
FIXTURE = ROOT / "tests/book/fixtures/mini"
CHAPTER = "book/8823-attention-scale.ipynb"


@pytest.fixture
def root(tmp_path):
    shutil.copytree(FIXTURE, tmp_path, dirs_exist_ok=True)
    shutil.copy(ROOT / "book/proofbook.toml", tmp_path / "book")
    (tmp_path / "_toc.yml").write_text(f"format: jb-book\nroot: {CHAPTER.removesuffix('.ipynb')}\n")
    return tmp_path


def change(root, label, edit):
    """Edit what an equation of the fixture shows; ``edit`` gets its representations."""
    path = root / CHAPTER
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if output.get("data", {}).get(EQUATION_MIME, {}).get("label") == label:
                edit(output["data"])
    path.write_text(json.dumps(notebook))


def step(data, number=1):
    return data[EQUATION_MIME]["steps"][number - 1]


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_fixture_book_is_proved_again(root, jobs):
    assert checking.check(Book(root), jobs) == checking.Report(proved=2)


CHANGES = {
    "label": lambda data: data[EQUATION_MIME].update(label="eq-other"),
    "TeX": lambda data: data.update({"text/markdown": "".join(data["text/markdown"]).replace("&", "& -")}),
    "relation": lambda data: step(data).update(relation="<="),
    "end of a range": lambda data: data[EQUATION_MIME].update(
        domain=data[EQUATION_MIME]["domain"].replace("0 3", "0 4")
    ),
    "mark": lambda data: step(data).update(mark="attacked"),
    "reason": lambda data: step(data).update(reason="obvious"),
    "certificate": lambda data: step(data).update(certificate=step(data)["certificate"].replace("1", "2", 1)),
    "an old record": lambda data: data[EQUATION_MIME].update(schema=1),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("label", ["eq-entropy", "eq-wide"])
def test_a_changed_output_is_refused_by_the_check_the_lint_and_the_build(root, label, what, capsys):
    change(root, label, CHANGES[what])
    shown = "eq-other" if what == "label" else label
    assert any(f"8823-attention-scale, {shown}: " in line for line in lint.equations(Book(root)))
    assert commands.check(root=root, executed=False, jobs=1) == 1
    assert shown in capsys.readouterr().out
    assert commands.build(root=root, stored=True, strict=False) == 1
    assert "the site was not built" in capsys.readouterr().out
    assert not (root / "_build/html").exists()


def test_the_command_says_what_it_found_and_fails_with_its_exit_status(root):
    command = [sys.executable, "-m", "proofbook", "--root", str(root), "check", "--jobs", "2"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert (
        ran.stdout == "2 steps proved again, 0 shown as evidence, 0 definitions, 0 assumptions, 0 failures\n"
    )
    change(root, "eq-wide", CHANGES["certificate"])
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 1
    assert ran.stdout.startswith("eq-wide: ") and ran.stdout.endswith("1 failures\n")


def test_an_equation_that_is_shown_twice_is_a_failure(root):
    path = root / CHAPTER
    notebook = json.loads(path.read_text())
    cell = next(c for c in notebook["cells"] if "eq-wide" in json.dumps(c.get("outputs", [])))
    cell["outputs"].append(copy.deepcopy(cell["outputs"][0]))
    path.write_text(json.dumps(notebook))
    assert "eq-wide: shown twice" in checking.check(Book(root), 1).failures[0]


def test_citations_in_a_circle_are_a_failure(root):
    change(root, "eq-wide", lambda data: step(data).update(cites=["eq-entropy"]))
    change(root, "eq-entropy", lambda data: step(data).update(cites=["eq-wide"]))
    (failure,) = checking.check(Book(root), 1).failures
    assert "cited in a circle" in failure


def with_an_assumption(root, count):
    """Put an assumption, and what is proved from it, behind the fixture's equations."""
    x, y = sp.symbols("x y", real=True)
    box = Domain({x: (1, 2), y: (1, 9)})
    law = assume(count, sp.Eq(y, x**2), "a law", label="eq-law", domain=box, witness={x: 1, y: 1})
    made = Derivation("eq-from", x * y, eq(x**3, "by the law"), domain=box, given=(law,))
    path = root / CHAPTER
    notebook = json.loads(path.read_text())
    cell = next(c for c in notebook["cells"] if "eq-wide" in json.dumps(c.get("outputs", [])))
    for shown in (law, made):
        cell["outputs"].append(
            {**cell["outputs"][0], "data": json.loads(json.dumps(shown._repr_mimebundle_()))}
        )
    path.write_text(json.dumps(notebook))


def test_assumptions_are_counted_checked_and_numbered(root):
    with_an_assumption(root, 1)
    book = Book(root)
    assert checking.check(book, 1) == checking.Report(proved=3, assumptions=1)
    found = proofs.status(book)
    assert found["assumptions"] == {"eq-law": 1} and (found["steps"], found["proved"]) == (3, 3)
    assert list(lint.assumptions(book)) == []
    nodes = {node["id"]: node["kind"] for node in graph.graph(book)["nodes"]}
    assert nodes["eq-law"] == "assumption"
    assert {"from": "eq-from", "to": "eq-law"} in graph.graph(book)["edges"]


def test_an_assumption_out_of_turn_is_a_complaint(root):
    with_an_assumption(root, 2)
    (complaint,) = lint.assumptions(Book(root))
    assert "is the book's number 1" in complaint
