"""Runs without Jupyter: what is recorded, what is refused, and what the command says."""

import copy
import json
import os
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch

import proofbook
from proofbook.ledger import device, schema
from proofbook.ledger.record import PresentCode, main, record, validate
from proofbook.ledger.settings import Settings

PROJECT = Path(proofbook.__file__).parents[1]
no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="shows what a machine without CUDA says")

GOOD = [
    "import torch\nfrom proofbook.ledger import *\nscores = torch.ones(3, device=device())",
    "claim('U1', 'holds', measured('error', scores - 1, below=1e-14), between('slope', 0.25, 0.2, 0.3))",
    "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()",
    "found = counterexample('case', stated=1, found=2, apart=0.5)\n"
    "claim('8823-C2', 'false', found, attacked('b', [1.0, 2.0, 3.0]))",
]


def write_notebook(path: Path, cells: list[str]) -> Path:
    content = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {},
        "cells": [{"cell_type": "markdown", "id": "m", "metadata": {}, "source": ["# not code\n", "1/0"]}]
        + [
            {
                "cell_type": "code",
                "id": f"c{k}",
                "metadata": {},
                "outputs": [],
                "execution_count": None,
                "source": code.splitlines(keepends=True),
            }
            for k, code in enumerate(cells)
        ],
    }
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def book(tmp_path):
    folder = tmp_path / "book"
    (folder / "claims").mkdir(parents=True)
    (folder / "claims" / "one.toml").write_text(
        'chapter = "one"\n[claims]\nU1 = "One."\n8823-C2 = "Two."\n'
        '[verdicts]\nU1 = "holds"\n8823-C2 = "false"\n'
    )
    (folder / "proofbook.toml").write_text('[record]\npackages = ["lib"]\nhooks = "experiments.hooks"\n')
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "__init__.py").write_text("from lib.a import a\n")
    (tmp_path / "lib" / "a.py").write_text("def a():\n    return 1\n")
    write_notebook(folder / "one.ipynb", GOOD)
    return folder


def run_command(*arguments, cwd):
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "proofbook.ledger", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_record_holds_what_the_cells_measured(book):
    before = dict(os.environ), Path.cwd()
    said = []
    data = record([book / "one.ipynb"], "cpu", seed=3, progress=said.append)
    assert (dict(os.environ), Path.cwd()) == before
    validate(data)
    made_with = data["environment"]
    assert made_with["device"] == "cpu" and made_with["driver"] is None and data["seed"] == 3
    assert made_with["device_name"] and made_with["versions"]["torch"] == torch.__version__
    (chapter,) = data["chapters"]
    assert chapter["digest"] == PresentCode(book).chapter("one")
    assert chapter["chapter"] == "one" and chapter["claims"] == ["U1", "8823-C2"]
    assert [(c["check"], c["value"], c["claim"]) for c in chapter["checks"]] == [
        ("error", 0.0, "U1"),
        ("slope", 0.25, "U1"),
        ("case", 1.0, "8823-C2"),
        ("b", 1.0, "8823-C2"),
    ]
    assert len(said) == 1 and said[0].startswith("one: 2 claims, 4 checks")
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_a_chapter_whose_packages_are_missing_is_left_out(book):
    write_notebook(book / "two.ipynb", [*GOOD, "import a_package_nobody_has"])
    said = []
    data = record([book / "two.ipynb", book / "one.ipynb"], "cpu", progress=said.append)
    assert [chapter["chapter"] for chapter in data["chapters"]] == ["one"]
    assert len(data["chapters"][0]["checks"]) == len(
        record([book / "one.ipynb"], "cpu")["chapters"][0]["checks"]
    )
    assert said[0] == "two: left out, No module named 'a_package_nobody_has'"


def test_record_runs_on_the_device_named(book, monkeypatch):
    monkeypatch.setenv("PROOFBOOK_DEVICE", "meta")
    write_notebook(book / "one.ipynb", ["from proofbook.ledger import *\nassert device() == 'cpu'"])
    record([book / "one.ipynb"], "cpu", progress=str)
    assert device() == "meta" and torch.zeros(3, device=device()).is_meta


def test_a_chapter_is_stale_when_its_code_or_what_it_reaches_has_changed(book, monkeypatch):
    """And not when words, layout or what it does not reach have."""
    monkeypatch.syspath_prepend(book.parent)
    reaching = [*GOOD, "# words\nimport lib as l\nl.a()"]
    write_notebook(book / "two.ipynb", reaching)
    data = record([book / "one.ipynb", book / "two.ipynb"], "cpu", progress=str)
    for name in ("lib", "lib.a"):
        monkeypatch.delitem(sys.modules, name)

    def stale():
        code = PresentCode(book)
        return [one["chapter"] for one in data["chapters"] if one["digest"] != code.chapter(one["chapter"])]

    assert stale() == []
    (book.parent / "lib" / "unreached.py").write_text("x = 1\n")
    (book.parent / "lib" / "a.py").write_text('def a():\n    """One."""\n    return (1)  # one\n')
    write_notebook(book / "two.ipynb", [*GOOD, "# other words\nimport lib as l\n\nl.a( )"])
    assert stale() == []
    (book.parent / "lib" / "a.py").write_text("def a():\n    return 2\n")
    assert stale() == ["two"]
    (book.parent / "lib" / "a.py").unlink()
    assert PresentCode(book).module("lib.a") is None and PresentCode(book).module("lib") is None
    (book.parent / "lib" / "a.py").write_text("def a():\n    return 1\n")
    assert stale() == [] and len(PresentCode(book).module("lib.a")) == 64
    write_notebook(book / "one.ipynb", [*GOOD, "x = 1"])
    (book / "two.ipynb").unlink()
    assert stale() == ["one", "two"]


def test_what_changes_while_it_runs_is_not_what_was_recorded(book):
    edit = (
        "import json\nwith open('one.ipynb') as file:\n    own = json.load(file)\n"
        "own['cells'][1]['source'] = ['x = 1']\n"
        "with open('one.ipynb', 'w') as file:\n    json.dump(own, file)"
    )
    write_notebook(book / "one.ipynb", [*GOOD, edit])
    before = PresentCode(book).chapter("one")
    (chapter,) = record([book / "one.ipynb"], "cpu", progress=str)["chapters"]
    assert chapter["digest"] == before != PresentCode(book).chapter("one")


def test_a_book_that_names_no_hooks_runs_with_python_alone(book):
    write_notebook(
        book / "one.ipynb",
        [
            "import random\nfrom proofbook.ledger import *",
            "drawn = between('draw', 1 + random.random(), 1, 2)\n"
            "claim('U1', 'holds', drawn, measured('error', [0.0, 0], below=1e-14))",
        ],
    )
    drawn = [
        record([book / "one.ipynb"], "cpu", settings=Settings(), seed=seed, progress=str)
        for seed in (0, 0, 1)
    ]
    values = [data["chapters"][0]["checks"][0]["value"] for data in drawn]
    assert values[0] == values[1] != values[2]
    assert list(drawn[0]["environment"]["versions"]) == ["python"]


def test_seed_is_set_for_each_chapter(book):
    seen = "import torch\nfrom proofbook.ledger import *\nbetween('draw', 1 + torch.rand(()), 1, 2)"
    one, two = write_notebook(book / "one.ipynb", [seen]), write_notebook(book / "two.ipynb", [seen])

    def draws(seed):
        return [
            c["checks"][0]["value"] for c in record([one, two], "cpu", seed=seed, progress=str)["chapters"]
        ]

    assert draws(0) == draws(0) and len(set(draws(0))) == 1 and draws(0) != draws(1)


def test_failing_cell_is_raised_with_its_place_and_line(book):
    write_notebook(book / "one.ipynb", [*GOOD, "found = 3\nmeasured('too large', found, below=1)"])
    before = Path.cwd()
    with pytest.raises(AssertionError, match="too large: 3 is not below 1") as caught:
        record([book / "one.ipynb"], "cpu", progress=str)
    place = [entry for entry in caught.traceback if "one.ipynb" in str(entry.frame.code.raw.co_filename)]
    assert place[-1].frame.code.raw.co_filename == "one.ipynb, code cell 5" and place[-1].lineno == 1
    assert Path.cwd() == before
    # what a failed run measured is not counted to the next one
    write_notebook(book / "one.ipynb", GOOD[:2])
    assert len(record([book / "one.ipynb"], "cpu", progress=str)["chapters"][0]["checks"]) == 2


@no_cuda
def test_command_without_cuda_is_one_line_and_status_3(book):
    done = run_command("record", "--device", "cuda", cwd=book.parent)
    assert done.returncode == 3 and done.stdout == ""
    assert done.stderr == "no CUDA device is available to torch on this machine: nothing was recorded\n"
    assert not (book / "recorded").exists()


def test_command_records(book):
    done = run_command("record", "--seed", "7", cwd=book.parent)
    assert done.returncode == 0, done.stderr
    data = json.loads((book / "recorded" / "cpu.json").read_text())
    validate(data)
    assert data["seed"] == 7 and sorted(path.name for path in (book / "recorded").iterdir()) == [
        "SHA256SUMS",
        "cpu.json",
    ]
    assert "recorded 4 checks" in done.stdout.splitlines()[-1]


def test_a_machine_without_jsonschema_records_and_says_so(book, monkeypatch, capsys):
    def missing(*_):
        raise ModuleNotFoundError("No module named 'jsonschema'")

    with monkeypatch.context() as patch:
        patch.setattr(schema, "check", missing)
        assert main(Namespace(book=str(book), device="cpu", out=None, seed=0)) == 0
    assert "not checked here: No module named 'jsonschema'" in capsys.readouterr().out
    validate(json.loads((book / "recorded" / "cpu.json").read_text()))


def test_command_with_a_failing_check_records_nothing(book):
    old = book / "recorded" / "cpu.json"
    old.parent.mkdir()
    old.write_text("as it was")
    write_notebook(book / "one.ipynb", ["limit = 1", "if True:\n    raise ArithmeticError(f'limit {limit}')"])
    done = run_command("record", cwd=book.parent)
    assert done.returncode == 1 and old.read_text() == "as it was"
    assert (
        "one.ipynb, code cell 2" in done.stderr and "raise ArithmeticError(f'limit {limit}')" in done.stderr
    )
    assert done.stderr.endswith("a check failed: nothing was recorded\n")


def test_a_record_that_cannot_be_kept_is_one_line_before_the_run(book):
    (book / "recorded").write_text("a file, where a folder must be")
    write_notebook(book / "one.ipynb", ["open('ran', 'w').close()"])
    done = run_command("record", cwd=book.parent)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {book / 'recorded'}: ") and done.stderr.count("\n") == 1
    assert done.stderr.endswith(": nothing was recorded\n")
    assert not (book.parent / "ran").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_an_interrupted_command_is_one_line(book):
    write_notebook(book / "one.ipynb", ["import os, signal", "os.kill(os.getpid(), signal.SIGINT)"])
    done = run_command("record", cwd=book.parent)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "\ninterrupted: nothing was recorded\n"
    assert not (book / "recorded").exists()


def test_command_without_notebooks_or_with_a_bad_device(tmp_path):
    done = run_command("record", "--book", "nowhere", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "no notebooks in nowhere\n")
    write_notebook(tmp_path / "a.ipynb", [])
    done = run_command("record", "--book", ".", "--device", "abacus", cwd=tmp_path)
    assert done.returncode == 3 and done.stderr.count("\n") == 1 and "abacus" in done.stderr
    for text, says in (('hooks = "no_hooks"', "got 'no_hooks'"), ("hook = 1", "unknown keys ['hook']")):
        (tmp_path / "proofbook.toml").write_text(f"[record]\n{text}\n")
        done = run_command("record", "--book", ".", cwd=tmp_path)
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and says in done.stderr
        assert done.stderr.endswith(": nothing was recorded\n")
    assert run_command(cwd=tmp_path).returncode == 2


def good_record() -> dict:
    return {
        "schema": 2,
        "environment": {
            "device": "cpu",
            "device_name": "a CPU",
            "driver": None,
            "versions": {"python": "3.11.7"},
            "date": "2025-01-31",
            "commit": "0" * 40,
            "modified": False,
        },
        "seed": 0,
        "chapters": [
            {
                "chapter": "one",
                "digest": "a" * 64,
                "seconds": 1.5,
                "claims": ["U1"],
                "checks": [
                    {"check": "error", "value": 1e-9, "below": 1e-8, "claim": "U1"},
                    {"check": "slope", "value": 0.25, "low": 0.2, "high": 0.3},
                    {"check": "case", "value": 1.0, "above": 0.5},
                    {"check": "bound", "value": 0.0, "trials": 10},
                ],
            }
        ],
    }


def test_good_record_is_valid():
    validate(good_record())
    unknown = {**good_record()["environment"], "commit": None, "modified": None}
    validate({**good_record(), "environment": unknown, "chapters": []})


@pytest.mark.parametrize(
    "place, value",
    [
        (("schema",), 1),
        (("seed",), "0"),
        (("environment", "date"), "31.1.2025"),
        (("environment", "commit"), None),
        (("environment", "extra"), "1"),
        (("chapters",), {}),
        (("chapters", 0, "digest"), "a" * 63),
        (("chapters", 0, "digest"), "A" * 64),
        (("chapters", 0, "digest"), None),
        (("chapters", 0, "seconds"), -1),
        (("chapters", 0, "claims"), [3]),
        (("extra",), 1),
        (("chapters", 0, "extra"), 1),
        (("chapters", 0, "checks", 0, "extra"), 1),
        (("chapters", 0, "checks", 0, "value"), 1e-8),
        (("chapters", 0, "checks", 0, "value"), float("nan")),
        (("chapters", 0, "checks", 0, "value"), "small"),
        (("chapters", 0, "checks", 0, "value"), None),
        (("chapters", 0, "checks", 0, "below"), float("nan")),
        (("chapters", 0, "checks", 1, "value"), True),
        (("chapters", 0, "checks", 1, "value"), 0.31),
        (("chapters", 0, "checks", 1, "value"), 0.19),
        (("chapters", 0, "checks", 2, "value"), 0.5),
        (("chapters", 0, "checks", 3, "value"), float("inf")),
    ],
)
def test_broken_record_is_refused(place, value):
    data = good_record()
    entry = data
    for key in place[:-1]:
        entry = entry[key]
    entry[place[-1]] = value
    with pytest.raises(ValueError):
        validate(data)


@pytest.mark.parametrize(
    "path",
    [
        *((key,) for key in sorted(good_record())),
        ("environment", "commit"),
        ("chapters", 0, "digest"),
        ("chapters", 0, "claims"),
        ("chapters", 0, "checks", 0, "check"),
        ("chapters", 0, "checks", 0, "value"),
        ("chapters", 0, "checks", 1, "low"),
        ("chapters", 0, "checks", 1, "high"),
    ],
)
def test_record_with_something_missing_is_refused(path):
    data = copy.deepcopy(good_record())
    entry = data
    for key in path[:-1]:
        entry = entry[key]
    del entry[path[-1]]
    with pytest.raises(ValueError, match=f"lacks .*{path[-1]}"):
        validate(data)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_commit_and_whether_it_was_modified(book, monkeypatch):
    top = book.parent
    for name in [name for name in sys.modules if name.split(".")[0] == "lib"]:
        monkeypatch.delitem(sys.modules, name)  # another test's, which Python would take for this one's

    def git(*arguments):
        return subprocess.run(
            ["git", "-C", str(top), "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    def recorded():
        data = record([book / "one.ipynb"], "cpu", progress=str)
        return data["environment"]["commit"], data["environment"]["modified"]

    write_notebook(book / "one.ipynb", [*GOOD, "from lib import a"])
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "all")
    head = git("rev-parse", "HEAD")
    assert recorded() == (head, False)
    (book / "recorded").mkdir()
    (book / "recorded" / "cpu.json").write_text("{}")
    (top / "README.md").write_text("words")
    (top / "lib" / "unreached.py").write_text("a = 2\n")
    assert recorded() == (head, False)  # neither a record nor the words around change what ran
    (top / "lib" / "a.py").write_text("def a():\n    return 2\n")
    assert recorded() == (head, True)


def test_outside_git_there_is_no_commit(book, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(book.parents[1]))
    data = record([book / "one.ipynb"], "cpu", progress=str)
    assert data["environment"]["commit"] is None and data["environment"]["modified"] is None
