"""The results file: whole lines of one configuration, whoever writes at once and wherever a kill cuts."""

import errno
import json
import math
import os
import pickle
import resource
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from filelock import FileLock, Timeout
from hypothesis import given, settings
from hypothesis import strategies as st

import attnlib
from experiments.configuration import FREE, configuration_of
from experiments.corpus import Corpus
from experiments.errors import ExperimentError
from experiments.evaluation import Score
from experiments.length_extrapolation import MODULE
from experiments.results import Results, open_results, read, record, validate
from experiments.sources import code_digest, sources

CONFIGURATION = {"preset": "smoke", "steps": 30, "lengths": [64, 128], "corpus": "c" * 64, "processes": 1}
ENVIRONMENT = {
    "device": "cpu",
    "device_name": "a processor",
    "driver": None,
    "versions": {"python": "3.11.7", "torch": "2.13.0"},
    "date": "2026-11-22",
    "commit": "a" * 40,
    "modified": False,
}
CODE = ("experiments.length_extrapolation", "d" * 64)
MADE_WITH = {"configuration": CONFIGURATION, "environment": ENVIRONMENT, "module": CODE[0], "digest": CODE[1]}
SCORE = {
    "arm": "O",
    "seed": 0,
    "length": 64,
    "accuracy": 0.25,
    "loss": 5.5,
    "tokens": 640,
    "inside": {"std": [[1.0]]},
}
TRAINING = {"training": "O", "seed": 0, "losses": [6.1], "weights": "e" * 64, "seconds": 1.5}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.jsonl"


@pytest.fixture
def store(path):
    """A store with a training and two scores."""
    store = Results(path, CONFIGURATION, ENVIRONMENT, *CODE)
    store.add("training", **TRAINING)
    for length in (64, 128):
        store.add("score", **SCORE | {"length": length})
    return store


def entry(kind: str = "score", **changes) -> dict:
    values = SCORE if kind == "score" else TRAINING
    return deepcopy({"schema": 2, "kind": kind, **values, **MADE_WITH} | changes)


def test_what_is_added_is_read(store, path):
    assert store.entries() == read(path) == [entry("training"), entry(), entry(length=128)]
    assert path.read_bytes().count(b"\n") == 3
    assert store.find(kind="score", arm="O", length=128) == [entry(length=128)]
    assert store.find(training="O") == [entry("training")] and len(store.find(seed=0)) == 3
    assert store.find(kind="score", arm="O", length=256) == store.find(kind="training", seed=1) == []
    assert Results(path, CONFIGURATION, ENVIRONMENT, *CODE).entries() == store.entries()


def test_no_file_is_no_results(tmp_path):
    assert read(tmp_path / "none.jsonl") == []
    store = Results(tmp_path / "new" / "folder" / "results.jsonl", CONFIGURATION, ENVIRONMENT, *CODE)
    assert store.entries() == []
    store.add("score", **SCORE)
    assert store.entries() == [entry()]


@pytest.mark.parametrize("cut", [1, 2, 100, -1])
def test_a_torn_last_line_is_ignored_and_then_overwritten_whole(store, path, cut):
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(whole[: len(whole) - len(lines[-1])] + lines[-1][:cut])
    assert read(path) == [entry("training"), entry()]
    assert not store.find(length=128)
    store.add("score", **SCORE | {"length": 128})
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{}",
        b"[]",
        b"3",
        b'{"schema": 1, "kind": "sco',
        b"\0" * 40,
        b"null",
        b"[" * 100_000,
        json.dumps(
            TRAINING
            | {"schema": 1, "kind": "training", "configuration": {}, "environment": {}}
            | {"seconds": 10**400}
        ).encode(),
    ],
    ids=["empty", "object", "list", "number", "torn", "zeros", "null", "nested", "huge"],
)
def test_a_damaged_line_in_the_middle_is_refused_with_its_number(store, path, damage):
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], damage, *lines[2:]]))
    with pytest.raises(ExperimentError, match=r"results\.jsonl, line 2, is damaged"):
        read(path)
    with pytest.raises(ExperimentError, match="line 2, is damaged"):
        Results(path, CONFIGURATION, ENVIRONMENT, *CODE)


def test_bytes_that_are_no_text_are_refused(store, path):
    path.write_bytes(path.read_bytes() + b"\xff\xfe\n")
    with pytest.raises(ExperimentError, match="line 4, is damaged"):
        read(path)


def test_a_last_line_torn_within_a_character_is_ignored(path):
    store = Results(
        path, CONFIGURATION, ENVIRONMENT | {"device_name": "a processor of the Zürich kind"}, *CODE
    )
    store.add("score", **SCORE)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: whole.index("ü".encode()) + 1])
    assert len(read(path)) == 1
    store.add("score", **SCORE | {"length": 128})
    assert path.read_bytes().startswith(whole) and len(read(path)) == 2


def test_one_result_twice_is_refused(store, path):
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[1])
    with pytest.raises(ExperimentError, match="line 4, is the result of line 2 again"):
        read(path)


MIXES = {
    "preset": (
        {"configuration": CONFIGURATION | {"preset": "cpu"}},
        "preset is 'smoke' in one and 'cpu' in the other",
    ),
    "processes": (
        {"configuration": CONFIGURATION | {"processes": 2}},
        "processes is 1 in one and 2 in the other",
    ),
    "lengths": (
        {"configuration": CONFIGURATION | {"lengths": [64]}},
        r"lengths is \[64, 128\] in one and \[64\]",
    ),
    "corpus": ({"configuration": CONFIGURATION | {"corpus": "f" * 64}}, "corpus is"),
    "new setting": (
        {"configuration": CONFIGURATION | {"extra": 1}},
        "extra is None in one and 1 in the other",
    ),
    "digest": ({"digest": "f" * 64}, "digest is"),
    "torch": (
        {"environment": ENVIRONMENT | {"versions": {"python": "3.11.7", "torch": "2.14.0"}}},
        "torch is '2.13.0' in one and '2.14.0' in the other",
    ),
    "device": (
        {"environment": ENVIRONMENT | {"device": "cuda"}},
        "device is 'cpu' in one and 'cuda' in the other",
    ),
    "device_name": ({"environment": ENVIRONMENT | {"device_name": "another"}}, "device_name is"),
}


@pytest.mark.parametrize("change, says", MIXES.values(), ids=MIXES)
def test_two_configurations_in_one_file_are_refused(store, path, change, says):
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(entry(length=256, **change)) + "\n")
    with pytest.raises(ExperimentError, match="mixes results of two configurations: " + says):
        read(path)


@pytest.mark.parametrize("change, says", MIXES.values(), ids=MIXES)
def test_another_configuration_does_not_go_on(store, path, change, says):
    before = path.read_bytes()
    wanted = MADE_WITH | change
    with pytest.raises(ExperimentError, match="results of another configuration: " + says) as caught:
        Results(path, **wanted)
    assert str(path) in str(caught.value) and "--out" in str(caught.value)
    assert path.read_bytes() == before


def test_a_later_day_and_another_commit_of_the_same_code_may_go_on(store, path):
    later = ENVIRONMENT | {"date": "2026-11-30", "commit": "b" * 40, "modified": True}
    Results(path, CONFIGURATION, later, *CODE).add("score", **SCORE | {"length": 256})
    assert len(read(path)) == 4


def test_configuration_of_leaves_out_what_may_differ():
    assert configuration_of(entry()) == CONFIGURATION | ENVIRONMENT["versions"] | {"digest": CODE[1]} | {
        name: ENVIRONMENT[name] for name in ("device", "device_name", "driver")
    }


def without(name: str) -> dict:
    made = entry()
    del made[name]
    return made


@pytest.mark.parametrize(
    "bad, says",
    [
        (None, "result must be .*, got None"),
        ([], r"result must be .*, got \[\]"),
        ("score", "result must be .*, got 'score'"),
        ({}, r"result lacks \['kind'\]"),
        (entry() | {"kind": "x"}, "result/kind must be training or score, got 'x'"),
        (entry(kind="score") | {"kind": ["score"]}, "result/kind must be training or score"),
        (entry(schema=1), "result/schema must be 2, got 1"),
        (without("schema"), r"result lacks \['schema'\]"),
        (without("loss"), r"result lacks \['loss'\]"),
        (without("environment"), r"result lacks \['environment'\]"),
        (without("digest"), r"result lacks \['digest'\]"),
        (entry(note="x"), r"result has unknown fields \['note'\]"),
        (entry("training") | {"kind": "score"}, "result lacks|result has unknown fields"),
        (entry(schema="2"), "schema must be 2, got '2'"),
        (entry(schema=True), "schema must be 2, got True"),
        (entry(accuracy=1.5), "accuracy must be .* got 1.5"),
        (entry(accuracy=-0.1), "accuracy must be .* got -0.1"),
        (entry(accuracy=float("nan")), "accuracy must be .* got nan"),
        (entry(accuracy="0.5"), "accuracy must be .* got '0.5'"),
        (entry(accuracy=True), "accuracy must be .* got True"),
        (entry(loss=-1.0), "loss must be .* got -1.0"),
        (entry(loss=float("nan")), "loss must be .* got nan"),
        (entry(loss=None), "loss must be .* got None"),
        (entry(tokens=0), "tokens must be .* got 0"),
        (entry(tokens=1.5), "tokens must be .* got 1.5"),
        (entry(seed="0"), "seed must be .* got '0'"),
        (entry(length=[64]), r"length must be .* got \[64\]"),
        (entry(arm=3), "arm must be a name, got 3"),
        (entry(inside=[1.0]), r"inside must be .* got \[1.0\]"),
        (entry(inside={"std": [1.0]}), "inside/std/0 must be a list of heads"),
        (entry(inside={"std": [["x"]]}), "inside/std/0/0 must be a finite number or null"),
        (entry(inside={"std": [[float("nan")]]}), "inside/std/0/0 must be a finite number or null, got nan"),
        (entry(configuration=["smoke"]), "configuration must be"),
        (entry(environment="cpu"), "environment must be of type object, got 'cpu'"),
        (entry("training", losses=6.1), "losses must be .* got 6.1"),
        (entry("training", losses=[6.1] * 100 + [None]), "losses/100 must be .* got None"),
        (entry("training", weights=None), "weights must be .* got None"),
        (entry("training", weights="e"), "weights must be a sha256"),
        (entry("training", seconds=-1), "seconds must be .* got -1"),
        (entry(digest="d"), "digest must be a sha256"),
        (entry(environment=ENVIRONMENT | {"date": "today"}), "date must be a day as year-month-day"),
        (entry("training", environment={}), "environment lacks"),
        (entry(carried_from={}), "carried_from lacks"),
    ],
)
def test_validate_refuses(bad, says):
    with pytest.raises(ValueError, match=says):
        validate(bad)


def test_validate_accepts():
    for good in (
        entry(),
        entry("training"),
        entry(accuracy=0.0, loss=0.0),
        entry(accuracy=1),
        entry(inside={"std": [[None]]}),
        entry(carried_from={"commit": "a" * 40, "digest": "0" * 64, "date": "2026-11-26", "how": "so"}),
    ):
        validate(good)


@given(
    junk=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    ),
    kind=st.sampled_from(["score", "training"]),
    data=st.data(),
)
@settings(max_examples=200)
def test_validate_says_so_of_any_field(junk, kind, data):
    """A field that is not what it must be is a ValueError, whatever it is instead."""
    made = entry(kind)
    name = data.draw(st.sampled_from(sorted(made)))
    try:
        validate(made | {name: junk})
    except ValueError:
        return
    assert type(junk) is type(made[name]) or isinstance(junk, (int, float))


def test_two_configurations_begun_at_once(path):
    """Both found no file; the second to add is refused, and the first one's results stay."""
    first = Results(path, CONFIGURATION, ENVIRONMENT, *CODE)
    second = Results(path, CONFIGURATION | {"steps": 31}, ENVIRONMENT, *CODE)
    first.add("score", **SCORE)
    before = path.read_bytes()
    with pytest.raises(ExperimentError, match="steps is 30 in one and 31 in the other"):
        second.add("score", **SCORE | {"length": 128})
    assert path.read_bytes() == before


def test_a_store_goes_to_another_process(store):
    there = pickle.loads(pickle.dumps(store))
    there.add("score", **SCORE | {"length": 256})
    assert store.entries() == there.entries() and len(store.entries()) == 4


def test_shares_of_no_weight_are_null(path):
    store = Results(path, CONFIGURATION, ENVIRONMENT, *CODE)
    total = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    near = torch.tensor([[1 / 3, math.nan]], dtype=torch.float64)
    store.add_score("O", 0, 64, Score(0.25, 5.5, 640, {"near": near, "total": total}))
    assert store.entries() == [entry(inside={"near": [[0.333333, None]], "total": [[1.0, 0.0]]})]


@pytest.mark.parametrize(
    "inside",
    [
        {"near": [[math.nan]]},
        {"near": [[math.nan]], "total": [[0.5]]},
        {"std": [[math.nan]], "total": [[0.0]]},
        {"total": [[math.nan]]},
        {"near": [[math.inf]], "total": [[0.0]]},
    ],
)
def test_any_other_nan_inside_is_no_result(path, inside):
    """It would be a fault of the measurement, and as null look like a head without weights."""
    store = Results(path, CONFIGURATION, ENVIRONMENT, *CODE)
    score = Score(0.25, 5.5, 640, {name: torch.tensor(values) for name, values in inside.items()})
    with pytest.raises(ExperimentError, match="not stored: .*inside/.* must be a finite number or null, got"):
        store.add_score("O", 0, 64, score)
    assert not path.exists()


def test_a_store_knows_preset_corpus_code_and_kind_of_device(tmp_path):
    corpus = Corpus(train=(), held_out=torch.zeros(0, 4096), vocabulary=512, digest="c" * 64)
    store = open_results(tmp_path / "a.jsonl", MODULE, "smoke", corpus, "cpu:0", processes=3)
    made = store.identity
    assert made["device"] == "cpu" and made["processes"] == 3 and made["corpus"] == "c" * 64
    assert made["preset"] == "smoke" and made["steps"] == 30 and made["torch"] == torch.__version__
    assert made["digest"] == code_digest(MODULE)
    store.add("score", **SCORE)
    assert store.entries()[0]["module"] == MODULE


def test_colours_are_no_code_of_an_experiment():
    reached = sources().reached("experiments.length_extrapolation", "experiments.known_distances")
    assert {"attnlib.attention", "experiments.training", "experiments.evaluation"} <= set(reached)
    assert not {"attnlib", "experiments", "experiments.figures", "experiments.carry_over"} & set(reached)


def test_what_is_no_result_is_not_added(store, path):
    before = path.read_bytes()
    for kind, values in [
        ("score", SCORE | {"accuracy": 2.0}),
        ("other", SCORE),
        ("score", {"arm": "O"}),
        ("score", SCORE | {"inside": {"std": [[float("nan")]]}}),
        ("score", SCORE | {"loss": float("nan")}),
        ("score", SCORE | {"loss": float("inf")}),
    ]:
        with pytest.raises(ExperimentError, match="this is no result, and was not stored"):
            store.add(kind, **values)
    assert path.read_bytes() == before


def test_a_full_disk_leaves_the_file_as_it_was(store, path, monkeypatch):
    before = path.read_bytes()

    def no_space(_) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            store.add("score", **SCORE | {"length": 256})
    assert path.read_bytes() == before
    store.add("score", **SCORE | {"length": 256})
    assert path.read_bytes().startswith(before) and len(read(path)) == 4


def test_a_file_that_may_not_grow_keeps_its_results(store, path):
    """A true failure in the middle of a line, by the limit that the system puts on a file."""
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, hard))
    try:
        with pytest.raises(OSError):
            store.add("score", **SCORE | {"length": 256})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes().startswith(before) and len(read(path)) == 3
    store.add("score", **SCORE | {"length": 256})
    assert [one.get("length") for one in read(path)] == [None, 64, 128, 256]


ADDER = """
import json, sys
from pathlib import Path
from experiments.results import Results
path, made_with, score = (json.loads(x) for x in sys.argv[1:])
store = Results(Path(path), **made_with)
Path(path).with_name("ready").touch()
for length in range(1, 41):
    store.add("score", **score | {"seed": 1, "length": length})
"""


def test_processes_that_add_at_once_lose_nothing(path):
    """Lines of 15 kB, so that none is written by one call of the system."""
    long = SCORE | {"inside": {"std": [[1.0] * 3000]}}
    where = os.environ | {"PYTHONPATH": str(Path(attnlib.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    arguments = [json.dumps(x) for x in (str(path), MADE_WITH, long)]
    other = subprocess.Popen([sys.executable, "-c", ADDER, *arguments], env=where)
    while not path.with_name("ready").exists():
        assert other.poll() is None
        time.sleep(0.001)
    store, added = Results(path, CONFIGURATION, ENVIRONMENT, *CODE), 0
    while other.poll() is None:
        added += 1
        store.add("score", **long | {"length": added})
    assert other.returncode == 0 and added > 1
    found = read(path)
    for seed, count in ((0, added), (1, 40)):
        assert [one["length"] for one in found if one["seed"] == seed] == list(range(1, count + 1))


def test_a_line_is_written_under_the_lock(store, path, monkeypatch):
    """Where it could be seen without luck: while the line goes to the disk nobody else can have the file."""
    seen = []

    def while_written(_) -> None:
        with pytest.raises(Timeout):
            FileLock(path.with_name("results.jsonl.lock")).acquire(timeout=0)
        seen.append(read(path))

    monkeypatch.setattr(os, "fsync", while_written)
    store.add("score", **SCORE | {"length": 256})
    assert [len(entries) for entries in seen] == [4]
    with FileLock(path.with_name("results.jsonl.lock")).acquire(timeout=0):
        pass


WHOLE = [entry("training", training=training, seed=seed) for training in ("E", "O") for seed in (0, 1)] + [
    entry(arm=arm, seed=seed, length=length)
    for arm in ("E", "O", "sphere")
    for seed in (0, 1)
    for length in (64, 128, 1024)
]


@given(entries=st.permutations(WHOLE))
@settings(max_examples=10)
def test_a_record_does_not_depend_on_the_order_of_the_runs(entries, tmp_path_factory):
    path = tmp_path_factory.mktemp("record") / "deeper" / "record.jsonl"
    record(path, entries)
    assert read(path) == WHOLE
    record(path, WHOLE)
    assert read(path) == WHOLE


def test_a_record_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "record.jsonl"
    record(path, WHOLE)
    before = path.read_bytes()

    def no_space(_) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError):
        record(path, WHOLE[:3])
    assert path.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [tmp_path / "SHA256SUMS", path]


def test_the_free_fields_are_fields():
    assert FREE < set(ENVIRONMENT)
