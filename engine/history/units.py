"""Spans of time and amounts of bytes as a person types them."""

from __future__ import annotations

import re

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_AMOUNT = re.compile(r"(?P<number>[\d_.eE+-]+?)\s*(?P<unit>[kmgt]?)(i?b)?", re.IGNORECASE)


def number_of(text: str) -> float | None:
    """A number, with underscores between its digits where they help; None for any other text."""
    try:
        return float(text.replace("_", ""))
    except ValueError:
        return None


def seconds_of(text: str) -> float | None:
    """Seconds of a span of time: ``90``, ``30m``, ``12h``, ``3d``, ``2w``; else None."""
    number = number_of(text[:-1]) if text[-1:] in _SECONDS else None
    return number_of(text) if number is None else number * _SECONDS[text[-1]]


def bytes_of(text: str) -> float | None:
    """Bytes of an amount in binary units, as tables show it: ``4096``, ``1.5 GiB``, ``200M``."""
    match = _AMOUNT.fullmatch(text.strip())
    number = number_of(match["number"]) if match else None
    if match is None or number is None:
        return None
    return number * _BYTES[match["unit"].lower()]
