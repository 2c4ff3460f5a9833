"""Handing a run over: what whoever takes it over finds, and what happens when nobody does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.config.resolve import build
from engine.config.schema import PretrainConfig
from engine.data.dataset import Dataset, Split
from engine.errors import RunError
from engine.jobs.execute import execute
from engine.pretrain import checkpoint as checkpoints
from engine.runs import RunFolder, create
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
def noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three steps an epoch, of noise."""
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (24, 3, 32, 32), dtype=torch.uint8, generator=generator)
    split = Split(images, torch.arange(24) % 4)
    dataset = Dataset("noise", split, None, ("a", "b", "c", "d"))
    monkeypatch.setattr("engine.jobs.job.load_dataset", lambda *args, **options: dataset)


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
