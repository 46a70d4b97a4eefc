"""Every public function under torch.func, compile, export, fake and meta tensors, and autocast."""

import importlib
import math
from functools import partial

import pytest
import torch
from public_functions import BIAS, FUNCTIONS, INF, D, N, draw, gradients, loss, phi
from torch._subclasses.fake_tensor import FakeTensorMode

import attnlib as al
from attnlib.errors import InvalidArgument

TORCH = tuple(map(int, torch.__version__.split(".")[:2]))

# Of PyTorch itself: when it first takes a derivative in forward mode, and while it compiles one in reverse.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]


@pytest.fixture
def tensors():
    return tuple(draw(1, 3, N, D, seed=i) for i in range(3))


def close(got, want):
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_vmap(name, tensors):
    several = [torch.stack([x, x.flip(-2), 0.5 * x]) for x in tensors]
    got = torch.func.vmap(FUNCTIONS[name])(*several)
    close(got, torch.stack([FUNCTIONS[name](*parts) for parts in zip(*several)]))
    q, k, v = tensors
    one = torch.func.vmap(lambda q: FUNCTIONS[name](q, k, v))(several[0])
    close(one, torch.stack([FUNCTIONS[name](x, k, v) for x in several[0]]))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_of_torch_func(name, tensors):
    function = loss(name)
    want = gradients(function, tensors)
    close(list(torch.func.grad(function, argnums=(0, 1, 2))(*tensors)), want)
    close(list(torch.func.jacrev(function, argnums=(0, 1, 2))(*tensors)), want)
    close(list(torch.func.jacfwd(function, argnums=(0, 1, 2))(*tensors)), want)
    along = tuple(draw(*x.shape, seed=9) for x in tensors)
    close(torch.func.jvp(function, tensors, along)[1], sum((a * g).sum() for a, g in zip(along, want)))
    each = torch.func.vmap(torch.func.grad(function))(*(x[None] for x in tensors))
    close(each[0], want[0])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_jacobian(name, tensors):
    """Many outputs at once: the backward pass itself is mapped over."""
    q, k, v = tensors
    got = torch.func.jacrev(lambda q: FUNCTIONS[name](q, k, v).reshape(-1)[:3])(q)
    want = torch.autograd.functional.jacobian(lambda q: FUNCTIONS[name](q, k, v).reshape(-1)[:3], q)
    close(got, want)


def test_jacobian_in_a_shared_bias(tensors):
    """What all batches share must not be summed over the outputs that are mapped over."""
    q, k, _ = (torch.cat([x, 2 * x]) for x in tensors)
    for impl in ("fused", "blockwise"):
        function = lambda b: al.row_entropy(q, k, attn_mask=b, impl=impl).entropy.sum(-1)  # noqa: E731
        close(torch.func.jacrev(function)(BIAS), torch.autograd.functional.jacobian(function, BIAS))


@pytest.mark.skipif(TORCH < (2, 13), reason="torch 2.11 compiles some of them in several pieces only")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_compile_without_a_break(name, tensors):
    torch._dynamo.reset()
    compiled = torch.compile(FUNCTIONS[name], fullgraph=True, backend="aot_eager")
    close(compiled(*tensors), FUNCTIONS[name](*tensors))
    compiled = torch.compile(loss(name), fullgraph=True, backend="aot_eager")
    close(gradients(compiled, tensors), gradients(loss(name), tensors))


RULES = {
    "sqrt_d": al.scale.sqrt_d,
    "log_n": partial(al.scale.log_n, base=7),
    "kappa_log": partial(al.scale.kappa_log, kappa=0.7),
    "info": partial(al.scale.info, n_train=5),
}


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("name", RULES)
def test_scale_rules_compile_without_a_break(name, is_causal, tensors):
    torch._dynamo.reset()
    function = partial(al.softmax_attention, scale=RULES[name], is_causal=is_causal)
    close(torch.compile(function, fullgraph=True, backend="aot_eager")(*tensors), function(*tensors))


class Module(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, q, k, v):
        return self.function(q, k, v)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_export(name, tensors):
    exported = torch.export.export(Module(FUNCTIONS[name]), tensors).module()
    other = tuple(x.flip(-2) for x in tensors)
    close(exported(*other), FUNCTIONS[name](*other))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_fake_and_meta_tensors_have_the_shape(name, tensors):
    want = FUNCTIONS[name](*tensors)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        got = FUNCTIONS[name](*map(mode.from_tensor, tensors))
    assert got.shape == want.shape and got.dtype == want.dtype
    got = FUNCTIONS[name](*(x.to("meta") for x in tensors))
    assert got.is_meta and got.shape == want.shape and got.dtype == want.dtype


def test_values_are_checked_again_where_they_can_be(tensors):
    q, k, _ = tensors
    with pytest.raises(InvalidArgument, match="q must be finite"):
        al.row_entropy(q * math.nan, k)
    with pytest.raises(InvalidArgument, match="q must be finite"):
        torch.func.grad(lambda q: al.row_entropy(q, k).entropy.sum())(q * math.nan)


def test_an_unreachable_target_is_told_from_inside_of_a_graph(tensors):
    compiled = torch.compile(
        lambda q: al.normalize_entropy_scores(q, 5.0).gamma, fullgraph=True, backend="aot_eager"
    )
    with pytest.raises(ValueError, match="target=5.0 .* is out of reach"):
        compiled(tensors[0])


def test_second_derivatives_under_a_transform(tensors):
    q, k, _ = (x[..., :3, :2] for x in tensors)
    function = lambda q: al.row_entropy(q, k, impl="reference").entropy.sum()  # noqa: E731
    want = torch.autograd.functional.hessian(function, q)
    close(torch.func.hessian(function)(q), want)
    # Forward over reverse needs no second derivative of an operator.
    close(torch.func.hessian(lambda q: al.row_entropy(q, k).entropy.sum())(q), want)


CUDA = {
    "plain": {},
    "causal": {"is_causal": True},
    "masked": {"attn_mask": torch.ones(1, N, device="meta") > 0},
}


@pytest.mark.parametrize("case", CUDA)
@pytest.mark.parametrize("d", [8, 7])
def test_the_adapter_for_cuda_on_meta_tensors(monkeypatch, case, d):
    """Operators of CUDA take these arguments and give these shapes, forward and backward; values need one."""
    from attnlib._rows import cuda, engine, kernels, layout

    monkeypatch.setitem(kernels.KERNELS, "meta", kernels.KERNELS["cuda"])
    q, k, v = (torch.empty(2, 3, N, d, device="meta") for _ in range(3))
    tensors, geometry = (
        layout.resolve(
            q,
            k,
            v,
            is_causal=False,
            scale=None,
            enable_gqa=False,
            dtype=None,
            **({"attn_mask": None} | CUDA[case]),
        )
        if case != "causal"
        else layout.resolve(q, k, v, attn_mask=None, is_causal=True, scale=None, enable_gqa=False, dtype=None)
    )
    a_pass = cuda.PASSES["kernels"]
    results = a_pass.forward(tensors, geometry.pattern, (1.0,))
    promised = a_pass.shapes(tensors, geometry.pattern, (1.0,))
    assert [x.shape for x in results] == [x.shape for x in promised]
    grads = a_pass.backward(tensors, geometry.pattern, (1.0,), results, list(results[:4]), False)
    assert [x.shape for x in (grads.q, grads.k, grads.v)] == [q.shape, k.shape, v.shape]
    rows = engine._fused(tensors, geometry, {0.5, 2.0, INF}, True, engine._by_kernels)
    assert rows.output.shape == v.shape and all(x.shape == q.shape[:3] for x in rows.renyi.values())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_autocast_changes_nothing(name, tensors):
    leaves = [x.float().requires_grad_() for x in tensors]
    want = loss(name)(*leaves)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = loss(name)(*leaves)
    assert got.dtype == torch.float32 and torch.equal(got, want)
    within, alone = (torch.autograd.grad(x, leaves, allow_unused=True) for x in (got, want))
    assert all(x is y or torch.equal(x, y) for x, y in zip(within, alone))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_autocast_takes_nothing_from_gradients(name, tensors):
    """A backward pass inside of it as well, where PyTorch would differentiate its own products in bfloat16.

    Allowed is twice the error of the same gradient in float32 outside of autocast, and a rounding of the
    largest entry; one product rounded to bfloat16 is off by 2^-9 of its size, 16,000 times as much.
    """
    narrow = [x.float() for x in tensors]
    exact = gradients(loss(name), [x.double() for x in narrow])
    outside = gradients(loss(name), narrow)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = gradients(loss(name), narrow)
    for want, alone, got in zip(exact, outside, inside, strict=True):
        allowed = 2 * (alone - want).abs().max() + torch.finfo(torch.float32).eps * want.abs().max()
        assert (got - want).abs().max() <= allowed


@pytest.mark.parametrize(
    "name, module",
    [
        ("decay_attention", "attention"),
        ("linear_attention", "linear"),
        ("row_statistics fused", "_rows.layout"),
    ],
)
def test_products_of_pytorch_would_be_seen(name, module, tensors, monkeypatch):
    monkeypatch.setattr(importlib.import_module(f"attnlib.{module}"), "product", torch.matmul)
    with pytest.raises(AssertionError):
        test_autocast_takes_nothing_from_gradients(name, tensors)


def test_second_derivatives_stay_exact_under_autocast(tensors):
    def second(q, k, v):
        output = al.linear_attention(q, k, v, feature_map=phi, is_causal=True)
        (first,) = torch.autograd.grad(output.square().sum(), q, create_graph=True)
        return torch.autograd.grad(first.square().sum(), k)[0]

    want = second(*(x.clone().requires_grad_() for x in tensors))
    narrow = [x.float().requires_grad_() for x in tensors]
    alone = second(*narrow)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = second(*narrow)
    assert torch.equal(got, alone)
    torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-4 * want.abs().max().item())


def test_autocast_mixes_dtypes(tensors):
    q, k, v = (x.float() for x in tensors)
    k, v = k.bfloat16(), v.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = al.softmax_attention_with_statistics(q, k, v)
    assert torch.equal(got.output, al.softmax_attention_with_statistics(q, k.float(), v.float()).output)
    with pytest.raises(TypeError, match="k must have the dtype of q"):
        al.row_entropy(q, k)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_function_touches_the_random_state(name, tensors):
    before = torch.get_rng_state()
    gradients(loss(name), tensors)
    assert torch.equal(torch.get_rng_state(), before)
