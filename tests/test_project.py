"""The files at the top of the repository agree with each other and with what they promise."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import attnlib
import proofbook

ROOT = Path(__file__).parents[1]
PYPROJECTS = {
    folder: tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))
    for folder in (".", "proofbook", "experiments")
}
PROJECT = PYPROJECTS["."]["project"]
GROUPS = PYPROJECTS["."]["dependency-groups"]
# What `make setup` installs and the lock pins; other groups are for who asks for them.
LOCKED = ["bootstrap", *(line["include-group"] for line in GROUPS["dev"])]
ON_REQUEST = sorted(set(GROUPS) - {*LOCKED, "dev"})
OURS = {table["project"]["name"] for table in PYPROJECTS.values()}
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
WORKFLOWS = {
    path.name: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / ".github/workflows").glob("*.yml"))
}
WORKFLOW = WORKFLOWS["book.yml"]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
CONDA_NAMES = {"torch": "pytorch"}


def required(*groups: str) -> dict[str, SpecifierSet]:
    """What the three projects require, extras too, and the groups of developer tools."""
    lines: list[str] = []
    for table in PYPROJECTS.values():
        project = table["project"]
        lines += project.get("dependencies", [])
        lines += [line for extra in project.get("optional-dependencies", {}).values() for line in extra]
    for group in groups:
        lines += [line for line in GROUPS[group] if isinstance(line, str)]
    return {r.name: r.specifier for r in map(Requirement, lines) if r.name not in OURS}


def pins(file: str) -> dict[str, Version]:
    text = (ROOT / "requirements" / file).read_text(encoding="utf-8")
    return {
        canonicalize_name(name): Version(version)
        for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([0-9A-Za-z.]+)", text, re.M)
    }


LOCK = pins("lock.txt")
PINS = LOCK | pins("bootstrap.txt") | pins("torch.txt")


@pytest.mark.parametrize("name, allowed", required(*LOCKED).items())
def test_every_requirement_is_pinned_to_a_version_it_allows(name, allowed):
    assert PINS[canonicalize_name(name)] in allowed


@pytest.mark.parametrize("group", ON_REQUEST)
def test_a_group_on_request_fits_the_lock_and_is_in_the_readme(group):
    for line in GROUPS[group]:
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        assert name not in PINS or PINS[name] in requirement.specifier
    assert f"`pip install --group {group}`" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", ["lock.txt", "bootstrap.txt"])
def test_every_pin_carries_hashes(file):
    text = (ROOT / "requirements" / file).read_text(encoding="utf-8")
    blocks = [line for line in text.replace("\\\n", " ").splitlines() if not line.startswith("#")]
    assert blocks and all("==" in block and "--hash=sha256:" in block for block in blocks)


NO_NETWORK = re.compile(r"dns error|error sending request|connection refused|timed out|network", re.I)


@pytest.mark.parametrize(
    "python, platform",
    [
        *((f"{minor}.0", "x86_64-unknown-linux-gnu") for minor in PYTHONS),
        ("3.11.0", "aarch64-apple-darwin"),
        ("3.11.0", "x86_64-pc-windows-msvc"),
    ],
)
def test_the_lowest_patch_of_every_python_can_install_the_lock(python, platform, tmp_path):
    """Wheels for it exist, and none asks for a later patch, as that of Debian 12 (3.11.2) found once."""
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "install",
        "--dry-run",
        "--quiet",
        "--target",
        str(tmp_path),
    ]
    command += ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--python", sys.executable]
    command += ["--python-version", python, "--python-platform", platform]
    done = subprocess.run(
        [*command, "--requirement", str(ROOT / "requirements/lock.txt")], capture_output=True, text=True
    )
    away = [line.strip() for line in done.stderr.splitlines() if NO_NETWORK.search(line)]
    if done.returncode and away and os.environ.get("CI") != "true":
        pytest.skip(f"no registry can be reached to look the pins up: {away[0]}")
    assert done.returncode == 0, done.stderr


def test_what_is_installed_is_what_is_locked():
    """All that the three projects and the tools reach here, but for what a build of torch brings itself."""
    left_to_torch = set((ROOT / "requirements/not-locked.txt").read_text(encoding="utf-8").split())
    waiting = [(name, "") for name in OURS] + [("proofbook", "publish")]
    waiting += [
        (Requirement(line).name, "") for group in LOCKED for line in GROUPS[group] if isinstance(line, str)
    ]
    seen: set[tuple[str, str]] = set()
    wrong = []
    while waiting:
        name, extra = waiting.pop()
        name = canonicalize_name(name)
        if (name, extra) in seen or name in left_to_torch:
            continue
        seen.add((name, extra))
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{name} is not installed")
            continue
        installed = Version(Version(found.version).public)
        if name not in map(canonicalize_name, OURS) and installed != PINS.get(name):
            wrong.append(f"{name} {installed} is installed, {PINS.get(name, 'nothing')} is locked")
        for requirement in map(Requirement, found.requires or []):
            if not requirement.marker or requirement.marker.evaluate({"extra": extra}):
                waiting += [(requirement.name, asked) for asked in ("", *requirement.extras)]
    assert wrong == []


def test_conda_asks_for_the_same_as_pip():
    conda, editable = {}, set()
    for line in yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]:
        for entry in line["pip"] if isinstance(line, dict) else [line]:
            if entry.startswith("-e "):
                editable.add(entry.removeprefix("-e "))
            else:
                name, _, spec = entry.partition(" ")
                conda[name] = SpecifierSet(spec)
    assert editable == {".", "./proofbook", "./experiments"}
    assert conda.pop("python") == SpecifierSet(PROJECT["requires-python"])
    conda.pop("pip")
    assert conda == {
        CONDA_NAMES.get(name, name): spec for name, spec in required("test", "notebooks").items()
    }


def test_the_readme_says_what_each_requirement_is_for():
    text = (ROOT / "README.md").read_text(encoding="utf-8").lower()
    text = text[text.index("## what it is built on") :]
    names = {CONDA_NAMES.get(name, name).lower() for name in required(*GROUPS)}
    assert {name for name in names if f"**{name}**" not in text} == set()


def test_the_pythons_promised_are_one_list():
    assert {table["project"]["requires-python"] for table in PYPROJECTS.values()} == {f">={PYTHONS[0]}"}
    for folder in (".", "proofbook"):
        classifiers = PYPROJECTS[folder]["project"]["classifiers"]
        named = re.findall(r"Python :: (3\.\d+)$", "\n".join(classifiers), re.M)
        assert tuple(named) == PYTHONS
    assert tuple(WORKFLOW["jobs"]["test"]["strategy"]["matrix"]["python"]) == PYTHONS


def test_the_authors_are_named_alike():
    names = [author["name"] for author in CITATION["authors"]]
    for table in PYPROJECTS.values():
        assert [author["name"] for author in table["project"]["authors"]] == names


def test_urls_are_given_once_there_is_an_address():
    address = yaml.safe_load((ROOT / "book/address.yml").read_text(encoding="utf-8"))
    expected = {
        label: address[key] for label, key in (("Repository", "repository"), ("Book", "site")) if address[key]
    }
    for folder in (".", "proofbook"):
        assert PYPROJECTS[folder]["project"].get("urls", {}) == expected


def test_experiments_are_never_published_nor_taken_from_a_registry():
    experiments = PYPROJECTS["experiments"]
    assert "Private :: Do Not Upload" in experiments["project"]["classifiers"]
    ours = {name for name in experiments["project"]["dependencies"] if name in OURS}
    assert ours == {"attnlib", "proofbook"} == set(experiments["tool"]["uv"]["sources"])


def test_the_version_is_one():
    changelog = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)[1]
    published = {PYPROJECTS[folder]["project"]["version"] for folder in (".", "proofbook")}
    assert (
        published == {CITATION["version"]} == {changelog} == {attnlib.__version__} == {proofbook.__version__}
    )


@pytest.mark.parametrize("copy", ["proofbook/LICENSE"])
def test_a_distribution_of_its_own_has_the_same_licence(copy):
    assert (ROOT / copy).read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize(
    "schema, file",
    [
        ("vendor.citation-file-format", "CITATION.cff"),
        *(("vendor.github-workflows", f".github/workflows/{name}") for name in WORKFLOWS),
    ],
)
def test_files_follow_their_published_schema(schema, file):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(ROOT / file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_hooks_before_a_commit_are_well_formed_and_need_no_network():
    file = ROOT / ".pre-commit-config.yaml"
    command = [sys.executable, "-m", "pre_commit", "validate-config", str(file)]
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert [r["repo"] for r in yaml.safe_load(file.read_text(encoding="utf-8"))["repos"]] == ["local"]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_actions_are_pinned_and_only_the_deployment_may_write(name):
    workflow = WORKFLOWS[name]
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step.get("uses", "a/b@" + 40 * "0"))
    assert workflow["permissions"] == {"contents": "read"}
    granted = {job: what["permissions"] for job, what in workflow["jobs"].items() if "permissions" in what}
    assert granted == ({"deploy": {"pages": "write", "id-token": "write"}} if name == "book.yml" else {})
    if granted:
        assert workflow["jobs"]["deploy"]["needs"] == ["test", "build"]


def test_continuous_integration_runs_what_the_readme_says():
    script = ROOT / ".ci/run"
    assert script.stat().st_mode & 0o111
    assert script.read_text(encoding="utf-8").splitlines()[-1] == "exec make test"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make test" in readme and "make test" in [s.get("run") for s in WORKFLOW["jobs"]["test"]["steps"]]


def test_windows_runs_the_readmes_commands_without_make():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"Without make.*?```\n(.*?)```", readme, re.S)[1]
    told = [line.replace(".venv/bin/", "") for line in block.splitlines() if line.startswith(".venv")]
    run = [step.get("run", "") for step in WORKFLOW["jobs"]["windows"]["steps"]]
    assert told and [line for line in told if not any(line in step for step in run)] == []


def test_every_make_command_the_documents_name_exists():
    text = "".join(
        (ROOT / name).read_text(encoding="utf-8")
        for name in ("README.md", "CONTRIBUTING.md", "book/index.md", "book/how-to-read.md")
    )
    targets = set(re.findall(r"^([a-z-]+):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    named = set(re.findall(r"(?:`|^ *)make ([a-z][a-z-]*)", text, re.M))
    assert named and named <= targets


@pytest.mark.parametrize("preset, device", [("cpu", "cpu"), ("gpu", "cuda")])
def test_make_experiment_leaves_the_device_to_the_preset(preset, device):
    """Unless it is named; the commands then take the device that the preset was made for."""
    from experiments.command import default_device

    def said(*arguments: str) -> list[str]:
        command = ["make", "--dry-run", "-C", str(ROOT), "experiment", f"PRESET={preset}", *arguments]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        return [line for line in lines if " -m experiments." in line]

    assert len(said()) == 2 and all(f"--preset {preset} " in line for line in said())
    assert not any("--device" in line for line in said())
    assert all("--device cuda:1" in line for line in said("DEVICE=cuda:1"))
    assert default_device(preset) == device


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


@pytest.mark.parametrize(
    "there, asked", [("3.11.7", ["-m venv --clear"]), ("3.12.1", []), (None, ["-m venv"])]
)
def test_an_environment_of_another_python_is_made_anew(tmp_path, there, asked):
    """Laid over it, the second Python ran with the standard library of the first."""

    def python(path: Path, version: str, venv: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f'#!/bin/sh\ncase "$*" in -V) echo Python {version};; '
            f'"-m venv"*) {venv};; "-m pip"*) exit 1;; esac\n'
        )
        path.chmod(0o755)
        return path

    place, log = tmp_path / "venv", tmp_path / "log"
    log.touch()
    if there:
        python(place / "bin/python", there, "exit 1")
        (place / "pyvenv.cfg").touch()
    new = python(tmp_path / "python3", "3.12.1", f'echo "$*" >> {log}')
    done = subprocess.run(
        ["make", "-C", str(ROOT), f"PYTHON={new}", f"VENV={place}", "setup"], capture_output=True, text=True
    )
    assert done.returncode != 0
    assert log.read_text().splitlines() == [f"{line} {place}" for line in asked]


@pytest.fixture
def planted(tmp_path):
    """The layers of a tree in which one module has one import more."""
    for folder in ("attnlib", "proofbook", "experiments"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)

    def broken(module: str, line: str) -> list[str]:
        path = tmp_path / module
        path.write_text(
            path.read_text(encoding="utf-8") + f"\n\ndef planted():\n    {line}\n", encoding="utf-8"
        )
        script = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_logo=True))"
        done = subprocess.run(
            [sys.executable, "-c", script, "--no-cache"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "500"},
        )
        assert done.returncode, done.stdout
        return re.findall(r"^(.*\S)\s+BROKEN", done.stdout, re.M)

    return broken


@pytest.mark.parametrize(
    "module, line, contract",
    [
        ("attnlib/partition.py", "import sympy", "attnlib needs PyTorch alone"),
        ("attnlib/theory/needle.py", "from proofbook import derive", "two libraries"),
        ("proofbook/derive/latex.py", "from attnlib import rows", "two libraries"),
        ("proofbook/derive/latex.py", "import torch", "proofbook imports no torch"),
        ("proofbook/derive/latex.py", "from proofbook import ledger", "a proof knows neither"),
        ("proofbook/ledger/claims.py", "from experiments import figures", "two libraries"),
        ("attnlib/partition.py", "from attnlib import rows", "stands on the rows"),
        ("attnlib/errors.py", "from attnlib import partition", "No circle"),
    ],
)
def test_the_layers_notice_an_import_that_points_the_wrong_way(planted, module, line, contract):
    """Inside a function too, and of a part by its package's name: the guard before had this hole."""
    assert any(contract in name for name in planted(module, line))


def test_importing_attnlib_brings_in_torch_alone():
    code = (
        "import sys, torch; before = set(sys.modules); import attnlib; "
        "print(*sorted({m.split('.')[0] for m in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    brought = {name for name in done.stdout.split() if name not in sys.stdlib_module_names}
    assert brought <= {"attnlib", "torch"}


TYPED = ("attnlib", "benchmarks", "experiments", "proofbook")


def unexplained_ignores(path: Path) -> list[str]:
    """Comments that silence the type checker without an error code in brackets and a reason after it."""
    with tokenize.open(path) as source:
        comments = [t for t in tokenize.generate_tokens(source.readline) if t.type == tokenize.COMMENT]
    return [
        f"{path.name}:{comment.start[0]}"
        for comment in comments
        if re.search(r"type:\s*ignore", comment.string)
        and not re.search(r"type: ignore\[[a-z-]+(, [a-z-]+)*\]\s+#\s*\S", comment.string)
    ]


def test_what_silences_the_type_checker_is_explained(tmp_path):
    files = [path for folder in TYPED for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 200
    assert [line for path in files for line in unexplained_ignores(path)] == []
    bad = tmp_path / "bad.py"
    bad.write_text("x = 1  # type: ignore\ny = 2  # type: ignore[misc]\nz = 3  # type: ignore[misc]  # why\n")
    assert unexplained_ignores(bad) == ["bad.py:1", "bad.py:2"]


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
