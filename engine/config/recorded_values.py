"""Values in recorded configurations: whether they are of the type that code relies on.

A record may have been edited, or written by another version. A setting that this version does not
know may be anything, and so may the name of an encoder or the size of a number; but a list is a
list, and a number a number, or whoever lists the runs would fail at this one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

from engine.config.missing_settings import values_when_missing
from engine.config.phrases import shown_value
from engine.config.schema import GRID_KEYS
from engine.config.variant_count import recorded_count

MOST_RUNS = 20_000
"""Pretrainings, and probes of each, that the grid of a recorded study may have: their product and
the cells are worked out whenever the study is shown."""

_TABLES: Mapping[str, type] = {"axes": list, "recipes": dict}
"""Settings of a study that hold values of any other setting, and the type of each entry."""
_TABLE_WORDS: Mapping[str, str] = {"axes": "lists", "recipes": "tables"}

_WORDS: Mapping[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    dict: "a table of lists",
}


def unusable_setting(kind: str, flat: Mapping[str, Any]) -> str:
    """What is wrong with the first setting that code could not work with; empty for nothing.

    Args:
        kind: of the run; nothing is known of the settings of one that this version does not know.
        flat: dotted keys and builtin values, without NaN; see ``missing_settings.flat_config``.

    Returns:
        A sentence without its full stop: ``augment.order is 5; it must be a list of texts``.
    """
    known = values_when_missing(kind)
    for key, value in flat.items():
        if key not in known:
            if key in _sections(kind):
                return f"{key} is {shown_value(value)}; it must be a table"
        elif key in _TABLES and kind == "study":
            if not _is_table_of(value, _TABLES[key]):
                return f"{key} is {shown_value(value)}; it must be a table of {_TABLE_WORDS[key]}"
        elif not _fits(value, known[key]):
            return f"{key} is {shown_value(value)}; it must be {_expectation(known[key])}"
    return _too_large(flat) if kind == "study" else ""


@functools.cache
def _sections(kind: str) -> frozenset[str]:
    """The dotted names of all tables of a configuration."""
    parts = (key.split(".") for key in values_when_missing(kind))
    return frozenset(".".join(names[:i]) for names in parts for i in range(1, len(names)))


def _fits(value: Any, default: Any) -> bool:
    """Whether a value is of the type of a default."""
    kind = type(default)
    if kind is float:
        return type(value) in (int, float)
    if type(value) is not kind:  # exactly: a bool is an int
        return False
    if kind is list:  # the default of ``ablate`` alone is empty; its items are texts
        return all(_fits(item, default[0] if default else "") for item in value)
    if kind is dict:  # of groups and their classes
        return all(_fits(item, [""]) for item in value.values())
    return True


def _is_table_of(value: Any, kind: type) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and type(item) is kind for name, item in value.items()
    )


def _expectation(default: Any) -> str:
    if isinstance(default, list):
        return f"a list, each item {_WORDS[type(default[0] if default else '')]}"
    return _WORDS[type(default)]


def _too_large(flat: Mapping[str, Any]) -> str:
    """The sentence on a grid that cannot be worked out in reasonable time."""
    known = values_when_missing("study")

    def count(*keys: str) -> int:
        return math.prod(len(flat.get(key, known[key])) for key in keys)

    lists = [key for key in _grid_lists() if key not in ("queue_sizes", "seeds", "baselines")]
    order = flat.get("pretrain.augment.order", known["pretrain.augment.order"])
    variants = recorded_count({**known, **flat}, len(order))
    probes = 1 if flat.get("judge") == "knn" else count(*lists)
    runs = variants * count("seeds") * probes
    if runs <= MOST_RUNS:
        return ""
    return f"its grid has {runs:,} probes; it must be at most {MOST_RUNS:,}"


def _grid_lists() -> tuple[str, ...]:
    return tuple(dict.fromkeys(GRID_KEYS.values()))
