"""Proofs that are given fewer lemmas: none by itself, and the list of names is whole."""

import ast
import json
import re
from pathlib import Path

import pytest
import sympy as sp
from sympy import Rational, Sum, cos, exp, log, sin

from proofbook.derive import Derivation, Domain, MaxOver, eq, ge, indices, ladder, le, size, vector
from proofbook.derive import kernel as of_kernel
from proofbook.derive.kernel import LEMMAS, NotProved, check, prove_approximation, prove_equality
from proofbook.derive.kernel import prove_inequality as prove
from proofbook.derive.recheck import recheck
from proofbook.names import EQUATION_MIME

KERNEL = Path(of_kernel.__file__).parent
u, x = sp.Symbol("u", positive=True), sp.Symbol("x", real=True)
n, (i, k) = size(), indices("i k")
f = vector("f", positive=True)
HALF, LINE, UP = Domain({u: (Rational(1, 9), 9)}), Domain({x: (-9, 9)}), Domain({x: (0, 9)})
ROW = Domain({n: ladder(2, 3), f: (Rational(1, 9), 9)}, each=(k,))
LOGARITHM = {"log u <= u - 1", "log u >= 1 - 1/u", "log x <= x - 1", "x log x >= x - 1", "e^x >= 1 + x"}

SCALAR = [
    ("<=", log(u), u - 1, HALF),
    (">=", log(u), 1 - 1 / u, HALF),
    (">=", u * log(u), u - 1, HALF),
    (">=", exp(x), 1 + x, LINE),
    (">=", cos(x), 1 - x**2 / 2, LINE),
    ("<=", cos(x), 1 - x**2 / 2 + x**4 / 24, LINE),
    ("<=", sin(x), x, UP),
    (">=", sin(x), x - x**3 / 6, UP),
]
FALSE = [
    ("<=", log(u), u - Rational(101, 100), HALF),
    ("<", log(u), u - 1, HALF),
    (">=", log(u), Rational(101, 100) - 1 / u, HALF),
    (">=", exp(x), 1 + x + x**2 / 100, LINE),
    (">", exp(x), 1 + x, LINE),
    (">=", cos(x), 1 - x**2 / Rational(21, 10), LINE),
    ("<=", cos(x), 1 - x**2 / 2 + x**4 / 25, LINE),
    ("<=", sin(x), x, LINE),
    (">=", sin(x), x - x**3 / 7, UP),
]


@pytest.mark.parametrize("relation, left, right, domain", SCALAR)
def test_scalar_lemmas_are_proved_without_any_lemma(relation, left, right, domain):
    certificate = prove(relation, left, right, domain, without=LEMMAS)
    assert certificate["without"] == sorted(LEMMAS)
    assert not any(name in str(certificate["moves"]) for name in LEMMAS)
    check(certificate, left, right, domain)


@pytest.mark.parametrize("relation, left, right, domain", FALSE)
def test_near_misses_are_refused(relation, left, right, domain):
    with pytest.raises(NotProved):
        prove(relation, left, right, domain, without=LEMMAS)


@pytest.mark.parametrize(
    "name, relation, left, right",
    [
        ("one term is at most the sum", "<=", f[k], Sum(f[i], (i, 1, n))),
        ("each term is at most the maximum", ">=", MaxOver(f[i], (i, 1, n)), f[k]),
    ],
)
def test_what_rests_on_one_lemma_is_not_proved_without_it(name, relation, left, right):
    others = prove(relation, left, right, ROW, without=LEMMAS - {name})
    assert name in str(others["moves"])
    with pytest.raises(NotProved):
        prove(relation, left, right, ROW, without={name})


def test_a_false_statement_gains_nothing_by_any_choice():
    for left_out in ({"log u <= u - 1"}, {"one term is at most the sum"}, LEMMAS):
        with pytest.raises(NotProved):
            prove("<=", 2 * f[k], Sum(f[i], (i, 1, n)), ROW, without=left_out)


def test_other_certificates_are_as_they_were():
    assert "without" not in prove("<=", log(u), u - 1, HALF)
    assert "without" not in prove_equality((x + 1) ** 2, x**2 + 2 * x + 1, LINE)


def test_equalities_and_approximations_say_it_too():
    one = prove_equality((x + 1) ** 2, x**2 + 2 * x + 1, LINE, without=LOGARITHM)
    bound = prove_approximation(cos(x), sp.Integer(1), x**2 / 2, sp.Integer(0), LINE, without=LEMMAS)
    assert one["without"] == sorted(LOGARITHM) and bound["without"] == sorted(LEMMAS)
    check(one, (x + 1) ** 2, x**2 + 2 * x + 1, LINE)
    check(bound, cos(x), sp.Integer(1), LINE, (x**2 / 2, sp.Integer(0)))


def test_unknown_names_are_refused():
    with pytest.raises(NotProved, match="no lemma is called"):
        prove("<=", log(u), u - 1, HALF, without={"sign"})
    with pytest.raises(ValueError, match="no lemma of the kernel is called"):
        Derivation("eq-log", log(u), le(u - 1, "a tangent"), domain=HALF, without={"log u <= u"})


@pytest.mark.parametrize("said", [[], sorted(LEMMAS)[::-1], "sign", 3, [["sign"]], None])
def test_a_certificate_says_what_was_left_out(said):
    certificate = prove("<=", log(u), u - 1, HALF, without=LEMMAS)
    with pytest.raises(NotProved):
        check({**certificate, "without": said}, log(u), u - 1, HALF)


def test_a_page_is_checked_again_in_the_same_way():
    shown = Derivation("eq-log", log(u), le(u - 1, "a tangent"), domain=HALF, without=LEMMAS)
    data = shown._repr_mimebundle_()
    (step,) = data[EQUATION_MIME]["steps"]
    assert f"proved without {len(LEMMAS)} lemmas of the kernel for every 1/9 <= u <= 9" in step["detail"]
    (line,) = recheck("eq-log", {"eq-log": data})
    assert line.problem is None
    shorter = {**json.loads(step["certificate"]), "without": sorted(LEMMAS)[1:]}
    step["certificate"] = json.dumps(shorter)
    assert all(line.problem for line in recheck("eq-log", {"eq-log": data}))
    one = Derivation("eq-e", exp(x), ge(1 + x, "a tangent"), domain=LINE, without={"e^x >= 1 + x"})
    assert "proved without a lemma of the kernel" in one.verified[0].detail
    both = Derivation("eq-q", (x + 1) ** 2, eq(x**2 + 2 * x + 1, "out"), domain=LINE, without=LOGARITHM)
    assert "without 5 lemmas" in both.verified[0].detail


def _names_in_the_source() -> list[str]:
    """Patterns for the names that lemmas are handed out under: what is yielded as the third, or said."""
    found = []
    for path in sorted(KERNEL.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Yield)
                and isinstance(node.value, ast.Tuple)
                and len(node.value.elts) == 3
            ):
                found += _texts(node.value.elts[2])
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "say"
            ):
                found += _texts(node.args[2])
    return found


def _texts(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [re.escape(node.value)]
    if isinstance(node, ast.JoinedStr):
        parts = [re.escape(p.value) if isinstance(p, ast.Constant) else "[a-z]+" for p in node.values]
        return ["".join(map(str, parts))]
    return []


FACTS = {"hypothesis", "sign", "lower end of its range", "upper end of its range"}


def test_the_list_of_names_is_that_of_the_source():
    patterns = _names_in_the_source()
    assert len(patterns) > 15
    for pattern in patterns:
        assert any(re.fullmatch(pattern, name) for name in LEMMAS | FACTS), f"no name of a lemma: {pattern}"
    for name in LEMMAS:
        assert any(re.fullmatch(pattern, name) for pattern in patterns), f"no lemma is handed out as {name}"
