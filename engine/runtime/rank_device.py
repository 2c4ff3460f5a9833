"""The device of a rank: each has one of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from engine.config.device_list import ALL
from engine.errors import ConfigError
from engine.machine.rank_place import RankPlace


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
    elif devices or setting.startswith("cuda") or (setting == "auto" and torch.cuda.is_available()):
        name = f"cuda:{place.local_rank}"
    elif setting in ("auto", "cpu"):
        name = "cpu"
    else:
        raise ConfigError(
            f"runtime.device is {setting}, on which ranks cannot exchange anything; several ranks "
            "need CUDA cards or the CPU.",
            "runtime.device",
        )
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= cards:
        there = f"only cuda:0 to cuda:{cards - 1}" if cards else "no CUDA device"
        raise ConfigError(
            f"Rank {place.rank} would compute on {name}, but torch sees {there} there; start as "
            "many ranks as there are cards, or use --device cpu.",
            "runtime.device",
        )
    return device
