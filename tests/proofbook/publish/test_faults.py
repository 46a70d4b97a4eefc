"""What goes wrong while a book is made: sources that change, torn files, a full disk, Ctrl-C, two at once."""

import contextlib
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from proofbook.__main__ import main
from proofbook.files import alone, read_json
from proofbook.publish import commands, execute, runs, site
from proofbook.publish.book import Book
from proofbook.publish.notebooks import BookError

ROOT = Path(__file__).parents[3]
ONE = Path("book/one.ipynb")


def write(path: Path, *sources: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [new_markdown_cell("# A page"), *map(new_code_cell, sources)]
    path.write_text(nbformat.writes(new_notebook(cells=cells)), encoding="utf-8")


@pytest.fixture
def root(tmp_path):
    """A book of one notebook that needs no package."""
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/one\n")
    write(tmp_path / ONE, "1 + 1")
    return tmp_path


def proofbook(root: Path, *arguments: str, **options) -> subprocess.Popen:
    """The command, as a process of its own, which nobody measures: a full disk is full for coverage, too."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    environment["PYTHONPATH"] = str(ROOT)
    # Bytecode that a full disk tears would stay in the environment, for every test after this one.
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    command = [sys.executable, "-m", "proofbook", "--root", str(root), *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options
    )


def shown(root: Path) -> list[tuple[str, str]]:
    """The code of the notebook and what stands below it."""
    cells = runs.with_outputs(root, ONE)["cells"]
    return [(c["source"], c["outputs"][0]["data"]["text/plain"]) for c in cells if c["cell_type"] == "code"]


# Sources that change while they run


def edits_itself(root: Path, *after: str) -> str:
    """A cell that once, while it runs, does what an author at the editor would: it saves another notebook."""
    write(root / "after.ipynb", *after)
    return (
        "import pathlib\n"
        "edited = pathlib.Path('../after.ipynb')\n"
        "if edited.exists():\n"
        "    edited.replace('one.ipynb')\n"
        "1 + 1"
    )


@pytest.mark.parametrize("after", [("2 + 2",), ("1 + 1", "3 + 3")], ids=["another cell", "one more cell"])
def test_a_notebook_that_is_edited_while_it_runs_is_run_again(root, after):
    write(root / ONE, edits_itself(root, *after))
    said = io.StringIO()
    (outcome,) = execute.execute(root, out=said)
    assert outcome.error is None
    assert "book/one.ipynb, or what it reads, changed while it ran; running it again" in said.getvalue()
    assert shown(root) == [(source, str(eval(source))) for source in after]
    assert execute.is_current(root, ONE)


def test_a_notebook_whose_data_change_while_it_runs_is_run_again(root):
    data = root / "book/data/number.txt"
    data.parent.mkdir()
    data.write_text("1")
    write(
        root / ONE,
        "import pathlib\ndata = pathlib.Path('data/number.txt')\nseen = data.read_text()\n"
        "data.write_text('2')\nseen",
    )
    execute.execute(root, out=io.StringIO())
    assert shown(root)[0][1] == "'2'"


def test_a_notebook_that_never_stays_as_it_is_fails(root):
    write(
        root / ONE,
        "import pathlib, json\npath = pathlib.Path('one.ipynb')\nnotebook = json.loads(path.read_text())\n"
        "notebook['cells'][1]['source'] += '\\n# once more'\npath.write_text(json.dumps(notebook))",
    )
    said = io.StringIO()
    (outcome,) = execute.execute(root, out=said)
    assert outcome.error == "FAILED book/one.ipynb: it changed during every run"
    assert said.getvalue().count("changed while it ran") == execute.ATTEMPTS


def test_outputs_are_never_shown_with_a_source_they_do_not_belong_to(root, capsys):
    execute.execute(root, out=io.StringIO())
    for cells in (["1 + 2"], ["1 + 1", "2 + 2"], []):
        write(root / ONE, *cells)
        with pytest.raises(runs.SourceChanged, match="book/one.ipynb has changed since it was executed"):
            Book(root, executed=True).notebooks
    assert main(["--root", str(root), "lint", "--executed"]) == 1
    assert "has changed since it was executed; execute it again" in capsys.readouterr().out


def test_what_is_checked_of_a_book_is_what_is_built_of_it(root):
    book = Book(root)
    assert book.notebooks[ONE]["cells"][1]["source"] == "1 + 1"
    write(root / ONE, "2 + 2")
    assert book.notebooks[ONE]["cells"][1]["source"] == "1 + 1"


def test_a_book_that_changes_between_its_run_and_its_pages_is_begun_again(root, monkeypatch, capsys):
    built = []
    edits = iter([lambda: write(root / ONE, "2 + 2"), lambda: None])
    run = execute.execute

    def edited_after_its_run(*arguments, **options):
        outcomes = run(*arguments, **options)
        next(edits)()
        return outcomes

    monkeypatch.setattr(commands.executing, "execute", edited_after_its_run)
    monkeypatch.setattr(commands.linting, "complaints", lambda book: [])
    monkeypatch.setattr(commands.site, "build", lambda root, book: built.append(book.notebooks[ONE]))
    assert commands.book(root=root, jobs=None) == 0
    assert "book/one.ipynb changed meanwhile; once more" in capsys.readouterr().out
    assert built[0]["cells"][1]["outputs"][0]["data"]["text/plain"] == "4"


# Files that were torn


@pytest.mark.parametrize("left", [0, 0.5], ids=["empty", "half"])
@pytest.mark.parametrize("name", ["one.ipynb", "one.run.json"])
def test_a_torn_file_of_a_run_counts_as_not_there(root, name, left):
    execute.execute(root, out=io.StringIO())
    file = runs.executed_path(root, ONE).with_name(name)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * left)])
    assert runs.run_record(root, ONE) is None and not execute.is_current(root, ONE)
    (outcome,) = execute.execute(root, out=io.StringIO())
    assert not outcome.skipped and shown(root) == [("1 + 1", "2")]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[1,"])
def test_what_cannot_be_read_is_not_there(tmp_path, content):
    (tmp_path / "file.json").write_bytes(content)
    assert read_json(tmp_path / "file.json") is None
    assert read_json(tmp_path / "none.json") is None
    assert read_json(tmp_path / "file.json" / "below.json") is None


# What an author's disk may hold


def notebook(**changes) -> bytes:
    return json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5} | changes).encode()


CELL = {"cell_type": "code", "metadata": {}, "source": "1", "outputs": [], "execution_count": None}
BAD = {
    "not UTF-8": ('{"cells": "é"}'.encode("latin-1"), "is not a notebook: it is not UTF-8"),
    "empty": (b"", "is not a notebook: Expecting value"),
    "a list": (b"[]", "it holds no mapping"),
    "of format 3": (notebook(nbformat=3, worksheets=[]), "nbformat is 3"),
    "without cells": (notebook(), "it has no cells"),
    "without a list of cells": (notebook(cells=None), "it has no cells"),
    "a cell without a source": (
        notebook(cells=[{"cell_type": "code"}]),
        "cell 0 has no cell_type or no source",
    ),
    "a source of numbers": (notebook(cells=[CELL | {"source": 3}]), "the source of cell 0 is no text"),
    "outputs of another form": (notebook(cells=[CELL | {"outputs": {}}]), "have another form"),
}


@pytest.mark.parametrize("content, complaint", BAD.values(), ids=BAD)
@pytest.mark.parametrize("command", ["execute", "lint", "build"])
def test_a_file_that_is_no_notebook_is_named_in_one_line(root, capsys, command, content, complaint):
    (root / ONE).write_bytes(content)
    options = ["--stored"] if command == "build" else []
    assert main(["--root", str(root), command, *options]) == 1
    said = capsys.readouterr()
    line = (said.out if command == "lint" else said.err).splitlines()[0]
    assert f"{root / ONE} " in line and complaint in line
    assert len((said.err + said.out).splitlines()) == (2 if command == "lint" else 1)


@pytest.mark.parametrize(
    "name, content",
    [
        ("_toc.yml", b"a: ["),
        ("_toc.yml", b"\xff"),
        ("book/proofbook.toml", b"["),
        ("book/claims/a.toml", b""),
    ],
)
def test_another_file_of_the_book_that_cannot_be_read_is_named(root, capsys, name, content):
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_bytes(content)
    assert main(["--root", str(root), "lint"]) == 1
    assert str(root / name) in capsys.readouterr().out.splitlines()[-2]


@pytest.mark.parametrize(
    "name, content",
    [
        ("_config.yml", b"\xff"),
        ("_config.yml", b"title: ["),
        ("_config.yml", b""),
        ("CITATION.cff", b"\xff"),
        ("CITATION.cff", b"title: ["),
        ("book/address.yml", b"site: ["),
        ("book/references.bib", b"\xff"),
        ("book/page.md", b"\xff"),
    ],
)
def test_a_file_that_sphinx_would_read_is_named_before_it_does(root, name, content):
    (root / name).write_bytes(content)
    with pytest.raises(BookError) as caught:
        site.staged_files(Book(root))
    assert str(caught.value).startswith(f"{root / name} ") and "\n" not in str(caught.value)


def test_where_nothing_can_be_written_one_line_says_so(root, capsys):
    (root / "_build").write_text("a file, where a folder must be")
    assert main(["--root", str(root), "execute"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {root / '_build'}")


def test_a_full_disk_is_one_line_that_names_the_file(root):
    write(root / ONE, "print('x' * 100_000)")

    def full():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    out, error = (process := proofbook(root, "execute", preexec_fn=full)).communicate()
    assert process.returncode == 1
    assert error == f"error: {runs.executed_path(root, ONE)}: File too large\n"
    assert runs.run_record(root, ONE) is None
    assert [path.name for path in (root / "_build/executed/book").iterdir()] == []


def test_a_disk_that_is_full_while_the_site_is_built_is_named(root):
    (root / "_config.yml").write_text("title: A book\nexecute:\n  execute_notebooks: 'off'\n")

    def full():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    process = proofbook(root, "build", "--stored", preexec_fn=full)
    out, error = process.communicate()
    assert process.returncode == 1
    assert error.splitlines()[-1] == f"error: {root / '_build'}: File too large"


# Two at once, and none any more


def test_a_second_run_waits_for_the_first_and_says_so(root):
    with alone(root / "_build/lock"):
        second = proofbook(root, "execute")
        line = second.stderr.readline()
        assert line == f"another run is at work in {root / '_build'}; waiting until it is done\n"
        assert second.poll() is None
    out, error = second.communicate(timeout=120)
    assert (second.returncode, error) == (0, "") and "done in" in out


def test_a_lock_goes_with_its_process(root):
    lock = root / "_build/lock"
    code = (
        "import os, pathlib, signal\n"
        "from proofbook.files import alone\n"
        f"alone(pathlib.Path({str(lock)!r})).__enter__()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT)
    said = io.StringIO()
    with alone(lock, out=said):
        assert lock.is_file() and said.getvalue() == ""


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.is_file() and state.read_text().rpartition(")")[2].split()[0] == "Z")


@pytest.mark.parametrize(
    "number, status, body",
    [
        (signal.SIGINT, 130, "time.sleep(600)"),
        (signal.SIGINT, 130, "while True: pass"),
        (signal.SIGINT, 130, "sum(range(10**11))"),
        (signal.SIGTERM, 143, "time.sleep(600)"),
    ],
    ids=["Ctrl-C", "Ctrl-C, a busy cell", "Ctrl-C, a cell that hears nothing", "a polite kill"],
)
def test_an_interrupted_run_ends_at_once_with_its_kernels_and_one_line(root, number, status, body):
    write(root / ONE, f"import os, time\nopen('pid', 'w').write(str(os.getpid()))\n{body}")
    process = proofbook(root, "execute")
    pid = wait_for(lambda: (root / "book/pid").is_file() and (root / "book/pid").read_text())
    start = time.monotonic()
    process.send_signal(number)
    out, error = process.communicate(timeout=60)
    assert time.monotonic() - start < 2 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert process.returncode == status
    assert error.splitlines() == [
        "",
        "interrupted: what was running has been stopped, what was finished is kept",
    ]
    wait_for(lambda: not is_running(int(pid)), seconds=5)
    assert runs.run_record(root, ONE) is None


SLOW = """
import os, pathlib, time
from proofbook import __main__ as command
from proofbook.publish import checking

def one(label):
    pathlib.Path("pid").write_text(str(os.getpid()))
    time.sleep(600)

def main():
    checking._one = one
    command.end(command.main(["check", "--jobs", "2"]))
"""


def running_in(group: int) -> list[int]:
    """The processes of a group, as far as the system tells."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of = stat.read_text().rpartition(")")[2].split()[:3]
            if int(of) == group and state != "Z":
                found.append(int(stat.parent.name))
    return found


def test_an_interrupted_check_ends_at_once_with_its_processes_and_one_line(root):
    fixture = ROOT / "tests/book/fixtures/mini"
    shutil.copytree(fixture / "book", root / "book", dirs_exist_ok=True)
    shutil.copy(ROOT / "book/proofbook.toml", root / "book")
    (root / "_toc.yml").write_text("format: jb-book\nroot: book/8823-attention-scale\n")
    (root / "slow.py").write_text(SLOW)
    process = subprocess.Popen(
        [sys.executable, "-c", "import slow; slow.main()"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(ROOT)])},
        start_new_session=True,
    )
    wait_for(lambda: (root / "pid").is_file() and (root / "pid").read_text())
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # a terminal tells all of them
    out, error = process.communicate(timeout=60)
    assert time.monotonic() - start < 2 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert (process.returncode, out) == (130, "")
    assert error.splitlines() == [
        "",
        "interrupted: what was running has been stopped, what was finished is kept",
    ]
    wait_for(lambda: not running_in(process.pid), seconds=5)
