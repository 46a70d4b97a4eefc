"""One line for what does not fit a schema, with its place and its value."""

import math

import pytest

from proofbook.ledger import schema
from proofbook.names import VERDICTS

NUMBERS = """{
  "type": "object", "required": ["a"], "additionalProperties": false,
  "dependentRequired": {"low": ["high"]},
  "properties": {
    "a": {"type": "number", "minimum": 0, "description": "a size"},
    "n": {"type": "integer", "minimum": 1, "description": "a count"},
    "low": true, "high": true,
    "list": {"type": "array", "items": {"type": ["number", "null"]}},
    "digest": {"$ref": "urn:proofbook:digest"}
  }
}"""


@pytest.mark.parametrize("value", [{"a": 0}, {"a": 1.5, "n": 3, "list": [1, None], "digest": "0" * 64}])
def test_what_fits_fits(value):
    schema.check(value, NUMBERS, "it")


@pytest.mark.parametrize(
    "value, says",
    [
        ({}, "it lacks ['a']"),
        ([], "it must be of type object, got []"),
        (None, "it must be of type object, got None"),
        ({"a": 1, "b": 2, "c": 3}, "it has unknown fields ['b', 'c']"),
        ({"a": -1}, "it/a must be a size, got -1"),
        ({"a": "1"}, "it/a must be a size, got '1'"),
        ({"a": True}, "it/a must be a size, got True"),
        ({"a": math.nan}, "it/a must be a size, got nan"),
        ({"a": math.inf}, "it/a must be a size, got inf"),
        ({"a": 1, "n": 1.0}, "it/n must be a count, got 1.0"),
        ({"a": 1, "n": False}, "it/n must be a count, got False"),
        ({"a": 1, "list": [1, "x\ny"]}, "it/list/1 must be of type ['number', 'null'], got 'x\\ny'"),
        ({"a": 1, "list": [math.nan]}, "it/list/0 must be of type ['number', 'null'], got nan"),
        ({"a": 1, "low": 0}, "it lacks ['high']"),
        ({"a": 1, "digest": "0" * 63}, "it/digest must be a sha256 in hexadecimal, got '" + "0" * 63 + "'"),
        ({"a": 1, "digest": "0" * 64 + "\n"}, "it/digest must be a sha256 in hexadecimal"),
        ({"a": "x" * 200}, "it/a must be a size, got '" + "x" * 79 + " ..."),
    ],
)
def test_what_does_not_fit_is_one_line_with_place_and_value(value, says):
    with pytest.raises(ValueError) as caught:
        schema.check(value, NUMBERS, "it")
    assert str(caught.value).startswith(says) and "\n" not in str(caught.value)


def test_a_number_beyond_all_floats_is_none():
    with pytest.raises(ValueError, match="it/a must be a size"):
        schema.check({"a": 10**400}, NUMBERS, "it")


@pytest.mark.parametrize(
    "name, package",
    [
        ("digest", "proofbook.ledger"),
        ("environment", "proofbook.ledger"),
        ("record", "proofbook.ledger"),
        ("benchmarks", "proofbook.publish"),
        ("claims", "proofbook.publish"),
        ("equations", "proofbook.publish"),
        ("results", "experiments"),
    ],
)
def test_schemas_are_schemas(name, package):
    """By the draft's own schema: a word that is misspelt there would check nothing."""
    import json

    from jsonschema import Draft202012Validator

    content = json.loads(schema.read(name, package))
    Draft202012Validator.check_schema(content)
    known = set(Draft202012Validator.VALIDATORS) | {"$schema", "$id", "$defs", "title", "description", "then"}

    def words(part):
        assert set(part) <= known, sorted(set(part) - known)
        for key, value in part.items():
            if key in ("properties", "$defs"):
                for one in value.values():
                    words(one) if isinstance(one, dict) else None
            elif key in ("allOf", "anyOf", "oneOf"):
                for one in value:
                    words(one)
            elif isinstance(value, dict) and key in ("items", "additionalProperties", "if", "then"):
                words(value)

    words(content)


def test_the_schemas_know_the_verdicts_that_there_are():
    import json

    content = json.loads(schema.read("claims", "proofbook.publish"))
    assert content["$defs"]["claim"]["properties"]["verdict"]["enum"] == list(VERDICTS)
