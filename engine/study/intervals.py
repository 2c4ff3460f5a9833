"""The measurements of a study: the mean of every row with its interval.

Everything is made from a ``StudyConfig`` and a ``StudyState`` alone. Subset seeds are averaged
within a pretraining seed first, because probes of one encoder are no independent repeats; means and
intervals are then over pretraining seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from engine.config.baselines import BASELINES
from engine.config.phrases import training_shortfall
from engine.config.schema import StudyConfig
from engine.study.grid import (
    KNN_HEAD,
    Cell,
    Source,
    settings,
    source_label,
    variants,
    varies_queue_alone,
)
from engine.study.statistics import mean, t_interval
from engine.study.study_state import CellResult, State, StudyState

Metric = Literal["top1", "balanced"]
Over = Literal["pretraining seeds", "subset seeds"]
Kind = Literal["interval", "range", "single"]

LEVEL = 0.95
"""Coverage of the intervals; 1 - LEVEL bounds the chance of any false verdict in a family."""
LEAST_SEEDS = 3
"""Fewer pretraining seeds give a range, and no verdict: with two, Student's t has one degree of
freedom, and its 95 % interval is 12.7 standard errors to either side."""


class Estimate(Struct, frozen=True):
    """A mean and its uncertainty; percent, or percentage points for a difference.

    Attributes:
        mean: of the values of the seeds.
        low, high: Student's 95 % interval, or the smallest and the largest value; None for a
            single one.
        seeds: how many seeds it is made of.
        kind: ``interval`` (three pretraining seeds or more), ``range`` or ``single``.
        over: which seeds these are. Pixels and the supervised baseline have no pretraining seed,
            so theirs are the subset seeds.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: int
    kind: Kind
    over: Over = "pretraining seeds"


class ResultRow(Struct, frozen=True):
    """One source on one task with one share of the labels and one head.

    Attributes:
        source, variant, task, fraction, head, queue_size: as in ``Cell``.
        estimate: from the complete seeds; None while there is none.
        provisional: from the cells done of incomplete seeds, while no seed is complete: for
            display only, no conclusion is drawn from it. Never an interval.
        complete: pretraining seeds whose subset seeds are all done (for pixels and supervised:
            subset seeds that are done).
        seeds: how many the study plans.
        done, cells: cells done, and cells in all.
        values: seed and its value (subset seeds averaged), of the complete seeds.
        state: of the cells together: done when all are, else the first of running, waiting,
            failed and missing that any cell is in.
        epochs_trained, epochs_planned, converged: as in ``CellResult``, of the cell that lacks
            most: the fewest epochs, and false where any is not converged.
    """

    source: Source
    variant: str | None
    task: str
    fraction: float
    head: str
    estimate: Estimate | None
    provisional: Estimate | None
    complete: int
    seeds: int
    done: int
    cells: int
    values: tuple[tuple[int, float], ...]
    state: State
    epochs_trained: float | None = None
    epochs_planned: float | None = None
    converged: bool | None = None
    queue_size: int | None = None

    @property
    def label(self) -> str:
        """What the source is called in a table: ``K 4096``, ``random-init`` ..."""
        return source_label(self.source, self.variant)

    @property
    def shortfall(self) -> str:
        """What the training from scratch lacks, in words; see ``phrases.training_shortfall``."""
        return training_shortfall(self.epochs_trained, self.epochs_planned, self.converged)


class LabelCurve(Struct, frozen=True):
    """Accuracy against the share of the labels, for one source, task and head.

    Attributes:
        source, variant, task, head, queue_size: as in ``Cell``.
        points: fraction and estimate, ascending; fractions without an estimate are left out.
    """

    source: Source
    variant: str | None
    task: str
    head: str
    points: tuple[tuple[float, Estimate], ...]
    queue_size: int | None = None

    @property
    def label(self) -> str:
        """As ``ResultRow.label``."""
        return source_label(self.source, self.variant)


# --------------------------------------------------------------------------------------------
# Estimates


def estimate(values: Sequence[float], *, over: Over = "pretraining seeds") -> Estimate | None:
    """The mean of the values of some seeds and its uncertainty; None for no value.

    Args:
        values: one a seed, finite.
        over: which seeds these are. Three pretraining seeds or more make an interval; everything
            else is a range, since subset seeds share their images.
    """
    if not values:
        return None
    n = len(values)
    if n == 1:
        return Estimate(values[0], None, None, 1, "single", over)
    # Student's t assumes independent values: probes of one encoder on overlapping images are not.
    if over == "pretraining seeds" and n >= LEAST_SEEDS:
        return Estimate(mean(values), *t_interval(values, LEVEL), n, "interval", over)
    return Estimate(mean(values), min(values), max(values), n, "range", over)


def value_of(found: CellResult, metric: Metric = "top1") -> float | None:
    """The figure of a cell that is done; None for any other."""
    value = found.top1 if metric == "top1" else found.balanced
    return value if found.state == "done" and value is not None and math.isfinite(value) else None


RowKey = tuple[Source, str | None, str, float, str]
"""Source, variant, task, label fraction and head of a row."""


def cells_by_row(study_state: StudyState) -> dict[RowKey, dict[Cell, CellResult]]:
    """The cells that are averaged into one row, by row, in the order of the study."""
    groups: dict[RowKey, dict[Cell, CellResult]] = {}
    for cell, found in study_state.cells.items():
        key = (cell.source, cell.variant, cell.task, cell.fraction, cell.head)
        groups.setdefault(key, {})[cell] = found
    return groups


def seed_values(cells: Mapping[Cell, CellResult], metric: Metric) -> dict[int, float]:
    """The value of each seed that is complete, its subset seeds averaged, by seed.

    Where there is no pretraining seed, every subset seed is one of its own.
    """
    values: dict[int, list[float | None]] = {}
    for cell, found in cells.items():
        seed = cell.subset_seed if cell.seed is None else cell.seed
        values.setdefault(seed, []).append(value_of(found, metric))
    return complete_means(values)


def complete_means(values: Mapping[int, Sequence[float | None]]) -> dict[int, float]:
    """The mean of each seed all of whose values are known, by seed.

    Of an incomplete seed other subsets would be averaged than of the rest.
    """
    known = {seed: [v for v in of_seed if v is not None] for seed, of_seed in values.items()}
    return {seed: mean(found) for seed, found in known.items() if len(found) == len(values[seed])}


def rows(
    config: StudyConfig, study_state: StudyState, metric: Metric = "top1"
) -> tuple[ResultRow, ...]:
    """One row for each source, variant, task, fraction and head, in the study's order.

    Args:
        config: the study.
        study_state: which of its cells are done, and their figures.
        metric: ``top1``, or ``balanced`` (the mean accuracy of the classes).
    """
    order = {source: i for i, source in enumerate(("moco", *BASELINES))}
    place = {label: i for i, label in enumerate(encoder_labels(config))}
    made = [_row(key, cells, metric) for key, cells in cells_by_row(study_state).items()]
    tasks = dict.fromkeys(task for task, _, _ in settings(config))
    task_place = {task: i for i, task in enumerate(tasks)}
    # "": supervised, which has none
    head_place = {head: i for i, head in enumerate(("", *heads(config)))}
    return tuple(
        sorted(
            made,
            key=lambda row: (
                task_place[row.task],
                head_place[row.head],
                order[row.source],
                place.get(row.variant or "", 0),
                row.fraction,
            ),
        )
    )


def heads(config: StudyConfig) -> tuple[str, ...]:
    """The heads of a study, in its order; of one that is judged by kNN, that."""
    return (KNN_HEAD,) if config.judge == "knn" else config.heads


def encoder_labels(config: StudyConfig) -> list[str]:
    """The variants of a study in the order of its tables: of queue sizes the smallest first."""
    found = list(variants(config))
    if varies_queue_alone(config):
        found.sort(key=lambda variant: variant.queue_size)
    return [variant.label for variant in found]


def _row(key: RowKey, cells: Mapping[Cell, CellResult], metric: Metric) -> ResultRow:
    over: Over = "subset seeds" if any(c.seed is None for c in cells) else "pretraining seeds"
    values = seed_values(cells, metric)
    seeds = {c.subset_seed if c.seed is None else c.seed for c in cells}
    known = [v for found in cells.values() if (v := value_of(found, metric)) is not None]
    provisional = None
    if known and not values:
        # As subset seeds, whatever they are: that makes a range and never an interval.
        provisional = estimate(known, over="subset seeds")
    return ResultRow(
        *key,
        estimate=estimate(list(values.values()), over=over),
        provisional=provisional,
        complete=len(values),
        seeds=len(seeds),
        done=len(known),
        cells=len(cells),
        values=tuple(sorted(values.items())),
        state=_state(found.state for found in cells.values()),
        epochs_trained=min(_of_done(cells, "epochs_trained"), default=None),
        epochs_planned=max(_of_done(cells, "epochs_planned"), default=None),
        converged=min(_of_done(cells, "converged"), default=None),
        queue_size=next(iter(cells)).queue_size,
    )


def _of_done(cells: Mapping[Cell, CellResult], name: str) -> list[Any]:
    """A value of the cells that are done, where it is known."""
    values = (getattr(found, name) for found in cells.values() if found.state == "done")
    return [value for value in values if value is not None]


def _state(states: Iterable[State]) -> State:
    # Running before failed: a table shows that a row is still being filled.
    present = set(states)
    if present == {"done"}:
        return "done"
    order: tuple[State, ...] = ("running", "waiting", "failed")
    return next((state for state in order if state in present), "missing")


def majority(study_state: StudyState) -> dict[str, float]:
    """Percent of the test images in the most frequent class of each task: what chance gives.

    A task of which nothing is measured yet is left out.
    """
    shares: dict[str, float] = {}
    for cell, found in study_state.cells.items():
        if found.state == "done" and found.majority is not None:
            shares.setdefault(cell.task, found.majority)
    return shares


def curves(result_rows: Iterable[ResultRow]) -> tuple[LabelCurve, ...]:
    """Accuracy against label fraction for every source, task and head that has a value."""
    points: dict[tuple[Source, str | None, str, str], list[tuple[float, Estimate]]] = {}
    sizes: dict[str | None, int | None] = {}
    for row in result_rows:
        if row.estimate is not None:
            key = (row.source, row.variant, row.task, row.head)
            points.setdefault(key, []).append((row.fraction, row.estimate))
            sizes[row.variant] = row.queue_size
    return tuple(
        LabelCurve(
            *key,
            points=tuple(sorted(found, key=lambda point: point[0])),
            queue_size=sizes[key[1]] if key[0] == "moco" else None,
        )
        for key, found in points.items()
    )
