"""Axes, ticks and cells laid out by plotext.

plotext's own line drawing costs 10 ms a curve and raises on infinities and on curves outside the
limits; handed ready cells, it draws any number of curves in 3 ms. Colours travel through it as
small numbers (``Ink``) and become styles of the theme in the widget.
"""

from __future__ import annotations

from typing import Any

from textual_plotext import Plot

from moco_tui.charts.drawing import Axis, Cells, Drawing, Ink, Run


def rows_of(drawing: Drawing, x_axis: Axis, y_axis: Axis, cells: Cells) -> list[list[Run]]:
    """The whole chart, from the top row down.

    Args:
        drawing: the size of the canvas and what stands left of it.
        x_axis: the ticks of the steps.
        y_axis: the ticks of the values.
        cells: what is painted on the canvas.
    """
    # Private methods of plotext 5.3, as ``build`` calls them: that makes a string with escapes of
    # the matrix, from which the inks would have to be parsed again.
    plot: Any = Plot()
    width, height = drawing.left + drawing.width, drawing.height + 2
    plot.plotsize(width, height)
    plot._set_size(width, height)  # plotsize has cut it to the terminal's
    plot.theme("clear")  # no colours of its own
    plot.ticks_color(int(Ink.TICK))
    plot.xaxes(True, False)
    plot.yaxes(True, False)
    # One unit a cell: every point that is drawn below lands on the cell it was made for.
    plot.xlim(0, drawing.width - 1)
    plot.ylim(0, drawing.height - 1)
    plot.xticks(*x_axis)
    plot.yticks(*y_axis)
    cells = cells or {(0, 0): (" ", Ink.TICK)}  # without any point plotext leaves its axes out
    plot.scatter(
        [x for x, _ in cells],
        [y for _, y in cells],
        marker=[character for character, _ in cells.values()],
        color=[int(ink) for _, ink in cells.values()],
    )
    plot._set_sizes()
    plot._build_matrix()
    matrix = plot.monitor.matrix
    # plotext's rows count from the bottom
    lines = zip(reversed(matrix.marker), reversed(matrix.fullground), strict=True)
    return [_runs(characters, inks) for characters, inks in lines]


def _runs(characters: list[str], inks: list[Any]) -> list[Run]:
    """A row as texts of one ink each; plotext's own colours, which are no numbers, are none."""
    runs: list[Run] = []
    start = 0
    for index in range(1, len(characters) + 1):
        if index == len(characters) or inks[index] != inks[start]:
            ink = inks[start]
            text = "".join(characters[start:index])
            runs.append((text, ink if isinstance(ink, int) else Ink.NONE))
            start = index
    return runs
