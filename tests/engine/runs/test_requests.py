"""Requests to the owner of a run: seen soon, in order of urgency, each answered."""

from __future__ import annotations

import os
import stat
import threading
import time

import pytest

from engine.errors import RunBusyError, RunError
from engine.runs import RunFolder, own, requests
from engine.runs.record import encode_record
from engine.runs.requests import write_request
from engine.sink import Request
from tests.hand_clock import Clock

from .conftest import remote_life


def test_a_request_is_seen_within_a_fifth_of_a_second_and_acknowledged(
    run: RunFolder, clock: Clock
) -> None:
    with own(run) as owner:
        owner.transition("running")
        assert owner.request() is None
        id_ = run.request("checkpoint")
        assert [asked.id for asked in run.pending_requests()] == [id_]
        clock.now += 0.1
        assert owner.request() is None, "the folder is not looked at every step"
        clock.now += 0.11
        assert owner.request() == "checkpoint"
        assert owner.request() == "checkpoint", "until it is acknowledged"
        owner.acknowledge("checkpoint", 812)
        assert owner.request() is None
        ack = run.record().ack
        assert ack is not None
        assert (ack["id"], ack["request"], ack["step"]) == (id_, "checkpoint", 812)
        assert run.pending_requests() == []


def test_requests_of_many_at_once_are_all_kept(run: RunFolder, clock: Clock) -> None:
    kinds: list[Request] = ["pause", "checkpoint", "checkpoint"]
    with own(run) as owner:
        owner.transition("running")
        ids: list[str] = []

        def ask(kind: Request) -> None:
            ids.extend(run.request(kind) for _ in range(20))

        threads = [threading.Thread(target=ask, args=(k,)) for k in kinds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(ids) == [asked.id for asked in run.pending_requests()]
        clock.now += 1
        answered = []
        while (request := owner.request()) is not None:
            answered.append(request)
            owner.acknowledge(request, 1)
        assert sorted(answered) == ["checkpoint", "pause"]
        assert run.pending_requests() == []


def test_stop_goes_before_what_was_asked_earlier(run: RunFolder, clock: Clock) -> None:
    with own(run) as owner:
        owner.transition("running")
        for kind in ("pause", "checkpoint", "hand-over", "stop"):
            run.request(kind)
        clock.now += 1
        seen = []
        while (request := owner.request()) is not None:
            seen.append(request)
            owner.acknowledge(request, 1)
        assert seen == ["stop", "hand-over", "pause", "checkpoint"]


def test_pause_and_continue_that_change_nothing_are_done_at_once(
    run: RunFolder, clock: Clock
) -> None:
    with own(run) as owner:
        owner.transition("running")
        run.request("continue")
        clock.now += 1
        assert owner.request() is None
        assert run.pending_requests() == []
        owner.transition("paused")
        run.request("pause")
        clock.now += 1
        assert owner.request() is None
        run.request("continue")
        clock.now += 1
        assert owner.request() == "continue"


@pytest.mark.parametrize("status", ["finished", "stopped", "failed", "running"])
def test_nobody_is_asked_where_nobody_is(run: RunFolder, status: str) -> None:
    record = run.record()
    record.status = status  # type: ignore[assignment]
    run.record_path.write_bytes(encode_record(record))
    shown = "lost" if status == "running" else status
    with pytest.raises(RunError, match=f"is {shown}; there is nobody to pause it"):
        run.request("pause")
    with pytest.raises(RunError, match="is no request"):
        run.request("explode")  # type: ignore[arg-type]


def test_strange_files_among_the_requests_are_left_alone(run: RunFolder, clock: Clock) -> None:
    with own(run) as owner:
        owner.transition("running")
        run.control_path.mkdir(exist_ok=True)
        for name in ("stop", "x.stop", ".stop", "²" * 20 + ".stop", "1.explode"):
            (run.control_path / name).write_text("stop")
        clock.now += 1
        assert owner.request() is None
        assert len(list(run.control_path.iterdir())) == 5


def test_a_file_in_place_of_the_control_folder_is_a_sentence(run: RunFolder) -> None:
    with own(run) as owner:
        owner.transition("running")
        run.control_path.rmdir()
        run.control_path.write_text("garbage")
        with pytest.raises(RunError, match="The request could not be left"):
            run.request("stop")
        assert owner.request() is None


def test_a_request_that_cannot_be_removed_is_answered_once(
    run: RunFolder, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder that another user made, without the right for the run's owner to write it."""
    with own(run) as owner:
        owner.transition("running")
        run.request("checkpoint")
        monkeypatch.setattr(requests, "remove_requests", lambda *args: None)
        clock.now += 1
        assert owner.request() == "checkpoint"
        owner.acknowledge("checkpoint", 1)
        clock.now += 1
        assert owner.request() is None
        assert len(run.pending_requests()) == 1


def test_the_folder_of_the_requests_has_the_rights_of_the_run(run: RunFolder) -> None:
    """Whoever asks first makes it, and the owner must be able to remove what it answered."""
    run.control_path.rmdir()
    run.path.chmod(0o775)
    old = os.umask(0o077)
    try:
        write_request(run.control_path, "stop", str)
    finally:
        os.umask(old)
    assert stat.S_IMODE(run.control_path.stat().st_mode) == 0o775


# --------------------------------------------------------------------------- clocks that are set


class Wall:
    """Unix nanoseconds of whoever asks, set by hand."""

    def __init__(self) -> None:
        self.hours = 0.0

    def __call__(self) -> int:
        return 1_700_000_000 * 10**9 + int(self.hours * 3600) * 10**9


JUMPS = [-87_660.0, -1.0, 0.0, 1.0, 87_660.0]  # hours; the largest are ten years


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    wall = Wall()
    monkeypatch.setattr(time, "time_ns", wall)
    return wall


@pytest.mark.parametrize("hours", JUMPS)
def test_an_old_stop_does_not_end_a_resumed_run_whenever_it_is_dated(
    run: RunFolder, clock: Clock, wall: Wall, hours: float
) -> None:
    with own(run) as owner:
        owner.transition("running")
        wall.hours = hours
        run.request("stop")
        owner.transition("failed", error="x")
    wall.hours = 0
    with own(run) as owner:
        owner.transition("running")
        clock.now += 1
        assert owner.request() is None
        assert list(run.control_path.iterdir()) == []
    assert any("dropped the request to stop" in line for line in run.log_tail(9))


@pytest.mark.parametrize("hours", JUMPS)
def test_what_is_asked_of_a_living_run_reaches_it_whatever_clock_the_sender_has(
    run: RunFolder, clock: Clock, wall: Wall, hours: float
) -> None:
    with own(run) as owner:
        owner.transition("running")
        wall.hours = hours
        id_ = run.request("checkpoint")
        clock.now += 1
        assert owner.request() == "checkpoint"
        owner.acknowledge("checkpoint", 3)
        ack = run.record().ack
        assert ack is not None
        assert ack["id"] == id_


@pytest.mark.parametrize("hours", JUMPS)
def test_a_hand_over_loses_no_request_whenever_it_is_dated(
    run: RunFolder, clock: Clock, wall: Wall, hours: float
) -> None:
    first = own(run)
    first.transition("running")
    wall.hours = hours
    run.request("checkpoint")
    first.transition("handed-over")
    wall.hours = 0
    run.request("pause")
    passed_on = os.dup(first.lock_fd)
    first.close()
    with own(run, lock_fd=passed_on) as second:
        second.transition("running")
        clock.now += 1
        assert second.request() == "checkpoint", "it was asked first"
        second.acknowledge("checkpoint", 1)
        assert second.request() == "pause"
        second.acknowledge("pause", 1)
    assert not any("dropped" in line for line in run.log_tail(9))


@pytest.mark.parametrize("hours", JUMPS)
def test_requests_are_answered_in_the_order_in_which_they_were_made(
    run: RunFolder, clock: Clock, wall: Wall, hours: float
) -> None:
    with own(run) as owner:
        owner.transition("running")
        ids = [run.request("checkpoint")]
        wall.hours = hours
        ids.append(run.request("pause"))
        wall.hours = 0
        ids.append(run.request("continue"))
        assert ids == sorted(ids)
        assert ids == [asked.id for asked in run.pending_requests()]


@pytest.mark.parametrize("hours", JUMPS)
def test_an_id_is_larger_than_that_of_every_request_answered_before(
    run: RunFolder, clock: Clock, wall: Wall, hours: float
) -> None:
    with own(run) as owner:
        owner.transition("running")
        wall.hours = hours
        for _ in range(2):
            run.request("checkpoint")
            clock.now += 1
            assert owner.request() == "checkpoint"
            owner.acknowledge("checkpoint", 1)
        ack = run.record().ack
        assert ack is not None
        wall.hours = 0
        assert run.request("checkpoint") > ack["id"], "the answer before is not taken for its own"


def test_a_number_that_leaves_no_room_is_no_ones_clock(run: RunFolder, wall: Wall) -> None:
    with own(run) as owner:
        owner.transition("running")
        (run.control_path / f"{'9' * 20}-1-x.stop").touch()
        assert run.request("pause").startswith(f"{wall():020d}-")


def test_requests_of_another_hosts_owner_are_not_set_aside(
    run: RunFolder, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote_life(run)
    run.request("stop")
    with pytest.raises(RunBusyError):
        own(run)
    assert [asked.request for asked in run.pending_requests()] == ["stop"]


def test_a_run_of_a_host_with_another_clock_can_be_asked(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks lost to a process that looks once, unless its heartbeat is watched."""
    remote_life(run, age=3600.0)
    assert run.status() == "lost"
    monkeypatch.setattr("engine.runs.folder.changes", lambda path: False)
    with pytest.raises(RunError, match="is lost; there is nobody to stop it"):
        run.request("stop")
    monkeypatch.setattr("engine.runs.folder.changes", lambda path: True)
    run.request("stop")
    assert [asked.request for asked in run.pending_requests()] == ["stop"]
