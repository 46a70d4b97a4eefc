"""What could be published is complete, and holds nothing that is not its own."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[1]
FOLDERS = {"attnlib": ".", "proofbook": "proofbook"}
NOT_PACKAGED = {"pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"}


def run(*arguments: str, cwd: Path) -> str:
    """The output of a command of this Python that sees no checkout; what it said, if it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """The folder with the sdists and wheels, made once for all workers, from a copy without leftovers."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    out, source = shared / "dist", shared / "source"
    with FileLock(shared / "dist.lock"):
        if not (out / "done").exists():
            skipped = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
            for folder in ("attnlib", "proofbook", "experiments", "benchmarks", "tests"):
                shutil.copytree(ROOT / folder, source / folder, ignore=skipped, dirs_exist_ok=True)
            shutil.rmtree(source / "tests" / "book")
            for path in filter(Path.is_file, ROOT.iterdir()):
                shutil.copy(path, source)
            for folder in FOLDERS.values():
                run("-m", "build", "--no-isolation", "--outdir", str(out), folder, cwd=source)
            (out / "done").touch()
    return out


def in_wheel(built: Path, name: str) -> set[str]:
    (wheel,) = built.glob(f"{name}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {entry for entry in archive.namelist() if ".dist-info/" not in entry}


def test_both_pass_the_registrys_own_check(built):
    run("-m", "twine", "check", "--strict", *map(str, built.glob("*-*")), cwd=built)
    assert len(list(built.glob("*-*"))) == 4


@pytest.mark.parametrize("name", FOLDERS)
def test_a_wheel_holds_its_package_whole_and_nothing_else(built, name):
    source = [path.relative_to(ROOT) for path in (ROOT / name).rglob("*") if path.is_file()]
    expected = {
        path.as_posix()
        for path in source
        if not (path.parent == Path(name) and path.name in NOT_PACKAGED)
        and path.suffix != ".pyc"
        and not any(part == "build" or part.endswith(".egg-info") for part in path.parts)
    }
    assert f"{name}/py.typed" in expected
    assert in_wheel(built, name) == expected


def test_attnlib_asks_for_torch_alone(built):
    (wheel,) = built.glob("attnlib-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (entry for entry in archive.namelist() if entry.endswith(".dist-info/METADATA"))
        lines = archive.read(metadata).decode("utf-8").splitlines()
    required = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist")]
    assert [line.split(">")[0] for line in required] == ["torch"]


def test_attnlibs_tests_run_from_its_unpacked_sdist(built, tmp_path):
    """All are collected there, and need nothing but what was unpacked; CI runs all, this a few."""
    (sdist,) = built.glob("attnlib-*.tar.gz")
    with tarfile.open(sdist) as archive:
        # Python 3.11.2, Debian 12's, knows no such filter
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
        archive.extractall(tmp_path)
    (unpacked,) = tmp_path.iterdir()
    assert {"CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md"} <= {p.name for p in unpacked.iterdir()}
    shared = {"attnlib", "conftest.py", "public_functions.py", "row_cases.py"}
    assert {path.name for path in (unpacked / "tests").iterdir()} == shared
    wanted, carried = (
        {path.relative_to(top) for path in (top / "tests/attnlib").rglob("*.py")} for top in (ROOT, unpacked)
    )
    assert carried == wanted
    (unpacked / "tests/attnlib/test_which.py").write_text(
        "import attnlib\n\n\ndef test_which():\n"
        f"    assert attnlib.__file__ == {str(unpacked / 'attnlib/__init__.py')!r}\n"
    )
    few = "test_freezing or test_sparsity or test_which"
    said = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", few, "tests", cwd=unpacked)
    assert "passed" in said and "skipped" not in said
