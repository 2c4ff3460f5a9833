"""Runs side by side: the settings that differ, every metric with its differences, for export."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct, structs

from engine.config.metrics import metric, rank
from engine.errors import RunError
from engine.history.entry import Entry
from engine.runs import Record, RunFolder
from engine.runs.checkpoint_ref import with_checkpoint
from engine.runs.encoder_step import encoder_words, proven_step
from engine.runs.log_summary import gains
from engine.runs.record import branch_words
from engine.study.epoch_curves import EpochCurve, epoch_curves
from moco_tui.present import fmt
from moco_tui.present.epoch_curve_table import common_curves
from moco_tui.present.metric_text import difference_text, points_text, value_text
from moco_tui.present.provenance_rows import compared, provenance_differences
from moco_tui.present.run_settings import settings_of

Which = Literal["last", "best", "gain", "share", "result"]
Verdict = Literal["better", "worse", "same"]


class ComparedRun(Struct):
    """One of the runs that are compared.

    Attributes:
        id, kind: of the run.
        name: what people call it, or its id.
        state: as shown.
        settings: dotted keys and values; its kind is among them.
        metrics: every number that came out of it, by name and what it is: the newest of a metric
            (``last``), its best, how far that lies above the untrained encoder's (``gain``), the
            newest in percent of its value at chance (``share``), or part of a probe's result.
        measured_by: settings that say what the numbers measure; of a probe also those of the data
            of its encoder.
        trained: of a probe the share of its schedule that its encoder had behind it, in per cent;
            None where that is not known.
        provenance: where it came from, by dotted key; empty where that was not recorded.
        recorded: whether it was.
        steps_per_epoch: of a pretraining; 0: not known.
    """

    id: str
    kind: str
    name: str
    state: str
    settings: dict[str, Any]
    metrics: dict[tuple[str, Which], float]
    measured_by: dict[str, Any] = {}
    trained: float | None = None
    provenance: dict[str, Any] = {}
    recorded: bool = False
    steps_per_epoch: int = 0


class MetricRow(Struct):
    """A number of all runs; the differences are to the first of them.

    Attributes:
        metric: its name.
        which: what it is of the metric.
        values: of each run; None where a run lacks it.
        differences: of each run; None where a value is missing or not finite.
        verdicts: of each run but the first; None where neither way is better, or where a setting
            differs on which the size of the number depends.
        reasons: of each run but the first, why there is no verdict: ``other K``; empty where
            there is one, or where none is to be had.
    """

    metric: str
    which: Which
    values: list[float | None]
    differences: list[float | None]
    verdicts: list[Verdict | None]
    reasons: list[str]

    @property
    def label(self) -> str:
        """What to call it; of what a pretraining measures of itself the title."""
        if metric(self.metric).group:
            return metric(self.metric).title
        match self.which:
            case "best":
                return f"best {self.metric}"
            case "gain":
                return f"{self.metric} over untrained"
            case "share":
                return f"{self.metric} of chance"
        return self.metric

    def value_text(self, run: int) -> str:
        """The value of a run with its unit; a dash where it has none."""
        value = self.values[run]
        if self.which == "gain":
            return difference_text(self.metric, value) or fmt.number(None)
        if self.which == "share":
            return fmt.accuracy(value)
        return value_text(self.metric, value)

    def change_text(self, run: int) -> str:
        """How the value of a run differs from the first; empty where that is not known."""
        difference = self.differences[run]
        if self.which == "share":
            return points_text(difference)
        return difference_text(self.metric, difference)


class SideBySide(Struct):
    """A comparison.

    Attributes:
        runs: the runs, of which the first is what the others are compared with.
        settings: those that are not the same in all runs, in the order of the configuration; None
            where a run has no such setting.
        metrics: every number that any of them has.
        provenance: what is not the same of where they came from, see ``provenance_differences``.
        epochs: accuracy against epochs, from the probes of their checkpoints: curves that two or
            more of them have, by name and by id of the run.
    """

    runs: list[ComparedRun]
    settings: dict[str, list[Any]]
    metrics: list[MetricRow]
    provenance: dict[str, list[Any]] = {}
    epochs: dict[str, dict[str, EpochCurve]] = {}


def compared_run(folder: RunFolder) -> ComparedRun:
    """A run as it is compared.

    Raises:
        RunError: when its record cannot be read.
    """
    record = folder.record()
    settings = {"kind": record.kind, **settings_of(record)}
    state = folder.status(record)
    parent = _parent(folder, record)
    measured_by = {**settings, **_data_of_encoder(record, parent)}
    trained = None
    if record.kind == "probe":
        # Which encoder it is about is no setting, and tells two probes apart all the same.
        encoder = with_checkpoint(record.parent, record.checkpoint)
        settings |= {"encoder of": encoder, "encoder": encoder_words(record.result)}
        at = proven_step(record, parent)
        trained = None if at is None else at.percent
    if record.began_from is not None:
        settings["went on from"] = branch_words(record.began_from)
    return ComparedRun(
        record.id,
        record.kind,
        folder.title(),
        state,
        settings,
        _numbers(record),
        measured_by,
        trained,
        compared(record),
        bool(record.provenance),
        record.steps_per_epoch if record.kind == "pretrain" else 0,
    )


def _parent(folder: RunFolder, record: Record) -> Record | None:
    """The record of the pretraining of a probe's encoder; None where there is none, or no more."""
    if record.parent:
        with contextlib.suppress(RunError):
            return RunFolder(folder.path.parent / record.parent).record()
    return None


def _data_of_encoder(record: Record, parent: Record | None) -> dict[str, Any]:
    """The settings of the images of a probe: those of the pretraining of its encoder, or others.

    Not the share whose labels a pretraining withholds: a probe may use them all.
    """
    source = settings_of(record).get("data.source") if record.kind == "probe" else ""
    if source and parent is None:
        return {"data.source": source, "data.limit": 0}
    if parent is None:  # deleted: the images are then those of the same encoder, or not known
        return {"data": record.parent} if record.parent else {}
    found = {key: value for key, value in settings_of(parent).items() if key.startswith("data.")}
    found.pop("data.holdout", None)
    transfer = source not in ("", found.get("data.source"))
    return found | ({"data.source": source, "data.limit": 0} if transfer else {})


def _numbers(record: Record) -> dict[tuple[str, Which], float]:
    """Every number of a record, those of a metric behind each other."""
    out: dict[tuple[str, Which], float] = {}
    tables: tuple[tuple[Which, Mapping[str, float]], ...] = (
        ("last", record.last),
        ("share", _shares(record)),
        ("best", record.best),
        ("gain", gains(record.best, record.untrained)),
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


def _shares(record: Record) -> dict[str, float]:
    """The newest losses in percent of their value at chance, where that is known."""
    if not record.chance:
        return {}
    return {
        name: 100 * value / record.chance
        for name, value in record.last.items()
        if metric(name).of_chance
    }


def side_by_side(runs: Sequence[ComparedRun], entries: Sequence[Entry] = ()) -> SideBySide:
    """The comparison of these runs.

    Args:
        runs: the runs.
        entries: all runs, among which their probes are sought.
    """
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    settings = {key: [run.settings.get(key) for run in runs] for key in keys}
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    measured_by = [run.measured_by for run in runs]
    rows = [
        metric_row(*name, [run.metrics.get(name) for run in runs], measured_by) for name in names
    ]
    return SideBySide(
        list(runs),
        {key: row for key, row in settings.items() if any(item != row[0] for item in row)},
        [
            _of_one_step(row, runs)
            for row in rows
            if row.which != "share" or _scales_differ(row, rows)
        ],
        provenance_differences([r.provenance for r in runs], [r.recorded for r in runs]),
        common_curves({run.id: epoch_curves(entries, run.id, run.steps_per_epoch) for run in runs}),
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
    reasons = [
        "other encoder step" if verdict is not None and not same else reason
        for verdict, same, reason in zip(row.verdicts, alike, row.reasons, strict=True)
    ]
    return structs.replace(row, verdicts=verdicts, reasons=reasons)


def _scales_differ(share: MetricRow, rows: Sequence[MetricRow]) -> bool:
    """Whether shares of chance say what the losses do not: runs differ in their chance level."""
    (last,) = [row.values for row in rows if (row.metric, row.which) == (share.metric, "last")]
    chances = {
        round(100 * loss / part, 6)
        for loss, part in zip(last, share.values, strict=True)
        if loss is not None and part
    }
    return len(chances) > 1


def metric_row(
    name: str,
    which: Which,
    values: Sequence[float | None],
    measured_by: Sequence[Mapping[str, Any]] | None = None,
) -> MetricRow:
    """The values of a metric with their differences to the first and what these mean.

    Args:
        name: of the metric.
        which: what it is of the metric.
        values: of each run.
        measured_by: see ``ComparedRun``, of each run; None: they are the same.
    """
    settings = measured_by or [{} for _ in values]
    differences = [_difference(value, values[0]) for value in values]
    reasons = [
        "" if difference is None else _no_verdict(name, which, settings[0], other)
        for difference, other in zip(differences, settings, strict=True)
    ]
    verdicts = [
        None if reason else _verdict(name, difference)
        for reason, difference in zip(reasons[1:], differences[1:], strict=True)
    ]
    return MetricRow(name, which, list(values), differences, [None, *verdicts], reasons)


_SHORT = {"moco.queue_size": "K", "moco.temperature": "T", "label_fraction": "labels"}
"""What settings are called where there is little room."""


def _no_verdict(name: str, which: Which, first: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Why the values of two runs measure different things, in two words; empty: they do not."""
    known = metric(name)
    if not known.direction:
        return ""  # there would be none anyway
    # What a result says was measured on the test images of its task.
    for wanted in metric("probe/pretrained/test_top1").same if which == "result" else known.same:
        if which == "share" and wanted == "moco.symmetric":
            continue  # the sum of two directions: of its chance it is the mean of both
        keys = {key for key in (*first, *other) if key == wanted or key.startswith(f"{wanted}.")}
        if any(first.get(key) != other.get(key) for key in keys):
            return f"other {_SHORT.get(wanted) or wanted.rpartition('.')[2]}"
    return ""


def _difference(value: float | None, first: float | None) -> float | None:
    if value is None or first is None or not (math.isfinite(value) and math.isfinite(first)):
        return None
    return value - first


def _verdict(name: str, difference: float | None) -> Verdict | None:
    direction = metric(name).direction  # 1: more is better, -1: less is; 0: neither
    if not direction or difference is None:
        return None
    return "same" if difference == 0 else "better" if difference * direction > 0 else "worse"


def rows_to_show(found: SideBySide) -> list[MetricRow]:
    """The rows but for best values that say nothing that the newest do not."""
    newest = {row.metric: row.values for row in found.metrics if row.which == "last"}
    return [
        row for row in found.metrics if row.which != "best" or row.values != newest.get(row.metric)
    ]


def change_text(row: MetricRow, run: int) -> tuple[str, str]:
    """How a run differs from the first, and whether that is better or why not: text and look."""
    text, verdict = row.change_text(run), row.verdicts[run]
    if row.reasons[run]:
        return f"{text} {row.reasons[run]}", ""
    if verdict is None or verdict == "same":
        return text, ""
    return f"{text} {verdict}", "good" if verdict == "better" else "bad"


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
