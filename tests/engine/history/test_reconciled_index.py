"""The index: right again after whatever happened to it, and never waited for."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tinydb import TinyDB, where

from engine.config.schema import PretrainConfig
from engine.errors import RunBusyError, RunError
from engine.files import reason
from engine.history import index as indexes
from engine.history.entry import Entry, base_mark, stamp_of
from engine.history.history import History
from engine.history.index import write_index
from engine.runs import create
from engine.runs import record as records
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


def test_an_index_of_a_newer_schema_is_kept_and_the_list_does_without_it(root: Path) -> None:
    folder = make(root)
    new = index(root)
    new["meta"]["index"]["schema"] = 99
    text = json.dumps(new)
    (root / "history.json").write_text(text)
    history = History(root)
    for _ in range(2):
        assert ids(history) == [folder.id]
    (line,) = history.notices
    assert "written by a newer moco-tui (schema 99" in line
    assert line.endswith("The run folders are read without it.")
    assert history.annotate(folder.id, tags=["x"]).tags == ("x",)
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

    def refuse(path: Path, limit: int) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("engine.history.storage.read_plain", refuse)
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


@contextlib.contextmanager
def unreadable(*paths: Path, number: int = errno.EACCES) -> Iterator[None]:
    """Files of run folders that the system does not let this process read."""
    real = records.read_bytes

    def refuse(path: Path, limit: int) -> bytes:
        if path in paths:
            error = OSError(number, os.strerror(number), str(path))
            raise RunError(f"{path} cannot be read: {reason(error)}.") from error
        return real(path, limit)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.runs.folder.read_bytes", refuse)
        yield


@pytest.mark.parametrize("is_indexed", [True, False])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.EMFILE])
def test_a_read_that_failed_is_never_kept(root: Path, number: int, is_indexed: bool) -> None:
    folder, other = make(root, "mine"), make(root, "other")
    folder.set_user(tags=["keep"])
    if is_indexed:
        History(root).list()
        folder.record_path.chmod(0o600)
    else:
        (root / "history.json").unlink()
    history = History(root)
    with unreadable(folder.record_path, number=number):
        shown = {entry.id: entry for entry in history.list()}
        assert shown[folder.id].status == "unreadable"
        words = reason(OSError(number, os.strerror(number)))
        assert shown[folder.id].error == f"{folder.record_path} cannot be read: {words}."
        assert shown[other.id].status == "finished"
        assert ids(history, "status:unreadable") == [folder.id]
        found = history.search(where("status") == "unreadable")
        assert [document["id"] for document in found] == [folder.id]
        with pytest.raises(RunError, match=re.escape(words)):
            history.check_readable()
        History(root).reindex()
        History(root).upsert(folder.id)
        indexes.note_change(folder, 1.0)
        assert "unreadable" not in (root / "history.json").read_text()
    for again in (history, History(root), History(root, read_only=True)):
        entry = next(entry for entry in again.list() if entry.id == folder.id)
        assert (entry.status, entry.error, entry.tags) == ("finished", "", ("keep",))
        again.check_readable()
    assert index(root)["runs"][folder.id]["status"] == "finished"


def test_notes_whose_read_failed_are_not_kept_as_empty_ones(root: Path) -> None:
    folder = make(root, "mine")
    folder.set_user(tags=["keep"])
    with unreadable(folder.user_path):
        for _ in range(2):
            (entry,) = History(root).list()
            assert entry.tags == ()
            assert "user.json cannot be read: permission is denied" in entry.warning
    (entry,) = History(root).list()
    assert (entry.tags, entry.warning) == (("keep",), "")


def test_a_record_of_a_newer_version_is_read_again_after_an_update(root: Path) -> None:
    folder = make(root)
    (root / "history.json").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.runs.record.SCHEMA", 1)
        patch.setattr("engine.runs.record.MIGRATIONS", {})
        (entry,) = History(root).list()
        assert "newer moco-tui" in entry.error
    assert [e.status for e in History(root).list()] == ["finished"]
    assert folder.status() == "finished"


def test_a_damaged_record_is_kept_until_its_file_changes(root: Path) -> None:
    folder = make(root)
    whole = folder.record_path.read_bytes()
    folder.record_path.write_bytes(whole[:50])
    assert [e.status for e in History(root).list()] == ["damaged"]
    assert index(root)["runs"][folder.id]["status"] == "damaged"
    History(root).check_readable()  # it was read; nobody can read more of it
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.history.reconciled_index.read_entry", None)  # nothing is read anew
        assert [e.status for e in History(root).list()] == ["damaged"]
    folder.record_path.write_bytes(whole)
    assert [e.status for e in History(root).list()] == ["finished"]


@pytest.mark.parametrize("name", ["run.json", "user.json"])
def test_a_change_of_rights_changes_the_stamp(root: Path, name: str) -> None:
    folder = make(root)
    folder.set_user(tags=["x"])
    before = stamp_of(str(folder.path))
    (folder.path / name).chmod(0o640)
    assert stamp_of(str(folder.path)) not in (None, before)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
def test_the_list_of_another_user_leaves_the_owners_runs_healthy() -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "runs"
        folder = make(root, "mine")
        History(root).list()
        folder.record_path.chmod(0o600)
        for path in (Path(place), root, *root.glob("history.json*")):
            path.chmod(0o777)
        with warnings.catch_warnings():  # of threads, none of which the child needs
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            try:
                os.setuid(65534)
                shown = [entry.status for entry in History(root).list()]
                os._exit(0 if shown == ["unreadable"] else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert [entry.status for entry in History(root).list()] == ["finished"]


def _as_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "x").write_text("x")


def _as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _as_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


SPECIAL: dict[str, Callable[[Path], object]] = {
    "link": _as_link,
    "folder": _as_folder,
    "pipe": _as_pipe,
    "loop": _as_loop,
    "1 GB": lambda path: os.truncate(path, 10**9),
}


@pytest.mark.parametrize("how", SPECIAL)
def test_what_is_no_plain_file_is_set_aside_and_never_waited_for(root: Path, how: str) -> None:
    folder = make(root, "old")
    path = root / "history.json"
    SPECIAL[how](path)
    started = create(root, "pretrain", PretrainConfig())
    with own_indexed(started) as owner:  # the trainer goes on
        owner.transition("running")
        owner.transition("finished")
    read_only = History(root, read_only=True)
    assert set(ids(read_only)) == {folder.id, started.id}
    # A link to itself is named as an entry of the folder, too.
    (line,) = [line for line in read_only.notices if "left out" not in line]
    assert "is damaged: " in line
    history = History(root)
    assert set(ids(history)) == {folder.id, started.id}
    (line,) = [line for line in history.notices if "left out" not in line]
    assert "is damaged: " in line
    assert path.is_file()
    assert not path.is_symlink()
    assert len(list(root.glob("history.json.damaged-*"))) == 1
    SPECIAL[how](path)
    assert History(root).reindex() == 2
    assert path.is_file()


def test_a_damaged_index_that_cannot_be_replaced_costs_one_line(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(root)
    path = root / "history.json"
    path.write_text("[]")

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "rename", refuse)
    history = History(root)
    for _ in range(2):
        assert ids(history) == [folder.id]
    assert history.notices == [
        f"{path} is damaged: it is no database. It cannot be replaced; the run folders are read "
        "without it."
    ]
    assert history.annotate(folder.id, tags=["x"]).tags == ("x",)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(10**25), 2**63, 0, 1])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["\x1b[31m", "\u202e", "1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["runs", "meta", "index", "id", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def places(tree: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if at:
        yield at
    for key, value in tree.items() if isinstance(tree, dict) else ():
        yield from places(value, (*at, key))


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, list[Entry]]:
    """A folder of runs, its index, and the list that it gives."""
    root = tmp_path_factory.mktemp("indexed")
    make(root, "a", knn=50.0, preset="notebook", moco__queue_size=16384).set_user(tags=["x"])
    make(root, "b", knn=7.0)
    history = History(root)
    history.count_sizes()
    wanted = history.list(sort="name")
    return root, (root / "history.json").read_bytes(), wanted


def check_list(root: Path, wanted: list[Entry]) -> None:
    for path in root.glob("history.json.damaged-*"):
        path.unlink()
    history = History(root)
    history.count_sizes()
    assert history.list(sort="name") == wanted
    assert len(history.notices) <= 1
    again = History(root)
    assert again.list(sort="name") == wanted


@settings(max_examples=50, deadline=None)
@given(value=values)
def test_any_json_as_an_index_gives_the_rebuilt_list(
    indexed: tuple[Path, bytes, list[Entry]], value: Any
) -> None:
    root, _, wanted = indexed
    (root / "history.json").write_text(json.dumps(value))
    check_list(root, wanted)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), value=values)
def test_any_value_anywhere_in_an_index_gives_the_rebuilt_list(
    indexed: tuple[Path, bytes, list[Entry]], data: st.DataObject, value: Any
) -> None:
    root, whole, wanted = indexed
    tree = json.loads(whole)
    *way, last = data.draw(st.sampled_from(sorted(places(tree))))
    part = tree
    for key in way:
        part = part[key]
    if data.draw(st.booleans()):
        part[last] = value
    else:
        part[data.draw(st.text(max_size=5))] = part.pop(last)
    (root / "history.json").write_text(json.dumps(tree, separators=(",", ":")))
    check_list(root, wanted)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_any_byte_of_an_index_may_change(
    indexed: tuple[Path, bytes, list[Entry]], data: st.DataObject
) -> None:
    root, whole, wanted = indexed
    damaged = bytearray(whole)
    damaged[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (root / "history.json").write_bytes(damaged)
    check_list(root, wanted)


@pytest.mark.parametrize(
    "text",
    [
        '{"runs":{"x":%s},"meta":{}}' % ("[" * 100_000 + "]" * 100_000),
        '{"meta":{"index":{"schema":%s}}}' % ("9" * 5_000),
        '{"meta":{"index":{"schema":true}},"runs":{}}',
        '{"meta":{"index":null}}',
        '{"meta":{"index":{"schema":-1}}}',
        "\ufeff{}",
    ],
)
def test_odd_documents_are_set_aside(indexed: tuple[Path, bytes, list[Entry]], text: str) -> None:
    root, _, wanted = indexed
    path = root / "history.json"
    path.write_text(text)
    with pytest.raises(RunError, match="is damaged"):
        write_index(root, {}, (), timeout=1.0)
    assert path.read_text() == text
    check_list(root, wanted)


def test_a_damaged_entry_is_not_vouched_for_by_the_next_write(root: Path) -> None:
    folder, other = make(root, "true"), make(root, "other")
    path = root / "history.json"
    path.write_bytes(path.read_bytes().replace(b'"true"', b'"lies"'))
    with pytest.raises(RunError, match="it was changed"):
        indexes.note_change(other, 1.0)
    assert {e.name for e in History(root).list()} == {"true", "other"}
    assert folder.title() == "true"


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
