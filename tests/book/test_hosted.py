"""The first cell of a downloaded notebook, run in an empty folder, brings what chapters import."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from proofbook.publish.address import Address
from proofbook.publish.book import Book
from proofbook.publish.downloads import hosted_cell

ROOT = Path(__file__).parents[2]

IN_A_NOTEBOOK = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
installed = []
shell.register_magic_function(installed.append, magic_name="pip")
assert shell.run_cell(sys.argv[1]).success
import attnlib, experiments.sources, proofbook
found = [attnlib.__file__, experiments.__path__[0], proofbook.__file__, str(experiments.sources.BOOK)]
print(json.dumps([*found, *installed]))
"""


def test_it_brings_what_chapters_import(tmp_path, monkeypatch):
    if not shutil.which("git"):
        pytest.skip("git is not here")
    origin = tmp_path / "origin"
    ignored = shutil.ignore_patterns("_build", ".git", ".venv", "__pycache__")
    shutil.copytree(ROOT, origin, ignore=ignored)
    git = ["git", "-C", str(origin), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *command], check=True)
    monkeypatch.setattr(Book, "address", Address(repository=origin.as_uri()))
    work = tmp_path / "work"
    work.mkdir()
    run = subprocess.run(
        [sys.executable, "-P", "-c", IN_A_NOTEBOOK, hosted_cell(Book(ROOT))],
        capture_output=True,
        text=True,
        cwd=work,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    clone = (work / "the-book").resolve()
    assert all(Path(work / "the-book/book", path).resolve().is_relative_to(clone) for path in found[:4]), (
        found
    )
    assert found[4].split()[-3:] == ["./the-book", "./the-book/proofbook", "./the-book/experiments"]
