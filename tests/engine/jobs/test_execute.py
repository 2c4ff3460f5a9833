"""Handing a run over: what whoever takes it over finds, and what happens when nobody does."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.config.resolve import build
from engine.config.schema import PretrainConfig
from engine.data.dataset import Dataset, Split
from engine.errors import RunError, TrainingError
from engine.jobs.execute import execute
from engine.pretrain import checkpoint as checkpoints
from engine.runs import RunFolder, create
from engine.runs.data_identity import OtherDataError
from engine.runs.run_lock import lock_is_held
from engine.sink import Interrupted, NullSink, Request

TINY = {
    "model.dim": 8,
    "model.bn_splits": 2,
    "moco.queue_size": 20,
    "optim.batch_size": 8,
    "optim.epochs": 3,
    "monitor.knn_every": 0,
    "runtime.device": "cpu",
    "runtime.threads": 1,
}


@pytest.fixture(autouse=True)
def noise(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Three steps an epoch, of noise."""
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (24, 3, 32, 32), dtype=torch.uint8, generator=generator)
    split = Split(images, torch.arange(24) % 4)
    dataset = Dataset("noise", split, None, ("a", "b", "c", "d"))
    return give(monkeypatch, dataset)


def give(monkeypatch: pytest.MonkeyPatch, dataset: Dataset) -> Dataset:
    """From now on the images of every run."""
    monkeypatch.setattr("engine.jobs.job.load_dataset", lambda *args, **options: dataset)
    return dataset


def inverted(dataset: Dataset) -> Dataset:
    return replace(dataset, train=Split(255 - dataset.train.images, dataset.train.labels))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return create(tmp_path / "runs", "pretrain", build(PretrainConfig, TINY))


class Asks(NullSink):
    """Asks for something once so many steps are done."""

    def __init__(self, *wanted: tuple[int, Request]) -> None:
        self.wanted = list(wanted)
        self.step = 0

    def metrics(self, step: int, epoch: float, values: Any) -> None:
        self.step = step

    def request(self) -> Request | None:
        if self.wanted and self.step >= self.wanted[0][0]:
            return self.wanted[0][1]
        return None

    def acknowledge(self, request: Request, step: int) -> None:
        if self.wanted and self.wanted[0][1] == request:
            self.wanted.pop(0)


def test_the_successor_finds_a_locked_run_with_its_resume_point(
    run: RunFolder, tmp_path: Path
) -> None:
    seen: dict[str, Any] = {}

    def successor(lock_fd: int, device_fd: int | None) -> bool:
        seen["locked"] = lock_is_held(run.lock_path)
        seen["status"] = run.record().status
        seen["step"] = checkpoints.load(run.checkpoint_path)["step"]
        seen["device"] = device_fd
        return True

    outcome = execute(run, data_dir=tmp_path, sink=Asks((4, "hand-over")), successor=successor)
    assert outcome == "handed-over"
    assert seen == {"locked": True, "status": "handed-over", "step": 4, "device": None}
    assert not lock_is_held(run.lock_path)
    log = run.metrics()
    log.poll()
    assert list(log.series("train/loss")[0]) == [1, 2, 3, 4]


def _returns_false(lock_fd: int, device_fd: int | None) -> bool:
    return False


def _raises(lock_fd: int, device_fd: int | None) -> bool:
    raise RunError("No process could be started.")


@pytest.mark.parametrize("successor", [_returns_false, _raises])
def test_a_run_that_nobody_takes_over_is_stopped_and_says_why(
    run: RunFolder, tmp_path: Path, successor: Callable[[int, int | None], bool]
) -> None:
    outcome = execute(run, data_dir=tmp_path, sink=Asks((4, "hand-over")), successor=successor)
    assert (outcome, run.status()) == ("stopped", "stopped")
    assert "can be resumed" in run.log_tail(1)[0]
    assert execute(run, data_dir=tmp_path) == "finished"
    assert run.record().step == 9


def test_a_hand_over_goes_on_from_the_very_step_to_the_same_bits(
    run: RunFolder, tmp_path: Path
) -> None:
    whole = create(tmp_path / "runs", "pretrain", build(PretrainConfig, TINY))
    execute(whole, data_dir=tmp_path)
    execute(run, data_dir=tmp_path, sink=Asks((5, "hand-over")))
    execute(run, data_dir=tmp_path)
    ends = [checkpoints.load(folder.checkpoint_path) for folder in (whole, run)]
    for name, tensor in ends[0]["model"].items():
        assert torch.equal(tensor, ends[1]["model"][name]), name


def test_a_hand_over_inside_the_last_knn_leaves_the_same_resume_point(tmp_path: Path) -> None:
    config = build(PretrainConfig, {**TINY, "monitor.knn_every": 3, "monitor.knn_k": 2})
    whole, run = (create(tmp_path / "runs", "pretrain", config) for _ in range(2))
    execute(whole, data_dir=tmp_path)
    assert execute(run, data_dir=tmp_path, sink=Asks((9, "hand-over"))) == "handed-over"
    assert checkpoints.load(run.checkpoint_path)["monitored_step"] == 0, "not yet"
    assert execute(run, data_dir=tmp_path) == "finished"
    ends = [checkpoints.load(folder.checkpoint_path) for folder in (whole, run)]
    assert [end["monitored_step"] for end in ends] == [9, 9]
    tops = [folder.record().last["knn/top1"] for folder in (whole, run)]
    assert tops[0] == tops[1]


def test_a_paused_run_stays_paused(run: RunFolder, tmp_path: Path) -> None:
    sink = Asks((2, "pause"), (2, "hand-over"))
    assert execute(run, data_dir=tmp_path, sink=sink) == "handed-over"
    assert [asked.request for asked in run.pending_requests()] == ["pause"]
    later = Asks()
    later.acknowledge = lambda request, step: later.wanted.append((0, "stop"))  # type: ignore[method-assign]
    assert execute(run, data_dir=tmp_path, sink=later) == "stopped"
    assert run.record().step == 2, "no step was taken before the pause"


def test_a_run_whose_images_are_still_read_is_handed_over_too(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any, **options: Any) -> Dataset:
        raise Interrupted("hand-over")

    with monkeypatch.context() as patch:
        patch.setattr("engine.jobs.job.load_dataset", interrupted)
        assert execute(run, data_dir=tmp_path, successor=lambda *fds: True) == "handed-over"
    assert not run.checkpoint_path.exists()
    assert execute(run, data_dir=tmp_path) == "finished"


class KilledInTheRecord(NullSink):
    """The process dies when its last checkpoint is written, and its record does not say so yet."""

    def checkpointed(self, step: int) -> None:
        raise KeyboardInterrupt


def test_the_record_names_the_last_checkpoint_also_where_no_step_was_left(
    run: RunFolder, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        execute(run, data_dir=tmp_path, sink=KilledInTheRecord())
    assert run.checkpoint_path.exists()
    assert run.record().checkpoint_step is None
    assert execute(run, data_dir=tmp_path) == "finished"
    record = run.record()
    assert record.checkpoint_step == record.step == record.total_steps


# ------------------------------------------------------------------------- other images


@pytest.mark.parametrize("stop_at", [2, 0])  # with a checkpoint, and before the first one
def test_a_run_whose_images_have_changed_stays_as_it_was_until_a_person_allows_it(
    run: RunFolder, tmp_path: Path, noise: Dataset, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    if stop_at:
        assert execute(run, data_dir=tmp_path, sink=Asks((stop_at, "stop"))) == "stopped"
    else:
        with pytest.raises(KeyboardInterrupt):
            execute(run, data_dir=tmp_path, sink=Killed())
        assert not run.checkpoint_path.exists()
    record = run.record()
    assert [part["train_images"] for part in record.data] == [noise.identity.train_images]
    other = give(monkeypatch, inverted(noise))
    kept = run.checkpoint_path.read_bytes() if stop_at else b""
    with pytest.raises(OtherDataError, match=f"run {run.id} began with: the training images chan"):
        execute(run, data_dir=tmp_path)
    refused = run.record()
    assert refused.status == "stopped"
    assert "--allow-other-data" in refused.error
    assert (refused.step, refused.data) == (record.step, record.data)
    assert stop_at == 0 or run.checkpoint_path.read_bytes() == kept
    assert execute(run, data_dir=tmp_path, allow_other_data=True) == "finished"
    record = run.record()
    first = [(0, noise.identity.train_images)] if stop_at else []
    assert [(part["step"], part["train_images"]) for part in record.data] == [
        *first,
        (stop_at, other.identity.train_images),
    ]
    assert "goes on with other data, as asked" in run.log_path.read_text()


class Killed(NullSink):
    """As a kill before the first checkpoint: nothing is saved."""

    def metrics(self, step: int, epoch: float, values: Any) -> None:
        raise KeyboardInterrupt


def test_a_run_of_a_version_without_digests_goes_on_and_has_one_then(
    run: RunFolder, tmp_path: Path, noise: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert execute(run, data_dir=tmp_path, sink=Asks((2, "stop"))) == "stopped"
    state = checkpoints.load(run.checkpoint_path)
    del state["data"]
    checkpoints.save(run.checkpoint_path, state)
    tree = json.loads(run.record_path.read_text())
    del tree["data"]
    run.record_path.write_text(json.dumps(tree))
    other = give(monkeypatch, inverted(noise))
    assert execute(run, data_dir=tmp_path) == "finished"
    (part,) = run.record().data
    assert (part["step"], part["train_images"]) == (2, other.identity.train_images)


def test_what_is_left_out_of_a_folder_is_one_line_of_the_log(
    run: RunFolder, tmp_path: Path, noise: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, replace(noise, left_out="/pets: left out: 3 files that are no images"))
    assert execute(run, data_dir=tmp_path) == "finished"
    said = [line for line in run.log_path.read_text().splitlines() if "left out" in line]
    assert [line.partition("/pets")[2] for line in said] == [
        ": left out: 3 files that are no images"
    ]


class Tampers(NullSink):
    """Changes the metric log when a checkpoint of some step is on disk."""

    def __init__(self, path: Path, step: int, how: Callable[[Path], object]) -> None:
        self.path, self.step, self.how = path, step, how

    def checkpointed(self, step: int) -> None:
        if step == self.step:
            self.how(self.path)


def _replace(path: Path) -> None:
    (path.parent / "other").write_bytes(b"no metrics\n")
    (path.parent / "other").replace(path)


EVERY = {**TINY, "log.checkpoint_epochs": 1}


@pytest.mark.parametrize("step", [3, 9])
@pytest.mark.parametrize("how", [Path.unlink, _replace])
def test_a_metric_log_that_is_taken_away_is_there_in_the_end(
    tmp_path: Path, step: int, how: Callable[[Path], object]
) -> None:
    run = create(tmp_path / "runs", "pretrain", build(PretrainConfig, EVERY))
    sink = Tampers(run.metrics_path, step, how)
    assert execute(run, data_dir=tmp_path, sink=sink) == "finished"
    log = run.metrics()
    log.poll()
    assert list(log.series("train/loss")[0]) == list(range(1, 10))
    assert len([line for line in run.log_tail(50) if "it was written again" in line]) == 1


@pytest.mark.parametrize("step", [3, 9])
@pytest.mark.parametrize(
    "how", [lambda path: os.truncate(path, 100), lambda path: path.write_bytes(b"x" * 10_000)]
)
def test_a_run_whose_metrics_are_gone_fails_and_can_be_resumed(
    tmp_path: Path, step: int, how: Callable[[Path], object]
) -> None:
    whole, run = (
        create(tmp_path / "runs", "pretrain", build(PretrainConfig, EVERY)) for _ in range(2)
    )
    execute(whole, data_dir=tmp_path)
    with pytest.raises(TrainingError, match="by another program while the run was trained"):
        execute(run, data_dir=tmp_path, sink=Tampers(run.metrics_path, step, how))
    assert run.status() == "failed"
    assert "curves are incomplete" in run.record().error
    assert execute(run, data_dir=tmp_path) == "finished"
    ends = [checkpoints.load(folder.checkpoint_path) for folder in (whole, run)]
    for name, tensor in ends[0]["model"].items():
        assert torch.equal(tensor, ends[1]["model"][name]), name


def test_a_damaged_checkpoint_is_said_and_the_one_before_it_leads_to_the_same_bits(
    run: RunFolder, tmp_path: Path
) -> None:
    whole = create(tmp_path / "runs", "pretrain", build(PretrainConfig, TINY))
    execute(whole, data_dir=tmp_path)
    for step in (2, 5):
        assert execute(run, data_dir=tmp_path, sink=Asks((step, "stop"))) == "stopped"
    data = bytearray(run.checkpoint_path.read_bytes())
    data[len(data) // 2] ^= 1
    run.checkpoint_path.write_bytes(data)
    assert execute(run, data_dir=tmp_path) == "finished"
    log = "\n".join(run.log_tail(100))
    assert "truncated or damaged. Going on from the one before it." in log
    assert "resuming after step 2" in log
    ends = [checkpoints.load(folder.checkpoint_path) for folder in (whole, run)]
    for name, tensor in ends[0]["model"].items():
        assert torch.equal(tensor, ends[1]["model"][name]), name
    curves = []
    for folder in (whole, run):  # steps 3 to 5 of the damaged one are void
        metrics = folder.metrics()
        metrics.poll()
        curves.append(metrics.series("train/loss"))
    assert [list(part) for part in curves[0]] == [list(part) for part in curves[1]]


def test_where_no_checkpoint_can_be_used_the_run_fails_with_a_sentence(
    run: RunFolder, tmp_path: Path
) -> None:
    assert execute(run, data_dir=tmp_path, sink=Asks((2, "stop"))) == "stopped"
    run.checkpoint_path.write_bytes(b"PK")
    with pytest.raises(RunError, match=r"There is none before it .* begins again\."):
        execute(run, data_dir=tmp_path)
    run.checkpoint_path.unlink()
    assert execute(run, data_dir=tmp_path) == "finished"
