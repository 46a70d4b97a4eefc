"""attnlib: exact entropy, sparsity and scale of attention, read off F(lambda) = log sum exp(lambda s)."""

from attnlib import axioms, scale, sparsity, theory
from attnlib.normalize import NormalizedEntropy, normalize_entropy, normalize_entropy_scores, power_transform
from attnlib.partition import (
    log_partition,
    renyi_entropy,
    shannon_entropy,
    softmax_entropy,
    softmax_renyi_entropy,
    softmax_varentropy,
)

__all__ = [
    "NormalizedEntropy",
    "axioms",
    "log_partition",
    "normalize_entropy",
    "normalize_entropy_scores",
    "power_transform",
    "renyi_entropy",
    "scale",
    "shannon_entropy",
    "softmax_entropy",
    "softmax_renyi_entropy",
    "softmax_varentropy",
    "sparsity",
    "theory",
]
