"""Which device a rank computes on."""

from __future__ import annotations

import pytest
import torch

from engine.config.device_list import ALL
from engine.errors import ConfigError
from engine.machine.rank_place import RankPlace
from engine.runtime.rank_device import device_of_rank
from tests.made_up_cards import made_up, show_cards


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
    show_cards(monkeypatch, made_up(0), made_up(1))


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
    show_cards(monkeypatch)
    assert device_of_rank(place(1), (), "auto") == torch.device("cpu")


@pytest.mark.parametrize(
    ("devices", "setting", "words"),
    [
        ((), "cuda", "Rank 3 would compute on a card of its own, but there is no card"),
        (
            ("cuda:0", "cuda:5"),
            "cuda",
            "on cuda:5, but there is no card here that torch can use; start as many",
        ),
        ((), "mps", "runtime.device is mps, on which ranks cannot exchange anything"),
    ],
)
def test_what_is_not_there_is_refused(
    devices: tuple[str, ...], setting: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    show_cards(monkeypatch)
    with pytest.raises(ConfigError, match=words):
        device_of_rank(place(1), devices, setting)


def test_more_ranks_than_cards_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    show_cards(monkeypatch, made_up(0))
    with pytest.raises(ConfigError, match="torch can use only cuda:0; start as many ranks as"):
        device_of_rank(place(1), (), "auto")


def test_a_card_that_torch_cannot_use_is_no_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    show_cards(monkeypatch, made_up(0), made_up(1, (6, 0)), made_up(2))
    for devices in ((), (ALL,)):
        assert device_of_rank(place(1), devices, "auto") == torch.device("cuda:2")
    with pytest.raises(ConfigError, match=r"on cuda:1, but this torch .* cannot use cuda:1 "):
        device_of_rank(place(1), ("cuda:0", "cuda:1"), "cuda")
    show_cards(monkeypatch, made_up(0, (6, 0)), made_up(1, (6, 0)))
    assert device_of_rank(place(1), (), "auto") == torch.device("cpu"), "as without ranks"
    with pytest.raises(ConfigError, match="a card of its own, but there is no card here"):
        device_of_rank(place(1), (ALL,), "auto")
