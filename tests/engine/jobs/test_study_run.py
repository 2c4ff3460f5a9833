"""A study end to end, and what interrupts it."""

from __future__ import annotations

import copy
import dataclasses
import errno
import os
import random
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import engine.evaluate.tasks
from engine.config.resolve import build
from engine.config.schema import ProbeConfig, StudyConfig
from engine.data.dataset import Dataset, Split
from engine.errors import ConfigError, DataError, RunError, TrainingError, UserError
from engine.history.history import History
from engine.jobs.execute import execute
from engine.jobs.prepare import prepare
from engine.pretrain import checkpoint as checkpoints
from engine.runs import RunFolder, create, heartbeat, owner, ownership
from engine.runs import record as records
from engine.runs.record import encode_record
from engine.runs.run_lock import lock_is_held
from engine.sink import NullSink, Request
from engine.study.grid import (
    Cell,
    ProbePoint,
    cells,
    pretrain_config,
    pretrainings,
    probe_config,
    probe_points,
)
from engine.study.study_state import state_from_entries, state_from_history

from ..study_states import of_size
from .small_studies import (
    Heard,
    entries_of,
    kinds,
    noise_images,
    numbers,
    small_study,
    states,
    study_of,
)

SHORT = {"label_fractions": [0.5]}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[Cell, float | None], int]:
    """The numbers of the study SHORT, and how often it looked for a request."""
    with pytest.MonkeyPatch.context() as patch:
        noise_images(patch)
        root, sink = tmp_path_factory.mktemp("undisturbed"), Heard()
        config = small_study(**SHORT)
        folder = study_of(root, config)
        assert execute(folder, data_dir=root, sink=sink) == "finished"
        return numbers(folder, config), sink.looks


# --------------------------------------------------------------------------------- the whole


def test_a_study_of_shapes_from_the_first_image_to_the_last_cell(tmp_path: Path) -> None:
    config = small_study(
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
    assert runs == [(v.queue_size, seed) for v, seed in pretrainings(config)]
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
    config = small_study(
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
    config = small_study(**SHORT)
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
    from engine.config.missing_settings import flat_config

    return flat_config("probe", config)


def test_what_was_done_by_hand_is_not_done_again(tmp_path: Path, noise: Dataset) -> None:
    config = small_study(baselines=["random-init", "supervised"])
    root = tmp_path / "runs"
    parent = create(root, "pretrain", pretrain_config(config, of_size(config, 12), 0))
    execute(parent, data_dir=tmp_path)
    plain = probe_config(config, of_size(config, 12), 0, ProbePoint("ten", 1.0, "logistic", 0))
    whole = create(root, "probe", plain, parent=parent.id)
    execute(whole, data_dir=tmp_path)
    few = probe_config(  # without the baselines
        config, of_size(config, 40), 0, ProbePoint("binary", 0.5, "logistic", 0)
    )
    part = create(root, "probe", few, parent=parent.id)
    execute(part, data_dir=tmp_path)
    before = {path: path.read_bytes() for path in root.glob("*/run.json")}

    folder = study_of(tmp_path, config)
    assert execute(folder, data_dir=tmp_path) == "finished"
    for path, record in before.items():
        assert path.read_bytes() == record, "no run by hand was touched"
    assert kinds(folder) == {"study": 1, "pretrain": 2, "probe": 2 + 7}
    found = state_from_history(config, History(root)).cells
    assert found[Cell("moco", "K 12", 0, "ten", 1.0, "logistic", 0, 12)].run == whole.id
    assert found[Cell("supervised", None, None, "ten", 1.0, "", 0)].run == whole.id
    assert found[Cell("moco", "K 12", 0, "binary", 0.5, "logistic", 0, 12)].run == part.id
    baseline = found[Cell("random-init", None, 0, "binary", 0.5, "logistic", 0)]
    assert (baseline.state, baseline.run != part.id) == ("done", True)

    again = study_of(tmp_path, config)
    sink = Heard()
    assert execute(again, data_dir=tmp_path, sink=sink) == "finished"
    assert sink.steps == []
    assert sink.plans[0].start_step == sink.plans[0].total_steps == len(found)
    assert kinds(folder) == {"study": 2, "pretrain": 2, "probe": 9}


def test_runs_of_another_user_are_not_taken_up(
    tmp_path: Path, noise: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a finished one, whose numbers may be anything, nor one that could be gone on with."""
    config = small_study(**SHORT)
    first = study_of(tmp_path, config)
    assert execute(first, data_dir=tmp_path) == "finished"
    root = first.path.parent
    theirs = {path.name for path in root.iterdir() if path.is_dir()}
    before = {path: path.read_bytes() for path in root.glob("*/run.json")}
    monkeypatch.setattr(
        ownership, "owner_of", lambda path: -1 if path.name in theirs else os.geteuid()
    )
    again = study_of(tmp_path, config)
    sink = Heard()
    assert execute(again, data_dir=tmp_path, sink=sink) == "finished"
    assert sink.plans[0].start_step == 0
    assert {path: path.read_bytes() for path in before} == before
    own = state_from_history(config, History(root), users={os.geteuid()})
    assert {found.state for found in own.cells.values()} == {"done"}
    assert not {found.run for found in own.cells.values()} & theirs
    both = state_from_history(config, History(root))  # a look at what there is
    assert {found.run for found in both.cells.values()} <= theirs
    entries = History(root).list()
    mine = [entry.id for entry in entries if entry.id not in theirs]
    shown = state_from_entries(config, entries, first=mine)
    assert shown == own


# --------------------------------------------------------------------------- interruptions


def test_a_study_that_is_stopped_again_and_again_ends_as_an_undisturbed_one(
    tmp_path: Path, noise: Dataset
) -> None:
    config = small_study(heads=["linear"], label_fractions=[0.5], baselines=["random-init"])
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
        stopped_in |= {e.kind for e in entries_of(folder) if e.status == "stopped"}
        assert not {"running", "lost", "failed"} & states(folder)
    assert stopped_in == {"study", "pretrain", "probe"}
    assert numbers(folder, config) == expected
    assert kinds(folder) == kinds(whole), "nothing was made anew"
    for variant, seed in pretrainings(config):
        at = (variant.label, seed)
        ends = [
            checkpoints.load(
                RunFolder(
                    run.path.parent
                    / state_from_history(config, History(run.path.parent)).pretrainings[at].run
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


def _done(folder: RunFolder, config: StudyConfig) -> int:
    study_state = state_from_history(config, History(folder.path.parent))
    return sum(found.state == "done" for found in study_state.cells.values())


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_a_study_is_handed_over_with_its_run_stopped(
    tmp_path: Path,
    noise: Dataset,
    undisturbed: tuple[dict[Cell, float | None], int],
    share: float,
) -> None:
    config = small_study(**SHORT)
    expected, looks = undisturbed
    folder = study_of(tmp_path, config)
    seen: dict[str, Any] = {}

    def successor(lock_fd: int, device_fd: int | None) -> bool:
        seen["locked"] = lock_is_held(folder.lock_path)
        seen["status"] = folder.record().status
        seen["runs"] = {e.status for e in entries_of(folder) if e.kind != "study"}
        return True

    asking = Heard(at=int(share * looks), ask="hand-over")
    assert execute(folder, data_dir=tmp_path, sink=asking, successor=successor) == "handed-over"
    assert (seen["locked"], seen["status"]) == (True, "handed-over")
    assert "stopped" in seen["runs"]
    assert not {"running", "handed-over"} & seen["runs"]
    assert execute(folder, data_dir=tmp_path) == "finished"
    assert numbers(folder, config) == expected


class Pausing(Heard):
    """Pauses at a look, watches the states then, and continues."""

    def __init__(self, at: int, look_at: Callable[[], Any]) -> None:
        super().__init__(at, "pause")
        self.look_at = look_at
        self.seen: list[Any] = []

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
    folder = study_of(tmp_path, small_study(**SHORT))
    at = int(share * undisturbed[1])
    pausing = Pausing(at, lambda: sorted(e.status for e in entries_of(folder)))
    assert execute(folder, data_dir=tmp_path, sink=pausing) == "finished"
    assert [request for request, _ in pausing.acknowledged] == ["pause", "continue"]
    assert all(0 <= step <= 6 for _, step in pausing.acknowledged), "cells, not steps of a run"
    paused = pausing.seen[0].count("paused")
    assert paused in (1, 2), "the study, and the run that was at work if there was one"
    assert "running" not in pausing.seen[0]
    assert states(folder) == {"finished"}


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
    config = small_study(**changes)
    with pytest.raises(error, match=words):
        prepare(config, root=tmp_path, parent="", data_dir=tmp_path, sink=NullSink())
    folder = study_of(tmp_path, config)
    with pytest.raises(error, match=words):
        execute(folder, data_dir=tmp_path)
    assert kinds(folder) == {"study": 1}


def test_a_study_whose_images_were_replaced_is_computed_again(
    tmp_path: Path, noise: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_study(**SHORT, queue_sizes=[12], tasks=["ten"], baselines=[])
    first = study_of(tmp_path, config)
    assert execute(first, data_dir=tmp_path) == "finished"
    images = 255 - noise.train.images
    replaced = dataclasses.replace(noise, train=Split(images, noise.train.labels))
    monkeypatch.setattr("engine.jobs.job.load_dataset", lambda *args, **options: replaced)
    again, sink = study_of(tmp_path, config), Heard()
    assert execute(again, data_dir=tmp_path, sink=sink) == "finished"
    assert sink.plans[0].start_step == 0
    assert kinds(again) == {"study": 2, "pretrain": 2, "probe": 2}
    history = History(tmp_path / "runs")
    for data in (noise, replaced):
        assert state_from_history(config, history, data.identity).done == 1
    third, sink = study_of(tmp_path, config), Heard()
    assert execute(third, data_dir=tmp_path, sink=sink) == "finished"
    assert sink.plans[0].start_step == 1, "with the images as they are everything is done"
    assert kinds(third) == {"study": 3, "pretrain": 2, "probe": 2}


@pytest.mark.usefixtures("noise")
def test_a_run_that_cannot_be_read_is_not_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_study(**SHORT, **{"queue_sizes": [12]})
    folder = study_of(tmp_path, config)
    assert execute(folder, data_dir=tmp_path) == "finished"
    folder = study_of(tmp_path, config)  # the same once more, of which nothing is missing
    before = kinds(folder)
    (trained,) = [e for e in entries_of(folder) if e.kind == "pretrain"]
    closed = folder.path.parent / trained.id / "run.json"
    closed.chmod(0o600)  # as its owner would; this process can read it in spite of that
    real = records.read_bytes

    def refuse(path: Path, limit: int) -> bytes:
        if path == closed:
            error = PermissionError(errno.EACCES, "Permission denied", str(path))
            raise RunError(f"{path} cannot be read: permission is denied.") from error
        return real(path, limit)

    with monkeypatch.context() as patch:
        patch.setattr("engine.runs.folder.read_bytes", refuse)
        with pytest.raises(UserError, match=r"is denied\. It may be a run that was computed"):
            execute(folder, data_dir=tmp_path)
    assert kinds(folder) == before
    assert execute(folder, data_dir=tmp_path) == "finished"
    assert kinds(folder) == before


@pytest.mark.usefixtures("noise")
def test_a_probe_that_was_killed_behind_its_last_result_is_ended(tmp_path: Path) -> None:
    config = small_study(**SHORT, **{"queue_sizes": [12]})
    folder = study_of(tmp_path, config)
    assert execute(folder, data_dir=tmp_path) == "finished"
    expected = numbers(folder, config)
    (probe, *_) = (entry for entry in entries_of(folder) if entry.kind == "probe")
    run = RunFolder(folder.path.parent / probe.id)
    record = run.record()
    record.status, record.ended = "running", None
    run.record_path.write_bytes(encode_record(record))
    assert run.status() == "lost"
    again = study_of(tmp_path, config)
    assert execute(again, data_dir=tmp_path) == "finished"
    assert run.status() == "finished"
    assert kinds(again)["probe"] == kinds(folder)["probe"]
    assert numbers(again, config) == expected


# --------------------------------------------------------------------------- clocks that are set

SMALL = {"queue_sizes": [12], "label_fractions": [0.5], "tasks": ["ten"]}


class SetClock:
    """The clock of the system, set by up to an hour or ten years at each tenth look or so.

    Args:
        seed: of the jumps.
    """

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._time, self._offset, self.jumps = time.time, 0, 0

    def seconds(self) -> float:
        return self._time() + self._look()

    def nanoseconds(self) -> int:
        return int(self._time() * 10**9) + self._look() * 10**9

    def _look(self) -> int:
        if self._rng.random() < 0.1:
            self._offset = self._rng.choice([-315_360_000, -3600, 0, 3600, 315_360_000])
            self.jumps += 1
        return self._offset


def test_a_study_ends_with_the_same_numbers_and_computes_nothing_again(
    tmp_path: Path, noise: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_study(**SMALL)
    whole, sink = study_of(tmp_path / "a", config), Heard()
    assert execute(whole, data_dir=tmp_path, sink=sink) == "finished"
    expected, made = numbers(whole, config), kinds(whole)

    clock = SetClock(0)
    monkeypatch.setattr(time, "time", clock.seconds)
    monkeypatch.setattr(time, "time_ns", clock.nanoseconds)
    for module in (owner, heartbeat):
        monkeypatch.setattr(module, "_now", clock.seconds)
    folder = study_of(tmp_path / "b", config)
    for share in (0.3, 0.6, 0.3, 2.0):
        outcome = execute(folder, data_dir=tmp_path, sink=Heard(at=int(share * sink.looks)))
        if outcome == "finished":
            break
    assert outcome == "finished"
    assert numbers(folder, config) == expected
    assert kinds(folder) == made, "nothing was made anew"
    assert states(folder) == {"finished"}
    again = study_of(tmp_path / "b", config)
    heard = Heard()
    assert execute(again, data_dir=tmp_path, sink=heard) == "finished"
    assert heard.steps == [], "a rerun computes nothing"
    assert kinds(folder) == made | {"study": 2}
    assert clock.jumps >= 5


def test_a_study_that_lacks_a_cell_is_not_finished(tmp_path: Path, noise: Dataset) -> None:
    """Somebody deletes a probe after its turn."""
    config = small_study(**SMALL)
    folder = study_of(tmp_path, config)

    class Deleting(Heard):
        deleted = ""

        def log(self, text: str) -> None:
            if "subset 0" in text and not self.deleted:
                (probe,) = (
                    path.parent
                    for path in folder.path.parent.glob("*/run.json")
                    if RunFolder(path.parent).record().kind == "probe"
                )
                self.deleted = probe.name
                shutil.rmtree(probe)

    sentence = (
        "2 cells of the study have no result, the first that of moco of K 12 of seed 0 "
        r"\(ten, 50 % of the labels, logistic, subset 0\), though no run of it failed"
    )
    with pytest.raises(TrainingError, match=sentence):
        execute(folder, data_dir=tmp_path, sink=Deleting())
    assert folder.status() == "failed"
    assert execute(folder, data_dir=tmp_path) == "finished"
    assert len(numbers(folder, config)) == 2
