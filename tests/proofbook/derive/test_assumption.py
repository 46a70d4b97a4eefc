"""A postulate is shown as one, what follows from it says so, and none can show as a proof."""

import copy
import json

import pytest
import sympy as sp
from sympy import Rational, Sum, log

from proofbook import display
from proofbook.derive import (
    Derivation,
    Domain,
    Refuted,
    Undecided,
    assume,
    cite,
    define,
    eq,
    evidence,
    indices,
    ladder,
    le,
    size,
    vector,
)
from proofbook.derive.kernel import NotProved, prove_equality
from proofbook.derive.recheck import recheck
from proofbook.names import EQUATION_MIME

x, y, z = sp.symbols("x y z", real=True)
n = size("n")
(i,) = indices("i")
s = vector("s")
BOX = Domain({x: (1, 2), y: (1, 9)})
LAW = assume(
    3, sp.Eq(y, x**2), "a law of $x$", label="eq-law", domain=BOX, source="Nobody", witness={x: 1, y: 1}
)
FROM = Derivation("eq-from", x * y, eq(x**3, "by the law"), le(8, "the range"), domain=BOX, given=(LAW,))
AGAIN = eq(x**3 + 1, "as before", by=cite(FROM, step=1))
THROUGH = Derivation("eq-through", x * y + 1, AGAIN, domain=BOX, given=(LAW,))
BOOK = {d.label: json.loads(json.dumps(d._repr_mimebundle_())) for d in (LAW, FROM, THROUGH)}


CERTIFICATE = BOOK["eq-from"][EQUATION_MIME]["steps"][0]["certificate"]


def test_an_assumption_is_shown_as_one_with_its_number_and_no_tick():
    (step,) = BOOK["eq-law"][EQUATION_MIME]["steps"]
    shown = BOOK["eq-law"]["text/markdown"]
    assert step["mark"] == "Assumption 3" and step["strategy"] == "assumption"
    assert r"\overset{\mathsf{A}}{=}" in shown and r"\textsf{Assumption 3}" in shown
    assert "checkmark" not in shown and "proved}" not in shown and "Nobody" in step["detail"]


def test_what_follows_says_from_what_and_what_does_not_need_it_does_not():
    assert [v.mark for v in FROM.verified] == [
        "proved from Assumption 3 on its whole domain",
        r"proved for every $1\le x\le 2$",
    ]
    assert "proved from Assumption 3 for every" in FROM.verified[0].detail
    first, second = BOOK["eq-from"][EQUATION_MIME]["steps"]
    assert first["cites"] == ["eq-law"] and second["cites"] == []


def test_what_is_assumed_is_inherited():
    assert [v.mark for v in THROUGH.verified] == ["proved from Assumption 3 on its whole domain"]


def test_who_cites_what_rests_on_an_assumption_names_it():
    with pytest.raises(ValueError, match="rests on assumption"):
        Derivation("eq-through", x * y + 1, AGAIN, domain=BOX)


def test_all_of_it_is_checked_again():
    said = [(line.said, line.problem) for label in BOOK for line in recheck(label, BOOK)]
    assert said == [("assumption", None), ("proved", None), ("proved", None), ("proved", None)]


def forged(data: dict) -> dict:
    record = data[EQUATION_MIME]
    rows = [display.Row.from_record(step) for step in record["steps"]]
    names = {key: entry for key, *entry in map(json.loads, record["names"])}
    statement = display.Statement(record["start"]["formula"], record["domain"], names)
    plain = data["text/plain"]
    return json.loads(
        json.dumps(display.bundle(record["label"], record["start"]["latex"], rows, plain, statement))
    )


@pytest.mark.parametrize(
    "change",
    [
        {"mark": "proved"},
        {"strategy": "proved"},
        {"strategy": "proved", "mark": "proved"},
        {"strategy": "proved", "mark": "proved", "certificate": '{"kind":"equality"}'},
        {
            "strategy": "proved",
            "mark": "proved",
            "certificate": BOOK["eq-from"][EQUATION_MIME]["steps"][0]["certificate"],
        },
        {"strategy": "definition", "relation": ":=", "mark": ""},
        {"mark": "Assumption of ours"},
    ],
    ids=str,
)
def test_a_postulate_can_never_show_as_a_proof(change):
    data = copy.deepcopy(BOOK["eq-law"])
    data[EQUATION_MIME]["steps"][0].update(change)
    for shown in (data, forged(data)):
        assert [line for line in recheck("eq-law", {**BOOK, "eq-law": shown}) if line.problem]


@pytest.mark.parametrize("label", ["eq-from", "eq-through"])
def test_a_proof_cannot_hide_its_assumption(label):
    data = copy.deepcopy(BOOK[label])
    step = data[EQUATION_MIME]["steps"][0]
    step.update(mark="proved", detail=step["detail"].replace(" from Assumption 3", ""))
    data["text/plain"] = data["text/plain"].replace(" from Assumption 3", "")
    assert [line for line in recheck(label, {**BOOK, label: forged(data)}) if line.problem]
    certificate = json.loads(step["certificate"])
    del certificate["cites"][0]["assumptions"]
    step["certificate"] = display.canonical(certificate)
    assert [line for line in recheck(label, {**BOOK, label: forged(data)}) if line.problem]


def test_without_it_the_step_is_no_step():
    with pytest.raises((Refuted, Undecided)):
        Derivation("eq-alone", x * y, eq(x**3, "by no law"), domain=BOX)
    with pytest.raises(NotProved):
        prove_equality(x * y, x**3, BOX)
    with pytest.raises((Refuted, Undecided)):
        Derivation("eq-wrong", x * y, eq(x**3 + 1, "the law does not say so"), domain=BOX, given=(LAW,))


def test_it_holds_on_its_own_domain_only():
    wider = Domain({x: (0, 3), y: (1, 9)})
    with pytest.raises((Refuted, Undecided, ValueError)):
        Derivation("eq-wider", x * y, eq(x**3, "by the law"), domain=wider, given=(LAW,))


@pytest.mark.parametrize(
    ("relation", "domain", "witness"),
    [
        (x > 3, Domain({x: (1, 2)}), None),
        (x < 1, Domain({x: (1, 2)}), None),
        (sp.Eq(x**2, Rational(1, 4)), Domain({x: (1, 2)}), {x: Rational(1, 2)}),
        (sp.Eq(x, 5), Domain({x: (1, 2)}), {x: 5}),
        (sp.Eq(sp.exp(x), 1 + x), Domain({x: (1, 2)}), {x: Rational(3, 2)}),
        (Sum(s[i], (i, 1, n)) > 3 * n, Domain({s: (-2, 2), n: ladder(2, 3)}), {s: (9, 9), n: 2}),
        (Sum(s[i], (i, 1, n)) > 3 * n, Domain({s: (-2, 2), n: ladder(2, 3)}), {s: (1,) * 5, n: 5}),
    ],
    ids=str,
)
def test_what_holds_nowhere_cannot_be_assumed(relation, domain, witness):
    with pytest.raises(ValueError, match="no point was found"):
        assume(1, relation, "so", label="eq-never", domain=domain, witness=witness)


def test_what_cannot_hold_together_cannot_be_given_together():
    domain = Domain({x: (1, 3)})
    low, high = (
        assume(k, relation, "so", label=f"eq-side{k}", domain=domain)
        for k, relation in ((1, x < 2), (2, x > 2))
    )
    with pytest.raises(ValueError, match="assumption 1 and 2"):
        Derivation("eq-both", x, le(0, "anything"), domain=domain, given=(low, high))


def test_an_inequality_about_rows_may_be_assumed():
    rows = Domain({s: (-2, 2), n: ladder(2, 3)})
    law = assume(1, Sum(s[i], (i, 1, n)) <= 0, "centred at most", label="eq-centred", domain=rows)
    made = Derivation("eq-rows", 2 * Sum(s[i], (i, 1, n)), le(0, "twice"), domain=rows, given=(law,))
    assert made.verified[0].mark == "proved from Assumption 1 for every $n$"


def test_what_is_given_must_be_needed_and_evidence_needs_none():
    with pytest.raises(ValueError, match="proved without what it is given"):
        Derivation("eq-idle", (x + 1) ** 2, eq(x**2 + 2 * x + 1, "out"), domain=BOX, given=(LAW,))
    step = evidence(eq(x**3, "by the law"), because="late")
    with pytest.raises(ValueError, match="rests on no assumption"):
        Derivation("eq-late", x * y, step, domain=BOX, given=(LAW,))


@pytest.mark.parametrize("relation", [True, sp.true, x + 1, sp.Ne(x, y), sp.Eq(x, x)])
def test_only_a_relation_can_be_assumed(relation):
    with pytest.raises(TypeError):
        assume(1, relation, "so", label="eq-no", domain=BOX)


@pytest.mark.parametrize(
    ("count", "because", "label"), [(0, "so", "eq-a"), (1, " ", "eq-a"), (1, "so", "law")]
)
def test_an_assumption_has_a_number_a_reason_and_a_label(count, because, label):
    with pytest.raises(ValueError):
        assume(count, x < y, because, label=label, domain=BOX)


def test_a_quantity_in_an_assumption_is_unfolded():
    twice = define("T", (x,), 2 * x)
    law = assume(1, sp.Ge(y, twice(x)), "more than twice", label="eq-twice", domain=BOX)
    made = Derivation("eq-more", log(y), le(y - 1, "tangent"), domain=BOX)
    assert "Assumption" not in made.verified[0].mark
    made = Derivation("eq-more", 2 * x, le(y, "given"), domain=BOX, given=(law,))
    assert made.verified[0].mark.startswith("proved from Assumption 1 ")
