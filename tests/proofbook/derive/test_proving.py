"""A step is proved for its whole domain, or stops the book, or is shown as evidence asked for by name."""

import pytest
import sympy as sp
from sympy_reports import REPORTS

from proofbook.derive import (
    Derivation,
    DerivationError,
    Domain,
    EmptyStep,
    Exercise,
    MaxOver,
    Refuted,
    Undecided,
    eq,
    evidence,
    ge,
    indices,
    integers,
    ladder,
    le,
    lt,
    size,
    vector,
)
from proofbook.derive.proving import settle

n = size()
(i,) = indices("i")
s = vector("s")
x, spare = sp.symbols("x spare", real=True)
a = sp.Symbol("a", positive=True)
ROWS = Domain({n: ladder(2, 3), s: (-2, 2), a: (1, 2)})
TOTAL = sp.Sum(sp.exp(a * s[i]), (i, 1, n))


def derive(start, step, domain):
    return Derivation("eq-test", start, step, domain=domain)


def test_a_proof_is_for_every_size_and_carries_its_certificate():
    (bound,) = derive(sp.log(TOTAL), ge(a * MaxOver(s[i], (i, 1, n)), "one term"), ROWS).verified
    assert bound.strategy == "proved" and bound.mark == "proved for every $n$"
    assert bound.detail.startswith("proved for every n, every -2 <= s <= 2, every 1 <= a <= 2, by ")
    assert bound.certificate["kind"] == "inequality"


FALSE = {
    "a ladder's rungs": ((n - 2) * (n - 3) * sp.Sum(s[i], (i, 1, n)), eq(0, "on both rungs"), ROWS),
    "below fifty digits": (sp.log(sp.exp(x) + 1), eq(x, "far out"), Domain({x: (150, 300)})),
    "one of a thousand": (
        sp.KroneckerDelta(sp.Symbol("m", integer=True, nonnegative=True), 137),
        eq(0, "hardly ever"),
        Domain({sp.Symbol("m", integer=True, nonnegative=True): integers(0, 1000)}),
    ),
    "strict where equal": (x**2, lt(x**2 + (x - sp.Rational(1, 3)) ** 2, "a square"), Domain({x: (0, 1)})),
    "a sign": (sp.Abs(x), eq(x, "positive"), Domain({x: (-1, 1)})),
    "at large sizes only": (sp.log(n), le(3, "on the rungs"), ROWS),
    "a thin valley": ((x - sp.Rational(1, 7)) ** 2, ge(sp.Rational(1, 10**9), "hardly"), Domain({x: (0, 1)})),
}


@pytest.mark.parametrize("start, step, domain", FALSE.values(), ids=FALSE)
def test_what_is_false_is_never_shown_as_proved(start, step, domain):
    with pytest.raises(DerivationError):
        derive(start, step, domain)


@pytest.mark.parametrize("report", REPORTS, ids=str)
def test_no_reported_error_of_sympy_is_a_step(report):
    domain = Domain(report.ranges or {spare: (0, 1)})
    with pytest.raises(DerivationError):
        settle("=", sp.sympify(report.typed), sp.sympify(report.wrong), domain, seed="", digits=50)


def test_evidence_is_asked_for_by_name_and_has_a_sign_of_its_own():
    start = sp.Integral(sp.sin(x), (x, 0, 2 * a))
    step = eq(2 * sp.Integral(sp.sin(2 * x), (x, 0, a)), "substitute")
    domain = Domain({a: (1, 2)})
    with pytest.raises(Undecided, match=r"evidence\(step, because=...\)"):
        derive(start, step, domain)
    shown = derive(start, evidence(step, because="no rule for this integral"), domain)
    latex = shown._repr_mimebundle_()["text/latex"]
    assert r"\overset{\circ}{=}" in latex and "evidence" in latex and "checkmark" not in latex
    assert shown.strategy == "digits" and shown.steps[0].evidence == "no rule for this integral"


def test_evidence_for_what_is_proved_is_refused():
    with pytest.raises(ValueError, match="proved"):
        derive(
            (x + 1) ** 2, evidence(eq(x**2 + 2 * x + 1, "multiply out"), because="lazy"), Domain({x: (0, 1)})
        )


def test_evidence_says_why():
    with pytest.raises(ValueError, match="says why"):
        evidence(eq(x, "so"), because=" ")


def test_evidence_does_not_save_a_false_step():
    area = sp.Integral(sp.Abs(sp.cos(x)), (x, -sp.pi / 2, 0))
    with pytest.raises(Refuted):
        derive(area, evidence(eq(-1, "so says SymPy"), because="no rule"), Domain({a: (1, 2)}))


def test_a_line_that_repeats_the_one_before_it_is_refused():
    with pytest.raises(EmptyStep):
        derive(x + 1, eq(1 + x, "the same"), Domain({x: (0, 1)}))


def test_a_reader_is_told_right_where_evidence_suffices():
    area = sp.Integral(sp.cos(x), (x, 0, a))
    asked = Exercise(area, Domain({a: (1, 2)}))
    assert asked.check(sp.sin(a)).right and not asked.check(sp.cos(a)).right
