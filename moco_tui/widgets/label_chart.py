"""Accuracy against the share of the labels, a curve for every variant and baseline.

Where a study has one share alone there is no curve: each source is a row then.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from textual import events
from textual.binding import Binding
from textual.strip import Strip

from engine.study.from_scratch import Crossing
from engine.study.intervals import LabelCurve as Measured
from moco_tui.charts.curve_points import CurvePoints
from moco_tui.charts.drawing import Curve, Drawing, Ink, Level
from moco_tui.charts.interval_rows import IntervalRow, draw_intervals
from moco_tui.present import study_view as studyview
from moco_tui.present.curves import ASCII_MARKS, MARKS
from moco_tui.session import draws_ascii
from moco_tui.widgets.marked_chart import MarkedChart

LOG_FROM = 20
"""The largest share over the smallest one, from which on the axis is logarithmic: few labels would
share a few cells of a linear one."""

_LEAST_PERCENT = 1e-6


class LabelChart(MarkedChart, inherit_bindings=False):
    """The few points of a study's curves, with their intervals; the axis is percent of the labels.

    Args:
        title: what is drawn.
    """

    HELP_TITLE = "The curves of a study"
    HELP = """Top-1 accuracy against the share of the labels, with the interval or range of every
point; each curve has a mark of its own. A cross on the curve of an encoder is the share up to which
it beats training from scratch, with its interval. Shares of few labels and of many stand on a
logarithmic axis. Left and right read the values of one share. Of a study of one share each source
is a row on the scale of the accuracy."""
    BINDINGS = [
        Binding("left", "cursor(-1)", "Smaller share", show=False),
        Binding("right", "cursor(1)", "Larger share", show=False),
        Binding("escape", "no_cursor", "Cursor away"),
    ]

    def __init__(self, title: str, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(title, unit=" %", id=id, classes=classes)
        # The steps are percent of the labels, or log10 of them; see ``View.points``.
        self.view.points = True
        self._log = False
        self._measured: list[Measured] = []
        self._known: list[str] = []
        self._crossings: dict[str, Crossing] = {}
        self._one_share: float | None = None
        self.left_out = 0

    def take(
        self,
        title: str,
        curves: Sequence[Measured],
        known: Sequence[str],
        majority: float | None,
        first: Collection[str] = (),
        crossings: Mapping[str, Crossing] | None = None,
    ) -> None:
        """Draw these curves; nothing is drawn anew when they are the same.

        Args:
            title: what is drawn.
            curves: a source each; of more than there are marks the first, and those of ``first``.
            known: every source of the study, so that each keeps its mark and colour.
            majority: percent of the most frequent class, drawn as a line.
            first: sources that are drawn in any case.
            crossings: by the label of an encoder the share up to which it beats training from
                scratch.
        """
        levels = () if majority is None else (Level(majority, f"majority {majority:.1f} %"),)
        shares = {fraction for curve in curves for fraction, _ in curve.points}
        one_share = len(shares) == 1
        shown = list(curves) if one_share else _shown(curves, first)
        same = shown == self._measured and title == self.title and levels == self.view.levels
        if same and list(known) == self._known and dict(crossings or {}) == self._crossings:
            return
        self._crossings = dict(crossings or {})
        self._scale(shares)
        self.left_out = len(curves) - len(shown)
        self._one_share = next(iter(shares)) if one_share else None
        self.title, self._measured, self._known = title, shown, list(known)
        marks = ASCII_MARKS if draws_ascii(self) else MARKS
        drawn: list[Curve] = []
        for curve in shown:
            series = CurvePoints()
            places = [self._place(fraction) for fraction, _ in curve.points]
            means = [estimate.mean for _, estimate in curve.points]
            series.update(places, means)
            bars = [
                (self._place(fraction), estimate.low, estimate.high)
                for fraction, estimate in curve.points
                if estimate.low is not None and estimate.high is not None
            ]
            # by its place in the study: a source keeps its mark when others are filtered out
            place = self._known.index(curve.label) if curve.label in self._known else len(drawn)
            taken = {other.mark for other in drawn}
            mark = marks[place % len(marks)]
            while not one_share and mark in taken:  # of a source far before it
                place += 1
                mark = marks[place % len(marks)]
            name = studyview.source_name(curve.label)
            across = self._across(curve.label, places, means)
            drawn.append(Curve(name, series, mark, bars, across=across))
        self.show_curves(drawn, levels)

    # ---------------------------------------------------------------------------- the axis

    def _scale(self, shares: Collection[float]) -> None:
        """Make the axis one for these shares."""
        low, high = min(shares, default=1.0), max(shares, default=1.0)
        log = high >= LOG_FROM * low
        if log != self._log:
            self.view.cursor = None  # a place on the other axis
        self._log = log
        ends = [max(studyview.percent_of(end), _LEAST_PERCENT) for end in (low, high)]
        powers = range(math.ceil(math.log10(ends[0])), math.floor(math.log10(ends[1])) + 1)
        values = [*(10.0**power for power in powers), *ends] if log else []
        self.view.ticks = [(math.log10(value), f"{value:g} %") for value in values]

    def _place(self, fraction: float) -> float:
        """Where a share of the labels, in (0, 1], stands on the axis."""
        percent = studyview.percent_of(fraction)
        # The end of a wide interval may round to nothing.
        return math.log10(max(percent, _LEAST_PERCENT)) if self._log else percent

    def _percent(self, place: float) -> float:
        """The share of the labels at a place of a point, in percent."""
        return float(f"{10.0**place:.9g}") if self._log else place

    def _across(
        self, label: str, places: Sequence[float], means: Sequence[float]
    ) -> list[tuple[float, float, float, float]]:
        """The mark of the crossing of a curve, on its line; see ``Curve.across``."""
        crossing = self._crossings.get(label)
        if crossing is None or crossing.share is None:
            return []
        at = self._place(crossing.share)
        ends = [end for end in (crossing.low, crossing.high) if end is not None]
        low, high = map(self._place, ends or [crossing.share] * 2)
        for a, b, x, y in zip(places, places[1:], means, means[1:], strict=False):
            if a <= at <= b:
                return [(at, x + (y - x) * (at - a) / (b - a), low, high)]
        return []

    # ---------------------------------------------------------------------------- cursor

    def _shares(self) -> list[float]:
        """The places at which any curve has a point, ascending; none of one share alone."""
        if self._one_share is not None:
            return []
        return sorted({step for curve in self.curves for step in curve.series.steps})

    def action_cursor(self, cells: int) -> None:
        """To the next share of the labels; the first press puts the cursor on the last one."""
        shares = self._shares()
        if not shares:
            return
        if self.view.cursor not in shares:
            self._put_cursor(shares[-1])
        else:
            at = shares.index(self.view.cursor) + cells
            self._put_cursor(shares[max(min(at, len(shares) - 1), 0)])

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on the share next to the click."""
        event.prevent_default()  # Textual would call the handler of the base class as well
        drawing, shares, x = self._current_drawing(), self._shares(), self.inside(event).x
        if drawing is not None and shares and x >= drawing.left:
            step = drawing.step_at(x - drawing.left)
            self._put_cursor(min(shares, key=lambda share: abs(share - step)))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """No zoom: the few points are always all shown."""
        event.prevent_default()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """No zoom: the few points are always all shown."""
        event.prevent_default()

    # ---------------------------------------------------------------------------- drawing

    def drawn(self, width: int, height: int) -> Drawing:
        """Curves, or of one share the sources below each other."""
        if self._one_share is None or not self.curves:
            return super().drawn(width, height)
        rows = []
        percent = studyview.percent_of(self._one_share)
        for number, (curve, measured) in enumerate(zip(self.curves, self._measured, strict=True)):
            ((_, estimate),) = measured.points
            text = studyview.point_text(measured, percent)
            rows.append(
                IntervalRow(
                    curve.name,
                    curve.mark,
                    Ink.CURVE + number,
                    estimate.mean,
                    estimate.low,
                    estimate.high,
                    text,
                )
            )
        drawing = draw_intervals(width, height, rows, self.view.levels, ascii_=self.view.ascii)
        self.left_out = len(rows) - drawing.height
        return drawing

    def readout(self) -> str:
        """The share under the cursor; its values stand in the legend."""
        if self._one_share is not None:
            levels = "".join(f"  {level.name}" for level in self.view.levels)
            more = f"{self.left_out} more rows  " if self.left_out else ""
            return f"{more}at {studyview.percent_of(self._one_share):g} % of the labels{levels}"
        if self.view.cursor in self._shares():
            return f"values at {self._percent(self.view.cursor):g} % of the labels"
        more = f"{self.left_out} more curves  " if self.left_out else ""
        return f"{more}[% of the labels]"

    def legend(self, width: int, height: int) -> list[Strip]:
        """Marks and full names in as few lines as they take, with the values under the cursor.

        Without a cursor with the share up to which an encoder beats training from scratch.
        """
        if height < 5 or not self.curves or self._one_share is not None:
            return []
        reading = self.view.cursor in self._shares()
        texts: list[str] = []
        for curve, measured in zip(self.curves, self._measured, strict=True):
            text = f" {curve.mark} {curve.name}"
            if reading and self.view.cursor is not None:
                text += " " + studyview.point_text(measured, self._percent(self.view.cursor))
            elif measured.label in self._crossings:
                text += " " + studyview.crossing_text(self._crossings[measured.label])
            texts.append(text + " ")
        # An axis and a canvas of two lines are left.
        return self.legend_lines(texts, width, max(height - 4, 1))


def _shown(curves: Sequence[Measured], first: Collection[str]) -> list[Measured]:
    """As many curves as there are marks, in their order, with those of ``first`` among them."""
    if len(curves) <= len(MARKS):
        return list(curves)
    wanted = [curve.label for curve in curves if curve.label in first]
    wanted += [curve.label for curve in curves if curve.label not in first]
    kept = set(wanted[: len(MARKS)])
    return [curve for curve in curves if curve.label in kept]
