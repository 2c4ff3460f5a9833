"""The history: it lists what the folders hold, and changes, deletes and restores runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tinydb import where

from engine.config.schema import PretrainConfig, ProbeConfig
from engine.errors import ConfigError, RunBusyError, RunError
from engine.history.history import History
from engine.history.trash import TRASH_NAME
from engine.runs import RunFolder, UserNotes, create

from .conftest import ids, index, make, own_indexed


def test_an_empty_or_missing_folder_has_no_runs_and_stays_as_it_is(tmp_path: Path) -> None:
    assert History(tmp_path / "nothing").list() == []
    assert not (tmp_path / "nothing").exists()
    history = History(tmp_path)
    assert history.list() == []
    assert history.notices == []


def test_a_list_shows_what_the_folders_hold_now(root: Path) -> None:
    history = History(root)
    first = make(root, "first", knn=40.0)
    second = make(root, "second", knn=60.0)
    assert ids(history) == [second.id, first.id]
    first.set_user(name="renamed", tags=["x"], note="n")
    entry = history.get(first.id)
    assert (entry.name, entry.tags, entry.note) == ("renamed", ("x",), "n")
    assert history.list("tag:x")[0].title == "renamed"
    third = make(root, "third")
    assert ids(history) == [third.id, second.id, first.id]
    with own_indexed(create(root, "probe", ProbeConfig(), parent=second.id)) as owner:
        owner.transition("running")
        owner.metrics(1, 0.0, {"probe/test_top1": 71.0})
        owner.flush()
        (probe,) = history.list("kind:probe")
        assert (probe.status, probe.parent) == ("running", second.id)
        owner.transition("failed", error="no")
    (probe,) = history.list("kind:probe")
    assert (probe.status, probe.error) == ("failed", "no")


def test_a_run_whose_owner_died_is_lost_in_the_list(root: Path) -> None:
    folder = make(root, end="paused")
    history = History(root)
    assert [e.status for e in history.list()] == ["lost"]
    assert ids(history, "status:lost") == [folder.id]
    with own_indexed(folder) as owner:
        assert [e.status for e in history.list()] == ["paused"]
        owner.transition("stopped")
    assert [e.status for e in history.list()] == ["stopped"]
    assert index(root)["runs"][folder.id]["status"] == "stopped"


@pytest.mark.parametrize("data", [b"", b"garbage", b'{"schema": 99}', b'{"schema": 1}', None])
def test_a_damaged_run_is_shown_as_such_among_the_others(root: Path, data: bytes | None) -> None:
    good, bad = make(root, "good"), make(root, "bad")
    history = History(root)
    history.list()
    if data is None:
        bad.record_path.unlink()
        bad.record_path.mkdir()
    else:
        bad.record_path.write_bytes(data)
    for fresh in (history, History(root)):
        entries = {e.id: e for e in fresh.list()}
        assert entries[good.id].status == "finished"
        # What a newer program wrote is whole, only not for this one.
        state = "unreadable" if data == b'{"schema": 99}' else "damaged"
        assert entries[bad.id].status == state
        assert str(bad.record_path) in entries[bad.id].error
        assert ids(fresh, f"status:{state}") == [bad.id]


def test_damaged_notes_leave_the_run_in_the_list_with_a_warning(root: Path) -> None:
    folder = make(root, "x")
    folder.user_path.write_bytes(b"garbage")
    (entry,) = History(root).list()
    assert (entry.name, entry.status) == ("x", "finished")
    assert "user.json is damaged" in entry.warning


def test_strange_things_in_the_folder_are_no_runs(root: Path) -> None:
    folder = make(root)
    (root / "empty").mkdir()
    (root / "file").write_text("x")
    (root / ".hidden").mkdir()
    (root / "dangling").symlink_to(root / "nowhere")
    (root / "bad\nname").mkdir()
    (root / "bad\nname" / "run.json").write_text("{}")
    assert ids(History(root)) == [folder.id]


def test_a_folder_that_went_away_is_forgotten(root: Path) -> None:
    stays, goes = make(root), make(root)
    history = History(root)
    assert len(history.list()) == 2
    goes.path.rename(root.parent / "elsewhere")
    assert ids(history) == [stays.id]
    assert list(index(root)["runs"]) == [stays.id]
    with pytest.raises(RunError, match="There is no run"):
        history.get(goes.id)


def test_a_folder_that_came_from_elsewhere_is_listed(root: Path, tmp_path: Path) -> None:
    other = make(tmp_path / "other", "guest")
    make(root)
    history = History(root)
    history.list()
    other.path.rename(root / other.id)
    assert other.id in ids(history)


def test_annotations_are_in_the_folder_and_outlive_the_index(root: Path) -> None:
    folder = make(root, "a")
    history = History(root)
    entry = history.annotate(folder.id, name="b", tags=["t2", "t1"], note="why")
    assert (entry.name, entry.tags, entry.note) == ("b", ("t1", "t2"), "why")
    assert index(root)["runs"][folder.id]["tags"] == ["t1", "t2"]
    (root / "history.json").unlink()
    (entry,) = History(root).list("tag:t1 b why")
    assert entry.id == folder.id


def test_a_deleted_run_comes_back_whole(root: Path) -> None:
    folder, other = make(root, "a", knn=5.0), make(root, "b")
    history = History(root)
    files = {p.name: p.read_bytes() for p in folder.path.iterdir() if p.is_file()}
    history.delete(folder.id)
    assert ids(history) == [other.id] == ids(History(root))
    assert folder.id not in index(root)["runs"]
    assert [e.name for e in history.trash()] == ["a"]
    with pytest.raises(RunError, match="There is no run"):
        history.delete(folder.id)
    assert history.restore(folder.id).name == "a"
    after = {p.name: p.read_bytes() for p in folder.path.iterdir() if p.is_file()}
    assert after == files | {"user.lock": b""}  # nobody wrote notes while it was moved
    assert sorted(ids(history)) == sorted([folder.id, other.id])
    assert history.trash() == []


def test_the_trash_lists_the_last_deleted_first_and_can_be_emptied(root: Path) -> None:
    folders = [make(root, f"r{i}") for i in range(3)]
    history = History(root)
    for folder in (folders[1], folders[0], folders[2]):
        history.delete(folder.id)
    assert [e.name for e in history.trash()] == ["r2", "r0", "r1"]
    history.purge(folders[0].id)
    assert [e.name for e in history.trash()] == ["r2", "r1"]
    with pytest.raises(RunError, match="in the trash"):
        history.restore(folders[0].id)


def test_a_living_run_cannot_be_deleted(root: Path) -> None:
    folder = create(root, "pretrain", PretrainConfig())
    history = History(root)
    with own_indexed(folder):
        with pytest.raises(RunBusyError, match="stop it before deleting it"):
            history.delete(folder.id)
        assert folder.record_path.exists()
    history.delete(folder.id)


def test_a_restore_never_overwrites(root: Path) -> None:
    folder = make(root, "old")
    history = History(root)
    history.delete(folder.id)
    folder.path.mkdir()
    (folder.path / "run.json").write_text("mine")
    with pytest.raises(RunError, match="There is a run"):
        history.restore(folder.id)
    assert (folder.path / "run.json").read_text() == "mine"
    assert len(history.trash()) == 1


@pytest.mark.parametrize("bad", ["", ".", "..", ".trash", "../x", "a/b", "/etc", "x\0y", "zzzzzz"])
def test_ids_that_are_none_are_sentences(root: Path, bad: str) -> None:
    make(root)
    history = History(root)
    for action in (history.get, history.delete, history.restore, history.purge, history.upsert):
        with pytest.raises(RunError, match="There is no run"):
            action(bad)
    assert len(history.list()) == 1


def test_a_tinydb_query_searches_the_documents(root: Path) -> None:
    make(root, "low", knn=10.0)
    high = make(root, "high", knn=80.0)
    history = History(root)
    found = history.search(where("best")["knn/top1"] > 50)
    ids_found: list[Any] = [d.doc_id for d in found]  # TinyDB's types know only numbers
    assert ids_found == [high.id]
    read_only = History(root, read_only=True)
    make(root, "higher", knn=90.0)
    assert len(read_only.search(where("best")["knn/top1"] > 50)) == 2


def test_lists_are_sorted_with_the_missing_ones_last(root: Path) -> None:
    make(root, "b", knn=10.0, moco__queue_size=512)
    make(root, "a", knn=30.0)
    make(root, "C")
    history = History(root)

    def names(sort: str) -> list[str]:
        return [e.name for e in history.list(sort=sort)]

    assert names("-created") == ["C", "a", "b"]
    assert names("created") == ["b", "a", "C"]
    assert names("name") == ["a", "b", "C"]
    assert names("-name") == ["C", "b", "a"]
    assert names("knn") == ["b", "a", "C"]
    assert names("-knn") == ["a", "b", "C"]
    assert names("queue_size") == ["b", "C", "a"]
    with pytest.raises(ConfigError, match="did you mean queue_size"):
        names("queue_sise")


def test_notes_are_changed_by_what_they_are_and_not_by_what_they_were(root: Path) -> None:
    folder = make(root, "mine")
    histories = [History(root), History(root)]
    for history in histories:
        history.list()
    for word, history in zip("ab", histories, strict=True):

        def update(notes: UserNotes, word: str = word) -> None:
            notes.tags = (*notes.tags, word)
            notes.note = f"{notes.note}{word}"

        entry = history.change_notes(folder.id, update)
    assert (entry.tags, entry.note) == (("a", "b"), "ab")
    assert ids(History(root), "tag:a tag:b") == [folder.id]


def test_a_run_is_not_moved_while_its_notes_are_written(root: Path) -> None:
    folder = make(root, "mine")
    history = History(root)
    history.delete(folder.id)
    trashed = RunFolder(root / TRASH_NAME / folder.id)

    def busy(self: RunFolder, timeout: float = 0.0) -> Any:
        return real(self, 0.01)

    with pytest.MonkeyPatch.context() as patch, trashed.notes_lock():
        real = RunFolder.notes_lock
        patch.setattr(RunFolder, "notes_lock", busy)
        for action in (history.restore, history.purge):
            with pytest.raises(RunBusyError, match="nothing was changed"):
                action(folder.id)
    history.restore(folder.id)
    with pytest.MonkeyPatch.context() as patch, folder.notes_lock():
        patch.setattr(RunFolder, "notes_lock", busy)
        with pytest.raises(RunBusyError, match="nothing was changed"):
            history.delete(folder.id)
        with pytest.raises(RunBusyError, match="nothing was changed"):
            history.annotate(folder.id, tags=["x"])
    assert history.annotate(folder.id, tags=["y"]).tags == ("y",)


def test_notes_of_a_run_that_is_deleted_while_they_are_written_go_with_it(root: Path) -> None:
    folder = make(root, "mine")
    history, other = History(root), History(root)
    real = RunFolder.change_user

    def then_deleted(self: RunFolder, *args: Any, **options: Any) -> UserNotes:
        notes = real(self, *args, **options)
        other.delete(self.id)
        return notes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "change_user", then_deleted)
        assert history.annotate(folder.id, tags=["x"]).tags == ("x",)
    assert history.restore(folder.id).tags == ("x",)


@pytest.mark.parametrize("hours", [-87_660, -1, 1, 87_660])
def test_the_run_that_was_deleted_last_is_first_in_the_trash_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    history, start = History(tmp_path), time.time_ns()
    deleted = []
    for at in (start, start + hours * 3600 * 10**9, start, start - 10**9):
        run = create(tmp_path, "pretrain", PretrainConfig())
        monkeypatch.setattr("engine.history.trash.time.time_ns", lambda at=at: at)
        history.delete(run.id)
        deleted.append(run.id)
        assert [entry.id for entry in history.trash()] == deleted[::-1]


def test_a_run_that_another_process_has_moved_is_no_failure_of_the_index(root: Path) -> None:
    folder = make(root, "mine")
    history, other = History(root), History(root)
    history.delete(folder.id)
    real = RunFolder.notes_lock

    @contextlib.contextmanager
    def then_deleted(self: RunFolder, timeout: float = 5.0) -> Iterator[None]:
        with real(self, timeout):
            yield
        patch.setattr(RunFolder, "notes_lock", real)
        other.delete(folder.id)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "notes_lock", then_deleted)
        with pytest.raises(RunError, match=f"There is no run {folder.id}"):
            history.restore(folder.id)
    assert history.notices == []
    assert [entry.id for entry in history.trash()] == [folder.id]


def test_a_list_looks_at_no_file_and_shows_the_sizes_that_were_counted(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = make(root, "small"), make(root, "large")
    (large.path / "checkpoint.pt").write_bytes(b"c" * 2_000_000)
    history = History(root)
    history.count_sizes(again=True)
    sizes = {entry.id: entry.size for entry in history.list()}
    for folder in (small, large):
        held = sum(p.stat().st_size for p in folder.path.rglob("*") if p.is_file())
        assert sizes[folder.id] == held

    def never(path: Path) -> int:
        raise AssertionError(f"{path} was looked at")

    for module in ("history", "entry"):
        monkeypatch.setattr(f"engine.history.{module}.size_of", never)
    fresh = History(root)
    assert ids(fresh, sort="-size") == [large.id, small.id]
    assert ids(fresh, "size>1.5MiB") == [large.id]
    assert ids(fresh, "size<1MiB") == [small.id]
    fresh.count_sizes()  # nothing has changed
    with pytest.raises(ConfigError, match="needs an amount such as 500MiB"):
        fresh.list("size>much")
    (root / "history.json").unlink()
    without = History(root).list()
    assert [entry.size for entry in without] == [None, None]


def test_the_size_is_counted_when_a_run_ends_and_again_when_it_has_changed(root: Path) -> None:
    folder = make(root, "x")
    (entry,) = History(root).list()
    assert entry.size == sum(p.stat().st_size for p in folder.path.rglob("*") if p.is_file())
    (folder.path / "more").write_bytes(b"m" * 5000)
    folder.set_user(tags=["t"])
    history = History(root)
    (shown,) = history.list()
    assert shown.size == entry.size, "that of before, until it is counted anew"
    history.count_sizes()
    (after,) = history.list()
    assert after.size is not None
    assert entry.size is not None
    assert after.size > entry.size + 5000
    assert History(root).list() == [after]
