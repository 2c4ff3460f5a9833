"""A chart of metrics of one run, which grows with the run's log."""

from __future__ import annotations

from collections.abc import Sequence

from engine.config.metrics import metric
from engine.runs import MetricLog
from moco_tui.charts.curve_points import CurvePoints
from moco_tui.charts.drawing import Curve, Level
from moco_tui.present.curves import MARKS
from moco_tui.present.metric_text import title as curve_title
from moco_tui.widgets.chart import Chart


class RunChart(Chart):
    """Draws metrics of a log under their names; see ``Chart`` for the arguments."""

    # The help screen lists classes that have texts of their own; inherited ones do not count.
    HELP_TITLE = Chart.HELP_TITLE
    HELP = Chart.HELP

    def __init__(
        self,
        title: str,
        *,
        smoothing: float = 0.0,
        unit: str = "",
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(title, smoothing=smoothing, unit=unit, id=id, classes=classes)
        self._points: dict[str, CurvePoints] = {}  # by metric, kept between updates

    def take(
        self, log: MetricLog, names: Sequence[str], title: str, levels: Sequence[Level] = ()
    ) -> None:
        """Bring the curves up to date with the log; nothing is drawn when nothing is new.

        Args:
            log: read as far as it goes.
            names: the metrics to draw; of more than there are marks the first.
            title: what is drawn.
            levels: lines across the chart.
        """
        names = names[: len(MARKS)]
        known = self._points
        changed = False
        for name in names:
            changed |= known.setdefault(name, CurvePoints()).update(*log.series(name))
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
            self.title = title
            self.show_curves(
                [
                    Curve(
                        curve_title(name),
                        known[name],
                        MARKS[i] if several else "",
                        dense=metric(name).dense,
                    )
                    for i, name in enumerate(names)
                ],
                levels,
            )
        elif changed:
            self.changed()
