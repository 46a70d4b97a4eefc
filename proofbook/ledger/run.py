"""The run in progress: on which device it runs, and the numbers its checks measured."""

from __future__ import annotations

import os
from typing import Any

_notes: list[dict[str, Any]] = []
_claims: list[str] = []


def device() -> str:
    """The device on which the chapters' checks run: the CPU, or what ``PROOFBOOK_DEVICE`` names.

    It is a name, which array libraries take where they want a device.

    >>> device().split(":")[0] in ("cpu", "cuda")
    True
    """
    return os.environ.get("PROOFBOOK_DEVICE", "cpu")


def note(text: str, value: float, **bounds: float) -> None:
    """Keep a measured number for the record of this run."""
    _notes.append({"check": text, "value": value, **bounds})


def claimed(claim_id: str) -> None:
    """Note that a claim was established, and file the numbers measured since the last one under it."""
    _claims.append(claim_id)
    for entry in _notes:
        entry.setdefault("claim", claim_id)


def collect() -> tuple[list[dict[str, Any]], list[str]]:
    """Hand over what was noted since the last call."""
    taken = list(_notes), list(_claims)
    _notes.clear()
    _claims.clear()
    return taken
