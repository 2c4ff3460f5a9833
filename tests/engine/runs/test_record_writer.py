"""The record on disk: frozen after a hand-over, written even on a full disk."""

from __future__ import annotations

import os

import pytest

from engine.errors import RunError
from engine.runs import RunFolder, own
from engine.runs.record import encode_record
from engine.runs.record_updates import set_step
from engine.runs.record_writer import RecordWriter


def test_after_a_hand_over_only_the_successor_writes_the_record(run: RunFolder) -> None:
    with own(run) as owner:
        owner.transition("running")
        owner.transition("handed-over")
        successors = run.record()
        successors.step = 99
        run.record_path.write_bytes(encode_record(successors))
        owner.metrics(5, 0.5, {"a": 1.0})  # a late word of the trainer
        owner._record.save()
    assert run.record().step == 99


def test_a_hand_over_that_fails_is_taken_back(run: RunFolder) -> None:
    with own(run) as owner:
        owner.transition("running")
        owner.transition("handed-over")
        owner.transition("running")
        owner.metrics(1, 0.0, {"a": 1.0})
        owner.transition("stopped")
    assert run.status() == "stopped"


def test_a_disk_that_fails_is_raised_by_the_next_call_and_recorded_when_it_is_back(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own(run) as owner:
        owner.transition("running")
        owner.metrics(1, 0.1, {"a": 1.0})
        owner.flush()
        owner.result({})  # saves the record: the thread has nothing left to write
        before = run.record()
        log_before = run.metrics_path.read_bytes()

        def full(*args: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        owner.metrics(2, 0.2, {"a": 2.0})
        # Of whichever file the owner's thread or this one comes to first.
        with pytest.raises(
            RunError, match=r"(metrics\.jsonl|run\.json) cannot .*: the disk is full"
        ):
            owner.flush()
        for call in (
            lambda: owner.metrics(3, 0.3, {"a": 3.0}),
            lambda: owner.request(),
            lambda: owner.checkpointed(3),
            lambda: owner.progress("x", 0, 1),
        ):
            with pytest.raises(RunError, match="the disk is full"):
                call()
        with pytest.raises(RunError, match="the disk is full"):
            owner.transition("failed", error="the disk is full")
        now = run.record()
        # Whole, and as before in what the trainer said. Not byte by byte: a save of the owner's
        # thread that had begun before the disk failed may have ended since.
        assert (now.status, now.error, now.step) == (before.status, before.error, before.step)
        assert (now.last, now.best, now.result) == (before.last, before.best, before.result)
        assert run.metrics_path.read_bytes() == log_before
        monkeypatch.undo()
    assert run.status() == "failed"
    log = run.metrics()
    log.poll()
    assert list(log.series("a")[0]) == [1, 2]


def test_a_run_that_filled_the_disk_can_still_say_so(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write

    def full(fd: int, data: bytes) -> int:
        if (run.path / ".reserve").exists():
            raise OSError(28, "No space left on device")
        return real(fd, data)

    with own(run) as owner:
        owner.transition("running")
        owner.metrics(1, 0.1, {"a": 1.0})
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(RunError, match="the disk is full") as caught:
            owner.checkpointed(1)
        owner.transition("failed", error=str(caught.value))
        assert run.status() == "failed"
        assert "the disk is full" in run.record().error
    assert not (run.path / ".reserve").exists()


def test_a_change_that_may_wait_is_saved_by_the_next_save(run: RunFolder) -> None:
    writer = RecordWriter(run.record_path, run.record())
    writer.change_later(set_step, 7)
    assert writer.dirty
    assert run.record().step == 0
    assert writer.copy().step == 7
    writer.save()
    assert not writer.dirty
    assert run.record().step == 7


def test_a_record_that_could_not_be_saved_is_tried_again(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = RecordWriter(run.record_path, run.record())
    writer.change(set_step, 7)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", _full)
        with pytest.raises(RunError, match=r"run\.json cannot be written: the disk is full"):
            writer.save()
    assert writer.dirty
    writer.close()
    assert run.record().step == 7


def _full(*args: object, **kwargs: object) -> None:
    raise OSError(28, "No space left on device")
