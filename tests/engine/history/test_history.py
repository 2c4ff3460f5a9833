"""The history: right after whatever happened to the index, and to the folders."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from tinydb import TinyDB, where

from engine.config.presets import build
from engine.config.schema import PretrainConfig, ProbeConfig
from engine.errors import ConfigError, RunBusyError, RunError
from engine.history import index as indexes
from engine.history.entry import base_mark, from_document, make_entry, to_document
from engine.history.history import History
from engine.runs import RunFolder, RunOwner, create, own
from engine.runs.record import Record, UserNotes


def own_indexed(folder: RunFolder) -> RunOwner:
    """As the engine's jobs own a run: changes of its state go into the index."""
    return own(folder, on_change=indexes.note_change)


def make(
    root: Path,
    name: str = "",
    *,
    knn: float | None = None,
    preset: str = "",
    end: str = "finished",
    **values: Any,
) -> RunFolder:
    config = build(PretrainConfig, {k.replace("__", "."): v for k, v in values.items()})
    folder = create(root, "pretrain", config, name=name, preset=preset)
    with own_indexed(folder) as owner:
        owner.transition("running")
        if knn is not None:
            owner.metrics(1, 0.1, {"knn/top1": knn, "train/loss": 10.0 - knn / 10})
        owner.transition(end)  # type: ignore[arg-type]
    return folder


def ids(history: History, query: str = "", **options: Any) -> list[str]:
    return [entry.id for entry in history.list(query, **options)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def index(root: Path) -> dict[str, Any]:
    return dict(json.loads((root / "history.json").read_bytes()))


def test_an_empty_or_missing_folder_has_no_runs_and_stays_as_it_is(tmp_path: Path) -> None:
    assert History(tmp_path / "nothing").list() == []
    assert not (tmp_path / "nothing").exists()
    history = History(tmp_path)
    assert history.list() == []
    assert history.notices == []


def test_the_owner_of_a_run_writes_its_document(root: Path) -> None:
    folder = make(root, "a", knn=50.0, preset="notebook", moco__queue_size=16384)
    (document,) = TinyDB(root / "history.json").table("runs")._read_table().values()
    assert document["id"] == folder.id
    assert document["status"] == "finished"
    assert document["config"] == {"moco.queue_size": 16384}
    assert document["best"] == {"knn/top1": 50.0, "train/loss": 5.0}
    assert len(json.dumps(document)) < 600


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


# --------------------------------------------------------------------- what happens to files

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
        assert entries[bad.id].status == "damaged"
        assert str(bad.record_path) in entries[bad.id].error
        assert ids(fresh, "status:damaged") == [bad.id]


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


# ------------------------------------------------------------------------- waiting for others


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


# ------------------------------------------------------------------- notes, trash and queries


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
    assert {p.name: p.read_bytes() for p in folder.path.iterdir() if p.is_file()} == files
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
    assert [d.doc_id for d in found] == [high.id]
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


# ------------------------------------------------------------------------------- the entries

floats = st.floats(allow_nan=False, width=64)


@settings(max_examples=100, deadline=None)
@given(
    last=st.dictionaries(st.text(max_size=5), floats, max_size=3),
    tags=st.lists(st.text(max_size=5), max_size=3),
    name=st.text(max_size=20),
    seed=st.integers(0, 2**31 - 1),
)
def test_an_entry_survives_its_document(
    last: dict[str, float], tags: list[str], name: str, seed: int
) -> None:
    record = Record(id="x", kind="pretrain", created=1.5, last=last, seed=seed, status="running")
    entry = make_entry(record, UserNotes(name=name, tags=tuple(tags)), stamp=-5)
    document = json.loads(json.dumps(to_document(entry), allow_nan=False))
    assert from_document(document) == entry


def test_an_entry_knows_every_setting_of_its_run(root: Path) -> None:
    folder = make(root, preset="resnet18-moco", moco__queue_size=99, augment__flip__p=0.25)
    (entry,) = History(root).list()
    record = folder.record()
    config = PretrainConfig(**{}) and record.config
    assert entry.setting("moco.queue_size") == config["moco"]["queue_size"] == 99
    assert entry.setting("augment.flip.p") == 0.25
    assert entry.setting("model.encoder") == config["model"]["encoder"] == "convnet"
    assert entry.setting("optim.epochs") == config["optim"]["epochs"]
    assert entry.setting("augment.order") == config["augment"]["order"]
    assert entry.setting("nothing") is None


def test_the_numbers_of_a_result_are_in_the_entry(root: Path) -> None:
    folder = create(root, "probe", ProbeConfig())
    with own_indexed(folder) as owner:
        owner.transition("running")
        owner.result({"top1": 61.5, "rows": [1], "n": 5, "bad": float("nan"), "text": "x"})
        owner.transition("finished")
    (entry,) = History(root).list("top1>60")
    assert entry.result == {"top1": 61.5, "n": 5.0}
