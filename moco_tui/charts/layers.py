"""The layers of a chart, each painted over those before it: band, levels, cursor, lines, marks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from moco_tui.charts.curve_points import CurveColumn
from moco_tui.charts.drawing import Cells, Curve, Drawing, Ink, Level, View
from moco_tui.charts.raster import Dots, band_cells, line_dots

MARK_EVERY = 12
"""Columns between two marks on a line."""


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
    shade = ":" if view.ascii else "░"
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


def add_intervals(cells: Cells, curves: Sequence[Curve], drawing: Drawing, view: View) -> None:
    """An upright line through every point, as long as its interval."""
    for number, curve in enumerate(curves):
        for step, low, high in curve.bars:
            x = drawing.cell_of(step)
            bottom, top = (row_of(value, drawing, view) for value in (low, high))
            if x < 0 or bottom is None or top is None:
                continue
            for y in range(bottom, top + 1):
                cells[x, y] = ("|" if view.ascii else "│", Ink.CURVE + number)


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


def mark_points(cells: Cells, curves: Sequence[Curve], drawing: Drawing, view: View) -> None:
    """A curve's mark on each of its points, or beside it where another curve's stands."""
    taken: set[tuple[int, int]] = set()
    for number, curve in enumerate(curves):
        if not curve.mark:
            continue
        for step, value in zip(curve.series.steps, curve.series.line.values, strict=True):
            x, y = drawing.cell_of(step), row_of(value, drawing, view)
            if x < 0 or y is None:
                continue
            beside = [(x + aside, y) for aside in (0, 1, -1, 2, -2)]
            inside = [place for place in beside if 0 <= place[0] < drawing.width]
            place = next((place for place in inside if place not in taken), (x, y))
            taken.add(place)
            cells[place] = (curve.mark, Ink.CURVE + number)


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
