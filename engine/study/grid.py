"""The grid of a study: its cells, and the pretrainings and probes that give their numbers."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from engine.config.schema import Baseline, Head, PretrainConfig, ProbeConfig, StudyConfig

Source = Literal["moco", "random-init", "pixels", "supervised"]


class Cell(Struct, frozen=True):
    """One number of a study.

    Attributes:
        source: what the features come from; ``supervised`` is a net trained from scratch.
        queue_size: of the pretraining, for ``moco``; else None.
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
    """Where a probe stands in the grid, but for its encoder.

    It gives the cell of the encoder and those of the baselines that are computed beside it.

    Attributes:
        task, fraction, head, subset_seed: as in ``Cell``.
    """

    task: str
    fraction: float
    head: Head
    subset_seed: int


# --------------------------------------------------------------------------------------------
# The grid


def pretrainings(config: StudyConfig) -> tuple[tuple[int, int], ...]:
    """Queue size and seed of every pretraining, in the order in which they are trained."""
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
    for baseline in _baselines_beside(config, queue_size, seed, point):
        found.append(
            Cell(
                baseline,
                None,
                seed if baseline == "random-init" else None,
                point.task,
                point.fraction,
                "" if baseline == "supervised" else point.head,
                point.subset_seed,
            )
        )
    return tuple(found)


def _baselines_beside(
    config: StudyConfig, queue_size: int, seed: int, point: ProbePoint
) -> tuple[Baseline, ...]:
    """The baselines of a probe: they do not depend on the queue, and so stand beside the first.

    ``pixels`` and ``supervised`` do not depend on the pretraining's seed either; ``supervised``
    has no head, and is trained on the first ``supervised_subsets`` subsets only.
    """
    first = seed == config.seeds[0]
    allowed = {
        "random-init": True,
        "pixels": first,
        "supervised": first
        and point.head == config.heads[0]
        and point.subset_seed in config.subset_seeds[: config.supervised_subsets],
    }
    if queue_size != config.queue_sizes[0]:
        return ()
    return tuple(name for name in config.baselines if allowed[name])


def pretrain_config(config: StudyConfig, queue_size: int, seed: int) -> PretrainConfig:
    """The configuration of a pretraining of the grid."""
    base = config.pretrain
    return replace(
        base,
        moco=replace(base.moco, queue_size=queue_size),
        runtime=replace(base.runtime, seed=seed),
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
