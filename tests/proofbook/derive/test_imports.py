"""The machinery knows no torch, imports nothing late, and its modules stand in an order."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import proofbook

ROOT = Path(proofbook.__file__).parent
# the subpackages that this holds for already
SCANNED = ("derive",)
FILES = sorted(path for name in SCANNED for path in (ROOT / name).rglob("*.py"))


def imported(tree: ast.AST) -> set[str]:
    """The modules that a tree imports, anywhere in it."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or ""))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names.add(node.args[0].value if isinstance(node.args[0], ast.Constant) else "what it is told")
    return names


def is_torch(name: str) -> bool:
    return name.partition(".")[0] == "torch"


def late(tree: ast.AST) -> list[str]:
    """Import statements inside functions."""
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    inside = [node for f in functions for node in ast.walk(f)]
    return [ast.unparse(node) for node in inside if isinstance(node, (ast.Import, ast.ImportFrom))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_imports_torch_or_imports_late(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = imported(tree)
    assert not [name for name in names if is_torch(name)] and "what it is told" not in names
    assert not late(tree)


@pytest.mark.parametrize(
    "source",
    [
        "import torch",
        "import torch.nn.functional as F",
        "from torch import nn",
        "def f():\n    import torch",
        "import importlib\nt = importlib.import_module('torch')",
        "t = __import__('torch')",
    ],
)
def test_the_scan_sees_an_import_of_torch(source):
    assert [name for name in imported(ast.parse(source)) if is_torch(name)]


def test_modules_stand_in_an_order():
    package = "proofbook.derive"
    needs = {
        f"{package}.{path.stem}": {name for name in imported(ast.parse(path.read_text(encoding="utf-8")))}
        for path in (ROOT / "derive").glob("*.py")
        if path.stem != "__init__"
    }
    placed: set[str] = set()
    while needs:
        free = {module for module, names in needs.items() if not names & needs.keys()}
        assert free, f"a circle among {sorted(needs)}"
        placed |= free
        needs = {module: names for module, names in needs.items() if module not in free}
    assert f"{package}.definition" in placed


def test_importing_derive_brings_no_torch_and_no_numpy():
    code = "import sys, proofbook.derive\nprint(sorted({'torch', 'numpy', 'IPython'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
