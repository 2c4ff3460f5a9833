"""The index: right again after whatever happened to it, and never waited for."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tinydb import TinyDB

from engine.config.schema import PretrainConfig
from engine.errors import RunBusyError, RunError
from engine.files import read_plain
from engine.history import index as indexes
from engine.history.entry import base_mark
from engine.history.history import History
from engine.runs import create
from engine.runs.file_lock import FileLock

from .conftest import ids, index, make, own_indexed


def test_the_owner_of_a_run_writes_its_document(root: Path) -> None:
    folder = make(root, "a", knn=50.0, preset="notebook", moco__queue_size=16384)
    (document,) = TinyDB(root / "history.json").table("runs")._read_table().values()
    assert document["id"] == folder.id
    assert document["status"] == "finished"
    assert document["config"] == {"moco.queue_size": 16384}
    assert document["best"] == {"knn/top1": 50.0}
    assert len(json.dumps(document)) < 600


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "garbage": lambda path: path.write_bytes(os.urandom(500)),
    "other JSON": lambda path: path.write_bytes(b'{"a": {"b": {"c": 1}}}'),
    "no meta": lambda path: path.write_text(json.dumps({"runs": index(path.parent)["runs"]})),
    "wrong types": lambda path: path.write_text(
        json.dumps({**index(path.parent), "runs": {"x": {"id": 5}}})
    ),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_index_is_made_anew_with_one_line(root: Path, how: str) -> None:
    folders = [make(root, f"r{i}", knn=float(i)) for i in range(3)]
    folders[0].set_user(tags=["keep"])
    path = root / "history.json"
    DAMAGE[how](path)
    before = path.read_bytes() if path.exists() else None
    history = History(root)
    assert sorted(ids(history)) == sorted(f.id for f in folders)
    assert ids(history, "tag:keep") == [folders[0].id]
    assert len(history.notices) == 1
    assert "\n" not in history.notices[0]
    kept = list(root.glob("history.json.damaged-*"))
    if before is None:
        assert kept == []
    else:
        assert [k.read_bytes() for k in kept] == [before], "a damaged index is kept, not emptied"
    assert sorted(index(root)["runs"]) == sorted(f.id for f in folders)
    again = History(root)
    assert len(again.list()) == 3
    assert again.notices == []


@pytest.mark.parametrize("how", DAMAGE)
def test_an_owner_goes_on_whatever_happened_to_the_index(root: Path, how: str) -> None:
    make(root, "old")
    folder = create(root, "pretrain", PretrainConfig())
    with own_indexed(folder) as owner:
        DAMAGE[how](root / "history.json")
        owner.transition("running")
        owner.metrics(1, 0.1, {"a": 1.0})
        owner.transition("finished")
    assert folder.status() == "finished"
    assert len(History(root).list()) == 2


@pytest.mark.parametrize("how", DAMAGE)
def test_reindex_mends_everything(root: Path, how: str) -> None:
    folder = make(root, knn=5.0)
    DAMAGE[how](root / "history.json")
    history = History(root)
    assert history.reindex() == 1
    assert list(index(root)["runs"]) == [folder.id]


def test_an_index_of_a_newer_schema_is_refused_and_kept(root: Path) -> None:
    folder = make(root)
    new = index(root)
    new["meta"]["index"]["schema"] = 99
    text = json.dumps(new)
    (root / "history.json").write_text(text)
    with pytest.raises(RunError, match=r"written by a newer moco-tui \(schema 99"):
        History(root).list()
    with pytest.raises(RunError, match="written by a newer moco-tui"):
        History(root).upsert(folder.id)
    other = make(root)  # a training is not kept from going on
    assert other.status() == "finished"
    assert (root / "history.json").read_text() == text
    history = History(root)
    assert history.reindex() == 2, "whoever asks for it gets an index of this version"
    assert len(list(root.glob("history.json.damaged-*"))) == 1


def test_an_index_of_an_older_schema_is_migrated(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(root, "name", knn=3.0)
    old = index(root)
    old["meta"]["index"]["schema"] = 0
    old["runs"][folder.id]["title"] = old["runs"][folder.id].pop("name")
    (root / "history.json").write_text(json.dumps(old))

    def step(payload: dict[str, Any]) -> dict[str, Any]:
        for document in payload["runs"].values():
            document["name"] = document.pop("title") + " migrated"
        return payload

    monkeypatch.setattr(indexes, "MIGRATIONS", {0: step})
    monkeypatch.setattr("engine.history.reconciled_index.MIGRATIONS", {0: step})
    assert [e.name for e in History(root).list()] == ["name migrated"]
    assert index(root)["meta"]["index"]["schema"] == 1
    assert index(root)["runs"][folder.id]["name"] == "name migrated"


def test_documents_made_with_other_presets_are_read_anew(root: Path) -> None:
    folder = make(root, preset="notebook")
    old = index(root)
    old["meta"]["index"]["base"] = "0"
    old["runs"][folder.id]["config"] = {"moco.queue_size": 5}
    (root / "history.json").write_text(json.dumps(old))
    history = History(root)
    assert history.list()[0].setting("moco.queue_size") == 4096
    assert history.notices == []
    assert index(root)["meta"]["index"]["base"] == base_mark()


def test_nobody_waits_for_the_index(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(root)
    waiting: list[threading.Thread] = []
    held = FileLock.held

    def watched(lock: FileLock, timeout: float) -> Any:
        waiting.append(threading.current_thread())
        return held(lock, timeout)

    with FileLock(root / "history.json.lock").held(0.0):
        monkeypatch.setattr(FileLock, "held", watched)
        with own_indexed(folder_ := create(root, "pretrain", PretrainConfig())) as owner:
            owner.transition("running")
            for step in range(100):
                owner.metrics(step, 0.0, {"a": 1.0})
            assert threading.current_thread() not in waiting, "the trainer does not wait at all"
            owner.transition("finished")
        entries = {e.id: e.status for e in History(root).list()}
        assert entries == {folder.id: "finished", folder_.id: "finished"}
        with pytest.raises(RunBusyError):
            History(root, timeout=0.01).upsert(folder.id)
        assert History(root, timeout=0.01).annotate(folder.id, tags=["t"]).tags == ("t",)
    assert set(index(root)["runs"]) == {folder.id}
    History(root).list()
    assert set(index(root)["runs"]) == {folder.id, folder_.id}


def test_read_only_writes_nothing(root: Path) -> None:
    folder = make(root)
    (root / "history.json").unlink()
    files = sorted(str(p) for p in root.rglob("*"))
    history = History(root, read_only=True)
    assert ids(history) == [folder.id]
    assert ids(history, "status:finished") == [folder.id]
    for action in (
        lambda: history.delete(folder.id),
        lambda: history.annotate(folder.id, note="x"),
        lambda: history.reindex(),
        lambda: history.restore(folder.id),
        lambda: history.purge(folder.id),
        lambda: history.upsert(folder.id),
    ):
        with pytest.raises(RunError, match="for reading only"):
            action()
    assert sorted(str(p) for p in root.rglob("*")) == files


def deny(monkeypatch: pytest.MonkeyPatch, closed: Path, error: OSError) -> None:
    """What the system says of a path, as in another user's folder or on a damaged disk."""
    for name in ("stat", "lstat"):
        real = getattr(os, name)

        def refuse(path: Any, *args: Any, real: Any = real, **options: Any) -> Any:
            if str(path) == str(closed):
                raise error
            return real(path, *args, **options)

        monkeypatch.setattr(os, name, refuse)


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EACCES, "permission is denied"), (errno.EIO, "the disk reports an error")],
)
def test_one_entry_that_cannot_be_read_is_named_once_and_hides_no_other(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    good, bad = make(root, "good"), make(root, "bad")
    History(root).list()
    (root / "latest-run").symlink_to("latest-run")
    with monkeypatch.context() as patch:
        deny(patch, bad.record_path, OSError(number, os.strerror(number)))
        for history in (History(root), History(root, read_only=True)):
            for _ in range(3):
                assert ids(history) == [good.id]
            assert set(history.notices) == {
                f"{bad.path} is left out: {words}.",
                f"{root / 'latest-run'} is left out: it is a link that leads back to itself.",
            }
            assert len(history.notices) == 2
        assert History(root).reindex() == 1
    history = History(root)
    assert set(ids(history)) == {good.id, bad.id}, "it is back when it can be read"
    assert [line for line in history.notices if "left out" in line] == [
        f"{root / 'latest-run'} is left out: it is a link that leads back to itself."
    ]


def test_an_index_that_may_not_be_read_costs_a_line_and_no_list(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(root)
    path = root / "history.json"
    before = path.read_bytes()
    real = Path.read_bytes

    def refuse(self: Path) -> bytes:
        if self == path:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return real(self)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        history = History(root)
        for _ in range(2):
            assert ids(history) == [folder.id]
        (line,) = history.notices
        other = History(root)
        assert other.annotate(folder.id, tags=["x"]).tags == ("x",), "what is done is no failure"
        other.delete(folder.id)
        assert other.restore(folder.id).tags == ("x",)
        assert all("index is not kept up to date" in notice for notice in other.notices)
        assert len(other.notices) == 3
    assert (
        line == f"{path} cannot be read: permission is denied. The run folders are read without it."
    )
    assert path.read_bytes() == before


def test_a_record_that_may_not_be_read_is_not_called_damaged(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(root)
    real = read_plain

    def refuse(path: Path, limit: int) -> bytes:
        if path == folder.record_path:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, limit)

    (root / "history.json").unlink()
    monkeypatch.setattr("engine.runs.record.read_plain", refuse)
    (entry,) = History(root).list()
    assert entry.status == "unreadable"
    assert entry.error == f"{folder.record_path} cannot be read: permission is denied."


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_file_locks_runs_are_listed_and_nothing_is_written(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    folder = make(root)
    (root / "history.json").unlink()

    def refuse(fd: Any, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("there is nothing to wait for"))
    history = History(root)
    assert ids(history) == [folder.id]
    assert ids(history) == [folder.id]
    assert len([line for line in history.notices if "has no file locks (flock)" in line]) == 1
    for action in (
        lambda: History(root).annotate(folder.id, tags=["x"]),
        lambda: History(root).delete(folder.id),
        lambda: History(root).reindex(),
    ):
        with pytest.raises(RunError, match=r"has no file locks \(flock\)"):
            action()
    assert folder.user().tags == ()
