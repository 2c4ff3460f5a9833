"""Probes behind a pretraining: none begins by itself unless that has finished."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig, ProbeConfig
from engine.runs import RunFolder, create, own
from engine.runs.record import Status, encode_record
from engine.runs.run_lock import lock_is_held
from engine.sink import Plan
from moco_tui.app import MocoApp
from moco_tui.screens.held_probes_dialog import HeldProbes
from moco_tui.session import Session
from moco_tui.training.queued_probes import end_queued, stays_queued, waits_in_vain
from moco_tui.training.runner import Runner

from ..conftest import lost_runs, screen_text, until


class Trainer:
    """Ends each run in the state that was set for it, when it is let go."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Status] = {}
        self.trained: list[str] = []
        self.go_on = threading.Event()

    def __call__(self, folder: RunFolder, *, lock_fd: int, sink: Any, **rest: Any) -> None:
        with own(folder, lock_fd=lock_fd) as owner:
            owner.transition("running")
            owner.plan(Plan(total_steps=10, steps_per_epoch=1))
            sink.plan(Plan(total_steps=10))
            self.trained.append(folder.id)
            self.go_on.wait(60)
            owner.metrics(2, 2.0, {"train/loss": 1.0})
            owner.checkpointed(2)
            owner.transition(self.outcomes.get(folder.id, "finished"))


def a_pretraining(root: Path, name: str = "base") -> RunFolder:
    config = resolve(PretrainConfig, preset_name="quick", sets=("epochs=10",))
    return create(root, "pretrain", config, name=name)


def a_probe(root: Path, parent: RunFolder, name: str = "ten per cent") -> RunFolder:
    return create(root, "probe", resolve(ProbeConfig), parent=parent.id, name=name)


@pytest.fixture
def trainer() -> Trainer:
    return Trainer()


@pytest.fixture
def runner(tmp_path: Path, trainer: Trainer) -> Runner:
    return Runner(tmp_path, execute=trainer)


def stopped_before_its_probe(
    root: Path, runner: Runner, trainer: Trainer
) -> tuple[RunFolder, RunFolder]:
    """A pretraining that was stopped while its probe waited for it, and the probe."""
    run = a_pretraining(root)
    probe = a_probe(root, run)
    trainer.outcomes[run.id] = "stopped"
    runner.start(run)
    runner.start(probe)
    trainer.go_on.set()
    assert runner.join(60)
    return run, probe


@pytest.mark.parametrize("outcome", ["stopped", "failed"])
def test_a_probe_waits_for_the_finished_encoder(
    root: Path, runner: Runner, trainer: Trainer, outcome: Status
) -> None:
    run, other = a_pretraining(root), a_pretraining(root, "other")
    probe = a_probe(root, run)
    trainer.outcomes[run.id] = outcome
    for folder in (run, probe, other):
        runner.start(folder)
    trainer.go_on.set()
    assert runner.join(60)
    assert trainer.trained == [run.id, other.id], "what stands behind it has its turn"
    assert (runner.held, list(runner.undecided)) == ((probe,), [probe])
    assert not runner.busy
    assert probe.record().status == "queued"
    assert lock_is_held(probe.lock_path), "no other process starts it"
    runner.start_ready()
    assert runner.held == (probe,), "it is not ready"
    trainer.outcomes[run.id] = "finished"
    runner.start(run)
    assert runner.join(60)
    assert trainer.trained == [run.id, other.id, run.id, probe.id]
    assert probe.record().status == "finished"
    assert len(runner.undecided) == 1, "asked once"


def test_a_held_probe_begins_when_another_process_has_finished_the_encoder(
    root: Path, runner: Runner, trainer: Trainer
) -> None:
    run, probe = stopped_before_its_probe(root, runner, trainer)
    assert runner.held == (probe,)
    with own(run) as owner:
        owner.transition("running")
        owner.transition("finished")
    runner.start_ready()
    assert runner.join(60)
    assert probe.record().status == "finished"


def test_a_held_probe_begins_at_once_when_it_is_asked_for(
    root: Path, runner: Runner, trainer: Trainer
) -> None:
    _, probe = stopped_before_its_probe(root, runner, trainer)
    runner.start(probe)
    assert runner.join(60)
    assert probe.record().status == "finished"
    assert not lock_is_held(probe.lock_path)


def test_a_probe_of_a_run_that_was_stopped_before_needs_no_question(
    root: Path, runner: Runner, trainer: Trainer
) -> None:
    stopped, running = a_pretraining(root), a_pretraining(root, "running")
    with own(stopped) as owner:
        owner.transition("running")
        owner.transition("stopped")
    probe = a_probe(root, stopped)
    runner.start(running)
    runner.start(probe)
    trainer.go_on.set()
    assert runner.join(60)
    assert probe.record().status == "finished"


def test_leaving_and_dropping_free_what_is_held(
    root: Path, runner: Runner, trainer: Trainer
) -> None:
    run = a_pretraining(root)
    one, two = a_probe(root, run), a_probe(root, run)
    trainer.outcomes[run.id] = "stopped"
    for folder in (run, one, two):
        runner.start(folder)
    trainer.go_on.set()
    assert runner.join(60)
    assert runner.drop(one)
    assert not lock_is_held(one.lock_path)
    end_queued(one)
    assert one.record().status == "stopped"
    runner.leave()
    assert not lock_is_held(two.lock_path)
    assert two.record().status == "queued"


def test_nobody_is_offered_a_probe_whose_pretraining_was_stopped(root: Path) -> None:
    run = a_pretraining(root)
    probe = a_probe(root, run)
    for folder in (run, probe):
        record = folder.record()
        record.created -= 60
        folder.record_path.write_bytes(encode_record(record))
        os.utime(folder.record_path, (record.created, record.created))
    assert [lost.folder for lost in lost_runs(root)] == [run, probe], "both go on, in turn"
    with own(run) as owner:
        owner.transition("running")
        owner.transition("stopped")
    assert lost_runs(root) == []


def test_what_a_process_without_a_terminal_says(root: Path) -> None:
    run = a_pretraining(root)
    probe = a_probe(root, run)
    assert waits_in_vain(probe, [probe]) is None, "asked for by itself"
    assert waits_in_vain(run, [run, probe]) is None
    assert waits_in_vain(probe, [run, probe]) == run
    assert "without a checkpoint" in stays_queued(probe, run)
    with own(run) as owner:
        owner.transition("running")
        owner.plan(Plan(total_steps=40, steps_per_epoch=5))
        owner.checkpointed(10)
        owner.transition("stopped")
    text = stays_queued(probe, run)
    assert "stopped, its checkpoint at step 10 of 50, 20 %" in text
    for command in (f"moco-tui resume {run.id}", f"moco-tui resume {probe.id}"):
        assert command in text
    with own(run) as owner:
        owner.transition("running")
        owner.transition("finished")
    assert waits_in_vain(probe, [run, probe]) is None


@pytest.mark.parametrize(
    ("key", "status"), [("w", "queued"), ("escape", "queued"), ("p", "finished"), ("d", "stopped")]
)
async def test_the_app_asks_what_becomes_of_a_probe(
    root: Path, tmp_path: Path, runner: Runner, trainer: Trainer, key: str, status: str
) -> None:
    run = a_pretraining(root)
    probe = a_probe(root, run)
    trainer.outcomes[run.id] = "stopped"
    session = Session(root, data_dir=tmp_path, device=None, read_only=False, runner=runner)
    app = MocoApp(session)
    async with app.run_test(size=(80, 24)) as pilot:
        app.start_runs(run, probe)
        trainer.go_on.set()
        await until(pilot, lambda: isinstance(app.screen, HeldProbes))
        text = " ".join(screen_text(app).replace("│", " ").split())
        assert "base is stopped, its checkpoint at step 2 of 10, 20 %" in text
        assert "ten per cent" in text
        assert "Probe it now, at step 2 of 10, 20 % (p)" in text
        assert trainer.trained == [run.id]
        await pilot.press(key)
        await until(pilot, lambda: not isinstance(app.screen, HeldProbes))
        await until(pilot, lambda: probe.record().status == status)
        if status == "queued":
            assert runner.held == (probe,)
            trainer.outcomes[run.id] = "finished"
            app.start_runs(run)
            await until(pilot, lambda: probe.record().status == "finished")
        elif status == "stopped":
            assert runner.held == ()
            assert trainer.trained == [run.id]
    runner.join(60)
