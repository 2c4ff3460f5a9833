"""The lock of a run: never in the way of its owner, never of another file."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from engine.errors import RunError
from engine.runs import RunFolder, own
from engine.runs.run_lock import RunLock, lock_is_held


def test_probes_of_many_viewers_never_keep_an_owner_out(run: RunFolder) -> None:
    stop = threading.Event()
    with own(run):
        pass

    def probe() -> None:
        while not stop.is_set():
            lock_is_held(run.lock_path)

    threads = [threading.Thread(target=probe) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            with own(run):
                assert run.alive()
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_wrong_descriptor_is_no_lock(run: RunFolder, tmp_path: Path) -> None:
    with (tmp_path / "other").open("w") as file, pytest.raises(RunError, match="is not the lock"):
        own(run, lock_fd=file.fileno())
    with pytest.raises(RunError, match="is not the lock"):
        own(run, lock_fd=987)


def test_a_file_system_without_locks_is_said_in_a_sentence(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*args: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with pytest.raises(RunError, match=r"has no file locks \(flock\)"):
        own(run)
    assert not run.alive()


def test_a_group_member_keeps_the_time_in_the_file(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system lets the owner of a file alone set its time, and a member's lock has one too."""
    utime = os.utime

    def refuse(path: int, *args: Any, ns: tuple[int, int] | None = None, **options: Any) -> None:
        if ns is not None:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        utime(path, *args, **options)

    def take() -> tuple[int, int, int]:
        lock = RunLock(run.lock_path)
        before = time.time_ns()
        assert lock.acquire()
        child = RunLock(run.lock_path)
        assert child.adopt(os.dup(lock.fd))
        found = before, child.taken_at, time.time_ns()
        lock.release()
        child.release()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(os, "utime", refuse)
        for _ in range(2):
            before, taken_at, after = take()
            assert before <= taken_at <= after
        patch.setattr(os, "pwrite", lambda *args: _full())
        before, taken_at, after = take()  # a full disk: by the clock of the file system
        assert abs(taken_at - before) < 1e9
    before, taken_at, after = take()  # its owner again: what the member has written is gone
    assert before <= taken_at <= after
    assert run.lock_path.read_bytes() == b""


def _full() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
