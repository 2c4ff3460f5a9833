"""What was recorded of the machine over a run: as charts to draw, as rows of a table, as words.

Data alone: what draws it decides where and how large. Which series there are, their units and what
stands in one chart, say the descriptions of ``engine.machine.device_series``.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from engine.machine.device_series import DeviceSeries, Unit, label_of, series_named
from engine.runs.device_log import DeviceLog
from moco_tui.present import fmt

_HOURS_FROM = 2 * 3600.0
_GIB = 2.0**30
_TITLES = {
    "cpu": "CPU",
    "memory": "memory",
    "use": "use",
    "power": "power",
    "temperature": "temperature",
    "others": "other processes",
}
_DRAWN = {"cpu", "memory", "use", "power", "temperature"}
"""Charts that are drawn; how many other processes there are is a number for tables."""


class TimeUnit(NamedTuple):
    """In what an axis of time is counted.

    Attributes:
        name: ``min`` or ``h``.
        seconds: that it has.
    """

    name: str
    seconds: float

    def of(self, seconds: float) -> float:
        """Seconds in this unit."""
        return seconds / self.seconds


MINUTES, HOURS = TimeUnit("min", 60.0), TimeUnit("h", 3600.0)


class DeviceCurve(NamedTuple):
    """A curve of a chart.

    Attributes:
        name: of its series.
        label: beside the others of its chart.
        seconds: since the run's first record, ascending. ``DeviceChart.time`` says how to count it.
        values: in the unit of the chart; NaN where there is none, which breaks the line.
    """

    name: str
    label: str
    seconds: Sequence[float]
    values: Sequence[float]


class DeviceChart(NamedTuple):
    """A chart of the devices of a run.

    Attributes:
        key: the same for the same chart at any time: ``cpu``, ``card0/power``.
        title: what it shows: ``CPU``, ``card 0 power``.
        present: the newest values in words: ``42 %, run 38 %``.
        time: unit of the axis of time.
        unit: of the values: ``%``, ``GiB``, ``W``, ``°C``.
        low, high: ends of the axis of values; None: those of the values.
        curves: the whole first, then the run's own share.
    """

    key: str
    title: str
    present: str
    time: TimeUnit
    unit: str
    low: float | None
    high: float | None
    curves: Sequence[DeviceCurve]


class DeviceRow(NamedTuple):
    """A series over the whole run, in words.

    Attributes:
        name: of the series.
        label: for people.
        mean, most, last: with unit.
        limit: what it can have at most; empty where that is not known.
    """

    name: str
    label: str
    mean: str
    most: str
    last: str
    limit: str


def time_unit(log: DeviceLog) -> TimeUnit:
    """Minutes for a run of less than two hours, else hours."""
    return HOURS if log.seconds and log.seconds[-1] >= _HOURS_FROM else MINUTES


def device_charts(log: DeviceLog, only: Collection[str] | None = None) -> list[DeviceChart]:
    """The charts of what was recorded: CPU and memory, then of each card; none without records.

    Args:
        log: read as far as it goes.
        only: keys of the charts to make; None: all.
    """
    several = log.part is not None and len(log.part.cards) > 1
    return [
        _chart(log, key, series, several)
        for key, series in _grouped(log).items()
        if only is None or key in only
    ]


def _grouped(log: DeviceLog) -> dict[str, list[tuple[str, DeviceSeries]]]:
    """The series of each chart, by its key."""
    grouped: dict[str, list[tuple[str, DeviceSeries]]] = {}
    for name in log.names():
        found = series_named(name)
        if found is not None and found.series.chart in _DRAWN:
            prefix = "" if found.card is None else f"card{found.card}/"
            grouped.setdefault(prefix + found.series.chart, []).append((name, found.series))
    return grouped


def chart_keys(log: DeviceLog) -> list[str]:
    """The keys of the charts of what was recorded; nothing is made for them."""
    return list(_grouped(log))


def chart_titles(keys: Sequence[str]) -> dict[str, str]:
    """What charts of the devices show, by key: ``CPU``; of several cards with the number."""
    several = len({key.partition("/")[0] for key in keys if "/" in key}) > 1
    return {key: _title(key, several) for key in keys}


def _title(key: str, several: bool) -> str:
    card, _, chart = key.rpartition("/")
    if not card:
        return _TITLES[chart]
    return (
        f"card {card.removeprefix('card')} {_TITLES[chart]}"
        if several
        else f"card {_TITLES[chart]}"
    )


def in_a_line(log: DeviceLog, key: str) -> str:
    """What a card or the machine does now: use, memory, power, temperature, as far as known.

    Args:
        log: read as far as it goes.
        key: of a chart of it.
    """
    card, _, _ = key.rpartition("/")
    prefix = f"{card}/" if card else ""
    first = "use" if card else "cpu"
    texts = [
        value_text(value, found.series.unit)
        for name in (first, "memory", "power", "temperature")
        if (value := log.newest(prefix + name)) is not None
        and (found := series_named(prefix + name)) is not None
    ]
    return " · ".join(texts)


def _chart(
    log: DeviceLog, key: str, series: Sequence[tuple[str, DeviceSeries]], several: bool
) -> DeviceChart:
    unit = series[0][1].unit
    limits = [most for name, _ in series if (most := log.most(name)) is not None]
    high = max(limits, default=None)
    if high is None and unit == "W":
        high = 1.05 * max(max(_known(log.series(name)[1]), default=1.0) for name, _ in series)
    return DeviceChart(
        key,
        _title(key, several),
        ", ".join(_present(log, name, one, first=at == 0) for at, (name, one) in enumerate(series)),
        time_unit(log),
        "GiB" if unit == "B" else unit,
        None if unit == "°C" else 0.0,
        None if high is None else _scaled(high, unit),
        [DeviceCurve(name, one.short, *_points(log, name, unit)) for name, one in series],
    )


def _points(log: DeviceLog, name: str, unit: Unit) -> tuple[Sequence[float], Sequence[float]]:
    seconds, values = log.series(name)
    return seconds, array("d", [v / _GIB for v in values]) if unit == "B" else values


def _scaled(value: float, unit: Unit) -> float:
    return value / _GIB if unit == "B" else value


def _known(values: Sequence[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def _present(log: DeviceLog, name: str, series: DeviceSeries, *, first: bool) -> str:
    """The newest value; of one that is not the whole, whose it is."""
    text = value_text(log.newest(name), series.unit)
    return text if first and series.short == "all" else f"{series.short} {text}"


def value_text(value: float | None, unit: Unit) -> str:
    """A value with its unit."""
    if value is None:
        return "–"
    if unit == "B":
        return fmt.size(value)
    return f"{value:.0f} {unit}".rstrip()


def device_rows(log: DeviceLog) -> list[DeviceRow]:
    """Mean, most and newest value of each series that has any, in the order of charts."""
    rows = []
    for name in log.names():
        found, summary = series_named(name), log.summary(name)
        if found is None or summary is None:
            continue
        unit, limit = found.series.unit, log.most(name)
        mean, most, last = (value_text(value, unit) for value in summary)
        shown = "" if limit is None or unit == "%" else value_text(limit, unit)
        rows.append(DeviceRow(name, label_of(name), mean, most, last, shown))
    return rows


def device_facts(log: DeviceLog) -> dict[str, Any]:
    """The same for programs: numbers, with unit and description, by name of the series."""
    facts: dict[str, Any] = {}
    for name in log.names():
        found, summary = series_named(name), log.summary(name)
        if found is not None and summary is not None:
            facts[name] = {
                "label": label_of(name),
                "unit": found.series.unit,
                "mean": summary.mean,
                "max": summary.most,
                "last": summary.last,
                "limit": log.most(name),
            }
    return facts
