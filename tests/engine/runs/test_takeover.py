"""Taking a run over: one owner at a time, from a dead process, a parent or another host."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from engine.errors import RunBusyError
from engine.runs import RunFolder, heartbeat, own
from engine.runs.run_lock import RunLock
from tests.hand_clock import Clock

from .conftest import remote_life, wait_for

OWN = """
owner = own(run)
owner.transition("running")
owner.metrics(3, 0.3, {"train/loss": 1.0})
owner.flush()
print("owned", flush=True)
sys.stdin.readline()
"""


def test_only_one_process_may_own_a_run(
    run: RunFolder, child: Callable[..., subprocess.Popen[str]]
) -> None:
    process = child(OWN, run)
    wait_for(process, "owned")
    assert run.alive()
    assert run.status() == "running"
    with pytest.raises(RunBusyError, match=f"process {process.pid} on "):
        own(run)
    process.kill()
    process.wait()
    # The system let go of the lock with the process: no time has to pass.
    assert not run.alive()
    assert run.status() == "lost"
    with own(run) as owner:
        owner.transition("running")
        assert run.status() == "running"
        assert run.record().pid == os.getpid()
        owner.transition("stopped")
    assert run.status() == "stopped"


def test_a_run_can_be_owned_again_in_the_same_process(run: RunFolder) -> None:
    with own(run), pytest.raises(RunBusyError):
        own(run)
    with own(run):
        pass


def test_a_lost_run_keeps_its_metrics_and_can_be_resumed(
    run: RunFolder, child: Callable[..., subprocess.Popen[str]]
) -> None:
    process = child(OWN, run)
    wait_for(process, "owned")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with run.metrics_path.open("ab") as file:
        file.write(b'{"step": 4, "epo')
    with own(run) as owner:
        owner.transition("running")
        owner.resume_at(2)
        owner.metrics(3, 0.3, {"train/loss": 2.0})
        owner.transition("finished")
    log = run.metrics()
    log.poll()
    assert [list(c) for c in log.series("train/loss")] == [[3], [2.0]]
    assert any("cut a half line of 16 bytes" in line for line in run.log_tail(5))


def test_the_lock_passes_to_a_child_without_a_gap(
    run: RunFolder, child: Callable[..., subprocess.Popen[str]]
) -> None:
    owner = own(run)
    owner.transition("running")
    owner.metrics(5, 0.5, {"train/loss": 3.0})
    run.request("checkpoint")
    owner.transition("handed-over")
    code = (
        "sys.stdin.readline()\nowner = own(run, lock_fd=int(sys.argv[2]))\n"
        "owner.transition('running')\nprint(owner.request(), flush=True)\nsys.stdin.readline()\n"
        "owner.transition('finished')\nowner.close()\nprint('done', flush=True)\n"
    )
    process = child(code, run, str(owner.lock_fd), pass_fds=[owner.lock_fd])
    owner.close()
    assert run.alive(), "the child holds the lock although it has not looked at it yet"
    assert run.status() == "handed-over"
    with pytest.raises(RunBusyError):
        own(run)
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    wait_for(process, "checkpoint")  # a request made before the hand-over is not lost
    assert run.status() == "running"
    assert run.record().pid == process.pid
    process.stdin.write("\n")
    process.stdin.flush()
    wait_for(process, "done")
    process.wait()
    assert run.status() == "finished"
    log = run.metrics()
    log.poll()
    assert list(log.series("train/loss")[0]) == [5]


def test_a_heartbeat_that_moves_is_alive_whatever_the_clocks_say(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    remote_life(run, age=600)
    looks = [0]

    def nap(seconds: float) -> None:
        clock.now += seconds
        looks[0] += 1
        if looks[0] == 20:
            remote_life(run, age=597)

    monkeypatch.setattr(time, "sleep", nap)
    with pytest.raises(RunBusyError):
        own(run)
    assert looks[0] == 20


def test_a_run_of_another_host_that_is_gone_can_be_taken_over(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    remote_life(run, age=600)

    def nap(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(time, "sleep", nap)
    with own(run) as owner:
        monkeypatch.undo()
        owner.transition("running")
        assert run.record().host == heartbeat.host_name()
        owner.transition("stopped")


def test_what_was_asked_before_a_resume_does_not_stop_it(run: RunFolder, clock: Clock) -> None:
    with own(run) as owner:
        owner.transition("running")
        run.request("stop")
        owner.transition("failed", error="x")
    with own(run) as owner:
        assert run.pending_requests() == []
        run.control_path.mkdir(exist_ok=True)
        owner.transition("running")
        clock.now += 1
        assert owner.request() is None
        run.request("pause")
        clock.now += 1
        assert owner.request() == "pause"
    assert any("dropped the request to stop" in line for line in run.log_tail(9))


def test_a_detached_resume_drops_what_was_asked_before_its_lock_was_taken(
    run: RunFolder, clock: Clock
) -> None:
    with own(run) as first:
        first.transition("running")
        run.request("stop")
        first.transition("paused")  # and here its process dies
    lock = run.take_lock()
    assert lock is not None
    run.request("checkpoint")  # somebody asks while the detached process starts
    with own(run, lock_fd=os.dup(lock.fd)) as second:
        lock.release()
        second.transition("running")
        clock.now += 1
        assert second.request() == "checkpoint"
        second.acknowledge("checkpoint", 1)
        assert second.request() is None
        second.transition("stopped")


def test_a_queued_run_can_be_stopped_before_it_starts(run: RunFolder, clock: Clock) -> None:
    run.request("stop")
    with own(run) as owner:
        owner.transition("running")
        assert owner.request() == "stop"


def test_what_a_killed_owner_left_unfinished_is_removed_and_nothing_else(run: RunFolder) -> None:
    ours = [
        ".checkpoint.pt.123-0a1b2c3d.tmp",
        ".checkpoint.previous.pt.123-0a1b2c3d.tmp",
        ".run.json.9-ffffffff.tmp",
        ".devices.jsonl.9-ffffffff.tmp",
        ".checkpoint-ab_9xyz1",  # of version 0.1
    ]
    others = [
        ".checkpoint.pt.123-0a1b2c3d.tmp.keep",
        ".checkpoint-mine",
        "checkpoint.pt",
        "checkpoint.previous.pt",
        ".notes.123-0a1b2c3d.tmp",
        ".user.json.123-0a1b2c3d.tmp",  # of another process, which may be writing it now
        ".checkpoint.pt.x-0a1b2c3d.tmp",
    ]
    for name in (*ours, *others):
        (run.path / name).write_bytes(b"x")
    folder = run.path / ".run.json.1-00000000.tmp"
    folder.mkdir()
    held = RunLock(run.lock_path)
    assert held.acquire()
    with pytest.raises(RunBusyError):
        own(run)
    assert all((run.path / name).exists() for name in ours), "the owner may be writing them"
    held.release()
    with own(run):
        pass
    names = {path.name for path in run.path.iterdir()}
    assert names.isdisjoint(ours)
    assert names.issuperset(others)
    assert folder.is_dir()
    assert any("a killed process left unfinished (5)" in line for line in run.log_tail(5))
