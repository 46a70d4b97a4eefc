"""The control with known distances: its scores against every pair written out, its rows, its command."""

import math
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from scipy.optimize import brentq

import attnlib
from attnlib import scale, softmax_attention, softmax_entropy
from experiments import checkpoints, known_distances, length_extrapolation, results
from experiments.arms import arm
from experiments.attention import NEIGHBOURS
from experiments.corpus import load_corpus
from experiments.errors import ExperimentError
from experiments.known_distances import RULES, KnownDistances, held_at, scores
from experiments.models import rotate
from experiments.presets import PRESETS


def rotated(n, d, *, heads=2, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    bare = torch.randn(2, 1, heads, n, d, generator=generator, dtype=dtype)
    return bare, rotate(bare)


def turned(x, angle_places):
    """One vector turned as at a place, pair by pair, by complex numbers."""
    d = len(x)
    pairs = torch.complex(x[0::2], x[1::2])
    angles = angle_places * 10_000.0 ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
    pairs = pairs * torch.polar(torch.ones_like(angles), angles)
    return torch.stack((pairs.real, pairs.imag), -1).flatten()


@pytest.mark.parametrize("n, reach", [(1, 3), (9, 3), (9, 8), (9, 20), (12, 1)])
def test_scores_are_those_of_the_nearest_known_distance(n, reach):
    (q, k), (rotated_q, rotated_k) = rotated(n, 8)
    found = scores(rotated_q, rotated_k, reach)
    for i in range(n):
        for j in range(n):
            distance = max(-reach, min(reach, i - j))
            expected = turned(q[0, 1, i], distance) @ k[0, 1, j]
            # A score sums 8 products of order one.
            assert abs(found[0, 1, i, j] - expected) < 1e-13


@pytest.mark.parametrize("name", [name for name in RULES if name != "entropy-head"])
def test_within_reach_it_is_plain_attention(name):
    _, (q, k) = rotated(64, 16)
    v = torch.randn(1, 2, 64, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    rule = arm(name).attention(64, None).scale
    found = KnownDistances.like(arm(name).attention(64, None), 63)(0, q, k, v)
    # Written out against itself: rounding of 64 products of order one.
    assert (found - softmax_attention(q, k, v, scale=rule, impl="reference")).abs().max() < 1e-13


def test_a_held_entropy_stays_that_of_the_head():
    targets = torch.tensor([[1.0, 2.0]])
    made = KnownDistances.like(arm("entropy-head").attention(64, targets), 7)
    assert made.targets is targets and made.rule is None and made.reach == 7


def test_heads_are_given_the_entropy_of_their_layer():
    _, (q, k) = rotated(111, 8)
    targets = torch.tensor([[1.0, 2.0], [3.0, 0.5]], dtype=torch.float64)
    attention = KnownDistances(15, targets=targets)
    assert (attention.inside(1, q, k).entropy - targets[1]).abs().max() < 1e-4
    logits = scores(q, k, 15) / math.sqrt(8)
    factor = held_at(logits, targets[1])
    # One head alone by scipy's root finder.
    root = brentq(lambda x: softmax_entropy(x * logits[0, 1]).mean().item() - 0.5, 0.1, 100)
    assert factor[0, 1].item() == pytest.approx(root, rel=1e-3)


@pytest.mark.parametrize("n", [111, 256])
def test_heads_are_held_under_autocast(n):
    _, (q, k) = rotated(n, 32, dtype=torch.float32)
    q, k = q.bfloat16(), k.bfloat16()
    attention = KnownDistances(63, targets=torch.tensor([[3.6787, 3.7422]]))
    v = torch.eye(n).expand(1, 2, n, n)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        p = attention(0, q, k, v)
    assert (softmax_entropy(p.log()).mean((0, 2)) - attention.targets[0]).abs().max() < 2e-4


def test_every_sequence_is_held_by_itself():
    _, (q, k) = rotated(40, 8)
    two = [torch.cat([x, 2 * x]) for x in (q, k)]
    logits = scores(*two, 15)
    factor = held_at(logits, torch.tensor([1.5, 2.0], dtype=torch.float64))
    entropy = softmax_entropy(factor * logits).mean(-1)
    assert (entropy - torch.tensor([1.5, 2.0])).abs().max() < 1e-4
    assert (factor[0] / factor[1]).flatten().tolist() == pytest.approx([4, 4], rel=1e-2)


def test_an_entropy_out_of_reach_is_refused():
    _, (q, k) = rotated(20, 8)
    k[..., 1:, :] = k[..., :1, :]  # all keys alike
    with pytest.raises(ExperimentError, match="nats remain"):
        held_at((q @ k.mT), torch.tensor([1.0, 1.0], dtype=torch.float64))


def test_what_is_inside_is_what_the_weights_say():
    _, (q, k) = rotated(111, 8)
    rule = partial(scale.log_n, base=16)
    inside = KnownDistances(15, rule).inside(0, q, k)
    logits = rule(111, 8) * scores(q, k, 15)
    p = logits.softmax(-1)
    place = torch.arange(111)
    near = (place[:, None] - place).abs() < NEIGHBOURS
    assert (inside.near - (p * near).sum(-1).mean((0, 2))).abs().max() < 1e-14
    assert (inside.needle - (p * near).amax(-1).mean((0, 2))).abs().max() < 1e-14
    assert (inside.entropy + (p * p.log()).sum(-1).mean((0, 2))).abs().max() < 1e-12
    assert (inside.std - logits.var(-1, correction=0).sqrt().mean((0, 2))).abs().max() < 1e-13
    assert (inside.effective_tokens * 1 >= 1).all() and (inside.total - 1).abs().max() < 1e-14


def test_values_are_averaged_with_the_weights():
    _, (q, k) = rotated(20, 8)
    output = KnownDistances(7, scale.sqrt_d)(0, q, k, torch.ones(1, 2, 20, 3, dtype=torch.float64))
    assert (output - 1).abs().max() < 1e-15 * 20
    one_hot = KnownDistances(7, scale.sqrt_d)(
        0, q, k, torch.eye(20, dtype=torch.float64).expand(1, 2, 20, 20)
    )
    expected = (scores(q, k, 7) / math.sqrt(8)).softmax(-1)
    assert (one_hot - expected).abs().max() < 1e-15


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The folder of a length experiment."""
    folder = tmp_path_factory.mktemp("trained")
    length_extrapolation.run("smoke", folder, trainings=("O",))
    return folder


def test_command_on_a_trained_model(trained, tmp_path, capsys):
    assert (
        known_distances.main(
            ["--preset", "smoke", "--trained", str(trained), "--record", str(tmp_path / "r")]
        )
        == 0
    )
    entries = results.read(tmp_path / "r" / "known-distances-smoke.jsonl")
    main = {
        (e["arm"], e["length"]): e for e in results.read(trained / "results.jsonl") if e["kind"] == "score"
    }
    assert len(entries) == len(RULES) * 2
    for entry in entries:
        if entry["length"] == 64 and entry["arm"] != "entropy-head":
            # No distance is unknown at the training length.
            assert entry["accuracy"] == main[entry["arm"], 64]["accuracy"]
            assert entry["loss"] == pytest.approx(main[entry["arm"], 64]["loss"], rel=1e-6)
        if (entry["arm"], entry["length"]) == ("O", 128):
            assert entry["loss"] != main["O", 128]["loss"]
    (training,) = (e for e in results.read(trained / "results.jsonl") if e["kind"] == "training")
    assert entries[0]["configuration"]["weights"] == {"0": training["weights"]}
    capsys.readouterr()


def test_command_without_a_trained_model(tmp_path, capsys):
    assert known_distances.main(["--preset", "smoke", "--trained", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: no checkpoint") and "O-0.pt" in line


def test_a_training_that_has_not_ended_is_refused(tmp_path):
    smoke, digest = PRESETS["smoke"], load_corpus(PRESETS["smoke"].vocabulary).digest
    identity = {**smoke.as_dict(), "corpus": digest, "training": "O", "seed": 0}
    for state in [
        {"identity": identity, "step": smoke.steps - 1},
        {"identity": identity | {"corpus": "e" * 64}, "step": smoke.steps},
        {"identity": identity | {"steps": 31}, "step": smoke.steps},
    ]:
        checkpoints.save(tmp_path / "checkpoints" / "O-0.pt", state)
        with pytest.raises(ExperimentError, match="of another experiment, or its training has not ended"):
            known_distances.run("smoke", tmp_path)


def test_another_process_has_the_test(trained, capsys):
    with FileLock(trained / "checkpoints" / "known-distances-0.lock"):
        assert known_distances.main(["--preset", "smoke", "--trained", str(trained)]) == 2
    assert capsys.readouterr().err == f"error: another process is testing known-distances-0 in {trained}\n"


@pytest.mark.parametrize("jobs", ["0", "-2"])
def test_no_process_is_too_few(jobs, trained, capsys):
    assert known_distances.main(["--preset", "smoke", "--trained", str(trained), "--jobs", jobs]) == 2
    assert capsys.readouterr().err == f"error: --jobs must be at least 1, got {jobs}\n"


@pytest.mark.skipif(torch.cuda.is_available(), reason="shows what a machine without CUDA says")
def test_the_preset_gpu_wants_a_gpu(tmp_path, capsys):
    assert known_distances.main(["--preset", "gpu", "--trained", str(tmp_path)]) == 2
    assert "no CUDA device is available" in capsys.readouterr().err


def test_killed_and_started_again(trained, tmp_path):
    """The workers end with the command, and the results are those of a run that was let alone."""
    folder = tmp_path / "trained"
    checkpoints.write_whole(
        folder / "checkpoints" / "O-0.pt", (trained / "checkpoints" / "O-0.pt").read_bytes()
    )
    expected = known_distances.run("smoke", trained)
    where = os.environ | {"PYTHONPATH": str(Path(attnlib.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        known_distances.MODULE,
        "--preset",
        "smoke",
        "--trained",
        str(folder),
        "--jobs",
        "2",
    ]
    process = subprocess.Popen(command, env=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    stored = folder / "known-distances.jsonl"
    while not stored.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=120)  # the workers hold the pipe: it ends when the last of them has ended
    subprocess.run(command, env=where, check=True, capture_output=True)

    def told(entries):
        return {(e["arm"], e["length"]): (e["accuracy"], e["loss"], e["inside"]) for e in entries}

    assert told(results.read(stored)) == told(expected)
