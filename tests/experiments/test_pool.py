"""Work spread over processes: every piece once, and all at an end with the first error."""

import time
from pathlib import Path

import pytest

from experiments.errors import ExperimentError
from experiments.pool import run_at_once


def note(piece: Path, position: int) -> None:
    piece.write_text(str(position))


def fail_or_wait(piece: Path, position: int) -> None:
    piece.write_text("begun")
    if piece.name == "0":
        while not piece.with_name("1").exists():
            time.sleep(0.01)
        raise LookupError("the first of them")
    time.sleep(600)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_every_piece_is_done_once_in_a_place_of_its_own(processes, tmp_path):
    pieces = [tmp_path / str(piece) for piece in range(6)]
    run_at_once(note, pieces, processes)
    assert {int(piece.read_text()) for piece in pieces} <= set(range(processes))


def test_the_first_error_ends_what_is_running_and_what_waits(tmp_path):
    """Pieces that would wait for ten minutes: nothing waits for them, and nothing after them is begun."""
    pieces = [tmp_path / str(piece) for piece in range(6)]
    start = time.monotonic()
    with pytest.raises(LookupError, match="the first of them"):
        run_at_once(fail_or_wait, pieces, 2)
    assert time.monotonic() - start < 300
    # The worker that failed may have taken one more before it was ended.
    assert sorted(path.name for path in tmp_path.iterdir()) in (["0", "1"], ["0", "1", "2"])


def fail_in_ones_own_way(piece, position):
    class Unsendable(Exception):
        """No process but this one knows its class."""

    raise Unsendable(f"piece {piece}")


def test_an_error_that_cannot_travel_says_what_it_said(tmp_path):
    with pytest.raises(ExperimentError, match="Unsendable: piece 3"):
        run_at_once(fail_in_ones_own_way, [3], 2)
