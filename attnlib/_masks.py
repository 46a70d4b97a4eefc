"""What an attention mask says: which keys are hidden, and which entries are a bias.

Models hide keys in four ways: False, -inf, a large negative number (the dtype's lowest, -1e9, -1e4), and a
:class:`torch.nn.attention.bias.CausalBias`, which names its pattern and holds no entries. Here they become
one.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from attnlib.errors import InvalidArgument

HIDES_FROM = -1e4
"""An additive entry of this or less hides its key; anything above, as ALiBi's or Swin's -100, is a bias."""


def hides(attn_mask: Tensor) -> Tensor:
    """True where a boolean or additive mask hides a key."""
    if attn_mask.dtype == torch.bool:
        return ~attn_mask
    # A mask in bfloat16 holds -9984 where -1e4 was written: compare with the number as its dtype has it.
    return attn_mask <= torch.tensor(HIDES_FROM, dtype=attn_mask.dtype, device=attn_mask.device)


def with_infinite(attn_mask: Tensor) -> Tensor:
    """An additive mask with -inf wherever it hides a key; a boolean one as it is."""
    if attn_mask.dtype == torch.bool:
        return attn_mask
    return attn_mask.masked_fill(hides(attn_mask), -torch.inf)


def causal_offset(attn_mask: object, n_q: int, n_k: int) -> int | None:
    """How many keys past its own place a row of a ``CausalBias`` sees: query i sees keys 0 to i + offset.

    None for any other mask. A CausalBias is a tensor whose storage was never written: ask it for its variant,
    do not read it.
    """
    # Whoever has a CausalBias has imported its module, which takes seconds: it loads a compiler.
    module = sys.modules.get("torch.nn.attention.bias")
    if module is None or not isinstance(attn_mask, module.CausalBias):
        return None
    if (attn_mask.seq_len_q, attn_mask.seq_len_kv) != (n_q, n_k):
        raise InvalidArgument(
            f"attn_mask is a CausalBias for {attn_mask.seq_len_q} queries and {attn_mask.seq_len_kv} keys, "
            f"got {n_q} and {n_k}"
        )
    return 0 if attn_mask.variant == module.CausalVariant.UPPER_LEFT else n_k - n_q
