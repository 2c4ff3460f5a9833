"""A lost run is told by whoever finds it, once a loss."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from engine.history.entry import Entry
from engine.history.history import History
from engine.runs import RunFolder
from engine.runs.heartbeat import host_name
from moco_tui.notify.lost_notes import tell_lost
from moco_tui.notify.notifier import Notifier

from ...receiver import Receiver
from ..conftest import write_run


def lost(root: Path, run_id: str, **more: object) -> RunFolder:
    """A run whose process is gone, on this machine and a moment ago."""
    now = time.time()
    known = {"status": "running", "host": host_name(), "created": now - 900, "started": now - 800}
    return write_run(root, run_id, ended=None, **(known | {"running_since": now - 800} | more))  # type: ignore[arg-type]


def entries(root: Path) -> list[Entry]:
    return list(History(root).list())


def test_it_is_told_once_a_loss(receiver: Receiver, root: Path) -> None:
    run = lost(root, "aaaaaa", steps=3)
    for _ in range(2):
        tell_lost(root, entries(root), Notifier())
    (note,) = receiver.notes()
    assert note["MOCO_TUI_RUN_STATE"] == "lost"
    assert (
        note["MOCO_TUI_MESSAGE"] == "Pretraining aaaaaa is lost after step 3: its process is gone."
    )
    run.record_path.unlink()
    run.metrics_path.unlink()
    run.path.rmdir()
    lost(root, "aaaaaa", steps=3, running_since=time.time() - 100)  # resumed, and lost again
    tell_lost(root, entries(root), Notifier())
    assert receiver.states() == ["lost", "lost"]


def test_runs_of_other_machines_and_of_long_ago_are_left_alone(
    receiver: Receiver, root: Path
) -> None:
    lost(root, "aaaaaa", host="elsewhere")
    old = lost(root, "bbbbbb", created=1.0, started=2.0, running_since=2.0)
    os.utime(old.record_path, (3.0, 3.0))
    write_run(root, "cccccc")
    tell_lost(root, entries(root), Notifier())
    assert receiver.notes() == []


def test_who_cannot_remember_tells_nothing(
    receiver: Receiver, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would tell again at every look."""
    lost(root, "aaaaaa")
    notifier = Notifier()
    monkeypatch.setattr(notifier.told, "claim", lambda *parts: None)
    tell_lost(root, entries(root), notifier)
    assert receiver.notes() == []
