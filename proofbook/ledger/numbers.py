"""Numbers in sentences: a cell names them, and the page prints what the cell found where prose names it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from numbers import Integral
from typing import Any

from proofbook.ledger.report import show
from proofbook.names import NUMBERS_MIME

__all__ = ["Numbers", "fill_in", "named", "printed"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Numbers:
    """Named numbers as a page will print them. Jupyter lists them; the page has each in its sentence."""

    def __init__(self, texts: dict[str, str]):
        self.texts = texts

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        plain = "\n".join(f"{{{{{name}}}}} = {text}" for name, text in self.texts.items())
        return {"text/plain": plain, NUMBERS_MIME: {"schema": 1, "numbers": self.texts}}


def fill_in(**numbers: Any) -> None:
    """Name numbers for the prose, captions and alternative texts of the page: ``{{rows}}`` there prints one.

    Give the variables that the computation used or what it found, never a number typed for the sentence.

    Args:
        numbers: By name, a whole number, or a text with the digits that are certain, ``f"{slope:.4f}"`` say.

    Raises:
        ValueError: a name that is not of small letters, digits and underscores, or a text without a digit.
        TypeError: a number that is not whole: how many of its digits to print is for the author to say.

    >>> rows, slope = 200, 0.24537
    >>> fill_in(rows=rows, slope=f"{slope:.4f}")
    """
    # shown and not returned: a cell that ends with it would show it a second time
    show(named(numbers))


def named(numbers: Mapping[str, Any]) -> Numbers:
    """Numbers by name as texts, each checked.

    >>> named({"rows": 200, "slope": "0.2454"}).texts
    {'rows': '200', 'slope': '0.2454'}
    """
    if not numbers:
        raise ValueError("fill_in needs at least one number with its name")
    return Numbers({name: _checked(name, value) for name, value in numbers.items()})


def _checked(name: str, value: Any) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a number: small letters, digits and underscores")
    return printed(name, value)


def printed(name: str, value: Any) -> str:
    """A number as text: a whole number as it is, or the author's own digits.

    Raises:
        ValueError: a text without a digit.
        TypeError: any other value.

    >>> printed("n", 4096), printed("c", "0.2454"), printed("n", "10^6")
    ('4096', '0.2454', '10^6')
    """
    if isinstance(value, str):
        if not re.search(r"\d", value) or "\n" in value or "{{" in value:
            raise ValueError(f"{name} must be a number in digits, got {value!r}")
        return value
    if isinstance(value, bool) or not (isinstance(value, Integral) or getattr(value, "is_Integer", False)):
        raise TypeError(
            f"{name} must be a whole number or a text with the digits that are certain, "
            f"got {type(value).__name__} {value!r}"
        )
    return str(int(value))
