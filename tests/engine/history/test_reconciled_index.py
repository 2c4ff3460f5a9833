"""The index: right again after whatever happened to it, and never waited for."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from tinydb import TinyDB

from engine.config.schema import PretrainConfig
from engine.errors import RunBusyError, RunError
from engine.history import index as indexes
from engine.history.entry import base_mark
from engine.history.history import History
from engine.runs import create

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


def test_nobody_waits_for_the_index(root: Path) -> None:
    folder = make(root)
    with FileLock(root / "history.json.lock"):
        started = time.monotonic()
        with own_indexed(folder_ := create(root, "pretrain", PretrainConfig())) as owner:
            owner.transition("running")
            for step in range(100):
                owner.metrics(step, 0.0, {"a": 1.0})
            assert time.monotonic() - started < 1.0, "the trainer does not wait at all"
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
