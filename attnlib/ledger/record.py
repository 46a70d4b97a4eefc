"""Run the chapters' own checks on a device, without Jupyter, and record what was measured with its provenance."""

from __future__ import annotations

import contextlib
import hashlib
import json
import linecache
import math
import os
import platform
import re
import subprocess
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path

import torch

import attnlib
from attnlib.ledger import run

SCHEMA = 1
KEYS = {"schema", "device", "device_name", "driver", "torch", "python", "dtype", "seed", "date", "commit", "modified",
        "digest", "chapters"}


class NoSuchDevice(Exception):
    """The device asked for is not on this machine."""


def source_digest(root: Path | None = None) -> str:
    """A digest of attnlib's sources, so that a record can be told from one made with other code.

    The site's own tooling in ``publish/`` is left out: no check runs it.
    """
    root = root or Path(attnlib.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] == "publish":
            continue
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def code_cells(notebook: Path) -> list[str]:
    """The code of a notebook, cell by cell."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]


def record(notebooks: list[Path], device: str, *, seed: int = 0, progress=print) -> dict:
    """Run every code cell of ``notebooks`` on ``device``; the record, or the first failure as it was raised."""
    name = device_name(device)
    chapters = []
    for path in notebooks:
        started = time.perf_counter()
        torch.manual_seed(seed)
        run.collect()
        with _environment(ATTNLIB_DEVICE=device, MPLBACKEND="agg"):
            _execute(path)
        notes, claims = run.collect()
        seconds = time.perf_counter() - started
        chapters.append({"chapter": path.stem, "seconds": round(seconds, 2), "claims": claims, "checks": notes})
        progress(f"{path.stem}: {len(claims)} claims, {len(notes)} checks, {seconds:.1f} s")
    commit, modified = _commit(notebooks[0].parent)
    return {"schema": SCHEMA, "device": device, "device_name": name, "driver": _driver(device),
            "torch": torch.__version__, "python": platform.python_version(), "dtype": "float64", "seed": seed,
            "date": datetime.now(UTC).strftime("%Y-%m-%d"), "commit": commit, "modified": modified,
            "digest": source_digest(), "chapters": chapters}


def validate(data: dict) -> None:
    """Raise ``ValueError`` if a record does not have the form that ``record`` writes, or holds a failed check."""
    _keys("the record", data, KEYS)
    if data["schema"] != SCHEMA:
        raise ValueError(f"schema must be {SCHEMA}, got {data['schema']}")
    if not re.fullmatch("[0-9a-f]{64}", str(data["digest"])):
        raise ValueError(f"digest must be a sha256 in hexadecimal, got {data['digest']!r}")
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", str(data["date"])):
        raise ValueError(f"date must be year-month-day, got {data['date']!r}")
    if data["commit"] is not None and not re.fullmatch("[0-9a-f]{40}", str(data["commit"])):
        raise ValueError(f"commit must be a full one or null, got {data['commit']!r}")
    for chapter in data["chapters"]:
        _keys("a chapter", chapter, {"chapter", "seconds", "claims", "checks"})
        for check in chapter["checks"]:
            _keys(f"a check of {chapter['chapter']}", check, {"check", "value"},
                  {"below", "above", "low", "high", "trials", "claim"})
            if problem := _failure(check):
                raise ValueError(f"{chapter['chapter']}: {check['check']} is {check['value']}, {problem}")


def _keys(what: str, entry: dict, required: set[str], allowed: set[str] = frozenset()) -> None:
    if missing := required - set(entry):
        raise ValueError(f"{what} lacks {sorted(missing)}")
    if unknown := set(entry) - required - allowed:
        raise ValueError(f"{what} has unknown keys {sorted(unknown)}")


def _failure(check: dict) -> str | None:
    """What is wrong with a recorded number; None where it kept the bounds recorded with it."""
    value = check["value"]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return "not a finite number"
    if "below" in check and not value < check["below"]:
        return f"not below {check['below']}"
    if "above" in check and not value > check["above"]:
        return f"not above {check['above']}"
    if "low" in check and not check["low"] <= value <= check["high"]:
        return f"not in [{check['low']}, {check['high']}]"
    return None


def device_name(device: str) -> str:
    """The device in words; raises ``NoSuchDevice`` where there is none."""
    try:
        wanted = torch.device(device)
    except RuntimeError:
        wanted = None
    if wanted is None or wanted.type not in ("cpu", "cuda"):
        raise NoSuchDevice(f"device must be cpu or cuda, got {device!r}: nothing was recorded")
    if wanted.type == "cpu":
        return _processor()
    if not torch.cuda.is_available():
        raise NoSuchDevice("no CUDA device is available to torch on this machine: nothing was recorded")
    if (wanted.index or 0) >= torch.cuda.device_count():
        raise NoSuchDevice(f"torch sees {torch.cuda.device_count()} CUDA devices, not {device!r}: nothing was recorded")
    return torch.cuda.get_device_name(wanted)


@contextlib.contextmanager
def _environment(**variables: str):
    """Set environment variables for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _execute(path: Path) -> None:
    namespace = {"__name__": "__main__"}
    cells = code_cells(path)  # before leaving the folder that a relative path is relative to
    folder = Path.cwd()
    os.chdir(path.parent)
    try:
        for number, code in enumerate(cells, start=1):
            name = f"{path.name}, code cell {number}"
            linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)  # for the traceback
            exec(compile(code, name, "exec"), namespace)
    finally:
        os.chdir(folder)
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close("all")


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _driver(device: str) -> str | None:
    if torch.device(device).type != "cuda":
        return None
    try:
        answer = subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
                                capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip().splitlines()[0]


def _commit(folder: Path) -> tuple[str | None, bool | None]:
    """The commit of the working tree and whether it was modified; None where git cannot tell."""
    def git(*args):
        return subprocess.run(["git", "-C", str(folder), *args], capture_output=True, text=True, check=True).stdout

    try:
        changed = git("status", "--porcelain", "--", ":(top)attnlib", ":(top)book", ":(top,exclude)book/recorded")
        return git("rev-parse", "HEAD").strip(), bool(changed.strip())
    except (OSError, subprocess.CalledProcessError):
        return None, None


def main(arguments) -> int:
    """The command ``python -m attnlib.ledger record``; the exit status."""
    book = Path(arguments.book)
    notebooks = sorted(book.glob("*.ipynb"))
    if not notebooks:
        print(f"no notebooks in {book}", file=sys.stderr)
        return 2
    try:
        data = record(notebooks, arguments.device, seed=arguments.seed)
    except NoSuchDevice as error:
        print(error, file=sys.stderr)
        return 3
    except Exception:
        traceback.print_exc()
        print("a check failed: nothing was recorded", file=sys.stderr)
        return 1
    validate(data)
    out = Path(arguments.out or book / "recorded") / f"{torch.device(arguments.device).type}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_suffix(".tmp")
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(out)
    print(f"recorded {sum(len(c['checks']) for c in data['chapters'])} checks on {data['device_name']} in {out}")
    return 0
