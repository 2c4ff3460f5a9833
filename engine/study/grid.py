"""The grid of a study: its cells, and the pretrainings and probes that give their numbers."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from engine.config.baselines import BASELINES, Baseline, BaselineName
from engine.config.schema import PretrainConfig, ProbeConfig, StudyConfig, names_axes
from engine.config.variants import Variant, expand, pretraining_of

Source = Literal["moco", BaselineName]

KNN_TASK = "all"
KNN_HEAD = "kNN"
"""Task and head of the cells of a study that is judged by kNN: it tells all classes apart."""


class Cell(Struct, frozen=True):
    """One number of a study.

    Attributes:
        source: what the features come from; ``supervised`` is a net trained from scratch.
        variant: label of the variant of the pretraining, for ``moco``; of a baseline what tells it
            from those of other variants, None where one serves them all.
        seed: of the pretraining, or of the random weights; None for the other two sources.
        task, fraction, subset_seed: as in the configuration.
        head: empty for ``supervised``, which has none.
        queue_size: keys in the queue of the variant, for ``moco``; else None.
    """

    source: Source
    variant: str | None
    seed: int | None
    task: str
    fraction: float
    head: str
    subset_seed: int
    queue_size: int | None = None


class ProbePoint(Struct, frozen=True):
    """The coordinates of a probe in the grid, but for its encoder.

    One probe run fills the cell of the encoder and those of the baselines computed beside it.

    Attributes:
        task, fraction, head, subset_seed: as in ``Cell``.
    """

    task: str
    fraction: float
    head: str
    subset_seed: int


# --------------------------------------------------------------------------------------------
# The grid


def variants(config: StudyConfig) -> tuple[Variant, ...]:
    """What the study compares, in the order in which it is trained."""
    return expand(config).all


def reference(config: StudyConfig) -> Variant:
    """The variant that the others are compared with, see ``engine.config.variants``."""
    return expand(config).reference


def pretrainings(config: StudyConfig) -> tuple[tuple[Variant, int], ...]:
    """Variant and seed of every pretraining, in the order in which they are trained."""
    # Seeds outside: the variants of the first seed can be compared as early as possible.
    found = variants(config)
    return tuple((variant, seed) for seed in config.seeds for variant in found)


def probe_points(config: StudyConfig) -> tuple[ProbePoint, ...]:
    """The probes of one encoder, in order; none in a study that is judged by kNN."""
    if config.judge == "knn":
        return ()
    return tuple(
        ProbePoint(task, fraction, head, subset)
        for head in config.heads
        for task in config.tasks
        for subset in config.subset_seeds
        for fraction in config.label_fractions
    )


def settings(config: StudyConfig) -> tuple[tuple[str, float, str], ...]:
    """Task, label fraction and head of all that an encoder is judged by, in the order of tables."""
    if config.judge == "knn":
        return ((KNN_TASK, knn_fraction(config), KNN_HEAD),)
    return tuple(
        (task, fraction, head)
        for task in config.tasks
        for head in config.heads
        for fraction in sorted(config.label_fractions)
    )


def knn_fraction(config: StudyConfig) -> float:
    """Share of the training labels that vote in the kNN of a pretraining."""
    return round(1.0 - config.pretrain.data.holdout, 9)


def cells(config: StudyConfig) -> tuple[Cell, ...]:
    """Every cell, encoder by encoder in the order in which these are trained."""
    if config.judge == "knn":
        return tuple(knn_cell(config, variant, seed) for variant, seed in pretrainings(config))
    points = probe_points(config)
    return tuple(
        cell
        for variant, seed in pretrainings(config)
        for point in points
        for cell in cells_of(config, variant, seed, point)
    )


def knn_cell(config: StudyConfig, variant: Variant, seed: int) -> Cell:
    """The cell of a pretraining in a study that is judged by kNN."""
    return Cell(
        "moco",
        variant.label,
        seed,
        KNN_TASK,
        knn_fraction(config),
        KNN_HEAD,
        0,
        variant.queue_size,
    )


def cells_of(
    config: StudyConfig, variant: Variant, seed: int, point: ProbePoint
) -> tuple[Cell, ...]:
    """The cells that one probe gives: its encoder's, and those of the baselines beside it."""
    at = (point.task, point.fraction)
    found = [
        Cell("moco", variant.label, seed, *at, point.head, point.subset_seed, variant.queue_size)
    ]
    for name in _baselines_beside(config, variant, seed, point):
        baseline = BASELINES[name]
        found.append(
            Cell(
                name,
                variant.groups[name] or None,
                seed if baseline.has_pretraining_seed else None,
                *at,
                point.head if baseline.has_head else "",
                point.subset_seed,
            )
        )
    return tuple(found)


def _baselines_beside(
    config: StudyConfig, variant: Variant, seed: int, point: ProbePoint
) -> tuple[BaselineName, ...]:
    """The baselines that are computed in one probe, so that each of their cells is filled once.

    Each is computed beside the first of the variants that share it. One without a pretraining seed
    is computed beside the first seed only; one without a head beside the first head only, and for
    the first ``supervised_subsets`` subsets.
    """
    if not variant.beside:
        return ()
    first_seed, first_head = seed == config.seeds[0], point.head == config.heads[0]
    few = point.subset_seed in config.subset_seeds[: config.supervised_subsets]

    def is_beside(baseline: Baseline) -> bool:
        return (baseline.has_pretraining_seed or first_seed) and (
            baseline.has_head or (first_head and few)
        )

    return tuple(name for name in variant.beside if is_beside(BASELINES[name]))


def pretrain_config(config: StudyConfig, variant: Variant, seed: int) -> PretrainConfig:
    """The configuration of a pretraining of the grid."""
    return pretraining_of(config, variant, seed)


def probe_config(
    config: StudyConfig, variant: Variant, seed: int, point: ProbePoint
) -> ProbeConfig:
    """The configuration of a probe of the grid, with the baselines beside its encoder."""
    base = config.probe
    return replace(
        base,
        label_fraction=point.fraction,
        head=point.head,
        subset_seed=point.subset_seed,
        baselines=_baselines_beside(config, variant, seed, point),
        task=replace(base.task, name=point.task),
        runtime=replace(base.runtime, seed=seed),
    )


# --------------------------------------------------------------------------------------------
# Names


def name_of(variant: Variant, seed: int) -> str:
    """What a pretraining of the grid is called: ``K 4096, seed 0``."""
    return f"{variant.label}, seed {seed}"


def source_label(source: str, variant: str | None) -> str:
    """What a source is called in a table: ``K 4096``, ``random-init``."""
    if source == "moco":
        return variant or source
    return f"{source}, {variant}" if variant else source


def varies_queue_alone(config: StudyConfig) -> bool:
    """Whether the question of a study is that of larger queues, which its sentences then name."""
    return not names_axes(config)
