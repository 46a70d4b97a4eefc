"""An equation is checked again from its output alone, and no change of that passes."""

import copy
import json

import pytest
import sympy as sp
from sympy import Rational, Sum, exp, log

from proofbook import display
from proofbook.derive import (
    Derivation,
    Domain,
    Regime,
    approx,
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
from proofbook.derive.recheck import read_again, recheck
from proofbook.names import EQUATION_MIME

n = size("n")
i, j = indices("i j")
s = vector("s")
lam = sp.Symbol("lambda", real=True)
x, y = sp.symbols("x y", real=True)
ROWS = Domain({lam: (0, 3), s: (-2, 2), n: ladder(2, 3)})
F = define("F", (lam,), log(Sum(exp(lam * s[i]), (i, 1, n))), label="eq-test-f")
a = define(
    "a",
    (i, lam),
    exp(lam * s[i] - F(lam)),
    latex=lambda i, at: f"a_{i}" if at == r"\lambda" else f"a_{i}({at})",
)
POSITIVE = Domain({x: (Rational(1, 4), 4)})
LOG = Derivation("eq-test-log", log(x), le(x - 1, "its tangent at 1"), domain=POSITIVE)
SHOWN = [
    F,
    Derivation(
        "eq-test-entropy",
        -Sum(a(i, lam) * log(a(i, lam)), (i, 1, n)),
        eq(F(lam) - lam * F(lam).diff(lam), "definition of entropy"),
        le(log(n), "at most uniform"),
        domain=ROWS,
    ),
    LOG,
    Derivation("eq-test-cites", log(x) + x, le(2 * x - 1, "tangent", by=cite(LOG)), domain=POSITIVE),
    Derivation(
        "eq-test-near",
        (1 + x) ** 2,
        approx(1 + 2 * x, "to first order", within=(0, x**2)),
        domain=Domain({x: (Rational(1, 1000), Rational(1, 10))}),
    ),
    Derivation(
        "eq-test-evidence",
        1 / (1 + x),
        evidence(approx(1 / x, "far out", regime=Regime(x, (100, 1000, 10000), -2)), because="no bound yet"),
        domain=Domain({x: (1, 10**5)}),
    ),
]
BOOK = {shown.label: json.loads(json.dumps(shown._repr_mimebundle_())) for shown in SHOWN}


def problems(label: str, data: dict) -> list[str]:
    return [line.problem for line in recheck(label, {**BOOK, label: data}) if line.problem]


@pytest.mark.parametrize("label", BOOK)
def test_what_a_derivation_shows_passes(label):
    assert not problems(label, BOOK[label])
    assert not list(read_again(BOOK[label]))


def test_every_step_is_counted_for_what_it_is():
    said = [line.said for label in BOOK for line in recheck(label, BOOK)]
    assert said == ["definition", "proved", "proved", "proved", "proved", "proved", "asymptotic"]


ALGORITHMS = (
    "simplify expand factor together apart cancel integrate limit summation solve solveset series diff "
    "nsimplify logcombine powsimp expand_log trigsimp radsimp refine product residue dsolve nsolve"
).split()


def test_no_algorithm_of_sympy_is_asked(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("SymPy is asked")

    for name in ALGORITHMS:
        monkeypatch.setattr(sp, name, refuse)
        if hasattr(sp.Expr, name):
            monkeypatch.setattr(sp.Expr, name, refuse)
    for kind in (sp.Sum, sp.Product, sp.Integral, sp.Derivative, sp.Limit, sp.Subs, sp.Expr, sp.Basic):
        monkeypatch.setattr(kind, "doit", refuse)
    monkeypatch.setattr(sp.Expr, "_eval_simplify", refuse, raising=False)
    for label in BOOK:
        assert not problems(label, BOOK[label])
    with pytest.raises(AssertionError, match="SymPy is asked"):
        sp.simplify(x)


def forged(data: dict) -> dict:
    """What an output would be if its record were true: shown and digested anew, by one who knows how."""
    record = data[EQUATION_MIME]
    rows = [display.Row.from_record(step) for step in record["steps"]]
    names = [json.loads(entry) for entry in record["names"]]
    statement = display.Statement(
        record["start"]["formula"], record["domain"], {key: entry for key, *entry in names}
    )
    made = display.bundle(record["label"], record["start"]["latex"], rows, data["text/plain"], statement)
    return json.loads(json.dumps(made))


def steps_of(label: str) -> list[tuple[str, int]]:
    return [(label, k) for k in range(len(BOOK[label][EQUATION_MIME]["steps"]))]


STEPS = [step for label in BOOK if label != "eq-test-f" for step in steps_of(label)]
PROVED = [step for step in STEPS if step[0] != "eq-test-evidence"]


def test_a_forger_who_changes_nothing_is_not_noticed():
    for label, data in BOOK.items():
        assert forged(data) == data


CHANGES = {
    "label": lambda record, step: record.update(label=record["label"] + "x"),
    "a sign in the TeX": lambda record, step: record.update(latex=record["latex"].replace("&", "& -")),
    "a sign in a line": lambda record, step: step.update(latex="-" + step["latex"]),
    "relation": lambda record, step: step.update(relation="<" if step["relation"] != "<" else "="),
    "an end of a range": lambda record, step: record.update(
        domain=record["domain"].replace("(Interval ", "(Interval -")
    ),
    "mark": lambda record, step: step.update(mark="proved for ever"),
    "reason": lambda record, step: step.update(reason="it is obvious"),
    "what it rests on": lambda record, step: step.update(strategy="symbolic"),
    "what is said of it": lambda record, step: step.update(detail="proved for every number there is"),
    "statement": lambda record, step: step.update(formula=f"(Add 1 {step['formula']})"),
    "name": lambda record, step: record["names"].reverse() or record["names"].append('["q","symbol","q",""]'),
    "certificate": lambda record, step: step.update(certificate=step.get("certificate", "{}") + " "),
    "why no proof": lambda record, step: step.update(evidence="it is late"),
    "citation": lambda record, step: step["cites"].append("eq-test-other"),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize(("label", "k"), STEPS)
def test_one_change_of_a_record_does_not_fit_its_digest(label, k, what):
    data = copy.deepcopy(BOOK[label])
    CHANGES[what](data[EQUATION_MIME], data[EQUATION_MIME]["steps"][k])
    assert data != BOOK[label] and list(display.faults(data))


@pytest.mark.parametrize("mime", ["text/markdown", "text/latex", "text/plain"])
@pytest.mark.parametrize("label", BOOK)
def test_one_change_of_what_is_shown_does_not_fit_the_record(label, mime):
    data = copy.deepcopy(BOOK[label])
    data[mime] = data[mime].replace("1", "2") + " "
    assert list(display.faults(data))
    del data[mime]
    assert list(display.faults(data))


FORGERIES = {
    "TeX": lambda record, step: step.update(latex="-" + step["latex"]),
    "start": lambda record, step: record["start"].update(latex="2" + record["start"]["latex"]),
    "statement": lambda record, step: step.update(formula=f"(Add 1 {step['formula']})"),
    "relation": lambda record, step: step.update(relation="<" if step["relation"] != "<" else ">="),
    "mark": lambda record, step: step.update(mark="proved for ever"),
    "detail": lambda record, step: step.update(detail="proved for all there is, by magic"),
    "strategy": lambda record, step: step.update(strategy="symbolic"),
    "domain": lambda record, step: record.update(domain="(Domain)"),
    "no certificate": lambda record, step: step.pop("certificate"),
    "citation": lambda record, step: step.update(cites=["eq-test-f"]),
}


@pytest.mark.parametrize("what", FORGERIES)
@pytest.mark.parametrize(("label", "k"), PROVED)
def test_a_forged_proof_is_refused_whatever_its_digest(label, k, what):
    data = copy.deepcopy(BOOK[label])
    FORGERIES[what](data[EQUATION_MIME], data[EQUATION_MIME]["steps"][k])
    assert problems(label, forged(data))


def entries(data, path=()):
    """The place of every text and number in plain data."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from entries(value, (*path, key))
    elif isinstance(data, list):
        for k, value in enumerate(data):
            yield from entries(value, (*path, k))
    else:
        yield path


@pytest.mark.parametrize(("label", "k"), PROVED)
def test_every_entry_of_a_certificate_counts(label, k):
    certificate = json.loads(BOOK[label][EQUATION_MIME]["steps"][k]["certificate"])
    for path in list(entries(certificate))[:: max(1, len(list(entries(certificate))) // 12)]:
        changed = copy.deepcopy(certificate)
        here = changed
        for key in path[:-1]:
            here = here[key]
        here[path[-1]] = here[path[-1]] + 1 if isinstance(here[path[-1]], int) else here[path[-1]] + "1"
        data = copy.deepcopy(BOOK[label])
        data[EQUATION_MIME]["steps"][k]["certificate"] = display.canonical(changed)
        assert problems(label, forged(data)), path


def test_evidence_cannot_be_passed_off_as_a_proof():
    label = "eq-test-evidence"
    for changes in (
        {"strategy": "proved", "mark": "proved", "evidence": None},
        {"strategy": "proved", "mark": "proved", "evidence": None, "certificate": "{}"},
        {"strategy": "proved", "mark": "proved", "evidence": None, "certificate": '{"kind":"approximation"}'},
        {"mark": "proved"},
        {"evidence": None},
    ):
        data = copy.deepcopy(BOOK[label])
        data[EQUATION_MIME]["steps"][0].update(changes)
        assert problems(label, forged(data)), changes


def test_a_citation_is_of_an_equation_that_is_shown_and_proved():
    label, data = "eq-test-cites", BOOK["eq-test-cites"]
    assert not problems(label, data)
    (line,) = recheck(label, {label: data})
    assert "which the book does not show" in line.problem
    other = copy.deepcopy(BOOK["eq-test-log"])
    other[EQUATION_MIME]["steps"][0].update(strategy="attacked", mark="attacked", evidence="late")
    del other[EQUATION_MIME]["steps"][0]["certificate"]
    other["text/plain"] = other["text/plain"].replace("; proved: ", "; attacked: ", 1)
    (line,) = recheck(label, {label: data, "eq-test-log": forged(other)})
    assert "is not proved" in line.problem
    wider = copy.deepcopy(BOOK["eq-test-log"])
    wider[EQUATION_MIME]["domain"] = "(Domain (range x (Interval 1/2 4)))"
    (line,) = recheck(label, {label: data, "eq-test-log": forged(wider)})
    assert line.problem


def test_a_definition_is_shown_as_it_is_defined():
    data = copy.deepcopy(BOOK["eq-test-f"])
    data[EQUATION_MIME]["steps"][0]["formula"] = "(Apply F lambda)"
    assert problems("eq-test-f", forged(data))
    data = copy.deepcopy(BOOK["eq-test-f"])
    data[EQUATION_MIME]["steps"][0].update(mark="proved")
    assert problems("eq-test-f", forged(data))
