"""What a study seeks in the history: the keys of its results, and those that a run gives.

Both are cached: a screen asks every second, and of ten thousand runs hardly any has changed.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from engine.config.baselines import BaselineName
from engine.config.schema import StudyConfig
from engine.config.variants import data_key
from engine.history.entry import Entry, config_base
from engine.study.grid import (
    Cell,
    Source,
    cells_of,
    knn_cell,
    pretrain_config,
    pretrainings,
    probe_config,
    probe_points,
    reference,
    variants,
)
from engine.study.result_keys import knn_key, plain, pretraining_key, row_key

Place = tuple[str, int]
"""Label of a variant and the seed: where a pretraining stands in a study."""

_SOURCES: tuple[Source, ...] = ("moco", "random-init", "pixels", "supervised")
_RUNS_KEPT = 1 << 15


class Sought(Struct, frozen=True):
    """What a study seeks.

    Attributes:
        pretrainings: the place of each by its key; that of its kNN follows where it is judged by
            it.
        cells: by place, every cell that is filled there, with the key of its row.
        groups: by label of a variant, see ``Variant.groups``.
        data: the data sets of its variants, see ``Variant.data``.
        reference_data: that of the reference.
        by_knn: whether the pretrainings are judged by their kNN and not by probes.
    """

    pretrainings: dict[str, Place]
    cells: dict[Place, tuple[tuple[Cell, str], ...]]
    groups: dict[str, dict[BaselineName, str]]
    data: frozenset[str]
    reference_data: str
    by_knn: bool


class PretrainingKeys(Struct, frozen=True):
    """The keys of a pretraining in the history.

    Attributes:
        weights: see ``pretraining_key``.
        knn: see ``knn_key``.
        data: see ``data_key``.
    """

    weights: str
    knn: str
    data: str


def sought_by(config: StudyConfig) -> Sought:
    """What a study seeks in the history."""
    return _sought(msgspec.json.encode(config))


@functools.lru_cache(maxsize=64)  # the table of runs asks for every study of a folder in turn
def _sought(encoded: bytes) -> Sought:
    """See ``sought_by``.

    Args:
        encoded: the study's configuration as JSON, which a cache can hash.
    """
    config = msgspec.json.decode(encoded, type=StudyConfig)
    by_knn = config.judge == "knn"
    wanted: dict[str, Place] = {}
    cells: dict[Place, tuple[tuple[Cell, str], ...]] = {}
    points = probe_points(config)
    for variant, seed in pretrainings(config):
        place = (variant.label, seed)
        flat = plain(pretrain_config(config, variant, seed))
        wanted[pretraining_key(flat) + (knn_key(flat) if by_knn else "")] = place
        keyed: list[tuple[Cell, str]] = []
        if by_knn:
            keyed.append((knn_cell(config, variant, seed), ""))
        for point in points:
            probe = plain(probe_config(config, variant, seed, point))
            keyed += [(c, row_key(probe, c.source)) for c in cells_of(config, variant, seed, point)]
        cells[place] = tuple(keyed)
    made = variants(config)
    return Sought(
        pretrainings=wanted,
        cells=cells,
        groups={variant.label: variant.groups for variant in made},
        data=frozenset(variant.data for variant in made),
        reference_data=reference(config).data,
        by_knn=by_knn,
    )


def pretraining_keys(entry: Entry) -> PretrainingKeys:
    """The keys of a pretraining in the history."""
    return _pretraining_keys(entry.preset, msgspec.json.encode(entry.config))


@functools.lru_cache(maxsize=_RUNS_KEPT)
def _pretraining_keys(preset: str, encoded: bytes) -> PretrainingKeys:
    flat = _settings("pretrain", preset, encoded)
    return PretrainingKeys(pretraining_key(flat), knn_key(flat), data_key(flat))


def probe_keys(entry: Entry) -> tuple[tuple[Source, str], ...]:
    """The rows that a probe in the history gives, with the key of each."""
    return _probe_keys(entry.preset, msgspec.json.encode(entry.config))


@functools.lru_cache(maxsize=_RUNS_KEPT)
def _probe_keys(preset: str, encoded: bytes) -> tuple[tuple[Source, str], ...]:
    flat = _settings("probe", preset, encoded)
    return tuple(
        (source, row_key(flat, source))
        for source in _SOURCES
        if source == "moco" or source in flat.get("baselines", ())
    )


def _settings(kind: str, preset: str, encoded: bytes) -> Mapping[str, Any]:
    """All settings of a run: the index holds what differs from its preset."""
    return {**config_base(kind, preset), **msgspec.json.decode(encoded)}
