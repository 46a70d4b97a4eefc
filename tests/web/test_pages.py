"""Every page in a browser, in both themes, at four widths, served and from the file system."""

import gzip
import re
from functools import cache
from html import unescape
from urllib.parse import unquote

import pytest
from page_checks import FIGURES_STILL, PICTURES_LOST, STOPS, choose, grave, problems
from site_in_browser import SITE, pages

THEMES = ["light", "dark"]
CHAPTERS = [name for name in pages() if name.startswith("book/") and name[5:6].isdigit()]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", pages())
def test_a_page_is_whole_and_everyone_can_read_it(reading, name, theme):
    read = reading(theme)
    page = read.open(name)
    choose(page)
    found = problems(page)
    assert (read.problems, found, grave(page, theme)) == ([], {}, [])


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
def test_it_opens_from_the_file_system_with_its_figures(reading, name):
    read = reading(home=SITE.resolve().as_uri())
    page = read.open(name)
    assert page.title() and read.problems == []
    assert page.evaluate(PICTURES_LOST) == page.evaluate(FIGURES_STILL) == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_is_small_and_short_by_keyboard(reading, name):
    read, shared = reading(), {}
    read.page.on(
        "response",
        lambda answer: shared.update({answer.url: answer.body()}) if "/_static/" in answer.url else None,
    )
    assert read.open(name).evaluate(STOPS) < 150
    read.page.wait_for_load_state("networkidle")
    assert (SITE / name).stat().st_size < 1_500_000
    assert sum(len(gzip.compress(body)) for body in shared.values()) < 600_000
