"""Entropy and largest logit of every head while a model trains, for a file, a dashboard or a function."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from attnlib._validate import real_number
from attnlib.errors import AttentionWarning, InvalidArgument, NothingRecorded
from attnlib.inspection import record_attention
from attnlib.report import COLUMNS, AttentionReport

__all__ = ["AttentionMonitor"]

_NAMES = ["step", *COLUMNS]


class AttentionMonitor:
    """Record some of the steps of a training loop and write what their attention was.

    ``to`` is where to: a function of the step and of the report's rows; the path of a CSV file, which is
    appended to; or a TensorBoard writer, anything with ``add_scalar(tag, value, step)``, which is given for
    each layer the mean and the least entropy of its heads and their largest logit. Of ``every`` steps the
    first is recorded, the others run as if there were no monitor. Training never stops for it: what is not
    recorded is a warning.

    Raises ``TypeError`` or ``InvalidArgument`` for a ``model``, ``to`` or ``every`` that will not do.

    Shapes: a row for each head, a dictionary of numbers, of the tidy form of the report.

    Source: U1-U4, U7.

    >>> import torch
    >>> model = torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    >>> seen = []
    >>> monitor = AttentionMonitor(model, lambda step, rows: seen.append((step, len(rows))), every=2)
    >>> for batch in torch.randn(3, 2, 10, 16):
    ...     with monitor.step():
    ...         loss = model(batch).square().mean()
    >>> seen
    [(0, 4), (2, 4)]
    """

    def __init__(self, model: torch.nn.Module, to: Any, *, every: int = 1) -> None:
        if not isinstance(model, torch.nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        if not isinstance(every, int):
            raise TypeError(f"every must be an int, got {type(every).__name__}")
        real_number("every", every, low=1)
        self.model, self.every, self.steps = model, every, 0
        self._write = _writer(to)

    @contextmanager
    def step(self, number: int | None = None) -> Iterator[AttentionReport | None]:
        """One step of training; gives the report while it fills, or None where the step is not recorded.

        ``number`` is the step's, by default one more than the last.
        """
        number = self.steps if number is None else number
        self.steps = number + 1
        if number % self.every:
            yield None
            return
        inside = True
        try:
            with record_attention(self.model) as report:
                yield report
                inside = False
        except NothingRecorded as error:
            if inside:
                raise
            warnings.warn(f"step {number}: {error}", AttentionWarning, stacklevel=3)
        if not inside:
            self._write(number, report)


def _writer(to: Any) -> Callable[[int, AttentionReport], None]:
    if isinstance(to, (str, Path)):
        return _csv_writer(Path(to))
    if hasattr(to, "add_scalar"):
        return lambda step, report: _write_scalars(to, step, report)
    if callable(to):
        return lambda step, report: to(step, report.to_rows())
    raise TypeError(f"to must be a function, a path or have add_scalar, got {type(to).__name__}")


def _csv_writer(path: Path) -> Callable[[int, AttentionReport], None]:
    header = ",".join(_NAMES)
    if path.exists() and path.stat().st_size:
        with path.open(encoding="utf-8") as file:
            found = file.readline().rstrip("\n")
        if found != header:
            raise InvalidArgument(
                f"to: {path} begins with {found!r} and not with {header!r}; name another file"
            )

    def write(step: int, report: AttentionReport) -> None:
        new = not path.exists() or not path.stat().st_size
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, _NAMES, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerows({"step": step, **row} for row in report.to_rows())

    return write


def _write_scalars(writer: Any, step: int, report: AttentionReport) -> None:
    for layer in report:
        means = report[layer]
        for name, value in (
            ("entropy", means.entropy.nanmean()),
            ("least entropy", means.entropy.nan_to_num(torch.inf).amin()),
            ("max logit", means.max_logit.nan_to_num(-torch.inf).amax()),
        ):
            if value.isfinite():
                writer.add_scalar(f"attention/{layer}/{name}", value.item(), step)
