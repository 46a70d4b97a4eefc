"""Domains: what they refuse to say, where they are sampled, and what a proof on them says of itself."""

import random

import mpmath as mp
import pytest
import sympy as sp
from sympy import Rational, Sum, log

from proofbook.derive import (
    Derivation,
    Domain,
    Refuted,
    Undecided,
    eq,
    evidence,
    indices,
    ladder,
    le,
    lt,
    reals,
    simplex,
    size,
    vector,
)
from proofbook.derive.recheck import recheck
from proofbook.display import digest
from proofbook.names import EQUATION_MIME

n = size("n")
(i,) = indices("i")
a, p = vector("a"), vector("p", positive=True)
x, y = sp.symbols("x y", real=True)
up = sp.Symbol("u", positive=True)
BOX = dict(attack=(-3, 3))


def drawn(domain, size=3):
    rng = random.Random(7)
    return [domain.sample(rng, size) for _ in range(40)] + domain.special(rng, size, 60)


WRONG = {
    "a box outside the range": lambda: reals(above=0, attack=(-1, 2)),
    "an infinite box": lambda: reals(above=0, attack=(0, sp.oo)),
    "no room in the box": lambda: reals(attack=(1, 1)),
    "two lower ends": lambda: reals(above=0, at_least=1, attack=(2, 3)),
    "two upper ends": lambda: reals(below=4, at_most=1, attack=(0, 1)),
    "no ends and no box": lambda: reals(),
    "ends the wrong way round": lambda: reals(at_least=1, at_most=0),
    "an infinite interval without a box": lambda: reals(at_least=0, at_most=sp.oo),
    "a positive symbol from 0 on": lambda: Domain({up: reals(at_least=0, attack=(0, 1))}),
    "a positive symbol anywhere": lambda: Domain({up: reals(attack=(0, 1))}),
    "a symbol that is not zero": lambda: Domain({sp.Symbol("z", real=True, nonzero=True): reals(**BOX)}),
    "a negative symbol up to 0": lambda: Domain(
        {sp.Symbol("z", negative=True): reals(at_most=0, attack=(-1, 0))}
    ),
    "a whole number among reals": lambda: Domain({n: reals(attack=(1, 2))}),
    "a positive vector from 0 on": lambda: Domain({p: reals(at_least=0, attack=(0, 1)), n: ladder(2)}),
    "a rung below the least size": lambda: ladder(1, 2, least=2),
    "no least size": lambda: ladder(2, least=0),
    "a condition on a scalar": lambda: Domain({x: (0, 1), n: ladder(2)}, nonzero=(x,)),
    "a condition on another vector": lambda: Domain({p: (0, 1), n: ladder(2)}, nonzero=(a,)),
    "one entry cannot differ": lambda: Domain({a: (0, 1), n: ladder(2)}, distinct=(a,)),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_domain_that_cannot_be(name):
    with pytest.raises(ValueError):
        WRONG[name]()


def test_what_is_declared_follows_from_the_range():
    negative, whole = sp.Symbol("z", negative=True), sp.Symbol("z", nonnegative=True)
    assert Domain({up: reals(above=0, attack=(0, 1)), negative: reals(below=0, attack=(-1, 0))})
    assert Domain({whole: reals(at_least=0, attack=(0, 1))})
    assert Domain({sp.Symbol("z", real=True, nonzero=True): reals(**BOX, nonzero=True)})


@pytest.mark.parametrize(
    "kind, inside",
    [
        (reals(above=0, attack=(0, 2)), lambda v: 0 < v <= 2),
        (reals(at_least=0, attack=(0, 2)), lambda v: 0 <= v <= 2),
        (reals(below=0, attack=(-2, 0)), lambda v: -2 <= v < 0),
        (reals(above=0, below=1), lambda v: 0 < v < 1),
        (reals(above=0, at_most=1), lambda v: 0 < v <= 1),
        (reals(**BOX, nonzero=True), lambda v: v != 0),
    ],
    ids=lambda given: "inside" if callable(given) else repr(given),
)
def test_only_points_of_the_range_are_drawn(kind, inside):
    points = drawn(Domain({x: kind, a: kind, n: ladder(3)}))
    assert len(points) > 60
    assert all(inside(v) for point in points for v in (point[x], *point[a]))


def test_closed_ends_are_drawn_and_neighbours_of_open_ones():
    rng = random.Random(1)
    closed = {float(q[x]) for q in Domain({x: reals(at_least=0, at_most=1)}).special(rng, 0, 40)}
    assert {0.0, 1.0} <= closed
    opened = {float(q[x]) for q in Domain({x: reals(above=0, below=1)}).special(rng, 0, 40)}
    assert min(opened) == pytest.approx(1e-4) and max(opened) == pytest.approx(1 - 1e-4)


def test_rows_that_are_zero_or_constant_are_not_drawn():
    box = reals(at_least=0, attack=(0, 2))
    for count in (2, 3):
        rows = [q[a] for q in drawn(Domain({a: box, n: ladder(2, 3, least=2)}, nonzero=(a,)), count)]
        assert all(any(row) for row in rows)
        assert any(0 in row for row in rows), "a row with a zero entry is one of the special points"
        rows = [q[a] for q in drawn(Domain({a: box, n: ladder(2, 3, least=2)}, distinct=(a,)), count)]
        assert all(len(set(row)) > 1 for row in rows)
    rows = [q[p] for q in drawn(Domain({p: simplex(), n: ladder(3, least=2)}, distinct=(p,)))]
    assert rows and all(len(set(row)) > 1 for row in rows)


def test_descent_stays_in_the_range():
    """The infimum 0 is not attained: the attack must not step on it."""
    domain = Domain({x: reals(above=0, attack=(0, 2)), y: reals(**BOX, nonzero=True)})
    Derivation("eq-open", sp.Integer(0), lt(x * y**2, "both are not zero"), domain=domain)
    with pytest.raises(Refuted):
        closed = Domain({x: reals(at_least=0, attack=(0, 2)), y: domain.ranges[y]})
        Derivation("eq-closed", sp.Integer(0), lt(x * y**2, "0 at 0"), domain=closed)


def test_a_condition_that_leaves_nothing_is_noticed():
    domain = Domain({x: reals(at_least=0, at_most=1)}, where=(x > 2,))
    with pytest.raises(ValueError, match="no point"):
        domain.sample(random.Random(1), 0)


# --- what is proved, and what the mark says


def test_the_mark_says_from_which_size_on():
    start, step = Sum(a[i], (i, 1, n)), eq(a[1] + a[2] + Sum(a[i], (i, 3, n)), "two entries apart")
    made = Derivation("eq-two", start, step, domain=Domain({a: reals(**BOX), n: ladder(2, 3, least=2)}))
    (verified,) = made.verified
    assert verified.mark == r"proved for every $n\ge2$"
    assert verified.detail.startswith("proved for every n >= 2, every ")
    shown = made._repr_mimebundle_()["text/markdown"]
    assert r"\textsf{proved for every }n\ge2}" in shown
    with pytest.raises((Undecided, Refuted)):
        Derivation("eq-one", start, step, domain=Domain({a: reals(**BOX), n: ladder(2, 3)}))


def test_the_mark_says_for_every_size():
    step = eq(2 * Sum(a[i], (i, 1, n)), "twice")
    domain = Domain({a: reals(**BOX), n: ladder(2, 3)})
    (verified,) = Derivation("eq-all", Sum(2 * a[i], (i, 1, n)), step, domain=domain).verified
    assert verified.mark == "proved for every $n$" and verified.detail.startswith(
        "proved for every n, every "
    )


def test_the_box_that_is_attacked_is_not_what_is_proved():
    """On the box x <= 2 holds: what is claimed beyond it is not proved."""
    domain = Domain({x: reals(above=0, attack=(0, 2))})
    with pytest.raises(Undecided):
        Derivation("eq-box", x, le(2, "only in the box"), domain=domain)


def test_evidence_on_an_exact_range_needs_values_at_its_ends():
    step = evidence(eq(2 * log(x) + log(2), "split"), because="to see it refused")
    pair, exact = Domain({x: (0, 2)}), Domain({x: reals(at_least=0, attack=(0, 2))})
    with pytest.raises(ValueError, match="is proved"):
        Derivation("eq-pair", log(2 * x**2), step, domain=pair)
    with pytest.raises((Undecided, Refuted)):
        Derivation("eq-exact", log(2 * x**2), step, domain=exact)


def test_a_formula_is_computed_whatever_its_domain_says():
    domain = Domain({a: reals(at_least=0, attack=(0, 1)), n: ladder(2, 3, least=2)}, distinct=(a,))
    mean = Derivation(
        "eq-mean", Sum(2 * a[i], (i, 1, n)) / n, eq(2 * Sum(a[i], (i, 1, n)) / n, "x"), domain=domain
    )
    assert mean.lambdify([a], "mpmath")([mp.mpf(1), mp.mpf(2)]) == 3
    assert Domain({x: (Rational(1, 10), 1)}).least == 1 and domain.least == 2


def test_what_a_domain_says_is_read_again_from_the_page():
    """From size 2 on and for a row that is not constant: with one word less the proof does not stand."""
    spread = n * Sum(a[i] ** 2, (i, 1, n)) - Sum(a[i], (i, 1, n)) ** 2
    domain = Domain({a: reals(**BOX), n: ladder(2, 3, least=2)}, distinct=(a,))
    step = eq(n / spread + 1 / spread, "it is not zero")
    made = Derivation("eq-spread", (n + 1) / spread, step, domain=domain)
    data = made._repr_mimebundle_()
    assert [line.problem for line in recheck("eq-spread", {"eq-spread": data})] == [None]
    record = data[EQUATION_MIME]
    assert "(distinct a)" in record["domain"]
    for said, instead in (("(distinct a)", "(nonzero a)"), ("(Tuple 2 3) 2)", "(Tuple 2 3) 1)")):
        assert said in record["domain"]
        other = {**record, "domain": record["domain"].replace(said, instead)}
        other["digest"] = digest(other, data["text/plain"])
        lines = recheck("eq-spread", {"eq-spread": {**data, EQUATION_MIME: other}})
        assert any(line.problem for line in lines)
