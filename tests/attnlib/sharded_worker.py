"""One process of test_streaming.test_keys_sharded_over_two_processes: holds its share of the keys."""

import math
from datetime import timedelta

import torch
from torch import distributed as dist

from attnlib.distributed import _Found, _Largest, sharded_row_statistics
from attnlib.rows import RowStatistics, row_statistics

ORDERS = (0.5, 0.9, 2.0, math.inf)


def loss(rows, weights):
    """Every statistic of the rows that see a key, in one number."""
    values = [getattr(rows, name) for name in rows._fields if name != "renyi"] + list(rows.renyi.values())
    seen = [value.masked_fill(value == -math.inf, 0) for value in values]
    return sum((weight * value).sum() for weight, value in zip(weights, seen, strict=True))


def check_gradients(q, k, mask, mine):
    """The gradient of one loss, taken on every process, against that of all keys in one place."""
    how = {"enable_gqa": True, "orders": ORDERS}
    generator = torch.Generator().manual_seed(1)
    count = len(RowStatistics._fields) - 1 + len(ORDERS)  # each entropy of an order stands for itself
    weights = torch.randn(count, *q.shape[:-1], generator=generator, dtype=torch.float64)
    whole = [x.clone().requires_grad_() for x in (q, k)]
    loss(row_statistics(*whole, attn_mask=mask, impl="reference", **how), weights).backward()
    parts = [x.clone().requires_grad_() for x in (q, k[:, :, mine])]
    loss(sharded_row_statistics(*parts, attn_mask=mask[:, mine], **how), weights).backward()
    # Rounding of sums over 100 keys, some of them with gradients of the order of ten.
    torch.testing.assert_close(parts[0].grad, whole[0].grad, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(parts[1].grad, whole[1].grad[:, :, mine], rtol=1e-10, atol=1e-10)
    tied = torch.ones(3, requires_grad=True)
    _Found.apply(_Largest.apply(tied, None), None).sum().backward()
    assert tied.grad.tolist() == [0.5] * 3


def main() -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    rank = dist.get_rank()
    generator = torch.Generator().manual_seed(0)
    q = 2 * torch.randn(2, 4, 9, 8, generator=generator, dtype=torch.float64)
    k = torch.randn(2, 2, 100, 8, generator=generator, dtype=torch.float64)
    mask = torch.rand(9, 100, generator=generator) > 0.5
    mask[0] = False  # a row without keys
    mask[1, :63] = False  # and one without keys on the first process
    mine = slice(0, 63) if rank == 0 else slice(63, 100)
    how = {"enable_gqa": True, "orders": ORDERS}
    got = sharded_row_statistics(q, k[:, :, mine], attn_mask=mask[:, mine], **how)
    want = row_statistics(q, k, attn_mask=mask, impl="reference", **how)
    pairs = [(getattr(got, name), getattr(want, name)) for name in got._fields if name != "renyi"]
    pairs += [(got.renyi[order], want.renyi[order]) for order in ORDERS]
    for value, expected in pairs:
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    check_gradients(q, k, mask, mine)
    print(f"rank {rank} agrees", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
