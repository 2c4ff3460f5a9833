"""A chart as rows of styled text: plotext lays out axes, ticks and cells, we rasterise the curves.

plotext's own line drawing costs 10 ms a curve and raises on infinities and on curves outside the
limits; handed ready cells, it draws any number of curves in 3 ms. Colours travel through it as
small numbers (``Ink``) and become styles of the theme in the widget.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from textual_plotext import Plot

from moco_tui.charts import ticks
from moco_tui.charts.curve_points import CurveColumn, columns
from moco_tui.charts.drawing import Curve, Drawing, Ink, Run, View
from moco_tui.charts.overlay import add_bars, add_level, add_marks, mark_points
from moco_tui.charts.raster import band_cells, line_cells


def extent(curves: Sequence[Curve]) -> tuple[float, float] | None:
    """First and last step of all curves; None when there is no point."""
    filled = [curve.series.steps for curve in curves if len(curve.series)]
    if not filled:
        return None
    return min(steps[0] for steps in filled), max(steps[-1] for steps in filled)


def limits(view: View, curves: Sequence[Curve]) -> tuple[float, float]:
    """The steps at the edges of the view."""
    ends = extent(curves) or (0.0, 1.0)
    low = ends[0] if view.low is None else view.low
    high = ends[1] if view.high is None else view.high
    if not high > low:
        low, high = min(low, 0.0), low + 1.0
    return low, high


def draw(width: int, height: int, curves: Sequence[Curve], view: View) -> Drawing:
    """Draw the curves; a size that is too small or no data gives blank rows."""
    if width < 12 or height < 4:
        return Drawing([[(" " * max(width, 0), Ink.NONE)] for _ in range(max(height, 0))])
    low, high = limits(view, curves)
    canvas_height = height - 2
    bottom, top = _value_limits(curves, view, low, high)
    y_ticks = (ticks.log10 if view.log else ticks.linear)(bottom, top, max(3, canvas_height // 3))
    span = y_ticks[1] - y_ticks[0] if len(y_ticks) > 1 and not view.log else 0.0
    y_labels = [ticks.label(value, span) for value in y_ticks]
    label_width = max(map(len, y_labels), default=0)
    canvas_width = width - 1 - label_width
    if canvas_width < 4:
        return Drawing([[(" " * width, Ink.NONE)] for _ in range(height)])
    seen = [columns(curve.series, low, high, 2 * canvas_width) for curve in curves]
    if view.log:
        seen = [_log10(cols) for cols in seen]
    drawing = Drawing([], label_width + 1, canvas_width, canvas_height, low, high, bottom, top)

    plot: Any = Plot()
    plot.plotsize(width, height)
    plot._set_size(width, height)
    plot.theme("clear")
    plot.ticks_color(int(Ink.TICK))
    plot.xaxes(True, False)
    plot.yaxes(True, False)
    plot.xlim(0, canvas_width - 1)
    plot.ylim(0, canvas_height - 1)
    dots = 4 * canvas_height

    def to_dot(value: float) -> int:
        return math.floor((value - bottom) / (top - bottom) * (dots - 1) + 0.5)

    heights = [math.log10(v) if view.log else v for v in y_ticks]
    plot.yticks([to_dot(v) // 4 for v in heights], y_labels)
    plot.xticks(*_x_ticks(drawing, view, curves))

    cells: dict[tuple[int, int], tuple[str, int]] = {}
    if view.band:
        shade = ":" if view.ascii else "░"
        for curve, cols in zip(curves, seen, strict=True):
            if curve.series.smoothing and len(curves) == 1:
                cells.update(dict.fromkeys(band_cells(cols, to_dot, dots), (shade, Ink.BAND)))
    for level in view.levels:
        add_level(cells, level, Ink.LEVEL, drawing, view, to_dot)
    if view.cursor is not None:
        x = drawing.cell_of(view.cursor)
        if x >= 0:
            for y in range(canvas_height):
                cells[x, y] = ("|" if view.ascii else "│", Ink.CURSOR)
    if view.points:
        for number, curve in enumerate(curves):
            add_bars(cells, curve, Ink.CURVE + number, drawing, view, to_dot)
    braille: dict[tuple[int, int], int] = {}
    lines: list[dict[tuple[int, int], int]] = []
    for number, cols in enumerate(seen):
        ink = Ink.CURVE + number
        drawn = line_cells(cols, to_dot, dots)
        for key, bits in drawn.items():
            bits |= braille.get(key, 0)
            braille[key] = bits
            cells[key] = (_ascii_dots(bits) if view.ascii else chr(0x2800 + bits), ink)
        lines.append(drawn)
    taken: set[tuple[int, int]] = set()
    for number, (curve, drawn) in enumerate(zip(curves, lines, strict=True)):
        if not curve.mark:  # after all lines, so that none hides another's marks
            continue
        if view.points:
            mark_points(cells, curve, Ink.CURVE + number, drawing, view, to_dot, taken)
        else:
            add_marks(cells, curve.mark, Ink.CURVE + number, drawn, number, len(curves))
    if cells:
        plot.scatter(
            [x for x, _ in cells],
            [y for _, y in cells],
            marker=[text for text, _ in cells.values()],
            color=[int(ink) for _, ink in cells.values()],
        )
    else:  # without any point plotext leaves its axes out
        plot.scatter([0], [0], marker=" ", color=int(Ink.TICK))
    plot._set_sizes()
    plot._build_matrix()
    drawing.rows = _rows(plot.monitor.matrix)
    return drawing


def _log10(seen: list[CurveColumn | None]) -> list[CurveColumn | None]:
    """Columns on a log10 scale; a column without a positive value is a gap."""

    def log(value: float) -> float:
        return math.log10(value) if value > 0 else -400.0

    return [
        None
        if column is None or column.line[1] <= 0
        else CurveColumn(
            (log(column.line[0]), log(column.line[1])),
            log(column.first),
            log(column.last),
            (log(column.band[0]), log(column.band[1])),
            column.joined,
        )
        for column in seen
    ]


def _value_limits(
    curves: Sequence[Curve], view: View, low_step: float, high_step: float
) -> tuple[float, float]:
    """Values at the lower and upper edge, log10 of them on a log scale."""
    lows: list[float] = []
    highs: list[float] = []
    for curve in curves:
        start, stop = curve.series.index_range(low_step, high_step)
        if start < stop:
            drawn = curve.series.raw if view.band else curve.series.line
            low, high = drawn.range(start, stop)
            if view.log and low <= 0:
                low = min((v for v in drawn.values[start:stop] if v > 0), default=0.0)
            lows.append(low)
            highs.append(high)
        if view.points:
            lows.extend(low for _, low, _ in curve.bars if low > 0 or not view.log)
            highs.extend(high for _, _, high in curve.bars)
    if view.low is None and view.high is None and highs:
        highs.extend(level.value for level in view.levels)
        lows.extend(level.value for level in view.levels)
    if view.log:
        lows = [math.log10(value) for value in lows if value > 0]
        highs = [math.log10(value) for value in highs if value > 0]
    if not highs or not lows:
        return 0.0, 1.0
    low, high = min(lows), max(highs)
    margin = 0.03 * (high - low)
    if not margin > 1e-12 * max(abs(low), abs(high), 1e-300):
        margin = 0.05 * max(abs(low), abs(high)) or 0.5
    if not math.isfinite(margin):  # the span overflows: far beyond any curve worth a tick
        return max(low, -1e300), min(high, 1e300)
    return low - margin, high + margin


def _x_ticks(drawing: Drawing, view: View, curves: Sequence[Curve]) -> tuple[list[int], list[str]]:
    unit = view.per_epoch or 1
    values = ticks.linear(drawing.low / unit, drawing.high / unit, max(2, drawing.width // 14))
    if view.points:
        found = sorted({step for curve in curves for step in curve.series.steps})
        if 0 < len(found) <= max(drawing.width // 6, 1):
            places = [drawing.cell_of(value) for value in found]
            pairs = zip(places, found, strict=True)
            kept = [(x, f"{value:g}") for x, value in pairs if x >= 0]
            return [x for x, _ in kept], [text for _, text in kept]
    span = values[1] - values[0] if len(values) > 1 else 0.0
    places = [drawing.cell_of(value * unit) for value in values]
    kept = [(x, ticks.label(v, span)) for x, v in zip(places, values, strict=True) if x >= 0]
    return [x for x, _ in kept], [text for _, text in kept]


def _ascii_dots(bits: int) -> str:
    upper, lower = bits & 0b00011011, bits & 0b11100100
    return ":" if upper and lower else "'" if upper else "."


def _rows(matrix: object) -> list[list[Run]]:
    """Plotext's matrix of characters and colours as runs, from the top row down."""
    rows: list[list[Run]] = []
    markers = matrix.marker  # type: ignore[attr-defined]
    inks = matrix.fullground  # type: ignore[attr-defined]
    for characters, colours in zip(reversed(markers), reversed(inks), strict=True):
        runs: list[Run] = []
        start = 0
        for index in range(1, len(characters) + 1):
            if index == len(characters) or colours[index] != colours[start]:
                ink = colours[start]
                text = "".join(characters[start:index])
                runs.append((text, ink if isinstance(ink, int) else Ink.NONE))
                start = index
        rows.append(runs)
    return rows
