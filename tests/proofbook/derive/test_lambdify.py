"""Functions made from formulas, against the same quantities computed directly."""

import subprocess
import sys
import types

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
import torch
from sympy import Abs, Function, Max, Min, Piecewise, Rational, Sum, erf, exp, log, loggamma, pi, sign, sqrt

from proofbook.derive import (
    Derivation,
    Domain,
    MaxOver,
    MinOver,
    Undecided,
    define,
    eq,
    indices,
    ladder,
    lambdify,
    size,
    vector,
)

n = size()
i, j = indices("i j")
s, t = vector("s"), vector("t")
lam, x = sp.symbols("lambda x", real=True)
F = define("F", (lam,), log(Sum(exp(lam * s[i]), (i, 1, n))))
H = define("H", (lam,), F(lam) - lam * F(lam).diff(lam))
DOMAIN = Domain({lam: (0, 3), x: (0, 3), s: (-1, 1), t: (-1, 1), n: ladder(2)})

# rounding of a short formula of numbers near one, in float64
CLOSE = {"rtol": 1e-13, "atol": 1e-13}


def rows(*shape, seed=0):
    return torch.randn(*shape, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def entropy(scores, factor):
    logp = torch.log_softmax(factor[..., None] * scores, dim=-1)
    return -(logp.exp() * logp).sum(-1)


def test_entropy_in_three_backends():
    scores, factor = rows(3, 4), 0.2 + rows(3, 4, seed=1)[..., 0].abs()
    expected = entropy(scores, factor)
    found = lambdify(H(lam), (lam, s), DOMAIN, torch)(factor, scores)
    torch.testing.assert_close(found, expected, **CLOSE)
    np.testing.assert_allclose(
        lambdify(H(lam), (lam, s), DOMAIN, "numpy")(factor.numpy(), scores.numpy()), expected, **CLOSE
    )
    with mp.workdps(50):
        one = lambdify(H(lam), (lam, s), DOMAIN, "mpmath")(factor[1, 2].item(), scores[1, 2].tolist())
        weights = [mp.exp(factor[1, 2].item() * mp.mpf(v)) for v in scores[1, 2].tolist()]
        direct = -mp.fsum(w / mp.fsum(weights) * mp.log(w / mp.fsum(weights)) for w in weights)
        assert abs(one - direct) < mp.mpf(10) ** -45


def test_arguments_come_in_the_order_given():
    formula = lam - 10 * x + 100 * s[1] + 1000 * t[2]
    for namespace, make in (("numpy", np.array), (torch, torch.tensor)):
        first, second = make([1.0, 2.0]), make([3.0, 5.0])
        assert (
            float(lambdify(formula, (lam, x, s, t), DOMAIN, namespace)(7.0, 11.0, first, second))
            == 7 - 110 + 100 + 5000
        )
        assert (
            float(lambdify(formula, (t, s, x, lam), DOMAIN, namespace)(second, first, 11.0, 7.0))
            == 7 - 110 + 100 + 5000
        )


@pytest.mark.parametrize(
    "formula, direct",
    [
        (sp.E * lam + pi, lambda f, v: torch.e * f + torch.pi),
        (sqrt(2) * lam ** Rational(3, 2), lambda f, v: 2**0.5 * f**1.5),
        (MaxOver(s[i] * lam, (i, 1, n)), lambda f, v: (v * f[..., None]).amax(-1)),
        (Max(lam, Rational(1, 2)) - Min(lam, 1), lambda f, v: f.clamp(min=0.5) - f.clamp(max=1)),
        (Abs(s[1]) * sign(s[2]), lambda f, v: v[..., 0].abs() * v[..., 1].sign()),
        (erf(lam) + loggamma(lam + 1), lambda f, v: torch.erf(f) + torch.lgamma(f + 1)),
        (Sum(s[i], (i, 1, n)) / n, lambda f, v: v.mean(-1)),
        (sp.Integer(3) + 0 * lam, lambda f, v: torch.full_like(f, 3)),
        (n + 0 * lam, lambda f, v: torch.full_like(f, 5)),
    ],
)
def test_formula_against_direct_computation(formula, direct):
    scores, factor = rows(2, 3), rows(2, 3, seed=3)[..., 0].abs()
    expected = direct(factor, scores)
    found = lambdify(formula, (lam, s), DOMAIN, torch)(factor, scores)
    torch.testing.assert_close(found, expected, **CLOSE)
    found = lambdify(formula, (lam, s), DOMAIN, "numpy")(factor.numpy(), scores.numpy())
    assert found.shape == (2, 3)
    np.testing.assert_allclose(found, expected, **CLOSE)


def test_scalars_and_batches_broadcast():
    scores = rows(4)
    found = lambdify(F(lam), (lam, s), DOMAIN, torch)(2.0, scores)
    torch.testing.assert_close(found, torch.logsumexp(2 * scores, -1), **CLOSE)
    grid = torch.linspace(0, 3, 7, dtype=torch.float64)
    found = lambdify(F(lam), (lam, s), DOMAIN, torch)(grid[:, None], scores)
    torch.testing.assert_close(found, torch.logsumexp(grid[:, None, None] * scores, -1), **CLOSE)


def test_torch_keeps_dtype_and_gradient():
    scores = rows(4).requires_grad_()
    lambdify(F(lam), (lam, s), DOMAIN, torch)(2.0, scores).sum().backward()
    torch.testing.assert_close(scores.grad, 2 * torch.softmax(2 * scores.detach(), -1), **CLOSE)
    single = lambdify(F(lam), (lam, s), DOMAIN, torch)(torch.tensor(2.0), scores.detach().float())
    assert single.dtype == torch.float32


def test_whole_numbers_are_not_divided_as_floats():
    with mp.workdps(50):
        third = lambdify(x / (1 + lam), (x, lam), DOMAIN, "mpmath")(1, 2)
        assert abs(third * 3 - 1) < mp.mpf(10) ** -45
    assert float(lambdify(2 ** s[1], (s,), DOMAIN, "numpy")([-2, 1])) == 0.25
    assert lambdify(1 / s[1], (s,), DOMAIN, torch)(torch.tensor([3, 1])).item() == 1 / 3


def test_derivation_lambdifies_its_last_line():
    derivation = Derivation(
        "eq-test", (x + 1) ** 2, eq(x**2 + 2 * x + 1, "expand"), domain=Domain({x: (0, 1)})
    )
    assert derivation.lambdify([x])(3.0) == 16
    assert derivation.lambdify([x], "mpmath")(3) == 16


@pytest.mark.parametrize(
    "formula, arguments, values, error, message",
    [
        (lam * x, (lam,), (1.0,), ValueError, "x"),
        (lam * x, (lam, x), (1.0,), TypeError, "expected 2 arguments, got 1"),
        (s[1] + t[1], (s, t), ([1.0, 2.0], [1.0]), ValueError, "one length, got 2 and 1"),
        (s[3], (s,), ([1.0, 2.0],), ValueError, "outside a vector of 2"),
        (s[i], (s,), ([1.0, 2.0],), ValueError, "index with no value"),
        (s[1], (s,), (1.0,), ValueError, "s is a vector"),
        (Function("erf")(x), (x,), (1.0,), ValueError, "nobody defined erf"),
        (Function("g")(x), (x,), (1.0,), ValueError, "nobody defined g"),
    ],
)
@pytest.mark.parametrize("namespace", ["numpy", "mpmath", torch])
def test_bad_use_is_refused(namespace, formula, arguments, values, error, message):
    with pytest.raises(error, match=message):
        lambdify(formula, arguments, DOMAIN, namespace)(*values)


@pytest.mark.parametrize(
    "formula", [sp.LambertW(x), sp.besseli(1, x), sp.gamma(x), Piecewise((1, x > 0), (0, True))]
)
def test_torch_names_what_it_lacks(formula):
    with pytest.raises(ValueError, match=f"torch lacks {formula.func.__name__}"):
        lambdify(formula, (x,), DOMAIN, torch)(torch.ones(3))


@pytest.mark.parametrize(
    "namespace, message",
    [
        ("torch", "the text 'torch'"),
        ("jax", "'numpy', 'mpmath' or an array library itself"),
        (sp, "sympy is no array library: it lacks asarray"),
        (None, "None is no array library"),
    ],
)
def test_what_is_no_namespace_is_refused(namespace, message):
    with pytest.raises(ValueError, match=message):
        lambdify(x, (x,), DOMAIN, namespace)


PLAIN = ("asarray", "float64", "finfo", "full_like", "broadcast_shapes", "broadcast_to", "sqrt", "exp", "log")


def library(*names, **own):
    """An array library that is only known by its names."""
    return types.SimpleNamespace(
        __name__="mine", **{name: getattr(np, name) for name in (*PLAIN, *names)}, **own
    )


def test_any_library_with_the_names_of_the_standard_will_do():
    scores, factor = rows(3, 4).numpy(), 0.2 + rows(3, 4, seed=1)[..., 0].abs().numpy()
    expected = lambdify(H(lam), (lam, s), DOMAIN)(factor, scores)
    np.testing.assert_allclose(
        lambdify(H(lam), (lam, s), DOMAIN, library())(factor, scores), expected, **CLOSE
    )
    formula = sp.atan(lam) + Max(s[1], lam, Rational(1, 2)) * Abs(s[2])
    mine = library("arctan", "maximum", "abs")
    expected = lambdify(formula, (lam, s), DOMAIN)(factor, scores)
    np.testing.assert_allclose(lambdify(formula, (lam, s), DOMAIN, mine)(factor, scores), expected, **CLOSE)


def test_a_function_may_have_another_name_in_the_library():
    mine = library(gammaln=lambda v: np.asarray(torch.lgamma(torch.as_tensor(v))))
    assert float(lambdify(loggamma(x), (x,), DOMAIN, mine)(5.0)) == pytest.approx(np.log(24), rel=1e-14)
    with pytest.raises(ValueError, match="^mine lacks loggamma, tanh$"):
        lambdify(loggamma(x) + sp.tanh(x), (x,), DOMAIN, library())(5.0)


def test_a_function_is_not_looked_up_by_its_name():
    # torch.sinc(x) is sin(pi x)/(pi x), and SymPy's is sin(x)/x
    with pytest.raises(ValueError, match="torch lacks sinc"):
        lambdify(sp.sinc(x), (x,), DOMAIN, torch)(torch.ones(3))


def test_modules_and_their_names_are_the_same_namespace():
    for module, name in ((np, "numpy"), (mp, "mpmath")):
        found, expected = (
            lambdify(sp.atan(x) ** 2, (x,), DOMAIN, namespace)(0.5) for namespace in (module, name)
        )
        assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize("namespace", ["numpy", torch, library()])
def test_numbers_alone_and_no_argument_at_all(namespace):
    constant = lambdify(pi / 4, (), DOMAIN, namespace)()
    assert float(constant) == float(pi / 4) and tuple(constant.shape) == ()
    assert float(lambdify(2 ** (x / 2), (x,), DOMAIN, namespace)(3)) == pytest.approx(2**1.5, rel=1e-15)
    assert float(lambdify(sqrt(x) + x**-2, (x,), DOMAIN, namespace)(4)) == 2.0625


def test_torch_keeps_the_type_of_what_does_not_depend_on_it():
    single = torch.ones(2, 3)
    assert lambdify(sp.Integer(3), (x,), DOMAIN, torch)(single).dtype == torch.float32
    assert lambdify(x ** Rational(1, 3) + pi, (x,), DOMAIN, torch)(single).dtype == torch.float32
    assert lambdify(Max(x, 2), (x,), DOMAIN, torch)(single).tolist() == [[2.0] * 3] * 2


def test_a_failure_of_sympy_is_no_function():
    with pytest.raises(Undecided, match="SymPy fails to carry out Limit"):
        lambdify(sp.Limit(Max(x, lam / x), x, 0), (lam,), DOMAIN)(1.0)


def test_numpy_needs_no_scipy():
    code = (
        "import sys; sys.modules['scipy'] = None\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'scipy' else find(name, *a)\n"
        "import sympy as sp\nfrom proofbook.derive import Domain, lambdify\n"
        "x = sp.Symbol('x', real=True)\nprint(float(lambdify(sp.exp(x), (x,), Domain({x: (0, 1)}))(0)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "1.0\n"
    )


def written_out(formula, arguments):
    """The same by mpmath, whose sums are written out entry by entry."""
    made = lambdify(formula, arguments, DOMAIN, "mpmath")

    def value(*values):
        with mp.workdps(40):
            return float(made(*(x.tolist() if np.ndim(x) else float(x) for x in values)))

    return value


@pytest.mark.parametrize(
    "formula",
    [
        Sum(exp(lam * s[i]), (i, 1, n)),
        Sum(s[i] * Sum(exp(s[j] - s[i]) * t[j], (j, 1, n)), (i, 1, n)),
        Sum(s[i] * t[j] * (s[i] + 2 * t[j]), (i, 1, n), (j, 1, n)),
        Sum(s[i] ** 2, (i, 2, n)) - Sum(s[i], (i, 1, 2)),
        Sum(lam * x, (i, 1, n)) + Sum(s[j], (i, 1, n), (j, 1, 3)),
        Sum(s[n] * s[i] / (n + s[1] ** 2), (i, 1, n)),
        sp.Product(2 + s[i] * lam, (i, 1, n)) + sp.Product(3 + lam, (i, 1, n)),
        MaxOver(s[i] * lam - t[i], (i, 1, n)) + MinOver(Abs(s[i] - x), (i, 2, 4)),
        Sum(Max(s[i], t[i], Rational(1, 10)), (i, 1, n)),
        log(Sum(exp(s[i]), (i, 1, n))) - Sum(exp(s[i]) * s[i], (i, 1, n)) / Sum(exp(s[i]), (i, 1, n)),
        Sum((1 / n) ** s[i], (i, 1, n)),
        sp.Derivative(Sum(exp(lam * s[i]), (i, 1, n)), lam),  # these are written out
        Sum(i * s[i], (i, 1, n)),
        Sum(s[i], (i, 1, n)) + Sum(2, (i, 1, n)),
        Sum(s[i] * sp.KroneckerDelta(i, 2), (i, 1, n)),
    ],
)
@pytest.mark.parametrize("length", [4, 7])
def test_sums_along_axes_and_written_out_are_the_same(formula, length):
    scores = normal_rows(3, 2, length)
    others = normal_rows(2, length, seed=1)
    factor, shift = 0.5 + normal_rows(3, 1, seed=2) ** 2, 0.75
    arguments = (lam, x, s, t)
    direct = written_out(formula, arguments)
    for namespace, values in (
        ("numpy", (factor, shift, scores, others)),
        (torch, (torch.tensor(factor), shift, torch.tensor(scores), torch.tensor(others))),
    ):
        found = lambdify(formula, arguments, DOMAIN, namespace)(*values)
        assert tuple(found.shape) == (3, 2)
        for a in range(3):
            for b in range(2):
                expected = direct(factor[a, 0], shift, scores[a, b], others[b])
                assert abs(float(found[a, b]) - expected) <= 1e-12 * max(1, abs(expected))


def normal_rows(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_a_long_row_is_not_written_out(monkeypatch):
    """16,384 terms that SymPy writes out take seconds, for one entropy."""
    monkeypatch.setattr(sys.modules["proofbook.derive.lambdify"], "at_size", None)
    scores = normal_rows(2, 16384)
    found = lambdify(H(lam), (lam, s), DOMAIN, "numpy")(1.0, scores)
    np.testing.assert_allclose(found, entropy(torch.tensor(scores), torch.ones(2)), **CLOSE)


@pytest.mark.parametrize(
    "formula, message",
    [
        (Sum(s[i], (i, 1, 6)), "lies outside a vector of 5 entries"),
        (Sum(s[6] + s[i], (i, 1, n)), "lies outside a vector of 5 entries"),
        (Sum(s[i] * t[i], (i, 1, n)), "arguments must name"),
        (Sum(s[i] * x, (i, 1, n)), "arguments must name x"),
        (Sum(s[j], (i, 1, n)), "has an index with no value"),
        (Sum(Function("g")(s[i]), (i, 1, n)), "nobody defined g"),
        (Sum(s[i], (i, 0, n)), "runs from 0|lies outside"),
    ],
)
@pytest.mark.parametrize("namespace", ["numpy", torch])
def test_a_sum_that_has_no_value_is_refused_whichever_way_it_is_added_up(namespace, formula, message):
    with pytest.raises(ValueError, match=message):
        lambdify(formula, (lam, s), DOMAIN, namespace)(
            1.0, np.ones(5) if namespace == "numpy" else torch.ones(5)
        )


def test_vectors_of_two_lengths_are_refused():
    with pytest.raises(ValueError, match="one length, got 3 and 5"):
        lambdify(s[1] + t[1], (s, t), DOMAIN, "numpy")([1, 2, 3], [1, 2, 3, 4, 5])


def test_a_library_without_a_reduction_writes_out():
    names = ("asarray", "float64", "finfo", "full_like", "broadcast_shapes", "broadcast_to", "sqrt", "exp")
    few = types.SimpleNamespace(__name__="few", **{name: getattr(np, name) for name in names})
    found = lambdify(Sum(exp(s[i]), (i, 1, n)), (s,), DOMAIN, few)(np.zeros((2, 5)))
    assert found.tolist() == [5, 5]


def test_gradients_flow_through_sums_along_axes():
    scores = rows(3).requires_grad_()
    formula = Sum(MaxOver(s[j], (j, 1, n)) * s[i] ** 2, (i, 1, n)) + sp.Product(s[i], (i, 1, n))
    assert torch.autograd.gradcheck(lambdify(formula, (s,), DOMAIN, torch), (scores,))
