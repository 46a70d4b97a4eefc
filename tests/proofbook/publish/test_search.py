"""What is found on a page: claims, equations and sections apart, formulas as they are read, code apart."""

from proofbook.publish.search import entries

PAGE = """
<nav><section id="no"><h2>Not this</h2></section></nav>
<article class="bd-article">
<section id="entropy">
<h1><span class="section-number">3. </span>Entropy<a class="headerlink" href="#entropy">#</a></h1>
<p>A row of 512 keys, <span class="katex"><span class="katex-mathml"><math><mi>λ</mi><mi>log</mi><mo
>\u2061</mo><mi>n</mi><annotation
encoding="application/x-tex">no</annotation></math></span><span
class="katex-html">xxx</span></span>.<br>More.</p>
<details><summary>Show code</summary><div class="cell_input"><pre>n = 512</pre></div></details>
<section id="golden-ratio"><h2>The <em>golden</em> ratio</h2>
<div class="claim admonition" id="claim-8823-c10"><p class="admonition-title">8823-C10 · false</p>
<p>It falls.</p></div>
<div class="math" id="equation-eq-8823-golden"><div class="why"><span class="eqno">(2.3)<a
class="headerlink" href="#">#</a></span>by the ratio</div></div>
<div class="object-panel"><p>Permalink</p></div>
<div class="exercise admonition"><p class="admonition-title">Exercise</p>
<section id="exercise-content"><p>Find it.</p></section></div>
<p>After.</p></section></section></article>
<section id="after"><h2>Nor this</h2></section>
"""


def found():
    return {
        one.url.partition("#")[2] or "page": one
        for one in entries(PAGE, "book/a.html", {"book/a.html": "8823 熵"})
    }


def test_pages_sections_claims_and_equations_are_found_apart():
    assert {key: one.kind for key, one in found().items()} == {
        "page": "page",
        "golden-ratio": "section",
        "claim-8823-c10": "claim",
        "equation-eq-8823-golden": "equation",
    }


def test_titles_are_those_of_headings_and_claims():
    assert [one.title for one in found().values()] == [
        "Entropy",
        "The golden ratio",
        "8823-C10 · false",
        "eq-8823-golden (2.3)",
    ]


def test_each_has_its_own_words_and_code_stands_apart():
    page, section, claim, equation = found().values()
    assert page.text == "A row of 512 keys, λ log n. More." and page.code == "n = 512"
    assert section.text == "Exercise Find it. After." and claim.text == "It falls."
    assert equation.text == "by the ratio"


def test_formulas_are_read_once_not_as_they_are_drawn_too():
    drawn = '<span class="katex-html" aria-hidden="true"><span class="base">d<span>d</span></span></span>'
    html = f'<article class="bd-article"><section id="a"><p>One{drawn}, <span>two</span>{drawn} three.</p>'
    (one,) = entries(html, "a.html")
    assert one.text == "One, two three."
    (torn,) = entries(html.replace("</span></span>", ""), "a.html")
    assert torn.text == "One"


def test_names_are_those_of_the_thing_and_those_given():
    page, section, claim, equation = found().values()
    assert (page.names, section.names) == ("8823 熵", "")
    assert (claim.names, equation.names) == ("8823-C10", "eq-8823-golden")


def formula(mathml):
    """How a formula is read."""
    page = f'<article class="bd-article"><section id="a"><h1>A</h1><math>{mathml}</math></section></article>'
    (one,) = entries(page, "book/a.html")
    return one.text


def test_a_formula_is_read_as_it_would_be_typed():
    half = "<mfrac><mn>1</mn><mn>2</mn></mfrac>"
    less = "<mrow><msub><mi>p</mi><mi>i</mi></msub><mo>−</mo><mn>1</mn></mrow>"
    assert formula(f"<mi>H</mi><mo>≤</mo>{half}") == "H ≤ 1/2"
    assert formula(f"<mfrac>{less}<mn>2</mn></mfrac>") == "(p_i − 1)/2"
    assert formula(f"<msup><mi>e</mi>{less}</msup>") == "e^(p_i − 1)"
    assert formula(f"<msqrt>{less}</msqrt><mi>d</mi>") == "√(p_i − 1)d"
    assert formula("<mi>log</mi><mo>\u2061</mo><mo>(</mo><mi>n</mi><mo>)</mo>") == "log (n)"
    assert formula("<munderover><mo>∑</mo><mi>i</mi><mi>n</mi></munderover><mi>x</mi>") == "∑_i^nx"
