"""Hundreds of statements of the book's kinds: no false one is proved, of the true ones most are.

A false one is put to both: to a derivation, which attacks it before it asks for a proof, and to the kernel
alone, which must not need the attack. A true one that has no proof is undecided, and named below: whoever
proves it strikes it out.
"""

import pytest
from more_statements import FALSE as MORE_FALSE
from more_statements import TRUE as MORE_TRUE
from reviewers_statements import FALSE as REVIEWERS_FALSE
from reviewers_statements import TRUE as REVIEWERS_TRUE
from statements import FALSE as FIRST_FALSE
from statements import TRUE as FIRST_TRUE
from statements import Statement, proves

from proofbook.derive import Derivation, DerivationError, Undecided
from proofbook.derive.derivation import Step

TRUE = [*FIRST_TRUE, *MORE_TRUE, *REVIEWERS_TRUE]
FALSE = [*FIRST_FALSE, *MORE_FALSE, *REVIEWERS_FALSE]

# The kinds of which a true statement has no proof yet.
UNDECIDED = {
    "a derivative off the simplex",
    "a geometric series",
    "a maximum of two",
    "a mean of squares",
    "a mean of squares, as a sign",
    "a mean of squares, turned",
    "a minimum of two",
    "a near-integer",
    "a power of a size",
    "a rate",
    "a softplus",
    "a sum of moduli",
    "a sum of two ramps",
    "a telescoping sum",
    "a variance and a range",
    "a variance and a range of probabilities",
    "an integral with a kink",
    "binomials",
    "binomials, from right to left",
    "every n",
    "the exponential series",
}


def kernel_proves(statement: Statement) -> bool:
    return proves(statement.left, statement.relation, statement.right, statement.domain)


def derive(statement: Statement) -> Derivation:
    step = Step(statement.relation, statement.right, statement.kind)
    return Derivation("eq-statement", statement.left, step, domain=statement.domain)


def named(statements):
    return [pytest.param(statement, id=f"{k}: {statement.kind}") for k, statement in enumerate(statements)]


@pytest.mark.parametrize("statement", named(FALSE))
def test_no_derivation_shows_a_false_statement(statement):
    # a domain without a point is no domain, and a ValueError
    with pytest.raises((DerivationError, ValueError)):
        derive(statement)


@pytest.mark.parametrize("statement", named(FALSE))
def test_the_kernel_alone_proves_no_false_statement(statement):
    assert not kernel_proves(statement)


@pytest.mark.parametrize("statement", named(TRUE))
def test_a_true_statement_is_proved_or_undecided(statement):
    try:
        verified = derive(statement).verified[0]
    except Undecided:
        return
    assert verified.strategy == "proved"


def test_the_lists_are_long():
    assert len(TRUE) >= 200
    assert len(FALSE) >= 200


def test_nine_in_ten_of_the_true_ones_are_proved():
    open_ones = [statement.kind for statement in TRUE if not kernel_proves(statement)]
    assert len(open_ones) <= len(TRUE) / 10, open_ones
    assert set(open_ones) <= UNDECIDED
