"""Executing: what runs again and what does not, what a failure says, what is stored."""

import io
import json
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from proofbook.publish import execute, runs
from proofbook.publish.book import Book
from proofbook.publish.notebooks import BookError


def write_notebook(path: Path, *sources: str, prose: str = "# A page") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=[new_markdown_cell(prose), *map(new_code_cell, sources)]), path)


@pytest.fixture
def root(tmp_path):
    """A book of two notebooks that need no torch."""
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/one\nchapters:\n- file: book/two\n")
    write_notebook(tmp_path / "book/one.ipynb", "print('one')", "1 + 1")
    write_notebook(tmp_path / "book/two.ipynb", "import os\nos.environ['OMP_NUM_THREADS'], os.getcwd()[-4:]")
    return tmp_path


@pytest.fixture
def packages(tmp_path):
    """Stand-ins for the sources of a library and of proofbook."""
    folders = {name: tmp_path / name for name in ("library", "proofbook")}
    for name in ("library/rows.py", "library/publish/all.py", "proofbook/display.py"):
        rewrite(tmp_path / name, "x = 1\n")
    rewrite(tmp_path / "proofbook/publish/site.py", "x = 1\n")
    return folders


ONE, TWO = Path("book/one.ipynb"), Path("book/two.ipynb")


def rewrite(file: Path, text: str = "x = 2\n"):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize(
    "change, stale",
    [
        (lambda root, lib: None, False),
        (lambda root, lib: write_notebook(root / ONE, "print('one')", "1 + 1", prose="# Other words"), False),
        (lambda root, lib: write_notebook(root / ONE, "print('one')", "1 + 2"), True),
        (lambda root, lib: write_notebook(root / ONE, "1 + 1", "print('one')"), True),
        (lambda root, lib: write_notebook(root / TWO, "2"), False),
        (lambda root, lib: rewrite(lib / "rows.py"), True),
        (lambda root, lib: rewrite(root / "proofbook/display.py"), True),
        (lambda root, lib: rewrite(lib / "new.py"), True),
        (lambda root, lib: (lib / "rows.py").rename(lib / "columns.py"), True),
        (lambda root, lib: rewrite(root / "proofbook/publish/site.py"), False),
        (lambda root, lib: rewrite(lib / "publish/all.py"), True),
        (lambda root, lib: rewrite(root / "book/claims/one.toml", "chapter = 'one'"), True),
        (lambda root, lib: rewrite(root / "book/claims/two.toml", "chapter = 'two'"), False),
        (lambda root, lib: rewrite(root / "book/recorded/cpu.json", "{}"), True),
        (lambda root, lib: rewrite(root / "book/data/table.csv", "1,2"), True),
    ],
    ids=[
        "nothing",
        "prose",
        "code",
        "order",
        "other notebook",
        "library",
        "derive",
        "new module",
        "renamed module",
        "book tooling",
        "a library's own folder of that name",
        "own claims",
        "other claims",
        "recorded run",
        "data",
    ],
)
def test_what_makes_a_notebook_stale(root, packages, change, stale):
    before = execute.notebook_key(root, ONE, packages)
    change(root, packages["library"])
    assert (execute.notebook_key(root, ONE, packages) != before) == stale


def test_a_new_version_of_a_library_makes_every_notebook_stale(root, packages, monkeypatch):
    before = execute.notebook_key(root, ONE, packages)
    monkeypatch.setattr(execute, "versions", lambda names: {name: "9.9" for name in names})
    assert execute.notebook_key(root, ONE, packages) != before


def test_notebooks_run_once_and_then_only_when_they_change(root):
    first = execute.execute(root, out=io.StringIO())
    assert [(o.path, o.skipped, o.error) for o in first] == [(ONE, False, None), (TWO, False, None)]
    merged = runs.with_outputs(root, TWO)
    assert merged["cells"][1]["outputs"][0]["data"]["text/plain"] == "('1', 'book')"

    said = io.StringIO()
    assert all(o.skipped for o in execute.execute(root, out=said))
    assert said.getvalue() == "all 2 notebooks are up to date\n"

    write_notebook(root / TWO, "import os\nos.environ['PYTHONHASHSEED']")
    assert [o.path for o in execute.execute(root, out=io.StringIO()) if not o.skipped] == [TWO]

    # the file on disk keeps its prose and gets the outputs, once
    write_notebook(root / ONE, "print('one')", "1 + 1", prose="# Other words")
    assert all(o.skipped for o in execute.execute(root, out=io.StringIO()))
    assert execute.store_outputs(root, ONE) and not execute.store_outputs(root, ONE)
    stored = json.loads((root / ONE).read_text())
    assert "".join(stored["cells"][0]["source"]) == "# Other words"
    assert [cell.get("execution_count") for cell in stored["cells"]] == [None, 1, 2]
    assert stored["cells"][1]["outputs"][0]["text"] == ["one\n"]


def test_a_failure_names_notebook_cell_and_traceback_and_the_others_still_run(root):
    write_notebook(root / ONE, "x = 3", "assert x == 4, f'{x} is not four'")
    said = io.StringIO()
    one, two = execute.execute(root, out=said)
    assert two.error is None
    assert "book/one.ipynb, cell 2" in one.error
    assert "    assert x == 4" in one.error and "AssertionError: 3 is not four" in one.error
    assert one.error in said.getvalue()
    assert not execute.is_current(root, ONE)
    with pytest.raises(BookError, match="one.ipynb has not been executed"):
        from proofbook.publish.site import staged_files

        (root / "_config.yml").write_text("")
        staged_files(Book(root, executed=True))


def test_a_failed_run_does_not_leave_the_result_of_an_earlier_one(root):
    execute.execute(root, only=["one"], out=io.StringIO())
    assert execute.is_current(root, ONE)
    runs.executed_path(root, ONE).with_suffix(".run.json").write_text('{"key": "of something else"}')
    assert runs.run_record(root, ONE) is None
    write_notebook(root / ONE, "raise RuntimeError('no')")
    execute.execute(root, only=["one"], out=io.StringIO())
    assert runs.run_record(root, ONE) is None


def test_naming_a_notebook_that_is_not_there_is_an_error(root):
    with pytest.raises(BookError, match=r"no notebook in _toc.yml matches \['three'\]"):
        execute.execute(root, only=["three"])


def test_normalizing_strips_what_differs_between_equal_runs():
    def notebook(noise):
        cell = new_code_cell("print(1)", metadata={"tags": ["hide-input"], **noise})
        cell.id = "same"
        cell.outputs = [
            nbformat.v4.new_output("stream", text=text) for text in (["a"] if noise else ["a", "b"])
        ]
        if noise:
            cell.outputs[0].text = "ab"
        metadata = (
            {"kernelspec": {"name": "my-env", "display_name": "mine", "language": "python"}} if noise else {}
        )
        return new_notebook(cells=[cell], metadata=metadata)

    one = notebook(
        {"execution": {"iopub.status.busy": "2026-01-01"}, "collapsed": True, "papermill": {"duration": 1}}
    )
    two = notebook({})
    execute.normalize(one)
    execute.normalize(two)
    assert nbformat.writes(one) == nbformat.writes(two)
    assert one.cells[0].metadata.tags == ["hide-input"]


def test_missing_and_repeated_cell_ids_become_unique_and_stay():
    cells = [new_code_cell("1"), new_code_cell("1"), new_code_cell("2")]
    for cell in cells[:2]:
        cell.id = "twin"
    notebook = new_notebook()
    notebook.cells = cells
    del cells[2]["id"]
    execute.normalize(notebook)
    ids = [cell.id for cell in notebook.cells]
    assert ids[0] == "twin" and len(set(ids)) == 3
    execute.normalize(notebook)
    assert [cell.id for cell in notebook.cells] == ids
