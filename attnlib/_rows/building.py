"""The compiled kernels as a shared library: built by the user's own compiler where they are first asked for.

It is kept in a folder of the user's cache under a digest of all that decides what it is: the source, the
compiler and its flags, the processor that it is built for, and PyTorch. Nothing is built at import, and
nothing is fetched.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch

from attnlib.errors import EngineNotAvailable

SOURCE = Path(__file__).with_name("compiled_kernels.cpp")
# sha256 of the source: who asks by a digest of this code whether a recorded number is stale sees it change.
SOURCE_DIGEST = "45603a357bf3cdb27be12e549f410ec89ee2fc180ed004770696bdc360a22b2b"
# Contracting a * b + c is what the kernels want; nothing else that changes a sum is allowed.
_FLAGS = (
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-shared",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
)
# Compilers differ in how they are asked for all that this processor has.
_MACHINES = (("-march=native",), ("-mcpu=native",), ())
_SECONDS = 600


def _unavailable(reason: str) -> EngineNotAvailable:
    return EngineNotAvailable(f"impl='compiled' {reason}; or take impl='fused'")


def cache() -> Path:
    """The folder of what was built: ``ATTNLIB_CACHE``, or one of the user's own."""
    if named := os.environ.get("ATTNLIB_CACHE"):
        return Path(named)
    try:
        home = Path.home()
    except RuntimeError as error:
        raise _unavailable(f"needs a folder to build in ({error}): name one in ATTNLIB_CACHE") from error
    default = home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"
    of_user = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    return (Path(of_user) if of_user else default) / "attnlib"


def compiler() -> list[str]:
    """The command of the C++ compiler: ``CXX``, or the first of the usual ones that is found."""
    named = shlex.split(os.environ.get("CXX", ""))
    for command in [named] if named else [["c++"], ["g++"], ["clang++"]]:
        if found := shutil.which(command[0]):
            return [found, *command[1:]]
    missing = f"{named[0]!r} of the variable CXX" if named else "c++, g++ and clang++"
    raise _unavailable(
        f"needs a C++ compiler and found none ({missing}): install GCC or Clang, or name it in CXX"
    )


def _processor() -> str:
    """What this processor is and can do, as far as the system says."""
    known = [platform.machine(), platform.processor(), torch.backends.cpu.get_cpu_capability()]
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "\n".join(known)
    names = ("model name", "flags", "Features", "CPU implementer", "CPU part", "isa")
    return "\n".join(known + sorted({x for x in lines if x.split("\t")[0].split(":")[0].strip() in names}))


def _of_openmp(version: str) -> list[str]:
    """Flags for the OpenMP library that PyTorch has loaded, whose threads the kernels then share.

    A second pool of threads would contend with PyTorch's own. Where there is no such library, or the compiler
    is not GCC, whose calls it knows, the kernels start threads themselves.
    """
    if "clang" in version.lower():
        return []
    try:
        mapped = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    for path in dict.fromkeys(
        line.split(maxsplit=5)[5] for line in mapped if len(line.split(maxsplit=5)) == 6
    ):
        if Path(path).name.startswith(("libgomp", "libiomp5")):
            return ["-fopenmp", "-Wl,--as-needed", path]
    return []


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unavailable(f"needs a C++ compiler that runs ({error}): install GCC or Clang") from error


def _digest(parts: Iterable[str]) -> str:
    """Of all parts, told apart."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(f"{len(part)}:{part}".encode())
    return whole.hexdigest()[:32]


def _build(command: list[str], openmp: list[str], path: Path) -> None:
    """Compile into a file of another name and move it: whoever builds at the same time moves the same."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(suffix=".building", dir=path.parent)
    except OSError as error:
        raise _unavailable(
            f"cannot write what it builds ({error}): name another folder in ATTNLIB_CACHE"
        ) from error
    os.close(handle)
    try:
        for machine in _MACHINES:
            done = _run([*command, *_FLAGS, *machine, "-o", name, str(SOURCE), *openmp])
            if done.returncode == 0:
                os.replace(name, path)
                return
        raise _unavailable(
            f"was not built: {shlex.join(done.args)} ended with {done.returncode}:\n"
            f"{done.stderr[-2000:].rstrip()}\nName another compiler in CXX"
        )
    finally:
        Path(name).unlink(missing_ok=True)


@functools.cache
def library() -> ctypes.CDLL:
    """The kernels, built now if they were not built before for this source, compiler and processor."""
    command = compiler()
    version = _run([*command, "--version"]).stdout
    openmp = _of_openmp(version)
    known = [
        SOURCE.read_text(encoding="utf-8"),
        *command,
        version,
        *_FLAGS,
        *openmp,
        _processor(),
        torch.__version__,
    ]
    path = cache() / f"rows-{_digest(known)}{'.dll' if os.name == 'nt' else '.so'}"
    if not path.is_file():
        _build(command, openmp, path)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise _unavailable(
            f"was built and cannot be loaded ({error}): delete {path} to build it again"
        ) from error
