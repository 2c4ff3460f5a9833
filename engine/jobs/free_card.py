"""Puts a run that may compute on any card on one that is free, and takes the lock of that."""

from __future__ import annotations

from msgspec.structs import replace

from engine.config.schema import AnyConfig, StudyConfig
from engine.runtime.device_lock import DeviceLock
from engine.runtime.torch_cards import usable_cards


def on_free_card(
    config: AnyConfig, lock: DeviceLock, *, device: str = "", prepared: str = ""
) -> AnyConfig:
    """The run on the first card that nobody trains on.

    Chosen and locked at once: two runs that begin together get two cards. Where none is free, or
    there is none, the run stays as it is, and waits for the card that ``resolve_runtime`` names.

    Args:
        config: of the run. One that names its device stays; a study locks none.
        lock: takes the lock of the card.
        device: the card to be tried before the others, as ``cuda:1``.
        prepared: the one to be tried before that: the run was prepared for it.
    """
    if isinstance(config, StudyConfig) or config.runtime.device != "auto":
        return config
    cards = {card.device: card for card in usable_cards()}
    first = [name for name in (prepared, device) if name in cards]
    order = [cards[name] for name in dict.fromkeys([*first, *cards])]
    key = lock.take_first([card.key for card in order])
    for card in order:
        if key and card.key == key:
            return replace(config, runtime=replace(config.runtime, device=card.device))
    return config


def on_device(config: AnyConfig) -> str:
    """``runtime.device`` of a run; empty for a study, which has several."""
    return "" if isinstance(config, StudyConfig) else config.runtime.device
