"""What runs on CUDA, on fake tensors: operators, signatures, shapes, dtypes and devices, without a GPU.

A build of PyTorch without CUDA slices no tensor there, not even a fake one. The device is `meta` instead,
where no forgotten tensor would be. Values are not computed. Two devices in one operation, a wrong signature
or a shape that does not fit are errors of PyTorch's own; what the kernel demands besides is checked.
"""

import math

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from attnlib._rows import engine, kernels
from attnlib._rows.layout import resolve
from attnlib._rows.passes import PASSES

N_Q, N_K = 21, 35
FORWARD = torch.ops.aten._scaled_dot_product_efficient_attention.default
BACKWARD = torch.ops.aten._scaled_dot_product_efficient_attention_backward.default


class Watch(TorchDispatchMode):
    """Every call of the two operators, held to what PyTorch's memory-efficient kernels demand."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is FORWARD:
            self.check(args[:3], args[3])
            assert args[4] is True, "the log-sum-exp has to be asked for"
        if function is BACKWARD:
            grad_out, q, k, v, bias, out, lse = args[:7]
            self.check((q, k, v, grad_out, out), bias)
            assert grad_out.shape == out.shape and lse.dtype == torch.float32
            assert lse.shape[-1] % 32 == 0 and lse.shape[-1] >= q.shape[-2]
        if function in (FORWARD, BACKWARD):
            self.seen.append(function)
            assert kwargs["scale"] > 0
        return function(*args, **kwargs)

    @staticmethod
    def check(tensors, bias):
        q, k, v, *_ = tensors
        assert q.shape[-1] == k.shape[-1] and k.shape[-2] == v.shape[-2]
        for x in tensors:
            assert x.ndim == 4 and x.stride(-1) == 1 and x.shape[-1] % 8 == 0
            assert x.dtype == torch.float32 and x.device.type == "meta"
        if bias is not None:
            assert bias.shape == (*q.shape[:3], k.shape[-2]) and bias.dtype == q.dtype
            # Rows of a bias begin at multiples of 16 bytes.
            assert all(step * bias.element_size() % 16 == 0 for step in bias.stride()[:-1])


@pytest.fixture(autouse=True)
def kernels_of_cuda(monkeypatch):
    monkeypatch.setitem(kernels.KERNELS, "meta", kernels.KERNELS["cuda"])
    monkeypatch.setattr(engine, "engine_for", lambda *_: "kernels")


def cuda(*shape, dtype=torch.float32):
    return torch.empty(*shape, dtype=dtype, device="meta")


CASES = {
    "plain": lambda: {},
    "causal": lambda: {"is_causal": True},
    "padding": lambda: {"attn_mask": cuda(2, 1, 1, N_K) > 0},
    "padding and causal": lambda: {"attn_mask": cuda(2, 1, 1, N_K) > 0, "is_causal": True},
    "a head": lambda: {"attn_mask": cuda(3, N_Q, N_K) > 0},
    "columns": lambda: {"attn_mask": cuda(N_Q, 1) > 0},
    "grouped": lambda: {"enable_gqa": True},
    "a rule": lambda: {"scale": lambda n, d: 0.5},
    "scale a row": lambda: {"scale": cuda(3, N_Q)},
}


def resolved(name, d, dv, dtype=torch.float32, **more):
    arguments = {"attn_mask": None, "is_causal": False, "scale": None, "enable_gqa": False, **CASES[name]()}
    heads = 1 if arguments["enable_gqa"] else 3
    q, k, v = cuda(2, 3, N_Q, d, dtype=dtype), cuda(2, heads, N_K, d, dtype=dtype), None
    if dv:
        v = cuda(2, heads, N_K, dv, dtype=dtype)
    return resolve(q, k, v, dtype=torch.float32, **arguments, **more)


def on_cuda(tensors):
    return all(x.device == torch.device("meta") for x in tensors if x is not None)


def same(found, promised):
    return [(x.shape, x.dtype) for x in found] == [(x.shape, x.dtype) for x in promised]


def pass_by_kernels(name, d, dv, moments, dtype=torch.float32):
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), Watch() as watch:
        tensors, geometry = resolved(name, d, dv, dtype)
        a_pass, numbers = PASSES["kernels"], (float(moments),)
        results = a_pass.forward(tensors, geometry.pattern, numbers)
        assert same(results, a_pass.shapes(tensors, geometry.pattern, numbers)) and on_cuda(results)
        grads = [torch.empty_like(x) for x in results[:-1]]
        gradients = a_pass.backward(tensors, geometry.pattern, numbers, results, grads, False)
        wanted = [x for x in (tensors.q, tensors.k, tensors.v) if x is not None]
        found = [x for x in (gradients.q, gradients.k, gradients.v) if x is not None]
        assert same(found, wanted) and on_cuda(found)
    return watch.seen


@pytest.mark.parametrize("d, dv", [(8, 8), (7, 0), (64, 64), (100, 3)])
@pytest.mark.parametrize("name", CASES)
def test_statistics_and_gradients(name, d, dv):
    assert pass_by_kernels(name, d, dv, moments=True) == [FORWARD, BACKWARD, BACKWARD]
    assert pass_by_kernels(name, d, dv, moments=False) == [FORWARD, BACKWARD]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened_first(dtype):
    assert pass_by_kernels("padding", 64, 64, True, dtype) == [FORWARD, BACKWARD, BACKWARD]


@pytest.mark.parametrize("name", CASES)
def test_output_alone(name):
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), Watch() as watch:
        tensors, geometry = resolved(name, 7, 5)
        a_pass = PASSES["attend"]
        results = a_pass.forward(tensors, geometry.pattern, ())
        assert same(results, a_pass.shapes(tensors, geometry.pattern, ())) and on_cuda(results)
        gradients = a_pass.backward(
            tensors, geometry.pattern, (), results, [torch.empty_like(results[0]), None], False
        )
        assert same(gradients[:3], tensors[:3]) and on_cuda(gradients[:3])
    assert watch.seen == [FORWARD, BACKWARD]


@pytest.mark.parametrize("name", CASES)
def test_all_that_is_asked_of_rows(name):
    """What the engine does around the kernels leaves nothing on another device."""
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        tensors, geometry = resolved(name, 16, 16, sink=cuda(3))
        rows = engine.evaluate(tensors, geometry, {0.5, 1.1, 2.0, math.inf}, True, "fused")
        several = (rows.output, rows.lse, rows.entropy, rows.varentropy, rows.max_logit, rows.sink_share)
        assert on_cuda((*several, *rows.renyi.values(), geometry.visible))
        assert all(x.shape == (2, 3, N_Q) for x in (*several[1:], *rows.renyi.values()))


WRITTEN = {
    "cap": {"softcap": 2.0},
    "window": {"window": (3, 2), "is_causal": True},
    "documents": {"segment_ids": lambda: (cuda(2, N_Q).long(), cuda(2, N_K).long())},
    "bias": {"attn_mask": lambda: cuda(3, N_Q, N_K)},
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written_out_stays_on_the_device(name):
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        options = {key: value() if callable(value) else value for key, value in WRITTEN[name].items()}
        q, k, v = cuda(2, 3, N_Q, 8), cuda(2, 3, N_K, 8), cuda(2, 3, N_K, 8)
        rest = {"attn_mask": None, "is_causal": False, "scale": None, "enable_gqa": False}
        tensors, geometry = resolve(q, k, v, dtype=torch.float32, **(rest | options))
        a_pass, numbers = PASSES["statistics"], (1.0, 2.0)
        results = a_pass.forward(tensors, geometry.pattern, numbers)
        assert same(results, a_pass.shapes(tensors, geometry.pattern, numbers)) and on_cuda(results)


PLANTED = {
    "a head size that is no multiple": ("_aligned", staticmethod(lambda x: x)),
    "a bias whose rows are not aligned": (
        "_expand",
        staticmethod(lambda bias, q, k: None if bias is None else bias.expand(*q.shape[:3], k.shape[2])),
    ),
    "a bias elsewhere": (
        "_expand",
        staticmethod(lambda bias, q, k: torch.zeros(*q.shape[:3], k.shape[2], device="cpu")),
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_error_is_seen(monkeypatch, name):
    pass_by_kernels("a head", 7, 5, True)
    monkeypatch.setattr(kernels.CUDAKernels, *PLANTED[name])
    with pytest.raises((AssertionError, RuntimeError)):
        pass_by_kernels("a head", 7, 5, True)
