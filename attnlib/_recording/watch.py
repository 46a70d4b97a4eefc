"""Sees every attention call of a thread, by whatever name the model knows the function, and leaves it as it
is."""

from __future__ import annotations

import inspect
import sys
import types
import weakref
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from attnlib._recording.reading import look_at_logits

_SDPA = functional.scaled_dot_product_attention
_MULTIHEAD = functional.multi_head_attention_forward
_MULTIHEAD_SIGNATURE = inspect.signature(_MULTIHEAD)
_SOFTMAX = {functional.softmax, torch.softmax, Tensor.softmax, torch.special.softmax}
_MATMUL = {torch.matmul, torch.bmm, Tensor.matmul, Tensor.bmm, Tensor.__matmul__}
# Results of softmax that are kept until they meet values; the older are no attention.
_WAITING = 2
# What may happen to weights between softmax and values without their becoming something else.
_KEEPS = frozenset(
    "bfloat16 clone contiguous dropout expand flatten float half masked_fill mul nan_to_num reshape squeeze "
    "to type type_as unflatten unsqueeze view __getitem__ __mul__".split()
)


class Recorder(Protocol):
    """Who is told of calls. None of this may raise: the model must not notice."""

    def scores(self, frame: FrameType | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A call of scaled_dot_product_attention with these arguments."""

    def modified(self, frame: FrameType | None, arguments: dict[str, Any]) -> None:
        """A call of flex_attention."""

    def written(self, frame: FrameType | None, weights: Written, keys: int) -> None:
        """Weights that a model has written out, about to be multiplied with the values of this many keys."""

    def look(self, read: Callable[[], Any]) -> Any:
        """The result of ``read``, or None where it cannot be had."""


class Written(NamedTuple):
    """The result of a softmax that may turn out to be attention weights, and what its logits were."""

    weights: Tensor
    version: int | None
    max_logit: Tensor
    lse: Tensor
    visible: Tensor


class _Seen(Exception):
    """Ends the second look at a call once its queries and keys are known."""


def _version(x: Tensor) -> int | None:
    return None if x.is_inference() else x._version


class Watch(TorchFunctionMode):
    """Tells a :class:`Recorder` of every attention call of the thread that it was opened in.

    While it is on, torch takes no fused path around its attention functions: ``nn.MultiheadAttention`` and
    ``nn.TransformerEncoderLayer`` leave theirs when a mode wants to see what they call.
    """

    def __init__(self, recorder: Recorder):
        super().__init__()
        self.recorder = recorder
        # The last results of softmax, and what was made of them, by identity.
        self._weights: dict[int, tuple[weakref.ref[Tensor], Written]] = {}
        self._flex_codes = {id(code) for code in _flex_codes()}
        self._flex_places: dict[int, int] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.compiler.is_compiling():
            return func(*args, **kwargs)
        if func is _SDPA:
            result = func(*args, **kwargs)
            self.recorder.scores(sys._getframe(1), args, kwargs)
            return result
        if func is _MULTIHEAD:
            return self._multihead(sys._getframe(1), args, kwargs)
        if func in _SOFTMAX:
            result = func(*args, **kwargs)
            self._begin(result, args, kwargs)
            return result
        caller = sys._getframe(1)
        if id(caller.f_code) in self._flex_codes:
            self._flex(caller)
        if not self._weights or not args:
            return func(*args, **kwargs)
        self._follow_before(caller, func, args)
        result = func(*args, **kwargs)
        self._follow_after(func, args, result)
        return result

    # nn.MultiheadAttention

    def _multihead(self, frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run it as it is; where it writes its weights out, look at its queries and keys in a second run.

        A function that a mode handles runs without the mode, so what it calls is seen by a copy of it.
        """
        call = _MULTIHEAD_SIGNATURE.bind(*args, **kwargs)
        call.apply_defaults()

        def attend(*args: Any, **kwargs: Any) -> Any:
            result = _SDPA(*args, **kwargs)
            self.recorder.scores(frame, args, kwargs)
            return result

        def look(*args: Any, **kwargs: Any) -> Any:
            self.recorder.scores(frame, args, kwargs)
            raise _Seen

        if not call.arguments["need_weights"]:
            return _multihead_with(attend)(*args, **kwargs)
        result = _MULTIHEAD(*args, **kwargs)
        call.arguments.update(need_weights=False, dropout_p=0.0)

        def again() -> None:
            with suppress(_Seen), torch.no_grad():
                _multihead_with(look)(*call.args, **call.kwargs)

        self.recorder.look(again)
        return result

    # Attention that a model writes out

    def _begin(self, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A softmax over the last of at least three dimensions: weights, if they meet values."""
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        logits = args[0] if args else kwargs.get("input")
        if not isinstance(result, Tensor) or not isinstance(logits, Tensor) or result.ndim < 3:
            return
        if dim not in (-1, result.ndim - 1) or not result.numel():
            return
        found = self.recorder.look(lambda: look_at_logits(logits))
        if found is not None:
            waiting = list({id(held[1]): held[1] for held in self._weights.values()}.values())
            for written in waiting[: 1 - _WAITING]:
                self._forget(written)
            self._remember(result, Written(result, _version(result), *found))

    def _remember(self, x: Tensor, written: Written) -> None:
        self._weights[id(x)] = weakref.ref(x), written

    def _forget(self, written: Written) -> None:
        self._weights = {place: held for place, held in self._weights.items() if held[1] is not written}

    def _known(self, x: Any) -> Written | None:
        held = self._weights.get(id(x))
        return held[1] if held is not None and held[0]() is x else None

    def _follow_before(self, caller: FrameType, func: Any, args: tuple[Any, ...]) -> None:
        """Weights that are multiplied with values are attention."""
        if func is torch.einsum:
            operands = args[1:]
            contracted = isinstance(args[0], str) and _sums_over_keys(args[0])
        else:
            operands, contracted = args, func in _MATMUL
        if not contracted or len(operands) != 2:
            return
        written = self._known(operands[0])
        if written is not None:
            self._forget(written)
            self.recorder.written(caller, written, operands[0].shape[-1])

    def _follow_after(self, func: Any, args: tuple[Any, ...], result: Any) -> None:
        written = self._known(args[0])
        if written is not None and isinstance(result, Tensor) and getattr(func, "__name__", "") in _KEEPS:
            if result.is_floating_point() and result is not args[0]:
                self._remember(result, written)

    # flex_attention

    def _flex(self, caller: FrameType) -> None:
        """The first thing flex_attention does with a tensor, when its arguments stand in its frame."""
        place = id(caller.f_code)
        if caller.f_lasti == self._flex_places.setdefault(place, caller.f_lasti):
            arguments = self.recorder.look(lambda: _flex_arguments(caller))
            if arguments is not None:
                self.recorder.modified(caller, arguments)


def _flex_arguments(caller: FrameType) -> dict[str, Any]:
    held = caller.f_locals
    return {
        "query": held["query"],
        "key": held["key"],
        "score_mod": held.get("score_mod"),
        "block_mask": held.get("block_mask"),
        "scale": held.get("scale", held.get("scaling")),
        "sink": held.get("s_aux"),
    }


def _sums_over_keys(equation: str) -> bool:
    """Whether an einsum of two operands sums over the last dimension of the first."""
    inputs, _, output = equation.replace(" ", "").partition("->")
    first, _, second = inputs.partition(",")
    return bool(first) and first[-1] in second and first[-1] not in output


def _multihead_with(attend: Callable[..., Any]) -> Callable[..., Any]:
    """torch's function for nn.MultiheadAttention, calling ``attend`` where it calls attention.

    A copy of the function with names of its own: torch's are left alone, whatever other threads do with them.
    """
    names = {
        **_MULTIHEAD.__globals__,
        "scaled_dot_product_attention": attend,
        "has_torch_function": lambda _: False,
    }
    return types.FunctionType(
        _MULTIHEAD.__code__, names, _MULTIHEAD.__name__, _MULTIHEAD.__defaults__, _MULTIHEAD.__closure__
    )


def _flex_codes() -> tuple[types.CodeType, ...]:
    """The functions whose frames hold the arguments of flex_attention, as far as they have been imported.

    transformers compiles flex_attention, and what is compiled is not seen: there its own function is looked
    at.
    """
    found = []
    for module, name in (
        ("torch.nn.attention.flex_attention", "flex_attention"),
        ("transformers.integrations.flex_attention", "flex_attention_forward"),
    ):
        function = getattr(sys.modules.get(module), name, None)
        if isinstance(function, types.FunctionType):
            found.append(function.__code__)
    return tuple(found)
