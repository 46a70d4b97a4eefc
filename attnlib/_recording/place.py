"""Which module of a model made a call, read off the Python stack: no hook lies on any module.

Every module is entered through ``torch.nn.Module.__call__``, whose frames hold the module and what it was
called with. Frames belong to the thread that runs them, so models in several threads are told apart.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from attnlib._masks import hides

ROOT = "(model)"
# The name under which torch.compile keeps the module it was given, which is no part of a layer's name.
_COMPILED = "_orig_mod"
_ENTERED: CodeType = nn.Module.__call__.__code__
# What modules call their number of query heads, the plainest first.
_HEADS = (
    "num_attention_heads",
    "num_heads",
    "n_heads",
    "n_head",
    "nheads",
    "nhead",
    "num_query_heads",
    "heads",
)
# What modules call the padding of their own sequence, not of one they look at, in the order to be asked. In
# PyTorch's own modules True is padding; elsewhere 1 is a real token. A plain ``mask`` may also be one of rows
# and keys, which is told by its shape.
_PADDING = ("tgt_key_padding_mask", "src_key_padding_mask", "key_padding_mask", "attention_mask", "mask")
_ONES_ARE_REAL = ("attention_mask", "mask")
_STACK = ("input_ids", "inputs_embeds")
_TOKENS = ("input_ids", "inputs_embeds", "hidden_states")


class Entered(NamedTuple):
    """A module that is running, and what it was called with."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def argument(self, name: str) -> Any:
        """The argument called ``name``, by position or by name; None where there is none."""
        if name in self.kwargs:
            return self.kwargs[name]
        place = _positions(type(self.module).forward).get(name)
        return self.args[place] if place is not None and place < len(self.args) else None

    def takes(self, name: str) -> bool:
        """Whether its forward names this argument."""
        return name in _positions(type(self.module).forward)


@functools.lru_cache(maxsize=None)
def _positions(forward: Callable[..., Any]) -> dict[str, int]:
    """Place of every named argument of a forward, self not counted."""
    try:
        names = list(inspect.signature(forward).parameters)[1:]
    except (TypeError, ValueError):  # a forward that is no Python function
        return {}
    return {name: place for place, name in enumerate(names)}


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def innermost(frame: FrameType) -> Entered | None:
    """The module that is running at a frame, of whatever model."""
    for entered in _frames(frame):
        if entered.f_code is _ENTERED:
            held = entered.f_locals
            return Entered(held["self"], held["args"], held["kwargs"])
    return None


class Place(NamedTuple):
    """Where a call was made: the running modules of the model, innermost first."""

    layer: str
    running: list[Entered]

    @property
    def heads(self) -> int | None:
        """The number of query heads by the module's own word, or its configuration's; None if it has none."""
        for entered in self.running[:3]:
            for owner in (entered.module, getattr(entered.module, "config", None)):
                for name in _HEADS:
                    heads = getattr(owner, name, None)
                    if isinstance(heads, int) and heads > 0:
                        return heads
        return None

    def real_rows(self, batch: int, n_q: int) -> Tensor | None:
        """True (batch, n_q) at rows of real tokens by the padding the model was called with; None if it has
        none.

        The nearest module around the call that was given a 2-d mask decides, since a mask belongs to the
        queries of the stack it is given to. A stack takes tokens, and a None there says that nothing is
        padded; a None at a layer only that it hides no keys.
        """
        for entered in self.running:
            name = next((n for n in _PADDING if entered.takes(n) or n in entered.kwargs), None)
            if name is None or name == "key_padding_mask" and not _attends_to_itself(entered):
                continue
            mask = entered.argument(name)
            if mask is None and (name not in _ONES_ARE_REAL or _is_stack(entered)):
                return None
            if name == "mask" and not _is_of_tokens(entered, mask):
                continue
            if isinstance(mask, Tensor) and mask.ndim == 1 and batch == 1:  # of a sequence without a batch
                mask = mask[None]
            if isinstance(mask, Tensor) and mask.ndim == 2:
                rows = _last_rows(entered, mask, batch, n_q)
                if rows is not None:
                    return _kept(rows) if name in _ONES_ARE_REAL else ~_hidden(rows)
        return None

    def positions(self, batch: int, n_q: int) -> Tensor | None:
        """Positions (batch or 1, n_q) of the queries by the model's own word; None if it passes none."""
        for entered in self.running:
            given = entered.argument("position_ids")
            if isinstance(given, Tensor) and given.ndim == 2 and given.shape[1] == n_q:
                if given.shape[0] in (1, batch) and not given.is_floating_point():
                    return given
        return None


def _hidden(mask: Tensor) -> Tensor:
    """What a padding mask of PyTorch's hides: True, or a large negative entry."""
    return mask if mask.dtype == torch.bool else hides(mask)


def _is_stack(entered: Entered) -> bool:
    return any(map(entered.takes, _STACK)) or any(not x.is_floating_point() for x in _sequences(entered))


def _is_of_tokens(entered: Entered, mask: object) -> bool:
    """Whether a mask that is only called so belongs to the tokens of the sequence, or of the first of two.

    One that is as high as wide may be of rows and keys, where its diagonal hides nothing.
    """
    if not isinstance(mask, Tensor) or mask.ndim != 2 or mask.is_floating_point():
        return False
    if len(_sequences(entered)) > 1 and not entered.takes("context_mask"):
        return False
    return mask.shape[0] != mask.shape[1] or not bool(mask.diagonal().all())


def _sequences(entered: Entered) -> list[Tensor]:
    """The sequences that a module was given: features (batch, n, d) or numbers (batch, n) of tokens."""
    given = {id(x): x for x in (*entered.args, *entered.kwargs.values()) if isinstance(x, Tensor)}
    return [
        x for x in given.values() if x.ndim == (3 if x.is_floating_point() else 2) and x.dtype != torch.bool
    ]


def _kept(mask: Tensor) -> Tensor:
    """What a mask of ones and zeros, or of zeros and large negative numbers, keeps."""
    return mask >= 0 if mask.dtype.is_floating_point and bool((mask < 0).any()) else mask != 0


def _attends_to_itself(entered: Entered) -> bool:
    return entered.argument("query") is entered.argument("key")


def _last_rows(entered: Entered, mask: Tensor, batch: int, n_q: int) -> Tensor | None:
    """The columns of a mask (batch, tokens) that belong to the ``n_q`` queries: the last, after those
    cached."""
    if mask.shape[0] != batch or mask.shape[1] < n_q:
        return None
    if mask.shape[1] == n_q:
        return mask
    tokens = [x for name in _TOKENS if isinstance(x := entered.argument(name), Tensor) and x.ndim > 1]
    if any(x.shape[1] == n_q for x in tokens):
        return mask[:, -n_q:]
    return None


def alone(running: list[Entered]) -> bool:
    """Whether the innermost module that was given sequences was given one only, so that its queries and keys
    are its tokens.

    Inside of it may be one that is given queries, keys and values by heads.
    """
    counts = (sum(x.is_floating_point() for x in _sequences(entered)) for entered in running[:3])
    return next((count for count in counts if count), 0) == 1


def is_compiled(module: nn.Module) -> bool:
    """Whether ``torch.compile`` or ``module.compile()`` made it what it is; asking for classes would load a
    compiler."""
    return hasattr(module, _COMPILED) or getattr(module, "_compiled_call_impl", None) is not None


def _name(path: str) -> str:
    return ".".join(part for part in path.split(".") if part != _COMPILED) or ROOT


class Whereabouts:
    """Names calls by the module of ``model`` that makes them, while it is open.

    A hook that PyTorch keeps for all modules, and none of the model's own, counts how often a module was
    entered: a module that attends more than once in one forward pass gives ``name``, ``name[1]`` and so on.
    """

    def __init__(self, model: nn.Module):
        self.model = model
        self.names = {id(module): _name(path) for path, module in model.named_modules()}
        # Names are by identity, so the modules must stay: one that is replaced would leave its place to
        # another.
        self._modules = list(model.modules())
        self.ran: dict[str, None] = {}
        self._calls: dict[tuple[int, int], int] = {}
        self._handle = register_module_forward_pre_hook(self._entering)

    def close(self) -> None:
        self._handle.remove()

    def _entering(self, module: nn.Module, inputs: Any) -> None:
        if torch.compiler.is_compiling():
            return
        name = self.names.get(id(module))
        if name is not None:
            self.ran.setdefault(name)
            self._calls[threading.get_ident(), id(module)] = 0

    def find(self, frame: FrameType | None = None) -> Place | None:
        """The place of the call that is being made; None where the model is not running."""
        running: list[Entered] = []
        for frame in _frames(frame or sys._getframe(1)):
            if frame.f_code is _ENTERED:
                held = frame.f_locals
                if id(held["self"]) in self.names:
                    running.append(Entered(held["self"], held["args"], held["kwargs"]))
        if not running:
            return None
        name = self.names[id(running[0].module)]
        key = threading.get_ident(), id(running[0].module)
        call = self._calls.get(key, 0)
        self._calls[key] = call + 1
        return Place(f"{name}[{call}]" if call else name, running)

    def unseen(self, layers: list[str]) -> list[str]:
        """Modules that are attention by their name, ran, and made none of the calls that were recorded."""
        seen = {layer.partition("[")[0].partition(" (")[0] for layer in layers}
        kinds = {
            self.names[id(module)]: type(module).__name__
            for module in self._modules
            if not hasattr(module, _COMPILED)
        }
        named = [name for name in self.ran if _says_attention(kinds[name])]
        innermost = [name for name in named if not any(_inside(other, name) for other in named)]
        return [
            name
            for name in innermost
            if not any(other == name or _inside(other, name) or _parent(name) == other for other in seen)
        ]


def _says_attention(kind: str) -> bool:
    return "attention" in kind.lower() or "attn" in kind.lower()


def _inside(name: str, outer: str) -> bool:
    return name != outer and (outer == ROOT or name.startswith(f"{outer}."))


def _parent(name: str) -> str:
    return name.rpartition(".")[0] or ROOT
