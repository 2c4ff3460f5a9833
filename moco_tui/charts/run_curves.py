"""The curves of runs for a preview: their logs, thinned, and read a part at a time."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from engine.config.metrics import metric, rank
from engine.errors import UserError
from engine.runs import MetricLog, Record, RunFolder
from moco_tui.charts.curve_points import CurvePoints
from moco_tui.charts.drawing import Curve
from moco_tui.charts.mean_points import MeanPoints
from moco_tui.present import fmt
from moco_tui.present.comparison import offered
from moco_tui.present.curves import (
    ASCII_MARKS,
    MARKS,
    accuracies,
    accuracy_title,
    loss_title,
    losses,
)
from moco_tui.present.metric_text import title as metric_title
from moco_tui.present.pace import RunPace, run_pace
from moco_tui.present.preview_part import DrawnRun
from moco_tui.present.variant_curves import seed_mean

MOST_RUNS = 24
"""Runs whose curves stay in memory: those that were looked at last."""
MOST_POINTS = 2048
"""Points of a metric that are kept, evenly spread: more than any preview has columns of dots."""
SLICE_BYTES = 1 << 19
"""Bytes of a log that are read before the time is looked at again."""
SLICE_SECONDS = 0.15
"""How long one look reads; the rest is read by the next ones."""


class Plot(Struct, frozen=True):
    """What a chart of the preview shows.

    Attributes:
        title: what is drawn.
        curves: with a mark each.
        unit: of the values.
    """

    title: str
    curves: list[Curve]
    unit: str = ""

    def of_many(self, least: int) -> Plot:
        """The plot where a curve of it has so many points; else one without curves."""
        known = any(len(curve.series) >= least for curve in self.curves)
        return self if known else Plot(self.title, [], self.unit)


class RunCurves:
    """Reads logs and makes curves of them; threads that use it wait for each other.

    Args:
        root: the runs folder.
        ascii_only: marks in ASCII alone.
    """

    def __init__(self, root: Path, *, ascii_only: bool = False) -> None:
        self._root = root
        self._marks = ASCII_MARKS if ascii_only else MARKS
        self._logs: OrderedDict[str, MetricLog] = OrderedDict()
        self._lock = threading.Lock()

    def read(
        self,
        runs: Sequence[DrawnRun],
        *,
        seconds: float = SLICE_SECONDS,
        goes_on: Callable[[], bool] = lambda: True,
    ) -> bool:
        """Read what the logs of some runs have got; True when that is all of it.

        Args:
            runs: what is to be drawn.
            seconds: after so long the rest is left to the next call.
            goes_on: False ends it at once: nobody waits for these runs any more.
        """
        end = time.monotonic() + seconds
        with self._lock:
            for run in dict.fromkeys(id_ for drawn in runs for id_ in drawn.logs):
                log = self._log(run)
                while goes_on() and self._reads_on(log):
                    if time.monotonic() > end:
                        return False
            self._forget(sum(len(drawn.logs) for drawn in runs))
        return True

    @staticmethod
    def _reads_on(log: MetricLog) -> bool:
        try:
            return log.poll(SLICE_BYTES)
        except UserError:
            return False  # the monitor says what is wrong with it

    def _log(self, run: str) -> MetricLog:
        log = self._logs.pop(run, None)
        if log is None:
            log = MetricLog(RunFolder(self._root / run).metrics_path, most=MOST_POINTS)
        self._logs[run] = log  # behind all others: it was looked at last
        return log

    def _forget(self, needed: int) -> None:
        while len(self._logs) > max(MOST_RUNS, needed):
            self._logs.popitem(last=False)

    def pace(self, run: str, record: Record, status: str) -> RunPace:
        """How fast a run is, as far as its log was read.

        Args:
            run: its id.
            record: of it.
            status: its state, as shown.
        """
        with self._lock:
            log = self._logs.get(run)
            return RunPace() if log is None else run_pace(record, status, log)

    # ---------------------------------------------------------------------------- curves

    def plots(self, runs: Sequence[DrawnRun]) -> tuple[Plot, Plot]:
        """The losses and the accuracies of some runs.

        Of one run all of its losses, and all of its accuracies; of several the one that most have.
        """
        with self._lock:
            if len(runs) == 1 and not runs[0].runs:
                return self._of_one(runs[0])
            return self._of_several(runs, "loss"), self._of_several(runs, "accuracy")

    def _of_one(self, run: DrawnRun) -> tuple[Plot, Plot]:
        log = self._logs.get(run.id)
        if log is None:
            return Plot("loss", []), Plot("accuracy", [])
        made = []
        for names, title, unit in (
            (losses(log), loss_title, ""),
            (sorted(accuracies(log), key=rank)[: len(MARKS)], accuracy_title, " %"),
        ):
            curves = []
            for number, name in enumerate(names):
                mark = (
                    self._marks[number] if len(names) > 1 else self._marks[run.place % len(MARKS)]
                )
                known = metric(name)
                series = _points(log, name)
                curves.append(Curve(metric_title(name), series, mark, dense=known.dense))
            made.append(Plot(title(names) if names else title([""]), curves, unit))
        return made[0], made[1]

    def _of_several(self, runs: Sequence[DrawnRun], chart: str) -> Plot:
        """A curve for each run, of the metric that most of them have."""
        names = [
            [name for name in self._names(drawn) if metric(name).chart == chart] for drawn in runs
        ]
        found = [name for name in offered(names) if metric(name).chart == chart]
        if not found:
            return Plot(chart, [])
        name = found[0]
        curves = []
        for drawn in runs:
            mark = self._marks[drawn.place % len(MARKS)]
            if not drawn.runs:
                log = self._logs.get(drawn.id)
                if log is not None and name in log.names():
                    dense = metric(name).dense
                    curves.append(Curve(drawn.name, _points(log, name), mark, dense=dense))
                continue
            mean = seed_mean(
                log.series(name) for run in drawn.runs if (log := self._logs.get(run)) is not None
            )
            if mean.x:
                points = MeanPoints(mean.x, mean.mean, mean.low, mean.high)
                label = f"{drawn.name}, {mean.seeds_text}"
                curves.append(Curve(label, points, mark, band=True))
        title = "loss" if name == "train/loss" else metric_title(name)
        return Plot(fmt.clean(title), curves, f" {metric(name).unit}".rstrip())

    def _names(self, drawn: DrawnRun) -> list[str]:
        logs = (self._logs.get(run) for run in drawn.logs)
        return list(dict.fromkeys(name for log in logs if log is not None for name in log.names()))


def _points(log: MetricLog, name: str) -> CurvePoints:
    """The points of a metric, apart from the log, which another thread may read on."""
    points = CurvePoints()
    points.update(*log.series(name))
    return points
