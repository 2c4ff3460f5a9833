"""The runner's hand-over: what goes on elsewhere, in which order, under which locks."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig
from engine.errors import RunError
from engine.runs import RunFolder, create, own
from engine.runs.run_lock import Successor, lock_is_held
from engine.sink import NullSink, Plan
from moco_tui import lazy
from moco_tui.training import detached as detach
from moco_tui.training import runner as module
from moco_tui.training.runner import Runner

from ..spawned import Spawned


class Trainer:
    """Owns the run and works until it is asked to leave; hands over as the engine does."""

    def __init__(self, *, begins: bool = True) -> None:
        self.begins = begins
        self.working = threading.Event()
        self.release = threading.Event()
        self.loose = threading.Event()
        self.trained: list[str] = []

    def __call__(
        self,
        folder: RunFolder,
        *,
        data_dir: Path,
        sink: NullSink,
        lock_fd: int,
        successor: Successor,
        allow_other_data: bool,
        **_more: object,
    ) -> None:
        with own(folder, lock_fd=lock_fd) as owner:
            owner.transition("running")
            self.trained.append(folder.id)
            if self.begins:
                sink.plan(Plan(total_steps=10))
            self.working.set()
            while not self.release.wait(0.002):
                if (self.begins or self.loose.is_set()) and sink.request() == "hand-over":
                    owner.transition("handed-over")
                    if not successor(owner.lock_fd, 77):
                        owner.transition("stopped")
                    return
            owner.transition("finished")


def new_run(root: Path, name: str = "") -> RunFolder:
    config = resolve(PretrainConfig, preset_name="quick")
    return create(root, "pretrain", config, name=name)


def begin(runner: Runner, trainer: Trainer, *runs: RunFolder) -> None:
    for run in runs:
        runner.start(run)
    assert trainer.working.wait(60)


def test_the_active_run_and_those_that_wait_go_on_in_one_process(
    root: Path, tmp_path: Path, apart: Spawned
) -> None:
    trainer = Trainer()
    runner = Runner(tmp_path, execute=trainer)
    runs = [new_run(root) for _ in range(3)]
    begin(runner, trainer, *runs)
    assert all(lock_is_held(run.lock_path) for run in runs), "those that wait are locked too"
    assert runner.hand_over()
    assert apart.calls == [([run.id for run in runs], 77)]
    assert runner.handed_over == runs
    assert not runner.busy
    assert trainer.trained == [runs[0].id], "nothing further was begun here"
    assert all(lock_is_held(run.lock_path) for run in runs), "the child has the locks"
    apart.children[0].communicate(timeout=60)
    assert not any(lock_is_held(run.lock_path) for run in runs), "and nobody else has"


def test_a_hand_over_twice_is_one(root: Path, tmp_path: Path, apart: Spawned) -> None:
    trainer = Trainer()
    runner = Runner(tmp_path, execute=trainer)
    begin(runner, trainer, run := new_run(root))
    threads = [threading.Thread(target=runner.hand_over) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert apart.calls == [([run.id], 77)]
    assert runner.handed_over == [run]


def test_a_run_that_ends_meanwhile_leaves_the_rest_to_go_on(
    root: Path, tmp_path: Path, apart: Spawned
) -> None:
    trainer = Trainer(begins=False)  # hears nothing, and finishes
    runner = Runner(tmp_path, execute=trainer)
    first, second, third = (new_run(root) for _ in range(3))
    begin(runner, trainer, first, second, third)
    thread = threading.Thread(target=runner.hand_over)
    thread.start()
    trainer.release.set()
    thread.join(60)
    assert first.record().status == "finished"
    assert apart.calls == [([second.id, third.id], None)]
    assert runner.handed_over == [second, third]
    assert trainer.trained == [first.id]


def test_a_trainer_that_is_still_imported_never_begins(
    root: Path, tmp_path: Path, apart: Spawned, monkeypatch: pytest.MonkeyPatch
) -> None:
    importing, go_on = threading.Event(), threading.Event()
    trainer = Trainer()

    def slowly(name: str) -> Any:
        importing.set()
        go_on.wait(60)
        return type("execute", (), {"execute": trainer})

    monkeypatch.setattr(lazy, "engine", slowly)
    runner = Runner(tmp_path)
    run = new_run(root)
    runner.start(run)
    assert importing.wait(60)
    assert runner.hand_over()  # does not wait for the import
    go_on.set()
    assert runner.join(60)
    assert apart.calls == [([run.id], None)]
    assert trainer.trained == []


def test_a_run_stuck_before_its_first_step_is_not_waited_for_by_who_leaves(
    root: Path, tmp_path: Path, apart: Spawned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "START_TIMEOUT_SECONDS", 0.05)
    trainer = Trainer(begins=False)
    runner = Runner(tmp_path, execute=trainer)
    begin(runner, trainer, stuck := new_run(root), waiting := new_run(root))
    assert runner.hand_over(leaving=True)
    assert apart.calls == [([stuck.id, waiting.id], None)]
    trainer.loose.set()  # too late: nothing is started a second time
    assert runner.join(60)
    assert len(apart.calls) == 1


@pytest.mark.parametrize("how", ["cannot start", "dies at once"])
def test_when_no_process_takes_over_nothing_is_forgotten(
    root: Path, tmp_path: Path, apart: Spawned, how: str
) -> None:
    if how == "dies at once":
        apart.dies = True
    else:
        apart.error = RunError("A detached process could not be started (no memory).")
    trainer = Trainer()
    runner = Runner(tmp_path, execute=trainer)
    begin(runner, trainer, active := new_run(root), waiting := new_run(root))
    assert not runner.hand_over()
    assert active.record().status == "stopped"
    assert runner.waiting == (waiting,)
    assert runner.handed_over == []
    sentence = runner.messages[0][1]
    assert ("no memory" if how == "cannot start" else "ended before it began") in sentence
    runner.leave()
    assert not lock_is_held(waiting.lock_path)


def test_a_run_that_another_process_has_is_not_queued(root: Path, tmp_path: Path) -> None:
    run = new_run(root)
    other = detach.lock(run)
    with pytest.raises(RunError, match="another process"):
        Runner(tmp_path, execute=Trainer()).start(run)
    other.release()


def test_a_run_that_cannot_be_taken_over_is_not_held_for_ever(root: Path, tmp_path: Path) -> None:
    """Its folder is damaged before its turn: the lock is free when the runner goes on."""
    run = new_run(root)
    run.record_path.write_text("{")
    runner = Runner(tmp_path, execute=Trainer())
    runner.start(run)
    assert runner.join(60)
    assert not lock_is_held(run.lock_path)
    assert "damaged" in runner.messages[0][1]


def test_stray_output_goes_into_the_log_of_the_run_that_is_trained(
    root: Path, tmp_path: Path
) -> None:
    trainer = Trainer()
    trainer.release.set()
    runner = Runner(tmp_path, execute=trainer)
    logs: list[Path | None] = []
    runner.redirect_stderr = logs.append
    first, second = new_run(root), new_run(root)
    runner.start(first)
    runner.start(second)
    assert runner.join(60)
    assert logs == [first.log_path, None, second.log_path, None]
