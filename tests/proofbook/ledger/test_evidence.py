"""Evidence is checked when it is made; a verdict needs the evidence for it."""

import itertools
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
import torch

import proofbook
from proofbook import ledger
from proofbook.derive import Derivation, Domain, Regime, approx, define, eq, evidence, le
from proofbook.ledger import (
    VERDICTS,
    Evidence,
    EvidenceFailed,
    FormulaRefused,
    Listed,
    VerdictRefused,
    agreement,
    attacked,
    between,
    checked,
    claim,
    counterexample,
    listed_claims,
    measured,
    proved,
    run,
    said,
    say,
    show,
    source,
    table,
    violates,
)
from proofbook.ledger.claims import CLAIM_MIME, _listed
from proofbook.ledger.evidence import KINDS

x, y = sp.symbols("x y", real=True)
UNIT = Domain({x: (1, 2)})
NAN, INF = math.nan, math.inf


def forget_lists():
    """Let the next look at the list read its files again."""
    _listed.cache_clear()


def list_claims(folder, chapter="one", **verdicts):
    """List claims in a folder, U1 and 8823-C2 unless others are given."""
    verdicts = {name.replace("_", "-"): verdict for name, verdict in verdicts.items()}
    verdicts = verdicts or {"U1": "holds", "8823-C2": "holds under"}
    words = {"U1": "One is $1$.", "8823-C2": "Two."}
    lines = [f'{name} = "{words.get(name, "Words.")}"' for name in verdicts]
    lines += ["[verdicts]", *(f'{name} = "{verdict}"' for name, verdict in verdicts.items())]
    (folder / f"{chapter}.toml").write_text("\n".join([f'chapter = "{chapter}"', "[claims]", *lines, ""]))


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A book with two listed claims, as the working folder."""
    folder = tmp_path / "book" / "claims"
    folder.mkdir(parents=True)
    list_claims(folder)
    own = "[claims]\nid = '(?P<source>[0-9]{4})-C[0-9]+|[LMU][0-9]+'\n"
    (tmp_path / "book" / "proofbook.toml").write_text(own)
    monkeypatch.chdir(tmp_path / "book")
    run.collect()
    forget_lists()
    yield folder
    run.collect()
    forget_lists()


GOOD = {
    "measured": lambda: measured("error", torch.tensor([1e-9, -2e-9]), below=1e-8),
    "measured scalar": lambda: measured("error", 0.0, below=1e-14),
    "between": lambda: between("slope", torch.tensor(0.24), 0.2, 0.3),
    "between, at its end": lambda: between("slope", 0.2, 0.2, 0.3),
    "checked": lambda: checked("positive", torch.tensor([1.0, 2.0]) > 0),
    "checked numpy": lambda: checked("positive", np.array([1.0, 2.0]) > 0),
    "checked one numpy": lambda: checked("positive", np.float64(1) > 0),
    "checked sympy": lambda: checked("positive", sp.Integer(2) > 1),
    "attacked": lambda: attacked("bound", torch.tensor([0.0, 1.0]), trials=2),
    "counterexample": lambda: counterexample("case", stated=1.0, found=2.0, apart=0.5),
    "violates": lambda: violates("case", torch.tensor([True, False])),
    "violates sympy": lambda: violates("case", sp.Integer(2) < 1),
    "source": lambda: source("su8823", "reported"),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_evidence_is_made(name):
    assert GOOD[name]().kind in KINDS


def grad(*values: float) -> torch.Tensor:
    return torch.tensor(values, requires_grad=True)


class Own:
    """A number of a library of its own."""

    def __float__(self) -> float:
        return 0.25


NUMBERS = {
    "float": 0.25,
    "sympy": sp.Rational(1, 4),
    "mpmath": mp.mpf(1) / 4,
    "a number of its own": Own(),
    "numpy scalar": np.float32(0.25),
    "numpy 0-d": np.array(0.25),
    "numpy of one": np.array([[0.25]]),
    "torch 0-d": torch.tensor(0.25),
    "torch of one": torch.tensor([0.25]),
    "torch bf16": torch.tensor(0.25, dtype=torch.bfloat16),
    "torch float8": torch.tensor(0.25).to(torch.float8_e4m3fn),
    "torch with a gradient": grad(0.25),
    "torch, not contiguous": torch.full((3, 3), 0.25).mT[1:, :1][:1],
    "list of one": [0.25],
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_of_any_library_is_a_number(name):
    run.collect()
    between("slope", NUMBERS[name], 0.25, 0.25)
    measured("error", NUMBERS[name], below=0.26)
    attacked("margin", NUMBERS[name], trials=1)
    counterexample("case", stated=NUMBERS[name], found=0, apart=0.2)
    values = [note["value"] for note in run.collect()[0]]
    assert values == [0.25] * 4 and all(type(value) is float for value in values)


ARRAYS = {
    "list": [0.5, -0.75],
    "tuple": (0.5, -0.75),
    "nested lists": [[0.5], [-0.75]],
    "generator": lambda: (x for x in (0.5, -0.75)),
    "numpy": np.array([0.5, -0.75]),
    "numpy float16": np.array([[0.5, -0.75]], dtype=np.float16),
    "torch": torch.tensor([0.5, -0.75]),
    "torch bf16": torch.tensor([0.5, -0.75], dtype=torch.bfloat16),
    "torch with gradients": grad(0.5, -0.75),
    "torch bf16 with gradients": grad(0.5, -0.75).bfloat16(),
    "list of tensors": [torch.tensor(0.5), grad(-0.75)[0]],
    "list of arrays": [np.array([0.5]), torch.tensor([-0.75])],
    "exact numbers": [sp.Rational(1, 2), mp.mpf(-3) / 4],
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_any_library_are_arrays(name):
    array = ARRAYS[name] if not callable(ARRAYS[name]) else ARRAYS[name]()
    run.collect()
    measured("error", array, below=0.76)
    assert run.collect()[0][0]["value"] == 0.75
    array = ARRAYS[name] if not callable(ARRAYS[name]) else ARRAYS[name]()
    with pytest.raises(EvidenceFailed, match="violated by 0.75"):
        attacked("margin", array, trials=2)


def test_integers_and_truth_values_are_numbers_too():
    run.collect()
    measured("failures", torch.tensor([True, False]), below=2)
    measured("failures", np.array([3, -4], dtype=np.int8), below=5)
    measured("failures", 7, below=8)
    assert [note["value"] for note in run.collect()[0]] == [1.0, 4.0, 7.0]


TRUTHS = {
    "bool": True,
    "list": [True, True],
    "nested lists": [[True], [True]],
    "numpy scalar": np.bool_(True),
    "numpy": np.array([[True, True]]),
    "torch 0-d": torch.tensor(True),
    "torch": torch.ones(2, 2) > 0,
    "torch of a gradient": grad(1.0, 2.0) > 0,
    "list of tensors": [torch.tensor(1.0) > 0, grad(2.0)[0] > 0],
    "sympy": sp.Integer(2) > 1,
}


@pytest.mark.parametrize("name", TRUTHS)
def test_truth_values_of_any_library_are_truth_values(name):
    assert checked("positive", TRUTHS[name]).kind == "checked"
    with pytest.raises(EvidenceFailed, match="the claim holds here"):
        violates("positive", TRUTHS[name])


@pytest.mark.parametrize(
    "x",
    ["0.25", b"1", {"a": 1}, None, 1j, np.array([1j]), torch.tensor([1j]), [1.0, "2"], [[1.0], [2.0, 3.0]]],
)
def test_what_is_no_real_number_is_refused(x):
    for make in (lambda: measured("error", x, below=9), lambda: attacked("margin", x)):
        with pytest.raises((TypeError, ValueError)):
            make()
    with pytest.raises((TypeError, ValueError)):
        between("slope", x, -9, 9)


def test_the_trials_of_an_attack_are_counted():
    assert attacked("bound", torch.ones(2, 3)).text == "bound (no violation in 6 trials)"
    assert attacked("bound", torch.ones(2, 3), trials=6) == attacked("bound", torch.ones(2, 3))


def test_two_numbers_are_not_one():
    for two in ([1.0, 2.0], torch.tensor([1.0, 2.0]), []):
        with pytest.raises(ValueError, match="must be one number"):
            between("slope", two, 0, 3)


def test_the_ledger_needs_no_torch(tmp_path):
    """With torch out of reach everything imports, and evidence is made of numpy's arrays and of lists."""
    folder = tmp_path / "claims"
    folder.mkdir()
    list_claims(folder)
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import proofbook.ledger, proofbook.ledger.record, proofbook.ledger.schema\n"
        "import proofbook.ledger.__main__\n"
        "import numpy as np\n"
        "from proofbook.ledger import *\n"
        "made = claim('U1', 'holds', measured('e', np.ones(3), below=2), checked('c', [True]))\n"
        "assert device() == 'cpu' and made.verdict == 'holds'\n"
    )
    where = os.environ | {"PYTHONPATH": str(Path(proofbook.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=where, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "path", sorted(Path(ledger.__file__).parent.rglob("*.py")), ids=lambda path: path.name
)
def test_no_file_of_the_ledger_names_torch(path):
    assert "torch" not in path.read_text(encoding="utf-8")


FAILING = {
    "measured too large": lambda: measured("error", torch.tensor([1e-9, -2e-8]), below=1e-8),
    "measured at the bound": lambda: measured("error", 1e-8, below=1e-8),
    "measured NaN": lambda: measured("error", torch.tensor([0.0, NAN]), below=1.0),
    "measured infinite": lambda: measured("error", INF, below=1.0),
    "measured nothing": lambda: measured("error", torch.zeros(0), below=1.0),
    "between, below": lambda: between("slope", 0.1, 0.2, 0.3),
    "between, above": lambda: between("slope", 0.4, 0.2, 0.3),
    "between, swapped": lambda: between("slope", 0.25, 0.3, 0.2),
    "between NaN": lambda: between("slope", NAN, 0.2, 0.3),
    "checked false": lambda: checked("positive", torch.tensor([1.0, -1.0]) > 0),
    "checked false numpy": lambda: checked("positive", np.float64(-1) > 0),
    "checked false sympy": lambda: checked("positive", sp.Integer(0) > 1),
    "attacked negative": lambda: attacked("bound", torch.tensor([-1e-12, 1.0]), trials=2),
    "attacked NaN": lambda: attacked("bound", torch.tensor([NAN, 1.0]), trials=2),
    "attacked infinite": lambda: attacked("bound", INF),
    "counterexample too close": lambda: counterexample("case", stated=1.0, found=1.4, apart=0.5),
    "counterexample NaN": lambda: counterexample("case", stated=NAN, found=2.0, apart=0.5),
    "violates nothing": lambda: violates("case", torch.tensor([True, True])),
}


@pytest.mark.parametrize("name", FAILING)
def test_evidence_that_fails_raises(name):
    with pytest.raises(EvidenceFailed):
        FAILING[name]()


MISUSED = {
    "no bound": (lambda: measured("error", 1.0, below=INF), ValueError),
    "a NaN bound": (lambda: measured("error", 1.0, below=NAN), ValueError),
    "no interval": (lambda: between("slope", 1.0, -INF, INF), ValueError),
    "nothing checked": (lambda: checked("all of none", torch.zeros(0) > 0), ValueError),
    "a number checked": (lambda: checked("NaN counts as true", NAN), TypeError),
    "an error checked": (lambda: checked("an error", torch.tensor([1e-3])), TypeError),
    "nothing violated": (lambda: violates("none", torch.zeros(0) > 0), ValueError),
    "a number violates": (lambda: violates("a zero", 0.0), TypeError),
    "no trials": (lambda: attacked("bound", torch.zeros(0)), ValueError),
    "zero trials": (lambda: attacked("bound", 1.0, trials=0), ValueError),
    "more trials than margins": (lambda: attacked("bound", 1.0, trials=250), ValueError),
    "fewer trials than margins": (lambda: attacked("bound", torch.ones(3), trials=2), ValueError),
    "apart by nothing": (lambda: counterexample("case", stated=1.0, found=2.0, apart=0.0), ValueError),
    "apart by NaN": (lambda: counterexample("case", stated=1.0, found=2.0, apart=NAN), ValueError),
    "not a derivation": (lambda: proved(define("f", (x,), x)), TypeError),
    "an unknown kind": (lambda: Evidence("rumour", "said"), ValueError),
}


@pytest.mark.parametrize("name", MISUSED)
def test_vacuous_or_misused_evidence_is_refused(name):
    make, error = MISUSED[name]
    with pytest.raises(error):
        make()


def test_measured_prints_the_bound_and_keeps_the_number_for_the_record():
    run.collect()
    evidence = measured("error", torch.tensor([1.25e-9], dtype=torch.float64), below=1e-8)
    assert evidence.text == "error: error < 1e-08"
    assert run.collect() == ([{"check": "error", "value": 1.25e-9, "below": 1e-8}], [])


def test_proof_counts_as_what_its_weakest_step_rests_on():
    area = sp.Integral(sp.exp(y), (y, 0, x))
    far = Regime(x, (100, 1000, 10000), -2)
    exact = Derivation("eq-test", x * (x + 1), eq(x**2 + x, "multiply out"), domain=UNIT)
    both = Derivation(
        "eq-test",
        x * (x + 1),
        eq(x**2 + x, "multiply out"),
        le(x**2 + x + 1, "one is positive"),
        domain=UNIT,
    )
    computed = Derivation("eq-test", area, evidence(eq(sp.exp(x) - 1, "add up"), because="…"), domain=UNIT)
    rate = Derivation(
        "eq-test", 1 / x, evidence(approx(1 / (x + 1), "far", regime=far), because="…"), domain=UNIT
    )
    bounded = Derivation(
        "eq-test", 1 / (1 + y), approx(1 - y, "expand", within=(0, y**2)), domain=Domain({y: (0, 1)})
    )
    assert [proved(d).kind for d in (exact, both, computed, rate, bounded)] == [
        "proof",
        "proof",
        "digits",
        "asymptotic",
        "remainder",
    ]
    assert "{eq}`eq-test`" in proved(exact).text and "proved for " in proved(exact).text
    assert proved(both, "in words").text == "in words: {eq}`eq-test`, weakest step: proof"


def allowed(verdict, kinds, condition, correction):
    """The rules in words of their own: a second opinion on ``claims._objection``."""
    firm = bool(kinds & {"proof", "remainder", "algebra", "ladder", "digits", "bound", "checked", "measured"})
    refuted = "counterexample" in kinds
    return {
        "holds": firm and not refuted and not condition and not correction,
        "holds under": condition and refuted and (firm or "asymptotic" in kinds),
        "approximate": condition and bool(kinds & {"measured", "asymptotic", "remainder"}),
        "needs correction": correction and refuted and (firm or "asymptotic" in kinds),
        "false": refuted,
        "empirical": bool(kinds & {"source", "measured"}),
        "open": "measured" in kinds and not refuted and not condition and not correction,
    }[verdict]


def test_verdicts_over_every_combination_of_evidence(book):
    sets = [set(c) for r in range(4) for c in itertools.combinations(KINDS, r)]
    named = {verdict: f"U{k}" for k, verdict in enumerate(VERDICTS, start=1)}
    list_claims(book, **{name: verdict for verdict, name in named.items()})
    forget_lists()
    accepted = 0
    for verdict, kinds, condition, correction in itertools.product(
        VERDICTS, sets, (None, "if"), (None, "instead")
    ):
        evidence = [Evidence(kind, "text") for kind in sorted(kinds)]
        give = {"condition": condition, "correction": correction}
        if allowed(verdict, kinds, bool(condition), bool(correction)):
            assert claim(named[verdict], verdict, *evidence, **give).verdict == verdict
            accepted += 1
        else:
            with pytest.raises(VerdictRefused, match="cannot be called"):
                claim(named[verdict], verdict, *evidence, **give)
    assert 0 < accepted < len(VERDICTS) * len(sets) * 4


@pytest.mark.parametrize(
    "claim_id, verdict, message",
    [
        ("U1", "true", "verdict must be one of"),
        ("C1", "holds", "must look like"),
        ("8823-2", "holds", "must look like"),
        ("U9", "holds", "not listed"),
        ("8823-C3", "holds", "not listed"),
    ],
)
def test_unknown_claim_or_verdict_is_refused(book, claim_id, verdict, message):
    with pytest.raises(ValueError, match=message):
        claim(claim_id, verdict, Evidence("proof", "text"))


def test_claim_shows_and_records_the_same_thing(book):
    made = claim(
        "8823-C2",
        "holds under",
        Evidence("proof", "derived"),
        Evidence("counterexample", "without it"),
        condition="for $n>1$",
    )
    assert made.source == "8823" and made.anchor == "claim-8823-c2"
    bundle = made._repr_mimebundle_()
    record = bundle[CLAIM_MIME]
    assert json.loads(json.dumps(record)) == record
    assert (record["id"], record["verdict"], record["condition"], record["statement"]) == (
        "8823-C2",
        "holds under",
        "for $n>1$",
        "Two.",
    )
    assert [e["kind"] for e in record["evidence"]] == ["proof", "counterexample"]
    for text in ("8823-C2", "holds under", "Two.", "for $n>1$", "derived", "without it"):
        assert text in bundle["text/markdown"] and text in bundle["text/plain"]
    assert (
        bundle["text/markdown"].startswith(":::{admonition}")
        and ":name: claim-8823-c2" in bundle["text/markdown"]
    )
    assert claim("U1", "holds", Evidence("proof", "derived")).source == ""


def test_a_claim_with_the_number_of_a_source_may_be_ours(tmp_path, monkeypatch):
    folder = tmp_path / "book" / "claims"
    folder.mkdir(parents=True)
    list_claims(folder, **{"8823_C2": "holds", "8823_C4": "holds"})
    listed = folder / "one.toml"
    listed.write_text('own = ["8823-C4"]\n' + listed.read_text())
    monkeypatch.chdir(folder.parent)
    theirs, ours = (claim(name, "holds", Evidence("proof", "derived")) for name in ("8823-C2", "8823-C4"))
    assert (theirs.source, ours.source) == ("8823", "")
    assert ours.record()["source"] == "" and ours.anchor == "claim-8823-c4"
    shown = ours._repr_mimebundle_()
    assert shown["text/markdown"].startswith(":::{admonition} 8823-C4 · ours · holds\n")
    assert shown["text/plain"].startswith("8823-C4 (ours): holds\n")
    assert "ours" not in theirs._repr_mimebundle_()["text/markdown"]


def test_what_is_called_ours_must_be_listed(book):
    listed = book / "one.toml"
    listed.write_text('own = ["8823-C9"]\n' + listed.read_text())
    with pytest.raises(ValueError, match="one.toml: own speaks of 8823-C9, not listed there"):
        listed_claims(book)


def test_numbers_are_filed_under_the_claim_they_were_measured_for(book):
    first = measured("first", 1e-9, below=1e-8)
    claim("U1", "holds", first)
    second = measured("second", 1e-9, below=1e-8)
    third, without = checked("third", True), violates("fourth", False)
    claim("8823-C2", "holds under", second, third, without, condition="if")
    notes, claims = run.collect()
    assert [(note["check"], note["claim"]) for note in notes] == [
        ("first", "U1"),
        ("second", "8823-C2"),
        ("third", "8823-C2"),
        ("fourth", "8823-C2"),
    ]
    assert claims == ["U1", "8823-C2"]
    assert run.collect() == ([], [])


def test_listed_claims_come_from_the_folder_at_hand(book, tmp_path, monkeypatch):
    assert listed_claims() == {
        "U1": Listed("One is $1$.", "one", "holds", frozenset()),
        "8823-C2": Listed("Two.", "one", "holds under", frozenset()),
    }
    monkeypatch.chdir(tmp_path)  # from the top of the project as from inside the book
    assert "U1" in listed_claims()
    other = tmp_path / "elsewhere" / "claims"
    other.mkdir(parents=True)
    list_claims(other, "a", U7="open")
    monkeypatch.chdir(other.parent)
    assert set(listed_claims()) == {"U7"}


def test_claim_listed_twice_is_refused(book):
    list_claims(book, "two", U1="holds")
    with pytest.raises(ValueError, match="U1 is listed twice, the second time in two.toml"):
        listed_claims(book)


def test_no_claims_folder_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="claims"):
        listed_claims()


def test_reports_carry_computed_text():
    assert say(f"{1 / 3:.3f} nats")._repr_mimebundle_()["text/markdown"] == "0.333 nats"
    made = table(["n", "H"], [[64, "3.69"], [128, "4.1"]], caption="Rows.").markdown
    assert made.splitlines() == ["Rows.", "", "| n | H |", "|---|---|", "| 64 | 3.69 |", "| 128 | 4.1 |"]
    with pytest.raises(ValueError, match="a row has 1 cells, the table has 2"):
        table(["n", "H"], [[64]])
    assert show(say("outside a notebook")) is None


def test_a_table_of_agreement_is_checked_and_kept_on_record():
    run.collect()
    shown = agreement(
        [("first", torch.tensor([1e-9, -3e-9], dtype=torch.float64), 1e-8), ("second", 0.0, 1e-13, 5)],
        of=("the library", "the formula"),
    ).markdown
    assert "largest difference, the library against the formula |" in shown.splitlines()[0]
    assert shown.splitlines()[2:] == ["| first | < 1e-08 |", "| second | < 1e-13 |"]
    notes, _ = run.collect()
    assert [(note["check"], note["value"], note["below"]) for note in notes] == [
        ("first", 3e-9, 1e-8),
        ("second", 0.0, 1e-13),
    ]


@pytest.mark.parametrize("difference", [1e-8, -2e-8, torch.tensor([0.0, 5e-8]), NAN])
def test_a_table_with_a_difference_that_is_too_large_is_not_shown(difference):
    with pytest.raises(EvidenceFailed):
        agreement([("first", 0.0, 1e-14), ("second", difference, 1e-8)], of=("one", "other"))


@pytest.mark.parametrize("of", [("a", "a"), ("The formula", " the  formula"), ("a", ""), (" ", "a")])
def test_computations_of_one_origin_are_no_agreement(of):
    for call in (lambda: agreement([("a", 0.0, 1e-14)], of=of), lambda: measured("a", 0, below=1e-14, of=of)):
        with pytest.raises(ValueError, match="two computations that agree have two origins"):
            call()


def test_the_origins_stand_beside_what_was_measured():
    text = measured("entropy", 0, below=1e-14, of=("the library", "the formula")).text
    assert text == "entropy (the library against the formula): error < 1e-14"


LOOSE = {
    "a bound a thousand times the error": lambda **why: measured("error", 1e-9, below=1e-6, **why),
    "a bound of ten for an error of rounding": lambda **why: measured("error", 1e-16, below=10, **why),
    "a bound for an error of none": lambda **why: measured("error", 0.0, below=1e-12, **why),
    "an interval that holds everything": lambda **why: between("slope", 0.5, 0, 100, **why),
    "an interval wider than the value": lambda **why: between("slope", -0.5, -1, 0, **why),
}


@pytest.mark.parametrize("name", LOOSE)
def test_a_bound_that_says_little_is_refused_or_says_why(name):
    with pytest.raises(EvidenceFailed, match="says little"):
        LOOSE[name]()
    assert LOOSE[name](loose="other machines round more").text.endswith("(other machines round more)")
    with pytest.raises(ValueError, match="loose says why"):
        LOOSE[name](loose=" ")


def test_a_bound_may_be_of_the_rounding_of_the_quantity():
    assert measured("error", 0.0, below=2e-13, scale=10).kind == "measured"
    with pytest.raises(EvidenceFailed, match="says little"):
        measured("error", 0.0, below=2e-13, scale=1)


def test_a_cell_must_come_to_the_verdict_of_the_list(book):
    with pytest.raises(VerdictRefused, match="U1: the cell says 'empirical', the list in claims/ 'holds'"):
        claim("U1", "empirical", source("su8823", "reported"))


def test_a_cell_must_rest_on_the_equations_of_the_list(book):
    one = Derivation("eq-one", x * (x + 1), eq(x**2 + x, "multiply out"), domain=UNIT)
    two = Derivation("eq-two", x * (x + 2), eq(x**2 + 2 * x, "multiply out"), domain=UNIT)
    with (book / "one.toml").open("a") as file:
        file.write('[rests-on]\nU1 = ["eq-one"]\n')
    forget_lists()
    assert claim("U1", "holds", proved(one)).verdict == "holds"
    with pytest.raises(VerdictRefused, match="rests on eq-one, which the cell does not cite"):
        claim("U1", "holds", checked("true", True))
    with pytest.raises(VerdictRefused, match="rests on eq-one, which the cell does not cite"):
        claim("U1", "holds", proved(two))
    with pytest.raises(VerdictRefused, match="the cell cites eq-two, on which it does not rest"):
        claim("U1", "holds", proved(one), proved(two))


@pytest.mark.parametrize(
    "content, message",
    [
        ("", r"\[verdicts\] must give U1 one of"),
        ('[verdicts]\nU1 = "true"\n', "got 'true'"),
        ('[verdicts]\nU1 = "holds"\nU2 = "holds"\n', r"\[verdicts\] speaks of U2"),
        ('[verdicts]\nU1 = "holds"\n[rests-on]\nU2 = ["eq-a"]\n', r"\[rests-on\] speaks of U2"),
        ('[verdicts]\nU1 = "holds"\n[formulas]\nU2.law = "x"\n', r"\[formulas\] speaks of U2"),
    ],
)
def test_a_list_without_its_verdicts_is_refused(book, content, message):
    (book / "one.toml").write_text('chapter = "one"\n[claims]\nU1 = "One."\n' + content)
    forget_lists()
    with pytest.raises(ValueError, match=message):
        listed_claims()


def square():
    return Derivation(
        "eq-square",
        (x + 1) ** 2,
        eq(x**2 + 2 * x + 1, "multiply out"),
        le(2 * x**2 + 2, "$2x$ is at most $x^2+1$"),
        domain=UNIT,
    )


def with_formula(value, *evidence):
    """A claim whose condition names one formula."""
    return claim("8823-C2", "holds under", *evidence, condition="if {{law}}", formulas={"law": value})


@pytest.fixture
def resting(book):
    """The list says that 8823-C2 rests on ``square()``."""
    with (book / "one.toml").open("a") as file:
        file.write('[rests-on]\n8823-C2 = ["eq-square"]\n')
    forget_lists()


def test_formulas_in_words_are_printed_from_what_was_proved(resting):
    whole = square()
    shown = (proved(whole), violates("case", False))
    assert with_formula(whole, *shown).condition == r"if $\left(x + 1\right)^{2} \le 2 x^{2} + 2$"
    assert with_formula(sp.Eq((x + 1) ** 2, x**2 + 2 * x + 1), *shown).condition.count("=") == 1
    assert with_formula(2 * x**2 + 2 >= (x + 1) ** 2, *shown).condition == (
        r"if $2 x^{2} + 2 \ge \left(x + 1\right)^{2}$"
    )
    assert with_formula(2 * x, *shown).condition == "if $2 x$"
    law = said(3 * x, x)
    with pytest.raises(FormulaRefused, match="never compared"):
        with_formula(law, *shown)
    found = counterexample("case", stated=law(2.0), found=4, apart=1)
    assert with_formula(law, found, *shown).condition == "if $3 x$"


@pytest.fixture
def reading(resting, book):
    """The list also says how the two formulas of 8823-C2 read."""
    with (book / "one.toml").open("a") as file:
        file.write("[formulas]\n8823-C2.law = '3 x'\n8823-C2.rest = '2 x'\n")
    forget_lists()


def test_formulas_read_as_the_list_says(reading):
    law, signed = said(3 * x, x), said(-3 * x, x)
    found = counterexample("case", stated=law(2.0) + signed(2.0), found=4, apart=1)

    def with_two(**formulas):
        shown = (found, proved(square()), violates("case", False))
        words = " and ".join(f"{{{{{name}}}}}" for name in formulas)
        return claim("8823-C2", "holds under", *shown, condition=words, formulas=formulas)

    assert with_two(law=law, rest=2 * x).condition == "$3 x$ and $2 x$"
    assert with_two(law=law, rest=2 * x, rows=64).condition == "$3 x$ and $2 x$ and 64"
    for wrong in ({"law": signed, "rest": 2 * x}, {"law": 2 * x, "rest": law}, {"law": law}):
        with pytest.raises(FormulaRefused, match=r"in the list in claims/, \[formulas\]"):
            with_two(**wrong)
    with pytest.raises(FormulaRefused, match="the formula more is 'x\\^\\{2\\}' in the cell and 'none'"):
        with_two(law=law, rest=2 * x, more=x**2)


def test_two_names_of_one_stated_formula_are_refused(resting):
    law, other = said(3 * x, x), said(2 * x, x)
    found = counterexample("case", stated=law(2.0) - other(2.0), found=4, apart=1)

    def with_two(one, another):
        formulas = {"law": one, "other": another}
        shown = (found, proved(square()), violates("case", False))
        return claim("8823-C2", "holds under", *shown, condition="{{law}}, not {{other}}", formulas=formulas)

    assert with_two(law, other).condition == "$3 x$, not $2 x$"
    with pytest.raises(FormulaRefused, match="law and other print the same formula"):
        with_two(law, law)


@pytest.mark.parametrize(
    "value, message",
    [
        ((x - 1) ** 2, "stands in no derivation cited"),
        (sp.Eq((x + 1) ** 2, x**2 - 2 * x + 1), "no relation that a derivation cited shows"),
        (sp.Eq((x + 1) ** 2, 2 * x**2 + 2), "no relation"),
        ((x + 1) ** 2 < 2 * x**2 + 2, "no relation"),
        ((x + 1) ** 2 >= 2 * x**2 + 2, "no relation"),
        (x > 1, "no relation"),
    ],
)
def test_a_formula_that_no_proof_holds_is_refused(resting, value, message):
    with pytest.raises(FormulaRefused, match=message):
        with_formula(value, proved(square()), violates("case", False))


def test_evidence_is_not_printed_as_if_it_were_proved(resting):
    seen = Derivation(
        "eq-square",
        sp.Integral(sp.exp(y), (y, 0, x)),
        evidence(eq(sp.exp(x) - 1, "add up"), because="…"),
        domain=UNIT,
    )
    for formula in (seen, sp.Eq(seen.start, seen.last)):
        with pytest.raises(FormulaRefused, match="evidence|no relation"):
            with_formula(formula, proved(seen), violates("case", False))


def test_a_formula_of_a_derivation_that_is_not_cited_is_refused(book):
    with pytest.raises(FormulaRefused, match="eq-square, which the claim does not cite"):
        with_formula(square(), checked("true", True), violates("case", False))
    with pytest.raises(FormulaRefused, match="no formula is called law"):
        claim("8823-C2", "holds under", checked("t", True), violates("c", False), condition="{{law}}")
    with pytest.raises(FormulaRefused, match="no sentence names law"):
        claim("U1", "holds", checked("t", True), formulas={"law": x})
