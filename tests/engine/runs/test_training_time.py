"""How long a run was trained: neither a pause nor the time between two starts counts."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.history.entry import make_entry
from engine.history.filters import parse_filter
from engine.runs import Record, RunFolder, own, owner
from engine.runs.heartbeat import Heartbeat
from engine.runs.metric_log import MetricLog
from engine.runs.metric_writer import encode_line, void_line
from engine.runs.record import UserNotes, encode_record
from engine.runs.training_time import end_of_killed, seconds_trained

from .conftest import wait_for


class Time:
    """Unix seconds, set by hand; ``elapsed`` are those of a clock that is never set."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.elapsed = 0.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds
        self.elapsed += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(owner, "_now", time)
    monkeypatch.setattr(owner, "_monotonic", lambda: time.elapsed)
    return time


def train(owner: owner.RunOwner, time: Time, first: int, last: int) -> None:
    """A step every two seconds."""
    for step in range(first, last + 1):
        time.pass_(2.0)
        owner.metrics(step, step / 5, {"train/loss": 1.0})


def test_pauses_and_stops_do_not_count(run: RunFolder, time: Time) -> None:
    time.pass_(50)  # queued
    with own(run) as first:
        first.transition("running")
        train(first, time, 1, 5)
        first.transition("paused")
        time.pass_(300)
        assert seconds_trained(first.record, time.now) == 10
        first.transition("running")
        assert seconds_trained(first.record, time.now + 1) == 11
        assert seconds_trained(first.record) is None
        train(first, time, 6, 10)
        first.checkpointed(8)
        first.transition("stopped")
    assert seconds_trained(run.record()) == 20
    time.pass_(7000)
    with own(run) as second:
        second.transition("running")
        time.pass_(1)  # reading the images
        second.resume_at(8)
        train(second, time, 9, 12)
        second.transition("finished")
    record = run.record()
    assert seconds_trained(record) == 29
    assert record.ended is not None
    assert record.started is not None
    assert record.ended - record.started > 7000
    entry = make_entry(record, UserNotes())
    assert parse_filter("duration<30s")(entry)
    assert not parse_filter("duration<29s")(entry)

    log = run.metrics()
    log.poll()
    steps, times = log.series("train/loss")[0], log.times("train/loss")
    assert list(steps) == list(range(1, 13))
    # Two seconds a step; the second start read images before its first one.
    for at in range(1, len(steps)):
        idle = log.idle_seconds(steps[at - 1], steps[at])
        assert times[at] - times[at - 1] - idle == 2.0
    assert log.idle_seconds(1, 5) == 0
    assert log.idle_seconds(1, 6) == 300


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 3.2e8, -3.2e8])
def test_a_clock_that_is_set_is_no_training(run: RunFolder, time: Time, jump: float) -> None:
    with own(run) as first:
        first.transition("running")
        train(first, time, 1, 5)
        time.now += jump
        first.transition("paused")
        assert seconds_trained(first.record) == 10
        time.now -= jump
        first.transition("running")
        train(first, time, 6, 10)
        time.now += jump
        first._follow_clock()  # what the thread does every half second
        assert seconds_trained(first.record, time.now) == 20, "also for who looks at it meanwhile"
        time.pass_(3)
        first.transition("running")
        time.pass_(2)
        first.transition("stopped")
    assert seconds_trained(run.record()) == 25


def test_a_hand_over_counts_once(run: RunFolder, time: Time) -> None:
    with own(run) as first:
        first.transition("running")
        time.pass_(5)
        first.transition("handed-over")
        time.pass_(3)
    with own(run) as second:
        second.transition("running")
        time.pass_(4)
        second.transition("finished")
    assert seconds_trained(run.record()) == 9


@pytest.mark.parametrize("line", [0.0, 5.0, -5.0])
def test_a_killed_run_was_trained_up_to_its_last_sign_of_life(
    run: RunFolder, child: Callable[..., subprocess.Popen[str]], line: float
) -> None:
    code = """
owner = own(run)
owner.transition("running")
print("owned", flush=True)
time.sleep(60)
"""
    process = child(code, run)
    wait_for(process, "owned")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    killed = run.record()
    assert killed.running_since is not None
    # The process lived for some milliseconds; nobody resumed it for a day.
    killed.running_since -= 86_400
    run.record_path.write_bytes(encode_record(killed))
    alive = killed.running_since + 20
    run.heartbeat_path.write_bytes(
        b'{"host":"%s","pid":%d,"boot_id":"","time":%f}' % (killed.host.encode(), killed.pid, alive)
    )
    if line:  # on a busy machine the heartbeat may be late
        run.metrics_path.write_bytes(encode_line(1, 0.1, alive + line, {"a": 1.0}) + b'{"step":2,')
    with own(run) as owner:
        assert owner.record.running_since is None
        trained = seconds_trained(owner.record)
        assert trained == pytest.approx(20 + max(line, 0.0), abs=1e-3)
        owner.transition("stopped")


@pytest.mark.parametrize("host", ["other", "box"])
def test_a_sign_of_life_of_somebody_else_is_none(host: str) -> None:
    record = Record(id="a", kind="pretrain", created=0.0, host="box", pid=5)
    record.trained_seconds, record.running_since = 3.0, 100.0
    life = Heartbeat(host=host, pid=5 if host == "other" else 6, boot_id="", time=9e9)
    end_of_killed(record, life, None)
    assert record.trained_seconds == 3.0
    assert seconds_trained(record) == 3.0, "it is running no more"


def test_a_record_of_version_0_1_has_no_account() -> None:
    record = Record(id="a", kind="pretrain", created=0.0, started=10.0, ended=40.0)
    assert seconds_trained(record) == 30
    record.ended = None
    assert seconds_trained(record) is None
    assert seconds_trained(record, 70.0) == 60
    assert seconds_trained(Record(id="a", kind="pretrain", created=0.0), 70.0) is None


def test_breaks_of_steps_that_were_trained_again_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"

    def line(step: int, time: float) -> bytes:
        return encode_line(step, 0.0, time, {"a": 1.0})

    lines = [line(1, 1), line(2, 2), void_line(2, 10), line(3, 11), void_line(3, 50), line(4, 51)]
    lines += [void_line(2, 100), void_line(2, 130), line(3, 131), line(0, 132), void_line(0, 200)]
    for count, wanted in ((6, 8 + 39), (7, 98), (8, 128), (10, 128), (11, 0)):
        path.write_bytes(b"".join(lines[:count]))
        log = MetricLog(path)
        log.poll()
        assert log.idle_seconds(1, 9) == wanted, count
