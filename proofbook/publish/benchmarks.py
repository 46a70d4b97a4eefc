"""Recorded benchmarks as tables: what ``python -m benchmarks --out`` wrote, checked and laid flat."""

from collections.abc import Iterator
from typing import Any

PATTERN = "benchmarks-*.json"


def validate(record: object) -> None:
    """Raise ``ValueError`` unless the record has the form that ``python -m benchmarks --out`` writes."""
    # Imported here: they bring SymPy, for which who only reads a book need not wait.
    from proofbook.ledger import provenance, schema

    schema.check(record, schema.read("benchmarks", "proofbook.publish"), "benchmarks")
    assert isinstance(record, dict)
    provenance.validate_environment(record["environment"])
    for name, result in record["benchmarks"].items():
        for bar in result["bars"]:
            value = bar["value"]
            met = value <= bar["at_most"] if "at_most" in bar else value >= bar["at_least"]
            if bar["met"] != met:
                raise ValueError(f"{name}: {bar['name']}: met is {bar['met']}, the numbers say otherwise")


Row = tuple[tuple[str, ...], str, dict[str, float | None]]
"""Where a case was measured, the case, and its numbers by quantity."""


def rows(results: dict[str, Any], where: tuple[str, ...] = ()) -> Iterator[Row]:
    """The measured cases in the order they were written: where (such as the length), the case, its numbers.

    >>> list(rows({"1024": {"forward": {"fused": {"ms": 3.0}}, "peak bytes": {"fused": 8}}}))
    [(('1024', 'forward'), 'fused', {'ms': 3.0}), (('1024',), 'fused', {'peak bytes': 8})]
    """
    for name, value in results.items():
        if not isinstance(value, dict) or not value:
            raise ValueError(f"{'/'.join((*where, name))} must hold named numbers, got {value!r}")
        if all(_is_number(number) for number in value.values()):
            if name.endswith("bytes"):  # a quantity, by case
                for case, number in value.items():
                    yield where, case, {name: number}
            else:
                yield where, name, value
        else:
            yield from rows(value, (*where, name))


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def place(where: tuple[str, ...]) -> str:
    """Where a case was measured, in words.

    >>> place(("16384", "forward"))
    'n = 16,384, forward'
    """
    return ", ".join(f"n = {int(part):,}" if part.isdecimal() else part for part in where)


def shown(quantity: str, value: float | None) -> str:
    """A number with the digits that a timing has.

    >>> shown("ms", 1234.5), shown("ms", 0.01234), shown("peak bytes", 8_400_000), shown("peak bytes", None)
    ('1,230', '0.0123', '8.4 MB', '')
    """
    if value is None:
        return ""
    in_bytes = quantity.endswith("bytes")
    rounded = float(f"{value / 1e6 if in_bytes else value:.3g}")
    digits = f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:.3g}"
    return f"{digits} MB" if in_bytes else digits
