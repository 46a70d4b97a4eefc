"""The models of the length experiment against formulas written out in float64.

Where no tolerance is said, numbers of size one go through fewer than 1000 roundings of float64: 1e-12 leaves
a factor of ten.
"""

import math

import mpmath
import pytest
import torch
from experiments_corpus import TINY

from attnlib import softmax_attention
from attnlib.errors import InvalidArgument
from attnlib.scale import sqrt_d
from experiments.arms import TRAININGS
from experiments.attention import Relu2, Softmax
from experiments.models import GatedAttentionUnits, RoFormer, rotate
from experiments.training import build_model

ROFORMER = next(one for one in TRAININGS if one.name == "O")
GAU = next(one for one in TRAININGS if one.name == "gau-softmax")
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def normal(generator, *shape: int, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=generator, dtype=dtype)


def rough(model: torch.nn.Module, generator) -> torch.nn.Module:
    """The model in float64, with noise on every weight: gains of one and biases of zero hide mistakes."""
    model = model.double().eval().requires_grad_(False)
    for weight in model.parameters():
        weight += 0.2 * normal(generator, *weight.shape)
    return model


@pytest.fixture
def roformer(generator):
    return rough(RoFormer(vocabulary=50, width=24, layers=2, heads=3), generator)


@pytest.fixture
def gau(generator):
    return rough(GatedAttentionUnits(vocabulary=50, width=24, layers=1, key_width=10), generator)


@pytest.fixture
def tokens(generator):
    return torch.randint(0, 50, (3, 17), generator=generator)


def test_rotate_depends_on_distance_only(generator):
    d, n = 6, 111
    q, k = normal(generator, 2, d)
    turned_q, turned_k = rotate(q.expand(n, d)), rotate(k.expand(n, d))
    found = turned_q @ turned_k.T
    # A pair as a complex number z turns by e^{i n theta}; q.k is the real part of z_q conj(z_k).
    with mpmath.workdps(50):
        pairs = [
            mpmath.mpc(*q[j : j + 2].tolist()) * mpmath.mpc(*k[j : j + 2].tolist()).conjugate()
            for j in (0, 2, 4)
        ]
        theta = [mpmath.mpf(10_000) ** (-mpmath.mpf(j) / d) for j in (0, 2, 4)]
        expected = {
            distance: float(
                mpmath.re(sum(z * mpmath.expj(distance * t) for z, t in zip(pairs, theta, strict=True)))
            )
            for distance in range(1 - n, n)
        }
    dense = torch.tensor(
        [[expected[row - column] for column in range(n)] for row in range(n)], dtype=torch.float64
    )
    # The angle of the fastest pair is n at most, rounded three times on each side.
    torch.testing.assert_close(found, dense, rtol=0, atol=8 * n * 2**-53 * (q.norm() * k.norm()).item())


def test_rotate_keeps_norms_and_the_first_position(generator):
    x = normal(generator, 2, 3, 63, 8)
    turned = rotate(x)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1), **EXACT)
    assert torch.equal(turned[..., 0, :], x[..., 0, :])
    assert not torch.allclose(turned[..., 1:, :], x[..., 1:, :])


@pytest.mark.parametrize("dtype, roundings", [(torch.float32, 4), (torch.bfloat16, 1.01)])
def test_rotate_in_low_precision(generator, dtype, roundings):
    """Far positions too: sine, cosine, product and sum are rounded, half precision only at its end."""
    x = normal(generator, 2048, 16, dtype=dtype)
    turned = rotate(x)
    assert turned.dtype == dtype
    # Half a unit in the last place of a number below the norm of its pair.
    size = x.double().unflatten(-1, (-1, 2)).norm(dim=-1).repeat_interleave(2, dim=-1)
    error = (turned.double() - rotate(x.double())).abs()
    assert (error <= roundings * torch.finfo(dtype).eps * size).all()


def test_rotate_needs_pairs():
    with pytest.raises(InvalidArgument, match="d must be even to be rotated in pairs, got 5"):
        rotate(torch.zeros(4, 5))


def layer_norm(x, module):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * module.weight + module.bias


def silu(x):
    return x / (1 + (-x).exp())


def gelu(x):
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def dense_roformer(model, ids, d):
    """One sequence, head by head, with the matrix of weights."""
    x = model.embedding.weight[ids]
    for layer in model.layers:
        projected = layer_norm(x, layer.attention_norm) @ layer.project.weight.T + layer.project.bias
        q, k, v = projected.split(x.shape[-1], dim=-1)
        heads = []
        for start in range(0, x.shape[-1], d):
            part = slice(start, start + d)
            scores = rotate(q[:, part]) @ rotate(k[:, part]).T / math.sqrt(d)
            heads.append(scores.softmax(-1) @ v[:, part])
        x = x + torch.cat(heads, -1) @ layer.combine.weight.T + layer.combine.bias
        inner = gelu(layer_norm(x, layer.network_norm) @ layer.expand.weight.T + layer.expand.bias)
        x = x + inner @ layer.contract.weight.T + layer.contract.bias
    return layer_norm(x, model.norm)


def dense_gau(model, ids, width, key_width, weights):
    """Hua et al.: O = (U * A V) W with U, V, Z = silu(X W), and A from two gains and shifts of Z."""
    x = model.embedding.weight[ids]
    for layer in model.layers:
        wide = silu(layer_norm(x, layer.norm) @ layer.project.weight.T + layer.project.bias)
        u, v, z = wide[:, : 2 * width], wide[:, 2 * width : 4 * width], wide[:, 4 * width :]
        assert z.shape[-1] == key_width
        q, k = rotate(z * layer.gain[0] + layer.shift[0]), rotate(z * layer.gain[1] + layer.shift[1])
        attended = weights(q @ k.T / math.sqrt(key_width)) @ v
        x = x + (u * attended) @ layer.combine.weight.T + layer.combine.bias
    return layer_norm(x, model.norm)


def test_roformer_is_the_formula(roformer, tokens):
    found = roformer(tokens, Softmax(sqrt_d))
    assert found.shape == (3, 17, 24)
    for states, ids in zip(found, tokens, strict=True):
        torch.testing.assert_close(states, dense_roformer(roformer, ids, d=8), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    "attention, weights",
    [
        (Softmax(sqrt_d), lambda scores: scores.softmax(-1)),
        (Relu2("length"), lambda scores: scores.clamp(min=0) ** 2 / scores.shape[-1]),
        (Relu2(9), lambda scores: scores.clamp(min=0) ** 2 / 9),
    ],
)
def test_gau_is_the_formula(gau, tokens, attention, weights):
    found = gau(tokens, attention)
    assert found.shape == (3, 17, 24)
    for states, ids in zip(found, tokens, strict=True):
        torch.testing.assert_close(states, dense_gau(gau, ids, 24, 10, weights), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", ["roformer", "gau"])
def test_fused_attention_in_a_model_is_the_reference(name, request, tokens):
    model = request.getfixturevalue(name)

    def reference(layer, q, k, v):
        return softmax_attention(q, k, v, impl="reference")

    torch.testing.assert_close(
        model(tokens, Softmax(sqrt_d)), model(tokens, reference), rtol=1e-11, atol=1e-11
    )


@pytest.mark.parametrize("name", ["roformer", "gau"])
def test_sequences_do_not_see_each_other(name, request, tokens):
    model = request.getfixturevalue(name)
    states, order = model(tokens, Softmax(sqrt_d)), torch.tensor([2, 0, 1])
    torch.testing.assert_close(model(tokens[order], Softmax(sqrt_d)), states[order], **EXACT)
    torch.testing.assert_close(model(tokens[1:2], Softmax(sqrt_d)), states[1:2], **EXACT)


@pytest.mark.parametrize("name", ["roformer", "gau"])
def test_one_token_repeated_looks_the_same_everywhere_and_at_every_length(name, request):
    """Shares of one and the same value are that value, whatever the positions and how many there are."""
    model = request.getfixturevalue(name)
    short, long = (model(torch.full((1, n), 7), Softmax(sqrt_d)) for n in (3, 31))
    torch.testing.assert_close(long, short[:, :1].expand(1, 31, 24), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", ["roformer", "gau"])
def test_places_are_told_apart_only_by_distance(name, request, tokens):
    """The states of a passage do not change if another, hidden from it, stands before it."""
    model = request.getfixturevalue(name)
    ids = tokens[:1]

    def second_part(layer, q, k, v):
        apart = torch.ones(17, 17, dtype=torch.bool)
        apart[:6, 6:] = apart[6:, :6] = False
        return softmax_attention(q, k, v, attn_mask=apart)

    alone = model(ids[:, 6:], Softmax(sqrt_d))
    torch.testing.assert_close(model(ids, second_part)[:, 6:], alone, rtol=1e-11, atol=1e-11)
    assert not torch.allclose(model(ids.flip(1), Softmax(sqrt_d)).flip(1), model(ids, Softmax(sqrt_d)))


@pytest.mark.parametrize("name, layers, heads, d, d_v", [("roformer", 2, 3, 8, 8), ("gau", 2, 1, 10, 48)])
def test_attention_is_told_the_layer_and_gets_heads(name, layers, heads, d, d_v, request, tokens):
    seen = []

    def attention(layer, q, k, v):
        seen.append((layer, tuple(q.shape), tuple(k.shape), tuple(v.shape)))
        return v

    request.getfixturevalue(name)(tokens, attention)
    keys, values = (3, heads, 17, d), (3, heads, 17, d_v)
    assert seen == [(layer, keys, keys, values) for layer in range(layers)]


def test_scores_are_those_of_the_embedding(roformer, generator):
    hidden = normal(generator, 5, 24)
    expected = [
        [sum(h * e) + b for e, b in zip(roformer.embedding.weight, roformer.bias, strict=True)]
        for h in hidden
    ]
    torch.testing.assert_close(roformer.scores(hidden), torch.tensor(expected, dtype=torch.float64), **EXACT)


def test_width_must_give_each_head_pairs():
    with pytest.raises(InvalidArgument, match=r"width must be a multiple of 2 \* heads = 6, got 9"):
        RoFormer(vocabulary=50, width=9, layers=1, heads=3)


def weights(training, seed: int) -> list[torch.Tensor]:
    return list(build_model(training, TINY, seed).state_dict().values())


@pytest.mark.parametrize("training", [ROFORMER, GAU])
def test_an_untrained_model_depends_on_its_seed_alone(training):
    torch.manual_seed(1)
    one = weights(training, 5)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    torch.rand(3)
    again, other = weights(training, 5), weights(training, 6)
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)  # and it leaves the others' random numbers alone


def test_trainings_of_one_architecture_start_alike():
    by_model = {}
    for training in TRAININGS:
        by_model.setdefault(training.model, []).append(weights(training, 0))
    assert {name: len(models) for name, models in by_model.items()} == {"roformer": 3, "gau": 3}
    for first, *others in by_model.values():
        assert all(torch.equal(a, b) for other in others for a, b in zip(first, other, strict=True))


def test_sizes_of_a_preset_reach_the_model():
    roformer, gau = build_model(ROFORMER, TINY, 0), build_model(GAU, TINY, 0)
    assert len(roformer.layers) == TINY.layers and len(gau.layers) == 2 * TINY.layers
    assert roformer.embedding.weight.shape == gau.embedding.weight.shape == (TINY.vocabulary, TINY.width)
    assert roformer.layers[0].heads == TINY.heads and gau.layers[0].gain.shape == (2, TINY.key_width)
