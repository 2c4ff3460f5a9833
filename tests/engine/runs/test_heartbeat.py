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
from engine.runs import RunFolder, heartbeat, own, run_lock
from engine.runs.heartbeat import ALIVE_SECONDS, read_heartbeat

from .conftest import remote_life


def test_a_run_of_another_host_is_alive_while_its_heart_beats(run: RunFolder) -> None:
    remote_life(run)
    assert run.status() == "running"
    with pytest.raises(RunBusyError, match="process 5 on far"):
        own(run)
    remote_life(run, age=heartbeat.ALIVE_SECONDS + 1)
    assert run.status() == "lost"


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
            assert run.status() == "lost"
        assert run.status() == "running", "who may open it knows better"
        owner.transition("stopped")
    monkeypatch.setattr(run_lock, "open_plain", refuse)
    assert not run.alive(), "a young heartbeat of a run that has ended"
