"""Runs are moved to the trash."""

from __future__ import annotations

import json
from pathlib import Path

from engine.config.schema import PretrainConfig
from engine.runs import create, folder_names

from .conftest import Call, begin, trained


def test_delete_and_restore(call: Call, root: Path) -> None:
    keep, first, second = trained(root), trained(root, name="named"), trained(root)
    called = call("delete", "named", second.id, second.id)
    assert (called.code, called.out) == (0, f"{first.id}\n{second.id}\n")
    assert folder_names(root) == [keep.id]
    assert [run["id"] for run in json.loads(call("runs", "--json").out)] == [keep.id]
    assert {line.split()[0] for line in call("restore").out.splitlines()} == {first.id, second.id}
    assert call("restore", "named").out == f"{first.id}\n"
    assert (
        call("restore", "latest", "--json").out == json.dumps([{"id": second.id}], indent=2) + "\n"
    )
    assert set(folder_names(root)) == {keep.id, first.id, second.id}
    assert first.record().last["knn/top1"] == 40.0


def test_a_living_run_is_not_deleted_and_nor_are_those_beside_it(call: Call, root: Path) -> None:
    done = trained(root)
    folder = create(root, "pretrain", PretrainConfig())
    with begin(folder):
        called = call("delete", done.id, folder.id)
        assert (called.code, called.out) == (2, "")
        assert "stop it" in called.err
        assert called.err.count("\n") == 1
    assert set(folder_names(root)) == {done.id, folder.id}
