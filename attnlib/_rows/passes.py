"""One way to run a pass over the rows: eagerly, compiled, exported, vectorised and differentiated.

A pass loops over tiles or blocks of logits and holds none of them. To PyTorch each is an operator of its own,
which compilers, fake tensors and exporters take whole; :func:`run` is differentiable once, by a second such
operator, and maps over a further dimension by folding it into the batch. Forward-mode derivatives have no
operator: callers turn to ordinary operations under them (:func:`attnlib._rows.blockwise.blockwise`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor

from attnlib._rows.layout import Pattern, Tensors
from attnlib._rows.products import exactly
from attnlib._transforms import readable, transformed

_INPUTS = len(Tensors._fields)


class Pass(Protocol):
    """What a pass does; ``numbers`` are what it is told beside tensors and pattern."""

    def differentiable(self, numbers: Sequence[float]) -> int:
        """How many of the first results have gradients; the others are for the backward pass alone."""
        ...

    def forward(self, tensors: Tensors, pattern: Pattern, numbers: Sequence[float]) -> list[Tensor]: ...

    def shapes(self, tensors: Tensors, pattern: Pattern, numbers: Sequence[float]) -> list[Tensor]:
        """Results of the right shape and dtype, and of any value."""
        ...

    def backward(
        self,
        tensors: Tensors,
        pattern: Pattern,
        numbers: Sequence[float],
        results: list[Tensor],
        grads: list[Tensor | None],
        with_bias: bool,
    ) -> Tensors:
        """Gradients of q, k, v, weight and, if wanted, the bias; None for what has none."""
        ...


PASSES: dict[str, Pass] = {}


def _read(args: Sequence[Any]) -> tuple[Tensors, Pass, list[float], Pattern]:
    name, numbers, scale, low, high, softcap = args[_INPUTS : _INPUTS + 6]
    return Tensors(*args[:_INPUTS]), PASSES[name], numbers, Pattern(scale, low, high, softcap)


def _differentiated(tensors: Tensors, with_bias: bool) -> list[str]:
    """The fields that have gradients, in order."""
    wanted = {"q": True, "k": True, "v": tensors.v is not None, "bias": with_bias}
    wanted["weight"] = tensors.weight is not None
    return [name for name in Tensors._fields if wanted.get(name, False)]


def _forward(*args: Any) -> list[Tensor]:
    tensors, a_pass, numbers, pattern = _read(args)
    with torch.no_grad(), exactly(tensors.q.device):
        return a_pass.forward(tensors, pattern, numbers)


def _forward_shapes(*args: Any) -> list[Tensor]:
    tensors, a_pass, numbers, pattern = _read(args)
    return a_pass.shapes(tensors, pattern, numbers)


def _backward(*args: Any) -> list[Tensor]:
    tensors, a_pass, numbers, pattern = _read(args)
    results, grads, with_bias = args[_INPUTS + 6 :]
    with torch.no_grad(), exactly(tensors.q.device):
        found = a_pass.backward(tensors, pattern, numbers, results, grads, with_bias)
    listed = []
    for name in _differentiated(tensors, with_bias):
        own, gradient = getattr(tensors, name), getattr(found, name)
        listed.append(torch.zeros_like(own) if gradient is None else gradient.contiguous())
    return listed


def _backward_shapes(*args: Any) -> list[Tensor]:
    tensors, *_ = _read(args)
    return [x.new_empty(x.shape) for x in (getattr(tensors, n) for n in _differentiated(tensors, args[-1]))]


_LIBRARY = torch.library.Library("attnlib", "DEF")
_READ = (
    "Tensor q, Tensor k, Tensor? v, Tensor? bias, Tensor? row_segments, Tensor? key_segments, Tensor? empty, "
    "Tensor? weight, str name, float[] numbers, float scale, SymInt? low, SymInt? high, float? softcap"
)
_LIBRARY.define(f"rows({_READ}) -> Tensor[]")
_LIBRARY.define(f"rows_backward({_READ}, Tensor[] results, Tensor?[] grads, bool with_bias) -> Tensor[]")
_LIBRARY.impl("rows", _forward, "CompositeExplicitAutograd")
_LIBRARY.impl("rows_backward", _backward, "CompositeExplicitAutograd")
torch.library.register_fake("attnlib::rows", _forward_shapes, lib=_LIBRARY)
torch.library.register_fake("attnlib::rows_backward", _backward_shapes, lib=_LIBRARY)


def _call(operator: Any, body: Callable[..., list[Tensor]], args: Sequence[Any]) -> tuple[Tensor, ...]:
    """Run a pass: by its operator where that stands for it, and else as it is.

    Below an operator a dispatch mode, as of a profiler, leaves no autograd for gradients of blocks.
    """
    eager = readable(args[0]) and not transformed(args[0])
    return tuple(body(*args) if eager else operator(*args))


def fold_batch(
    x: Tensor | None, dim: int | None, size: int, batch: int, whole: bool = False
) -> Tensor | None:
    """Fold a mapped dimension into that of the batch, (size * batch, ...); what both share stays (1, ...)."""
    if x is None:
        return None
    if dim is None:
        if x.shape[0] == 1 and not whole:
            return x
        x = x[None]
    else:
        x = x.movedim(dim, 0)
    return x.expand(size, batch, *x.shape[2:]).reshape(size * batch, *x.shape[2:])


def _unfold(x: Tensor, size: int) -> Tensor:
    return x.reshape(size, x.shape[0] // size, *x.shape[1:])


def _folded(
    function: Any, size: int, in_dims: Sequence[int | None], args: Sequence[Any]
) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """Map a pass over a dimension of its tensors, as a larger batch."""
    batch = args[0].shape[0 if in_dims[0] is None else 1 if in_dims[0] == 0 else 0]
    folded = [
        fold_batch(x, dim, size, batch, whole=name in ("q", "k", "v"))
        for name, x, dim in zip(Tensors._fields, args, in_dims)
    ]
    results = function.apply(*folded, *args[_INPUTS:])
    return tuple(_unfold(x, size) for x in results), (0,) * len(results)


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(*args: Any) -> tuple[Tensor, ...]:
        return _call(torch.ops.attnlib.rows, _forward, args)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(*inputs[:_INPUTS], *output)
        ctx.rest = inputs[_INPUTS:]
        name, numbers = inputs[_INPUTS : _INPUTS + 2]
        ctx.mark_non_differentiable(*output[PASSES[name].differentiable(numbers) :])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        tensors = Tensors(*ctx.saved_tensors[:_INPUTS])
        results = ctx.saved_tensors[_INPUTS:]
        with_bias = tensors.bias is not None and ctx.needs_input_grad[Tensors._fields.index("bias")]
        given = (*tensors, *ctx.rest, with_bias, len(results), *results, *grads)
        # A compiler follows no function inside of the backward pass of another.
        run = _differentiate if torch.compiler.is_compiling() else _RunBackward.apply
        by_name = dict(zip(_differentiated(tensors, with_bias), run(*given)))
        return (*(by_name.get(name) for name in Tensors._fields), *(None for _ in ctx.rest))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        return _folded(_Run, info.batch_size, in_dims, args)


def _differentiate(*args: Any) -> tuple[Tensor, ...]:
    with_bias, count = args[_INPUTS + 6 : _INPUTS + 8]
    rest = args[_INPUTS + 8 :]
    given = (*args[: _INPUTS + 6], list(rest[:count]), list(rest[count:]), with_bias)
    return _call(torch.ops.attnlib.rows_backward, _backward, given)


class _RunBackward(torch.autograd.Function):
    """The gradients of a pass; they have none of their own, and say so."""

    @staticmethod
    def forward(*args: Any) -> tuple[Tensor, ...]:
        return _differentiate(*args)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> NoReturn:
        raise NotImplementedError("this is differentiable once; for second derivatives use impl='reference'")

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        size = info.batch_size
        batch = args[0].shape[0 if in_dims[0] is None else 1 if in_dims[0] == 0 else 0]
        folded = [
            fold_batch(x, dim, size, batch, whole=True) if isinstance(x, Tensor) else x
            for x, dim in zip(args, in_dims)
        ]
        gradients = list(map(lambda x: _unfold(x, size), _RunBackward.apply(*folded)))
        names = _differentiated(Tensors(*args[:_INPUTS]), args[_INPUTS + 6])
        for place, name in enumerate(names):
            own = Tensors._fields.index(name)
            own_batch = args[own].shape[0 if in_dims[own] is None else 1 if in_dims[own] == 0 else 0]
            if own_batch == 1 < batch:
                gradients[place] = gradients[place].sum(dim=1, keepdim=True)
        return tuple(gradients), (0,) * len(gradients)


class _Fixed(torch.autograd.Function):
    """A pass none of whose results has a gradient."""

    @staticmethod
    def forward(*args: Any) -> tuple[Tensor, ...]:
        return _call(torch.ops.attnlib.rows, _forward, args)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output)
        ctx.results = len(output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, ...]:
        return (None,) * (_INPUTS + 6)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[None, ...]:
        return (None,) * ctx.results

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        return _folded(_Fixed, info.batch_size, in_dims, args)


def run(
    name: str, tensors: Tensors, pattern: Pattern, numbers: Sequence[float] = (), *, fixed: bool = False
) -> tuple[Tensor, ...]:
    """The results of a pass, of which the first have gradients and the others serve the backward pass.

    ``fixed``: none of them has, and whatever derivatives the tensors carry end here.
    """
    given = [float(x) for x in numbers]
    rest = (name, given, pattern.scale, pattern.low, pattern.high, pattern.softcap)
    graph = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)
    if torch.compiler.is_compiling() and (fixed or not graph):
        # The compiler stumbles over a function that nothing is to be differentiated through.
        held = (x if x is None else x.detach() for x in tensors)
        return tuple(torch.ops.attnlib.rows(*held, *rest))
    function = _Fixed if fixed else _Run
    results: tuple[Tensor, ...] = function.apply(*tensors, *rest)
    return results
