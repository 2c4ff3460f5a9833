"""A chart whose curves have a mark each, by which a legend below the title names them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from moco_tui.charts.drawing import Curve
from moco_tui.present import fmt
from moco_tui.present.curves import ASCII_MARKS, MARKS
from moco_tui.widgets.chart import Chart

_ALL_MARKS = MARKS + ASCII_MARKS  # as many of each: the place modulo their number is the colour


class MarkedChart(Chart, inherit_bindings=False):
    """A mark decides the colour of its curve, whichever others are drawn."""

    def legend_lines(self, texts: Sequence[str], width: int, most: int) -> list[Strip]:
        """A text for each curve, in as few lines as they take.

        Args:
            texts: of the curves, in their order.
            width: of a line, in cells.
            most: lines; what does not fit is left out.
        """
        lines: list[list[Segment]] = [[]]
        used = 0
        for curve, text in zip(self.curves, texts, strict=True):
            if used and used + cell_len(text) > width:
                lines.append([])
                used = 0
            lines[-1].append(
                Segment(fmt.fit(text, min(cell_len(text), width)), self._style_of(curve))
            )
            used += cell_len(text)
        return [Strip(line).adjust_cell_length(width, self.look("")) for line in lines[:most]]

    def _style_of(self, curve: Curve) -> Style:
        return self.look(f"curve-{_ALL_MARKS.index(curve.mark) % len(MARKS) + 1}")

    def _curve_style(self, number: int) -> Style:
        """The style that belongs to the mark of the curve of this number."""
        return self._style_of(self.curves[number])
