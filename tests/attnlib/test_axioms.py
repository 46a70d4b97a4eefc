"""The axioms hold where they are proved, and fall where they are false, by a checked counterexample."""

import math

import pytest
import torch

import attnlib as al
from attnlib import axioms, sparsity
from attnlib.errors import InvalidArgument

INF = math.inf
AXIOMS = ["D1", "D2", "D3", "D4", "P1", "P2"]


def star(q, p):
    return lambda x: sparsity.s_star(x, q, p)


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


def perplexity(order):
    """e^H / n, perfect for every order in (0, inf): 9595-C16."""
    return lambda x: torch.exp(al.renyi_entropy(x / x.sum(-1, keepdim=True), order)) / x.shape[-1]


@pytest.mark.parametrize(
    "measure",
    [
        star(1, 2),
        star(0.5, 2),
        star(1, 1.1),
        star(0.5, INF),
        star(0.3, 1),
        perplexity(0.5),
        perplexity(1),
        perplexity(2),
    ],
)
def test_perfect_measures_pass_all_six(measure):
    assert axioms.check(measure, trials=60) == dict.fromkeys(AXIOMS)


@pytest.mark.parametrize(
    "measure, larger", [(star(1, 2), False), (sparsity.gini, True), (perplexity(1), False)]
)
def test_strictly_perfect_measures(measure, larger):
    assert axioms.check(measure, trials=60, strict=True, larger_is_sparser=larger) == dict.fromkeys(AXIOMS)


@pytest.mark.parametrize(
    "q, p, before, after",
    [
        (2, 3, (4, 3, 0), (4, 2, 1)),
        (1.5, 2, (6, 3, 0), (6, 2, 1)),
        (0.25, 0.5, (8, 5, *[1] * 30), (7, 6, *[1] * 30)),
    ],
)
def test_counterexamples_of_9595_c15(q, p, before, after):
    found = axioms.robin_hood(star(q, p), vector(*before))
    assert found.axiom == "D1"
    assert found.before.tolist() == list(before) and found.after.tolist() == list(after)
    assert found.value_after < found.value_before
    assert found.value_before == sparsity.s_star(vector(*before), q, p).item()
    assert found.value_after == sparsity.s_star(vector(*after), q, p).item()


@pytest.mark.parametrize("q, p", [(2, 3), (1.5, 2), (2, INF), (0.25, 0.5), (0.3, 0.9)])
def test_random_search_refutes_d1_outside_q_1_p_and_nothing_else(q, p):
    found = axioms.check(star(q, p))
    assert [axiom for axiom in AXIOMS if found[axiom]] == ["D1"]
    before, after = found["D1"].before, found["D1"].after
    moved = torch.nonzero(before != after).squeeze(-1)
    assert len(moved) == 2
    (i, j), amount = moved[before[moved].argsort(descending=True)], (before - after)[moved].abs()
    assert torch.allclose(amount[0], amount[1], rtol=1e-9) and amount[0] < (before[i] - before[j]) / 2 * (
        1 + 1e-9
    )


def test_long_vectors_are_thinned(generator):
    x = torch.rand(2000, generator=generator, dtype=torch.float64)
    assert axioms.check(star(1, 2), x) == dict.fromkeys(AXIOMS)
    x[:3] = vector(400, 300, 0)
    assert axioms.robin_hood(star(2, 3), x) is not None


def test_two_entries_never_refute_d1(generator):
    x = torch.rand(200, 2, generator=generator, dtype=torch.float64)
    for q, p in [(2, 3), (0.25, 0.5)]:
        assert axioms.robin_hood(star(q, p), x) is None


def test_s0_satisfies_d1_weakly_only():
    assert axioms.check(sparsity.s0) == dict.fromkeys(AXIOMS)
    found = axioms.check(sparsity.s0, strict=True)
    assert [axiom for axiom in AXIOMS if found[axiom]] == ["D1"]
    assert found["D1"].value_after == pytest.approx(found["D1"].value_before, rel=1e-12)


@pytest.mark.parametrize("p", [1.5, 2, 3])
def test_s_lacks_cloning_by_exactly_two_to_the_minus_one_over_p(p):
    found = axioms.check(lambda x: sparsity.s(x, p), trials=40)
    assert [axiom for axiom in AXIOMS if found[axiom]] == ["D4"]
    assert found["D4"].value_after / found["D4"].value_before == pytest.approx(2 ** (-1 / p), rel=1e-14)


@pytest.mark.parametrize(
    "measure, broken",
    [
        (lambda x: x.sum(-1), ["D1 strict", "D2", "D4", "P1", "P2 strict"]),
        (lambda x: -sparsity.s_star(x), ["D1", "D3", "P1", "P2"]),
        (lambda x: x.amax(-1), ["D1", "D2", "P1", "P2 strict"]),
        (lambda x: (x > 0).sum(-1).double(), ["D1 strict", "D3 strict", "D4", "P1 strict", "P2 strict"]),
        (lambda x: sparsity.gini(x), ["D1", "D3", "P1", "P2"]),
    ],
)
def test_bad_measures_are_told_apart(measure, broken):
    weak, strict = axioms.check(measure, trials=20), axioms.check(measure, trials=20, strict=True)
    assert [a for a in AXIOMS if weak[a]] == [b for b in broken if "strict" not in b]
    assert [a for a in AXIOMS if strict[a]] == [b.removesuffix(" strict") for b in broken]
    for name, found in strict.items():
        assert found is None or found.axiom == name


def test_no_scale_free_measure_has_strict_p1_on_one_hot():
    for measure, larger in [(star(1, 2), False), (sparsity.gini, True), (sparsity.s0, False)]:
        found = axioms.bill_gates(measure, vector(0, 3, 0), strict=True, larger_is_sparser=larger)
        assert found.axiom == "P1" and found.value_after == pytest.approx(found.value_before, rel=1e-15)
        assert axioms.bill_gates(measure, vector(1, 3, 0), strict=True, larger_is_sparser=larger) is None


def test_constant_vectors_are_exempt_from_d3_and_have_no_d1_move():
    assert axioms.rising_tide(sparsity.s_star, vector(2, 2, 2), strict=True) is None
    assert axioms.robin_hood(sparsity.s_star, vector(2, 2, 2), strict=True) is None


def test_generator_reproduces_and_given_vectors_are_left_alone():
    a = axioms.robin_hood(star(2, 3), generator=torch.Generator().manual_seed(7))
    b = axioms.robin_hood(star(2, 3), generator=torch.Generator().manual_seed(7))
    assert torch.equal(a.before, b.before) and torch.equal(a.after, b.after)
    x = torch.tensor([[1.0, 1.0, 1.0], [4.0, 3.0, 0.0]])
    found = axioms.robin_hood(star(2, 3), x)
    assert found.before.tolist() == [4.0, 3.0, 0.0] and found.before.dtype == torch.float64
    assert x.tolist() == [[1.0, 1.0, 1.0], [4.0, 3.0, 0.0]]


X = torch.tensor([1.0, 2.0])
S = sparsity.s_star


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: axioms.robin_hood(2, X), TypeError, "measure must be callable, got int"),
        (
            lambda: axioms.robin_hood(lambda x: 1.0, X),
            TypeError,
            "measure must return a torch.Tensor, got float",
        ),
        (lambda: axioms.robin_hood(lambda x: x, X), InvalidArgument, "measure must map shape"),
        (
            lambda: axioms.robin_hood(lambda x: x.sum(-1) * math.nan, X),
            InvalidArgument,
            "measure returned NaN",
        ),
        (lambda: axioms.robin_hood(S, [1.0]), TypeError, "x must be a torch.Tensor"),
        (lambda: axioms.robin_hood(S, torch.tensor([1, 2])), TypeError, "x must have a floating-point dtype"),
        (lambda: axioms.babies(S, -X), InvalidArgument, "x must be non-negative, got -1.0"),
        (lambda: axioms.babies(S, torch.zeros(2)), InvalidArgument, "x must have a non-zero entry"),
        (lambda: axioms.babies(S, torch.zeros(0)), InvalidArgument, "x must have at least one entry"),
        (lambda: axioms.babies(S, torch.ones(2, 2, 2)), InvalidArgument, "x must be a vector"),
        (lambda: axioms.babies(S, torch.tensor([1.0, INF])), InvalidArgument, "x must be finite, got inf"),
        (lambda: axioms.check(S, trials=0), InvalidArgument, "trials must be at least 1, got 0"),
        (lambda: axioms.check(S, trials=1.5), TypeError, "trials must be an int, got float"),
        (lambda: axioms.check(S, rtol=-1.0), InvalidArgument, "rtol must lie in"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
