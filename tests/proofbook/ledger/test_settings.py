"""What a book says of its records, and the hooks that it names."""

import random

import pytest

from proofbook.ledger import hooks
from proofbook.ledger.hooks import BadHooks, NoSuchDevice
from proofbook.ledger.settings import BadSettings, Settings


def test_a_book_that_says_nothing(tmp_path):
    assert Settings.read(tmp_path) == Settings((), (), None)
    (tmp_path / "proofbook.toml").write_text("[publish]\nx = 1\n")
    assert Settings.read(tmp_path) == Settings()


def test_what_a_book_says(tmp_path):
    (tmp_path / "proofbook.toml").write_text(
        '[record]\npackages = ["lib"]\nignore = ["lib.colours"]\nhooks = "lib.hooks"\n'
    )
    assert Settings.read(tmp_path) == Settings(("lib",), ("lib.colours",), "lib.hooks")


@pytest.mark.parametrize(
    "text, says",
    [
        ("[record", "proofbook.toml: "),
        ("record = 3", "record must be a table, got 3"),
        ("[record]\npackage = []", r"\[record\] has unknown keys \['package'\]"),
        ('[record]\npackages = "lib"', "packages in .* must be a list of names, got 'lib'"),
        ("[record]\nignore = [3]", r"ignore in .* must be a list of names, got \[3\]"),
        ("[record]\nhooks = []", r"hooks in .* must be the name of a module, got \[\]"),
    ],
)
def test_what_a_book_may_not_say(tmp_path, text, says):
    (tmp_path / "proofbook.toml").write_text(text)
    with pytest.raises(BadSettings, match=says) as caught:
        Settings.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_plain_hooks_know_the_processor_alone():
    plain = hooks.load(None)
    assert plain.device_name("cpu").strip() and plain.driver("cpu") is None and plain.versions() == {}
    with pytest.raises(NoSuchDevice, match="device must be cpu, got 'cuda'"):
        plain.device_name("cuda")
    plain.seed(3)
    first = random.random()
    plain.seed(3)
    assert random.random() == first


def test_hooks_are_a_module_with_every_function(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    whole = "\n".join(f"def {name}(*_): return {name!r}" for name in hooks.FUNCTIONS)
    (tmp_path / "whole_hooks.py").write_text(whole)
    (tmp_path / "half_hooks.py").write_text("def seed(n): pass\ndriver = 3")
    assert hooks.load("whole_hooks").device_name("cpu") == "device_name"
    with pytest.raises(BadHooks, match=r"'half_hooks' lacks \['device_name', 'driver', 'versions'\]"):
        hooks.load("half_hooks")
    with pytest.raises(BadHooks, match="got 'no_such_hooks'"):
        hooks.load("no_such_hooks")
