"""Runs are moved to the trash."""

from __future__ import annotations

import json
from pathlib import Path

from engine.config.schema import PretrainConfig
from engine.runs import RunFolder, create, folder_names

from .conftest import Call, begin, study_with_a_run, trained


def test_delete_and_restore(call: Call, root: Path) -> None:
    keep, first, second = trained(root), trained(root, name="named"), trained(root)
    called = call("delete", "named", second.id, second.id)
    assert (called.code, called.out) == (0, f"{first.id}\n{second.id}\n")
    assert [line.partition(";")[0] for line in called.err.splitlines()] == [
        f"deleted {first.id} (named)",
        f"deleted {second.id}",
    ]
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


def test_delete_takes_the_run_of_that_name_and_never_one_that_begins_so(
    call: Call, root: Path
) -> None:
    other = trained(root, name="first")
    other = RunFolder(other.path.rename(root / "v2kqxm"))
    named = trained(root, name="v2")
    called = call("delete", "v2", "--json")
    assert json.loads(called.out) == [{"id": named.id, "name": "v2"}]
    assert folder_names(root) == [other.id]
    twins = [trained(root, name="twin") for _ in range(2)]
    called = call("delete", "twin")
    assert (called.code, called.out) == (2, "")
    assert all(f"{twin.id} (twin)" in called.err for twin in twins)
    assert len(folder_names(root)) == 3


def test_a_study_goes_with_what_it_made_when_that_is_meant(call: Call, root: Path) -> None:
    study, made = study_with_a_run(root)
    called = call("delete", made.id)
    assert "The study two sizes counts it and would compute it again." in called.err
    assert call("restore", made.id).code == 0
    called = call("delete", study.id)
    assert called.code == 2
    assert "1 run that it made" in called.err
    assert "--yes" in called.err
    assert study.path.is_dir(), "nothing is deleted without an answer"
    called = call("delete", study.id, "--yes")
    assert called.code == 0
    assert called.out.split() == [study.id, made.id]
    assert not made.path.exists()
    assert call("restore", study.id).out.split() == [study.id, made.id]
    assert made.path.is_dir()
    assert call("delete", study.id, "--alone").code == 0
    assert made.path.is_dir()
