"""A monitor writes what the recorder saw, where it was told to, and never stops the training."""

import csv
import math

import pytest
import torch
from torch import nn

from attnlib import AttentionMonitor, record_attention
from attnlib.errors import AttentionWarning, InvalidArgument


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()


def batches():
    return torch.randn(4, 2, 10, 16, generator=torch.Generator().manual_seed(1))


def train(model, monitor):
    for batch in batches():
        with monitor.step():
            model(batch).sum().backward()


def test_a_function_is_given_the_rows_of_every_other_step(model):
    seen = {}
    train(model, AttentionMonitor(model, seen.__setitem__, every=2))
    assert sorted(seen) == [0, 2]
    with record_attention(model) as report:
        model(batches()[2])
    assert seen[2] == report.to_rows()


def test_a_file_is_appended_to(model, tmp_path):
    path = tmp_path / "log.csv"
    train(model, AttentionMonitor(model, path, every=3))
    resumed = AttentionMonitor(model, str(path))
    with resumed.step(100):
        model(batches()[0])
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["0"] * 4 + ["3"] * 4 + ["100"] * 4
    assert rows[0]["entropy"] == rows[8]["entropy"] and rows[0]["layer"] == "self_attn"
    other = tmp_path / "other.csv"
    other.write_text("a,b\n")
    with pytest.raises(InvalidArgument, match="begins with 'a,b' and not with 'step,layer,"):
        AttentionMonitor(model, other)


class Writer:
    def __init__(self):
        self.scalars = {}

    def add_scalar(self, tag, value, step):
        assert math.isfinite(value)
        self.scalars[tag, step] = value


def test_a_writer_is_given_scalars(model):
    writer = Writer()
    train(model, AttentionMonitor(model, writer, every=4))
    with record_attention(model) as report:
        model(batches()[0])
    means = report["self_attn"]
    assert writer.scalars["attention/self_attn/entropy", 0] == means.entropy.mean().item()
    assert writer.scalars["attention/self_attn/least entropy", 0] == means.entropy.min().item()
    assert {step for _, step in writer.scalars} == {0}


def test_nothing_stops_the_training(model):
    seen = []
    monitor = AttentionMonitor(model, lambda step, rows: seen.append((step, rows)))
    with pytest.warns(AttentionWarning, match="must be finite"), monitor.step():
        model(batches()[0] * math.nan)
    with pytest.warns(AttentionWarning, match="step 1: .* was not called"), monitor.step():
        pass
    assert seen == [(0, []), (1, [])]
    with pytest.raises(KeyError, match="mine"), monitor.step():
        raise KeyError("mine")


@pytest.mark.parametrize(
    "change, error, said",
    [
        ({"model": None}, TypeError, "model must be a torch.nn.Module, got NoneType"),
        ({"to": 3}, TypeError, "to must be a function, a path or have add_scalar, got int"),
        ({"every": 0}, InvalidArgument, "every must lie in .1"),
        ({"every": 1.5}, TypeError, "every must be an int, got float"),
    ],
)
def test_arguments_are_checked(model, change, error, said):
    given = {"model": model, "to": print, "every": 1} | change
    with pytest.raises(error, match=said):
        AttentionMonitor(given["model"], given["to"], every=given["every"])
