"""The newest, best and untrained values of a run in its record, which are those of its log."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from engine.config.metrics import metric
from engine.config.queue_fill import steps_to_fill
from engine.runs.metric_log import MetricLog
from engine.runs.record import Record

_metric = functools.cache(metric)  # looked up at every step, for the same few names


def add_value(record: Record, name: str, step: int, value: float) -> None:
    """Take a new value into ``last``, ``best`` and ``untrained``; NaN is never the best.

    Args:
        record: changed in place.
        name: of the metric.
        step: at which it was measured; 0: of the untrained encoder, possibly told late.
        value: the value.
    """
    if record.untrained is None:
        record.untrained = {}
    if step > 0:
        record.last[name] = value
    else:
        # The newest value only while no later step has one.
        if record.last.get(name) == record.untrained.get(name):
            record.last[name] = value
        record.untrained[name] = value
    if _can_be_best(record, name, step):
        _take_best(record.best, name, value)


def _can_be_best(record: Record, name: str, step: int) -> bool:
    """Whether the value of a step counts for the best; see ``Metric.best``."""
    match _metric(name).best:
        case "training":
            return step > 0
        case "full-queue":  # of an epoch, all steps of which came after those that fill the queue
            return step - record.steps_per_epoch >= steps_to_fill(record.config)
    return False


def _take_best(best: dict[str, float], name: str, value: float) -> None:
    old = best.get(name)
    if value == value and (old is None or (value - old) * _metric(name).direction > 0):
        best[name] = value


def take_log(record: Record, log: MetricLog) -> None:
    """Make ``last``, ``best`` and ``untrained`` those of a log, whatever they were.

    Args:
        record: changed in place.
        log: read to its end, all of its points kept.
    """
    record.last, record.best, record.untrained = {}, {}, {}
    for name in log.names():
        newest = log.last(name)
        if newest is not None:
            record.last[name] = newest
        steps, values = log.series(name)
        if steps and steps[0] == 0:
            record.untrained[name] = values[0]
        if _metric(name).best:
            for step, value in zip(steps, values, strict=True):
                if _can_be_best(record, name, step):
                    _take_best(record.best, name, value)


def correct_old_summary(record: Record, path: Path) -> None:
    """Best and untrained values of a record that was written before there were ``untrained`` ones.

    What it has for the best may be of the untrained encoder, or the loss of a single step. A best
    value that the log knows nothing of stays if the metric has one at all.

    Args:
        record: changed in place.
        path: of the metric log.

    Raises:
        RunError: when the log is there and cannot be read.
    """
    try:
        info = path.stat()
        stamp = (info.st_mtime_ns, info.st_size)
    except OSError:
        stamp = (0, 0)
    log = _read(path, stamp)
    known = record.best
    newest = record.last
    take_log(record, log)
    record.last = newest
    unknown = {n: v for n, v in known.items() if n not in log.names() and _metric(n).best}
    record.best = {**unknown, **record.best}


@functools.lru_cache(maxsize=8)
def _read(path: Path, stamp: tuple[int, int]) -> MetricLog:
    """The log at a path; read once, since screens read a record again and again."""
    del stamp
    log = MetricLog(path)
    log.poll()
    return log


def gains(best: dict[str, float], untrained: dict[str, float] | None) -> dict[str, float]:
    """How far the best of each metric lies above the untrained encoder's value, in its unit.

    Empty where one of the two is missing. Negative: training made it worse.
    """
    before = untrained or {}
    return {name: value - before[name] for name, value in best.items() if name in before}


def trained_values(
    last: Mapping[str, float], best: Mapping[str, float], untrained: Mapping[str, float]
) -> dict[str, float]:
    """The newest values but those of metrics that only the untrained encoder has."""
    return {n: v for n, v in last.items() if n not in untrained or n in best}
