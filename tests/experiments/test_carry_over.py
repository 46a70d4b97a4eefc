"""Records carried over: only from the commit that made them, and where both codes do the same."""

import copy
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from experiments_corpus import made_up_text, write_text_package

import experiments
from experiments import carry_over, results
from experiments.carry_over import (
    BRIEF,
    in_present_form,
    renamed,
    score_differs,
    steps_of,
    training_differs,
    trees,
)

ROOT = Path(experiments.__file__).parents[1]

FIRST_FORM = {
    "schema": 1,
    "kind": "score",
    "arm": "O",
    "seed": 0,
    "length": 64,
    "accuracy": 0.25,
    "loss": 5.5,
    "tokens": 640,
    "inside": {},
    "configuration": {"preset": "smoke"},
    "environment": {
        "device": "cpu",
        "device_name": "a processor",
        "driver": None,
        "torch": "2.13.0",
        "python": "3.11.7",
        "date": "2026-11-22",
        "commit": "a" * 40,
        "modified": False,
        "digest": "d" * 64,
    },
}


def test_the_first_form_is_read_and_says_what_it_said():
    before = copy.deepcopy(FIRST_FORM)
    entry = in_present_form(FIRST_FORM, "experiments.length_extrapolation")
    results.validate(entry)
    assert FIRST_FORM == before and in_present_form(entry, "other") is entry
    assert entry["digest"] == "d" * 64 and entry["module"] == "experiments.length_extrapolation"
    assert entry["environment"]["versions"] == {"python": "3.11.7", "torch": "2.13.0"}
    kept = ("device", "device_name", "driver", "date", "commit", "modified")
    assert all(entry["environment"][name] == before["environment"][name] for name in kept)
    assert all(entry[name] == before[name] for name in ("arm", "loss", "accuracy", "inside", "configuration"))


OLD = '''
"""Words."""
from attnlib.experiments import results
MODULE = "attnlib.experiments.x"
def f(x):
    """More words."""
    import attnlib.experiments.errors as e
    return x + 1
'''
NEW = """
from experiments import results
MODULE = "experiments.x"


def f(x):
    import experiments.errors as e

    return (x + 1)  # one more
"""


@pytest.mark.parametrize(
    "new, same",
    [
        (NEW, True),
        (NEW.replace("experiments.errors", "experiments.mistakes"), True),
        (NEW.replace("x + 1", "1 + x"), False),
        (NEW.replace('"experiments.x"', '"experiments.y"'), False),
        (NEW.replace("def f(x)", "def g(x)"), False),
    ],
)
def test_trees_are_the_same_up_to_names_imports_words_and_layout(tmp_path, new, same):
    old_path, new_path = tmp_path / "old.py", tmp_path / "new.py"
    old_path.write_text(OLD)
    new_path.write_text(new)
    before, now = trees({"attnlib.experiments.x": old_path}), trees({"experiments.x": new_path})
    assert (before == now) is same and list(before) == list(now) == ["experiments.x"]


def test_only_whole_names_are_renamed():
    assert renamed("attnlib.experiments") == "experiments"
    assert renamed("attnlib.experiments_of_old") == "attnlib.experiments_of_old"
    assert renamed("an attnlib.experiments.x") == "an attnlib.experiments.x"


def test_one_training_of_each_model_is_replayed_for_longer():
    assert steps_of(["O", "E", "gau-softmax", "gau-relu2-n"], 5000) == {
        "O": 100,
        "E": BRIEF,
        "gau-relu2-n": 100,
        "gau-softmax": BRIEF,
    }
    assert steps_of(["E", "O"], 30) == {"O": 30, "E": BRIEF}


def found(**losses) -> dict:
    return {"trainings": {name: {"losses": values, "weights": ""} for name, values in losses.items()}}


STEPS = [6.0 + step / 1000 for step in range(30)]
MEAN = round(sum(STEPS) / 30, 6)


@pytest.mark.parametrize(
    "present, recorded, says",
    [
        (STEPS, MEAN, None),
        ([x * (1 + 1e-8) for x in STEPS], MEAN, None),
        ([6.0001, *STEPS[1:]], MEAN, "the loss of O at step 0 is 6.0 by the older and 6.0001"),
        ([*STEPS[:20], *(x + 1e-4 for x in STEPS[20:])], MEAN, "by the present code, not"),
        ([math.nan] * 30, MEAN, "the loss of O at step 0"),
        (STEPS, MEAN + 1e-6, "by the older code, not"),
    ],
)
def test_a_training_that_begins_differently_is_told(present, recorded, says):
    said = training_differs(found(O=STEPS), found(O=present), {"O": [recorded]}, 30)
    assert said is None if says is None else says in said
    # Neither one that is replayed for less than a point nor one that is not recorded has a mean to compare.
    assert training_differs(found(O=STEPS), found(O=STEPS), {"O": [1.0]}, 100) is None
    assert training_differs(found(O=STEPS), found(O=STEPS), {}, 30) is None


def test_a_score_that_differs_is_told():
    scores = {"O": {"accuracy": 0.25, "loss": 5.0, "near": [[0.5, math.nan]], "total": [[1.0, 0.0]]}}

    def against(**changes) -> str | None:
        return score_differs(scores, {"O": scores["O"] | changes})

    assert against() is None and against(loss=5.0 + 1e-7) is None
    assert "loss of O is 5.0 by the older and 5.00002 by the present" in against(loss=5.00002)
    assert "near of O" in against(near=[[0.5, 0.1]])
    assert "accuracy of O" in against(accuracy=0.25 + 1 / 640)
    assert "total of O" in against(total=[[1.0, 1e-5]])
    assert "the arms are" in score_differs(scores, {})


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"commit": None, "modified": None}, "the commit that made it is not known"),
        ({"device": "cuda"}, "it was made on cuda, and only what a CPU made is replayed"),
    ],
)
def test_what_cannot_be_replayed_stays_stale(tmp_path, capsys, changes, says):
    path = tmp_path / "length-extrapolation-smoke.jsonl"
    entry = FIRST_FORM | {"environment": FIRST_FORM["environment"] | changes}
    path.write_text(json.dumps(entry) + "\n")
    assert carry_over.main(["--recorded", str(tmp_path)]) == 1
    assert says in capsys.readouterr().out
    (read,) = results.read(path)  # in the present form, and no more
    assert read["digest"] == "d" * 64 and "carried_from" not in read


@pytest.mark.parametrize("text", ["", "{}\n", "[]\n", "[" * 9 + "\n", "\0\n"])
def test_a_damaged_record_is_one_line(tmp_path, capsys, text):
    path = tmp_path / "length-extrapolation-smoke.jsonl"
    path.write_text(text)
    assert carry_over.main(["--recorded", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path} is ") and said.count("\n") == 1 and path.read_text() == text


class Project:
    """A copy of the packages under git, with the record of a whole experiment made by its first commit."""

    def __init__(self, folder: Path, text: Path):
        self.top = folder
        for name in ("attnlib", "experiments", "proofbook"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "book").mkdir()
        shutil.copy(ROOT / "book" / "proofbook.toml", folder / "book")
        self.where = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(folder), str(text)]),
            "OMP_NUM_THREADS": "1",
        }
        self.git("init", "-q")
        self.git("add", ".")
        self.git("commit", "-q", "-m", "as it was")
        self.record = folder / "book" / "recorded" / "length-extrapolation-smoke.jsonl"
        done = self.run("length_extrapolation", "--preset", "smoke", "--record", str(self.record.parent))
        assert done.returncode == 0, done.stderr

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.top), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def run(self, module: str, *arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", f"experiments.{module}", *arguments]
        return subprocess.run(command, cwd=self.top, env=self.where, capture_output=True, text=True)

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.top / name).read_text(encoding="utf-8")
        assert old in text
        (self.top / name).write_text(text.replace(old, new), encoding="utf-8")

    def entries(self) -> list[dict]:
        return [json.loads(line) for line in self.record.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    text = tmp_path_factory.mktemp("text")
    write_text_package(text, made_up_text())
    return Project(tmp_path_factory.mktemp("project"), text)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_record_follows_its_code_as_far_as_that_does_the_same(project):
    """One story, since every part takes processes: words, the same in another form, something else."""
    first = project.entries()
    made = first[0]["environment"]["commit"], first[0]["digest"]
    assert made[0] == project.git("rev-parse", "HEAD")

    # Words, and an import that is gone: another digest, the same trees up to imports.
    project.edit("experiments/arms.py", '    """The arm of that name."""', "    # Words\n")
    project.edit("experiments/arms.py", "from __future__ import annotations\n", "import json as _json\n")
    done = project.run("carry_over")
    assert done.returncode == 0 and "carried over; " in done.stdout, done.stdout + done.stderr
    how = project.entries()[0]["carried_from"]["how"]
    count = how.split(" ")[0]
    assert (
        how == f"{count} of {count} modules have the same syntax up to names, imports, docstrings and layout"
    )

    # Another expression of the same value: both codes are run.
    project.edit(
        "experiments/training.py",
        "min(1.0, (step + 1) / preset.warmup)",
        "min((1 + step) / preset.warmup, 1.0)",
    )
    done = project.run("carry_over")
    assert done.returncode == 0, done.stdout + done.stderr
    third = project.entries()
    for entry, before in zip(third, first, strict=True):
        carried = entry.pop("carried_from")
        assert (carried["commit"], carried["digest"]) == made and entry.pop("digest") != before["digest"]
        assert entry == {name: value for name, value in before.items() if name != "digest"}
    assert "as 1 differs, both codes were run" in carried["how"]
    assert "30 of O, 30 of gau-relu2-n" in carried["how"] and "the same weights bit by bit" in carried["how"]
    assert "for 30 steps the recorded mean loss to 6 digits" in carried["how"]

    # Something else.
    third = project.record.read_bytes()
    project.edit("experiments/training.py", "betas=(0.9, 0.98)", "betas=(0.9, 0.97)")
    done = project.run("carry_over")
    assert done.returncode == 1 and "stays stale; the loss of O at step 2 is" in done.stdout, done.stdout
    assert project.record.read_bytes() == third

    # A record that is not of the commit it names.
    lines = [entry | {"digest": "0" * 64, "carried_from": None} for entry in first]
    for line in lines:
        del line["carried_from"]
    project.record.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    done = project.run("carry_over")
    assert done.returncode == 1 and "is not the code that made it: its digest is" in done.stdout
