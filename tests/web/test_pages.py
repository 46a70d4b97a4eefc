"""Every page in a browser, in both themes, at four widths, served and from the file system."""

import gzip
import re
from functools import cache
from html import unescape
from urllib.parse import unquote

import pytest
from page_checks import COLOURS, STOPS, grave, problems
from site_in_browser import SITE, pages

THEMES = ["light", "dark"]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", pages())
def test_a_page_is_whole(reading, name, theme):
    read = reading(theme)
    found = problems(read.open(name))
    assert read.problems == [] and found == {}


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", pages())
def test_everyone_can_read_it(reading, name, theme):
    # A theme changes nothing but colours.
    assert grave(reading(theme).open(name), COLOURS if theme == "dark" else ()) == []


@cache
def anchors(name):
    return frozenset(unescape(found) for found in re.findall(r'\sid="([^"]*)"', text_of(name)))


@cache
def text_of(name):
    return (SITE / name).read_text(encoding="utf-8")


def broken(name):
    """The links of a page within the site that lead to no file, or to no place in it."""
    found = []
    for link in sorted(set(re.findall(r'\s(?:href|src)="([^"]*)"', text_of(name)))):
        address, _, anchor = unquote(unescape(link)).partition("#")
        if re.match(r"[a-z]+:", address):
            continue
        target = (SITE / name).parent / address.partition("?")[0] if address else SITE / name
        if not target.is_file():
            found.append(link)
        elif anchor and target.suffix == ".html":
            to = target.resolve().relative_to(SITE.resolve()).as_posix()
            if anchor not in anchors(to):
                found.append(link)
    return found


@pytest.mark.parametrize("name", pages())
def test_its_links_lead_somewhere(name):
    assert broken(name) == []


@pytest.mark.parametrize("name", pages())
def test_it_opens_from_the_file_system(reading, name):
    read = reading(home=SITE.resolve().as_uri())
    page = read.open(name)
    assert page.title() and read.problems == []


CHAPTERS = [name for name in pages() if name.startswith("book/") and name[5:6].isdigit()]


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_way_through_a_chapter_by_keyboard_is_short(reading, name):
    assert reading().open(name).evaluate(STOPS) < 150


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_page_and_what_it_shares_with_others_are_small(reading, name):
    read, shared = reading(), {}
    read.page.on(
        "response",
        lambda answer: shared.update({answer.url: answer.body()}) if "/_static/" in answer.url else None,
    )
    read.open(name)
    read.page.wait_for_load_state("networkidle")
    assert (SITE / name).stat().st_size < 1_500_000
    assert sum(len(gzip.compress(body)) for body in shared.values()) < 600_000
