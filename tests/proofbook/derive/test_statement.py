"""What is stated can be written as text and read back, and nothing but statements can be read."""

import pytest
import sympy as sp
from sympy import Derivative, Integral, Limit, Piecewise, Product, Rational, Subs, Sum, exp, log, oo, pi

from proofbook.derive import (
    Domain,
    MaxOver,
    MinOver,
    define,
    indices,
    integers,
    ladder,
    reals,
    simplex,
    size,
    vector,
)
from proofbook.derive.latex import latex
from proofbook.derive.readback import Reader
from proofbook.derive.statement import Unreadable, Writer

n = size("n")
i, j = indices("i j")
p, s = vector("p", positive=True), vector("s")
lam = sp.Symbol("lambda", real=True)
x, y = sp.symbols("x y", real=True)
f = sp.Function("f")
F = define("F", (lam,), log(Sum(exp(lam * s[i]), (i, 1, n))))
A = define(
    "A", (i, lam), exp(lam * s[i]), latex=lambda i, at: f"A_{i}" if at == r"\lambda" else f"A_{i}({at})"
)
OTHER_X = sp.Symbol("x", positive=True)
ODD = sp.Symbol(r"\hat{x} 2", real=True)

FORMULAS = [
    sp.Integer(-3),
    Rational(-2, 7),
    sp.Float("0.1"),
    sp.Float("2.5", 30) * x,
    pi + sp.E - oo * x,
    x - x * y + x ** Rational(1, 2),
    sp.Add(x, x, evaluate=False),
    sp.Mul(2, sp.Add(x, -x, evaluate=False), Rational(1, 2), evaluate=False),
    sp.Pow(sp.Pow(x, 2, evaluate=False), Rational(1, 2), evaluate=False),
    exp(log(x, evaluate=False), evaluate=False),
    Sum(Sum(s[i] * p[j], (i, 1, j)), (j, 1, n)),
    Sum(s[i] * p[j], (i, 1, n), (j, 1, n)),
    Product(1 + p[i], (i, 1, n)),
    MaxOver(s[i], (i, 1, n)) - MinOver(s[j] + s[i], (j, 1, n)),
    Derivative(F(lam), (lam, 2)),
    Derivative(x, x, evaluate=False),
    Subs(Derivative(F(lam), lam), lam, 2 * x),
    Subs(Derivative(f(x, y), x), (x, y), (y, 0)),
    A(i, lam) + A(j, 2 * lam) * F(F(x)),
    Integral(exp(-(x**2)), (x, -oo, oo)),
    Limit(sp.sin(x) / x, x, 0, "+-") + Limit(log(x), x, 0),
    Piecewise((x, x > 0), (-x, True)),
    sp.Max(x, y, 3) + sp.Abs(x - y) + sp.sign(x) + sp.KroneckerDelta(i, j),
    x + OTHER_X + ODD,
]


@pytest.mark.parametrize("formula", FORMULAS, ids=str)
def test_a_formula_is_read_back_as_it_was_typed(formula):
    writer = Writer()
    text = writer.formula(formula)
    again = Reader([key, *entry] for key, entry in writer.names.items()).formula(text)
    assert latex(again) == latex(formula) and str(again) == str(formula)
    second = Writer()
    assert (second.formula(again), second.names) == (text, writer.names)
    if not formula.has(F(lam).func, A(i, lam).func):
        assert again == formula


DOMAINS = [
    Domain({x: (-1, Rational(1, 2)), y: (0.1, 2)}, where=[x < y, sp.And(x > -1, sp.Ne(y, 1))]),
    Domain({lam: (0, 3), s: (-2, 2), p: simplex(), n: ladder(2, 3, 7)}, each=(i, j)),
    Domain({n: integers(1, 9), x: (0, sp.pi)}),
    Domain({x: reals(above=0, attack=(0.1, 2)), y: reals(attack=(-1, 1), nonzero=True)}),
    Domain(
        {s: reals(at_least=0, below=sp.pi), p: simplex(), n: ladder(2, 3, least=2)},
        nonzero=(s,),
        distinct=(p,),
    ),
]


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_a_domain_is_read_back(domain):
    writer = Writer()
    text = writer.domain(domain)
    again = Reader([key, *entry] for key, entry in writer.names.items()).domain(text)
    assert list(again.ranges) == list(domain.ranges) and again.size == domain.size
    assert tuple(again.where) == tuple(domain.where) and tuple(again.each) == tuple(domain.each)
    assert again.least == domain.least
    assert (len(again.nonzero), len(again.distinct)) == (len(domain.nonzero), len(domain.distinct))
    second = Writer()
    assert (second.domain(again), second.names) == (text, writer.names)


def test_a_decimal_in_a_range_is_the_number_it_is_written_as():
    assert "(Interval 1/10 2)" in Writer().domain(Domain({x: (0.1, 2)}))


NAMES = (("x", "symbol", "x", "real"), ("s", "vector", "s", "real"), ("f", "function", "f", ""))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x y",
        "(",
        ")(",
        "(x)",
        "()",
        "(Add x",
        "(Add x z)",
        "(system x)",
        "(__import__ os)",
        "(Symbol x)",
        "(Lambda x x)",
        "(Sum x)",
        "(Sum x (Tuple 1 1 3))",
        "(Derivative x x)",
        "(Indexed x 1)",
        "(Apply x x)",
        "(Apply f",
        "(Float 1 2)",
        "(Float x 0 53)",
        "1.5",
        "1/0",
        "exec",
        "(Limit x x 0 7)",
        "(" * 300 + "x" + ")" * 300,
    ],
)
def test_what_is_no_formula_is_not_read(text):
    with pytest.raises(Unreadable):
        Reader(NAMES).formula(text)


@pytest.mark.parametrize(
    "text",
    [
        "(range x (Interval 0 1))",
        "(Domain (range x (Interval 1 0)))",
        "(Domain (range x (Interval 0 1)) (range x (Interval 0 2)))",
        "(Domain (range x (Between 0 1)))",
        "(Domain (range x (Integers 0 x)))",
        "(Domain (size 3))",
        "(Domain (where x))",
        "(Domain (open x))",
        "x",
    ],
)
def test_what_is_no_domain_is_not_read(text):
    with pytest.raises(Unreadable):
        Reader(NAMES).domain(text)


@pytest.mark.parametrize(
    "entry",
    [
        ("pi", "symbol", "pi", ""),
        ("y", "symbol", "y"),
        ("y", "module", "os", ""),
        ("y", "symbol", "y", "real; import os"),
        ("y", "definition", "y", "z", "x", ""),
        ("y", "definition", "y", "x", "(Add x", ""),
        ("x", "symbol", "x", "positive"),
    ],
)
def test_what_is_no_name_is_not_read(entry):
    with pytest.raises(Unreadable):
        Reader([*NAMES, entry])


@pytest.mark.parametrize("formula", [sp.Matrix([[x]]), sp.Wild("w"), sp.Lambda(x, x), sp.zoo])
def test_what_no_reader_knows_is_not_written(formula):
    with pytest.raises(Unreadable):
        Writer().formula(formula)
