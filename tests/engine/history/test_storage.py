"""TinyDB over our storage: everything TinyDB promises, and nothing lost between many writers."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tinydb import Query, TinyDB, where
from tinydb.operations import increment
from tinydb.storages import MemoryStorage
from tinydb.table import Document

from engine.errors import RunBusyError, RunError
from engine.history.storage import (
    AtomicStorage,
    DamagedStoreError,
    KeyedTable,
    KeyedTinyDB,
    LockedTinyDB,
)
from engine.runs.file_lock import FileLock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "db.json"


# Every operation of a table, on ours and on TinyDB's own in memory.
operation = st.one_of(
    st.tuples(st.just("insert"), st.integers(0, 5)),
    st.tuples(st.just("insert_multiple"), st.integers(0, 5)),
    st.tuples(st.just("update"), st.integers(0, 5)),
    st.tuples(st.just("upsert"), st.integers(0, 5)),
    st.tuples(st.just("remove"), st.integers(0, 5)),
    st.tuples(st.just("increment"), st.integers(0, 5)),
    st.tuples(st.just("search"), st.integers(0, 5)),
    st.tuples(st.just("insert_id"), st.integers(1, 9)),
    st.tuples(st.just("truncate"), st.just(0)),
)


def apply(table: Any, name: str, n: int) -> Any:
    try:
        match name:
            case "insert":
                return table.insert({"n": n, "text": "é\n"})
            case "insert_multiple":
                return table.insert_multiple([{"n": n}, {"n": n + 1, "deep": {"a": [1, None]}}])
            case "update":
                return table.update({"seen": True}, where("n") == n)
            case "upsert":
                return table.upsert({"n": n, "up": 1}, where("n") == n)
            case "remove":
                return table.remove(where("n") == n)
            case "increment":
                return table.update(increment("n"), where("n") == n)
            case "search":
                return sorted(doc.doc_id for doc in table.search(where("n") >= n))
            case "insert_id":
                return table.insert(Document({"n": 0}, doc_id=n))
            case _:
                return table.truncate()
    except ValueError as error:
        return str(error)


@settings(max_examples=60, deadline=None)
@given(operations=st.lists(st.tuples(operation, st.booleans()), max_size=12))
def test_it_does_what_tinydb_does_with_two_handles_at_once(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[tuple[str, int], bool]]
) -> None:
    path = tmp_path_factory.mktemp("db") / "db.json"
    plain = TinyDB(storage=MemoryStorage)
    handles = LockedTinyDB(path), LockedTinyDB(path)
    for (name, n), second in operations:
        # TinyDB's next id as a process that has just opened the file sees it.
        plain.table("_default")._next_id = None
        assert apply(handles[second], name, n) == apply(plain, name, n)
        for db in handles:
            assert db.all() == plain.all()
            assert [d.doc_id for d in db] == [d.doc_id for d in plain]
            assert len(db) == len(plain)


def test_it_is_a_tinydb_for_any_use(path: Path) -> None:
    with LockedTinyDB(path) as db:
        fruits = db.table("fruits")
        fruits.insert({"name": "apple", "count": 7})
        db.insert({"other": 1})
        assert db.tables() == {"_default", "fruits"}
        assert fruits.get(Query().name == "apple").doc_id == 1
        assert fruits.contains(where("count") > 5)
        db.drop_table("fruits")
        assert db.tables() == {"_default"}
        db.drop_tables()
        assert db.tables() == set()
    assert json.loads(path.read_bytes()) == {}


def test_a_plain_tinydb_can_use_the_storage(path: Path) -> None:
    db = TinyDB(path, storage=AtomicStorage)
    db.insert({"a": 1})
    assert TinyDB(path).all() == [{"a": 1}]


def test_ids_of_keyed_tables_are_texts(path: Path) -> None:
    db = KeyedTinyDB(path)
    assert isinstance(db.table("runs"), KeyedTable)
    table: Any = db.table("runs")  # TinyDB's own types know only ids that are numbers
    key: Any = "k7m2qx"
    table.insert(Document({"n": 1}, doc_id=key))
    table.put({"k7m2qx": {"n": 2}, "zzz": {"n": 3}})
    table.put({"new": {"n": 4}}, drop=["zzz", "unknown"])
    assert {d.doc_id: dict(d) for d in table} == {"k7m2qx": {"n": 2}, "new": {"n": 4}}
    assert table.get(doc_id="new") == {"n": 4}
    assert table.search(where("n") == 2)[0].doc_id == "k7m2qx"
    assert table.update({"n": 9}, doc_ids=["new"]) == ["new"]
    assert table.remove(doc_ids=["k7m2qx"]) == ["k7m2qx"]
    with pytest.raises(ValueError, match="id of its own"):
        table.insert({"n": 5})
    assert len(table) == 1


def test_putting_without_a_file_works_in_memory_too() -> None:
    table: Any = KeyedTable(MemoryStorage(), "runs")
    table.put({"a": {"n": 1}, "b": {"n": 2}})
    table.put({"a": {"n": 3}}, drop=["b"])
    assert {d.doc_id: dict(d) for d in table} == {"a": {"n": 3}}


def test_a_query_never_answers_from_memory_that_is_stale(path: Path) -> None:
    one, other = LockedTinyDB(path), LockedTinyDB(path)
    query = where("n") == 1
    one.insert({"n": 1})
    assert len(one.search(query)) == 1
    other.insert({"n": 1})
    assert len(one.search(query)) == 2


def _insert(path: Path, barrier: Any, count: int) -> None:
    barrier.wait()
    db = LockedTinyDB(path, timeout=60)
    for i in range(count):
        db.insert({"pid": os.getpid(), "i": i})


def test_many_processes_lose_nothing(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    processes = [context.Process(target=_insert, args=(path, barrier, 20)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    documents = TinyDB(path).all()
    assert len({(d["pid"], d["i"]) for d in documents}) == len(documents) == 60
    assert sorted(d.doc_id for d in documents) == list(range(1, 61))


def test_many_threads_with_one_handle_lose_nothing(path: Path) -> None:
    db = LockedTinyDB(path, timeout=60)

    def work() -> None:
        for i in range(20):
            db.insert({"i": i})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(db) == 80


@pytest.mark.parametrize("data", [b"", b" ", b"{", b'{"runs": []}', b"\xff", b'{"a": {"b": 1}}'])
def test_a_damaged_file_is_never_taken_for_an_empty_one(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    db = KeyedTinyDB(path)
    for action in (
        db.all,
        db.storage.read,
        lambda: db.insert(Document({}, doc_id="a")),  # type: ignore[arg-type]
        lambda: db.table("runs").put({"a": {}}),  # type: ignore[attr-defined]
    ):
        if data == b'{"a": {"b": 1}}' and action is not db.storage.read:
            continue
        with pytest.raises(DamagedStoreError, match="is damaged"):
            action()
        assert path.read_bytes() == data
    storage = db.storage
    assert isinstance(storage, AtomicStorage)
    aside = storage.set_aside()
    assert aside.read_bytes() == data
    assert db.storage.read() is None


def test_a_busy_file_is_a_sentence_after_the_timeout(path: Path) -> None:
    db = KeyedTinyDB(path, timeout=0.01)
    with FileLock(path.with_name(f"{path.name}.lock")).held(0.0):
        with pytest.raises(RunBusyError, match="is being written by another process"):
            db.table("runs").put({"a": {}})  # type: ignore[attr-defined]
        assert db.all() == [], "readers need no lock"
    db.table("runs").put({"a": {}})  # type: ignore[attr-defined]
    assert len(db.table("runs")) == 1


def test_a_write_that_fails_leaves_the_database(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = LockedTinyDB(path)
    db.insert({"a": 1})

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(RunError, match="the disk is full"):
            db.insert({"a": 2})
    assert db.all() == [{"a": 1}]
    assert db.insert({"a": 3}) == 2


def test_a_change_that_raises_writes_nothing(path: Path) -> None:
    db = LockedTinyDB(path)
    db.insert({"a": 1})
    before = path.read_bytes()

    def broken(document: Any) -> None:
        document["a"] = 2
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        db.update(broken)
    assert path.read_bytes() == before
    assert db.all() == [{"a": 1}]


def test_read_only_is_read_only(path: Path) -> None:
    LockedTinyDB(path).insert({"a": 1})
    names = sorted(p.name for p in path.parent.iterdir())
    db = LockedTinyDB(path, read_only=True)
    assert db.all() == [{"a": 1}]
    with pytest.raises(RunError, match="for reading only"):
        db.insert({"a": 2})
    assert sorted(p.name for p in path.parent.iterdir()) == names
