"""The trash is listed and emptied."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from .conftest import Call, trained


def test_it_lists_sizes_and_when_and_empties_on_a_word(call: Call, root: Path) -> None:
    first, second = trained(root, name="first"), trained(root, name="second")
    (first.path / "checkpoint.pt").write_bytes(b"c" * 3 * 1024**2)
    call("delete", first.id, second.id)
    called = call("trash")
    head, newest, oldest = called.out.splitlines()
    assert head.split() == ["id", "name", "kind", "size", "deleted"]
    assert newest.split()[:3] == [second.id, "second", "pretrain"]
    assert oldest.split()[:5] == [first.id, "first", "pretrain", "3", "MiB"]
    assert "moco-tui trash --empty" in called.err
    facts = {row["id"]: row for row in json.loads(call("trash", "--json").out)}
    held = sum(p.stat().st_size for p in (root / ".trash" / first.id).rglob("*") if p.is_file())
    assert facts[first.id]["size"] == held
    assert abs(facts[first.id]["deleted"] - time.time()) < 60
    called = call("trash", "--empty")
    assert called.code == 2, "there is nobody to ask"
    assert "--yes" in called.err
    assert call("trash").out.count("\n") == 3, "nothing went without an answer"
    called = call("trash", "--empty", "--yes", "--json")
    done = json.loads(called.out)
    assert set(done["removed"]) == {first.id, second.id}
    assert done["freed"] == sum(row["size"] for row in facts.values())
    assert list((root / ".trash").iterdir()) == []
    assert "empty" in call("trash").err
    assert call("trash", "--empty").code == 0


def test_older_than_takes_only_what_was_deleted_longer_ago(call: Call, root: Path) -> None:
    old, new = trained(root, name="old"), trained(root, name="new")
    call("delete", old.id, new.id)
    then = time.time() - 31 * 86_400
    os.utime(root / ".trash" / old.id, (then, then))
    assert [
        row["id"] for row in json.loads(call("trash", "--older-than", "30d", "--json").out)
    ] == [old.id]
    assert "31 d ago" in call("trash").out
    assert call("trash", "--empty", "--older-than", "30d", "--yes").out == f"{old.id}\n"
    assert call("trash", "--empty", "--older-than", "30d", "--yes").out == ""
    assert (root / ".trash" / new.id).is_dir()
    for wrong in ("soon", "-3d", "nan", "inf"):
        called = call("trash", "--empty", "--yes", f"--older-than={wrong}")
        assert (called.code, called.err.count("\n")) == (2, 1)
        assert "30d or 12h" in called.err


def test_what_cannot_be_removed_is_named_and_the_others_go(
    call: Call, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stays, goes = trained(root, name="stays"), trained(root, name="goes")
    call("delete", stays.id, goes.id)
    real = shutil.rmtree

    def refuse(path: Path) -> None:
        if stays.id in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        real(path)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", refuse)
        called = call("trash", "--empty", "--yes")
    assert called.code == 2
    assert goes.id in called.out.split()
    assert f"The run {stays.id} is not removed whole: permission is denied" in called.err
    called = call("trash")
    assert called.out == "", "half of a run is listed"
    assert "A removal was cut short" in called.err
    assert call("trash", "--empty", "--yes").code == 0
    assert list((root / ".trash").iterdir()) == []


def test_read_only_looks_and_removes_nothing(call: Call, root: Path) -> None:
    run = trained(root)
    call("delete", run.id)
    assert run.id in call("trash", "--read-only").out
    called = call("trash", "--empty", "--yes", "--read-only")
    assert (called.code, "read-only" in called.err) == (2, True)
    assert (root / ".trash" / run.id).is_dir()
