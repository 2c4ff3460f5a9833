"""Estimates below each other on one scale, each with its interval: what is left of curves that
have a point at one step alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from moco_tui.charts import ticks
from moco_tui.charts.drawing import Drawing, Ink, Level, Run
from moco_tui.present import fmt

_LEAST_CANVAS = 12
_AXIS_ROWS = 2
_TICK_CELLS = 12  # from one tick to the next, about


@dataclass(slots=True, frozen=True)
class IntervalRow:
    """An estimate.

    Attributes:
        name: what it is of.
        mark: the glyph that stands at the mean.
        ink: of the row.
        mean: its place on the scale.
        low, high: the ends of its interval or range; None where it has none.
        text: stands at the end of the row.
    """

    name: str
    mark: str
    ink: int
    mean: float
    low: float | None
    high: float | None
    text: str


def draw_intervals(
    width: int, height: int, rows: Sequence[IntervalRow], levels: Sequence[Level], *, ascii_: bool
) -> Drawing:
    """Draw rows as far as there are lines for them, and the axis of the values below.

    Args:
        width: cells of the whole, names and texts included.
        height: lines of the whole, the axis included.
        rows: from the top.
        levels: lines down the rows, where they lie on the scale, which they do not widen: beside a
            majority of 10 % differences of a point would not be seen.
        ascii_: draw with ASCII characters alone.

    Returns:
        The drawing; its steps are the values. Blank where it is too narrow or too low.
    """
    shown = rows[: max(height - _AXIS_ROWS, 0)]
    names = max((cell_len(row.name) for row in shown), default=0)
    texts = max((cell_len(row.text) for row in shown), default=0)
    names = min(names, max(width // 3, 8))
    left = names + 4  # a blank, the mark, a blank, the name, a blank
    canvas = width - left - texts - 1
    if not shown or canvas < _LEAST_CANVAS:
        return Drawing([[(" " * max(width, 0), Ink.NONE)] for _ in range(max(height, 0))])
    low, high = _limits(rows)
    drawing = Drawing([], left, canvas, len(shown), low, high)
    here = [level for level in levels if low <= level.value <= high]
    for row in shown:
        name = fmt.fit(row.name, names)
        line: list[Run] = [(f" {row.mark} {name} ", row.ink)]
        line += _bar(row, drawing, here, ascii_=ascii_)
        line.append((" " + row.text.rjust(texts), row.ink))
        drawing.rows.append(line)
    drawing.rows += _axis(drawing, texts + 1, ascii_=ascii_)
    blank: list[Run] = [(" " * width, Ink.NONE)]
    drawing.rows += [blank] * (height - len(drawing.rows))
    return drawing


def _limits(rows: Sequence[IntervalRow]) -> tuple[float, float]:
    """The scale: all rows, also those that are not shown, with a margin."""
    ends = [end for row in rows for end in (row.low, row.mean, row.high) if end is not None]
    low, high = min(ends), max(ends)
    margin = max((high - low) * 0.04, 0.05)
    return low - margin, high + margin


def _bar(row: IntervalRow, drawing: Drawing, levels: Sequence[Level], *, ascii_: bool) -> list[Run]:
    """The canvas of a row: levels, over them the interval, over it the mark."""
    cells: list[tuple[str, int]] = [(" ", Ink.NONE)] * drawing.width
    for level in levels:
        cells[drawing.cell_of(level.value)] = (":" if ascii_ else "┊", Ink.LEVEL)
    start, line, end = "|-|" if ascii_ else "├─┤"
    if row.low is not None and row.high is not None:
        first, last = drawing.cell_of(row.low), drawing.cell_of(row.high)
        for cell in range(first, last + 1):
            cells[cell] = (line, row.ink)
        if last > first:
            cells[first], cells[last] = (start, row.ink), (end, row.ink)
    cells[drawing.cell_of(row.mean)] = (row.mark, row.ink)
    return cells


def _axis(drawing: Drawing, right: int, *, ascii_: bool) -> list[list[Run]]:
    """The line of the axis with its ticks, and their labels."""
    values = ticks.linear(drawing.low, drawing.high, max(drawing.width // _TICK_CELLS, 2))
    span = values[1] - values[0] if len(values) > 1 else 0.0
    line = ["-" if ascii_ else "─"] * drawing.width
    labels = [" "] * (drawing.width + right)
    for value in values:
        cell = drawing.cell_of(value)
        line[cell] = "+" if ascii_ else "┬"
        text = ticks.label(value, span)
        start = max(cell - len(text) // 2, 0)
        labels[start : start + len(text)] = text
    texts = "".join(labels)[: drawing.width + right]
    indent = " " * drawing.left
    return [
        [(indent + "".join(line) + " " * right, Ink.TICK)],
        [(indent + texts, Ink.TICK)],
    ]
