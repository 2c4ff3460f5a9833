"""Comparisons of the variants with their reference and with random weights, and their verdicts.

Paired t tests by pretraining seed, with Holm's correction over each family of comparisons.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct, structs

from engine.config.schema import StudyConfig
from engine.config.variants import Variant
from engine.study.grid import reference, settings, variants, varies_queue_alone
from engine.study.intervals import (
    LEAST_SEEDS,
    LEVEL,
    Estimate,
    Metric,
    cells_by_row,
    encoder_labels,
    estimate,
    heads,
    seed_values,
)
from engine.study.statistics import deviation, holm, mean, t_tail
from engine.study.study_state import StudyState

# Verdicts: they stand in exported files and are compared as texts.
BETTER = "larger is better"
WORSE = "larger is worse"
BETTER_THAN_REFERENCE = "better than the reference"
WORSE_THAN_REFERENCE = "worse than the reference"
ABOVE_RANDOM = "better than random weights"
BELOW_RANDOM = "worse than random weights"
ABOVE_SCRATCH = "better than training from scratch"
BELOW_SCRATCH = "worse than training from scratch"
UNDECIDED = "no difference detected"
TOO_FEW = "no verdict (fewer than three seeds)"
NO_SPREAD = "no verdict (the differences do not vary between seeds)"

RANDOM: Literal["random-init"] = "random-init"
Scope = Literal["setting", "head", "all", "scratch"]


class Comparison(Struct, frozen=True):
    """A variant against the reference (or against random weights), seed by seed.

    Attributes:
        scope: ``setting`` (one task, fraction and head), ``head`` (the mean over the settings of
            a head), ``all`` (the mean over all settings, decided on before anything was measured)
            or ``scratch`` (one setting, against training from scratch: ``study.from_scratch``).
        variant: label of the variant in question.
        reference: label of the variant that it is compared with, in a study of queue sizes the
            smallest; None for random weights. With the scope ``scratch`` that baseline.
        task, fraction, head: the setting; None where it is averaged over.
        settings: how many settings the mean is over.
        difference: points, from the seeds that are complete in every setting on both sides;
            None while there is none.
        complete, seeds: how many such seeds there are, and how many the study plans.
        p: of the paired t test, two-sided; None without a verdict.
        p_adjusted: the same after Holm's correction over ``family`` comparisons.
        family: comparisons of the same scope and opponent that the study plans.
        verdict: one of the texts of this module.
        queue_size: keys in the queue of the variant.
        against: keys in that of the reference; None for random weights.
    """

    scope: Scope
    variant: str
    reference: str | None
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
    queue_size: int
    against: int | None

    @property
    def label(self) -> str:
        """What is compared: ``K 16384 - K 4096``."""
        return f"{self.variant} - {self.reference or RANDOM}"

    @property
    def is_better(self) -> bool:
        """Whether the verdict is for the variant."""
        return self.verdict in (BETTER, BETTER_THAN_REFERENCE, ABOVE_RANDOM, ABOVE_SCRATCH)

    @property
    def is_worse(self) -> bool:
        """Whether the verdict is against the variant."""
        return self.verdict in (WORSE, WORSE_THAN_REFERENCE, BELOW_RANDOM, BELOW_SCRATCH)


_Setting = tuple[str, float, str]  # task, label fraction and head
# By source and variant, then by setting, the value of each complete pretraining seed.
_Values = dict[tuple[str, str | None], dict[_Setting, dict[int, float]]]


def comparisons(
    config: StudyConfig, study_state: StudyState, metric: Metric = "top1"
) -> tuple[Comparison, ...]:
    """Every variant against the reference, and every variant against random weights.

    Paired: for each seed the difference of the same tasks, fractions, heads and subsets. The
    comparisons of one scope (all settings, a head, a setting) against one kind of opponent are a
    family for Holm's correction, whose size is what the study plans, not what is done. A scope
    that would only repeat another (of a single head, a single setting) is left out. Random weights
    are compared over all settings only; a variant with those of its own architecture and images.

    Args:
        config: the study.
        study_state: which of its cells are done.
        metric: see ``intervals.rows``.

    Returns:
        Over all settings first, then by head, then by setting, then against random weights.
    """
    values, seeds = _paired_values(study_state, metric)
    pairs = _Pairs(values, seeds)
    by_label = {variant.label: variant for variant in variants(config)}
    ordered = [by_label[label] for label in encoder_labels(config)]
    first = reference(config)
    others = [variant for variant in ordered if variant.label != first.label]
    judged = list(settings(config))
    all_heads = heads(config)
    scopes: list[tuple[Scope, list[list[_Setting]]]] = [
        ("all", [judged]),
        ("head", [[s for s in judged if s[2] == head] for head in all_heads]),
        ("setting", [[setting] for setting in judged]),
    ]
    words = (
        (BETTER, WORSE)
        if varies_queue_alone(config)
        else (BETTER_THAN_REFERENCE, WORSE_THAN_REFERENCE)
    )
    found: list[Comparison] = []
    for scope, groups in scopes:
        if scope != "all" and len(groups) == 1:
            continue
        planned = [
            pairs.compare(scope, group, variant, first) for variant in others for group in groups
        ]
        found += with_holm(planned, words)
    if any(source == RANDOM for source, _ in values):
        planned = [pairs.compare("all", judged, variant, None) for variant in ordered]
        found += with_holm(planned, (ABOVE_RANDOM, BELOW_RANDOM))
    return tuple(found)


def _paired_values(study_state: StudyState, metric: Metric) -> tuple[_Values, int]:
    """The values of the encoders and of random weights, and how many pretraining seeds there are.

    The other baselines have no pretraining seed to be paired by.
    """
    values: _Values = {}
    seeds: set[int] = set()
    for (source, variant, task, fraction, head), cells in cells_by_row(study_state).items():
        if source in ("moco", RANDOM):
            of_source = values.setdefault((source, variant), {})
            of_source[task, fraction, head] = seed_values(cells, metric)
            seeds |= {cell.seed for cell in cells if cell.seed is not None}
    return values, len(seeds)


class _Pairs:
    """Makes the comparisons of a study.

    Args:
        values: see ``_Values``.
        seeds: how many pretraining seeds there are.
    """

    def __init__(self, values: _Values, seeds: int) -> None:
        self._values, self._seeds = values, seeds

    def compare(
        self, scope: Scope, settings: Sequence[_Setting], variant: Variant, against: Variant | None
    ) -> Comparison:
        """A variant against another one, or against random weights (None), without its verdict."""
        ours = self._values["moco", variant.label]
        if against is None:
            # Of the same architecture: one set of random weights a seed serves all that share it.
            theirs = self._values[RANDOM, variant.groups[RANDOM] or None]
        else:
            theirs = self._values["moco", against.label]
        # A seed enters when it is complete in every setting on both sides: else the settings of
        # different seeds would be averaged, and the pairing would be lost.
        complete = set.intersection(
            *(set(ours.get(s, {})) & set(theirs.get(s, {})) for s in settings),
        )
        # One number a seed: settings share the encoder, so they are no independent repeats.
        differences = {
            seed: mean([ours[s][seed] - theirs[s][seed] for s in settings]) for seed in complete
        }
        return planned_comparison(
            scope,
            settings,
            variant,
            None if against is None else against.label,
            differences,
            self._seeds,
            against=None if against is None else against.queue_size,
        )


def planned_comparison(
    scope: Scope,
    settings: Sequence[_Setting],
    variant: Variant,
    opponent: str | None,
    differences: Mapping[int, float],
    seeds: int,
    *,
    against: int | None = None,
) -> Comparison:
    """A comparison without the verdict that its family gives it.

    Args:
        scope: see ``Comparison``.
        settings: task, label fraction and head of all that it is over.
        variant: the variant in question.
        opponent: see ``Comparison.reference``.
        differences: points by pretraining seed.
        seeds: how many the study plans.
        against: see ``Comparison``.
    """
    values = [differences[seed] for seed in sorted(differences)]
    p, verdict = _test(values)
    single = scope in ("setting", "scratch")
    task, fraction, head = settings[0] if single else (None, None, None)
    return Comparison(
        scope=scope,
        variant=variant.label,
        reference=opponent,
        task=task,
        fraction=fraction,
        head=settings[0][2] if scope == "head" else head,
        settings=len(settings),
        difference=estimate(values),
        complete=len(values),
        seeds=seeds,
        p=p,
        p_adjusted=None,
        family=1,
        verdict=verdict,
        queue_size=variant.queue_size,
        against=against,
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


def with_holm(planned: Sequence[Comparison], words: tuple[str, str]) -> list[Comparison]:
    """The comparisons with their adjusted p-values and verdicts.

    Args:
        planned: a family.
        words: the verdicts for a variant that is better, and one that is worse.
    """
    # The correction is for as many as are planned: a study that is looked at on the way must not
    # find more than the finished one would.
    tested = [i for i, c in enumerate(planned) if c.p is not None]
    adjusted = holm([planned[i].p or 0.0 for i in tested], len(planned))  # "or" is for mypy
    known = dict(zip(tested, adjusted, strict=True))
    out = []
    for i, comparison in enumerate(planned):
        changes: dict[str, Any] = {"family": len(planned)}
        if i in known:
            changes |= {"p_adjusted": known[i], "verdict": _verdict(comparison, known[i], words)}
        out.append(structs.replace(comparison, **changes))
    return out


def _verdict(comparison: Comparison, p_adjusted: float, words: tuple[str, str]) -> str:
    difference = comparison.difference
    if difference is None or p_adjusted >= 1.0 - LEVEL:
        return UNDECIDED
    return words[0] if difference.mean > 0 else words[1]
