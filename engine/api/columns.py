"""The metrics of a run as columns, which pandas and polars take as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import RunError
from engine.runs import MetricLog
from engine.text import shorten

Column = NDArray[Any]


def curve(log: MetricLog, name: str) -> dict[str, Column]:
    """One metric at its own steps.

    Args:
        log: of a run, polled.
        name: of the metric.

    Returns:
        ``step`` int64, ``epoch``, ``time`` (unix seconds) and ``value`` float64, each ``(n,)``.

    Raises:
        RunError: when the run has no such metric.
    """
    if name not in log.names():
        known = ", ".join(log.names()) or "nothing yet"
        raise RunError(f"The run has measured no {shorten(name)}; it has measured {known}.")
    steps, values = log.series(name)
    return {
        "step": np.array(steps, dtype=np.int64),
        "epoch": np.array(log.epochs(name), dtype=np.float64),
        "time": np.array(log.times(name), dtype=np.float64),
        "value": np.array(values, dtype=np.float64),
    }


def columns(log: MetricLog) -> dict[str, Column]:
    """All metrics beside each other, a row for each step that has any.

    Args:
        log: of a run, polled.

    Returns:
        ``step`` int64, ``epoch`` and ``time`` (unix seconds) float64, and a float64 column for each
        metric, NaN at steps where it was not measured; each ``(n,)``.
    """
    curves = {name: curve(log, name) for name in log.names()}
    every = [found["step"] for found in curves.values()]
    steps = np.unique(np.concatenate(every)) if every else np.empty(0, dtype=np.int64)
    table: dict[str, Column] = {"step": steps}
    for key in ("epoch", "time"):
        table[key] = np.full(len(steps), np.nan)
        # Backwards, so that the metric that the log names first has the last word.
        for found in reversed(curves.values()):
            table[key][np.searchsorted(steps, found["step"])] = found[key]
    for name, found in curves.items():
        table[name] = np.full(len(steps), np.nan)
        table[name][np.searchsorted(steps, found["step"])] = found["value"]
    return table
