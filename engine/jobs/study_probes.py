"""The probes that a study still needs of one encoder: which, in what order, on which images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
import torch

from engine.config.schema import ProbeConfig, StudyConfig, head_settings
from engine.config.variants import Variant
from engine.data.dataset import Dataset
from engine.evaluate.tasks import Material, prepare_material
from engine.jobs.recorded_config import config_of
from engine.jobs.trained_encoder import TrainedEncoder
from engine.probe.feature_sources import FeaturesForManyProbes, FeaturesForOneProbe
from engine.runs import RunFolder
from engine.runtime.device import resolve_runtime
from engine.study.grid import (
    Cell,
    ProbePoint,
    cells_of,
    knn_cell,
    pretrainings,
    probe_config,
    probe_points,
)
from engine.study.result_keys import plain, row_key
from engine.study.study_state import StudyState

Missing = dict[ProbePoint, tuple[Cell, ...]]
"""The cells that are not done, by the probe that would give them."""


def missing_probes(
    config: StudyConfig, study_state: StudyState, variant: Variant, seed: int
) -> Missing:
    """The probes of an encoder that would give a cell that is not done."""
    found: Missing = {}
    for point in probe_points(config):
        cells = cells_of(config, variant, seed, point)
        missing = tuple(cell for cell in cells if study_state.cells[cell].state != "done")
        if missing:
            found[point] = missing
    return found


def is_open(config: StudyConfig, study_state: StudyState, variant: Variant, seed: int) -> bool:
    """Whether a pretraining or one of its probes is to be computed: not where it has failed."""
    if study_state.pretrainings[variant.label, seed].state == "failed":
        return False
    if config.judge == "knn":
        return study_state.cells[knn_cell(config, variant, seed)].state not in ("done", "failed")
    return bool(open_probes(config, study_state, variant, seed))


def open_probes(
    config: StudyConfig, study_state: StudyState, variant: Variant, seed: int
) -> Missing:
    """Those of the missing probes of an encoder that have not failed."""
    missing = missing_probes(config, study_state, variant, seed)
    return {
        point: cells
        for point, cells in missing.items()
        if all(study_state.cells[cell].state != "failed" for cell in cells)
    }


def unfinished_probe(
    study_state: StudyState, missing: Iterable[Cell], config: ProbeConfig, root: Path
) -> str:
    """Id of a probe that was begun for some cells and can be resumed for them, or empty.

    It has to compute the same rows, and no baseline that is not wanted.
    """
    wanted = row_key(plain(config), "moco")
    for cell in missing:
        run = study_state.cells[cell].run
        if not run:
            continue
        record = RunFolder(root / run).record()
        if record.kind != "probe" or record.status == "finished" or record.checkpoint:
            continue  # one of a kept checkpoint would give the row of another encoder
        begun = config_of(record)
        assert isinstance(begun, ProbeConfig)  # by its kind
        same = row_key(plain(begun), "moco") == wanted
        if same and set(begun.baselines) <= set(config.baselines):
            return run
    return ""


def with_baselines(config: ProbeConfig, missing: Iterable[Cell]) -> ProbeConfig:
    """The probe with only those of its baselines whose cells are missing."""
    wanted = {cell.source for cell in missing}
    kept = tuple(name for name in config.baselines if name in wanted)
    return msgspec.structs.replace(config, baselines=kept)


def describe(point: ProbePoint) -> str:
    """A probe of the grid in words: ``ten, 10 % of the labels, linear, subset 0``."""
    return (
        f"{point.task}, {100 * point.fraction:g} % of the labels, {point.head}, "
        f"subset {point.subset_seed}"
    )


class StudyLabels:
    """The labelled images of the probes of a study: the same for every encoder and head.

    Args:
        config: the study.
        dataset: its images.
    """

    def __init__(self, config: StudyConfig, dataset: Dataset) -> None:
        self._config, self._dataset = config, dataset
        self._materials: dict[tuple[str, float, int], Material] = {}

    def material(self, point: ProbePoint) -> Material:
        """The labels of a probe, drawn once for all encoders and heads."""
        key = (point.task, point.fraction, point.subset_seed)
        if key not in self._materials:
            config = probe_config(self._config, *pretrainings(self._config)[0], point)
            self._materials[key] = prepare_material(config, self._dataset)
        return self._materials[key]

    def in_order(self, points: Iterable[ProbePoint]) -> list[ProbePoint]:
        """The probes in the order in which they can share the most.

        Heads outside, so that the augmented views can be dropped after the last head that uses
        them. Tasks on the same labelled images come one after the other: the standardised features
        and their spectrum are kept until other images are asked for.
        """
        config = self._config
        number_of: dict[bytes, int] = {}

        def key(point: ProbePoint) -> tuple[int, int, int, int]:
            images = self.material(point).rows.numpy().tobytes()
            return (
                config.heads.index(point.head),
                config.subset_seeds.index(point.subset_seed),
                config.label_fractions.index(point.fraction),
                number_of.setdefault(images, len(number_of)),
            )

        return sorted(points, key=key)

    def sources(
        self, trained: TrainedEncoder, points: Iterable[ProbePoint]
    ) -> FeaturesForManyProbes:
        """What makes the features of some probes of an encoder, once for all of them."""
        points = tuple(points)
        runtime = resolve_runtime(self._config.probe.runtime)
        made = FeaturesForOneProbe(
            trained.encoder,
            trained.config.model,
            self._dataset,
            trained.mean,
            trained.std,
            runtime.device,
            runtime.kernels,
        )
        rows = torch.unique(torch.cat([self.material(point).rows for point in points]))
        views = max(views_per_image(self._config, point.head) for point in points)
        return FeaturesForManyProbes(made, rows, views)


def views_per_image(config: StudyConfig, head: str) -> int:
    """Augmented views of each labelled image that a head of a study works on; 0: the images."""
    return head_settings(config.probe, head).views_per_image()
