"""How ranks meet: what they compare, and what they say of one that does not come."""

from __future__ import annotations

import pytest
import torch

from engine.errors import ConfigError
from engine.machine.rank_place import RankPlace, rank_place
from engine.runtime import rank_meeting
from engine.runtime.process_group import joined_ranks
from engine.runtime.rank_facts import versions_of
from engine.runtime.rank_meeting import join

from ..rank_processes import answers_of, free_port

CPU = torch.device("cpu")


def differing() -> str:
    place = rank_place()
    assert place is not None
    if place.rank == 1:
        older = {**versions_of(CPU), "torch": "torch 2.0.1"}
        setattr(rank_meeting, "versions_of", lambda device: older)  # noqa: B010 - a fork of its own
    try:
        join(place, CPU, {})
    except ConfigError as error:
        return str(error)
    return ""


def test_another_version_on_a_rank_is_named() -> None:
    first, second = answers_of(2, differing)
    assert first == second
    assert "Rank 1 on" in first
    assert "has torch 2.0.1, and rank 0 on" in first
    assert f"has torch {torch.__version__}; all ranks of a run need the same." in first


def test_a_rank_that_does_not_come_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_meeting, "JOIN_SECONDS", 0.3)
    alone = RankPlace(
        rank=0,
        world=2,
        local_rank=0,
        local_world=2,
        node=0,
        nodes=1,
        address="127.0.0.1",
        port=free_port(),
    )
    with pytest.raises(ConfigError, match=r"Rank 1 did not come within 0 s; every process that"):
        join(alone, CPU, {})
    assert joined_ranks() is None


def test_without_rank_0_the_others_say_where_they_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_meeting, "JOIN_SECONDS", 0.3)
    port = free_port()
    second = RankPlace(
        rank=1,
        world=2,
        local_rank=1,
        local_world=2,
        node=0,
        nodes=1,
        address="127.0.0.1",
        port=port,
    )
    with pytest.raises(ConfigError, match=f"meet at MASTER_ADDR 127.0.0.1, MASTER_PORT {port}"):
        join(second, CPU, {})
