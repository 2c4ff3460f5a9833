"""What people write for a checkpoint of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.schema import PretrainConfig
from engine.errors import RunError
from engine.runs import create
from engine.runs.checkpoint_ref import find_checkpoint, split_checkpoint


@pytest.mark.parametrize(
    ("ref", "parts"),
    [
        ("k7xw2m", ("k7xw2m", "")),
        ("k7xw2m@5", ("k7xw2m", "5")),
        ("k7xw2m@007", ("k7xw2m", "7")),
        ("my run@best", ("my run", "best")),
        ("latest@last", ("latest", "")),
        ("a@b@12", ("a@b", "12")),
        ("a@b", ("a@b", "")),
        ("a@-1", ("a@-1", "")),
        ("a@1.5", ("a@1.5", "")),
    ],
)
def test_a_checkpoint_stands_behind_the_last_at(ref: str, parts: tuple[str, str]) -> None:
    assert split_checkpoint(ref) == parts


def test_the_run_is_found_by_whatever_stands_before_it(tmp_path: Path) -> None:
    folder = create(tmp_path, "pretrain", PretrainConfig(), name="my run")
    for run in (folder.id, folder.id[:4], "my run", "latest"):
        found = find_checkpoint(tmp_path, f"{run}@3")
        assert (found.folder, found.which, found.text) == (folder, "3", f"{folder.id}@3")
    with pytest.raises(RunError, match="There is no run other in"):
        find_checkpoint(tmp_path, "other@3")
    with pytest.raises(RunError, match="Which run"):
        find_checkpoint(tmp_path, "@3")


@pytest.mark.parametrize("name", ["a@5", "a@best", "@last", "a b@007"])
def test_no_run_can_be_called_as_a_checkpoint_is(name: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="means a checkpoint of a run; choose another name"):
        create(tmp_path, "pretrain", PretrainConfig(), name=name)
    folder = create(tmp_path, "pretrain", PretrainConfig(), name="a@b5")
    with pytest.raises(RunError, match="means a checkpoint"):
        folder.set_user(name=name)
    assert folder.title() == "a@b5"
