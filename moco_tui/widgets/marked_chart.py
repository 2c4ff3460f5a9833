"""A chart whose curves have a mark each, by which a legend below the title names them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style
from textual.strip import Strip

from moco_tui.charts.drawing import Curve
from moco_tui.present.curves import ASCII_MARKS, MARKS
from moco_tui.widgets.chart import Chart
from moco_tui.widgets.legend_lines import legend_lines

_ALL_MARKS = MARKS + ASCII_MARKS  # as many of each: the place modulo their number is the colour


class MarkedChart(Chart, inherit_bindings=False):
    """A mark decides the colour of its curve, whichever others are drawn."""

    def legend_lines(self, texts: Sequence[str], width: int, most: int) -> list[Strip]:
        """A text for each curve, in as few lines as they take.

        Args:
            texts: of the curves, in their order.
            width: of a line, in cells.
            most: lines; how many curves have no room in them is said.
        """
        entries = [
            (text, self._style_of(curve)) for curve, text in zip(self.curves, texts, strict=True)
        ]
        return legend_lines(entries, width, most, self.look(""))

    def _style_of(self, curve: Curve) -> Style:
        return self.look(f"curve-{_ALL_MARKS.index(curve.mark) % len(MARKS) + 1}")

    def _curve_style(self, number: int) -> Style:
        """The style that belongs to the mark of the curve of this number."""
        return self._style_of(self.curves[number])
