"""Comparisons of queue sizes with each other and with random weights, and their verdicts.

Paired t tests by pretraining seed, with Holm's correction over each family of comparisons.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct, structs

from engine.config.schema import StudyConfig
from engine.study.grid import Source
from engine.study.intervals import (
    LEAST_SEEDS,
    LEVEL,
    Estimate,
    Metric,
    cells_by_row,
    estimate,
    seed_values,
)
from engine.study.statistics import deviation, holm, mean, t_tail
from engine.study.study_state import StudyState

# Verdicts: they stand in exported files and are compared as texts.
BETTER = "larger is better"
WORSE = "larger is worse"
ABOVE_RANDOM = "better than random weights"
BELOW_RANDOM = "worse than random weights"
UNDECIDED = "no difference detected"
TOO_FEW = "no verdict (fewer than three seeds)"
NO_SPREAD = "no verdict (the differences do not vary between seeds)"

RANDOM: Source = "random-init"
Scope = Literal["setting", "head", "all"]


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
        complete, seeds: how many such seeds there are, and how many the study plans.
        p: of the paired t test, two-sided; None without a verdict.
        p_adjusted: the same after Holm's correction over ``family`` comparisons.
        family: comparisons of the same scope and opponent that the study plans.
        verdict: one of the texts of this module.
    """

    scope: Scope
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


_Setting = tuple[str, float, str]  # task, label fraction and head
# By source and queue size, then by setting, the value of each complete pretraining seed.
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
        metric: see ``intervals.rows``.

    Returns:
        Over all settings first, then by head, then by setting, then against random weights.
    """
    values, seeds = _paired_values(study_state, metric)
    sizes = sorted({size for source, size in values if source == "moco" and size is not None})
    settings: list[_Setting] = [
        (task, fraction, head)
        for task in config.tasks
        for head in config.heads
        for fraction in sorted(config.label_fractions)
    ]
    scopes: list[tuple[Scope, list[list[_Setting]]]] = [
        ("all", [settings]),
        ("head", [[s for s in settings if s[2] == head] for head in config.heads]),
        ("setting", [[setting] for setting in settings]),
    ]
    found: list[Comparison] = []
    for scope, groups in scopes:
        if scope != "all" and len(groups) == 1:
            continue
        planned = [
            _compare(values, scope, group, size, sizes[0], seeds)
            for size in sizes[1:]
            for group in groups
        ]
        found += _with_holm(planned)
    if (RANDOM, None) in values:
        planned = [_compare(values, "all", settings, size, None, seeds) for size in sizes]
        found += _with_holm(planned)
    return tuple(found)


def _paired_values(study_state: StudyState, metric: Metric) -> tuple[_Values, int]:
    """The values of the encoders and of random weights, and how many pretraining seeds there are.

    The other baselines have no pretraining seed to be paired by.
    """
    values: _Values = {}
    seeds: set[int] = set()
    for (source, size, task, fraction, head), cells in cells_by_row(study_state).items():
        if source in ("moco", RANDOM):
            of_source = values.setdefault((source, size), {})
            of_source[task, fraction, head] = seed_values(cells, metric)
            seeds |= {cell.seed for cell in cells if cell.seed is not None}
    return values, len(seeds)


def _compare(
    values: _Values,
    scope: Scope,
    settings: Sequence[_Setting],
    size: int,
    against: int | None,
    seeds: int,
) -> Comparison:
    ours = values["moco", size]
    # Random weights do not depend on the queue: one set of them a seed serves every size.
    theirs = values[RANDOM, None] if against is None else values["moco", against]
    # A seed enters when it is complete in every setting on both sides: else the settings of
    # different seeds would be averaged, and the pairing would be lost.
    complete = set.intersection(
        *(set(ours.get(s, {})) & set(theirs.get(s, {})) for s in settings),
    )
    # One number a seed: settings share the encoder, so they are no independent repeats.
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
    """Two-sided p of the paired t test and "", or None and the reason why there is no verdict.

    Args:
        differences: points, one a seed.
    """
    n = len(differences)
    if n < LEAST_SEEDS:
        return None, TOO_FEW
    middle, spread = mean(differences), deviation(differences)
    largest = max(abs(d) for d in differences)
    if largest < 1e-9:  # equal accuracies in every seed; far below one image in 10,000
        return 1.0, ""
    # Accuracies are multiples of one image: a few equal differences give t = infinity and p = 0,
    # a certainty that three seeds do not have.
    if spread <= 1e-9 * largest:
        return None, NO_SPREAD
    return 2.0 * t_tail(abs(middle) * math.sqrt(n) / spread, n - 1), ""


def _with_holm(planned: list[Comparison]) -> list[Comparison]:
    """The comparisons with their adjusted p-values and verdicts."""
    # The correction is for as many as are planned: a study that is looked at on the way must not
    # find more than the finished one would.
    tested = [i for i, c in enumerate(planned) if c.p is not None]
    adjusted = holm([planned[i].p or 0.0 for i in tested], len(planned))  # "or" is for mypy
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
