"""The panel of the measures that a pretraining takes of itself."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events

from engine.config.metrics import MEASURES
from engine.runs import MetricLog
from moco_tui.charts.spark import spark
from moco_tui.present import fmt
from moco_tui.present.diagnoses import Finding, wrapped
from moco_tui.present.lines import Line
from moco_tui.present.measure_rows import grouped, measure_row, measures_stamp
from moco_tui.session import draws_ascii
from moco_tui.widgets.text_panel import TextPanel

NONE_YET = (
    "No measures yet: they are taken at ends of epochs (monitor.measures, monitor.measure_every)."
)
NONE_EVER = "This run has no measures. They are taken from the next run on; monitor.measures."
_TITLE, _VALUE, _CHANGE = 38, 9, 10
_LEAST_SPARK, _MOST_SPARK = 4, 240


class MeasuresPanel(TextPanel):
    """Diagnoses in full, then each measure: newest value, change to the one before, curve."""

    HELP_TITLE = "The measures"
    HELP = """What a pretraining measures of itself beside its steps: the contrastive task, the
queue, both encoders and the embedding. Above them stands what they mean where something is wrong,
or not ready yet. Each has its newest value, the change to the one before, and its curve from step
0; what it says, and its source, stands behind the key i."""

    def __init__(self, id: str | None = None, classes: str | None = None) -> None:
        super().__init__("measures", id=id, classes=classes)
        self._log: MetricLog | None = None
        self._findings: Sequence[Finding] = ()
        self._live = True
        self._stamp: tuple[object, ...] = ()

    def take(self, log: MetricLog, findings: Sequence[Finding], *, live: bool) -> None:
        """Bring the panel up to date.

        Args:
            log: read as far as it goes.
            findings: what holds now, the most important first.
            live: whether measures may still come.
        """
        self._log, self._findings, self._live = log, findings, live
        self._build()

    def on_resize(self, event: events.Resize) -> None:
        """The lines are made for a width."""
        del event
        self._build()

    def _build(self) -> None:
        log, width = self._log, self.size.width
        if log is None or width < 1:
            return
        stamp = (width, self._live, *self._findings, *measures_stamp(log))
        if stamp == self._stamp:  # a long run has many points to draw
            return
        self._stamp = stamp
        ascii_only = draws_ascii(self)
        self.show(measure_lines(log, self._findings, width, ascii_only=ascii_only, live=self._live))


def measure_lines(
    log: MetricLog, findings: Sequence[Finding], width: int, *, ascii_only: bool, live: bool
) -> list[Line]:
    """What holds now in full, then every measure with its value, change and curve.

    Args:
        log: read as far as it goes.
        findings: the most important first.
        width: cells of a line.
        ascii_only: characters of ASCII alone.
        live: whether measures may still come.
    """
    lines: list[Line] = []
    advised = ""
    for finding in findings:
        # One cause of several faults is said once: there is little room.
        text = finding.seen if finding.advice == advised else finding.text
        first, *rest = wrapped(text, width - 2)
        lines.append([("! ", "bad"), (first, "strong")])
        lines += [[("  ", ""), (more, "strong")] for more in rest]
        advised = finding.advice
    groups = grouped(log.names())
    if not groups:
        return [
            *lines,
            *([(text, "muted")] for text in wrapped(NONE_YET if live else NONE_EVER, width)),
        ]
    title = max(min(_TITLE, width - _VALUE - 1), 0)
    room = min(width - title - _VALUE - _CHANGE - 4, _MOST_SPARK)
    steps = [log.series(name)[0] for name in MEASURES]
    end = max(of_name[-1] for of_name in steps if of_name)
    for group, names in groups.items():
        lines.append([(group, "strong")])
        for name in names:
            row = measure_row(log, name)
            parts = [
                (f"{fmt.fit(row.title, title)} {row.value:>{_VALUE}}", ""),
                (f" {row.change:>{_CHANGE}}", "muted"),
            ]
            if room >= _LEAST_SPARK:
                series = log.series(name)
                curve = spark(*series, room, end=end, ascii_only=ascii_only)
                parts.append((f"  {curve}", ""))
            lines.append(parts)
    return lines
