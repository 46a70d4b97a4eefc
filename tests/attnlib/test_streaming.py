"""Parts of the keys merge into the whole, in one process and over two."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnlib.errors import InvalidArgument
from attnlib.rows import row_statistics
from attnlib.streaming import merge_rows, partial_row_statistics, stream_row_statistics

INF = math.inf
ORDERS = (0.0, 0.5, 0.9, 1.0, 1 + 1e-9, 2.0, 5.0, INF)


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def assert_same(got, want, tolerance=1e-12):
    for name in ("lse", "entropy", "varentropy", "sparsity", "effective_tokens"):
        torch.testing.assert_close(
            getattr(got, name),
            getattr(want, name),
            rtol=tolerance,
            atol=tolerance,
            msg=lambda m, name=name: f"{name}: {m}",
        )
    for order, value in want.renyi.items():
        torch.testing.assert_close(
            got.renyi[order],
            value,
            rtol=tolerance,
            atol=tolerance,
            msg=lambda m, order=order: f"renyi {order}: {m}",
        )


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.floats(0, 40), st.integers(0, 10**6))
def test_parts_merge_into_the_whole(sizes, spread, seed):
    q, k = spread * draw(2, 3, 4, seed=seed), draw(2, sum(sizes), 4, seed=seed + 1)
    want = row_statistics(q, k, orders=ORDERS, impl="reference")
    parts = [partial_row_statistics(q, part, orders=ORDERS) for part in k.split(sizes, dim=-2)]
    tolerance = 1e-12 * (1 + spread)
    assert_same(merge_rows(parts).statistics(), want, tolerance)
    # One after the other, from either end.
    left, right = parts[0], parts[-1]
    for part in parts[1:]:
        left = left.merge(part)
    for part in parts[-2::-1]:
        right = part.merge(right)
    assert_same(left.statistics(), want, tolerance)
    assert_same(right.statistics(), want, tolerance)


def test_moments_of_the_scores():
    q, k = draw(2, 3, 4), draw(2, 17, 4, seed=1)
    scores = 0.5 * q @ k.mT
    p = torch.softmax(scores, -1)
    part = merge_rows(partial_row_statistics(q, half) for half in k.split([5, 12], dim=-2))
    torch.testing.assert_close(part.mean_score, (p * scores).sum(-1), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(part.mean_square_score, (p * scores**2).sum(-1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("impl", ["fused", "blockwise", "reference"])
def test_parts_in_which_a_row_sees_nothing(impl):
    q, k = draw(2, 4, 3), draw(2, 9, 3, seed=1)
    mask = torch.ones(4, 9, dtype=torch.bool)
    mask[0] = False
    mask[1, :5] = False
    mask[2, 5:] = False
    want = row_statistics(q, k, attn_mask=mask, orders=ORDERS, impl="reference")
    parts = [
        partial_row_statistics(q, k[:, cut], attn_mask=mask[:, cut], orders=ORDERS, impl=impl)
        for cut in (slice(0, 5), slice(5, 9))
    ]
    assert_same(merge_rows(parts).statistics(), want)
    assert_same(parts[1].merge(parts[0]).statistics(), want)


def test_gradient_through_the_merge():
    q, k = draw(1, 3, 2), draw(1, 7, 2, seed=1)
    mask = torch.tensor([[True] * 7, [True] * 3 + [False] * 4, [False] * 7])

    def merged(q, k):
        rows = merge_rows(
            partial_row_statistics(q, k[:, cut], attn_mask=mask[:, cut], orders=(0.9, 2.0, INF))
            for cut in (slice(0, 3), slice(3, 7))
        )
        return (
            rows.lse.masked_fill(rows.lse == -INF, 0),
            rows.entropy,
            rows.varentropy,
            *rows.renyi.values(),
        )

    assert torch.autograd.gradcheck(merged, (q.requires_grad_(), k.requires_grad_()))


def test_large_scores_do_not_cancel_in_the_merge():
    q, k = draw(1, 5, 32, dtype=torch.float32), draw(1, 60, 32, seed=1, dtype=torch.float32)
    k = k + 1000 * draw(32, seed=2, dtype=torch.float32)
    want = row_statistics(q, k, impl="reference")
    got = merge_rows(partial_row_statistics(q, part) for part in k.split(20, dim=-2))
    assert want.lse.abs().max() > 500
    # The share of a part is the difference of two lse, each rounded to eps |lse|, and nothing else is large.
    budget = 8 * torch.finfo(torch.float32).eps * want.lse.abs().max().item()
    assert (got.entropy - want.entropy).abs().max() < budget
    assert (got.varentropy - want.varentropy).abs().max() < budget


def test_a_million_keys_in_bounded_memory(largest_tensor):
    d, block, blocks = 4, 2**16, 2**4
    q, scores = 4 * draw(1, 3, d), []

    def keys():
        for seed in range(blocks):
            k = draw(1, block, d, seed=seed + 1)
            scores.append(q @ k.mT / math.sqrt(d))
            yield k

    with largest_tensor as seen:
        got = stream_row_statistics(q, keys(), orders=ORDERS)
    assert block * d <= seen.numel <= block * (d + 1)
    log_p = torch.log_softmax(torch.cat(scores, -1), -1)
    entropy = -(log_p.exp() * log_p).sum(-1)
    # 2^20 terms of one sign: the kernel adds 512 of them in turn, then the blocks, of size up to |s| < 40.
    tolerance = {"rtol": 0, "atol": 600 * 40 * torch.finfo(torch.float64).eps}
    torch.testing.assert_close(got.entropy, entropy, **tolerance)
    torch.testing.assert_close(
        got.varentropy, (log_p.exp() * (log_p + entropy[..., None]) ** 2).sum(-1), **tolerance
    )
    for order in (0.0, 0.5, 0.9, 2.0, 5.0):
        torch.testing.assert_close(
            got.renyi[order], torch.logsumexp(order * log_p, -1) / (1 - order), **tolerance
        )
    torch.testing.assert_close(got.renyi[INF], -log_p.amax(-1), **tolerance)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_merges_in_float32(dtype):
    q, k = draw(2, 9, 16, dtype=dtype), draw(2, 111, 16, seed=1, dtype=dtype)
    want = row_statistics(q.double(), k.double())
    got = stream_row_statistics(q, k.split(10, dim=-2))
    assert got.entropy.dtype == dtype
    assert (
        (got.entropy - want.entropy).abs() <= torch.finfo(dtype).eps / 2 * 1.01 * want.entropy + 1e-5
    ).all()


Q, K = torch.zeros(2, 5, 4), torch.zeros(2, 7, 4)
PART = partial_row_statistics(Q, K)
BAD = {
    "rule": (
        lambda: partial_row_statistics(Q, K, scale=lambda n, d: 1.0),
        TypeError,
        "scale must be a number here",
    ),
    "no blocks": (lambda: stream_row_statistics(Q, []), InvalidArgument, "at least one block"),
    "block shape": (
        lambda: stream_row_statistics(Q, [K, K[..., :3]]),
        InvalidArgument,
        "k must have the head size",
    ),
    "no parts": (lambda: merge_rows([]), InvalidArgument, "at least one part"),
    "part type": (lambda: merge_rows([PART, Q]), TypeError, "parts must be PartialRows, got Tensor"),
    "part shape": (lambda: PART.merge(partial_row_statistics(Q[:, :4], K)), InvalidArgument, r"got \(2, 4\)"),
    "part orders": (
        lambda: PART.merge(partial_row_statistics(Q, K, orders=(3.0,))),
        InvalidArgument,
        r"\[2.0, 3.0\]",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call()


def test_keys_sharded_over_two_processes(tmp_path):
    """The worker compares with the reference on all keys, on each of two gloo processes."""
    here = Path(__file__).parent
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(here.parent)}
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "--log-dir",
        str(tmp_path),
        str(here / "sharded_worker.py"),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("rank 0 agrees") == done.stdout.count("rank 1 agrees") == 1
