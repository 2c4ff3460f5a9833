"""A large index is not written at each change: hints name what changed, and no list needs them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.history import changes
from engine.history.changes import CHANGES_NAME, INDEX_NAME, HintReader, is_large, leave_hint
from engine.history.history import History

from .conftest import ids, index, make, own_indexed


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every index counts as large."""
    monkeypatch.setattr(changes, "EAGER_BYTES", 0)


def test_hints_are_read_once_each_and_by_every_reader(tmp_path: Path) -> None:
    one, two = HintReader(tmp_path), HintReader(tmp_path)
    assert one.read() == set(), "there is no file"
    for run in ("a", "b", "a"):
        leave_hint(tmp_path, run)
    assert one.read() == {"a", "b"}
    assert one.read() == set()
    leave_hint(tmp_path, "c")
    assert (one.read(), two.read()) == ({"c"}, {"a", "b", "c"})
    leave_hint(tmp_path, "d")
    two.skip()
    assert two.read() == set()


def test_half_a_line_is_read_with_its_end(tmp_path: Path) -> None:
    reader = HintReader(tmp_path)
    path = tmp_path / CHANGES_NAME
    path.write_bytes(b"one\ntw")
    assert reader.read() == {"one"}
    with path.open("ab") as file:
        file.write(b"o\n")
    assert reader.read() == {"two"}


def test_a_file_that_has_begun_anew_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = HintReader(tmp_path)
    leave_hint(tmp_path, "a")
    assert reader.read() == {"a"}
    monkeypatch.setattr(changes, "_MOST_BYTES", 0)
    leave_hint(tmp_path, "b")  # cut first
    assert (tmp_path / CHANGES_NAME).read_bytes() == b"b\n"
    leave_hint(tmp_path, "")
    assert reader.read() is None, "what stood there may not have been read"
    reader.skip()
    assert reader.read() == set()
    (tmp_path / CHANGES_NAME).unlink()
    assert reader.read() is None


@pytest.mark.parametrize("line", ["../x", ".trash", "a/b", "\x1b[2J", "x" * 300, "\u202eevil"])
def test_what_others_write_into_it_leads_nowhere(tmp_path: Path, line: str) -> None:
    reader = HintReader(tmp_path)
    (tmp_path / CHANGES_NAME).write_text(f"{line}\ngood\n")
    assert reader.read() == {"good"}


def test_a_hint_that_cannot_be_left_is_no_error(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("theirs")
    root = tmp_path / "runs"
    root.mkdir()
    (root / CHANGES_NAME).symlink_to(elsewhere)
    leave_hint(root, "a")
    assert elsewhere.read_text() == "theirs"
    leave_hint(tmp_path / "nowhere", "a")


def test_a_small_index_is_written_at_once(root: Path) -> None:
    make(root, "a")
    assert not is_large(root)
    assert not (root / CHANGES_NAME).exists()
    assert len(index(root)["runs"]) == 1


@pytest.mark.usefixtures("large")
def test_the_owner_of_a_run_leaves_a_hint_and_the_next_list_writes_the_index(root: Path) -> None:
    folder = make(root, "a", end="failed")
    History(root).reindex()
    before = (root / INDEX_NAME).read_bytes()
    reader = HintReader(root)
    reader.skip()
    with own_indexed(folder) as owner:
        owner.transition("running")
        owner.transition("stopped")
    assert (root / INDEX_NAME).read_bytes() == before, "a trainer does not write it"
    assert reader.read() == {folder.id}
    other = History(root)
    assert [entry.status for entry in other.list()] == ["stopped"]
    assert index(root)["runs"][folder.id]["status"] == "stopped", "and then it is up to date"
    assert History(root).list()[0].status == "stopped"


@pytest.mark.usefixtures("large")
def test_notes_and_deletions_wait_for_the_next_list_and_are_not_lost(root: Path) -> None:
    one, two = make(root, "a"), make(root, "b")
    history = History(root)
    history.reindex()
    before = (root / INDEX_NAME).read_bytes()
    history.annotate(one.id, name="kept")
    history.delete(two.id)
    assert (root / INDEX_NAME).read_bytes() == before
    assert ids(History(root, read_only=True)) == [one.id], "who reads it now sees both"
    assert [entry.name for entry in history.list()] == ["kept"]
    assert list(index(root)["runs"]) == [one.id]
    history.restore(two.id)
    assert sorted(ids(history)) == sorted([one.id, two.id])
    assert sorted(index(root)["runs"]) == sorted([one.id, two.id])


@pytest.mark.usefixtures("large")
def test_a_process_that_dies_before_its_list_loses_nothing(root: Path) -> None:
    folder = make(root, "a")
    History(root).reindex()
    pid = os.fork()
    if pid == 0:
        History(root).annotate(folder.id, note="typed")
        os._exit(0)
    os.waitpid(pid, 0)
    assert [entry.note for entry in History(root).list()] == ["typed"]
