"""What happens to runs while the app looks, whoever trains them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.runs import RunFolder, RunOwner, own
from engine.runs.record import Status
from moco_tui.notify.looker import Looker, is_of_this_process
from moco_tui.present.diagnoses import DIAGNOSES
from moco_tui.present.run_evidence import Said
from moco_tui.present.run_list import RunList

from ..conftest import write_run


def running(root: Path, run_id: str, **more: Any) -> RunOwner:
    """The owner of a run that is trained: its lock is held, and its record says so."""
    owner = own(write_run(root, run_id, status="stopped", **more))
    owner.transition("running")
    return owner


def end(owner: RunOwner, status: Status, error: str = "") -> None:
    """Ends the run as its trainer does."""
    owner.transition(status, error=error)
    owner.close()


def test_ends_are_told_once_and_what_was_so_before_is_no_news(root: Path) -> None:
    write_run(root, "aaaaaa")
    write_run(root, "bbbbbb", status="failed")
    write_run(root, "cccccc", status="running", ended=None)  # lost
    runs = [running(root, run_id) for run_id in ("dddddd", "eeeeee", "ffffff")]
    looker = Looker(RunList(root))
    assert looker.look() == []
    assert looker.newly_lost()
    assert not looker.newly_lost()
    end(runs[0], "finished")
    end(runs[1], "failed", "Why.")
    end(runs[2], "stopped")
    notes = {note.run_id: note for note in looker.look()}
    assert {id_: note.event for id_, note in notes.items()} == {
        "dddddd": "finished",
        "eeeeee": "failed",
    }
    assert notes["eeeeee"].message == "Pretraining eeeeee failed: Why."
    assert looker.look() == []
    assert is_of_this_process(runs[0].folder)
    assert not is_of_this_process(RunFolder(root / "aaaaaa"))
    assert not is_of_this_process(RunFolder(root / "nobody"))


def test_runs_within_a_study_are_left_to_it(root: Path) -> None:
    study = running(root, "ssssss")
    inner = running(root, "rrrrrr", study="ssssss")
    looker = Looker(RunList(root))
    looker.look()
    end(inner, "failed")
    assert [note.run_id for note in looker.look()] == []
    end(study, "finished")
    assert [note.run_id for note in looker.look()] == ["ssssss"]


def test_a_fault_of_a_living_pretraining_is_told_once(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()

    def judge(evidence: object) -> Said | None:
        return Said("It fell.", "Lower lr.") if evidence.record.id in seen else None  # type: ignore[attr-defined]

    for name in DIAGNOSES:
        monkeypatch.setitem(DIAGNOSES, name, judge if name == "collapse" else lambda _: None)
    seen.add("aaaaaa")
    other = running(root, "aaaaaa", steps=20)
    run = running(root, "bbbbbb", steps=20)
    looker = Looker(RunList(root))
    assert looker.look() == [], "what holds at the first look is no news"
    assert looker.look() == []
    seen.add("bbbbbb")
    run.transition("paused")
    assert [(note.run_id, note.event) for note in looker.look()] == [("bbbbbb", "warning")]
    assert looker.look() == []
    end(other, "stopped")
    end(run, "stopped")
