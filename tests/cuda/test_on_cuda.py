"""Every public function on a CUDA device, against the same call on a CPU in float64; skipped without one."""

import copy
import math

import pytest
import torch
from public_functions import FUNCTIONS, D, N, draw, gradients, loss
from torch import nn
from torch.nn.functional import scaled_dot_product_attention as sdpa

import attnlib as al

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here")

# Sums of some hundred products and exponentials of numbers of size 1, and their derivatives.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
MASK = torch.rand(2, 1, 37, 61, generator=torch.Generator().manual_seed(0)) > 0.4


def close(got, want, dtype):
    torch.testing.assert_close(got.double().cpu(), want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients(name, dtype):
    tensors = [draw(1, 3, N, D, seed=i).to(dtype) for i in range(3)]
    wide = [x.double() for x in tensors]
    there = [x.cuda() for x in tensors]
    found = FUNCTIONS[name](*there)
    assert found.device.type == "cuda" and found.dtype == dtype
    close(found, FUNCTIONS[name](*wide), dtype)
    if name.startswith("temperature"):
        return  # a scale that is found has no gradient
    for got, want in zip(gradients(loss(name), there), gradients(loss(name), wide)):
        close(got, want, dtype)


OPTIONS = {
    "plain": {},
    "causal": {"is_causal": True},
    "mask": {"attn_mask": MASK},
    "mask and causal": {"attn_mask": MASK, "is_causal": True},
    "padding": {"attn_mask": MASK[:, :, :1]},
    "bias": {"attn_mask": draw(3, 37, 61, seed=5)},
    "window": {"window": (9, 4)},
    "cap": {"softcap": 2.0},
    "sink": {"sink": draw(3, seed=6)},
    "rule": {"scale": lambda n, d: (n + 1).log() / d**0.5, "is_causal": True},
}


def rows(q, k, v, name, **more):
    def there(x):
        return x.to(q.device, q.dtype if x.is_floating_point() else None) if torch.is_tensor(x) else x

    options = {key: there(x) for key, x in OPTIONS[name].items()}
    found = al.softmax_attention_with_statistics(q, k, v, **options, **more)
    statistics = found.statistics._asdict()
    statistics |= {f"renyi {order}": x for order, x in statistics.pop("renyi").items()}
    return {"output": found.output, **statistics}


def weighted(results):
    """A number that every entry enters with a weight of its own, but those of -inf."""
    finite = [x.masked_fill(x == -math.inf, 0) for x in results]
    return sum((draw(*x.shape, seed=3).to(x) * x).sum() for x in finite)


@pytest.mark.parametrize("impl", ["fused", "blockwise"])
@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("d", [7, 64])
def test_rows_in_float32(name, impl, d):
    """The kernel of PyTorch forms float32 products of tensor cores: how exactly is seen here."""
    wide = [draw(2, 3, n, d, seed=i).float().double() for i, n in enumerate((37, 61, 61))]
    here = [x.cuda().float().requires_grad_() for x in wide]
    wide = [x.requires_grad_() for x in wide]
    got = rows(*here, name, impl=impl, orders=(0.5, 2.0, math.inf))
    want = rows(*wide, name, impl="reference", orders=(0.5, 2.0, math.inf))
    for key, x in got.items():
        torch.testing.assert_close(
            x.double().cpu(), want[key], rtol=5e-5, atol=5e-5, msg=lambda m, key=key: f"{key}: {m}"
        )
    sums = [weighted(x[key] for key in ("output", "entropy", "varentropy", "lse")) for x in (got, want)]
    for x, y in zip(torch.autograd.grad(sums[0], here), torch.autograd.grad(sums[1], wide)):
        torch.testing.assert_close(x.double().cpu(), y, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("impl", ["fused", "blockwise"])
def test_half_precision_is_computed_in_float32(dtype, impl):
    q, k = (draw(2, 3, 61, 64, seed=i).to("cuda", dtype) for i in range(2))
    got = al.row_entropy(q, k, impl=impl).entropy
    want = al.row_entropy(q.float(), k.float(), impl=impl).entropy
    assert got.dtype == dtype and torch.equal(got, want.to(dtype))


@pytest.mark.parametrize("name", ["row_entropy fused", "softmax_attention", "linear_attention"])
def test_autocast_changes_nothing(name):
    tensors = [draw(1, 3, N, D, seed=i).float().cuda() for i in range(3)]
    want = FUNCTIONS[name](*tensors)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert torch.equal(FUNCTIONS[name](*tensors), want)


@pytest.mark.parametrize("impl", ["fused", "triton"])
def test_compiles(impl):
    tensors = [draw(1, 3, 61, 16, seed=i).float().cuda().requires_grad_() for i in range(3)]

    def entropy(q, k, v):
        found = al.softmax_attention_with_statistics(q, k, v, impl=impl)
        return found.statistics.entropy.sum() + found.output.square().sum()

    compiled = torch.compile(entropy, fullgraph=True)
    torch.testing.assert_close(compiled(*tensors), entropy(*tensors), rtol=1e-5, atol=1e-5)
    for x, y in zip(
        torch.autograd.grad(compiled(*tensors), tensors), torch.autograd.grad(entropy(*tensors), tensors)
    ):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-5)


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.project = heads, nn.Linear(width, 3 * width)

    def forward(self, x):
        q, k, v = self.project(x).unflatten(-1, (3, self.heads, -1)).movedim(-3, 0).transpose(-2, -3)
        return sdpa(q, k, v, is_causal=True).transpose(-2, -3).flatten(-2)


def test_a_model_is_recorded():
    torch.manual_seed(0)
    model = nn.Sequential(*(Block(32, 4) for _ in range(3)))
    x = draw(2, 19, 32).float()
    found = {}
    for device in ("cpu", "cuda"):
        there = copy.deepcopy(model).to(device)
        plain = there(x.to(device))
        with al.record_attention(there) as report:
            assert torch.equal(there(x.to(device)), plain)
        found[device] = report.to_dict()
    assert found["cuda"].keys() == found["cpu"].keys()
    assert str(found["cuda"]) and found["cuda"] != {}


def test_memory_stays_linear_in_the_rows():
    """At 32,768 keys the logits of one head are 4 GiB in float32."""
    q, k, v = (torch.randn(1, 1, 32768, 64, device="cuda") for _ in range(3))
    for impl in ("fused", "triton"):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        al.softmax_attention_with_statistics(q, k, v, impl=impl)
        assert torch.cuda.max_memory_allocated() - before < 2**29, impl
