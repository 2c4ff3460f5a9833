"""What a study has measured: estimates with their intervals, and what may be concluded of them.

Everything is made from a ``StudyConfig`` and a ``StudyState`` alone. Subset seeds are averaged
within a pretraining seed first, because probes of one encoder are no independent repeats; means and
intervals are then over pretraining seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct, structs

from engine.config.baselines import BASELINES
from engine.config.schema import StudyConfig
from engine.study.grid import Cell, CellResult, Source, State, StudyState
from engine.study.statistics import deviation, holm, mean, t_interval, t_tail

Metric = Literal["top1", "balanced"]
Over = Literal["pretraining seeds", "subset seeds"]
Kind = Literal["interval", "range", "single"]

LEVEL = 0.95
"""How often an interval is to cover, and 1 - this the chance of any false verdict in a family."""
LEAST_SEEDS = 3
"""Fewer pretraining seeds give a range, and no verdict."""

BETTER = "larger is better"
WORSE = "larger is worse"
ABOVE_RANDOM = "better than random weights"
BELOW_RANDOM = "worse than random weights"
UNDECIDED = "no difference detected"
TOO_FEW = "no verdict (fewer than three seeds)"
NO_SPREAD = "no verdict (the differences do not vary between seeds)"

RANDOM: Source = "random-init"


class Estimate(Struct, frozen=True):
    """A mean with what is known of its uncertainty; percent, or points for a difference.

    Attributes:
        mean: of the values of the seeds.
        low, high: Student's 95 % interval, or the smallest and the largest value; None for a
            single one.
        seeds: how many seeds it is made of.
        kind: ``interval`` (three pretraining seeds or more), ``range`` or ``single``.
        over: what the seeds are. Pixels and the supervised baseline have no pretraining seed:
            theirs are the subset seeds.
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
        source, queue_size, task, fraction, head: as in ``Cell``.
        estimate: from the complete seeds; None while there is none.
        provisional: from what is done of incomplete seeds, while no seed is complete: something
            to look at, nothing to conclude from. Never an interval.
        complete: pretraining seeds whose subset seeds are all done (for pixels and supervised:
            subset seeds that are done).
        seeds: how many there are to be.
        done, cells: cells done, and cells in all.
        values: seed and its value (subset seeds averaged), of the complete seeds.
        state: of the cells together: done when all are, else running, waiting, failed or
            missing, the first that any cell is in.
    """

    source: Source
    queue_size: int | None
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

    @property
    def label(self) -> str:
        """What the source is called in a table: ``K 4096``, ``random-init`` ..."""
        return source_label(self.source, self.queue_size)


class Comparison(Struct, frozen=True):
    """A larger dictionary against the smallest (or against random weights), seed by seed.

    Attributes:
        scope: ``setting`` (one task, fraction and head), ``head`` (the mean over the settings of
            a head) or ``all`` (the mean over all settings, decided on before anything was
            measured).
        queue_size: the dictionary in question.
        against: the smallest queue size, or None for random weights.
        task, fraction, head: the setting; None where it is averaged over.
        settings: how many settings the mean is over.
        difference: points, from the seeds that are complete in every setting on both sides;
            None while there is none.
        complete, seeds: those seeds, and how many there are to be.
        p: of the paired t test, two-sided; None without a verdict.
        p_adjusted: the same after Holm's correction over ``family`` comparisons.
        family: comparisons of the same scope and opponent that the study plans.
        verdict: one of the texts of this module.
    """

    scope: Literal["setting", "head", "all"]
    queue_size: int
    against: int | None
    task: str | None
    fraction: float | None
    head: str | None
    settings: int
    difference: Estimate | None
    complete: int
    seeds: int
    p: float | None
    p_adjusted: float | None
    family: int
    verdict: str

    @property
    def label(self) -> str:
        """What is compared: ``K 16384 - K 4096``."""
        other = "random-init" if self.against is None else f"K {self.against}"
        return f"K {self.queue_size} - {other}"


class LabelCurve(Struct, frozen=True):
    """Accuracy against the share of the labels, for one source, task and head.

    Attributes:
        source, queue_size, task, head: as in ``Cell``.
        points: fraction and estimate, ascending; fractions without an estimate are left out.
    """

    source: Source
    queue_size: int | None
    task: str
    head: str
    points: tuple[tuple[float, Estimate], ...]

    @property
    def label(self) -> str:
        """As ``ResultRow.label``."""
        return source_label(self.source, self.queue_size)


def source_label(source: str, queue_size: int | None) -> str:
    """What a source is called in a table."""
    return f"K {queue_size}" if source == "moco" else source


# --------------------------------------------------------------------------------------------
# Estimates


def estimate(values: Sequence[float], *, over: Over = "pretraining seeds") -> Estimate | None:
    """The mean of the values of some seeds and its uncertainty; None for no value.

    Args:
        values: one a seed, finite.
        over: what the seeds are. An interval is made of three pretraining seeds or more;
            everything else is a range, since subset seeds share their images.
    """
    if not values:
        return None
    n = len(values)
    if n == 1:
        return Estimate(values[0], None, None, 1, "single", over)
    if over == "pretraining seeds" and n >= LEAST_SEEDS:
        return Estimate(mean(values), *t_interval(values, LEVEL), n, "interval", over)
    return Estimate(mean(values), min(values), max(values), n, "range", over)


def value_of(found: CellResult, metric: Metric = "top1") -> float | None:
    """The figure of a cell that is done; None for any other."""
    value = found.top1 if metric == "top1" else found.balanced
    return value if found.state == "done" and value is not None and math.isfinite(value) else None


_Key = tuple[Source, int | None, str, float, str]


def _groups(study_state: StudyState) -> dict[_Key, dict[Cell, CellResult]]:
    """The cells that are averaged into one row, by row, in the order of the study."""
    groups: dict[_Key, dict[Cell, CellResult]] = {}
    for cell, found in study_state.cells.items():
        key = (cell.source, cell.queue_size, cell.task, cell.fraction, cell.head)
        groups.setdefault(key, {})[cell] = found
    return groups


def _seed_values(cells: Mapping[Cell, CellResult], metric: Metric) -> dict[int, float]:
    """The value of each seed that is complete, its subset seeds averaged, by seed.

    Where there is no pretraining seed, every subset seed is one of its own.
    """
    values: dict[int, list[float | None]] = {}
    for cell, found in cells.items():
        seed = cell.subset_seed if cell.seed is None else cell.seed
        values.setdefault(seed, []).append(value_of(found, metric))
    complete: dict[int, float] = {}
    for seed, found_values in values.items():
        known = [value for value in found_values if value is not None]
        if len(known) == len(found_values):
            complete[seed] = mean(known)
    return complete


def rows(
    config: StudyConfig, study_state: StudyState, metric: Metric = "top1"
) -> tuple[ResultRow, ...]:
    """One row for each source, queue size, task, fraction and head, in the study's order.

    Args:
        config: the study.
        study_state: which of its cells are done, and their figures.
        metric: ``top1``, or ``balanced`` (the mean accuracy of the classes).
    """
    order = {source: i for i, source in enumerate(("moco", *BASELINES))}
    made = [_row(key, cells, metric) for key, cells in _groups(study_state).items()]
    tasks, heads = (*config.tasks,), ("", *config.heads)
    return tuple(
        sorted(
            made,
            key=lambda row: (
                tasks.index(row.task),
                heads.index(row.head),
                order[row.source],
                row.queue_size or 0,
                row.fraction,
            ),
        )
    )


def _row(key: _Key, cells: Mapping[Cell, CellResult], metric: Metric) -> ResultRow:
    over: Over = "subset seeds" if any(c.seed is None for c in cells) else "pretraining seeds"
    values = _seed_values(cells, metric)
    seeds = {c.subset_seed if c.seed is None else c.seed for c in cells}
    known = [v for found in cells.values() if (v := value_of(found, metric)) is not None]
    provisional = None
    if known and not values:
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
    )


def _state(states: Iterable[State]) -> State:
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


def curves(made: Iterable[ResultRow]) -> tuple[LabelCurve, ...]:
    """Accuracy against label fraction for every source, task and head that has a value."""
    points: dict[tuple[Source, int | None, str, str], list[tuple[float, Estimate]]] = {}
    for row in made:
        if row.estimate is not None:
            key = (row.source, row.queue_size, row.task, row.head)
            points.setdefault(key, []).append((row.fraction, row.estimate))
    return tuple(
        LabelCurve(*key, points=tuple(sorted(found, key=lambda point: point[0])))
        for key, found in points.items()
    )


# --------------------------------------------------------------------------------------------
# Comparisons

_Setting = tuple[str, float, str]
_Values = dict[tuple[str, int | None], dict[_Setting, dict[int, float]]]


def comparisons(
    config: StudyConfig, study_state: StudyState, metric: Metric = "top1"
) -> tuple[Comparison, ...]:
    """Every queue size against the smallest, and every queue size against random weights.

    Paired: for each seed the difference of the same tasks, fractions, heads and subsets. The
    comparisons of one scope (all settings, a head, a setting) against one kind of opponent are a
    family for Holm's correction, whose size is what the study plans, not what is done. A scope
    that would only repeat another (of a single head, a single setting) is left out. Random weights
    are compared over all settings only.

    Args:
        config: the study.
        study_state: which of its cells are done.
        metric: see ``rows``.

    Returns:
        Over all settings first, then by head, then by setting, then against random weights.
    """
    values: _Values = {}
    seeds: set[int] = set()
    for (source, size, task, fraction, head), cells in _groups(study_state).items():
        if source in ("moco", RANDOM):
            values.setdefault((source, size), {})[task, fraction, head] = _seed_values(
                cells, metric
            )
            seeds |= {cell.seed for cell in cells if cell.seed is not None}
    sizes = sorted({size for source, size in values if source == "moco" and size is not None})
    settings: list[_Setting] = [
        (task, fraction, head)
        for task in config.tasks
        for head in config.heads
        for fraction in sorted(config.label_fractions)
    ]
    scopes: list[tuple[Literal["setting", "head", "all"], list[list[_Setting]]]] = [
        ("all", [settings]),
        ("head", [[s for s in settings if s[2] == head] for head in config.heads]),
        ("setting", [[setting] for setting in settings]),
    ]
    made: list[Comparison] = []
    for scope, groups in scopes:
        if scope != "all" and len(groups) == 1:
            continue
        made += _family(
            [
                _compare(values, scope, group, size, sizes[0], len(seeds))
                for size in sizes[1:]
                for group in groups
            ]
        )
    if (RANDOM, None) in values:
        made += _family(
            [_compare(values, "all", settings, size, None, len(seeds)) for size in sizes]
        )
    return tuple(made)


def _compare(
    values: _Values,
    scope: Literal["setting", "head", "all"],
    settings: Sequence[_Setting],
    size: int,
    against: int | None,
    seeds: int,
) -> Comparison:
    ours = values["moco", size]
    theirs = values[RANDOM, None] if against is None else values["moco", against]
    complete = set.intersection(
        *(set(ours.get(s, {})) & set(theirs.get(s, {})) for s in settings),
    )
    differences = [
        mean([ours[s][seed] - theirs[s][seed] for s in settings]) for seed in sorted(complete)
    ]
    p, verdict = _test(differences)
    task, fraction, head = settings[0] if scope == "setting" else (None, None, None)
    return Comparison(
        scope=scope,
        queue_size=size,
        against=against,
        task=task,
        fraction=fraction,
        head=settings[0][2] if scope == "head" else head,
        settings=len(settings),
        difference=estimate(differences),
        complete=len(complete),
        seeds=seeds,
        p=p,
        p_adjusted=None,
        family=1,
        verdict=verdict,
    )


def _test(differences: Sequence[float]) -> tuple[float | None, str]:
    """Two-sided p of the paired t test, and the verdict where there can be none."""
    n = len(differences)
    if n < LEAST_SEEDS:
        return None, TOO_FEW
    middle, spread = mean(differences), deviation(differences)
    largest = max(abs(d) for d in differences)
    if largest < 1e-9:
        return 1.0, ""
    if spread <= 1e-9 * largest:  # the test would be sure of what a handful of images decided
        return None, NO_SPREAD
    return 2.0 * t_tail(abs(middle) * math.sqrt(n) / spread, n - 1), ""


def _family(planned: list[Comparison]) -> list[Comparison]:
    """The comparisons with their adjusted p-values and verdicts."""
    tested = [i for i, c in enumerate(planned) if c.p is not None]
    adjusted = holm([planned[i].p or 0.0 for i in tested], len(planned))
    known = dict(zip(tested, adjusted, strict=True))
    out = []
    for i, comparison in enumerate(planned):
        changes: dict[str, Any] = {"family": len(planned)}
        if i in known:
            changes |= {"p_adjusted": known[i], "verdict": _verdict(comparison, known[i])}
        out.append(structs.replace(comparison, **changes))
    return out


def _verdict(comparison: Comparison, p_adjusted: float) -> str:
    difference = comparison.difference
    if difference is None or p_adjusted >= 1.0 - LEVEL:
        return UNDECIDED
    up, down = (ABOVE_RANDOM, BELOW_RANDOM) if comparison.against is None else (BETTER, WORSE)
    return up if difference.mean > 0 else down
