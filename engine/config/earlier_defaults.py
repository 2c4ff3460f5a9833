"""Settings whose default is another one now: what a run has of them that does not name them.

Records hold every setting of their version, so this is about those that were no settings then, and
about records that a person has cut. A run keeps the value that it began with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BEFORE_RECORD_3: Mapping[str, Mapping[str, Any]] = {
    "pretrain": {"augment.crop.scale_min": 0.2},
    "probe": {
        "linear.crop_min": 0.2,  # no setting then
        "supervised.epochs": 60,
        "supervised.max_images": 400_000,
    },
}
"""By kind and dotted key: the defaults of version 0.1, and of all records of schema 1 and 2."""


def with_defaults_before_3(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A nested configuration of a record of schema 1 or 2, with its defaults where it names none.

    Args:
        kind: of the run. A study holds a pretraining and a probe.
        config: tables as they were decoded; left as they are.
    """
    if kind == "study":
        parts = {part: config.get(part, {}) for part in BEFORE_RECORD_3}
        return dict(config) | {
            part: with_defaults_before_3(part, table)
            for part, table in parts.items()
            if isinstance(table, Mapping)
        }
    out = dict(config)
    for key, value in BEFORE_RECORD_3.get(kind, {}).items():
        _set_missing(out, key.split("."), value)
    return out


def _set_missing(table: dict[str, Any], parts: list[str], value: Any) -> None:
    """Sets a value where there is none; the tables on the way are copied before they change."""
    first, *rest = parts
    if not rest:
        table.setdefault(first, value)
        return
    inner = table.get(first, {})
    if isinstance(inner, Mapping):  # anything else is damaged, and refused where it is converted
        table[first] = dict(inner)
        _set_missing(table[first], rest, value)
