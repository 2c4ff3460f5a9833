"""Which probes a study still needs of an encoder, and in what order they share the most."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch

from engine.config.schema import StudyConfig
from engine.data.dataset import Dataset
from engine.jobs.study_probes import (
    StudyLabels,
    describe,
    missing_probes,
    unfinished_probe,
    with_baselines,
)
from engine.runs import create, own
from engine.study.grid import Cell, ProbePoint, cells, pretrainings, probe_config, probe_points
from engine.study.study_state import CellResult, StudyState, Trained

from ..study_states import of_size
from .small_studies import small_study


def state_with(config: StudyConfig, done: set[Cell], run: str = "") -> StudyState:
    found = {
        cell: CellResult("done" if cell in done else "missing", "" if cell in done else run)
        for cell in cells(config)
    }
    trained = {(v.label, seed): Trained("a", "finished", 1, 1) for v, seed in pretrainings(config)}
    return StudyState(found, trained)


def test_a_probe_is_missing_while_one_of_its_cells_is() -> None:
    config = small_study(label_fractions=[0.5], tasks=["ten"])
    point = ProbePoint("ten", 0.5, "logistic", 0)
    encoder = Cell("moco", "K 12", 0, "ten", 0.5, "logistic", 0, 12)
    baseline = Cell("random-init", None, 0, "ten", 0.5, "logistic", 0)
    assert missing_probes(config, state_with(config, set()), of_size(config, 12), 0) == {
        point: (encoder, baseline)
    }
    assert missing_probes(config, state_with(config, {encoder}), of_size(config, 12), 0) == {
        point: (baseline,)
    }
    assert (
        missing_probes(config, state_with(config, {encoder, baseline}), of_size(config, 12), 0)
        == {}
    )


def test_only_the_baselines_that_are_missing_are_computed() -> None:
    config = small_study(baselines=["random-init", "pixels"])
    point = ProbePoint("ten", 0.5, "logistic", 0)
    probe = probe_config(config, of_size(config, 12), 0, point)
    assert probe.baselines == ("random-init", "pixels")
    missing = [Cell("pixels", None, None, "ten", 0.5, "logistic", 0)]
    assert with_baselines(probe, missing).baselines == ("pixels",)


def test_a_probe_that_was_begun_is_gone_on_with_unless_it_does_more_than_is_asked(
    tmp_path: Path,
) -> None:
    config = small_study(label_fractions=[0.5], tasks=["ten"])
    point = ProbePoint("ten", 0.5, "logistic", 0)
    probe = probe_config(config, of_size(config, 12), 0, point)
    begun = create(tmp_path, "probe", probe, parent="a")
    state = state_with(config, set(), run=begun.id)
    missing = missing_probes(config, state, of_size(config, 12), 0)[point]
    assert unfinished_probe(state, missing, probe, tmp_path) == begun.id
    assert unfinished_probe(state, missing, with_baselines(probe, []), tmp_path) == ""
    with own(begun) as owner:
        owner.transition("running")
        owner.transition("finished")
    assert unfinished_probe(state, missing, probe, tmp_path) == ""


def test_probes_on_the_same_images_follow_each_other_and_linear_heads_come_first(
    noise: Dataset,
) -> None:
    config = small_study(heads=["linear", "logistic"], tasks=["binary", "five", "ten"])
    labels = StudyLabels(config, noise)
    ordered = labels.in_order(reversed(probe_points(config)))
    assert sorted(map(describe, ordered)) == sorted(map(describe, probe_points(config)))
    assert [p.head for p in ordered] == ["linear"] * 6 + ["logistic"] * 6
    images = [(p.head, p.fraction, labels.material(p).rows.numpy().tobytes()) for p in ordered]
    blocks = sum(before != after for before, after in itertools.pairwise(images)) + 1
    assert blocks == len(set(images)) < len(images), "each set of images is one block"
    for point in ordered:
        rows = labels.material(point).rows
        assert rows.dtype == torch.int64
        assert torch.equal(rows, rows.unique())  # ascending, each once
        assert len(rows) <= point.fraction * len(noise.train)
