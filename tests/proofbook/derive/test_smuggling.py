"""What a statement may not be given by the back door: names, assumptions, ends, citations, bounds of errors.

Each false way stands beside a true one that is proved.
"""

import pytest
import sympy as sp
from reviewers_statements import (
    ABOVE_0,
    COUNTS,
    EACH,
    FROM_0,
    LAW_EACH,
    LINE,
    MEAN,
    UNIT,
    held,
    i,
    k,
    m,
    n,
    p,
    s,
    total,
    u,
    x,
)
from sympy import Integral, Rational, cosh, exp, log, sqrt

from proofbook.derive import (
    Derivation,
    DerivationError,
    Domain,
    Undecided,
    approx,
    assume,
    cite,
    define,
    eq,
    ge,
    gt,
    integers,
    ladder,
    le,
    lt,
    reals,
    simplex,
)
from proofbook.derive.kernel import NotProved, prove_equality, prove_inequality
from proofbook.derive.kernel.names import check_apart

CLOSED = Domain({x: reals(at_least=1, at_most=2), u: reals(at_least=1, at_most=9)})


def proved(start, step, domain, **more):
    return Derivation("eq-tried", start, step, domain=domain, **more).strategy == "proved"


# --- names that print alike


def test_two_symbols_that_print_alike_are_refused():
    for other in (sp.Symbol("x1", real=True), sp.Dummy("x_1", real=True)):
        one = sp.Symbol("x_1", real=True)
        box = Domain({one: (0, 1), other: (0, 1)})
        with pytest.raises(NotProved, match="called"):
            prove_inequality("<=", one - other, sp.Integer(7), box)
    x_1, x_2 = sp.symbols("x_1 x_2", real=True)
    assert proved(x_1 - x_2, le(7, "a bound"), Domain({x_1: (0, 1), x_2: (0, 1)}))


def test_two_definitions_of_one_name_are_refused_in_one_statement():
    one, other = define("f", (x,), x**2), define("f", (x,), x**2 + 1)
    with pytest.raises(Undecided, match="two different functions are called"):
        proved(other(x) - one(u), eq(1 + x**2 - u**2, "by definition"), LINE)
    renamed = define("g", (x,), x**2 + 1)
    assert proved(renamed(x) - one(u), eq(1 + x**2 - u**2, "by definition"), LINE)


def test_a_quantity_that_hides_its_argument_stands_for_one_value():
    hidden = define("q", (x,), x**2, latex=lambda argument: "q")
    with pytest.raises(Undecided, match="shown as q"):
        proved(hidden(x) - hidden(2 * x), eq(-3 * x**2, "by definition"), LINE)
    with pytest.raises(Undecided, match="shown as q"):
        proved(hidden(x) - sp.Symbol("q"), le(1, "a bound"), Domain({x: (0, 1), sp.Symbol("q"): (0, 1)}))
    assert proved(hidden(x) + 1 - hidden(x) / 2, eq(1 + x**2 / 2, "by definition"), LINE)


def test_two_functions_of_one_name_are_refused():
    one, other = sp.Function("F"), sp.Function("F", positive=True)
    with pytest.raises(NotProved, match="two different functions"):
        prove_equality(one(x) + other(x), 2 * one(x), LINE)


def test_an_index_that_looks_like_something_else_in_its_range_is_refused():
    index = sp.Symbol("x", integer=True, positive=True)
    box = Domain({n: ladder(1, 2), x: (0, 1)})
    with pytest.raises(Undecided, match="an index and something else"):
        proved(total(index * x, index), eq(x * n * (n + 1) / 2, "add up"), box)
    assert proved(total(i * x), eq(x * n * (n + 1) / 2, "add up"), box)


def test_a_name_that_reads_like_a_product_of_atoms_is_refused():
    forged = sp.Symbol("u)*sym(x", real=True)
    with pytest.raises(NotProved, match="parentheses"):
        prove_equality(forged, x * u, Domain({forged: (-1, 1), x: (-1, 1), u: (-1, 1)}))
    with pytest.raises(NotProved, match="parentheses"):
        check_apart((), (sp.Function("f(x)")(x),))


# --- assumptions


def test_what_rests_on_an_assumption_is_cited_where_the_assumption_speaks():
    """At a point where u = x^2, another number need not be x^2."""
    law = assume(1, sp.Eq(u, x**2), "a law", label="eq-law", domain=CLOSED, witness={x: 1, u: 1})
    follows = Derivation("eq-follows", u + x, eq(x**2 + x, "by the law"), domain=CLOSED, given=(law,))
    t = sp.Symbol("t", real=True)
    with pytest.raises(ValueError, match="rests on assumption"):
        cite(follows, {u: t})
    with pytest.raises(ValueError, match="rests on assumption"):
        cite(follows, {x: 1})
    assert cite(follows, {u: u}).assumptions == (1,)
    assert proved(u, eq(x**2, "from both"), CLOSED, given=(law,))


def test_an_assumption_speaks_on_its_domain_only():
    law = assume(1, sp.Eq(u, x**2), "a law", label="eq-law", domain=CLOSED, witness={x: 1, u: 1})
    wider = Domain({x: reals(at_least=0, at_most=2), u: reals(at_least=1, at_most=9)})
    with pytest.raises(DerivationError):
        proved(u, eq(x**2, "by the law"), wider, given=(law,))


# --- ends of ranges


def test_an_end_without_a_value_is_no_part_of_the_mark():
    made = Derivation("eq-made", log(x**2), eq(2 * log(x), "a power"), domain=Domain({x: (0, 1)}))
    assert made.verified[0].mark == r"proved for every $0 < x\le 1$"
    assert "every 0 < x <= 1" in made.verified[0].detail
    corner = Derivation("eq-corner", 1 / (1 - x * u), ge(1, "below 1"), domain=Domain({x: (0, 1), u: (0, 1)}))
    assert corner.verified[0].mark.endswith("where defined")
    assert "wherever both sides are defined" in corner.verified[0].detail


def test_a_whole_number_that_ends_a_range_is_not_left_out():
    with pytest.raises(DerivationError):
        proved(1 / m, gt(0, "positive"), Domain({m: integers(0, 5)}))
    with pytest.raises(DerivationError):
        proved(held(lambda: exp(2 * log(k - 1))), eq((k - 1) ** 2, "a power"), EACH)
    assert proved(1 / m, gt(0, "positive"), Domain({m: integers(1, 5)}))


# --- citations


def cited(start, step, there, at, domain, claim, conclusion):
    fact = Derivation("eq-fact", start, step, domain=there)
    how = type(conclusion)(**{**vars(conclusion), "by": (cite(fact, at),)})
    return proved(claim, how, domain)


FROM_1 = Domain({u: reals(at_least=1, attack=(1, 3))})
ROOT = (held(lambda: sqrt(x**2)), eq(x, "not negative"), Domain({x: FROM_0}))
LOG = (log(x), lt(x, "below"), Domain({x: ABOVE_0}))
SHARE = (p[k], lt(1, "two or more"), Domain({n: ladder(2, 3, least=2), p: simplex()}, each=(k,)))
SQUARES = (
    total(s[i] ** 2),
    gt(0, "one is not 0"),
    Domain({n: ladder(1, 2), s: (-1, 1)}, nonzero=(s,)),
)
SPREAD = (
    total((s[i] - MEAN) ** 2),
    gt(0, "two differ"),
    Domain({n: ladder(2, 3, least=2), s: (-1, 1)}, distinct=(s,)),
)
COUNT = (total(i), eq(n * (n + 1) / 2, "add up"), COUNTS)

SMUGGLED = {
    "below its range": (
        *ROOT,
        {x: u - 1},
        Domain({u: reals(at_least=0, attack=(0, 3))}),
        held(lambda: sqrt((u - 1) ** 2)),
        eq(u - 1, "cited"),
    ),
    "at an end that is left out": (*LOG, {x: u}, Domain({u: FROM_0}), log(u), lt(u, "cited")),
    "fewer entries": (*SHARE, {}, LAW_EACH, p[k] ** 2, lt(p[k], "cited")),
    "a row that may be zero": (
        *SQUARES,
        {},
        Domain({n: ladder(1, 2), s: (-1, 1)}),
        total(s[i] ** 2),
        gt(0, "cited"),
    ),
    "a row that may be constant": (
        *SPREAD,
        {},
        Domain({n: ladder(2, 3, least=2), s: (-1, 1)}),
        total((s[i] - MEAN) ** 2),
        gt(0, "cited"),
    ),
    "a size that may be 0": (*COUNT, {n: n - 1}, COUNTS, total(i, high=n - 1) * 2, gt(0, "cited")),
}
HONEST = {
    "in its range": (*ROOT, {x: u - 1}, FROM_1, held(lambda: sqrt((u - 1) ** 2)), eq(u - 1, "cited")),
    "above its end": (*LOG, {x: u}, FROM_1, log(u), lt(u, "cited")),
    "as many entries": (*SHARE, {}, SHARE[-1], p[k] ** 2, lt(p[k], "cited")),
    "a row that is not zero": (*SQUARES, {}, SQUARES[-1], total(s[i] ** 2) / 2, gt(0, "cited")),
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_a_fact_is_not_cited_where_it_was_not_proved(name):
    with pytest.raises(DerivationError):
        cited(*SMUGGLED[name])


@pytest.mark.parametrize("name", HONEST)
def test_a_fact_is_cited_where_it_was_proved(name):
    assert cited(*HONEST[name])


# --- approximations

TO_1 = Domain({x: reals(at_least=0, at_most=1)})
TOO_TIGHT = {
    "too small a constant": (log(1 + x), x - x**2 / 2, x**3 * Rational(33, 100), TO_1),
    "beyond its regime": (
        1 / (1 - x),
        1 + x,
        2 * x**2,
        Domain({x: reals(at_least=0, below=Rational(51, 100))}),
    ),
    "one side too tight": (exp(-x), 1 - x, (sp.Integer(0), x**2 * Rational(49, 100)), TO_1),
    "the wrong side": (exp(-x), 1 - x, (x**2, sp.Integer(0)), TO_1),
    "the wrong last term": (cosh(x), 1 + x**2 / 3, x**2 / 8, TO_1),
    "the wrong power": (sqrt(1 + x), 1 + x / 2, x**3 / 8, TO_1),
    "a bound that drowns the terms": (exp(-x), 1 - x, x**2 / 2 + 2, TO_1),
    "true far out only": (1 / n - 1 / (n + 1), 1 / n**2, 1 / (2 * n**3), COUNTS),
}
FITTING = {
    "the constant": (log(1 + x), x - x**2 / 2, x**3 / 3, TO_1),
    "its regime": (1 / (1 - x), 1 + x, 2 * x**2, Domain({x: reals(at_least=0, below=Rational(1, 2))})),
    "both sides": (exp(-x), 1 - x, (sp.Integer(0), x**2 / 2), TO_1),
    "the power": (sqrt(1 + x), 1 + x / 2, x**2 / 8, TO_1),
    "from the first n on": (1 / n - 1 / (n + 1), 1 / n**2, 1 / n**3, COUNTS),
}


@pytest.mark.parametrize("name", TOO_TIGHT)
def test_a_bound_of_an_error_that_fails_is_refused(name):
    left, right, within, domain = TOO_TIGHT[name]
    with pytest.raises(DerivationError):
        proved(left, approx(right, "expand", within=within), domain)


@pytest.mark.parametrize("name", FITTING)
def test_a_bound_of_an_error_that_holds_is_proved(name):
    left, right, within, domain = FITTING[name]
    assert proved(left, approx(right, "expand", within=within), domain)


# --- definitions


def test_a_definition_means_its_body_at_every_argument():
    root = define("f", (x,), held(lambda: sqrt(x**2)))
    with pytest.raises(DerivationError):
        proved(root(u), eq(u, "a root"), LINE)
    shifted = define("h", (x,), x + u)
    with pytest.raises(DerivationError):
        # the u of the definition is not the one that is integrated over
        proved(Integral(shifted(x) * exp(-u), (u, 0, sp.oo)), eq(x + u, "as a constant"), UNIT)
    with pytest.raises(DerivationError):
        proved(sp.Derivative(shifted(x), u), eq(0, "no argument"), LINE)
    assert proved(
        total(shifted(i)), eq(n * (n + 1) / 2 + n * u, "add up"), Domain({n: ladder(1, 2), u: (0, 1)})
    )


def test_what_is_cited_first_may_show_that_the_next_is_cited_in_its_domain():
    """x e^(-x) lies below 1/2, so what holds below 1/2 may be cited at it; but not the other way round."""
    below = Derivation(
        "eq-below", x * exp(-x), lt(Rational(1, 2), "its maximum is 1/e"), domain=Domain({x: ABOVE_0})
    )
    half = Domain({u: reals(above=0, below=Rational(1, 2))})
    fact = Derivation("eq-fact", 1 / (1 - u), lt(2, "below one half"), domain=half)
    shared = cite(fact, {u: x * exp(-x)})
    assert proved(1 / (1 - x * exp(-x)), lt(2, "cited", by=(cite(below), shared)), Domain({x: ABOVE_0}))
    for facts in ((shared, cite(below)), (shared,)):
        with pytest.raises(Undecided):
            proved(1 / (1 - x * exp(-x)), lt(2, "cited", by=facts), Domain({x: ABOVE_0}))
    with pytest.raises(DerivationError):
        # where x may be 0 the first fact is not known, and the second is for positive numbers
        proved(1 / (1 - x * exp(-x)), lt(2, "cited", by=(cite(below), shared)), Domain({x: FROM_0}))
