"""Assemble the pages and build the website from them."""

import contextlib
import hashlib
import io
import json
import shutil
import sys
import warnings
from pathlib import Path

import attnlib
from proofbook.publish import execute
from proofbook.publish.notebooks import BookError, notebook_paths

RUNS_FILE = "book/_runs.json"
SKIPPED = {".ipynb_checkpoints", "__pycache__"}


def staged_files(root: Path, *, executed: bool) -> dict[str, bytes]:
    """Every file the build reads, by path: the book's own, its notebooks with the outputs to show.

    With `executed` the outputs are those of the last run under ``_build/executed`` and their durations go
    along; without, they are the ones stored in the notebooks.
    """
    files = {
        name: (root / name).read_bytes()
        for name in ("_config.yml", "_toc.yml", "pyproject.toml", "CITATION.cff")
        if (root / name).is_file()
    }
    for path in sorted((root / "book").rglob("*")):
        relative = path.relative_to(root)
        if path.is_file() and not SKIPPED.intersection(relative.parts) and relative.as_posix() != RUNS_FILE:
            files[relative.as_posix()] = path.read_bytes()
    if executed:
        runs = {}
        for path in notebook_paths(root):
            record = execute.run_record(root, path)
            if record is None:
                raise BookError(
                    f"{path} has not been executed; run `python -m proofbook.publish execute` first"
                )
            merged = execute.with_outputs(root, path)
            files[path.as_posix()] = json.dumps(merged, ensure_ascii=False, indent=1).encode()
            runs[path.with_suffix("").as_posix()] = {k: record[k] for k in ("seconds", "date", "versions")}
        files[RUNS_FILE] = json.dumps(runs, indent=1).encode()
    return files


def stage(files: dict[str, bytes], target: Path) -> None:
    """Make `target` hold exactly `files`, touching only what differs, so that Sphinx rereads just that."""
    for path in sorted(target.rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(target).as_posix() not in files:
            path.unlink()
    for name, content in files.items():
        path = target / name
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _digest(files: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
    return digest.hexdigest()


def _frame(files: dict[str, bytes]) -> str:
    """What shapes the pages beside their files: configuration, styles, attnlib and versions.

    The packages, because docstrings are a page and what they do tells current records from stale ones.
    """
    shaping = {
        name: content
        for name, content in files.items()
        if name in ("_config.yml", "pyproject.toml", "CITATION.cff", "book/address.yml")
        or name.startswith("book/_static/")
    }
    package = Path(attnlib.__file__).parent
    for folder in (package, *(package.parent / name for name in ("benchmarks", "experiments"))):
        for path in folder.rglob("*.py"):
            shaping[path.relative_to(package.parent).as_posix()] = path.read_bytes()
    shaping["versions"] = json.dumps(_stack()).encode()
    return _digest(shaping)


def _stack() -> dict[str, str]:
    from importlib.metadata import version

    return {
        name: version(name)
        for name in (
            "jupyter-book",
            "Sphinx",
            "myst-nb",
            "sphinx-book-theme",
            "pydata-sphinx-theme",
            "sphinx-design",
            "sphinx-exercise",
        )
    }


def _sphinx_state(root: Path) -> int | None:
    """When Sphinx last built the ordinary site, by whatever command: `jupyter-book build .` writes it too."""
    environment = root / "_build" / ".doctrees" / "environment.pickle"
    return environment.stat().st_mtime_ns if environment.is_file() else None


def build(root: Path, *, executed: bool = True, strict: bool = False, out=sys.stdout) -> Path:
    """Build the site; return its front page.

    With `strict` it is built from nothing, apart from the ordinary build, and any warning is an error.
    """
    base = root / "_build" / ("strict" if strict else "")
    source, html, state = (
        base / "source",
        base / "_build" / "html" if strict else base / "html",
        base / "site.json",
    )
    files = staged_files(root, executed=executed)
    now = {"pages": _digest(files), "frame": _frame(files)}
    before = json.loads(state.read_text()) if state.is_file() else {}
    front = html / "index.html"
    if not strict and before == {**now, "sphinx": _sphinx_state(root)} and front.is_file():
        print(f"the site is up to date: {front}", file=out)
        return front
    if strict and base.is_dir():
        shutil.rmtree(base)
    elif before.get("frame") != now["frame"]:
        # Sphinx cannot see that its own extension or the theme has changed.
        shutil.rmtree(root / "_build" / ".doctrees", ignore_errors=True)
    state.unlink(missing_ok=True)
    source.mkdir(parents=True, exist_ok=True)
    stage(files, source)
    run_jupyter_book(source, base if strict else root, strict=strict)
    state.write_text(json.dumps({**now, "sphinx": _sphinx_state(root)}))
    print(f"the site is built: {front}", file=out)
    return front


def run_jupyter_book(source: Path, output: Path, *, strict: bool = False) -> None:
    """``jupyter-book build``, in this process; raises `BookError` when it fails."""
    import click
    from jupyter_book.cli.main import main
    from sphinx.util.console import nocolor

    if not sys.stderr.isatty():
        nocolor()
    arguments = ["build", str(source), "--path-output", str(output), "-q"]
    if strict:
        arguments += ["-W", "--keep-going", "-n"]
    try:
        with warnings.catch_warnings():
            # A Sphinx extension looks at every object in memory and touches a deprecated name of torch.
            warnings.filterwarnings("ignore", message=".*torch.distributed.reduce_op", category=FutureWarning)
            with contextlib.redirect_stdout(io.StringIO()):  # its banners; what goes wrong is on stderr
                status = main(arguments, standalone_mode=False)
    except (click.ClickException, RuntimeError, SystemExit) as error:
        raise BookError(f"the site was not built: {error}") from error
    if status:
        raise BookError(f"the site was not built: jupyter-book returned {status}")
