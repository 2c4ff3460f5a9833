"""Accuracy against epochs of pretraining as a table: of one run, or of several side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from engine.history.entry import Entry
from engine.runs import Record
from engine.study.epoch_curves import EpochCurve, epoch_curves
from moco_tui.present import fmt

NO_VALUE = "-"


def curves_of(entries: Iterable[Entry], record: Record) -> tuple[EpochCurve, ...]:
    """The curves of a pretraining that have more than one point: one alone is no curve."""
    if record.kind != "pretrain":
        return ()
    found = epoch_curves(entries, record.id, record.steps_per_epoch)
    return tuple(curve for curve in found if len(curve.points) > 1)


def epoch_rows(curves: Sequence[EpochCurve]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table: a row for each checkpoint, a column for each curve."""
    steps = sorted({point.step for curve in curves for point in curve.points})
    by_step = [{point.step: point for point in curve.points} for curve in curves]
    rows = []
    for step in steps:
        epoch = next(points[step].epoch for points in by_step if step in points)
        rows.append(
            [
                NO_VALUE if epoch is None else f"{epoch:.4g}",
                f"{step:,}",
                *(_accuracy(points[step].top1 if step in points else None) for points in by_step),
            ]
        )
    return ["epoch", "step", *(fmt.clean(curve.name) for curve in curves)], rows


def common_curves(
    found: Mapping[str, Sequence[EpochCurve]],
) -> dict[str, dict[str, EpochCurve]]:
    """Curves that two or more runs have, by name and by id of the run.

    Where none of them has more than one point, there is no curve to compare.

    Args:
        found: the curves of each run, by its id.
    """
    by_key: dict[str, dict[str, EpochCurve]] = {}
    for run, curves in found.items():
        for curve in curves:
            by_key.setdefault(curve.key, {})[run] = curve
    made: dict[str, dict[str, EpochCurve]] = {}
    for of_runs in by_key.values():
        if len(of_runs) > 1 and any(len(curve.points) > 1 for curve in of_runs.values()):
            base = name = next(iter(of_runs.values())).name
            number = 1
            while name in made:
                number += 1
                name = f"{base} ({number})"
            made[name] = of_runs
    return made


def epoch_values(
    curves: Mapping[str, EpochCurve], runs: Sequence[str]
) -> list[tuple[float, list[float | None]]]:
    """One curve of several runs: each epoch, and the accuracy of every run there, in percent.

    Args:
        curves: by id of the run.
        runs: ids of all runs, in their order.
    """
    by_run = {
        run: {_place(point): point.top1 for point in curve.points} for run, curve in curves.items()
    }
    places = sorted({place for points in by_run.values() for place in points})
    return [(place, [by_run.get(run, {}).get(place) for run in runs]) for place in places]


def side_by_side_rows(
    curves: Mapping[str, EpochCurve], runs: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of ``epoch_values``: a row for each epoch, a column for each run."""
    found = epoch_values(curves, runs)
    rows = [[f"{place:.4g}", *map(_accuracy, values)] for place, values in found]
    return ["epoch", *runs], rows


def _place(point: Any) -> float:
    """By what points of several runs stand in one row: runs may differ in steps an epoch."""
    return float(point.step if point.epoch is None else point.epoch)


def _accuracy(value: float | None) -> str:
    return NO_VALUE if value is None else fmt.accuracy(value)


def curve_facts(curves: Iterable[EpochCurve]) -> list[dict[str, Any]]:
    """The curves as builtin values: name, and epoch, step, top1 and probe of each point."""
    return [
        {"name": curve.name, "points": [msgspec.structs.asdict(point) for point in curve.points]}
        for curve in curves
    ]
