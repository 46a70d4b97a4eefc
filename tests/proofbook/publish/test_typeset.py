"""Formulas set while the site is built: what breaks, what stays as it is, and what is said when it fails."""

import pytest

from proofbook.publish import typeset
from proofbook.publish.notebooks import BookError
from proofbook.publish.typeset import TypesetError, Typesetter

PHONE = 17.0
LONG = " + ".join(rf"x_{{{k}}}^{{2}}" for k in range(9))


@pytest.fixture(scope="module")
def typesetter():
    one = Typesetter()
    yield one
    one.close()


def parts(html: str) -> list[str]:
    return html.split('<span class="katex-base">')[1:]


def test_a_formula_is_html_and_mathml(typesetter):
    found = typesetter.set("p_i^2")
    assert "<math><mrow><msubsup><mi>p</mi><mi>i</mi><mn>2</mn></msubsup></mrow></math>" in found.html
    assert found.html.count('<span class="katex-html" aria-hidden="true">') == 1
    assert found.width == found.widest == pytest.approx(0.95, abs=0.1)


def test_a_strut_stays_where_it_keeps_more_room_than_the_line_has(typesetter):
    """KaTeX's font reaches 0.916 em above the baseline and 0.284 em below it."""
    for tex in ("x", "p_i", "2^n", r"\left(a+b\right)"):
        assert "katex-strut" not in typesetter.set(tex).html, tex
    for tex in (r"\frac{a}{b}", r"\sum_{i=1}^n x_i", r"S^*_{1,2}", r"x^{2^{2^n}}"):
        assert "katex-strut" in typesetter.set(tex, display=True).html, tex


def test_a_line_breaks_at_signs_but_not_after_the_one_it_begins_with(typesetter):
    assert len(parts(typesetter.set("a + b - c", relation="=", display=True).html)) == 3
    assert len(parts(typesetter.set("= a", display=True).html)) == 2


def test_wide_parentheses_open_and_narrow_ones_stay(typesetter):
    wide = typesetter.set(rf"y \left({LONG}\right) z", display=True)
    assert wide.widest < PHONE < wide.width and len(parts(wide.html)) == 9
    assert len(parts(typesetter.set(r"y \left(a + b\right) z", display=True).html)) == 1
    both = typesetter.set(rf"y \left(a + b\right) \left({LONG}\right)", display=True)
    assert len(parts(both.html)) == 9


def test_parentheses_are_left_alone_in_a_sentence_and_below_a_root_or_a_fraction(typesetter):
    grouped = rf"\left({LONG}\right)"
    assert len(parts(typesetter.set(grouped).html)) == 1
    assert len(parts(typesetter.set(rf"\frac{{{grouped}}}{{2}}", display=True).html)) == 1


def test_a_root_that_fits_no_page_becomes_a_power_and_breaks(typesetter):
    assert "svg" in typesetter.set(rf"\sqrt{{{LONG}}}", display=True).html
    found = typesetter.set(rf"\sqrt{{{LONG} + {LONG}}}", display=True)
    assert "svg" not in found.html and found.widest < PHONE
    assert "<msqrt>" in found.html  # what is read aloud is what was written


def test_the_pile_of_a_fraction_is_no_table(typesetter):
    found = typesetter.set(r"\frac{a}{b}")
    assert 'class="pile"' in found.html and "vlist" not in found.html


def test_what_cannot_be_read_is_an_error_and_the_next_formula_is_set(typesetter):
    with pytest.raises(TypesetError, match="Undefined control sequence"):
        typesetter.set(r"\nosuch")
    with pytest.raises(TypesetError):
        typesetter.set(r"\left(a")
    assert typesetter.set("a").html


def test_a_formula_is_set_once_and_a_closed_process_comes_back():
    one = Typesetter()
    first = one.set("a + b")
    one.close()
    assert one.set("a + b") is first and one.set("b + a").width == pytest.approx(first.width)
    one.close()


def test_a_process_that_is_gone_is_said_to_be(typesetter, monkeypatch):
    one = Typesetter()
    monkeypatch.setattr(typeset, "katex", lambda: "/nowhere")
    with pytest.raises(BookError, match="ended at 'a'"):
        one.set("a")
    one.close()


def test_styles_name_fonts_that_lie_beside_them(tmp_path):
    typeset.copy_styles(tmp_path)
    styles = (tmp_path / typeset.STYLES).read_text(encoding="utf-8")
    assert ".ttf" not in styles
    script = (tmp_path / typeset.FONTS).read_text(encoding="utf-8")
    for name, family, _ in typeset.ALWAYS:
        assert f'"{family}"' in script and f"fonts/{name}.woff2" in styles
    assert "fonts/KaTeX_AMS-Regular.woff2" in styles
    assert (tmp_path / "katex/fonts/KaTeX_AMS-Regular.woff2").is_file()
