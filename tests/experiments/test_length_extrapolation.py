"""The command: killed and started again, alone, several at a time or data-parallel, and its complaints.

Processes read a made-up text from a package that stands in for the King James Bible; all else is the real
command.
"""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from experiments_corpus import made_up_text, write_text_package
from filelock import FileLock

import attnlib
from experiments import checkpoints, corpus, length_extrapolation, results, training
from experiments.arms import ARMS
from experiments.configuration import FREE
from experiments.length_extrapolation import MODULE, main
from experiments.presets import PRESETS

SMOKE = PRESETS["smoke"]
TRAININGS = ("O", "gau-relu2-n")
SCORES = [
    (arm.name, length)
    for training in TRAININGS
    for arm in ARMS
    if arm.training.name == training
    for length in (64, 128)
]
LONG = 1200  # seconds that no process here should need on the busiest machine


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    write_text_package(folder, made_up_text())
    return folder


@pytest.fixture(scope="module", autouse=True)
def made_up(text):
    """The made-up text in this process too."""
    made = corpus.load_corpus.__wrapped__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "kjv_text", made_up_text)
        loaded = {SMOKE.vocabulary: made(SMOKE.vocabulary)}
        patch.setattr(length_extrapolation, "load_corpus", lambda vocabulary: loaded[vocabulary])
        yield


@pytest.fixture(scope="module")
def finished(made_up, tmp_path_factory) -> Path:
    """The folder of a run that nothing interrupted, one process, one training at a time."""
    out = tmp_path_factory.mktemp("finished")
    assert main(["--preset", "smoke", "--out", str(out)]) == 0
    return out


@pytest.fixture
def start(text):
    """Start the command; what of it is left at the end of a test is killed, with its workers."""
    started = []

    def start_one(out: Path, *arguments: str, launcher=()) -> subprocess.Popen:
        paths = os.pathsep.join([str(text), str(Path(attnlib.__file__).parents[1])])
        process = subprocess.Popen(
            [sys.executable, *launcher, "-m", MODULE, "--preset", "smoke", "--out", str(out), *arguments],
            env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
            cwd=out.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start_one
    for process in started:
        if not process.stdout.closed:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def finish(process: subprocess.Popen) -> str:
    said, _ = process.communicate(timeout=LONG)
    assert process.returncode == 0, said
    return said


def wait_for(process: subprocess.Popen, there) -> None:
    end = time.monotonic() + LONG
    while not there():
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.002)


def entries(out: Path) -> list[dict]:
    """The results without what two runs of the same code may differ in."""
    found = results.read(out / "results.jsonl")
    for entry in found:
        entry.pop("seconds", None)
        for name in FREE:
            entry["environment"].pop(name)
    return found


def test_a_whole_run(finished):
    found = entries(finished)
    assert [entry["training"] for entry in found if entry["kind"] == "training"] == list(TRAININGS)
    assert [(entry["arm"], entry["length"]) for entry in found if entry["kind"] == "score"] == SCORES
    one = found[0]
    assert one["configuration"]["preset"] == "smoke" and one["configuration"]["processes"] == 1
    assert one["configuration"] | SMOKE.as_dict() == one["configuration"]
    assert one["environment"]["versions"]["torch"] == torch.__version__
    # After 30 steps better than the log 512 of knowing nothing.
    assert all(entry["loss"] < 6.24 and entry["tokens"] == 640 for entry in found if entry["kind"] == "score")
    by_arm = {(entry["arm"], entry["length"]): entry for entry in found if entry["kind"] == "score"}
    # Arms that agree with their training at its length are measured the same there, and differ at twice of
    # it.
    for own, shared in [("O", "E-normalised"), ("O", "infoscale"), ("gau-relu2-n", "gau-relu2-train")]:
        assert by_arm[own, 64]["loss"] == by_arm[shared, 64]["loss"]
        assert by_arm[own, 128]["loss"] != by_arm[shared, 128]["loss"]
    assert by_arm["sphere", 64]["loss"] == pytest.approx(by_arm["O", 64]["loss"], rel=1e-6)


def test_killed_and_started_again(start, finished, tmp_path):
    """Killed while it trains, then while it tests: the results are those of the run that was let alone."""
    out = tmp_path / "out"
    checkpoint, stored = out / "checkpoints" / "O-0.pt", out / "results.jsonl"
    process = start(out)
    wait_for(process, checkpoint.exists)
    process.kill()
    process.communicate(timeout=LONG)
    assert process.returncode == -signal.SIGKILL
    assert checkpoints.load(checkpoint)["step"] < SMOKE.steps and not stored.exists()

    process = start(out)
    wait_for(process, lambda: stored.exists() and b'"arm"' in stored.read_bytes())
    process.kill()
    process.communicate(timeout=LONG)
    assert 0 < len(results.read(stored)) < len(entries(finished))

    assert f"20 of 20 results in {stored}" in finish(start(out))
    assert entries(out) == entries(finished)
    for name in TRAININGS:
        one, other = (checkpoints.load(folder / "checkpoints" / f"{name}-0.pt") for folder in (out, finished))
        assert one["sums"] == other["sums"]
        assert all(torch.equal(one["model"][weight], other["model"][weight]) for weight in one["model"])


def test_workers_end_with_the_command(start, tmp_path):
    """The workers hold the pipe of the command: it ends for the reader when the last of them has ended."""
    process = start(tmp_path / "out", "--jobs", "2")
    wait_for(process, lambda: any((tmp_path / "out" / "checkpoints").glob("*.pt")))
    process.kill()
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL


def test_two_at_a_time_one_of_which_fails(start, finished, tmp_path):
    """What fails in a worker is one line and ends the other, whose results are as ever once it went on."""
    out = tmp_path / "out"
    damaged = out / "checkpoints" / "gau-relu2-n-0.pt"
    checkpoints.write_whole(damaged, b"not a checkpoint")
    process = start(out, "--jobs", "2")
    said, _ = process.communicate(timeout=LONG)
    assert process.returncode == 2
    assert "Traceback" not in said and said.count("error: ") == 1
    assert f"error: the checkpoint {damaged} is damaged, or of an older version; delete it" in said
    assert entries(out) == entries(finished)[: len(entries(out))] and len(entries(out)) <= 17
    damaged.unlink()
    assert main(["--preset", "smoke", "--out", str(out)]) == 0
    assert entries(out) == entries(finished)


def test_results_of_other_weights_do_not_go_on(finished, tmp_path, capsys):
    """A checkpoint was lost after some results, and a training anew gave other bits."""
    out = tmp_path / "out"
    checkpoint = Path("checkpoints", "O-0.pt")
    checkpoints.write_whole(out / checkpoint, (finished / checkpoint).read_bytes())
    one, *_ = results.read(finished / "results.jsonl")
    stored = json.dumps(one | {"weights": "f" * 64}).encode() + b"\n"
    (out / "results.jsonl").write_bytes(stored)
    assert main(["--preset", "smoke", "--out", str(out)]) == 2
    assert (
        last_line(capsys)
        == f"error: {out / 'results.jsonl'} has results of other weights of O-0; choose another --out"
    )
    assert (out / "results.jsonl").read_bytes() == stored


def test_missing_bar_with_several_at_a_time(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert main(["--preset", "smoke", "--out", str(tmp_path / "out"), "--jobs", "2"]) == 2
    assert (
        only_line(capsys) == "error: the experiments need the package tqdm: pip install 'attnlib[models]'\n"
    )


def test_what_is_asked_for_twice_is_done_once(start, finished, tmp_path):
    out = tmp_path / "out"
    finish(start(out, "--training", "O", "--training", "O", "--seed", "0", "--seed", "0", "--jobs", "2"))
    assert entries(out) == [
        entry for entry in entries(finished) if "gau" not in (entry.get("training") or entry["arm"])
    ]


def test_a_checkpoint_of_other_code_does_not_go_on(finished, tmp_path, monkeypatch, capsys):
    """Though no result is there yet that would tell."""
    out = tmp_path / "out"
    for name in TRAININGS:
        checkpoint = Path("checkpoints", f"{name}-0.pt")
        checkpoints.write_whole(out / checkpoint, (finished / checkpoint).read_bytes())
    monkeypatch.setattr(results, "code_digest", lambda module: "f" * 64)
    assert main(["--preset", "smoke", "--out", str(out)]) == 2
    said = last_line(capsys)
    assert "O-0.pt is of another training: digest is" in said and f"and '{'f' * 64}' in the other" in said
    assert not (out / "results.jsonl").exists()


def test_two_processes_train_one_model(start, finished, tmp_path, capsys):
    """Halves of a batch are summed in another order than the whole.

    That leaves the 2^-24 of float32 on about nine digits' worth of a gradient, sqrt(80) hidden tokens: 5e-7
    of its size. AdamW turns an error of a gradient into at most its share of a step of 3e-3, whose effect on
    the loss is the product of both: in 30 steps over the norm of all gradients, which is at most 1, 30 * 3e-3
    * 5e-7 * sqrt(P) = 8e-6 for P = 30,000 weights all at their worst. Each loss is stored to 1e-6.
    """
    out = tmp_path / "out"
    launcher = (
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "--log-dir",
        str(tmp_path),
    )
    said = finish(start(out, launcher=launcher))
    assert said.count("20 of 20 results") == 1
    for two, one in zip(entries(out), entries(finished), strict=True):
        assert two["configuration"] == one["configuration"] | {"processes": 2}
        if one["kind"] == "training":
            assert two["losses"] == pytest.approx(one["losses"], abs=1e-5)
        else:
            assert two["loss"] == pytest.approx(one["loss"], abs=1e-5)
            assert two["accuracy"] == one["accuracy"] and two["tokens"] == one["tokens"]

    before = (out / "results.jsonl").read_bytes()
    assert main(["--preset", "smoke", "--out", str(out)]) == 2
    assert "processes is 2 in one and 1 in the other" in only_line(capsys)
    assert (out / "results.jsonl").read_bytes() == before


def only_line(capsys) -> str:
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and captured.err.startswith("error: ")
    return captured.err


def last_line(capsys) -> str:
    """The line after the bar, which a training has drawn already."""
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err and captured.err.count("error: ") == 1
    return captured.err.rstrip("\n").split("\n")[-1]


def test_a_finished_run_does_nothing_again(finished, monkeypatch, capsys):
    before = (finished / "results.jsonl").read_bytes()
    monkeypatch.setattr(training._Run, "advance", None)
    monkeypatch.setattr(length_extrapolation, "evaluate", None)
    assert main(["--preset", "smoke", "--out", str(finished)]) == 0
    assert capsys.readouterr().out == f"20 of 20 results in {finished / 'results.jsonl'}\n"
    assert (finished / "results.jsonl").read_bytes() == before


def test_a_finished_run_is_recorded(finished, tmp_path, capsys):
    assert main(["--preset", "smoke", "--out", str(finished), "--record", str(tmp_path)]) == 0
    recorded = tmp_path / "length-extrapolation-smoke.jsonl"
    assert {path.name for path in tmp_path.iterdir()} == {recorded.name, "SHA256SUMS"}
    assert f"recorded in {recorded}" in capsys.readouterr().out
    found = results.read(recorded)
    assert [entry["kind"] for entry in found] == 2 * ["training"] + 18 * ["score"] + 2 * ["score"]
    stored = results.read(finished / "results.jsonl")
    assert all(entry in found for entry in stored) and len(found) == len(stored)


def test_part_of_a_run_is_not_recorded(finished, tmp_path, capsys):
    """And only what was asked for is trained."""
    (tmp_path / "out").mkdir()
    part = [
        line
        for line in (finished / "results.jsonl").read_text().splitlines(keepends=True)
        if "gau" not in (json.loads(line).get("training") or json.loads(line)["arm"])
    ]
    (tmp_path / "out" / "results.jsonl").write_text("".join(part))
    checkpoint = Path("checkpoints", "O-0.pt")
    checkpoints.write_whole(tmp_path / "out" / checkpoint, (finished / checkpoint).read_bytes())
    options = ["--preset", "smoke", "--out", str(tmp_path / "out"), "--training", "O", "--seed", "0"]
    assert main([*options, "--record", str(tmp_path / "record")]) == 2
    said = capsys.readouterr()
    assert said.out == f"16 of 20 results in {tmp_path / 'out' / 'results.jsonl'}\n"
    assert said.err.rstrip("\n").split("\n")[-1] == "error: only a whole experiment is recorded"
    assert not (tmp_path / "record").exists()
    assert (tmp_path / "out" / "results.jsonl").read_text() == "".join(part)


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--training", "nope"], "training must be one of O, gau-relu2-n; got nope"),
        (["--training", "kappa"], "training must be one of O, gau-relu2-n; got kappa"),
        (["--seed", "0", "--seed", "7"], "seed must be one of 0; got 7"),
        (["--device", "tpu"], "device must be cpu or cuda, got 'tpu'"),
        (["--jobs", "-1"], "--jobs must be at least 1, got -1"),
        (["--jobs", "0"], "--jobs must be at least 1, got 0"),
    ],
)
def test_bad_arguments(arguments, says, tmp_path, capsys):
    assert main(["--preset", "smoke", "--out", str(tmp_path / "out"), *arguments]) == 2
    assert says in only_line(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="shows what a machine without CUDA says")
@pytest.mark.parametrize("arguments", [["--preset", "gpu"], ["--preset", "smoke", "--device", "cuda"]])
def test_without_cuda(arguments, tmp_path, capsys):
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert "no CUDA device is available to torch on this machine" in only_line(capsys)
    assert not (tmp_path / "out").exists()


def test_a_preset_that_there_is_not(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--preset", "huge"])
    assert caught.value.code == 2 and "choose from" in capsys.readouterr().err


def test_missing_package(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(length_extrapolation, "load_corpus", corpus.load_corpus)
    corpus.load_corpus.cache_clear()
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert main(["--preset", "smoke", "--out", str(tmp_path / "out")]) == 2
    assert (
        only_line(capsys)
        == "error: the experiments need the package tokenizers: pip install 'attnlib[models]'\n"
    )
    assert not (tmp_path / "out").exists()


def test_another_process_has_the_run(tmp_path, capsys):
    out = tmp_path / "out"
    (out / "checkpoints").mkdir(parents=True)
    with FileLock(out / "checkpoints" / "O-0.lock"):
        assert main(["--preset", "smoke", "--out", str(out)]) == 2
    assert only_line(capsys) == f"error: another process is training O-0 in {out}\n"
    assert not (out / "results.jsonl").exists()


def test_a_full_disk(finished, tmp_path, monkeypatch, capsys):
    """At the first checkpoint, and at the first result; afterwards the run goes on to the same results."""
    out = tmp_path / "out"
    options = ["--preset", "smoke", "--out", str(out), "--training", "gau-relu2-n"]
    save, add = checkpoints.write_whole, results.Results.add

    def no_space(*_, **__) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for there in ([], ["gau-relu2-n-0.pt"]):
        with monkeypatch.context() as patch:
            if there:
                patch.setattr(
                    results.Results,
                    "add",
                    lambda *a, **k: (patch.setattr(os, "fsync", no_space), add(*a, **k)),
                )
            else:
                patch.setattr(
                    checkpoints, "write_whole", lambda *a: (patch.setattr(os, "fsync", no_space), save(*a))
                )
            assert main(options) == 2
        where = out if there else out / "checkpoints" / "gau-relu2-n-0.pt"
        assert last_line(capsys) == f"error: the disk is full ({where}); what was stored before is whole"
        assert sorted(path.name for path in (out / "checkpoints").glob("*.pt*")) == there
        assert results.read(out / "results.jsonl") == []
    assert main(options) == 0
    expected = [entry for entry in entries(finished) if "gau" in (entry.get("training") or entry["arm"])]
    assert entries(out) == expected


def test_damaged_files(finished, tmp_path, capsys):
    out = tmp_path / "out"
    (out / "checkpoints").mkdir(parents=True)
    options = ["--preset", "smoke", "--out", str(out)]
    (out / "checkpoints" / "O-0.pt").write_bytes(b"attnlib checkpoint 2\n" + bytes(100))
    assert main(options) == 2
    assert last_line(capsys) == (
        f"error: the checkpoint {out / 'checkpoints' / 'O-0.pt'} is damaged, or of an older version; "
        "delete it to train this model from its start"
    )
    lines = (finished / "results.jsonl").read_text().splitlines(keepends=True)
    (out / "results.jsonl").write_text("".join([*lines[:3], lines[3][:50] + "\n", *lines[4:]]))
    assert main(options) == 2
    assert f"{out / 'results.jsonl'}, line 4, is damaged" in only_line(capsys)


def test_a_folder_that_cannot_be(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["--preset", "smoke", "--out", str(tmp_path / "file" / "out")]) == 2
    assert "Not a directory" in only_line(capsys)


def test_stopped_by_the_keyboard(tmp_path, monkeypatch, capsys):
    def interrupted(self) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training._Run, "advance", interrupted)
    assert main(["--preset", "smoke", "--out", str(tmp_path / "out")]) == 130
    assert (
        capsys.readouterr().err.rstrip("\n").split("\n")[-1] == "stopped; run the same command again to go on"
    )
