"""What the monitor says of a run in words and tables, from its record and metric log alone."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from engine.runs import MetricLog, Record
from moco_tui.present import fmt
from moco_tui.present.device_load import Load
from moco_tui.present.lines import Line

EPOCH_METRICS = ("train/epoch_loss", "knn/top1")
"""What makes a new line in the table of epochs, or changes one."""

RATE_WINDOW = 30.0
"""Seconds of the log over which the rate is measured."""


def rate(log: MetricLog, name: str = "train/loss") -> float | None:
    """Steps per second over the last half minute of the log; None when that cannot be said."""
    steps, times = log.series(name)[0], log.times(name)
    if len(steps) < 2:
        return None
    first = len(steps) - 2
    while first > 0 and times[-1] - times[first - 1] <= RATE_WINDOW:
        first = max(first - max((len(steps) - first) // 8, 1), 0)
    span = times[-1] - times[first]
    done = steps[-1] - steps[first]
    return done / span if span > 0 and done > 0 else None


def remaining(record: Record, per_second: float | None) -> float | None:
    """Seconds to the end of the run at this rate."""
    if not per_second or not record.total_steps:
        return None
    return max(record.total_steps - record.step, 0) / per_second


def progress_line(record: Record, status: str, width: int, *, ascii_only: bool) -> str:
    """A bar and where the run stands."""
    share = record.step / record.total_steps if record.total_steps else 0.0
    share = 1.0 if status == "finished" else min(max(share, 0.0), 1.0)
    parts = []
    if record.steps_per_epoch:
        total = record.total_steps / record.steps_per_epoch
        parts.append(f"epoch {record.epoch:.1f}/{total:g}")
    if record.total_steps:
        parts.append(f"step {fmt.count(record.step)}/{fmt.count(record.total_steps)}")
    if record.stage is not None and status in ("running", "paused"):
        stage = record.stage
        parts.append(f"{fmt.clean(stage['name'])} {stage['done']}/{stage['total']}")
    text = "  ".join(parts)
    cells = max(min(width - len(text) - 9, 60), 0)
    full = round(share * cells)
    on, off = ("#", ".") if ascii_only else ("━", "─")
    bar = on * full + off * (cells - full)
    return f"{bar} {100 * share:3.0f} %  {text}"


def rates_line(record: Record, status: str, per_second: float | None, now: float) -> str:
    """Rate, time left, learning rate, device."""
    parts = []
    if status in ("running", "paused") and per_second:
        if record.pairs_per_step:
            parts.append(f"{fmt.count(per_second * record.pairs_per_step)} pairs/s")
        else:
            parts.append(f"{fmt.number(per_second, 3)} steps/s")
        if status == "running":
            parts.append(f"ETA {fmt.duration(remaining(record, per_second))}")
    elif record.ended and record.started:
        parts.append(f"took {fmt.duration(record.ended - record.started)}")
    if "train/lr" in record.last:
        parts.append(f"lr {fmt.number(record.last['train/lr'], 3)}")
    if record.checkpoint_time:
        ago = fmt.age(now - record.checkpoint_time)
        parts.append(f"checkpoint {ago if ago == 'now' else ago + ' ago'}")
    if record.device:
        parts.append(fmt.clean(record.device))
    if record.host:
        parts.append(f"on {fmt.clean(record.host)}")
    return "  ".join(parts)


def epoch_lines(log: MetricLog, per_epoch: int, most: int = 2000) -> list[Line]:
    """The last epochs, newest first: loss, kNN, learning rate, seconds."""
    steps, losses = log.series("train/epoch_loss")
    times = log.times("train/epoch_loss")
    if not steps:
        return [[("a line appears at the end of each epoch", "muted")]]
    lr_steps, lrs = log.series("train/lr")
    knn = dict(zip(*log.series("knn/top1"), strict=True))
    lines: list[Line] = [[(f"{'epoch':>6} {'loss':>8} {'kNN':>7} {'lr':>8} {'time':>8}", "muted")]]
    for i in range(len(steps) - 1, max(len(steps) - 1 - most, -1), -1):
        step = steps[i]
        epoch = f"{step / per_epoch:.0f}" if per_epoch else str(step)
        seconds = fmt.duration(times[i] - times[i - 1]) if i and times[i] > times[i - 1] else ""
        top1 = fmt.accuracy(knn[step]) if step in knn else ""
        at = bisect_right(lr_steps, step) - 1  # of a long run not every step is kept
        lr = fmt.number(lrs[at], 3) if at >= 0 and (not i or lr_steps[at] > steps[i - 1]) else ""
        lines.append(
            [(f"{epoch:>6} {fmt.number(losses[i]):>8} {top1:>7} {lr:>8} {seconds:>8}", "")]
        )
    return lines


def _gauge(share: float | None, cells: int, ascii_only: bool) -> str:
    if share is None:
        return " " * cells
    full = round(min(max(share, 0.0), 1.0) * cells)
    on, off = ("#", ".") if ascii_only else ("━", "─")
    return on * full + off * (cells - full)


def device_lines(load: Load, *, ascii_only: bool) -> list[Line]:
    """The load of this machine."""

    def line(name: str, share: float | None, text: str) -> Line:
        return [
            (f"{name:<7}", "muted"),
            (_gauge(share, 12, ascii_only), "good" if (share or 0) < 0.9 else "bad"),
            (f"  {text}", ""),
        ]

    lines: list[Line] = []
    if load.cpu is not None:
        lines.append(line("CPU", load.cpu, f"{fmt.percent(load.cpu, 0)} of {load.cores} cores"))
    if load.used is not None and load.total:
        lines.append(
            line(
                "memory", load.used / load.total, f"{fmt.size(load.used)} of {fmt.size(load.total)}"
            )
        )
    if load.process is not None:
        lines.append([(f"{'app':<7}", "muted"), (f"{fmt.size(load.process)} resident", "")])
    for card in load.cards:
        lines.append([(fmt.clean(card.name), "strong")])
        lines.append(line("GPU", card.load, fmt.percent(card.load, 0)))
        if card.used is not None and card.total:
            text = f"{fmt.size(card.used)} of {fmt.size(card.total)}"
            lines.append(line("memory", card.used / card.total, text))
        watts = "–" if card.watts is None else f"{card.watts:.0f} W"
        heat = "–" if card.celsius is None else f"{card.celsius:.0f} °C"
        lines.append([(f"{'power':<7}", "muted"), (f"{watts}  {heat}", "")])
    if not load.cards:
        lines.append([("no NVIDIA card", "muted")])
    return lines or [[("nothing can be read here", "muted")]]


def probe_lines(record: Record, config: Mapping[str, Any]) -> list[Line]:
    """The accuracy table of a probe and its accuracy for each class."""
    rows = record.result.get("rows")
    fraction = config.get("label_fraction")
    task = config.get("task", {}).get("name", "")
    head = (
        f"{task} classes, {fmt.percent(fraction, 0)} of the labels, {config.get('head', '')} head"
    )
    lines: list[Line] = [[(fmt.clean(head), "muted")]]
    if not isinstance(rows, list) or not rows:
        waiting = "the table fills in as each row is measured"
        return [*lines, [(waiting if not record.ended else "no result", "muted")]]
    lines.append([("", "")])
    lines.append(
        [
            (
                f"{'encoder':<16}{'top-1':>8}  {'95 % interval':<17}{'balanced':>9}{'majority':>9}",
                "muted",
            )
        ]
    )
    best = max((_value(row.get("top1")) or 0.0 for row in rows if isinstance(row, dict)), default=0)
    for row in rows:
        if not isinstance(row, dict):
            continue
        top1 = _value(row.get("top1"))
        low, high = _value(row.get("low")), _value(row.get("high"))
        interval = (
            "" if low is None or high is None else f"{fmt.accuracy(low)} – {fmt.accuracy(high)}"
        )
        majority = _value(row.get("majority"))
        lines.append(
            [
                (
                    f"{fmt.fit(fmt.clean(str(row.get('source', '?'))), 16)}{fmt.accuracy(top1):>8}",
                    "strong" if top1 is not None and top1 >= best else "",
                ),
                (f"  {interval:<17}", "muted"),
                (f"{fmt.accuracy(_value(row.get('balanced'))):>9}", ""),
                (f"{fmt.accuracy(majority) if majority is not None else '':>9}", "muted"),
            ]
        )
    return [*lines, *_class_lines(rows)]


def _class_lines(rows: Sequence[Any]) -> list[Line]:
    """Accuracy for each class, one column a source."""
    tables = [
        (str(row.get("source", "?")), row["per_class"])
        for row in rows
        if isinstance(row, dict) and isinstance(row.get("per_class"), dict) and row["per_class"]
    ]
    if not tables:
        return []
    names = list(tables[0][1])
    head = f"{'class':<16}" + "".join(f"{fmt.fit(source, 12, right=True)}" for source, _ in tables)
    lines: list[Line] = [[("", "")], [(head, "muted")]]
    for name in names:
        cells = "".join(f"{fmt.accuracy(_value(table.get(name))):>12}" for _, table in tables)
        lines.append([(fmt.fit(fmt.clean(name), 16) + cells, "")])
    return lines


def _value(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
