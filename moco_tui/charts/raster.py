"""Columns of a curve as terminal cells: braille dots for the line, shade for the band.

Cells are counted from the lower left corner, as plotext does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from moco_tui.charts.curve_points import CurveColumn

Dots = dict[tuple[int, int], int]
"""Dots of a curve: (column, row) of the cell to the bits of a braille character."""

# Bits of the dots of half a cell, from the bottom up: in the Unicode block "Braille Patterns" dot n
# is bit n - 1, with dots 1, 2, 3, 7 at the left and 4, 5, 6, 8 at the right, from the top down.
_LEFT = (0x40, 0x04, 0x02, 0x01)
_RIGHT = (0x80, 0x20, 0x10, 0x08)


def _masks(bits: tuple[int, ...]) -> list[list[int]]:
    """At ``[low][high]`` the bits of the dots ``low`` to ``high`` of half a cell, both included."""
    return [
        [sum(bits[low : high + 1]) if high >= low else 0 for high in range(4)] for low in range(4)
    ]


_HALVES = (_masks(_LEFT), _masks(_RIGHT))


def line_dots(
    columns: Sequence[CurveColumn | None], to_dot: Callable[[float], int], dots: int
) -> Dots:
    """The line of a curve.

    Args:
        columns: two for each cell's width.
        to_dot: height of a value in dots from the bottom; may lie outside ``[0, dots)``.
        dots: height of the canvas in dots (four for each cell).
    """
    cells: Dots = {}
    previous: tuple[int, int] | None = None
    for x, column in enumerate(columns):
        if column is None:
            continue
        low, high = to_dot(column.line[0]), to_dot(column.line[1])
        first = to_dot(column.first)
        if column.joined and previous is not None:
            before, height = previous
            if x - before > 1:
                _bridge(cells, before, height, x, first, dots)
            # The column is drawn on to the dot next to the last one of the column before.
            elif height > high:
                high = max(height - 1, high)
            elif height < low:
                low = min(height + 1, low)
        _vertical(cells, x, low, high, dots)
        previous = (x, to_dot(column.last))
    return cells


def _bridge(cells: Dots, x0: int, y0: int, x1: int, y1: int, dots: int) -> None:
    """A straight line over the columns without points between two that have some."""
    last = y0
    for x in range(x0 + 1, x1):
        y = y0 + round((y1 - y0) * (x - x0) / (x1 - x0))
        low, high = (last + 1, y) if y > last else (y, last - 1) if y < last else (y, y)
        _vertical(cells, x, low, high, dots)
        last = y


def _vertical(cells: Dots, x: int, low: int, high: int, dots: int) -> None:
    """Set the dots of a column from ``low`` to ``high``, as far as they lie on the canvas."""
    low, high = max(low, 0), min(high, dots - 1)
    if low > high:
        return
    cell_x, masks = x >> 1, _HALVES[x & 1]  # two columns a cell
    bottom, top = low >> 2, high >> 2  # four dots a cell
    for y in range(bottom, top + 1):
        bits = masks[low & 3 if y == bottom else 0][high & 3 if y == top else 3]
        key = (cell_x, y)
        cells[key] = cells.get(key, 0) | bits


def band_cells(
    columns: Sequence[CurveColumn | None], to_dot: Callable[[float], int], dots: int
) -> set[tuple[int, int]]:
    """The cells between the smallest and the largest point of each column; see ``line_dots``.

    Where the line crosses columns without a point the band goes from one of its ends to the other.
    """
    cells: set[tuple[int, int]] = set()
    before: tuple[int, int, int] | None = None
    for x, column in enumerate(columns):
        if column is None:
            continue
        low, high = max(to_dot(column.band[0]), 0), min(to_dot(column.band[1]), dots - 1)
        if before is not None and column.joined:
            x0, low0, high0 = before
            for between in range(x0 + 1, x):
                share = (between - x0) / (x - x0)
                bottom, top = low0 + share * (low - low0), high0 + share * (high - high0)
                cells.update(
                    (between >> 1, y) for y in range(int(bottom) >> 2, (int(top) >> 2) + 1)
                )
        cells.update((x >> 1, y) for y in range(low >> 2, (high >> 2) + 1))
        before = x, low, high
    return cells
