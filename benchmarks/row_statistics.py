"""Row statistics (tiles on a CPU, compiled kernels) against attention's output alone, rows written out, and
the floor of the tiles."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

import attnlib
from benchmarks.harness import Case, bar, compare, compiled_here, normal, peak_bytes, show

# (batch, heads, n, head size) by n: encoders on short batches, then ever longer rows.
SHAPES = {
    128: (32, 12, 128, 32),
    512: (8, 12, 512, 64),
    1024: (1, 4, 1024, 64),
    4096: (1, 4, 4096, 64),
    16384: (1, 1, 16384, 64),
    65536: (1, 1, 65536, 64),
}
QUICK = (128, 1024, 4096)
LONGEST_WRITTEN_OUT = 4096
LONGEST_ALL_CASES = 16384  # beyond, what needs minutes is left out
PEER = "output only (SDPA)"
CHUNK = 256
ENTROPY, ALL, BOTH = "lse + entropy", "all statistics", "output + all statistics"
# What each may cost, of SDPA's output alone: at 128 keys and at more.
TARGETS = {ENTROPY: (1.5, 1.1), ALL: (1.5, 1.3), BOTH: (None, 2.0)}
COMPILED = ", compiled"
COMPILED_TARGETS = {ENTROPY: (1.5, 1.1), ALL: (1.5, 1.3), BOTH: (None, 1.3)}


def tensors(n: int, device: str, *, requires_grad: bool = False) -> list[Tensor]:
    """q, k and v of the shape for n keys."""
    return normal(SHAPES.get(n, (1, 4, n, 64)), device, requires_grad=requires_grad)


def written_out(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """lse and entropy of the rows, as one would write them."""
    logits = q @ k.mT / q.shape[-1] ** 0.5
    log_p = torch.log_softmax(logits, dim=-1)
    return torch.logsumexp(logits, dim=-1), -(log_p.exp() * log_p).sum(dim=-1)


def in_chunks(q: Tensor, k: Tensor) -> Tensor:
    """Entropy of the rows in chunks, as one would write them without room for the matrix."""
    parts = []
    for rows in q.split(CHUNK, dim=-2):
        log_p = torch.log_softmax(rows @ k.mT / q.shape[-1] ** 0.5, dim=-1)
        parts.append(-(log_p.exp() * log_p).sum(dim=-1))
    return torch.cat(parts, dim=-1)


class Floor:
    """The operations of a tile alone, tile after tile, and nothing between them or kept of them.

    Tiles are of the sizes that ``attnlib`` takes on this machine; what of an exact pass is done to each is
    said by name. The results are of no use.
    """

    def __init__(self, q: Tensor, k: Tensor, v: Tensor):
        self.scale = q.shape[-1] ** -0.5
        threads = torch.get_num_threads()
        columns = min(k.shape[-2], 512)
        elements = 1 << 16
        rows = min(q.shape[-2], elements // columns)
        heads = min(q.shape[0] * q.shape[1], threads * elements // (rows * columns))
        rows = min(q.shape[-2], threads * elements // (columns * heads))
        self.q, self.k, self.v = (
            [part for group in x.flatten(0, 1).split(heads) for part in group.split(side, dim=1)]
            for x, side in ((q, rows), (k, columns), (v, columns))
        )
        self.by_heads = -(-q.shape[-2] // rows), -(-k.shape[-2] // columns)
        self.memory = [q.new_empty(heads * rows * columns) for _ in range(3)]

    def run(
        self,
        *,
        exponentials: bool = False,
        entropy: bool = False,
        moments: bool = False,
        output: bool = False,
    ) -> None:
        """q k^T of every tile, its exponentials, the sums that the entropy and the moments take, and p v."""
        across, along = self.by_heads
        for i, rows in enumerate(self.q):
            first = i // across * along
            for keys, values in zip(
                self.k[first : first + along], self.v[first : first + along], strict=True
            ):
                shape = (len(rows), rows.shape[1], keys.shape[1])
                x, w, product = (memory[: math.prod(shape)].view(shape) for memory in self.memory)
                torch.baddbmm(x, rows, keys.mT, beta=0, alpha=self.scale, out=x)
                if entropy or moments:
                    x.sub_(x.amax(dim=-1, keepdim=True))
                if exponentials or entropy or moments:
                    torch.exp(x, out=w)
                if entropy:
                    w.sum(dim=-1, keepdim=True)
                    x.mul_(w).sum(dim=-1, keepdim=True)
                if moments:
                    w.sum(dim=-1, keepdim=True)
                    mean = torch.mul(w, x, out=product).sum(dim=-1, keepdim=True)
                    torch.mul(w, x.sub_(mean), out=product).mul_(x).sum(dim=-1, keepdim=True)
                    torch.linalg.vector_norm(w, dim=-1, keepdim=True)
                if output:
                    torch.bmm(w, values)

    def cases(self) -> dict[str, Case]:
        return {
            "floor: products": self.run,
            "floor: products and exponentials": lambda: self.run(exponentials=True),
            f"floor: {ENTROPY}": lambda: self.run(entropy=True),
            f"floor: {ALL}": lambda: self.run(moments=True),
            f"floor: {BOTH}": lambda: self.run(moments=True, output=True),
        }


def products_alone(q: Tensor, k: Tensor, side: int = 512) -> None:
    """The matrix products of an exact forward and backward pass, tile by tile, and nothing between them.

    q k^T in each pass, dS k and dS^T q: what is left of the backward's time when all else is free.
    """
    q, k = q.detach().flatten(0, 1), k.detach().flatten(0, 1)
    side = min(side, q.shape[1], k.shape[1])
    shares = k.split(side, dim=1)
    grad_k = [torch.zeros_like(keys).mT.contiguous() for keys in shares]
    memory = q.new_empty(len(q) * side**2)
    for rows in q.split(side, dim=1):
        grad_q = torch.zeros_like(rows)
        for keys, grad in zip(shares, grad_k, strict=True):
            shape = (len(q), rows.shape[1], keys.shape[1])
            tile = memory[: math.prod(shape)].view(shape)
            torch.bmm(rows, keys.mT, out=tile)
            torch.bmm(rows, keys.mT, out=tile)
            grad_q.baddbmm_(tile, keys)
            grad.baddbmm_(rows.mT, tile)


def check(n: int, device: str, **impl: str) -> None:
    """Nothing is timed before it is right: some rows against float64, by the default or a named ``impl``."""
    q, k, v = tensors(n, device)
    some = slice(0, None, max(1, n // 64))
    few = [x[:1, :4] for x in (q, k, v)]
    want = attnlib.row_statistics(few[0][:, :, some], few[1], impl="reference")
    got = attnlib.row_statistics(q, k, **impl)
    for name in ("lse", "entropy", "varentropy", "effective_tokens"):
        part = getattr(got, name)[:1, :4, some]
        torch.testing.assert_close(part, getattr(want, name), rtol=1e-4, atol=1e-4)
    output, rows = attnlib.softmax_attention_with_statistics(q, k, v, **impl)
    torch.testing.assert_close(output, scaled_dot_product_attention(q, k, v), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(rows.entropy, got.entropy, rtol=1e-4, atol=1e-4)
    alone = attnlib.row_entropy(q, k, **impl)
    torch.testing.assert_close(alone.entropy, got.entropy, rtol=1e-4, atol=1e-4)
    if n <= LONGEST_ALL_CASES:
        part = in_chunks(few[0][:, :, some], few[1])
        torch.testing.assert_close(part, want.entropy, rtol=1e-4, atol=1e-4)


def forward_cases(n: int, device: str, with_compiled: bool = False) -> dict[str, Case]:
    q, k, v = tensors(n, device)
    cases = {
        PEER: lambda: scaled_dot_product_attention(q, k, v),
        ENTROPY: lambda: attnlib.row_entropy(q, k),
        ALL: lambda: attnlib.row_statistics(q, k),
        BOTH: lambda: attnlib.softmax_attention_with_statistics(q, k, v),
    }
    if with_compiled:
        cases |= {
            ENTROPY + COMPILED: lambda: attnlib.row_entropy(q, k, impl="compiled"),
            ALL + COMPILED: lambda: attnlib.row_statistics(q, k, impl="compiled"),
            BOTH + COMPILED: lambda: attnlib.softmax_attention_with_statistics(q, k, v, impl="compiled"),
        }
    if torch.device(device).type == "cpu" and n <= LONGEST_ALL_CASES:
        cases |= Floor(q, k, v).cases()
    if n <= LONGEST_ALL_CASES:
        cases[f"entropy, chunks of {CHUNK} rows"] = lambda: in_chunks(q, k)
    if n <= LONGEST_WRITTEN_OUT:
        cases["lse + entropy, written out"] = lambda: written_out(q, k)
    return cases


def backward_cases(n: int, device: str, with_compiled: bool = False) -> dict[str, Case]:
    q, k, v = tensors(n, device, requires_grad=True)
    cases = {
        PEER: lambda: torch.autograd.grad(scaled_dot_product_attention(q, k, v).sum(), (q, k, v)),
        "entropy": lambda: torch.autograd.grad(attnlib.row_entropy(q, k).entropy.sum(), (q, k)),
        "its four matrix products alone": lambda: products_alone(q, k),
    }
    if with_compiled:
        cases["entropy" + COMPILED] = lambda: torch.autograd.grad(
            attnlib.row_entropy(q, k, impl="compiled").entropy.sum(), (q, k)
        )
    if n <= LONGEST_WRITTEN_OUT:
        cases[f"entropy, chunks of {CHUNK} rows"] = lambda: torch.autograd.grad(in_chunks(q, k).sum(), (q, k))
        cases["entropy, written out"] = lambda: torch.autograd.grad(written_out(q, k)[1].sum(), (q, k))
    return cases


def fused_case(n: int, device: str) -> Case:
    return forward_cases(n, device)[ENTROPY]


def written_out_case(n: int, device: str) -> Case:
    return forward_cases(n, device)["lse + entropy, written out"]


def bars_at(n: int, table: dict[str, dict]) -> list[dict]:
    """What statistics may cost of the output alone: the target, or 1.15 times the floor if that is more.

    The compiled kernels have no floor but the matrix products, and are held to the target itself.
    """
    bars = []
    for name, (short, long) in TARGETS.items():
        target = short if n < 512 else long
        if target is None:
            continue
        floor = table.get(f"floor: {name}", {}).get(f"ratio to {PEER}", 0.0)
        how = f"{name} against output only, {' x '.join(map(str, SHAPES[n]))}"
        if 1.15 * floor > target:
            how += f" (1.15 times the floor of its tiles, which leaves no {target:g})"
        bars.append(bar(how, table[name][f"ratio to {PEER}"], at_most=max(target, 1.15 * floor)))
    for name, (short, long) in COMPILED_TARGETS.items():
        target, row = short if n < 512 else long, table.get(name + COMPILED)
        if target is not None and row is not None:
            how = f"{name + COMPILED}, against output only, {' x '.join(map(str, SHAPES[n]))}"
            bars.append(bar(how, row[f"ratio to {PEER}"], at_most=target))
    return bars


def run(device: str, quick: bool) -> dict:
    results: dict = {}
    bars = []
    with_compiled = compiled_here(device)
    for n in QUICK if quick else SHAPES:
        check(n, device)
        if with_compiled:
            check(n, device, impl="compiled")
        rounds = 1 if n > LONGEST_ALL_CASES else 3 if quick or n > LONGEST_WRITTEN_OUT else 9
        with torch.no_grad():
            forward = compare(
                forward_cases(n, device, with_compiled), against=PEER, device=device, rounds=rounds
            )
        results[n] = {"forward": forward}
        if n <= LONGEST_ALL_CASES:
            results[n]["forward + backward"] = compare(
                backward_cases(n, device, with_compiled), against=PEER, device=device, rounds=rounds
            )
        batch, heads, _, d = SHAPES[n]
        for kind, table in results[n].items():
            show(f"n = {n}, {kind}, {batch} x {heads} heads of {d}, float32", table)
        bars += bars_at(n, forward)
    arguments = {"n": LONGEST_WRITTEN_OUT, "device": device}
    fused, whole = (peak_bytes(case, arguments, device) for case in (fused_case, written_out_case))
    at_bar = results[LONGEST_WRITTEN_OUT]
    at_bar["peak bytes"] = {"lse + entropy": fused, "lse + entropy, written out": whole}
    forward, both = (
        {name: row[f"ratio to {PEER}"] for name, row in at_bar[kind].items()}
        for kind in ("forward", "forward + backward")
    )
    bars += [
        bar(
            "written out against lse + entropy",
            forward["lse + entropy, written out"] / forward[ENTROPY],
            at_least=5,
        ),
        bar("entropy against output only, forward + backward", both["entropy"], at_most=1),
        bar(
            "written out against entropy, forward + backward",
            both["entropy, written out"] / both["entropy"],
            at_least=5,
        ),
    ]
    if with_compiled:
        own = both["entropy" + COMPILED]
        bars += [
            bar("entropy, compiled, against output only, forward + backward", own, at_most=1),
            bar(
                "written out against entropy, compiled, forward + backward",
                both["entropy, written out"] / own,
                at_least=5,
            ),
        ]
    if fused:
        bars.append(bar("peak memory, written out against lse + entropy", whole / fused, at_least=50))
    return {"results": results, "bars": bars}
