"""Which devices a list stands for, and what is refused: the same for ranks and for workers."""

from __future__ import annotations

import pytest
import torch

from engine.config.device_list import ALL
from engine.errors import ConfigError
from engine.runtime.named_devices import check_there, named_devices
from tests.made_up_cards import made_up, show_cards


@pytest.fixture
def an_old_card_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three cards, of which this torch cannot use the second."""
    show_cards(monkeypatch, made_up(0), made_up(1, (6, 0)), made_up(2))


@pytest.mark.usefixtures("an_old_card_between")
def test_all_are_the_cards_that_torch_can_use() -> None:
    assert named_devices((ALL,)) == ("cuda:0", "cuda:2")
    assert named_devices((ALL,), {"cuda:0"}) == ("cuda:2",)
    assert named_devices(("cuda:1", "cpu:2")) == ("cuda:1", "cpu", "cpu"), "named as typed"


def test_all_without_a_card_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    show_cards(monkeypatch)
    with pytest.raises(ConfigError, match="devices is all, and there is no card here that torch"):
        named_devices((ALL,))
    show_cards(monkeypatch, made_up(0, (6, 0)))
    with pytest.raises(ConfigError, match="devices is all, and there is no card here that torch"):
        named_devices((ALL,))


@pytest.mark.usefixtures("an_old_card_between")
@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("cuda:3", "names cuda:3, and torch can use only cuda:0 and cuda:2 here"),
        ("cuda:1", r"names cuda:1, and this torch .* cannot use cuda:1 .Tesla P100., which has"),
        ("mps", "names mps, and torch sees no Apple GPU here"),
    ],
)
def test_what_is_not_there_or_cannot_be_used_is_refused(
    device: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=words) as refused:
        check_there(device)
    assert str(refused.value).count(".") >= 1
    assert not str(refused.value).endswith("..")


@pytest.mark.usefixtures("an_old_card_between")
def test_what_is_there_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    for device in ("cuda:0", "cuda:2", "cpu", "mps"):
        check_there(device)


def test_a_card_where_there_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    show_cards(monkeypatch)
    with pytest.raises(ConfigError, match="names cuda:0, and there is no card here that torch can"):
        check_there("cuda:0")
