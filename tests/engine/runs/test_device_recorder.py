"""The thread that records the devices: its clock is set by hand, and nothing of it harms a run."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.machine.cards import CardProcess
from engine.machine.load_reader import Load, LoadReader
from engine.runs import device_recorder, device_writer
from engine.runs.device_log import DeviceLog
from engine.runs.device_recorder import DeviceRecorder
from tests.hand_clock import Clock

from ...machine_loads import load_at


class Machine(LoadReader):
    """Gives a load again and again; ``read_now`` is set once it has been asked so often."""

    def __init__(self, load: Load, wanted: int = 1) -> None:
        self.load, self.left = load, wanted
        self.read_now, self.closed = threading.Event(), threading.Event()
        self.threads: set[int] = set()

    def read(self) -> Load:
        self.threads.add(threading.get_ident())
        self.left -= 1
        if self.left <= 0:
            self.read_now.set()
        return self.load

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run" / "devices.jsonl"


@pytest.fixture(autouse=True)
def _a_slow_machine_gets_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_recorder, "_SECONDS_TO_BEGIN", 20.0)


def read(path: Path) -> DeviceLog:
    log = DeviceLog(path)
    log.poll()
    return log


def recorded(path: Path, machine: Machine, seconds: float = 0.01) -> DeviceRecorder:
    recorder = DeviceRecorder(path, seconds, lambda: machine)
    recorder.start()
    assert machine.read_now.wait(60)
    return recorder


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(500.0)
    monkeypatch.setattr(device_recorder, "_monotonic", clock)
    return clock


def test_samples_are_written_while_a_run_goes_on_and_end_with_it(path: Path) -> None:
    machine = Machine(load_at(0.5), wanted=4)
    recorder = recorded(path, machine)
    recorder.stop()
    assert machine.closed.is_set()
    assert machine.threads.isdisjoint({threading.get_ident()})
    log = read(path)
    assert len(log.series("cpu")[0]) >= 4
    assert log.skipped == 0
    assert set(log.series("card0/use")[1]) == {50.0}
    before = path.read_bytes()
    recorder.stop()
    assert path.read_bytes() == before
    assert not any(thread.name == "devices" for thread in threading.enumerate())


def test_a_short_run_has_a_sample_of_its_end(path: Path) -> None:
    machine = Machine(load_at(0.5))
    recorder = DeviceRecorder(path, 3600.0, lambda: machine)
    recorder.start()
    recorder.stop()
    assert read(path).last("cpu") == 50.0


def test_times_are_of_a_clock_that_nobody_sets(path: Path, clock: Clock) -> None:
    recorder = DeviceRecorder(path, 10.0, lambda: Machine(load_at(0.5)))
    recorder._began = clock.now
    for _ in range(3):
        clock.now += 10.0
        recorder.sample(load_at(0.5), began_at=1.7e9)
    log = read(path)
    assert list(log.seconds) == [10.0, 20.0, 30.0]
    assert list(log.times) == [1.7e9 + 10, 1.7e9 + 20, 1.7e9 + 30]
    assert log.part is not None
    assert (log.part.every, log.part.cpus) == (10.0, 4)


def test_what_was_missed_is_left_out(path: Path, clock: Clock) -> None:
    """A machine that slept takes no samples in a row to make up for it."""
    recorder = DeviceRecorder(path, 10.0, lambda: Machine(load_at(0.5)))
    recorder._began = clock.now
    clock.now += 1.0
    assert recorder._next(1.0) == 11.0
    clock.now += 95.0
    assert recorder._next(11.0) == 100.0
    clock.now += 4.0  # at the very moment
    assert recorder._next(100.0) == 110.0


def test_who_else_is_on_the_card_is_written_when_it_changes(path: Path, clock: Clock) -> None:
    recorder = DeviceRecorder(path, 10.0, lambda: Machine(load_at(0.5)))
    users: list[Any] = ["ann", "ann", "bob", None, "ann"]
    for at, user in enumerate(users):
        load = load_at(0.5)
        of = [CardProcess(5, user, at)] if user else []  # the memory changes all the time
        load.cards[0].others = of
        recorder.sample(load, 1.7e9)
        assert [p.user for p in read(path).others.get(0, [])] == [p.user for p in of]
    assert path.read_bytes().count(b'"others":') == 4


def test_more_cards_than_at_the_beginning_are_left_out(path: Path, clock: Clock) -> None:
    recorder = DeviceRecorder(path, 10.0, lambda: Machine(load_at(0.5)))
    for cards in (1, 2, 0, 1):
        recorder.sample(load_at(0.5, cards), 1.7e9)
    log = read(path)
    assert log.skipped == 0
    assert "card1/use" not in log.names()


def _remove(path: Path) -> None:
    shutil.rmtree(path.parent)


def _as_file(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.write_bytes(b"")


@pytest.mark.parametrize("harm", [_remove, _as_file])
def test_a_folder_that_is_gone_stays_gone_and_harms_nothing(
    path: Path, harm: Callable[[Path], None]
) -> None:
    machine = Machine(load_at(0.5), wanted=3)
    recorder = recorded(path, machine)
    harm(path)
    machine.left = 3
    machine.read_now.clear()
    assert machine.read_now.wait(60), "it goes on, since the folder may come back"
    recorder.stop()
    assert not path.exists()


def test_a_full_disk_harms_nothing_and_leaves_a_gap(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = DeviceRecorder(path, 10.0, lambda: Machine(load_at(0.5)))
    recorder._began = clock.now

    def full(fd: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "full")

    for at in range(12):
        clock.now += 10.0
        with monkeypatch.context() as patched:
            if 4 <= at < 8:
                patched.setattr(device_writer, "write_all", full)
            recorder.sample(load_at(0.5), 1.7e9)
    log = read(path)
    assert [seconds for seconds, _, _ in log.rows()] == [10, 20, 30, 40, 90, 100, 110, 120]
    assert [v == v for v in log.series("cpu")[1]] == [True] * 4 + [False] + [True] * 4


@pytest.mark.parametrize("where", ["make", "read", "close"])
def test_a_machine_that_cannot_be_read_harms_nothing(path: Path, where: str) -> None:
    class Broken(Machine):
        def read(self) -> Load:
            raise RuntimeError("odd")

        def close(self) -> None:
            raise RuntimeError("odd")

    def make() -> LoadReader:
        if where == "make":
            raise RuntimeError("odd")
        return Broken(load_at(0.5)) if where == "read" else Machine(load_at(0.5))

    recorder = DeviceRecorder(path, 0.01, make)
    recorder.start()
    recorder.stop()


def test_a_driver_that_hangs_does_not_hold_up_the_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_recorder, "_SECONDS_AT_THE_END", 0.05)
    goes_on = threading.Event()

    class Hanging(Machine):
        def read(self) -> Load:
            super().read()
            goes_on.wait(60)
            return self.load

    machine = Hanging(load_at(0.5))
    recorder = recorded(path, machine)
    recorder.stop()
    path.write_bytes(b"")
    goes_on.set()
    assert machine.closed.wait(60)
    assert path.read_bytes() == b"", "behind the end nothing is written"


def test_the_end_of_a_run_does_not_wait_for_a_driver_that_is_still_being_loaded(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_recorder, "_SECONDS_TO_BEGIN", 0.01)
    loaded, machine = threading.Event(), Machine(load_at(0.5))

    def make() -> LoadReader:
        loaded.wait(60)
        return machine

    recorder = DeviceRecorder(path, 10.0, make)
    recorder.start()
    recorder.stop()
    assert not loaded.is_set()
    loaded.set()
    assert machine.closed.wait(60)
    assert not path.exists(), "behind the end nothing is written"


def test_a_fork_inherits_no_sampler_and_cannot_write(path: Path) -> None:
    machine = Machine(load_at(0.5), wanted=2)
    recorder = recorded(path, machine)
    held = recorder._writing.acquire(timeout=20)  # as at an unlucky moment
    assert held
    size = path.stat().st_size
    child = os.fork()
    if child == 0:
        code = 1
        try:
            alone = not any(t.name == "devices" for t in threading.enumerate())
            began = time.monotonic()
            recorder.stop()
            code = 0 if alone and time.monotonic() - began < 1.0 else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert path.stat().st_size == size
    recorder._writing.release()
    recorder.stop()
    assert read(path).skipped == 0
