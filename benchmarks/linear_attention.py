"""Linear attention and the statistics of its rows against the n x n matrix and against softmax attention."""

from __future__ import annotations

import torch
from torch.nn.functional import elu, scaled_dot_product_attention

import attnlib
from benchmarks.harness import Case, compare, normal, show

HEADS, D = 4, 64
PEER = "linear attention"


def feature_map(x: torch.Tensor) -> torch.Tensor:
    return elu(x) + 1


def weights(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    a = feature_map(q) @ feature_map(k).mT
    return a / a.sum(dim=-1, keepdim=True)


def check(device: str) -> None:
    q, k, v = normal((1, HEADS, 600, D), device)
    for is_causal in (False, True):
        how = {"feature_map": feature_map, "is_causal": is_causal}
        want = attnlib.linear_attention(q, k, v, impl="reference", **how)
        torch.testing.assert_close(attnlib.linear_attention(q, k, v, **how), want, rtol=1e-4, atol=1e-5)
        rows = attnlib.linear_row_statistics(q, k, impl="reference", **how)
        torch.testing.assert_close(attnlib.linear_row_statistics(q, k, **how), rows, rtol=1e-4, atol=0)


def cases(n: int, device: str) -> dict[str, Case]:
    q, k, v = normal((1, HEADS, n, D), device)
    found = {
        PEER: lambda: attnlib.linear_attention(q, k, v, feature_map=feature_map),
        "causal": lambda: attnlib.linear_attention(q, k, v, feature_map=feature_map, is_causal=True),
        "row statistics": lambda: attnlib.linear_row_statistics(q, k, feature_map=feature_map),
    }
    if n <= 16384:
        found["softmax attention (SDPA)"] = lambda: scaled_dot_product_attention(q, k, v)
    if n <= 4096:
        found["linear attention, n x n"] = lambda: weights(q, k) @ v
        found["row statistics, n x n"] = lambda: 1 / weights(q, k).square().sum(dim=-1)
    return found


def run(device: str, quick: bool) -> dict:
    check(device)
    results = {}
    for n in (1024, 4096) if quick else (1024, 4096, 16384, 65536):
        rounds = 3 if quick or n > 4096 else 9
        results[n] = compare(cases(n, device), against=PEER, device=device, rounds=rounds)
        show(f"n = {n}, {HEADS} heads of {D}, features elu + 1, float32", results[n])
    return {"results": results, "bars": []}
