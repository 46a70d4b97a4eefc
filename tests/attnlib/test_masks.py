"""Which entries of a mask hide a key, in every dtype and idiom."""

import math
import warnings

import pytest
import torch
from torch.nn.attention.bias import causal_lower_right, causal_upper_left

from attnlib._masks import causal_offset, hides, with_infinite
from attnlib.errors import InvalidArgument

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_idioms_of_masking_hide_and_a_bias_does_not(dtype):
    lowest = torch.finfo(dtype).min
    hidden = [-math.inf, lowest, lowest / 2, -1e4] + ([] if dtype == torch.float16 else [-1e9])
    biases = [-9000.0, -100.0, -0.5, 0.0, 3.0]
    mask = torch.tensor(hidden + biases, dtype=dtype)
    assert hides(mask).tolist() == [True] * len(hidden) + [False] * len(biases)
    cut = with_infinite(mask)
    assert cut.dtype == dtype and cut[: len(hidden)].isneginf().all()
    assert torch.equal(cut[len(hidden) :], mask[len(hidden) :])


def test_a_boolean_mask_says_it_plainly():
    mask = torch.tensor([True, False])
    assert hides(mask).tolist() == [False, True] and with_infinite(mask) is mask


@pytest.mark.parametrize("n_q, n_k", [(4, 6), (5, 5), (1, 3), (6, 4)])
@pytest.mark.parametrize("make", [causal_upper_left, causal_lower_right])
def test_the_offset_of_a_causal_bias_is_that_of_its_matrix(make, n_q, n_k):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lower right with more queries than keys leaves rows without any
        bias = make(n_q, n_k)
    offset = causal_offset(bias, n_q, n_k)
    row, key = torch.arange(n_q)[:, None], torch.arange(n_k)
    assert torch.equal(key <= row + offset, bias._materialize())


def test_a_causal_bias_must_be_that_of_the_call():
    with pytest.raises(
        InvalidArgument, match="attn_mask is a CausalBias for 4 queries and 6 keys, got 4 and 7"
    ):
        causal_offset(causal_lower_right(4, 6), 4, 7)
    assert causal_offset(torch.zeros(2, 2), 2, 2) is None and causal_offset(None, 2, 2) is None
