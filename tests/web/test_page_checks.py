"""Each check of a page refuses the error that it is for."""

import pytest
from page_checks import STOPS, grave, problems
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
def opened(browser, tmp_path):
    """A page of this content, as it was opened."""
    started = []

    def start(content):
        (tmp_path / "page.html").write_text(FINE % content, encoding="utf-8")
        started.append(Reading(browser, tmp_path.as_uri()))
        started[-1].open("page.html")
        return started[-1]

    yield start
    for one in started:
        one.context.close()


def test_a_page_without_errors_passes(opened):
    read = opened("")
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
    "content", ["<img src='data:,'>", "<p style='color: #999'>Too pale.</p>", "<button></button>"]
)
def test_what_shuts_somebody_out_is_found(opened, content):
    assert grave(opened(content).page) != []


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
