"""How large a length experiment is. Whoever changes a number here makes another experiment."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

__all__ = ["PRESETS", "Preset"]


@dataclass(frozen=True)
class Preset:
    """The settings that all trainings of an experiment share. Lengths and sizes in tokens."""

    trainings: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: int
    batch: int
    width: int
    layers: int
    heads: int
    key_width: int  # of a gated attention unit
    vocabulary: int
    lengths: tuple[int, ...]
    held_out_chunks: int  # of 4096 tokens, for the accuracy
    inside_chunks: int  # of those, for what is measured inside
    n_train: int = 64
    hidden: int = 10  # tokens hidden in every window of n_train
    learning_rate: float = 3e-3
    warmup: int = 200
    weight_decay: float = 0.01
    clip: float = 1.0
    checkpoint_every: int = 200
    dtype: str = "float32"
    compile: bool = False

    def as_dict(self) -> dict:
        return json.loads(json.dumps(asdict(self)))


_ALL = ("O", "E", "gau-relu2-n", "gau-softmax", "kappa", "gau-relu2-sum")

PRESETS = {
    # Shows that everything runs; its accuracies mean nothing.
    "smoke": Preset(
        trainings=("O", "gau-relu2-n"),
        seeds=(0,),
        steps=30,
        batch=8,
        width=32,
        layers=1,
        heads=2,
        key_width=16,
        vocabulary=512,
        lengths=(64, 128),
        held_out_chunks=1,
        inside_chunks=1,
        warmup=5,
        checkpoint_every=10,
    ),
    # A small replica, about ten minutes a training on one core.
    "cpu": Preset(
        trainings=_ALL,
        seeds=(0, 1, 2),
        steps=5000,
        batch=32,
        width=64,
        layers=3,
        heads=2,
        key_width=64,
        vocabulary=2048,
        lengths=(64, 128, 256, 512, 1024, 2048),
        held_out_chunks=10,
        inside_chunks=2,
    ),
    # Sized for minutes of an H100 with --jobs 9; not yet run to its end.
    "gpu": Preset(
        trainings=_ALL,
        seeds=(0, 1, 2),
        steps=2000,
        batch=128,
        width=256,
        layers=6,
        heads=4,
        key_width=128,
        vocabulary=4096,
        lengths=(64, 128, 256, 512, 1024, 2048),
        held_out_chunks=18,
        inside_chunks=4,
        learning_rate=2e-3,
        warmup=200,
        checkpoint_every=1000,
        dtype="bfloat16",
        compile=True,
    ),
}
