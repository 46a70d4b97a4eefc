"""The guide that records on a GPU: it runs nothing unasked, and says so where there is no GPU."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import torch

NOTEBOOK = Path(__file__).parents[2] / "book/record-on-your-gpu.ipynb"


@pytest.fixture
def cells(monkeypatch):
    monkeypatch.chdir(NOTEBOOK.parent)
    monkeypatch.delenv("RECORDED_BY_A_GUIDE", raising=False)
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: started.append(command))
    sources = [
        cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"
    ]

    def run(old="", new=""):
        names = {}
        for source in sources:
            exec(source.replace(old, new) if old else source, names)
        return started

    return run


def test_nothing_is_run_unasked(cells):
    assert cells() == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_a_device_it_stops_before_anything_runs(cells):
    with pytest.raises(RuntimeError, match="no CUDA device here: nothing was run"):
        cells("RECORD = False", "RECORD = True")


def test_the_checks_do_not_start_themselves_again(cells, monkeypatch):
    monkeypatch.setenv("RECORDED_BY_A_GUIDE", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert cells("RECORD = False", "RECORD = True") == []


def test_asked_it_runs_what_the_commands_do(cells, monkeypatch):
    class Done:
        stdout = ()

        @staticmethod
        def wait():
            return 0

    asked = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: asked.append(command) or Done)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    cells("RECORD = False", "RECORD = True")
    assert all(command[:2] == [sys.executable, "-m"] for command in asked)
    assert [command[2] for command in asked] == ["proofbook.ledger", "benchmarks", "pytest"]
