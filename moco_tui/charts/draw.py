"""Draw curves as rows of styled text: axes around a canvas, and layers painted on it in order."""

from __future__ import annotations

from collections.abc import Sequence

from moco_tui.charts import layers
from moco_tui.charts.axes import step_limits, value_limits, x_ticks, y_ticks
from moco_tui.charts.curve_points import CurveColumn, columns, log10_columns
from moco_tui.charts.drawing import Axis, Cells, Curve, Drawing, Ink, View
from moco_tui.charts.figure import rows_of

LEAST_WIDTH, LEAST_HEIGHT, LEAST_CANVAS = 12, 4, 4
"""Cells of the chart, and of the width beside its labels, below which nothing is drawn."""
AXIS_ROWS = 2
"""The axis of the steps and its labels."""
FIRST_LEFT = 5
"""Cells left of the canvas that the columns are made for at first: labels of four characters."""
Columns = list[CurveColumn | None]


def draw(
    width: int, height: int, curves: Sequence[Curve], view: View, left: int = FIRST_LEFT
) -> Drawing:
    """Draw the curves; a size that is too small gives blank rows, no data gives bare axes.

    Args:
        width: cells of the whole chart, axis and labels included.
        height: rows of the whole chart, axis and labels included.
        curves: each is painted over those before it.
        view: what part of them is drawn, and how.
        left: cells left of the canvas that are tried first; those of the drawing before save
            a pass over the columns.
    """
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return _blank(width, height)
    low, high = step_limits(view, curves)
    canvas_height = height - AXIS_ROWS
    # The labels of the values decide how wide the canvas is, its columns what values are drawn.
    for _ in range(2):
        drawn = _columns(curves, low, high, width - left)
        bottom, top = value_limits(curves, drawn, view)
        values, labels = y_ticks(bottom, top, canvas_height, view)
        before, left = left, max(map(len, labels), default=0) + 1  # the axis itself
        if left == before:
            break
    else:
        drawn = _columns(curves, low, high, width - left)
        ends = value_limits(curves, drawn, view)
        bottom, top = min(bottom, ends[0]), max(top, ends[1])
    if width - left < LEAST_CANVAS:
        return _blank(width, height)
    drawing = Drawing([], left, width - left, canvas_height, low, high, bottom, top)
    y_axis = _one_a_row([drawing.dot_of(value) for value in values], labels)
    x_axis = x_ticks(drawing, view, curves)
    drawing.rows = rows_of(drawing, x_axis, y_axis, _paint(curves, drawn, view, drawing))
    return drawing


def _one_a_row(dots: Sequence[int], labels: Sequence[str]) -> Axis:
    """The ticks that have a row of their own: of two in one the one that is nearer to its middle.

    A canvas of three rows has up to four. plotext would take either, by the hash of their texts.

    Args:
        dots: of the ticks, from the bottom, four a row.
        labels: as many.
    """
    nearest: dict[int, tuple[float, str]] = {}
    for dot, label in zip(dots, labels, strict=True):
        row, away = dot // 4, abs(dot % 4 - 1.5)
        if row not in nearest or away < nearest[row][0]:
            nearest[row] = away, label
    return list(nearest), [label for _, label in nearest.values()]


def _columns(curves: Sequence[Curve], low: float, high: float, width: int) -> list[Columns]:
    """Two columns a cell: a braille character is two dots wide."""
    return [columns(curve.series, low, high, 2 * width) for curve in curves]


def _blank(width: int, height: int) -> Drawing:
    return Drawing([[(" " * max(width, 0), Ink.NONE)] for _ in range(max(height, 0))])


def _paint(curves: Sequence[Curve], drawn: list[Columns], view: View, drawing: Drawing) -> Cells:
    """The cells of the canvas, layer over layer: what is painted later hides what is below."""
    if view.log:
        drawn = [log10_columns(cols) for cols in drawn]
    cells: Cells = {}
    if view.has_band(curves):
        layers.add_band(cells, drawn[0], drawing, view)
    for number, curve in enumerate(curves):
        if curve.band:
            layers.add_band(cells, drawn[number], drawing, view, Ink.CURVE + number)
    for level in view.levels:
        layers.add_level(cells, level, drawing, view)
    if view.cursor is not None:
        layers.add_cursor(cells, view.cursor, drawing, view)
    few = [view.points or layers.has_few(curve, drawing) for curve in curves]
    marks = layers.placed(curves, few, drawing, view)
    dots = layers.add_lines(cells, drawn, drawing, view)
    if view.points:
        layers.add_intervals(cells, curves, marks, drawing, view)
    layers.add_across(cells, curves, drawing, view)
    layers.mark_lines(cells, curves, [{} if f else line for f, line in zip(few, dots, strict=True)])
    layers.mark_points(cells, curves, marks, view)
    return cells
