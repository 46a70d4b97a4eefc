"""A certificate is data, and any change of it or of the statement is noticed."""

import json

import pytest
import sympy as sp
from sympy import Sum, exp, log

from proofbook.derive import Domain, indices, ladder, simplex, size, vector
from proofbook.derive.kernel import NotProved, check, prove_equality, prove_inequality

n = size("n")
i, j = indices("i j")
p, s = vector("p", positive=True), vector("s")
lam = sp.Symbol("lambda", real=True)
ROWS = Domain({lam: (-3, 3), s: (-2, 2), n: ladder(2, 3)})
SHARES = Domain({p: simplex(), n: ladder(2, 3)})

SOFTMAX = Sum(exp(lam * s[i]) / Sum(exp(lam * s[j]), (j, 1, n)), (i, 1, n))
ENTROPY = -Sum(p[i] * log(p[i]), (i, 1, n))


def test_a_certificate_survives_json_and_is_checked():
    certificate = json.loads(json.dumps(prove_equality(SOFTMAX, sp.Integer(1), ROWS)))
    check(certificate, SOFTMAX, sp.Integer(1), ROWS)


def test_a_certificate_of_an_inequality_keeps_the_facts_given_to_z3():
    certificate = json.loads(json.dumps(prove_inequality("<=", ENTROPY, log(n), SHARES)))
    check(certificate, ENTROPY, log(n), SHARES)
    assert any(name == "fact" for name, _ in certificate["moves"])


@pytest.mark.parametrize("key", ["left", "right", "rule", "setting", "conditions", "kind"])
def test_a_changed_certificate_is_refused(key):
    certificate = prove_equality(SOFTMAX, sp.Integer(1), ROWS)
    with pytest.raises(NotProved):
        check({**certificate, key: "changed"}, SOFTMAX, sp.Integer(1), ROWS)


def test_a_certificate_of_another_statement_is_refused():
    certificate = prove_equality(SOFTMAX, sp.Integer(1), ROWS)
    with pytest.raises(NotProved):
        check(certificate, SOFTMAX + lam - lam, sp.Integer(2), ROWS)
    with pytest.raises(NotProved):
        check(certificate, Sum(s[i], (i, 1, n)), Sum(s[j], (j, 1, n)), ROWS)


def test_two_runs_give_the_same_certificate():
    one, other = (prove_inequality("<=", ENTROPY, log(n), SHARES) for _ in range(2))
    assert one == other
