"""Studies that vary other settings than the queue size, from the first to the last cell."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from engine.config.resolve import build
from engine.config.schema import StudyConfig
from engine.data.dataset import Dataset
from engine.errors import ConfigError, DataError
from engine.history.history import History
from engine.jobs.execute import execute
from engine.jobs.prepare import prepare
from engine.jobs.study_estimate import plan
from engine.runs import RunFolder
from engine.sink import NullSink
from engine.study.comparisons import comparisons
from engine.study.grid import Cell, cells, pretrain_config, pretrainings, variants
from engine.study.study_state import state_from_history

from .small_studies import TINY, Heard, entries_of, kinds, noise_images, numbers, states, study_of

ONE = {"label_fractions": [0.5], "tasks": ["ten"], "pretrain.optim.epochs": 1}
SHAPES = {
    "pretrain.data.source": "shapes",
    "pretrain.data.limit": 120,
    "pretrain.optim.batch_size": 60,
}


def axes_study(**changes: Any) -> StudyConfig:
    tiny = {key: value for key, value in TINY.items() if key != "queue_sizes"}
    return build(StudyConfig, {**tiny, **ONE, "pretrain.moco.queue_size": 24, **changes})


@pytest.fixture
def noise(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    return noise_images(monkeypatch)


MOMENTUM = {**SHAPES, "axes": {"moco.momentum": [0.5, 0.99]}, "seeds": [0, 1]}


def test_a_study_of_momenta_stopped_anywhere_ends_in_the_same_numbers(tmp_path: Path) -> None:
    config = axes_study(**MOMENTUM)
    whole, sink = study_of(tmp_path / "whole", config), Heard()
    assert execute(whole, data_dir=tmp_path, sink=sink) == "finished"
    expected = numbers(whole, config)
    assert tuple(expected) == cells(config)
    assert kinds(whole) == {"study": 1, "pretrain": 4, "probe": 4}
    trained = {entry.setting("moco.momentum") for entry in entries_of(whole) if entry.kind != "x"}
    assert trained >= {0.5, 0.99}
    made = whole.record().result["pretrainings"]
    assert [(one["variant"], one["seed"]) for one in made] == [
        *(("m 0.5", 0), ("m 0.99", 0)),
        *(("m 0.5", 1), ("m 0.99", 1)),
    ]
    folder = study_of(tmp_path / "parts", config)
    # Each part is shorter than what the parts before it have left, also where a look comes late.
    for share in (0.15, 0.2, 0.25, 2.0):
        part = Heard(at=int(share * sink.looks) if share < 1 else -1)
        outcome = execute(folder, data_dir=tmp_path, sink=part)
        assert outcome == ("stopped" if part.acknowledged else "finished")
        if outcome == "finished":  # the shares are of a whole one, and some looks are at its start
            break
    assert states(folder) == {"finished"}
    assert numbers(folder, config) == expected
    assert kinds(folder) == kinds(whole), "nothing was made anew"


def test_an_ablation_shares_its_baselines_and_takes_runs_made_by_hand(
    tmp_path: Path, noise: Dataset
) -> None:
    config = axes_study(ablate=["augment.crop", "augment.blur"])
    assert [variant.label for variant in variants(config)] == [
        *("all", "without crop", "without blur"),
        *("crop alone", "blur alone"),
    ]
    root = tmp_path / "runs"
    first = pretrain_config(config, variants(config)[2], 0)
    assert not first.augment.blur.enabled
    from engine.runs import create

    by_hand = create(root, "pretrain", first)
    assert execute(by_hand, data_dir=tmp_path) == "finished"
    folder = study_of(tmp_path, config)
    assert execute(folder, data_dir=tmp_path) == "finished"
    assert kinds(folder) == {"study": 1, "pretrain": 5, "probe": 5}
    found = numbers(folder, config)
    assert len(found) == 5 + 1  # random weights are those of all variants
    state = state_from_history(config, History(root))
    assert state.pretrainings["without blur", 0].run == by_hand.id


def test_an_axis_over_the_model_has_baselines_of_its_own(tmp_path: Path, noise: Dataset) -> None:
    config = axes_study(
        axes={"model.dropout": [0.0, 0.5], "moco.momentum": [0.5, 0.9]},
        baselines=["random-init", "pixels", "supervised"],
        seeds=[0],
    )
    folder = study_of(tmp_path, config)
    assert execute(folder, data_dir=tmp_path) == "finished"
    found = numbers(folder, config)
    counts = {s: sum(c.source == s for c in found) for s in ("random-init", "pixels", "supervised")}
    assert counts == {"random-init": 2, "pixels": 1, "supervised": 2}
    # Each variant against the random weights of its own architecture, seed by seed.
    state = state_from_history(config, History(folder.path.parent))
    against = [c for c in comparisons(config, state) if c.reference is None]
    assert len(against) == 4
    for c in against:
        dropout = c.variant.split(", ")[0]
        ours = next(v for k, v in found.items() if k.variant == c.variant and k.source == "moco")
        theirs = next(
            v for k, v in found.items() if (k.source, k.variant) == ("random-init", dropout)
        )
        assert c.difference is not None
        assert ours is not None
        assert theirs is not None
        assert c.difference.mean == pytest.approx(ours - theirs)


def test_an_axis_over_the_images_gives_each_its_own(tmp_path: Path) -> None:
    config = axes_study(
        **{**SHAPES, "axes": {"data.limit": [120, 150]}, "baselines": ["pixels"], "seeds": [0]}
    )
    folder, sink = study_of(tmp_path, config), Heard()
    assert execute(folder, data_dir=tmp_path, sink=sink) == "finished"
    found = numbers(folder, config)
    assert {(c.source, c.variant) for c in found} == {
        *(("moco", "images 120"), ("moco", "images 150")),
        *(("pixels", "images 120"), ("pixels", "images 150")),
    }
    facts = {
        e.setting("data.limit"): e.train_digest for e in entries_of(folder) if e.kind == "pretrain"
    }
    assert len(set(facts.values())) == 2
    again, sink = study_of(tmp_path, config), Heard()
    assert execute(again, data_dir=tmp_path, sink=sink) == "finished"
    assert sink.plans[0].start_step == len(found), "everything is done, of both sets of images"


def test_a_study_judged_by_knn_reads_no_test_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = noise_images(monkeypatch)
    blind = dataclasses.replace(dataset, test=None)
    monkeypatch.setattr("engine.jobs.job.load_dataset", lambda *args, **options: blind)
    config = axes_study(
        axes={"moco.momentum": [0.5, 0.99]},
        judge="knn",
        seeds=[0, 1],
        **{
            "pretrain.monitor.knn_every": 5,
            "pretrain.monitor.knn_k": 5,
            "pretrain.data.holdout": 0.3,
        },
    )
    folder, sink = study_of(tmp_path, config), Heard()
    assert execute(folder, data_dir=tmp_path, sink=sink) == "finished"
    assert kinds(folder) == {"study": 1, "pretrain": 4}
    found = numbers(folder, config)
    assert list(found) == [
        Cell("moco", variant.label, seed, "all", 0.7, "kNN", 0, 24)
        for variant, seed in pretrainings(config)
    ]
    runs = {
        (e.setting("moco.momentum"), e.setting("runtime.seed")): e.last["knn/top1"]
        for e in entries_of(folder)
        if e.kind == "pretrain"
    }
    assert [found[cell] for cell in found] == [
        runs[v.settings["moco.momentum"], seed] for v, seed in pretrainings(config)
    ]
    left = plan(config, state_from_history(config, History(folder.path.parent)), data_dir=tmp_path)
    assert left.costs == ()


def test_a_run_without_knn_is_not_one_that_knn_judges(tmp_path: Path, noise: Dataset) -> None:
    from engine.runs import create

    config = axes_study(
        axes={"moco.momentum": [0.5]}, judge="knn", **{"pretrain.monitor.knn_every": 1}
    )
    silent = axes_study(axes={"moco.momentum": [0.5]})
    root = tmp_path / "runs"
    run = create(root, "pretrain", pretrain_config(silent, variants(silent)[0], 0))
    assert execute(run, data_dir=tmp_path) == "finished"
    assert state_from_history(silent, History(root)).pretrainings["m 0.5", 0].run == run.id
    state = state_from_history(config, History(root))
    assert [found.state for found in state.cells.values()] == ["missing"]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        (
            {"axes": {"optim.batch_size": [12, 64]}},
            ConfigError,
            "1 of 2 variants is impossible: batch 64: .* only 60 training images",
        ),
        (
            {"axes": {"moco.momentum": [0.1, 0.2]}, "pretrain.optim.batch_size": 64},
            DataError,
            "^optim.batch_size is 64, but there are only 60 training images",
        ),
    ],
)
@pytest.mark.usefixtures("noise")
def test_an_impossible_variant_is_refused_before_anything_is_computed(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    config = axes_study(**changes)
    with pytest.raises(error, match=words):
        prepare(config, root=tmp_path, parent="", data_dir=tmp_path, sink=NullSink())
    state = state_from_history(config, History(tmp_path))
    with pytest.raises(error, match=words):
        plan(config, state, data_dir=tmp_path)
    folder: RunFolder = study_of(tmp_path, config)
    with pytest.raises(error, match=words):
        execute(folder, data_dir=tmp_path)
    assert kinds(folder) == {"study": 1}


def test_unlabelled_images_have_no_knn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = noise_images(monkeypatch)
    labels = dataset.train.labels.clone().fill_(-1)
    unlabelled = dataclasses.replace(
        dataset, train=dataclasses.replace(dataset.train, labels=labels)
    )
    monkeypatch.setattr("engine.jobs.job.load_dataset", lambda *args, **options: unlabelled)
    config = axes_study(
        axes={"moco.momentum": [0.1]}, judge="knn", **{"pretrain.monitor.knn_every": 1}
    )
    with pytest.raises(DataError, match="noise has no labels, which judge = knn needs"):
        prepare(config, root=tmp_path, parent="", data_dir=tmp_path, sink=NullSink())
