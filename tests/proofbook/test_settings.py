"""A book's settings: what may stand in them, and one line for what may not."""

import pytest

from proofbook.settings import FILE, BadSettings, Claims, Settings


def read(folder, text):
    (folder / FILE).write_text(text, encoding="utf-8")
    return Settings.read(folder)


def test_without_a_file_everything_has_its_default(tmp_path):
    assert Settings.read(tmp_path) == read(tmp_path, "") == Settings()


def test_what_is_set_is_read_and_the_rest_keeps_its_default(tmp_path):
    text = (
        "[chapters]\nguides = ['a']\nsupplements = ['b']\n[run-anywhere]\ncell = 'x'\n"
        "[record]\npackages = ['lib']\nhooks = 'h'\n"
    )
    settings = read(tmp_path, text)
    assert settings.chapters.guides == ("a",) and settings.chapters.sections == Settings().chapters.sections
    assert settings.chapters.supplements == ("b",)
    assert settings.run_anywhere.cell == "x" and settings.packages == ("lib",)


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("[chapter]", r"unknown tables \['chapter'\]"),
        ("chapters = 3", "chapters must be a table, got 3"),
        ("[chapters]\nguide = []", r"\[chapters\] has unknown keys \['guide'\]"),
        ("[chapters]\nguides = 'a'", r"guides in \[chapters\] must be a list of texts, got 'a'"),
        ("[sources]\nexercises = true", r"exercises in \[sources\] must be a whole number, got True"),
        ("[sources]\nfile = 3", r"file in \[sources\] must be a text, got 3"),
        ("[claims]\nid = '('", r"id in \[claims\] is no pattern: .*, got '\('"),
        ("[record]\npackages = [1]", r"packages in \[record\] must be a list of texts, got \[1\]"),
        ("[", "proofbook.toml: "),
    ],
)
def test_what_makes_no_sense_is_named(tmp_path, text, complaint):
    with pytest.raises(BadSettings, match=complaint):
        read(tmp_path, text)


def test_a_file_that_is_not_text_is_named(tmp_path):
    (tmp_path / FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(BadSettings, match="proofbook.toml: .*utf-8"):
        Settings.read(tmp_path)


def test_a_pattern_tells_forms_and_sources():
    form = Claims(id=r"(?P<source>[a-z]+)-C\d+|P\d+")
    assert form.fits("galileo-C1") and form.fits("P1") and not form.fits("C1")
    assert (form.source("galileo-C1"), form.source("P1"), form.source("nonsense")) == ("galileo", "", "")
    assert Claims(id=r"P\d+").source("P1") == ""
