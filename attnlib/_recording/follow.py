"""Follows weights that a model writes out, from the softmax that made them to the values they meet."""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._C import _functorch as functorch
from torch.nn import functional

SOFTMAX = {functional.softmax, torch.softmax, Tensor.softmax, torch.special.softmax}
_MATMUL = {torch.matmul, torch.bmm, Tensor.matmul, Tensor.bmm, Tensor.__matmul__}
# Results of softmax that are kept until they meet values; the older are no attention.
_WAITING = 2
# What may happen to weights between softmax and values without their becoming something else.
_KEEPS = frozenset(
    "bfloat16 clone contiguous dropout expand flatten float half masked_fill mul nan_to_num reshape squeeze "
    "to type type_as unflatten unsqueeze view __getitem__ __mul__".split()
)
# What may lay rows and columns out the other way round, the property ``mT`` among them.
_TURNS = frozenset("movedim permute swapaxes swapdims transpose __get__".split())


class Written(NamedTuple):
    """Weights that may turn out to be those of attention, and what their logits were.

    ``logits`` holds the largest logit, the log-sum-exp and the number of visible keys of every row; None for
    what was made of weights by more than rounding, dropping or masking them, and has no logits.
    """

    weights: Tensor
    version: int | None
    logits: tuple[Tensor, Tensor, Tensor] | None


class Met(NamedTuple):
    """Weights that meet values; their ``columns`` belong to keys and all others to a sink."""

    written: Written
    columns: slice
    turned: bool


class _Form(NamedTuple):
    """A tensor made of weights: which of their columns it has, and whether they are its rows."""

    tensor: weakref.ref[Tensor]
    met: Met


def version(x: Tensor) -> int | None:
    """How often a tensor was changed in place; None where nobody counts."""
    return None if x.is_inference() else x._version


class Follower:
    """Knows the last results of softmax, and what was made of them, by identity."""

    def __init__(self) -> None:
        self._forms: dict[int, _Form] = {}

    def __bool__(self) -> bool:
        return bool(self._forms)

    def begin(self, weights: Tensor, logits: tuple[Tensor, Tensor, Tensor]) -> None:
        """Follow the result of a softmax."""
        waiting = {id(form.met.written): form.met.written for form in self._forms.values()}
        for written in list(waiting.values())[: 1 - _WAITING]:
            self._forget(written)
        self._start(weights, logits)

    def _start(self, x: Tensor, logits: tuple[Tensor, Tensor, Tensor] | None) -> None:
        # Without its graph, which nobody may keep from going.
        written = Written(x.detach(), version(x), logits)
        self._remember(x, Met(written, slice(0, x.shape[-1]), turned=False))

    def _remember(self, x: Tensor, met: Met) -> None:
        self._forms[id(x)] = _Form(weakref.ref(x), met)

    def _forget(self, written: Written) -> None:
        self._forms = {place: form for place, form in self._forms.items() if form.met.written is not written}

    def _known(self, x: Any) -> Met | None:
        form = self._forms.get(id(x))
        return form.met if form is not None and form.tensor() is x else None

    def meets(self, func: Any, args: tuple[Any, ...]) -> Met | None:
        """The weights that this call is about to sum values with, which are then followed no longer."""
        if func is torch.einsum:
            places, operands = _summed(args[0]) if isinstance(args[0], str) else (), args[1:]
        else:
            places, operands = ((0, -1), (1, -2)) if func in _MATMUL else (), args
        if len(operands) != 2:
            return None
        for which, keys in places:
            met = self._known(operands[which])
            if met is not None and keys == (-2 if met.turned else -1):
                self._forget(met.written)
                return met
        return None

    def follow(self, func: Any, args: tuple[Any, ...], result: Any) -> None:
        """What this call has made of weights."""
        if not isinstance(result, Tensor) or not result.is_floating_point() or result.ndim < 2:
            return
        known = [x for x in args if self._known(x) is not None]
        if not known:
            return
        x, met = known[0], self._known(known[0])
        name = getattr(func, "__name__", "")
        if met is None or name.rstrip("_") in _KEEPS and result is x:
            return
        form = _form(x, met, result, name) if args[0] is x else None
        if form is not None:
            self._remember(result, form)
        elif not met.turned and result.shape[-2:] == x.shape[-2:]:
            # Mixed with other weights, or with those of other heads: whether they still are weights, only
            # their values can tell. One such is kept, the last.
            for other in [f.met.written for f in self._forms.values() if f.met.written.logits is None]:
                self._forget(other)
            self._start(result, None)


def _form(x: Tensor, met: Met, result: Tensor, name: str) -> Met | None:
    """What ``result`` is of the weights that ``x`` is a form of; None if it is something else."""
    if name == "__getitem__" and result.shape[-1] < x.shape[-1] and not met.turned:
        first = _first_column(x, result)
        if first is None:
            return None
        first += met.columns.start
        return met._replace(columns=slice(first, first + result.shape[-1]))
    if name in _KEEPS:
        return met if result.shape[-1] == x.shape[-1] else None
    if name in _TURNS and _share_storage(x, result):
        sizes, strides = [(y.shape[-2:], y.stride()[-2:]) for y in (x, result)]
        return _turned(met, *sizes, *strides)
    return None


def _turned(
    met: Met, size: torch.Size, stride: tuple[int, ...], new_size: torch.Size, new_stride: tuple[int, ...]
) -> Met | None:
    if (new_size, new_stride) == (size, stride):
        return met
    if (new_size, new_stride) == (size[::-1], stride[::-1]):
        return met._replace(turned=not met.turned)
    return None


def _unwrapped(x: Tensor) -> Tensor:
    """The tensor that a transform of ``torch.func`` has wrapped."""
    while functorch.is_functorch_wrapped_tensor(x):
        x = functorch.get_unwrapped(x)
    return x


def _share_storage(x: Tensor, y: Tensor) -> bool:
    return _unwrapped(x).untyped_storage().data_ptr() == _unwrapped(y).untyped_storage().data_ptr()


def _first_column(x: Tensor, part: Tensor) -> int | None:
    """The column of ``x`` with which a view of consecutive ones begins."""
    if not _share_storage(x, part) or part.stride(-1) != x.stride(-1):
        return None
    offset = _unwrapped(part).storage_offset() - _unwrapped(x).storage_offset()
    return offset % max(x.stride(-2), 1) // max(x.stride(-1), 1)


def _summed(equation: str) -> tuple[tuple[int, int], ...]:
    """The operands of an einsum of two that are summed over their last dimension, with that dimension."""
    inputs, _, output = equation.replace(" ", "").partition("->")
    first, _, second = inputs.partition(",")
    pairs = ((0, first, second), (1, second, first))
    return tuple((i, -1) for i, own, other in pairs if own and own[-1] in other and own[-1] not in output)
