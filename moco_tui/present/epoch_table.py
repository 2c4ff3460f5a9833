"""The table of epochs: what was measured at the end of each, the newest first."""

from __future__ import annotations

from bisect import bisect_right

from engine.config.metrics import METRICS, Metric
from engine.runs import MetricLog
from moco_tui.present import fmt
from moco_tui.present.lines import Line
from moco_tui.present.metric_text import value_text

EPOCH_END = "train/epoch_loss"
"""The metric that is written when an epoch has ended: a line of the table for each value."""


def _columns() -> list[Metric]:
    """The metrics of the table: what was measured, then what was set, such as the rate."""
    return sorted((m for m in METRICS.values() if m.column), key=lambda m: not m.direction)


def _width(column: Metric) -> int:
    return 7 if column.unit else 8


def epoch_lines(log: MetricLog, per_epoch: int, most: int = 2000) -> list[Line]:
    """The last epochs, newest first: each metric that has a column, and how long the epoch took.

    A metric that the run has not measured has no column.

    Args:
        log: read as far as it goes.
        per_epoch: steps of an epoch; 0: lines are counted by steps.
        most: lines.
    """
    steps, times = log.series(EPOCH_END)[0], log.times(EPOCH_END)
    if not steps:
        return [[("a line appears at the end of each epoch", "muted")]]
    columns = [column for column in _columns() if log.series(column.name)[0]]
    heads = " ".join(f"{column.column:>{_width(column)}}" for column in columns)
    lines: list[Line] = [[(f"{'epoch':>6} {heads} {'time':>8}", "muted")]]
    for i in range(len(steps) - 1, max(len(steps) - 1 - most, -1), -1):
        before, end = steps[i - 1] if i else 0, steps[i]
        epoch = f"{end / per_epoch:.0f}" if per_epoch else str(end)
        seconds = times[i] - times[i - 1] - log.idle_seconds(before, end) if i else 0.0
        took = fmt.duration(seconds) if seconds > 0 else ""
        cells = " ".join(f"{_within(log, c.name, before, end):>{_width(c)}}" for c in columns)
        lines.append([(f"{epoch:>6} {cells} {took:>8}", "")])
    return lines


def _within(log: MetricLog, name: str, before: int, end: int) -> str:
    """The newest value of a metric after one step and up to another."""
    steps, values = log.series(name)
    at = bisect_right(steps, end) - 1
    # Of a long run not every step is kept: the newest that is there may be of an earlier epoch.
    return value_text(name, values[at]) if at >= 0 and steps[at] > before else ""


def epoch_stamp(log: MetricLog, per_epoch: int) -> tuple[object, ...]:
    """Changes whenever the table does, and not with every step.

    So the monitor makes the lines anew once an epoch, and not whenever it looks at the log.
    """
    ends = log.series(EPOCH_END)[0]
    if not ends:
        return (per_epoch,)
    parts: list[object] = [per_epoch, len(ends)]
    # A value of the last epoch may come after its end has been logged, as that of kNN does.
    for column in _columns():
        steps, values = log.series(column.name)
        count = bisect_right(steps, ends[-1])
        parts += [count, value_text(column.name, values[count - 1]) if count else ""]
    return tuple(parts)
