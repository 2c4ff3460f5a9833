"""A new run that could not be started is not left queued."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from engine.config.schema import PretrainConfig
from engine.errors import RunError
from engine.runs import RunFolder, create, own
from engine.runs.run_lock import RunLock
from engine.runs.unstarted import record_failure, take_back, taken_back_unless_begun


@pytest.mark.parametrize("error", [RunError("no"), KeyboardInterrupt(), SystemExit(1)])
def test_an_error_before_it_began_leaves_nothing(run: RunFolder, error: BaseException) -> None:
    with pytest.raises(type(error)), taken_back_unless_begun(run):
        raise error
    assert [path.name for path in run.path.parent.iterdir()] == [".newest"]


def test_a_run_that_began_stays(run: RunFolder) -> None:
    def train() -> None:
        with own(run) as owner:
            owner.transition("running")
            owner.transition("failed", error="The loss became nan.")
        raise RunError("The loss became nan.")

    with pytest.raises(RunError), taken_back_unless_begun(run):
        train()
    assert run.record().error == "The loss became nan."


def test_a_run_that_another_process_has_taken_stays(run: RunFolder) -> None:
    held = RunLock(run.lock_path)
    assert held.acquire()
    try:
        assert not take_back(run, "no")
    finally:
        held.release()
    assert run.record().status == "queued"


def test_what_its_process_has_printed_is_kept_and_the_run_failed(run: RunFolder) -> None:
    run.log_path.write_text("ImportError: libcudart.so.12\n")
    assert not take_back(run, "The process ended before it began.")
    record = run.record()
    assert (record.status, record.error) == ("failed", "The process ended before it began.")
    assert "libcudart" in run.log_tail(9)[0]


def test_it_is_taken_back_where_there_are_no_locks(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert take_back(run, "no")
    assert [path.name for path in run.path.parent.iterdir()] == [".newest"]


def test_a_failure_is_recorded_of_a_queued_run_alone(run: RunFolder, tmp_path: Path) -> None:
    record_failure(run, "torch cannot be imported.")
    assert (run.record().status, run.record().error) == ("failed", "torch cannot be imported.")
    record_failure(run, "another")
    assert run.record().error == "torch cannot be imported."
    stopped = create(tmp_path, "pretrain", PretrainConfig())
    with own(stopped) as owner:
        owner.transition("stopped")
    record_failure(stopped, "no")
    assert stopped.record().status == "stopped"
    assert not take_back(RunFolder(tmp_path / "gone"), "no")
