"""A chart of metrics of one run, which grows with the run's log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual.strip import Strip

from engine.config.metrics import metric
from engine.runs import MetricLog
from moco_tui.charts.curve_points import CurvePoints
from moco_tui.charts.drawing import Curve, Level
from moco_tui.charts.readout import common_step
from moco_tui.present import fmt
from moco_tui.present.curves import ASCII_MARKS, MARKS, curve_name, short_name
from moco_tui.session import draws_ascii
from moco_tui.widgets.chart import Chart
from moco_tui.widgets.legend_lines import legend_lines

_LEAST_ROWS = 6  # of a chart with a legend
_ROWS_A_NAME = 6  # of a chart for each line of its legend

Points = tuple[Sequence[int], Sequence[float]]
"""Steps, ascending, and values."""


class RunChart(Chart):
    """Draws metrics of a log under their names; see ``Chart`` for the arguments."""

    # The help screen lists classes that have texts of their own; inherited ones do not count.
    HELP_TITLE = Chart.HELP_TITLE
    HELP = Chart.HELP

    def __init__(
        self,
        title: str,
        *,
        window: int = 1,
        unit: str = "",
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(title, window=window, unit=unit, id=id, classes=classes)
        self._points: dict[str, CurvePoints] = {}  # by metric, kept between updates
        self._short: list[str] = []  # names of the curves in a word or two

    def take(
        self,
        log: MetricLog,
        names: Sequence[str],
        title: str,
        levels: Sequence[Level] = (),
        more: Mapping[str, Points] | None = None,
        summary: str = "",
    ) -> None:
        """Bring the curves up to date with the log; nothing is drawn when nothing is new.

        Args:
            log: read as far as it goes.
            names: the metrics to draw; of more than there are marks the first.
            title: what is drawn.
            levels: lines across the chart.
            more: curves beside those of the log, under their names.
            summary: the newest values, at the right of the title.
        """
        beside = more or {}
        names = [*names, *beside][: len(MARKS)]
        known = self._points
        changed = summary != self.summary
        self.summary = summary
        for name in names:
            points = beside[name] if name in beside else log.series(name)
            if name in beside and name in known and _is_other(known[name], points):
                del known[name]  # a point came before the last one
            changed |= known.setdefault(name, CurvePoints()).update(*points)
        for name in known.keys() - set(names):
            del known[name]
            changed = True
        # CurvePoints compare by identity: other curves are set only when the metrics are others.
        if (
            len(self.curves) != len(names)
            or len(self.view.levels) != len(levels)
            or [curve.series for curve in self.curves] != [known[name] for name in names]
        ):
            several = len(names) > 1
            marks = ASCII_MARKS if draws_ascii(self) else MARKS
            self.title = title
            self._short = [name if name in beside else short_name(name) for name in names]
            self.show_curves(
                [
                    Curve(
                        name if name in beside else curve_name(name),
                        known[name],
                        marks[i] if several else "",
                        dense=name not in beside and metric(name).dense,
                    )
                    for i, name in enumerate(names)
                ],
                levels,
            )
        elif changed:
            self.changed()

    def _is_packed(self, height: int) -> bool:
        """Whether there is no room for a line of the legend for each curve."""
        return len(self.curves) > 1 and _LEAST_ROWS <= height < _ROWS_A_NAME * len(self.curves)

    def values_text(self, *, short: bool = False) -> str:
        """See ``Chart.values_text``; where the legend has the values at the cursor its step."""
        if self.view.cursor is None or not self._is_packed(self.size.height):
            return super().values_text(short=short)
        step = common_step(self.curves, self._drawing, self.view.cursor)
        if step is None:
            return ""
        epoch = f"  epoch {step / self.per_epoch:.2f}" if self.per_epoch and not short else ""
        return f"step {fmt.count(step)}{epoch}"

    def legend(self, width: int, height: int) -> list[Strip]:
        """The full names below each other, or short ones side by side with their values."""
        if not self._is_packed(height):
            return super().legend(width, height) if height >= _LEAST_ROWS else []
        entries = [
            (
                f" {curve.mark or '─'} {name}{self._value_of(curve)} ",
                self._curve_style(number),
            )
            for number, (curve, name) in enumerate(zip(self.curves, self._short, strict=True))
        ]
        return legend_lines(entries, width, max((height - 3) // 4, 1), self.look(""))

    def _value_of(self, curve: Curve) -> str:
        """The value of a curve at the cursor, or its newest one."""
        at: int | None = len(curve.series) - 1
        if self.view.cursor is not None:
            at = curve.series.nearest(self.view.cursor)
        if at is None or at < 0:
            return ""
        return f" {fmt.number(curve.series.raw.values[at], 3)}{self.unit}"


def _is_other(drawn: CurvePoints, points: Points) -> bool:
    """Whether a curve has other points than those that it may have got since."""
    steps, values = points
    count = len(drawn.steps)
    return list(drawn.steps) != list(steps[:count]) or list(drawn.raw.values) != list(
        values[:count]
    )
