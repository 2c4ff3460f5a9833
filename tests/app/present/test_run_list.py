"""The rows of a runs folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.files import replace_file
from engine.history import changes
from engine.history.changes import CHANGES_NAME, leave_hint
from engine.history.entry import Entry
from engine.history.index import note_change
from engine.runs import RunFolder
from engine.runs.record import encode_record
from moco_tui.present.run_list import RunList

from ..conftest import write_run


def test_a_root_that_is_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("not a folder")
    catalog = RunList(tmp_path / "runs")
    catalog.refresh()
    assert catalog.rows == {}
    assert "runs" in catalog.error


def test_an_error_of_an_empty_list_counts_as_a_change(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    root.mkdir()
    runs = RunList(root)
    assert runs.refresh()
    assert not runs.refresh(full_every=0)
    version = runs.version
    root.rmdir()
    root.write_text("not a folder")
    assert runs.refresh(full_every=0), "the screen shows what has changed alone"
    assert "runs" in runs.error
    assert runs.version > version
    root.unlink()
    root.mkdir()
    assert runs.refresh(full_every=0)
    assert runs.error == ""


def test_sizes_are_counted_behind_the_list_and_again_while_files_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    still = write_run(tmp_path, "k7m2qx")
    grows = write_run(tmp_path, "q4r8st", status="queued")
    looked_at: list[str] = []

    def size_of(path: Path) -> int:
        looked_at.append(path.name)
        return sum(file.stat().st_size for file in path.iterdir())

    monkeypatch.setattr("moco_tui.present.run_list.size_of", size_of)
    runs = RunList(tmp_path)
    runs.refresh()
    assert looked_at == []
    assert [row.size for row in runs.rows.values()] == [None, None]
    runs.count_sizes()
    assert runs.refresh()
    assert runs.rows[still.id].size == still.record_path.stat().st_size
    monkeypatch.setattr("moco_tui.present.run_list._RECOUNT_SECONDS", 0.0)
    (grows.path / "more").write_bytes(b"m" * 999)
    looked_at.clear()
    runs.count_sizes()
    assert looked_at == [grows.id], "one whose files stay is counted once"
    runs.refresh()
    assert runs.rows[grows.id].size == grows.record_path.stat().st_size + 999
    later = RunList(tmp_path)
    later.refresh()
    assert later.rows[still.id].size == still.record_path.stat().st_size, "the index keeps it"


class SlowList:
    """A list whose look at every folder takes five seconds of a clock of its own."""

    def __init__(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, *, eager_bytes: int = 0
    ) -> None:
        monkeypatch.setattr(changes, "EAGER_BYTES", eager_bytes)
        self.now, self.looks = 1000.0, 0
        self.runs = RunList(root, monotonic=lambda: self.now)
        whole = self.runs.history.list

        def slowly() -> list[Entry]:
            self.now += 5.0
            self.looks += 1
            return whole()

        monkeypatch.setattr(self.runs.history, "list", slowly)
        assert self.runs.refresh()

    def after(self, seconds: float) -> bool:
        self.now += seconds
        return self.runs.refresh()


def live(root: Path, run_id: str, monkeypatch: pytest.MonkeyPatch, step: int = 1) -> RunFolder:
    """A run that counts as trained though nobody does."""
    monkeypatch.setattr(RunFolder, "alive", lambda self: True)
    folder = write_run(root, run_id, status="running")
    further(folder, step)
    return folder


def further(folder: RunFolder, step: int) -> None:
    record = folder.record()
    record.step = step
    replace_file(folder.record_path, encode_record(record))


def test_a_look_at_every_folder_that_takes_long_is_taken_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path, "k7m2qx")
    slow = SlowList(tmp_path, monkeypatch)
    assert not slow.after(11.0)
    assert not slow.after(230.0)
    assert slow.looks == 1, "at most a fiftieth of the time"
    assert not slow.after(20.0)
    assert slow.looks == 2
    assert not slow.runs.refresh(full_every=0.0)
    assert slow.looks == 3, "who asks for it gets it"


def test_between_those_what_others_do_is_seen_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    still, goes = write_run(tmp_path, "k7m2qx"), write_run(tmp_path, "q4r8st")
    slow = SlowList(tmp_path, monkeypatch)
    (tmp_path / "no-run").mkdir()
    write_run(tmp_path, "a1b2c3", name="new")
    assert slow.after(1.0)
    assert set(slow.runs.rows) == {"k7m2qx", "q4r8st", "a1b2c3"}
    goes.path.rename(tmp_path / ".gone")
    still.set_user(name="renamed")
    leave_hint(tmp_path, still.id)
    assert slow.after(1.0)
    assert {row.title for row in slow.runs.rows.values()} == {"renamed", "new"}
    assert slow.runs.stepped_since(slow.runs.version - 1) is None, "lines may move"
    assert not slow.after(1.0)
    (tmp_path / CHANGES_NAME).unlink()
    still.set_user(name="again")
    assert slow.after(1.0), "without hints every folder is looked at"
    assert slow.runs.rows[still.id].title == "again"
    assert slow.looks == 2


def test_beside_a_small_index_a_slow_look_hides_no_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are no hints then: who changes a run writes the index, however slow the machine is."""
    run = write_run(tmp_path, "k7m2qx", status="stopped")
    slow = SlowList(tmp_path, monkeypatch, eager_bytes=changes.EAGER_BYTES)
    record = run.record()
    record.status = "finished"
    replace_file(run.record_path, encode_record(record))
    note_change(run, 1.0)
    assert slow.after(1.0)
    assert slow.runs.rows[run.id].status == "finished"


def test_a_live_run_that_goes_on_changes_its_row_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path, "k7m2qx")
    run = live(tmp_path, "q4r8st", monkeypatch)
    slow = SlowList(tmp_path, monkeypatch)
    runs, shown = slow.runs, slow.runs.version
    assert not slow.after(1.0)
    before = runs.rows
    further(run, 7)
    assert slow.after(1.0)
    further(run, 9)
    assert slow.after(1.0)
    rows = runs.stepped_since(shown)
    assert rows is not None
    assert [(row.id, row.entry.step) for row in rows] == [("q4r8st", 9)]
    assert runs.rows["k7m2qx"] is before["k7m2qx"]
    assert runs.stepped_since(runs.version) == []
    record = run.record()
    record.status = "finished"
    replace_file(run.record_path, encode_record(record))
    assert slow.after(1.0)
    assert runs.stepped_since(shown) is None
    assert runs.rows[run.id].status == "finished"
    assert slow.looks == 1


def test_sizes_are_shown_without_a_look_at_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path, "k7m2qx")
    slow = SlowList(tmp_path, monkeypatch)
    slow.runs.count_sizes()
    assert slow.after(1.0)
    assert slow.runs.rows[run.id].size == run.record_path.stat().st_size
    assert slow.looks == 1
    assert not slow.runs.refresh(full_every=0.0)
    later = RunList(tmp_path)
    later.refresh()
    assert later.rows[run.id].size == run.record_path.stat().st_size, "the index keeps it"
