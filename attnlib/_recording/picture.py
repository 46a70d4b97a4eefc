"""The figures of a report, by matplotlib, from plain numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # matplotlib is no requirement of attnlib
    from matplotlib.axes import Axes

# More labels than this run into each other, at any angle.
_LABELS = 12


def _axes(ax: Axes | None, layers: int) -> Axes:
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "a plot needs matplotlib, which is not installed: pip install matplotlib; to_dict() and to_csv() "
            "give the numbers without it",
            name=error.name,
        ) from None
    width = min(6.4 + 0.1 * max(layers - 12, 0), 14)
    _, ax = pyplot.subplots(figsize=(width, 4.2), layout="constrained")
    return ax


def short_names(layers: list[str]) -> tuple[list[str], str]:
    """Names without what they have in common, and the pattern they are short for."""
    parts = [layer.split(".") for layer in layers]
    if len(layers) < 2:
        return layers, "layer"
    shortest = min(map(len, parts))
    first = next((i for i in range(shortest) if len({part[i] for part in parts}) > 1), shortest - 1)
    last = next((i for i in range(shortest - first) if len({part[-1 - i] for part in parts}) > 1), 0)
    names = [".".join(part[first : len(part) - last]) for part in parts]
    before, after = parts[0][:first], parts[0][len(parts[0]) - last :]
    return names, ".".join([*before, "*", *after]) if before or after else "layer"


def plot_layers(
    layers: list[str], heads: list[list[float]], even: list[float] | None, title: str, ax: Axes | None
) -> Axes:
    """A point for each head over the layers, and a bar for each of ``even``."""
    ax = _axes(ax, len(layers))
    crowd = max(map(len, heads), default=1) * len(layers)
    size = 6.0 if crowd <= 100 else 4.0 if crowd <= 600 else 2.5
    shown: list[Any] = []
    for place, (layer, values) in enumerate(zip(layers, heads, strict=True)):
        step = 0.5 / (len(values) - 1) if len(values) > 1 else 0.0
        offsets = [place - 0.25 * (len(values) > 1) + step * head for head in range(len(values))]
        points = ax.plot(
            offsets, values, "o", color="C0", markersize=size, markeredgewidth=0, label=layer, zorder=3
        )
        bars = (
            []
            if even is None
            else ax.plot([place - 0.4, place + 0.4], [even[place]] * 2, "-", color="C1", label="log n")
        )
        shown = [*points, *bars]
    names, pattern = short_names(layers)
    step = -(-len(layers) // _LABELS)
    ticks = range(0, len(layers), max(step, 1))
    long = sum(len(names[i]) for i in ticks) > 60
    turned: dict[str, Any] = dict(rotation=30, ha="right", rotation_mode="anchor") if long else {}
    ax.set_xticks(list(ticks), [names[i] for i in ticks], **turned)
    ax.set_xlabel(pattern)
    ax.set_ylabel(title)
    ax.margins(y=0.1)
    if all(value >= 0 for values in heads for value in values if value == value):
        ax.set_ylim(bottom=0)
    if shown:
        ax.legend(shown, ["a head", "log n"][: len(shown)], loc="best", frameon=False)
    return ax


def plot_along(layers: list[str], lines: list[list[float]], place: str, title: str, ax: Axes | None) -> Axes:
    """A line for each layer, from the first in light to the last in dark."""
    ax = _axes(ax, 0)
    from matplotlib import colormaps

    names, pattern = short_names(layers)
    shades = colormaps["viridis_r"]
    for number, (name, values) in enumerate(zip(names, lines, strict=True)):
        shade = shades(0.1 + 0.9 * number / max(len(layers) - 1, 1))
        ax.plot(range(len(values)), values, "-", color=shade, linewidth=1.2, label=name)
    handles, labels = ax.get_legend_handles_labels()
    step = max(-(-len(layers) // _LABELS), 1)
    ax.legend(handles[::step], labels[::step], title=pattern, fontsize="small", frameon=False)
    ax.set_xlabel(place)
    ax.set_ylabel(title)
    return ax
