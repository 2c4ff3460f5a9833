"""Encoders against training from scratch on the same labels, and up to which share they are better.

Training from scratch has no pretraining seed. It is paired by the subset seed: for each pretraining
seed the difference is the mean over the subset seeds that both have. The intervals are then over
the pretraining seeds, conditional on one training from scratch for each subset, whose own noise all
seeds share. Made for studies with a head that trains the encoder: there the two differ only in the
start.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from engine.config.heads import trains_encoder
from engine.config.phrases import plural
from engine.config.schema import StudyConfig
from engine.config.variants import Variant
from engine.study.comparisons import (
    ABOVE_SCRATCH,
    BELOW_SCRATCH,
    Comparison,
    planned_comparison,
    with_holm,
)
from engine.study.grid import settings, source_label, variants
from engine.study.intervals import (
    Kind,
    Metric,
    cells_by_row,
    complete_means,
    encoder_labels,
    estimate,
    value_of,
)
from engine.study.statistics import mean
from engine.study.study_state import StudyState

Where = Literal["at every share", "at none", "up to a share", "no single share"]


class Crossing(Struct, frozen=True):
    """Up to which share of the labels an encoder beats training from scratch.

    Attributes:
        variant: label of the variant.
        task, head: of the probes.
        where: by the signs of the mean differences, share by share. ``up to a share``: better at
            the smallest shares, not better at the larger ones; ``no single share``: the sign
            changes more than once, or the encoder is better at the larger shares only.
        share: in (0, 1], where the difference is zero, between measured shares along the logarithm
            of the share; None unless ``up to a share``. It is the geometric mean over the seeds
            where each has such a share, else that of the mean differences.
        low, high: Student's 95 % interval of it over the seeds, in the logarithm, or the smallest
            and the largest; None for a single seed, or where a seed has no such share.
        kind: as in ``Estimate``.
        crossed, seeds: how many seeds have such a share, of those that are complete at all shares.
        shares: the smallest and the largest share that is measured.
    """

    variant: str
    task: str
    head: str
    where: Where
    share: float | None
    low: float | None
    high: float | None
    kind: Kind
    crossed: int
    seeds: int
    shares: tuple[float, float]

    def sentence(self) -> str:
        """The crossing in words."""
        what = f"{self.variant} with the {self.head} head (task {self.task})"
        span = _span(self.shares)
        if self.where == "no single share":
            return (
                f"{what} against training from scratch: the difference changes its sign in a way "
                f"that leaves no single share of the labels ({span} measured)."
            )
        beats = f"{what} beats training from scratch on the same labels"
        if self.where != "up to a share" or self.share is None:
            return f"{beats} {self.where} that is measured ({span})."
        return f"{beats} up to {_percent(self.share)} of them ({self._uncertainty()})."

    def _uncertainty(self) -> str:
        if self.low is None or self.high is None:
            if self.seeds == 1:
                return "one pretraining seed"
            return f"by the mean; {self.crossed} of {plural(self.seeds, 'seed')} cross there once"
        text = f"{_percent(self.low)} to {_percent(self.high)}, {self.seeds} pretraining seeds"
        return f"95 % interval {text}" if self.kind == "interval" else f"from {text}"


def _percent(share: float) -> str:
    # An interval may reach beyond all labels, where nothing is.
    return f"{100.0 * min(share, 1.0):.3g} %"


def _span(shares: tuple[float, float]) -> str:
    low, high = shares
    return _percent(low) if low == high else f"{_percent(low)} to {_percent(high)}"


def applies(config: StudyConfig) -> bool:
    """Whether a study compares its encoders with training from scratch."""
    return (
        config.judge == "probes"
        and "supervised" in config.baselines
        and any(trains_encoder(head) for head in config.heads)
    )


_Setting = tuple[str, float, str]  # task, label fraction and head


def differences(
    config: StudyConfig, study_state: StudyState, variant: Variant, metric: Metric = "top1"
) -> dict[_Setting, dict[int, float]]:
    """Points by which a variant is better than training from scratch, by setting and seed.

    Args:
        config: the study.
        study_state: which of its cells are done.
        variant: the encoder; it is compared with the net of its own architecture.
        metric: see ``intervals.rows``.

    Returns:
        By task, fraction and head the mean over the subset seeds of the training from scratch, of
        the pretraining seeds for which all of them are done on both sides.
    """
    groups = cells_by_row(study_state)
    found: dict[_Setting, dict[int, float]] = {}
    for task, fraction, head in settings(config):
        scratch = groups.get(
            ("supervised", variant.groups["supervised"] or None, task, fraction, ""), {}
        )
        theirs = {cell.subset_seed: value_of(was, metric) for cell, was in scratch.items()}
        ours: dict[int, list[float | None]] = {}
        for cell, was in groups.get(("moco", variant.label, task, fraction, head), {}).items():
            if cell.seed is not None and cell.subset_seed in theirs:
                a, b = value_of(was, metric), theirs[cell.subset_seed]
                ours.setdefault(cell.seed, []).append(None if a is None or b is None else a - b)
        found.setdefault((task, fraction, head), {}).update(complete_means(ours))
    return found


def scratch_comparisons(
    config: StudyConfig, study_state: StudyState, metric: Metric = "top1"
) -> tuple[Comparison, ...]:
    """Every encoder against training from scratch in every setting, in the order of tables.

    Two-sided t tests over the pretraining seeds; all of them are one family of Holm's correction.
    """
    if not applies(config):
        return ()
    planned = []
    for variant in _ordered(config):
        found = differences(config, study_state, variant, metric)
        planned += [
            planned_comparison(
                "scratch",
                (setting,),
                variant,
                source_label("supervised", variant.groups["supervised"] or None),
                found[setting],
                len(config.seeds),
            )
            for setting in settings(config)
        ]
    return tuple(with_holm(planned, (ABOVE_SCRATCH, BELOW_SCRATCH)))


def crossings(
    config: StudyConfig, study_state: StudyState, metric: Metric = "top1"
) -> tuple[Crossing, ...]:
    """Up to which share each encoder is better, by variant, task and head.

    Only seeds that are complete at every share enter; without one there is nothing to say.
    """
    if not applies(config):
        return ()
    made = []
    for variant in _ordered(config):
        found = differences(config, study_state, variant, metric)
        for task in config.tasks:
            for head in config.heads:
                by_share = {
                    fraction: seeds
                    for (of_task, fraction, of_head), seeds in found.items()
                    if (of_task, of_head) == (task, head)
                }
                complete = set.intersection(*(set(seeds) for seeds in by_share.values()))
                if complete:
                    made.append(_crossing(variant.label, task, head, by_share, sorted(complete)))
    return tuple(made)


def _ordered(config: StudyConfig) -> list[Variant]:
    by_label = {variant.label: variant for variant in variants(config)}
    return [by_label[label] for label in encoder_labels(config)]


def _crossing(
    variant: str,
    task: str,
    head: str,
    by_share: Mapping[float, Mapping[int, float]],
    complete: Sequence[int],
) -> Crossing:
    shares = sorted(by_share)
    means = [(share, mean([by_share[share][seed] for seed in complete])) for share in shares]
    where, share = crossing_of(means)
    kind: Kind = "single"
    low = high = None
    own = [crossing_of([(s, by_share[s][seed]) for s in shares])[1] for seed in complete]
    logs = [math.log(value) for value in own if value is not None]
    if where == "up to a share" and len(logs) == len(complete):
        found = estimate(logs)
        assert found is not None  # a seed at least is complete
        share, kind = math.exp(found.mean), found.kind
        if found.low is not None and found.high is not None:
            low, high = math.exp(found.low), math.exp(found.high)
    ends = (shares[0], shares[-1])
    return Crossing(
        variant, task, head, where, share, low, high, kind, len(logs), len(complete), ends
    )


def crossing_of(points: Sequence[tuple[float, float]]) -> tuple[Where, float | None]:
    """Where a difference falls through zero, and at which share.

    Args:
        points: share in (0, 1], ascending, and the difference in points; a difference of zero
            counts as not better. At least one.

    Returns:
        The place, and the share where it is ``up to a share``: with differences ``d`` and ``e`` at
        the shares ``a`` and ``b`` around it, ``a * (b / a) ** (d / (d - e))``.
    """
    better = [difference > 0.0 for _, difference in points]
    if all(better):
        return "at every share", None
    if not any(better):
        return "at none", None
    last = better.index(False) - 1
    if last < 0 or any(better[last + 1 :]):
        return "no single share", None
    (a, d), (b, e) = points[last : last + 2]
    return "up to a share", a * (b / a) ** (d / (d - e))
