"""The grid of a study: its cells, and the pretrainings and probes that give their numbers."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from engine.config.baselines import BASELINES, Baseline, BaselineName
from engine.config.schema import PretrainConfig, ProbeConfig, StudyConfig

Source = Literal["moco", BaselineName]


class Cell(Struct, frozen=True):
    """One number of a study.

    Attributes:
        source: what the features come from; ``supervised`` is a net trained from scratch.
        queue_size: keys in the queue of the pretraining, for ``moco``; else None.
        seed: of the pretraining, or of the random weights; None for the other two sources.
        task, fraction, subset_seed: as in the configuration.
        head: empty for ``supervised``, which has none.
    """

    source: Source
    queue_size: int | None
    seed: int | None
    task: str
    fraction: float
    head: str
    subset_seed: int


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


def pretrainings(config: StudyConfig) -> tuple[tuple[int, int], ...]:
    """Queue size and seed of every pretraining, in the order in which they are trained."""
    # Seeds outside: the sizes of the first seed can be compared as early as possible.
    return tuple((size, seed) for seed in config.seeds for size in config.queue_sizes)


def probe_points(config: StudyConfig) -> tuple[ProbePoint, ...]:
    """The probes of one encoder, in order."""
    return tuple(
        ProbePoint(task, fraction, head, subset)
        for head in config.heads
        for task in config.tasks
        for subset in config.subset_seeds
        for fraction in config.label_fractions
    )


def cells(config: StudyConfig) -> tuple[Cell, ...]:
    """Every cell, encoder by encoder in the order in which these are trained."""
    return tuple(
        cell
        for size, seed in pretrainings(config)
        for point in probe_points(config)
        for cell in cells_of(config, size, seed, point)
    )


def cells_of(
    config: StudyConfig, queue_size: int, seed: int, point: ProbePoint
) -> tuple[Cell, ...]:
    """The cells that one probe gives: its encoder's, and those of the baselines beside it."""
    found = [
        Cell("moco", queue_size, seed, point.task, point.fraction, point.head, point.subset_seed)
    ]
    for name in _baselines_beside(config, queue_size, seed, point):
        baseline = BASELINES[name]
        found.append(
            Cell(
                name,
                None,
                seed if baseline.has_pretraining_seed else None,
                point.task,
                point.fraction,
                point.head if baseline.has_head else "",
                point.subset_seed,
            )
        )
    return tuple(found)


def _baselines_beside(
    config: StudyConfig, queue_size: int, seed: int, point: ProbePoint
) -> tuple[BaselineName, ...]:
    """The baselines that are computed in one probe, so that each of their cells is filled once.

    None depends on the queue: they are computed beside the first queue size only. One without a
    pretraining seed is computed beside the first seed only; one without a head beside the first
    head only, and for the first ``supervised_subsets`` subsets.
    """
    if queue_size != config.queue_sizes[0]:
        return ()
    first_seed, first_head = seed == config.seeds[0], point.head == config.heads[0]
    few = point.subset_seed in config.subset_seeds[: config.supervised_subsets]

    def is_beside(baseline: Baseline) -> bool:
        return (baseline.has_pretraining_seed or first_seed) and (
            baseline.has_head or (first_head and few)
        )

    return tuple(name for name in config.baselines if is_beside(BASELINES[name]))


def pretrain_config(config: StudyConfig, queue_size: int, seed: int) -> PretrainConfig:
    """The configuration of a pretraining of the grid."""
    base = config.pretrain
    return replace(
        base,
        moco=replace(base.moco, queue_size=queue_size),
        runtime=replace(base.runtime, seed=seed),  # weights, order, views: all of the run
    )


def probe_config(config: StudyConfig, queue_size: int, seed: int, point: ProbePoint) -> ProbeConfig:
    """The configuration of a probe of the grid, with the baselines beside its encoder."""
    base = config.probe
    return replace(
        base,
        label_fraction=point.fraction,
        head=point.head,
        subset_seed=point.subset_seed,
        baselines=_baselines_beside(config, queue_size, seed, point),
        task=replace(base.task, name=point.task),
        runtime=replace(base.runtime, seed=seed),
    )
