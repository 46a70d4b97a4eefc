"""attnlib: exact entropy, sparsity and scale of attention, read off F(lambda) = log sum exp(lambda s)."""

from attnlib import axioms, scale, sparsity, theory
from attnlib.attention import softmax_attention
from attnlib.normalize import NormalizedEntropy, normalize_entropy, normalize_entropy_scores, power_transform
from attnlib.partition import (
    log_partition,
    renyi_entropy,
    shannon_entropy,
    softmax_entropy,
    softmax_renyi_entropy,
    softmax_varentropy,
)
from attnlib.rows import (
    AttentionWithStatistics,
    RowEntropy,
    RowStatistics,
    row_entropy,
    row_statistics,
    softmax_attention_with_statistics,
)

__all__ = [
    "AttentionWithStatistics",
    "NormalizedEntropy",
    "RowEntropy",
    "RowStatistics",
    "axioms",
    "log_partition",
    "normalize_entropy",
    "normalize_entropy_scores",
    "power_transform",
    "renyi_entropy",
    "row_entropy",
    "row_statistics",
    "scale",
    "shannon_entropy",
    "softmax_attention",
    "softmax_attention_with_statistics",
    "softmax_entropy",
    "softmax_renyi_entropy",
    "softmax_varentropy",
    "sparsity",
    "theory",
]
