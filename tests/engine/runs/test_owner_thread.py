"""The owner's thread: heartbeat and writing while the trainer is busy."""

from __future__ import annotations

import hashlib

import pytest

from engine.errors import RunBusyError, RunError
from engine.runs import RunFolder, own, owner_thread
from engine.runs.run_lock import RunLock


def test_everything_is_written_while_the_trainer_is_in_a_long_call(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FLUSH_SECONDS", "RECORD_SECONDS", "HEARTBEAT_SECONDS"):
        monkeypatch.setattr(owner_thread, name, 0.01)
    with own(run) as owner:
        owner.transition("running")
        owner.metrics(7, 0.7, {"a": 1.0})
        owner.log("hello")
        owner.progress("solving", 1, 2)
        first = run.heartbeat_path.stat().st_mtime_ns

        def done() -> bool:
            record = run.record()
            return (
                run.metrics_path.exists()
                and run.metrics_path.read_bytes().count(b"\n") == 1
                and bool(run.log_tail(1))
                and record.step == 7
                and record.stage == {"name": "solving", "done": 1, "total": 2}
                and run.heartbeat_path.stat().st_mtime_ns > first
            )

        for _ in range(200):  # in C, without the interpreter lock, like a step of torch
            hashlib.pbkdf2_hmac("sha256", b"x", b"y", 50_000)
            if done():
                break
        assert done()
        owner.transition("stopped")


def test_a_lock_file_that_was_removed_is_made_anew(run: RunFolder) -> None:
    with own(run) as owner:
        run.lock_path.unlink()
        assert not run.alive()
        owner._thread.beat()
        assert run.alive()
        with pytest.raises(RunBusyError):
            own(run)
    assert not run.alive()


def test_an_owner_whose_lock_was_removed_and_taken_stops(run: RunFolder) -> None:
    with own(run) as owner:
        run.lock_path.unlink()
        thief = RunLock(run.lock_path)
        assert thief.acquire()
        with pytest.raises(RunError, match="another process has taken the run over"):
            owner._thread.beat()
        thief.release()


def test_a_folder_that_vanishes_is_a_sentence(run: RunFolder) -> None:
    owner = own(run)
    owner.transition("running")
    run.path.rename(run.path.with_name("moved"))
    with pytest.raises(RunError, match="cannot be written: it is gone"):
        owner._thread.beat()
    with pytest.raises(RunError, match="cannot be written: it is gone"):
        owner.result({})
    owner.close()
    assert not run.path.exists()
