"""Run folders: whatever is in them is read or refused in a sentence."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config.schema import PretrainConfig
from engine.errors import RunError
from engine.runs import Record, RunFolder, create, find, heartbeat, own
from engine.runs import record as records
from engine.runs.migrations import upgrade
from engine.runs.record import encode_record


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def run(root: Path) -> RunFolder:
    return create(root, "pretrain", PretrainConfig(), name="first", preset="notebook")


def test_the_record_survives_the_disk_with_values_that_are_not_finite(run: RunFolder) -> None:
    record = run.record()
    record.last = {"a": float("nan"), "b": float("inf"), "c": float("-inf"), "d": 0.1 + 0.2}
    record.best = {"x": float("inf")}
    record.stage = {"name": "kNN", "done": 1, "total": 5}
    record.ack = {"id": "1", "request": "stop", "step": 4, "time": 2.5}
    record.result = {"rows": [{"top1": 61.5}], "confusion": [[1, 2], [3, 4]]}
    record.facts = {"threads": 2, "names": ["NaN", "Infinity"]}
    data = records.encode_record(record)

    def no_constants(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    json.loads(data, parse_constant=no_constants)
    back = records.decode_record(data, run.record_path)
    assert repr(back) == repr(record)  # repr, since NaN is not equal to itself


def test_a_copied_folder_is_a_run_of_its_own(run: RunFolder) -> None:
    copy = RunFolder(run.path.with_name("copied"))
    copy.path.mkdir()
    copy.record_path.write_bytes(run.record_path.read_bytes())
    assert copy.record().id == "copied"
    assert find(run.path.parent, "copied") == copy


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "it is empty"),
        (b"   \n", "it is empty"),
        (b'{"schema": 1, "id"', "it is no JSON"),
        (b"\xff\xfe\x00", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"[]", "holds no schema version"),
        (b"{}", "holds no schema version"),
        (b'{"schema": true}', "holds no schema version"),
        (b'{"schema": 1}', "is damaged"),
        (b'{"schema": 1, "kind": "pretrain", "created": "x"}', "is damaged"),
        (b'{"schema": 1, "kind": "pretrain", "created": 1, "status": "odd"}', "is damaged"),
        (b'{"schema": 1, "kind": "pretrain", "created": 1, "last": {"a": "b"}}', "is damaged"),
        (b'{"schema": 999}', "written by a newer moco-tui"),
        (b'{"schema": 0}', "cannot migrate"),
    ],
)
def test_a_record_that_is_none_is_one_sentence_with_its_path(
    run: RunFolder, data: bytes, sentence: str
) -> None:
    run.record_path.write_bytes(data)
    with pytest.raises(RunError, match=sentence) as caught:
        run.record()
    assert str(run.record_path) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(RunError):
        run.status()
    with pytest.raises(RunError):
        own(run)
    assert run.title() == run.id


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_in_place_of_a_record_give_a_sentence(data: bytes) -> None:
    with pytest.raises(RunError):
        records.decode_record(data, Path("runs/k7m2qx/run.json"))


def test_older_schemas_are_migrated_step_by_step() -> None:
    steps = {
        1: lambda old: {"queue_size": old["queue"], "epochs": old["epochs"]},
        2: lambda old: {**old, "epochs": old["epochs"] * 2},
    }
    old: dict[str, Any] = {"schema": 1, "queue": 5, "epochs": 3}
    new = upgrade(old, current=3, steps=steps, what="x")
    assert new == {"schema": 3, "queue_size": 5, "epochs": 6}
    with pytest.raises(RunError, match="cannot migrate"):
        upgrade({"schema": 0}, current=3, steps=steps, what="x")
    with pytest.raises(RunError, match=r"newer moco-tui \(schema 4, this one knows 3\)"):
        upgrade({"schema": 4}, current=3, steps=steps, what="x")


def test_a_record_of_an_older_schema_is_read(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = json.loads(run.record_path.read_bytes())
    tree["schema"], tree["title"] = 0, tree.pop("name")
    run.record_path.write_text(json.dumps(tree))

    def step(old: dict[str, Any]) -> dict[str, Any]:
        old["name"] = old.pop("title")
        return old

    monkeypatch.setattr(records, "MIGRATIONS", {**records.MIGRATIONS, 0: step})
    assert run.record().name == "first"
    with own(run):
        pass
    assert json.loads(run.record_path.read_bytes())["schema"] == records.SCHEMA


def test_notes_are_kept_apart_from_the_record(run: RunFolder) -> None:
    before = run.record_path.read_bytes()
    assert run.user().name == ""
    run.set_user(name="mine", tags=["b", "a", "a", "two words"], note="look here")
    run.set_user(note="or there")
    notes = run.user()
    assert (notes.name, notes.tags, notes.note) == ("mine", ("a", "b", "two-words"), "or there")
    assert run.title() == "mine"
    run.set_user(name="", tags=())
    assert run.title() == "first"
    assert run.user().tags == ()
    assert run.record_path.read_bytes() == before


def test_texts_of_people_are_one_line_and_not_long_but_else_as_given(run: RunFolder) -> None:
    run.set_user(name="[bold]x[/] 😀\x1b[31m\x00\ny\ud800\u202e", note="n" * 5000)
    assert run.user().name == "[bold]x[/] 😀[31m y"
    assert len(run.user().note) == 1000
    run.set_user(name="é" * 500)
    assert run.user().name == "é" * 200


@pytest.mark.parametrize("data", [b"", b"garbage", b'{"schema": 1, "tags": 5}'])
def test_damaged_notes_are_a_sentence_and_are_set_aside_when_written(
    run: RunFolder, data: bytes
) -> None:
    run.user_path.write_bytes(data)
    with pytest.raises(RunError, match="damaged"):
        run.user()
    assert run.title() == "first"
    run.set_user(name="new")
    assert run.user().name == "new"
    (aside,) = run.path.glob("user.json.damaged-*")
    assert aside.read_bytes() == data


@pytest.mark.parametrize("folder", ["runs", "damaged disks"])
def test_notes_of_a_newer_program_are_not_overwritten(tmp_path: Path, folder: str) -> None:
    """Whatever the path says: it is the file that counts."""
    run = create(tmp_path / folder, "pretrain", PretrainConfig())
    run.user_path.write_bytes(b'{"schema": 99}')
    with pytest.raises(RunError, match="newer moco-tui"):
        run.set_user(name="x")
    assert run.user_path.read_bytes() == b'{"schema": 99}'


def test_notes_by_several_at_once_are_all_kept(run: RunFolder) -> None:
    def work(change: dict[str, Any]) -> None:
        for _ in range(20):
            run.set_user(**change)

    changes: list[dict[str, Any]] = [{"name": "n"}, {"tags": ["t"]}, {"note": "o"}]
    threads = [threading.Thread(target=work, args=(c,)) for c in changes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    notes = run.user()
    assert (notes.name, notes.tags, notes.note) == ("n", ("t",), "o")


def test_notes_for_a_folder_that_is_gone_are_a_sentence(root: Path) -> None:
    with pytest.raises(RunError, match="There is no run folder"):
        RunFolder(root / "gone").set_user(name="x")


def test_the_tail_of_the_log_is_what_stood_on_the_screen(run: RunFolder) -> None:
    run.log_path.write_bytes(
        b"first\n 10%|#\r 50%|##\r100%|###\n\x1b[31mred\x1b[0m \x1b]0;title\x07\x00end\nhalf \xff\n"
    )
    assert run.log_tail(10) == ["first", "100%|###", "red  end", "half \ufffd"]
    assert run.log_tail(2) == ["red  end", "half \ufffd"]
    assert run.log_tail(0) == []


def test_the_tail_of_a_huge_log_is_read_from_its_end(run: RunFolder) -> None:
    run.log_path.write_bytes(b"".join(b"line %d\n" % i for i in range(100_000)))
    assert run.log_tail(2) == ["line 99998", "line 99999"]
    assert run.log_tail(10**6)[0].startswith("line ")


def test_the_layout_of_the_record_is_pinned_by_its_schema() -> None:
    # Whoever changes the fields must think of the runs that people have: raise SCHEMA, migrate.
    assert records.SCHEMA == 2
    fields = " ".join(Record.__struct_fields__)
    assert fields == (
        "schema id kind name preset config parent checkpoint began_from seed status created order "
        "started ended trained_seconds running_since host pid boot_id device facts data step epoch "
        "total_steps steps_per_epoch pairs_per_step chance checkpoint_step checkpoint_time best "
        "last untrained stage ack result error origin study provenance"
    )


@pytest.mark.parametrize("status", ["queued", "finished", "stopped", "failed"])
def test_a_run_that_needs_no_owner_is_never_lost(run: RunFolder, status: str) -> None:
    record = run.record()
    record.status = status  # type: ignore[assignment]
    run.record_path.write_bytes(encode_record(record))
    assert run.status() == status


def test_a_hand_over_without_a_successor_is_lost_after_its_grace(run: RunFolder) -> None:
    with own(run) as owner:
        owner.transition("running")
        owner.transition("handed-over")
    assert run.status() == "handed-over"
    old = time.time() - heartbeat.ALIVE_SECONDS - 1
    os.utime(run.record_path, (old, old))
    assert run.status() == "lost"


def test_a_finished_owner_seen_in_passing_is_not_called_lost(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own(run) as owner:
        owner.transition("running")
        stale = run.record()
        owner.transition("finished")
    # The viewer read the record before the owner wrote its last state and left.
    assert run.status(stale) == "finished"


def test_a_byte_order_mark_that_an_editor_left_is_no_damage(run: RunFolder) -> None:
    run.set_user(name="mine")
    record = run.record()
    for path in (run.record_path, run.user_path):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert run.record() == record
    assert run.user().name == "mine"


def test_each_damaged_file_of_notes_is_kept_whatever_the_clock_says(
    run: RunFolder,
) -> None:
    for number in range(3):
        run.user_path.write_text(f"garbage {number}")
        run.set_user(name="mine")
    kept = [path.read_text() for path in run.path.glob("user.json.damaged-*")]
    assert sorted(kept) == ["garbage 0", "garbage 1", "garbage 2"]
