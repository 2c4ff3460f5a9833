"""Runs side by side: the settings that differ, every metric with its differences, for export."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct, structs

from engine.config.metrics import metric, rank
from engine.errors import RunError
from engine.runs import Record, RunFolder
from engine.runs.encoder_step import encoder_words, proven_step
from engine.runs.record import spell
from moco_tui.present import fmt
from moco_tui.present.metric_text import difference_text
from moco_tui.present.run_settings import settings_of

Which = Literal["last", "best", "result"]
Verdict = Literal["better", "worse", "same"]


class ComparedRun(Struct):
    """One of the runs that are compared.

    Attributes:
        id, kind: of the run.
        name: what people call it, or its id.
        state: as shown.
        settings: dotted keys and values; its kind is among them.
        metrics: every number that came out of it, by name and what it is: the newest of a metric,
            its best, or part of a probe's result.
        trained: of a probe the share of its schedule that its encoder had behind it, in per cent;
            None where that is not known.
    """

    id: str
    kind: str
    name: str
    state: str
    settings: dict[str, Any]
    metrics: dict[tuple[str, Which], float]
    trained: float | None = None


class MetricRow(Struct):
    """A number of all runs; the differences are to the first of them.

    Attributes:
        metric: its name.
        which: what it is of the metric.
        values: of each run; None where a run lacks it.
        differences: of each run; None where a value is missing or not finite.
        verdicts: of each run but the first; None where neither way is better.
    """

    metric: str
    which: Which
    values: list[float | None]
    differences: list[float | None]
    verdicts: list[Verdict | None]

    @property
    def label(self) -> str:
        """What to call it."""
        return f"best {self.metric}" if self.which == "best" else self.metric


class SideBySide(Struct):
    """A comparison.

    Attributes:
        runs: the runs, of which the first is what the others are compared with.
        settings: those that are not the same in all runs, in the order of the configuration; None
            where a run has no such setting.
        metrics: every number that any of them has.
    """

    runs: list[ComparedRun]
    settings: dict[str, list[Any]]
    metrics: list[MetricRow]


def compared_run(folder: RunFolder) -> ComparedRun:
    """A run as it is compared.

    Raises:
        RunError: when its record cannot be read.
    """
    record = folder.record()
    settings = {"kind": record.kind, **settings_of(record)}
    state = folder.status(record)
    trained = None
    if record.kind == "probe":
        # Which encoder it is about is no setting, and tells two probes apart all the same.
        settings |= {"encoder of": record.parent, "encoder": encoder_words(record.result)}
        trained = _trained(folder, record)
    return ComparedRun(
        record.id, record.kind, folder.title(), state, settings, _numbers(record), trained
    )


def _trained(probe: RunFolder, record: Record) -> float | None:
    """Share of its schedule that the encoder of a probe had behind it, where that is certain."""
    pretraining = None
    with contextlib.suppress(RunError):
        pretraining = RunFolder(probe.path.parent / record.parent).record()
    at = proven_step(record, pretraining)
    return None if at is None else at.percent


def _numbers(record: Record) -> dict[tuple[str, Which], float]:
    """Every number of a record, the best of a metric right behind its newest value."""
    out: dict[tuple[str, Which], float] = {}
    tables: tuple[tuple[Which, Mapping[str, float]], ...] = (
        ("last", record.last),
        ("best", record.best),
    )
    for name in dict.fromkeys([*record.last, *record.best]):
        for which, values in tables:
            if name in values:
                out[name, which] = values[name]
    for name, item in record.result.items():
        value = fmt.measured(item)
        if value is not None and not name.startswith("encoder_"):  # stands among the settings
            out[name, "result"] = value
    # The rows of a probe. The record may be another version's, or have been edited: what is of
    # another form is left out.
    rows = record.result.get("rows")
    for row in rows if isinstance(rows, list) else []:
        top1 = fmt.measured(row.get("top1")) if isinstance(row, Mapping) else None
        if top1 is not None:
            out[f"{row.get('source', '?')} top1", "result"] = top1
    return out


def side_by_side(runs: Sequence[ComparedRun]) -> SideBySide:
    """The comparison of these runs."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    settings = {key: [run.settings.get(key) for run in runs] for key in keys}
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    return SideBySide(
        list(runs),
        {key: row for key, row in settings.items() if any(item != row[0] for item in row)},
        [
            _of_one_step(metric_row(*name, [run.metrics.get(name) for run in runs]), runs)
            for name in names
        ],
    )


def _of_one_step(row: MetricRow, runs: Sequence[ComparedRun]) -> MetricRow:
    """The row without verdicts over encoders that were trained for different shares.

    That the encoder of step 3,900 is worse than that of the end says nothing about the settings.
    """
    if not row.metric.startswith(("probe/pretrained/", "pretrained ")):
        return row
    first = runs[0].trained
    alike = [run.trained is not None and run.trained == first for run in runs]
    verdicts = [v if same else None for v, same in zip(row.verdicts, alike, strict=True)]
    return structs.replace(row, verdicts=verdicts)


def metric_row(name: str, which: Which, values: Sequence[float | None]) -> MetricRow:
    """The values of a metric with their differences to the first and what these mean."""
    differences = [_difference(value, values[0]) for value in values]
    verdicts = [None, *(_verdict(name, difference) for difference in differences[1:])]
    return MetricRow(name, which, list(values), differences, verdicts)


def _difference(value: float | None, first: float | None) -> float | None:
    if value is None or first is None or not (math.isfinite(value) and math.isfinite(first)):
        return None
    return value - first


def _verdict(name: str, difference: float | None) -> Verdict | None:
    direction = metric(name).direction  # 1: more is better, -1: less is; 0: neither
    if not direction or difference is None:
        return None
    return "same" if difference == 0 else "better" if difference * direction > 0 else "worse"


def change_text(row: MetricRow, run: int) -> tuple[str, str]:
    """How a run differs from the first, and whether that is better: text and look."""
    text, verdict = difference_text(row.metric, row.differences[run]), row.verdicts[run]
    if verdict is None or verdict == "same":
        return text, ""
    return f"{text} {verdict}", "good" if verdict == "better" else "bad"


# --------------------------------------------------------------------------------------------
# Export


def facts(found: SideBySide) -> dict[str, Any]:
    """The comparison as builtin values.

    Returns:
        ``runs``: id, name, kind and state of each; ``config``: dotted key to the values of the
        runs, only keys that differ; ``metrics``: see ``MetricRow``, whose ``which`` is ``value``.
    """
    return {
        "runs": [
            {"id": run.id, "name": run.name, "kind": run.kind, "state": run.state}
            for run in found.runs
        ],
        "config": found.settings,
        "metrics": [
            {
                "metric": row.metric,
                "value": row.which,
                "values": row.values,
                "differences": row.differences,
                "verdicts": row.verdicts,
            }
            for row in found.metrics
        ],
    }


def to_json(found: SideBySide) -> str:
    """The comparison as JSON; NaN and infinities as the strings that stand for them."""
    known = facts(found)
    for row in known["metrics"]:
        row["values"] = [None if value is None else spell(value) for value in row["values"]]
    return json.dumps(known, indent=2, ensure_ascii=False)


def to_csv(found: SideBySide) -> str:
    """The comparison as CSV: a row for each setting or number, a column for each run.

    Behind them stand the differences to the first run. Every number has all its digits (``repr``
    gives the fewest that lead back to the same float64).
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    first, *others = [run.id for run in found.runs]
    changes = [f"{run_id} - {first}" for run_id in others]
    writer.writerow(["part", "name", first, *others, *changes])
    for key, values in found.settings.items():
        cells = ["" if value is None else fmt.clean(fmt.value(value)) for value in values]
        writer.writerow(["setting", fmt.clean(key), *cells, *[""] * len(changes)])
    for row in found.metrics:
        numbers = [*row.values, *row.differences[1:]]
        cells = ["" if value is None else repr(value) for value in numbers]
        writer.writerow([row.which, fmt.clean(row.metric), *cells])
    return out.getvalue()


# --------------------------------------------------------------------------------------------
# Curves


def offered(names: Sequence[Sequence[str]]) -> list[str]:
    """The metrics of several runs in the order in which their curves are offered.

    Those that most runs have come first; of these, what stands for a run.

    Args:
        names: the metrics of each run.
    """
    counts: dict[str, int] = {}
    for run in names:
        for name in run:
            counts[name] = counts.get(name, 0) + 1
    return sorted(counts, key=lambda name: (-counts[name], rank(name), name))
