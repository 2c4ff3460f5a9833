"""What the other ranks record where rank 0 has died."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.config.resolve import build
from engine.config.schema import PretrainConfig
from engine.history.history import History
from engine.jobs.rank_follower import record_loss
from engine.runs import RunFolder, create, own
from engine.runs.record import Status

SENTENCE = "Rank 0 (process 1 on node1) has ended."


def ranks_of(folder: str) -> Any:
    return SimpleNamespace(folder=folder)


def ended(root: Path, status: Status | None) -> RunFolder:
    """A run in some state, whose owner is gone; None: killed while it ran."""
    folder = create(root, "pretrain", build(PretrainConfig, {}))
    with own(folder) as owner:
        owner.transition("running")
        if status is not None:
            owner.transition(status)
    return folder


def test_the_run_of_a_killed_rank_0_has_failed(tmp_path: Path) -> None:
    folder = ended(tmp_path, None)
    assert folder.status() == "lost"
    assert record_loss(ranks_of(str(folder.path)), SENTENCE)
    record = folder.record()
    assert (record.status, record.error) == ("failed", SENTENCE)
    assert any(SENTENCE in line for line in folder.log_tail(3))
    assert History(tmp_path).list()[0].status == "failed"
    assert not record_loss(ranks_of(str(folder.path)), "another sentence"), "one rank is enough"
    assert folder.record().error == SENTENCE


@pytest.mark.parametrize("status", ["finished", "stopped", "failed"])
def test_a_run_that_has_ended_stays_as_it_is(tmp_path: Path, status: Status) -> None:
    folder = ended(tmp_path, status)
    before = folder.record_path.read_bytes()
    assert not record_loss(ranks_of(str(folder.path)), SENTENCE)
    assert folder.record().status == status
    assert b'"error":"Rank' not in before


def test_where_rank_0_lives_it_says_what_becomes_of_the_run(tmp_path: Path) -> None:
    folder = create(tmp_path, "pretrain", build(PretrainConfig, {}))
    with own(folder) as owner:
        owner.transition("running")
        assert not record_loss(ranks_of(str(folder.path)), SENTENCE)
        assert folder.record().status == "running"


def test_without_a_folder_there_is_nothing_to_record(tmp_path: Path) -> None:
    assert not record_loss(ranks_of(""), SENTENCE)
    assert not record_loss(ranks_of(str(tmp_path / "gone")), SENTENCE)
