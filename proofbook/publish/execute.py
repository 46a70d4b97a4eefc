"""Run the book's notebooks for real, several at a time, and keep what they print.

A notebook runs again when anything its outputs depend on has changed: its code cells, the sources of the
book's packages and of proofbook, the data it may read, or the versions it runs under. Everything else, prose
above all, is merged without a run.
"""

import asyncio
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import site
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

import proofbook
from proofbook.files import write_whole
from proofbook.publish import runs
from proofbook.publish.book import Book
from proofbook.publish.notebooks import BookError, Notebook, code_of, jupyter_format, load, parse

SINGLE_THREADED = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
}
FEWER_COLLECTIONS = "__import__('gc').set_threshold(700, 10, 1000)"
"""What a kernel begins with: else its collector often looks through all that was imported, in vain."""
CELL_TIMEOUT = 900
ATTEMPTS = 3
"""How often a notebook is run that changes under its own run."""
STOP_WITHIN = 1.5
"""Seconds that an interrupted run has to end its kernels."""
SHAPES_PAGES_ONLY = "publish"
"""The part of proofbook that shapes pages, not outputs."""


def versions(names: Iterable[str]) -> dict[str, str]:
    """What outputs are computed with, read from the installed metadata of `names`, importing none of them."""
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def package_folders(book: Book) -> dict[str, Path]:
    """The folder of each package whose sources make the book's outputs: those it names, and proofbook.

    Raises:
        BookError: a package that the settings name is not to be found.
    """
    folders = {"proofbook": Path(proofbook.__file__).parent}
    for name in book.settings.packages:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None and spec.submodule_search_locations:
            folders[name] = Path(spec.origin).parent
        elif (book.root / name / "__init__.py").is_file():
            folders[name] = book.root / name
        else:
            raise BookError(f"book/proofbook.toml names the package {name!r}, which is not to be found")
    return folders


def sources_digest(folders: Mapping[str, Path]) -> str:
    """SHA-256 over the sources of packages, by name; of proofbook, only over what shapes results."""
    digest = hashlib.sha256()
    for name, folder in sorted(folders.items()):
        for path in sorted(folder.rglob("*.py")):
            relative = path.relative_to(folder)
            if name != "proofbook" or relative.parts[0] != SHAPES_PAGES_ONLY:
                digest.update(f"{name}/{relative.as_posix()}".encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


class Inputs:
    """What the outputs of a book's notebooks depend on, beside the notebooks themselves, as it is now.

    Args:
        book: The book.
        packages: The folders of the packages that its notebooks run; those of `package_folders` by default.
    """

    def __init__(self, book: Book, packages: Mapping[str, Path] | None = None):
        self.book = book
        self.packages = package_folders(book) if packages is None else packages

    @cached_property
    def versions(self) -> dict[str, str]:
        """The versions of what the notebooks run with."""
        return versions(self.book.settings.outputs.versions)

    @cached_property
    def _shared(self) -> list[Any]:
        return [self._digests(self.book.data_files), self.versions, sources_digest(self.packages)]

    def _digests(self, files: Iterable[Path]) -> dict[str, str]:
        root = self.book.root
        return {
            file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
        }

    def key(self, path: Path, notebook: Notebook) -> str:
        """The SHA-256 of everything the outputs of the notebook at `path` depend on."""
        code = [[c["source"], sorted(c.get("metadata", {}).get("tags", []))] for c in code_of(notebook)]
        own = self._digests((self.book.folder / "claims").glob(f"{path.stem}.toml"))
        payload = [code, own, *self._shared]
        return hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()


def notebook_key(root: Path, path: Path, packages: Mapping[str, Path] | None = None) -> str:
    """The key of a notebook as it and what it depends on are on disk now."""
    return Inputs(Book(root), packages).key(path, load(root / path))


@dataclass
class Outcome:
    """What became of one notebook: skipped, or run in `seconds`; `error` is its report if it failed."""

    path: Path
    skipped: bool = False
    seconds: float = 0.0
    error: str | None = None


def is_current(root: Path, path: Path, inputs: Inputs | None = None) -> bool:
    """Whether the kept execution of `path` still answers to its sources."""
    record = runs.run_record(root, path)
    if record is None:
        return False
    inputs = inputs or Inputs(Book(root))
    return bool(record["key"] == inputs.key(path, load(root / path)))


def execute(
    root: Path,
    *,
    jobs: int | None = None,
    force: bool = False,
    only: list[str] | None = None,
    out: TextIO = sys.stdout,
) -> list[Outcome]:
    """Execute what is out of date; all notebooks are tried, whatever fails.

    A failed notebook leaves nothing that could be taken for a result. One that changes while it runs, or
    whose data do, is run again.

    Args:
        root: The top of the book's repository.
        jobs: How many notebooks at a time (default: one a core).
        force: Run those that are up to date too.
        only: Keep the notebooks whose file name contains one of these words.
        out: Where to say what goes on.

    Returns:
        What became of each notebook.

    Raises:
        BookError: a file of the book is not as it must be, or `only` names no notebook.
        OSError: an output cannot be kept.
    """
    inputs = Inputs(Book(root))
    wanted = _chosen(inputs.book.notebook_paths, only)
    todo = [path for path in wanted if force or not is_current(root, path, inputs)]
    outcomes = {path: Outcome(path, skipped=True) for path in wanted}
    if wanted and not todo:
        print(f"all {len(wanted)} notebooks are up to date", file=out, flush=True)
    attempts = 0
    while todo:
        attempts += 1
        # the longest first, so that none is left to run alone at the end; code cells tell what is to come
        todo.sort(key=lambda path: -len(code_of(load(root / path))))
        at_once = min(jobs or os.cpu_count() or 1, len(todo))
        print(f"executing {len(todo)} of {len(wanted)} notebooks, {at_once} at a time", file=out, flush=True)
        progress = _Progress(len(todo), out)
        started = {path: (root / path).read_bytes() for path in todo}
        before = {path: inputs.key(path, parse(content, root / path)) for path, content in started.items()}
        for outcome in _Run(inputs, before, progress).all(started, at_once):
            outcomes[outcome.path] = outcome
        progress.clear()
        inputs = Inputs(Book(root))
        changed = [path for path in todo if inputs.key(path, load(root / path)) != before[path]]
        for path in changed:
            again = attempts < ATTEMPTS
            words = "running it again" if again else f"that was its run number {attempts}: leave it alone"
            print(f"{path}, or what it reads, changed while it ran; {words}", file=out, flush=True)
            if not again:
                outcomes[path].error = f"FAILED {path}: it changed during every run"
        todo = changed if attempts < ATTEMPTS else []
    for outcome in outcomes.values():
        if outcome.error:
            print(f"\n{outcome.error}", file=out, flush=True)
    return sorted(outcomes.values(), key=lambda outcome: not outcome.skipped)


def _chosen(paths: list[Path], only: list[str] | None) -> list[Path]:
    """The notebooks whose file name contains one of the words; all without any."""
    if not only:
        return list(paths)
    unknown = [word for word in only if not any(word in path.name for path in paths)]
    if unknown:
        raise BookError(f"no notebook in _toc.yml matches {unknown}")
    return [path for path in paths if any(word in path.name for word in only)]


class _Run:
    """One run of several notebooks, whose kernels are gone when it ends, in whatever way.

    It runs in a thread of its own, so that the thread that asked for it can be interrupted at any time.
    """

    def __init__(self, inputs: Inputs, keys: Mapping[Path, str], progress: "_Progress"):
        self.inputs = inputs
        self.keys = keys
        self.progress = progress
        self.outcomes: list[Outcome] = []
        self.error: BaseException | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.task: asyncio.Task[list[Outcome]] | None = None
        self.clients: list[Any] = []
        self.stopped = False
        self.ended = threading.Event()

    def all(self, contents: Mapping[Path, bytes], at_once: int) -> list[Outcome]:
        """Run every notebook, `at_once` at a time."""
        threading.Thread(target=self._thread, args=(contents, at_once), daemon=True).start()
        try:
            # without an end, Windows would not let it be interrupted
            while not self.ended.wait(0.2):
                pass
        except BaseException:
            self.stopped = True
            if self.loop is not None:
                self.loop.call_soon_threadsafe(self._stop)
            # not the thread's own join: once interrupted, Python up to 3.12 takes a running thread for ended
            self.ended.wait(STOP_WITHIN)
            raise
        if self.error is not None:
            raise self.error
        return self.outcomes

    def _stop(self) -> None:
        for client in self.clients:
            client.shutdown_kernel = "immediate"  # asked politely, a kernel ends only when its cell does
        if self.task is not None:
            self.task.cancel()

    def _thread(self, contents: Mapping[Path, bytes], at_once: int) -> None:
        try:
            self.outcomes = asyncio.run(self._everything(contents, at_once))
        except BaseException as error:
            self.error = error
        finally:
            self.ended.set()

    async def _everything(self, contents: Mapping[Path, bytes], at_once: int) -> list[Outcome]:
        self.loop, self.task = asyncio.get_running_loop(), asyncio.current_task()
        turns = asyncio.Semaphore(at_once)

        async def in_turn(path: Path, content: bytes) -> Outcome:
            async with turns:
                return await self._one(path, content)

        tasks = [asyncio.ensure_future(in_turn(path, content)) for path, content in contents.items()]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, path: Path, content: bytes) -> Outcome:
        # Jupyter is imported here so that an up-to-date book never waits for it.
        from jupyter_core.utils import ensure_async
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

        root = self.inputs.book.root
        runs.forget(root, path)
        nbformat = jupyter_format()
        notebook = nbformat.reads(content.decode("utf-8"), as_version=4)
        code_cells = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
        current = {"cell": 0}

        def on_cell_start(cell: Any, cell_index: int, **_: Any) -> None:
            current["cell"] = cell_index
            self.progress.update(path, sum(i <= cell_index for i in code_cells), len(code_cells))

        client = NotebookClient(
            notebook,
            timeout=CELL_TIMEOUT,
            kernel_name="python3",
            # a kernel warns that it talks TCP to localhost
            extra_arguments=["--log-level=ERROR", f"--IPKernelApp.exec_lines={FEWER_COLLECTIONS}"],
            resources={"metadata": {"path": str((root / path).parent)}},
            on_cell_start=on_cell_start,
            record_timing=False,
        )
        self.clients.append(client)
        kernel = client.create_kernel_manager()
        start = time.perf_counter()
        try:
            # the kernel manager is ours, to end the kernel even where nbclient is stopped before it would
            # what a kernel writes on its own error stream is of itself, such as that it was interrupted
            await client.async_execute(env=self._environment(), cleanup_kc=True, stderr=subprocess.DEVNULL)
        except (CellExecutionError, CellTimeoutError, DeadKernelError, RuntimeError) as error:
            if self.stopped:
                raise asyncio.CancelledError from None
            seconds = time.perf_counter() - start
            self.progress.finish(path, seconds, failed=True)
            return Outcome(path, seconds=seconds, error=_failure(path, notebook, current["cell"], error))
        finally:
            if kernel.has_kernel:
                await ensure_async(kernel.shutdown_kernel(now=True))
        seconds = time.perf_counter() - start
        normalize(notebook)
        executed = nbformat.writes(notebook).encode("utf-8")
        key, versions = self.keys[path], self.inputs.versions
        runs.keep(root, path, executed, key=key, seconds=seconds, versions=versions)
        self.progress.finish(path, seconds)
        return Outcome(path, seconds=seconds)

    def _environment(self) -> dict[str, str]:
        """The variables of a kernel, which must import the very packages whose sources are in the key."""
        found_anyway = {Path(folder) for folder in [*site.getsitepackages(), site.getusersitepackages()]}
        parents = {folder.parent: None for folder in self.inputs.packages.values()}
        search_path = [str(parent) for parent in parents if parent not in found_anyway]
        search_path += filter(None, [os.environ.get("PYTHONPATH")])
        return {**os.environ, **SINGLE_THREADED, "PYTHONPATH": os.pathsep.join(search_path)}


_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def _failure(path: Path, notebook: Any, index: int, error: Exception) -> str:
    traceback = getattr(error, "traceback", None) or f"{type(error).__name__}: {error}"
    if not sys.stdout.isatty():
        traceback = _ANSI.sub("", traceback)
    label = notebook.cells[index].get("id", index)
    source = "\n".join(f"    {line}" for line in notebook.cells[index].source.splitlines())
    return f"FAILED {path}, cell {index} (id {label}):\n\n{source}\n\n{traceback}"


class _Progress:
    """One line a notebook when it ends; between, on a terminal, a line that tells which cell each is in."""

    def __init__(self, total: int, out: TextIO):
        self.total, self.out, self.done = total, out, 0
        self.running: dict[Path, tuple[int, int]] = {}
        self.lock = threading.Lock()
        self.live = out.isatty()

    def update(self, path: Path, cell: int, cells: int) -> None:
        with self.lock:
            if path not in self.running and not self.live:
                print(f"  {path} ({cells} code cells) ...", file=self.out, flush=True)
            self.running[path] = (cell, cells)
            self._draw()

    def finish(self, path: Path, seconds: float, failed: bool = False) -> None:
        with self.lock:
            self.running.pop(path, None)
            self.done += 1
            self.clear()
            mark = "FAILED after" if failed else "done in"
            print(f"  [{self.done}/{self.total}] {path} {mark} {seconds:.1f} s", file=self.out, flush=True)
            self._draw()

    def clear(self) -> None:
        if self.live:
            print("\r\x1b[K", end="", file=self.out, flush=True)

    def _draw(self) -> None:
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


def normalize(notebook: Any) -> None:
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


def _merged_streams(outputs: list[Any]) -> list[Any]:
    merged: list[Any] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            merged.append(output)
    return merged


def store_outputs(root: Path, path: Path) -> bool:
    """Write the last run's outputs into the notebook itself; say whether that changed the file.

    Raises:
        BookError: the notebook was not executed, or has changed since.
        OSError: it cannot be written.
    """
    nbformat = jupyter_format()
    notebook = nbformat.from_dict(runs.with_outputs(root, path))
    normalize(notebook)
    content = (nbformat.writes(notebook) + "\n").encode("utf-8")
    if (root / path).read_bytes() == content:
        return False
    write_whole(root / path, content)
    return True
