"""The book's figures: colours that colour-blind readers tell apart, legible on light and dark pages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axis import Axis

# Okabe and Ito's palette without its yellow and black, which vanish on a white or a dark page; its blue is
# raised to a contrast of about 4 : 1 on both
BLUE, ORANGE, GREEN, PURPLE, SKY, RED = "#2a82c9", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, RED, SKY)
NEUTRAL = "#7d838b"  # contrast of about 4 : 1 on white and on the dark page alike
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))


def name_ticks(axis: Axis, values: Iterable[float]) -> None:
    """Mark these values alone, as plain numbers, on an axis of any scale.

    >>> import matplotlib.figure
    >>> axes = matplotlib.figure.Figure().add_subplot(xscale="log")
    >>> name_ticks(axes.xaxis, [64, 0.5])
    >>> [tick.get_text() for tick in axes.get_xticklabels()]
    ['64', '0.5']
    """
    values = list(values)
    axis.set_ticks(values, [f"{value:g}" for value in values])
    axis.set_ticks([], minor=True)


def use_book_style() -> None:
    """Set matplotlib to the book's style: transparent ground, neutral ink, colours doubled by line style."""
    import matplotlib as mpl
    from cycler import cycler

    mpl.rcParams.update(
        {
            "figure.figsize": (7.0, 3.9),
            "figure.dpi": 110,
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "savefig.facecolor": "none",
            "savefig.transparent": True,
            "figure.constrained_layout.use": True,
            "font.size": 11,
            "axes.titlesize": 11,
            "axes.labelsize": 11,
            "legend.fontsize": 9.5,
            "lines.linewidth": 2.0,
            "text.color": NEUTRAL,
            "axes.labelcolor": NEUTRAL,
            "axes.edgecolor": NEUTRAL,
            "axes.titlecolor": NEUTRAL,
            "xtick.color": NEUTRAL,
            "ytick.color": NEUTRAL,
            "legend.labelcolor": NEUTRAL,
            "legend.frameon": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": NEUTRAL,
            "grid.alpha": 0.22,
            "grid.linewidth": 0.7,
            "lines.markersize": 5.5,
            "mathtext.fontset": "dejavusans",
            "axes.prop_cycle": cycler(color=PALETTE) + cycler(linestyle=LINES),
            "svg.hashsalt": "attention-derived",
        }
    )
