"""The beginning of an experiment over again, by whatever code is on Python's path; ``carry_over`` runs it.

It is run as a file, with an older tree of this project on the path: so it names no module of the project at
its top, and uses of the experiments only what they have had since the first record.
"""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

LENGTHS = 4  # a score is taken at this many times the training length, in
WINDOWS = 4  # of them


class _Enough(Exception):
    """The steps asked for are done."""


def replay(
    package: str, preset_name: str, seed: int, steps: dict[str, int], own: Path, weights: Path | None
) -> dict[str, Any]:
    """Train for some steps, then take one cheap score of every arm that shares a training.

    Args:
        package: The name of the experiments' package in the tree on the path. preset_name: The preset of the
        record. seed: The seed to train with. steps: The trainings, and how many of the preset's steps of
        each; the schedule is that of the whole one. own: Where the weights that were reached are kept, as
        checkpoints. weights: The ``own`` of another run, whose weights are scored; None for those of this
        one.

    Returns:
        Where the code lies, every step's loss and the digest of the weights by training, the scores by arm,
        and those of the control with known distances.
    """

    def part(name: str) -> Any:
        return importlib.import_module(f"{package}.{name}")

    import torch

    torch.set_num_threads(1)  # as in the experiments themselves, so that sums have one order
    preset = part("presets").PRESETS[preset_name]
    corpus = part("corpus").load_corpus(preset.vocabulary)
    training, arms, evaluation = part("training"), part("arms"), part("evaluation")
    length = LENGTHS * preset.n_train
    few = replace(preset, held_out_chunks=1, inside_chunks=1)
    short = replace(corpus, held_out=corpus.held_out[:1, : WINDOWS * length])
    found: dict[str, Any] = {"code": str(Path(training.__file__).resolve()), "trainings": {}}
    found |= {"scores": {}, "known distances": {}}

    def score(model: Any, attention: Any) -> dict[str, Any]:
        measured = evaluation.evaluate(model, attention, short, few, length)
        inside = {name: values.tolist() for name, values in measured.inside.items()}
        return {"accuracy": measured.accuracy, "loss": measured.loss, **inside}

    for one in (one for one in arms.TRAININGS if one.name in steps):
        losses: list[float] = []

        def progress(
            step: int, loss: float, losses: list[float] = losses, count: int = steps[one.name]
        ) -> None:
            if step > count:
                raise _Enough
            losses.append(loss)

        if (own / f"{one.name}.pt").exists():
            raise FileExistsError(f"{own} has weights of an earlier replay")
        kept = replace(preset, checkpoint_every=steps[one.name])
        try:
            training.train(one, seed, kept, corpus, checkpoint=own / f"{one.name}.pt", progress=progress)
        except _Enough:
            pass
        models = []
        for folder in (own, weights or own):
            models.append(training.build_model(one, preset, seed))
            models[-1].load_state_dict(part("checkpoints").load(folder / f"{one.name}.pt")["model"])
        reached, model = models[0], models[1].eval()
        found["trainings"][one.name] = {"losses": losses, "weights": training.weights_digest(reached)}
        entropies = evaluation.trained_entropies(model, one.attention(preset.n_train), corpus, preset)
        for arm in (arm for arm in arms.ARMS if arm.training.name == one.name):
            found["scores"][arm.name] = score(model, arm.attention(preset.n_train, entropies))
        if one.name == "O":
            control = part("known_distances")
            for rule in control.RULES:
                attention = arms.arm(rule).attention(preset.n_train, entropies)
                attention = control.KnownDistances.like(attention, preset.n_train - 1)
                found["known distances"][rule] = score(model, attention)
    return found


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    folders = {name: asked[name] and Path(asked[name]) for name in ("own", "weights")}
    print(json.dumps(replay(**{**asked, **folders})))
