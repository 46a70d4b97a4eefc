"""What is proved may be cited, where its domain is implied and nowhere else."""

from dataclasses import fields

import pytest
import sympy as sp
from sympy import Sum, exp, log

from proofbook.derive import (
    Derivation,
    Domain,
    Undecided,
    approx,
    cite,
    eq,
    evidence,
    ge,
    gt,
    indices,
    integers,
    ladder,
    le,
    lt,
    reals,
    simplex,
    size,
    vector,
)
from proofbook.derive.kernel import NotProved, check, prove_equality
from proofbook.derive.kernel import prove as prove_stated
from proofbook.derive.kernel.context import Context
from proofbook.names import EQUATION_MIME

x, y, z = sp.symbols("x y z", real=True)
n, m = size("n"), size("m")
i, j, k = indices("i j k")
s, p = vector("s"), vector("p", positive=True)
BOX = Domain({y: (1, 2)})


def known(start, *steps, **ranges):
    return Derivation("eq-known", start, *steps, **ranges)


ABOVE = known(x**2 + 1, gt(2 * x - 1, "a square and one"), domain=Domain({x: (-1, 5)}))
# what the kernel does not find by itself
CUBE = known(
    log(1 + x), ge(2 * x / (2 + x), "the slope of the difference is a square"), domain=Domain({x: (0, 9)})
)


def prove(start, step, domain):
    return prove_stated(step.relation, start, step.expression, domain, cites=step.by)


def derive(start, step, domain):
    return Derivation("eq-new", start, step, domain=domain)


def test_an_instance_is_a_fact():
    step = ge(2 * y / (2 + y), "as known", by=cite(CUBE, {x: y}))
    made = derive(log(1 + y), step, BOX)
    assert made.strategy == "proved"
    (verified,) = made.verified
    check(verified.certificate, log(1 + y), step.expression, BOX, cites=step.by)
    with pytest.raises(NotProved, match="cites"):
        changed = {**verified.certificate, "cites": []}
        check(changed, log(1 + y), step.expression, BOX, cites=step.by)
    assert verified.certificate["cites"][0]["label"] == "eq-known"
    assert verified.certificate["cites"][0]["at"] == {"x": "y"}


def test_what_is_cited_first_may_put_a_value_into_the_range_of_the_next():
    half = sp.Rational(1, 2)
    few = known(y * exp(-y), lt(half, "at most 1/e"), domain=Domain({y: reals(above=0, attack=(1, 9))}))
    falling = known(
        exp(-x), le(1 - x / 2, "for small x"), domain=Domain({x: reals(at_least=0, at_most=half)})
    )
    share = y * exp(-y)
    step = le(1 - share / 2, "as known", by=(cite(few), cite(falling, {x: share})))
    made = derive(exp(-share), step, few.domain)
    (verified,) = made.verified
    check(verified.certificate, exp(-share), step.expression, few.domain, cites=step.by)
    for by in (step.by[::-1], step.by[1:]):
        with pytest.raises(Undecided, match="is for values below or at 1/2"):
            derive(exp(-share), le(1 - share / 2, "the other way round", by=by), few.domain)


def test_the_record_names_what_is_cited():
    shown = derive(log(1 + y), ge(2 * y / (2 + y), "as known", by=cite(CUBE, {x: y})), BOX)
    data = shown._repr_mimebundle_()
    assert data[EQUATION_MIME]["steps"][0]["cites"] == ["eq-known"]
    assert "by eq-known" in data["text/markdown"]
    plain = derive(y, le(2, "the range"), BOX)._repr_mimebundle_()
    assert plain[EQUATION_MIME]["steps"][0]["cites"] == [] and "by eq" not in plain["text/markdown"]


def test_composition_of_two():
    upper = known(log(1 + x), le(x, "tangent"), domain=Domain({x: (0, 9)}))
    domain = Domain({y: (1, 2), z: (1, 2)})
    step = le(y * z + y - 2 * z / (2 + z), "both", by=(cite(upper, {x: y * z}), cite(CUBE, {x: z})))
    made = derive(log(1 + y * z) - log(1 + z) + y, step, domain)
    assert made.strategy == "proved"


def test_an_equation_is_a_fact_for_equations():
    # proved by exponentials of both sides, which a factor y stands in the way of
    small, large = log(sp.sqrt(5) - 2), 3 * log((sp.sqrt(5) + 1) / 2)
    golden = known(small, eq(-large, "the product is one"), domain=Domain({x: (0, 1)}))
    assert cite(golden).relation == "="
    step = eq(y**2 - y * large, "the golden ratio", by=cite(golden, {x: y / 2}))
    made = derive(y**2 + y * small, step, BOX)
    assert made.verified[0].certificate["rule"] == "equations that are known"
    wrong = eq(y**2 - large, "a factor y is missing", by=cite(golden, {x: y / 2}))
    with pytest.raises(NotProved):
        prove_equality(y**2 + y * small, wrong.expression, BOX, cites=wrong.by)


# each citing statement is false or not shown; the citation must not carry it
LOG = known(log(x), le(x - 1, "tangent"), domain=Domain({x: (0, 9)}))
WHOLE = known(z, ge(0, "it counts"), domain=Domain({z: integers(0, 9)}))
LEAST = known(log(z), gt(0, "above one"), domain=Domain({z: integers(2, 9)}))
TIED = known(y - z, ge(0, "where"), domain=Domain({y: (0, 1), z: (0, 1)}, where=(z <= y,)))
SHARE = known(Sum(p[i], (i, 1, n)), eq(1, "shares"), domain=Domain({p: simplex(), n: ladder(2, 3)}))
SMALL = known(Sum(s[i], (i, 1, n)), le(n, "each"), domain=Domain({s: (-1, 1), n: ladder(2, 3)}))
MEMBER = known(
    s[k] ** 2, le(Sum(s[i] ** 2, (i, 1, n)), "one"), domain=Domain({s: (-2, 2), n: ladder(2, 3)}, each=(k,))
)
OUTSIDE = {
    "past the end": (log(1 + y), ge(2 * y / (2 + y), "r", by=cite(CUBE, {x: y})), Domain({y: (8, 10)})),
    "below the other end": (
        log(1 + y),
        ge(2 * y / (2 + y), "r", by=cite(CUBE, {x: y})),
        Domain({y: (sp.Rational(-1, 2), 1)}),
    ),
    "a broken number for a whole one": (y, ge(0, "r", by=cite(WHOLE, {z: y})), Domain({y: (1, 3)})),
    "half a whole number": (
        z / 2,
        ge(0, "r", by=cite(WHOLE, {z: z / 2})),
        Domain({z: integers(2, 6)}),
    ),
    "one less than the least": (log(z), gt(0, "r", by=cite(LEAST)), Domain({z: integers(1, 5)})),
    "a relation that does not hold": (y - z, ge(-1, "r", by=cite(TIED)), Domain({y: (0, 1), z: (0, 1)})),
    "a relation turned round": (
        z - y,
        ge(-1, "r", by=cite(TIED, {y: z, z: y})),
        Domain({y: (0, 1), z: (0, 1)}, where=(z <= y,)),
    ),
    "no probability vector": (
        Sum(p[i], (i, 1, n)),
        le(n + 1, "r", by=cite(SHARE)),
        Domain({p: (0, 1), n: ladder(2, 3)}),
    ),
    "entries that are larger": (
        Sum(s[i], (i, 1, n)),
        le(3 * n, "r", by=cite(SMALL)),
        Domain({s: (-2, 2), n: ladder(2, 3)}),
    ),
    "a symbol left unmapped": (log(1 + y), ge(2 * y / (2 + y) - 1, "r", by=cite(CUBE)), BOX),
    "a vector without a range": (y, le(2, "r", by=cite(SMALL)), BOX),
    "another size": (
        m + 0 * n,
        ge(1, "r", by=cite(SMALL)),
        Domain({s: (-1, 1), m: ladder(2, 3)}),
    ),
    "an index out of range": (
        s[k] ** 2,
        le(Sum(s[i] ** 2, (i, 1, n)), "r", by=cite(MEMBER, {k: k + 1})),
        Domain({s: (-2, 2), n: ladder(2, 3)}, each=(k,)),
    ),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_nothing_is_cited_outside_of_its_domain(name):
    start, step, domain = OUTSIDE[name]
    with pytest.raises(NotProved, match="eq-known|no range is declared"):
        prove(start, step, domain)


def test_wholes_sizes_and_indices_are_cited_where_they_are_implied():
    domain = Domain({z: integers(1, 3)})
    assert derive(z**2, ge(0, "a count", by=cite(WHOLE, {z: z**2})), domain).strategy == "proved"
    assert derive(z, ge(0, "the cited", by=cite(LEAST, {z: z + 1})), domain).strategy == "proved"
    rows = Domain({s: (-1, 1), n: ladder(2, 3)}, each=(j,))
    step = le(Sum(s[i] ** 2, (i, 1, n)), "one of them", by=cite(MEMBER, {k: j}))
    assert derive(s[j] ** 2, step, rows).strategy == "proved"
    step = eq(1, "shares", by=cite(SHARE))
    domain = Domain({p: simplex(), n: ladder(2, 3)})
    assert derive(Sum(p[i] ** 1, (i, 1, n)), step, domain).strategy == "proved"


def test_an_end_at_which_a_line_has_no_value_is_no_part_of_what_is_cited():
    # in the middle 1/x has no value at 0, where the two ends of the chain are equal
    steps = lt(1 / (1 + 1 / x), "one is positive"), le(x, "of two terms below")
    made = known(-x, *steps, domain=Domain({x: (0, 1)}))
    assert cite(made).relation == "<"
    with pytest.raises(Undecided, match="eq-known"):
        derive(-y, lt(y + 1, "as known", by=cite(made, {x: y})), Domain({y: (0, 1)}))
    inside = Domain({y: (sp.Rational(1, 2), 1)})
    assert derive(-y, lt(y, "as known", by=cite(made, {x: y})), inside).strategy == "proved"
    tangent = known(log(x), le(x - 1, "tangent"), domain=Domain({x: (0, 9)}))
    with pytest.raises(Undecided, match="eq-known"):
        derive(y, le(2, "the range", by=cite(tangent, {x: y})), Domain({y: (0, 1)}))
    assert derive(log(y), le(0, "as known", by=cite(tangent, {x: y})), Domain({y: (0, 1)})).strategy


@pytest.mark.parametrize("at", [y**2, sp.Abs(y)], ids=str)
@pytest.mark.parametrize(
    "beyond, turn",
    [(reals(above=0, attack=(0, 2)), 1), (reals(below=0, attack=(-2, 0)), -1)],
    ids=["from 0 on", "up to 0"],
)
def test_an_open_end_is_left_out_where_it_is_cited(beyond, turn, at):
    """All lines have a value at the end, and what is said is false there: the value must lie beyond it."""
    made = known(exp(turn * x), gt(1, "not at 0"), domain=Domain({x: beyond}))
    anywhere = Domain({y: reals(attack=(-2, 2))})
    with pytest.raises(NotProved, match="for values (above|below) 0"):
        prove(exp(at), gt(1, "as known", by=cite(made, {x: turn * at})), anywhere)
    assert prove(exp(at + 1), gt(1, "as known", by=cite(made, {x: turn * (at + 1)})), anywhere)


def test_an_index_is_cited_in_its_range_alone():
    rows = {s: reals(at_least=0, attack=(0, 2)), n: ladder(1, 2)}
    total = Sum(s[i], (i, 1, n))
    made = known(s[k], le(total, "one term"), domain=Domain(rows, each=(k,)))
    with pytest.raises(NotProved, match="for an index in range"):
        prove(s[j], le(total, "as known", by=cite(made, {k: j + 1})), Domain(rows, each=(j,)))
    assert prove(s[j], le(total, "as known", by=cite(made, {k: j})), Domain(rows, each=(j,)))


def test_what_holds_for_probabilities_is_not_cited_for_other_rows():
    squares = Sum(p[i] ** 2, (i, 1, n))
    made = known(squares, le(1, "at most"), domain=Domain({p: simplex(), n: ladder(1, 2)}))
    with pytest.raises(NotProved, match="for probability vectors"):
        prove(squares, le(1, "as known", by=cite(made)), Domain({p: (0, 1), n: ladder(1, 2)}))


@pytest.mark.parametrize(
    "beyond, up_to",
    [
        (reals(above=0, attack=(0, 2)), reals(at_least=0, attack=(0, 2))),
        (reals(below=0, attack=(-2, 0)), reals(at_most=0, attack=(-2, 0))),
    ],
    ids=["from 0 on", "up to 0"],
)
def test_an_open_end_of_entries_is_left_out_where_it_is_cited(beyond, up_to):
    made = known(s[k] ** 2, gt(0, "not at 0"), domain=Domain({s: beyond, n: ladder(1, 2)}, each=(k,)))
    with pytest.raises(NotProved, match="for a smaller range of the entries"):
        prove(s[k] ** 2, gt(0, "as known", by=cite(made)), Domain({s: up_to, n: ladder(1, 2)}, each=(k,)))


def test_a_line_must_have_a_value_where_it_is_cited():
    """Both may be 0 on the typed box, and there alone the logarithm has no value."""
    made = known(log(x + z), le(x + z - 1, "tangent"), domain=Domain({x: (0, 1), z: (0, 1)}))
    with pytest.raises(NotProved, match="may have no value"):
        prove(y, le(2, "the range", by=cite(made, {x: y**2, z: y**2})), Domain({y: (-1, 1)}))
    assert prove(y, le(2, "the range", by=cite(made, {x: y, z: sp.Rational(1, 2)})), Domain({y: (0, 1)}))


def test_a_weak_relation_is_not_cited_as_a_strict_one():
    weak = known(x**2, ge(0, "a square"), domain=Domain({x: (-2, 2)}))
    assert cite(weak).relation == ">="
    with pytest.raises(NotProved):
        prove(y**2, gt(0, "as known", by=cite(weak, {x: y})), Domain({y: (-1, 1)}))
    chain = known(x, le(x + 1, "one more"), lt(x + 2, "and more"), domain=Domain({x: (-2, 2)}))
    assert cite(chain).relation == "<" and cite(chain, step=1).relation == "<="


def test_only_proofs_are_cited():
    shown = known(
        sp.sin(x), evidence(le(x, "below the diagonal"), because="a curve"), domain=Domain({x: (0, 1)})
    )
    with pytest.raises(ValueError, match="not proved"):
        cite(shown, {x: y})
    up_and_down = known(x, le(x + 1, "more"), ge(x - 1, "less"), domain=Domain({x: (0, 1)}))
    with pytest.raises(ValueError, match="up and down"):
        cite(up_and_down)
    assert cite(up_and_down, step=2).lines == (x + 1, x - 1)
    with pytest.raises(ValueError, match="no step 3"):
        cite(up_and_down, step=3)
    with pytest.raises(ValueError, match="does not speak"):
        cite(up_and_down, {z: y})
    with pytest.raises(ValueError, match="rests on no proof"):
        evidence(le(2, "the range", by=cite(up_and_down, {x: y}, step=1)), because="none")


def test_every_kind_of_fact_is_asked_for_when_citing():
    """A new kind of fact that a proof may use has to be shown where it is cited, in ``citing``."""
    facts = {"scalars", "entries", "simplex", "whole", "size", "hypotheses", "inside"}
    facts |= {"nonzero_entries", "nonzero", "distinct"}
    search = {"exact", "conditions", "signed", "moving", "without", "oracle", "ask"}
    assert {f.name for f in fields(Context) if not f.name.startswith("_")} == facts | search


def test_an_approximation_is_cited_as_two_bounds():
    bounds = (sp.Integer(0), y**2)
    near = known(1 / (1 + y), approx(1 - y, "between the two", within=bounds), domain=Domain({y: (0, 1)}))
    assert cite(near).relation == "~"
    small = Domain({z: (0, sp.Rational(1, 2))})
    up = le(1 - z + z**2, "as known", by=cite(near, {y: z}))
    down = ge(1 - z, "as known", by=cite(near, {y: z}))
    for step in (up, down):
        assert derive(1 / (1 + z), step, small).verified[0].certificate["cites"]
    with pytest.raises(NotProved):
        prove(1 / (1 + z), le(1 - z + z**2 / 2, "too much", by=cite(near, {y: z})), small)
    steps = approx(1 - y, "r", within=bounds), le(1, "r")
    with pytest.raises(ValueError, match="approximation"):
        cite(known(1 / (1 + y), *steps, domain=Domain({y: (0, 1)})))
    again = approx(1 - z, "as known", within=(0, z**2), by=cite(near, {y: z}))
    assert derive(1 / (1 + z), again, small).strategy == "proved"
