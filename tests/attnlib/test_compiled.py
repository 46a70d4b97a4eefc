"""The kernels of ``impl='compiled'`` against float64, as they are and in small blocks; and their building."""

import functools
import hashlib
import math
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import mpmath
import pytest
import row_cases
import torch
from row_cases import INF, N_K, N_Q, OPTIONS, close, draw, fields, inputs, loss

import attnlib as al
from attnlib._rows import building, compiled, layout
from attnlib._rows.layout import resolve
from attnlib.errors import EngineNotAvailable, InvalidArgument

EPS = torch.finfo(torch.float32).eps
SOURCE = building.SOURCE
# Lengths of a case then reach over several strips of rows, blocks of keys and chunks of columns.
SMALL = {"KEYS = 96": "KEYS = 12", "STRIPS = 4": "STRIPS = 1", "CHUNK = 64": "CHUNK = 32"}
compare = functools.partial(row_cases.compare, "compiled")


def _missing():
    try:
        building.compiler()
    except EngineNotAvailable as error:
        return str(error)


needs_compiler = pytest.mark.skipif(_missing() is not None, reason=f"no compiler: {_missing()}")


@pytest.fixture(scope="session")
def folder(request, tmp_path_factory):
    """Pytest's own cache, where later runs find what was built; without it, a folder of this run."""
    cache = getattr(request.config, "cache", None)
    return tmp_path_factory.mktemp("attnlib") if cache is None else cache.mkdir("attnlib")


@pytest.fixture(autouse=True)
def built_here(monkeypatch, folder):
    """Not in the user's cache."""
    monkeypatch.setenv("ATTNLIB_CACHE", str(folder))


@pytest.fixture
def from_source(monkeypatch, tmp_path):
    """Kernels from a changed source, built quickly."""

    def build(changes):
        text = SOURCE.read_text(encoding="utf-8")
        for old, new in changes.items():
            assert old in text, old
            text = text.replace(old, new)
        path = tmp_path / "changed.cpp"
        path.write_text(text, encoding="utf-8")
        monkeypatch.setattr(building, "SOURCE", path)
        monkeypatch.setattr(building, "_FLAGS", [x for x in building._FLAGS if x != "-O3"])
        building.library.cache_clear()

    yield build
    building.library.cache_clear()


@needs_compiler
@pytest.mark.parametrize("name", OPTIONS)
def test_options(name):
    compare(*inputs(), **OPTIONS[name])


@needs_compiler
def test_options_in_small_blocks(from_source):
    from_source(SMALL)
    for name, options in OPTIONS.items():
        try:
            compare(*inputs(d=40, dv=36), **options)
        except AssertionError as error:
            raise AssertionError(name) from error


@needs_compiler
@pytest.mark.parametrize(
    "n_q, n_k", [(1, 1), (1, 97), (97, 1), (15, 95), (16, 96), (17, 97), (65, 193), (64, 192)]
)
@pytest.mark.parametrize("is_causal", [False, True])
def test_lengths(n_q, n_k, is_causal):
    compare(*inputs(n_q, n_k, heads=1), is_causal=is_causal)


@needs_compiler
@pytest.mark.parametrize("d, dv", [(1, 1), (8, 12), (16, 33), (40, 3), (64, 64), (65, 63), (130, 70)])
def test_head_sizes(d, dv):
    compare(*inputs(9, 20, d, dv, heads=1))


@needs_compiler
def test_grouped_queries():
    compare(*inputs(heads=6, key_heads=2), enable_gqa=True, is_causal=True)


@needs_compiler
def test_dimensions_that_broadcast_or_lie_otherwise():
    q, k, v = inputs()
    compare(q, k[:1], v[:, :1])
    compare(q[0], k[0], v[0])
    compare(*(x.mT.contiguous().mT for x in (q, k, v)))
    compare(*(x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v)), **OPTIONS["bias"])
    compare(*(torch.stack([x, -x], dim=-1)[..., 0] for x in (q, k, v)))


@needs_compiler
def test_a_padded_batch_of_several_blocks():
    q, k, v = inputs(33, 300)
    real = torch.arange(300) < torch.tensor([40, 250])[:, None]
    compare(q, k, v, attn_mask=real[:, None, None])
    compare(q, k, v, attn_mask=~real[:, None, None])


@needs_compiler
def test_rows_that_see_nothing():
    q, k, v = (x.requires_grad_() for x in inputs())
    mask = torch.ones(N_Q, N_K, dtype=torch.bool)
    mask[::2] = False
    mask[5, 1:] = False
    found = al.softmax_attention_with_statistics(q, k, v, attn_mask=mask, impl="compiled")
    rows = found.statistics
    assert (found.output[..., ::2, :] == 0).all() and (rows.lse[..., ::2] == -INF).all()
    assert (rows.max_logit[..., ::2] == -INF).all() and (rows.entropy[..., ::2] == 0).all()
    assert (rows.effective_tokens[..., ::2] == 1).all() and (rows.varentropy[..., ::2] == 0).all()
    gradients = torch.autograd.grad(loss(found), (q, k, v))
    assert (gradients[0][..., ::2, :] == 0).all() and all(x.isfinite().all() for x in gradients)


@needs_compiler
def test_what_is_hidden_has_no_part_in_the_output_however_large_it_is():
    q, k, v = inputs()
    v = torch.ones_like(v).index_fill(-2, torch.tensor([0]), 1e300)
    found = al.softmax_attention_with_statistics(q, k, v, attn_mask=torch.arange(N_K) > 0, impl="compiled")
    close(found.output, torch.ones_like(found.output), 1e-14, "output")


@needs_compiler
def test_one_key_is_exact():
    q, k, v = (x.float() for x in inputs(9, 1))
    found = al.softmax_attention_with_statistics(q, k, v, impl="compiled")
    assert (found.statistics.entropy == 0).all() and (found.statistics.varentropy == 0).all()
    assert (found.statistics.effective_tokens == 1).all() and (found.output == v).all()


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["plain", "cap", "sliding", "bias and mask"])
def test_narrow_dtypes_err_no_more_than_rows_written_out(dtype, name):
    options = {n: x.to(dtype) if isinstance(x, torch.Tensor) else x for n, x in OPTIONS[name].items()}
    row_cases.compare_narrow("compiled", *inputs(dtype=dtype), **options)


@needs_compiler
def test_long_rows_do_not_cost_digits():
    q, k, v = inputs(2, 5000, d=8, heads=1, batch=1, dtype=torch.float32)
    q = 4 * q
    got = al.softmax_attention_with_statistics(q, k, v, impl="compiled")
    want = al.softmax_attention_with_statistics(q.double(), k.double(), v.double(), impl="reference")
    # The rounding of the logits, and nothing that grows with the number of keys.
    budget = 4 * EPS * (q.norm(dim=-1).max() * k.norm(dim=-1).max() / 8**0.5).item()
    for name, x in fields(got).items():
        close(x, fields(want)[name], budget, name)


@needs_compiler
@pytest.mark.parametrize("tilt", [1.0, 11.0, 60.0])
def test_a_small_variance_far_below_the_largest_logit_keeps_its_digits(tilt):
    """One key above many equal ones: sum p x^2 - mean^2 would lose as many digits as the mean exceeds it."""
    n = 65536
    k = torch.zeros(1, 1, n, 1)
    k[..., n // 2, 0] = tilt
    rows = al.row_statistics(torch.ones(1, 1, 1, 1), k, scale=1.0, impl="compiled")
    with mpmath.workdps(40):
        top = mpmath.exp(tilt) / (mpmath.exp(tilt) + n - 1)
        varentropy = top * (1 - top) * mpmath.mpf(tilt) ** 2
        entropy = mpmath.log(mpmath.exp(tilt) + n - 1) - top * tilt
        # A sum of 96 terms is off by up to 48 eps; the rounding of the logit moves it by eps * tilt.
        assert abs(rows.varentropy.item() / varentropy - 1) < (48 + 4 * tilt) * EPS
        assert abs(rows.entropy.item() - entropy) < 8 * EPS * max(1, entropy, tilt * top * (1 - top))


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exponentials_are_exact_to_rounding(dtype):
    """Weights e^x over the whole range, each alone beside a key of weight 1: lse = log(1 + e^x)."""
    x = -torch.cat([torch.logspace(-6, 1.93, 200), torch.tensor([0.0, 1e4, 3e38])]).to(dtype)
    q, k = torch.ones(len(x), 1, 1, 1, dtype=dtype), torch.stack([x, 0 * x], dim=-1)[:, None, :, None]
    v = torch.tensor([1.0, 0.0], dtype=dtype).expand(len(x), 1, 2)[..., None]
    found = al.softmax_attention_with_statistics(q, k, v, scale=1.0, impl="compiled")
    # Keys are not centred here: their mean is of both.
    want = torch.sigmoid(x.double()).view(found.output.shape)
    error = (found.output.double() - want).abs() / want.clamp(min=torch.finfo(dtype).tiny)
    held = want > 4 * torch.finfo(dtype).tiny
    assert (error[held] <= 4 * torch.finfo(dtype).eps * (1 + x.abs().view(want.shape)[held].double())).all()
    assert (found.output[~held] <= 4 * torch.finfo(dtype).tiny).all()


@needs_compiler
def test_keys_with_a_large_common_part():
    q, k, v = inputs(dtype=torch.float32)
    shift = 300 * draw(7, seed=4, dtype=torch.float32)
    got = al.row_statistics(q, k + shift, impl="compiled")
    want = al.row_statistics(q.double(), (k + shift).double(), impl="reference")
    close(got.entropy, want.entropy, 1e-3, "entropy")
    close(got.varentropy, want.varentropy, 1e-3, "varentropy")


@needs_compiler
@pytest.mark.parametrize("shape", [(2, 3, 50, 7), (1, 1, 9, 70)])
def test_a_common_part_of_keys_is_seen_in_the_one_head_that_has_it(shape):
    k = draw(*shape, dtype=torch.float32)
    for keys in (k, k.transpose(1, 2).contiguous().transpose(1, 2), k.mT.contiguous().mT):
        tensors = layout.Tensors(keys, keys)
        assert compiled.centred(tensors, layout.Pattern(1.0)) == (tensors, None)
        shifted = keys.clone()
        shifted[-1, -1] += 2
        found, shift = compiled.centred(tensors._replace(k=shifted), layout.Pattern(1.0))
        want, other = layout.centred(tensors._replace(k=shifted), layout.Pattern(1.0))
        assert torch.equal(found.k, want.k) and torch.equal(shift, other)
    assert (found.k - k)[-1, -1].abs().max() < 1


@needs_compiler
def test_rows_of_huge_logits():
    q, k, v = (x.float() for x in inputs())
    rows = al.row_statistics(1e15 * q, 1e15 * k, impl="compiled")
    assert (rows.entropy == 0).all() and (rows.varentropy == 0).all() and (rows.effective_tokens == 1).all()
    with pytest.raises(InvalidArgument, match="beyond the range"):
        al.row_statistics(1e20 * q, 1e20 * k, impl="compiled")
    # All logits of a row overflow to -inf, which hides no key.
    with pytest.raises(InvalidArgument, match="beyond the range"):
        al.row_entropy(
            torch.full((1, 2, 8), 1e20), torch.full((1, 3, 8), -1e20), softcap=None, impl="compiled"
        )
    bent = al.row_entropy(
        torch.full((1, 2, 8), 1e18), torch.full((1, 3, 8), 1e18), softcap=5.0, impl="compiled"
    )
    close(bent.entropy, torch.full((1, 2), math.log(3)), 4 * EPS, "entropy")


@needs_compiler
def test_logits_of_ten_thousand_and_ties():
    q, k = torch.ones(1, 1, 40, 1), torch.full((1, 1, 300, 1), -1e4)
    k[..., [3, 100, 299], 0] = 1e4
    rows = al.row_statistics(q, k, scale=1.0, impl="compiled")
    close(rows.entropy, torch.full_like(rows.entropy, math.log(3)), 4 * EPS, "entropy")
    close(rows.lse, torch.full_like(rows.lse, 1e4 + math.log(3)), 4 * EPS, "lse")
    assert (rows.varentropy == 0).all()
    close(rows.max_logit, torch.full_like(rows.lse, 1e4), 4 * EPS, "max_logit")


@needs_compiler
def test_the_largest_logit_belongs_to_the_first_of_equal_keys():
    q = torch.ones(1, 1, 1, 2, dtype=torch.float64)
    k = torch.zeros(1, 1, 240, 2, dtype=torch.float64)
    k[..., [107, 120, 235], :] = 1
    k.requires_grad_()
    (gradient,) = torch.autograd.grad(al.row_statistics(q, k, impl="compiled").max_logit.sum(), k)
    assert gradient[0, 0, :, 0].nonzero().flatten().tolist() == [107]


@needs_compiler
@pytest.mark.parametrize("field", ["lse", "entropy", "varentropy", "effective_tokens", "max_logit"])
def test_each_gradient_alone(field):
    q, k, _ = (x[:1, :1, :3] for x in inputs(d=2))
    function = lambda q, k: getattr(al.row_statistics(q, k, impl="compiled"), field)  # noqa: E731
    assert torch.autograd.gradcheck(function, (q.detach().requires_grad_(), k.detach().requires_grad_()))


@needs_compiler
def test_the_gradient_of_the_output_alone():
    leaves = [x[:1, :2, :5].detach().requires_grad_() for x in inputs(d=3, dv=2)]
    function = lambda *x: al.softmax_attention_with_statistics(*x, impl="compiled").output  # noqa: E731
    assert torch.autograd.gradcheck(function, leaves)


@needs_compiler
def test_entropy_alone_and_nothing():
    q, k, v = inputs()
    got, want = (al.row_entropy(q, k, impl=impl) for impl in ("compiled", "reference"))
    close(got.entropy, want.entropy, 1e-12, "entropy")
    none = al.softmax_attention_with_statistics(q[:0], k[:0], v[:0], impl="compiled")
    assert none.output.shape == (0, 3, N_Q, 5) and none.statistics.lse.shape == (0, 3, N_Q)


@needs_compiler
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # PyTorch's own, at its first jvp
def test_transforms():
    q, k, _ = inputs()
    many = torch.func.vmap(lambda q, k: al.row_statistics(q, k, impl="compiled").entropy)(q, k)
    close(many, al.row_statistics(q, k, impl="reference").entropy, 1e-12, "entropy")
    gradient = torch.func.grad(lambda q: al.row_entropy(q, k, impl="compiled").entropy.sum())(q)
    want = torch.func.grad(lambda q: al.row_entropy(q, k, impl="reference").entropy.sum())(q)
    close(gradient, want, 1e-12, "gradient")
    with pytest.raises(InvalidArgument, match="impl='compiled' has no forward-mode"):
        torch.func.jvp(lambda q: al.row_entropy(q, k, impl="compiled").entropy, (q,), (q,))
    q.requires_grad_()
    (gradient,) = torch.autograd.grad(
        al.row_entropy(q, k, impl="compiled").entropy.sum(), q, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once"):
        gradient.sum().backward()


@needs_compiler
def test_compiles():
    q, k, v = inputs(dtype=torch.float32)

    def output_and_entropy(q, k, v):
        found = al.softmax_attention_with_statistics(q, k, v, impl="compiled")
        return found.output, found.statistics.entropy

    whole = torch.compile(output_and_entropy, fullgraph=True, backend="aot_eager")
    for got, want in zip(whole(q, k, v), output_and_entropy(q, k, v)):
        close(got, want, 1e-6, "compiled")
    meta = [x.to("meta") for x in (q, k, v)]
    assert output_and_entropy(*meta)[1].shape == q.shape[:-1]


@needs_compiler
def test_autocast_leaves_it_in_float32():
    q, k, v = inputs(dtype=torch.float32)
    want = al.softmax_attention_with_statistics(q, k, v, impl="compiled")
    with torch.autocast("cpu", torch.bfloat16):
        got = al.softmax_attention_with_statistics(q, k, v, impl="compiled")
    assert torch.equal(got.output, want.output) and torch.equal(got.statistics.lse, want.statistics.lse)


@needs_compiler
def test_shapes_are_promised():
    q, k, v = inputs()
    rest = dict(attn_mask=None, is_causal=True, scale=None, enable_gqa=False, dtype=None)
    for moments, values in ((0, None), (0, v), (1, None), (1, v)):
        tensors, geometry = resolve(q, k, values, **rest)
        numbers = (float(moments), float(values is not None))
        found, promised = (
            getattr(compiled.PASSES["compiled"], name)(tensors, geometry.pattern, numbers)
            for name in ("forward", "shapes")
        )
        assert [(x.shape, x.dtype) for x in found] == [(x.shape, x.dtype) for x in promised]


@needs_compiler
def test_threads_share_the_work_and_change_nothing(from_source):
    q, k, v = (x.requires_grad_() for x in inputs(200, 300, dtype=torch.float32))

    def all_of_it():
        found = al.softmax_attention_with_statistics(q, k, v, impl="compiled", is_causal=True)
        return [*fields(found).values(), *torch.autograd.grad(loss(found), (q, k, v))]

    alone = all_of_it()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        together = all_of_it()
    finally:
        torch.set_num_threads(threads)
    # Each row is one thread's; gradients of keys are added up in another order.
    for x, y in zip(alone[:-3], together[:-3]):
        assert torch.equal(x, y)
    for x, y in zip(alone[-3:], together[-3:]):
        close(x, y, 32 * EPS * y.abs().max().item(), "gradient")


@needs_compiler
@pytest.mark.parametrize("name", ["plain", "bias", "bias for all rows", "all"])
def test_threads_do_not_meet_in_a_gradient(name, from_source):
    """Few heads, whose rows are shared out, and biases that heads, batches or rows have in common."""
    from_source(SMALL)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        compare(*inputs(batch=2), **OPTIONS[name])
        compare(*inputs(heads=1, batch=1), attn_mask=draw(1, N_K, seed=4))
    finally:
        torch.set_num_threads(threads)


@needs_compiler
def test_threads_of_its_own_where_there_is_no_openmp(monkeypatch, from_source):
    from_source({})
    monkeypatch.setattr(building, "_of_openmp", lambda version: [])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        compare(*inputs(), **OPTIONS["causal"])
    finally:
        torch.set_num_threads(threads)


@needs_compiler
def test_narrower_vectors(from_source):
    """What a processor without AVX-512, and one without AVX, would run."""
    for less in (["-march=x86-64-v3"], ["-march=x86-64"]) if os.uname().machine == "x86_64" else ([],):
        from_source(SMALL)
        building._FLAGS.extend(less)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(building, "_MACHINES", ((),))
            building.library.cache_clear()
            for name in ("plain", "causal", "bias", "all"):
                compare(*inputs(), **OPTIONS[name])
            compare(*(x.float() for x in inputs()), tolerance=2e-5)


@needs_compiler
def test_what_python_says_of_a_call_is_what_the_source_reads():
    import ctypes

    size = building.library().attnlib_size_of_call
    size.restype = ctypes.c_int64
    assert size() == ctypes.sizeof(compiled._Call)


@needs_compiler
def test_the_recorder_takes_it_by_name():
    layer = torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    model = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    x = torch.randn(3, 10, 16)
    reports = []
    for impl in ("compiled", "reference"):
        with al.record_attention(model, impl=impl) as report, torch.no_grad():
            model(x)
        assert not report.problems
        reports.append(report)
    for name in reports[0].layers:
        close(reports[0][name].entropy, reports[1][name].entropy, 1e-5, name)
        close(reports[0][name].max_logit, reports[1][name].max_logit, 1e-5, name)


SOME = (
    {"softcap": 2.0, "window": (9, 4), "attn_mask": draw(2, 1, 1, N_K, seed=7)},
    {"attn_mask": OPTIONS["bias"]["attn_mask"][:1], "is_causal": True},
    {"segment_ids": OPTIONS["documents"]["segment_ids"]},
)
# Every one is an error that was easy to make, and that the comparison has to see.
MUTANTS = {
    "levels not merged": ("share * total, sum", "total, sum"),
    "no fall of the mean": ("(first + fall * total)", "first"),
    "means apart forgotten": ("widen(of_block[3] + i) + between", "widen(of_block[3] + i)"),
    "squares shrink once": ("share * share * load(squares", "share * load(squares"),
    "output not rescaled": ("share0 * load(to + c * R)", "load(to + c * R)"),
    "band one too wide": ("apart - call.high)) : -1", "apart - call.high - 1)) : -1"),
    "band one too narrow": ("apart - call.low)) : R", "apart - call.low - 1)) : R"),
    "last keys of a band left out": ("row_end + call.high)", "row_end + call.high - 1)"),
    "blocks of a band left out": ("key_start - last > call.high", "key_start - last > call.high - 12"),
    "bias in nats": ("x * (T)1.4426950408889634074", "x"),
    "bias of other rows in nats": ("added[i] *= (T)1.4426950408889634074", "added[i] *= 1"),
    "segments": ("own[r] == key", "own[r] <= key"),
    "chunks of columns not added up": ("return at ? Pair", "return false ? Pair"),
    "slope of the cap": ("1 - x * x)", "1 - x)"),
    "linear term": ("x * (b + x * c)", "b + x * c"),
    "own term": ("+ p * e", "- p * e"),
    "weights of values": ("over_rows(weights", "over_rows(strips.scores"),
    "gradient of the output": ("factor += load(from_output + i);", ""),
    "gradient of the bias": ("add_to_bias(s, split);", "{}"),
    "rows beyond the last": (
        "over_rows(strips.scores, rows_of_q + s *",
        "over_rows(strips.scores, rows_of_q + 0 *",
    ),
}


@needs_compiler
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_error_is_seen(from_source, name):
    from_source({**SMALL, "STRIPS = 4": "STRIPS = 2", MUTANTS[name][0]: MUTANTS[name][1]})
    # Some make results that no logits give, which the library refuses by itself.
    with pytest.raises((AssertionError, InvalidArgument)):
        for options in SOME:
            compare(*inputs(heads=1, d=40), **options)


@needs_compiler
def test_the_unchanged_source_passes_where_planted_errors_are_seen(from_source):
    from_source({**SMALL, "STRIPS = 4": "STRIPS = 2"})
    for options in SOME:
        compare(*inputs(heads=1, d=40), **options)


# ------------------------------------------------------------------------------------------------- building


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """Nothing built yet, and a folder for it."""
    monkeypatch.setenv("ATTNLIB_CACHE", str(tmp_path / "built"))
    monkeypatch.setattr(building, "_FLAGS", [x for x in building._FLAGS if x != "-O3"])
    building.library.cache_clear()
    yield tmp_path
    building.library.cache_clear()


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def call():
    q = torch.ones(1, 3, 4)
    return al.row_entropy(q, q, impl="compiled")


def test_without_a_compiler_it_says_so_and_what_to_take(monkeypatch, fresh):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(fresh))
    q = torch.ones(1, 3, 4)
    for asked in (
        call,
        lambda: al.row_statistics(q, q, impl="compiled"),
        lambda: al.softmax_attention_with_statistics(q, q, q, impl="compiled"),
    ):
        with pytest.raises(
            EngineNotAvailable, match=r"needs a C\+\+ compiler .*name it in CXX; or take impl='fused'"
        ):
            asked()
    model = torch.nn.MultiheadAttention(4, 1, batch_first=True)
    with pytest.raises(EngineNotAvailable, match=r"needs a C\+\+ compiler"):
        with al.record_attention(model, impl="compiled"):
            raise AssertionError("the block began")
    assert torch.isfinite(al.row_entropy(q, q).entropy).all()


def test_a_named_compiler_that_is_not_there(monkeypatch, fresh):
    monkeypatch.setenv("CXX", "no-such-compiler -O1")
    with pytest.raises(EngineNotAvailable, match="'no-such-compiler' of the variable CXX"):
        call()


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands in for a compiler")
def test_a_compiler_that_fails_is_quoted_and_leaves_nothing(monkeypatch, fresh):
    monkeypatch.setenv("CXX", program(fresh / "failing", "echo 'unknown vector' >&2; exit 3"))
    with pytest.raises(
        EngineNotAvailable, match=r"ended with 3:\nunknown vector\nName another .*impl='fused'"
    ):
        call()
    assert list((fresh / "built").iterdir()) == []


@needs_compiler
def test_a_folder_that_cannot_be_written(monkeypatch, fresh):
    (fresh / "file").touch()
    monkeypatch.setenv("ATTNLIB_CACHE", str(fresh / "file" / "built"))
    with pytest.raises(EngineNotAvailable, match="cannot write what it builds .*ATTNLIB_CACHE; or take"):
        call()


@needs_compiler
def test_it_is_built_once_and_again_for_another_source_or_compiler(monkeypatch, fresh):
    call()
    (first,) = (fresh / "built").iterdir()
    made = first.stat().st_mtime_ns
    building.library.cache_clear()
    call()
    assert list((fresh / "built").iterdir()) == [first] and first.stat().st_mtime_ns == made
    for change in (
        lambda: monkeypatch.setattr(building, "_processor", lambda: "another"),
        lambda: monkeypatch.setattr(torch, "__version__", "another"),
        lambda: monkeypatch.setattr(building, "_FLAGS", [*building._FLAGS, "-DANOTHER"]),
    ):
        before = set((fresh / "built").iterdir())
        change()
        building.library.cache_clear()
        call()
        assert len(set((fresh / "built").iterdir()) - before) == 1


@needs_compiler
def test_a_file_that_cannot_be_loaded_is_named(monkeypatch, fresh):
    monkeypatch.setattr(building, "_build", lambda command, openmp, path: path.write_bytes(b"no library"))
    (fresh / "built").mkdir()
    with pytest.raises(EngineNotAvailable, match=r"delete .*rows-\w+\.\w+ to build it again; or take"):
        call()


@needs_compiler
def test_processes_that_build_at_once_do_not_meet(fresh):
    script = (
        "import torch, attnlib as al\n"
        "from attnlib._rows import building\n"
        "building._FLAGS = [x for x in building._FLAGS if x != '-O3']\n"
        "q = torch.ones(1, 3, 4)\n"
        "print(al.row_entropy(q, q, impl='compiled').lse)\n"
    )
    path = os.pathsep.join(map(str, [Path(al.__file__).parents[1], *sys.path]))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    several = [
        subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [process.communicate()[0] for process in several]
    assert [process.returncode for process in several] == [0, 0] and said[0] == said[1]
    (built,) = (fresh / "built").iterdir()
    assert stat.S_IMODE(built.parent.stat().st_mode) & 0o077 == 0


@needs_compiler
def test_threads_of_python_may_ask_at_once(fresh):
    results = []
    several = [threading.Thread(target=lambda: results.append(call())) for _ in range(3)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join()
    assert len(results) == 3 and all(torch.equal(x.lse, results[0].lse) for x in results)


def test_the_cache_is_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv("ATTNLIB_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert building.cache() == Path("/somewhere/attnlib")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert building.cache() == tmp_path / ".cache" / "attnlib"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert building.cache() == tmp_path / "Library" / "Caches" / "attnlib"


def test_the_digest_is_that_of_the_source():
    assert building.SOURCE_DIGEST == hashlib.sha256(SOURCE.read_bytes()).hexdigest()


def test_only_on_a_cpu():
    q = torch.ones(1, 3, 4, device="meta")
    compiled.require(q.device)
    with pytest.raises(
        EngineNotAvailable, match="needs tensors on a CPU, got cuda: move them, or take impl='fused'"
    ):
        compiled.require(torch.device("cuda"))


def test_no_other_function_knows_it():
    q = torch.ones(1, 3, 4)
    for asked in (
        lambda: al.softmax_attention(q, q, q, impl="compiled"),
        lambda: al.stream_row_statistics(q, [q], impl="compiled"),
        lambda: al.key_statistics(q, q, impl="compiled"),
    ):
        with pytest.raises(InvalidArgument, match="impl must be"):
            asked()


def test_is_imported_only_where_it_is_asked_for():
    script = (
        "import sys, torch, attnlib as al\n"
        "q = torch.ones(1, 3, 4)\n"
        "al.softmax_attention_with_statistics(q, q, q)\n"
        "rows = ('attnlib._rows.compiled', 'attnlib._rows.building')\n"
        "assert not [name for name in sys.modules if name in rows]\n"
    )
    path = os.pathsep.join(map(str, [Path(al.__file__).parents[1], *sys.path]))
    subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path}, check=True)
