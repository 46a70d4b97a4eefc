"""The stored equations of the book: none can be changed in any one way without being noticed."""

import copy
import json
import random
import re
from pathlib import Path

import pytest

from proofbook import display
from proofbook.names import EQUATION_MIME
from proofbook.publish import checking, proofs
from proofbook.publish.book import Book

ROOT = Path(__file__).parents[2]
SHOWN = [data for _, data in checking.outputs(Book(ROOT))]


def digit(text: str, rng: random.Random) -> str:
    """The text with one digit, or one sign, or else one letter changed."""
    for wanted in (str.isdigit, "+-".__contains__, str.isalpha):
        places = [k for k, letter in enumerate(text) if wanted(letter)]
        if places:
            k = rng.choice(places)
            other = {"+": "-", "-": "+", "9": "8", "z": "y", "Z": "Y"}.get(text[k], chr(ord(text[k]) + 1))
            return text[:k] + other + text[k + 1 :]
    return text + "1"


def in_record(key):
    return lambda data, step, rng: data[EQUATION_MIME].update({key: digit(data[EQUATION_MIME][key], rng)})


def in_step(key):
    return lambda data, step, rng: step.update({key: digit(step[key], rng)})


CHANGES = {
    "label": in_record("label"),
    "TeX": in_record("latex"),
    "TeX of a line": in_step("latex"),
    "domain": in_record("domain"),
    "statement": in_step("formula"),
    "reason": in_step("reason"),
    "detail": in_step("detail"),
    "relation": lambda data, step, rng: step.update(relation="<" if step["relation"] != "<" else "="),
    "mark": lambda data, step, rng: step.update(mark="proved" if step["mark"] != "proved" else "attacked"),
    "certificate": lambda data, step, rng: step.update(certificate=digit(step.get("certificate", "{}"), rng)),
    "what the page shows": lambda data, step, rng: data.update(
        {"text/markdown": digit(data["text/markdown"], rng)}
    ),
}


@pytest.mark.parametrize("data", SHOWN, ids=lambda data: data[EQUATION_MIME]["label"])
def test_every_random_change_of_an_equation_is_refused(data):
    assert list(display.faults(data)) == []
    rng = random.Random(data[EQUATION_MIME]["label"])
    for what, change in CHANGES.items():
        changed = copy.deepcopy(data)
        change(changed, rng.choice(changed[EQUATION_MIME]["steps"]), rng)
        if json.dumps(changed) != json.dumps(data):
            assert list(display.faults(changed)), what


def test_the_readme_counts_what_is_proved():
    """A count that is typed is compared with the outputs."""
    counted = proofs.status(Book(ROOT))
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    said = re.search(
        r"Of the (\d+) steps it shows, a small checker proves (\d+) .*?; the other (\d+) are", text
    )
    steps, proved = counted["steps"], counted["proved"]
    assert tuple(map(int, said.groups())) == (steps, proved, steps - proved)


def test_the_page_says_how_long_the_checker_is():
    kernel = (ROOT / "proofbook/derive/kernel").glob("*.py")
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in kernel)
    thousands = {6: "six", 7: "seven", 8: "eight"}[lines // 1000]
    assert f"more than {thousands} thousand of them" in (ROOT / "book/proofs.md").read_text(encoding="utf-8")
