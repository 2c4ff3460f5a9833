"""The lock of a run: never in the way of its owner, never of another file."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import pytest

from engine.errors import RunError
from engine.runs import RunFolder, own
from engine.runs.run_lock import lock_is_held


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
