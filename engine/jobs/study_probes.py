"""The probes that a study still needs of one encoder: which, in what order, on which images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from engine.config.schema import ProbeConfig, StudyConfig
from engine.data.dataset import Dataset
from engine.evaluate.tasks import prepare_material
from engine.jobs.trained_encoder import TrainedEncoder
from engine.probe.feature_sources import SharedSources, Sources
from engine.runs import RunFolder
from engine.runtime.device import resolve_runtime
from engine.study.grid import Cell, ProbePoint, cells_of, pretrainings, probe_config, probe_points
from engine.study.result_keys import plain, row_key
from engine.study.study_state import StudyState

Missing = dict[ProbePoint, tuple[Cell, ...]]
"""The cells that are not done, by the probe that would give them."""


def missing_probes(
    config: StudyConfig, study_state: StudyState, queue_size: int, seed: int
) -> Missing:
    """The probes of an encoder that would give a cell that is not done."""
    found: Missing = {}
    for point in probe_points(config):
        cells = cells_of(config, queue_size, seed, point)
        missing = tuple(cell for cell in cells if study_state.cells[cell].state != "done")
        if missing:
            found[point] = missing
    return found


def unfinished_probe(
    study_state: StudyState, missing: Iterable[Cell], config: ProbeConfig, root: Path
) -> str:
    """Id of the probe that was begun for some cells and can be gone on with, or empty."""
    wanted = row_key(plain(config), "moco")
    for cell in missing:
        run = study_state.cells[cell].run
        if not run:
            continue
        record = RunFolder(root / run).record()
        if record.kind != "probe" or record.status == "finished":
            continue
        begun = msgspec.convert(record.config, ProbeConfig, strict=False)
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
        self._rows: dict[tuple[str, float, int], Tensor] = {}

    def rows(self, point: ProbePoint) -> Tensor:
        """int64 ``(n,)``, ascending: the training images of a probe."""
        key = (point.task, point.fraction, point.subset_seed)
        if key not in self._rows:
            config = probe_config(self._config, *pretrainings(self._config)[0], point)
            self._rows[key] = prepare_material(config, self._dataset).rows
        return self._rows[key]

    def in_order(self, points: Iterable[ProbePoint]) -> list[ProbePoint]:
        """Tasks on the same labelled images after each other: they share what follows from them."""
        config = self._config
        number_of: dict[bytes, int] = {}

        def key(point: ProbePoint) -> tuple[int, int, int, int]:
            images = self.rows(point).numpy().tobytes()
            return (
                config.heads.index(point.head),
                config.subset_seeds.index(point.subset_seed),
                config.label_fractions.index(point.fraction),
                number_of.setdefault(images, len(number_of)),
            )

        return sorted(points, key=key)

    def sources(self, trained: TrainedEncoder, points: Iterable[ProbePoint]) -> SharedSources:
        """What makes the features of some probes of an encoder, once for all of them."""
        made = Sources(
            trained.encoder,
            trained.config.model,
            self._dataset,
            trained.mean,
            trained.std,
            resolve_runtime(self._config.probe.runtime).device,
        )
        rows = torch.unique(torch.cat([self.rows(point) for point in points]))
        return SharedSources(made, rows, self._config.probe.linear.views)
