"""What a derivation shows is what was verified: definitions, LaTeX, bundles, and the same on every run."""

import os
import re
import subprocess
import sys

import pytest
import sympy as sp
from sympy import Function, Integral, Rational, Sum, exp, log

from proofbook.derive import (
    Derivation,
    Domain,
    MaxOver,
    MinOver,
    Refuted,
    define,
    eq,
    indices,
    ladder,
    latex,
    le,
    size,
    unfold,
    vector,
)
from proofbook.names import EQUATION_MIME

n = size()
i, j, k = indices("i j k")
s = vector("s")
x, y, lam = sp.symbols("x y lambda", real=True)
ROWS = Domain({lam: (Rational(1, 10), 3), s: (-2, 2), n: ladder(2, 3)})

F = define("F", (lam,), log(Sum(exp(lam * s[i]), (i, 1, n))), label="eq-test-partition")


def test_argument_is_not_captured_by_a_sum():
    shifted = define("g", (x,), Sum(s[i] * x, (i, 1, n)))
    product = Sum(shifted(s[i]), (i, 1, n))
    right = Sum(s[i], (i, 1, n)) ** 2
    assert Derivation("eq-test", product, eq(right, "factor"), domain=ROWS)
    with pytest.raises(Refuted):
        Derivation("eq-test", product, eq(Sum(s[i] ** 2, (i, 1, n)), "captured"), domain=ROWS)


def test_argument_is_not_captured_by_an_extremum_or_an_integral():
    above = define("a", (x,), MaxOver(s[i] - x, (i, 1, n)))
    assert Derivation(
        "eq-test", MinOver(above(s[i]), (i, 1, n)), eq(0, "the largest is not below itself"), domain=ROWS
    )
    ramp = define("r", (x,), Integral(x * y, (y, 0, 1)))
    assert unfold(ramp(y)).doit() == y / 2


def test_two_definitions_of_one_name_are_two_quantities():
    one, two = define("g", (x,), x + 1), define("g", (x,), x + 2)
    assert one(x) != two(x)
    assert unfold(one(x) + 10 * two(x)) == x + 1 + 10 * (x + 2)
    assert latex(one(x)) == latex(two(x)) == "g(x)"
    with pytest.raises(Refuted):
        Derivation("eq-test", one(x), eq(two(x) + 1, "the same name"), domain=Domain({x: (1, 2)}))


def test_definitions_nest():
    square = define("q", (x,), x**2)
    fourth = define("r", (x,), square(square(x)))
    assert unfold(fourth(x + 1)) == (x + 1) ** 4
    assert unfold(square(fourth(2))) == 256


def test_derivatives_are_taken_of_the_body_at_the_argument():
    cube = define("c", (x,), x**3)
    assert unfold(cube(2 * x).diff(x)).equals(24 * x**2)
    assert unfold(cube(x).diff(x, 2).subs(x, 5)) == 30
    assert unfold(cube(x).diff(x).subs(x, 2 * x)).equals(12 * x**2)
    assert unfold(sp.Derivative(cube(x), x)) == 3 * x**2


def test_definition_is_called_with_its_number_of_arguments():
    with pytest.raises(TypeError, match=r"F takes exactly 1 argument \(2 given\)"):
        F(lam, 2)


shown = define("S", (x,), x, latex=lambda at: rf"S^{{*}}_{{{at}}}")
logged = define("L", (), x, latex=lambda: r"\log Z")
theta = define("theta", (x,), x**2)
area = define("A", (x, y), x * y)

LATEX = [
    (F(lam).diff(lam), r"F'(\lambda)"),
    (F(lam).diff(lam, 2), r"F''(\lambda)"),
    (F(2 * lam).diff(lam), r"2 F'(2 \lambda)"),
    (F(lam).diff(lam, 2).subs(lam, 2 * lam), r"F''(2 \lambda)"),
    (F(lam).diff(lam) ** 2, r"\left(F'(\lambda)\right)^{2}"),
    (F(lam) ** 2, r"F(\lambda)^{2}"),
    (shown(2) ** 2, r"\left(S^{*}_{2}\right)^{2}"),  # two superscripts in a row are an error
    (logged() ** 2, r"\left(\log Z\right)^{2}"),
    (theta(x), r"\theta(x)"),
    (log(n), r"\log n"),
    (log(n) * s[1], r"\left(\log n\right) s_{1}"),  # not the log of a product
    (F(lam) * log(n), r"F(\lambda) \log n"),
    (log(n) ** 2, r"\left(\log n\right)^{2}"),
    (log(n * x), r"\log(n x)"),
    (log(Sum(s[i], (i, 1, n))), r"\log \sum_{i=1}^{n} s_{i}"),
    (Sum(s[i] - 1, (i, 1, n)), r"\sum_{i=1}^{n} \left(s_{i} - 1\right)"),
    (Sum(-s[i], (i, 1, n)), r"\sum_{i=1}^{n} \left(- s_{i}\right)"),
    (Sum(s[i], (i, 1, n)) ** 2, r"\left(\sum_{i=1}^{n} s_{i}\right)^{2}"),
    (MaxOver(s[i], (i, 1, n)), r"\max_{i} s_{i}"),
    (MaxOver(s[i], (i, 1, n)) ** 2, r"\left(\max_{i} s_{i}\right)^{2}"),  # not the largest square
    (MaxOver(s[i] ** 2, (i, 1, n)), r"\max_{i} s_{i}^{2}"),
    (MinOver(s[i] + 1, (i, 1, n)), r"\min_{i} \left(s_{i} + 1\right)"),
    (MaxOver(s[i], (i, 1, n)) * Sum(s[i], (i, 1, n)), r"\left(\max_{i} s_{i}\right) \sum_{i=1}^{n} s_{i}"),
    (y - x, "y - x"),
    (x - y, "x - y"),
    (lam - F(lam), r"\lambda - F(\lambda)"),
    (-x - 1, "- x - 1"),
    (-(x + 1) * y, r"y \left(- x - 1\right)"),
    (sp.Product(s[i] - 1, (i, 1, n)), r"\prod_{i=1}^{n} \left(s_{i} - 1\right)"),
    # what nobody defined, and what has no primes, is printed in full
    (Function("phi")(x) ** 2, r"\phi(x)^{2}"),
    (Function("f")(x).diff(x), r"\frac{d}{d x} f(x)"),
    (logged() * shown(x).diff(x), r"\log Z \frac{d}{d x} S^{*}_{x}"),
    (area(x, y).diff(y), r"\frac{\partial}{\partial y} A(x, y)"),
    (F(lam).diff(lam, 4), r"\frac{d^{4}}{d \lambda^{4}} F(\lambda)"),
    (
        shown(2 * x).diff(x),
        r"2 \left. \frac{d}{d \xi_{1}} S^{*}_{\xi_{1}} \right|_{\substack{ \xi_{1}=2 x }}",
    ),
    (sp.Subs(F(lam) ** 2, lam, 2), r"\left. F(\lambda)^{2} \right|_{\substack{ \lambda=2 }}"),
    (sp.Subs(F(lam).diff(lam), x, 2), r"\left. F'(\lambda) \right|_{\substack{ x=2 }}"),
]


@pytest.mark.parametrize("expression, expected", LATEX, ids=[e for _, e in LATEX])
def test_latex(expression, expected):
    assert latex(expression) == expected


def test_a_sum_opens_with_a_positive_term_and_is_the_same_sum():
    for expression in (x - y, -x + y, -x - y + 3, F(lam) - lam * F(lam).diff(lam), -F(2 * lam) / 2 + F(lam)):
        text = latex(expression)
        assert not text.startswith("-")
        signs = sum(t.could_extract_minus_sign() for t in sp.Add.make_args(expression))
        assert len(re.findall(r"(?:^| )- ", text)) == signs


def test_bound_index_survives_a_substitution_of_its_name():
    assert MaxOver(s[i] * j, (i, 1, n)).subs(i, 2) == MaxOver(s[i] * j, (i, 1, n))
    assert MaxOver(s[i] * j, (i, 1, n)).subs(j, 2) == MaxOver(s[i] * 2, (i, 1, n))
    assert MaxOver(s[i], (i, 1, n)).subs(n, 3).doit() == sp.Max(s[1], s[2], s[3])
    assert MaxOver(s[i], (i, 1, n)).doit() == MaxOver(s[i], (i, 1, n))
    assert MaxOver(s[i], (i, 1, n)).free_symbols == s[i].free_symbols - {i} | {n}


CHAIN = Derivation(
    "eq-test-chain",
    sp.Mul(2, F(2 * lam).diff(lam), Rational(1, 2), evaluate=False),
    eq(2 * F(lam).diff(lam).subs(lam, 2 * lam), "chain rule at $2\\lambda$"),
    eq(2 * Sum(s[i] * exp(2 * lam * s[i]), (i, 1, n)) / Sum(exp(2 * lam * s[i]), (i, 1, n)), "unfold $F$"),
    le(2 * MaxOver(s[i], (i, 1, n)), "a mean is at most the largest"),
    domain=ROWS,
)


def balanced(text: str) -> bool:
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0 and text.count(r"\left") == text.count(r"\right")


def test_bundle_shows_reason_and_mark_of_every_step():
    bundle = CHAIN._repr_mimebundle_()
    record = bundle[EQUATION_MIME]
    assert [step["strategy"] for step in record["steps"]] == [v.strategy for v in CHAIN.verified]
    assert [step["reason"] for step in record["steps"]] == [step.because for step in CHAIN.steps]
    lines = record["latex"].split("\\\\[4pt]\n")
    assert len(lines) == 3
    for line, verified, relation in zip(lines, CHAIN.verified, ("=", "=", r"\le")):
        assert line.count("&") == 3 and f"&{relation} " in line
        words, symbols = verified.mark.rstrip("$").split("$")
        assert rf"\checkmark\,\textsf{{{words}}}{symbols}" in line
    assert r"\text{chain rule at }2\lambda" in lines[0]


def test_markdown_is_one_labelled_display_that_mathjax_can_parse():
    markdown = CHAIN._repr_mimebundle_()["text/markdown"]
    assert markdown.startswith("$$\n\\begin{aligned}\n") and markdown.endswith(
        "\\end{aligned}\n$$ (eq-test-chain)"
    )
    assert markdown.count("$") == 4 and balanced(markdown)
    assert "\n\n" not in markdown  # a blank line would end the display


def test_plain_text_reads_and_leaks_no_serial_number():
    for thing in (CHAIN, F):
        bundle = thing._repr_mimebundle_()
        assert not re.search(r"__\d", str(bundle)) and "Dummy" not in str(bundle) and "0x" not in str(bundle)
    first, *rest = CHAIN._repr_mimebundle_()["text/plain"].splitlines()
    assert first.startswith("eq-test-chain: ") and len(rest) == 3
    assert rest[2].strip().startswith("<= 2*(MaxOver") and "a mean is at most the largest; proved" in rest[2]


def test_definition_is_shown_as_one():
    bundle = F._repr_mimebundle_()
    assert r"F(\lambda) &:= \log \sum_{i=1}^{n} e^{\lambda s_{i}}" in bundle["text/markdown"]
    assert (
        bundle["text/markdown"].endswith("(eq-test-partition)") and "checkmark" not in bundle["text/markdown"]
    )
    assert bundle["text/plain"] == "eq-test-partition: F(lambda) := log(Sum(exp(lambda*s[i]), (i, 1, n)))"
    with pytest.raises(ValueError, match="no label"):
        define("f", (x,), x)._repr_mimebundle_()


@pytest.mark.parametrize("reason", ["an odd $", "a brace {", "two $x$ and $"])
def test_reason_that_would_break_the_display_is_refused(reason):
    derivation = Derivation("eq-test", x * (x + 1), eq(x**2 + x, reason), domain=Domain({x: (1, 2)}))
    with pytest.raises(ValueError, match="unbalanced"):
        derivation._repr_mimebundle_()


_SHOW = """
import sympy as sp
from sympy import exp, log, Sum, Rational
from proofbook.derive import *
n = size(); i, j = indices("i j"); s = vector("s"); lam, a, b = sp.symbols("lambda a b", real=True)
F = define("F", (lam,), log(Sum(exp(lam * s[i]), (i, 1, n))), label="eq-f")
p = define("p", (i,), exp(lam * s[i] - F(lam)), latex=lambda i: f"p_{i}")
rows = Domain({lam: (Rational(1, 10), 3), s: (-2, 2), n: ladder(2, 3)})
for d in (
    F,
    Derivation("eq-a", -Sum(p(i) * log(p(i)), (i, 1, n)), eq(F(lam) - lam * F(lam).diff(lam), "entropy"),
               le(log(n), "at most uniform"), domain=rows),
    Derivation("eq-b", sp.Max(a, b) + a * b,
               evidence(eq((a + b + abs(a - b)) / 2 + b * a, "cases"), because="no rule for cases"),
               domain=Domain({a: (-1, 1), b: (-1, 1)})),
    Derivation("eq-c", 1 / (1 + a),
               evidence(approx(1 / a, "far out", regime=Regime(a, (100, 1000, 10000), -2)), because="…"),
               domain=Domain({a: (1, 10**5)})),
):
    print(d._repr_mimebundle_())
try:
    Derivation("eq-d", sp.sqrt(a**2) * b, eq(a * b, "wrong"), domain=Domain({a: (-1, 1), b: (-1, 1)}))
except Refuted as error:
    print(error, error.point)
"""


def test_what_is_shown_does_not_depend_on_the_hash_seed():
    shown = set()
    for seed in ("0", "4242"):
        run = subprocess.run(
            [sys.executable, "-c", _SHOW],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        shown.add(run.stdout)
    assert len(shown) == 1 and "fails" not in shown.copy().pop() and " is not " in shown.pop()
