"""A study end to end, and what interrupts it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import engine.evaluate.tasks
import engine.jobs.study_run
from engine.config.class_names import CIFAR10_CLASSES
from engine.config.presets import build
from engine.config.schema import ProbeConfig, StudyConfig
from engine.data.dataset import Dataset, Split
from engine.errors import ConfigError, DataError, TrainingError
from engine.history.history import History
from engine.jobs.execute import execute, prepare
from engine.pretrain import checkpoint as checkpoints
from engine.runs import RunFolder, create, own
from engine.runs.requests import lock_is_held
from engine.sink import NullSink, Request
from engine.study.grid import (
    Cell,
    cells,
    look,
    pretrain_config,
    pretrainings,
    probe_config,
    probe_points,
)

TINY = {
    "queue_sizes": [12, 40],
    "seeds": [0],
    "label_fractions": [0.5, 1.0],
    "tasks": ["binary", "ten"],
    "heads": ["logistic"],
    "subset_seeds": [0],
    "baselines": ["random-init"],
    "pretrain.model.dim": 8,
    "pretrain.model.bn_splits": 2,
    "pretrain.optim.batch_size": 12,
    "pretrain.optim.epochs": 2,
    "pretrain.monitor.knn_every": 0,
    "pretrain.runtime.device": "cpu",
    "pretrain.runtime.threads": 1,
    "probe.validation": 0.34,
    "probe.runtime.device": "cpu",
    "probe.runtime.threads": 1,
    "probe.linear.epochs": 2,
    "probe.linear.views": 2,
    "probe.linear.lr": [0.01, 0.1],
    "probe.logistic.l2": [0.01, 0.1, 1.0],
    "probe.supervised.epochs": 1,
    "probe.supervised.batch_size": 8,
}


def some_study(**changes: Any) -> StudyConfig:
    return build(StudyConfig, {**TINY, **changes})


def some_split(n: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return Split(images, torch.arange(n) % 10)


def some_images(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    dataset = Dataset("noise", some_split(60, 0), some_split(30, 1), CIFAR10_CLASSES)
    monkeypatch.setattr("engine.jobs.execute.load_dataset", lambda *args, **options: dataset)
    return dataset


@pytest.fixture
def noise(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Five steps an epoch, of noise with the classes of CIFAR-10."""
    return some_images(monkeypatch)


SHORT = {"label_fractions": [0.5]}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[Cell, float | None], int]:
    """The numbers of the study SHORT, and how often it looked for a request."""
    with pytest.MonkeyPatch.context() as patch:
        some_images(patch)
        root, sink = tmp_path_factory.mktemp("undisturbed"), Heard()
        config = some_study(**SHORT)
        folder = study_of(root, config)
        assert execute(folder, data_dir=root, sink=sink) == "finished"
        return numbers(folder, config), sink.looks


def study_of(root: Path, config: StudyConfig) -> RunFolder:
    return create(root / "runs", "study", config)


def numbers(folder: RunFolder, config: StudyConfig) -> dict[Cell, float | None]:
    study_state = look(config, History(folder.path.parent))
    assert {found.state for found in study_state.cells.values()} == {"done"}
    return {cell: found.top1 for cell, found in study_state.cells.items()}


def kinds(folder: RunFolder) -> dict[str, int]:
    found: dict[str, int] = {}
    for entry in History(folder.path.parent).list():
        found[entry.kind] = found.get(entry.kind, 0) + 1
    return found


def states(folder: RunFolder) -> set[str]:
    return {entry.status for entry in History(folder.path.parent).list()}


class Heard(NullSink):
    """Writes down what it hears; asks for something at its n-th look."""

    def __init__(self, at: int = -1, ask: Request = "stop") -> None:
        self.looks, self.at, self.ask = 0, at, ask
        self.plans: list[Any] = []
        self.steps: list[int] = []
        self.stages: list[tuple[str, int, int]] = []
        self.lines: list[str] = []
        self.acknowledged: list[tuple[Request, int]] = []

    def plan(self, plan: Any) -> None:
        self.plans.append(plan)

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        self.steps.append(step)
        assert values == {"study/cells": step}

    def progress(self, stage: str, done: int, total: int) -> None:
        self.stages.append((stage, done, total))

    def log(self, text: str) -> None:
        self.lines.append(text)

    def request(self) -> Request | None:
        self.looks += 1
        return self.ask if self.looks == self.at or (self.ask != "pause" and self._due()) else None

    def _due(self) -> bool:
        return 0 <= self.at <= self.looks and not self.acknowledged

    def acknowledge(self, request: Request, step: int) -> None:
        self.acknowledged.append((request, step))


# --------------------------------------------------------------------------------- the whole


def test_a_study_of_shapes_from_the_first_image_to_the_last_cell(tmp_path: Path) -> None:
    config = some_study(
        **{
            "seeds": [0, 1],
            "label_fractions": [0.2, 0.5],
            "baselines": ["random-init", "pixels"],
            "tasks": ["ten"],
            "pretrain.data.source": "shapes",
            "pretrain.data.limit": 120,
            "pretrain.optim.epochs": 1,
            "pretrain.optim.batch_size": 60,
        }
    )
    folder, sink = study_of(tmp_path, config), Heard()
    assert execute(folder, data_dir=tmp_path, sink=sink) == "finished"
    found = numbers(folder, config)
    assert tuple(found) == cells(config)
    assert all(0.0 <= top1 <= 100.0 for top1 in found.values() if top1 is not None)
    assert kinds(folder) == {"study": 1, "pretrain": 4, "probe": 4 * len(probe_points(config))}
    assert states(folder) == {"finished"}
    record = folder.record()
    assert record.step == record.total_steps == record.result["cells"] == len(found)
    assert record.checkpoint_step == record.step
    assert sink.steps == sorted(set(sink.steps))
    assert sink.steps[-1] == len(found)
    assert len(record.result["protocol"]) > 3
    runs = [(p["queue_size"], p["seed"]) for p in record.result["pretrainings"]]
    assert runs == list(pretrainings(config))
    for entry in History(folder.path.parent).list("kind:probe"):
        assert entry.name
        assert entry.parent in {p["run"] for p in record.result["pretrainings"]}


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = copy.deepcopy(rows)
    for row in rows:
        row.pop("seconds")
    return rows


def same(a: Any, b: Any, key: str = "") -> bool:
    """Whether two results are one, but for the rounding of features passed in other batches."""
    if isinstance(a, float) and isinstance(b, float):
        rough = key in ("gradient", "iterations")
        return rough or a == pytest.approx(b, rel=1e-3, abs=1e-6)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k], k) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y, key) for x, y in zip(a, b, strict=True))
    return bool(a == b) or key == "iterations"


def test_a_cell_is_what_a_probe_by_hand_gives(tmp_path: Path, noise: Dataset) -> None:
    config = some_study(
        heads=["linear", "logistic"],
        baselines=["random-init", "pixels", "supervised"],
        label_fractions=[0.5],
    )
    folder = study_of(tmp_path, config)
    execute(folder, data_dir=tmp_path)
    root = folder.path.parent
    probes = History(root).list("kind:probe")
    assert len(probes) == 8
    compared = set()
    for entry in probes:
        own_record = RunFolder(root / entry.id).record()
        probe = build(ProbeConfig, _flat(own_record.config))
        if (probe.head, probe.task.name) in compared:
            continue
        compared.add((probe.head, probe.task.name))
        by_hand = create(root, "probe", probe, parent=entry.parent)
        assert execute(by_hand, data_dir=tmp_path) == "finished"
        record = by_hand.record()
        assert record.config == own_record.config
        assert record.facts == own_record.facts
        assert (record.step, record.total_steps) == (own_record.step, own_record.total_steps)
        assert record.last.keys() == own_record.last.keys()
        result, other = dict(record.result), dict(own_record.result)
        assert same(timeless(result.pop("rows")), timeless(other.pop("rows")))
        assert result == other, "the fingerprint, the protocol and the counts"
        logs = [run.metrics() for run in (by_hand, RunFolder(root / entry.id))]
        for log in logs:
            log.poll()
        for name in record.last:
            steps = [list(log.series(name)[0]) for log in logs]
            assert steps[0] == steps[1], name


def test_a_labelled_subset_is_drawn_once_for_all_of_its_probes(
    tmp_path: Path, noise: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[float] = []
    draw = engine.evaluate.tasks.labelled_subset

    def counting(labels: Any, fraction: float, seed: int, **options: Any) -> Any:
        drawn.append(fraction)
        return draw(labels, fraction, seed, **options)

    monkeypatch.setattr("engine.evaluate.tasks.labelled_subset", counting)
    config = some_study(**SHORT)
    folder = study_of(tmp_path, config)
    execute(folder, data_dir=tmp_path)
    assert kinds(folder)["probe"] == 4
    # two tasks: once when the study is checked, once for the probes of both encoders
    assert drawn == [0.5] * 4
    drawn.clear()
    (first, *_) = History(folder.path.parent).list("kind:probe")
    record = RunFolder(folder.path.parent / first.id).record()
    probe = build(ProbeConfig, _flat(record.config))
    execute(create(folder.path.parent, "probe", probe, parent=record.parent), data_dir=tmp_path)
    assert drawn == [0.5]


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    from engine.history.entry import flat_config

    return flat_config("probe", config)


def test_what_was_done_by_hand_is_not_done_again(tmp_path: Path, noise: Dataset) -> None:
    config = some_study(baselines=["random-init", "supervised"])
    root = tmp_path / "runs"
    parent = create(root, "pretrain", pretrain_config(config, 12, 0))
    execute(parent, data_dir=tmp_path)
    plain = probe_config(config, 12, 0, "ten", 1.0, "logistic", 0)
    whole = create(root, "probe", plain, parent=parent.id)
    execute(whole, data_dir=tmp_path)
    few = probe_config(config, 40, 0, "binary", 0.5, "logistic", 0)  # without the baselines
    part = create(root, "probe", few, parent=parent.id)
    execute(part, data_dir=tmp_path)
    before = {path: path.read_bytes() for path in root.glob("*/run.json")}

    folder = study_of(tmp_path, config)
    assert execute(folder, data_dir=tmp_path) == "finished"
    for path, record in before.items():
        assert path.read_bytes() == record, "no run by hand was touched"
    assert kinds(folder) == {"study": 1, "pretrain": 2, "probe": 2 + 7}
    found = look(config, History(root)).cells
    assert found[Cell("moco", 12, 0, "ten", 1.0, "logistic", 0)].run == whole.id
    assert found[Cell("supervised", None, None, "ten", 1.0, "", 0)].run == whole.id
    assert found[Cell("moco", 12, 0, "binary", 0.5, "logistic", 0)].run == part.id
    baseline = found[Cell("random-init", None, 0, "binary", 0.5, "logistic", 0)]
    assert (baseline.state, baseline.run != part.id) == ("done", True)

    again = study_of(tmp_path, config)
    sink = Heard()
    assert execute(again, data_dir=tmp_path, sink=sink) == "finished"
    assert sink.steps == []
    assert sink.plans[0].start_step == sink.plans[0].total_steps == len(found)
    assert kinds(folder) == {"study": 2, "pretrain": 2, "probe": 9}


# --------------------------------------------------------------------------- interruptions


def test_a_study_that_is_stopped_again_and_again_ends_as_an_undisturbed_one(
    tmp_path: Path, noise: Dataset
) -> None:
    config = some_study(heads=["linear"], label_fractions=[0.5], baselines=["random-init"])
    whole, sink = study_of(tmp_path / "a", config), Heard()
    execute(whole, data_dir=tmp_path, sink=sink)
    expected = numbers(whole, config)

    folder, stopped_in = study_of(tmp_path / "b", config), set()
    for share in (0.02, 0.2, 0.3, 0.45, 2.0):  # of what it takes undisturbed, each part
        part, before = Heard(at=int(share * sink.looks)), _done(folder, config)
        outcome = execute(folder, data_dir=tmp_path, sink=part)
        assert part.plans[0].start_step == before
        if share > 1.0:
            assert outcome == "finished"
            break
        assert outcome == folder.status() == "stopped"
        assert [request for request, _ in part.acknowledged] == ["stop"]
        stopped_in |= {e.kind for e in _entries(folder) if e.status == "stopped"}
        assert not {"running", "lost", "failed"} & states(folder)
    assert stopped_in == {"study", "pretrain", "probe"}
    assert numbers(folder, config) == expected
    assert kinds(folder) == kinds(whole), "nothing was made anew"
    for at in pretrainings(config):
        ends = [
            checkpoints.load(
                RunFolder(
                    run.path.parent / look(config, History(run.path.parent)).pretrainings[at].run
                ).checkpoint_path
            )["model"]
            for run in (whole, folder)
        ]
        for name, tensor in ends[0].items():
            assert torch.equal(tensor, ends[1][name]), name
    log = folder.metrics()
    log.poll()
    steps = list(log.series("study/cells")[0])
    assert steps == sorted(set(steps)), "no cell was counted twice"


def _entries(folder: RunFolder) -> list[Any]:
    return History(folder.path.parent).list()


def _done(folder: RunFolder, config: StudyConfig) -> int:
    study_state = look(config, History(folder.path.parent))
    return sum(found.state == "done" for found in study_state.cells.values())


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_a_study_is_handed_over_with_its_run_stopped(
    tmp_path: Path,
    noise: Dataset,
    undisturbed: tuple[dict[Cell, float | None], int],
    share: float,
) -> None:
    config = some_study(**SHORT)
    expected, looks = undisturbed
    folder, seen = study_of(tmp_path, config), {}

    def heir(lock_fd: int, device_fd: int | None) -> bool:
        seen["locked"] = lock_is_held(folder.lock_path)
        seen["status"] = folder.record().status
        seen["runs"] = {e.status for e in _entries(folder) if e.kind != "study"}
        return True

    asking = Heard(at=int(share * looks), ask="hand-over")
    assert execute(folder, data_dir=tmp_path, sink=asking, heir=heir) == "handed-over"
    assert (seen["locked"], seen["status"]) == (True, "handed-over")
    assert "stopped" in seen["runs"]
    assert not {"running", "handed-over"} & seen["runs"]
    assert execute(folder, data_dir=tmp_path) == "finished"
    assert numbers(folder, config) == expected


class Pausing(Heard):
    """Pauses at a look, watches the states then, and continues."""

    def __init__(self, at: int, look_at: Callable[[], Any]) -> None:
        super().__init__(at, "pause")
        self.look_at, self.seen = look_at, []

    def request(self) -> Request | None:
        if self.acknowledged and len(self.acknowledged) == 1:
            self.looks += 1
            self.seen.append(self.look_at())
            return "continue"
        return super().request()


@pytest.mark.parametrize("share", [0.15, 0.9])
def test_a_pause_holds_the_study_and_its_run(
    tmp_path: Path,
    noise: Dataset,
    undisturbed: tuple[dict[Cell, float | None], int],
    share: float,
) -> None:
    folder = study_of(tmp_path, some_study(**SHORT))
    at = int(share * undisturbed[1])
    pausing = Pausing(at, lambda: sorted(e.status for e in _entries(folder)))
    assert execute(folder, data_dir=tmp_path, sink=pausing) == "finished"
    assert [request for request, _ in pausing.acknowledged] == ["pause", "continue"]
    assert all(0 <= step <= 6 for _, step in pausing.acknowledged), "cells, not steps of a run"
    paused = pausing.seen[0].count("paused")
    assert paused in (1, 2), "the study, and the run that was at work if there was one"
    assert "running" not in pausing.seen[0]
    assert states(folder) == {"finished"}


def test_a_run_of_the_study_that_is_stopped_stops_the_study(tmp_path: Path, noise: Dataset) -> None:
    # Two hundred steps: a request from outside is looked for every 0.2 s.
    config = some_study(**{"label_fractions": [0.5], "baselines": [], "pretrain.optim.epochs": 40})
    folder = study_of(tmp_path, config)

    class Meddling(Heard):
        def progress(self, stage: str, done: int, total: int) -> None:
            super().progress(stage, done, total)
            if stage == "K 12, seed 0" and done == 3:
                (child,) = [e for e in _entries(folder) if e.kind == "pretrain"]
                RunFolder(folder.path.parent / child.id).request("stop")

    sink = Meddling()
    assert execute(folder, data_dir=tmp_path, sink=sink) == "stopped"
    assert any("was stopped: the study stops with it" in line for line in sink.lines)
    assert sink.acknowledged == [("stop", 0)]
    assert execute(folder, data_dir=tmp_path) == "finished"
    assert kinds(folder)["pretrain"] == 2


def test_a_run_that_fails_does_not_keep_the_others_from_being_done(
    tmp_path: Path, noise: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = some_study(label_fractions=[0.5], baselines=[])
    folder = study_of(tmp_path, config)
    with monkeypatch.context() as patch:

        def sometimes(run: RunFolder, **options: Any) -> str:
            if run.record().config.get("moco", {}).get("queue_size") == 12:
                with own(run) as owner:
                    owner.transition("running")
                    owner.transition("failed", error="The loss is not finite.")
                raise TrainingError("The loss is not finite.")
            return execute(run, **options)

        patch.setattr(engine.jobs.study_run, "execute", sometimes)
        with pytest.raises(TrainingError, match=r"1 run of the study failed, .*not finite"):
            execute(folder, data_dir=tmp_path)
    record = folder.record()
    assert record.status == "failed"
    assert "tries again" in record.error
    assert list(record.result["failed"].values()) == ["The loss is not finite."]
    assert record.result["cells"] == 2
    assert execute(folder, data_dir=tmp_path) == "finished"
    assert kinds(folder) == {"study": 1, "pretrain": 2, "probe": 4}
    assert folder.record().result["failed"] == {}


def test_a_run_of_another_process_is_waited_for(
    tmp_path: Path, noise: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.jobs.study_run, "_LOOK", 0.0)
    config = some_study(label_fractions=[0.5], baselines=[])
    folder = study_of(tmp_path, config)
    other = create(folder.path.parent, "pretrain", pretrain_config(config, 12, 0))
    owner = own(other)
    owner.transition("running")

    class Patient(Heard):
        def log(self, text: str) -> None:
            super().log(text)
            if text.startswith("waiting for"):
                assert other.id in text
                # everything that does not need it is done
                study_state = look(config, History(folder.path.parent))
                states = {(c.queue_size, f.state) for c, f in study_state.cells.items()}
                assert states == {(12, "waiting"), (40, "done")}
                owner.transition("stopped")
                owner.close()

    assert execute(folder, data_dir=tmp_path, sink=Patient()) == "finished"
    assert other.record().status == "finished", "the study went on with it"
    assert kinds(folder) == {"study": 1, "pretrain": 2, "probe": 4}


def test_a_run_that_waits_for_its_turn_elsewhere_is_no_reason_to_wait(
    tmp_path: Path, noise: Dataset
) -> None:
    config = some_study()
    folder = study_of(tmp_path, config)
    other = create(folder.path.parent, "pretrain", pretrain_config(config, 12, 0))
    with (
        own(other),
        pytest.raises(TrainingError, match="waits for its turn in another process"),
    ):
        execute(folder, data_dir=tmp_path)
    assert folder.record().status == "failed"
    assert execute(folder, data_dir=tmp_path) == "finished"


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"label_fractions": [0.01, 0.5]}, DataError, "label_fraction 0.01 leaves the class"),
        ({"pretrain.optim.batch_size": 64}, DataError, "only 60 training images"),
        ({"probe.runtime.device": "cuda:7"}, ConfigError, "runtime.device is cuda:7"),
    ],
)
def test_a_study_that_cannot_be_is_refused_before_anything_is_computed(
    tmp_path: Path,
    noise: Dataset,
    changes: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    config = some_study(**changes)
    with pytest.raises(error, match=words):
        prepare(config, root=tmp_path, parent="", data_dir=tmp_path, sink=NullSink())
    folder = study_of(tmp_path, config)
    with pytest.raises(error, match=words):
        execute(folder, data_dir=tmp_path)
    assert kinds(folder) == {"study": 1}
