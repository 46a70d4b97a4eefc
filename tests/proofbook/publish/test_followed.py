"""The steps of an earlier edition are followed into the present one; a table out of date is noticed."""

import json
import shutil
from pathlib import Path

import pytest

from proofbook.publish import commands, followed, lint
from proofbook.publish.book import Book
from proofbook.publish.notebooks import BookError

ROOT = Path(__file__).parents[3]
CHAPTER = "book/8823-attention-scale"


@pytest.fixture
def root(tmp_path):
    shutil.copytree(ROOT / "tests/book/fixtures/mini", tmp_path, dirs_exist_ok=True)
    shutil.copy(ROOT / "book/proofbook.toml", tmp_path / "book")
    (tmp_path / "_toc.yml").write_text(f"format: jb-book\nroot: {CHAPTER}\n")
    return tmp_path


def store(root, *rows):
    table = [dict(zip(followed.THEN, row[:5])) | (row[5] if len(row) > 5 else {}) for row in rows]
    (root / "book" / followed.FILE).write_text(followed.as_text(table))


ENTROPY = r"F(\lambda) - \lambda F'(\lambda)"


def test_steps_are_followed_by_their_line_their_number_or_what_stands_instead(root):
    store(
        root,
        ("eq-entropy", 2, "=", ENTROPY, "n-ladder"),
        ("eq-entropy", 1, "=", "F", "digits"),
        ("eq-entropy", 7, "<=", "F", "bound"),
        ("eq-old", 1, "=", "F", "symbolic", {"instead": "eq-wide.1"}),
        ("eq-old", 2, "=", "F", "symbolic"),
        ("eq-old", 3, "=", "F", "symbolic", {"instead": "eq-wide.4"}),
    )
    rows = followed.followed(Book(root))
    assert [(row["how"], row["where"]) for row in rows] == [
        ("same line", "eq-entropy.1"),
        ("restated", "eq-entropy.1"),
        ("restated", "eq-entropy.1"),
        ("replaced", "eq-wide.1"),
        ("gone", None),
        ("gone", None),
    ]
    assert rows[0]["is"] == "proved by normal form" and rows[4]["is"] == "not in the book"
    assert followed.in_short(rows) == {
        "steps": 6,
        "proved then": 3,
        "proved": 4,
        "as they stood": 1,
        "evidence": 0,
        "gone": 2,
    }


def test_a_table_that_is_out_of_date_is_a_complaint_until_it_is_written(root, capsys):
    assert commands.table(root=root) == 1 and "no book/proof-table.json" in capsys.readouterr().err
    store(root, ("eq-entropy", 1, "=", ENTROPY, "n-ladder"))
    assert [line for line in lint.proof_table(Book(root)) if "python -m proofbook table" in line]
    assert commands.table(root=root) == 0 and "1 as they stood" in capsys.readouterr().out
    assert list(lint.proof_table(Book(root))) == []
    assert commands.table(root=root) == 0 and "is as it was" in capsys.readouterr().out
    file = root / "book" / followed.FILE
    file.write_text(file.read_text().replace("proved by normal form", "proved by magic"))
    assert len(list(lint.proof_table(Book(root)))) == 1


def test_a_step_that_has_gone_is_a_complaint_whatever_the_table_says(root):
    store(root, ("eq-gone", 1, "=", "F", "digits"))
    commands.table(root=root)
    (complaint,) = lint.proof_table(Book(root))
    assert "name what stands instead" in complaint


@pytest.mark.parametrize(
    "content", ["{", "[1]", '[{"label": "eq-x"}]', '[{"label": "x", "step": 1, "more": 2}]']
)
def test_what_is_no_table_is_said_to_be_none(root, content):
    (root / "book" / followed.FILE).write_text(content)
    with pytest.raises(BookError, match="no table of steps"):
        followed.followed(Book(root))


def test_the_book_follows_all_steps_of_its_first_edition():
    rows = json.loads((ROOT / "book" / followed.FILE).read_text(encoding="utf-8"))
    assert len(rows) == 335 and sum(row["was"] == "symbolic" for row in rows) == 121
    assert len({(row["label"], row["step"]) for row in rows}) == 335
