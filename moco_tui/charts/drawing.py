"""What a chart is made of: curves, the view of them, the canvas and its cells, the drawn rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from moco_tui.charts.curve_points import CurvePoints

Run = tuple[str, int]
"""Text and the ink it is written in."""
Cells = dict[tuple[int, int], tuple[str, int]]
"""(column, row) of a cell of the canvas, from the lower left corner, to its character and ink."""
Axis = tuple[list[int], list[str]]
"""Ticks: the cells of the canvas where they stand, and their labels."""


class Ink(IntEnum):
    """What a cell belongs to. Curves count up from ``CURVE``.

    An int, because plotext carries it through as the number of a colour.
    """

    NONE = 0
    TICK = 1
    BAND = 2
    LEVEL = 3
    CURSOR = 4
    CURVE = 10


@dataclass(slots=True)
class Curve:
    """A curve to draw.

    Attributes:
        name: its name in legends, in full.
        series: its points.
        mark: a glyph set along the curve, so that colour is never the only difference; empty
            for none.
        bars: for points of the curve their step and the ends of their interval.
        dense: it has a point at every step, so that a mean over many of them hides nothing; only
            such a curve is smoothed.
        band: a range is drawn around its line: of its points, see ``CurveColumn.band``.
        across: for places on its line the step, the value, and the steps at the ends of an interval
            along the axis; the ends are the step itself where there is none.
    """

    name: str
    series: CurvePoints
    mark: str = ""
    bars: Sequence[tuple[float, float, float]] = ()
    dense: bool = False
    band: bool = False
    across: Sequence[tuple[float, float, float, float]] = ()


@dataclass(slots=True, frozen=True)
class Level:
    """A horizontal line, such as the loss at chance."""

    value: float
    name: str


@dataclass(slots=True)
class Drawing:
    """A drawn chart.

    Attributes:
        rows: from the top, each a list of runs that fill the width.
        left: cells left of the canvas.
        width, height: size of the canvas in cells.
        low, high: steps at the canvas's edges.
        bottom, top: values at the lower and upper edge (log10 of them on a log scale).
    """

    rows: list[list[Run]]
    left: int = 0
    width: int = 0
    height: int = 0
    low: float = 0.0
    high: float = 1.0
    bottom: float = 0.0
    top: float = 1.0

    @property
    def dots(self) -> int:
        """Height of the canvas in dots: a braille character has four."""
        return 4 * self.height

    def dot_of(self, value: float) -> int:
        """The dot, from the bottom, on which a value falls (may lie outside).

        The lower edge is the middle of the lowest dot, the upper edge that of the highest.
        """
        share = (value - self.bottom) / (self.top - self.bottom)
        return math.floor(share * (4 * self.height - 1) + 0.5)

    def step_at(self, x: int) -> float:
        """The step in the middle of a cell of the canvas."""
        return self.low + (x + 0.5) / max(self.width, 1) * (self.high - self.low)

    def cell_of(self, step: float) -> int:
        """The cell of the canvas in which a step falls; -1 outside."""
        share = (step - self.low) / (self.high - self.low) if self.high > self.low else 0.0
        return min(int(share * self.width), self.width - 1) if 0 <= share <= 1 else -1


@dataclass(slots=True)
class View:
    """What part of the curves is drawn and how.

    Attributes:
        low, high: steps at the edges, None for the ends of the data.
        log: logarithmic values.
        cursor: step of the cursor, or None.
        ascii: draw with ASCII characters alone.
        band: show the range of the points behind a smoothed line.
        per_epoch: steps in an epoch when the axis shows epochs, else 0.
        levels: lines across the chart.
        points: the few points matter more than the line: marks stand on them, with their bars,
            and the ticks of the axis below them.
        span: values at the lower and upper edge; None for those of the curves. Not on a
            logarithmic scale.
        start: the step with which the whole begins, though a point may lie before it: a run that
            went on from another's checkpoint has measured only its untrained net there.
        whole: steps that the whole spans at least, beside those of the data: charts that stand side
            by side have one axis; None for the data alone.
        ticks: the ticks of the axis and their labels, the most important first, in place of round
            steps: where steps stand for something else. Those that have room are drawn.
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    cursor: float | None = None
    ascii: bool = False
    band: bool = True
    per_epoch: int = 0
    levels: Sequence[Level] = field(default_factory=tuple)
    points: bool = False
    span: tuple[float, float] | None = None
    start: float = -math.inf
    whole: tuple[float, float] | None = None
    ticks: Sequence[tuple[float, str]] = ()

    def has_band(self, curves: Sequence[Curve]) -> bool:
        """Whether a band is drawn: bands of several curves would overlap."""
        return self.band and len(curves) == 1 and curves[0].series.window > 1
