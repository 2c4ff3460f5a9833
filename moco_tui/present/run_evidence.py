"""What is known of a pretraining where it is judged: its curves and settings, read with care."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, NamedTuple

from engine.runs import MetricLog, Record
from engine.runs.data_identity import last_identity
from moco_tui.present import fmt
from moco_tui.present.run_settings import settings_of

KNN = "knn/top1"


class Point(NamedTuple):
    """A finite value of a metric.

    Attributes:
        step: of the run; 0 is the untrained encoder.
        value: in the unit of the metric.
    """

    step: int
    value: float


class Said(NamedTuple):
    """A diagnosis in words: full sentences, that stand by themselves.

    Attributes:
        seen: what is seen, with the numbers.
        advice: what usually causes it, and which setting to change.
    """

    seen: str
    advice: str


class Evidence:
    """A run under judgement. What it lacks, or what is no finite number, is left out.

    Args:
        log: read as far as it goes.
        record: of the run; a person may have edited it, and an old one lacks much.
    """

    def __init__(self, log: MetricLog, record: Record) -> None:
        self.log, self.record = log, record

    @cached_property
    def settings(self) -> dict[str, Any]:
        """By dotted key."""
        return settings_of(self.record)

    def number(self, key: str) -> float:
        """A setting; 0 where it is missing or no number."""
        return fmt.measured(self.settings.get(key)) or 0.0

    def points(self, name: str, *, trained: bool = True) -> list[Point]:
        """The finite values of a metric, by ascending step.

        Args:
            name: of the metric.
            trained: without those of step 0.
        """
        steps, values = self.log.series(name)
        return [
            Point(step, value)
            for step, value in zip(steps, values, strict=True)
            if math.isfinite(value) and (step or not trained)
        ]

    def last(self, name: str, count: int) -> list[float]:
        """The newest values of a metric; empty where there are fewer than ``count``."""
        values = [point.value for point in self.points(name)[-count:]]
        return values if len(values) == count else []

    def epoch(self, step: int) -> float:
        """The epochs done at a step; 0 where the record does not say how long one is."""
        return step / self.record.steps_per_epoch if self.record.steps_per_epoch else 0.0

    @cached_property
    def untrained(self) -> float | None:
        """The kNN accuracy of the untrained encoder, in percent; None where it is not known."""
        found = [p.value for p in self.points(KNN, trained=False)[:1] if p.step == 0]
        known = (self.record.untrained or {}).get(KNN)
        found += [known] if known is not None and math.isfinite(known) else []
        return found[0] if found else None

    @cached_property
    def withheld(self) -> float:
        """Images that kNN is measured on, about; 0 where the record does not say."""
        identity = last_identity(self.record.data)
        if identity is not None:
            labelled: float = identity.train - identity.unlabelled
        else:
            labelled = fmt.measured(self.record.facts.get("train_images")) or 0.0
        return max(labelled, 0.0) * self.number("data.holdout")

    def noise(self, first: float, second: float) -> float:
        """Standard error of the difference of two kNN accuracies; infinite where it is not known.

        Binomial, of two measurements apart. They are on the same images, so that it is rather too
        large than too small.

        Args:
            first: in percent.
            second: in percent.

        Returns:
            Points.
        """
        if self.withheld < 1:
            return math.inf
        return math.sqrt(sum(_variance(p) for p in (first, second)) / self.withheld)

    @cached_property
    def keys_per_step(self) -> int:
        """Keys that a step puts into the queue; 0 where the record does not say."""
        return int(self.number("optim.batch_size")) * (
            2 if self.settings.get("moco.symmetric") else 1
        )


def _variance(percent: float) -> float:
    share = min(max(percent / 100, 0.0), 1.0)
    return 100.0**2 * share * (1 - share)
