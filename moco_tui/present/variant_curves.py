"""The curves of a study's variants while they are trained: means over seeds, read as they grow."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from engine.runs import MetricLog, RunFolder
from engine.study.study_state import StudyState

METRICS = ("train/loss", "knn/top1")
"""What is drawn; a key changes between them."""
MOST_BINS = 400
"""Points of a mean: more than a terminal has columns of dots."""
MOST_POINTS = 2048
"""Points of a run that are kept, evenly spread."""
MOST_BYTES = 1 << 20
"""Bytes of metrics that are read of a run at a time."""
MOST_SECONDS = 0.2
"""How long one look reads; the rest is read by the next ones."""

Points = tuple[Sequence[float], Sequence[float]]
"""Places on the axis, ascending, and the values there."""


class SeedMean(Struct, frozen=True):
    """The mean of a metric over the seeds of a variant.

    Attributes:
        x: steps or epochs, ascending.
        mean, low, high: at each of them over the seeds that are there: the mean, the smallest and
            the largest.
        seeds: how many seeds there are at each of them.
    """

    x: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    seeds: tuple[int, ...]

    @property
    def seeds_text(self) -> str:
        """How many seeds the mean is over: ``3 seeds``, ``1-3 seeds``."""
        if not self.seeds:
            return "no values yet"
        few, many = min(self.seeds), max(self.seeds)
        text = f"{few}-{many}" if few != many else f"{many}"
        return f"{text} seed{'s' * (many > 1)}"


def seed_mean(runs: Iterable[Points], most: int = MOST_BINS) -> SeedMean:
    """The mean over runs, of which each may have other places and another length.

    Runs of few points are taken place by place. Of longer ones the axis is parted into bins, and a
    run counts in a bin with the mean of its points there, so that a run that logged more often
    weighs no more. Values that are not finite are left out.

    Args:
        runs: of one variant; those that have not begun are empty.
        most: bins of the whole axis.
    """
    kept = [
        [(x, v) for x, v in zip(xs, values, strict=True) if math.isfinite(v)] for xs, values in runs
    ]
    kept = [points for points in kept if points]
    end = max((points[-1][0] for points in kept), default=0.0)
    width = end / most if max(map(len, kept), default=0) > most else 0.0
    by_place: dict[float, list[tuple[float, float]]] = {}
    for points in kept:
        own: dict[float, list[tuple[float, float]]] = {}
        for x, value in points:
            # The end of the axis belongs to the last bin.
            place = min(int(x / width), most - 1) if width else x
            own.setdefault(place, []).append((x, value))
        for place, found in own.items():
            xs = math.fsum(x for x, _ in found) / len(found)
            mean = math.fsum(value for _, value in found) / len(found)
            by_place.setdefault(place, []).append((xs, mean))
    rows = []
    for place in sorted(by_place):
        found = by_place[place]
        values = [value for _, value in found]
        x = math.fsum(x for x, _ in found) / len(found)
        rows.append((x, math.fsum(values) / len(values), min(values), max(values), len(values)))
    columns = tuple(zip(*rows, strict=True)) if rows else ((),) * 5
    return SeedMean(*columns)


class VariantLogs:
    """The metric logs of a study's pretrainings, read incrementally; one thread at a time.

    Args:
        root: the runs folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._logs: dict[str, MetricLog] = {}
        self._means: dict[tuple[str, str, bool], SeedMean] = {}
        self._runs: dict[str, list[str]] = {}  # by label of the variant

    def poll(self, study_state: StudyState, seconds: float = MOST_SECONDS) -> None:
        """Read what was appended.

        Args:
            study_state: says which runs count.
            seconds: after so long the rest is left to the next call.
        """
        runs: dict[str, list[str]] = {}
        for (label, _), trained in study_state.pretrainings.items():
            runs.setdefault(label, []).extend([trained.run] if trained.run else [])
        if runs != self._runs:
            self._means.clear()
            self._runs = runs
        wanted = {run: label for label, of in runs.items() for run in of}
        self._logs = {run: log for run, log in self._logs.items() if run in wanted}
        end = time.monotonic() + seconds
        for run, label in wanted.items():
            log = self._logs.get(run)
            if log is None:
                log = MetricLog(RunFolder(self._root / run).metrics_path, most=MOST_POINTS)
                self._logs[run] = log
            if log.poll(MOST_BYTES):
                for key in [key for key in self._means if key[0] == label]:
                    del self._means[key]
            if time.monotonic() > end:
                break

    def means(self, metric: str, *, epochs: bool) -> dict[str, SeedMean]:
        """The mean over the seeds of each variant, by its label, in the order of the study.

        Args:
            metric: its name in the logs.
            epochs: whether the axis counts epochs, else steps.
        """
        return {label: self._mean(label, metric, epochs) for label in self._runs}

    def _mean(self, label: str, metric: str, epochs: bool) -> SeedMean:
        key = (label, metric, epochs)
        if key not in self._means:
            points: list[Points] = []
            for run in self._runs[label]:
                log = self._logs.get(run)
                if log is not None and metric in log.names():
                    steps, values = log.series(metric)
                    points.append((log.epochs(metric) if epochs else steps, values))
            self._means[key] = seed_mean(points)
        return self._means[key]


def ahead(means: Mapping[str, SeedMean], *, highest: bool) -> str:
    """The variant that is ahead at the furthest place that all with values have; empty for none.

    Args:
        means: by label.
        highest: whether larger is better.
    """
    begun = {label: mean for label, mean in means.items() if mean.x}
    if not begun:
        return ""
    end = min(mean.x[-1] for mean in begun.values())
    last = {}
    for label, mean in begun.items():
        at = max((i for i, x in enumerate(mean.x) if x <= end), default=0)
        last[label] = mean.mean[at]
    return max(last, key=lambda label: last[label] if highest else -last[label])


def chosen(
    labels: Sequence[str], reference: str, under_cursor: str, best: str, *, every: bool, most: int
) -> list[str]:
    """The variants to draw, in the order of the study.

    Args:
        labels: of the variants that have values.
        reference: is drawn in any case.
        under_cursor: is drawn in any case.
        best: is drawn in any case.
        every: as many as can be told apart, else these three.
        most: how many can be told apart.
    """
    first = [label for label in (reference, under_cursor, best) if label in labels]
    first = list(dict.fromkeys(first))
    kept = set((first + [label for label in labels if label not in first] * every)[:most])
    return [label for label in labels if label in kept]
