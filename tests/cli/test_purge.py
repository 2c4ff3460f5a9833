"""Runs are removed for good: of the list, of the trash, with a study what it made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.config.schema import PretrainConfig
from engine.runs import create, folder_names
from engine.runs.folder_size import size_of

from .conftest import Call, begin, study_with_a_run, trained


def test_nothing_goes_without_an_answer_and_then_it_is_gone(call: Call, root: Path) -> None:
    keep, gone = trained(root, name="keep"), trained(root, name="gone")
    (gone.path / "checkpoint.pt").write_bytes(b"c" * 5 * 1024**2)
    size = size_of(gone.path)
    called = call("delete", "--purge", "gone")
    assert (called.code, called.out) == (2, "")
    assert f"Remove the run {gone.id} (gone) for good: 5 MiB." in called.err
    assert "--yes" in called.err
    assert gone.path.is_dir()
    called = call("delete", "--purge", "gone", "--yes", "--json")
    assert json.loads(called.out) == [{"id": gone.id, "name": "gone", "size": size}]
    assert folder_names(root) == [keep.id]
    assert not (root / ".trash" / gone.id).exists()
    assert call("restore", gone.id).code == 2
    called = call("delete", "--purge", "gone", "--yes")
    assert (called.code, called.err.count("\n")) == (2, 1)


def test_runs_of_the_trash_are_meant_too_and_twins_never_guessed(call: Call, root: Path) -> None:
    run = trained(root, name="old")
    call("delete", "old")
    assert call("delete", "old", "--yes").code == 2, "without --purge only those of the list"
    assert call("delete", "--purge", "old", "--yes").out == f"{run.id}\n"
    assert list((root / ".trash").iterdir()) == []
    twins = [trained(root, name="twin") for _ in range(2)]
    trashed = trained(root, name="twins")
    call("delete", trashed.id)
    called = call("delete", "--purge", "twin", "--yes")
    assert (called.code, "could be any of" in called.err) == (2, True)
    assert set(folder_names(root)) == {twin.id for twin in twins}
    assert (root / ".trash" / trashed.id).is_dir()


def test_a_living_run_is_refused_and_those_beside_it_stay(call: Call, root: Path) -> None:
    done = trained(root)
    folder = create(root, "pretrain", PretrainConfig())
    with begin(folder):
        called = call("delete", "--purge", "--yes", done.id, folder.id)
        assert (called.code, called.out) == (2, "")
        assert "stop it" in called.err
    assert set(folder_names(root)) == {done.id, folder.id}


@pytest.mark.parametrize("by_way_of_the_trash", [False, True])
def test_with_a_study_goes_what_it_made_and_that_is_said(
    call: Call, root: Path, by_way_of_the_trash: bool
) -> None:
    study, made = study_with_a_run(root)
    other = trained(root)
    if by_way_of_the_trash:
        call("delete", study.id, "--yes")
    called = call("delete", "--purge", "two sizes")
    assert called.code == 2
    assert "1 run" in called.err
    assert made.id in called.err
    called = call("delete", "--purge", "two sizes", made.id, "--yes")
    assert sorted(called.out.split()) == sorted([study.id, made.id])
    assert folder_names(root) == [other.id]
    assert list((root / ".trash").iterdir()) == []
