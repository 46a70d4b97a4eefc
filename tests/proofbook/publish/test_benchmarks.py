"""Recorded benchmarks: what the command writes is what the page reads, and what it says of their age."""

import copy
import json
import math
import sys
from pathlib import Path

import pytest
import torch
from built_site import build_by_command, lay_out, read, text

import attnlib
from attnlib._rows import building
from benchmarks import __main__ as command
from benchmarks import attention_peers, import_time, normalization_suite, recording, row_statistics
from benchmarks.harness import bar, compiled_here
from experiments.sources import code_digest
from proofbook.publish.benchmarks import place, rows, shown, validate

ROOT = Path(__file__).parents[3]
PEER = "output only (SDPA)"


def record(digest: str | None = None, made_on: dict | None = None, **changes) -> dict:
    """A record of two benchmarks; of the present code unless a digest is given."""
    timing = {"ms": 1234.5, f"ratio to {PEER}": 1.0}
    code = {
        name: {"module": f"benchmarks.{name}", "digest": digest or code_digest(f"benchmarks.{name}")}
        for name in ("row_statistics", "import_time")
    }
    return {
        "schema": 2,
        "environment": {
            "device": "cpu",
            "device_name": "A processor of two cores",
            "driver": None,
            "versions": {"python": "3.11.9", "torch": "2.13.0"},
            "date": "2026-01-31",
            "commit": "0123456789abcdef" * 2 + "01234567",
            "modified": False,
        }
        | (made_on or {}),
        "threads": 2,
        "quick": False,
        "benchmarks": {
            "row_statistics": {
                **code["row_statistics"],
                "results": {
                    "4096": {
                        "forward": {PEER: timing, "lse + entropy": timing | {f"ratio to {PEER}": 1.07}},
                        "peak bytes": {"lse + entropy": 8_400_000, "written out": None},
                    }
                },
                "bars": [
                    {"name": "lse + entropy against output", "value": 1.07, "at_most": 1.15, "met": True},
                    {"name": "written out against it", "value": 4.2, "at_least": 5, "met": False},
                ],
            },
            "import_time": {
                **code["import_time"],
                "results": {"import torch": {"ms": 912.0}},
                "bars": [],
            },
        },
    } | changes


def without(name):
    return lambda data: data.pop(name)


def put(value, *path):
    def change(data):
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return change


BARS = ("benchmarks", "row_statistics", "bars")
TIMES = ("benchmarks", "import_time")
FAULTS = [
    (without("environment"), r"benchmarks lacks \['environment'\]"),
    (put("", "environment", "device_name"), "device_name must be the hardware in words, got ''"),
    (put("31.1.2026", "environment", "date"), "date must be a day as year-month-day"),
    (put(None, "environment", "commit"), "modified must be null without a commit, got False"),
    (put(1, "note"), r"benchmarks has unknown fields \['note'\]"),
    (put(1, "schema"), "schema must be 2, got 1"),
    (put("abc", *TIMES, "digest"), "import_time/digest must be a sha256 in hexadecimal, got 'abc'"),
    (put({}, "benchmarks"), "one at least, got {}"),
    (put({"results": {}}, *TIMES), "import_time lacks"),
    (put({}, *TIMES, "results"), "import_time/results must be named numbers"),
    (
        put("fast", *TIMES, "results", "import torch"),
        "results/import torch must be named numbers, or such by name",
    ),
    (put(math.nan, *TIMES, "results", "import torch", "ms"), "results/import torch must be named numbers"),
    (put(1.2, *BARS, 0, "value"), "met is True, the numbers say otherwise"),
    (put(True, *BARS, 1, "met"), "met is True, the numbers say otherwise"),
    (put(1, *BARS, 1, "at_most"), "bars/1 must be a bar with one limit"),
    (put("1.07", *BARS, 0, "value"), "bars/0/value must be a finite number, got '1.07'"),
]


@pytest.mark.parametrize("change, message", FAULTS, ids=[message for _, message in FAULTS])
def test_a_faulty_record_is_refused(change, message):
    data = copy.deepcopy(record())
    validate(data)
    change(data)
    with pytest.raises(ValueError, match=message):
        validate(data)


def test_rows_keep_their_order_and_their_place():
    flat = list(rows(record()["benchmarks"]["row_statistics"]["results"]))
    assert [(place(where), case, list(numbers)) for where, case, numbers in flat] == [
        ("n = 4,096, forward", PEER, ["ms", f"ratio to {PEER}"]),
        ("n = 4,096, forward", "lse + entropy", ["ms", f"ratio to {PEER}"]),
        ("n = 4,096", "lse + entropy", ["peak bytes"]),
        ("n = 4,096", "written out", ["peak bytes"]),
    ]


@pytest.mark.parametrize(
    "quantity, value, text",
    [
        ("peak bytes", 1.074e9, "1,070 MB"),
        ("ms", 99.96, "100"),
        ("ms", 12345678.0, "12,300,000"),
        ("failed", 0, "0"),
        ("ratio", 0.98765, "0.988"),
    ],
)
def test_numbers_are_shown_with_three_digits(quantity, value, text):
    assert shown(quantity, value) == text


def test_what_the_command_writes_is_what_the_page_reads(tmp_path, monkeypatch, capsys):
    def run(device, quick):
        return {"results": {64: {"fused": {"ms": 1.0}}}, "bars": [bar("fused", 1.0, at_most=2)]}

    monkeypatch.setattr(import_time, "run", run)
    out, threads = tmp_path / "recorded" / "benchmarks-cpu.json", torch.get_num_threads()
    monkeypatch.setattr(
        sys, "argv", ["benchmarks", "import_time", "--quick", "--threads", "1", "--out", str(out)]
    )
    try:
        assert command.main() == 0
    finally:
        torch.set_num_threads(threads)
    written = json.loads(out.read_text())
    validate(written)
    assert written["quick"] and written["threads"] == 1
    assert written["benchmarks"]["import_time"]["digest"] == code_digest("benchmarks.import_time")
    assert written["environment"]["versions"]["torch"] == torch.__version__
    assert "fused: 1, at most 2: met" in capsys.readouterr().out


def test_the_normalisation_suite_measures_every_method():
    measured = normalization_suite.measure(120, seed=1)
    assert list(measured) == ["attnlib", "bisection", "article, 20 rounds"]
    assert measured["attnlib"]["failed"] == measured["bisection"]["failed"] == 0
    assert min(measured["article, 20 rounds"][count] for count in ("failed", "power below 0")) > 0
    assert 1 <= measured["attnlib"]["iterations, most"] <= 20
    assert measured["bisection"]["ratio to bisection"] == 1
    assert len(list(rows(measured))) == 3


def test_attention_and_its_peers_are_right_before_they_are_timed(monkeypatch):
    rates = {torch.float32: attention_peers.matrix_rate("cpu", torch.float32, 64, rounds=1)}
    measured = attention_peers.measure(65, "cpu", torch.float32, rates, heads=2, rounds=1)
    assert list(measured) == [PEER, "lse + entropy", "all statistics", "output + all statistics"]
    needed = 4 * 2 * 65 * 65 * 64 / (1e-3 * measured[PEER]["ms"])
    share = measured[PEER]["share of the matrix rate"]
    assert share == pytest.approx(needed / rates[torch.float32])
    assert len(list(rows({"65": {"float32": measured}}))) == 4
    entropy = attnlib.row_entropy
    monkeypatch.setattr(
        attnlib, "row_entropy", lambda q, k: entropy(q, k)._replace(entropy=entropy(q, k).lse)
    )
    with pytest.raises(AssertionError, match="lse \\+ entropy"):
        attention_peers.measure(65, "cpu", torch.float32, rates, heads=2, rounds=1)


def test_rows_are_right_before_they_are_timed(monkeypatch):
    monkeypatch.setitem(row_statistics.SHAPES, 65, (1, 2, 65, 8))
    row_statistics.check(65, "cpu")
    statistics = attnlib.row_statistics

    def cancelled(q, k, **options):
        rows = statistics(q, k, **options)
        return rows if "impl" in options else rows._replace(varentropy=rows.varentropy + 0.01)

    monkeypatch.setattr(attnlib, "row_statistics", cancelled)
    with pytest.raises(AssertionError, match="not close"):
        row_statistics.check(65, "cpu")


@pytest.mark.parametrize("shape", [(1, 2, 700, 8), (3, 2, 130, 8), (5, 4, 6, 8)])
def test_the_floor_visits_every_tile(monkeypatch, shape):
    """What its tiles hold of q k^T and of p v, summed, is what the whole matrices hold."""
    q, k, v = (x.double() for x in row_statistics.normal(shape, "cpu"))
    floor = row_statistics.Floor(q, k, v)
    sums, product, bmm = {"logits": 0.0, "output": 0.0}, torch.baddbmm, torch.bmm

    def add(name, result):
        sums[name] += float(result.sum())
        return result

    monkeypatch.setattr(torch, "baddbmm", lambda *given, **named: add("logits", product(*given, **named)))
    monkeypatch.setattr(torch, "bmm", lambda *given, **named: add("output", bmm(*given, **named)))
    floor.run(output=True)
    assert sums["logits"] == pytest.approx(float((q @ k.mT).sum()) * shape[-1] ** -0.5)
    floor.run(exponentials=True, output=True)
    assert sums["output"] != 0
    for case in floor.cases().values():
        case()


def test_a_bar_is_the_target_or_a_little_more_than_the_floor():
    def table(floor):
        names = (row_statistics.ENTROPY, row_statistics.ALL, row_statistics.BOTH)
        ratio = f"ratio to {PEER}"
        return {name: {ratio: 1.2} for name in names} | {f"floor: {name}": {ratio: floor} for name in names}

    limits = [[bar["at_most"] for bar in row_statistics.bars_at(n, table(0.5))] for n in (128, 4096)]
    assert limits == [[1.5, 1.5], [1.1, 1.3, 2.0]]
    entropy, *_ = row_statistics.bars_at(4096, table(1.0))
    assert entropy["at_most"] == pytest.approx(1.15) and "which leaves no 1.1" in entropy["name"]


def test_what_is_compiled_is_held_to_the_target_itself():
    names = (row_statistics.ENTROPY, row_statistics.ALL, row_statistics.BOTH)
    ratio = f"ratio to {PEER}"
    table = {name: {ratio: 1.2} for name in names} | {f"floor: {name}": {ratio: 9.0} for name in names}
    tiles = {n: row_statistics.bars_at(n, table) for n in (128, 4096)}
    table |= {name + row_statistics.COMPILED: {ratio: 1.2} for name in names}
    limits = [[bar["at_most"] for bar in row_statistics.bars_at(n, table)[len(tiles[n]) :]] for n in tiles]
    assert limits == [[1.5, 1.5], [1.1, 1.3, 1.3]]


def test_without_a_compiler_the_benchmarks_say_so(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    building.library.cache_clear()
    assert not compiled_here("cpu")
    said = capsys.readouterr().out
    assert said.startswith("impl='compiled' is left out: ") and "C++ compiler" in said


def test_a_model_is_recorded_right_before_it_is_timed(monkeypatch):
    for name, size in (("LAYERS", 2), ("WIDTH", 12), ("HEADS", 3)):
        monkeypatch.setattr(recording, name, size)
    model, x = recording.Encoder().eval(), torch.randn(2, 5, 12)
    with torch.no_grad():
        recording.check(model, x)
        assert list(recording.cases(model, x)) == [
            PEER.replace("output only", "forward"),
            "recorded",
            "eager, weights written out",
            "eager, entropy of its weights",
        ]
        monkeypatch.setattr(recording, "entropies", lambda *_: [torch.ones(3), torch.ones(3)])
        with pytest.raises(AssertionError, match="not close"):
            recording.check(model, x)


def test_every_benchmark_can_be_named():
    files = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    assert files - {"__init__", "__main__", "harness", "normalization_problems"} == set(command.MODULES)


TOC = """
  - caption: The library
    chapters:
      - file: book/benchmarks
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    root = lay_out(tmp_path_factory.mktemp("timed"))
    toc = root / "_toc.yml"
    toc.write_text(toc.read_text().rstrip("\n") + TOC)
    recorded = root / "book/recorded"
    recorded.mkdir()
    (recorded / "benchmarks-cpu.json").write_text(json.dumps(record()))
    card = {"device": "cuda", "device_name": "A card", "modified": True}
    other = record(digest="0" * 64, made_on=card, quick=True)
    (recorded / "benchmarks-cuda.json").write_text(json.dumps(other))
    html = build_by_command(root)
    assert read(html, "book/recorded-runs.html").count("Not recorded yet.") == 4  # timings are no runs
    return read(html, "book/benchmarks.html")


def test_the_page_names_the_hardware_and_shows_the_numbers(page):
    shown_text = text(page)
    assert "A processor of two cores" in shown_text and "Threads : 2" in shown_text
    assert "n = 4,096, forward output only (SDPA)" in shown_text and "lse + entropy 1,230 1.07" in shown_text
    assert "n = 4,096 lse + entropy 8.4 MB" in shown_text
    assert "row statistics : lse + entropy against output 1.07 ≤ 1.15 met" in shown_text
    assert "row statistics : written out against it 4.2 ≥ 5 missed" in shown_text


def test_a_record_of_other_sources_is_marked_stale(page):
    current, stale = page.split("A card")
    assert current.count('class="current"') == 1 and page.count('class="current"') == 1
    assert page.count('class="stale"') == 1 and "with local changes" in stale and "few (quick)" in stale
    assert "the code of row statistics, import time has changed since this run" in text(page)
    assert "Not recorded yet." not in page
