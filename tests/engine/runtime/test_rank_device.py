"""Which device a rank computes on."""

from __future__ import annotations

import pytest
import torch

from engine.config.device_list import ALL
from engine.errors import ConfigError
from engine.machine.rank_place import RankPlace
from engine.runtime.rank_device import device_of_rank


def place(local_rank: int) -> RankPlace:
    return RankPlace(
        rank=2 + local_rank,
        world=4,
        local_rank=local_rank,
        local_world=2,
        node=1,
        nodes=2,
        address="node1",
        port=29500,
    )


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("cards")
@pytest.mark.parametrize(
    ("devices", "setting", "name"),
    [
        ((), "auto", "cuda:1"),
        ((), "cuda", "cuda:1"),
        ((), "cuda:0", "cuda:1"),  # of a run that one process began on that card
        ((), "cpu", "cpu"),
        ((ALL,), "cuda", "cuda:1"),
        (("cuda:1", "cuda:0"), "cuda", "cuda:0"),
        (("cpu", "cpu"), "cpu", "cpu"),
    ],
)
def test_each_rank_of_a_node_has_a_card_of_its_own(
    devices: tuple[str, ...], setting: str, name: str
) -> None:
    assert device_of_rank(place(1), devices, setting) == torch.device(name)


def test_without_cards_it_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of_rank(place(1), (), "auto") == torch.device("cpu")


@pytest.mark.parametrize(
    ("devices", "setting", "words"),
    [
        ((), "cuda", "Rank 3 would compute on cuda:1, but torch sees no CUDA device there"),
        (("cuda:0", "cuda:5"), "cuda", "on cuda:5, but torch sees no CUDA device"),
        ((), "mps", "runtime.device is mps, on which ranks cannot exchange anything"),
    ],
)
def test_what_is_not_there_is_refused(
    devices: tuple[str, ...], setting: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=words):
        device_of_rank(place(1), devices, setting)


@pytest.mark.usefixtures("cards")
def test_more_ranks_than_cards_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="only cuda:0 to cuda:0 there; start as many ranks"):
        device_of_rank(place(1), (), "auto")
