"""Two small masked language models on attnlib's attention: a RoFormer and stacked gated attention units."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, silu

from attnlib.errors import InvalidArgument

__all__ = ["Attention", "GatedAttentionUnit", "GatedAttentionUnits", "RoFormer", "RoFormerBlock", "rotate"]

Attention = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""``(layer, q, k, v) -> output``, on tensors (batch, heads, n, d). The models leave it open."""


def rotate(x: Tensor, *, base: float = 10_000.0) -> Tensor:
    """Rotary position embedding of x (..., n, d), d even: q.k then depends on the distance of two positions.

    Source: Su et al., RoFormer, arXiv 2104.09864.

    >>> x = torch.ones(3, 2)
    >>> (rotate(x)[0] == x[0]).all().item(), rotate(x).norm(dim=-1).allclose(x.norm(dim=-1))
    (True, True)
    """
    n, d = x.shape[-2:]
    if d % 2:
        raise InvalidArgument(f"d must be even to be rotated in pairs, got {d}")
    # In float64: at position 2048 float32 would already be off by 1e-4 in the fastest angle.
    frequency = base ** (-torch.arange(0, d, 2, dtype=torch.float64, device=x.device) / d)
    angle = torch.arange(n, dtype=torch.float64, device=x.device)[:, None] * frequency
    dtype = torch.promote_types(x.dtype, torch.float32)  # half precision would move the angles
    cosine, sine = angle.cos().to(dtype), angle.sin().to(dtype)
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = torch.stack((even * cosine - odd * sine, odd * cosine + even * sine), dim=-1).flatten(-2)
    return turned.to(x.dtype)


class RoFormerBlock(nn.Module):
    """Multi-head attention with rotary positions, then a two-layer network; each normalised before."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.attention_norm, self.network_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.combine = nn.Linear(width, width)
        self.expand, self.contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        q, k, v = (
            self.project(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )
        x = x + self.combine(attend(rotate(q), rotate(k), v).transpose(1, 2).flatten(-2))
        return x + self.contract(gelu(self.expand(self.network_norm(x))))


class GatedAttentionUnit(nn.Module):
    """One head of attention of twice the width, gated, in place of attention and network at once.

    Source: Hua et al., Transformer Quality in Linear Time, arXiv 2202.10447; 9019-C1.
    """

    def __init__(self, width: int, key_width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.sizes = (2 * width, 2 * width, key_width)
        self.project = nn.Linear(width, sum(self.sizes))
        self.gain = nn.Parameter(torch.ones(2, key_width))
        self.shift = nn.Parameter(torch.zeros(2, key_width))
        self.combine = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        gate, v, base = silu(self.project(self.norm(x))).split(self.sizes, dim=-1)
        # Under autocast the gain, in float32, would lift q and k above the dtype of v.
        q, k = (
            rotate(base * gain + shift)[:, None].to(v.dtype)
            for gain, shift in zip(self.gain, self.shift, strict=True)
        )
        return x + self.combine(gate * attend(q, k, v[:, None])[:, 0])


class _MaskedLanguageModel(nn.Module):
    """Embedding, layers that share one choice of attention, and every token's score by the same embedding."""

    def __init__(self, vocabulary: int, width: int, layers: list[nn.Module]):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=width**-0.5)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)

    def forward(self, tokens: Tensor, attention: Attention) -> Tensor:
        """The last hidden states (batch, n, width) of token ids (batch, n)."""
        x = self.embedding(tokens)
        for index, layer in enumerate(self.layers):
            x = layer(x, lambda q, k, v, index=index: attention(index, q, k, v))
        return self.norm(x)

    def scores(self, hidden: Tensor) -> Tensor:
        """Logits over the vocabulary, (..., vocabulary), of the hidden states at the places asked for."""
        return hidden @ self.embedding.weight.T + self.bias


class RoFormer(_MaskedLanguageModel):
    """A transformer encoder with rotary positions and no bound on the length."""

    def __init__(self, *, vocabulary: int, width: int, layers: int, heads: int):
        if width % (2 * heads):
            raise InvalidArgument(f"width must be a multiple of 2 * heads = {2 * heads}, got {width}")
        super().__init__(vocabulary, width, [RoFormerBlock(width, heads) for _ in range(layers)])


class GatedAttentionUnits(_MaskedLanguageModel):
    """A stack of gated attention units with rotary positions; two of them stand for a layer of a RoFormer."""

    def __init__(self, *, vocabulary: int, width: int, layers: int, key_width: int):
        super().__init__(vocabulary, width, [GatedAttentionUnit(width, key_width) for _ in range(2 * layers)])
