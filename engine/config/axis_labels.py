"""What the values of an axis are called: short, and different for different values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config.fields import fields
from engine.config.schema import PretrainConfig

_SHORT: Mapping[str, str] = {
    "moco.queue_size": "K",  # the letters of arXiv:1911.05722
    "moco.momentum": "m",
    "moco.temperature": "T",
    "moco.symmetric": "symmetric loss",
    "optim.batch_size": "batch",
    "optim.stop_epoch": "stop after epoch",
    "data.source": "data",
    "data.limit": "images",
}


def name_of(key: str) -> str:
    """What a setting is called in front of its value: ``m``, ``weight decay``, ``blur p``."""
    if key in _SHORT:
        return _SHORT[key]
    *sections, name = key.split(".")
    words = name.replace("_", " ")
    if sections[:1] == ["augment"] and len(sections) > 1:  # ``p`` and ``enabled`` are in each
        part = sections[1].replace("_", " ")
        return part if name == "enabled" else f"{part} {words}"
    same = [other for other in fields(PretrainConfig) if other.endswith(f".{name}")]
    return words if len(same) == 1 else f"{' '.join(sections)} {words}"


def value_text(value: Any) -> str:
    """A value in a label: no two of one setting are the same text."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if isinstance(value, tuple | list):  # no comma, which parts the values of several axes
        return f"[{' '.join(value_text(item) for item in value)}]"
    return str(value)


def option_label(key: str, value: Any) -> str:
    """A value of an axis: ``m 0.99``, ``K 4096``, ``symmetric loss off``."""
    return f"{name_of(key)} {value_text(value)}"
