"""The charts of a run side by side: those that count the same steps are moved together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from textual import on
from textual.containers import Container
from textual.widget import Widget

from engine.runs import MetricLog, Record
from engine.runs.device_log import DeviceLog
from moco_tui.charts.axes import extent
from moco_tui.charts.drawing import Level
from moco_tui.present import curves
from moco_tui.present.chart_choices import ACCURACY, LOSS, ChartChoice, spans
from moco_tui.present.device_charts import device_charts, in_a_line
from moco_tui.present.probe_offer import why_no_probe
from moco_tui.present.queue_age import queue_words
from moco_tui.widgets.chart import Chart
from moco_tui.widgets.device_panel import DeviceChartView
from moco_tui.widgets.run_chart import Points, RunChart

LOSS_WINDOW = 15
"""Points that the line of the loss is the mean of at first."""
_NAMED = {LOSS, ACCURACY, "similarity", "rank", "queue"}
"""Keys that can be ids: those of metrics may hold any character."""


class ChartGrid(Container):
    """Up to six charts, three in a row.

    One that is not chosen any more is hidden and kept, with its zoom; what is hidden is neither
    brought up to date nor drawn.

    Attributes:
        charts: those that are chosen, in order, by key.
    """

    DEFAULT_CSS = """
    ChartGrid { layout: grid; grid-size: 12; grid-gutter: 0; grid-rows: 1fr; height: 1fr; }
    ChartGrid > .-off { display: none; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.charts: dict[str, Chart] = {}
        self._choices: list[ChartChoice] = []
        self._made: dict[str, Chart] = {}
        self._device_stamp: tuple[object, ...] = ()

    def choose(self, choices: Sequence[ChartChoice], first: int) -> bool:
        """Show these charts, in this order; True where they are others than before.

        Args:
            choices: what to draw.
            first: number of the key that leads to the first of them.
        """
        same = [choice.key for choice in choices] == list(self.charts)
        self._choices = list(choices)
        if same:
            return False
        self.charts = {choice.key: self._chart(choice) for choice in choices}
        order = list(self.charts.values())
        for chart in self._made.values():
            chart.set_class(chart not in order, "-off")
        places: dict[Widget, int] = {chart: place for place, chart in enumerate(order)}
        self.sort_children(key=lambda child: places.get(child, len(places)))
        for number, (chart, span) in enumerate(zip(order, spans(len(order)), strict=True)):
            chart.key = str(first + number)
            chart.styles.column_span = span
        self._device_stamp = ()
        return True

    def chosen(self) -> Iterator[tuple[ChartChoice, Chart]]:
        """The charts that are chosen, in order."""
        for choice in self._choices:
            yield choice, self.charts[choice.key]

    def _chart(self, choice: ChartChoice) -> Chart:
        """The chart of a choice, made when it is chosen for the first time."""
        known = self._made.get(choice.key)
        if known is not None:
            return known
        chart: Chart
        if choice.device:
            chart = DeviceChartView.of(choice.title)
        else:
            chart = RunChart(
                choice.title,
                window=LOSS_WINDOW if choice.key == LOSS else 1,
                unit=curves.unit_of(choice.names) if choice.key != ACCURACY else " %",
                id=choice.key if choice.key in _NAMED else None,
            )
            other = next((c for c in self._made.values() if c.axis == chart.axis), None)
            if other is not None:
                chart.follow(other)
        self._made[choice.key] = chart
        self.mount(chart)
        return chart

    def take(
        self, log: MetricLog, record: Record | None, probes: Mapping[str, Points], reading: str
    ) -> None:
        """Bring the charts of metrics up to date; nothing is drawn when nothing is new.

        Args:
            log: read as far as it goes.
            record: of the run; None while it cannot be read.
            probes: curves of its probes, beside those of its accuracies.
            reading: what is said in place of a loss that is not there; empty: that there is none.
        """
        for choice in self._choices:
            chart = self.charts[choice.key]
            if not isinstance(chart, RunChart):
                continue
            if record is not None:
                chart.per_epoch = record.steps_per_epoch
                chart.view.start = curves.first_step(record)
            words, levels, more, name = "", [], {}, choice.title
            if choice.key == LOSS:
                name = curves.loss_title(choice.names)
                if record is not None and record.chance:
                    levels = [Level(record.chance, f"chance {record.chance:.2f}")]
                words = reading
            elif choice.key == ACCURACY:
                more = dict(probes)
                name = curves.accuracy_title([*choice.names, *more])
                words = "no accuracy measured yet"
                if record is not None and why_no_probe(record):
                    words = "the images have no classes: no accuracy, and no probe"
            if words and words != chart.empty:
                chart.empty = words
                chart.changed()
            summary = "" if choice.key == LOSS else curves.summary(log, choice.names)
            if choice.key == "queue" and record is not None:
                summary = " · ".join(filter(None, [queue_words(record.config), summary]))
            chart.take(log, choice.names, name, levels, more=more, summary=summary)
        self._share_axis()

    def take_devices(self, log: DeviceLog) -> None:
        """Bring the charts of the devices up to date."""
        wanted = {choice.device: choice.key for choice in self._choices if choice.device}
        stamp = (len(log.seconds), log.seconds[-1:], tuple(wanted))
        if not wanted or stamp == self._device_stamp:  # a long run has many points
            return
        self._device_stamp = stamp
        for chart in device_charts(log, wanted):
            view = self.charts[wanted[chart.key]]
            assert isinstance(view, DeviceChartView)
            if chart.key.rpartition("/")[2] in ("use", "cpu"):
                view.summary = in_a_line(log, chart.key)
            view.take(chart)

    def _share_axis(self) -> None:
        """Have all charts that count steps span the same ones."""
        shown = [chart for chart in self.charts.values() if chart.axis == "steps"]
        ends = [found for chart in shown if (found := extent(chart.curves)) is not None]
        if ends:
            whole = min(low for low, _ in ends), max(high for _, high in ends)
            for chart in shown:
                chart.share_axis(whole)

    @on(Chart.Moved)
    def _moved(self, event: Chart.Moved) -> None:
        """The others that count the same steps show the same part, hidden ones too."""
        event.stop()
        for chart in self._made.values():
            if chart is not event.chart and chart.axis == event.chart.axis:
                chart.follow(event.chart)
