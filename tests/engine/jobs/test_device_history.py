"""A run that is trained leaves a history of the devices, and is none the worse for it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.config.resolve import build
from engine.config.schema import PretrainConfig, ProbeConfig, StudyConfig
from engine.data.dataset import Dataset
from engine.jobs import device_history
from engine.jobs.device_history import recorded_devices
from engine.jobs.execute import execute
from engine.machine.load_reader import LoadReader
from engine.runs import RunFolder, create, device_recorder
from engine.runs.device_log import DeviceLog
from engine.sink import NullSink

from ...machine_loads import load_at

TINY = {
    "model.dim": 8,
    "model.bn_splits": 2,
    "moco.queue_size": 20,
    "optim.batch_size": 8,
    "optim.epochs": 2,
    "monitor.knn_every": 0,
    "monitor.measures": False,
    "runtime.device": "cpu",
    "runtime.threads": 1,
}
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _a_slow_machine_gets_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_recorder, "_SECONDS_TO_BEGIN", 20.0)


def made(root: Path, **values: Any) -> RunFolder:
    settings = TINY | {key.replace("__", "."): value for key, value in values.items()}
    return create(root, "pretrain", build(PretrainConfig, settings))


def history(run: RunFolder) -> DeviceLog:
    log = DeviceLog(run.devices_path)
    log.poll()
    return log


def weights(run: RunFolder) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run.checkpoint_path, weights_only=True)
    return state


def test_a_short_run_has_records(tmp_path: Path, noise: Dataset) -> None:
    run = made(tmp_path)
    execute(run, data_dir=tmp_path)
    log = history(run)
    assert {"cpu", "own_cpu", "memory", "own_memory"} >= set(log.names()) >= {"memory"}
    resident = log.last("own_memory")
    assert resident is not None
    assert 1e8 < resident < 1e11, "of this process, which has torch loaded"
    assert log.part is not None
    assert log.part.every == 10.0
    assert not list(log.part.cards), "a run on a CPU has no card"
    first, *_ = log.times
    record = run.record()
    assert record.started is not None
    assert record.started - 1.0 <= first


def test_it_can_be_switched_off(tmp_path: Path, noise: Dataset) -> None:
    run = made(tmp_path, log__device_seconds=0)
    execute(run, data_dir=tmp_path)
    assert not run.devices_path.exists()


def test_a_removed_history_changes_nothing_of_the_training(tmp_path: Path, noise: Dataset) -> None:
    """The same bits with a history, without one, and with a folder in its place."""
    ends = []
    for way in ("with", "without", "folder"):
        run = made(tmp_path / way, log__device_seconds=0 if way == "without" else 1)
        if way == "folder":
            run.devices_path.mkdir()
        assert execute(run, data_dir=tmp_path) == "finished"
        ends.append(weights(run)["model"])
    for other in ends[1:]:
        assert all(torch.equal(value, other[name]) for name, value in ends[0].items())


def test_a_run_that_goes_on_goes_on_in_the_same_file(tmp_path: Path, noise: Dataset) -> None:
    class Stops(NullSink):
        step = 0

        def metrics(self, step: int, epoch: float, values: Any) -> None:
            self.step = step

        def request(self) -> Any:
            return "stop" if self.step >= 3 else None

    run = made(tmp_path)
    assert execute(run, data_dir=tmp_path, sink=Stops()) == "stopped"
    before = run.devices_path.read_bytes()
    assert execute(run, data_dir=tmp_path) == "finished"
    after = run.devices_path.read_bytes()
    assert after.startswith(before)
    assert after.count(b'"began":') == 2
    memory = history(run).series("memory")[1]
    assert any(value != value for value in memory[1:-1]), "the pause is a gap"


CODE = """
import sys
from pathlib import Path
import torch
from engine.config.schema import PretrainConfig
from engine.config.resolve import build
from engine.jobs.device_history import recorded_devices
from engine.machine.load_reader import LoadReader
from engine.runs import RunFolder
from engine.runs import device_recorder
device_recorder.FIRST_SECONDS = 0.0
run = RunFolder(Path(sys.argv[1]))
config = build(PretrainConfig, {"log.device_seconds": 1})
with recorded_devices(run, config, torch.device("cpu")):
    while run.devices_path.stat().st_size < 300 if run.devices_path.exists() else True:
        pass
    print("there", flush=True)
    sys.stdin.read()
"""


def test_a_killed_run_leaves_a_readable_file(tmp_path: Path) -> None:
    run = made(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, str(run.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"there\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with run.devices_path.open("ab") as file:  # as if it had been within a line
        file.write(b"[12.5,4")
    log = history(run)
    assert log.last("memory") is not None
    assert log.skipped == 0
    with recorded_devices(run, build(PretrainConfig, TINY), torch.device("cpu")):
        pass
    log = history(run)
    assert log.skipped == 0
    assert len([v for v in log.series("memory")[1] if v == v]) >= 2


def test_a_card_is_asked_for_by_the_name_that_cuda_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under ``CUDA_VISIBLE_DEVICES`` number 0 is another card than the driver's number 0."""
    asked: list[Any] = []

    class Reader(LoadReader):
        def __init__(self, cards: Any) -> None:
            asked.append(cards)

        def read(self) -> Any:
            return load_at(0.5)

        def close(self) -> None:
            pass

    monkeypatch.setattr(device_history, "LoadReader", Reader)
    monkeypatch.setattr(device_history, "device_key", lambda device: f"cuda-uuid-{device.index}")
    run = made(tmp_path)
    with recorded_devices(run, build(PretrainConfig, TINY), torch.device("cuda", 1)):
        pass
    assert asked == [["uuid-1"]]
    assert history(run).last("card0/use") == 50.0


@pytest.mark.parametrize(("config", "is_recorded"), [(ProbeConfig(), True), (StudyConfig(), False)])
def test_a_probe_has_a_history_and_a_study_leaves_it_to_its_runs(
    tmp_path: Path, config: Any, is_recorded: bool
) -> None:
    run = made(tmp_path)
    with recorded_devices(run, config, torch.device("cpu")):
        pass
    assert run.devices_path.exists() == is_recorded


def test_a_folder_that_goes_while_a_run_is_trained_stays_gone(tmp_path: Path) -> None:
    run = made(tmp_path)
    with recorded_devices(run, build(PretrainConfig, TINY), torch.device("cpu")):
        shutil.rmtree(run.path)
    assert not os.path.lexists(run.path)
