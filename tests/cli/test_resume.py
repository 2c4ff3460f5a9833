"""Going on with a run, here or in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engine.errors import RunError
from engine.runs import RunFolder
from moco_tui.training import detached as detach

from .conftest import Call, trained


def test_a_detached_process_that_dies_at_once_is_a_sentence(
    root: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(root, status="stopped")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    called = call("resume", run.id, "--detach")
    assert called.code == 2
    assert f"The detached process for run {run.id} ended before it began" in called.err
    assert not run.alive(), "the lock is free again"


def test_a_detached_process_that_cannot_be_started_is_a_sentence(
    root: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(root, status="stopped")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    called = call("resume", run.id, "--detach")
    assert called.code == 2
    assert "could not be started" in called.err
    assert not run.alive()


def test_a_run_that_waits_elsewhere_is_not_resumed(root: Path, call: Call) -> None:
    from engine.config.resolve import build
    from engine.config.schema import PretrainConfig
    from engine.runs import create

    run = create(root, "pretrain", build(PretrainConfig, {}))
    held = detach.lock(run)
    with pytest.raises(RunError, match="waits for its turn"):
        detach.lock(RunFolder(run.path))
    called = call("resume", run.id)
    assert called.code == 2
    assert "waits for its turn in another process" in called.err
    held.release()
