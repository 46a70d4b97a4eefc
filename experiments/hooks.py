"""What the ledger asks of this book (``proofbook.ledger.hooks``): torch's devices, versions and seeds."""

from __future__ import annotations

import subprocess

import torch

from proofbook.ledger.hooks import NoSuchDevice, processor

__all__ = ["device_name", "driver", "seed", "versions"]


def device_name(device: str) -> str:
    """The device in words.

    Raises:
        NoSuchDevice: it is neither cpu nor cuda, or torch sees none such.
    """
    try:
        wanted = torch.device(device)
    except RuntimeError:
        wanted = None
    if wanted is None or wanted.type not in ("cpu", "cuda"):
        raise NoSuchDevice(f"device must be cpu or cuda, got {device!r}")
    if wanted.type == "cpu":
        return processor()
    if not torch.cuda.is_available():
        raise NoSuchDevice("no CUDA device is available to torch on this machine")
    if (wanted.index or 0) >= torch.cuda.device_count():
        raise NoSuchDevice(f"torch sees {torch.cuda.device_count()} CUDA devices, not {device!r}")
    return torch.cuda.get_device_name(wanted)


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


def versions() -> dict[str, str]:
    """The version of torch, on which all numbers rest."""
    return {"torch": str(torch.__version__)}


def seed(number: int) -> None:
    """Seed torch's generators, on every device."""
    torch.manual_seed(number)
