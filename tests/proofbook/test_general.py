"""proofbook serves any book: it imports no library of one, and its machinery speaks of no subject."""

import ast
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from proofbook.__main__ import main

PACKAGE = Path(__file__).parents[2] / "proofbook"
OF_ONE_BOOK = {"attnlib", "benchmarks", "experiments", "jax", "tensorflow", "torch"}
BY_NAME = ("__import__", "import_module", "importlib.import_module")
SOURCES = sorted(PACKAGE.rglob("*.py"))
MACHINERY = [path for path in SOURCES if path.parts[len(PACKAGE.parts)] not in ("derive", "ledger")]
MACHINERY += sorted(path for path in (PACKAGE / "publish/template").rglob("*") if path.is_file())


def imported(code: str) -> set[str]:
    """The packages that code imports, inside functions too, by a statement or by name."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in BY_NAME:
            found |= {str(one.value).split(".")[0] for one in node.args if isinstance(one, ast.Constant)}
    return found


def test_imports_are_found_wherever_they_hide():
    code = (
        "def f():\n    import torch.nn as nn\n    importlib.import_module('attnlib.rows')\nfrom jax import a"
    )
    assert imported(code) == {"torch", "attnlib", "jax"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_file_imports_a_library_of_one_book(path):
    assert imported(path.read_text(encoding="utf-8")) & OF_ONE_BOOK == set()


def test_the_notebooks_of_the_template_import_proofbook_and_what_it_needs():
    allowed = {"matplotlib", "proofbook", "sympy"}
    for path in (PACKAGE / "publish/template").rglob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        assert imported(code) == allowed


@pytest.mark.parametrize("path", MACHINERY, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_the_machinery_speaks_of_no_subject(path):
    words = re.findall(r"(?i)\b(?:attnlib|attention|torch|softmax)\b", path.read_text(encoding="utf-8"))
    assert words == []


ALONE = """
import runpy, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in sys.stdlib_module_names and name.split(".")[0] != "proofbook":
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Blocked())
sys.path.insert(0, sys.argv.pop(1))
runpy.run_module("proofbook", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("arguments", [(), ("new",), ("book",), ("build",)], ids=" ".join)
def test_help_needs_neither_a_book_nor_any_package(tmp_path, arguments):
    command = [sys.executable, "-I", "-c", ALONE, str(PACKAGE.parent), *arguments, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: python -m proofbook")


def test_the_help_of_recording_is_the_ledgers(tmp_path):
    command = [sys.executable, "-m", "proofbook", "record", "--help"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(PACKAGE.parent)}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "--device" in done.stdout


@pytest.mark.parametrize("jobs", ["0", "-1", "two"])
def test_a_number_of_jobs_is_one_or_more(jobs, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["book", f"--jobs={jobs}"])
    assert ended.value.code == 2
    assert f"must be a whole number from 1 on, got '{jobs}'" in capsys.readouterr().err


def test_outside_of_a_book_a_command_says_so_in_one_line(tmp_path):
    command = [sys.executable, "-m", "proofbook", "book"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(PACKAGE.parent)}
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == f"there is no _toc.yml in {tmp_path}: run this at the top of a book's repository\n"


SECTIONS = ("Args", "Returns", "Raises", "Shapes", "Source")


def departures(code: str) -> list[str]:
    """Where the docstrings of what is public leave the one dialect: sections by these names, in this order.

    The example stands last, without a heading; every argument is named, or none.
    """
    found = []
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith("_"):
            continue
        text = ast.get_docstring(node) or ""
        headings = re.findall(r"^([A-Z]\w+):$", text, re.M)
        if unknown := [name for name in headings if name not in SECTIONS]:
            found.append(f"{node.name}: {unknown}")
        elif headings != sorted(headings, key=SECTIONS.index):
            found.append(f"{node.name}: {headings} out of order")
        if headings and ">>> " in text and text.find(">>> ") < text.find(f"\n{headings[-1]}:"):
            found.append(f"{node.name}: the example is not last")
        block = re.search(r"^Args:\n((?:    .*\n?|\n)+)", text, re.M)
        if block and isinstance(node, ast.FunctionDef):
            named = re.findall(r"^    ((?:\*{0,2}\w+(?:, )?)+): ", block[1], re.M)
            listed = {one.strip(" *") for names in named for one in names.split(",")}
            taken = {one.arg for one in ast.walk(node.args) if isinstance(one, ast.arg)} - {"self", "cls"}
            if listed != taken:
                found.append(f"{node.name}: arguments {sorted(listed)}")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_docstrings_keep_to_one_dialect(path):
    assert departures(path.read_text(encoding="utf-8")) == []


ARGS, RETURNS, EXAMPLE = "Args:\n    a, b: Numbers.\n    *more: Words.", "Returns:\n    One.", ">>> f(1, 2)"


@pytest.mark.parametrize(
    "parts, found",
    [
        ((ARGS, RETURNS, EXAMPLE), []),
        (("Example:\n    >>> f(1, 2)",), ["f: ['Example']"]),
        ((RETURNS, ARGS), ["f: ['Returns', 'Args'] out of order"]),
        ((EXAMPLE, RETURNS), ["f: the example is not last"]),
        (("Args:\n    a: One.",), ["f: arguments ['a']"]),
    ],
    ids=["kept", "heading", "order", "example", "arguments"],
)
def test_a_departure_from_the_dialect_is_noticed(parts, found):
    text = textwrap.indent("\n\n".join(["F.", *parts, ""]), "    ")
    assert departures(f'def f(a, b, *more):\n    """\n{text}"""\n') == found
