"""What the axes of a chart span, and their ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from moco_tui.charts import ticks
from moco_tui.charts.curve_points import CurveColumn
from moco_tui.charts.drawing import Axis, Curve, Drawing, View


def extent(curves: Sequence[Curve]) -> tuple[float, float] | None:
    """First and last step of all curves; None when there is no point."""
    filled = [curve.series.steps for curve in curves if len(curve.series)]
    if not filled:
        return None
    return min(steps[0] for steps in filled), max(steps[-1] for steps in filled)


def whole_extent(view: View, curves: Sequence[Curve]) -> tuple[float, float] | None:
    """First and last step of the curves, and of the charts beside; None without a point.

    What lies before the view's start does not count, where anything lies behind it.
    """
    ends: tuple[float, float] | None = extent(curves)
    if ends is None:
        return None
    if view.whole is not None:
        ends = min(ends[0], view.whole[0]), max(ends[1], view.whole[1])
    return (max(ends[0], view.start), ends[1]) if ends[1] > view.start else ends


def step_limits(view: View, curves: Sequence[Curve]) -> tuple[float, float]:
    """The steps at the edges of the view; of curves with one point or none, one step apart."""
    ends = whole_extent(view, curves) or (0.0, 1.0)
    low = ends[0] if view.low is None else view.low
    high = ends[1] if view.high is None else view.high
    if not high > low:
        low, high = min(low, 0.0), low + 1.0
    return low, high


def value_limits(
    curves: Sequence[Curve], drawn: Sequence[Sequence[CurveColumn | None]], view: View
) -> tuple[float, float]:
    """Values at the lower and upper edge, log10 of them on a log scale.

    Args:
        curves: what is drawn.
        drawn: the columns of each, in linear values.
        view: how it is drawn.
    """
    if view.span is not None and not view.log and view.span[0] < view.span[1]:
        return view.span
    band = view.has_band(curves)
    values: list[float] = []
    for curve, columns in zip(curves, drawn, strict=True):
        shown = [column for column in columns if column is not None]
        if curve.band or band:
            values += [column.band[0] for column in shown]
            values += [column.band[1] for column in shown]
        values += [column.line[0] for column in shown]
        values += [column.line[1] for column in shown]
        if view.log:  # of a column that goes below 0 what lies above is drawn
            values += [end for column in shown for end in (column.first, column.last)]
        if view.points:
            values += [end for _, low, high in curve.bars for end in (low, high)]
    # Levels widen the limits of the whole curves, not of a view that was zoomed.
    if view.low is None and view.high is None and values:
        values += [level.value for level in view.levels]
    if view.log:
        values = [math.log10(value) for value in values if value > 0]
    return _with_margin(min(values), max(values)) if values else (0.0, 1.0)


def _with_margin(low: float, high: float) -> tuple[float, float]:
    """The limits with 3 % of their span on either side; of one value alone 5 % of its size."""
    margin = 0.03 * (high - low)
    # Equal values, or a span lost in rounding: ticks of it would all read the same.
    if not margin > 1e-12 * max(abs(low), abs(high), 1e-300):
        margin = 0.05 * max(abs(low), abs(high)) or 0.5
    if not math.isfinite(margin):  # the span overflows: far beyond any curve worth a tick
        return max(low, -1e300), min(high, 1e300)
    return low - margin, high + margin


def y_ticks(bottom: float, top: float, rows: int, view: View) -> tuple[list[float], list[str]]:
    """Where the ticks of the values stand, on the scale that is drawn, and their labels.

    About one for every three rows, three at least.

    Args:
        bottom: the value at the lower edge of the canvas, log10 of it on a log scale.
        top: the same at the upper edge.
        rows: height of the canvas in cells.
        view: whether the scale is logarithmic.
    """
    find = ticks.log10 if view.log else ticks.linear
    values = find(bottom, top, max(3, rows // 3))
    span = values[1] - values[0] if len(values) > 1 and not view.log else 0.0
    places = [math.log10(value) if view.log else value for value in values]
    return places, [ticks.label(value, span) for value in values]


def x_ticks(drawing: Drawing, view: View, curves: Sequence[Curve]) -> Axis:
    """The ticks of the steps, or of the epochs; where points matter, of the points' own steps.

    A view that names its ticks has those. The points' own are taken where there are 6 cells for
    each; of others there is one in about 14.

    Args:
        drawing: the canvas.
        view: whether it shows epochs, and whether points matter.
        curves: what is drawn.
    """
    if view.ticks:
        return _with_room(drawing, view.ticks)
    unit = view.per_epoch or 1
    values = ticks.linear(drawing.low / unit, drawing.high / unit, max(2, drawing.width // 14))
    if view.points:
        found = sorted({step for curve in curves for step in curve.series.steps})
        if 0 < len(found) <= max(drawing.width // 6, 1):
            places = [drawing.cell_of(value) for value in found]  # -1 outside the view
            pairs = zip(places, found, strict=True)
            kept = [(x, f"{value:g}") for x, value in pairs if x >= 0]
            return [x for x, _ in kept], [text for _, text in kept]
    span = values[1] - values[0] if len(values) > 1 else 0.0
    places = [drawing.cell_of(value * unit) for value in values]
    kept = [(x, ticks.label(v, span)) for x, v in zip(places, values, strict=True) if x >= 0]
    return [x for x, _ in kept], [text for _, text in kept]


def _with_room(drawing: Drawing, named: Sequence[tuple[float, str]]) -> Axis:
    """The ticks on the canvas whose labels keep two cells from those before them, in order."""
    kept: list[tuple[int, str]] = []
    for step, text in named:
        x = drawing.cell_of(step)
        # A label at an edge is moved inwards, by half of its length at most.
        if x >= 0 and all(abs(x - at) >= max(len(text), len(label)) + 2 for at, label in kept):
            kept.append((x, text))
    kept.sort()
    return [x for x, _ in kept], [text for _, text in kept]
