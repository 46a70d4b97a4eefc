"""An approximation states the bound of its error, and the bound is proved for the whole domain."""

import json

import pytest
import sympy as sp
from sympy import Rational, exp, log, sqrt

from proofbook.derive import (
    Derivation,
    Domain,
    Refuted,
    Regime,
    Undecided,
    WrongRate,
    approx,
    evidence,
    indices,
    ladder,
    size,
    vector,
)
from proofbook.derive.kernel import NotProved, check, prove_approximation

x = sp.Symbol("x", real=True)
y = sp.Symbol("y", positive=True)
n = size()
(i,) = indices("i")
p = vector("p")
TENTHS = tuple(Rational(1, 10**k) for k in (1, 2, 3))
FROM_ZERO = Domain({y: (0, 1)})


def derive(left, right, domain=FROM_ZERO, **bounds):
    return Derivation("eq-test", left, approx(right, "expand", **bounds), domain=domain)


TRUE = {
    "the logarithm": (log(1 + y), y - y**2 / 2, {"within": (0, y**3 / 3)}, FROM_ZERO),
    "in size": (1 / (1 + y), 1 - y, {"within": y**2}, FROM_ZERO),
    "the exponential": (exp(y), 1 + y, {"within": (0, y**2)}, FROM_ZERO),
    "exact": (y / (1 + y), 1 - 1 / y, {"within": (0, 1 / y**2)}, Domain({y: (2, 9)})),
    "of every size": (
        sp.Sum(1 / (1 + p[i]), (i, 1, n)),
        n - sp.Sum(p[i], (i, 1, n)),
        {"within": (0, sp.Sum(p[i] ** 2, (i, 1, n)))},
        Domain({p: (0, 1), n: ladder(2, 3)}),
    ),
}


@pytest.mark.parametrize("left, right, bounds, domain", TRUE.values(), ids=TRUE)
def test_a_bound_of_the_error_is_proved(left, right, bounds, domain):
    derivation = derive(left, right, domain, **bounds)
    (verified,) = derivation.verified
    assert derivation.strategy == "proved" and verified.mark.startswith("proved ")
    assert "proved for every " in verified.detail and ", by " in verified.detail
    assert verified.certificate["kind"] == "approximation"


FALSE = {
    "the constant of the last term": (log(1 + y), y - y**2 / 3, {"within": (0, y**3 / 3)}, FROM_ZERO),
    "a bound halved": (log(1 + y), y - y**2 / 2, {"within": (0, y**3 / 6)}, FROM_ZERO),
    "a sign of the error": (log(1 + y), y - y**2 / 2, {"within": (y**3 / 3, 0)}, FROM_ZERO),
    "a sign of a term": (log(1 + y), y + y**2 / 2, {"within": (y**3 / 3, y**3 / 3)}, FROM_ZERO),
    "beyond its domain": (exp(y), 1 + y, {"within": (0, y**2)}, Domain({y: (0, 3)})),
    "below its domain": (log(1 + x), x - x**2 / 2, {"within": (0, x**3 / 3)}, Domain({x: (-1, 1)})),
    "at one end": (1 / (1 + y), 1 - y, {"within": y**2 * (1 - 3 * y / 5)}, FROM_ZERO),
}


@pytest.mark.parametrize("left, right, bounds, domain", FALSE.values(), ids=FALSE)
def test_a_false_bound_is_refuted(left, right, bounds, domain):
    with pytest.raises(Refuted):
        derive(left, right, domain, **bounds)
    pair = bounds["within"] if isinstance(bounds["within"], tuple) else (bounds["within"],) * 2
    with pytest.raises(NotProved):
        prove_approximation(left, right, *map(sp.sympify, pair), domain)


def test_a_bound_without_a_proof_is_undecided():
    with pytest.raises(Undecided, match="bound from .*no counterexample"):
        derive(sp.gamma(1 + y), 1, within=Rational(1, 5))


@pytest.mark.parametrize(
    "right, within, regime",
    [
        (1 + y, y, None),  # as large as the last term, at every point
        (1 + y, y, Regime(y, TENTHS, 2)),
        (1 + y + y**2 / 2, y**2, Regime(y, TENTHS, 3)),
        (0, 3 * exp(y), None),
    ],
)
def test_a_bound_that_drowns_a_term_is_refused(right, within, regime):
    with pytest.raises(WrongRate, match="smallest term"):
        derive(exp(y), right, Domain({y: (0, 1)}), within=within, regime=regime)


def test_a_bound_that_drowns_a_term_at_the_end_alone_is_refused():
    derive(exp(-y), 1 - y, within=(0, y**2 / 2), regime=Regime(y, TENTHS, 2))
    with pytest.raises(WrongRate, match="end of the regime, y = 0.001"):
        derive(exp(-y), 1 - y, within=(0, sqrt(y) / 2), regime=Regime(y, TENTHS, 2))


def test_a_regime_is_measured_besides_and_its_rate_must_hold():
    (verified,) = derive(log(1 + y), y - y**2 / 2, within=(0, y**3 / 3), regime=Regime(y, TENTHS, 3)).verified
    assert verified.strategy == "proved" and verified.numbers["power"] == pytest.approx(3, abs=0.1)
    assert verified.detail.startswith(
        "the error is 3.3e-10 at y = 1/1000 and goes as y^3.0; proved for every"
    )
    assert verified.in_markdown.startswith(
        r"the error is 3.3e-10 at $y=\frac{1}{1000}$ and goes as $y^{3.0}$; proved for every $"
    )
    with pytest.raises(WrongRate):
        derive(log(1 + y), y - y**2 / 2, within=(0, y**3 / 3), regime=Regime(y, TENTHS, 2))


def test_the_bound_stands_beside_the_reason():
    both = derive(log(1 + y), y - y**2 / 2, within=(0, y**3 / 3))._repr_mimebundle_()
    assert r"\text{expand}\text{; }0 \le \text{error} \le \frac{y^{3}}{3}" in both["text/latex"]
    assert "0 <= error <= y**3/3" in both["text/plain"]
    one = derive(1 / (1 + y), 1 - y, within=y**2)._repr_mimebundle_()
    (step,) = one["application/vnd.proofbook.equation+json"]["steps"]
    assert step["within"] == r"\text{error at most }y^{2}" in one["text/latex"]
    assert step["relation"] == "~" and step["evidence"] is None and r"\approx" in one["text/latex"]


def test_the_certificate_is_found_again_and_belongs_to_its_bounds():
    left, right, within = log(1 + y), y - y**2 / 2, (sp.Integer(0), y**3 / 3)
    certificate = json.loads(json.dumps(prove_approximation(left, right, *within, FROM_ZERO)))
    check(certificate, left, right, FROM_ZERO, within)
    for changed in (None, (sp.Integer(0), y**3 / 2), (y**3, y**3 / 3)):
        with pytest.raises(NotProved):
            check(certificate, left, right, FROM_ZERO, changed)
    with pytest.raises(NotProved):
        check({**certificate, "above": certificate["below"]}, left, right, FROM_ZERO, within)


def test_an_approximation_states_something():
    with pytest.raises(ValueError, match="needs a bound of its error or a regime"):
        approx(y, "so")
    with pytest.raises(ValueError, match="a pair"):
        approx(y, "so", within=(y, y, y))
    with pytest.raises(ValueError, match="a bound of the error is proved"):
        evidence(approx(y, "so", within=y), because="too hard")
    with pytest.raises(Undecided, match="within="):
        derive(sqrt(1 + y), 1 + y / 2, regime=Regime(y, TENTHS, 2))
