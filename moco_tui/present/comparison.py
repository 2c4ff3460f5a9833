"""Runs side by side: the settings that differ, the metrics with their differences, for export."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from engine.history.entry import flat_config
from engine.runs import Record, direction
from moco_tui.present import fmt


class Compared(Struct):
    """One of the runs that are compared.

    Attributes:
        id, kind: of the run.
        name: what people call it, or its id.
        config: dotted keys and values.
        metrics: name and value: the last of each metric, its best where that has a meaning, and
            the numbers of a probe's result.
    """

    id: str
    kind: str
    name: str
    config: dict[str, Any]
    metrics: dict[str, float]


def compared(record: Record, name: str) -> Compared:
    """A run as it is compared."""
    metrics: dict[str, float] = {}
    for key, value in record.last.items():
        metrics[key] = value
        if direction(key) and key in record.best and record.best[key] != value:
            metrics[f"best {key}"] = record.best[key]
    for key, item in record.result.items():
        if isinstance(item, int | float) and not isinstance(item, bool):
            metrics[f"result/{key}"] = float(item)
    for row in record.result.get("rows") or ():
        if isinstance(row, dict) and isinstance(row.get("top1"), int | float):
            metrics[f"{row.get('source', 'probe')}/top1"] = float(row["top1"])
    return Compared(record.id, record.kind, name, flat_config(record.kind, record.config), metrics)


def differing(runs: Sequence[Compared]) -> list[tuple[str, list[Any]]]:
    """The settings that are not the same in all runs, in the order of the configuration."""
    keys = dict.fromkeys(key for run in runs for key in run.config)
    rows = []
    for key in keys:
        values = [run.config.get(key) for run in runs]
        if any(value != values[0] for value in values[1:]):
            rows.append((key, values))
    return rows


def metric_rows(runs: Sequence[Compared]) -> list[tuple[str, list[float | None]]]:
    """Every metric that any run has."""
    keys = dict.fromkeys(key for run in runs for key in run.metrics)
    return [(key, [run.metrics.get(key) for run in runs]) for key in keys]


def verdict(metric: str, value: float | None, base: float | None) -> tuple[str, str]:
    """The difference to the first run and whether that is better: text and look."""
    if value is None or base is None or not (math.isfinite(value) and math.isfinite(base)):
        return "", ""
    change = value - base
    if change == 0:
        return "=", ""
    size = shown(metric, abs(change)).replace(" %", " pts")
    text = f"{'+' if change > 0 else '-'}{size}"
    sign = direction(metric)
    if not sign:
        return text, ""
    good = change * sign > 0
    return f"{text} {'better' if good else 'worse'}", "good" if good else "bad"


def shown(metric: str, value: float | None) -> str:
    """A metric's value: accuracies are in per cent."""
    if value is None:
        return "–"
    if direction(metric) > 0:
        return fmt.accuracy(value)
    return fmt.number(value)


def to_json(runs: Sequence[Compared]) -> str:
    """The comparison as JSON; what is not finite as text."""

    def plain(value: Any) -> Any:
        return str(value) if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(
        {
            "runs": [{"id": run.id, "kind": run.kind, "name": run.name} for run in runs],
            "config": dict(differing(runs)),
            "metrics": {key: [plain(v) for v in values] for key, values in metric_rows(runs)},
        },
        indent=2,
        ensure_ascii=False,
    )


def to_csv(runs: Sequence[Compared]) -> str:
    """The comparison as CSV: one row a setting or metric, one column a run."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["what", "key", *(run.id for run in runs)])
    writer.writerow(["name", "", *(run.name for run in runs)])
    for key, values in differing(runs):
        writer.writerow(["config", key, *("" if v is None else fmt.value(v) for v in values)])
    for key, numbers in metric_rows(runs):
        writer.writerow(["metric", key, *("" if v is None else repr(v) for v in numbers)])
    return out.getvalue()


def common(series: Mapping[str, Sequence[str]]) -> list[str]:
    """Metrics that more than one run has, the most common first; else all."""
    counts: dict[str, int] = {}
    for names in series.values():
        for name in names:
            counts[name] = counts.get(name, 0) + 1
    order = sorted(counts, key=lambda name: (-counts[name], _rank(name), name))
    return order


def _rank(name: str) -> int:
    return 0 if name == "train/loss" else 1 if name == "knn/top1" else 2
