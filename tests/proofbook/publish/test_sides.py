"""What the lint reads off the code of a comparison: its two sides, what they share, what a claim rests on."""

import pytest

from proofbook.publish import sides
from proofbook.publish.flow import Flow

HEAD = """import attnlib as al, torch, math
from proofbook.ledger import agreement, claim, measured, said
rows = make(3)
law = said(n, n)
other = said(2 * n, n)
def by_hand(x):
    "Written out."
    y = torch.exp(x)
    return -(y * y.log()).sum(-1)
def through_the_library(x):
    return al.entropy(x)
"""
APART = ("attnlib", "torch.softmax")


def notebook(*cells):
    return {"cells": [{"cell_type": "code", "source": source} for source in (HEAD, *cells)]}


def found(*cells):
    return [problem for _, problem in sides.dependent_sides(Flow(notebook(*cells)), APART)]


def table(difference, of="('attnlib', 'written out')"):
    return f"agreement([('entropy', {difference}, 1e-9)], of={of})"


INDEPENDENT = {
    "the library and a function of the page": "al.entropy(rows) - by_hand(rows)",
    "shaped": "(al.entropy(rows) - by_hand(rows)).abs().max()",
    "a ratio": "al.entropy(rows) / by_hand(rows) - 1",
    "in turn": "[al.entropy(x) - by_hand(x) for x in (1, 2)]",
    "of two": "errors(al.entropy(rows), by_hand(rows))",
    "the same inputs": "al.entropy(torch.softmax(rows, -1)) - by_hand(rows)",
}


@pytest.mark.parametrize("difference", INDEPENDENT.values(), ids=INDEPENDENT)
def test_two_origins_that_share_nothing_pass(difference):
    assert found(table(difference)) == []


def test_a_computation_does_not_agree_with_itself():
    assert any(
        "both sides are by_hand(rows)" in problem for problem in found(table("by_hand(rows) - by_hand(rows)"))
    )


def test_what_both_sides_are_given_may_come_from_anywhere():
    assert found("p = torch.softmax(al.draw(3), -1)", table("al.entropy(p) - by_hand(p)")) == []


def test_names_are_followed_to_what_they_were_given():
    cells = (
        "cases = [('a', al.entropy(rows), by_hand(rows), 1e-9), ('b', al.other(rows), by_hand(rows), 1e-9)]",
        "agreement([(n, x - y, b) for n, x, y, b in cases], of=('attnlib', 'written out'))",
    )
    assert found(*cells) == []
    assert any(
        "named as an origin" in one for one in found(cells[0].replace("al.other", "by_hand"), cells[1])
    )
    gaps = "gaps = {'a': al.entropy(rows) - by_hand(rows)}"
    assert found(gaps, table("gaps['a']")) == []
    assert found(gaps.replace("by_hand", "al.entropy"), table("gaps['a']")) != []


DEPENDENT = {
    "the same function": ("al.entropy(rows) - al.entropy(2 * rows)", "both sides use attnlib.entropy"),
    "by way of a function of the page": (
        "al.entropy(rows) - through_the_library(rows)",
        "both sides use attnlib.entropy",
    ),
    "a function that is named": (
        "al.entropy(torch.softmax(rows, -1)) - by_hand(torch.softmax(2 * rows, -1))",
        "both sides use torch.softmax",
    ),
    "as a method": (
        "al.entropy(rows.softmax(-1)) - by_hand((2 * rows).softmax(-1))",
        "both sides use torch.softmax",
    ),
    "the formula twice": (
        "by_hand(rows) - by_hand(rows)",
        "attnlib is named as an origin, and",
    ),
    "the library twice": (
        "al.entropy(rows) - al.other(rows)",
        "a side uses attnlib, and no origin",
    ),
    "no difference": ("error_of(rows, 1, 2)", "cannot be read"),
}


@pytest.mark.parametrize(("difference", "problem"), DEPENDENT.values(), ids=DEPENDENT)
def test_sides_that_depend_on_each_other_are_named(difference, problem):
    assert any(problem in one for one in found(table(difference)))


def test_the_same_function_told_to_go_another_way_is_another():
    of = "('attnlib, fused', 'attnlib, reference')"
    assert found(table("al.rows(rows) - al.rows(rows, impl='reference')", of)) == []
    assert found(table("al.rows(rows, impl='reference') - al.rows(rows, impl='reference')", of)) != []


@pytest.mark.parametrize("of", ["origins", "('attnlib',)", "(a, 'b')"])
def test_origins_are_typed(of):
    assert any("origins" in one for one in found(table("al.entropy(rows) - by_hand(rows)", of)))


def test_a_measured_difference_is_held_to_its_origins_where_it_names_some():
    same = "measured('a', al.entropy(rows) - al.entropy(rows), below=1, {})"
    assert found(same.format("")) == []
    assert found(same.format("of=('attnlib', 'written out')")) != []


STATED = "claim('C1', 'holds', {}, formulas={{'law': law}})"


@pytest.mark.parametrize(
    "cells",
    [
        (STATED.format("measured('a', law(3) - rows, below=1)"),),
        ("gap = law(3) - rows", STATED.format("measured('a', gap, below=1)")),
        ("parts = (measured('a', law(3) - rows, below=1),)", STATED.format("*parts")),
        ("found = {}\nfor k in rows:\n    found[k] = law(k)", STATED.format("checked('a', found)")),
    ],
)
def test_a_formula_that_the_evidence_of_its_claim_uses_may_be_stated(cells):
    assert list(sides.not_compared(Flow(notebook(*cells)))) == []


@pytest.mark.parametrize("evidence", ["checked('a', True)", "measured('a', other(3) - rows, below=1)"])
def test_one_that_was_compared_elsewhere_alone_is_named(evidence):
    cells = ("measured('b', law(3) - rows, below=1)", STATED.format(evidence))
    assert [problem for _, problem in sides.not_compared(Flow(notebook(*cells)))] == [
        "the claim 'C1' states law, and no evidence of it makes use of that"
    ]


def test_a_name_is_led_back_to_the_last_statement_that_made_it():
    flow = Flow(notebook("x = al.entropy(rows)", "x = by_hand(rows)", "y = x"))
    place = len(flow.statements)
    value = flow.value("y", place)
    assert value is not None
    reached = flow.reached(*value)
    assert reached.imported == {"torch.exp"} and ("x", place - 2) in reached.variables
