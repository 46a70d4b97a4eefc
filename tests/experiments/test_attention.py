"""The attentions of the length experiment and its arms, against matrices written out in float64.

Float64 keeps 16 digits; sums over at most 111 keys and a temperature found by a solver leave more than ten.
"""

import math
from dataclasses import replace

import pytest
import torch
from experiments_corpus import TINY, made_up_corpus
from scipy.optimize import brentq

from attnlib import scale as scales
from attnlib.errors import InvalidArgument
from experiments.arms import ARMS, KAPPA, TRAININGS, Training, arm
from experiments.attention import QUANTITIES, HeldEntropy, Inside, Measured, Relu2, Softmax
from experiments.presets import PRESETS
from experiments.training import train, weights_digest

LENGTHS = [63, 64, 111]
D, HEADS = 6, 3
CLOSE = {"rtol": 1e-10, "atol": 1e-10}
REACH = 32


def inputs(n: int, generator) -> tuple[torch.Tensor, ...]:
    """Two sequences of three heads; keys with a part in common, and scores far from one size in all rows."""
    q, k, v = torch.randn(3, 2, HEADS, n, D, generator=generator, dtype=torch.float64)
    size = torch.linspace(0.2, 3, n, dtype=torch.float64)[:, None]
    return size * q, k + 0.5, v


def rows_of(n: int):
    return [(b, h, i) for b in range(2) for h in range(HEADS) for i in range(n)]


def near(n: int, i: int) -> list[bool]:
    return [abs(i - j) < REACH for j in range(n)]


def deviation(x: torch.Tensor) -> float:
    return float((x - x.mean()).square().mean().sqrt())


def of_row(p: torch.Tensor, i: int) -> dict[str, float]:
    """What the shares p of one row tell."""
    band = p[near(len(p), i)]
    return {
        "entropy": float(torch.special.entr(p).sum()),
        "effective_tokens": 1 / float(p.square().sum()),
        "near": float(band.sum()),
        "needle": float(band.max()),
    }


def mean_by_head(rows: list[tuple[int, dict]]) -> dict[str, torch.Tensor]:
    """The mean of every quantity over the rows of a head that tell it."""
    heads = [[row for head, row in rows if head == h] for h in range(HEADS)]
    return {
        name: torch.tensor(
            [math.fsum(r[name] for r in head if name in r) / sum(name in r for r in head) for head in heads],
            dtype=torch.float64,
        )
        for name in QUANTITIES
    }


def assert_inside(found: Inside, expected: dict[str, torch.Tensor]) -> None:
    for name in QUANTITIES:
        torch.testing.assert_close(
            getattr(found, name), expected[name], **CLOSE, msg=lambda m, name=name: f"{name}: {m}"
        )


def softmax_oracle(q, k, scale, window=None):
    """The quantities and the weights under softmax, row by row."""
    n = k.shape[-2]
    p = torch.zeros(2, HEADS, n, n, dtype=torch.float64)
    rows = []
    for b, h, i in rows_of(n):
        scores = scale * (k[b, h] @ q[b, h, i])
        visible = torch.tensor([window is None or abs(i - j) < window for j in range(n)])
        e = (scores - scores.max()).exp() * visible
        p[b, h, i] = e / e.sum()
        rows.append((h, {"std": deviation(scores[visible]), "total": 1.0, **of_row(p[b, h, i], i)}))
    return mean_by_head(rows), p


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize(
    "attention, scale",
    [
        (lambda: Softmax(0.7), lambda n: 0.7),
        (lambda: Softmax(scales.sqrt_d), lambda n: D**-0.5),
        (lambda: Softmax(lambda n, d: math.log(n) / d), lambda n: math.log(n) / D),
    ],
    ids=["constant", "sqrt_d", "log_n"],
)
def test_softmax(n, attention, scale, generator):
    q, k, v = inputs(n, generator)
    expected, p = softmax_oracle(q, k, scale(n))
    assert_inside(attention().inside(0, q, k), expected)
    torch.testing.assert_close(attention()(0, q, k, v), p @ v, **CLOSE)


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("window", [40, 32, 5])
def test_softmax_in_a_window(n, window, generator):
    q, k, v = inputs(n, generator)
    attention = Softmax(scales.sqrt_d, window=window)
    expected, p = softmax_oracle(q, k, D**-0.5, window=window)
    assert_inside(attention.inside(0, q, k), expected)
    torch.testing.assert_close(attention(0, q, k, v), p @ v, **CLOSE)
    assert (expected["near"] > softmax_oracle(q, k, D**-0.5)[0]["near"]).all()
    if window <= 32:
        assert (attention.inside(0, q, k).near - 1).abs().max() < 1e-12


def entropy_at(gamma: float, scores: torch.Tensor) -> float:
    """The mean entropy of the rows of softmax(gamma * scores)."""
    return float(torch.special.entr((gamma * scores).softmax(-1)).sum(-1).mean())


def gamma_for(target: float, scores: torch.Tensor) -> float:
    return math.exp(brentq(lambda x: entropy_at(math.exp(x), scores) - target, -8, 8, xtol=1e-14, rtol=1e-14))


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("per", ["row", "head"])
def test_held_entropy(n, per, generator):
    q, k, v = inputs(n, generator)
    targets = torch.tensor([[9.0, 9.0, 9.0], [1.5, 2.0, 2.5]])  # nats, of two layers; nobody asks the first
    attention = HeldEntropy(targets, per=per)
    scores = q @ k.mT / math.sqrt(D)
    gamma = torch.empty(2, HEADS, n, 1, dtype=torch.float64)
    for b in range(2):
        for h in range(HEADS):
            target = targets[1, h].item()
            if per == "head":
                gamma[b, h] = gamma_for(target, scores[b, h])
            else:
                for i in range(n):
                    gamma[b, h, i] = gamma_for(target, scores[b, h, i])
    expected, p = softmax_oracle(gamma * q, k, D**-0.5)
    found = attention.inside(1, q, k)
    torch.testing.assert_close(found.entropy, targets[1].double(), **CLOSE)
    assert_inside(found, expected)
    torch.testing.assert_close(attention(1, q, k, v), p @ v, **CLOSE)
    spread = torch.special.entr(p).sum(-1) - targets[1][:, None]
    assert (spread.abs().max() < 1e-9) == (per == "row")  # a head holds its mean and lets its rows differ


def test_holding_the_entropy_that_is_there_changes_nothing(generator):
    q, k, v = (x[:1] for x in inputs(64, generator))
    plain = Softmax(scales.sqrt_d)
    held = HeldEntropy(plain.inside(0, q, k).entropy[None], per="head")
    torch.testing.assert_close(held(0, q, k, v), plain(0, q, k, v), rtol=1e-8, atol=1e-8)


def relu2_oracle(q, k, divisor):
    n = k.shape[-2]
    weights = torch.zeros(2, HEADS, n, n, dtype=torch.float64)
    rows = []
    for b, h, i in rows_of(n):
        scores = (k[b, h] @ q[b, h, i]) / math.sqrt(D)
        w = torch.where(scores > 0, scores**2, 0)
        total = float(w.sum())
        told = {"std": deviation(scores), "total": 0.0}
        if total:
            weights[b, h, i] = w / (total if divisor is None else divisor)
            told |= {"total": float(weights[b, h, i].sum()), **of_row(w / total, i)}
        rows.append((h, told))
    return mean_by_head(rows), weights


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("normalize", ["length", "sum", 50])
@pytest.mark.parametrize("with_empty_rows", [False, True])
def test_relu2(n, normalize, with_empty_rows, generator):
    q, k, v = inputs(n, generator)
    if with_empty_rows:  # rows that see every key from behind
        k[..., 0] = k[..., 0].abs() + 0.1
        q[0, :, ::7] = q[1, 1, :5] = -torch.eye(D, dtype=torch.float64)[0]
    expected, weights = relu2_oracle(q, k, {"length": n, "sum": None}.get(normalize, normalize))
    assert bool((weights.sum(-1) == 0).any()) == with_empty_rows
    attention = Relu2(normalize)
    assert_inside(attention.inside(0, q, k), expected)
    torch.testing.assert_close(attention(0, q, k, v), weights @ v, **CLOSE)


@pytest.mark.parametrize("per", ["row", "head"])
def test_an_entropy_is_held_under_autocast(per, generator):
    """In bfloat16 a target would be rounded by up to 0.4 %, and nothing could be held to it."""
    q, k, v = (x.bfloat16() for x in inputs(111, generator))
    attention = HeldEntropy(torch.tensor([[1.2345, 2.3456, 3.4567]]), per=per)
    expected = attention(0, q.float(), k.float(), v.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = attention(0, q, k, v)
    assert torch.equal(found, expected.bfloat16())


def test_a_head_without_any_weight_is_left_out(generator):
    """A head of which no row has a positive score has no shares, and a sum of weights of 0."""
    q, k, v = inputs(63, generator)
    k[..., 0] = k[..., 0].abs() + 0.1
    q[:, 1] = -torch.eye(D, dtype=torch.float64)[0]
    measured = Measured(Relu2("length"))
    measured(0, q, k, v)
    for name in QUANTITIES:
        assert measured.quantity(name)[0].isnan().tolist() == [False, name not in ("std", "total"), False]
    assert measured.quantity("total")[0, 1] == 0
    # A call in which it has some is the one that counts.
    seen = inputs(63, generator)
    measured(0, *seen)
    alone = Relu2("length").inside(0, *seen[:2])
    assert measured.quantity("near")[0, 1] == alone.near[1]


def test_inside_in_float32_is_that_in_float64(generator):
    """Sums of at most 111 terms and exponents of scores up to 30: 1e-4 is 1000 roundings of float32."""
    q, k, _ = inputs(111, generator)
    for attention in (
        Softmax(scales.sqrt_d),
        Relu2("length"),
        HeldEntropy(torch.full((1, HEADS), 2.0), per="row"),
    ):
        low, high = (
            attention.inside(0, q.to(dtype), k.to(dtype)) for dtype in (torch.float32, torch.float64)
        )
        for name in QUANTITIES:
            assert getattr(low, name).dtype == torch.float64
            torch.testing.assert_close(getattr(low, name), getattr(high, name), rtol=1e-4, atol=1e-4)


def test_measured_averages_over_calls_and_passes_the_output_on(generator):
    attention = Softmax(scales.sqrt_d)
    measured = Measured(attention)
    calls = [(layer, *inputs(n, generator)) for n in (63, 64) for layer in (1, 0)]
    for layer, q, k, v in calls:
        assert torch.equal(measured(layer, q, k, v), attention(layer, q, k, v))
    for name in QUANTITIES:
        found = measured.quantity(name)
        by_layer = [
            [getattr(attention.inside(layer, q, k), name) for layer, q, k, _ in calls if layer == wanted]
            for wanted in (0, 1)
        ]
        expected = torch.stack([(first + second) / 2 for first, second in by_layer])
        torch.testing.assert_close(found, expected, **CLOSE)


# The arms.


def test_the_scales_of_the_arms():
    """At n_train = 64, d = 32, by hand."""

    def scale(name: str, n: int) -> float:
        return arm(name).attention(64, None).scale(n, 32)

    root = math.sqrt(32)
    for n in (64, 128, 2048):
        assert scale("O", n) == pytest.approx(1 / root)
        assert scale("E", n) == pytest.approx(math.log(n) / math.log(512) / root)
        assert scale("E-normalised", n) == pytest.approx(math.log(n) / math.log(64) / root)
        assert scale("kappa", n) == pytest.approx(math.log(n) / 0.24 / 32)
        assert scale("infoscale", n) == pytest.approx(
            math.sqrt((1 - n ** (-1 / 16)) / (1 - 64 ** (-1 / 16))) / root
        )
        assert scale("sharper", n) == pytest.approx(1.5 / root)
        assert scale("window", n) == pytest.approx(1 / root)
        assert scale("gau-softmax", n) == pytest.approx(1 / root)
        assert scale("gau-softmax-log", n) == pytest.approx(math.log(n) / math.log(64) / root)
    assert KAPPA == 1 / 0.24
    assert arm("E").attention(64, None).scale(64, 32) == pytest.approx(2 / 3 / root)


def test_the_sphere_arm_holds_the_entropy_of_the_training_length():
    """H = log n - d/2 log w, w = (1 + sqrt(1 + 4 lambda^2)) / 2, annealed: the same at every n as at 64."""

    def entropy(n: int) -> float:
        lam = arm("sphere").attention(64, None).scale(n, 32)
        return math.log(n) - 16 * math.log((1 + math.sqrt(1 + 4 * lam**2)) / 2)

    assert entropy(128) == pytest.approx(entropy(64), rel=1e-12)
    assert entropy(2048) == pytest.approx(entropy(64), rel=1e-12)


def test_the_other_attentions_of_the_arms():
    entropies = torch.rand(1, 2)
    for name, per in (("entropy-row", "row"), ("entropy-head", "head")):
        held = arm(name).attention(64, entropies)
        assert held.per == per and held.targets is entropies
    assert arm("window").attention(64, None).window == 32
    divisors = {
        name: arm(name).attention(64, None).normalize
        for name in ("gau-relu2-n", "gau-relu2-train", "gau-relu2-sum")
    }
    assert divisors == {"gau-relu2-n": "length", "gau-relu2-train": 64, "gau-relu2-sum": "sum"}


SHARED = ["E-normalised", "sphere", "infoscale", "gau-softmax-log"]


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("n_train", [16, 64, 512])
def test_an_arm_that_shares_a_training_has_its_scale_at_the_training_length(name, n_train):
    """To a few roundings of float64, which in float32 is the same scale or the next."""
    for d in (2, 16, 32, 64, 128):
        shared, own = arm(name).attention(n_train, None), arm(name).training.attention(n_train)
        assert shared.scale(n_train, d) == pytest.approx(own.scale(n_train, d), rel=1e-13, abs=0)
        assert shared.window is own.window is None


@pytest.mark.parametrize("name", [*SHARED, "gau-relu2-train"])
def test_an_arm_that_shares_a_training_would_have_trained_the_same(name):
    """Trained with its own attention it has the weights of the training it shares, bit by bit at d = 16,
    where 1/sqrt(d) is exact; on the sphere the scale goes through exp and log, and the weights agree to the
    rounding of float32, which six steps of at most 3e-3 each cannot carry beyond a hundredth of one step."""
    preset, corpus, shares = replace(TINY, warmup=1), made_up_corpus(), arm(name).training
    own = Training(shares.name, shares.model, lambda n_train: arm(name).attention(n_train, None))
    one, other = (train(training, 0, preset, corpus) for training in (shares, own))
    if name != "sphere":
        assert weights_digest(one.model) == weights_digest(other.model)
        assert one.losses == other.losses
    for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=3e-5)
    # A factor of 1.5 on the scale is seen.
    if shares.name == "O":
        sharper = Training("O", "roformer", lambda n_train: arm("sharper").attention(n_train, None))
        assert weights_digest(train(sharper, 0, preset, corpus).model) != weights_digest(one.model)


def test_every_training_is_tested_as_it_was_trained_and_every_preset_knows_its_trainings():
    names = [one.name for one in ARMS]
    assert len(set(names)) == len(names) and all(arm(name).name == name for name in names)
    assert {one.name for one in TRAININGS} <= set(names)
    assert all(arm(one.name).training is one for one in TRAININGS)
    for preset in PRESETS.values():
        assert set(preset.trainings) <= {one.name for one in TRAININGS}


def test_unknown_arm():
    with pytest.raises(InvalidArgument, match="arm must be one of O, E, .*; got 'rope'"):
        arm("rope")
