"""The kernels of ``impl='triton'`` against the float64 reference; test_triton.py runs this file.

On a CPU by Triton's interpreter (TRITON_INTERPRET=1), on a GPU if ATTNLIB_TEST_DEVICE=cuda.
"""

import functools
import importlib.util
from pathlib import Path

import pytest
import row_cases
import torch
from row_cases import DEVICE, INF, N_K, N_Q, OPTIONS, close, draw, fields, inputs, loss

import attnlib as al
from attnlib._rows import by_triton
from attnlib._rows.layout import resolve
from attnlib.errors import InvalidArgument


@pytest.fixture(autouse=True, scope="session")
def products_of_bfloat16():
    """Triton's interpreter keeps bfloat16 as integers, and multiplies those; here, what they stand for."""
    if DEVICE != "cpu":
        return
    from triton.runtime import interpreter

    builder, dot = interpreter.InterpreterBuilder, interpreter.InterpreterBuilder.create_dot

    def widened(self, x):
        narrow = x.dtype.scalar == interpreter.tl.bfloat16
        return self.cast_impl(x, interpreter.tl.float32) if narrow else x

    builder.create_dot = lambda self, a, b, *rest: dot(self, widened(self, a), widened(self, b), *rest)


compare = functools.partial(row_cases.compare, "triton")


@pytest.mark.parametrize("name", OPTIONS)
def test_options(name):
    compare(*inputs(), **OPTIONS[name])


@pytest.mark.parametrize("rows, keys", [(16, 64), (64, 16)])
@pytest.mark.parametrize("name", ["causal", "sides", "ahead", "all"])
def test_blocks_of_other_sides(monkeypatch, name, rows, keys):
    monkeypatch.setattr(by_triton, "_SIDES", {1 << 20: (rows, keys)})
    compare(*inputs(), **OPTIONS[name])


@pytest.mark.parametrize("n_q, n_k", [(1, 1), (1, 50), (50, 1), (16, 16), (33, 63), (63, 33)])
@pytest.mark.parametrize("is_causal", [False, True])
def test_lengths(n_q, n_k, is_causal):
    compare(*inputs(n_q, n_k, heads=1), is_causal=is_causal)


@pytest.mark.parametrize("d, dv", [(1, 1), (16, 33), (40, 3), (130, 70)])
def test_head_sizes(d, dv):
    compare(*inputs(9, 20, d, dv, heads=1))


def test_grouped_queries():
    compare(*inputs(heads=6, key_heads=2), enable_gqa=True, is_causal=True)


def test_dimensions_that_broadcast_or_lie_otherwise():
    q, k, v = inputs()
    compare(q, k[:1], v[:, :1])
    compare(q[0], k[0], v[0])
    compare(*(x.mT.contiguous().mT for x in (q, k, v)))
    compare(*(x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v)), **OPTIONS["bias"])


def test_rows_that_see_nothing():
    q, k, v = (x.requires_grad_() for x in inputs())
    mask = torch.ones(N_Q, N_K, dtype=torch.bool, device=DEVICE)
    mask[::2] = False
    mask[5, 1:] = False
    found = al.softmax_attention_with_statistics(q, k, v, attn_mask=mask, impl="triton")
    rows = found.statistics
    assert (found.output[..., ::2, :] == 0).all() and (rows.lse[..., ::2] == -INF).all()
    assert (rows.max_logit[..., ::2] == -INF).all() and (rows.entropy[..., ::2] == 0).all()
    assert (rows.effective_tokens[..., ::2] == 1).all() and (rows.varentropy[..., ::2] == 0).all()
    gradients = torch.autograd.grad(loss(found), (q, k, v))
    assert (gradients[0][..., ::2, :] == 0).all() and all(x.isfinite().all() for x in gradients)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["plain", "cap", "sliding"])
def test_narrow_dtypes_err_no_more_than_rows_written_out(dtype, name):
    row_cases.compare_narrow("triton", *inputs(dtype=dtype), **OPTIONS[name])


def narrow_rows(dtype, device=DEVICE):
    """Rows of half precision before they are rounded to it, their gradients, and both of the reference."""
    q, k, v = inputs(dtype=dtype)
    pairs = []
    for narrow, wide in ((dtype, torch.float32), (None, torch.float64)):
        leaves = [x.detach().to(wide).requires_grad_() for x in (q, k, v)]
        if narrow is None:
            found = al.softmax_attention_with_statistics(*leaves, impl="reference")
            rows = (found.output, found.statistics.entropy, found.statistics.varentropy)
        else:
            rest = dict(attn_mask=None, is_causal=False, scale=None, enable_gqa=False, dtype=wide)
            tensors, geometry = resolve(*leaves, **rest)
            found = by_triton.rows_by_triton(tensors, geometry.pattern, True, narrow)
            rows = (found.output, found.entropy, found.varentropy)
        pairs.append([*rows, *torch.autograd.grad(sum(x.square().sum() for x in rows), leaves)])
    return zip(*pairs)


# Products are formed from parts that hold 16 bits of a number of bfloat16's range, and 22 of float16's.
PARTS = {torch.bfloat16: 2**-13, torch.float16: 2**-17}


@pytest.mark.parametrize("dtype", PARTS)
def test_what_was_computed_is_not_rounded_to_half_precision(dtype):
    for got, want in narrow_rows(dtype):
        error, size = (got.double() - want).abs().max(), want.abs().max()
        assert error <= PARTS[dtype] * size, (error, size)


@pytest.mark.parametrize("where", ["most.to(x.dtype)).to(tl.bfloat16)", "most.to(y.dtype)).to(tl.bfloat16)"])
def test_a_part_left_out_is_seen(monkeypatch, tmp_path, where):
    mutated(monkeypatch, tmp_path / "mutant.py", where, where + " * 0")
    with pytest.raises(AssertionError):
        test_what_was_computed_is_not_rounded_to_half_precision(torch.bfloat16)


def test_long_rows_do_not_cost_digits():
    q, k, v = inputs(2, 5000, d=8, heads=1, batch=1, dtype=torch.float32)
    q = 4 * q
    got = al.softmax_attention_with_statistics(q, k, v, impl="triton")
    want = al.softmax_attention_with_statistics(q.double(), k.double(), v.double(), impl="reference")
    # The rounding of the logits, and nothing that grows with the number of keys.
    budget = (
        4 * torch.finfo(torch.float32).eps * (q.norm(dim=-1).max() * k.norm(dim=-1).max() / 8**0.5).item()
    )
    for name, x in fields(got).items():
        close(x, fields(want)[name], budget, name)


def test_keys_with_a_large_common_part():
    q, k, v = inputs(dtype=torch.float32)
    shift = 300 * draw(7, seed=4, dtype=torch.float32)
    got = al.row_statistics(q, k + shift, impl="triton")
    want = al.row_statistics(q.double(), (k + shift).double(), impl="reference")
    close(got.entropy, want.entropy, 1e-3, "entropy")
    close(got.varentropy, want.varentropy, 1e-3, "varentropy")


@pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")  # NumPy's, which interprets
def test_rows_of_huge_logits():
    q, k, v = (x.float() for x in inputs())
    rows = al.row_statistics(1e15 * q, 1e15 * k, impl="triton")
    assert (rows.entropy == 0).all() and (rows.varentropy == 0).all() and (rows.effective_tokens == 1).all()
    with pytest.raises(InvalidArgument, match="beyond the range"):
        al.row_statistics(1e20 * q, 1e20 * k, impl="triton")


def test_the_largest_logit_belongs_to_the_first_of_equal_keys():
    q = torch.ones(1, 1, 1, 2, dtype=torch.float64, device=DEVICE)
    k = torch.zeros(1, 1, 40, 2, dtype=torch.float64, device=DEVICE)
    k[..., [7, 20, 35], :] = 1
    k.requires_grad_()
    (gradient,) = torch.autograd.grad(al.row_statistics(q, k, impl="triton").max_logit.sum(), k)
    assert gradient[0, 0, :, 0].nonzero().flatten().tolist() == [7]


@pytest.mark.parametrize("field", ["lse", "entropy", "varentropy", "effective_tokens", "max_logit"])
def test_each_gradient_alone(field):
    q, k, _ = (x[:1, :1, :3] for x in inputs(d=2))
    function = lambda q, k: getattr(al.row_statistics(q, k, impl="triton"), field)  # noqa: E731
    assert torch.autograd.gradcheck(function, (q.detach().requires_grad_(), k.detach().requires_grad_()))


def test_entropy_alone_and_nothing():
    q, k, v = inputs()
    got, want = (al.row_entropy(q, k, impl=impl) for impl in ("triton", "reference"))
    close(got.entropy, want.entropy, 1e-12, "entropy")
    none = al.softmax_attention_with_statistics(q[:0], k[:0], v[:0], impl="triton")
    assert none.output.shape == (0, 3, N_Q, 5) and none.statistics.lse.shape == (0, 3, N_Q)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # PyTorch's own, at its first jvp
def test_transforms():
    q, k, _ = inputs()
    many = torch.func.vmap(lambda q, k: al.row_statistics(q, k, impl="triton").entropy)(q, k)
    close(many, al.row_statistics(q, k, impl="reference").entropy, 1e-12, "entropy")
    with pytest.raises(InvalidArgument, match="impl='triton' has no forward-mode"):
        torch.func.jvp(lambda q: al.row_entropy(q, k, impl="triton").entropy, (q,), (q,))
    q.requires_grad_()
    (gradient,) = torch.autograd.grad(al.row_entropy(q, k, impl="triton").entropy.sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="once"):
        gradient.sum().backward()


def test_compiles():
    q, k, v = inputs(dtype=torch.float32)

    def output_and_entropy(q, k, v):
        found = al.softmax_attention_with_statistics(q, k, v, impl="triton")
        return found.output, found.statistics.entropy

    compiled = torch.compile(output_and_entropy, fullgraph=True, backend="aot_eager")
    for got, want in zip(compiled(q, k, v), output_and_entropy(q, k, v)):
        close(got, want, 1e-6, "compiled")


def test_shapes_are_promised():
    q, k, v = inputs()
    rest = dict(attn_mask=None, is_causal=True, scale=None, enable_gqa=False, dtype=None)
    for moments, values in ((0, None), (0, v), (1, None), (1, v)):
        tensors, geometry = resolve(q, k, values, **rest)
        numbers = (float(moments), float(values is not None), 0.0)
        found, promised = (
            getattr(by_triton.PASSES["triton"], name)(tensors, geometry.pattern, numbers)
            for name in ("forward", "shapes")
        )
        assert [(x.shape, x.dtype) for x in found] == [(x.shape, x.dtype) for x in promised]


# Every one is an error that was easy to make, and that the comparison has to see.
MUTANTS = {
    "no weight of the block before": ("squares * kept * kept", "squares * kept"),
    "no fall of the mean": ("of_old * (fall + mean)", "of_old * mean"),
    "means apart forgotten": (" + of_old * of_found * apart * apart", ""),
    "output not rescaled": ("weighted * kept[:, None] + _times", "weighted + _times"),
    "band one too wide": ("key[None, :] - row[:, None] <= high", "key[None, :] - row[:, None] <= high + 1"),
    "band one too narrow": ("key[None, :] - row[:, None] >= low", "key[None, :] - row[:, None] > low"),
    "last keys of a band left out": ("tl.minimum(start + ROWS + high, n_k)", "tl.minimum(start + high, n_k)"),
    "last rows of a band left out": ("tl.minimum(start + KEYS - low, n_q)", "tl.minimum(start - low, n_q)"),
    "slope of the cap": ("1.0 - bent * bent", "1.0 - bent"),
    "bias in nats": (" * 1.4426950408889634", ""),
    "segments": ("own[:, None] == other[None, :]", "own[:, None] <= other[None, :]"),
    "linear term": ("+ x * _term(terms, 4,", "+ _term(terms, 4,"),
    "own term": ("factor += p * _term", "factor -= p * _term"),
    "weights of values": ("tl.trans(p), of_output", "tl.trans(gradient), of_output"),
}


def mutated(monkeypatch, path, old, new):
    """The kernels with one place of their source changed, wherever it stands."""
    text = Path(by_triton.__file__).with_name("triton_kernels.py").read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(by_triton, "_kernels", lambda: module)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_error_is_seen(monkeypatch, tmp_path, name):
    monkeypatch.setattr(by_triton, "_SIDES", {1 << 20: (16, 16)})
    bias = draw(2, 1, 1, N_K, seed=7)
    some = (
        {"softcap": 2.0, "window": (9, 4), "attn_mask": bias},
        {"segment_ids": OPTIONS["documents"]["segment_ids"]},
    )
    if name == next(iter(MUTANTS)):
        for options in some:
            compare(*inputs(heads=1), **options)
    mutated(monkeypatch, tmp_path / "mutant.py", *MUTANTS[name])
    # Some make results that no logits give, which the library refuses by itself.
    with pytest.raises((AssertionError, InvalidArgument)):
        for options in some:
            compare(*inputs(heads=1), **options)
