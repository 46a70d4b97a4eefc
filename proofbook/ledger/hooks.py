"""What a book knows of its own machinery: the devices it runs on, its versions, its random numbers.

The ledger runs a book's checks on a device and writes down with what, yet knows no numerical library. So a
book names a module of its own, by the key ``hooks`` in the ``[record]`` table of its ``proofbook.toml``; the
module's functions are those of ``Hooks``. A book that names none runs on the processor, with Python alone.
"""

from __future__ import annotations

import importlib
import platform
import random
from pathlib import Path
from typing import Protocol

__all__ = ["FUNCTIONS", "BadHooks", "Hooks", "NoSuchDevice", "Plain", "load", "processor"]


class NoSuchDevice(Exception):
    """The device asked for is not on this machine."""


class BadHooks(Exception):
    """The module that a book names for its hooks is none, or lacks one of them."""


class Hooks(Protocol):
    """The functions of a book's module of hooks. A device goes by its name, as ``cpu`` or ``cuda:1``."""

    def device_name(self, device: str) -> str:
        """The hardware in words; ``NoSuchDevice``, with one line for the user, where there is none."""

    def driver(self, device: str) -> str | None:
        """The version of the device's driver; None where it has none, or it cannot be told."""

    def versions(self) -> dict[str, str]:
        """The versions, by name, of the libraries that compute the book's numbers."""

    def seed(self, number: int) -> None:
        """Seed every source of random numbers that a chapter may draw from without seeding it itself."""


FUNCTIONS = ("device_name", "driver", "versions", "seed")


class Plain:
    """The hooks of a book that names none."""

    def device_name(self, device: str) -> str:
        """The processor in words, for the device ``cpu``."""
        if device != "cpu":
            raise NoSuchDevice(
                f"device must be cpu, got {device!r}: this book names no hooks that know another"
            )
        return processor()

    def driver(self, device: str) -> None:
        """None: a processor has no driver."""

    def versions(self) -> dict[str, str]:
        """No libraries."""
        return {}

    def seed(self, number: int) -> None:
        """Seed Python's own generator."""
        random.seed(number)


def load(module: str | None) -> Hooks:
    """The hooks in the module of that name; the plain ones for None.

    Raises:
        BadHooks: there is no such module, or it lacks one of ``FUNCTIONS``.
    """
    if module is None:
        return Plain()
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise BadHooks(
            f"hooks must name a module with {', '.join(FUNCTIONS)}, got {module!r}: {error}"
        ) from None
    if missing := [name for name in FUNCTIONS if not callable(getattr(found, name, None))]:
        raise BadHooks(f"hooks must name a module with {', '.join(FUNCTIONS)}; {module!r} lacks {missing}")
    return found


def processor() -> str:
    """The processor of this machine in words.

    Returns:
        Its model where the system tells, else its architecture.
    """
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()
