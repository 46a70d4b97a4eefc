"""Run the chapters' own checks on a device, without Jupyter, and record what was measured with its provenance."""

from __future__ import annotations

import hashlib
import json
import os
import platform
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
    """A digest of attnlib's sources, so that a record can be told from one made with other code."""
    root = root or Path(attnlib.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
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
    os.environ["ATTNLIB_DEVICE"] = device
    os.environ.setdefault("MPLBACKEND", "agg")
    chapters = []
    for path in notebooks:
        started = time.perf_counter()
        torch.manual_seed(seed)
        run.collect()
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
    """Raise if a record does not have the form that ``record`` writes."""
    if missing := KEYS - set(data):
        raise ValueError(f"the record lacks {sorted(missing)}")
    if unknown := set(data) - KEYS:
        raise ValueError(f"the record has unknown keys {sorted(unknown)}")
    if data["schema"] != SCHEMA:
        raise ValueError(f"schema must be {SCHEMA}, got {data['schema']}")
    if len(data["digest"]) != 64 or set(data["digest"]) - set("0123456789abcdef"):
        raise ValueError(f"digest must be a sha256 in hexadecimal, got {data['digest']!r}")
    for chapter in data["chapters"]:
        for check in chapter["checks"]:
            value, low, high = check["value"], check.get("low"), check.get("high")
            if "below" in check and not value < check["below"]:
                raise ValueError(f"{chapter['chapter']}: {check['check']} is {value}, not below {check['below']}")
            if low is not None and not low <= value <= high:
                raise ValueError(f"{chapter['chapter']}: {check['check']} is {value}, not in [{low}, {high}]")


def device_name(device: str) -> str:
    """The device in words; raises ``NoSuchDevice`` where there is none."""
    if torch.device(device).type == "cuda":
        if not torch.cuda.is_available():
            raise NoSuchDevice("no CUDA device is available to torch on this machine: nothing was recorded")
        return torch.cuda.get_device_name(device)
    if torch.device(device).type != "cpu":
        raise NoSuchDevice(f"device must be cpu or cuda, got {device!r}")
    return _processor()


def _execute(path: Path) -> None:
    namespace = {"__name__": "__main__"}
    folder = Path.cwd()
    os.chdir(path.parent)
    try:
        for number, code in enumerate(code_cells(path), start=1):
            exec(compile(code, f"{path.name}, code cell {number}", "exec"), namespace)
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
        changed = git("status", "--porcelain", "--", "attnlib", "book", ":!book/recorded")
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
    temporary.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(out)
    print(f"recorded {sum(len(c['checks']) for c in data['chapters'])} checks on {data['device_name']} in {out}")
    return 0
