"""What the log of a run says while it is trained: in order, and a line for each thing alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.config.resolve import build
from engine.config.schema import PretrainConfig
from engine.data.dataset import Dataset
from engine.jobs.execute import execute
from engine.jobs.log_teller import LogTeller
from engine.pretrain import checkpoint as checkpoints
from engine.runs import RunFolder, create
from engine.sink import NullSink, Plan, Request

from .test_execute import TINY, noise  # noqa: F401 - a fixture

PLAN = Plan(total_steps=30, steps_per_epoch=10)


def teller(lines: list[str]) -> LogTeller:
    return LogTeller(lines.append, Path("none"), set())


def test_the_line_of_an_epoch_holds_what_is_measured_at_its_end() -> None:
    lines: list[str] = []
    told = teller(lines)
    told.plan(PLAN, "noise")
    del lines[:]
    for step in range(1, 11):
        told.metrics(step, {"train/loss": 9.0})
    told.metrics(10, {"train/loss": 9.0, "train/epoch_loss": 8.5})
    told.metrics(0, {"knn/top1": 12.5})
    told.metrics(10, {"knn/top1": 45.0})
    assert lines == ["untrained encoder: kNN 12.5 %"]
    told.metrics(11, {"train/loss": 9.0})
    assert re.fullmatch(r"epoch 1 of 3: loss 8\.5, kNN 45\.0 %, \d\.\d s", lines[1])
    told.metrics(20, {"train/epoch_loss": 8.25})
    told.checkpointed(20)
    told.tell_epoch()
    assert [line.split(",")[0] for line in lines[2:]] == ["epoch 2 of 3: loss 8.25"]


def test_a_thousand_steps_without_an_epochs_end_are_no_line() -> None:
    lines: list[str] = []
    told = teller(lines)
    told.plan(Plan(total_steps=5000, steps_per_epoch=5000), "noise")
    begun = list(lines)
    for step in range(1, 1000):
        told.metrics(step, {"train/loss": 9.0, "train/lr": 0.1})
        told.progress("kNN", step)
    assert lines == begun


def test_a_checkpoint_that_was_there_already_is_no_news() -> None:
    lines: list[str] = []
    told = teller(lines)
    told.checkpointed(5)
    told.progress("checkpoint", 0)
    told.checkpointed(7)
    assert [line.partition(" (")[0] for line in lines] == ["checkpoint at step 7"]


def test_the_time_of_an_epoch_that_was_paused_in_is_not_told() -> None:
    lines: list[str] = []
    told = teller(lines)
    told.plan(PLAN, "noise")
    told.answered("pause", 4)
    told.answered("continue", 4)
    told.metrics(10, {"train/epoch_loss": 8.5})
    told.metrics(20, {"train/epoch_loss": 8.0})
    told.tell_epoch()
    assert lines[-2] == "epoch 1 of 3: loss 8.5"
    assert re.fullmatch(r"epoch 2 of 3: loss 8, \d\.\d s", lines[-1])


def test_rows_of_an_earlier_part_are_not_told_again() -> None:
    lines: list[str] = []
    told = LogTeller(lines.append, Path("none"), {"pretrained"}, "probe")
    told.result({"rows": []})
    told.result({"rows": [{"source": "pretrained", "top1": 60.0}]})
    told.result({"rows": [{"source": "pretrained"}, {"source": "pixels", "top1": 31.0}]})
    assert lines == ["pixels: top-1 31.0 %"]


def same(a: Any, b: Any) -> bool:
    """Whether two checkpoints hold the same values, bit by bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(*pair) for pair in zip(a, b, strict=True))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def test_a_study_counts_cells_and_its_table_is_no_news() -> None:
    lines: list[str] = []
    told = LogTeller(lines.append, Path("none"), set(), "study")
    told.plan(Plan(total_steps=6, start_step=2), "")
    told.answered("pause", 3)
    told.result({"rows": [{"source": "pretrained", "top1": 60.0}]})
    assert lines == [
        "device: cpu",
        "work: goes on after cell 2 of 6",
        "paused, as was asked, after cell 3",
    ]


class Once(NullSink):
    """Asks for something once, after a step."""

    def __init__(self, request: Request) -> None:
        self.wanted: Request | None = request

    def request(self) -> Request | None:
        return self.wanted

    def acknowledge(self, request: Request, step: int) -> None:
        self.wanted = None


@pytest.fixture
def run(tmp_path: Path, noise: Dataset) -> RunFolder:  # noqa: F811 - of another module
    return create(tmp_path / "runs", "pretrain", build(PretrainConfig, TINY))


def texts(run: RunFolder) -> list[str]:
    """The lines of the log without the time of day."""
    stamp = len("2026-01-01 12:00:00 ")
    return [line[stamp:] for line in run.log_path.read_text().splitlines()]


def test_a_run_can_be_read_from_its_log(run: RunFolder, tmp_path: Path) -> None:
    assert execute(run, data_dir=tmp_path) == "finished"
    lines = texts(run)
    assert "24 images to train on" in lines[0]
    assert re.match(r"device: cpu, (float32|bfloat16), 1 thread\b.*, steps \w+$", lines[1])
    assert lines[2].startswith("work: 9 steps, 3 epochs of 3 steps, 8 pairs a step")
    kinds = [re.split(r"[ :;(]", line)[0] for line in lines[3:]]
    assert [kind for kind in kinds if kind in ("epoch", "finished")] == ["epoch"] * 3 + ["finished"]
    assert re.search(r"checkpoint at step 9 \(\d+\.\d s, \d+\.\d MiB\)", "\n".join(lines))
    assert re.fullmatch(r"finished; trained for \d.*", lines[-1])
    record = run.record()
    last = next(line for line in lines if line.startswith("epoch 3 of 3"))
    assert f"loss {record.last['train/epoch_loss']:.4g}" in last
    assert all(len(line.encode()) < 400 for line in lines)


def test_requests_and_where_it_goes_on_are_told(run: RunFolder, tmp_path: Path) -> None:
    assert execute(run, data_dir=tmp_path, sink=Once("stop")) == "stopped"
    assert "stops, as was asked, after step 0" in texts(run)
    assert texts(run)[-1].startswith("stopped after step 0 of 9; trained for")
    execute(run, data_dir=tmp_path, sink=Once("checkpoint"))
    assert "saved, as was asked, after step 0" in texts(run)


def test_a_failure_ends_the_log_with_its_reason_and_the_time(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError("no such disk")

    monkeypatch.setattr(checkpoints, "save", broken)
    with pytest.raises(Exception, match="no such disk"):
        execute(run, data_dir=tmp_path)
    assert re.fullmatch(r"failed after step \d of 9; trained for .*", texts(run)[-1])
    assert any("no such disk" in line for line in run.log_tail(99)[:-1])


def test_the_log_changes_no_bit_of_the_training(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(run, data_dir=tmp_path)
    silent = create(tmp_path / "other", "pretrain", build(PretrainConfig, TINY))
    for name in ("plan", "metrics", "progress", "checkpointed", "answered", "result"):
        monkeypatch.setattr(LogTeller, name, lambda self, *_: None)
    execute(silent, data_dir=tmp_path)
    ours, theirs = (checkpoints.load(f.checkpoint_path) for f in (run, silent))
    assert same(ours, theirs)
