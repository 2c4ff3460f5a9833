"""Lists of devices as people type them: ``all``, ``cuda:0,cuda:2``, ``cpu:2``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from engine.config.phrases import shown_value
from engine.errors import ConfigError

ALL = "all"
"""Every card that torch can use; who knows the cards resolves it."""
MOST = 1024
"""Items of a list, each ``cpu:N`` counted N times."""
_ITEM = re.compile(r"(?P<one>mps)|cuda:(?P<card>\d{1,4})|cpu(:(?P<times>\d{1,4}))?", re.ASCII)
_RIGHT = "all, or devices between commas as in cuda:0,cuda:2 or cpu:2"


def parse_devices(text: str) -> tuple[str, ...]:
    """The devices of a list, in its order, one for each process that is to compute.

    Args:
        text: items between commas: ``cuda:N`` for a card, ``cpu`` for the processor, ``cpu:N`` for
            N processes that share it, ``mps``; or ``all`` alone. What this gives, joined by commas,
            gives the same again.

    Returns:
        ``("cuda:0", "cpu", "cpu")`` for ``cuda:0,cpu:2``; ``("all",)`` for ``all``.

    Raises:
        ConfigError: one sentence on what is wrong.
    """
    items = [item.strip() for item in text.split(",")]
    if items == [ALL]:
        return (ALL,)
    if items == [""]:
        raise _refused(f"devices names none; it must be {_RIGHT}.")
    found: list[str] = []
    for item in items:
        if item == ALL:
            raise _refused(f"devices is {shown_value(text)}; all stands alone, without others.")
        match = _ITEM.fullmatch(item)
        if match is None or (match["times"] is not None and not int(match["times"])):
            raise _refused(f"devices names {shown_value(item)}; it must be {_RIGHT}.")
        if match["card"] is not None or match["one"] is not None:
            name = f"cuda:{int(match['card'])}" if match["card"] is not None else item
            if name in found:
                raise _refused(f"devices names {name} twice; each device may stand there once.")
            found.append(name)
        else:
            found += ["cpu"] * int(match["times"] or 1)
        if len(found) > MOST:
            raise _refused(f"devices names more than {MOST:,} processes.")
    return tuple(found)


def devices_text(devices: Iterable[str]) -> str:
    """A list as a person would type it: ``cuda:0,cpu:2``."""
    counts: dict[str, int] = {}
    for device in devices:
        counts[device] = counts.get(device, 0) + 1
    return ",".join(name if count == 1 else f"{name}:{count}" for name, count in counts.items())


def _refused(sentence: str) -> ConfigError:
    return ConfigError(sentence, "devices")
