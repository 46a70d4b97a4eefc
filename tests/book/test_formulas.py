"""Every displayed formula of the book can be set, and fits a phone in a size that can be read."""

from pathlib import Path

from proofbook.display import Row, sign
from proofbook.names import EQUATION_MIME
from proofbook.publish.book import Book
from proofbook.publish.checking import outputs
from proofbook.publish.typeset import Typesetter

ROOT = Path(__file__).parents[2]
SMALLEST = 0.75
PHONE = 17.0


def test_every_formula_of_a_derivation_can_be_set_and_fits_a_phone():
    typesetter = Typesetter()
    small = []
    for page, data in outputs(Book(ROOT)):
        record = data[EQUATION_MIME]
        rows = [Row.from_record(step) for step in record["steps"]]
        formulas = [("", record["start"]["latex"]), *((sign(row), row.latex) for row in rows)]
        for relation, tex in formulas:
            if typesetter.set(tex, relation=relation, display=True).widest > PHONE / SMALLEST:
                small.append(f"{page}, {record['label']}: {tex}")
    typesetter.close()
    assert small == []
