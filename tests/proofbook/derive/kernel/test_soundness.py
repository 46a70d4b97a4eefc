"""What the kernel must never prove, each false statement beside a true one of its kind that it does prove."""

import pytest
import sympy as sp
from statements import proves
from sympy import (
    Abs,
    Derivative,
    Integral,
    KroneckerDelta,
    Limit,
    Max,
    Min,
    Piecewise,
    Rational,
    Subs,
    Sum,
    cos,
    exp,
    log,
    oo,
    sign,
    sin,
    sqrt,
    tanh,
)

from proofbook.derive import (
    Domain,
    MaxOver,
    MinOver,
    define,
    indices,
    integers,
    ladder,
    simplex,
    size,
    vector,
)
from proofbook.derive.kernel import NotProved, prove_equality, prove_inequality

n, m = size("n"), size("m")
i, j, k, el = indices("i j k l")
s, v, x, p = vector("s"), vector("v"), vector("x", positive=True), vector("p", positive=True)
a, b, c, t, z = sp.symbols("a b c t z", real=True)
lam, y = sp.Symbol("lambda", real=True), sp.Symbol("y", positive=True)

REAL = {a: (-3, 3), b: (-3, 3), c: (-3, 3), t: (-3, 3), z: (-3, 3)}
LINE = Domain(REAL)
UP = Domain({a: (1, 3), b: (1, 3), c: (1, 3), t: (1, 3), z: (1, 3)})
ROW = Domain({lam: (-3, 3), s: (-2, 2), v: (-2, 2), n: ladder(2, 3)})
EACH = Domain({lam: (-3, 3), s: (-2, 2), v: (-2, 2), n: ladder(2, 3)}, each=(k, el))
UPPER = Domain({s: (Rational(1, 10), 1), n: ladder(2, 3)}, each=(k,))
SHARES = Domain({p: simplex(), s: (-2, 2), n: ladder(2, 3)})
SIZES = Domain({x: (Rational(1, 10), 3), a: (-3, 3), n: ladder(2, 3)})


def total(body, index=i, low=1, high=n):
    return Sum(body, (index, low, high))


def held(function):
    """An expression that SymPy would carry out at once, as it was typed."""
    with sp.evaluate(False):
        return function()


Z = total(exp(lam * s[j]), j)
mean_of_s = total(s[i]) / n

FALSE = {
    # algebra, and where it is defined
    "square of a sum": ((a + b) ** 2, "=", a**2 + b**2, LINE),
    "sign": ((a - b) ** 2, "=", -((b - a) ** 2), LINE),
    "root of a square": (sqrt(a**2), "=", a, LINE),
    "root of a product of negatives": (
        held(lambda: sqrt(a * b)),
        "=",
        held(lambda: sqrt(a) * sqrt(b)),
        Domain({a: (-3, -1), b: (-3, -1)}),
    ),
    "0/0": (held(lambda: a / a), "=", 1 + 0 * a + b - b + held(lambda: (b**2 - b**2) / b), LINE),
    "a denominator that vanishes": ((a**2 - 1) / (a - 1), "=", a + 1, LINE),
    "log of a square": (log(a**2), "=", 2 * log(a), LINE),
    "log of a product of negatives": (log(a * b), "=", log(a) + log(b), Domain({a: (-3, -1), b: (-3, -1)})),
    "a branch of the power": ((a**2) ** Rational(3, 2), "=", a**3, LINE),
    "a power of a power": (held(lambda: (a**2) ** (b / 2)), "=", held(lambda: a**b), LINE),
    "modulus of a difference": (Abs(a - b), "=", a - b, LINE),
    "modulus of a sum": (Abs(a + b), "=", Abs(a) + Abs(b), LINE),
    "maximum of a difference": (Max(a - b, 0), "=", Max(a, 0) - Max(b, 0), LINE),
    "sign as a quotient": (sign(z), "=", Abs(z) / z, LINE),
    "sign squared": (sign(z) ** 2, "=", 1, LINE),
    "one sign of lambda": (
        Max(lam * a, lam * b),
        "=",
        lam * Max(a, b),
        Domain({lam: (-1, 1), a: (0, 1), b: (0, 1)}),
    ),
    "below 1e-50": (a, "=", a + Rational(1, 10**60), LINE),
    "below 1e-50, hidden": (log(exp(a) + 1), "=", a, Domain({a: (150, 300)})),
    "a near integer": (exp(sp.pi * sqrt(163)), "=", 262537412640768744, LINE),
    "pi": (sp.pi, "=", Rational(355, 113), LINE),
    "e": (exp(1), "=", Rational(2718281828459045, 10**15), LINE),
    "a golden ratio off": (log((sqrt(5) - 1) / 2), "=", log((sqrt(5) + 1) / 2), LINE),
    # sums
    "true on the ladder alone": ((n - 2) * (n - 3) * total(s[i]), "=", 0, ROW),
    "delta at a value never tried": (
        KroneckerDelta(sp.Symbol("m0", integer=True), 137),
        "=",
        0,
        Domain({sp.Symbol("m0", integer=True): integers(0, 1000)}),
    ),
    "a count off by one": (total(sp.Integer(1) + 0 * i), "=", n - 1, ROW),
    "sum of a product": (total(s[i] * v[i]), "=", total(s[i]) * total(v[i]), ROW),
    "sum of a square": (total(s[i] ** 2), "=", total(s[i]) ** 2, ROW),
    "an index that is not the one": (total(s[i] * v[k]), "=", total(s[k] * v[i]), EACH),
    "two free indices": (s[k] * v[el], "=", s[el] * v[k], EACH),
    "delta between free indices": (KroneckerDelta(k, el), "=", 0, EACH),
    "delta collapsed on the wrong index": (
        total(KroneckerDelta(i, k) * s[i] * v[el]),
        "=",
        s[el] * v[k],
        EACH,
    ),
    "delta out of range": (
        total(KroneckerDelta(i, sp.Symbol("m0", integer=True)) * s[i]),
        "=",
        s[k],
        Domain({sp.Symbol("m0", integer=True): integers(1, 9), s: (-2, 2), n: ladder(2)}, each=(k,)),
    ),
    "a simplex that is none": (total(s[i]), "=", 1, ROW),
    "sum of squares on the simplex": (total(p[i] ** 2), "=", 1, SHARES),
    "p < 1 when n = 1": (p[k], "<", 1, Domain({p: simplex(), n: ladder(2, 3)}, each=(k,))),
    "1 - p is not zero when n = 1": (
        held(lambda: (1 - p[k]) / (1 - p[k])),
        "=",
        held(lambda: p[k] / p[k]) + 0 * s[k],
        Domain({p: simplex(), s: (-1, 1), n: ladder(2, 3)}, each=(k,)),
    ),
    "geometric sum at 1": (
        total(a**i),
        "=",
        a * (1 - a**n) / (1 - a),
        Domain({a: (Rational(1, 2), 2), n: ladder(2, 3)}),
    ),
    "geometric sum, one term more": (
        total(a**i),
        "=",
        a * (1 - a ** (n + 1)) / (1 - a),
        Domain({a: (Rational(1, 10), Rational(1, 2)), n: ladder(2, 3)}),
    ),
    "a sum from 2": (total(s[i], i, 2), "=", total(s[i]), ROW),
    "variance without the square": (
        total((s[i] - mean_of_s) ** 2) / n,
        "=",
        total(s[i] ** 2) / n - mean_of_s,
        ROW,
    ),
    "softmax normalised twice": (total(exp(lam * s[i]) / Z) / Z, "=", 1, ROW),
    "entropy, one sign": (
        log(Z) - lam * total(s[i] * exp(lam * s[i])) / Z,
        "=",
        log(Z) + lam * total(s[i]),
        ROW,
    ),
    "log of a sum": (log(Z), "=", total(log(exp(lam * s[i]))), ROW),
    "max for both signs of lambda": (
        MaxOver(exp(lam * s[i]), (i, 1, n)),
        "=",
        exp(lam * MaxOver(s[i], (i, 1, n))),
        ROW,
    ),
    "max of a sum": (
        MaxOver(s[i] + v[i], (i, 1, n)),
        "=",
        MaxOver(s[i], (i, 1, n)) + MaxOver(v[i], (i, 1, n)),
        ROW,
    ),
    "max and min": (MaxOver(-s[i], (i, 1, n)), "=", -MaxOver(s[i], (i, 1, n)), ROW),
    # derivatives
    "derivative of a square": (Derivative(a**2, a), "=", a, LINE),
    "derivative of a modulus": (Derivative(Abs(a), a), "=", 1, LINE),
    "derivative of a modulus at the end": (Derivative(Abs(a), a), "=", 1, Domain({a: (0, 1)})),
    "derivative of a root at the end": (
        Derivative(sqrt(a), a),
        "=",
        1 / (2 * sqrt(a)) + 0 * b,
        Domain({a: (-1, 1), b: (0, 1)}),
    ),
    "derivative by an entry": (Derivative(log(Z), s[k]), "=", exp(lam * s[k]) / Z, EACH),
    "derivative of another entry": (Derivative(s[el] ** 2, s[k]), "=", 0, EACH),
    "derivative of a maximum": (Derivative(MaxOver(s[i], (i, 1, n)), s[k]), "=", 1, EACH),
    "derivative of a ramp at 0": (Derivative(Max(a, 0), a), "=", 0, Domain({a: (-1, 0)})),
    "product rule": (Derivative(a * exp(a), a), "=", exp(a), LINE),
    "chain rule": (Derivative(exp(a**2), a), "=", exp(a**2), LINE),
    "a point put in too early": (Subs(Derivative(a**2 + b, a), a, b), "=", 2 * b + 1, LINE),
    "derivative on the simplex": (
        Derivative(total(p[i]), p[k]),
        "=",
        0,
        Domain({p: simplex(), n: ladder(2)}, each=(k,)),
    ),
    # inequalities
    "strict at 0": (0, "<", a**2, LINE),
    "square, strict": (2 * a * b, "<", a**2 + b**2, LINE),
    "below its tangent": (exp(a), "<=", 1 + a, LINE),
    "tangent, strict": (1 + a, "<", exp(a), LINE),
    "log above its tangent": (log(y), ">=", y - 1, Domain({y: (Rational(1, 10), 9)})),
    "log, strict": (log(y), "<", y - 1, Domain({y: (Rational(1, 10), 9)})),
    "at 50 digits": (1, "<=", exp(a) / (exp(a) + 1), Domain({a: (150, 300)})),
    "tanh above 1": (tanh(a), ">=", 1, Domain({a: (60, 100)})),
    "term above the sum": (s[k], "<=", total(s[i]), EACH),
    "mean above the maximum": (mean_of_s, ">=", MaxOver(s[i], (i, 1, n)), ROW),
    "mean below the maximum, strict": (mean_of_s, "<", MaxOver(s[i], (i, 1, n)), ROW),
    "maximum and minimum, strict": (MinOver(s[i], (i, 1, n)), "<", MaxOver(s[i], (i, 1, n)), ROW),
    "Cauchy-Schwarz turned round": (total(s[i]) ** 2, ">=", n * total(s[i] ** 2), ROW),
    "Cauchy-Schwarz, strict": (total(s[i]) ** 2, "<", n * total(s[i] ** 2), ROW),
    "squares and signs": (total(s[i] ** 2), "<=", total(s[i]) ** 2, ROW),
    "lambda of one sign": (lam * mean_of_s, "<=", lam * MaxOver(s[i], (i, 1, n)), ROW),
    "Jensen turned round": (log(total(exp(lam * s[i])) / n), "<=", lam * mean_of_s, ROW),
    "Jensen, strict": (log(total(exp(lam * s[i])) / n), ">", lam * mean_of_s, ROW),
    "Gibbs, strict": (total(p[i] * log(n * p[i])), ">", 0, SHARES),
    "entropy above log n": (-total(p[i] * log(p[i])), ">=", log(n), SHARES),
    "entropy positive": (-total(p[i] * log(p[i])), ">", 0, SHARES),
    "a concave root": (sqrt(a), "<=", a, Domain({a: (Rational(1, 4), 4)})),
    "one term, strict": (p[k], "<", total(p[i]), Domain({p: simplex(), n: ladder(2, 3)}, each=(k,))),
    "power means in the wrong order": (total(x[i] ** 2) / n, "<=", (total(x[i]) / n) ** 2, SIZES),
    "norms in the wrong order": (total(x[i] ** 2), ">=", total(x[i]) ** 2, SIZES),
    "slope from the wrong base": (a, "<=", a**3, Domain({a: (0, 3)})),
    "a hypothesis that ties": (a + b, "<=", 1, Domain({a: (0, 1), b: (0, 1)}, where=(a < b,))),
    "monotone the wrong way": (exp(-a), "<=", exp(-b), Domain({a: (0, 1), b: (0, 1)}, where=(a < b,))),
    "maximum of three": (Max(a, b, c), "<=", Max(a, b), LINE),
    "Min": (Min(a, b), ">=", a, LINE),
    # what SymPy has carried out wrongly: its issues 25052, 29792, 26313, 27050, and what proof.md names
    "sympy 25052": (a * Integral(Abs(cos(z)), (z, -sp.pi / 2, 0)), "=", -a, LINE),
    "sympy 29792": (Integral(sqrt(2 - z) * sqrt(1 / (2 - z)), (z, 0, 1)), "=", -1, LINE),
    "a Piecewise at its joint": (
        Subs(Derivative(Piecewise((-y * log(y), y > 0), (0, True)), y), y, 0),
        "=",
        0,
        LINE,
    ),
    "sympy 26313": (Limit(Piecewise((a, z < 2), (b, True)), z, 2, "+"), "=", a, LINE),
    "an infinite sum": (
        Sum(a**i, (i, 1, oo)),
        "=",
        a / (1 - a),
        Domain({a: (Rational(1, 10), 2)}),
    ),
    "a sine taken for the identity": (sin(a), "=", a, LINE),
    "sin^2 + cos^2 off": (sin(a) ** 2 + cos(a) ** 2, "=", 2, LINE),
}

TRUE = {
    "square of a sum": ((a + b) ** 2, "=", a**2 + 2 * a * b + b**2, LINE),
    "root of a square": (sqrt(a**2), "=", a, UP),
    "root of a square, both signs": (sqrt(a**2), "=", Abs(a), LINE),
    "a fraction": ((a**2 - 1) / (a + 1), "=", a - 1, UP),
    "log of a square": (log(a**2), "=", 2 * log(a), UP),
    "log of a product of negatives": (log(a * b), "=", log(-a) + log(-b), Domain({a: (-3, -1), b: (-3, -1)})),
    "a power": ((a**2) ** Rational(3, 2), "=", a**3, UP),
    "golden ratio": (log((sqrt(5) - 1) / 2), "=", -log((sqrt(5) + 1) / 2), LINE),
    "lambda of one sign": (
        Max(lam * a, lam * b),
        "=",
        lam * Max(a, b),
        Domain({lam: (1, 2), a: (0, 0.5), b: (1, 2)}),
    ),
    "a count": (total(sp.Integer(1) + 0 * i), "=", n, ROW),
    "a product of sums": (Sum(Sum(s[i] * v[j], (j, 1, n)), (i, 1, n)), "=", total(s[i]) * total(v[i]), ROW),
    "a double sum swapped": (
        Sum(Sum(Abs(s[i] - v[j]), (j, 1, n)), (i, 1, n)),
        "=",
        Sum(Sum(Abs(v[i] - s[j]), (j, 1, n)), (i, 1, n)),
        ROW,
    ),
    "delta": (total(KroneckerDelta(i, k) * s[i] * v[el]), "=", s[k] * v[el], EACH),
    "simplex": (total(p[i] * (1 - p[i])), "=", 1 - total(p[i] ** 2), SHARES),
    "geometric sum": (
        total(a**i),
        "=",
        a * (1 - a**n) / (1 - a),
        Domain({a: (Rational(1, 10), Rational(1, 2)), n: ladder(2, 3)}),
    ),
    "a sum from 2": (total(s[i], i, 2), "=", total(s[i]) - s[1], ROW),
    "variance": (total((s[i] - mean_of_s) ** 2) / n, "=", total(s[i] ** 2) / n - mean_of_s**2, ROW),
    "softmax": (total(exp(lam * s[i]) / Z), "=", 1, ROW),
    "gradient": (Derivative(log(Z), s[k]), "=", lam * exp(lam * s[k]) / Z, EACH),
    "derivative of another entry": (
        Derivative(s[el] ** 2, s[k]),
        "=",
        2 * s[el] * KroneckerDelta(k, el),
        EACH,
    ),
    "max for lambda >= 0": (
        MaxOver(exp(lam * s[i]), (i, 1, n)),
        "=",
        exp(lam * MaxOver(s[i], (i, 1, n))),
        Domain({lam: (0, 3), s: (-2, 2), n: ladder(2, 3)}),
    ),
    "max and min": (MaxOver(-s[i], (i, 1, n)), "=", -MinOver(s[i], (i, 1, n)), ROW),
    "derivative of a root": (Derivative(sqrt(a), a), "=", 1 / (2 * sqrt(a)), UP),
    "a point put in": (Subs(Derivative(a**2 + b, a), a, b), "=", 2 * b, LINE),
    "square": (2 * a * b, "<=", a**2 + b**2, LINE),
    "tangent": (1 + a, "<=", exp(a), LINE),
    "log tangent": (log(y), "<=", y - 1, Domain({y: (Rational(1, 10), 9)})),
    "a fraction below 1": (exp(a) / (exp(a) + 1), "<", 1, Domain({a: (150, 300)})),
    "tanh below 1": (tanh(a), "<", 1, Domain({a: (60, 100)})),
    "mean below the maximum": (mean_of_s, "<=", MaxOver(s[i], (i, 1, n)), ROW),
    "Cauchy-Schwarz": (total(s[i]) ** 2, "<=", n * total(s[i] ** 2), ROW),
    "Jensen": (log(total(exp(lam * s[i])) / n), ">=", lam * mean_of_s, ROW),
    "Gibbs": (total(p[i] * log(n * p[i])), ">=", 0, SHARES),
    "entropy": (-total(p[i] * log(p[i])), ">=", 0, SHARES),
    "one term": (p[k], "<=", total(p[i]), Domain({p: simplex(), n: ladder(2, 3)}, each=(k,))),
    "monotone": (exp(-b), "<=", exp(-a), Domain({a: (0, 1), b: (0, 1)}, where=(a < b,))),
    "maximum of three": (Max(a, b), "<=", Max(a, b, c), LINE),
    "power means": ((total(x[i]) / n) ** 2, "<=", total(x[i] ** 2) / n, SIZES),
}


@pytest.mark.parametrize("name", FALSE)
def test_a_false_statement_is_not_proved(name):
    assert not proves(*FALSE[name])


@pytest.mark.parametrize("name", TRUE)
def test_a_true_statement_of_the_kind_is_proved(name):
    assert proves(*TRUE[name])


def test_hypotheses_that_contradict_each_other_prove_nothing():
    empty = Domain({a: (0, 1), b: (0, 1)}, where=(a > b, b > a))
    assert not proves(a + b, "<=", -1, empty)


def test_symbols_that_print_alike_are_refused():
    other = sp.Symbol("a", positive=True)
    with pytest.raises(NotProved, match="called a"):
        prove_equality(a, other, Domain({a: (1, 3), other: (1, 3)}))


def test_a_declaration_that_the_range_does_not_imply_is_refused():
    wrong = sp.Symbol("w", extended_negative=True)
    with pytest.raises(NotProved, match="declared"):
        prove_equality(Abs(wrong), -wrong, Domain({wrong: (1, 2)}))


def test_a_symbol_without_a_range_is_refused():
    with pytest.raises(NotProved, match="no range"):
        prove_equality(a + b, b + a + 0 * c, Domain({a: (0, 1)}))


def test_a_definition_is_read_by_its_arguments_alone():
    """A bound index of the caller may not slip into the body of a definition."""
    f = define("f", (a,), s[i] * a)
    with pytest.raises(NotProved, match="bound where it stands"):
        prove_equality(total(f(lam)), lam * total(s[i]), ROW)
    g = define("g", (i, a), s[i] * a)
    assert prove_equality(total(g(i, lam)), lam * total(s[i]), ROW)["rule"] == "normal form"


def test_a_proof_says_for_which_values_it_holds():
    certificate = prove_equality(exp(log(y) / 2) ** 2, y, Domain({y: (2, 3)}))
    assert certificate["setting"]["domain"] == "wide"
    certificate = prove_equality(log(1 - a) + log(1 - a), 2 * log(1 - a), Domain({a: (0, Rational(1, 2))}))
    assert certificate["setting"]["domain"] == "typed"


def test_an_end_without_a_value_is_left_out_and_named():
    certificate = prove_equality(log(a**2), 2 * log(a), Domain({a: (0, 1)}))
    assert certificate["setting"]["open ends"] == [["a", "low"]]


def test_a_power_of_zero_has_a_value():
    """0^b is 0 for b > 0: the end 0 of a belongs to the domain, and there the two sides are equal or not."""
    domain = Domain({a: (0, 1), b: (1, 2)})
    assert not proves(a**b * log(a + 1), "<", log(a + 1), domain)


def test_an_end_is_left_out_for_the_entry_that_has_no_value_there_only():
    """log s[k] has no value at s[k] = 0; where another entry is 0 the statement is still made."""
    closed = Domain({s: (0, 1), n: ladder(2, 3)}, each=(k, el))
    assert not proves(log(s[k]) + sign(s[el]), "=", log(s[k]) + 1, closed)
    assert proves(log(s[k]) + sign(s[k]), "=", log(s[k]) + 1, UPPER)


def test_what_a_sum_from_2_leaves_out_may_have_no_value():
    """sum_(i>=2) log s_i has a value where s_1 = 0, so that point is not left out of the domain."""
    closed = Domain({s: (0, 1), n: ladder(2, 3)})
    tail = total(log(s[i]), i, 2)
    assert not proves(sign(s[1]) + tail, "=", 1 + tail, closed)


def test_a_decimal_that_hides_digits_is_refused():
    assert proves(sp.Float("0.1") * a, "=", a / 10, LINE)
    assert not proves(sp.Float("0.1000000000000000000000001", 30) * a, "=", a / 10, LINE)


def test_what_holds_from_two_entries_on_is_proved_for_these_only():
    """With one entry p = 1: the quotient has no value there."""
    shares = Domain({p: simplex(), n: ladder(2, 3)}, each=(k,))
    two_shares = Domain({p: simplex(), n: ladder(2, 3, least=2)}, each=(k,))
    two = Domain({s: (-2, 2), n: ladder(2, 3, least=2)}, each=(k,))
    with pytest.raises(NotProved):
        prove_inequality("<", p[k], sp.Integer(1), shares)
    assert prove_inequality("<", p[k], sp.Integer(1), two_shares)["setting"]["least size"] == 2
    with pytest.raises(NotProved):
        prove_inequality("<", exp(s[k]), total(exp(s[i])), EACH)
    assert prove_inequality("<", exp(s[k]), total(exp(s[i])), two)
    with pytest.raises(NotProved):
        prove_inequality("<", s[k], total(s[i]), two)
