"""Lists of devices that somebody named, resolved to those that this machine has.

The workers of a study and the ranks of a run are named in one way, and count the same cards.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from engine.config.device_list import ALL, parse_devices
from engine.errors import ConfigError
from engine.runtime.torch_cards import NO_CARD, usable_cards, why_not


def named_devices(
    devices: Sequence[str], without: Collection[str] = frozenset()
) -> tuple[str, ...]:
    """The devices of a list, one for each process; ``all`` stands for every card.

    Args:
        devices: as ``StudyConfig.devices`` has them, or of ``parse_devices``.
        without: cards that ``all`` leaves out.

    Returns:
        Their names. Those that were named one by one need not be there, see ``check_there``.

    Raises:
        ConfigError: when the list is wrong, or ``all`` is no card at all.
    """
    found = parse_devices(",".join(devices))
    if found != (ALL,):
        return found
    cards = tuple(card.device for card in usable_cards())
    if not cards:
        raise ConfigError(
            f"devices is all, and {NO_CARD}; name cpu, or cpu:2 for two processes on the "
            "processor.",
            "devices",
        )
    return tuple(card for card in cards if card not in without)


def check_there(device: str) -> None:
    """Refuses a device that torch cannot compute on here.

    Raises:
        ConfigError: with what there is, or why it cannot be used.
    """
    if device.startswith("cuda"):
        if why := why_not(device):
            raise ConfigError(f"devices names {device}, and {why}.", "devices")
    elif device == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("devices names mps, and torch sees no Apple GPU here.", "devices")
