"""Heartbeats of other hosts: a run is alive while they are young."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.errors import RunBusyError
from engine.history.history import History
from engine.runs import RunFolder, heartbeat, own, owner_thread, run_lock
from engine.runs.heartbeat import ALIVE_SECONDS, read_heartbeat
from tests.hand_clock import Clock

from .conftest import remote_life


def test_a_run_of_another_host_is_alive_while_its_heart_beats(run: RunFolder) -> None:
    remote_life(run)
    assert run.status() == "running"
    with pytest.raises(RunBusyError, match="process 5 on far"):
        own(run)


def test_an_old_heartbeat_of_another_host_is_no_life(run: RunFolder) -> None:
    remote_life(run, age=heartbeat.ALIVE_SECONDS + 1)
    assert run.status() == "lost"


HOURS = [-87_660.0, -1.0, 1.0, 87_660.0]  # ten years


@pytest.mark.parametrize("hours", HOURS)
def test_a_heart_that_beats_is_alive_whatever_the_clock_of_its_file_system_says(
    run: RunFolder, clock: Clock, hours: float
) -> None:
    remote_life(run, age=3600 * hours)
    assert run.status() == "lost", "at the first look there is nothing but the clock"
    for beat in range(1, 4):
        clock.now += 3
        remote_life(run, age=3600 * hours - 3 * beat)
        assert run.status() == "running"
    clock.now += heartbeat.ALIVE_SECONDS - 1
    assert run.status() == "running"
    clock.now += 2
    assert run.status() == "lost"


def test_a_heart_that_stopped_is_not_young_again_where_the_clock_is_set_back(
    run: RunFolder, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote_life(run)
    assert run.status() == "running"
    clock.now += heartbeat.ALIVE_SECONDS + 1
    assert run.status() == "lost"
    written = run.heartbeat_path.stat().st_mtime
    monkeypatch.setattr(heartbeat, "_now", lambda: written)
    assert run.status() == "lost"


@pytest.mark.parametrize("hours", HOURS)
def test_a_run_that_lives_elsewhere_is_neither_taken_nor_deleted_whatever_the_clocks_say(
    run: RunFolder, clock: Clock, monkeypatch: pytest.MonkeyPatch, hours: float
) -> None:
    def nap(seconds: float) -> None:
        clock.now += seconds
        remote_life(run, age=3600 * hours - (clock.now - 1000))

    monkeypatch.setattr(time, "sleep", nap)
    for act in (lambda: own(run), lambda: History(run.path.parent).delete(run.id)):
        remote_life(run, age=3600 * hours)
        clock.now += heartbeat.ALIVE_SECONDS + 1
        with pytest.raises(RunBusyError):
            act()
    assert run.alive()


@pytest.mark.parametrize("data", [b"", b"garbage", b"{}"])
def test_a_garbled_heartbeat_is_no_life_and_no_error(run: RunFolder, data: bytes) -> None:
    remote_life(run)
    run.heartbeat_path.write_bytes(data)
    assert not run.alive()
    assert run.status() == "lost"


def test_who_may_not_open_the_lock_sees_by_the_heartbeat_whether_a_run_lives(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a user sees it who may look at the folder and not write it."""

    def refuse(path: Path, flags: int, **options: Any) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with own(run) as owner:
        owner.transition("running")
        with monkeypatch.context() as patch:
            patch.setattr(run_lock, "open_plain", refuse)
            # From here on the heartbeat is the test's own.
            patch.setattr(owner_thread, "write_heartbeat", lambda path: None)
            assert run_lock.lock_is_held(run.lock_path) is None
            assert (run.alive(), run.status()) == (True, "running")
            life, _ = read_heartbeat(run.heartbeat_path)
            assert life is not None
            for gone in (
                msgspec.structs.replace(life, pid=2**22 + 1),  # above what the kernel gives out
                msgspec.structs.replace(life, boot_id="another boot"),
            ):
                run.heartbeat_path.write_bytes(msgspec.json.encode(gone))
                assert (run.alive(), run.status()) == (False, "lost")
            run.heartbeat_path.write_bytes(msgspec.json.encode(life))
            old = time.time() - ALIVE_SECONDS - 1
            os.utime(run.heartbeat_path, (old, old))
            patch.setattr(heartbeat, "_looks", {})  # as a process sees it that looks for once
            assert run.status() == "lost"
        assert run.status() == "running", "who may open it knows better"
        owner.transition("stopped")
    monkeypatch.setattr(run_lock, "open_plain", refuse)
    assert not run.alive(), "a young heartbeat of a run that has ended"
