"""What was recorded of a model's attention: means over rows for every head of every layer, and their tables.

:func:`attnlib.record_attention` fills an :class:`AttentionReport`; weights can also be added by hand.
"""

from __future__ import annotations

import csv
import html
import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnlib._recording import picture
from attnlib._recording.reading import read_written
from attnlib._validate import floating_tensor, no_nan, one_of
from attnlib.errors import InvalidArgument
from attnlib.rows import RowStatistics, convert

if TYPE_CHECKING:  # matplotlib is no requirement of attnlib
    from matplotlib.axes import Axes

__all__ = ["AttentionReport", "HeadStatistics"]

KEPT = ("rows", "positions", "steps", "keys")
_QUANTITIES = ("entropy", "log_n", "effective_tokens", "sparsity")
_TITLES = {
    "entropy": "mean entropy (nats)",
    "effective_tokens": "mean effective tokens",
    "sparsity": "mean sparsity",
    "max_logit": "largest logit",
}
_NUMBERS = (*_QUANTITIES, "max_logit", "rows")
COLUMNS = ["layer", "head", *_NUMBERS, "calls"]


class HeadStatistics(NamedTuple):
    """Means over the rows of each head of one layer, float64 on the CPU.

    ``entropy`` is Shannon's and ``log_n`` that of rows spread evenly over the keys they see, both in nats;
    ``effective_tokens`` is 1 / sum p^2 and ``sparsity`` S*_{1,2}. ``max_logit`` is the largest logit that any
    row saw, NaN where it is not known. ``rows`` counts the rows of real tokens that see a key, over which the
    means are taken (NaN if there are none), and ``calls`` the calls they come from.

    Shapes: each tensor (heads,), or (positions, heads) and (steps, heads) where rows were told apart;
    ``calls`` is an int.

    Source: U1-U4, U7.

    >>> import torch
    >>> from attnlib import record_attention
    >>> attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    >>> x = torch.zeros(1, 5, 8)
    >>> with record_attention(attention) as report:
    ...     output, weights = attention(x, x, x)
    >>> report["(model)"].effective_tokens.round()
    tensor([5., 5.], dtype=torch.float64)
    """

    entropy: Tensor
    log_n: Tensor
    effective_tokens: Tensor
    sparsity: Tensor
    max_logit: Tensor
    rows: Tensor
    calls: int


class AttentionReport:
    """What :func:`record_attention` saw: ``report[layer]`` is the :class:`HeadStatistics` of one layer.

    ``layers`` lists the layers in the order of their first call, ``problems`` says in words what could not be
    read. Printed, the report is a table with a line for each head, and in a notebook one in HTML.
    ``to_dict``, ``to_rows``, ``to_csv`` and ``to_pandas`` give its numbers, ``plot`` a figure. Of what was
    asked for by ``keep``: ``row_statistics`` maps a layer to one :class:`attnlib.RowStatistics` (batch,
    heads, n) a call, ``by_position``, ``by_step`` and ``received`` give numbers of their own. Entropies are
    in nats; a layer that was not seen is a ``KeyError``.

    Shapes: every statistic of a layer (heads,).

    Source: U1-U4, U7.

    >>> import torch
    >>> from attnlib import record_attention
    >>> attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    >>> x = torch.zeros(1, 16, 8)
    >>> with record_attention(attention) as report:
    ...     output, weights = attention(x, x, x)
    >>> print(report)
    layer    head  entropy  log n  tokens  sparsity  max logit  rows
    (model)     0    2.773  2.773    16.0     1.000       0.00    16
    (model)     1    2.773  2.773    16.0     1.000       0.00    16
    """

    def __init__(self, keep: Iterable[str] = ()) -> None:
        self.keep = frozenset(keep)
        self.row_statistics: dict[str, list[RowStatistics]] = {}
        self.problems: list[str] = []
        self._tallies: dict[str, _Tally] = {}

    @property
    def layers(self) -> list[str]:
        """Paths in the model of the layers seen, in the order of their first call."""
        return list(self._tallies)

    def __getitem__(self, layer: str) -> HeadStatistics:
        return self._tallies[layer].whole.means(self._tallies[layer].calls)

    def __len__(self) -> int:
        return len(self._tallies)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tallies)

    def by_step(self, layer: str) -> HeadStatistics:
        """Each call of a layer on its own, (calls, heads): in generation, the prompt and then every token.

        Raises ``InvalidArgument`` unless ``keep`` holds ``"steps"``.
        """
        self._asked_for("steps")
        tally = self._tallies[layer]
        return _Sums.stack(tally.steps).means(1)

    def by_position(self, layer: str) -> HeadStatistics:
        """Every place of a query on its own, (positions, heads), by the model's own ``position_ids`` where it
        passes them to its layers and else by the place in the call.

        Raises ``InvalidArgument`` unless ``keep`` holds ``"positions"``.
        """
        self._asked_for("positions")
        tally = self._tallies[layer]
        return tally.places.means(tally.calls)

    def received(self, layer: str) -> Tensor:
        """Share of the rows' weight that went to the key at each place of the keys, (heads, m), float64.

        The shares of a head sum to 1; a sink such as a first token stands out.

        Raises ``InvalidArgument`` unless ``keep`` holds ``"keys"``.
        """
        self._asked_for("keys")
        received = self._tallies[layer].received
        return received / received.sum(-1, keepdim=True)

    def _asked_for(self, what: str) -> None:
        if what not in self.keep:
            raise InvalidArgument(f"keep must hold {what!r} when recording, got {sorted(self.keep)}")

    def add(
        self,
        layer: str,
        statistics: RowStatistics,
        real: Tensor | None = None,
        positions: Tensor | None = None,
        received: Tensor | None = None,
    ) -> None:
        """Count the rows (batch, heads, n) of one call; ``real`` (batch, n) is False at rows of padding.

        ``received`` (batch, heads, m) is the weight that its keys have from those rows.
        """
        heads = statistics.lse.shape[1]
        if layer in self._tallies and self._tallies[layer].heads != heads:
            layer = f"{layer} ({heads} heads)"
        tally = self._tallies.setdefault(layer, _Tally(heads))
        tally.add(statistics, real, positions, self.keep)
        if received is not None:
            tally.add_received(received)
        if "rows" in self.keep:
            kept = convert(statistics, lambda x: x.cpu())
            self.row_statistics.setdefault(layer, []).append(kept)

    def add_weights(
        self, layer: str, weights: Tensor, *, visible: Tensor | None = None, query_mask: Tensor | None = None
    ) -> None:
        """Count weights that a model has written out, such as transformers' ``output_attentions=True`` gives.

        Args:
            layer: the name to file them under; a layer that is there is added to.
            weights: (batch, heads, n, m), not negative; what a row lacks to 1 has gone to a sink.
            visible: boolean, True where a row sees a key; broadcasts to the weights. None takes every key of
                positive weight as visible.
            query_mask: boolean (batch, n), False at rows of padding, which do not count.

        Raises ``InvalidArgument`` or ``TypeError``, which name the argument.

        >>> report = AttentionReport()
        >>> report.add_weights("layer 0", torch.full((1, 2, 3, 4), 0.25))
        >>> report["layer 0"].effective_tokens
        tensor([4., 4.], dtype=torch.float64)
        """
        floating_tensor("weights", weights)
        if weights.ndim != 4 or not weights.numel():
            raise InvalidArgument(f"weights must have shape (batch, heads, n, m), got {tuple(weights.shape)}")
        no_nan("weights", weights)
        if (weights < 0).any():
            raise InvalidArgument(f"weights must not be negative, got {weights.min().item()}")
        if query_mask is not None and query_mask.shape != weights[:, 0, :, 0].shape:
            raise InvalidArgument(
                f"query_mask must have shape (batch, n) of weights {tuple(weights.shape)}, "
                f"got {tuple(query_mask.shape)}"
            )
        seen = weights > 0 if visible is None else visible.expand_as(weights)
        self.add(layer, read_written(weights, None, seen.sum(-1), None), query_mask)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Lists and numbers only, ready for JSON: layer to name of the statistic to one value a head.

        None stands where there is no number.
        """
        return {
            layer: {
                name: list(map(_number, value.tolist())) if isinstance(value, Tensor) else value
                for name, value in self[layer]._asdict().items()
            }
            for layer in self
        }

    def to_rows(self) -> list[dict[str, Any]]:
        """The tidy form: one dictionary a head, with its layer, its number and every statistic or None."""
        found = []
        for layer in self:
            means = self[layer]
            for head in range(len(means.rows)):
                numbers = {name: _number(getattr(means, name)[head].item()) for name in _NUMBERS}
                found.append({"layer": layer, "head": head, **numbers, "calls": means.calls})
        return found

    def to_csv(self, path: str | Path) -> None:
        """Write the tidy form to a file, one line a head after a line of names."""
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.to_rows())

    def to_pandas(self) -> Any:
        """The tidy form as a data frame; ``ModuleNotFoundError`` where pandas is not installed."""
        try:
            pandas = importlib.import_module("pandas")
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "to_pandas() needs pandas, which is not installed: pip install pandas; to_rows() gives the "
                "same without it",
                name=error.name,
            ) from None
        return pandas.DataFrame(self.to_rows(), columns=COLUMNS)

    def _table(self) -> list[tuple[str, ...]]:
        known = any(self[layer].max_logit.isfinite().any() for layer in self)
        lines = [("layer", "head", "entropy", "log n", "tokens", "sparsity", *["max logit"] * known, "rows")]
        for row in self.to_rows():
            numbers = [
                _digits(row["entropy"], 3),
                _digits(row["log_n"], 3),
                _digits(row["effective_tokens"], 1),
                _digits(row["sparsity"], 3),
                *[_digits(row["max_logit"], 2)] * known,
            ]
            lines.append((row["layer"], str(row["head"]), *numbers, str(row["rows"])))
        return lines

    def __str__(self) -> str:
        table = self._table()
        widths = [max(map(len, column)) for column in zip(*table)]
        lines = [
            "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in table
        ]
        return "\n".join([*lines, *(f"not recorded: {problem}" for problem in self.problems)])

    def __repr__(self) -> str:
        heads = sum(len(self[layer].rows) for layer in self)
        rows = sum(int(self[layer].rows.sum()) for layer in self)
        missed = f", {len(self.problems)} problems" if self.problems else ""
        return f"<AttentionReport: {len(self)} layers, {heads} heads, {rows} rows{missed}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the table, each entropy with a bar of its share of log n."""
        head, *lines = self._table()
        cells = "".join(f"<th>{html.escape(name)}</th>" for name in head)
        body = []
        for line, row in zip(lines, self.to_rows(), strict=True):
            width = 100 * min(max((row["entropy"] or 0.0) / (row["log_n"] or 1.0), 0.0), 1.0)
            bar = (
                f' style="background: linear-gradient(90deg, #88b4d8 {width:.0f}%, transparent {width:.0f}%)"'
            )
            body.append(
                "<tr>"
                + "".join(
                    f"<td{bar if name == 'entropy' else ''}>{html.escape(cell)}</td>"
                    for name, cell in zip(head, line, strict=True)
                )
                + "</tr>"
            )
        missed = "".join(f"<p>not recorded: {html.escape(problem)}</p>" for problem in self.problems)
        return f"<table><thead><tr>{cells}</tr></thead><tbody>{''.join(body)}</tbody></table>{missed}"

    def plot(self, quantity: str = "entropy", *, ax: Axes | None = None) -> Axes:
        """A point for each head over the layers, with a bar where even attention would lie.

        Draws with matplotlib, which attnlib does not require. From 13 layers on, layers are numbered, and no
        more than 12 of them have a label.

        Args:
            quantity: ``"entropy"`` (nats), ``"effective_tokens"``, ``"sparsity"`` or ``"max_logit"``.
            ax: axes to draw into; None for axes of their own.

        Returns:
            The axes.

        Raises:
            InvalidArgument: another word for ``quantity``.
            ModuleNotFoundError: matplotlib is not installed.
        """
        one_of("quantity", quantity, tuple(_TITLES))
        found = [self[layer] for layer in self]
        even = [means.log_n.nanmean().item() for means in found] if quantity == "entropy" else None
        heads = [getattr(means, quantity).tolist() for means in found]
        return picture.plot_layers(self.layers, heads, even, _TITLES[quantity], ax)

    def plot_along(self, quantity: str = "entropy", *, by: str = "position", ax: Axes | None = None) -> Axes:
        """A line for each layer, the mean of its heads, over the positions or the steps of generation.

        Args:
            quantity: as for a plot over layers.
            by: ``"position"`` or ``"step"``; ``keep`` must have held ``"positions"`` or ``"steps"``.
            ax: axes to draw into; None for axes of their own.

        Returns:
            The axes.

        Raises:
            InvalidArgument: another word for ``quantity`` or ``by``, or what was not kept.
            ModuleNotFoundError: matplotlib is not installed.
        """
        one_of("quantity", quantity, tuple(_TITLES))
        one_of("by", by, ("position", "step"))
        told_apart = self.by_position if by == "position" else self.by_step
        lines = [getattr(told_apart(layer), quantity).nanmean(-1).tolist() for layer in self]
        place = "position of the query" if by == "position" else "step: the prompt, then every token"
        return picture.plot_along(self.layers, lines, place, _TITLES[quantity], ax)


def _number(x: float) -> float | None:
    """JSON and CSV have no NaN."""
    return None if x != x else x


def _digits(x: float | None, digits: int) -> str:
    return "nan" if x is None else f"{x:.{digits}f}"


class _Sums(NamedTuple):
    """Sums over rows, (4, ..., heads), of what HeadStatistics has means of."""

    sums: Tensor
    max_logit: Tensor
    rows: Tensor

    @classmethod
    def nothing(cls, *shape: int) -> _Sums:
        double = torch.float64
        return cls(
            torch.zeros(len(_QUANTITIES), *shape, dtype=double),
            torch.full(shape, -torch.inf, dtype=double),
            torch.zeros(shape, dtype=torch.int64),
        )

    @classmethod
    def stack(cls, parts: list[_Sums]) -> _Sums:
        """One after the other, along a dimension of their own."""
        sums, max_logit, rows = zip(*parts)
        return cls(torch.stack(sums, 1), torch.stack(max_logit), torch.stack(rows))

    def plus(self, other: _Sums) -> _Sums:
        return _Sums(
            self.sums + other.sums, torch.maximum(self.max_logit, other.max_logit), self.rows + other.rows
        )

    def means(self, calls: int) -> HeadStatistics:
        max_logit = self.max_logit.masked_fill(self.max_logit == -torch.inf, torch.nan)
        entropy, log_n, tokens, sparsity = self.sums / self.rows
        return HeadStatistics(entropy, log_n, tokens, sparsity, max_logit, self.rows, calls)


class _Tally:
    """Running sums of one layer."""

    def __init__(self, heads: int):
        self.heads, self.calls = heads, 0
        self.whole = _Sums.nothing(heads)
        self.steps: list[_Sums] = []
        self.places = _Sums.nothing(0, heads)
        self.received = torch.zeros(heads, 0, dtype=torch.float64)

    def add(
        self, statistics: RowStatistics, real: Tensor | None, positions: Tensor | None, keep: frozenset[str]
    ) -> None:
        counts = statistics.lse != -torch.inf
        if real is not None:
            counts = counts & real[:, None].to(counts.device)
        values = (
            statistics.entropy,
            statistics.renyi[0.0],
            statistics.effective_tokens,
            statistics.sparsity,
        )
        stacked = torch.stack(values).masked_fill(~counts, 0)
        largest = getattr(statistics, "max_logit", None)
        largest = statistics.lse * torch.nan if largest is None else largest
        largest = largest.masked_fill(~counts, -torch.inf)
        call = _Sums(
            stacked.sum(dim=(1, -1)).cpu().double(),
            largest.amax(dim=(0, -1)).cpu().double(),
            counts.sum(dim=(0, -1)).cpu(),
        )
        self.whole = self.whole.plus(call)
        self.calls += 1
        if "steps" in keep:
            self.steps.append(call)
        if "positions" in keep:
            self._add_places(stacked, largest, counts, positions)

    def add_received(self, received: Tensor) -> None:
        parts = self.received, received.sum(0).cpu().double()
        length = max(part.shape[-1] for part in parts)
        before, new = (pad(part, (0, length - part.shape[-1])) for part in parts)
        self.received = before + new

    def _add_places(self, stacked: Tensor, largest: Tensor, counts: Tensor, positions: Tensor | None) -> None:
        batch, heads, n = counts.shape
        place = torch.arange(n) if positions is None else positions.cpu()
        place = place.expand(batch, n).flatten()
        length = max(int(place.max()) + 1, len(self.places.rows))
        here = _Sums.nothing(length, heads)

        def by_row(x: Tensor) -> Tensor:
            """(..., batch, heads, n) as (..., batch * n, heads)."""
            return x.cpu().movedim(-1, -2).flatten(-3, -2)

        here.sums.index_add_(1, place, by_row(stacked).double())
        here.rows.index_add_(0, place, by_row(counts).long())
        index = place[:, None].expand(-1, heads)
        here.max_logit.scatter_reduce_(0, index, by_row(largest).double(), "amax")
        missing = length - len(self.places.rows)
        before = _Sums(
            *(
                torch.cat([old, new[..., :missing, :]], dim=-2)
                for old, new in zip(self.places, _Sums.nothing(length, heads))
            )
        )
        self.places = before.plus(here)
