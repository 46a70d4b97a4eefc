"""Figures to drag: curves of proved formulas that follow the sliders of a reader, with no library, no server.

Python draws the figure once, as SVG, which is what print and a page without script show. The formulas go
along as JavaScript (SymPy's printer writes it), and static/draggable.js draws them anew when a slider moves.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import mpmath as mp
import sympy as sp

from proofbook.derive import Derivation, Domain
from proofbook.derive.instantiate import at_size
from proofbook.ledger.formulas import FormulaRefused, is_defined_in, stands_in
from proofbook.ledger.moving import Proofs, Span

__all__ = ["Bars", "Curve", "Dot", "Draggable", "Iterates", "Line", "Panel", "Reading", "Slider", "draggable"]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 440, 300, 46, 12, 12, 40
SAMPLES = 160
FRAME = {
    **{"width": WIDTH, "height": HEIGHT, "samples": SAMPLES},
    **{"left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM},
}
"""Where a panel's axes lie in its picture, and how many pieces a curve has; the script is told both."""

FOLLOWED = 7
"""From how many values of each slider the points of a step are followed when a figure is made."""


@dataclass(frozen=True)
class Slider:
    """What a reader moves: a symbol of the formulas, between two ends."""

    symbol: sp.Symbol
    low: float
    high: float
    start: float
    label: str
    step: float = 0.01


@dataclass(frozen=True)
class Curve:
    """A formula over the horizontal axis, whose symbol is ``over``."""

    formula: Any
    over: sp.Symbol
    label: str = ""
    colour: int = 1
    dashed: bool = False


@dataclass(frozen=True)
class Line:
    """Straight lines through points; a coordinate is a number, a slider's symbol or a formula."""

    points: Sequence[tuple[Any, Any]]
    label: str = ""
    colour: int = 2
    dashed: bool = False


@dataclass(frozen=True)
class Dot:
    """One point."""

    x: Any
    y: Any
    label: str = ""
    colour: int = 2


@dataclass(frozen=True)
class Bars:
    """A bar for each formula, side by side."""

    heights: Sequence[Any]
    label: str = ""
    colour: int = 1


@dataclass(frozen=True)
class Iterates:
    """The points that a step leads to, again and again: ``step`` and ``height`` speak of ``symbol``."""

    symbol: sp.Symbol
    start: Any
    step: Any
    height: Any
    count: int
    label: str = ""
    colour: int = 2


Mark = Curve | Line | Dot | Bars | Iterates


@dataclass(frozen=True)
class Panel:
    """One pair of axes and what is drawn in it; ``log`` makes the horizontal one logarithmic."""

    x: tuple[float, float]
    y: tuple[float, float]
    marks: Sequence[Mark]
    xlabel: str = ""
    ylabel: str = ""
    log: bool = False

    def __post_init__(self) -> None:
        if self.log and not self.x[0] > 0:
            raise ValueError(f"a logarithmic axis begins above 0, got {self.x[0]}")


@dataclass(frozen=True)
class Reading:
    """A number beside the figure: a formula at the sliders' values."""

    label: str
    formula: Any
    digits: int = 2


@dataclass
class _Formulas:
    """Formulas as functions of the sliders, in Python and in JavaScript, each of them held by a proof."""

    derivations: Sequence[Derivation]
    domain: Domain
    given: Mapping[Any, Any]
    free: list[sp.Symbol]
    names: dict[sp.Symbol, str] = field(default_factory=dict)
    _known: dict[sp.Expr, sp.Expr] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = {symbol: f"x{k}" for k, symbol in enumerate(self.free)}

    def concrete(self, formula: Any) -> sp.Expr:
        """The formula with all that is given put in.

        Raises:
            FormulaRefused: no derivation holds it, or it speaks of something that has no value.
        """
        asked = sp.sympify(formula)
        if asked not in self._known:
            self._known[asked] = self._concrete(asked)
        return self._known[asked]

    def _concrete(self, found: sp.Expr) -> sp.Expr:
        plain = found.is_number or isinstance(found, sp.Symbol)
        if not (plain or stands_in(found, self.derivations) or is_defined_in(found, self.derivations)):
            raise FormulaRefused(f"{found} stands in no derivation that the figure rests on")
        rows = {key: entries for key, entries in self.given.items() if isinstance(key, sp.IndexedBase)}
        n = len(next(iter(rows.values()), ()))
        found = at_size(found, self.domain, n)
        for base, entries in rows.items():
            found = found.subs(dict(zip(self.domain.entries(base, n), map(sp.sympify, entries))))
        found = found.subs({key: value for key, value in self.given.items() if key not in rows})
        if strangers := found.free_symbols - set(self.free):
            raise FormulaRefused(f"{found} speaks of {sorted(map(str, strangers))}, which nothing moves")
        return found

    def proofs(self, formula: Any) -> Proofs:
        """Where the formula is proved."""
        return Proofs(formula, self.derivations, self.given)

    def javascript(self, formula: Any) -> str:
        """The formula as an expression of JavaScript."""
        plain = self.concrete(formula).subs({symbol: sp.Symbol(name) for symbol, name in self.names.items()})
        code = str(sp.jscode(plain))
        if "Not supported" in code or "\n" in code:
            raise FormulaRefused(f"{formula} cannot be written in JavaScript")
        return code

    def value(self, formula: Any) -> Callable[[dict[sp.Symbol, float]], float]:
        """The formula as a function of the values of what is free; NaN where it has none."""
        made = sp.lambdify(self.free, self.concrete(formula), "mpmath")

        def at(values: dict[sp.Symbol, float]) -> float:
            try:
                found = made(*(mp.mpf(values[symbol]) for symbol in self.free))
                return float(found) if not isinstance(found, mp.mpc) else math.nan
            except (ZeroDivisionError, ValueError, OverflowError):
                return math.nan

        return at


class Draggable:
    """A figure with sliders, as HTML that shows itself without script."""

    def __init__(self, name: str, html: str, data: dict[str, Any], caption: str):
        self.name, self.data, self.caption = name, data, caption
        self._html = html

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {"text/html": self._html, "text/plain": f"{self.name}: a figure to drag. {self.caption}"}


def draggable(
    name: str,
    *panels: Panel,
    sliders: Sequence[Slider],
    caption: str,
    alt: str,
    rests_on: Sequence[Derivation],
    domain: Domain,
    given: Mapping[Any, Any] | None = None,
    readings: Sequence[Reading] = (),
) -> Draggable:
    """A figure whose curves are proved formulas and follow sliders.

    Args:
        name: Its permanent name, ``drag-...``.
        panels: What is drawn.
        sliders: What a reader moves.
        caption: What it shows, as plain text.
        alt: The picture in words, as it is before a slider moves.
        rests_on: The derivations that hold the formulas.
        domain: Says which symbol is the size of the vectors.
        given: The entries of vectors, and the values of symbols that nothing moves.
        readings: Numbers that are shown beside it.

    Raises:
        FormulaRefused: a formula that no derivation holds, or not wherever the sliders lead; a quantity by
            itself is what its definition says, wherever it is drawn.
        ValueError: a name of another form.
    """
    if not re.fullmatch(r"drag-[a-z0-9-]+", name):
        raise ValueError(f"the name of a figure to drag is drag-..., got {name!r}")
    free = [slider.symbol for slider in sliders]
    for mark in (mark for panel in panels for mark in panel.marks):
        inner = mark.over if isinstance(mark, Curve) else mark.symbol if isinstance(mark, Iterates) else None
        if inner is not None and inner not in free:
            free.append(inner)
    formulas = _Formulas(rests_on, domain, given or {}, free)
    values = {slider.symbol: float(slider.start) for slider in sliders}
    for symbol in free:
        values.setdefault(symbol, 0.0)
    data = {
        "frame": FRAME,
        "sliders": [
            {
                **{"name": formulas.names[one.symbol], "label": one.label, "start": one.start},
                **{"low": one.low, "high": one.high, "step": one.step},
            }
            for one in sliders
        ],
        "names": list(formulas.names.values()),
        "panels": [_panel_data(panel, formulas) for panel in panels],
        "readings": [
            {"label": one.label, "js": formulas.javascript(one.formula), "digits": one.digits}
            for one in readings
        ],
    }
    _check_held(panels, sliders, readings, formulas)
    drawn = "".join(_svg(panel, formulas, values) for panel in panels)
    numbers = ""
    for one in readings:
        number = f"{formulas.value(one.formula)(values):.{one.digits}f}"
        numbers += f"<span>{escape(one.label)} = <output>{number}</output></span> "
    # A closing tag within the script would end it.
    script = json.dumps(data, ensure_ascii=False).replace("</", "<\\/")
    html = (
        f'<figure class="draggable" id="{name}">'
        f'<div class="draggable-panels" role="img" aria-label="{escape(alt)}">{drawn}</div>{_keys(panels)}'
        f'<div class="draggable-controls"></div><p class="draggable-readings">{numbers}</p>'
        f"<figcaption>{escape(caption)}</figcaption>"
        f'<script type="application/json">{script}</script></figure>'
    )
    return Draggable(name, html, data, caption)


def _check_held(
    panels: Sequence[Panel], sliders: Sequence[Slider], readings: Sequence[Reading], formulas: _Formulas
) -> None:
    """Raise `FormulaRefused` unless each formula is proved wherever the sliders and the axes take it."""
    moved = {one.symbol: Span(one.low, one.high, one.step) for one in sliders}
    for reading in readings:
        formulas.proofs(reading.formula).check(moved)
    for panel in panels:
        for mark in panel.marks:
            spans = {**moved, mark.over: Span(*panel.x)} if isinstance(mark, Curve) else moved
            for formula in _fixed(mark):
                formulas.proofs(formula).check(spans)
            if isinstance(mark, Iterates):
                _check_followed(mark, moved, formulas)


def _fixed(mark: Mark) -> list[Any]:
    """The formulas of a mark, but for those that are followed from point to point."""
    if isinstance(mark, Curve):
        return [mark.formula]
    if isinstance(mark, Line):
        return [one for point in mark.points for one in point]
    if isinstance(mark, Bars):
        return list(mark.heights)
    return [mark.x, mark.y] if isinstance(mark, Dot) else [mark.start]


def _check_followed(mark: Iterates, moved: Mapping[sp.Symbol, Span], formulas: _Formulas) -> None:
    """Raise `FormulaRefused` if the points lead out of a domain, from some of the sliders' values."""
    proofs = [formulas.proofs(mark.step), formulas.proofs(mark.height)]
    reached = _follow(mark, formulas)
    for chosen in itertools.product(*(span.values(FOLLOWED) for span in moved.values())):
        values = dict.fromkeys(formulas.free, 0.0) | dict(zip(moved, map(float, chosen)))
        spans = {symbol: Span.at(value) for symbol, value in zip(moved, chosen)}
        for at in reached(values):
            for one in proofs:
                one.check({**spans, mark.symbol: Span.at(at)})


def _follow(mark: Iterates, formulas: _Formulas) -> Callable[[dict[sp.Symbol, float]], list[float]]:
    """The points that a step leads to, as long as it leads somewhere, as a function of what is free."""
    start, step = formulas.value(mark.start), formulas.value(mark.step)

    def reached(values: dict[sp.Symbol, float]) -> list[float]:
        found: list[float] = []
        at = start(values)
        while len(found) < mark.count and math.isfinite(at):
            found.append(at)
            at = step({**values, mark.symbol: at})
        return found

    return reached


def _panel_data(panel: Panel, formulas: _Formulas) -> dict[str, Any]:
    code = formulas.javascript
    marks: list[dict[str, Any]] = []
    for mark in panel.marks:
        if isinstance(mark, Curve):
            marks.append({"kind": "curve", "over": formulas.names[mark.over], "js": code(mark.formula)})
        elif isinstance(mark, Line):
            marks.append({"kind": "line", "points": [[code(x), code(y)] for x, y in mark.points]})
        elif isinstance(mark, Dot):
            marks.append({"kind": "dot", "x": code(mark.x), "y": code(mark.y)})
        elif isinstance(mark, Bars):
            marks.append({"kind": "bars", "js": [code(one) for one in mark.heights]})
        else:
            parts = {"start": code(mark.start), "step": code(mark.step), "height": code(mark.height)}
            marks.append(
                {"kind": "iterates", "of": formulas.names[mark.symbol], "count": mark.count, **parts}
            )
    return {"x": list(panel.x), "y": list(panel.y), "log": panel.log, "marks": marks}


def _place(panel: Panel, x: float, y: float) -> tuple[float, float]:
    """Where a point of a panel is in its picture; far outside it is held at a distance."""
    low, high, at = (math.log(one) if panel.log else one for one in (*panel.x, x))
    across = (at - low) / (high - low)
    up = (y - panel.y[0]) / (panel.y[1] - panel.y[0])
    held = min(max(up, -5.0), 6.0)
    return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - held * (HEIGHT - TOP - BOTTOM)


def _path(panel: Panel, points: Sequence[tuple[float, float]]) -> str:
    parts, pen = [], "M"
    for x, y in points:
        if not (math.isfinite(x) and math.isfinite(y)):
            pen = "M"
            continue
        left, top = _place(panel, x, y)
        parts.append(f"{pen}{left:.1f} {top:.1f}")
        pen = "L"
    return "".join(parts)


def _drawn(mark: Mark, panel: Panel, formulas: _Formulas, values: dict[sp.Symbol, float]) -> str:
    """What a mark looks like before anything is moved."""
    if isinstance(mark, Curve):
        value = formulas.value(mark.formula)
        low, high = panel.x
        shares = [k / SAMPLES for k in range(SAMPLES + 1)]
        over = [low * (high / low) ** one if panel.log else low + (high - low) * one for one in shares]
        d = _path(panel, [(x, value({**values, mark.over: x})) for x in over])
        return _stroke(d, mark.colour, mark.dashed, mark.label)
    if isinstance(mark, Line):
        points = [(formulas.value(x)(values), formulas.value(y)(values)) for x, y in mark.points]
        return _stroke(_path(panel, points), mark.colour, mark.dashed, mark.label)
    if isinstance(mark, Bars):
        wide = (panel.x[1] - panel.x[0]) / len(mark.heights)
        bars = []
        for k, one in enumerate(mark.heights):
            left, top = _place(panel, panel.x[0] + wide * (k + 0.1), formulas.value(one)(values))
            right, bottom = _place(panel, panel.x[0] + wide * (k + 0.9), panel.y[0])
            bars.append(f"M{left:.1f} {bottom:.1f}V{top:.1f}H{right:.1f}V{bottom:.1f}Z")
        return f'<path class="draggable-fill c{mark.colour}" d="{"".join(bars)}"/>'
    if isinstance(mark, Dot):
        dots = [(formulas.value(mark.x)(values), formulas.value(mark.y)(values))]
    else:
        height = formulas.value(mark.height)
        dots = [(at, height({**values, mark.symbol: at})) for at in _follow(mark, formulas)(values)]
    return f'<path class="draggable-dots c{mark.colour}" d="{_dots(panel, dots)}">{_title(mark.label)}</path>'


def _dots(panel: Panel, points: Sequence[tuple[float, float]]) -> str:
    """Points as lines of no length with round ends."""
    inside = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    return "".join(f"M{x:.1f} {y:.1f}h0" for x, y in (_place(panel, *point) for point in inside))


def _stroke(d: str, colour: int, dashed: bool, label: str) -> str:
    dash = " dashed" if dashed else ""
    return f'<path class="draggable-line c{colour}{dash}" d="{d}">{_title(label)}</path>'


def _title(label: str) -> str:
    return f"<title>{escape(label)}</title>" if label else ""


def _svg(panel: Panel, formulas: _Formulas, values: dict[sp.Symbol, float]) -> str:
    marks = "".join(_drawn(mark, panel, formulas, values) for mark in panel.marks)
    ticks = []
    bottom = HEIGHT - BOTTOM
    for x in _powers(*panel.x) if panel.log else _ticks(*panel.x):
        left, _ = _place(panel, x, panel.y[0])
        ticks.append(f'<path d="M{left:.1f} {bottom}v4"/>')
        ticks.append(f'<text x="{left:.1f}" y="{bottom + 18}">{x:,.10g}</text>')
    for y in _ticks(*panel.y):
        _, up = _place(panel, panel.x[0], y)
        ticks.append(
            f'<path d="M{LEFT} {up:.1f}h-4"/><text class="up" x="{LEFT - 7}" y="{up + 4:.1f}">{y:g}</text>'
        )
    frame = f'<path d="M{LEFT} {TOP}V{bottom}H{WIDTH - RIGHT}"/>'
    middle, height = (LEFT + WIDTH - RIGHT) / 2, (TOP + bottom) / 2
    names = (
        f'<text x="{middle:.0f}" y="{HEIGHT - 6}">{escape(panel.xlabel)}</text>'
        f'<text transform="translate(12 {height:.0f}) rotate(-90)">{escape(panel.ylabel)}</text>'
    )
    wide, high = WIDTH - LEFT - RIGHT, bottom - TOP
    inside = f'x="{LEFT}" y="{TOP}" width="{wide}" height="{high}" viewBox="{LEFT} {TOP} {wide} {high}"'
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}"><g class="draggable-axes">{frame}{"".join(ticks)}{names}</g>'
        f"<svg {inside}>{marks}</svg></svg>"
    )


def _keys(panels: Sequence[Panel]) -> str:
    """What each colour stands for."""
    named = [
        (mark.colour, mark.label) for panel in panels for mark in panel.marks if getattr(mark, "label", "")
    ]
    items = "".join(f'<li class="c{colour}">{escape(label)}</li>' for colour, label in dict.fromkeys(named))
    return f'<ul class="draggable-keys">{items}</ul>' if items else ""


def _powers(low: float, high: float) -> list[float]:
    """The powers of ten between two ends.

    >>> _powers(2, 1000)
    [10.0, 100.0, 1000.0]
    """
    exponents = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
    return [10.0**k for k in exponents]


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between two ends, four to eight of them.

    >>> _ticks(0, 3)
    [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    """
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= rough * 0.8)
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first
    return [round((first + k) * step, 10) + 0.0 for k in range(count + 1)]
