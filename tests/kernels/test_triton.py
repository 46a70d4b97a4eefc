"""The kernels of ``impl='triton'``: interpreted on a CPU, compiled for absent GPUs, refused elsewhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import attnlib as al
from attnlib.errors import EngineNotAvailable, InvalidArgument

CASES = Path(__file__).with_name("interpreted.py")
HOME = Path(al.__file__).parents[1]


def run_cases(**environment):
    """In a process of its own: what interprets a kernel is chosen when its module is imported."""
    path = os.pathsep.join(map(str, [HOME, *sys.path]))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", CASES],
        env={**os.environ, "PYTHONPATH": path, **environment},
        cwd=CASES.parents[2],
        capture_output=True,
        text=True,
    )


@pytest.mark.triton
def test_arithmetic_by_the_interpreter():
    done = run_cases(TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " skipped" not in done.stdout and " passed" in done.stdout


@pytest.mark.triton
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: kernels are interpreted alone")
def test_arithmetic_on_cuda():
    done = run_cases(ATTNLIB_TEST_DEVICE="cuda")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


# What the compiler asks for, by the dtype that q, k and v came in, the width of a row and the capability: T4,
# A100, H100.
SHARED = [
    (torch.float32, 64, 75, 64),
    (torch.float32, 128, 75, 64),
    (torch.float32, 256, 80, 96),
    (torch.bfloat16, 64, 80, 96),
    (torch.bfloat16, 128, 80, 96),
    (torch.bfloat16, 256, 90, 96),
    (torch.float16, 64, 80, 96),
    (torch.float16, 128, 90, 96),
]
POINTERS = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16"}
FLOATS = {"bias", "settings", "sums", "output", "terms", "grad_output", "grad_q", "grad_k", "grad_v"}
FLOATS |= {"grad_bias"}
INTEGERS = {"best", "row_segments", "key_segments"}


@pytest.mark.triton
@pytest.mark.parametrize("kernel", ["forward", "backward_of_rows", "backward_of_keys"])
@pytest.mark.parametrize("dtype, width, capability, kilobytes", SHARED)
def test_compiles_without_a_gpu_and_fits_it(kernel, dtype, width, capability, kilobytes):
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from attnlib._rows import by_triton, triton_kernels

    x = torch.zeros(1, 1, 1, width)
    narrow = None if dtype == torch.float32 else dtype
    launch = by_triton._Launch(
        by_triton.Tensors(x, x, x), by_triton.Pattern(1.0), narrow, kernel != "forward"
    )
    options = {name: launch.flags.pop(name) for name in by_triton._OPTIONS}
    function = getattr(triton_kernels, kernel)
    signature, constants = {}, {}
    for place, name in enumerate(function.arg_names):
        if name.isupper():
            constants[(place,)] = launch.flags.get(name) or True
            signature[name] = "constexpr"
        elif name in ("q", "k", "v"):
            signature[name] = POINTERS[dtype]
        elif name in FLOATS or name in INTEGERS:
            signature[name] = "*fp32" if name in FLOATS else "*i64"
        else:
            signature[name] = "i32"
    source = ASTSource(fn=function, signature=signature, constexprs=constants)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    assert compiled.asm["cubin"] and compiled.metadata.shared <= 1024 * kilobytes


@pytest.mark.triton
def test_needs_a_cuda_device():
    q = torch.ones(1, 3, 4)
    with pytest.raises(EngineNotAvailable, match="needs tensors on a CUDA device, got cpu"):
        al.row_entropy(q, q, impl="triton")


def test_needs_the_package(monkeypatch):
    import attnlib._rows

    monkeypatch.delattr(attnlib._rows, "triton_kernels", raising=False)
    monkeypatch.delitem(sys.modules, "attnlib._rows.triton_kernels", raising=False)
    monkeypatch.setitem(sys.modules, "triton", None)
    q = torch.ones(1, 3, 4)
    for call in (
        lambda: al.row_entropy(q, q, impl="triton"),
        lambda: al.row_statistics(q, q, impl="triton"),
        lambda: al.softmax_attention_with_statistics(q, q, q, impl="triton"),
    ):
        with pytest.raises(EngineNotAvailable, match="needs the package triton .*install it, or take"):
            call()


def test_no_other_function_knows_it():
    q = torch.ones(1, 3, 4)
    for call in (
        lambda: al.softmax_attention(q, q, q, impl="triton"),
        lambda: al.stream_row_statistics(q, [q], impl="triton"),
        lambda: al.key_statistics(q, q, impl="triton"),
    ):
        with pytest.raises(InvalidArgument, match="impl must be"):
            call()


def test_is_imported_only_where_it_is_asked_for():
    code = (
        "import sys, torch, attnlib as al\n"
        "q = torch.ones(1, 3, 4)\n"
        "al.softmax_attention_with_statistics(q, q, q)\n"
        "assert not [name for name in sys.modules if name.startswith('attnlib') and 'triton' in name]\n"
    )
    path = os.pathsep.join(map(str, [HOME, *sys.path]))
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, check=True)
