"""Without python-flint and z3 plain polynomials are the same, and a proof that wants them is not claimed."""

import subprocess
import sys
from fractions import Fraction

import flint
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofbook.derive import engines
from proofbook.derive.kernel.polynomials import Context

COEFFICIENTS = st.builds(Fraction, st.integers(-6, 6), st.integers(1, 4))
TERMS = st.dictionaries(st.tuples(*[st.integers(0, 3)] * 2), COEFFICIENTS, max_size=5)
FLINT = flint.fmpq_mpoly_ctx.get(("x", "y"), flint.Ordering.lex)
PLAIN = Context(2)


def in_flint(terms):
    return FLINT.from_dict({place: flint.fmpq(c.numerator, c.denominator) for place, c in terms.items()})


def out_of_flint(p):
    return {tuple(map(int, place)): Fraction(int(c.p), int(c.q)) for place, c in p.to_dict().items()}


@given(TERMS, TERMS)
def test_products_and_degrees_are_those_of_flint(one, other):
    plain, exact = (make(one) * make(other) for make in (PLAIN.from_dict, in_flint))
    assert plain.to_dict() == out_of_flint(exact)
    assert (
        not one
        or PLAIN.from_dict(one).total_degree() == in_flint(one).total_degree()
        or not any(one.values())
    )


@given(TERMS, TERMS.filter(lambda terms: any(terms.values())))
def test_quotients_and_remainders_are_those_of_flint(one, other):
    plain = divmod(PLAIN.from_dict(one), PLAIN.from_dict(other))
    exact = divmod(in_flint(one), in_flint(other))
    assert [p.to_dict() for p in plain] == [out_of_flint(p) for p in exact]


@given(TERMS, TERMS)
def test_factors_multiply_out_and_are_as_many_as_those_of_flint(one, other):
    product = PLAIN.from_dict(one) * PLAIN.from_dict(other)
    if product.total_degree() < 1:
        return
    coefficient, parts = product.factor()
    again = PLAIN.constant(coefficient)
    for part, power in parts:
        again = again * part**power
    assert again == product
    assert sorted(e for _, e in parts) == sorted(int(e) for _, e in in_flint(product.to_dict()).factor()[1])


def test_what_is_there_is_not_lacking():
    with engines.wanted() as missing:
        assert not engines.lacking("z3") and not engines.lacking("python-flint")
    assert not missing


WITHOUT = """
import sys
sys.modules["flint"] = sys.modules["z3"] = None
import sympy as sp
from sympy import Rational
from proofbook.derive import Domain, Exercise
from proofbook.derive.kernel import NotProved, prove_inequality
x, y, n = sp.symbols("x y n", positive=True)
"""
MEAN = "Exercise(sp.Integral(x, (x, 0, y)), Domain({y: (1, 2)}))"
ODDS = (
    "Exercise(1 / (1 + (1 - x) / x * n / y), "
    "Domain({x: (Rational(1, 10), Rational(9, 10)), y: (16, 128), n: (128, 512)}))"
)


@pytest.mark.parametrize(
    "code, shown",
    [
        ("print(Exercise((x + 1)**2, Domain({x: (1, 2)})).check(x**2 + 2*x + 1))", "Right: proved"),
        ("print(Exercise((x + 1)**2, Domain({x: (1, 2)})).check(x**2 + 1))", "Not yet: "),
        (f"print({ODDS}.check(x / (x + (1 - x) * n / y)))", "Right: not proved here, where there is no z3; "),
        (f"print({ODDS}.check(x / (x + (1 - x) * n)))", "Not yet: "),
        (f"print({MEAN}.check(y**2 / 2))", "Right: "),
        (f"print({MEAN}.check(y**2))", "Not yet: "),
    ],
)
def test_an_answer_without_engines_is_never_more_than_it_is(code, shown):
    run = subprocess.run([sys.executable, "-c", WITHOUT + code], capture_output=True, text=True, check=True)
    assert run.stdout.startswith(shown)


def test_an_inequality_that_takes_z3_has_no_proof_without():
    domain = "Domain({x: (1, 2), y: (1, 2), n: (1, 2)})"
    proof = f"prove_inequality('>=', sp.Abs(x - y) + sp.Abs(y - n), sp.Abs(x - n), {domain})"
    code = f"{WITHOUT}\ntry:\n    {proof}\nexcept NotProved:\n    print('none')\nelse:\n    print('proved')"
    runs = [
        subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout
        for text in (code, code.replace('sys.modules["flint"] = sys.modules["z3"] = None', ""))
    ]
    assert runs == ["none\n", "proved\n"]
