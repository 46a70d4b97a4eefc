"""Checkpoints that are whole or refused: written aside and renamed, with a digest of their contents."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import torch

from experiments.errors import ExperimentError
from proofbook.files import write_whole

__all__ = ["load", "save"]

_MAGIC = b"attnlib checkpoint 2\n"


def save(path: Path, state: dict) -> None:
    """Store ``state``, of tensors and plain values."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    write_whole(path, _MAGIC + hashlib.sha256(content).digest() + content)


def load(path: Path) -> dict | None:
    """The state stored at ``path``, None where there is none; ``ExperimentError`` if it is damaged."""
    try:
        stored = path.read_bytes()
    except FileNotFoundError:
        return None
    head = len(_MAGIC)
    content = stored[head + 32 :]
    if stored[:head] != _MAGIC or hashlib.sha256(content).digest() != stored[head : head + 32]:
        raise ExperimentError(
            f"the checkpoint {path} is damaged, or of an older version; "
            "delete it to train this model from its start"
        )
    return torch.load(io.BytesIO(content), weights_only=True)
