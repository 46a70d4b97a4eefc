"""Calls of row statistics with every option, and their comparison with float64, for the tests of each kernel.

On a GPU if ATTNLIB_TEST_DEVICE=cuda.
"""

import math
import os

import torch

import attnlib as al

DEVICE = os.environ.get("ATTNLIB_TEST_DEVICE", "cpu")
INF = math.inf
N_Q, N_K = 23, 37
ORDERS = (0.5, 1.1, 2.0, INF)


def draw(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(DEVICE, dtype)


def inputs(n_q=N_Q, n_k=N_K, d=7, dv=5, heads=3, key_heads=None, batch=2, dtype=torch.float64):
    return (
        draw(batch, heads, n_q, d, seed=1, dtype=dtype),
        draw(batch, key_heads or heads, n_k, d, seed=2, dtype=dtype),
        draw(batch, key_heads or heads, n_k, dv, seed=3, dtype=dtype),
    )


def segments(n, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 3, (2, n), generator=generator).sort(dim=-1).values.to(DEVICE)


def fields(found):
    """Output and every statistic by name."""
    statistics = found.statistics._asdict()
    renyi = {f"renyi {order}": x for order, x in statistics.pop("renyi").items()}
    return {"output": found.output, **statistics, **renyi}


def loss(found):
    """A number that every field of every row enters with a weight of its own."""
    return sum(
        (draw(*x.shape, seed=i, dtype=x.dtype) * x.masked_fill(x == -INF, 0)).sum()
        for i, (_, x) in enumerate(sorted(fields(found).items()))
    )


def compare(impl, q, k, v, tolerance=1e-11, **options):
    """All fields, and the gradients of every tensor that may have one, with those of the reference."""
    learned = {name: x for name, x in options.items() if _is_real(x)}
    leaves = [x.detach().requires_grad_() for x in (q, k, v, *learned.values())]
    given = {**options, **dict(zip(learned, leaves[3:]))}
    got, want = (
        al.softmax_attention_with_statistics(*leaves[:3], orders=ORDERS, impl=name, **given)
        for name in (impl, "reference")
    )
    for name, x in fields(got).items():
        close(x, fields(want)[name], tolerance, name)
    gradients = (torch.autograd.grad(loss(x), leaves, allow_unused=True) for x in (got, want))
    for name, x, y in zip(("q", "k", "v", *learned), *gradients):
        assert (x is None) == (y is None), name
        if x is not None:
            close(x, y, 10 * tolerance, f"gradient of {name}")


def compare_narrow(impl, q, k, v, **options):
    """Twice the error of ``blockwise`` in the same dtype, or a few units in the last place of float32."""
    errors = {}
    for name in (impl, "blockwise"):
        leaves = [x.detach().requires_grad_() for x in (q, k, v)]
        wide = [x.detach().double().requires_grad_() for x in (q, k, v)]
        got = al.softmax_attention_with_statistics(*leaves, impl=name, **options)
        exact = {n: x.double() if _is_real(x) else x for n, x in options.items()}
        want = al.softmax_attention_with_statistics(*wide, impl="reference", **exact)
        assert all(x.dtype == q.dtype for x in fields(got).values())
        pairs = {field: (x, fields(want)[field]) for field, x in fields(got).items()}
        for of, x, y in zip(
            "qkv",
            torch.autograd.grad(got.statistics.entropy.sum() + got.output.sum(), leaves),
            torch.autograd.grad(want.statistics.entropy.sum() + want.output.sum(), wide),
        ):
            pairs[f"gradient of {of}"] = (x, y)
        errors[name] = {key: (x.double() - y).abs().max().item() for key, (x, y) in pairs.items()}
        sizes = {key: y.abs().max().item() for key, (_, y) in pairs.items()}
    for key, error in errors[impl].items():
        slack = 8 * torch.finfo(torch.float32).eps * max(1, sizes[key])
        assert error <= 2 * errors["blockwise"][key] + slack, (key, error, errors["blockwise"][key])


def _is_real(x):
    return isinstance(x, torch.Tensor) and x.is_floating_point()


def close(x, y, tolerance, name):
    torch.testing.assert_close(
        x.double(), y.double(), rtol=tolerance, atol=tolerance, msg=lambda m: f"{name}: {m}"
    )


OPTIONS = {
    "plain": {},
    "causal": {"is_causal": True},
    "mask": {"attn_mask": draw(2, 1, N_Q, N_K, seed=4) > 0.5},
    "padding": {"attn_mask": (torch.arange(N_K) < torch.tensor([5, N_K])[:, None])[:, None, None].to(DEVICE)},
    "column": {"attn_mask": (torch.arange(N_Q) % 3 > 0)[:, None].to(DEVICE)},
    "bias": {"attn_mask": draw(3, N_Q, N_K, seed=5)},
    "bias for all rows": {"attn_mask": draw(2, 1, 1, N_K, seed=5)},
    "bias and mask": {"attn_mask": draw(N_Q, N_K, seed=6).masked_fill(draw(N_Q, N_K, seed=7) > 1, -INF)},
    "cap": {"softcap": 1.5},
    "wide cap": {"softcap": 50.0},
    "window": {"window": 3},
    "sides": {"window": (18, 2)},
    "ahead": {"window": (0, 20)},
    "sliding": {"window": (6, 0), "is_causal": True},
    "sink": {"sink": draw(3, seed=8)},
    "documents": {"segment_ids": (segments(N_Q, 1), segments(N_K, 2))},
    "scale": {"scale": 1.7},
    "scale a row": {"scale": draw(3, N_Q, seed=9)},
    "negative scale": {"scale": -0.4},
    "rule": {"scale": lambda n, d: (n + 1).log() / d**0.5, "is_causal": True},
    "all": {
        "softcap": 2.0,
        "window": (9, 4),
        "is_causal": True,
        "sink": draw(3, seed=8),
        "segment_ids": (segments(N_Q, 1), segments(N_K, 2)),
        "attn_mask": draw(2, 1, N_Q, N_K, seed=7).masked_fill(draw(N_Q, N_K, seed=9) > 1, -INF),
        "scale": 1.3,
    },
}
