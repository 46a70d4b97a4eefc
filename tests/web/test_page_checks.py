"""Each check of a page refuses the error that it is for."""

import pytest
from page_checks import FIGURES_STILL, PICTURES_LOST, STOPS, choose, grave, problems
from site_in_browser import Reading

FINE = """<!DOCTYPE html><html lang="en"><head><title>T</title><style>body { margin: 0 }</style></head>
<body><main><article><h1 id="a">A</h1><p>One <span class="katex">x</span>, <a href="#a">see above</a>.</p>
%s</article></main></body></html>"""
WIDE = 'style="display: inline-block; width: 900px"'
PLANTED = {
    "wider than 768 by": f"<div {WIDE}>wide</div>",
    "formulas clipped at 390": f'<div style="overflow: hidden"><span class="katex" {WIDE}>x</span></div>',
    "formulas clipped on A4": f'<div style="overflow: auto"><span class="katex" {WIDE}>x</span></div>',
    "formulas clipped at 1280": '<span class="katex" style="position: absolute; left: -50px">x</span>',
    "code clipped": f'<pre style="width: 300px; overflow: auto"><b {WIDE}>x</b></pre>',
    "ids given twice": "<p id='a'>Again.</p>",
    "links that lead nowhere": '<a href="#b">there</a>',
    "raw TeX": r"<p>The sum \\(x\\).</p>",
    "layout shift": "<script>requestAnimationFrame(() => setTimeout(() => {"
    "document.querySelector('article').style.marginTop = '400px'; }, 50));</script>"
    "<p style='height: 300px'>Text that moves.</p>",
}


@pytest.fixture
def opened(new_context, tmp_path):
    """A page of this content, as it was opened."""

    def start(content):
        (tmp_path / "page.html").write_text(FINE % content, encoding="utf-8")
        read = Reading(new_context, tmp_path.as_uri())
        read.open("page.html")
        return read

    return start


def test_a_page_without_errors_passes(opened):
    read = opened("")
    choose(read.page)
    assert (problems(read.page), grave(read.page), read.problems) == ({}, [], [])


@pytest.mark.parametrize("what", PLANTED)
def test_an_error_is_found(opened, what):
    assert what in problems(opened(PLANTED[what]).page)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("<script>throw new Error('no')</script>", "error: no"),
        ("<script>console.error('bad')</script>", "console: bad"),
        ('<img alt="" src="https://example.org/a.png">', "asks for https://example.org/a.png"),
        ('<img alt="" src="missing.png">', "console: Failed to load resource"),
    ],
)
def test_what_a_page_asks_for_and_complains_of_is_noted(opened, content, said):
    read = opened(content)
    read.page.wait_for_load_state("networkidle")
    assert any(one.startswith(said) for one in read.problems)


@pytest.mark.parametrize(
    "content", ["<img src='data:,'>", "<button></button>", "<p style='color: #999'>Pale</p>"]
)
def test_what_shuts_somebody_out_is_found(opened, content):
    page = opened(content).page
    choose(page)
    assert grave(page) != []


DARK = "<p>So</p>" * 9


@pytest.mark.parametrize(
    "content",
    [
        f"{DARK}<p style='color: #999'>Too pale.</p>",
        f"{DARK}<div style='background: #555'><p>On a ground of its own</p></div>",
        f"{DARK}<div style='opacity: 0.4'><p>Faint</p></div>",
        "<p><span class='katex'>" + "<i>x</i>" * 9 + "<i style='color: #aaa'>max</i></span></p>",
        "<pre>" + "<span>x</span>" * 9 + "<span style='color: #aaa'># so</span></pre>",
        "<p>A <a href='#a' style='color: #111; text-decoration: none'>link</a> told by its colour alone.</p>",
    ],
)
def test_colours_that_are_hard_to_see_are_found_among_many_that_are_not(opened, content):
    page = opened(content).page
    choose(page)
    assert grave(page, "dark") != []


def test_a_picture_that_is_lost_and_a_figure_that_cannot_be_dragged_are_found(opened):
    dot = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"
    page = opened(
        f'<img alt="" src="{dot}"><img alt="" src="lost.png"><figure class="draggable" id="still"></figure>'
    ).page
    assert page.evaluate(PICTURES_LOST) == ["lost.png"] and page.evaluate(FIGURES_STILL) == ["still"]


def test_stops_are_those_that_tab_reaches(opened):
    content = (
        "<details><summary>S</summary><a href='#a'>hidden</a></details><button tabindex='-1'>no</button>"
        "<button disabled>no</button><a href='#a' style='visibility: hidden'>no</a><input aria-label='x'>"
    )
    page = opened(content).page
    reached = 0
    while reached < 20:
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        reached += 1
    assert page.evaluate(STOPS) == reached == 3
