"""The layers of a chart, each painted over those before it: band, levels, cursor, lines, marks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from moco_tui.charts.curve_points import CurveColumn
from moco_tui.charts.drawing import Cells, Curve, Drawing, Ink, Level, View
from moco_tui.charts.raster import Dots, band_cells, line_dots

MARK_EVERY = 12
"""Columns between two marks on a line."""
FEW_EVERY = 4
"""Cells from point to point, from which on every point is marked."""


def row_of(value: float, drawing: Drawing, view: View) -> int | None:
    """The row of a value, from the bottom; None outside the canvas."""
    if view.log:
        if value <= 0:
            return None
        value = math.log10(value)
    y = drawing.dot_of(value) // 4
    return y if 0 <= y < drawing.height else None


def add_band(
    cells: Cells,
    columns: Sequence[CurveColumn | None],
    drawing: Drawing,
    view: View,
    ink: int = Ink.BAND,
) -> None:
    """The range of the points behind a smoothed line, or of the seeds behind a mean."""
    shade = "," if view.ascii else "░"
    band = band_cells(columns, drawing.dot_of, drawing.dots)
    cells.update(dict.fromkeys(band, (shade, ink)))


def add_level(cells: Cells, level: Level, drawing: Drawing, view: View) -> None:
    """A dashed line across the chart, named at its right end."""
    y = row_of(level.value, drawing, view)
    if y is None:
        return
    for x in range(0, drawing.width, 2):  # every other cell: the curve is seen between
        cells[x, y] = ("-" if view.ascii else "╌", Ink.LEVEL)
    text = f" {level.name} "
    start = drawing.width - len(text) - 1
    if start > 2:  # else the name would hide all of the line
        for offset, character in enumerate(text):
            cells[start + offset, y] = (character, Ink.LEVEL)


def add_cursor(cells: Cells, step: float, drawing: Drawing, view: View) -> None:
    """An upright line through the chart."""
    x = drawing.cell_of(step)
    if x >= 0:
        for y in range(drawing.height):
            cells[x, y] = ("|" if view.ascii else "│", Ink.CURSOR)


def has_few(curve: Curve, drawing: Drawing) -> bool:
    """Whether the points of a curve that are seen lie so far apart that each is marked.

    A line between measured points looks like more of them.
    """
    steps = curve.series.steps
    start, stop = curve.series.index_range(drawing.low, drawing.high)
    if start == stop:
        return False
    cells = drawing.cell_of(steps[stop - 1]) - drawing.cell_of(steps[start])
    return (stop - start - 1) * FEW_EVERY <= cells


def placed(
    curves: Sequence[Curve], few: Sequence[bool], drawing: Drawing, view: View
) -> dict[tuple[int, float], tuple[int, int]]:
    """The cells of the marks of points, by number of the curve and step.

    A mark whose cell, or whose interval, is another's stands beside it, and its interval with it.

    Args:
        curves: what is drawn.
        few: of each whether its points are marked.
        drawing: the canvas.
        view: how it is drawn.
    """
    found: dict[tuple[int, float], tuple[int, int]] = {}
    taken: dict[int, list[tuple[int, int]]] = {}  # rows that are taken, by column
    for number, curve in enumerate(curves):
        if not few[number]:
            continue
        series = curve.series
        bars = {step: (low, high) for step, low, high in curve.bars} if view.points else {}
        for index in range(*series.index_range(drawing.low, drawing.high)):
            step, value = series.steps[index], series.value(index)
            x, y = drawing.cell_of(step), row_of(value, drawing, view)
            if x < 0 or y is None:
                continue
            low, high = bar_rows(*bars.get(step, (value, value)), y, drawing, view)
            beside = [x + aside for aside in (0, 1, -1, 2, -2) if 0 <= x + aside < drawing.width]
            free = (
                column
                for column in beside
                if all(high < first or low > last for first, last in taken.get(column, ()))
            )
            x = next(free, x)
            taken.setdefault(x, []).append((low, high))
            found[number, step] = x, y
    return found


def bar_rows(low: float, high: float, y: int, drawing: Drawing, view: View) -> tuple[int, int]:
    """The rows of an interval around a mark in row ``y``, as far as they lie on the canvas."""
    bottom, top = row_of(low, drawing, view), row_of(high, drawing, view)
    return min(0 if bottom is None else bottom, y), max(y if top is None else top, y)


def add_intervals(
    cells: Cells,
    curves: Sequence[Curve],
    marks: Mapping[tuple[int, float], tuple[int, int]],
    drawing: Drawing,
    view: View,
) -> None:
    """An upright line through the mark of every point, as long as its interval."""
    for number, curve in enumerate(curves):
        for step, low, high in curve.bars:
            if (number, step) in marks:
                x, y = marks[number, step]
                bottom, top = bar_rows(low, high, y, drawing, view)
                for row in range(bottom, top + 1):
                    cells[x, row] = ("|" if view.ascii else "│", Ink.CURVE + number)


def add_across(cells: Cells, curves: Sequence[Curve], drawing: Drawing, view: View) -> None:
    """A cross at every place that is marked on a line, and its interval along the axis.

    An interval that goes beyond the canvas has no end there.
    """
    line, first, last, middle = "-||+" if view.ascii else "─├┤┼"
    for number, curve in enumerate(curves):
        for step, value, low, high in curve.across:
            x, y = drawing.cell_of(step), row_of(value, drawing, view)
            if x < 0 or y is None:
                continue
            start, stop = drawing.cell_of(low), drawing.cell_of(high)
            for column in range(max(start, 0), (drawing.width - 1 if stop < 0 else stop) + 1):
                ends = {start: first, stop: last}
                cells[column, y] = (ends.get(column, line), Ink.CURVE + number)
            cells[x, y] = (middle, Ink.CURVE + number)


def add_lines(
    cells: Cells, curves: Sequence[Sequence[CurveColumn | None]], drawing: Drawing, view: View
) -> list[Dots]:
    """The lines in braille; where two cross, the cell has the dots of both.

    Args:
        cells: painted on.
        curves: the columns of each curve.
        drawing: the canvas.
        view: how it is drawn.

    Returns:
        The dots of each curve alone.
    """
    lines = [line_dots(columns, drawing.dot_of, drawing.dots) for columns in curves]
    both: Dots = {}
    for number, line in enumerate(lines):
        for place, bits in line.items():
            both[place] = bits = bits | both.get(place, 0)
            character = _ascii_dots(bits) if view.ascii else chr(0x2800 + bits)
            cells[place] = (character, Ink.CURVE + number)
    return lines


def _ascii_dots(bits: int) -> str:
    """A braille character's upper half, lower half or both.

    Dots 1, 2, 4 and 5 of the Unicode block are the upper ones, bits 0, 1, 3 and 4.
    """
    upper, lower = bits & 0b00011011, bits & 0b11100100
    return ":" if upper and lower else "'" if upper else "."


def mark_points(
    cells: Cells,
    curves: Sequence[Curve],
    marks: Mapping[tuple[int, float], tuple[int, int]],
    view: View,
) -> None:
    """A curve's mark on each of its points; a dot for a curve that has none."""
    for (number, _), place in marks.items():
        mark = curves[number].mark or ("o" if view.ascii else "•")
        cells[place] = (mark, Ink.CURVE + number)


def mark_lines(cells: Cells, curves: Sequence[Curve], lines: Sequence[Dots]) -> None:
    """A curve's mark every dozen columns, at other columns for every curve, and at its end.

    All lines are painted before the first mark, so that none hides another's marks.
    """
    every = max(MARK_EVERY, 3 * len(curves))  # of many curves three columns from mark to mark
    for number, (curve, line) in enumerate(zip(curves, lines, strict=True)):
        if not curve.mark or not line:
            continue
        tops: dict[int, int] = {}
        for x, y in line:
            tops[x] = max(tops.get(x, y), y)
        last = max(tops)
        for x, y in tops.items():
            if x % every == number * every // len(curves) or x == last:
                cells[x, y] = (curve.mark, Ink.CURVE + number)
