"""A quantity is a SymPy function: told from others of its name in everything that SymPy does with it."""

import copy
import pickle

import numpy as np
import pytest
import sympy as sp
from IPython.core.formatters import DisplayFormatter
from sympy import Derivative, Function, Integral, Subs, Sum, default_sort_key, exp, log

from proofbook.derive import (
    Definition,
    Derivation,
    Domain,
    EmptyStep,
    Undecided,
    define,
    eq,
    indices,
    latex,
    size,
    unfold,
    vector,
)

n = size()
(i,) = indices("i")
s = vector("s")
x, y = sp.symbols("x y", real=True)

g, other = define("g", (x,), x + 1), define("g", (x,), x + 2)
twin = define("g", (x,), x + 1)
of_two = define("h", (x, y), x * y**2)


def starred(at: str) -> str:
    return rf"S^{{*}}_{{{at}}}"


def test_a_definition_says_what_it_was_told():
    made = define("S", [x], x**2, latex=starred, label="eq-test-s")
    assert isinstance(made, Definition) and issubclass(made, Function)
    assert (made.name, made.args, made.body, made.label) == ("S", (x,), x**2, "eq-test-s")
    assert made.applied == made(x) and made(3).args == (3,)
    assert str(made) == "S" and repr(made) == "eq-test-s: S(x) := x**2" and repr(g) == "g(x) := x + 1"
    assert latex(made(2) ** 2) == r"\left(S^{*}_{2}\right)^{2}" and sp.latex(made(2)) == "S^{*}_{2}"


def test_jupyter_shows_a_definition_as_its_bundle():
    made = define("S", [x], x**2, label="eq-test-s")
    shown, _ = DisplayFormatter().format(made)
    assert shown == made._repr_mimebundle_()
    assert shown["text/plain"] == "eq-test-s: S(x) := x**2"


@pytest.mark.parametrize("a, b", [(g, other), (g, twin)], ids=["other body", "same body"])
def test_one_name_twice_is_two_quantities(a, b):
    assert a != b and a(x) != b(x) and a(x) - b(x) != 0 and str(a(x)) == str(b(x)) == "g(x)"
    assert len({a(x), b(x), a(x)}) == 2
    assert unfold(a(x)) == a.body and unfold(b(x)) == b.body


@pytest.mark.parametrize("a, b", [(g, other), (g, twin)], ids=["other body", "same body"])
def test_sympy_orders_and_keeps_both(a, b):
    for combine in (sp.Add, sp.Mul, sp.Max):
        assert combine(a(x), b(x)) == combine(b(x), a(x)) and len(combine(a(x), b(x)).args) == 2
    assert sorted([b(x), a(x)], key=default_sort_key) == [a(x), b(x)]
    assert sp.expand((a(x) + b(x)) ** 2).coeff(a(x) * b(x)) == 2
    assert sp.Poly(a(x) ** 2 + b(x), a(x), b(x)).degree(a(x)) == 2


@pytest.mark.parametrize("a, b", [(g, other), (g, twin)], ids=["other body", "same body"])
def test_substitution_meets_the_quantity_that_was_meant(a, b):
    both = a(x) + 10 * b(x)
    assert both.subs(a(x), 5) == 5 + 10 * b(x)
    assert both.xreplace({b(x): y}) == a(x) + 10 * y
    assert both.replace(b, lambda at: at**2) == a(x) + 10 * x**2
    assert both.subs(x, y) == a(y) + 10 * b(y)
    assert both.subs(a, sp.sin) == sp.sin(x) + 10 * b(x)
    assert both.atoms(a) == {a(x)}


def test_a_function_of_sympy_or_of_nobody_is_not_meant():
    named = define("exp", (x,), x**3)
    assert named(x) != exp(x) and named(x) + exp(x) == exp(x) + named(x)
    assert unfold(named(x) + exp(x)) == x**3 + exp(x)
    nobody = Function("g", real=True)
    for undefined in (nobody(x), nobody(x, y)):
        assert undefined != g(x) and undefined + g(x) == g(x) + undefined
    assert unfold(nobody(x) + g(x)) == nobody(x) + x + 1


def test_derivatives_wait_until_the_quantity_is_unfolded():
    assert g(x).diff(x) == Derivative(g(x), x) and g(x).diff(y) == 0
    assert isinstance(g(2 * x).diff(x).args[1], Subs)
    assert unfold(g(2 * x).diff(x)) == 2 and unfold(Derivative(g(x), x)) == 1
    assert unfold(of_two(x, y).diff(y)) == 2 * x * y and unfold(of_two(x, x).diff(x).doit()).equals(3 * x**2)
    assert unfold(g(of_two(x, y)).diff(y)).equals(2 * x * y)
    assert unfold(g(x).diff(x) + other(x).diff(x)) == 2


def test_doit_unfolds_and_carries_out():
    assert g(x).doit() == x + 1 and Derivative(g(x) ** 2, x).doit().equals(2 * x + 2)
    assert Integral(g(x), (x, 0, 2)).doit() == 4
    assert unfold(Integral(g(x), (x, 0, 2))) == Integral(x + 1, (x, 0, 2))


def test_a_quantity_has_no_number_of_its_own():
    # mpmath has a zeta of its own, and SymPy looks functions up there by their names
    zeta = define("zeta", (x,), x**2)
    assert zeta(2).evalf() == zeta(2) and zeta(2.0) == zeta(sp.Float(2.0)) != 4
    assert unfold(zeta(2.0)) == 4.0
    assert not zeta(2).is_number and sp.Max(zeta(2), 1).has(zeta) and (zeta(2) > 1).has(zeta)


@pytest.mark.parametrize("module", ["math", "mpmath", "numpy", "scipy"])
@pytest.mark.parametrize("name", ["zeta", "erf", "log"])
def test_printed_as_code_it_is_its_body(module, name):
    if module == "scipy":
        pytest.importorskip("scipy")
    assert float(sp.lambdify(x, define(name, (x,), x**2)(x) + 1, module)(np.float64(3.0))) == 10


@pytest.mark.parametrize("name", ["Lambda", "Sum", "Symbol", "Add", "Pow", "Integral", "Max", "E", "Tuple"])
def test_a_quantity_may_have_the_name_of_a_class_of_sympy(name):
    # SymPy's printers and its order of operations go by the names of classes
    made = define(name, (x,), x**2 + 1, label="eq-test-name")
    assert str(made(x) ** 2 + y) == f"y + {name}(x)**2" and sp.srepr(made(2)) == f"{name}(Integer(2))"
    assert sp.pretty(made(x), use_unicode=False) == f"{name}(x)"
    assert repr(made) == f"eq-test-name: {name}(x) := x**2 + 1" and made._repr_mimebundle_()
    assert latex(made(x)).endswith(f"{name}(x)") and latex(made(x).diff(x)).endswith(f"{name}'(x)")
    assert sp.lambdify(x, y + made(x) - y)(3) == 10
    right = Derivation("eq-test", made(x) - 1, eq(x**2, "unfold"), domain=Domain({x: (1, 2)}))
    assert right.strategy == "proved" and f"{name}(x) - 1" in right._repr_mimebundle_()["text/plain"]


def test_a_quantity_without_arguments():
    constant = define("L", (), log(2), latex=lambda: r"\log 2")
    assert constant().diff(x) == 0 and unfold(constant() + 1) == log(2) + 1 and constant.applied == constant()
    with pytest.raises(TypeError, match="0 argument"):
        constant(x)


def test_a_quantity_is_real_and_takes_the_symbols_of_its_arguments():
    assert g(x).is_real and g(x).is_commutative and g(x).free_symbols == {x}
    total = define("T", (x,), Sum(s[i] * x, (i, 1, n)))
    assert total(y).free_symbols == {y} and unfold(total(y)).free_symbols > {y, n}


@pytest.mark.parametrize("thing", [g, g(x), g(x) + other(2), Derivative(g(x), x), g(2 * x).diff(x)], ids=str)
def test_copies_and_pickles_are_the_same_quantity(thing):
    for twice in (copy.copy(thing), copy.deepcopy(thing), pickle.loads(pickle.dumps(thing))):
        assert twice == thing and hash(twice) == hash(thing) and str(twice) == str(thing)


def test_what_was_pickled_is_still_defined():
    made = define("S", [x], x**2, latex=starred, label="eq-test-s")
    back = pickle.loads(pickle.dumps(made(y)))
    assert unfold(back) == y**2 and back - made(y) == 0 and latex(back) == latex(made(y))
    assert back.func != other and back.func.label == "eq-test-s"


def test_no_step_speaks_of_two_of_one_name():
    """On the page, g(x) + 1 = g(x) is false, whatever the two are."""
    domain = Domain({x: (1, 2)})
    with pytest.raises(Undecided, match="two different functions are called g"):
        Derivation("eq-test", g(x) + 1, eq(other(x), "one more"), domain=domain)
    with pytest.raises(EmptyStep):
        Derivation("eq-test", g(x), eq(twin(x), "the same body, and the same on the page"), domain=domain)
