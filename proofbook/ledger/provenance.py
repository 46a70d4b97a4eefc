"""What a recorded number was made with, and whether the code has changed since."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import platform
import re
import subprocess
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import torch

_PROJECT = Path(__file__).parents[2]
_PACKAGE = _PROJECT / "attnlib"

# What each field of an environment must match, in words, and whether it may be null.
_FIELDS = {
    "device": (r"(cpu|cuda)(:\d+)?", "be cpu or cuda", False),
    "device_name": (r".*\S.*", "name the hardware", False),
    "driver": (r".*\S.*", "name a version or be null", True),
    "torch": (r".*\S.*", "name a version", False),
    "python": (r".*\S.*", "name a version", False),
    "date": (r"\d{4}-\d{2}-\d{2}", "be year-month-day", False),
    "commit": (r"[0-9a-f]{40}", "be a full one or null", True),
    "digest": (r"[0-9a-f]{64}", "be a sha256 in hexadecimal", False),
}
KEYS = frozenset(_FIELDS) | {"modified"}


class NoSuchDevice(Exception):
    """The device asked for is not on this machine."""


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
        raise NoSuchDevice(
            f"torch sees {torch.cuda.device_count()} CUDA devices, not {device!r}: nothing was recorded"
        )
    return torch.cuda.get_device_name(wanted)


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def driver(device: str) -> str | None:
    """The version of the driver of a CUDA device; None for a CPU, or where ``nvidia-smi`` cannot tell."""
    if torch.device(device).type != "cuda":
        return None
    try:
        answer = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip().splitlines()[0]


def package_sources(root: Path | None = None) -> list[Path]:
    """The sources of attnlib, or of the package in ``root``, that the chapters' checks and benchmarks may run."""
    root = root or _PACKAGE
    return sorted(root.rglob("*.py"))


def reachable_sources(*modules: str, root: Path | None = None) -> list[Path]:
    """The sources that ``modules``, named in full, reach by import statements, inside functions too.

    Importing from a subpackage reaches its ``__init__`` and what that imports. Importing from the package
    itself reaches only the module that holds the name, so that unrelated modules do not count; importing
    the package as a whole, or a name that its ``__init__`` defines, reaches all that it imports.
    """
    package = _Sources(root or _PACKAGE)
    found: set[Path] = set()
    ahead = list(modules)
    while ahead:
        name = ahead.pop()
        path = package.path(name)
        if path is None:
            raise ModuleNotFoundError(f"no module {name} in {package.root}", name=name)
        if path not in found:
            found.add(path)
            ahead += package.parents(name)
            ahead += package.imports(name)
    return sorted(found)


class _Sources:
    """The modules of the package in the folder ``root``, and what each imports of it."""

    def __init__(self, root: Path):
        self.root = root

    def path(self, module: str) -> Path | None:
        """The file of a module; None where the package has no such module."""
        top, *parts = module.split(".")
        if top != self.root.name:
            return None
        folder = self.root.joinpath(*parts)
        candidates = [folder / "__init__.py"] + ([folder.with_name(f"{parts[-1]}.py")] if parts else [])
        return next((path for path in candidates if path.is_file()), None)

    def parents(self, module: str) -> list[str]:
        """The subpackages that a module lies in."""
        parts = module.split(".")
        return [".".join(parts[:end]) for end in range(2, len(parts))]

    def imports(self, module: str) -> Iterator[str]:
        """The modules of the package that a module needs by its own import statements."""
        for node in self.statements(module):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.split(".")[0] == self.root.name:
                        yield alias.name
                        if alias.asname is None:  # binds the package as a whole
                            yield self.root.name
            elif self.base(node, module).split(".")[0] == self.root.name:
                for alias in node.names:
                    yield self.home(self.base(node, module), alias.name)

    def statements(self, module: str) -> list[ast.Import | ast.ImportFrom]:
        tree = ast.parse(self.path(module).read_bytes())
        return [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]

    def base(self, node: ast.ImportFrom, module: str) -> str:
        """The module, named in full, from which a statement of ``module`` imports."""
        package = module if self.path(module).name == "__init__.py" else module.rpartition(".")[0]
        return importlib.util.resolve_name("." * node.level + (node.module or ""), package)

    def home(self, base: str, name: str) -> str:
        """The module that ``from base import name`` needs."""
        if self.path(f"{base}.{name}"):
            return f"{base}.{name}"
        if base == self.root.name:
            for node in self.statements(base):
                if isinstance(node, ast.ImportFrom):
                    for alias in node.names:
                        if (alias.asname or alias.name) == name:
                            return self.home(self.base(node, base), alias.name)
        return base


def digest(paths: Iterable[Path], root: Path | None = None) -> str:
    """A digest of the files ``paths``, of their names relative to ``root`` (attnlib's folder) and their bytes."""
    root = root or _PACKAGE
    sha = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.relative_to(root).parts):
        sha.update(path.relative_to(root).as_posix().encode() + b"\0")
        sha.update(path.read_bytes() + b"\0")
    return sha.hexdigest()


def source_digest(root: Path | None = None) -> str:
    """A digest of ``package_sources``, so that a record can be told from one made with other code."""
    return digest(package_sources(root), root)


def commit(folder: Path, *pathspecs: str) -> tuple[str | None, bool | None]:
    """The commit of the working tree at ``folder`` and whether what ``pathspecs`` name was modified.

    None where git cannot tell.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
        ).stdout

    try:
        return git("rev-parse", "HEAD").strip(), bool(git("status", "--porcelain", "--", *pathspecs).strip())
    except (OSError, subprocess.CalledProcessError):
        return None, None


def environment(device: str, sources: Iterable[Path], *, folder: Path, pathspecs: Iterable[str]) -> dict:
    """What a number measured now on ``device`` by the attnlib files ``sources`` is made with.

    ``modified`` tells whether what the git ``pathspecs`` name differs from the commit that ``folder`` is at.
    Raises ``NoSuchDevice``.
    """
    name = device_name(device)
    head, modified = commit(folder, *pathspecs)
    return {
        "device": device,
        "device_name": name,
        "driver": driver(device),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": head,
        "modified": modified,
        "digest": digest(sources),
    }


def validate_environment(entry: dict) -> None:
    """Raise ``ValueError`` unless ``entry`` holds, perhaps among others, the fields that ``environment`` writes."""
    if missing := KEYS - set(entry):
        raise ValueError(f"the record lacks {sorted(missing)}")
    for field, (pattern, must, nullable) in _FIELDS.items():
        value = entry[field]
        if value is None and nullable:
            continue
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(f"{field} must {must}, got {value!r}")
    known = entry["commit"] is not None
    if not isinstance(entry["modified"], bool if known else type(None)):
        must = "true or false where the commit is known" if known else "null without a commit"
        raise ValueError(f"modified must be {must}, got {entry['modified']!r}")
