"""Whose run it is: what is taken up unasked belongs to the user who asked for the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.runs import RunFolder
from engine.runs.ownership import owned, owned_ids, owner_of, users_of


def test_runs_of_this_user_are_owned(run: RunFolder, tmp_path: Path) -> None:
    assert owner_of(run.path) == os.geteuid()
    assert owner_of(tmp_path / "missing") is None
    assert users_of() == {os.geteuid()}
    assert users_of(run.path) == {os.geteuid()}
    assert owned([run], tmp_path, users_of()) == [run]
    assert owned_ids([run], tmp_path, users_of()) == {run.id}
    assert owned([run], tmp_path, {os.geteuid() + 1}) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_runs_of_another_user_are_not_whoever_made_a_link_to_them(
    run: RunFolder, tmp_path: Path
) -> None:
    mine = run.path.with_name("mine")
    mine.symlink_to(run.path)
    assert owner_of(mine) == 0
    os.chown(run.path, 61_001, -1)
    assert owner_of(run.path) == 61_001
    assert owned([run], tmp_path, users_of()) == [], "root is a user like any other"
    assert owned([run], tmp_path, users_of(run.path)) == [run], "whose study was named"
    assert owner_of(mine) is None, "the link is mine, the run is not"
