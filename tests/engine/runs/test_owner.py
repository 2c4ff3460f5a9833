"""One owner a run: its states, metrics, requests, heartbeat and lock."""

from __future__ import annotations

import hashlib
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from engine.config.schema import PretrainConfig
from engine.errors import RunBusyError, RunError
from engine.runs import RunFolder, create, heartbeat, own, run_lock
from engine.runs import owner as owner_module
from engine.runs import takeover as ownership
from engine.runs.heartbeat import Heartbeat
from engine.runs.record import STATUSES, TRANSITIONS, encode_record
from engine.runs.run_lock import RunLock, lock_is_held
from engine.sink import Plan, Request, Sink, check_interrupt

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return create(tmp_path, "pretrain", PretrainConfig())


class Clock:
    """A monotonic clock for the polls of requests, set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(owner_module, "_monotonic", clock)
    monkeypatch.setattr(ownership, "_monotonic", clock)
    return clock


@pytest.fixture
def child() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a Python process with the run's path; it is killed after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, run: RunFolder, *args: str, **options: object) -> subprocess.Popen[str]:
        head = "import sys, time\nfrom pathlib import Path\nfrom engine.runs import *\n"
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"{head}run = RunFolder(Path(sys.argv[1]))\n{code}",
                run.path,
                *args,
            ],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,  # type: ignore[call-overload]
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


OWN = """
owner = own(run)
owner.transition("running")
owner.metrics(3, 0.3, {"train/loss": 1.0})
owner.flush()
print("owned", flush=True)
sys.stdin.readline()
"""


def wait_for(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().strip() == word


# ------------------------------------------------------------------------------- ownership


def test_the_owner_is_a_sink(run: RunFolder) -> None:
    with own(run) as owner:
        sink: Sink = owner
        check_interrupt(sink)


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


@pytest.mark.parametrize("status", ["queued", "finished", "stopped", "failed"])
def test_a_run_that_needs_no_owner_is_never_lost(run: RunFolder, status: str) -> None:
    record = run.record()
    record.status = status  # type: ignore[assignment]
    run.record_path.write_bytes(encode_record(record))
    assert run.status() == status


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


def test_a_forked_worker_does_not_keep_a_dead_owner_alive(
    run: RunFolder, child: Callable[..., subprocess.Popen[str]]
) -> None:
    code = OWN.replace(
        "sys.stdin.readline()",
        "import os\nif os.fork() == 0:\n    print(os.getpid(), flush=True)\n    time.sleep(60)\n"
        "    os._exit(0)\nsys.stdin.readline()\n",
    )
    process = child(code, run)
    wait_for(process, "owned")
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    try:
        assert run.alive()
        process.kill()
        process.wait()
        assert not run.alive()
    finally:
        os.kill(worker, signal.SIGKILL)


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


def test_a_wrong_descriptor_is_no_lock(run: RunFolder, tmp_path: Path) -> None:
    with (tmp_path / "other").open("w") as file, pytest.raises(RunError, match="is not the lock"):
        own(run, lock_fd=file.fileno())
    with pytest.raises(RunError, match="is not the lock"):
        own(run, lock_fd=987)


def test_after_a_hand_over_only_the_heir_writes_the_record(run: RunFolder) -> None:
    with own(run) as owner:
        owner.transition("running")
        owner.transition("handed-over")
        heirs = run.record()
        heirs.step = 99
        run.record_path.write_bytes(encode_record(heirs))
        owner.metrics(5, 0.5, {"a": 1.0})  # a late word of the trainer
        owner._save()
    assert run.record().step == 99


def test_a_hand_over_that_fails_is_taken_back(run: RunFolder) -> None:
    with own(run) as owner:
        owner.transition("running")
        owner.transition("handed-over")
        owner.transition("running")
        owner.metrics(1, 0.0, {"a": 1.0})
        owner.transition("stopped")
    assert run.status() == "stopped"


def test_a_hand_over_without_an_heir_is_lost_after_its_grace(run: RunFolder) -> None:
    with own(run) as owner:
        owner.transition("running")
        owner.transition("handed-over")
    assert run.status() == "handed-over"
    old = time.time() - heartbeat.ALIVE_SECONDS - 1
    os.utime(run.record_path, (old, old))
    assert run.status() == "lost"


def test_a_finished_owner_seen_in_passing_is_not_called_lost(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own(run) as owner:
        owner.transition("running")
        stale = run.record()
        owner.transition("finished")
    # The viewer read the record before the owner wrote its last state and left.
    assert run.status(stale) == "finished"


def test_a_lock_file_that_was_removed_is_made_anew(run: RunFolder) -> None:
    with own(run) as owner:
        run.lock_path.unlink()
        assert not run.alive()
        owner._beat()
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
            owner._beat()
        thief.release()


def test_a_file_system_without_locks_is_said_in_a_sentence(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*args: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(run_lock.fcntl, "flock", unsupported)
    with pytest.raises(RunError, match=r"has no file locks \(flock\)"):
        own(run)
    assert not run.alive()


# -------------------------------------------------------------------------- other machines


def remote_life(run: RunFolder, age: float = 0.0) -> None:
    """As if the box ``far`` trained the run on a file system that shares no locks."""
    record = run.record()
    record.status, record.host, record.pid = "running", "far", 5
    run.record_path.write_bytes(encode_record(record))
    life = Heartbeat(host="far", pid=5, boot_id="b", time=time.time() - age)
    run.heartbeat_path.write_bytes(msgspec.json.encode(life))
    at = time.time() - age
    os.utime(run.heartbeat_path, (at, at))


def test_a_run_of_another_host_is_alive_while_its_heart_beats(run: RunFolder) -> None:
    remote_life(run)
    assert run.status() == "running"
    with pytest.raises(RunBusyError, match="process 5 on far"):
        own(run)
    remote_life(run, age=heartbeat.ALIVE_SECONDS + 1)
    assert run.status() == "lost"


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


@pytest.mark.parametrize("data", [b"", b"garbage", b"{}"])
def test_a_garbled_heartbeat_is_no_life_and_no_error(run: RunFolder, data: bytes) -> None:
    remote_life(run)
    run.heartbeat_path.write_bytes(data)
    assert not run.alive()
    assert run.status() == "lost"


# ---------------------------------------------------------------------------------- states


def test_every_transition_is_checked_against_the_table(run: RunFolder) -> None:
    for old in STATUSES:
        for new in STATUSES:
            record = run.record()
            record.status = old
            run.record_path.write_bytes(encode_record(record))
            with own(run) as owner:
                if new in TRANSITIONS[old]:
                    owner.transition(new)
                    assert run.record().status == new
                else:
                    with pytest.raises(RunError, match=f"is {old}; it cannot become {new}"):
                        owner.transition(new)
                    assert run.record().status == old


def test_the_life_of_a_run_is_dated(run: RunFolder) -> None:
    with own(run) as owner:
        assert run.record().started is None
        owner.transition("running")
        first = run.record().started
        assert first is not None
        owner.progress("kNN", 1, 3)
        owner.transition("failed", error="it broke")
        record = run.record()
        assert record.ended is not None
        assert (record.error, record.stage) == ("it broke", None)
        owner.transition("running")
        record = run.record()
        assert (record.started, record.ended, record.error) == (first, None, "")
        owner.transition("finished")


def test_only_real_fields_change_with_a_transition(run: RunFolder) -> None:
    with own(run) as owner:
        for bad in ({"colour": 1}, {"id": "x"}, {"schema": 2}):
            with pytest.raises(TypeError):
                owner.transition("running", **bad)
        assert owner.record.status == "queued"


def test_an_error_that_nobody_recorded_makes_the_run_failed(run: RunFolder) -> None:
    def train() -> None:
        with own(run) as owner:
            owner.transition("running")
            raise ZeroDivisionError("division by zero")

    with pytest.raises(ZeroDivisionError):
        train()
    assert run.status() == "failed"
    assert run.record().error == "division by zero"


# --------------------------------------------------------------------------------- the sink


def test_what_the_trainer_says_is_in_the_record(run: RunFolder) -> None:
    with own(run) as owner:
        owner.transition("running")
        owner.plan(
            Plan(
                total_steps=100,
                steps_per_epoch=10,
                start_step=20,
                pairs_per_step=512,
                device="cpu",
                facts={"threads": 2},
                chance=8.3,
            )
        )
        record = run.record()
        assert (record.total_steps, record.steps_per_epoch, record.pairs_per_step) == (100, 10, 512)
        assert (record.step, record.epoch, record.chance) == (20, 2.0, 8.3)
        assert (record.device, record.facts) == ("cpu", {"threads": 2})
        owner.metrics(21, 2.1, {"train/loss": 5.0, "knn/top1": 40.0, "train/lr": 0.1})
        owner.metrics(22, 2.2, {"train/loss": 6.0, "knn/top1": 39.0, "train/lr": 0.2})
        owner.metrics(23, 2.3, {"train/loss": math.nan, "knn/top1": math.nan})
        owner.checkpointed(23)
        record = run.record()
        assert record.best == {"train/loss": 5.0, "knn/top1": 40.0}
        assert math.isnan(record.last["train/loss"])
        assert record.last["train/lr"] == 0.2
        assert (record.step, record.epoch, record.checkpoint_step) == (23, 2.3, 23)
        assert record.checkpoint_time is not None
        owner.result({"rows": [1, 2]})
        assert run.record().result == {"rows": [1, 2]}
        owner.log("hello")
        owner.transition("stopped")
    assert run.log_tail(1)[0].endswith(" hello")


def test_a_checkpoint_finds_every_step_before_it_in_the_log(run: RunFolder) -> None:
    with own(run) as owner:
        owner.transition("running")
        for step in range(1, 50):
            owner.metrics(step, step / 10, {"a": float(step)})
        owner.checkpointed(49)
        assert run.metrics_path.read_bytes().count(b"\n") == 49
        owner.metrics(50, 5.0, {"a": 50.0})
        owner.progress("checkpoint", 0, 1)
        assert run.metrics_path.read_bytes().count(b"\n") == 50
        owner.transition("stopped")


def test_the_stage_in_which_an_owner_died_does_not_hide_the_next_one(run: RunFolder) -> None:
    record = run.record()
    record.status, record.stage = "running", {"name": "checkpoint", "done": 0, "total": 1}
    run.record_path.write_bytes(encode_record(record))
    with own(run) as owner:
        assert run.record().stage is None
        owner.transition("running")
        for step in (1, 2):
            owner.metrics(step, 0.0, {"a": 1.0})
            owner.progress("checkpoint", 0, 1)
            # Whoever is killed after saving finds every step of the checkpoint in the log.
            assert run.metrics_path.read_bytes().count(b"\n") == step
        owner.transition("stopped")


def test_everything_is_written_while_the_trainer_is_in_a_long_call(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FLUSH_SECONDS", "RECORD_SECONDS", "HEARTBEAT_SECONDS"):
        monkeypatch.setattr(owner_module, name, 0.01)
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


def test_nothing_that_was_said_is_lost_on_close(run: RunFolder) -> None:
    with own(run) as owner:
        owner.transition("running")
        for step in range(1, 1001):
            owner.metrics(step, 0.0, {"a": float(step)})
            if step % 100 == 0:
                owner.log(f"at {step}")
    log = run.metrics()
    log.poll()
    assert list(log.series("a")[0]) == list(range(1, 1001))
    assert len(run.log_tail(100)) == 10
    assert run.record().step == 1000


def test_metrics_of_two_threads_are_whole_lines(run: RunFolder) -> None:
    with own(run) as owner:
        owner.transition("running")

        def work(name: str) -> None:
            for step in range(1, 2001):
                owner.metrics(step, 0.0, {name: float(step)})
                if step % 100 == 0:
                    owner.flush(sync=False)

        threads = [threading.Thread(target=work, args=(n,)) for n in ("a", "b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    log = run.metrics()
    log.poll()
    assert log.skipped == 0
    for name in ("a", "b"):
        assert list(log.series(name)[1]) == [float(s) for s in range(1, 2001)]


# --------------------------------------------------------------------------------- requests


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
    lock = RunLock(run.lock_path)
    assert lock.acquire()
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


def test_a_signal_can_ask_without_a_file(run: RunFolder, clock: Clock) -> None:
    with own(run) as owner:
        owner.transition("running")
        assert owner.request() is None
        owner.ask("hand-over")
        assert owner.request() == "hand-over"
        owner.acknowledge("hand-over", 3)
        assert owner.request() is None
        ack = run.record().ack
        assert ack is not None
        assert ack["request"] == "hand-over"


def test_strange_files_among_the_requests_are_left_alone(run: RunFolder, clock: Clock) -> None:
    with own(run) as owner:
        owner.transition("running")
        run.control_path.mkdir()
        for name in ("stop", "x.stop", ".stop", "²" * 20 + ".stop", "1.explode"):
            (run.control_path / name).write_text("stop")
        clock.now += 1
        assert owner.request() is None
        assert len(list(run.control_path.iterdir())) == 5


def test_a_file_in_place_of_the_control_folder_is_a_sentence(run: RunFolder) -> None:
    with own(run) as owner:
        owner.transition("running")
        run.control_path.write_text("garbage")
        with pytest.raises(RunError, match="The request could not be left"):
            run.request("stop")
        assert owner.request() is None


# -------------------------------------------------------------------------- when disks fail


def test_a_disk_that_fails_is_raised_by_the_next_call_and_recorded_when_it_is_back(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own(run) as owner:
        owner.transition("running")
        owner.metrics(1, 0.1, {"a": 1.0})
        owner.flush()
        owner.result({})  # saves the record: the thread has nothing left to write
        before = run.record_path.read_bytes()
        log_before = run.metrics_path.read_bytes()

        def full(*args: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        owner.metrics(2, 0.2, {"a": 2.0})
        with pytest.raises(RunError, match=r"metrics\.jsonl cannot be written: the disk is full"):
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
        assert run.record_path.read_bytes() == before
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


def test_a_folder_that_vanishes_is_a_sentence(run: RunFolder) -> None:
    owner = own(run)
    owner.transition("running")
    run.path.rename(run.path.with_name("moved"))
    with pytest.raises(RunError, match="cannot be written: it is gone"):
        owner._beat()
    with pytest.raises(RunError, match="cannot be written: it is gone"):
        owner.result({})
    owner.close()
    assert not run.path.exists()
