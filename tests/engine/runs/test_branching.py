"""The start of a run that goes on from another one's checkpoint."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from engine.config.schema import PretrainConfig, ProbeConfig
from engine.errors import RunError
from engine.history.entry import make_entry
from engine.runs import UserNotes, create
from engine.runs.branching import branch_start
from engine.runs.checkpoint_ref import CheckpointRef
from engine.runs.kept_checkpoints import keep

from .test_kept_checkpoints import run_at


def test_the_new_run_has_the_checkpoint_under_a_name_of_its_own(tmp_path: Path) -> None:
    other = run_at(tmp_path, 45)
    keep(other.path, other.checkpoint_path, "epoch", 3)
    start = branch_start(CheckpointRef(other, "3"), "fork")
    folder = create(tmp_path, "pretrain", PretrainConfig(), start=start)
    record = folder.record()
    assert record.began_from == {
        "run": other.id,
        "checkpoint": "3",
        "step": 30,
        "epoch": 3.0,
        "how": "fork",
        "sha256": hashlib.sha256(b"of step 45").hexdigest(),
    }
    assert (record.parent, record.status) == ("", "queued")
    assert make_entry(record, UserNotes()).began_from == f"{other.id}@3"
    shutil.rmtree(other.path)
    assert folder.start_path.read_bytes() == b"of step 45"


def test_the_last_checkpoint_may_lie_within_an_epoch(tmp_path: Path) -> None:
    branch = branch_start(CheckpointRef(run_at(tmp_path, 45), ""), "extend").branch
    assert (branch["checkpoint"], branch["step"], branch["epoch"]) == ("last", 45, 4.5)


def test_what_nothing_can_go_on_from_is_refused(tmp_path: Path) -> None:
    probe = create(tmp_path, "probe", ProbeConfig())
    with pytest.raises(RunError, match="is a probe; only a pretraining"):
        branch_start(CheckpointRef(probe, ""), "fork")
    new = create(tmp_path, "pretrain", PretrainConfig())
    with pytest.raises(RunError, match="has no checkpoint yet; there is nothing to go on from"):
        branch_start(CheckpointRef(new, ""), "fork")
    gone = run_at(tmp_path, 40)
    gone.checkpoint_path.unlink()
    with pytest.raises(RunError, match=r"checkpoint\.pt cannot be read: it is gone"):
        branch_start(CheckpointRef(gone, ""), "fork")
    gone.checkpoint_path.symlink_to("/dev/zero")
    with pytest.raises(RunError, match="it is a link"):
        branch_start(CheckpointRef(gone, ""), "fork")
