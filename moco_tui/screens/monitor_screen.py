"""One run, live: charts, tables, progress, device, log; pause, stop, checkpoint, resume."""

from __future__ import annotations

import asyncio
from time import perf_counter

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Horizontal
from textual.widgets import Static

from engine.errors import UserError
from engine.machine.load_reader import LoadReader
from engine.runs import MetricLog, Record, RunFolder
from engine.runs.device_log import DeviceLog
from engine.runs.encoder_look import LookRequest
from moco_tui.charts.curve_points import MOST_POINTS
from moco_tui.present import fmt
from moco_tui.present.chart_choices import chart_choices, chosen_charts
from moco_tui.present.device_charts import chart_keys, device_charts
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
from moco_tui.present.probe_table import probe_lines, result_rows
from moco_tui.present.run_progress import header_facts, progress_line, rates_line
from moco_tui.present.run_rows import LIVE
from moco_tui.screens.chart_dialog import ChooseCharts
from moco_tui.screens.messages import OpenForm, OpenLook
from moco_tui.screens.monitor_panels import (
    PANEL_KEYS,
    WIDE,
    MonitorPanels,
    PanelEntry,
    charts_of_kind,
)
from moco_tui.screens.next_steps import compare_with_another
from moco_tui.screens.shared_keys import COMPARE, NEW
from moco_tui.screens.user_choices import keep_charts, wanted_charts
from moco_tui.screens.watch_screen import WatchScreen
from moco_tui.session import Session
from moco_tui.widgets.background_work import work_behind
from moco_tui.widgets.chart_grid import ChartGrid
from moco_tui.widgets.device_panel import DevicePanel
from moco_tui.widgets.log_panel import LogPanel
from moco_tui.widgets.made_panel import MadePanel
from moco_tui.widgets.measures_panel import MeasuresPanel
from moco_tui.widgets.probe_results import ProbeClasses, ProbeConfusions
from moco_tui.widgets.run_chart import Points
from moco_tui.widgets.shown_text import show_text
from moco_tui.widgets.text_panel import TextPanel


class MonitorScreen(MonitorPanels, WatchScreen):
    """Shows a pretraining or a probe, read from its folder, whichever process trains it."""

    TITLE_TEXT = "Monitor"
    HELP = """The charts of one run and what it is doing. A state changes here when the trainer has
acknowledged it. Tab moves between the panels, the key in a title leads to one of them; z or Enter
gives it the whole screen, and the same key or Escape gives that back. m chooses which metrics are
drawn, and in which order. Charts that count the same steps zoom, pan and read together."""
    BINDINGS = [
        NEW,
        Binding("P", "probe", "Probe"),
        COMPARE,
        Binding("x", "export", "Export", show=False),
        Binding("L", "look", "Look at encoders", show=False),
        Binding("m", "charts", "Metric"),
        Binding("z,enter", "enlarge", "Enlarge"),
        *PANEL_KEYS,
    ]

    def __init__(self, session: Session, folder: RunFolder) -> None:
        super().__init__(session, folder)
        self.log_reader = MetricLog(folder.metrics_path, most=MOST_POINTS)
        self.loaded = False
        self._epochs_stamp: tuple[object, ...] = ()
        self.devices = DeviceLog(folder.devices_path)
        self._load_reader: LoadReader | None = None
        self._load_stamp: tuple[object, ...] = ()
        self._choices_stamp: tuple[object, ...] = ()
        self._notice = ""  # what was said of the metric log
        self._findings: list[Finding] = []
        self._evidence_stamp: tuple[object, ...] = ()

    def content(self) -> ComposeResult:
        """Progress and panels."""
        yield Static("", id="progress", markup=False)
        yield Static("", id="failure", markup=False)
        yield Static("", id="warning", markup=False)
        with Container(id="panels"):
            yield MadePanel("accuracy by encoder", id="rows")
            with Horizontal(id="results"):
                yield ProbeClasses(id="classes")
                yield ProbeConfusions(id="confusion")
            yield ChartGrid(id="charts")
            with Horizontal(id="below"):
                yield TextPanel("epochs", id="epochs")
                yield TextPanel("device", id="device")
                yield LogPanel(self.folder.log_path, id="log")
            yield MeasuresPanel(id="measures")
            yield DevicePanel(id="load")
        yield Static("", id="tabs", markup=False)

    # ---------------------------------------------------------------------------- life

    def on_mount(self) -> None:
        """Read the metric log in a thread: a long one would block the keys."""
        self.read_record()
        self._take_curves()
        self.show_panel("1")
        work_behind(self, self._load, group="load")

    async def _load(self) -> None:
        try:
            await asyncio.to_thread(self.log_reader.poll)
        except UserError as error:
            if self.is_open:
                self.report(str(error))
        if not self.is_open:
            return
        self.loaded = True
        # It imports psutil and loads the card's driver.
        self._load_reader = await asyncio.to_thread(LoadReader)
        problem = await asyncio.to_thread(self._poll_devices)
        if not self.is_open:
            return
        self._take_curves()
        self._show_devices(problem)
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
            work_behind(self, self._read_probes, group="probes")

    def tick(self) -> None:
        """Poll the run once and schedule the next poll."""
        self.cancel_poll()  # a request calls this ahead of the timer: there must be one chain
        if not self.is_mounted or not self.loaded or self.app.screen is not self:
            return  # on_screen_resume begins again
        start = perf_counter()
        self.read_record()
        problem = self._poll_devices()
        try:
            if self.log_reader.poll():
                self._take_curves()
        except UserError as error:
            self.report(str(error))
        self.show_log()
        self._show_devices(problem)
        self._show_measures()
        self._show_progress()
        self.pace.spend(perf_counter() - start)
        self.schedule_poll()

    # ---------------------------------------------------------------------------- looking

    @property
    def is_probe(self) -> bool:
        """Whether the run is a probe; not so while its record cannot be read."""
        return self.record is not None and self.record.kind == "probe"

    def show_record(self) -> None:
        """The top line, and the table of a probe."""
        super().show_record()
        record = self.record
        if record is None:
            return
        self.set_class(self.is_probe, "-probe")
        if self.is_probe:
            self._show_result(record)
        failure = fmt.clean(record.error) if self.status == "failed" else ""
        show_text(self.query_one("#failure", Static), failure)
        self.query_one("#failure").display = bool(failure)

    def _show_result(self, record: Record) -> None:
        """The table of a probe, its classes and its confusions."""
        rows = result_rows(record.result)
        table = self.query_one("#rows", MadePanel)
        beside = self.app.size.width >= WIDE  # the classes have a panel of their own
        table.show_made(lambda width: probe_lines(record, record.config, width, classes=not beside))
        classes = self.query_one("#classes", ProbeClasses)
        confusions = self.query_one("#confusion", ProbeConfusions)
        classes.take(rows)
        confusions.take(rows)
        there = classes.has_any, confusions.has_any
        # Of its own lines alone: what is below has the rest. Alone it has the whole room.
        rest = table.gutter.height if self.is_seen(classes) else None
        lines = probe_lines(record, record.config, self.size.width - 4, classes=False)
        table.styles.height = None if rest is None else len(lines) + rest
        if there != (self.has_class("-classes"), self.has_class("-confusions")):
            self.set_class(there[0], "-classes")
            self.set_class(there[1], "-confusions")
            self.show_panels()

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
        show_text(bar, text)
        self.top.set(facts=header_facts(record, self.status, pace))
        self.show_cost()

    def _take_curves(self) -> None:
        """Bring the charts up to date with the metric log."""
        log = self.log_reader
        if log.notice != self._notice:
            self._notice = log.notice
            if self._notice:
                self.say(self._notice, severity="warning")
        self._choose_charts()
        probes = {} if self.is_probe else self._probe_curves()
        reading = "no values yet" if self.loaded else "reading ..."
        self.query_one(ChartGrid).take(log, self.record, probes, reading)
        self._show_measures()
        per_epoch = self.record.steps_per_epoch if self.record is not None else 0
        stamp = epoch_stamp(log, per_epoch)
        if stamp != self._epochs_stamp:  # a long run has many rows to build
            self._epochs_stamp = stamp
            self.query_one("#epochs", TextPanel).show(epoch_lines(log, per_epoch))

    def _choose_charts(self) -> None:
        """Draw the charts that the person wants, of those that the run has something for."""
        kind, first, most = charts_of_kind(self.is_probe)
        wanted = wanted_charts(self.session, kind)
        log, devices = self.log_reader, chart_keys(self.devices)
        # Of a probe how many points there are decides; of others the names alone.
        counts = [len(log.series(name)[0]) for name in log.names()] if self.is_probe else []
        stamp = (kind, *wanted, "", *log.names(), *counts, "", *devices)
        if stamp == self._choices_stamp:
            return
        self._choices_stamp = stamp
        charts = chosen_charts(chart_choices(log, devices, probe=self.is_probe), wanted)[:most]
        self.set_class(bool(charts), "-charts")
        self.set_class(len(charts) > 3, "-two-rows")
        if self.query_one(ChartGrid).choose(charts, first):
            self.show_panels()

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
        if self.is_seen(panel):
            panel.take(log, self._findings, live=self.status in LIVE)
        text = "\n".join(short_lines(self._findings, max(self.size.width - 2, 20)))
        warning = self.query_one("#warning", Static)
        warning.display = bool(text)
        show_text(warning, text)

    def _poll_devices(self) -> str:
        """Read what is new of the history of the devices; returns why it cannot be read."""
        try:
            self.devices.poll()
        except UserError as error:
            return str(error)
        return ""

    def _show_devices(self, problem: str) -> None:
        """The machine as it is now, or was when it was recorded, and over the run."""
        self._choose_charts()
        self.query_one(ChartGrid).take_devices(self.devices)
        device = self.query_one("#device", TextPanel)
        if self.is_seen(device):
            device.show(self._device_lines(problem))
        log, panel = self.devices, self.query_one("#load", DevicePanel)
        note = problem or log.notice or self._no_load
        stamp = (note, len(log.seconds), log.seconds[-1:])
        if self.is_seen(panel) and stamp != self._load_stamp:  # a long run has many points
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

    def panels(self) -> dict[str, PanelEntry]:
        """The panels by the keys that lead to them."""
        return self.panels_of(probe=self.is_probe)

    def fill_panels(self) -> None:
        """Bring what has come to be seen up to date."""
        if self.is_probe and self.record is not None:
            self._show_result(self.record)
        self._show_measures()
        self._show_devices(self._poll_devices())

    def action_charts(self) -> None:
        """Choose which metrics are drawn, and in which order."""
        kind, _, most = charts_of_kind(self.is_probe)
        choices = chart_choices(self.log_reader, chart_keys(self.devices), probe=self.is_probe)

        def draw(keys: list[str] | None) -> None:
            if keys is not None and self.is_open:
                keep_charts(self.session, kind, keys, self.say)
                self._take_curves()
                self._show_devices(self._poll_devices())

        chosen = list(self.query_one(ChartGrid).charts)
        self.app.push_screen(ChooseCharts(choices, chosen, most), draw)

    # ---------------------------------------------------------------------------- requests

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide the keys that make no sense in the state of the run."""
        if action == "panel" and parameters:
            return parameters[0] in self.panels()
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
        compare_with_another(self, self.folder.id)

    def action_export(self) -> None:
        """Write the run to a new file."""
        from moco_tui.screens.run_export import export_run

        export_run(self, self.folder)

    def action_probe(self) -> None:
        """Configure a probe of this encoder."""
        if self.record is not None:
            self.ask_app(OpenForm(parent=self.record.id))
