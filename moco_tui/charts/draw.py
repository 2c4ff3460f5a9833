"""Draw curves as rows of styled text: axes around a canvas, and layers painted on it in order."""

from __future__ import annotations

from collections.abc import Sequence

from moco_tui.charts import layers
from moco_tui.charts.axes import step_limits, value_limits, x_ticks, y_ticks
from moco_tui.charts.curve_points import columns, log10_columns
from moco_tui.charts.drawing import Cells, Curve, Drawing, Ink, View
from moco_tui.charts.figure import rows_of

LEAST_WIDTH, LEAST_HEIGHT, LEAST_CANVAS = 12, 4, 4
"""Cells of the chart, and of the width beside its labels, below which nothing is drawn."""
AXIS_ROWS = 2
"""The axis of the steps and its labels."""


def draw(width: int, height: int, curves: Sequence[Curve], view: View) -> Drawing:
    """Draw the curves; a size that is too small gives blank rows, no data gives bare axes.

    Args:
        width: cells of the whole chart, axis and labels included.
        height: rows of the whole chart, axis and labels included.
        curves: each is painted over those before it.
        view: what part of them is drawn, and how.
    """
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return _blank(width, height)
    low, high = step_limits(view, curves)
    bottom, top = value_limits(curves, view, low, high)
    canvas_height = height - AXIS_ROWS
    # The labels of the values come first: their width decides how wide the canvas is.
    values, labels = y_ticks(bottom, top, canvas_height, view)
    left = max(map(len, labels), default=0) + 1  # the axis itself
    canvas_width = width - left
    if canvas_width < LEAST_CANVAS:
        return _blank(width, height)
    drawing = Drawing([], left, canvas_width, canvas_height, low, high, bottom, top)
    y_axis = [drawing.dot_of(value) // 4 for value in values], labels
    x_axis = x_ticks(drawing, view, curves)
    drawing.rows = rows_of(drawing, x_axis, y_axis, _paint(curves, view, drawing))
    return drawing


def _blank(width: int, height: int) -> Drawing:
    return Drawing([[(" " * max(width, 0), Ink.NONE)] for _ in range(max(height, 0))])


def _paint(curves: Sequence[Curve], view: View, drawing: Drawing) -> Cells:
    """The cells of the canvas, layer over layer: what is painted later hides what is below."""
    # two columns a cell: a braille character is two dots wide
    drawn = [
        columns(curve.series, drawing.low, drawing.high, 2 * drawing.width) for curve in curves
    ]
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
    if view.points:
        layers.add_intervals(cells, curves, drawing, view)
    dots = layers.add_lines(cells, drawn, drawing, view)
    if view.points:
        layers.mark_points(cells, curves, drawing, view)
    else:
        layers.mark_lines(cells, curves, dots)
    return cells
