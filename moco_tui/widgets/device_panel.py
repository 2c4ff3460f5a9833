"""The panel of what the machine was doing while a run was trained: small charts over its time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

from textual import events
from textual.containers import VerticalScroll
from textual.strip import Strip
from textual.widgets import Static

from moco_tui.charts.axes import step_limits
from moco_tui.charts.curve_points import CurvePoints
from moco_tui.charts.drawing import Curve
from moco_tui.present import fmt
from moco_tui.present.device_charts import MINUTES, DeviceChart
from moco_tui.widgets.chart import Chart
from moco_tui.widgets.panel import Panel
from moco_tui.widgets.shown_text import show_text

_LEAST_ROWS = 8  # of a chart: its title, its axis, and enough between them
_LEAST_CELLS = 36


class DeviceChartView(Chart):
    """Draws a chart of the devices; see ``DeviceChart``."""

    HELP_TITLE = "A chart of the devices"
    HELP = """CPU, memory or card over the time of the run: the whole, and the part of the run
itself, marked r. The title has the newest values. A pause of the run is a gap."""

    axis = "time"

    def __init__(self, chart: DeviceChart) -> None:
        super().__init__(chart.title)
        self._chart = chart
        self._points: dict[str, CurvePoints] = {}

    @classmethod
    def of(cls, title: str) -> Self:
        """A chart that has nothing to draw yet."""
        return cls(DeviceChart("", title, "", MINUTES, "", None, None, ()))

    def take(self, chart: DeviceChart) -> None:
        """Bring the chart up to date; nothing is drawn when nothing is new."""
        known = self._points
        if chart.unit != self._chart.unit:
            known.clear()
        changed = chart._replace(curves=()) != self._chart._replace(curves=())
        self._chart, self.title = chart, chart.title
        self.view.per_epoch = int(chart.time.seconds)
        both = chart.low is not None and chart.high is not None
        self.view.span = (chart.low or 0.0, chart.high or 0.0) if both else None
        for curve in chart.curves:
            points = known.setdefault(curve.name, CurvePoints())
            changed |= points.update(curve.seconds, curve.values)
        names = [curve.name for curve in chart.curves]
        if [curve.name for curve in self.curves] != names:
            self.show_curves(
                [
                    Curve(curve.name, known[curve.name], curve.label[:1] if at else "")
                    for at, curve in enumerate(chart.curves)
                ]
            )
        elif changed:
            self.changed()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There is nothing to count in steps or to smooth."""
        return action not in ("epochs", "smooth") and super().check_action(action, parameters)

    def legend(self, width: int, height: int) -> list[Strip]:
        """None: the title names the curves."""
        del width, height
        return []

    def readout(self) -> str:
        """The values at the cursor, or the newest ones, and how the curves are shown."""
        unit = self._chart.time
        how = []
        if self.view.low is not None:
            low, high = (unit.of(end) for end in step_limits(self.view, self.curves))
            how.append(f"zoom {fmt.number(low, 3)}–{fmt.number(high, 3)}")
        how += ["log"] * self.view.log
        if self.view.cursor is None:
            return " · ".join([self.summary or self._chart.present, *how, unit.name])
        parts = []
        for curve in self.curves:
            at = curve.series.nearest(self.view.cursor)
            if at is not None:
                value = f"{fmt.number(curve.series.raw.values[at], 3)} {self._chart.unit}"
                parts.append(f"{curve.mark} {value}".strip())
        where = f"{fmt.number(unit.of(self.view.cursor), 3)} {unit.name}  " + "  ".join(parts)
        return " · ".join([where, *how])


class DevicePanel(Panel, VerticalScroll, can_focus=True):
    """Small charts in two columns or more, as there is room, or why there are none."""

    HELP_TITLE = "The load over the run"
    HELP = """What CPU, memory and card were doing while the run was trained, recorded by the
process that trains it every few seconds (log.device_seconds). Tab leads from chart to chart, up and
down scroll."""

    DEFAULT_CSS = """
    DevicePanel { layout: grid; grid-size: 2; grid-gutter: 0 2; }
    DevicePanel > Static { column-span: 2; height: auto; color: $text-muted; }
    DevicePanel > DeviceChartView { border: none; border-top: round $frame; padding: 0; }
    DevicePanel > DeviceChartView:focus { border: none; border-top: round $focus; }
    """

    def __init__(self, id: str | None = None, classes: str | None = None) -> None:
        super().__init__("load over the run", id=id, classes=classes)
        self._views: dict[str, DeviceChartView] = {}
        self._why = Static("", markup=False)

    def on_mount(self) -> None:
        """Begin with the note alone."""
        self.mount(self._why)

    def take(self, charts: Sequence[DeviceChart], note: str) -> None:
        """Bring the charts up to date.

        Args:
            charts: of the run, read as far as its history goes.
            note: what is said where there are none.
        """
        show_text(self._why, fmt.clean(note))
        self._why.display = not charts
        wanted = {chart.key: chart for chart in charts}
        for key in self._views.keys() - wanted.keys():
            self._views.pop(key).remove()
        for key, chart in wanted.items():
            if key not in self._views:
                self._views[key] = DeviceChartView(chart)
                self.mount(self._views[key])
            self._views[key].take(chart)
        self._arrange()

    def focus(self, scroll_visible: bool = True) -> Self:
        """The first chart takes the focus: its title shows it."""
        first = next(iter(self._views.values()), None)
        if first is None:
            super().focus(scroll_visible)
        else:
            first.focus(scroll_visible)
        return self

    def on_resize(self, event: events.Resize) -> None:
        """Another size has room for other columns and rows."""
        del event
        self._arrange()

    def _arrange(self) -> None:
        if not self._views or not self.size.width:
            return
        columns = min(max(self.size.width // _LEAST_CELLS, 1), 3, len(self._views))
        rows = math.ceil(len(self._views) / columns)
        self.styles.grid_size_columns = columns
        self.styles.grid_rows = str(max(self.size.height // rows, _LEAST_ROWS))
