"""Every public function of tensors, called on three of them, for the tests that ask the same of each."""

import math

import torch

import attnlib as al

INF = math.inf
N, D = 9, 4
PADDING = torch.arange(N) < 7
DOCUMENTS = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2])


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


SINK, BIAS = draw(3, seed=8), draw(N, N, seed=9)
EVERYTHING = {
    "attn_mask": PADDING,
    "is_causal": True,
    "scale": lambda n, d: (n + 1).log(),
    "softcap": 3.0,
    "sink": SINK,
    "window": 4,
    "segment_ids": DOCUMENTS,
}
ORDERS = (0.0, 0.5, 1.1, 2.0, INF)


def phi(x):
    return torch.nn.functional.elu(x) + 1


def total(result):
    """A number that every tensor of a result enters; -inf and what is no float is left out."""
    if isinstance(result, torch.Tensor):
        if not result.dtype.is_floating_point:
            return torch.zeros((), dtype=torch.float64, device=result.device)
        return result.masked_fill(result == -INF, 0).sum()
    if isinstance(result, dict):
        return sum(total(x) for x in result.values())
    if isinstance(result, tuple):
        return sum(total(x) for x in result)
    return 0


def softmax(q):
    return torch.softmax(q, -1)


FUNCTIONS = {
    "softmax_entropy": lambda q, k, v: al.softmax_entropy(q, 0.7),
    "softmax_varentropy": lambda q, k, v: al.softmax_varentropy(q),
    "softmax_renyi_entropy": lambda q, k, v: (
        al.softmax_renyi_entropy(q, 0.5) + al.softmax_renyi_entropy(q, 0)
    ),
    "log_partition": lambda q, k, v: al.log_partition(q),
    "shannon_entropy": lambda q, k, v: al.shannon_entropy(softmax(q)),
    "renyi_entropy": lambda q, k, v: al.renyi_entropy(softmax(q), 3),
    "power_transform": lambda q, k, v: al.power_transform(softmax(q), 2.0),
    "normalize_entropy": lambda q, k, v: al.normalize_entropy(softmax(q), 1.0).p,
    "normalize_entropy_scores": lambda q, k, v: al.normalize_entropy_scores(q, 1.0).gamma,
    "sparsity": lambda q, k, v: al.sparsity.s0(q) + al.sparsity.s(q) + al.sparsity.s_star(q),
    "gini": lambda q, k, v: al.sparsity.gini(q),
    "softmax_attention": lambda q, k, v: al.softmax_attention(q, k, v),
    "softmax_attention padded": lambda q, k, v: al.softmax_attention(
        q, k, v, attn_mask=PADDING.to(q.device), is_causal=True
    ),
    "softmax_attention biased": lambda q, k, v: al.softmax_attention(q, k, v, attn_mask=_there(BIAS, q)),
    "softmax_attention sunk": lambda q, k, v: al.softmax_attention(q, k, v, sink=_there(SINK, q), window=3),
    "relu2_attention": lambda q, k, v: al.relu2_attention(q, k, v, normalize="sum"),
    "decay_attention": lambda q, k, v: al.decay_attention(v, 0.9) + 0 * q.sum(),
    "linear_attention": lambda q, k, v: al.linear_attention(q, k, v, feature_map=phi, is_causal=True),
    "linear_attention_stream": lambda q, k, v: al.linear_attention_stream(q, k, v, feature_map=phi)[0],
    "linear_row_statistics": lambda q, k, v: total(
        al.linear_row_statistics(q, k, feature_map=phi, is_causal=True)
    ),
    "stream_row_statistics": lambda q, k, v: total(al.stream_row_statistics(q, k.split(4, -2))),
}
for impl in ("fused", "blockwise", "reference"):
    FUNCTIONS |= {
        f"row_entropy {impl}": lambda q, k, v, impl=impl: al.row_entropy(q, k, impl=impl).entropy,
        f"row_statistics {impl}": lambda q, k, v, impl=impl: total(
            al.row_statistics(q, k, orders=ORDERS, impl=impl, is_causal=True)
        ),
        f"with statistics {impl}": lambda q, k, v, impl=impl: total(
            al.softmax_attention_with_statistics(
                q, k, v, orders=ORDERS, impl=impl, **{n: _there(x, q) for n, x in EVERYTHING.items()}
            )
        ),
        f"targeted {impl}": lambda q, k, v, impl=impl: total(
            al.entropy_targeted_attention(q, k, v, 1.0, impl=impl)[:2]
        ),
        f"temperature {impl}": lambda q, k, v, impl=impl: total(
            al.entropy_temperature(q, k, 1.0, per="head", softcap=5.0, impl=impl)[:2]
        ),
    }
for impl in ("blockwise", "reference"):
    FUNCTIONS |= {
        f"key_statistics {impl}": lambda q, k, v, impl=impl: total(al.key_statistics(q, k, impl=impl)),
        f"top_mass {impl}": lambda q, k, v, impl=impl: al.top_mass(q, k, count=3, impl=impl),
    }


def _there(x, like):
    """On the device of q, and a real number in its dtype."""
    if not isinstance(x, torch.Tensor):
        return x
    return x.to(like.device, like.dtype if x.is_floating_point() else None)


def loss(name):
    """A scalar whose gradient tells the entries of the result apart."""

    def of(q, k, v):
        result = FUNCTIONS[name](q, k, v)
        weights = torch.linspace(0.5, 1.5, result.numel(), dtype=result.dtype, device=result.device)
        return (result.reshape(-1) * weights).sum()

    return of


def gradients(function, tensors):
    leaves = [x.clone().requires_grad_() for x in tensors]
    found = torch.autograd.grad(function(*leaves), leaves, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(leaves, found)]
