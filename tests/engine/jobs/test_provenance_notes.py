"""Where a run came from stands in its record, whatever goes wrong with finding it out."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.config.resolve import build
from engine.config.schema import PretrainConfig
from engine.data.dataset import Dataset
from engine.history.history import History
from engine.jobs import provenance_notes
from engine.jobs.execute import execute
from engine.jobs.surroundings import Surroundings, gather
from engine.runs import RunFolder, create, own
from engine.runs.provenance import merged
from engine.sink import NullSink, Request

from .small_studies import small_study, study_of

TINY = {
    "model.dim": 8,
    "model.bn_splits": 2,
    "moco.queue_size": 24,
    "optim.batch_size": 12,
    "optim.epochs": 2,
    "monitor.knn_every": 0,
    "runtime.device": "cpu",
    "runtime.threads": 1,
}


@pytest.fixture
def folder(tmp_path: Path, noise: Dataset) -> RunFolder:
    return create(tmp_path / "runs", "pretrain", build(PretrainConfig, TINY))


class StopsAt(NullSink):
    """Asks for a stop once so many steps are done."""

    def __init__(self, step: int) -> None:
        self.step, self.at = step, 0

    def metrics(self, step: int, epoch: float, values: Any) -> None:
        self.at = step

    def request(self) -> Request | None:
        return "stop" if self.at >= self.step else None


def test_a_run_records_where_it_came_from(folder: RunFolder, tmp_path: Path) -> None:
    assert execute(folder, data_dir=tmp_path) == "finished"
    (part,) = folder.record().provenance
    assert part["step"] == 0
    assert part["values"] == gather({}).values
    for name, data in gather({}).files.items():
        assert (folder.path / name).read_bytes() == data


def test_a_resume_adds_what_differs_and_says_so_in_one_line(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert execute(folder, data_dir=tmp_path, sink=StopsAt(3)) == "stopped"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    first = gather({})
    other = Surroundings(dict(first.values) | {"packages.torch": "9.9"}, {})
    monkeypatch.setattr(provenance_notes, "gather", lambda *of: other)
    assert execute(folder, data_dir=tmp_path) == "finished"
    one, two = folder.record().provenance
    assert (one["step"], two["step"]) == (0, 3)
    assert two["values"] == {"packages.torch": "9.9", "environment.OMP_NUM_THREADS": "2"}
    (line,) = [text for text in folder.log_tail(99) if "something else" in text]
    assert f"torch {one['values']['packages.torch']} then, 9.9 now" in line
    assert "OMP_NUM_THREADS 1 then, 2 now" in line


def test_a_resume_with_the_same_adds_nothing(folder: RunFolder, tmp_path: Path) -> None:
    assert execute(folder, data_dir=tmp_path, sink=StopsAt(3)) == "stopped"
    assert execute(folder, data_dir=tmp_path) == "finished"
    assert len(folder.record().provenance) == 1
    assert not any("something else" in text for text in folder.log_tail(99))


def test_a_run_of_an_earlier_version_goes_on_without_a_line(
    folder: RunFolder, tmp_path: Path
) -> None:
    assert execute(folder, data_dir=tmp_path, sink=StopsAt(3)) == "stopped"
    with own(folder) as owner:
        owner._record.change(lambda record: record.provenance.clear())
        owner._record.save()
    assert execute(folder, data_dir=tmp_path) == "finished"
    (part,) = folder.record().provenance
    assert part["step"] == 3
    assert not any("something else" in text for text in folder.log_tail(99))


def test_no_run_fails_because_something_cannot_be_found_out(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*of: object) -> Surroundings:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr(provenance_notes, "gather", broken)
    assert execute(folder, data_dir=tmp_path) == "finished"
    assert folder.record().provenance == []
    assert any("not recorded: ZeroDivisionError: odd" in text for text in folder.log_tail(99))


def test_no_step_waits_for_it_and_what_comes_too_late_is_not_written(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, asked = threading.Event(), threading.Event()

    def slow(*of: object) -> Surroundings:
        asked.set()
        wanted.wait(60)
        return Surroundings({"command": "late"})

    monkeypatch.setattr(provenance_notes, "gather", slow)
    monkeypatch.setattr(provenance_notes, "_SECONDS_AT_THE_END", 0.1)
    assert execute(folder, data_dir=tmp_path) == "finished"
    assert asked.is_set()
    before = folder.record_path.read_bytes()
    wanted.set()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and any(
        thread.name == f"provenance-{folder.id}" for thread in threading.enumerate()
    ):
        time.sleep(0.01)
    assert folder.record_path.read_bytes() == before
    assert folder.record().provenance == []


def test_the_numbers_of_a_run_are_the_same_whatever_is_recorded(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert execute(folder, data_dir=tmp_path) == "finished"
    other = create(tmp_path / "runs", "pretrain", build(PretrainConfig, TINY))
    monkeypatch.setattr(provenance_notes, "gather", lambda *of: Surroundings({}))
    assert execute(other, data_dir=tmp_path) == "finished"
    a, b = (torch.load(f.checkpoint_path, weights_only=True) for f in (folder, other))
    assert a.keys() == b.keys()
    assert folder.record().last == other.record().last


def test_runs_of_a_study_name_it(tmp_path: Path, noise: Dataset) -> None:
    study = study_of(tmp_path, small_study(queue_sizes=[12], tasks=["ten"], label_fractions=[0.5]))
    assert execute(study, data_dir=tmp_path) == "finished"
    entries = History(study.path.parent).list()
    assert {e.study for e in entries if e.kind != "study"} == {study.id}
    assert [e.study for e in entries if e.kind == "study"] == [""]
    assert all(merged(RunFolder(study.path.parent / e.id).record().provenance) for e in entries)
