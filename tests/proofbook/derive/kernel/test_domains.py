"""What a domain says is what the kernel proves on: each condition dropped, the statement is refused."""

import pytest
import sympy as sp
from statements import proves
from sympy import Abs, Derivative, Rational, Sum, exp, log, sign, sqrt

from proofbook.derive import (
    Derivation,
    Domain,
    cite,
    gt,
    indices,
    ladder,
    reals,
    simplex,
    size,
    vector,
)
from proofbook.derive.kernel import NotProved, check, prove_equality, prove_inequality

n = size("n")
i, j, k = indices("i j k")
a, b, p = vector("a"), vector("b"), vector("p", positive=True)
x, z, lam = sp.symbols("x z lambda", real=True)

HALF = Rational(1, 2)
TO_TWO = dict(attack=(0, 2))
LINE = reals(attack=(-3, 3))
NOT_ZERO = reals(attack=(-3, 3), nonzero=True)
UP = reals(at_least=0, attack=(0, 3))
WEIGHTS = reals(above=0, attack=(Rational(1, 20), 1))
ONE, TWO = ladder(2, 3), ladder(2, 3, least=2)


def total(body, low=1):
    return Sum(body, (i, low, n))


def may_divide(value, domain):
    """Whether a quotient is read, which takes a proof that what stands below the line is not zero."""
    return proves((n + 1) / value, "=", n / value + 1 / value, domain)


# --- ranges with ends as they are said

RANGES = {
    "above 0 is positive": (x, ">", 0, reals(above=0, **TO_TWO), True),
    "at least 0 may be 0": (x, ">", 0, reals(at_least=0, **TO_TWO), False),
    "at least 0": (x, ">=", 0, reals(at_least=0, **TO_TWO), True),
    "above 0 is not 1": (x, ">=", 1, reals(above=0, attack=(1, 2)), False),
    "above 1": (x, ">", 1, reals(above=1, attack=(1, 2)), True),
    "at least 1": (x**2, ">=", x, reals(at_least=1, attack=(1, 2)), True),
    "from a half on": (x**2, ">=", x, reals(at_least=HALF, attack=(1, 2)), False),
    "the box is no end": (x, "<=", 2, reals(at_least=0, **TO_TWO), False),
    "below 0": (x, "<", 0, reals(below=0, attack=(-2, 0)), True),
    "at most 0": (x, "<", 0, reals(at_most=0, attack=(-2, 0)), False),
    "at most 0, not above": (x, "<=", 0, reals(at_most=0, attack=(-2, 0)), True),
    "closed above": (x, "<", 1, reals(at_least=0, at_most=1), False),
    "open above": (x, "<", 1, reals(at_least=0, below=1), True),
    "open below is closed above": (x, "<", 1, reals(above=0, at_most=1), False),
    "open on both sides": (x * (1 - x), ">", 0, reals(above=0, below=1), True),
    "open on one side": (x * (1 - x), ">", 0, reals(at_least=0, below=1), False),
    "the box of an interval is no end": (
        x,
        "<=",
        HALF,
        reals(at_least=0, at_most=1, attack=(0, HALF)),
        False,
    ),
    "every real": (x**2, ">=", 0, LINE, True),
    "every real is not below 3": (x, "<=", 3, LINE, False),
    "a square is zero somewhere": (x**2, ">", 0, LINE, False),
    "but not away from 0": (x**2, ">", 0, NOT_ZERO, True),
    "log where it has no value": (
        log(x**2 * 2),
        "=",
        log(2) + 2 * log(x),
        reals(at_least=0, **TO_TWO),
        False,
    ),
    "log where it has one": (log(x**2 * 2), "=", log(2) + 2 * log(x), reals(above=0, **TO_TWO), True),
    "1/x where it has no value": ((x + x**2) / x, "=", 1 + x, reals(at_least=0, **TO_TWO), False),
    "1/x where it has one": ((x + x**2) / x, "=", 1 + x, reals(above=0, **TO_TWO), True),
    "1/x away from 0": ((x + x**2) / x, "=", 1 + x, NOT_ZERO, True),
    "1/x on the line": ((x + x**2) / x, "=", 1 + x, LINE, False),
    "a modulus": (Abs(x), "=", x, reals(at_least=0, **TO_TWO), True),
    "a modulus on the line": (Abs(x), "=", x, LINE, False),
    "a slope beside a kink": (Derivative(Abs(x), x), "=", 1, reals(above=0, **TO_TWO), True),
    "a slope at a kink": (Derivative(Abs(x), x), "=", 1, reals(at_least=0, **TO_TWO), False),
    "a slope at a vertical tangent": (Derivative(sqrt(x), x), "=", 1 / (2 * sqrt(x)), UP, False),
    "a decimal end": (x, ">=", Rational(1, 10), reals(at_least=0.1, attack=(1, 2)), True),
    "an end that is no fraction": (x, ">=", 0, reals(at_least=sqrt(2), attack=(2, 3)), False),
}


@pytest.mark.parametrize("name", RANGES)
def test_a_range_is_the_one_that_is_said(name):
    left, relation, right, kind, holds = RANGES[name]
    assert proves(left, relation, right, Domain({x: kind})) is holds


def test_a_plain_pair_still_leaves_out_ends_without_a_value_and_an_exact_range_does_not():
    ratio, sides = (x + x**2) / x, 1 + x
    assert proves(ratio, "=", sides, Domain({x: (0, 2)}))
    assert not proves(ratio, "=", sides, Domain({x: reals(at_least=0, at_most=2)}))
    assert proves((x + z) / (x + z) ** 2, "=", 1 / (x + z), Domain({x: (0, 2), z: (0, 2)}))
    exact = Domain({x: reals(at_least=0, at_most=2), z: reals(at_least=0, at_most=2)})
    assert not proves((x + z) / (x + z) ** 2, "=", 1 / (x + z), exact)


def test_ranges_of_entries():
    log_square = total(log(a[i] ** 2)), 2 * total(log(a[i]))
    assert proves(log_square[0], "=", log_square[1], Domain({a: WEIGHTS, n: ONE}))
    assert not proves(log_square[0], "=", log_square[1], Domain({a: UP, n: ONE}))
    # of the modulus it is true wherever no entry is zero
    modulus = total(log(a[i] ** 2)), 2 * total(log(Abs(a[i])))
    assert proves(modulus[0], "=", modulus[1], Domain({a: NOT_ZERO, n: ONE}))
    assert not proves(modulus[0], "=", modulus[1], Domain({a: LINE, n: ONE}))
    assert not proves(modulus[0], "=", modulus[1], Domain({a: LINE, n: ONE}, nonzero=(a,)))


def test_a_sign_squares_to_one_where_no_entry_is_zero():
    assert proves(total(sign(a[i]) ** 2), "=", n, Domain({a: NOT_ZERO, n: ONE}))
    assert not proves(total(sign(a[i]) ** 2), "=", n, Domain({a: LINE, n: ONE}))
    assert not proves(total(sign(a[i]) ** 2), "=", n, Domain({a: LINE, n: ONE}, nonzero=(a,)))
    assert not proves(total(sign(a[i])), "=", n, Domain({a: NOT_ZERO, n: ONE}))
    assert proves(sign(z) * z, "=", Abs(z), Domain({z: LINE}, where=(sp.Ne(z, 0),)))


def test_relations_that_leave_out_a_value():
    slope, other = (exp(z) - 1) / z * (z - 1), (exp(z) * (z - 1) - z + 1) / z
    assert proves(slope, "=", other, Domain({z: LINE}, where=(sp.Ne(z, 0),)))
    assert proves(slope, "=", other, Domain({z: NOT_ZERO}))
    assert not proves(slope, "=", other, Domain({z: LINE}))
    assert not proves(slope, "=", other, Domain({z: LINE}, where=(sp.Ne(z, 1),)))


# --- the least size


def test_a_statement_from_size_2_on_is_proved_for_these_and_says_so():
    left, right = total(a[i]) / (n - 1) * (n**2 - n), n * total(a[i])
    certificate = prove_equality(left, right, Domain({a: LINE, n: TWO}))
    assert certificate["setting"]["least size"] == 2
    with pytest.raises(NotProved):
        prove_equality(left, right, Domain({a: LINE, n: ONE}))
    with pytest.raises(NotProved):
        prove_equality(left, right, Domain({a: LINE, n: ladder(5, 7)}))
    with pytest.raises(NotProved):  # a proof from size 2 on is none of a statement about every size
        check(certificate, left, right, Domain({a: LINE, n: ONE}))
    assert not proves(n, ">=", 3, Domain({n: TWO}))
    assert proves(n, ">=", 3, Domain({n: ladder(5, least=3)}))


def test_one_entry_is_taken_out_of_a_sum():
    domain = Domain({a: LINE, n: TWO})
    assert proves(total(a[i] ** 2), "=", a[1] ** 2 + total(a[i] ** 2, 2), domain)
    assert proves(total(a[i] ** 2), "=", a[1] ** 2 + a[2] ** 2 + total(a[i] ** 2, 3), domain)
    assert not proves(total(a[i] ** 2), "=", a[1] ** 2 + total(a[i] ** 2, 3), domain)
    # with one entry there is no second one
    assert not proves(total(a[i]), "=", a[1] + a[2] + total(a[i], 3), Domain({a: LINE, n: ONE}))
    rest = (1 - p[1]) * total(p[i] / (1 - p[1]) * log(p[i] / (1 - p[1])), 2)
    chain = p[1] * log(p[1]) + (1 - p[1]) * log(1 - p[1]) + rest
    assert proves(total(p[i] * log(p[i])), "=", chain, Domain({p: simplex(), n: TWO}))
    assert not proves(total(p[i] * log(p[i])), "=", chain, Domain({p: simplex(), n: ONE}))
    assert not proves(total(p[i] * log(p[i])), "=", chain, Domain({p: WEIGHTS, n: TWO}))


# --- a vector that is not the zero vector

SUMS = {
    "squares": (total(a[i] ** 2), LINE),
    "moduli": (total(Abs(a[i])), LINE),
    "fourth powers": (total(a[i] ** 4), LINE),
    "weighted squares": (total(exp(b[i]) * a[i] ** 2), LINE),
    "entries": (total(a[i]), UP),
    "roots": (total(sqrt(a[i])), UP),
    "pairs": (Sum(Sum(a[i] * a[j], (j, 1, n)), (i, 1, n)), UP),
}


@pytest.mark.parametrize("name", SUMS)
def test_a_sum_over_a_vector_that_is_not_zero_is_positive(name):
    value, kind = SUMS[name]
    ranges = {a: kind, b: LINE, n: ONE}
    assert proves(value, ">", 0, Domain(ranges, nonzero=(a,)))
    assert may_divide(value, Domain(ranges, nonzero=(a,)))
    assert not may_divide(value, Domain(ranges))
    assert not may_divide(value, Domain(ranges, nonzero=(b,)))
    assert proves(-value, "<", 0, Domain(ranges, nonzero=(a,)))


NOT_POSITIVE = {
    "entries of both signs": (total(a[i]), LINE),
    "cubes": (total(a[i] ** 3), LINE),
    "entries that need not meet": (total(a[i] * b[i]), UP),
    "squares that need not meet": (total(a[i] ** 2 * b[i] ** 2), LINE),
    "all but the first": (total(a[i] ** 2, 2), LINE),
    "one entry": (a[1] ** 2, LINE),
    "a product of all entries": (sp.Product(a[i], (i, 1, n)), UP),
    "differences": (total((a[i] - b[i]) ** 2), LINE),
}


@pytest.mark.parametrize("name", NOT_POSITIVE)
def test_not_zero_is_no_more_than_that(name):
    value, kind = NOT_POSITIVE[name]
    assert not may_divide(value, Domain({a: kind, b: kind, n: TWO}, nonzero=(a, b)))
    assert not may_divide(value, Domain({a: kind, b: kind, n: TWO}, distinct=(a, b)))


def test_two_vectors_that_are_not_zero_and_two_indices():
    outer = Sum(Sum(a[i] * b[j], (j, 1, n)), (i, 1, n))
    assert proves(outer, ">", 0, Domain({a: UP, b: UP, n: ONE}, nonzero=(a, b)))
    assert not may_divide(outer, Domain({a: UP, b: UP, n: ONE}, nonzero=(a,)))


def test_a_denominator_needs_the_vector_not_to_be_zero():
    shares = total(a[i] / Sum(a[j], (j, 1, n)))
    assert proves(shares, "=", 1, Domain({a: UP, n: ONE}, nonzero=(a,)))
    assert not proves(shares, "=", 1, Domain({a: UP, n: ONE}))
    assert not proves(shares, "=", 1, Domain({a: LINE, n: ONE}, nonzero=(a,)))


# --- a row that is not constant

MEAN = total(a[i]) / n
WEIGHTED = total(p[i] * a[i]) / total(p[i])
POWER = total(p[i] ** lam)
SPREADS = {
    "variance": (total((a[i] - MEAN) ** 2), a),
    "variance, multiplied out": (n * total(a[i] ** 2) - total(a[i]) ** 2, a),
    "weighted variance": (total(p[i] * (a[i] - WEIGHTED) ** 2), a),
    "of the weights' own logarithms": (
        total(p[i] ** lam * log(p[i]) ** 2) / POWER - (total(p[i] ** lam * log(p[i])) / POWER) ** 2,
        p,
    ),
    "of exponentials": (n * total(exp(2 * a[i])) - total(exp(a[i])) ** 2, a),
    "of odd powers": (n * total(a[i] ** 6) - total(a[i] ** 3) ** 2, a),
    "of inverses": (n * total(p[i] ** -2) - total(1 / p[i]) ** 2, p),
}


@pytest.mark.parametrize("name", SPREADS)
def test_the_spread_of_a_row_that_is_not_constant_is_positive(name):
    value, of = SPREADS[name]
    ranges = {lam: LINE, a: LINE, p: WEIGHTS, n: TWO}
    assert proves(value, ">", 0, Domain(ranges, distinct=(of,)))
    assert may_divide(value, Domain(ranges, distinct=(of,)))
    assert not may_divide(value, Domain(ranges, nonzero=(of,)))
    assert not may_divide(value, Domain(ranges, distinct=(p if of == a else a,)))
    assert not may_divide(value, Domain({**ranges, n: ONE}))


def test_varentropy_of_a_probability_vector():
    value = total(p[i] * log(p[i]) ** 2) - total(p[i] * log(p[i])) ** 2
    assert proves(value, ">", 0, Domain({p: simplex(), n: TWO}, distinct=(p,)))
    assert not may_divide(value, Domain({p: simplex(), n: TWO}))
    # without the sum to one it is no variance
    assert not may_divide(value, Domain({p: WEIGHTS, n: TWO}, distinct=(p,)))


NO_SPREAD = {
    "even powers do not tell entries apart": n * total(a[i] ** 4) - total(a[i] ** 2) ** 2,
    "moduli do not either": n * total(Abs(a[i]) ** 4) - total(Abs(a[i]) ** 2) ** 2,
    "a factor that may be zero": n * total(exp(2 * lam * a[i])) - total(exp(lam * a[i])) ** 2,
    "all but the first": (n - 1) * total(a[i] ** 2, 2) - total(a[i], 2) ** 2,
    "too small a weight": (n - 1) * total(a[i] ** 2) - total(a[i]) ** 2,
    "two vectors": total(a[i] ** 2) * total(b[i] ** 2) - total(a[i] * b[i]) ** 2,
    "a weight that may be zero": total(b[i] ** 2) * total(b[i] ** 2 * a[i] ** 2)
    - total(b[i] ** 2 * a[i]) ** 2,
    "products": n * total(a[i] ** 2 * b[i] ** 2) - total(a[i] * b[i]) ** 2,
}


@pytest.mark.parametrize("name", NO_SPREAD)
def test_what_may_be_constant_all_the_same(name):
    value = NO_SPREAD[name]
    domain = Domain({lam: LINE, a: LINE, b: LINE, p: WEIGHTS, n: TWO}, distinct=(a, b, p))
    assert not may_divide(value, domain)


def test_a_factor_that_is_not_zero_keeps_entries_apart():
    value = n * total(exp(2 * lam * a[i])) - total(exp(lam * a[i])) ** 2
    assert proves(value, ">", 0, Domain({lam: NOT_ZERO, a: LINE, n: TWO}, distinct=(a,)))


def test_cauchy_and_schwarz_need_no_condition():
    domain = Domain({a: LINE, b: LINE, n: ONE})
    value = total(a[i] ** 2) * total(b[i] ** 2) - total(a[i] * b[i]) ** 2
    assert proves(value, ">=", 0, domain)
    assert proves(-value, "<=", 0, domain)
    # without squares there are terms of both signs
    assert not proves(total(a[i]) * total(a[i] * b[i] ** 2) - total(a[i] * b[i]) ** 2, ">=", 0, domain)


# --- two sums, term by term


def test_sums_over_one_range_are_compared_term_by_term_as_they_are_typed():
    whole_a, whole_b = Sum(a[j], (j, 1, n)), Sum(b[j], (j, 1, n))
    part = p[i] * whole_a / (p[i] * whole_a + whole_b)
    shares = total(part * a[i] / whole_a + (1 - part) * b[i] / whole_b)
    both = total(a[i] / whole_a + b[i] / whole_b)
    domain = Domain({a: UP, b: UP, p: WEIGHTS, n: ONE}, nonzero=(a, b))
    assert proves(shares, "<=", both, domain)
    assert not proves(both, "<=", shares, domain)
    assert not proves(shares, "<=", both, Domain({a: UP, b: UP, p: WEIGHTS, n: ONE}, nonzero=(a,)))
    assert not proves(2 * shares, "<=", both, domain)
    assert not proves(total(2 * part * a[i] / whole_a), "<=", total(a[i] / whole_a), domain)


# --- what is cited brings its conditions along


def cites(known, start, end, domain, at=None):
    try:
        prove_inequality(">", start, sp.sympify(end), domain, cites=(cite(known, at),))
    except NotProved:
        return False
    return True


def test_a_row_that_is_not_zero_or_not_constant_is_asked_for_when_citing():
    ranges = {a: LINE, n: TWO}
    squares, spread = total(a[i] ** 2), n * total(a[i] ** 2) - total(a[i]) ** 2
    positive = Derivation("eq-a", squares, gt(0, "r"), domain=Domain(ranges, nonzero=(a,)))
    varies = Derivation("eq-b", spread, gt(0, "r"), domain=Domain(ranges, distinct=(a,)))
    assert cites(positive, 2 * squares, 0, Domain(ranges, nonzero=(a,)))
    assert cites(positive, 2 * squares, 0, Domain(ranges, distinct=(a,)))
    assert cites(positive, 2 * squares, 0, Domain({a: NOT_ZERO, n: TWO}))
    assert not cites(positive, 2 * squares, 0, Domain(ranges))
    assert cites(varies, 2 * spread, 0, Domain(ranges, distinct=(a,)))
    assert not cites(varies, 2 * spread, 0, Domain(ranges, nonzero=(a,)))
    entries = Derivation("eq-c", a[k] ** 2, gt(0, "r"), domain=Domain({a: NOT_ZERO, n: TWO}, each=(k,)))
    assert cites(entries, 2 * a[k] ** 2, 0, Domain({a: WEIGHTS, n: TWO}, each=(k,)))
    assert not cites(entries, 2 * a[k] ** 2, 0, Domain({a: LINE, n: TWO}, nonzero=(a,), each=(k,)))


def test_ranges_and_the_least_size_are_asked_for_when_citing():
    away = Derivation("eq-a", x**2, gt(0, "r"), domain=Domain({x: NOT_ZERO}))
    assert cites(away, 2 * (z + 1) ** 2, 0, Domain({z: reals(above=-1, attack=(0, 1))}), {x: z + 1})
    assert not cites(away, 2 * (z + 1) ** 2, 0, Domain({z: reals(at_least=-1, attack=(0, 1))}), {x: z + 1})
    later = Derivation("eq-b", n**2 - n, gt(0, "r"), domain=Domain({n: TWO}))
    assert cites(later, 2 * (n**2 - n), 0, Domain({n: TWO}))
    assert not cites(later, 2 * (n**2 - n), 0, Domain({n: ONE}))
