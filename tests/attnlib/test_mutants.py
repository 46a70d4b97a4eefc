"""Errors that are easy to make and hard to see: a check for each kind, which the right code passes, and code
with the error planted in it does not."""

import importlib
import inspect
import math
import sys
import textwrap

import pytest
import torch

import attnlib as al
from attnlib._rows import blockwise
from attnlib._rows.passes import PASSES
from attnlib.errors import InvalidArgument, UnreachableEntropy


def draw(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def close(got, want, tolerance):
    torch.testing.assert_close(got.double(), want.double(), rtol=tolerance, atol=0)


def varentropy_of_even_rows():
    """Its own size is 1e-6, where the squares of what it is the variance of are 70."""
    q, k = torch.ones(1, 1), 1e-3 * draw(4096, 1)
    want = al.row_statistics(q.double(), k.double(), impl="reference").varentropy
    # log p is near -8.3, known to 5e-7, and its deviations are 1e-3: each square to 1e-3 of itself.
    for impl in ("fused", "blockwise", "reference"):
        close(al.row_statistics(q, k, impl=impl).varentropy, want, 5e-3)
    close(al.stream_row_statistics(q, k.split(512)).varentropy, want, 5e-3)


def varentropy_below_one_large_key():
    """The mean lies a bit below the largest logit, and the variance is a two-thousandth of its square."""
    q, k = torch.ones(1, 1), torch.cat([torch.zeros(1, 1), torch.full((4000, 1), -math.log(2))])
    share = 1 / 2001
    want = torch.tensor([share * (1 - share) * math.log(2) ** 2], dtype=torch.float64)
    for impl in ("fused", "blockwise", "reference"):
        close(al.row_statistics(q, k, impl=impl).varentropy, want, 2e-5)


def nearly_tied_keys():
    """A gap of 1e-6 is a gap: any entropy above 0 can be reached, and the largest is one key."""
    q, k = torch.ones(1, 1, dtype=torch.float64), torch.tensor([[0.0], [-1e-6], [-3.0]], dtype=torch.float64)
    scores, goal = (q @ k.mT)[0], 0.2
    close(al.entropy_temperature(q, k, goal).entropy, torch.tensor([goal]), 1e-7)
    close(
        al.softmax_entropy(scores, al.normalize_entropy_scores(scores, goal).gamma), torch.tensor(goal), 1e-7
    )
    made = al.normalize_entropy(torch.softmax(scores, -1), goal)
    close(al.shannon_entropy(made.p), torch.tensor(goal), 1e-7)
    for impl in ("fused", "blockwise", "reference"):
        keys = k.clone().requires_grad_()
        al.row_statistics(q, keys, impl=impl).max_logit.sum().backward()
        assert keys.grad.flatten().tolist() == [1.0, 0.0, 0.0]


def reachable(meet, target):
    try:
        meet(target)
    except UnreachableEntropy:
        return False
    return True


def slack_of_targets():
    """log k, written down in the dtype of the call or rounded once more, is met; a bit more is not."""
    for dtype in (torch.float32, torch.float64):
        q, k = draw(1, 4, dtype=dtype), draw(7, 4, seed=1, dtype=dtype)
        scores, eps = (q @ k.mT)[0], torch.finfo(dtype).eps
        for meet in (
            lambda target: al.entropy_temperature(q, k, target),
            lambda target: al.normalize_entropy_scores(scores, target),
            lambda target: al.normalize_entropy(torch.softmax(scores, -1), target),
        ):
            assert reachable(meet, math.log(7)) and reachable(meet, math.log(7) * (1 + eps))
            assert not reachable(meet, math.log(7) * (1 + 16 * eps))
            assert not reachable(meet, -16 * eps) and not reachable(meet, 0.0)


def targets_are_met():
    q, k = draw(6, 4, dtype=torch.float64), draw(9, 4, seed=1, dtype=torch.float64)
    for target in (0.3, 1.0, 2.0):
        got = al.entropy_temperature(q, k, target).entropy
        close(got, torch.full_like(got, target), 1e-12)


def gradients_through_a_state():
    q, k, v = (draw(6, 3, seed=seed, dtype=torch.float64) for seed in (1, 2, 3))
    k.requires_grad_()
    whole = al.linear_attention(q, k, v, feature_map=torch.exp, is_causal=True)
    _, state = al.linear_attention_stream(q[:4], k[:4], v[:4], feature_map=torch.exp)
    last, _ = al.linear_attention_stream(q[4:], k[4:], v[4:], feature_map=torch.exp, state=state)
    want, got = (torch.autograd.grad(x.square().sum(), k, retain_graph=True)[0] for x in (whole[4:], last))
    close(got, want, 1e-10)


def infinite_keys():
    k = draw(3, 4)
    k[1, 2] = math.inf
    for call in (al.row_entropy, al.row_statistics, al.key_statistics):
        with pytest.raises(InvalidArgument, match="k must be finite, got inf"):
            call(draw(2, 4), k)


def decay_of_nothing():
    with pytest.raises(InvalidArgument, match="decay"):
        al.decay_attention(draw(5, 2), 0.0)


def half_precision_is_computed_in_single():
    q, k = draw(8, 16, dtype=torch.bfloat16), draw(40, 16, seed=1, dtype=torch.bfloat16)
    want = al.row_statistics(q.double(), k.double(), impl="reference")
    half_a_place = torch.finfo(torch.bfloat16).eps / 2  # the result is rounded once
    for impl in ("fused", "blockwise"):
        got = al.row_statistics(q, k, impl=impl)
        for name in ("lse", "entropy", "varentropy", "sparsity"):
            close(getattr(got, name), getattr(want, name), 1.001 * half_a_place)


def the_reference_computes_in_double():
    q, k = draw(8, 16), draw(300, 16, seed=1)
    want = torch.special.entr(torch.softmax(q.double() @ k.double().mT / 4, -1)).sum(-1)
    assert torch.equal(al.row_entropy(q, k, impl="reference").entropy, want.float())


def keys_far_from_zero():
    """What all keys have in common adds to each logit of a row, and takes digits unless it is taken off."""
    q, k = draw(8, 16), 1e4 + draw(40, 16, seed=1)
    want = al.row_entropy(q.double(), k.double(), impl="reference").entropy
    for impl in ("fused", "blockwise"):
        close(al.row_entropy(q, k, impl=impl).entropy, want, 1e-5)


# What is checked, where the error is planted, what stands there and what would stand there.
MUTANTS = {
    "parts merged by cancellation": (
        varentropy_of_even_rows,
        "attnlib.streaming:combine",
        "total(share * (parts.varentropy + (surprise - entropy).square()))",
        "total(share * (parts.varentropy + surprise.square())) - entropy.square()",
    ),
    "written rows by cancellation": (
        varentropy_of_even_rows,
        "attnlib._rows.dense:WrittenRows.varentropy",
        "(self.p * deviation.square()).sum(dim=-1)",
        "(self.p * self.log_p.square()).sum(dim=-1) - self.entropy().square()",
    ),
    "what is nearly tied counts as tied by keys": (
        nearly_tied_keys,
        "attnlib._rows.dense:extremes",
        "s == top[..., None]",
        "s > top[..., None] - 1e-5",
    ),
    "what is nearly tied counts as tied in scores": (
        nearly_tied_keys,
        "attnlib.normalize:_solve",
        "(t == 0)",
        "(t < 1e-5)",
    ),
    "more slack for temperatures": (
        slack_of_targets,
        "attnlib.temperature:_check_reachable",
        "2 * torch.finfo",
        "64 * torch.finfo",
    ),
    "no slack for temperatures": (
        slack_of_targets,
        "attnlib.temperature:_check_reachable",
        "2 * torch.finfo",
        "0 * torch.finfo",
    ),
    "more slack for normalisation": (
        slack_of_targets,
        "attnlib.normalize:_solve",
        "2 * max(slack, eps)",
        "64 * max(slack, eps)",
    ),
    "no slack for normalisation": (
        slack_of_targets,
        "attnlib.normalize:_solve",
        "2 * max(slack, eps)",
        "0 * max(slack, eps)",
    ),
    "temperatures that stop early": (targets_are_met, "attnlib.temperature:_solve", "4 * eps", "1e12 * eps"),
    "a detached state": (
        gradients_through_a_state,
        "attnlib.linear:linear_attention_stream",
        "joined.to(phi_k)",
        "joined.detach().to(phi_k)",
    ),
    "keys not looked at": (
        infinite_keys,
        "attnlib._rows.layout:_check_inputs",
        "if readable(x)",
        'if name != "k" and readable(x)',
    ),
    "decay 0": (decay_of_nothing, "attnlib.attention:decay_attention", "low_open=True", "low_open=False"),
    "a lost upcast": (
        half_precision_is_computed_in_single,
        "attnlib._rows.engine:computing_dtype",
        "else at_least_float32(dtype)",
        "else dtype",
    ),
    "a reference in single precision": (
        the_reference_computes_in_double,
        "attnlib._rows.engine:computing_dtype",
        "torch.float64",
        "torch.float32",
    ),
    "keys not centred": (keys_far_from_zero, "attnlib._rows.engine:centred", "k=k - mean)", "k=k)"),
}
CHECKS = {
    *(check for check, *_ in MUTANTS.values()),
    # The tiles merge means that lie near the largest logit; their code is the engine's most often rewritten.
    varentropy_below_one_large_key,
}


@pytest.mark.parametrize("check", sorted(CHECKS, key=lambda check: check.__name__), ids=lambda x: x.__name__)
def test_the_right_code_passes(check):
    check()


def plant(monkeypatch, place, old, new):
    """Change a function or method, where ``place`` knows it, in one place of its source."""
    module, _, path = place.partition(":")
    *owner, name = path.split(".")
    holder = importlib.import_module(module)
    for part in owner:
        holder = getattr(holder, part)
    function = getattr(holder, name)
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1
    # A function of rows enters itself into these.
    for table in (blockwise._FUNCTIONS, PASSES):
        for key, value in table.items():
            monkeypatch.setitem(table, key, value)
    made = {}
    text = f"from __future__ import annotations\n{source.replace(old, new)}"
    exec(compile(text, "<planted>", "exec"), vars(sys.modules[function.__module__]), made)
    monkeypatch.setattr(holder, name, made[name])
    if getattr(al, name, None) is function:
        monkeypatch.setattr(al, name, made[name])


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_error_is_seen(name, monkeypatch):
    check, place, old, new = MUTANTS[name]
    plant(monkeypatch, place, old, new)
    # Some make what the library refuses by itself.
    with pytest.raises((AssertionError, InvalidArgument, pytest.fail.Exception)):
        check()
