"""For which values a mark says that a step is proved, and for which the record does."""

import pytest
import sympy as sp

from proofbook.derive import Domain, define, indices, integers, ladder, reals, simplex, size, vector
from proofbook.derive.reach import reach, reach_in_short

n, k = size(), size("k")
i, j = indices("i j")
p, s = vector("p", positive=True), vector("s")
x, y, z, w = sp.symbols("x y z w", real=True)
whole = sp.Symbol("d", integer=True, positive=True)

LINE = reals(attack=(-1, 1))
RAY = reals(above=0, attack=(0, 1))
FROM_ZERO = reals(at_least=0, attack=(0, 1))
BELOW = reals(at_most=sp.Rational(1, 2), attack=(-1, 0))
NOT_ZERO = reals(nonzero=True, attack=(-1, 1))
ROW = Domain({s: LINE, x: RAY, n: ladder(2, 3)}, each=(j,))
TOTAL = sp.Sum(s[i], (i, 1, n))
NAMED = define("G", (x,), x * y)

SAID = {
    "nothing free": (Domain({x: LINE}), sp.Integer(1), "", ""),
    "a row": (ROW, TOTAL, "for every $n$", "every n, every real s"),
    "a row and a number": (ROW, x * TOTAL, "for every $n$", "every n, every real s, every x > 0"),
    "one entry": (ROW, s[j], "for every $n$", "every n, every index j, every real s"),
    "the number alone": (ROW, x, "for every $x > 0$", "every x > 0"),
    "rows of two and more": (
        Domain({p: simplex(), n: ladder(2, least=2)}, distinct=(p,)),
        sp.Sum(p[i] ** 2, (i, 1, n)),
        r"for every $n\ge2$",
        "every n >= 2, every p > 0 of sum 1, p not all equal",
    ),
    "the line": (Domain({x: LINE}), x**2, "for every real $x$", "every real x"),
    "all of one kind": (
        Domain({x: RAY, y: RAY}),
        x + y,
        "for all $x,y > 0$",
        "every x > 0, every y > 0",
    ),
    "of two kinds": (Domain({x: RAY, y: LINE}), x + y, "on its whole domain", "every x > 0, every real y"),
    "more than fit": (
        Domain({x: LINE, y: LINE, z: LINE, w: LINE}),
        x + y + z + w,
        "on its whole domain",
        "every real x, every real y, every real z, every real w",
    ),
    "tied": (
        Domain({x: LINE, y: LINE, z: LINE}, where=(y > z, x > y)),
        x,
        "on its whole domain",
        "every real x, every real y, every real z, where y > z, where x > y",
    ),
    "but for a point": (
        Domain({x: LINE, y: LINE}, where=(sp.Ne(x, 1), sp.Ne(y, 1))),
        x + y,
        "on its whole domain",
        "every real x, every real y, where x != 1, where y != 1",
    ),
    "tied apart": (
        Domain({x: LINE, y: LINE, z: LINE}, where=(y > z,)),
        x,
        "for every real $x$",
        "every real x",
    ),
    "from zero": (Domain({x: FROM_ZERO}), x, r"for every $x\ge 0$", "every x >= 0"),
    "up to": (Domain({x: BELOW}), x, r"for every $x\le 0.5$", "every x <= 0.5"),
    "but zero": (Domain({x: NOT_ZERO}), x, r"for every real $x\ne 0$", "every real x != 0"),
    "a pair": (Domain({x: (0, sp.Rational(1, 3))}), x, r"for every $0\le x\le 1/3$", "every 0 <= x <= 1/3"),
    "open ends": (Domain({x: reals(above=0, below=1)}), x, "for every $0 < x < 1$", "every 0 < x < 1"),
    "whole": (
        Domain({whole: integers(2, 9)}),
        whole + 1,
        r"for every whole $2\le d\le 9$",
        "every whole 2 <= d <= 9",
    ),
    "inside a quantity": (
        Domain({x: RAY, y: RAY}),
        NAMED(x),
        "for all $x,y > 0$",
        "every x > 0, every y > 0",
    ),
    "bound": (
        Domain({x: LINE, y: LINE}),
        sp.Integral(x * y, (x, 0, 1)),
        "for every real $y$",
        "every real y",
    ),
}


@pytest.mark.parametrize(("domain", "side", "short", "whole"), SAID.values(), ids=SAID)
def test_what_is_said(domain, side, short, whole):
    assert (reach_in_short(domain, [side, sp.Integer(0)]), reach(domain, [side])) == (short, whole)


TYPESET = {
    "a row and a number": r"every $n$, every real $s$, every $x > 0$",
    "one entry": r"every $n$, every index $j$, every real $s$",
    "rows of two and more": r"every $n\ge 2$, every $p > 0$ of sum 1, $p$ not all equal",
    "tied": "every real $x$, every real $y$, every real $z$, where $y > z$, where $x > y$",
    "but for a point": r"every real $x$, every real $y$, where $x \neq 1$, where $y \neq 1$",
}


@pytest.mark.parametrize("case", TYPESET)
def test_what_the_words_of_a_claim_say_of_it_is_typeset(case):
    domain, side, _, _ = SAID[case]
    assert reach(domain, [side], typeset=True) == TYPESET[case]


def test_an_end_is_typeset():
    domain = Domain({x: reals(above=sp.Rational(1, 3), below=sp.pi / 2), y: BELOW})
    assert (
        reach(domain, [x * y], typeset=True) == r"every $\frac{1}{3} < x < \frac{\pi}{2}$, every $y\le 0.5$"
    )
