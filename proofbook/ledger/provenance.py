"""What a recorded number was made with: the device, the versions, the day and the commit."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from proofbook.ledger import schema
from proofbook.ledger.hooks import Hooks

__all__ = ["commit", "environment", "validate_environment"]


def commit(folder: Path, paths: Iterable[Path]) -> tuple[str | None, bool | None]:
    """The commit of the working tree at ``folder``, and whether any of the files ``paths`` differs from it.

    A file that lies outside of the working tree is none of its commit: a record tells of it by a digest
    alone.

    Returns:
        Commit and whether it was modified; None and None where git cannot tell.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        top = Path(git("rev-parse", "--show-toplevel")).resolve()
        head = git("rev-parse", "HEAD")
        inside = [str(path) for path in map(Path.resolve, paths) if path.is_relative_to(top)]
        return head, bool(inside and git("status", "--porcelain", "--untracked-files=all", "--", *inside))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def environment(device: str, hooks: Hooks, *, folder: Path, paths: Iterable[Path]) -> dict[str, Any]:
    """What a number that is measured now on ``device`` is made with.

    Args:
        device: Its name, as the hooks know it.
        hooks: What the book knows of devices and versions.
        folder: A folder of the working tree whose commit is named.
        paths: The files that make the number; ``modified`` tells whether one differs from that commit.

    Raises:
        NoSuchDevice: there is no such device.
    """
    name = hooks.device_name(device)
    head, modified = commit(folder, paths)
    return {
        "device": device,
        "device_name": name,
        "driver": hooks.driver(device),
        "versions": {"python": platform.python_version(), **hooks.versions()},
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": head,
        "modified": modified,
    }


def validate_environment(entry: object) -> None:
    """Raise ``ValueError`` unless ``entry`` has the form of what ``environment`` gives."""
    schema.check(entry, schema.read("environment"), "environment")
    assert isinstance(entry, dict)
    if (entry["commit"] is None) != (entry["modified"] is None):
        must = (
            "null without a commit" if entry["commit"] is None else "true or false where the commit is known"
        )
        raise ValueError(f"environment/modified must be {must}, got {entry['modified']!r}")
