"""Sees every attention call of a thread, by whatever name the model knows the function, and leaves it as it
is."""

from __future__ import annotations

import inspect
import sys
import threading
import types
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Protocol, Self

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from attnlib._recording.follow import SOFTMAX, Follower, Met
from attnlib._recording.place import innermost
from attnlib._recording.reading import look_at_logits

_SDPA = functional.scaled_dot_product_attention
_MULTIHEAD = functional.multi_head_attention_forward
_MULTIHEAD_SIGNATURE = inspect.signature(_MULTIHEAD)
# Modules with a fused path of torch's own.
_FAST = (torch.nn.MultiheadAttention, torch.nn.TransformerEncoderLayer)


class Recorder(Protocol):
    """Who is told of calls. None of this may raise: the model must not notice."""

    def scores(self, frame: FrameType | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A call of scaled_dot_product_attention with these arguments."""

    def modified(self, frame: FrameType | None, arguments: dict[str, Any]) -> None:
        """A call of flex_attention."""

    def written(self, frame: FrameType | None, met: Met) -> None:
        """Weights that a model has written out, about to be multiplied with values."""

    def look(self, read: Callable[[], Any]) -> Any:
        """The result of ``read``, or None where it cannot be had."""


class _Seen(Exception):
    """Ends the second look at a call once its queries and keys are known."""


class Watch(TorchFunctionMode):
    """Tells a :class:`Recorder` of every attention call of the thread that it was opened in.

    While it is on, torch takes no fused path around its attention functions: ``nn.MultiheadAttention`` and
    ``nn.TransformerEncoderLayer`` leave theirs when a mode wants to see what they call. Nested tensors they
    take on that path alone: with them a module runs unwatched, and once more, padded, to be looked at.
    """

    def __init__(self, recorder: Recorder):
        super().__init__()
        self.recorder = recorder
        self._follower = Follower()
        self._flex_codes = {id(code) for code in _flex_codes()}
        self._flex_places: dict[int, int] = {}
        self._thread = threading.get_ident()
        self._aside: list[tuple[torch.nn.Module, Tensor, Any]] = []
        self._hooks: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        self._hooks = [
            register_module_forward_pre_hook(self._before),
            register_module_forward_hook(self._after, always_call=True),
        ]
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for hook in self._hooks:
            hook.remove()

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
        if func in SOFTMAX:
            result = func(*args, **kwargs)
            self._begin(result, args, kwargs)
            return result
        caller = sys._getframe(1)
        if id(caller.f_code) in self._flex_codes:
            self._flex(caller)
        if not self._follower or not args:
            return func(*args, **kwargs)
        met = self.recorder.look(lambda: self._follower.meets(func, args))
        if met is not None:
            self.recorder.written(caller, met)
        result = func(*args, **kwargs)
        self.recorder.look(lambda: self._follower.follow(func, args, result))
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

    # Nested tensors

    def _before(self, module: torch.nn.Module, inputs: Any) -> None:
        # Where another recorder has stepped aside, this one is aside too, and sees the second run with it.
        if not isinstance(module, _FAST) or module.training or not torch._C._is_torch_function_enabled():
            return
        nested = self._nested()
        if nested is not None and threading.get_ident() == self._thread:
            aside = torch._C.DisableTorchFunction()
            aside.__enter__()
            self._aside.append((module, nested, aside))

    def _nested(self) -> Tensor | None:
        entered = innermost(sys._getframe(2))
        given = entered and (entered.argument("query") if entered.takes("query") else entered.argument("src"))
        # The other kind of nested tensor, jagged, no module of torch's takes.
        return (
            given if isinstance(given, Tensor) and given.is_nested and given.layout == torch.strided else None
        )

    def _after(self, module: torch.nn.Module, inputs: Any, output: Any) -> None:
        if not self._aside or self._aside[-1][0] is not module or threading.get_ident() != self._thread:
            return
        _, nested, aside = self._aside.pop()
        aside.__exit__(None, None, None)
        if output is not None:
            self.recorder.look(lambda: _look_padded(module, nested))

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
            self._follower.begin(result, found)

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


def _look_padded(module: torch.nn.Module, nested: Tensor) -> None:
    """Run a module of torch's once more over its sequences (n, d), filled up to one length."""
    sequences = nested.detach().unbind()
    padded = torch.nn.utils.rnn.pad_sequence(list(sequences), batch_first=True)
    lengths = torch.tensor([len(x) for x in sequences], device=padded.device)
    padding = torch.arange(padded.shape[1], device=padded.device) >= lengths[:, None]
    with torch.no_grad():
        if isinstance(module, torch.nn.MultiheadAttention):
            module(padded, padded, padded, key_padding_mask=padding, need_weights=False)
        else:
            module(padded, src_key_padding_mask=padding)


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
