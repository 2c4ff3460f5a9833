"""Two to eight runs side by side: curves over each other, settings that differ, metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container

from engine.config.metrics import metric
from engine.errors import UserError
from engine.runs import MetricLog, RunFolder
from moco_tui.charts.curve_points import MOST_POINTS, CurvePoints
from moco_tui.charts.drawing import Curve
from moco_tui.present import comparison as compare
from moco_tui.present import comparison_export, fmt
from moco_tui.present.comparison_tables import metric_lines, setting_lines
from moco_tui.present.curves import ASCII_MARKS, MARKS
from moco_tui.screens.export_dialog import ask_and_write
from moco_tui.screens.next_steps import ask_to_compare, probe
from moco_tui.screens.polling_screen import PollingScreen
from moco_tui.screens.shared_keys import EXPORT, STEPS
from moco_tui.session import Session
from moco_tui.widgets.background_work import work_behind
from moco_tui.widgets.chart import Chart
from moco_tui.widgets.made_panel import MadePanel


class CompareScreen(PollingScreen):
    """Compares runs through their folders.

    Args:
        session: what all screens share.
        folders: the runs; differences are to the first.
    """

    TITLE_TEXT = "Compare"
    HELP = """Curves of several runs over each other; each has a mark of its own besides its colour.
Below are the settings that differ and every metric with its difference to the first run."""
    BINDINGS = [
        Binding("m", "metric(1)", "Metric"),
        Binding("M", "metric(-1)", "Metric before", show=False),
        EXPORT,
        *STEPS,
    ]

    def __init__(self, session: Session, folders: Sequence[RunFolder]) -> None:
        super().__init__(session)
        self.folders = list(folders)
        self.logs = [MetricLog(folder.metrics_path, most=MOST_POINTS) for folder in folders]
        self.series: list[CurvePoints] = []  # of the chosen metric, one for each run
        self.metric = ""
        self.runs: list[compare.ComparedRun] = []
        self.found = compare.side_by_side([])
        self._loaded = False

    def content(self) -> ComposeResult:
        """Curves above, tables below."""
        with Container(id="compare"):
            yield Chart("reading ...", window=15, id="curves")
            with Container(id="tables"):
                yield MadePanel("metrics (difference to the first run)", id="metrics")
                yield MadePanel("settings that differ", id="settings")

    def on_mount(self) -> None:
        """Read the runs in a thread."""
        self.query_one(Chart).empty = "reading ..."
        self.query_one(Chart).focus()
        work_behind(self, self._load, group="load")

    async def _load(self) -> None:
        def poll() -> list[str]:  # a thread must not touch widgets: it returns what to say
            problems = []
            for log in self.logs:
                try:
                    log.poll()
                except UserError as error:
                    problems.append(str(error))
            return problems

        for problem in await asyncio.to_thread(poll):
            self.say(problem, severity="error")
        if not self.is_open:
            return
        self._loaded = True
        names = self._metrics()
        chart = self.query_one(Chart)
        chart.title, chart.empty = "curves", "no run has measured anything yet"
        chart.changed()
        if names:
            self._choose(names[0])
        self.tick()

    def on_screen_resume(self) -> None:
        """The screen is shown again: poll again."""
        if self._loaded and self._timer is None:
            self.tick()

    def tick(self) -> None:
        """Poll all runs once and schedule the next poll."""
        self.cancel_poll()
        if not self.is_mounted or self.app.screen is not self:
            return
        start = perf_counter()
        self._read()
        changed = False
        for log in self.logs:
            try:
                changed |= log.poll()
            except UserError:
                continue  # reported once, when the screen was opened
        if changed:
            self._take_new_points()
        self.pace.spend(perf_counter() - start)
        self.schedule_poll()  # closes the measurement, so the share is read after it
        self.show_cost()

    def _read(self) -> None:
        """Read records and names of the runs; redraw if one changed.

        A run that cannot be read keeps its column, so that columns and curves stay in step.
        """
        runs = []
        for folder in self.folders:
            try:
                runs.append(compare.compared_run(folder))
            except UserError as error:
                name = f"{folder.id} (unreadable)"
                runs.append(compare.ComparedRun(folder.id, "", name, "", {}, {}))
                if not self.runs:  # the first time only
                    self.say(str(error), severity="error")
        if runs == self.runs:
            return
        self.runs = runs
        entries = [row.entry for row in self.session.runs.rows.values()]
        self.found = compare.side_by_side(runs, entries)
        self.top.set(f"{len(runs)} runs")
        self._show_tables()
        self._show_curves()

    def _metrics(self) -> list[str]:
        """The metrics to step through, the most telling first."""
        return [*compare.offered([log.names() for log in self.logs]), *self.found.epochs]

    # ---------------------------------------------------------------------------- curves

    def _take_new_points(self) -> None:
        """Append what the logs have read; the first metric of all is shown as it comes."""
        if self.metric:
            self._update()
        elif names := self._metrics():
            self._choose(names[0])

    def _choose(self, metric: str) -> None:
        """Show another metric; its points are read anew from the logs in memory."""
        self.metric = metric
        self.series = [CurvePoints() for _ in self.logs]
        self._update()
        self._show_curves()
        chart = self.query_one(Chart)
        chart.view.per_epoch = chart.per_epoch
        chart.changed()

    def _update(self) -> None:
        """Append what is new in the logs to the curves."""
        over_epochs = self.found.epochs.get(self.metric)
        for folder, log, series in zip(self.folders, self.logs, self.series, strict=True):
            if over_epochs is None:
                series.update(*log.series(self.metric))
            elif folder.id in over_epochs:
                points = over_epochs[folder.id].points
                series.update([p.step for p in points], [p.top1 for p in points])
        self.query_one(Chart).changed()

    def _show_curves(self) -> None:
        if not self.series or not self.runs:
            return
        chart = self.query_one(Chart)
        over_epochs = self.metric in self.found.epochs
        lengths = {run.steps_per_epoch for run in self.runs if run.steps_per_epoch}
        # Where epochs have other steps in each run, steps alone can be laid over each other.
        chart.per_epoch = lengths.pop() if over_epochs and len(lengths) == 1 else 0
        chart.title = ("probes: " if over_epochs else "") + fmt.clean(self.metric)
        chart.unit = " %" if over_epochs else f" {metric(self.metric).unit}".rstrip()
        marks = ASCII_MARKS if self.session.ascii else MARKS
        chart.show_curves(
            [
                Curve(
                    f"{fmt.clean(run.name)}  ({run.id})",
                    series,
                    marks[i % len(marks)],
                    dense=not over_epochs and metric(self.metric).dense,
                )
                for i, (run, series) in enumerate(zip(self.runs, self.series, strict=True))
            ]
        )

    def action_metric(self, direction: int) -> None:
        """Show the curves of another metric."""
        names = self._metrics()
        if names:
            at = names.index(self.metric) if self.metric in names else 0
            self._choose(names[(at + direction) % len(names)])

    # ---------------------------------------------------------------------------- tables

    def _show_tables(self) -> None:
        found = self.found
        marks = ASCII_MARKS if self.session.ascii else MARKS
        self.query_one("#metrics", MadePanel).show_made(
            lambda width: metric_lines(found, width, marks)
        )
        self.query_one("#settings", MadePanel).show_made(
            lambda width: setting_lines(found, width, marks)
        )

    # ---------------------------------------------------------------------------- export

    def action_compare(self) -> None:
        """Ask which runs to compare instead."""
        ask_to_compare(self, [folder.id for folder in self.folders])

    def action_probe(self) -> None:
        """Configure a probe of the first run, or of another that the form offers."""
        probe(self, self.folders[0].id)

    def action_export(self) -> None:
        """Write the comparison to a file."""
        name = "compare-" + "-".join(run.id for run in self.runs[:3]) + ".csv"
        makers = {
            ".csv": lambda: comparison_export.to_csv(self.found),
            ".json": lambda: comparison_export.to_json(self.found),
        }
        ask_and_write(self, "Write the comparison to (.csv or .json)", name, makers)
