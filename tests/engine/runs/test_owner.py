"""The owner of a run as the sink of its trainer: what it is told is on disk in time."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import threading
from collections.abc import Callable

import pytest

from engine.errors import RunError
from engine.runs import RunFolder, RunOwner, own
from engine.runs.export import to_json
from engine.runs.record import encode_record
from engine.sink import Plan, Sink, check_interrupt

from .conftest import wait_for

OWN = """
owner = own(run)
owner.transition("running")
owner.metrics(3, 0.3, {"train/loss": 1.0})
owner.flush()
print("owned", flush=True)
sys.stdin.readline()
"""


def test_the_owner_is_a_sink(run: RunFolder) -> None:
    with own(run) as owner:
        sink: Sink = owner
        check_interrupt(sink)


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


def test_a_result_is_not_on_disk_before_what_was_measured_for_it(run: RunFolder) -> None:
    with own(run) as owner:
        owner.transition("running")
        owner.metrics(3, 3.0, {"probe/pretrained/test_top1": 25.0})
        owner.result({"rows": [{"source": "pretrained"}]})
        log = run.metrics()
        log.poll()
        assert log.last("probe/pretrained/test_top1") == 25.0


def test_an_error_that_nobody_recorded_makes_the_run_failed(run: RunFolder) -> None:
    def train() -> None:
        with own(run) as owner:
            owner.transition("running")
            raise ZeroDivisionError("division by zero")

    with pytest.raises(ZeroDivisionError):
        train()
    assert run.status() == "failed"
    assert run.record().error == "division by zero"


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
        assert record.best == {"knn/top1": 40.0}
        assert math.isnan(record.last["train/loss"])
        assert record.last["train/lr"] == 0.2
        assert (record.step, record.epoch, record.checkpoint_step) == (23, 2.3, 23)
        assert record.checkpoint_time is not None
        owner.result({"rows": [1, 2]})
        assert run.record().result == {"rows": [1, 2]}
        owner.log("hello")
        owner.transition("stopped")
    assert run.log_tail(1)[0].endswith(" hello")


KILLED = """
owner = own(run)
owner.transition("running")
owner.plan(Plan(total_steps=60, steps_per_epoch=5))
for step in range(1, 21):
    owner.metrics(step, step / 5, {"train/loss": 9 - step / 10, "train/epoch_loss": 9 - step / 10})
    if step == 6:
        owner.checkpointed(6)
    if step in (5, 20):
        owner.metrics(0, 0.0, {"knn/top1": 30.0})
        owner.metrics(step, step / 5, {"knn/top1": 30.0 + step})
owner.checkpointed(6)
print("logged", flush=True)
time.sleep(60)
"""


def summary_of_lines(run: RunFolder) -> tuple[dict[str, float], dict[str, float]]:
    """Newest and best accuracy by the lines of the file alone; no voided one counts."""
    values: dict[str, dict[int, float]] = {}
    for text in run.metrics_path.read_text().splitlines():
        line = json.loads(text)
        for name, points in values.items():
            kept = line.get("void_after", math.inf)
            values[name] = {step: value for step, value in points.items() if step <= kept}
        for name in line.keys() - {"step", "epoch", "time", "void_after"}:
            values.setdefault(name, {})[line["step"]] = line[name]
    values = {name: points for name, points in values.items() if points}
    trained = [value for step, value in values.get("knn/top1", {}).items() if step]
    best = {"knn/top1": max(trained)} if trained else {}
    return {name: points[max(points)] for name, points in values.items()}, best


def test_no_voided_value_of_a_killed_run_is_left_in_its_record(
    run: RunFolder, child: Callable[..., subprocess.Popen[str]]
) -> None:
    process = child("from engine.sink import Plan\n" + KILLED, run)
    wait_for(process, "logged")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert run.record().best["knn/top1"] == 50.0
    for kept in (6, 3):  # resumed twice, the second time before the first kNN
        with own(run) as owner:
            owner.transition("running")
            owner.resume_at(kept)
            owner.transition("stopped")
        record = run.record()
        last, best = summary_of_lines(run)
        assert (record.step, record.last) == (kept, last)
        assert {n: v for n, v in record.best.items() if n == "knn/top1"} == best
        assert record.untrained == {"knn/top1": 30.0}
        document = json.loads(to_json(run))
        assert document["run"]["last"] == {
            n: c["value"][-1] for n, c in document["metrics"].items()
        }
    assert best == {}


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


def trained(run: RunFolder, upto: int) -> RunOwner:
    owner = own(run)
    owner.transition("running")
    for step in range(1, upto + 1):
        owner.metrics(step, step / 10, {"a": float(step)})
    owner.checkpointed(upto)
    return owner


def curve(run: RunFolder) -> list[int]:
    log = run.metrics()
    log.poll()
    return list(log.series("a")[0])


def test_a_run_whose_metrics_were_removed_ends_with_all_of_them(run: RunFolder) -> None:
    with trained(run, 5) as owner:
        run.metrics_path.unlink()
        owner.transition("finished")  # though there was nothing left to write
    assert run.status() == "finished"
    assert curve(run) == [1, 2, 3, 4, 5]
    said = [line for line in run.log_tail(9) if "metric log was removed" in line]
    assert len(said) == 1


def test_a_run_whose_metrics_were_cut_does_not_end_as_finished(run: RunFolder) -> None:
    with trained(run, 5) as owner:
        os.truncate(run.metrics_path, 70)
        with pytest.raises(RunError, match="cut short by another program"):
            owner.transition("finished")
        assert run.status() == "running"
        owner.transition("failed", error="its metrics are gone")
    assert run.status() == "failed"
    with own(run) as owner:  # and a resume goes on from the checkpoint
        owner.transition("running")
        owner.resume_at(5)
        owner.metrics(6, 0.6, {"a": 6.0})
        owner.transition("finished")
    assert run.status() == "finished"
    assert curve(run)[-1] == 6
