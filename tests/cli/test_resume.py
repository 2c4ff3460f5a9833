"""Going on with a run, here or in a process of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from engine.errors import RunError
from engine.runs import RunFolder, folders
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


def test_other_images_are_refused_with_the_way_on(root: Path, call: Call, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for tone in range(16):
        Image.new("L", (32, 32), tone).save(images / f"{tone}.png")
    small = ["batch_size=8", "epochs=2", "queue_size=16", "dim=8", "bn_splits=2", "knn_every=0"]
    sets = [word for text in (*small, "stop_epoch=1", "threads=1") for word in ("--set", text)]
    assert call("pretrain", "--data", f"folder:{images}", *sets, "--device", "cpu").code == 0
    (run,) = folders(root)
    tree = json.loads(run.record_path.read_text())  # as if it had been stopped on its way
    tree["status"], tree["config"]["optim"]["stop_epoch"] = "stopped", 0
    run.record_path.write_text(json.dumps(tree))
    Image.new("L", (32, 32), 200).save(images / "3.png")
    called = call("resume", run.id)
    assert called.code == 2
    assert called.err.strip().endswith(
        f"The data are not those that run {run.id} began with: the training images changed; put "
        "them back, or go on with what is there now: --allow-other-data."
    )
    assert run.record().status == "stopped"
    assert call("resume", run.id, "--allow-other-data").code == 0
    record = run.record()
    assert record.status == "finished"
    assert [part["step"] for part in record.data] == [0, 2]
