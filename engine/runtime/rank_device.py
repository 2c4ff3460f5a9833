"""The device of a rank: each has one of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from engine.config.device_list import ALL
from engine.config.phrases import listed
from engine.errors import ConfigError
from engine.machine.rank_place import RankPlace
from engine.runtime.torch_cards import NO_CARD, usable_cards, why_not


def device_of_rank(place: RankPlace, devices: Sequence[str], setting: str) -> torch.device:
    """Where a rank computes.

    Args:
        place: of the rank.
        devices: of the ranks of its node, in their order; empty: nothing was said.
        setting: ``runtime.device``, which counts then. A card's number in it does not: the record
            of a run that one process began may have one.

    Raises:
        ConfigError: when there is no such device, or not one for each rank of the node.
    """
    if devices and tuple(devices) != (ALL,):
        name = devices[place.local_rank]
    elif devices or setting.startswith("cuda") or setting == "auto":
        name = _own_card(place, needed=bool(devices) or setting != "auto")
    elif setting == "cpu":
        name = "cpu"
    else:
        raise ConfigError(
            f"runtime.device is {setting}, on which ranks cannot exchange anything; several ranks "
            "need CUDA cards or the CPU.",
            "runtime.device",
        )
    if name.startswith("cuda") and (why := why_not(name)):
        raise _refused(place, name, why)
    return torch.device(name)


def _own_card(place: RankPlace, *, needed: bool) -> str:
    """The card of a rank among those that torch can use; the CPU where there is none.

    Args:
        place: of the rank.
        needed: whether the CPU will not do.

    Raises:
        ConfigError: when there are too few.
    """
    cards = usable_cards()
    if place.local_rank < len(cards):
        return cards[place.local_rank].device
    if cards or needed:
        there = (
            f"torch can use only {listed([card.device for card in cards])}" if cards else NO_CARD
        )
        raise _refused(place, "a card of its own", there)
    return "cpu"


def _refused(place: RankPlace, device: str, why: str) -> ConfigError:
    return ConfigError(
        f"Rank {place.rank} would compute on {device}, but {why}; start as many ranks as there are "
        "cards that torch can use, or use --device cpu.",
        "runtime.device",
    )
