"""One run, live: curves, tables, progress, device, log; pause, stop, checkpoint, resume."""

from __future__ import annotations

import asyncio
from time import perf_counter

from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container
from textual.widgets import Static

from engine.errors import UserError
from engine.machine.load_reader import LoadReader
from engine.runs import MetricLog, RunFolder
from engine.runs.device_log import DeviceLog
from engine.runs.encoder_look import LookRequest
from moco_tui.charts.curve_points import MOST_POINTS
from moco_tui.charts.drawing import Level
from moco_tui.present import curves, fmt
from moco_tui.present.device_charts import device_charts
from moco_tui.present.device_load import (
    MACHINE_NOW,
    NOTHING_RECORDED,
    NOTHING_YET,
    device_lines,
    recorded_lines,
)
from moco_tui.present.diagnoses import Finding, diagnose, evidence_stamp, short_lines
from moco_tui.present.epoch_curve_table import curves_of
from moco_tui.present.epoch_table import epoch_lines, epoch_stamp
from moco_tui.present.lines import Line
from moco_tui.present.pace import run_pace
from moco_tui.present.probe_offer import why_no_probe
from moco_tui.present.probe_table import probe_lines
from moco_tui.present.run_progress import header_facts, progress_line, rates_line
from moco_tui.present.run_rows import LIVE
from moco_tui.screens.messages import OpenForm, OpenLook
from moco_tui.screens.next_steps import ask_to_compare
from moco_tui.screens.shared_keys import COMPARE, NEW
from moco_tui.screens.watch_screen import WatchScreen
from moco_tui.session import Session
from moco_tui.widgets.chart import Chart
from moco_tui.widgets.device_panel import DevicePanel
from moco_tui.widgets.measures_panel import MeasuresPanel
from moco_tui.widgets.panel import Panel
from moco_tui.widgets.run_chart import Points, RunChart
from moco_tui.widgets.text_panel import TextPanel

PANELS = {
    "loss": "loss",
    "accuracy": "accuracy",
    "epochs": "epochs",
    "device": "device",
    "log": "log",
    "measures": "measures",
    "load": "load",
}
"""Names and ids of the panels of a pretraining, in the order of their keys, 1 to 7. On a narrow
screen the first is always shown, with one of the others below it."""
PROBE_PANELS = {
    "table": "rows",
    "accuracy": "accuracy",
    "loss": "loss",
    "device": "device",
    "log": "log",
    "load": "load",
}
"""The same of a probe, which is first of all a table."""


class MonitorScreen(WatchScreen):
    """Shows a pretraining or a probe, read from its folder, whichever process trains it."""

    TITLE_TEXT = "Monitor"
    HELP = """The curves of one run and what it is doing. A state changes here when the trainer has
acknowledged it. Tab moves between the panels; 1 to 7 lead to one of them; the chart in focus zooms,
pans and reads values. On a wide screen the load over the run takes the place of all others, and
gives it back with the same key."""
    BINDINGS = [
        NEW,
        Binding("P", "probe", "Probe"),
        COMPARE,
        Binding("x", "export", "Export", show=False),
        Binding("L", "look", "Look at encoders", show=False),
        Binding("1", "panel(1)", "Loss; of a probe its table", show=False),
        Binding("2", "panel(2)", "Accuracy", show=False),
        Binding("3", "panel(3)", "Epochs; of a probe its loss", show=False),
        Binding("4", "panel(4)", "Device", show=False),
        Binding("5", "panel(5)", "Log", show=False),
        Binding("6", "panel(6)", "Measures, and what they mean; of a probe its load", show=False),
        Binding("7", "panel(7)", "Load of CPU and card over the run", show=False),
    ]

    def __init__(self, session: Session, folder: RunFolder) -> None:
        super().__init__(session, folder)
        self.log_reader = MetricLog(folder.metrics_path, most=MOST_POINTS)
        self.loaded = False
        self._epochs_stamp: tuple[object, ...] = ()
        self.devices = DeviceLog(folder.devices_path)
        self._load_reader: LoadReader | None = None
        self._load_stamp: tuple[object, ...] = ()
        self._notice = ""  # what was said of the metric log
        self._findings: list[Finding] = []
        self._evidence_stamp: tuple[object, ...] = ()
        self._warning = ""  # as it is shown

    def content(self) -> ComposeResult:
        """Progress and panels."""
        yield Static("", id="progress", markup=False)
        yield Static("", id="failure", markup=False)
        yield Static("", id="warning", markup=False)
        with Container(id="panels"):
            yield RunChart("loss", window=15, id="loss")
            yield TextPanel("accuracy by encoder", id="rows")
            yield Static("", id="tabs", markup=False)
            yield TextPanel("epochs", id="epochs", classes="lower")
            yield TextPanel("device", id="device", classes="lower")
            yield RunChart("accuracy", id="accuracy", classes="lower", unit=" %")
            yield MeasuresPanel(id="measures", classes="lower")
            yield TextPanel("log", follow=True, wrap=True, id="log", classes="lower")
            yield DevicePanel(id="load", classes="lower")

    # ---------------------------------------------------------------------------- life

    def on_mount(self) -> None:
        """Read the metric log in a thread: a long one would block the keys."""
        self.query_one("#loss", Chart).empty = "reading ..."
        self.query_one("#accuracy", Chart).empty = "no accuracy measured yet"
        self.read_record()
        if self._panels is PROBE_PANELS:
            # Below the table, and in a grid of two columns, which is filled row by row, behind what
            # stands at its right.
            loss = self.query_one("#loss")
            loss.add_class("lower")
            self.query_one("#panels").move_child(loss, after=self.query_one("#accuracy"))
        self._show_tab(1 if self._panels is PROBE_PANELS else 2)
        self.query_one(f"#{next(iter(self._panels.values()))}").focus()
        self.run_worker(self._load(), group="load")

    async def _load(self) -> None:
        try:
            await asyncio.to_thread(self.log_reader.poll)
        except UserError as error:
            if self.is_open:
                self.report(str(error))
        if not self.is_open:
            return
        self.loaded = True
        self.query_one("#loss", Chart).empty = "no values yet"
        self.query_one("#loss", Chart).changed()  # else a chart without data keeps its old words
        # It imports psutil and loads the card's driver.
        self._load_reader = await asyncio.to_thread(LoadReader)
        await asyncio.to_thread(self._poll_devices)
        if not self.is_open:
            return
        self._take_curves()
        self.tick()
        await self._read_probes()

    async def _read_probes(self) -> None:
        """Read which probes there are: the table of runs does not while it is hidden."""
        if await asyncio.to_thread(self.session.runs.refresh) and self.is_open:
            self._take_curves()

    def on_screen_resume(self) -> None:
        """The screen is shown again: poll again. The first poll is left to ``_load``."""
        if self.loaded and self._timer is None:
            self.tick()
            self.run_worker(self._read_probes(), group="probes")

    def tick(self) -> None:
        """Poll the run once and schedule the next poll."""
        self.cancel_poll()  # a request calls this ahead of the timer: there must be one chain
        if not self.is_mounted or not self.loaded or self.app.screen is not self:
            return  # on_screen_resume begins again
        start = perf_counter()
        self.read_record()
        try:
            if self.log_reader.poll():
                self._take_curves()
        except UserError as error:
            self.report(str(error))
        self.show_log()
        self._show_devices(self._poll_devices())
        self._show_measures()
        self._show_progress()
        self.pace.spend(perf_counter() - start)
        self.schedule_poll()

    # ---------------------------------------------------------------------------- looking

    def show_record(self) -> None:
        """The top line, and the table of a probe."""
        super().show_record()
        record = self.record
        if record is None:
            return
        chart = self.query_one("#loss", Chart)
        chart.per_epoch = self.query_one("#accuracy", Chart).per_epoch = record.steps_per_epoch
        self.set_class(record.kind == "probe", "-probe")
        if record.kind == "probe":
            self.query_one("#rows", TextPanel).show(probe_lines(record, record.config))
        if why_no_probe(record):
            accuracy = self.query_one("#accuracy", Chart)
            accuracy.empty = "the images have no classes: no accuracy, and no probe"
        failure = fmt.clean(record.error) if self.status == "failed" else ""
        self.query_one("#failure", Static).update(failure)
        self.query_one("#failure").display = bool(failure)

    def _show_progress(self) -> None:
        record = self.record
        if record is None:
            return
        bar = self.query_one("#progress", Static)
        pace = run_pace(record, self.status, self.log_reader)
        width = max(bar.content_size.width, 20)
        ascii_only = self.session.ascii
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(progress_line(record, self.status, width, ascii_only=ascii_only))
        text.append("\n")
        text.append(rates_line(record, pace, self.session.clock()), style="dim")
        bar.update(text)
        self.top.set(facts=header_facts(record, self.status, pace))
        self.show_cost()

    def _take_curves(self) -> None:
        """Bring the curves up to date with the metric log."""
        log = self.log_reader
        if log.notice != self._notice:
            self._notice = log.notice
            if self._notice:
                self.say(self._notice, severity="warning")
        loss = self.query_one("#loss", RunChart)
        accuracy = self.query_one("#accuracy", RunChart)
        probe = self.record is not None and self.record.kind == "probe"
        chance = self.record.chance if self.record is not None else 0.0
        losses, accuracies = curves.losses(log), curves.accuracies(log)
        # Of a probe the table shows the results; charts are added where there is a curve to see.
        if probe:
            self.set_class(any(len(log.series(name)[0]) > 5 for name in losses), "-curves")
            accuracies = [name for name in accuracies if len(log.series(name)[0]) > 1]
            self.set_class(bool(accuracies), "-accuracies")
        levels = [Level(chance, f"chance {chance:.2f}")] if chance else []
        loss.take(log, losses, curves.loss_title(losses), levels)
        more = {} if probe else self._probe_curves()
        accuracy.take(log, accuracies, curves.accuracy_title([*accuracies, *more]), more=more)
        self._show_measures()
        per_epoch = self.record.steps_per_epoch if self.record is not None else 0
        stamp = epoch_stamp(log, per_epoch)
        if stamp != self._epochs_stamp:  # a long run has many rows to build
            self._epochs_stamp = stamp
            self.query_one("#epochs", TextPanel).show(epoch_lines(log, per_epoch))

    def _probe_curves(self) -> dict[str, Points]:
        """The probes of several checkpoints of this run, over the steps behind their encoders."""
        if self.record is None:
            return {}
        rows = self.session.runs.rows.values()
        entries = [row.entry for row in rows if row.parent == self.record.id]
        return {
            f"probes: {fmt.clean(curve.name)}": (
                [point.step for point in curve.points],
                [point.top1 for point in curve.points],
            )
            for curve in curves_of(entries, self.record)
        }

    def _show_measures(self) -> None:
        """The measures, and over the panels what they mean; nothing where nothing is wrong."""
        record, log = self.record, self.log_reader
        if record is None:
            return
        stamp = evidence_stamp(log, record)
        if stamp != self._evidence_stamp:
            self._evidence_stamp = stamp
            self._findings = diagnose(log, record)
        panel = self.query_one("#measures", MeasuresPanel)
        panel.take(log, self._findings, live=self.status in LIVE)
        if panel.has_measures and not self.has_class("-measures"):
            self.set_class(True, "-measures")
            # A grid of two columns is filled row by row: what stands at the left comes first.
            accuracy, device = self.query_one("#accuracy"), self.query_one("#device")
            self.query_one("#panels").move_child(accuracy, before=device)
        text = "\n".join(short_lines(self._findings, max(self.size.width - 2, 20)))
        if text != self._warning:
            self._warning = text
            warning = self.query_one("#warning", Static)
            warning.display = bool(text)
            warning.update(text)

    def _poll_devices(self) -> str:
        """Read what is new of the history of the devices; returns why it cannot be read."""
        try:
            self.devices.poll()
        except UserError as error:
            return str(error)
        return ""

    def _show_devices(self, problem: str) -> None:
        """The machine as it is now, or was when it was recorded, and over the run."""
        if self.query_one("#device").display:
            self.query_one("#device", TextPanel).show(self._device_lines(problem))
        log, panel = self.devices, self.query_one("#load", DevicePanel)
        note = problem or log.notice or self._no_load
        stamp = (note, len(log.seconds), log.seconds[-1:])
        if panel.display and stamp != self._load_stamp:  # a long run has many points
            self._load_stamp = stamp
            panel.take(device_charts(log), note)

    def _device_lines(self, problem: str) -> list[Line]:
        """What this process trains is read now, anything else as its own process recorded it."""
        if self.session.runner.active == self.folder:
            return self._lines_now()
        if problem or self.devices.is_empty:
            why = [(fmt.clean(problem), "bad")] if problem else [(self._no_load, "muted")]
            return [why, [(MACHINE_NOW, "muted")], *self._lines_now()]
        return recorded_lines(self.devices, self.session.clock(), ascii_only=self.session.ascii)

    def _lines_now(self) -> list[Line]:
        if self._load_reader is None:  # it is still being made
            return []
        return device_lines(self._load_reader.read(), ascii_only=self.session.ascii)

    @property
    def _no_load(self) -> str:
        """What is said where the history is empty."""
        return NOTHING_YET if self.status in ("queued", *LIVE) else NOTHING_RECORDED

    # ---------------------------------------------------------------------------- panels

    @property
    def _panels(self) -> dict[str, str]:
        """Names and ids of the panels, in the order of their keys."""
        return PROBE_PANELS if self.record is not None and self.record.kind == "probe" else PANELS

    def _show_tab(self, chosen: int) -> None:
        text = Text(no_wrap=True, overflow="crop")
        for number, (name, panel) in enumerate(self._panels.items(), 1):
            if number > 1:
                self.query_one(f"#{panel}").set_class(number == chosen, "-shown")
            self.query_one(f"#{panel}", Panel).key = str(number)
            click = Style(
                reverse=number == chosen or None, meta={"@click": f"screen.panel({number})"}
            )
            text.append(f" {number} {name} ", style=click)
        self.query_one("#tabs", Static).update(text)

    def action_panel(self, number: int) -> None:
        """Show and focus a panel; the first is there always."""
        name, panel = list(self._panels.items())[number - 1]
        if not self.has_class("-wide"):
            self._show_tab(number)
            self._show_devices(self._poll_devices())
        elif panel == "load" or self.has_class("-load"):
            self.set_class(panel == "load" and not self.has_class("-load"), "-load")
            self._show_devices(self._poll_devices())
        elif not self.query_one(f"#{panel}").display:
            self.say(f"There is nothing to see yet in the panel {name}.")
        self.query_one(f"#{panel}").focus()

    # ---------------------------------------------------------------------------- requests

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide the keys that make no sense in the state of the run."""
        if action == "panel" and parameters:
            return parameters[0] in range(1, len(self._panels) + 1)
        if action == "probe":
            record = self.record
            if record is None or record.kind != "pretrain" or self.status == "gone":
                return False
            return not why_no_probe(record)
        if action in ("compare", "export"):
            return self.record is not None
        if action == "look":
            return self.record is not None and self.record.kind in ("pretrain", "probe")
        return super().check_action(action, parameters)

    def action_look(self) -> None:
        """Look at what the encoder of this run makes of images."""
        self.ask_app(OpenLook(LookRequest(encoders=((self.folder.id, ""),))))

    def action_compare(self) -> None:
        """Ask which runs to compare this one with."""
        ask_to_compare(self, [self.folder.id])

    def action_export(self) -> None:
        """Write the run to a new file."""
        from moco_tui.screens.run_export import export_run

        export_run(self, self.folder)

    def action_probe(self) -> None:
        """Configure a probe of this encoder."""
        if self.record is not None:
            self.ask_app(OpenForm(parent=self.record.id))
