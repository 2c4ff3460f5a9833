"""What a run says of itself in its log: a line for each thing that happens.

Pure functions from what the trainer reports to text. A line has a few hundred characters at most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from engine.config.metrics import METRICS, metric
from engine.config.phrases import span_words
from engine.runs.record import Record
from engine.runs.training_time import seconds_trained
from engine.sink import Plan, Request
from engine.text import one_line

EPOCH_END = "train/epoch_loss"
"""The metric that is reported when an epoch has ended."""
_MOST_CHARACTERS = 300
_ANSWERS: Mapping[Request, str] = {
    "pause": "paused, as was asked,",
    "continue": "goes on, as was asked,",
    "stop": "stops, as was asked,",
    "checkpoint": "saved, as was asked,",
    "hand-over": "is handed over to another process, as was asked,",
}


def duration_words(seconds: float) -> str:
    """A time span: ``0.2 s``, ``8 s``, ``3 min 20 s``, ``2 h 05 min``, ``3 d 4 h``."""
    whole = round(seconds)
    return f"{seconds:.1f} s" if whole < 10 else span_words(whole)


def step_word(kind: str) -> str:
    """What a step of a run of a kind is called."""
    return "cell" if kind == "study" else "step"


def plan_lines(plan: Plan, source: str, kind: str = "pretrain") -> list[str]:
    """The images, the device and the way of computing, and how much there is to do.

    Args:
        plan: as reported.
        source: the data set, as it was named; may be empty.
        kind: of the run.
    """
    facts = plan.facts
    data = [part for part in (source, *_image_words(facts)) if part]
    device = [
        plan.device,
        str(facts.get("precision") or ""),
        _processes_words(facts),
        _named("kernels", facts.get("kernels")),
        _named("instructions", facts.get("instruction_set")),
        _named("torch", facts.get("torch")),
        _named("steps", facts.get("step")),
    ]
    lines = [f"data: {', '.join(data)}"] if data else []
    lines.append(f"device: {', '.join(part for part in device if part)}")
    lines.append(_work_words(plan, step_word(kind)))
    return [_bounded(line) for line in lines]


def _image_words(facts: Mapping[str, Any]) -> list[str]:
    parts = (
        ("train_images", "image", "to train on"),
        ("labels", "label", "to fit on"),
        ("test_images", "test image", ""),
        ("classes", "class", ""),
    )
    return [
        f"{_counted(facts.get(name), noun)} {use}".strip()
        for name, noun, use in parts
        if facts.get(name)
    ]


def _processes_words(facts: Mapping[str, Any]) -> str:
    """The threads of the process, or of each rank, and how the ranks exchange tensors."""
    threads, ranks = _counted(facts.get("threads"), "thread"), _counted(facts.get("ranks"), "rank")
    if not ranks:
        return threads
    nodes = facts.get("nodes")
    where = f" on {nodes:,} nodes" if isinstance(nodes, int) and nodes > 1 else ""
    return f"{ranks} of {threads}{where} over {facts.get('backend')}"


def _work_words(plan: Plan, step: str) -> str:
    parts = []
    if plan.start_step:
        parts.append(f"goes on after {step} {plan.start_step:,} of {plan.total_steps:,}")
    else:
        parts.append(_counted(plan.total_steps, step))
    if plan.steps_per_epoch:
        epochs = plan.total_steps // plan.steps_per_epoch
        parts.append(f"{_counted(epochs, 'epoch')} of {_counted(plan.steps_per_epoch, 'step')}")
    if plan.pairs_per_step:
        parts.append(f"{_counted(plan.pairs_per_step, 'pair')} a step")
    if plan.facts.get("parameters"):
        parts.append(_counted(plan.facts["parameters"], "parameter"))
    if plan.chance:
        parts.append(f"loss at chance {plan.chance:.2f}")
    return f"work: {', '.join(parts)}"


def _counted(count: object, noun: str) -> str:
    if not isinstance(count, int):
        return ""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def _named(what: str, value: object) -> str:
    return f"{what} {value}" if value not in (None, "", "off") else ""


def value_words(name: str, value: float) -> str:
    """A value of a metric with its unit."""
    known = metric(name)
    if not math.isfinite(value):
        return str(value)
    if known.decimals is None:
        return f"{value:.{known.digits}g} {known.unit}".rstrip()
    return f"{value:.{known.decimals}f} {known.unit}".rstrip()


def epoch_line(epoch: int, epochs: int, values: Mapping[str, float], seconds: float | None) -> str:
    """What was measured at the end of an epoch.

    Args:
        epoch: from 1.
        epochs: of the run.
        values: metrics; those that have a column in the table of epochs are told.
        seconds: that it took; None where that is not known.
    """
    parts = _column_words(values)
    took = [] if seconds is None else [duration_words(seconds)]
    return _bounded(f"epoch {epoch:,} of {epochs:,}: {', '.join([*parts, *took])}")


def _column_words(values: Mapping[str, float]) -> list[str]:
    """What was measured, then what was set, such as the rate."""
    told = [entry for name, entry in METRICS.items() if entry.column and name in values]
    told.sort(key=lambda entry: not entry.direction)
    return [f"{entry.column} {value_words(entry.name, values[entry.name])}" for entry in told]


def untrained_line(values: Mapping[str, float]) -> str:
    """What was measured of the untrained encoder; empty where nothing is told of it."""
    parts = _column_words(values)
    return _bounded(f"untrained encoder: {', '.join(parts)}") if parts else ""


def checkpoint_line(step: int, seconds: float | None, size: int | None) -> str:
    """A checkpoint that was written.

    Args:
        step: that it holds.
        seconds: that it took; None where that is not known.
        size: of the file in bytes; None where that is not known.
    """
    parts = [] if seconds is None else [duration_words(seconds)]
    parts += [] if size is None else [f"{size / 2**20:.1f} MiB"]
    return f"checkpoint at step {step:,}" + (f" ({', '.join(parts)})" if parts else "")


def answer_line(request: Request, step: int, kind: str = "pretrain") -> str:
    """A request that is answered after a step."""
    return f"{_ANSWERS[request]} after {step_word(kind)} {step:,}"


def row_line(row: Mapping[str, Any]) -> str:
    """A row of a probe's result that has been measured."""
    parts = [f"top-1 {row['top1']:.1f} %"] if _is_number(row.get("top1")) else []
    if _is_number(row.get("low")) and _is_number(row.get("high")):
        parts.append(f"95 % interval {row['low']:.1f} to {row['high']:.1f} %")
    if _is_number(row.get("seconds")):
        parts.append(duration_words(row["seconds"]))
    return _bounded(f"{row.get('source', '?')}: {', '.join(parts)}")


def new_rows(result: Mapping[str, Any], known: set[str]) -> Sequence[Mapping[str, Any]]:
    """The rows of a probe's result whose source is not known yet; none of other results."""
    rows = result.get("rows")
    if not isinstance(rows, list):
        return []
    return [row for row in rows if isinstance(row, dict) and str(row.get("source")) not in known]


def end_line(record: Record, outcome: str, now: float) -> str:
    """How the run ended, and how long it was trained altogether.

    Args:
        record: of the run, still running.
        outcome: ``finished``, ``stopped``, ``failed`` or ``handed-over``.
        now: unix seconds.
    """
    seconds = seconds_trained(record, now)
    took = "" if seconds is None else f"; trained for {duration_words(seconds)}"
    place = f" after {step_word(record.kind)} {record.step:,} of {record.total_steps:,}"
    done = "" if outcome == "finished" else place
    return f"{outcome.replace('-', ' ')}{done}{took}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bounded(text: str) -> str:
    """One line, not longer than one should be: names are people's."""
    return one_line(text)[:_MOST_CHARACTERS]
