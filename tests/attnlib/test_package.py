"""The package as a whole: what it imports, what it says of itself, and how its docstrings are written."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import attnlib
from attnlib import _implementations
from attnlib.errors import InvalidArgument

HOME = Path(attnlib.__file__).parent
PROJECT = HOME.parent / "pyproject.toml"
FILES = sorted(HOME.rglob("*.py"))
MODULES = [
    importlib.import_module(found.name)
    for found in pkgutil.walk_packages(attnlib.__path__, prefix="attnlib.")
    if not any(part.startswith("_") for part in found.name.split("."))
]


def name_of(path: Path, home: Path = HOME) -> str:
    parts = path.relative_to(home.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(tree: ast.AST, modules: set[str]) -> set[str]:
    """The modules of the package that a file imports, wherever in it, type checking aside."""
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not followed here"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name in modules}


def import_graph(home: Path) -> dict[str, set[str]]:
    files = {name_of(path, home): path for path in home.rglob("*.py")}
    graph = {}
    for name, path in files.items():
        needed = imports_of(ast.parse(path.read_text(encoding="utf-8")), set(files))
        # ``from package import module`` needs the module, not what the package itself goes on to import.
        inside = {other for other in needed if any(longer.startswith(f"{other}.") for longer in needed)}
        graph[name] = needed - inside
    return graph


def test_no_circle_among_the_modules():
    graph = import_graph(HOME)
    assert len(graph) > 25 and "attnlib.theory.needle" in graph["attnlib.scale"]
    assert "attnlib._rows.tiles" in graph["attnlib._rows.engine"]
    TopologicalSorter(graph).prepare()


def test_a_circle_would_be_noticed(tmp_path):
    lib = tmp_path / "lib"
    lib.mkdir()
    for name, text in {"__init__": "", "a": "from lib import b", "b": "def f():\n    import lib.a"}.items():
        (lib / f"{name}.py").write_text(text)
    with pytest.raises(CycleError):
        TopologicalSorter(import_graph(lib)).prepare()


def run(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=HOME.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_needs_torch_alone():
    script = """
import sys, torch
before = set(sys.modules)
import attnlib, attnlib.distributed
added = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(added - set(sys.stdlib_module_names) - {"attnlib", "torch"}))
"""
    assert run(script).strip() == "[]"


def test_theory_runs_where_nothing_else_is_installed():
    script = """
import sys
for name in ("scipy", "sympy", "mpmath", "matplotlib", "proofbook"):
    sys.modules[name] = None  # importing it now fails
import torch
from attnlib.theory import bounded, decay, freezing, gaussian, needle, noise, sphere
s, v = torch.zeros(4), torch.arange(4.0)
values = [
    sphere.log_mgf(8.0, 64), sphere.mean_cos(1.0, 3), sphere.entropy(512, 64, 0.1),
    sphere.varentropy(64, 0.1), sphere.sparsity(64, 0.1), sphere.rate(1.0), sphere.rate_correction(1.0),
    sphere.laplace_entropy(512, 64, 0.1), sphere.scale_for_entropy(512, 64, 2.0),
    sphere.exact_scale_for_entropy(512, 64, 2.0), sphere.freezing_scale(512, 64),
    needle.log_context(64, 0.1), needle.context(64, 0.1), needle.weight(512, 64, 0.1), needle.scale(512, 64),
    freezing.critical_std(512), freezing.frozen_entropy(0.5), gaussian.sparsity_exp(1.0),
    gaussian.sparsity_exp_finite(1.0, 512), gaussian.sparsity_identity(0.0, 1.0),
    gaussian.sparsity_relu2(-6.0, 1.0), gaussian.entropy(512, 1.0), bounded.entropy_deficit(1.0),
    bounded.top_fraction(1.0), bounded.two_valued_entropy(512, 105, 1.0), bounded.min_entropy(512, 1.0),
    noise.gaussian_factor(0.5), noise.output_variance(s, v, 0.1), noise.output_bias(s, v, 0.1),
    decay.effective_window(0.9), decay.sparsity(0.9, 64), decay.sparsity_limit(4.0), decay.entropy(0.9),
]
assert all(torch.isfinite(value).all() for value in values)
called = len(values)
public = sum(
    not name.startswith("_") and getattr(thing, "__module__", None) == module.__name__
    for module in (bounded, decay, freezing, gaussian, needle, noise, sphere)
    for name, thing in vars(module).items()
)
assert called == public, (called, public)
print("ran")
"""
    assert run(script).strip() == "ran"


def test_the_version_is_that_of_the_project():
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    assert attnlib.__version__ == project["version"]


def test_the_package_says_that_it_is_typed():
    assert (HOME / "py.typed").exists()


def public_functions() -> dict[str, object]:
    """Public functions of public modules, and the axioms, which are called like functions."""
    found = {}
    for module in MODULES:
        for name, thing in vars(module).items():
            ours = getattr(thing, "__module__", None) == module.__name__
            if not name.startswith("_") and inspect.isfunction(thing) and ours:
                found[f"{module.__name__}.{name}"] = thing
    # What the modules share with each other but do not offer.
    for name in ("attnlib.rows.collect", "attnlib.rows.convert", "attnlib.streaming.combine"):
        del found[name]
    for name in ("attnlib.partition.gaps", "attnlib.partition.log_weights"):
        del found[name]
    return found


PUBLIC = public_functions()
RESULTS = {
    f"{module.__name__}.{name}": thing
    for module in MODULES
    for name, thing in vars(module).items()
    if inspect.isclass(thing) and issubclass(thing, tuple) and thing.__module__ == module.__name__
    if not name.startswith("_") and name not in ("Gaps", "Found")
}
SECTIONS = ("Args", "Returns", "Raises", "Shapes", "Source")
POINTERS = (
    r"\b(?:Arguments|Errors|[Ss]hapes|errors|arguments|dtypes?)\b[^.]*\b(?:as for|as in|are those of)\b"
)


def departures(thing) -> list[str]:
    """Where the docstring of a function leaves the dialect of this package."""
    text = inspect.getdoc(thing) or ""
    found = [f"no {name}:" for name in SECTIONS if not re.search(rf"^{name}:(?: |$)", text, re.M)]
    places = [text.find(f"\n{name}:") for name in SECTIONS]
    if not found and places != sorted(places):
        found.append("sections out of order")
    if ">>> " not in text or text.find(">>> ") < text.find("\nSource:"):
        found.append("no example at the end")
    args = re.search(r"^Args:\n((?:    .*\n?|\n)+)", text, re.M)
    listed = re.findall(r"^    (\w+): ", args[1], re.M) if args else []
    expected = list(inspect.signature(thing).parameters)
    if listed != expected:
        found.append(f"arguments {listed} for {expected}")
    if re.search(POINTERS, text):
        found.append("points elsewhere for what it should say")
    if re.search(r"[Ee]ntropy|lse|log-sum-exp", text.split("\n")[0]) and "nats" not in text:
        found.append("no unit")
    annotations = inspect.get_annotations(thing)
    if set(annotations) != {*expected, "return"}:
        found.append("not fully typed")
    return found


@pytest.mark.parametrize("name", PUBLIC)
def test_docstrings_of_functions_keep_to_one_dialect(name):
    assert departures(PUBLIC[name]) == []


@pytest.mark.parametrize("name", RESULTS)
def test_results_say_their_shapes_source_and_an_example(name):
    text = inspect.getdoc(RESULTS[name]) or ""
    assert re.search(r"^Shapes: ", text, re.M) and re.search(r"^Source: ", text, re.M) and ">>> " in text


def test_every_public_function_is_looked_at():
    offered = {thing for name in attnlib.__all__ if inspect.isfunction(thing := getattr(attnlib, name))}
    assert len(PUBLIC) > 55 and offered <= set(PUBLIC.values())


def poor(q, k):
    """Entropy of a row.

    Arguments and errors are those of :func:`row_entropy`.

    Args:
        q: queries.
    """


def test_a_departure_is_noticed():
    found = departures(poor)
    for complaint in ("no Returns:", "no Raises:", "no Shapes:", "no Source:", "no example at the end"):
        assert complaint in found
    assert "arguments ['q'] for ['q', 'k']" in found and "not fully typed" in found
    assert "points elsewhere for what it should say" in found and "no unit" in found


def test_axioms_are_documented_whole():
    for axiom in attnlib.axioms.AXIOMS:
        text = inspect.getdoc(axiom)
        assert text.startswith(f"{axiom.name}: ") and ">>> " in text
        for section in ("Args:", "Returns:", "Raises:", "Shapes:", "Source:"):
            assert text.count(section) == 1, (axiom, section)
        listed = re.findall(r"^    (\w+): ", text.partition("Args:")[2].partition("Returns:")[0], re.M)
        assert listed == list(inspect.signature(axiom).parameters)


@pytest.mark.parametrize("allowed", ["IMPLS", "OUTPUT_IMPLS", "WRITTEN_IMPLS", "LINEAR_IMPLS", "DECAY_IMPLS"])
def test_one_place_knows_the_implementations(allowed):
    values = getattr(_implementations, allowed)
    for value in values:
        _implementations.check_impl(value, values)
    with pytest.raises(InvalidArgument, match=f"impl must be '{values[0]}'.* or '{values[-1]}', got 'x'"):
        _implementations.check_impl("x", values)


def test_the_implementations_are_those_of_the_contract():
    assert _implementations.IMPLS == ("fused", "blockwise", "reference")
    for path in FILES:
        if path.name != "_implementations.py":
            assert '"fused", ' not in path.read_text(encoding="utf-8"), path
