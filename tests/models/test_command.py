"""``python -m attnlib inspect`` on a small model with a tokenizer of its own, in a folder."""

import csv

import model_zoo as zoo
import pytest

from attnlib import record_batches
from attnlib._command import _Progress, _windows, main

TEXT = "in the beginning god created the heaven and the earth " * 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    home = tmp_path_factory.mktemp("model")
    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *sorted(set(TEXT.split()))]
    plain = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(
        home
    )
    zoo.build("bert", "sdpa").save_pretrained(home)
    (home / "text.txt").write_text(TEXT)
    return home


def run(folder, *more):
    return main(["inspect", str(folder), "--text", str(folder / "text.txt"), *map(str, more)])


def test_the_table_of_a_text(folder, tmp_path, capsys):
    files = {name: tmp_path / f"out.{name}" for name in ("csv", "html", "png")}
    given = ("--length", 32, "--csv", files["csv"], "--html", files["html"], "--plot", files["png"])
    assert run(folder, *given) == 0
    said = capsys.readouterr()
    assert "2 of 2 batches" in said.err and said.out.count("attention.self") == 8
    with files["csv"].open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["rows"] for row in rows} == {str(len(TEXT.split()))}  # every token once, and no padding
    assert files["html"].read_text(encoding="utf-8").startswith("<table>")
    assert files["png"].read_bytes().startswith(b"\x89PNG")
    from transformers import AutoModel, AutoTokenizer

    windows = _windows(AutoTokenizer.from_pretrained(folder), TEXT, 32)
    report = record_batches(AutoModel.from_pretrained(folder), [windows])
    assert [float(row["entropy"]) for row in rows] == pytest.approx(
        [r["entropy"] for r in report.to_rows()], abs=1e-6
    )


def test_less_of_it(folder, capsys):
    assert run(folder, "--length", 1000, "--windows", 1) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[-1] == "64"  # the positions of the model


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda home, other: (other, home / "text.txt"), "holds no model: there is no config.json"),
        (lambda home, other: (home, other / "none.txt"), "cannot be read"),
        (lambda home, other: (home, other / "empty.txt"), "is empty"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(folder, tmp_path, capsys, change, said):
    (tmp_path / "empty.txt").write_text(" \n")
    home, text = change(folder, tmp_path)
    assert main(["inspect", str(home), "--text", str(text)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and said in error and error.count("\n") == 1
    assert main(["inspect", str(folder), "--text", str(folder / "text.txt"), "--batch", "0"]) == 2
    assert "--batch must be at least 1, got 0" in capsys.readouterr().err


def test_without_transformers_it_says_what_to_install(folder, capsys, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    assert run(folder) == 2
    assert "inspect needs transformers, which is not installed" in capsys.readouterr().err


def test_progress_is_told_by_tenths_and_on_a_terminal_always(capsys):
    import io

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for out, lines in ((io.StringIO(), 11), (Terminal(), 1)):
        progress = _Progress(100, out)
        for done in range(1, 101):
            progress(done, None)
        assert out.getvalue().count("\n") == lines and out.getvalue().endswith("100 of 100 batches\n")
