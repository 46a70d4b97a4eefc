"""JSON Schemas of what is recorded, and one line for what does not fit them."""

from __future__ import annotations

import functools
import json
import math
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

__all__ = ["check", "read"]

SHOWN = 80  # characters of a value that does not fit


@functools.cache
def read(name: str, package: str = "proofbook.ledger") -> str:
    """The text of the schema ``name`` that a package carries in its folder ``schemas``."""
    return files(package).joinpath("schemas", f"{name}.json").read_text(encoding="utf-8")


def check(value: Any, schema: str, what: str) -> None:
    """Check a value as it comes out of JSON against a schema.

    A number is finite, and neither true nor false is one. The ``description`` of a part of the schema says in
    words what the part must be; a ``$ref`` may name a schema of this package, as
    ``urn:proofbook:environment``.

    Args:
        value: What was read.
        schema: The schema's text, as ``read`` gives it.
        what: What the value is, for the error.

    Raises:
        ValueError: the value does not fit; its one line names the place and what stands there.
    """
    for error in _validator(schema).iter_errors(value):
        raise ValueError(_said(error, what))


@functools.cache
def _validator(schema: str) -> Validator:
    # Imported here: it takes a second, and most who import the ledger check nothing.
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend
    from referencing import Registry, Resource

    contents = [json.loads(read(name)) for name in ("digest", "environment", "record")]
    registry: Registry[Any] = Registry().with_resources(
        (content["$id"], Resource.from_contents(content)) for content in contents
    )
    numbers = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "number": lambda checker, value: _is_finite(value),
            "integer": lambda checker, value: _is_finite(value) and isinstance(value, int),
        }
    )
    strict = extend(Draft202012Validator, type_checker=numbers)
    return strict(json.loads(schema), registry=registry)


def _is_finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def _said(error: ValidationError, what: str) -> str:
    """What is wrong, in one line."""
    place = "/".join([what, *map(str, error.absolute_path)])
    value: Any = error.instance
    wanted: Any = error.validator_value
    schema: Any = error.schema
    if error.validator in ("required", "dependentRequired") and isinstance(value, dict):
        if isinstance(wanted, dict):
            wanted = {need for name, needs in wanted.items() if name in value for need in needs}
        return f"{place} lacks {sorted(set(wanted) - set(value))}"
    if error.validator == "additionalProperties" and wanted is False:
        return f"{place} has unknown fields {sorted(set(value) - set(schema.get('properties', ())))}"
    shown = repr(value)
    shown = shown if len(shown) <= SHOWN else shown[:SHOWN] + " ..."
    must = schema.get("description") or (f"of type {wanted}" if error.validator == "type" else wanted)
    return f"{place} must be {must}, got {shown}"
