"""Python for the browser, as a site carries it: Pyodide, SymPy and mpmath, and what checks an answer.

Pyodide comes by npm, the libraries are packed from this environment, so that a page checks with the versions
that the book was built with. A page fetches nothing of it before a reader answers an exercise.
"""

import hashlib
import importlib.metadata
import io
import json
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import proofbook
from proofbook.files import write_whole
from proofbook.publish.npm import package

__all__ = ["bring", "checker", "libraries"]

PYODIDE = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")
LIBRARIES = ("sympy", "mpmath")
NOTICE = """\
Python for the pages of this site.
{versions}
Pyodide: Mozilla Public License 2.0, source at https://github.com/pyodide/pyodide; with it CPython, Python
Software Foundation License. SymPy and mpmath: 3-clause BSD licence; their texts are in sympy.zip.
"""
_WHEN = (1980, 1, 1, 0, 0, 0)  # the same files make the same archive


def bring(target: Path) -> None:
    """Put all that a page needs to run Python into a folder of the site; what is there and whole stays."""
    home = package("pyodide")
    versions = [f"pyodide {_npm_version(home)}", *(f"{n} {importlib.metadata.version(n)}" for n in LIBRARIES)]
    notice = NOTICE.format(versions=", ".join(versions))
    said = target / "NOTICE.txt"
    if not said.is_file() or said.read_bytes() != _with_digests(notice, target):
        for name in PYODIDE:
            write_whole(target / name, (home / name).read_bytes())
        write_whole(target / "sympy.zip", libraries())
        write_whole(said, _with_digests(notice, target))
    ours, packed = target / "proofbook.zip", checker()
    if not ours.is_file() or ours.read_bytes() != packed:
        write_whole(ours, packed)


def _with_digests(notice: str, target: Path) -> bytes:
    """The notice, and the digests of the files that it is about, as they are there."""
    paths = [target / name for name in (*PYODIDE, "sympy.zip")]
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in paths if path.is_file()
    ]
    return "\n".join([notice, *lines, ""]).encode()


def checker() -> bytes:
    """What checks an answer, packed: proofs and their display, nothing of ledgers and books."""
    top = Path(proofbook.__file__).parent
    files = [top / f"{name}.py" for name in ("__init__", "display", "names", "in_page")]
    files += (top / "derive").rglob("*.py")
    return _packed({path.relative_to(top.parent).as_posix(): path.read_bytes() for path in files})


@cache
def libraries() -> bytes:
    """SymPy and mpmath of this environment, packed without their own tests."""
    files = {}
    for name in LIBRARIES:
        for path in importlib.metadata.files(name) or ():
            parts = set(path.parts)
            licence = path.name.startswith("LICEN") and path.parts[0].endswith(".dist-info")
            if licence or (
                path.suffix == ".py" and path.parts[0] == name and not parts & {"tests", "benchmarks"}
            ):
                files[path.as_posix()] = path.read_binary()
    return _packed(files)


def _packed(files: Mapping[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _WHEN)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return held.getvalue()


def _npm_version(home: Path) -> str:
    return str(json.loads((home / "package.json").read_text(encoding="utf-8"))["version"])
