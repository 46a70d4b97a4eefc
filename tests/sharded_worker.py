"""One process of test_streaming.test_keys_sharded_over_two_processes: holds its share of the keys."""

import math
from datetime import timedelta

import torch
from torch import distributed as dist

from attnlib.distributed import sharded_row_statistics
from attnlib.rows import row_statistics

ORDERS = (0.5, 0.9, 2.0, math.inf)


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
    print(f"rank {rank} agrees", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
