"""The trash: what lies there, and a removal that leaves nothing half visible."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from engine.errors import RunBusyError, RunError
from engine.history.history import History
from engine.history.together import delete_together, purge_together, restore_together
from engine.runs import RunFolder
from engine.runs.run_lock import RunLock

from .conftest import make


def deleted(root: Path, name: str = "x", *, size: int = 0) -> tuple[History, str]:
    folder = make(root, name)
    (folder.path / "checkpoint.pt").write_bytes(b"c" * size)
    history = History(root)
    history.delete(folder.id)
    return history, folder.id


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in (root / ".trash").rglob("*"))


def test_it_says_what_lies_there_since_when_and_how_large(root: Path) -> None:
    before = time.time()
    history, id_ = deleted(root, "large", size=50_000)
    (run,) = history.trashed.runs()
    assert (run.entry.id, run.entry.name) == (id_, "large")
    assert before - 1 <= run.deleted <= time.time() + 1
    lying = [path for path in (root / ".trash").rglob("*") if path.is_file()]
    assert history.trashed.size(id_) == sum(path.stat().st_size for path in lying) > 50_000


def test_a_removal_that_is_cut_short_leaves_nothing_visible_and_is_repeated(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, id_ = deleted(root, size=100)

    def half(path: Path) -> None:
        (path / "checkpoint.pt").unlink()
        raise OSError(39, "Directory not empty", str(path))  # as a file open on NFS leaves it

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", half)
        with pytest.raises(RunError, match="is not removed whole: directory not empty"):
            history.purge(id_)
    assert History(root).trash() == [], "half of it can still be seen"
    with pytest.raises(RunError, match="in the trash"):
        history.restore(id_)
    (left,) = history.trashed.remains()
    assert (left / "run.json").is_file()
    history.purge(id_)
    assert files(root) == []
    with pytest.raises(RunError, match="There is no run"):
        history.purge(id_)


def test_a_kill_in_the_middle_is_taken_up_too(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history, id_ = deleted(root)

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            history.purge(id_)
    again, other = deleted(root, "other")
    assert [entry.id for entry in again.trash()] == [other]
    for path in again.trashed.remains():
        again.trashed.remove(path)
    assert [entry.id for entry in again.trash()] == [other]
    assert again.trashed.remains() == []


def test_a_run_that_others_hold_is_refused_and_stays_whole(root: Path) -> None:
    history, id_ = deleted(root, size=10)
    before = files(root)
    lock = RunLock(root / ".trash" / id_ / "lock")
    assert lock.acquire()
    try:
        with pytest.raises(RunBusyError, match="held by a process"):
            history.purge(id_)
    finally:
        lock.release()
    assert files(root) == before
    assert history.restore(id_).name == "x"


def test_one_whose_files_this_user_may_not_remove_is_not_begun(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, id_ = deleted(root)
    closed = root / ".trash" / id_ / "control"
    before, real = files(root), os.access

    def access(path: Any, mode: int, **options: Any) -> bool:
        return str(path) != str(closed) and real(path, mode, **options)

    monkeypatch.setattr(os, "access", access)
    with pytest.raises(RunError, match=f"permission is denied in {closed}"):
        history.purge(id_)
    assert files(root) == before
    assert [entry.id for entry in history.trash()] == [id_]


def test_what_a_link_leads_to_is_never_removed(root: Path, tmp_path: Path) -> None:
    folder = make(root, "far")
    elsewhere = tmp_path / "disk2"
    folder.path.rename(elsewhere)
    folder.path.symlink_to(elsewhere)
    (root / ".trash").mkdir()
    folder.path.rename(root / ".trash" / folder.id)
    with pytest.raises(RunError, match="is a link"):
        History(root).purge(folder.id)
    assert (elsewhere / "run.json").is_file()


def test_a_link_inside_a_run_goes_and_its_target_stays(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.mkdir()
    (target / "file").write_text("x")
    folder = make(root)
    (folder.path / "shortcut").symlink_to(target)
    history = History(root)
    history.delete(folder.id)
    history.purge(folder.id)
    assert (target / "file").read_text() == "x"


def test_with_a_study_goes_what_went_with_it_and_the_study_last(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, *members = (make(root, name).id for name in ("study", "a", "b"))
    alone = make(root, "alone").id
    history = History(root)
    history.delete(alone)
    delete_together(history, study, members)
    real = RunFolder.notes_lock

    def stop_at_study(self: RunFolder, *args: Any, **options: Any) -> Any:
        if self.id == study:
            raise RunBusyError("busy")
        return real(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "notes_lock", stop_at_study)
        with pytest.raises(RunBusyError):
            purge_together(history, study)
    assert {entry.id for entry in history.trash()} == {study, alone}
    assert purge_together(history, study) == [study]
    assert [entry.id for entry in history.trash()] == [alone]
    assert [entry.id for entry in restore_together(history, alone)] == [alone]
