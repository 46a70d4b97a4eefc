"""Provenance: what a record says of its making, and what is refused."""

import shutil
import subprocess
from pathlib import Path

import pytest

from proofbook.ledger.hooks import NoSuchDevice, Plain
from proofbook.ledger.provenance import commit, environment, validate_environment

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def lay_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


@needs_git
def test_commit_and_whether_what_was_named_is_modified(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    top = lay_out(tmp_path / "top", {"lib/a.py": "a = 1", "book/one.md": "words"})

    def git(*arguments):
        return subprocess.run(
            ["git", "-C", str(top), "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    library, page = top / "lib" / "a.py", top / "book" / "one.md"
    assert commit(top, [library]) == (None, None)
    git("init", "-q")
    assert commit(top, [library]) == (None, None)  # nothing committed yet
    git("add", ".")
    git("commit", "-q", "-m", "all")
    head = git("rev-parse", "HEAD")
    (top / "README.md").write_text("words")
    assert commit(top, [library]) == commit(top / "book", [library, page]) == (head, False)
    library.write_text("a = 2\n")
    assert commit(top, [library]) == commit(top / "book", [page, library]) == (head, True)
    assert commit(top, [page]) == commit(top, []) == (head, False)
    # neither a file of no commit nor one that git knows nothing of
    assert commit(top, [top / "README.md"]) == (head, True)
    assert commit(top, [tmp_path / "elsewhere.py"]) == (head, False)


class Device(Plain):
    """A machine with a device that has a driver."""

    def device_name(self, device: str) -> str:
        if device != "abacus:1":
            raise NoSuchDevice(f"got {device}")
        return "an abacus"

    def driver(self, device: str) -> str:
        return "two hands"

    def versions(self) -> dict[str, str]:
        return {"beads": "1.0"}


def test_environment_is_what_is_valid(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    about = environment("abacus:1", Device(), folder=tmp_path, paths=[])
    validate_environment(about)
    assert about["device"] == "abacus:1" and about["device_name"] == "an abacus"
    assert about["driver"] == "two hands" and about["versions"].keys() == {"python", "beads"}
    assert about["commit"] is None and about["modified"] is None
    with pytest.raises(NoSuchDevice):
        environment("cpu", Device(), folder=tmp_path, paths=[])


def good(**changes) -> dict:
    return {
        "device": "cuda:0",
        "device_name": "a card",
        "driver": "570.1",
        "versions": {"python": "3.11.7", "beads": "1.0"},
        "date": "2025-01-31",
        "commit": "0" * 40,
        "modified": False,
    } | changes


def test_good_environments_are_valid():
    validate_environment(good())
    validate_environment(good(device="cpu", driver=None, modified=True, versions={"python": "3.14.0"}))
    validate_environment(good(commit=None, modified=None))


@pytest.mark.parametrize(
    "field, value",
    [
        ("device", "GPU 1"),
        ("device", "cuda:x"),
        ("device", None),
        ("device_name", ""),
        ("device_name", " "),
        ("device_name", None),
        ("driver", ""),
        ("driver", 570),
        ("versions", None),
        ("date", "31.1.2025"),
        ("date", "2025-01-31\n"),
        ("date", None),
        ("commit", "abc"),
        ("commit", "A" * 40),
        ("modified", 0),
        ("modified", None),
        ("modified", "no"),
    ],
)
def test_a_bad_field_is_named_with_its_value(field, value):
    with pytest.raises(ValueError) as caught:
        validate_environment(good(**{field: value}))
    assert str(caught.value).startswith(f"environment/{field} must be ")
    assert str(caught.value).endswith(f"got {value!r}")


@pytest.mark.parametrize("version", ["", None, 3.11])
def test_a_bad_version_is_named(version):
    with pytest.raises(ValueError, match=f"environment/versions/beads must be a version, got {version!r}"):
        validate_environment(good(versions={"python": "3.11.7", "beads": version}))


def test_the_version_of_python_is_always_known():
    with pytest.raises(ValueError, match=r"environment/versions lacks \['python'\]"):
        validate_environment(good(versions={"beads": "1.0"}))


def test_a_commit_and_its_state_come_together():
    with pytest.raises(ValueError, match="modified must be null without a commit, got False"):
        validate_environment(good(commit=None))


@pytest.mark.parametrize("field", sorted(good()))
def test_a_missing_field_is_named(field):
    data = good()
    del data[field]
    with pytest.raises(ValueError, match=f"environment lacks .*{field}"):
        validate_environment(data)
    with pytest.raises(ValueError, match=r"environment has unknown fields \['note'\]"):
        validate_environment(good(note="x"))
