"""The lock of a run: never in the way of its owner, never of another file."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest

from engine.config.schema import PretrainConfig
from engine.errors import RunError
from engine.runs import RunFolder, create, own
from engine.runs import root as runs_folder
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


def test_a_child_that_is_being_started_keeps_no_lock_that_is_given_up(tmp_path: Path) -> None:
    lock = RunLock(tmp_path / "lock")
    assert lock.acquire()
    of_child = os.dup(lock.fd)  # what a fork gives it, until it runs its program
    lock.unlock()
    assert lock_is_held(lock.path) is False
    os.close(of_child)


def test_a_child_that_inherits_a_lock_keeps_it(tmp_path: Path) -> None:
    lock = RunLock(tmp_path / "lock")
    assert lock.acquire()
    of_child = os.dup(lock.fd)
    lock.release()
    assert lock_is_held(lock.path) is True
    os.close(of_child)
    assert lock_is_held(lock.path) is False


def test_a_new_run_is_free_whatever_process_was_started_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = []

    def forked(making: Path, now: float) -> None:
        for path in Path("/proc/self/fd").iterdir():
            if path.is_symlink() and path.readlink().name == "lock":
                copies.append(os.dup(int(path.name)))

    monkeypatch.setattr(runs_folder, "_remove_abandoned", forked)
    made = create(tmp_path / "runs", "pretrain", PretrainConfig())
    assert copies
    assert not made.alive()
    for copy in copies:
        os.close(copy)


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
