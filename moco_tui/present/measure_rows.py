"""The measures that a pretraining takes of itself, as rows: values and changes, in groups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from engine.config.metrics import MEASURES, METRICS
from engine.runs import MetricLog
from moco_tui.present.metric_text import difference_text, value_text

GROUPS = {
    "task": "contrastive task",
    "queue": "queue",
    "encoders": "encoders",
    "embedding": "embedding",
}
"""Titles of the groups by ``Metric.group``, in the order in which they are shown."""


class MeasureRow(NamedTuple):
    """A measure as it is now.

    Attributes:
        name: of the metric.
        title: what it is called.
        value: its newest value, with unit.
        change: to the value before; empty where there is none.
    """

    name: str
    title: str
    value: str
    change: str


def grouped(names: Sequence[str] | Mapping[str, float]) -> dict[str, list[str]]:
    """Those of the names that are measures, in order, by the title of their group."""
    found = {
        title: [name for name in MEASURES if name in names and METRICS[name].group == group]
        for group, title in GROUPS.items()
    }
    return {title: of_group for title, of_group in found.items() if of_group}


def measure_row(log: MetricLog, name: str) -> MeasureRow:
    """The newest value of a measure and how it has changed."""
    _, values = log.series(name)
    value = value_text(name, log.last(name))
    change = ""
    if len(values) > 1 and math.isfinite(values[-1] - values[-2]):
        # A difference of less than is shown is none.
        same = value_text(name, values[-2]) == value_text(name, values[-1])
        change = difference_text(name, 0.0 if same else values[-1] - values[-2])
    return MeasureRow(name, METRICS[name].title, value, change)


def measures_stamp(log: MetricLog) -> tuple[object, ...]:
    """Changes whenever a measure does."""
    parts: list[object] = []
    for name in MEASURES:
        steps, _ = log.series(name)
        if steps:
            parts += [name, len(steps), steps[-1], log.last(name)]
    return tuple(parts)
