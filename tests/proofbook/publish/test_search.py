"""What is found on a page: claims, equations and sections apart, formulas as they are read, code apart."""

from proofbook.publish.search import entries, spoken

PAGE = """
<nav><section id="no"><h2>Not this</h2></section></nav>
<article class="bd-article">
<section id="entropy">
<h1><span class="section-number">3. </span>Entropy<a class="headerlink" href="#entropy">#</a></h1>
<p>A row of 512 keys, <span class="katex"><span class="katex-mathml"><math><mi>x</mi><annotation
encoding="application/x-tex">\\lambda\\log n</annotation></math></span><span
class="katex-html">xxx</span></span>.<br>More.</p>
<details><summary>Show code</summary><div class="cell_input"><pre>n = 512</pre></div></details>
<section id="golden-ratio"><h2>The <em>golden</em> ratio</h2>
<div class="claim admonition" id="claim-8823-c10"><p class="admonition-title">8823-C10 · false</p>
<p>It falls.</p></div>
<div class="math" id="equation-eq-8823-golden"><span class="eqno">(2.3)</span>by the ratio</div>
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
        "eq-8823-golden",
    ]


def test_each_has_its_own_words_and_code_stands_apart():
    page, section, claim, equation = found().values()
    assert page.text == "A row of 512 keys, λ log n . More." and page.code == "n = 512"
    assert section.text == "Exercise Find it. After." and claim.text == "It falls."
    assert equation.text == "(2.3)by the ratio"


def test_names_are_those_of_the_thing_and_those_given():
    page, section, claim, equation = found().values()
    assert (page.names, section.names) == ("8823 熵", "")
    assert (claim.names, equation.names) == ("8823-C10", "eq-8823-golden")


def test_a_formula_is_read_as_it_would_be_typed():
    assert spoken(r"\begin{aligned}H &\le \frac{1}{n}\text{, by }\sqrt d\end{aligned}") == "H ≤ 1/n, by √ d"
    assert spoken(r"s_{\max}\;-\;\bar s") == "s_ max - bar s"
