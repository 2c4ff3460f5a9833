"""Metrics in words: their values, differences and names, as every screen and command has them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from engine.config.metrics import METRICS, metric
from moco_tui.present import fmt


def title(name: str) -> str:
    """What a metric is called over its curve."""
    return metric(name).title or fmt.clean(name)


def value_text(name: str, value: float | None) -> str:
    """A value of a metric with its unit; a dash when there is none."""
    known = metric(name)
    if value is None or not math.isfinite(value):
        return fmt.number(value)
    if known.decimals is None:
        text = fmt.number(value, known.digits)
    else:
        text = f"{value:.{known.decimals}f}"
    return f"{text} {known.unit}".rstrip()


def difference_text(name: str, difference: float | None) -> str:
    """A difference of two values, with its sign; empty when there is none.

    A difference of percentages is in points.
    """
    if difference is None:
        return ""
    if difference == 0:
        return "="
    size = value_text(name, abs(difference)).replace(" %", " pts")
    return f"{'+' if difference > 0 else '-'}{size}"


def points_text(difference: float | None) -> str:
    """A difference of two percentages, with its sign; empty when there is none."""
    if difference is None:
        return ""
    return f"{difference:+.1f} pts" if difference else "="


def short_texts(values: Mapping[str, float]) -> list[str]:
    """The metrics that a line of progress has, each with its short name: ``loss 9.412``."""
    return [
        f"{entry.short} {value_text(name, values[name])}"
        for name, entry in METRICS.items()
        if entry.short and name in values
    ]
