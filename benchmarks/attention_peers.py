"""Output and statistics against attention kernels alone, and the share of the matrix rate that each achieves.

On CUDA flex attention and, where its package is installed, FlashAttention are peers; so is impl="triton".
"""

from __future__ import annotations

import importlib.util
import statistics
import time

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

import attnlib
from benchmarks.harness import Case, compare, show, synchronize

D = 64
PEER = "output only (SDPA)"
# n x n x d products that an exact pass cannot do without: scores alone, or scores and output.
PRODUCTS = {"lse + entropy": 1, "all statistics": 1}


def matrix_rate(device: str, dtype: torch.dtype, side: int, rounds: int = 5) -> float:
    """Floating-point operations a second in the product of two square matrices: the median of some rounds."""
    x, y = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    times = []
    for _ in range(rounds + 1):
        synchronize(device)
        start = time.perf_counter()
        torch.mm(x, y)
        synchronize(device)
        times.append(time.perf_counter() - start)
    return 2 * side**3 / statistics.median(times[1:])


def flash_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    from flash_attn import flash_attn_func

    return flash_attn_func(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2)


def cases(q: Tensor, k: Tensor, v: Tensor) -> dict[str, Case]:
    """What is timed: outputs as tensors, and attnlib's statistics."""
    named: dict[str, Case] = {
        PEER: lambda: scaled_dot_product_attention(q, k, v),
        "lse + entropy": lambda: attnlib.row_entropy(q, k),
        "all statistics": lambda: attnlib.row_statistics(q, k),
        "output + all statistics": lambda: attnlib.softmax_attention_with_statistics(q, k, v),
    }
    if q.device.type != "cuda":
        return named
    from torch.nn.attention.flex_attention import flex_attention

    flex = torch.compile(flex_attention)
    named["output only (flex attention)"] = lambda: flex(q, k, v)
    if importlib.util.find_spec("flash_attn") and q.dtype == torch.bfloat16:
        named["output only (FlashAttention)"] = lambda: flash_attention(q, k, v)
    if importlib.util.find_spec("triton"):
        named['output + all statistics, impl="triton"'] = lambda: attnlib.softmax_attention_with_statistics(
            q, k, v, impl="triton"
        )
    return named


def check(named: dict[str, Case], q: Tensor, k: Tensor, v: Tensor) -> None:
    """Nothing is timed before it is right: some rows of every case against float64."""
    some = slice(0, None, max(1, q.shape[-2] // 64))
    want = attnlib.softmax_attention_with_statistics(q[:, :, some], k, v, impl="reference")
    tolerance = {torch.float32: 1e-3, torch.bfloat16: 3e-2}[q.dtype]
    for name, case in named.items():
        found = case()
        if isinstance(found, Tensor):
            pairs = [(found, want.output)]
        elif isinstance(found, attnlib.AttentionWithStatistics):
            pairs = [(found.output, want.output), (found.statistics.entropy, want.statistics.entropy)]
            pairs.append((found.statistics.varentropy, want.statistics.varentropy))
        else:
            pairs = [(found.lse, want.statistics.lse), (found.entropy, want.statistics.entropy)]
        for x, y in pairs:
            part = x[:, :, some]
            torch.testing.assert_close(
                part, y, rtol=tolerance, atol=tolerance, msg=lambda m, name=name: f"{name}: {m}"
            )


def measure(
    n: int, device: str, dtype: torch.dtype, rates: dict[torch.dtype, float], *, heads: int, rounds: int
) -> dict[str, dict]:
    """Times, ratios and shares of the matrix rate of every case.

    Statistics are computed in float32 whatever comes in: their share is of the rate in float32.
    """
    generator = torch.Generator().manual_seed(n)
    q, k, v = (torch.randn(1, heads, n, D, generator=generator).to(device, dtype) for _ in range(3))
    named = cases(q, k, v)
    with torch.no_grad():
        check(named, q, k, v)
        table = compare(named, against=PEER, device=device, rounds=rounds)
    for name, numbers in table.items():
        rate = rates[dtype if name.startswith("output only") else torch.float32]
        needed = 2 * PRODUCTS.get(name, 2) * heads * n * n * D
        numbers["share of the matrix rate"] = needed / (1e-3 * numbers["ms"]) / rate
    return table


def run(device: str, quick: bool) -> dict:
    on_gpu = torch.device(device).type == "cuda"
    dtypes = (torch.float32, torch.bfloat16) if on_gpu else (torch.float32,)
    rates = {dtype: matrix_rate(device, dtype, 8192 if on_gpu else 1024) for dtype in dtypes}
    results: dict = {
        "matrix product": {str(x).removeprefix("torch."): {"TFLOP/s": r / 1e12} for x, r in rates.items()}
    }
    show("matrix product", results["matrix product"])
    for n in (1024, 4096) if quick or not on_gpu else (1024, 4096, 16384):
        results[n] = {}
        for dtype in dtypes:
            name = str(dtype).removeprefix("torch.")
            heads = 32 if on_gpu else 4
            results[n][name] = measure(n, device, dtype, rates, heads=heads, rounds=3 if quick else 9)
            show(f"n = {n}, {heads} heads of {D}, {name}", results[n][name])
    return {"results": results, "bars": []}
