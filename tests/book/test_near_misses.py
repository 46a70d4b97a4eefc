"""Near misses of the book's own steps: a step with one sign, constant, exponent, index or relation changed.

The statements are read from the stored outputs. Whether a changed one is false is asked of a second route,
which evaluates what is typed at several points of the domain, without the kernel and without SymPy's
algorithms; what that cannot show to be false counts for nothing. Of the false ones the kernel must refuse
all, each with the same domain, citations and lemmas as the true one.
"""

import itertools
import random
from collections import Counter
from pathlib import Path

from mutants import failure, mutant

from proofbook.derive.kernel import NotProved, assumptions_of, prove_equality, prove_inequality
from proofbook.derive.recheck import _Equation
from proofbook.names import EQUATION_MIME
from proofbook.publish import checking
from proofbook.publish.book import Book

ROOT = Path(__file__).parents[2]
BOOK = {data[EQUATION_MIME]["label"]: data for _, data in checking.outputs(Book(ROOT))}
SEED = 2026
STEPS = 240  # changed, of all that are proved: what fits into a minute
FALSE_AT_LEAST = 100


def near_misses():
    """One change in each of some proved steps: where, what, the statement, and what it is proved on."""
    rng = random.Random(SEED)
    found = []
    for label, data in sorted(BOOK.items()):
        equation = _Equation(data)
        for k, row in enumerate(equation.rows):
            # what is proved from an assumption need not fail where the assumption does not hold
            if row.certificate is not None and not assumptions_of(row.certificate):
                found.append((label, k, equation))
    for label, k, equation in rng.sample(found, STEPS):
        row, (left, right), within = equation.rows[k], equation.lines[k : k + 2], equation.within[k]
        relation = row.relation
        if within is not None:
            # an approximation is two inequalities: one of them is changed
            relation, right = rng.choice((("<=", within.highest(right)), (">=", within.lowest(right))))
        changed = mutant(relation, left, right, equation.domain, rng)
        if changed is not None:
            given = [equation._cited(text, BOOK) for text in row.by]
            yield (
                f"{label}, step {k + 1}",
                changed,
                equation.domain,
                given,
                row.certificate.get("without", ()),
            )


def accepts(relation, left, right, domain, given, without):
    try:
        if relation == "=":
            prove_equality(left, right, domain, given, without)
        else:
            prove_inequality(relation, left, right, domain, given, without)
    except NotProved:
        return False
    return True


def accepted_though_false(near, accepts):
    """What of these near misses is accepted and shown to be false; and how many were shown to be, or not."""
    rng, seen, accepted = random.Random(SEED), Counter(), []
    for where, (what, *statement), domain, given, without in near:
        false = failure(*statement, domain, rng, points=2)
        seen[bool(false)] += 1
        if false and accepts(*statement, domain, given, without):
            accepted.append((where, what, false))
    return accepted, seen


def test_no_false_near_miss_of_the_book_is_proved():
    accepted, seen = accepted_though_false(near_misses(), accepts)
    assert accepted == []
    assert seen[True] >= FALSE_AT_LEAST, seen


def test_a_kernel_that_believes_everything_is_found_out():
    accepted, seen = accepted_though_false(itertools.islice(near_misses(), 20), lambda *_: True)
    assert len(accepted) == seen[True] > 0


def test_a_true_statement_is_not_taken_for_a_near_miss():
    """The book's own statements: the second route finds none of them false, and the kernel accepts them."""
    rng = random.Random(SEED)
    for label in ("eq-spine-entropy", "eq-lemma-log", "eq-9593-trace"):
        equation = _Equation(BOOK[label])
        for k, row in enumerate(equation.rows):
            statement = (row.relation, *equation.lines[k : k + 2])
            given = [equation._cited(text, BOOK) for text in row.by]
            assert not failure(*statement, equation.domain, rng, points=2)
            assert accepts(*statement, equation.domain, given, row.certificate.get("without", ()))
