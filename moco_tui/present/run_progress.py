"""The progress of one run in words, from its record and metric log alone."""

from __future__ import annotations

from typing import Any

from engine.config.metrics import metric
from engine.runs import MetricLog, Record
from engine.runs.log_summary import trained_values
from engine.runs.training_time import seconds_trained
from moco_tui.present import fmt
from moco_tui.present.metric_text import short_texts, value_text
from moco_tui.present.pace import RunPace, pace_texts, run_pace


def progress_line(record: Record, status: str, width: int, *, ascii_only: bool) -> str:
    """A bar and where the run stands.

    Args:
        record: of the run.
        status: its state, as shown.
        width: characters of the line.
        ascii_only: draw the bar in ASCII.
    """
    share = record.step / record.total_steps if record.total_steps else 0.0
    share = 1.0 if status == "finished" else min(max(share, 0.0), 1.0)
    parts = []
    if record.steps_per_epoch:
        total = record.total_steps / record.steps_per_epoch
        parts.append(f"epoch {record.epoch:.1f}/{total:g}")
    if record.total_steps:
        parts.append(f"step {fmt.count(record.step)}/{fmt.count(record.total_steps)}")
    if record.stage is not None and status in ("running", "paused"):
        stage = record.stage
        parts.append(f"{fmt.clean(stage['name'])} {stage['done']}/{stage['total']}")
    text = "  ".join(parts)
    cells = fmt.bar_cells(width, text)
    bar = fmt.bar(round(share * cells), cells, ascii_only=ascii_only)
    return f"{bar} {100 * share:3.0f} %  {text}"


def header_facts(record: Record, status: str, pace: RunPace) -> list[str]:
    """What the top line says of a run, the most important first.

    Args:
        record: of the run.
        status: its state, as shown.
        pace: see ``run_pace``.
    """
    share = record.step / record.total_steps if record.total_steps else 0.0
    parts = [f"{100 * min(max(share, 0.0), 1.0):.0f} %"] if status != "finished" else []
    texts = pace_texts(pace)
    took = seconds_trained(record)
    if texts:
        parts += reversed(texts)  # the time that is left before the pace
    elif took is not None:
        parts.append(f"took {fmt.duration(took)}")
    return [*parts, fmt.clean(record.device)] if record.device else parts


def rates_line(record: Record, pace: RunPace, now: float) -> str:
    """Pace and time left, or how long it took; learning rate, checkpoint, device.

    Args:
        record: of the run.
        pace: see ``run_pace``.
        now: unix seconds.
    """
    parts = pace_texts(pace)
    took = seconds_trained(record)
    if not parts and took is not None:
        parts.append(f"took {fmt.duration(took)}")
    if "train/lr" in record.last:
        parts.append(f"lr {value_text('train/lr', record.last['train/lr'])}")
    if record.checkpoint_time:
        parts.append(f"checkpoint {fmt.ago(now - record.checkpoint_time)}")
    if record.device:
        parts.append(fmt.clean(record.device))
    if record.host:
        parts.append(f"on {fmt.clean(record.host)}")
    return "  ".join(parts)


def progress_facts(record: Record, status: str, log: MetricLog) -> dict[str, Any]:
    """What is known of the progress of a run, as builtin values.

    Args:
        record: of the run.
        status: its state, as shown.
        log: read as far as it goes.
    """
    live = status == "running"
    pace = run_pace(record, status, log)
    return {
        "id": record.id,
        "kind": record.kind,
        "state": status,
        "step": record.step,
        "total_steps": record.total_steps,
        "epoch": record.epoch,
        "epochs": record.total_steps // record.steps_per_epoch if record.steps_per_epoch else None,
        "stage": dict(record.stage) if record.stage and live else None,
        "metrics": dict(record.last),
        "best": dict(record.best),
        "untrained": dict(record.untrained or {}),
        "steps_per_second": pace.steps_per_second,
        "pairs_per_second": pace.pairs_per_second,
        "eta_seconds": pace.eta_seconds,
    }


def progress_text(facts: dict[str, Any]) -> str:
    """These facts as one line; names in it are as the run folder has them."""
    parts = [facts["state"]]
    if facts["epochs"]:
        # ``epoch`` counts those that are done; shown is the one that goes on.
        epoch = min(int(facts["epoch"]) + 1, facts["epochs"])
        parts.append(f"epoch {epoch}/{facts['epochs']}")
    step = "cells" if facts["kind"] == "study" else "step"
    if facts["total_steps"]:
        parts.append(f"{step} {facts['step']}/{facts['total_steps']}")
    elif facts["step"]:
        parts.append(f"{step} {facts['step']}")
    metrics = trained_values(facts["metrics"], facts["best"], facts["untrained"])
    parts += short_texts(metrics)
    parts += [
        f"{name} {value_text(name, value)}"
        for name, value in metrics.items()
        if metric(name).chart == "accuracy" and not metric(name).short
    ]
    if facts["stage"]:
        stage = facts["stage"]
        parts.append(f"{stage['name']} {stage['done']}/{stage['total']}")
    rates = (facts["steps_per_second"], facts["pairs_per_second"], facts["eta_seconds"])
    return "  ".join([*parts, *pace_texts(RunPace(*rates))])
