"""Numbers that cells fill in, and tables quoted from a source."""

import hashlib

import pytest
import sympy as sp

from proofbook.ledger import fill_in, quoted, sums
from proofbook.ledger.numbers import named
from proofbook.names import NUMBERS_MIME


def test_numbers_are_listed_for_jupyter_and_recorded_for_the_page():
    shown = named({"rows": 200, "slope": "0.2454", "n": sp.Integer(64)})._repr_mimebundle_()
    assert shown["text/plain"] == "{{rows}} = 200\n{{slope}} = 0.2454\n{{n}} = 64"
    assert shown[NUMBERS_MIME]["numbers"] == {"rows": "200", "slope": "0.2454", "n": "64"}


def test_a_cell_that_ends_with_them_shows_them_once(monkeypatch):
    seen = []
    monkeypatch.setattr("proofbook.ledger.numbers.show", seen.append)
    returned = fill_in(rows=200)  # Jupyter shows what the last line of a cell returns
    assert returned is None and [one.texts for one in seen] == [{"rows": "200"}]


@pytest.mark.parametrize("value", [0.25, True, None, 2 + 0j, sp.Rational(1, 2), [1]])
def test_how_many_digits_to_print_is_for_the_author_to_say(value):
    with pytest.raises(TypeError, match="slope must be a whole number or a text"):
        fill_in(slope=value)


@pytest.mark.parametrize(
    "numbers", [{}, {"Rows": 2}, {"_n": 2}, {"n": "many"}, {"n": "{{m2}}"}, {"n": "1\n2"}]
)
def test_a_number_has_a_plain_name_and_a_digit(numbers):
    with pytest.raises(ValueError):
        fill_in(**numbers)


TABLE = """title = "accuracy"
source = "su2021"
where = "Table 1"
[columns]
length = [64, 128]
percent = [43.1, 39.8]
"""


@pytest.fixture
def kept(tmp_path):
    sums.keep(tmp_path / "accuracy.toml", TABLE.encode())
    return tmp_path


def test_a_quoted_table_has_its_columns_and_cites_its_source(kept):
    table = quoted("accuracy", kept)
    assert table["percent"] == (43.1, 39.8)
    assert table.rows == [(64, 43.1), (128, 39.8)]
    assert table.evidence("the accuracy falls").text == "the accuracy falls (Table 1) {cite}`su2021`"


def test_a_digit_changed_in_a_quoted_table_is_refused(kept):
    path = kept / "accuracy.toml"
    path.write_text(TABLE.replace("39.8", "38.9"))
    with pytest.raises(ValueError, match="its digest in SHA256SUMS is another"):
        quoted("accuracy", kept)


def test_a_table_that_nobody_vouched_for_is_refused(tmp_path):
    (tmp_path / "accuracy.toml").write_text(TABLE)
    with pytest.raises(ValueError, match="has no digest"):
        quoted("accuracy", tmp_path)
    digest = hashlib.sha256(TABLE.encode()).hexdigest()
    (tmp_path / sums.NAME).write_text(f"{digest}  accuracy.toml\n")  # as sha256sum writes it
    assert quoted("accuracy", tmp_path).title == "accuracy"


@pytest.mark.parametrize(
    "old, new",
    [
        ('source = "su2021"\n', ""),
        ('where = "Table 1"', 'where = ""'),
        ("[64, 128]", "[64]"),
        ("[64, 128]", "64"),
        ("length = [64, 128]\npercent = [43.1, 39.8]\n", ""),
    ],
)
def test_a_table_must_say_what_it_is_and_whose(tmp_path, old, new):
    assert old in TABLE
    sums.keep(tmp_path / "accuracy.toml", TABLE.replace(old, new).encode())
    with pytest.raises(ValueError, match=r"accuracy\.toml"):
        quoted("accuracy", tmp_path)
