"""The command line: a table of the heads of a model in a folder, as it reads a text."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor

from attnlib.errors import InvalidArgument
from attnlib.inspection import record_batches
from attnlib.report import AttentionReport


def _arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m attnlib", description="Look into the attention of a model.")
    inspect = parser.add_subparsers(dest="command", required=True).add_parser(
        "inspect", help="entropy and sparsity of every head as a model reads a text; needs transformers"
    )
    inspect.add_argument(
        "folder", type=Path, help="folder of a model and its tokenizer, as transformers saves them"
    )
    inspect.add_argument("--text", type=Path, required=True, help="file to read, UTF-8")
    inspect.add_argument(
        "--length", type=int, default=512, help="tokens in a window, at most the model's positions"
    )
    inspect.add_argument("--batch", type=int, default=4, help="windows at a time")
    inspect.add_argument("--windows", type=int, help="read no more than this many")
    inspect.add_argument("--device", default="cpu")
    inspect.add_argument("--csv", type=Path, help="write the table here, too")
    inspect.add_argument("--html", type=Path, help="write the table as a page")
    inspect.add_argument("--plot", type=Path, help="draw the entropies; needs matplotlib")
    return parser.parse_args(given)


def _load(folder: Path, device: str) -> tuple[Any, Any]:
    """Model and tokenizer; of a model with a decoder the encoder, which reads text alone."""
    try:
        transformers = importlib.import_module("transformers")
    except ModuleNotFoundError as error:
        raise InvalidArgument(
            "inspect needs transformers, which is not installed: pip install transformers"
        ) from error
    if not (folder / "config.json").is_file():
        raise InvalidArgument(f"{folder} holds no model: there is no config.json in it")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.AutoModel.from_pretrained(folder, local_files_only=True)
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    return model.to(device), tokenizer


def _windows(tokenizer: Any, text: str, length: int) -> dict[str, Tensor]:
    """The whole text in windows of ``length`` tokens, each with the marks the model is used to."""
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    found = tokenizer(
        text,
        truncation=True,
        max_length=length,
        return_overflowing_tokens=True,
        padding="max_length" if tokenizer.pad_token else False,
        return_attention_mask=True,
    )
    return {name: torch.tensor(found[name]) for name in ("input_ids", "attention_mask")}


def _batches(windows: dict[str, Tensor], size: int, device: str) -> Iterator[dict[str, Tensor]]:
    for first in range(0, len(windows["input_ids"]), size):
        yield {name: x[first : first + size].to(device) for name, x in windows.items()}


class _Progress:
    """A line that says how far it is: written over on a terminal, every tenth elsewhere."""

    def __init__(self, total: int, out: TextIO):
        self.total, self.out, self.told = total, out, -1

    def __call__(self, done: int, report: AttentionReport) -> None:
        tenth = 10 * done // self.total
        if self.out.isatty():
            print(
                f"\r{done} of {self.total} batches",
                end="\n" * (done == self.total),
                file=self.out,
                flush=True,
            )
        elif tenth > self.told:
            print(f"{done} of {self.total} batches", file=self.out, flush=True)
        self.told = tenth


def _inspect(options: argparse.Namespace) -> None:
    for name in ("length", "batch", "windows"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InvalidArgument(f"--{name} must be at least 1, got {value}")
    try:
        text = options.text.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"--text {options.text} cannot be read: {error}") from error
    if not text.strip():
        raise InvalidArgument(f"--text {options.text} is empty")
    model, tokenizer = _load(options.folder, options.device)
    positions = getattr(model.config, "max_position_embeddings", None) or options.length
    windows = _windows(tokenizer, text, min(options.length, positions))
    windows = {name: x[: options.windows] for name, x in windows.items()}
    total = -(-len(windows["input_ids"]) // options.batch)
    batches = _batches(windows, options.batch, options.device)
    report = record_batches(model, batches, progress=_Progress(total, sys.stderr))
    print(report)
    if options.csv:
        report.to_csv(options.csv)
    if options.html:
        options.html.write_text(report._repr_html_(), encoding="utf-8")
    if options.plot:
        figure = report.plot().get_figure(root=True)
        if figure is not None:
            figure.savefig(options.plot, dpi=150)


def main(given: Sequence[str]) -> int:
    """Run the command; what is wrong with what was asked is said in a line, and 2 returned."""
    try:
        _inspect(_arguments(given))
    except (InvalidArgument, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
