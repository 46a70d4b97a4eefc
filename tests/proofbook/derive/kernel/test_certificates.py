"""A certificate is data, and any change of it or of the statement is noticed."""

import json

import pytest
import sympy as sp
from sympy import Sum, exp, log

from proofbook.derive import Domain, indices, ladder, simplex, size, vector
from proofbook.derive.kernel import NotProved, check, prove_equality, prove_inequality
from proofbook.derive.kernel.equality import renumbered

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


def test_names_in_a_certificate_are_counted_as_they_are_met():
    moves = [["slope", "1*idx(26)*var(7)"], ["fact", "1*var(9)*idx(4)+1*idx(26) >= 0: why"]]
    renamed = renumbered({"kind": "inequality", "setting": {"least size": 1}, "moves": moves})
    assert renamed["moves"] == [["slope", "1*idx(1)*var(1)"], ["fact", "1*var(2)*idx(2)+1*idx(1) >= 0: why"]]
    assert renamed["setting"] == {"least size": 1}
    assert renumbered(renamed) == renamed
