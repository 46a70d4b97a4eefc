"""A record that is changed after it was made is found out."""

import subprocess

import pytest

from proofbook.ledger import sums


@pytest.fixture
def folder(tmp_path):
    sums.keep(tmp_path / "cpu.json", b'{"value": 1.25}\n')
    sums.keep(tmp_path / "runs.jsonl", b"{}\n")
    return tmp_path


def test_what_was_recorded_is_kept(folder):
    assert sums.problems(folder) == []
    assert subprocess.run(["sha256sum", "--quiet", "-c", sums.NAME], cwd=folder, check=False).returncode == 0
    sums.keep(folder / "cpu.json", b'{"value": 1.5}\n')
    assert sums.problems(folder) == []


def test_no_records_are_no_problem(tmp_path):
    assert sums.problems(tmp_path / "recorded") == []


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda folder: (folder / "cpu.json").write_bytes(b'{"value": 1.26}\n'), "is not what was recorded"),
        (lambda folder: (folder / "cpu.json").write_bytes(b'{"value": 1.25}'), "is not what was recorded"),
        (lambda folder: (folder / "new.json").write_bytes(b"{}"), "has no digest"),
        (lambda folder: (folder / "runs.jsonl").unlink(), "is gone"),
        (lambda folder: (folder / "cpu.json").rename(folder / "gpu.json"), "has no digest"),
        (lambda folder: (folder / sums.NAME).write_text("torn"), "has no digest"),
        (lambda folder: (folder / sums.NAME).unlink(), "has no digest"),
    ],
)
def test_a_change_is_found(folder, change, message):
    change(folder)
    assert any(message in problem for problem in sums.problems(folder))
