"""Provenance: which sources count, when a digest changes, what a record says of its making and what is refused."""

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

import attnlib
from proofbook.ledger import provenance as provenance
from proofbook.ledger.provenance import (
    NoSuchDevice,
    commit,
    device_name,
    digest,
    driver,
    environment,
    package_sources,
    reachable_sources,
    source_digest,
    validate_environment,
)

HOME = Path(attnlib.__file__).parent
no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="shows what a machine without CUDA says")
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

PACKAGE = {
    "__init__.py": "from lib import scale\nfrom lib.rows import total as sum_of\nfrom .alone import alone\nVERSION = 1",
    "scale.py": "import math\nfrom lib.errors import Bad",
    "rows.py": "def total(x):\n    from lib import _tiles\n    return _tiles.add(x)",
    "_tiles.py": "import os.path\nimport library",
    "alone.py": "def alone(): pass",
    "errors.py": "class Bad(Exception): pass",
    "sub/__init__.py": "from lib.sub.one import one",
    "sub/one.py": "from .deep import x",
    "sub/two.py": "import lib.scale as s",
    "sub/deep/__init__.py": "from ..two import y",
}
WHOLE = ["__init__", "_tiles", "alone", "errors", "rows", "scale"]
SUB = ["errors", "scale", "sub/__init__", "sub/deep/__init__", "sub/one", "sub/two"]


def lay_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


@pytest.fixture
def lib(tmp_path):
    return lay_out(tmp_path / "lib", PACKAGE)


@pytest.mark.parametrize(
    "statement, reached",
    [
        ("import torch, library", []),
        ("from library.lib import rows", []),
        ("from lib.scale import f", ["errors", "scale"]),
        ("from lib import scale", ["errors", "scale"]),
        ("from . import scale", ["errors", "scale"]),
        ("from .scale import f", ["errors", "scale"]),
        ("import lib.scale as s", ["errors", "scale"]),
        ("import lib.alone", WHOLE),
        ("from lib import sum_of", ["_tiles", "rows"]),
        ("from lib import alone", ["alone"]),
        ("from lib import VERSION", WHOLE),
        ("from lib import *", WHOLE),
        ("import lib as l", WHOLE),
        ("def f():\n    if True:\n        from lib import sum_of", ["_tiles", "rows"]),
        ("from lib.sub.two import y", SUB),
        ("from lib.sub import two", SUB),
        ("import lib.sub.deep as d", SUB),
    ],
)
def test_what_an_import_statement_reaches(lib, statement, reached):
    lay_out(lib, {"asked.py": statement})
    found = reachable_sources("lib.asked", root=lib)
    assert found == sorted(lib / f"{name}.py" for name in [*reached, "asked"])


def test_reach_of_several_modules_is_the_union_whatever_the_order(lib):
    both = reachable_sources("lib.rows", "lib.scale", root=lib)
    assert [path.stem for path in both] == ["_tiles", "errors", "rows", "scale"]
    assert both == reachable_sources("lib.scale", "lib.rows", "lib.scale", root=lib)
    assert reachable_sources("lib", root=lib) == sorted(lib / f"{name}.py" for name in WHOLE)


def test_a_circle_of_imports_ends(lib):
    lay_out(lib, {"a.py": "import lib.b as b", "b.py": "from lib import a"})
    assert [path.stem for path in reachable_sources("lib.a", root=lib)] == ["a", "b"]


@pytest.mark.parametrize("name", ["lib.nothing", "lib.sub.nothing", "other", "library.rows"])
def test_a_module_that_is_not_there_is_named(lib, name):
    with pytest.raises(ModuleNotFoundError, match=name):
        reachable_sources(name, root=lib)


def test_an_import_that_leads_nowhere_is_named(lib):
    lay_out(lib, {"asked.py": "from lib.gone import x"})
    with pytest.raises(ModuleNotFoundError, match="lib.gone"):
        reachable_sources("lib.asked", root=lib)


def test_reach_within_attnlib():
    def reached(*modules):
        return {path.relative_to(HOME).as_posix() for path in reachable_sources(*modules)}

    of_scale = reached("attnlib.scale")
    assert {
        "_angle.py",
        "_newton.py",
        "_validate.py",
        "errors.py",
        "scale.py",
        "theory/sphere.py",
    } <= of_scale
    assert not {"__init__.py", "rows.py", "_rows/engine.py"} & of_scale
    ledger = reached("proofbook.ledger")
    assert {"ledger/claims.py", "derive/strategies.py"} <= ledger
    assert not {"__init__.py", "ledger/record.py", "provenance.py"} & ledger
    assert {"__init__.py", "attention.py", "theory/noise.py"} <= reached("attnlib")


def test_package_sources_are_those_that_checks_run(lib):
    lay_out(
        lib, {"publish/site.py": "", "experiments/corpus.py": "", "sub/publish/kept.py": "", "notes.txt": ""}
    )
    assert package_sources(lib) == sorted(
        lib / name for name in [*PACKAGE, "experiments/corpus.py", "sub/publish/kept.py"]
    )
    names = {path.relative_to(HOME).parts[0] for path in package_sources()}
    assert {"__init__.py", "attention.py", "derive", "ledger", "theory"} <= names
    assert "publish" not in names


def test_digest_follows_every_change_of_a_source(tmp_path):
    root = lay_out(tmp_path / "lib", {"one.py": "a = 1", "sub/two.py": "b = 2"})
    one, two = root / "one.py", root / "sub" / "two.py"
    seen = [source_digest(root)]
    assert source_digest(root) == seen[0] and len(seen[0]) == 64
    two.write_text("b = 3\n")
    seen.append(source_digest(root))
    two.rename(root / "sub" / "three.py")
    seen.append(source_digest(root))
    (root / "empty.py").write_text("")
    seen.append(source_digest(root))
    one.write_text("a = 1")
    seen.append(source_digest(root))
    assert len(set(seen)) == len(seen)
    (root / "notes.txt").write_text("no source")
    assert source_digest(root) == seen[-1]


def test_digest_is_of_the_set_of_files_wherever_it_lies(lib, tmp_path):
    paths = reachable_sources("lib.sub", root=lib)
    elsewhere = lay_out(tmp_path / "elsewhere", PACKAGE)
    moved = [elsewhere / path.relative_to(lib) for path in reversed(paths)]
    assert digest(paths, lib) == digest(moved, elsewhere) != digest(paths[1:], lib)
    assert source_digest() == digest(package_sources(), HOME)


@no_cuda
@pytest.mark.parametrize("name", ["cuda", "cuda:3"])
def test_no_cuda_is_said(name):
    with pytest.raises(NoSuchDevice, match="no CUDA device"):
        device_name(name)


@pytest.mark.parametrize("name", ["mps", "meta", "gpu", "", "cuda:x"])
def test_other_devices_are_refused(name):
    with pytest.raises(NoSuchDevice, match="device must be cpu or cuda"):
        device_name(name)


def test_driver_is_of_cuda_only(monkeypatch):
    asked = []

    def answer(command, **how):
        asked.append(command[0])
        return subprocess.CompletedProcess(command, 0, "570.1\n570.1\n", "")

    monkeypatch.setattr(provenance.subprocess, "run", answer)
    assert driver("cpu") is None and asked == []
    assert driver("cuda:1") == "570.1" and asked == ["nvidia-smi"]


def test_driver_is_unknown_without_the_tool(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert driver("cuda") is None


@needs_git
def test_commit_and_whether_what_was_named_is_modified(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    top = lay_out(tmp_path / "top", {"lib/a.py": "a = 1", "book/one.md": "words"})

    def git(*arguments):
        return subprocess.run(
            ["git", "-C", str(top), "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    assert commit(top, "lib") == (None, None)
    git("init", "-q")
    assert commit(top, "lib") == (None, None)  # nothing committed yet
    git("add", ".")
    git("commit", "-q", "-m", "all")
    head = git("rev-parse", "HEAD")
    (top / "README.md").write_text("words")
    assert commit(top, "lib") == commit(top / "book", ":(top)lib") == (head, False)
    assert commit(top) == (head, True)
    (top / "lib" / "a.py").write_text("a = 2\n")
    assert commit(top, "lib") == commit(top / "book", ":(top)lib") == (head, True)
    assert commit(top, ":(top)book") == (head, False)


def test_environment_is_what_is_valid(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    sources = reachable_sources("attnlib.scale")
    about = environment("cpu", sources, folder=tmp_path, pathspecs=())
    validate_environment(about)
    assert set(about) == provenance.KEYS
    assert about["device"] == "cpu" and about["driver"] is None and about["device_name"] == device_name("cpu")
    assert about["torch"] == torch.__version__ and about["digest"] == digest(sources)
    assert about["commit"] is None and about["modified"] is None
    with pytest.raises(NoSuchDevice):
        environment("mps", sources, folder=tmp_path, pathspecs=())


def good(**changes) -> dict:
    return {
        "device": "cuda:0",
        "device_name": "a card",
        "driver": "570.1",
        "torch": "2.13.0",
        "python": "3.11.7",
        "date": "2025-01-31",
        "commit": "0" * 40,
        "modified": False,
        "digest": "a" * 64,
    } | changes


def test_good_environments_are_valid():
    validate_environment(good())
    validate_environment(good(device="cpu", driver=None, modified=True, seed=0))
    validate_environment(good(commit=None, modified=None))


@pytest.mark.parametrize(
    "field, value",
    [
        ("device", "gpu"),
        ("device", None),
        ("device_name", ""),
        ("device_name", " "),
        ("device_name", None),
        ("driver", ""),
        ("driver", 570),
        ("torch", ""),
        ("torch", None),
        ("python", 3.11),
        ("date", "31.1.2025"),
        ("date", None),
        ("commit", "abc"),
        ("commit", "A" * 40),
        ("digest", "a" * 63),
        ("digest", "A" * 64),
        ("digest", None),
        ("modified", 0),
        ("modified", None),
        ("modified", "no"),
    ],
)
def test_a_bad_field_is_named_with_its_value(field, value):
    with pytest.raises(ValueError, match=f"^{field} must .*got {value!r}$"):
        validate_environment(good(**{field: value}))


def test_a_commit_and_its_state_come_together():
    with pytest.raises(ValueError, match="modified must be null without a commit, got False"):
        validate_environment(good(commit=None))


@pytest.mark.parametrize("field", sorted(provenance.KEYS))
def test_a_missing_field_is_named(field):
    data = good()
    del data[field]
    with pytest.raises(ValueError, match=f"lacks .*{field}"):
        validate_environment(data)
