"""Training and checkpoints: resumed is never interrupted, bit for bit, and what is damaged is refused."""

import errno
import math
import os
from dataclasses import replace

import pytest
import torch
from experiments_corpus import TINY, made_up_corpus
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import checkpoints, training
from experiments.arms import TRAININGS, Training
from experiments.corpus import MASK
from experiments.errors import ExperimentError
from experiments.training import build_model, generator, hide, train, weights_digest

CORPUS = made_up_corpus()
PLAIN, GAU = (next(one for one in TRAININGS if one.name == name) for name in ("O", "gau-relu2-n"))


class Killed(Exception):
    """Stands for the end of a process: nothing after it runs."""


def killed_after(step: int):
    def progress(done: int, loss: float) -> None:
        if done == step:
            raise Killed

    return progress


@pytest.fixture(autouse=True)
def three_steps_a_mean(monkeypatch):
    """Six steps are two means of three, so that a mean too is interrupted."""
    monkeypatch.setattr(training, "CURVE", 3)


@given(
    count=st.integers(0, 8), window=st.integers(8, 12), windows=st.integers(1, 4), seed=st.integers(0, 2**30)
)
def test_hide_counts_per_window(count, window, windows, seed):
    hidden = hide(torch.zeros(3, windows * window), count, window, torch.Generator().manual_seed(seed))
    assert hidden.dtype == torch.bool and hidden.shape == (3, windows * window)
    assert (hidden.unflatten(-1, (windows, window)).sum(-1) == count).all()


def test_hide_prefers_no_place():
    hidden = hide(torch.zeros(5000, 12), 3, 6, torch.Generator().manual_seed(0))
    share = hidden.double().mean(0)
    assert (share - 0.5).abs().max() < 5 * math.sqrt(0.25 / 5000)  # five standard deviations
    assert not torch.equal(hidden[:, :6], hidden[:, 6:])


def test_the_generator_depends_on_its_key_alone():
    def draw(*key: object) -> list[float]:
        return torch.rand(3, generator=generator(*key)).tolist()

    assert draw("batch", 0, 1) == draw("batch", 0, 1)
    keys = [("batch", 0, 1), ("batch", 0, 2), ("batch", 1, 1), ("evaluation",), ("entropies",)]
    assert len({tuple(draw(*key)) for key in keys}) == len(keys)


def test_the_learning_rate_rises_and_falls():
    preset = replace(TINY, steps=100, warmup=10, learning_rate=2.0)
    rates = [training._learning_rate(preset, step) for step in range(100)]
    for step, rate in enumerate(rates):
        expected = 2 * math.cos(math.pi * step / 200) ** 2 * min(1, (step + 1) / 10)
        assert rate == pytest.approx(expected, rel=1e-12)
    top = rates.index(max(rates))
    assert top == 9 and rates[:10] == sorted(rates[:10]) and rates[9:] == sorted(rates[9:], reverse=True)
    assert 0 < rates[-1] < 1e-3


def plain_training(one: Training, seed: int):
    """What ``train`` does, by a loop over single tokens and an AdamW written out; in float32, as there."""
    model = build_model(one, TINY, seed)
    weights = list(model.parameters())
    first, second = ([torch.zeros_like(w) for w in weights] for _ in range(2))
    losses = []
    for step in range(TINY.steps):
        draw = generator("batch", seed, step)
        tokens = CORPUS.windows(64, TINY.batch, draw)
        hidden = hide(tokens, 10, 64, draw)
        states = model(torch.where(hidden, MASK, tokens), one.attention(64))
        scores = states @ model.embedding.weight.T + model.bias
        log_p = scores - scores.logsumexp(-1, keepdim=True)
        wanted = [-log_p[b, i, tokens[b, i]] for b, i in hidden.nonzero().tolist()]
        loss = torch.stack(wanted).mean()
        assert len(wanted) == 10 * TINY.batch
        gradients = torch.autograd.grad(loss, weights)
        norm = math.sqrt(math.fsum(g.double().square().sum().item() for g in gradients))
        rate = TINY.learning_rate * min(1, (step + 1) / 3) * 0.5 * (1 + math.cos(math.pi * step / 6))
        with torch.no_grad():
            for w, g, m, s in zip(weights, gradients, first, second, strict=True):
                g = g * min(1, 1 / (norm + 1e-6))
                m.mul_(0.9).add_(0.1 * g)
                s.mul_(0.98).add_(0.02 * g**2)
                w.mul_(1 - rate * 0.01)
                mean, square = m / (1 - 0.9 ** (step + 1)), s / (1 - 0.98 ** (step + 1))
                w.sub_(rate * mean / (square.sqrt() + 1e-8))
        losses.append(loss.item())
    return model, losses


@pytest.mark.parametrize("one", [PLAIN, GAU], ids=lambda one: one.name)
def test_training_is_masked_language_modelling_by_adamw(one):
    """Losses to 1e-5: some fifty roundings of float32 at the size of log 80, six steps of rough gradients."""
    model, losses = plain_training(one, seed=3)
    trained = train(one, 3, TINY, CORPUS)
    assert trained.losses == pytest.approx([sum(losses[:3]) / 3, sum(losses[3:]) / 3], abs=1e-5)
    assert abs(losses[0] - losses[-1]) > 1e-2 and not trained.model.training
    # A step is at most the rate, 3e-3; a gradient near zero may turn its sign by rounding, so nearly all
    # weights.
    apart = torch.cat(
        [(a - b).abs().flatten() for a, b in zip(model.parameters(), trained.model.parameters(), strict=True)]
    )
    assert apart.max() < 6 * 3e-3 and apart.quantile(0.99) < 1e-5


@pytest.fixture(scope="module")
def uninterrupted():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "CURVE", 3)
        return {one.name: train(one, 0, TINY, CORPUS) for one in (PLAIN, GAU)}


def assert_same(one, other) -> None:
    assert weights_digest(one.model) == weights_digest(other.model)
    assert one.losses == other.losses


@pytest.mark.parametrize("one", [PLAIN, GAU], ids=lambda one: one.name)
def test_interrupted_at_any_step_and_resumed(one, uninterrupted, tmp_path):
    for step in range(1, TINY.steps + 1):
        checkpoint = tmp_path / f"{step}.pt"
        with pytest.raises(Killed):
            train(one, 0, TINY, CORPUS, checkpoint=checkpoint, progress=killed_after(step))
        torch.manual_seed(step)  # another process, with another state of torch's own generator
        done = []
        resumed = train(one, 0, TINY, CORPUS, checkpoint=checkpoint, progress=lambda s, loss: done.append(s))
        # Stored after every second step; progress is told of a step before it is stored.
        assert done == list(range((step - 1) // 2 * 2 + 1, TINY.steps + 1))
        assert_same(resumed, uninterrupted[one.name])


def test_interrupted_again_and_again(uninterrupted, tmp_path):
    for step in (1, 3, 3, 5, 6):
        with pytest.raises(Killed):
            train(PLAIN, 0, TINY, CORPUS, checkpoint=tmp_path / "O.pt", progress=killed_after(step))
    assert_same(train(PLAIN, 0, TINY, CORPUS, checkpoint=tmp_path / "O.pt"), uninterrupted["O"])


def test_a_finished_training_is_only_loaded(uninterrupted, tmp_path, monkeypatch):
    first = train(PLAIN, 0, TINY, CORPUS, checkpoint=tmp_path / "O.pt")
    content = (tmp_path / "O.pt").read_bytes()
    monkeypatch.setattr(training._Run, "advance", None)
    again = train(PLAIN, 0, TINY, CORPUS, checkpoint=tmp_path / "O.pt")
    assert_same(again, uninterrupted["O"])
    assert again.seconds == first.seconds > 0 and (tmp_path / "O.pt").read_bytes() == content


def test_weights_digest_sees_one_bit():
    model = build_model(PLAIN, TINY, 0)
    before = weights_digest(model)
    with torch.no_grad():
        model.bias[7] = torch.nextafter(model.bias[7], torch.tensor(1.0))
    assert weights_digest(model) != before


@pytest.mark.parametrize(
    "change, says",
    [
        ({"seed": 1}, "seed is 0 in one and 1 in the other"),
        ({"training": GAU}, "training is 'O' in one and 'gau-relu2-n' in the other"),
        ({"preset": replace(TINY, steps=8)}, "steps is "),
        ({"preset": replace(TINY, learning_rate=1e-3)}, "learning_rate is "),
        ({"corpus": replace(CORPUS, digest="e" * 64)}, "corpus is "),
        (
            {"configuration": {"digest": "f" * 64}},
            f"digest is '{'d' * 64}' in one and '{'f' * 64}' in the other",
        ),
        ({"configuration": {"digest": "d" * 64, "processes": 2}}, "processes is 1 in one and 2 in the other"),
        ({"configuration": None}, f"digest is '{'d' * 64}' in one and None in the other"),
    ],
)
def test_checkpoint_of_another_experiment(change, says, tmp_path):
    """Of other code too: a run that was killed before its first result left nothing else to compare."""
    checkpoint = tmp_path / "a.pt"
    same = {
        "training": PLAIN,
        "seed": 0,
        "preset": TINY,
        "corpus": CORPUS,
        "configuration": {"digest": "d" * 64},
    }
    train(**same, checkpoint=checkpoint)
    content = checkpoint.read_bytes()
    with pytest.raises(ExperimentError) as caught:
        train(**same | change, checkpoint=checkpoint)
    assert str(checkpoint) in str(caught.value) and says in str(caught.value)
    assert checkpoint.read_bytes() == content
    train(**same, checkpoint=checkpoint)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "whole.pt"
    checkpoints.save(path, {"step": 3, "x": torch.arange(5.0), "list": [1.5, 2.5]})
    return path


def test_a_checkpoint_holds_what_was_saved(stored, tmp_path):
    state = checkpoints.load(stored)
    assert torch.equal(state.pop("x"), torch.arange(5.0)) and state == {"step": 3, "list": [1.5, 2.5]}
    assert checkpoints.load(tmp_path / "none.pt") is None


def assert_damaged(path) -> None:
    with pytest.raises(ExperimentError) as caught:
        checkpoints.load(path)
    assert str(path) in str(caught.value) and "is damaged" in str(caught.value)


@given(data=st.data())
def test_one_flipped_bit_anywhere_is_seen(stored, data):
    content = bytearray(stored.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = stored.with_name("flipped.pt")
    path.write_bytes(content)
    assert_damaged(path)


@given(data=st.data())
@settings(max_examples=20)
def test_a_truncated_checkpoint_is_seen(stored, data):
    content = stored.read_bytes()
    path = stored.with_name("short.pt")
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    assert_damaged(path)


@pytest.mark.parametrize(
    "change", [lambda c: b"", lambda c: c + b"\0", lambda c: c.replace(b"point 2", b"point 1", 1)]
)
def test_empty_longer_or_of_another_version(stored, tmp_path, change):
    (tmp_path / "a.pt").write_bytes(change(stored.read_bytes()))
    assert_damaged(tmp_path / "a.pt")


def test_processes_that_do_not_share_checkpoints(tmp_path, monkeypatch):
    """Rank 0 found the checkpoint, the other, on another machine, none."""
    for name, value in (("is_initialized", True), ("get_world_size", 2), ("get_rank", 0)):
        monkeypatch.setattr(training.dist, name, lambda value=value: value)

    def gathered(found: list, mine: int) -> None:
        found[:] = [mine, 0]

    run = training._Run(PLAIN, 0, TINY, CORPUS, "cpu", {})
    run.step = 2
    checkpoints.save(tmp_path / "O.pt", run.state())
    monkeypatch.setattr(training.dist, "all_gather_object", gathered)
    with pytest.raises(ExperimentError, match=r"start at steps \[2, 0\]: they must share one folder"):
        train(PLAIN, 0, TINY, CORPUS, checkpoint=tmp_path / "O.pt")


def test_training_refuses_a_damaged_checkpoint(tmp_path):
    (tmp_path / "O.pt").write_bytes(b"attnlib checkpoint 2\n")
    with pytest.raises(ExperimentError, match="O.pt is damaged, or of an older version; delete it"):
        train(PLAIN, 0, TINY, CORPUS, checkpoint=tmp_path / "O.pt")


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path):
    def attention(layer, q, k, v):
        return v * (math.nan if calls.pop() else 1)

    calls = [True, True, False, False, False]  # steps 4, 5: no checkpoint after that of step 2
    broken = Training("O", "roformer", lambda n_train: attention)
    with pytest.raises(ExperimentError, match="O, seed 0: the loss is nan at step 4"):
        train(broken, 0, TINY, CORPUS, checkpoint=tmp_path / "O.pt")
    assert calls == [True] and checkpoints.load(tmp_path / "O.pt")["step"] == 2


def no_space(*_) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_kill_while_a_checkpoint_is_written_leaves_the_old_one(uninterrupted, tmp_path, monkeypatch):
    path = tmp_path / "O.pt"
    with pytest.raises(Killed):
        train(PLAIN, 0, TINY, CORPUS, checkpoint=path, progress=killed_after(3))
    old = path.read_bytes()

    def killed(_) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", killed)
        with pytest.raises(Killed):
            train(PLAIN, 0, TINY, CORPUS, checkpoint=path)
    assert path.read_bytes() == old
    assert_same(train(PLAIN, 0, TINY, CORPUS, checkpoint=path), uninterrupted["O"])
    assert [file.name for file in tmp_path.iterdir()] == ["O.pt"]


def test_a_batch_that_the_processes_cannot_share(monkeypatch):
    monkeypatch.setattr(training.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(training.dist, "get_world_size", lambda: 3)
    monkeypatch.setattr(training.dist, "get_rank", lambda: 0)
    with pytest.raises(ExperimentError, match="a batch of 4 cannot be shared by 3 processes"):
        train(PLAIN, 0, TINY, CORPUS)
