"""Recording the attention of a model of BERT's width, against running it and against writing weights out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

import attnlib
from benchmarks.harness import Case, bar, compare, compiled_here, show

LAYERS, WIDTH, HEADS = 6, 768, 12
# (batch, tokens): short texts together, and long ones.
SHAPES = ((8, 128), (4, 512))
PEER = "forward (SDPA)"
RECORDED, COMPILED = "recorded", "recorded, compiled"
EAGER, EAGER_ENTROPY = "eager, weights written out", "eager, entropy of its weights"


class SelfAttention(nn.Module):
    """Attention by SDPA, or written out, as "eager" implementations do; then its weights are returned too."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads = HEADS
        self.into = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor, eager: bool) -> tuple[Tensor, Tensor | None]:
        q, k, v = self.into(x).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        weights = None
        if eager:
            weights = torch.softmax(q @ k.mT * q.shape[-1] ** -0.5, dim=-1)
            mixed = weights @ v
        else:
            mixed = scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).flatten(2)), weights


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = SelfAttention()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))
        self.into, self.out = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor, eager: bool) -> tuple[Tensor, Tensor | None]:
        mixed, weights = self.attention(x, eager)
        x = self.norms[0](x + mixed)
        return self.norms[1](x + self.out(gelu(self.into(x)))), weights


class Encoder(nn.Module):
    """An encoder of BERT's width, with half of its layers, on vectors of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, x: Tensor, output_attentions: bool = False) -> tuple[Tensor, list[Tensor | None]]:
        weights = []
        for layer in self.layers:
            x, of_layer = layer(x, output_attentions)
            weights.append(of_layer)
        return x, weights


def recorded(model: Encoder, x: Tensor, **impl: str) -> attnlib.AttentionReport:
    with attnlib.record_attention(model, **impl) as report:
        model(x)
    return report


def entropies(model: Encoder, x: Tensor) -> list[Tensor]:
    """Mean entropy of every head of every layer from weights written out, as one would write it."""
    return [
        -torch.special.xlogy(p, p).sum(dim=-1).mean(dim=(0, 2)) for p in model(x, output_attentions=True)[1]
    ]


def check(model: Encoder, x: Tensor, **impl: str) -> None:
    """Nothing is timed before it is right, by the default or a named ``impl``."""
    report, want = recorded(model, x, **impl), entropies(model, x)
    if report.problems or len(report) != LAYERS:
        raise AssertionError(f"recorded {report!r}: {report.problems}")
    for layer, entropy in zip(report, want, strict=True):
        torch.testing.assert_close(report[layer].entropy.to(entropy), entropy, rtol=1e-4, atol=1e-4)


def cases(model: Encoder, x: Tensor, with_compiled: bool = False) -> dict[str, Case]:
    ours: dict[str, Case] = {RECORDED: lambda: recorded(model, x)}
    if with_compiled:
        ours[COMPILED] = lambda: recorded(model, x, impl="compiled")
    return {
        PEER: lambda: model(x),
        **ours,
        EAGER: lambda: model(x, output_attentions=True),
        EAGER_ENTROPY: lambda: entropies(model, x),
    }


def run(device: str, quick: bool) -> dict:
    torch.manual_seed(0)
    model = Encoder().eval().to(device)
    results: dict[str, dict] = {}
    bars = []
    with_compiled = compiled_here(device)
    with torch.no_grad():
        for batch, n in SHAPES:
            x = torch.randn(batch, n, WIDTH, generator=torch.Generator().manual_seed(n)).to(device)
            check(model, x)
            if with_compiled:
                check(model, x, impl="compiled")
            where = f"{batch} x {n} tokens"
            table = compare(
                cases(model, x, with_compiled), against=PEER, device=device, rounds=3 if quick else 9
            )
            results[where] = table
            show(f"{where}, {LAYERS} layers, {HEADS} heads of {WIDTH // HEADS}, float32", table)
            ratio = {name: row[f"ratio to {PEER}"] for name, row in table.items()}
            for name in (RECORDED, COMPILED) if with_compiled else (RECORDED,):
                if n == 128:
                    of_eager = ratio[name] / ratio[EAGER]
                    bars.append(bar(f"{name} against eager weights, {where}", of_eager, at_most=1))
                else:
                    bars.append(bar(f"{name} against forward, {where}", ratio[name], at_most=1.3))
    return {"results": results, "bars": bars}
