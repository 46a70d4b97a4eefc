"""Run the book's notebooks for real, several at a time, and keep what they print.

A notebook runs again when anything its outputs depend on has changed: its code cells, attnlib, the recorded
data it may read, or the versions it runs under. Everything else, prose above all, is merged without a run.
"""

import asyncio
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import attnlib
from proofbook.publish.notebooks import BookError, load, notebook_paths

VERSIONED = ("torch", "sympy", "numpy", "scipy", "mpmath", "matplotlib")
SINGLE_THREADED = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
}
CELL_TIMEOUT = 900
# What a notebook may read under book/, beside the statements of its own claims.
DATA_FOLDERS = ("recorded", "data")


def versions() -> dict[str, str]:
    """What the outputs are computed with, read from the installed metadata, importing none of it."""
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def sources_digest(package: Path | None = None) -> str:
    """SHA-256 over attnlib's sources, the book tooling left out: it shapes pages, not results."""
    package = package or Path(attnlib.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        relative = path.relative_to(package).as_posix()
        if not relative.startswith("publish/"):
            digest.update(relative.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def notebook_key(root: Path, path: Path, package: Path | None = None) -> str:
    """The SHA-256 of everything the outputs of one notebook depend on."""
    notebook = load(root / path)
    code = [
        [cell["source"], sorted(cell.get("metadata", {}).get("tags", []))]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]
    files = [
        file
        for folder in DATA_FOLDERS
        for file in sorted((root / "book" / folder).rglob("*"))
        if file.is_file()
    ]
    files += (root / "book" / "claims").glob(f"{path.stem}.toml")
    data = {
        file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }
    payload = [code, data, versions(), sources_digest(package)]
    return hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()


@dataclass
class Outcome:
    """What became of one notebook: skipped, or run in `seconds`; `error` is its report if it failed."""

    path: Path
    skipped: bool = False
    seconds: float = 0.0
    error: str | None = None


def executed_path(root: Path, path: Path) -> Path:
    """Where the executed copy of a notebook is kept."""
    return root / "_build" / "executed" / path


def run_record(root: Path, path: Path) -> dict | None:
    """Key, versions and duration of the last successful run of a notebook, or None."""
    file = executed_path(root, path).with_suffix(".run.json")
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def is_current(root: Path, path: Path) -> bool:
    """Whether the kept execution of `path` still answers to its sources."""
    record = run_record(root, path)
    return bool(record) and executed_path(root, path).is_file() and record["key"] == notebook_key(root, path)


def execute(
    root: Path, *, jobs: int | None = None, force: bool = False, only: list[str] | None = None, out=sys.stdout
) -> list[Outcome]:
    """Execute what is out of date, `jobs` notebooks at a time (default: one a core).

    All notebooks are tried, whatever fails; a failed one leaves nothing that could be taken for a result.
    `only` keeps the notebooks whose file name contains one of its words.
    """
    wanted = notebook_paths(root)
    if only:
        unknown = [word for word in only if not any(word in path.name for path in wanted)]
        if unknown:
            raise BookError(f"no notebook in _toc.yml matches {unknown}")
        wanted = [path for path in wanted if any(word in path.name for word in only)]
    todo = [path for path in wanted if force or not is_current(root, path)]
    outcomes = [Outcome(path, skipped=True) for path in wanted if path not in todo]
    if todo:
        # the longest first, so that none is left to run alone at the end; code cells tell what is to come
        todo.sort(key=lambda path: -sum(cell["cell_type"] == "code" for cell in load(root / path)["cells"]))
        jobs = min(jobs or os.cpu_count() or 1, len(todo))
        print(f"executing {len(todo)} of {len(wanted)} notebooks, {jobs} at a time", file=out, flush=True)
        progress = _Progress(len(todo), out)
        with ThreadPoolExecutor(jobs) as pool:
            outcomes += pool.map(lambda path: _execute_one(root, path, progress), todo)
        progress.clear()
        for outcome in outcomes:
            if outcome.error:
                print(f"\n{outcome.error}", file=out, flush=True)
    elif wanted:
        print(f"all {len(wanted)} notebooks are up to date", file=out, flush=True)
    return outcomes


def _execute_one(root: Path, path: Path, progress) -> Outcome:
    # Jupyter is imported here so that an up-to-date book never waits for it.
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    key = notebook_key(root, path)
    target = executed_path(root, path)
    record = target.with_suffix(".run.json")
    record.unlink(missing_ok=True)
    notebook = nbformat.read(root / path, as_version=4)
    code_cells = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    current = {"cell": 0}

    def on_cell_start(cell, cell_index, **_):
        current["cell"] = cell_index
        progress.update(path, sum(i <= cell_index for i in code_cells), len(code_cells))

    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],  # a kernel warns that it talks TCP to localhost
        resources={"metadata": {"path": str((root / path).parent)}},
        on_cell_start=on_cell_start,
        record_timing=False,
    )
    # The kernel must import the very attnlib whose sources are in the key.
    library = str(Path(attnlib.__file__).parents[1])
    search_path = os.pathsep.join(filter(None, [library, os.environ.get("PYTHONPATH")]))
    start = time.perf_counter()
    try:
        # an event loop of its own, closed when done: `client.execute` would leave one open in every thread
        asyncio.run(client.async_execute(env={**os.environ, **SINGLE_THREADED, "PYTHONPATH": search_path}))
    except (CellExecutionError, CellTimeoutError, DeadKernelError, RuntimeError) as error:
        seconds = time.perf_counter() - start
        progress.finish(path, seconds, failed=True)
        return Outcome(path, seconds=seconds, error=_failure(path, notebook, current["cell"], error))
    seconds = time.perf_counter() - start
    normalize(notebook)
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)
    record.write_text(
        json.dumps(
            {
                "key": key,
                "seconds": round(seconds, 2),
                "versions": versions(),
                "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            },
            indent=1,
        )
    )
    progress.finish(path, seconds)
    return Outcome(path, seconds=seconds)


_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def _failure(path: Path, notebook, index: int, error: Exception) -> str:
    traceback = getattr(error, "traceback", None) or f"{type(error).__name__}: {error}"
    if not sys.stdout.isatty():
        traceback = _ANSI.sub("", traceback)
    label = notebook.cells[index].get("id", index)
    source = "\n".join(f"    {line}" for line in notebook.cells[index].source.splitlines())
    return f"FAILED {path}, cell {index} (id {label}):\n\n{source}\n\n{traceback}"


class _Progress:
    """One line a notebook when it ends; between, on a terminal, a line that tells which cell each is in."""

    def __init__(self, total: int, out):
        self.total, self.out, self.done = total, out, 0
        self.running: dict[Path, tuple[int, int]] = {}
        self.lock = threading.Lock()
        self.live = out.isatty()

    def update(self, path, cell, cells):
        with self.lock:
            if path not in self.running and not self.live:
                print(f"  {path} ({cells} code cells) ...", file=self.out, flush=True)
            self.running[path] = (cell, cells)
            self._draw()

    def finish(self, path, seconds, failed=False):
        with self.lock:
            self.running.pop(path, None)
            self.done += 1
            self.clear()
            mark = "FAILED after" if failed else "done in"
            print(f"  [{self.done}/{self.total}] {path} {mark} {seconds:.1f} s", file=self.out, flush=True)
            self._draw()

    def clear(self):
        if self.live:
            print("\r\x1b[K", end="", file=self.out, flush=True)

    def _draw(self):
        if self.live and self.running:
            state = ", ".join(f"{path.stem} {cell}/{cells}" for path, (cell, cells) in self.running.items())
            print(f"\r\x1b[K  running: {state}"[:110], end="", file=self.out, flush=True)


CELL_NOISE = (
    "execution",
    "ExecuteTime",
    "papermill",
    "vscode",
    "scrolled",
    "collapsed",
    "jupyter",
    "trusted",
    "jp-MarkdownHeadingCollapsed",
)


def normalize(notebook) -> None:
    """Strip, in place, what differs between two equal runs: timing, editor state, split streams, ids."""
    notebook.metadata = type(notebook.metadata)(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {
                "file_extension": ".py",
                "mimetype": "text/x-python",
                "name": "python",
                "pygments_lexer": "ipython3",
            },
        }
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    taken: set[str] = set()
    for cell in notebook.cells:
        for noise in CELL_NOISE:
            cell.metadata.pop(noise, None)
        identity = cell.get("id")
        if not identity or identity in taken:
            identity = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
            while identity in taken:
                identity = hashlib.sha256(identity.encode()).hexdigest()[:8]
            cell.id = identity
        taken.add(identity)
        if cell.cell_type == "code":
            cell.outputs = _merged_streams(cell.outputs)


def _merged_streams(outputs: list) -> list:
    merged: list = []
    for output in outputs:
        last = merged[-1] if merged else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            merged.append(output)
    return merged


def with_outputs(root: Path, path: Path) -> dict:
    """The notebook as it stands now, its prose and metadata included, with the outputs of its last run."""
    source, executed = load(root / path), load(executed_path(root, path))
    ran = iter(cell for cell in executed["cells"] if cell["cell_type"] == "code")
    for cell in source["cells"]:
        if cell["cell_type"] == "code":
            twin = next(ran)
            cell["outputs"], cell["execution_count"] = twin["outputs"], twin["execution_count"]
    return source


def store_outputs(root: Path, path: Path) -> bool:
    """Write the last run's outputs into the notebook itself; say whether that changed the file."""
    import nbformat

    notebook = nbformat.from_dict(with_outputs(root, path))
    normalize(notebook)
    text = nbformat.writes(notebook) + "\n"
    if (root / path).read_text(encoding="utf-8") == text:
        return False
    (root / path).write_text(text, encoding="utf-8")
    return True
