"""A queue for each device: what begins at once, what waits, what goes on where on leaving."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig, ProbeConfig
from engine.errors import RunError
from engine.runs import RunFolder, create, own
from engine.runs.run_lock import lock_is_held
from engine.sink import Plan
from moco_tui.training.device_lanes import DeviceLanes
from moco_tui.training.runner import Runner

from ..spawned import Spawned


class Trainer:
    """Trains each run until it is let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.devices: list[str] = []
        self.let_go: dict[str, threading.Event] = {}
        self.lock = threading.Lock()

    def gate(self, run: RunFolder) -> threading.Event:
        with self.lock:
            return self.let_go.setdefault(run.id, threading.Event())

    def __call__(
        self, folder: RunFolder, *, lock_fd: int, sink: Any, device: str, successor: Any, **_: Any
    ) -> None:
        with own(folder, lock_fd=lock_fd) as owner:
            owner.transition("running")
            sink.plan(Plan(total_steps=10))
            self.begun.append(folder.id)
            self.devices.append(device)
            while not self.gate(folder).wait(0.002):
                if sink.request() == "hand-over":
                    owner.transition("handed-over")
                    successor(owner.lock_fd, 77)
                    return
            owner.transition("finished")


@pytest.fixture
def trainer() -> Trainer:
    return Trainer()


@pytest.fixture
def held() -> dict[str, str]:
    """Who has which card outside of the app, by its UUID."""
    return {}


@pytest.fixture
def runner(tmp_path: Path, trainer: Trainer, held: dict[str, str]) -> Runner:
    """With two cards."""

    def holder(key: str) -> str:
        return held.get(key.removeprefix("cuda-"), "")

    return Runner(tmp_path, execute=trainer, lanes=DeviceLanes(lambda: ("aaaa", "bbbb"), holder))


def new_run(root: Path, device: str = "auto") -> RunFolder:
    sets = (f"runtime.device={device}",)
    return create(root, "pretrain", resolve(PretrainConfig, preset_name="quick", sets=sets))


def until(what: Callable[[], Any]) -> None:
    end = threading.Event()
    for _ in range(4000):
        if what():
            return
        end.wait(0.005)
    raise AssertionError("it never came so far")


def test_a_run_for_a_free_device_begins_at_once_and_one_for_a_busy_one_waits(
    root: Path, runner: Runner, trainer: Trainer, apart: Spawned
) -> None:
    first, behind = new_run(root, "cuda:0"), new_run(root, "cuda:0")
    other, on_cpu = new_run(root, "cuda:1"), new_run(root, "cpu")
    starts = [runner.start(run) for run in (first, behind, other, on_cpu)]
    assert starts == [True, False, True, True]
    until(lambda: trainer.begun)
    assert trainer.begun == [first.id], "one training thread a process"
    assert [ids for ids, _ in apart.calls] == [[other.id], [on_cpu.id]]
    assert runner.waiting == (behind,)
    assert runner.computing() == {"cuda:0": first, "cuda:1": other, "cpu": on_cpu}
    assert runner.queues() == {"cuda:0": [behind]}
    assert runner.why_waiting(behind) == "It starts when the run before it on cuda:0 has ended."
    assert runner.why_waiting(first) == ""
    runner.begin_ready()
    assert runner.waiting == (behind,)
    trainer.gate(first).set()
    until(lambda: behind.id in trainer.begun)
    trainer.gate(behind).set()
    assert runner.join(60)
    assert [run.record().status for run in (first, behind)] == ["finished"] * 2
    assert runner.going_on() == [other, on_cpu], "they outlive the app"


def test_a_run_that_takes_any_card_gets_the_first_that_is_free(
    root: Path, runner: Runner, trainer: Trainer, apart: Spawned
) -> None:
    one, two, three = (new_run(root) for _ in range(3))
    assert [runner.start(run) for run in (one, two, three)] == [True, True, False]
    until(lambda: trainer.begun)
    assert (trainer.devices, apart.on) == (["cuda:0"], {two.id: "cuda:1"})
    assert runner.queues() == {"auto": [three]}
    apart.end(two)
    runner.begin_ready()
    assert apart.on == {two.id: "cuda:1", three.id: "cuda:1"}
    assert runner.waiting == ()
    trainer.gate(one).set()
    assert runner.join(60)


def test_nobody_overtakes_a_run_on_the_device_that_it_waits_for(
    root: Path, runner: Runner, trainer: Trainer, apart: Spawned, held: dict[str, str]
) -> None:
    held["bbbb"] = "run x9 (process 7)"
    first, second, third = new_run(root, "cuda:1"), new_run(root, "cuda:1"), new_run(root, "cuda:0")
    assert [runner.start(run) for run in (first, second, third)] == [False, False, True]
    until(lambda: third.id in trainer.begun)
    assert apart.calls == []
    sentence = "run x9 (process 7) trains on cuda:1; it starts when that has ended."
    assert runner.why_waiting(first) == sentence
    held.clear()
    runner.begin_ready()
    assert [ids for ids, _ in apart.calls] == [[first.id]]
    assert runner.waiting == (second,)
    trainer.gate(third).set()
    assert runner.join(60), "the thread has nothing to do while the card is taken"
    apart.end(first)
    runner.begin_ready()
    until(lambda: second.id in trainer.begun)
    trainer.gate(second).set()
    assert runner.join(60)


def test_a_card_that_another_process_has_is_waited_for_and_not_shared(
    root: Path, runner: Runner, trainer: Trainer, held: dict[str, str]
) -> None:
    held |= {"aaaa": "run x9 (process 7)", "bbbb": "run y9 (process 8)"}
    run = new_run(root)
    assert not runner.start(run)
    assert runner.join(60)
    runner.begin_ready()
    assert (trainer.begun, runner.waiting) == ([], (run,))
    assert lock_is_held(run.lock_path), "no other process starts it"
    del held["bbbb"]
    runner.begin_ready()
    until(lambda: trainer.begun)
    assert trainer.devices == ["cuda:1"]
    trainer.gate(run).set()
    assert runner.join(60)


def test_a_probe_waits_for_its_pretraining_on_another_card(
    root: Path, runner: Runner, trainer: Trainer, apart: Spawned
) -> None:
    first, run = new_run(root, "cuda:0"), new_run(root, "cuda:1")
    probe = create(root, "probe", resolve(ProbeConfig), parent=run.id)
    last = new_run(root, "cpu")
    assert [runner.start(each) for each in (first, run, probe, last)] == [True, True, False, True]
    assert runner.waiting == (probe,)
    apart.end(run)
    runner.begin_ready()
    assert apart.on[probe.id] == "cuda:1"
    until(lambda: trainer.begun)
    trainer.gate(first).set()
    assert runner.join(60)


def test_each_queue_goes_on_in_a_process_of_its_own(
    root: Path, runner: Runner, trainer: Trainer, apart: Spawned, held: dict[str, str]
) -> None:
    held["bbbb"] = "run x9 (process 7)"
    one, behind, other, last = (
        new_run(root, device) for device in ("cuda:0", "cuda:0", "cuda:1", "cuda:1")
    )
    for run in (one, behind, other, last):
        runner.start(run)
    until(lambda: trainer.begun)
    assert runner.hand_over()
    assert apart.calls == [([one.id, behind.id], 77), ([other.id, last.id], None)]
    assert runner.handed_over == [one, behind, other, last]
    assert not runner.busy


def test_a_process_that_cannot_be_started_is_said_and_recorded(
    root: Path, runner: Runner, trainer: Trainer, apart: Spawned
) -> None:
    first, other = new_run(root, "cuda:0"), new_run(root, "cuda:1")
    runner.start(first)
    apart.error = RunError("A detached process could not be started (no memory).")
    runner.start(other)
    assert runner.messages[0] == ("error", str(apart.error))
    assert other.record().status == "failed"
    assert not lock_is_held(other.lock_path)
    assert runner.computing().keys() <= {"cuda:0"}
    until(lambda: trainer.begun)
    trainer.gate(first).set()
    assert runner.join(60)
