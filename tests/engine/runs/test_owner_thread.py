"""The owner's thread: heartbeat and writing while the trainer is busy."""

from __future__ import annotations

import errno
import hashlib

import pytest

from engine.errors import RunBusyError, RunError
from engine.runs import RunFolder, own, owner_thread
from engine.runs.record import Status
from engine.runs.run_lock import RunLock
from tests.hand_clock import Clock


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


ODD = {
    "RunError": RunError("/runs/history.json is damaged: it is no index."),
    "TypeError": TypeError("'<' not supported"),
    "AttributeError": AttributeError("x\x1b[31m\ny"),
    "RecursionError": RecursionError(),
    "MemoryError": MemoryError(),
    "OSError": OSError(errno.ESTALE, "Stale file handle"),
}


@pytest.mark.parametrize("how", ODD)
def test_no_error_of_the_index_keeps_the_thread_from_its_work(
    run: RunFolder, clock: Clock, how: str
) -> None:
    calls = []

    def fails(folder: RunFolder, timeout: float) -> None:
        calls.append(folder)
        raise ODD[how]

    with own(run, on_change=fails) as owner:
        owner._thread.stop()  # turns are taken by hand
        states: tuple[Status, ...] = ("running", "paused", "running")
        for step, status in enumerate(states, start=1):
            owner.transition(status)
            owner.metrics(step, 0.1, {"a": 1.0})
            run.heartbeat_path.unlink()
            clock.now += 10.0
            owner._thread._turn(clock())
            assert run.heartbeat_path.exists()
        assert len(calls) >= 3
        log = run.metrics()
        log.poll()
        assert len(log.series("a")[0]) == 3
        assert run.record().step == 3
        owner.transition("finished")
    assert run.status() == "finished"
    said = [line for line in run.log_tail(100) if "index was not brought up to date" in line]
    assert len(said) == 1
    assert said[0].isprintable()


def test_an_index_that_is_never_free_is_said_once(run: RunFolder, clock: Clock) -> None:
    def busy(folder: RunFolder, timeout: float) -> None:
        raise RunBusyError("/runs/history.json is being written by another process.")

    with own(run, on_change=busy) as owner:
        owner._thread.stop()
        owner.transition("running")
        for step in range(1, 201):
            owner.metrics(step, 0.1, {"a": 1.0})
            clock.now += 1.0
            owner._thread._turn(clock())
            if step == 50:
                assert run.log_tail(100) == [], "others may take their time"
        assert run.record().step == 200
        owner.transition("finished")
    said = [line for line in run.log_tail(100) if "index is not brought up to date" in line]
    assert len(said) == 1


def test_a_value_that_no_record_can_hold_keeps_no_metric_from_the_disk(
    run: RunFolder, clock: Clock
) -> None:
    with own(run) as owner:
        owner._thread.stop()
        owner.transition("running")
        owner._record.change_later(lambda record: record.facts.update(odd=object()))
        for step in range(1, 4):
            owner.metrics(step, 0.1, {"a": 1.0})
            clock.now += 10.0
            owner._thread._turn(clock())
        log = run.metrics()
        log.poll()
        assert list(log.series("a")[0]) == [1, 2, 3]
        said = [line for line in run.log_tail(100) if "could not save the record" in line]
        assert len(said) == 1
        owner._record.change(lambda record: record.facts.clear())
        owner.transition("stopped")
    assert run.record().step == 3


def test_metrics_that_cannot_be_written_end_the_training(run: RunFolder, clock: Clock) -> None:
    with own(run) as owner:
        owner._thread.stop()
        owner.transition("running")
        owner.metrics(1, 0.1, {"a": 1.0})
        run.metrics_path.mkdir()  # its own disk, and before the file was opened
        owner._thread._turn(clock())
        with pytest.raises(RunError, match=r"metrics\.jsonl cannot be written"):
            owner.metrics(2, 0.2, {"a": 1.0})
        with pytest.raises(RunError, match=r"metrics\.jsonl cannot be written"):
            owner.transition("finished")
        owner.transition("failed", error="x")
    assert run.status() == "failed"
