"""The engines beside Python, FLINT and z3, and what is lost where one is not installed.

A page of the site runs without them. A proof that wants one is not found there, which is said and makes
nothing true: see ``wanted``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

try:
    import flint
except ModuleNotFoundError:  # no wheel for the browser
    flint = None  # type: ignore[assignment]  # a module, or none
try:
    import z3  # type: ignore[import-untyped]  # it carries no types
except ModuleNotFoundError:
    z3 = None

__all__ = ["flint", "lacking", "wanted", "z3"]

_HERE = {"python-flint": flint is not None, "z3": z3 is not None}
_asked: list[set[str]] = []


def lacking(name: str) -> bool:
    """Whether an engine, ``python-flint`` or ``z3``, is not here; that it was wanted is noted."""
    if _HERE[name]:
        return False
    for found in _asked:
        found.add(name)
    return True


@contextmanager
def wanted() -> Iterator[set[str]]:
    """The engines that were wanted within, and are not here."""
    found: set[str] = set()
    _asked.append(found)
    try:
        yield found
    finally:
        _asked.remove(found)
