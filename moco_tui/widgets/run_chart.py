"""A chart of metrics of one run, which grows with the run's log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.config.metrics import metric
from engine.runs import MetricLog
from moco_tui.charts.curve_points import CurvePoints
from moco_tui.charts.drawing import Curve, Level
from moco_tui.present.curves import ASCII_MARKS, MARKS
from moco_tui.present.metric_text import title as curve_title
from moco_tui.session import draws_ascii
from moco_tui.widgets.chart import Chart

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

    def take(
        self,
        log: MetricLog,
        names: Sequence[str],
        title: str,
        levels: Sequence[Level] = (),
        more: Mapping[str, Points] | None = None,
    ) -> None:
        """Bring the curves up to date with the log; nothing is drawn when nothing is new.

        Args:
            log: read as far as it goes.
            names: the metrics to draw; of more than there are marks the first.
            title: what is drawn.
            levels: lines across the chart.
            more: curves beside those of the log, under their names.
        """
        beside = more or {}
        names = [*names, *beside][: len(MARKS)]
        known = self._points
        changed = False
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
            self.show_curves(
                [
                    Curve(
                        name if name in beside else curve_title(name),
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


def _is_other(drawn: CurvePoints, points: Points) -> bool:
    """Whether a curve has other points than those that it may have got since."""
    steps, values = points
    count = len(drawn.steps)
    return list(drawn.steps) != list(steps[:count]) or list(drawn.raw.values) != list(
        values[:count]
    )
