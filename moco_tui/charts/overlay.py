"""What is laid over the lines of a chart: levels, intervals, marks."""

from __future__ import annotations

import math
from collections.abc import Callable

from moco_tui.charts.drawing import Curve, Drawing, Level, View

Cells = dict[tuple[int, int], tuple[str, int]]
"""(column, row) of a cell, from the lower left corner, to its character and ink."""


def row_of(
    value: float, view: View, drawing: Drawing, to_dot: Callable[[float], int]
) -> int | None:
    """The row of a value; None outside the canvas."""
    if view.log:
        if value <= 0:
            return None
        value = math.log10(value)
    y = to_dot(value) // 4
    return y if 0 <= y < drawing.height else None


def add_level(
    cells: Cells,
    level: Level,
    ink: int,
    drawing: Drawing,
    view: View,
    to_dot: Callable[[float], int],
) -> None:
    """A dashed line across the chart, named at its right end."""
    y = row_of(level.value, view, drawing, to_dot)
    if y is None:
        return
    for x in range(drawing.width):
        if x % 2 == 0:
            cells[x, y] = ("-" if view.ascii else "╌", ink)
    text = f" {level.name} "
    start = drawing.width - len(text) - 1
    if start > 2:
        for offset, character in enumerate(text):
            cells[start + offset, y] = (character, ink)


def add_bars(
    cells: Cells,
    curve: Curve,
    ink: int,
    drawing: Drawing,
    view: View,
    to_dot: Callable[[float], int],
) -> None:
    """An upright line through every point, as long as its interval."""
    for step, low, high in curve.bars:
        x = drawing.cell_of(step)
        ends = [row_of(value, view, drawing, to_dot) for value in (low, high)]
        if x < 0 or ends[0] is None or ends[1] is None:
            continue
        for y in range(ends[0], ends[1] + 1):
            cells[x, y] = ("|" if view.ascii else "│", ink)


def mark_points(
    cells: Cells,
    curve: Curve,
    ink: int,
    drawing: Drawing,
    view: View,
    to_dot: Callable[[float], int],
    taken: set[tuple[int, int]],
) -> None:
    """The curve's glyph on each of its points, or beside it where another curve's stands."""
    for step, value in zip(curve.series.steps, curve.series.line.values, strict=True):
        x, y = drawing.cell_of(step), row_of(value, view, drawing, to_dot)
        if x < 0 or y is None:
            continue
        free = [(x + aside, y) for aside in (0, 1, -1, 2, -2) if 0 <= x + aside < drawing.width]
        place = next((place for place in free if place not in taken), (x, y))
        taken.add(place)
        cells[place] = (curve.mark, ink)


def add_marks(
    cells: Cells,
    mark: str,
    ink: int,
    drawn: dict[tuple[int, int], int],
    number: int,
    count: int,
) -> None:
    """A glyph every dozen columns, in other columns for every curve, and one at the end."""
    if not drawn:
        return
    by_column: dict[int, int] = {}
    for x, y in drawn:
        by_column[x] = max(by_column.get(x, y), y)
    every = max(12, 3 * count)
    last = max(by_column)
    for x, y in by_column.items():
        if x % every == (number * every) // max(count, 1) or x == last:
            cells[x, y] = (mark, ink)
