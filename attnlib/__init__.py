"""attnlib: exact entropy, sparsity and scale of attention, read off F(lambda) = log sum exp(lambda s)."""

from attnlib import axioms, inspection, scale, sparsity, theory
from attnlib.attention import decay_attention, relu2_attention, softmax_attention
from attnlib.inspection import AttentionReport, HeadStatistics, record_attention, record_batches
from attnlib.keys import KeyStatistics, key_statistics, top_mass
from attnlib.linear import (
    LinearAttentionState,
    LinearRowStatistics,
    linear_attention,
    linear_attention_stream,
    linear_row_statistics,
)
from attnlib.monitor import AttentionMonitor
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
from attnlib.streaming import PartialRows, merge_rows, partial_row_statistics, stream_row_statistics
from attnlib.temperature import (
    EntropyTemperature,
    TargetedAttention,
    entropy_targeted_attention,
    entropy_temperature,
)

__version__ = "0.1.0"

__all__ = [
    "AttentionMonitor",
    "AttentionReport",
    "AttentionWithStatistics",
    "EntropyTemperature",
    "HeadStatistics",
    "KeyStatistics",
    "LinearAttentionState",
    "LinearRowStatistics",
    "NormalizedEntropy",
    "PartialRows",
    "RowEntropy",
    "RowStatistics",
    "TargetedAttention",
    "axioms",
    "decay_attention",
    "entropy_targeted_attention",
    "entropy_temperature",
    "inspection",
    "key_statistics",
    "linear_attention",
    "linear_attention_stream",
    "linear_row_statistics",
    "log_partition",
    "merge_rows",
    "normalize_entropy",
    "normalize_entropy_scores",
    "partial_row_statistics",
    "power_transform",
    "record_attention",
    "record_batches",
    "relu2_attention",
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
    "stream_row_statistics",
    "theory",
    "top_mass",
]
