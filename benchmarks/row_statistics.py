"""Row statistics by ``impl="fused"`` (tiles on a CPU, kernels on CUDA) against attention's output alone and against the rows written out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

import attnlib
from benchmarks.harness import Case, bar, compare, peak_bytes, show

HEADS, D = 4, 64
LONGEST_WRITTEN_OUT = 4096
LONGEST_ALL_HEADS = 16384  # beyond, one head and the forward pass alone: a minute's work as it is
PEER = "output only (SDPA)"


def heads_at(n: int) -> int:
    return HEADS if n <= LONGEST_ALL_HEADS else 1


def tensors(
    n: int, device: str, *, heads: int = HEADS, requires_grad: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    return tuple(
        torch.randn(1, heads, n, D, generator=generator).to(device).requires_grad_(requires_grad)
        for _ in range(3)
    )


def written_out(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """lse and entropy of the rows, as one would write them."""
    logits = q @ k.mT / D**0.5
    log_p = torch.log_softmax(logits, dim=-1)
    return torch.logsumexp(logits, dim=-1), -(log_p.exp() * log_p).sum(dim=-1)


def products_alone(q: Tensor, k: Tensor, side: int = 512) -> None:
    """The matrix products of an exact forward and backward pass, tile by tile, and nothing between them.

    q k^T in each pass, dS k and dS^T q: what is left of the backward's time when all else is free.
    """
    q, k = q.detach()[0], k.detach()[0]
    tile = q.new_empty(len(q), side, side)
    shares = k.split(side, dim=1)
    grad_k = [torch.zeros_like(keys).mT.contiguous() for keys in shares]
    for rows in q.split(side, dim=1):
        grad_q = torch.zeros_like(rows)
        for keys, grad in zip(shares, grad_k, strict=True):
            torch.bmm(rows, keys.mT, out=tile)
            torch.bmm(rows, keys.mT, out=tile)
            grad_q.baddbmm_(tile, keys)
            grad.baddbmm_(rows.mT, tile)


def check(n: int, device: str) -> None:
    """Nothing is timed before it is right: some rows against float64."""
    q, k, v = tensors(n, device, heads=heads_at(n))
    some = slice(0, None, max(1, n // 64))
    got = attnlib.row_statistics(q, k)
    want = attnlib.row_statistics(q[:, :, some], k, impl="reference")
    for name in ("lse", "entropy", "varentropy", "effective_tokens"):
        torch.testing.assert_close(getattr(got, name)[:, :, some], getattr(want, name), rtol=1e-4, atol=1e-4)
    output, rows = attnlib.softmax_attention_with_statistics(q, k, v)
    torch.testing.assert_close(output, scaled_dot_product_attention(q, k, v), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(rows.entropy, got.entropy, rtol=1e-4, atol=1e-4)


def forward_cases(n: int, device: str) -> dict[str, Case]:
    q, k, v = tensors(n, device, heads=heads_at(n))
    cases = {
        PEER: lambda: scaled_dot_product_attention(q, k, v),
        "lse + entropy": lambda: attnlib.row_entropy(q, k),
        "all statistics": lambda: attnlib.row_statistics(q, k),
        "output + all statistics": lambda: attnlib.softmax_attention_with_statistics(q, k, v),
    }
    if n <= LONGEST_WRITTEN_OUT:
        cases["lse + entropy, written out"] = lambda: written_out(q, k)
    return cases


def backward_cases(n: int, device: str) -> dict[str, Case]:
    q, k, v = tensors(n, device, requires_grad=True)
    cases = {
        PEER: lambda: torch.autograd.grad(scaled_dot_product_attention(q, k, v).sum(), (q, k, v)),
        "entropy": lambda: torch.autograd.grad(attnlib.row_entropy(q, k).entropy.sum(), (q, k)),
        "its four matrix products alone": lambda: products_alone(q, k),
    }
    if n <= LONGEST_WRITTEN_OUT:
        cases["entropy, written out"] = lambda: torch.autograd.grad(written_out(q, k)[1].sum(), (q, k))
    return cases


def fused_case(n: int, device: str) -> Case:
    return forward_cases(n, device)["lse + entropy"]


def written_out_case(n: int, device: str) -> Case:
    return forward_cases(n, device)["lse + entropy, written out"]


def run(device: str, quick: bool) -> dict:
    results, bars = {}, []
    for n in (1024, 4096) if quick else (1024, 4096, 16384, 65536):
        check(n, device)
        rounds = 1 if n > LONGEST_ALL_HEADS else 3 if quick or n > LONGEST_WRITTEN_OUT else 9
        results[n] = {
            "forward": compare(forward_cases(n, device), against=PEER, device=device, rounds=rounds)
        }
        if n <= LONGEST_ALL_HEADS:
            results[n]["forward + backward"] = compare(
                backward_cases(n, device), against=PEER, device=device, rounds=rounds
            )
        for kind, table in results[n].items():
            show(f"n = {n}, {kind}, {heads_at(n)} heads of {D}, float32", table)
    arguments = {"n": LONGEST_WRITTEN_OUT, "device": device}
    fused, whole = (peak_bytes(case, arguments, device) for case in (fused_case, written_out_case))
    at_bar = results[LONGEST_WRITTEN_OUT]
    at_bar["peak bytes"] = {"lse + entropy": fused, "lse + entropy, written out": whole}
    forward, both = (
        {name: row[f"ratio to {PEER}"] for name, row in at_bar[kind].items()}
        for kind in ("forward", "forward + backward")
    )
    bars = [
        bar("lse + entropy against output only", forward["lse + entropy"], at_most=1.15),
        bar(
            "written out against lse + entropy",
            forward["lse + entropy, written out"] / forward["lse + entropy"],
            at_least=5,
        ),
        bar(
            "written out against entropy, forward + backward",
            both["entropy, written out"] / both["entropy"],
            at_least=5,
        ),
    ]
    if fused:
        bars.append(bar("peak memory, written out against lse + entropy", whole / fused, at_least=50))
    return {"results": results, "bars": bars}
