"""The detached process: runs trained in turn, without a terminal."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from engine.config.resolve import build
from engine.config.schema import PretrainConfig, ProbeConfig
from engine.errors import TrainingError
from engine.runs import RunFolder, create, own
from engine.runs.record import Status
from moco_tui.cli.progress import TerminalSink
from moco_tui.training import detached as detach

from .conftest import Call, trained


def test_the_runs_of_a_queue_are_trained_in_turn_until_a_signal(
    root: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that fails does not end the queue; a signal does, and leaves the rest queued."""
    runs = [trained(root, status="stopped") for _ in range(4)]
    begun: list[str] = []
    logs: list[Path] = []

    def execute(folder: RunFolder, *, sink: TerminalSink, **rest: object) -> str:
        begun.append(folder.id)
        if len(begun) == 1:
            raise TrainingError("The loss became nan at step 3.")
        if len(begun) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0)  # Python's handler has run
            assert sink.request() == "stop"
            return "stopped"
        return "finished"

    monkeypatch.setattr("engine.jobs.execute.execute", execute)
    monkeypatch.setattr(detach, "redirect_output", logs.append)
    called = call("_train", *(str(run.path) for run in runs))
    assert begun == [run.id for run in runs[:3]]
    assert called.code == 130
    assert "The loss became nan at step 3." in called.err
    assert logs == [run.log_path for run in runs[1:]], "each says what it says in its own log"


@pytest.mark.parametrize("outcome", ["stopped", "failed", "finished"])
def test_a_probe_behind_an_unfinished_pretraining_stays_queued_and_says_how_it_starts(
    root: Path, call: Call, monkeypatch: pytest.MonkeyPatch, outcome: Status
) -> None:
    run = create(root, "pretrain", build(PretrainConfig, {}))
    probe = create(root, "probe", build(ProbeConfig, {}), parent=run.id)
    other = trained(root, status="stopped")
    begun: list[str] = []

    def execute(folder: RunFolder, **rest: object) -> str:
        begun.append(folder.id)
        if folder == run:
            with own(folder) as owner:
                owner.transition("running")
                owner.transition(outcome)
        return "finished"

    monkeypatch.setattr("engine.jobs.execute.execute", execute)
    monkeypatch.setattr(detach, "redirect_output", lambda log: None)
    called = call("_train", str(run.path), str(probe.path), str(other.path))
    if outcome == "finished":
        assert begun == [run.id, probe.id, other.id]
        return
    assert begun == [run.id, other.id]
    assert probe.record().status == "queued"
    assert f"{probe.id} stays queued: its pretraining {run.id} is {outcome}" in called.err
    assert f"moco-tui resume {probe.id}" in called.err
    begun.clear()
    call("_train", str(probe.path))
    assert begun == [probe.id], "by itself it is asked for"
