"""The files at the top of the repository agree with each other and with what they promise."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/book.yml").read_text(encoding="utf-8"))
CONDA_NAMES = {"torch": "pytorch"}


def requirements(extras=None) -> dict[str, SpecifierSet]:
    optional = PROJECT["optional-dependencies"]
    lines = PROJECT["dependencies"] + [line for extra in extras or optional for line in optional[extra]]
    return {r.name: r.specifier for r in map(Requirement, lines) if r.name != "attnlib"}


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = {}
    for line in lines:
        if line and not line.startswith("#"):
            name, version = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9A-Za-z.]+)", line).groups()
            found[canonical(name)] = Version(version)
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name, allowed", requirements().items())
def test_every_requirement_is_pinned_to_a_version_it_allows(name, allowed):
    assert pins()[canonical(name)] in allowed


def test_conda_asks_for_the_same_as_pip():
    conda = {}
    for line in yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]:
        for entry in line["pip"] if isinstance(line, dict) else [line]:
            if entry != "-e .":
                name, _, spec = entry.partition(" ")
                conda[name] = SpecifierSet(spec)
    assert conda.pop("python") == SpecifierSet(PROJECT["requires-python"])
    conda.pop("pip")
    expected = requirements(("theory", "models", "book", "test"))
    assert conda == {CONDA_NAMES.get(name, name): spec for name, spec in expected.items()}


def test_what_is_installed_is_what_is_pinned():
    import importlib.metadata as metadata

    for name, pinned in pins().items():
        try:
            installed = Version(metadata.version(name))
        except metadata.PackageNotFoundError:
            continue
        assert Version(installed.public) == pinned, name


def test_the_version_is_one():
    changelog = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)[1]
    assert PROJECT["version"] == CITATION["version"] == changelog


@pytest.mark.parametrize(
    "schema, file",
    [
        ("vendor.citation-file-format", "CITATION.cff"),
        ("vendor.github-workflows", ".github/workflows/book.yml"),
    ],
)
def test_files_follow_their_published_schema(schema, file):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(ROOT / file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_actions_are_pinned_and_only_the_deployment_may_write():
    for job in WORKFLOW["jobs"].values():
        for step in job["steps"]:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step.get("uses", "a/b@" + 40 * "0"))
    assert WORKFLOW["permissions"] == {"contents": "read"}
    granted = {name: job["permissions"] for name, job in WORKFLOW["jobs"].items() if "permissions" in job}
    assert granted == {"deploy": {"pages": "write", "id-token": "write"}}
    assert WORKFLOW["jobs"]["deploy"]["needs"] == ["test", "build"]


def test_continuous_integration_runs_what_the_readme_says():
    script = ROOT / ".ci/run"
    assert script.stat().st_mode & 0o111
    assert script.read_text(encoding="utf-8").splitlines()[-1] == "exec make test"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make test" in readme and "make test" in [s.get("run") for s in WORKFLOW["jobs"]["test"]["steps"]]


def test_every_make_command_the_documents_name_exists():
    text = "".join(
        (ROOT / name).read_text(encoding="utf-8")
        for name in ("README.md", "CONTRIBUTING.md", "book/index.md", "book/how-to-read.md")
    )
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    named = set(re.findall(r"(?:`|^ *)make ([a-z]+)", text, re.M))
    assert named and named <= targets


def test_an_old_python_is_told_so_in_one_line(tmp_path):
    old = tmp_path / "python3.9"
    old.write_text(
        "#!/bin/sh\nexec " + sys.executable + ' -c "import sys; sys.version_info = (3, 9, 1); '
        'sys.argv = [\'-c\']; exec(\\"\\"\\"$2\\"\\"\\")"\n'
    )
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "-C", str(ROOT), f"PYTHON={old}", f"VENV={tmp_path}/venv", "setup"],
        capture_output=True,
        text=True,
    )
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert done.returncode != 0
    assert said == [
        f"error: this book needs Python 3.11 or newer; {old} is 3.9. Name another: make PYTHON=python3.12 ..."
    ]


def test_a_python_without_venv_is_told_so_in_one_line(tmp_path):
    bare = tmp_path / "python3"
    bare.write_text(f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\nexec {sys.executable} "$@"\n')
    bare.chmod(0o755)
    done = subprocess.run(
        ["make", "-C", str(ROOT), f"PYTHON={bare}", f"VENV={tmp_path}/venv", "setup"],
        capture_output=True,
        text=True,
    )
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert done.returncode != 0
    assert said == [
        f"error: {bare} has no venv module; install it (on Debian and Ubuntu the package python3-venv)"
    ]


def test_a_missing_python_is_told_so_in_one_line(tmp_path):
    done = subprocess.run(
        ["make", "-C", str(ROOT), "PYTHON=no-such-python", f"VENV={tmp_path}/venv", "setup"],
        capture_output=True,
        text=True,
    )
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert done.returncode != 0
    assert said == ["error: no no-such-python here; name one: make PYTHON=/path/to/python3 ..."]


NUMERICS = sorted((ROOT / "attnlib").glob("*.py")) + sorted((ROOT / "attnlib" / "theory").glob("*.py"))


@pytest.mark.parametrize("path", NUMERICS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_one_way(path):
    """Book -> ledger, derive -> theory -> numerics: nothing numerical imports what stands on it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
        for name in names:
            assert not name.startswith(("proofbook.derive", "proofbook.ledger", "proofbook.publish")), name


def test_importing_attnlib_brings_in_torch_alone():
    code = (
        "import sys, torch; before = set(sys.modules); import attnlib; "
        "print(*sorted({m.split('.')[0] for m in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    brought = {name for name in done.stdout.split() if name not in sys.stdlib_module_names}
    assert brought <= {"attnlib", "torch"}


def tracked_text_files():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file():
            yield name, path.read_bytes().decode("utf-8", errors="ignore")


def test_no_committed_file_names_the_machine_it_was_made_on():
    places = re.compile(
        r"(?<![\w.])/(?:home|root|Users|opt|work)/\w|file:/" + "/|py" + r"pi\.org|python" + r"hosted\.org"
    )
    found = [(name, match[0]) for name, text in tracked_text_files() for match in places.finditer(text)]
    assert found == []
