"""Every definition of the book is used: one that is changed is noticed.

A definition is changed while the stored equations are read back, and the steps that use it are proved
again, those with short certificates first. The kernel must refuse one of them. Where none can notice, a
comparison in the chapter does, and is named here.
"""

import itertools
import json
from collections import defaultdict
from pathlib import Path

import pytest
import sympy as sp

from proofbook.derive import readback
from proofbook.derive.kernel import NotProved, prove
from proofbook.derive.recheck import _Equation
from proofbook.display import DEFINITION
from proofbook.names import EQUATION_MIME
from proofbook.publish import checking
from proofbook.publish.book import Book

ROOT = Path(__file__).parents[2]
BOOK = {data[EQUATION_MIME]["label"]: data for _, data in checking.outputs(Book(ROOT))}

# No proof uses these. Each was changed by hand: the chapter stops at the comparison that is named. (Others
# are used in ratios and the like: their proofs notice a change of shape, not always a factor.)
COMPARED = {
    "eq-9593-law": "the integral over the difference of two scores, beside the law of Q",
    "eq-9593-mean-factor": "the same, where the law is computed as it is displayed",
    "eq-9593-mean-square": "the same",
}
# Once every proof was the same with another definition; a step was added that fixes each of its letters.
FIXED = (
    "eq-9019-copied-values",
    "eq-9019-copied-weights",
    "eq-9019-levels",
    "eq-9593-partition",
    "eq-9889-moment",
)


def is_definition(data):
    return data[EQUATION_MIME]["steps"][0].get("strategy") == DEFINITION


def uses():
    """By the name of a quantity: the proved steps of the equations that use it, quick ones first."""
    found = defaultdict(list)
    for label, data in BOOK.items():
        record = data[EQUATION_MIME]
        for entry in map(json.loads, record["names"]):
            if entry[1] == "definition" and not is_definition(data):
                for k, step in enumerate(record["steps"]):
                    if certificate := step.get("certificate"):
                        slow = step["relation"] != "="
                        found[entry[2]].append((slow, len(json.dumps(certificate)), label, k))
    return {name: [place[2:] for place in sorted(places)] for name, places in found.items()}


USES = uses()


def as_read(data):
    """Name and body of what a stored definition defines."""
    quantity = _Equation(data).lines[0]
    return type(quantity).name, type(quantity).body


def letters(body, path=()):
    """Every place in a body where a letter stands for itself, not bound by an operator."""
    if isinstance(body, (sp.Symbol, sp.Indexed)):
        yield path
    elif not isinstance(body, (sp.Tuple, sp.Subs)):
        kept = body.args[:1] if isinstance(body, sp.Derivative) else body.args
        for k, part in enumerate(kept):
            yield from letters(part, (*path, k))


def put(change, body, path):
    """The body with the part at one place changed."""
    if not path:
        return change(body)
    parts = list(body.args)
    parts[path[0]] = put(change, parts[path[0]], path[1:])
    return body.func(*parts)


def twice(part):
    return 2 * part


def square(part):
    return part**2


def changes(body):
    """The whole doubled; then, since that may be but a scale, a letter squared or doubled at one place."""
    yield twice(body)
    for path in letters(body):
        for change in (square, twice):
            if (changed := put(change, body, path)) != body:
                yield changed


def noticed(name, body, changed, monkeypatch):
    """The first step that is no longer proved with another body; None if all are."""
    define, wrong = readback.define, []

    def other(called, arguments, read, latex=None):
        if called == name and sp.srepr(read) == sp.srepr(body):
            wrong.append(read)
            read = changed
        return define(called, arguments, read, latex=latex)

    with monkeypatch.context() as patch:
        patch.setattr(readback, "define", other)
        for label, k in USES.get(name, []):
            wrong.clear()
            equation = _Equation(BOOK[label])
            if wrong and not still_proved(equation, k):
                return f"{label}, step {k + 1}"
    return None


def still_proved(equation, k):
    row, (left, right), within = equation.rows[k], equation.lines[k : k + 2], equation.within[k]
    cites = [equation._cited(text, BOOK) for text in row.by]
    bounds = (within.below, within.above) if within else None
    without = row.certificate.get("without", ())
    try:
        prove(row.relation, left, right, equation.domain, cites, without, bounds)
    except NotProved:
        return False
    return True


TRIED = 5  # changes of a definition, if none before was noticed
DEFINITIONS = sorted(label for label, data in BOOK.items() if is_definition(data))


@pytest.mark.parametrize("label", DEFINITIONS)
def test_a_changed_definition_is_noticed(label, monkeypatch):
    name, body = as_read(BOOK[label])
    tried = itertools.islice(changes(body), TRIED)
    found = any(noticed(name, body, changed, monkeypatch) for changed in tried)
    assert found == (label not in COMPARED)


@pytest.mark.parametrize("label", FIXED)
def test_every_changed_letter_is_noticed(label, monkeypatch):
    name, body = as_read(BOOK[label])
    assert [c for c in changes(body) if not noticed(name, body, c, monkeypatch)] == []


def test_an_unchanged_definition_is_not_noticed(monkeypatch):
    """What is noticed is the change, not that a step was read in another way."""
    for label in FIXED:
        name, body = as_read(BOOK[label])
        assert noticed(name, body, body, monkeypatch) is None


def test_what_is_compared_is_a_definition_of_the_book():
    assert {*COMPARED, *FIXED} <= set(DEFINITIONS)
