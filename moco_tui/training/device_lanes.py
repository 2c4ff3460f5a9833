"""Which devices a queued run needs, and whether they are free: a queue for each device."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from engine.config.device_list import ALL, parse_devices
from engine.errors import ConfigError, RunError
from engine.machine.load_reader import LoadReader
from engine.runs import RunFolder
from engine.runs.device_holder import holder_of
from moco_tui.present.device_choices import visible_cards


class Wish(NamedTuple):
    """The devices that a run is to be computed on.

    Attributes:
        names: as ``cuda:0``; at least one.
        any_of: one of them is enough.
    """

    names: tuple[str, ...]
    any_of: bool = False


def card_uuids() -> tuple[str, ...]:
    """UUIDs of the cards of this machine, in the order in which CUDA numbers them."""
    reader = LoadReader()
    try:
        cards = reader.read().cards
    finally:
        reader.close()
    return tuple(card.uuid for card in visible_cards(cards, os.environ.get("CUDA_VISIBLE_DEVICES")))


class DeviceLanes:
    """The devices of this machine, as the queue sees them.

    Args:
        uuids: the cards, see ``card_uuids``; asked once.
        holder: who holds the lock of a device, by its key; see ``holder_of``.
    """

    def __init__(
        self,
        uuids: Callable[[], Sequence[str]] = card_uuids,
        holder: Callable[[str], str] = holder_of,
    ) -> None:
        self._read, self._holder = uuids, holder
        self._reading = threading.Lock()
        self._uuids: tuple[str, ...] | None = None

    @property
    def cards(self) -> tuple[str, ...]:
        """The cards by name; the driver may take a while at first."""
        return tuple(f"cuda:{number}" for number in range(len(self._known())))

    def _known(self) -> tuple[str, ...]:
        with self._reading:
            if self._uuids is None:
                self._uuids = tuple(self._read())
            return self._uuids

    def holder(self, name: str) -> str:
        """Who trains on a device, whichever process that is; empty where nobody does.

        The CPU has no holder, and a card has none that matters where cards are to be shared.
        """
        if name == "cpu" or os.environ.get("MOCO_TUI_SHARE_DEVICE", "0") not in ("", "0"):
            return ""
        if name == "mps":
            return self._holder(name)
        known, number = self._known(), int(name.partition(":")[2] or 0)
        return self._holder(f"cuda-{known[number]}") if number < len(known) else ""

    def wish_of(self, folder: RunFolder) -> Wish:
        """The devices that a run is to be computed on, by its record."""
        try:
            record = folder.record()
        except RunError:  # who trains it meets it again, and says so
            return self._wish("auto")
        config: Mapping[str, Any] = record.config
        if record.kind != "study":
            return self._wish(_device_of(config))
        devices = config.get("devices") or ()
        try:
            named = parse_devices(",".join(map(str, devices))) if devices else ()
        except ConfigError:
            named = ()
        if named == (ALL,):
            named = self.cards
        if named:
            return Wish(tuple(dict.fromkeys(named)))
        device, workers = _device_of(config.get("pretrain")), config.get("workers")
        if device in ("auto", "cuda") and isinstance(workers, int) and workers > 1 and self.cards:
            return Wish(self.cards[:workers])
        return self._wish(device)

    def _wish(self, device: str) -> Wish:
        if device == "cuda":
            return Wish(("cuda:0",))
        if device != "auto":
            return Wish((device,))
        if not self.cards:
            return Wish(("mps" if sys.platform == "darwin" else "cpu",))
        return Wish(self.cards, any_of=len(self.cards) > 1)

    def assigned(self, wish: Wish, taken: Collection[str]) -> tuple[str, ...]:
        """The devices that a run can have now; empty where it has to wait.

        Args:
            wish: what it needs.
            taken: devices that runs of this app have, or for which one waits before it.
        """
        free = [name for name in wish.names if name not in taken and not self.holder(name)]
        if wish.any_of:
            return tuple(free[:1])
        return wish.names if len(free) == len(wish.names) else ()


def _device_of(config: Any) -> str:
    runtime = config.get("runtime") if isinstance(config, Mapping) else None
    device = runtime.get("device") if isinstance(runtime, Mapping) else None
    return device if isinstance(device, str) and device else "auto"
