"""Encoders against training from scratch on the same labels, and up to which share they are better.

Training from scratch has no pretraining seed. It is paired by the subset seed: for each pretraining
seed the difference is the mean over the subset seeds that both have. The intervals are then over
the pretraining seeds, conditional on one training from scratch for each subset, whose own noise all
seeds share. With a head that trains the encoder the two differ only in the start; a head on frozen
features stands for what such an encoder is good for as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

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
from engine.study.grid import Cell, settings, source_label, variants
from engine.study.intervals import (
    Kind,
    Metric,
    RowKey,
    cells_by_row,
    complete_means,
    encoder_labels,
    estimate,
    value_of,
)
from engine.study.statistics import mean
from engine.study.study_state import CellResult, StudyState

Where = Literal["at every share", "at none", "up to a share", "no single share"]
_MOST_SENTENCES = 12


class Pair(Struct, frozen=True):
    """An encoder and a training from scratch on the same labelled subset.

    Attributes:
        variant, seed, subset_seed, task, head, fraction: of the encoder's cell, as in ``Cell``.
        top1: of the encoder, percent.
        scratch: of the training from scratch, percent.
    """

    variant: str
    seed: int
    subset_seed: int
    task: str
    head: str
    fraction: float
    top1: float
    scratch: float

    @property
    def difference(self) -> float:
        """Points by which the encoder is better."""
        return self.top1 - self.scratch


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
            measured = f"{beats} {self.where} that is measured ({span})"
            if not self.crossed:
                return f"{measured}."
            crossed = f"{self.crossed} of {plural(self.seeds, 'seed')}"
            return f"{measured} by the mean, but {crossed} up to a share between them."
        return f"{beats} up to {percent_text(self.share)} of them ({self._uncertainty()})."

    def share_text(self) -> str:
        """Up to which share, as it stands in a table: ``up to 3.2 %``, or ``where``."""
        if self.where != "up to a share" or self.share is None:
            return self.where
        return f"up to {percent_text(self.share)}"

    def span_text(self) -> str:
        """The interval in round brackets, a range in square ones; a dash without either."""
        if self.low is None or self.high is None:
            return "-"
        text = f"{percent_text(self.low)} to {percent_text(self.high)}"
        return f"({text})" if self.kind == "interval" else f"[{text}]"

    def _uncertainty(self) -> str:
        if self.low is None or self.high is None:
            if self.seeds == 1:
                return "one pretraining seed"
            return f"by the mean; {self.crossed} of {plural(self.seeds, 'seed')} cross there once"
        text = f"{percent_text(self.low)} to {percent_text(self.high)}"
        text += f", {self.seeds} pretraining seeds"
        return f"95 % interval {text}" if self.kind == "interval" else f"from {text}"


def percent_text(share: float) -> str:
    """A share of the labels in percent, to three digits."""
    # An interval may reach beyond all labels, where nothing is.
    return f"{100.0 * min(share, 1.0):.3g} %"


def _span(shares: tuple[float, float]) -> str:
    low, high = shares
    ends = percent_text(low), percent_text(high)
    return ends[0] if low == high else " to ".join(ends)


def applies(config: StudyConfig) -> bool:
    """Whether a study compares its encoders with training from scratch."""
    return config.judge == "probes" and "supervised" in config.baselines


def names_shares(config: StudyConfig) -> bool:
    """Whether it can say up to which share an encoder is better: of one share there is nothing."""
    return applies(config) and len(set(config.label_fractions)) > 1


_Setting = tuple[str, float, str]  # task, label fraction and head
_Groups = Mapping[RowKey, Mapping[Cell, CellResult]]


def _paired(
    groups: _Groups, variant: Variant, setting: _Setting, metric: Metric
) -> Iterator[tuple[Cell, float | None, float | None]]:
    """The cells of an encoder that share their subset with a training from scratch.

    With each the values of both, None where one is not known yet.
    """
    task, fraction, head = setting
    baseline = variant.groups["supervised"] or None
    scratch = groups.get(("supervised", baseline, task, fraction, ""), {})
    theirs = {cell.subset_seed: value_of(was, metric) for cell, was in scratch.items()}
    for cell, was in groups.get(("moco", variant.label, task, fraction, head), {}).items():
        if cell.subset_seed in theirs:
            yield cell, value_of(was, metric), theirs[cell.subset_seed]


def _differences(
    config: StudyConfig, groups: _Groups, variant: Variant, metric: Metric
) -> dict[_Setting, dict[int, float]]:
    """Points by which a variant is better than training from scratch, by setting and seed.

    Args:
        config: the study.
        groups: its ``intervals.cells_by_row``, which are the same for all variants.
        variant: the encoder; it is compared with the net of its own architecture.
        metric: see ``intervals.rows``.

    Returns:
        By task, fraction and head the mean over the subset seeds of the training from scratch, of
        the pretraining seeds for which all of them are done on both sides.
    """
    found: dict[_Setting, dict[int, float]] = {}
    for setting in settings(config):
        ours: dict[int, list[float | None]] = {}
        for cell, a, b in _paired(groups, variant, setting, metric):
            if cell.seed is not None:
                ours.setdefault(cell.seed, []).append(None if a is None or b is None else a - b)
        found.setdefault(setting, {}).update(complete_means(ours))
    return found


def pairs(config: StudyConfig, study_state: StudyState) -> tuple[Pair, ...]:
    """Every encoder beside the training from scratch on its subset, where both are done.

    What the differences are the means of, with those of seeds that are not complete yet: by
    variant, setting, pretraining seed and subset seed, in the order of tables.
    """
    if not applies(config):
        return ()
    groups = cells_by_row(study_state)
    return tuple(
        Pair(variant.label, cell.seed, cell.subset_seed, cell.task, cell.head, cell.fraction, a, b)
        for variant in _ordered(config)
        for setting in settings(config)
        for cell, a, b in _paired(groups, variant, setting, "top1")
        if cell.seed is not None and a is not None and b is not None
    )


def scratch_comparisons(
    config: StudyConfig, study_state: StudyState, metric: Metric = "top1"
) -> tuple[Comparison, ...]:
    """Every encoder against training from scratch in every setting, in the order of tables.

    Two-sided t tests over the pretraining seeds; all of them are one family of Holm's correction.
    """
    if not applies(config):
        return ()
    planned = []
    groups = cells_by_row(study_state)
    for variant in _ordered(config):
        found = _differences(config, groups, variant, metric)
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

    Only seeds that are complete at every share enter; without one, or of a study of one share,
    there is nothing to say.
    """
    if not names_shares(config):
        return ()
    made = []
    groups = cells_by_row(study_state)
    for variant in _ordered(config):
        found = _differences(config, groups, variant, metric)
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


def crossing_sentences(crossed: Sequence[Crossing], task: str) -> list[str]:
    """The crossings of a task in words, and how many others stand in their table.

    Args:
        crossed: those of a study.
        task: whose are said, where there is any.
    """
    said = [found for found in crossed if found.task == task] or list(crossed)
    sentences = [found.sentence() for found in said[:_MOST_SENTENCES]]
    left = len(crossed) - len(sentences)
    if left:
        sentences.append(f"The table of crossings with training from scratch has {left} more.")
    return sentences


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
